//! The layouts `minimal` and `existing` on PostgreSQL.
//!
//! What supports verifications is in tables of our own schema, as in the layout `standalone`; so the application's schema gets columns
//! and indexes, and nothing else.

mod batch;
mod read;
pub(super) mod schema;
mod sql;
mod write;

pub(super) use batch::run;
pub(super) use read::{
    count_old, dump, has_due, list, overdue, to_follow_up, verification, verification_of, verifications,
};
pub(super) use write::{claim, cleanup, load};

use countersign::core::verification::Verification;

use crate::layout::DestinationFormat;
use crate::one_row::Table;
use sql::Batched;

/// A table of which a row is a verification.
pub(super) struct OneRow {
    table: Table,
    batched: Batched,
    format: DestinationFormat,
    /// Whether the table is the application's, where there are events.
    theirs: bool,
    keep_rows: bool,
    room: Vec<Room>,
}

/// A column that holds so many characters.
#[derive(Clone, Debug)]
struct Room {
    column: String,
    most: usize,
    of: Of,
}

/// Which text of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Destination,
    Purpose,
}

impl OneRow {
    /// What a row has no room for, in words that repeat nothing of it.
    fn lacks_room(&self, row: &Verification) -> Option<String> {
        let too_long = |room: &&Room| {
            let length = match room.of {
                Of::Destination => self.format.of_text(row.to.reveal()).chars().count(),
                Of::Purpose => row.purpose.as_str().chars().count(),
            };
            length > room.most
        };
        let Room { column, most, .. } = self.room.iter().find(too_long)?;
        Some(format!(
            "the column {column} holds {most} characters, and this one needs more; make it longer in the application's table"
        ))
    }

    /// Whether there is a log of events.
    pub(super) const fn has_events(&self) -> bool {
        self.theirs
    }
}

/// How the application's own columns are written, by their types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    verified: FlagAs,
    created_at: TimeAs,
    expires_at: TimeAs,
}

/// How a column has yes and no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlagAs {
    Boolean,
    /// 1 and 0.
    Number,
}

impl FlagAs {
    /// The SQL of a flag that is a boolean in SQL.
    fn of(self, flag: &str) -> String {
        match self {
            Self::Boolean => flag.to_owned(),
            Self::Number => format!("({flag})::int"),
        }
    }
}

/// How a column has instants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TimeAs {
    /// `timestamp with time zone`.
    Instant,
    /// `timestamp without time zone`, in UTC.
    Utc,
    /// Seconds since the Unix epoch.
    Seconds,
}

impl TimeAs {
    /// The SQL of an instant that is milliseconds in SQL.
    fn of(self, millis: &str) -> String {
        let instant = format!("TIMESTAMPTZ '1970-01-01 00:00:00+00' + {millis} * INTERVAL '1 millisecond'");
        match self {
            Self::Instant => instant,
            Self::Utc => format!("({instant}) AT TIME ZONE 'UTC'"),
            Self::Seconds => format!("{millis} / 1000"),
        }
    }
}
