//! The layouts `minimal` and `existing` share one shape: a verification is one row. What rules and people look for has columns; the
//! rest, with its deliveries, is one text of JSON ([`crate::json::State`]).
//!
//! Here are the names and the SQL, for whichever database; how they are run is the database's own part. Rows of the application's
//! table that others wrote have no state, and no statement here reads, changes or deletes one without.

use countersign::core::verification::{Delivery, DeliveryStatus, Status, Verification};

use crate::json::{Head, State, Unreadable};
use crate::layout::{DestinationFormat, Existing, Layout};

/// What stands before the names of everything that we add to somebody else's database.
pub(crate) const PREFIX: &str = "countersign_";

/// The tables that every layout has, and PostgreSQL's sequences. `receipt` belongs to the one-row layouts alone.
const SUPPORT: [&str; 18] = [
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
    "event_head",
    "event_batch",
    "event_seq",
    "record_place",
    "verification_place",
];

/// Those that only the log of events needs.
const OF_EVENTS: [&str; 4] = ["event", "event_head", "event_batch", "event_seq"];

/// A verification with its deliveries.
pub(crate) type Whole = (Verification, Vec<Delivery>);

/// Takes a row back.
pub(crate) fn restore(head: Head, state: &str, format: DestinationFormat) -> Result<Whole, Unreadable> {
    State::from_json(state)?.with(head, |text, country| format.restore(text, country))
}

/// When the earliest message that waits may be carried by anybody.
pub(crate) fn due_at(deliveries: &[Delivery]) -> Option<i64> {
    let queued = deliveries.iter().filter(|delivery| delivery.status == DeliveryStatus::Queued);
    queued.map(|delivery| delivery.lease_until.as_millis()).min()
}

/// A service as its column has it.
pub(crate) fn service(verification: &Verification) -> String {
    verification.service.map(|id| id.to_string()).unwrap_or_default()
}

/// Where the databases differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect<'a> {
    /// Parameters are `?1`; one writer at a time.
    Sqlite,
    /// Parameters are `$1`; rows are taken under locks. Our own tables are in this schema.
    #[cfg_attr(not(feature = "postgres"), allow(dead_code, reason = "nobody asks for it"))]
    Postgres { schema: &'a str },
}

impl Dialect<'_> {
    /// A statement that is written with `?1`, or `?` for the next one, as the database has it.
    fn statement(self, sql: &str) -> String {
        if self == Dialect::Sqlite {
            return sql.to_owned();
        }
        let (mut out, mut nth) = (String::with_capacity(sql.len() + 8), 0);
        let mut rest = sql.chars().peekable();
        while let Some(c) = rest.next() {
            if c != '?' {
                out.push(c);
                continue;
            }
            out.push('$');
            if !rest.peek().is_some_and(char::is_ascii_digit) {
                nth += 1;
                out.push_str(&nth.to_string());
            }
        }
        out
    }

    /// What is appended to a query whose rows will be changed.
    const fn for_update(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres { .. } => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// A condition that a column is the first parameter: one value, or any of several.
    fn is_first(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("{column} = ?1"),
            Self::Postgres { .. } => format!("{column} = ANY (?1)"),
        }
    }
}

/// The table of verifications: its names, quoted, and its statements.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) name: String,
    /// In the order of [`Self::columns`].
    pub(crate) id: String,
    pub(crate) destination: String,
    pub(crate) purpose: String,
    pub(crate) own: Own,
    /// `None` in a table of our own.
    pub(crate) copies: Option<Copies>,
    pub(crate) sql: Statements,
    /// Whether texts of JSON and parameters are PostgreSQL's.
    is_postgres: bool,
}

/// The columns that are ours alone.
#[derive(Debug)]
pub(crate) struct Own {
    pub(crate) place: String,
    pub(crate) application: String,
    pub(crate) service: String,
    pub(crate) status: String,
    pub(crate) ends_at: String,
    pub(crate) due_at: String,
    pub(crate) follow_up_at: String,
    pub(crate) state: String,
    /// Where several processes write to a table with a history.
    pub(crate) generation: Option<String>,
}

/// What is asked of the table, in every database. `?1`, `?2` … are explained at each.
#[derive(Debug)]
pub(crate) struct Statements {
    /// id → [`Table::columns`].
    pub(crate) by_id: String,
    /// destination, application, purpose, service → the latest.
    pub(crate) latest: String,
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
    /// id (PostgreSQL: ids): the row goes.
    pub(crate) delete: String,
    /// The same: the row stays, what we kept in it goes.
    pub(crate) let_go: String,
    /// place, most → rows in their order.
    pub(crate) dump: String,
}

impl Table {
    pub(crate) fn new(dialect: Dialect<'_>, layout: &Layout) -> Option<Self> {
        match layout {
            Layout::Standalone => None,
            Layout::Minimal => Some(Self::minimal(dialect)),
            Layout::Existing(existing) => Some(Self::existing(dialect, existing)),
        }
    }

    fn minimal(dialect: Dialect<'_>) -> Self {
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
            generation: None,
        };
        let table = match dialect {
            Dialect::Sqlite => plain("verification"),
            Dialect::Postgres { schema } => format!("\"{schema}\".verification"),
        };
        Self::with(dialect, [table, plain("id"), plain("destination"), plain("purpose")], own, None)
    }

    fn existing(dialect: Dialect<'_>, existing: &Existing) -> Self {
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
            generation: (dialect != Dialect::Sqlite).then(|| own(GENERATION.0)),
        };
        let columns = &existing.columns;
        let names = [
            existing.table.to_string(),
            columns.id.to_string(),
            columns.destination.to_string(),
            columns.purpose.to_string(),
        ];
        let copies = Copies {
            verified: columns.verified.to_string(),
            created_at: columns.created_at.to_string(),
            expires_at: columns.expires_at.to_string(),
        };
        Self::with(dialect, names, own, Some(copies))
    }

    fn with(
        dialect: Dialect<'_>,
        [name, id, destination, purpose]: [String; 4],
        own: Own,
        copies: Option<Copies>,
    ) -> Self {
        let Own { place, application, service, status, ends_at, due_at, follow_up_at, state, generation } = &own;
        let ours = format!("{state} IS NOT NULL");
        let columns = columns(&own, [&id, &destination, &purpose]);
        let select = format!("SELECT {columns} FROM {name} WHERE");
        let statuses = Status::ALL.map(|status| format!("'{status}'")).join(", ");
        let (for_update, is_id) = (dialect.for_update(), dialect.is_first(&id));
        let forget = generation.as_ref().map(|name| format!(", {name} = NULL")).unwrap_or_default();
        let sql = Statements {
            by_id: format!("{select} {id} = ?1 AND {ours}"),
            latest: format!(
                "{select} {destination} = ?1 AND {application} = ?2 AND {purpose} = ?3 AND {service} = ?4 AND {ours} \
                 ORDER BY {place} DESC LIMIT 1"
            ),
            due: format!("{select} {due_at} <= ?1 AND {ours} ORDER BY {due_at} LIMIT ?2{for_update}"),
            has_due: format!("SELECT EXISTS (SELECT 1 FROM {name} WHERE {due_at} <= ?1)"),
            overdue: format!(
                "SELECT {ends_at}, {application}, {id} FROM {name} WHERE {status} = 'pending' AND {ends_at} <= ?1 \
                 ORDER BY {ends_at} LIMIT ?2"
            ),
            to_follow_up: format!(
                "SELECT {application}, {id} FROM {name} WHERE {follow_up_at} <= ?1 AND {ours} ORDER BY {follow_up_at} LIMIT ?2"
            ),
            old: format!("SELECT {id} FROM {name} WHERE {status} = ?1 AND {ends_at} < ?2 LIMIT ?3{for_update}"),
            count_old: format!("SELECT count(*) FROM {name} WHERE {status} IN ({statuses}) AND {ends_at} < ?1"),
            delete: format!("DELETE FROM {name} WHERE {is_id} AND {ours}"),
            let_go: format!(
                "UPDATE {name} SET {place} = NULL, {application} = NULL, {service} = NULL, {status} = NULL, {ends_at} = NULL, \
                 {due_at} = NULL, {follow_up_at} = NULL, {state} = NULL{forget} WHERE {is_id} AND {ours}"
            ),
            dump: format!("{select} {place} > ?1 AND {ours} ORDER BY {place} LIMIT ?2"),
        };
        let sql = sql.map(|sql| dialect.statement(sql));
        Self { name, id, destination, purpose, own, copies, sql, is_postgres: dialect != Dialect::Sqlite }
    }

    /// The columns of a row, in the order in which they are read.
    pub(crate) fn columns(&self) -> String {
        columns(&self.own, [&self.id, &self.destination, &self.purpose])
    }

    /// The list that fits some conditions (see [`Self::conditions`]), newest first; the last parameter is how many.
    pub(crate) fn list(&self, conditions: &[String]) -> String {
        let (Own { place, state, .. }, name) = (&self.own, &self.name);
        let sql = format!(
            "SELECT {} FROM {name} WHERE {state} IS NOT NULL AND {} ORDER BY {place} DESC LIMIT ?",
            self.columns(),
            conditions.join(" AND ")
        );
        let dialect = if self.is_postgres { Dialect::Postgres { schema: "" } } else { Dialect::Sqlite };
        dialect.statement(&sql)
    }

    /// A condition of a list; each `?` is one parameter.
    pub(crate) fn condition(&self, of: Condition) -> String {
        let Own { place, application, service, status, ends_at, state, .. } = &self.own;
        let created_at = if self.is_postgres {
            format!("({state}::json ->> 'created_at')::bigint")
        } else {
            format!("json_extract({state}, '$.created_at')")
        };
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

fn columns(own: &Own, [id, destination, purpose]: [&String; 3]) -> String {
    let Own { place, application, service, status, ends_at, state, .. } = own;
    format!("{place}, {id}, {application}, {service}, {destination}, {purpose}, {status}, {ends_at}, {state}")
}

impl Statements {
    fn map(self, change: impl Fn(&str) -> String) -> Self {
        Self {
            by_id: change(&self.by_id),
            latest: change(&self.latest),
            due: change(&self.due),
            has_due: change(&self.has_due),
            overdue: change(&self.overdue),
            to_follow_up: change(&self.to_follow_up),
            old: change(&self.old),
            count_old: change(&self.count_old),
            delete: change(&self.delete),
            let_go: change(&self.let_go),
            dump: change(&self.dump),
        }
    }
}

/// The columns of somebody else's table that only they read.
#[derive(Debug)]
pub(crate) struct Copies {
    pub(crate) verified: String,
    pub(crate) created_at: String,
    pub(crate) expires_at: String,
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
const ADDED: [(&str, &str); 8] = [
    ("place", "the order in which verifications began"),
    ("application", "whose verification it is"),
    ("service", "which service of the application, empty for its own"),
    ("status", "pending, approved, canceled, expired, max_attempts_reached or failed"),
    ("ends_at", "when its time is up, in milliseconds since 1970"),
    ("due_at", "when a message that waits may be carried by anybody, or null"),
    ("follow_up_at", "when the next provider or channel is tried, or null"),
    ("state", "everything else as JSON, null in rows that are not ours"),
];

/// What PostgreSQL needs besides: that it is unique is what keeps two processes, which both saw that there was none, from beginning one
/// each.
const GENERATION: (&str, &str) = ("generation", "counts the attempts at one destination for one purpose");

/// The columns that a table of the application gets: name, type, and the statement that adds it.
pub(crate) fn added_columns(dialect: Dialect<'_>, existing: &Existing) -> Vec<(String, &'static str, String)> {
    let more = (dialect != Dialect::Sqlite).then_some(GENERATION);
    let column = |(name, about): (&str, &str)| {
        let is_text = ["application", "service", "status", "state"].contains(&name);
        let (name, kind) = (format!("{PREFIX}{name}"), if is_text { "text" } else { "bigint" });
        // Null in every row that is there: nothing that reads or writes the table notices.
        let mut sql = format!("-- {about}\nALTER TABLE {} ADD COLUMN {name} {kind} NULL", existing.table);
        if Some(about) == more.map(|(_, about)| about) {
            // Where rows of ours lost it: places rise as generations do.
            sql += &format!(";\nUPDATE {} SET {name} = {PREFIX}place WHERE {PREFIX}state IS NOT NULL", existing.table);
        }
        (name, kind, sql)
    };
    ADDED.into_iter().chain(more).map(column).collect()
}

/// The indexes that it gets: name and statement.
pub(crate) fn indexes(dialect: Dialect<'_>, existing: &Existing) -> [(String, String); 5] {
    let (table, columns) = (&existing.table, &existing.columns);
    let index = |unique: &str, name: &str, on: String, when: &str| {
        let name = format!("{PREFIX}{name}");
        let sql = format!("CREATE {unique}INDEX {name} ON {table} ({on}) WHERE {PREFIX}{when} IS NOT NULL");
        (name, sql)
    };
    let (destination, purpose) = (&columns.destination, &columns.purpose);
    let (unique, order) = if dialect == Dialect::Sqlite { ("", "place") } else { ("UNIQUE ", GENERATION.0) };
    let latest = format!("{destination}, {PREFIX}application, {purpose}, {PREFIX}service, {PREFIX}{order}");
    [
        index("UNIQUE ", "place", format!("{PREFIX}place"), "place"),
        index(unique, "latest", latest, "state"),
        index("", "ends", format!("{PREFIX}status, {PREFIX}ends_at"), "status"),
        index("", "due", format!("{PREFIX}due_at"), "due_at"),
        index("", "follow_up", format!("{PREFIX}follow_up_at"), "follow_up_at"),
    ]
}

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

/// The statements of a migration that make or change a supporting table or a sequence, without their comments; the log of events only if wanted.
pub(crate) fn support_statements(migration: &str, with_events: bool) -> Vec<String> {
    let lines = migration.lines().map(|line| line.split("--").next().unwrap_or_default().trim_end());
    let code = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n");
    let concerns = |statement: &&str| {
        let mut words = statement.split(|c: char| c.is_whitespace() || c == '(');
        let table =
            words.by_ref().skip_while(|word| !["TABLE", "INTO", "ON", "UPDATE", "SEQUENCE"].contains(word)).nth(1);
        table.is_some_and(|table| SUPPORT.contains(&table) && (with_events || !OF_EVENTS.contains(&table)))
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
    fn the_supporting_tables_are_taken_from_the_migrations() {
        let sqlite: &[&str] = &[include_str!("../migrations/sqlite/0001_begin.sql")];
        let postgres: &[&str] = &[
            include_str!("../migrations/postgres/0001_begin.sql"),
            include_str!("../migrations/postgres/0002_webhooks.sql"),
            include_str!("../migrations/postgres/0004_batches.sql"),
        ];
        for (migrations, only_elsewhere) in [(sqlite, &SUPPORT[13..]), (postgres, &[])] {
            for with_events in [true, false] {
                let statements: Vec<_> =
                    migrations.iter().flat_map(|migration| support_statements(migration, with_events)).collect();
                let made = |kind: &str, name: &str| {
                    let start = format!("CREATE {kind} {name}");
                    statements.iter().any(|sql| *sql == start || sql.starts_with(&format!("{start} ")))
                };
                let made = |name: &str| made("TABLE", name) || made("SEQUENCE", name);
                for name in SUPPORT.iter().filter(|name| !["receipt", "schema"].contains(name)) {
                    let expected = !only_elsewhere.contains(name) && (with_events || !OF_EVENTS.contains(name));
                    assert_eq!(made(name), expected, "{name} in {statements:?}");
                }
                assert!(!made("verification") && !made("delivery"));
                assert!(statements.iter().any(|sql| sql.starts_with("INSERT INTO decoy")));
            }
        }
    }

    #[test]
    fn parameters_are_numbered_as_the_database_has_them() {
        let postgres = Dialect::Postgres { schema: "otp" };
        assert_eq!(postgres.statement("a = ?1 AND b < ?2 OR c = ?1"), "a = $1 AND b < $2 OR c = $1");
        assert_eq!(postgres.statement("a = ? AND b < ? LIMIT ?"), "a = $1 AND b < $2 LIMIT $3");
        assert_eq!(Dialect::Sqlite.statement("a = ? AND b = ?1"), "a = ? AND b = ?1");
    }
}
