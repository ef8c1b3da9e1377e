//! A batch of decisions on a one-row table: as in the layout `standalone`, but a row holds everything of its verification, so that
//! nothing is read of deliveries, and a row that changed is written whole.

use std::collections::HashSet;

use countersign::core::decision::Lookup;
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, Status, Verification};
use countersign::store::Job;
use futures_util::future::join;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::super::batch::{Found, Kept, Questions, State};
use super::super::error::Error;
use super::super::rows::{Columns, Placed, text};
use super::super::sql::Sql;
use super::super::transaction::{self, Outcome, Writing, decide_each, execute, finish, outcome};
use super::OneRow;
use super::read::from_row;
use crate::json;
use crate::one_row::{due_at, service};

type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Collects one column.
macro_rules! column {
    ($rows:expr, $row:ident => $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}

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
    let questions = Questions::of(jobs.iter().map(|job| &***job));
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
    let mut wanted = state.wanted(jobs.iter().map(|job| &***job));
    wanted.places.clear();
    let beginning = jobs.iter().filter(|job| matches!(job.lookup(), Lookup::Latest { .. }));
    let new_places = i64::try_from(beginning.count()).unwrap_or(i64::MAX);
    transaction::read(client, sql, &mut state, wanted, new_places).await?;
    let deferred = decide_each(&mut state, jobs)?;
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
    let mut writes: Vec<Writing<'_>> = Vec::with_capacity(10);
    let gone: Vec<i64> =
        state.found.iter().filter(|found| found.gone && found.row.stored).map(|found| found.place).collect();
    if !gone.is_empty() {
        writes.push(Box::pin(replace(client, one, gone)));
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
        writes.push(Box::pin(insert(client, one, new)));
    }
    let old: Vec<&Found> = living().filter(|found| found.row.stored && is_changed(found)).collect();
    if !old.is_empty() {
        let approved =
            |found: &&Found| found.row.value.status == Status::Approved && !before.approved.contains(&found.place);
        let approved = old.iter().map(approved).collect();
        let rows = old.iter().map(|found| (found.place, &found.row.value, deliveries(found))).collect();
        writes.push(Box::pin(update(client, one, rows, approved)));
    }
    let references = references(living().filter(|found| is_changed(found)), before);
    if !references.is_empty() {
        writes.push(Box::pin(keep_references(client, one, references)));
    }
    transaction::guesses(client, sql, state, &mut writes);
    transaction::limits(client, sql, state, &mut writes);
    if one.has_events() && !state.events.is_empty() {
        writes.push(Box::pin(transaction::events(client, sql, state)));
    }
    finish(client, sql, state, writes).await
}

fn is_changed(found: &Found) -> bool {
    found.row.changed || found.deliveries.iter().flatten().any(|kept| kept.changed)
}

fn deliveries(found: &Found) -> Vec<Delivery> {
    found.deliveries.iter().flatten().map(|kept| kept.value.clone()).collect()
}

async fn replace(client: &Client, one: &OneRow, places: Vec<i64>) -> Result<Option<(u64, usize)>, Error> {
    let deleted = execute(client, &one.batched.replace, &[(&places, Type::INT8_ARRAY)]).await?;
    Ok(Some((deleted, places.len())))
}

async fn insert(client: &Client, one: &OneRow, new: Vec<&Found>) -> Result<Option<(u64, usize)>, Error> {
    let rows = new.iter().map(|found| (found.place, found.generation, &found.row.value, deliveries(found))).collect();
    insert_rows(client, one, rows).await
}

/// Places, generations, verifications and their deliveries.
pub(super) async fn insert_rows(
    client: &Client,
    one: &OneRow,
    rows: Vec<(i64, i64, &Verification, Vec<Delivery>)>,
) -> Result<Option<(u64, usize)>, Error> {
    let parameters: [Parameter<'_>; 14] = [
        (&column!(rows, row => row.0), Type::INT8_ARRAY),
        (&column!(rows, row => row.2.id.to_string()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.2.application.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => service(row.2)), Type::TEXT_ARRAY),
        (&column!(rows, row => one.format.write(&row.2.to)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.2.purpose.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.2.status.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.2.expires_at.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => due_at(&row.3)), Type::INT8_ARRAY),
        (&column!(rows, row => row.2.follow_up_at.map(Timestamp::as_millis)), Type::INT8_ARRAY),
        (&column!(rows, row => json::State::new(row.2, &row.3).to_json()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.1), Type::INT8_ARRAY),
        (&column!(rows, row => row.2.status == Status::Approved), Type::BOOL_ARRAY),
        (&column!(rows, row => row.2.created_at.as_millis()), Type::INT8_ARRAY),
    ];
    Ok(Some((execute(client, &one.batched.insert, &parameters).await?, rows.len())))
}

/// Places, verifications and their deliveries; which were approved just now.
pub(super) async fn update(
    client: &Client,
    one: &OneRow,
    rows: Vec<(i64, &Verification, Vec<Delivery>)>,
    approved: Vec<bool>,
) -> Result<Option<(u64, usize)>, Error> {
    let parameters: [Parameter<'_>; 6] = [
        (&column!(rows, row => row.0), Type::INT8_ARRAY),
        (&column!(rows, row => row.1.status.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => due_at(&row.2)), Type::INT8_ARRAY),
        (&column!(rows, row => row.1.follow_up_at.map(Timestamp::as_millis)), Type::INT8_ARRAY),
        (&column!(rows, row => json::State::new(row.1, &row.2).to_json()), Type::TEXT_ARRAY),
        (&approved, Type::BOOL_ARRAY),
    ];
    Ok(Some((execute(client, &one.batched.update, &parameters).await?, rows.len())))
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

pub(super) async fn keep_references(
    client: &Client,
    one: &OneRow,
    references: Vec<Reference<'_>>,
) -> Result<Option<(u64, usize)>, Error> {
    let parameters: [Parameter<'_>; 4] = [
        (&column!(references, row => text(&row.0)), Type::TEXT_ARRAY),
        (&column!(references, row => text(row.1)), Type::TEXT_ARRAY),
        (&column!(references, row => row.2.id.to_string()), Type::TEXT_ARRAY),
        (&column!(references, row => row.2.expires_at.as_millis()), Type::INT8_ARRAY),
    ];
    // Two of one name are one row: how many come out is not known before.
    execute(client, &one.batched.keep_references, &parameters).await.map(|_| None)
}
