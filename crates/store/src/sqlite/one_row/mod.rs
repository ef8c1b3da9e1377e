//! The layouts `minimal` and `existing` on SQLite.

mod read;
pub(super) mod schema;
mod write;

pub(super) use read::{
    count_old, dump, has_due, list, overdue, to_follow_up, verification, verification_of, verifications,
};
pub(super) use write::{claim, cleanup, load, run};

use countersign::core::time::Timestamp;
use rusqlite::types::Value;

use crate::layout::DestinationFormat;
use crate::one_row::{Own, Table};

/// A table of which a row is a verification.
pub(super) struct OneRow {
    table: Table,
    writes: Writes,
    format: DestinationFormat,
    /// How the application's own columns are written; `None` in a table of our own.
    written: Option<Written>,
    keep_rows: bool,
}

impl OneRow {
    /// Whether there is a log of events.
    pub(super) const fn has_events(&self) -> bool {
        self.written.is_some()
    }
}

/// How the application's own columns are written, by their declared types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Written {
    created_at: TimeAs,
    expires_at: TimeAs,
}

/// How a column has instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeAs {
    /// `2026-11-22 10:00:00.000000`, UTC: as Django writes them on SQLite.
    Text,
    /// Seconds since the Unix epoch.
    Seconds,
}

impl TimeAs {
    fn write(self, at: Timestamp) -> Value {
        match self {
            Self::Seconds => Value::from(at.as_secs()),
            Self::Text => {
                let at = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or(jiff::Timestamp::MAX);
                Value::from(at.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string())
            }
        }
    }
}

/// What is written to the table of verifications; `?1`, `?2` … are explained at each.
struct Writes {
    /// id, application, service, destination, purpose, status, ends_at, due_at, follow_up_at, state, and in somebody else's table
    /// verified, created_at, expires_at.
    insert: String,
    /// destination, application, purpose, service: the one before goes, where one row is all that there is.
    replace: Option<String>,
    /// id, status, due_at, follow_up_at, state.
    update: String,
    /// id, true.
    approve: Option<String>,
}

impl Writes {
    fn new(table: &Table) -> Self {
        let Table { name, id, destination, purpose, own, copies, .. } = table;
        let Own { place, application, service, status, ends_at, due_at, follow_up_at, state, .. } = own;
        let mut into = format!(
            "{id}, {application}, {service}, {destination}, {purpose}, {status}, {ends_at}, {due_at}, {follow_up_at}, {state}"
        );
        let mut values = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10".to_owned();
        if let Some(copies) = copies {
            into += &format!(", {}, {}, {}, {place}", copies.verified, copies.created_at, copies.expires_at);
            // One writer at a time: nobody else can take the same place.
            values += &format!(
                ", ?11, ?12, ?13, (SELECT coalesce(max({place}), 0) + 1 FROM {name} WHERE {place} IS NOT NULL)"
            );
        }
        Self {
            insert: format!("INSERT INTO {name} ({into}) VALUES ({values})"),
            replace: copies.is_none().then(|| {
                format!("DELETE FROM {name} WHERE {destination} = ?1 AND {application} = ?2 AND {purpose} = ?3 AND {service} = ?4")
            }),
            update: format!(
                "UPDATE {name} SET {status} = ?2, {due_at} = ?3, {follow_up_at} = ?4, {state} = ?5 \
                 WHERE {id} = ?1 AND {state} IS NOT NULL"
            ),
            approve: copies.as_ref().map(|copies| {
                format!("UPDATE {name} SET {} = ?2 WHERE {id} = ?1 AND {state} IS NOT NULL", copies.verified)
            }),
        }
    }
}
