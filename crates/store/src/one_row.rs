//! The layouts `minimal` and `existing` share one shape: a verification is one row. What rules and people look for has columns; the
//! rest, with its deliveries, is one text of JSON ([`crate::json::State`]).
//!
//! Here are the names and the SQL, for whichever database; how they are run is the database's own part. Rows of the application's
//! table that others wrote have no state, and no statement here reads, changes or deletes one without.

use countersign::core::verification::Status;

use crate::layout::{Existing, Layout};

/// What stands before the names of everything that we add to somebody else's database.
pub(crate) const PREFIX: &str = "countersign_";

/// The tables that every layout has. `receipt` belongs to the one-row layouts alone.
const SUPPORT: [&str; 13] = [
    "application",
    "api_key",
    "limit_state",
    "guess_log",
    "event",
    "kept_answer",
    "record",
    "decoy",
    "receipt",
    "schema",
    "webhook_position",
    "webhook_message",
    "webhook_endpoint",
];

/// Where the databases differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Parameters are `?1`; one writer at a time.
    Sqlite,
}

/// The table of verifications: its names, quoted, and its statements.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// In the order of [`Self::columns`].
    pub(crate) id: String,
    pub(crate) destination: String,
    pub(crate) purpose: String,
    own: Own,
    pub(crate) sql: Statements,
}

/// The columns that are ours alone.
#[derive(Debug)]
struct Own {
    place: String,
    application: String,
    service: String,
    status: String,
    ends_at: String,
    due_at: String,
    follow_up_at: String,
    state: String,
}

/// What is asked of the table. `?1`, `?2` … are explained at each.
#[derive(Debug)]
pub(crate) struct Statements {
    /// id → [`Table::columns`].
    pub(crate) by_id: String,
    /// destination, application, purpose, service → the latest.
    pub(crate) latest: String,
    /// id, application, service, destination, purpose, status, ends_at, due_at, follow_up_at, state, and in somebody else's table
    /// verified, created_at, expires_at.
    pub(crate) insert: String,
    /// destination, application, purpose, service: the one before goes, where one row is all that there is.
    pub(crate) replace: Option<String>,
    /// id, status, due_at, follow_up_at, state.
    pub(crate) update: String,
    /// id, true.
    pub(crate) approve: Option<String>,
    /// now, most → rows with a queued delivery whose lease is over.
    pub(crate) due: String,
    /// now → whether there is one.
    pub(crate) has_due: String,
    /// now, most → ends_at, application, id of those that are called pending although their time was up.
    pub(crate) overdue: String,
    /// now, most → application, id of those of which the next attempt is due.
    pub(crate) to_follow_up: String,
    /// status, before, most → ids.
    pub(crate) old: String,
    /// before → how many.
    pub(crate) count_old: String,
    /// id: the row goes.
    pub(crate) delete: String,
    /// id: the row stays, what we kept in it goes.
    pub(crate) let_go: String,
    /// place, most → rows in their order.
    pub(crate) dump: String,
}

impl Table {
    pub(crate) fn new(dialect: Dialect, layout: &Layout) -> Option<Self> {
        match layout {
            Layout::Standalone => None,
            Layout::Minimal => Some(Self::minimal(dialect)),
            Layout::Existing(existing) => Some(Self::existing(dialect, existing)),
        }
    }

    fn minimal(_: Dialect) -> Self {
        let plain = |name: &str| name.to_owned();
        let own = Own {
            place: plain("place"),
            application: plain("application"),
            service: plain("service"),
            status: plain("status"),
            ends_at: plain("expires_at"),
            due_at: plain("due_at"),
            follow_up_at: plain("follow_up_at"),
            state: plain("state"),
        };
        let names = [plain("verification"), plain("id"), plain("destination"), plain("purpose")];
        Self::with(names, own, None)
    }

    fn existing(dialect: Dialect, existing: &Existing) -> Self {
        let own = |name: &str| format!("{PREFIX}{name}");
        let own = Own {
            place: own("place"),
            application: own("application"),
            service: own("service"),
            status: own("status"),
            ends_at: own("ends_at"),
            due_at: own("due_at"),
            follow_up_at: own("follow_up_at"),
            state: own("state"),
        };
        let columns = &existing.columns;
        let names = [
            existing.table.to_string(),
            columns.id.to_string(),
            columns.destination.to_string(),
            columns.purpose.to_string(),
        ];
        let place = match dialect {
            // One writer at a time: nobody else can take the same place.
            Dialect::Sqlite => {
                format!("(SELECT coalesce(max({0}), 0) + 1 FROM {1} WHERE {0} IS NOT NULL)", own.place, existing.table)
            }
        };
        let copies = Copies {
            verified: columns.verified.to_string(),
            created_at: columns.created_at.to_string(),
            expires_at: columns.expires_at.to_string(),
            place,
        };
        Self::with(names, own, Some(&copies))
    }

    fn with([name, id, destination, purpose]: [String; 4], own: Own, copies: Option<&Copies>) -> Self {
        let Own { place, application, service, status, ends_at, due_at, follow_up_at, state } = &own;
        let ours = format!("{state} IS NOT NULL");
        let columns =
            format!("{place}, {id}, {application}, {service}, {destination}, {purpose}, {status}, {ends_at}, {state}");
        let select = format!("SELECT {columns} FROM {name} WHERE");
        let statuses = Status::ALL.map(|status| format!("'{status}'")).join(", ");
        let mut into = format!(
            "{id}, {application}, {service}, {destination}, {purpose}, {status}, {ends_at}, {due_at}, {follow_up_at}, {state}"
        );
        let mut values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10".to_owned();
        if let Some(copies) = copies {
            into += &format!(", {}, {}, {}, {place}", copies.verified, copies.created_at, copies.expires_at);
            values += &format!(", ?11, ?12, ?13, {}", copies.place);
        }
        let sql = Statements {
            by_id: format!("{select} {id} = ?1 AND {ours}"),
            latest: format!(
                "{select} {destination} = ?1 AND {application} = ?2 AND {purpose} = ?3 AND {service} = ?4 AND {ours} \
                 ORDER BY {place} DESC LIMIT 1"
            ),
            insert: format!("INSERT INTO {name} ({into}) VALUES ({values})"),
            replace: copies.is_none().then(|| {
                format!("DELETE FROM {name} WHERE {destination} = ?1 AND {application} = ?2 AND {purpose} = ?3 AND {service} = ?4")
            }),
            update: format!("UPDATE {name} SET {status} = ?2, {due_at} = ?3, {follow_up_at} = ?4, {state} = ?5 WHERE {id} = ?1 AND {ours}"),
            approve: copies.map(|copies| format!("UPDATE {name} SET {} = ?2 WHERE {id} = ?1 AND {ours}", copies.verified)),
            due: format!("{select} {due_at} <= ?1 AND {ours} ORDER BY {due_at} LIMIT ?2"),
            has_due: format!("SELECT EXISTS (SELECT 1 FROM {name} WHERE {due_at} <= ?1)"),
            overdue: format!(
                "SELECT {ends_at}, {application}, {id} FROM {name} WHERE {status} = 'pending' AND {ends_at} <= ?1 \
                 ORDER BY {ends_at} LIMIT ?2"
            ),
            to_follow_up: format!(
                "SELECT {application}, {id} FROM {name} WHERE {follow_up_at} <= ?1 AND {ours} ORDER BY {follow_up_at} LIMIT ?2"
            ),
            old: format!("SELECT {id} FROM {name} WHERE {status} = ?1 AND {ends_at} < ?2 LIMIT ?3"),
            count_old: format!("SELECT count(*) FROM {name} WHERE {status} IN ({statuses}) AND {ends_at} < ?1"),
            delete: format!("DELETE FROM {name} WHERE {id} = ?1 AND {ours}"),
            let_go: format!(
                "UPDATE {name} SET {place} = NULL, {application} = NULL, {service} = NULL, {status} = NULL, {ends_at} = NULL, \
                 {due_at} = NULL, {follow_up_at} = NULL, {state} = NULL WHERE {id} = ?1 AND {ours}"
            ),
            dump: format!("{select} {place} > ?1 AND {ours} ORDER BY {place} LIMIT ?2"),
        };
        Self { name, id, destination, purpose, own, sql }
    }

    /// The list that fits some conditions (see [`Self::conditions`]), newest first; the last parameter is how many.
    pub(crate) fn list(&self, conditions: &[String]) -> String {
        let Own { place, application, service, status, ends_at, state, .. } = &self.own;
        let Self { name, id, destination, purpose, .. } = self;
        format!(
            "SELECT {place}, {id}, {application}, {service}, {destination}, {purpose}, {status}, {ends_at}, {state} \
             FROM {name} WHERE {state} IS NOT NULL AND {} ORDER BY {place} DESC LIMIT ?",
            conditions.join(" AND ")
        )
    }

    /// A condition of a list; each `?` is one parameter.
    pub(crate) fn condition(&self, of: Condition) -> String {
        let Own { place, application, service, status, ends_at, state, .. } = &self.own;
        let created_at = format!("json_extract({state}, '$.created_at')");
        match of {
            Condition::Application => format!("{application} = ?"),
            Condition::Service => format!("{service} = ?"),
            Condition::Destination => format!("{} = ?", self.destination),
            Condition::Purpose => format!("{} = ?", self.purpose),
            Condition::After => format!("{place} < ?"),
            Condition::Pending => format!("{status} = 'pending' AND {ends_at} > ?"),
            Condition::Expired => format!("({status} = 'expired' OR {status} = 'pending' AND {ends_at} <= ?)"),
            Condition::Status => format!("{status} = ?"),
            Condition::Since => format!("{created_at} >= ?"),
            Condition::Until => format!("{created_at} < ?"),
        }
    }
}

/// The columns of somebody else's table that only they read.
struct Copies {
    verified: String,
    created_at: String,
    expires_at: String,
    /// Where the next place comes from.
    place: String,
}

/// What a list may be cut by.
#[derive(Clone, Copy)]
pub(crate) enum Condition {
    Application,
    Service,
    Destination,
    Purpose,
    After,
    Pending,
    Expired,
    Status,
    Since,
    Until,
}

/// The columns that we add to somebody else's table, with what they are there for.
pub(crate) const ADDED: [(&str, &str); 8] = [
    ("place", "the order in which verifications began"),
    ("application", "whose verification it is"),
    ("service", "which service of the application, empty for its own"),
    ("status", "pending, approved, canceled, expired, max_attempts_reached or failed"),
    ("ends_at", "when its time is up, in milliseconds since 1970"),
    ("due_at", "when a message that waits may be carried by anybody, or null"),
    ("follow_up_at", "when the next provider or channel is tried, or null"),
    ("state", "everything else as JSON, null in rows that are not ours"),
];

/// The same SQL with [`PREFIX`] before the names of our supporting tables and all indexes.
pub(crate) fn prefixed(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len() + 64);
    let (mut expects_table, mut expects_index) = (false, false);
    let mut rest = sql;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphabetic()) {
        out.push_str(&rest[..start]);
        let tail = &rest[start..];
        let end = tail.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(tail.len());
        let word = &tail[..end];
        // A name in quotation marks is the application's.
        let quoted = out.ends_with('"');
        if !quoted && ((expects_table && SUPPORT.contains(&word)) || expects_index) {
            out.push_str(PREFIX);
        }
        out.push_str(word);
        expects_table = ["FROM", "INTO", "UPDATE", "TABLE", "JOIN", "REFERENCES", "ON"].contains(&word);
        expects_index = word == "INDEX";
        rest = &tail[end..];
    }
    out.push_str(rest);
    out
}

/// The statements of a migration that make or change a supporting table, without their comments; the log of events only if wanted.
pub(crate) fn support_statements(migration: &str, with_events: bool) -> Vec<String> {
    let lines = migration.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end());
    let code = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let concerns = |statement: &&str| {
        let mut words = statement.split(|c: char| c.is_whitespace() || c == '(');
        let table = words.by_ref().skip_while(|word| !["TABLE", "INTO", "ON", "UPDATE"].contains(word)).nth(1);
        table.is_some_and(|table| SUPPORT.contains(&table) && (with_events || table != "event"))
    };
    code.split(';').map(str::trim).filter(concerns).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn only_names_of_tables_get_the_prefix() {
        for (sql, expected) in [
            (
                "SELECT application, decoy FROM application ORDER BY name",
                "SELECT application, decoy FROM countersign_application ORDER BY name",
            ),
            (
                "INSERT OR REPLACE INTO limit_state VALUES (?1)",
                "INSERT OR REPLACE INTO countersign_limit_state VALUES (?1)",
            ),
            ("UPDATE record SET body = ?4", "UPDATE countersign_record SET body = ?4"),
            (
                "CREATE INDEX record_parent ON record (parent)",
                "CREATE INDEX countersign_record_parent ON countersign_record (parent)",
            ),
            (
                "application TEXT NOT NULL REFERENCES application (name)",
                "application TEXT NOT NULL REFERENCES countersign_application (name)",
            ),
            (
                "SELECT 1 FROM goes JOIN record ON child.id = 1",
                "SELECT 1 FROM goes JOIN countersign_record ON child.id = 1",
            ),
            ("SELECT 1 FROM \"event\"", "SELECT 1 FROM \"event\""),
            ("SELECT 1 FROM verification", "SELECT 1 FROM verification"),
        ] {
            assert_eq!(prefixed(sql), expected);
        }
    }

    #[test]
    fn the_supporting_tables_are_taken_from_the_one_migration() {
        let statements = support_statements(include_str!("../migrations/sqlite/0001_begin.sql"), true);
        let made: Vec<_> = statements.iter().filter_map(|sql| sql.strip_prefix("CREATE TABLE ")).collect();
        let made: Vec<_> = made.iter().map(|sql| sql.split_whitespace().next().unwrap()).collect();
        for table in SUPPORT.iter().filter(|table| !["receipt", "schema"].contains(table)) {
            assert!(made.contains(table), "{table} is not among {made:?}");
        }
        assert!(!made.contains(&"verification") && !made.contains(&"delivery"));
        assert!(statements.iter().any(|sql| sql.starts_with("INSERT INTO decoy")));
    }
}
