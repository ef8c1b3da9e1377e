//! The layouts `minimal` and `existing` on SQLite.

mod read;
pub(super) mod schema;
mod write;

pub(super) use read::{count_old, dump, has_due, list, overdue, to_follow_up, verification, verification_of};
pub(super) use write::{claim, cleanup, load, run};

use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, DeliveryStatus, Verification};
use rusqlite::types::Value;

use crate::layout::DestinationFormat;
use crate::one_row::Table;

/// A table of which a row is a verification.
pub(super) struct OneRow {
    table: Table,
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

type Whole = (Verification, Vec<Delivery>);

/// When the earliest message that waits may be carried by anybody.
fn due_at(deliveries: &[Delivery]) -> Option<i64> {
    let queued = deliveries.iter().filter(|delivery| delivery.status == DeliveryStatus::Queued);
    queued.map(|delivery| delivery.lease_until.as_millis()).min()
}

fn service(verification: &Verification) -> String {
    verification.service.map(|id| id.to_string()).unwrap_or_default()
}
