//! One transaction for a whole batch, in three round trips: lock the verifications, lock and read the rest, write and commit.
//!
//! Locks are taken in one order by everybody (verifications, guess logs, counters, each in the order of their keys), so transactions
//! never wait for each other in a circle. What is not there cannot be locked: who finds nothing inserts, a unique key lets one of two
//! do so, and the other one runs again and finds it.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use countersign::core::decision::Lookup;
use countersign::core::id::DeliveryId;
use countersign::core::limit::Tat;
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, GuessLog, Verification};
use countersign::store::Job;
use futures_util::future::{join, join_all};
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::batch::{Found, Kept, LatestKey, Questions, State, Wanted};
use super::error::Error;
use super::one_row;
use super::rows::{Columns, Placed, code_columns, first, instants_to_bytes, metadata_column, service_column, text};
use super::session::{Parameter, Runs, Session};
use super::sql::Sql;
use crate::wording;

/// Collects one column.
macro_rules! column {
    ($rows:expr, $row:ident => $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}

/// What came of a transaction.
pub(super) enum Outcome {
    /// Committed.
    Committed {
        /// These (by their number) must wait for the next one.
        deferred: Vec<usize>,
        /// How many wanted the counter that most of them wanted.
        charged: usize,
    },
    /// Nothing was changed.
    Failed(Error),
    /// The connection was lost while the commit was on its way: nobody knows.
    Unknown(String),
}

/// Runs the jobs as if one after the other.
pub(super) async fn run(session: &Session, sql: &Sql, jobs: &mut [&mut Box<dyn Job>]) -> Outcome {
    if let Some(one) = &sql.one_row {
        return one_row::run(session.client(), sql, one, jobs).await;
    }
    match decide(session, sql, jobs).await {
        Ok((state, deferred, charged)) => outcome(commit(session, sql, &state).await, deferred, charged),
        Err(error) => Outcome::Failed(error),
    }
}

/// What came of it, once a commit was on its way.
pub(super) fn outcome(committed: Result<(), Error>, deferred: Vec<usize>, charged: usize) -> Outcome {
    match committed {
        Ok(()) => Outcome::Committed { deferred, charged },
        // Whatever cut the connection, the commit may have been read before.
        Err(Error::Cut(text)) => Outcome::Unknown(text),
        Err(error) => Outcome::Failed(error),
    }
}

async fn decide(
    session: &Session,
    sql: &Sql,
    jobs: &mut [&mut Box<dyn Job>],
) -> Result<(State, Vec<usize>, usize), Error> {
    let questions = Questions::of(jobs.iter().map(|job| &***job));
    let (rows, resolved) = look_up(session, sql, &questions).await?;
    let mut state = State::new(questions, rows, &resolved)?;
    let wanted = state.wanted(jobs.iter().map(|job| &***job));
    let charged = wanted.most_wanted;
    let beginning = jobs.iter().filter(|job| matches!(job.lookup(), Lookup::Latest { .. }));
    let new_places = i64::try_from(beginning.count()).unwrap_or(i64::MAX);
    read(session, sql, &mut state, wanted, new_places).await?;
    let deferred = decide_each(&mut state, jobs)?;
    Ok((state, deferred, charged))
}

/// Lets them decide, one after the other; which must wait for the next batch.
pub(super) fn decide_each(state: &mut State, jobs: &mut [&mut Box<dyn Job>]) -> Result<Vec<usize>, Error> {
    let mut deferred = Vec::new();
    // A receipt names its message by what is in the store, so receipts come before those who might name messages anew.
    let is_receipt = |job: &dyn Job| matches!(job.lookup(), Lookup::ByReference { .. });
    for receipts in [true, false] {
        for (nth, job) in jobs.iter_mut().enumerate() {
            if is_receipt(&***job) == receipts && !state.decide(&mut ***job)? {
                deferred.push(nth);
            }
        }
    }
    Ok(deferred)
}

/// First round trip. An id leads to one row for ever; where anything else leads must be looked at again once the locks are held.
async fn look_up(
    session: &Session,
    sql: &Sql,
    questions: &Questions,
) -> Result<(Vec<Placed>, Vec<(i64, i64, i64)>), Error> {
    let ids: Vec<&[u8]> = questions.ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let latest = Latest::of(questions.latest.iter());
    let (providers, references): (Vec<_>, Vec<_>) =
        questions.references.iter().map(|(provider, reference)| (text(provider), text(reference))).unzip();
    let delivery_ids: Vec<Option<Vec<u8>>> = references
        .iter()
        .map(|reference| reference.parse::<DeliveryId>().ok().map(|id| id.as_bytes().to_vec()))
        .collect();
    let of_latest = latest.parameters();
    let of_references: [Parameter<'_>; 4] = [
        (&references, Type::TEXT_ARRAY),
        (&providers, Type::TEXT_ARRAY),
        (&delivery_ids, Type::BYTEA_ARRAY),
        (&ids, Type::BYTEA_ARRAY),
    ];
    let of_ids: [Parameter<'_>; 1] = [(&ids, Type::BYTEA_ARRAY)];
    let has_references = !references.is_empty();
    let begin = session.begin(sql);
    // In the order in which they are polled first: a batch asks for the latest, or for the others.
    let lock_latest = query_if(!questions.latest.is_empty(), session, &sql.lock_latest, &of_latest);
    let lock_by_id = query_if(!has_references && !ids.is_empty(), session, &sql.lock_by_id, &of_ids);
    let lock_referenced = query_if(has_references, session, &sql.lock_referenced, &of_references);
    let resolve = query_if(has_references, session, &sql.referenced, of_references.get(..3).unwrap_or_default());
    let (begun, (latest, (by_id, (referenced, resolved)))) =
        join(begin, join(lock_latest, join(lock_by_id, join(lock_referenced, resolve)))).await;
    begun?;
    let locked = [latest?, by_id?, referenced?];
    let rows: Vec<Placed> =
        locked.iter().flatten().map(|row| Columns::of(row).verification()).collect::<Result<_, _>>()?;
    let resolved = resolved?;
    let resolved = resolved.iter().map(|row| {
        let mut columns = Columns::of(row);
        Ok((columns.take()?, columns.take()?, columns.take()?))
    });
    let mut resolved = resolved.collect::<Result<Vec<_>, Error>>()?;
    resolved.extend(newest(&questions.latest, &rows));
    Ok((rows, resolved))
}

/// Which of the locked rows each key leads to. Whether there is a later one by now is asked in the second round trip.
fn newest(keys: &[LatestKey], rows: &[Placed]) -> Vec<(i64, i64, i64)> {
    if keys.is_empty() {
        return Vec::new();
    }
    let mut newest: HashMap<LatestKey, (i64, i64)> = HashMap::new();
    for row in rows {
        let kept = newest.entry(LatestKey::of(&row.row)).or_insert((row.generation, row.place));
        *kept = (*kept).max((row.generation, row.place));
    }
    let numbered = keys.iter().zip(1_i64..);
    numbered.filter_map(|(key, n)| newest.get(key).map(|(_, place)| (1, n, *place))).collect()
}

/// Keys, column by column.
struct Latest<'a> {
    destinations: Vec<&'a str>,
    applications: Vec<&'a str>,
    purposes: Vec<&'a str>,
    services: Vec<&'a [u8]>,
}

impl<'a> Latest<'a> {
    fn of(keys: impl Iterator<Item = &'a LatestKey> + Clone) -> Self {
        Self {
            destinations: keys.clone().map(|key| key.destination.as_str()).collect(),
            applications: keys.clone().map(|key| key.application.as_str()).collect(),
            purposes: keys.clone().map(|key| key.purpose.as_str()).collect(),
            services: keys.map(|key| service_column(key.service.as_ref())).collect(),
        }
    }

    fn parameters(&self) -> [Parameter<'_>; 4] {
        [
            (&self.destinations, Type::TEXT_ARRAY),
            (&self.applications, Type::TEXT_ARRAY),
            (&self.purposes, Type::TEXT_ARRAY),
            (&self.services, Type::BYTEA_ARRAY),
        ]
    }
}

/// Second round trip.
pub(super) async fn read(
    runs: &impl Runs,
    sql: &Sql,
    state: &mut State,
    wanted: Wanted,
    new_places: i64,
) -> Result<(), Error> {
    let Wanted { limits, guesses, places, .. } = wanted;
    let keys: Vec<_> = limits.iter().map(|key| text(&key.0)).collect();
    let applications: Vec<&str> = guesses.iter().map(|key| key.application.as_str()).collect();
    let destinations: Vec<_> = guesses.iter().map(|key| text(&key.destination)).collect();
    let of_guesses: [Parameter<'_>; 2] = [(&applications, Type::TEXT_ARRAY), (&destinations, Type::TEXT_ARRAY)];
    let of_limits: [Parameter<'_>; 1] = [(&keys, Type::TEXT_ARRAY)];
    let of_deliveries: [Parameter<'_>; 1] = [(&places, Type::INT8_ARRAY)];
    let of_places: [Parameter<'_>; 1] = [(&new_places, Type::INT8)];
    let taken = if sql.one_row.is_none() { state.taken_for_latest() } else { Vec::new() };
    let places_taken: Vec<i64> = column!(taken, row => row.1);
    let latest = Latest::of(taken.iter().map(|(key, _)| *key));
    let of_latest = latest.parameters();
    let still = query_if(!taken.is_empty(), runs, &sql.latest, &of_latest);
    let found_guesses = query_if(!guesses.is_empty(), runs, &sql.lock_guesses, &of_guesses);
    let found_limits = query_if(!limits.is_empty(), runs, &sql.lock_limits, &of_limits);
    let found_deliveries = query_if(!places.is_empty(), runs, &sql.deliveries, &of_deliveries);
    let found_places = query_if(new_places > 0, runs, &sql.new_places, &of_places);
    let (still, ((found_guesses, found_limits), (found_deliveries, found_places))) =
        join(still, join(join(found_guesses, found_limits), join(found_deliveries, found_places))).await;
    for row in &still? {
        let mut columns = Columns::of(row);
        let (nth, place): (i64, i64) = (columns.take()?, columns.take()?);
        if numbered(nth).and_then(|at| places_taken.get(at)) != Some(&place) {
            // A later one began before its predecessor was locked.
            return Err(Error::Conflict);
        }
    }
    let mut logs: Vec<Option<GuessLog>> = vec![None; guesses.len()];
    for row in &found_guesses? {
        let mut columns = Columns::of(row);
        if let Some(place) = numbered(columns.take()?).and_then(|at| logs.get_mut(at)) {
            *place = Some(columns.guesses()?);
        }
    }
    let mut tats = vec![None; limits.len()];
    for row in &found_limits? {
        let mut columns = Columns::of(row);
        if let Some(place) = numbered(columns.take()?).and_then(|at| tats.get_mut(at)) {
            *place = Some(Tat(columns.take()?));
        }
    }
    let ids = state.id_at();
    let deliveries = found_deliveries?
        .iter()
        .map(|row| Columns::of(row).delivery(|place| ids.get(&place).copied()))
        .collect::<Result<Vec<(i64, Delivery)>, _>>()?;
    let new = found_places?.iter().map(first).collect::<Result<Vec<i64>, _>>()?;
    state.take_guesses(guesses, logs);
    state.take_limits(limits, tats);
    state.take_deliveries(&places, deliveries);
    state.take_places(new);
    Ok(())
}

async fn query_if(
    wanted: bool,
    runs: &impl Runs,
    statement: &str,
    parameters: &[Parameter<'_>],
) -> Result<Vec<Row>, Error> {
    if wanted { runs.query(statement, parameters).await } else { Ok(Vec::new()) }
}

/// From `WITH ORDINALITY` to an index.
fn numbered(n: i64) -> Option<usize> {
    usize::try_from(n - 1).ok()
}

pub(super) type Writing<'a> = Pin<Box<dyn Future<Output = Result<Option<(u64, usize)>, Error>> + Send + 'a>>;

/// Third round trip: every kind of row in one statement, and the commit behind them. If one fails, the server turns the commit into
/// a rollback.
async fn commit(session: &Session, sql: &Sql, state: &State) -> Result<(), Error> {
    let mut writes: Vec<Writing<'_>> = Vec::with_capacity(11);
    verifications(session, sql, state, &mut writes);
    deliveries(session, sql, state, &mut writes);
    guesses(session, sql, state, &mut writes);
    limits(session, sql, state, &mut writes);
    if !state.events.is_empty() {
        writes.push(Box::pin(events(session, sql, state)));
    }
    finish(session, sql, state, writes).await
}

/// The commit behind what is written.
pub(super) async fn finish<'a>(
    runs: &'a impl Runs,
    sql: &'a Sql,
    state: &State,
    mut writes: Vec<Writing<'a>>,
) -> Result<(), Error> {
    if state.decoy && writes.is_empty() {
        writes.push(Box::pin(async { Ok(Some((runs.execute(&sql.decoy, &[]).await?, 1))) }));
    }
    writes.push(Box::pin(async { runs.commit().await.map(|()| None) }));
    // Fewer than 30 futures are polled in their order, and each hands over its message when it is polled first.
    let mut written = Ok(());
    for result in join_all(writes).await {
        match (result, &written) {
            (Ok(Some((changed, wanted))), Ok(())) if changed != wanted as u64 => {
                // Cannot be, under locks.
                written = Err(Error::Unreadable(format!("{changed} rows were changed in place of {wanted}")));
            }
            // A lost connection says more than the statement that failed before it: the commit's fate is not known.
            (Err(Error::Cut(text)), _) => written = Err(Error::Cut(text)),
            (Err(error), Ok(())) => written = Err(error),
            _ => {}
        }
    }
    written
}

pub(super) async fn execute(client: &Client, statement: &str, parameters: &[Parameter<'_>]) -> Result<u64, Error> {
    client.execute_typed(statement, parameters).await.map_err(Error::from)
}

fn changed<T>(rows: &[Kept<T>], stored: bool) -> impl Iterator<Item = &T> {
    rows.iter().filter(move |kept| kept.changed && kept.stored == stored).map(|kept| &kept.value)
}

fn verifications<'a>(session: &'a Session, sql: &'a Sql, state: &'a State, writes: &mut Vec<Writing<'a>>) {
    let mut new: Vec<_> = state.found.iter().filter(|found| !found.row.stored).collect();
    // Everybody inserts in the same order, and so never waits in a circle.
    new.sort_by(|a, b| {
        let key = |row: &'a Verification| {
            (row.to.reveal(), row.application.as_str(), row.purpose.as_str(), service_column(row.service.as_ref()))
        };
        key(&a.row.value).cmp(&key(&b.row.value)).then(a.generation.cmp(&b.generation))
    });
    if !new.is_empty() {
        writes.push(Box::pin(insert_verifications(session, sql, new)));
    }
    let old: Vec<_> = state.found.iter().filter(|found| found.row.stored && found.row.changed).collect();
    if !old.is_empty() {
        writes.push(Box::pin(update_verifications(session, sql, old)));
    }
}

/// A count as the server takes it.
const fn count(n: u32) -> i64 {
    n as i64
}

pub(super) async fn insert_verifications(
    runs: &impl Runs,
    sql: &Sql,
    new: Vec<&Found>,
) -> Result<Option<(u64, usize)>, Error> {
    let rows: Vec<&Verification> = column!(new, found => &found.row.value);
    let countries: Vec<_> = column!(rows, row => row.to.country());
    let parameters: [Parameter<'_>; 31] = [
        (&column!(new, found => found.place), Type::INT8_ARRAY),
        (&column!(new, found => found.generation), Type::INT8_ARRAY),
        (&column!(rows, row => row.id.as_bytes().as_slice()), Type::BYTEA_ARRAY),
        (&column!(rows, row => row.application.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.to.reveal()), Type::TEXT_ARRAY),
        (&column!(countries, country => country.as_ref().map(|country| country.as_str())), Type::TEXT_ARRAY),
        (&column!(rows, row => row.purpose.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.channel.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.status.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.created_at.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => row.expires_at.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => row.finished_at.map(Timestamp::as_millis)), Type::INT8_ARRAY),
        (&column!(rows, row => i64::from(row.code_length)), Type::INT8_ARRAY),
        (&column!(rows, row => code_columns(&row.code).0), Type::TEXT_ARRAY),
        (&column!(rows, row => code_columns(&row.code).1), Type::BYTEA_ARRAY),
        (&column!(rows, row => code_columns(&row.code).2), Type::BYTEA_ARRAY),
        (&column!(rows, row => count(row.sends)), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.max_sends)), Type::INT8_ARRAY),
        (&column!(rows, row => row.resend_at.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.wrong_by_id)), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.wrong_by_destination)), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.max_checks)), Type::INT8_ARRAY),
        (&column!(rows, row => row.locale.as_deref().map(text)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.template.as_deref().map(text)), Type::TEXT_ARRAY),
        (&column!(rows, row => metadata_column(&row.metadata)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.keyless), Type::BOOL_ARRAY),
        (&column!(rows, row => service_column(row.service.as_ref())), Type::BYTEA_ARRAY),
        (&column!(rows, row => row.payment.as_ref().map(|payment| text(&payment.amount))), Type::TEXT_ARRAY),
        (&column!(rows, row => row.payment.as_ref().map(|payment| text(&payment.payee))), Type::TEXT_ARRAY),
        (&column!(rows, row => wording::to_json(&row.wording)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.follow_up_at.map(Timestamp::as_millis)), Type::INT8_ARRAY),
    ];
    Ok(Some((runs.execute(&sql.insert_verifications, &parameters).await?, rows.len())))
}

async fn update_verifications(session: &Session, sql: &Sql, old: Vec<&Found>) -> Result<Option<(u64, usize)>, Error> {
    let rows: Vec<&Verification> = column!(old, found => &found.row.value);
    let parameters: [Parameter<'_>; 12] = [
        (&column!(old, found => found.place), Type::INT8_ARRAY),
        (&column!(rows, row => row.channel.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.status.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.finished_at.map(Timestamp::as_millis)), Type::INT8_ARRAY),
        (&column!(rows, row => code_columns(&row.code).2), Type::BYTEA_ARRAY),
        (&column!(rows, row => count(row.sends)), Type::INT8_ARRAY),
        (&column!(rows, row => row.resend_at.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.wrong_by_id)), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.wrong_by_destination)), Type::INT8_ARRAY),
        (&column!(rows, row => row.template.as_deref().map(text)), Type::TEXT_ARRAY),
        (&column!(rows, row => wording::to_json(&row.wording)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.follow_up_at.map(Timestamp::as_millis)), Type::INT8_ARRAY),
    ];
    Ok(Some((session.execute(&sql.update_verifications, &parameters).await?, rows.len())))
}

fn deliveries<'a>(session: &'a Session, sql: &'a Sql, state: &'a State, writes: &mut Vec<Writing<'a>>) {
    let of = |stored| -> Vec<(i64, &'a Delivery)> {
        let with_place = |found: &'a Found| {
            changed(found.deliveries.as_deref().unwrap_or_default(), stored).map(|row| (found.place, row))
        };
        state.found.iter().flat_map(with_place).collect()
    };
    let (new, old) = (of(false), of(true));
    if !new.is_empty() {
        writes.push(Box::pin(insert_deliveries(session, sql, new)));
    }
    if !old.is_empty() {
        writes.push(Box::pin(update_deliveries(session, sql, old)));
    }
}

pub(super) async fn insert_deliveries(
    runs: &impl Runs,
    sql: &Sql,
    rows: Vec<(i64, &Delivery)>,
) -> Result<Option<(u64, usize)>, Error> {
    let parameters: [Parameter<'_>; 14] = [
        (&column!(rows, row => row.0), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.1.number)), Type::INT8_ARRAY),
        (&column!(rows, row => row.1.id.as_bytes().as_slice()), Type::BYTEA_ARRAY),
        (&column!(rows, row => count(row.1.send)), Type::INT8_ARRAY),
        (&column!(rows, row => row.1.channel.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => text(&row.1.provider)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.1.status.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.1.queued_at.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => row.1.at.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => row.1.error.as_deref().map(text)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.1.message_id.as_deref().map(text)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.1.due_at.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => row.1.lease_until.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.1.claims)), Type::INT8_ARRAY),
    ];
    Ok(Some((runs.execute(&sql.insert_deliveries, &parameters).await?, rows.len())))
}

async fn update_deliveries(
    session: &Session,
    sql: &Sql,
    rows: Vec<(i64, &Delivery)>,
) -> Result<Option<(u64, usize)>, Error> {
    let parameters: [Parameter<'_>; 8] = [
        (&column!(rows, row => row.0), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.1.number)), Type::INT8_ARRAY),
        (&column!(rows, row => row.1.status.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.1.at.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => row.1.error.as_deref().map(text)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.1.message_id.as_deref().map(text)), Type::TEXT_ARRAY),
        (&column!(rows, row => row.1.lease_until.as_millis()), Type::INT8_ARRAY),
        (&column!(rows, row => count(row.1.claims)), Type::INT8_ARRAY),
    ];
    Ok(Some((session.execute(&sql.update_deliveries, &parameters).await?, rows.len())))
}

pub(super) fn guesses<'a>(runs: &'a impl Runs, sql: &'a Sql, state: &'a State, writes: &mut Vec<Writing<'a>>) {
    for stored in [false, true] {
        let mut rows: Vec<_> = state.guesses.iter().filter(|(_, kept)| kept.changed && kept.stored == stored).collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_by(|a, b| a.0.cmp(b.0));
        let statement = if stored { &sql.update_guesses } else { &sql.insert_guesses };
        writes.push(Box::pin(async move {
            let parameters: [Parameter<'_>; 6] = [
                (&column!(rows, row => row.0.application.as_str()), Type::TEXT_ARRAY),
                (&column!(rows, row => text(&row.0.destination)), Type::TEXT_ARRAY),
                (&column!(rows, row => instants_to_bytes(&row.1.value.by_id)), Type::BYTEA_ARRAY),
                (&column!(rows, row => instants_to_bytes(&row.1.value.by_keyless)), Type::BYTEA_ARRAY),
                (&column!(rows, row => instants_to_bytes(&row.1.value.by_destination)), Type::BYTEA_ARRAY),
                (&column!(rows, row => row.1.value.forgettable_at().as_millis()), Type::INT8_ARRAY),
            ];
            Ok(Some((runs.execute(statement, &parameters).await?, rows.len())))
        }));
    }
}

pub(super) fn limits<'a>(runs: &'a impl Runs, sql: &'a Sql, state: &'a State, writes: &mut Vec<Writing<'a>>) {
    for stored in [false, true] {
        let changed = state.limits.iter().filter(|(_, kept)| kept.changed && kept.stored == stored);
        let mut rows: Vec<_> = changed.filter_map(|(key, kept)| Some((key, kept.value?))).collect();
        if rows.is_empty() {
            continue;
        }
        rows.sort_by(|a, b| a.0.cmp(b.0));
        let statement = if stored { &sql.update_limits } else { &sql.insert_limits };
        writes.push(Box::pin(async move {
            let parameters: [Parameter<'_>; 2] = [
                (&column!(rows, row => text(&row.0.0)), Type::TEXT_ARRAY),
                (&column!(rows, row => row.1.0), Type::INT8_ARRAY),
            ];
            Ok(Some((runs.execute(statement, &parameters).await?, rows.len())))
        }));
    }
}

pub(super) async fn events(runs: &impl Runs, sql: &Sql, state: &State) -> Result<Option<(u64, usize)>, Error> {
    let rows = &state.events;
    let parameters: [Parameter<'_>; 5] = [
        (&column!(rows, row => row.kind.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.application.as_str()), Type::TEXT_ARRAY),
        (&column!(rows, row => row.verification.as_bytes().as_slice()), Type::BYTEA_ARRAY),
        (&column!(rows, row => row.delivery.as_ref().map(|id| id.as_bytes().as_slice())), Type::BYTEA_ARRAY),
        (&column!(rows, row => row.at.as_millis()), Type::INT8_ARRAY),
    ];
    Ok(Some((runs.execute(&sql.insert_events, &parameters).await?, rows.len())))
}

/// Ends a transaction that failed, so that its connection can be used again.
pub(super) async fn roll_back(client: &Client) -> bool {
    let rolled_back = tokio::time::timeout(Duration::from_secs(1), client.batch_execute("ROLLBACK")).await;
    matches!(rolled_back, Ok(Ok(())))
}
