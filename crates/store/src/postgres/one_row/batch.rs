//! A batch of decisions on a one-row table: as in the layout `standalone`, but a row holds everything of its verification, so that
//! nothing is read of deliveries, and a row that changed is written whole.

use std::collections::HashSet;

use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, Status, Verification};
use countersign::store::Job;
use futures_util::future::join;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::super::batch::{Found, Kept, Questions, State};
use super::super::commit::{self, Part, Value, column, values};
use super::super::error::Error;
use super::super::rows::{Columns, Placed, text};
use super::super::sql::Sql;
use super::super::transaction::{self, Outcome, decide_each, lookups, outcome, places_for};
use super::OneRow;
use super::read::from_row;
use crate::json;
use crate::one_row::{due_at, service};

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// What the rows said when they were locked.
#[derive(Default)]
struct Before {
    /// Places of what is approved already.
    approved: HashSet<i64>,
    /// Names of messages that are known.
    messages: HashSet<(String, String)>,
}

/// Runs the jobs as if one after the other.
pub(in super::super) async fn run(client: &Client, sql: &Sql, one: &OneRow, jobs: &mut [&mut Box<dyn Job>]) -> Outcome {
    match decide(client, sql, one, jobs).await {
        Ok((state, before, deferred)) => outcome(commit(client, sql, one, &state, &before).await, deferred, 0),
        Err(error) => Outcome::Failed(error),
    }
}

async fn decide(
    client: &Client,
    sql: &Sql,
    one: &OneRow,
    jobs: &mut [&mut Box<dyn Job>],
) -> Result<(State, Before, Vec<usize>), Error> {
    let lookups = lookups(jobs);
    let questions = Questions::of(&lookups);
    let (locked, resolved) = look_up(client, sql, one, &questions).await?;
    let mut before = Before::default();
    let (mut placed, mut of_rows) = (Vec::with_capacity(locked.len()), Vec::with_capacity(locked.len()));
    for (row, deliveries) in locked {
        if row.row.status == Status::Approved {
            before.approved.insert(row.place);
        }
        let named = deliveries.iter().filter_map(|row| Some((row.message_id.clone()?, row.provider.clone())));
        before.messages.extend(named);
        of_rows.push(deliveries);
        placed.push(row);
    }
    // What a question leads to now, and was not locked, began in the meantime.
    let is_locked = |place: &i64| placed.iter().any(|row| row.place == *place);
    if !resolved.iter().all(|(_, _, place)| is_locked(place)) {
        return Err(Error::Conflict);
    }
    let mut state = State::new(questions, placed, &resolved)?;
    state.latest_alone = !one.theirs;
    for (found, deliveries) in state.found.iter_mut().zip(of_rows) {
        let kept = |value| Kept { stored: true, changed: false, value };
        found.deliveries = Some(deliveries.into_iter().map(kept).collect());
    }
    let mut wanted = state.wanted(jobs.iter().map(|job| &***job).zip(&lookups));
    wanted.places.clear();
    transaction::read(client, sql, &mut state, wanted, places_for(&lookups)).await?;
    let deferred = decide_each(&mut state, jobs, &lookups)?;
    Ok((state, before, deferred))
}

type Locked = Vec<(Placed, Vec<Delivery>)>;

/// First round trip.
async fn look_up(
    client: &Client,
    sql: &Sql,
    one: &OneRow,
    questions: &Questions,
) -> Result<(Locked, Vec<(i64, i64, i64)>), Error> {
    let ids: Vec<String> = column!(questions.ids, id => id.to_string());
    // A key of the batch holds a destination as it is; the table has it in its own format.
    let destinations: Vec<&str> = column!(questions.latest, key => one.format.of_text(&key.destination));
    let applications: Vec<&str> = column!(questions.latest, key => key.application.as_str());
    let purposes: Vec<&str> = column!(questions.latest, key => key.purpose.as_str());
    let services: Vec<String> =
        column!(questions.latest, key => key.service.map(|id| id.to_string()).unwrap_or_default());
    let (providers, references): (Vec<_>, Vec<_>) =
        questions.references.iter().map(|(provider, reference)| (text(provider), text(reference))).unzip();
    let parameters: [Parameter<'_>; 7] = [
        (&ids, Type::TEXT_ARRAY),
        (&destinations, Type::TEXT_ARRAY),
        (&applications, Type::TEXT_ARRAY),
        (&purposes, Type::TEXT_ARRAY),
        (&services, Type::TEXT_ARRAY),
        (&references, Type::TEXT_ARRAY),
        (&providers, Type::TEXT_ARRAY),
    ];
    let begin = client.batch_execute(&sql.begin);
    let lock = client.query_typed(&one.batched.lock, &parameters);
    let resolve = client.query_typed(&one.batched.resolve, &parameters);
    let (begun, (locked, resolved)) = join(begin, join(lock, resolve)).await;
    begun?;
    let locked = locked?;
    let locked = locked.iter().map(|row| {
        let (place, (verification, deliveries)) = from_row(one, row)?;
        let generation = Columns::at(row, 9).take()?;
        Ok((Placed { place, generation, row: verification }, deliveries))
    });
    let locked = locked.collect::<Result<Vec<_>, Error>>()?;
    let resolved = resolved?;
    let resolved = resolved.iter().map(|row| {
        let mut columns = Columns::of(row);
        Ok((columns.take()?, columns.take()?, columns.take()?))
    });
    Ok((locked, resolved.collect::<Result<_, Error>>()?))
}

/// Third round trip. What was replaced goes before what replaces it.
async fn commit(client: &Client, sql: &Sql, one: &OneRow, state: &State, before: &Before) -> Result<(), Error> {
    let mut parts: Vec<Part<'_>> = Vec::with_capacity(10);
    let gone: Vec<i64> =
        state.found.iter().filter(|found| found.gone && found.row.stored).map(|found| found.place).collect();
    if !gone.is_empty() {
        let rows = gone.len();
        parts.push(Part::new(&one.batched.replace, rows, values![gone, INT8_ARRAY;]));
    }
    let living = || state.found.iter().filter(|found| !found.gone);
    let mut new: Vec<&Found> = living().filter(|found| !found.row.stored).collect();
    // Everybody inserts in the same order, and so never waits in a circle.
    new.sort_by_cached_key(|found| {
        let row = &found.row.value;
        let (to, application, purpose) = (row.to.reveal(), row.application.as_str(), row.purpose.as_str());
        (to.to_owned(), application.to_owned(), purpose.to_owned(), service(row), found.generation)
    });
    // Before anything is sent: the commit goes behind all writes without waiting for them.
    if let Some(why) = new.iter().find_map(|found| one.lacks_room(&found.row.value)) {
        return Err(Error::Refused(why));
    }
    if !new.is_empty() {
        let rows = column!(new, found => (found.place, found.generation, &found.row.value, deliveries(found)));
        parts.push(insert_rows(one, &rows));
    }
    let old: Vec<&Found> = living().filter(|found| found.row.stored && is_changed(found)).collect();
    if !old.is_empty() {
        let approved =
            |found: &&Found| found.row.value.status == Status::Approved && !before.approved.contains(&found.place);
        let approved = old.iter().map(approved).collect();
        let rows = column!(old, found => (found.place, &found.row.value, deliveries(found)));
        parts.push(update(one, &rows, approved));
    }
    let references = references(living().filter(|found| is_changed(found)), before);
    if !references.is_empty() {
        parts.push(keep_references(one, references));
    }
    commit::guesses(sql, state, &mut parts);
    commit::limits(sql, state, &mut parts);
    if one.has_events() {
        commit::events(sql, state, &mut parts);
    }
    commit::commit_each(client, sql, state, parts).await
}

fn is_changed(found: &Found) -> bool {
    found.row.changed || found.deliveries.iter().flatten().any(|kept| kept.changed)
}

fn deliveries(found: &Found) -> Vec<Delivery> {
    found.deliveries.iter().flatten().map(|kept| kept.value.clone()).collect()
}

/// Places, generations, verifications and their deliveries.
pub(super) fn insert_rows<'a>(one: &'a OneRow, rows: &[(i64, i64, &'a Verification, Vec<Delivery>)]) -> Part<'a> {
    let values = values![
        column!(rows, row => row.0), INT8_ARRAY;
        column!(rows, row => row.2.id.to_string()), TEXT_ARRAY;
        column!(rows, row => row.2.application.as_str()), TEXT_ARRAY;
        column!(rows, row => service(row.2)), TEXT_ARRAY;
        column!(rows, row => one.format.write(&row.2.to)), TEXT_ARRAY;
        column!(rows, row => row.2.purpose.as_str()), TEXT_ARRAY;
        column!(rows, row => row.2.status.as_str()), TEXT_ARRAY;
        column!(rows, row => row.2.expires_at.as_millis()), INT8_ARRAY;
        column!(rows, row => due_at(&row.3)), INT8_ARRAY;
        column!(rows, row => row.2.follow_up_at.map(Timestamp::as_millis)), INT8_ARRAY;
        column!(rows, row => json::State::new(row.2, &row.3).to_json()), TEXT_ARRAY;
        column!(rows, row => row.1), INT8_ARRAY;
        column!(rows, row => row.2.status == Status::Approved), BOOL_ARRAY;
        column!(rows, row => row.2.created_at.as_millis()), INT8_ARRAY;
    ];
    Part::new(&one.batched.insert, rows.len(), values)
}

/// Places, verifications and their deliveries; which were approved just now.
pub(super) fn update<'a>(
    one: &'a OneRow,
    rows: &[(i64, &'a Verification, Vec<Delivery>)],
    approved: Vec<bool>,
) -> Part<'a> {
    let values = values![
        column!(rows, row => row.0), INT8_ARRAY;
        column!(rows, row => row.1.status.as_str()), TEXT_ARRAY;
        column!(rows, row => due_at(&row.2)), INT8_ARRAY;
        column!(rows, row => row.1.follow_up_at.map(Timestamp::as_millis)), INT8_ARRAY;
        column!(rows, row => json::State::new(row.1, &row.2).to_json()), TEXT_ARRAY;
        approved, BOOL_ARRAY;
    ];
    Part::new(&one.batched.update, rows.len(), values)
}

/// What a provider may call a delivery: reference, provider, and the verification that is meant.
pub(super) type Reference<'a> = (String, &'a str, &'a Verification);

/// What was not known before.
fn references<'a>(changed: impl Iterator<Item = &'a Found>, before: &Before) -> Vec<Reference<'a>> {
    let mut references = Vec::new();
    for found in changed {
        for kept in found.deliveries.iter().flatten().filter(|kept| kept.changed) {
            let (delivery, row) = (&kept.value, &found.row.value);
            if !kept.stored {
                references.push((delivery.id.to_string(), delivery.provider.as_str(), row));
            }
            let named = delivery
                .message_id
                .clone()
                .filter(|id| !before.messages.contains(&(id.clone(), delivery.provider.clone())));
            references.extend(named.map(|name| (name, delivery.provider.as_str(), row)));
        }
    }
    references
}

/// Two of one name are one row: how many come out is not known before.
pub(super) fn keep_references<'a>(one: &'a OneRow, references: Vec<Reference<'a>>) -> Part<'a> {
    let values = values![
        column!(references, row => text(&row.0).into_owned()), TEXT_ARRAY;
        column!(references, row => text(row.1)), TEXT_ARRAY;
        column!(references, row => row.2.id.to_string()), TEXT_ARRAY;
        column!(references, row => row.2.expires_at.as_millis()), INT8_ARRAY;
    ];
    Part { statement: &one.batched.keep_references, values, rows: None }
}
