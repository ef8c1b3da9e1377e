//! The third round trip of a batch: everything that it changed in one statement, and the commit behind it. If the statement fails, the
//! server turns the commit into a rollback.

use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, Verification};
use futures_util::future::{join, join_all};
use tokio_postgres::types::{ToSql, Type};

use super::batch::{Found, Kept, State};
use super::error::Error;
use super::rows::{code_columns, instants_to_bytes, metadata_column, service_column, text};
use super::session::{Parameter, Runs, Session};
use super::sql::Sql;
use crate::wording;

/// Collects one column.
macro_rules! column {
    ($rows:expr, $row:ident => $value:expr) => {
        ($rows.iter().map(|$row| $value).collect::<Vec<_>>())
    };
}

/// The values of a part, each with what it is for the server.
macro_rules! values {
    ($($value:expr, $kind:ident;)+) => {
        vec![$(Value(Box::new($value), Type::$kind)),+]
    };
}

pub(super) use {column, values};

/// What a batch writes into one table in one way.
pub(super) struct Part<'a> {
    pub(super) statement: &'a str,
    pub(super) values: Vec<Value<'a>>,
    /// How many rows that must change, if it is known.
    pub(super) rows: Option<usize>,
}

/// A value, most often a column, and what it is for the server.
pub(super) struct Value<'a>(pub(super) Box<dyn ToSql + Sync + Send + 'a>, pub(super) Type);

impl<'a> Part<'a> {
    pub(super) const fn new(statement: &'a str, rows: usize, values: Vec<Value<'a>>) -> Self {
        Self { statement, values, rows: Some(rows) }
    }

    fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.values.iter().map(|Value(value, kind)| -> Parameter<'_> { (&**value, kind.clone()) })
    }

    /// As a statement of its own.
    pub(super) async fn run(&self, runs: &impl Runs) -> Result<(), Error> {
        let parameters: Vec<Parameter<'_>> = self.parameters().collect();
        self.must_have_changed(runs.execute(self.statement, &parameters).await?)
    }

    fn must_have_changed(&self, changed: u64) -> Result<(), Error> {
        match self.rows {
            // Cannot be, under locks.
            Some(wanted) if changed != wanted as u64 => {
                Err(Error::Unreadable(format!("{changed} rows were changed in place of {wanted}")))
            }
            _ => Ok(()),
        }
    }
}

/// Whatever was changed, ready to be written.
///
/// # Errors
/// If the connection is lost, or the server refuses the statement: nothing is on its way then.
pub(super) async fn prepare<'a>(session: &Session, sql: &'a Sql, state: &'a State) -> Result<Vec<Part<'a>>, Error> {
    let mut parts = Vec::with_capacity(8);
    verifications(sql, state, &mut parts);
    deliveries(sql, state, &mut parts);
    guesses(sql, state, &mut parts);
    limits(sql, state, &mut parts);
    events(sql, state, &mut parts);
    if state.decoy && parts.is_empty() {
        parts.push(decoy(sql));
    }
    let statements: Vec<&str> = parts.iter().map(|part| part.statement).collect();
    session.prepare_together(&statements).await?;
    Ok(parts)
}

/// Writes the parts in one statement, and commits.
///
/// # Errors
/// [`Error::Cut`] if the connection was lost: then the fate of the commit is not known.
pub(super) async fn commit(session: &Session, parts: &[Part<'_>]) -> Result<(), Error> {
    let statements: Vec<&str> = parts.iter().map(|part| part.statement).collect();
    let parameters: Vec<Parameter<'_>> = parts.iter().flat_map(Part::parameters).collect();
    // Both are polled in this order, and each hands over its message when it is polled first.
    let (written, committed) = join(session.write(&statements, &parameters), session.commit()).await;
    let written = written.and_then(|changed| {
        let mut pairs = parts.iter().zip(changed);
        pairs.try_for_each(|(part, changed)| part.must_have_changed(changed))
    });
    worst([written, committed])
}

/// The same, each part in a statement of its own.
pub(super) async fn commit_each(
    runs: &impl Runs,
    sql: &Sql,
    state: &State,
    mut parts: Vec<Part<'_>>,
) -> Result<(), Error> {
    if state.decoy && parts.is_empty() {
        parts.push(decoy(sql));
    }
    // Fewer than 30 futures are polled in their order.
    let writing = join_all(parts.iter().map(|part| part.run(runs)));
    let (written, committed) = join(writing, runs.commit()).await;
    worst(written.into_iter().chain([committed]))
}

/// The first thing that went wrong; but a lost connection says more than a statement that failed before it: the commit's fate is not known.
fn worst(results: impl IntoIterator<Item = Result<(), Error>>) -> Result<(), Error> {
    let mut worst = Ok(());
    for result in results {
        match result {
            Err(Error::Cut(text)) => worst = Err(Error::Cut(text)),
            Err(error) if worst.is_ok() => worst = Err(error),
            _ => {}
        }
    }
    worst
}

fn decoy(sql: &Sql) -> Part<'_> {
    Part::new(&sql.decoy, 1, Vec::new())
}

fn changed<T>(rows: &[Kept<T>], stored: bool) -> impl Iterator<Item = &T> {
    rows.iter().filter(move |kept| kept.changed && kept.stored == stored).map(|kept| &kept.value)
}

fn verifications<'a>(sql: &'a Sql, state: &'a State, parts: &mut Vec<Part<'a>>) {
    let mut new: Vec<_> = state.found.iter().filter(|found| !found.row.stored).collect();
    // Everybody inserts in the same order, and so never waits in a circle.
    new.sort_by(|a, b| {
        let key = |row: &'a Verification| {
            (row.to.reveal(), row.application.as_str(), row.purpose.as_str(), service_column(row.service.as_ref()))
        };
        key(&a.row.value).cmp(&key(&b.row.value)).then(a.generation.cmp(&b.generation))
    });
    if !new.is_empty() {
        parts.push(insert_verifications(sql, &new));
    }
    let old: Vec<_> = state.found.iter().filter(|found| found.row.stored && found.row.changed).collect();
    if !old.is_empty() {
        parts.push(update_verifications(sql, &old));
    }
}

/// A count as the server takes it.
const fn count(n: u32) -> i64 {
    n as i64
}

pub(super) fn insert_verifications<'a>(sql: &'a Sql, new: &[&'a Found]) -> Part<'a> {
    let rows: Vec<&Verification> = column!(new, found => &found.row.value);
    let country = |row: &Verification| row.to.country().map(|country| country.to_string());
    let values = values![
        column!(new, found => found.place), INT8_ARRAY;
        column!(new, found => found.generation), INT8_ARRAY;
        column!(rows, row => row.id.as_bytes().as_slice()), BYTEA_ARRAY;
        column!(rows, row => row.application.as_str()), TEXT_ARRAY;
        column!(rows, row => row.to.reveal()), TEXT_ARRAY;
        column!(rows, row => country(row)), TEXT_ARRAY;
        column!(rows, row => row.purpose.as_str()), TEXT_ARRAY;
        column!(rows, row => row.channel.as_str()), TEXT_ARRAY;
        column!(rows, row => row.status.as_str()), TEXT_ARRAY;
        column!(rows, row => row.created_at.as_millis()), INT8_ARRAY;
        column!(rows, row => row.expires_at.as_millis()), INT8_ARRAY;
        column!(rows, row => row.finished_at.map(Timestamp::as_millis)), INT8_ARRAY;
        column!(rows, row => i64::from(row.code_length)), INT8_ARRAY;
        column!(rows, row => code_columns(&row.code).0), TEXT_ARRAY;
        column!(rows, row => code_columns(&row.code).1), BYTEA_ARRAY;
        column!(rows, row => code_columns(&row.code).2), BYTEA_ARRAY;
        column!(rows, row => count(row.sends)), INT8_ARRAY;
        column!(rows, row => count(row.max_sends)), INT8_ARRAY;
        column!(rows, row => row.resend_at.as_millis()), INT8_ARRAY;
        column!(rows, row => count(row.wrong_by_id)), INT8_ARRAY;
        column!(rows, row => count(row.wrong_by_destination)), INT8_ARRAY;
        column!(rows, row => count(row.max_checks)), INT8_ARRAY;
        column!(rows, row => row.locale.as_deref().map(text)), TEXT_ARRAY;
        column!(rows, row => row.template.as_deref().map(text)), TEXT_ARRAY;
        column!(rows, row => metadata_column(&row.metadata)), TEXT_ARRAY;
        column!(rows, row => row.keyless), BOOL_ARRAY;
        column!(rows, row => service_column(row.service.as_ref())), BYTEA_ARRAY;
        column!(rows, row => row.payment.as_ref().map(|payment| text(&payment.amount))), TEXT_ARRAY;
        column!(rows, row => row.payment.as_ref().map(|payment| text(&payment.payee))), TEXT_ARRAY;
        column!(rows, row => wording::to_json(&row.wording)), TEXT_ARRAY;
        column!(rows, row => row.follow_up_at.map(Timestamp::as_millis)), INT8_ARRAY;
    ];
    Part::new(&sql.insert_verifications, rows.len(), values)
}

fn update_verifications<'a>(sql: &'a Sql, old: &[&'a Found]) -> Part<'a> {
    let rows: Vec<&Verification> = column!(old, found => &found.row.value);
    let values = values![
        column!(old, found => found.place), INT8_ARRAY;
        column!(rows, row => row.channel.as_str()), TEXT_ARRAY;
        column!(rows, row => row.status.as_str()), TEXT_ARRAY;
        column!(rows, row => row.finished_at.map(Timestamp::as_millis)), INT8_ARRAY;
        column!(rows, row => code_columns(&row.code).2), BYTEA_ARRAY;
        column!(rows, row => count(row.sends)), INT8_ARRAY;
        column!(rows, row => row.resend_at.as_millis()), INT8_ARRAY;
        column!(rows, row => count(row.wrong_by_id)), INT8_ARRAY;
        column!(rows, row => count(row.wrong_by_destination)), INT8_ARRAY;
        column!(rows, row => row.template.as_deref().map(text)), TEXT_ARRAY;
        column!(rows, row => wording::to_json(&row.wording)), TEXT_ARRAY;
        column!(rows, row => row.follow_up_at.map(Timestamp::as_millis)), INT8_ARRAY;
    ];
    Part::new(&sql.update_verifications, rows.len(), values)
}

fn deliveries<'a>(sql: &'a Sql, state: &'a State, parts: &mut Vec<Part<'a>>) {
    let of = |stored| -> Vec<(i64, &'a Delivery)> {
        let with_place = |found: &'a Found| {
            changed(found.deliveries.as_deref().unwrap_or_default(), stored).map(|row| (found.place, row))
        };
        state.found.iter().flat_map(with_place).collect()
    };
    let (new, old) = (of(false), of(true));
    if !new.is_empty() {
        parts.push(insert_deliveries(sql, &new));
    }
    if !old.is_empty() {
        parts.push(update_deliveries(sql, &old));
    }
}

pub(super) fn insert_deliveries<'a>(sql: &'a Sql, rows: &[(i64, &'a Delivery)]) -> Part<'a> {
    let values = values![
        column!(rows, row => row.0), INT8_ARRAY;
        column!(rows, row => count(row.1.number)), INT8_ARRAY;
        column!(rows, row => row.1.id.as_bytes().as_slice()), BYTEA_ARRAY;
        column!(rows, row => count(row.1.send)), INT8_ARRAY;
        column!(rows, row => row.1.channel.as_str()), TEXT_ARRAY;
        column!(rows, row => text(&row.1.provider)), TEXT_ARRAY;
        column!(rows, row => row.1.status.as_str()), TEXT_ARRAY;
        column!(rows, row => row.1.queued_at.as_millis()), INT8_ARRAY;
        column!(rows, row => row.1.at.as_millis()), INT8_ARRAY;
        column!(rows, row => row.1.error.as_deref().map(text)), TEXT_ARRAY;
        column!(rows, row => row.1.message_id.as_deref().map(text)), TEXT_ARRAY;
        column!(rows, row => row.1.due_at.as_millis()), INT8_ARRAY;
        column!(rows, row => row.1.lease_until.as_millis()), INT8_ARRAY;
        column!(rows, row => count(row.1.claims)), INT8_ARRAY;
    ];
    Part::new(&sql.insert_deliveries, rows.len(), values)
}

fn update_deliveries<'a>(sql: &'a Sql, rows: &[(i64, &'a Delivery)]) -> Part<'a> {
    let values = values![
        column!(rows, row => row.0), INT8_ARRAY;
        column!(rows, row => count(row.1.number)), INT8_ARRAY;
        column!(rows, row => row.1.status.as_str()), TEXT_ARRAY;
        column!(rows, row => row.1.at.as_millis()), INT8_ARRAY;
        column!(rows, row => row.1.error.as_deref().map(text)), TEXT_ARRAY;
        column!(rows, row => row.1.message_id.as_deref().map(text)), TEXT_ARRAY;
        column!(rows, row => row.1.lease_until.as_millis()), INT8_ARRAY;
        column!(rows, row => count(row.1.claims)), INT8_ARRAY;
    ];
    Part::new(&sql.update_deliveries, rows.len(), values)
}

pub(super) fn guesses<'a>(sql: &'a Sql, state: &'a State, parts: &mut Vec<Part<'a>>) {
    for stored in [false, true] {
        let mut rows: Vec<_> = state.guesses.iter().filter(|(_, kept)| kept.changed && kept.stored == stored).collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_by(|a, b| a.0.cmp(b.0));
        let statement = if stored { &sql.update_guesses } else { &sql.insert_guesses };
        let values = values![
            column!(rows, row => row.0.application.as_str()), TEXT_ARRAY;
            column!(rows, row => text(&row.0.destination)), TEXT_ARRAY;
            column!(rows, row => instants_to_bytes(&row.1.value.by_id)), BYTEA_ARRAY;
            column!(rows, row => instants_to_bytes(&row.1.value.by_keyless)), BYTEA_ARRAY;
            column!(rows, row => instants_to_bytes(&row.1.value.by_destination)), BYTEA_ARRAY;
            column!(rows, row => row.1.value.forgettable_at().as_millis()), INT8_ARRAY;
        ];
        parts.push(Part::new(statement, rows.len(), values));
    }
}

pub(super) fn limits<'a>(sql: &'a Sql, state: &'a State, parts: &mut Vec<Part<'a>>) {
    for stored in [false, true] {
        let changed = state.limits.iter().filter(|(_, kept)| kept.changed && kept.stored == stored);
        let mut rows: Vec<_> = changed.filter_map(|(key, kept)| Some((key, kept.value?))).collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_by(|a, b| a.0.cmp(b.0));
        let statement = if stored { &sql.update_limits } else { &sql.insert_limits };
        let values = values![
            column!(rows, row => text(&row.0.0)), TEXT_ARRAY;
            column!(rows, row => row.1.0), INT8_ARRAY;
        ];
        parts.push(Part::new(statement, rows.len(), values));
    }
}

/// The events of a batch are one row until they are read.
pub(super) fn events<'a>(sql: &'a Sql, state: &'a State, parts: &mut Vec<Part<'a>>) {
    let rows = &state.events;
    let Some(latest) = rows.iter().map(|row| row.at.as_millis()).max() else { return };
    let values = values![
        latest, INT8;
        column!(rows, row => row.kind.as_str()), TEXT_ARRAY;
        column!(rows, row => row.application.as_str()), TEXT_ARRAY;
        column!(rows, row => row.verification.as_bytes().as_slice()), BYTEA_ARRAY;
        column!(rows, row => row.delivery.as_ref().map(|id| id.as_bytes().as_slice())), BYTEA_ARRAY;
        column!(rows, row => row.at.as_millis()), INT8_ARRAY;
    ];
    parts.push(Part::new(&sql.insert_events, 1, values));
}
