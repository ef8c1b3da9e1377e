//! One transaction for a whole batch, in three round trips: lock the verifications, lock and read the rest, write and commit.
//!
//! Locks are taken in one order by everybody (verifications, guess logs, counters, each in the order of their keys), so transactions
//! never wait for each other in a circle. What is not there cannot be locked: who finds nothing inserts, a unique key lets one of two
//! do so, and the other one runs again and finds it.

use std::collections::HashMap;
use std::time::Duration;

use countersign::core::decision::Lookup;
use countersign::core::id::DeliveryId;
use countersign::core::limit::Tat;
use countersign::core::verification::{Delivery, GuessLog};
use countersign::store::Job;
use futures_util::future::join;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::batch::{LatestKey, Questions, State, Wanted};
use super::commit::{self, column};
use super::error::Error;
use super::one_row;
use super::rows::{Columns, Placed, first, service_column, text};
use super::session::{Parameter, Runs, Session};
use super::sql::Sql;

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
    let (state, deferred, charged) = match decide(session, sql, jobs).await {
        Ok(decided) => decided,
        Err(error) => return Outcome::Failed(error),
    };
    match commit::prepare(session, sql, &state).await {
        Ok(parts) => outcome(commit::commit(session, &parts).await, deferred, charged),
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
    let lookups = lookups(jobs);
    let questions = Questions::of(&lookups);
    let new_places = places_for(&lookups);
    let LookedUp { rows, resolved, places } = look_up(session, sql, &questions, new_places).await?;
    let mut state = State::new(questions, rows, &resolved)?;
    let wanted = state.wanted(jobs.iter().map(|job| &***job).zip(&lookups));
    let charged = wanted.most_wanted;
    let are_missing = places.is_none();
    state.take_places(places.unwrap_or_default());
    read(session, sql, &mut state, wanted, if are_missing { new_places } else { 0 }).await?;
    let deferred = decide_each(&mut state, jobs, &lookups)?;
    Ok((state, deferred, charged))
}

pub(super) fn lookups(jobs: &[&mut Box<dyn Job>]) -> Vec<Lookup> {
    jobs.iter().map(|job| job.lookup()).collect()
}

/// How many verifications may begin, at most.
pub(super) fn places_for(lookups: &[Lookup]) -> i64 {
    let beginning = lookups.iter().filter(|lookup| matches!(lookup, Lookup::Latest { .. }));
    i64::try_from(beginning.count()).unwrap_or(i64::MAX)
}

/// Lets them decide, one after the other; which must wait for the next batch.
pub(super) fn decide_each(
    state: &mut State,
    jobs: &mut [&mut Box<dyn Job>],
    lookups: &[Lookup],
) -> Result<Vec<usize>, Error> {
    let mut deferred = Vec::new();
    // A receipt names its message by what is in the store, so receipts come before those who might name messages anew.
    for receipts in [true, false] {
        for (nth, (job, lookup)) in jobs.iter_mut().zip(lookups).enumerate() {
            let is_receipt = matches!(lookup, Lookup::ByReference { .. });
            if is_receipt == receipts && !state.decide(&mut ***job, lookup)? {
                deferred.push(nth);
            }
        }
    }
    Ok(deferred)
}

/// What the first round trip brings.
struct LookedUp {
    rows: Vec<Placed>,
    resolved: Vec<(i64, i64, i64)>,
    /// For new verifications, if they came along.
    places: Option<Vec<i64>>,
}

/// First round trip. An id leads to one row for ever; where anything else leads must be looked at again once the locks are held.
async fn look_up(session: &Session, sql: &Sql, questions: &Questions, new_places: i64) -> Result<LookedUp, Error> {
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
    let begin = session.begin(sql, new_places);
    // In the order in which they are polled first: a batch asks for the latest, or for the others.
    let lock_latest = query_if(!questions.latest.is_empty(), session, &sql.lock_latest, &of_latest);
    let lock_by_id = query_if(!has_references && !ids.is_empty(), session, &sql.lock_by_id, &of_ids);
    let lock_referenced = query_if(has_references, session, &sql.lock_referenced, &of_references);
    let resolve = query_if(has_references, session, &sql.referenced, of_references.get(..3).unwrap_or_default());
    let (begun, (latest, (by_id, (referenced, resolved)))) =
        join(begin, join(lock_latest, join(lock_by_id, join(lock_referenced, resolve)))).await;
    let places = begun?;
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
    Ok(LookedUp { rows, resolved, places })
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
    let of_both: [Parameter<'_>; 3] =
        [(&applications, Type::TEXT_ARRAY), (&destinations, Type::TEXT_ARRAY), (&keys, Type::TEXT_ARRAY)];
    let of_deliveries: [Parameter<'_>; 1] = [(&places, Type::INT8_ARRAY)];
    let of_places: [Parameter<'_>; 1] = [(&new_places, Type::INT8)];
    let taken = if sql.one_row.is_none() { state.taken_for_latest() } else { Vec::new() };
    let places_taken: Vec<i64> = column!(taken, row => row.1);
    let latest = Latest::of(taken.iter().map(|(key, _)| *key));
    let of_latest = latest.parameters();
    let still = query_if(!taken.is_empty(), runs, &sql.latest, &of_latest);
    let (some_guesses, some_limits) = (!guesses.is_empty(), !limits.is_empty());
    let found_both = query_if(some_guesses && some_limits, runs, &sql.lock_counts, &of_both);
    let found_guesses = query_if(some_guesses && !some_limits, runs, &sql.lock_guesses, &of_guesses);
    let found_limits = query_if(some_limits && !some_guesses, runs, &sql.lock_limits, &of_limits);
    let found_deliveries = query_if(!places.is_empty(), runs, &sql.deliveries, &of_deliveries);
    let found_places = query_if(new_places > 0, runs, &sql.new_places, &of_places);
    let counts = join(found_both, join(found_guesses, found_limits));
    let (still, ((found_both, (found_guesses, found_limits)), (found_deliveries, found_places))) =
        join(still, join(counts, join(found_deliveries, found_places))).await;
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
    for row in &found_both? {
        let mut columns = Columns::of(row);
        let nth = numbered(columns.take()?);
        // A guess log has no time of arrival.
        match Columns::at(row, 4).take::<Option<i64>>()? {
            Some(tat) => {
                if let Some(place) = nth.and_then(|at| tats.get_mut(at)) {
                    *place = Some(Tat(tat));
                }
            }
            None => {
                if let Some(place) = nth.and_then(|at| logs.get_mut(at)) {
                    *place = Some(columns.guesses()?);
                }
            }
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
    if new_places > 0 {
        state.take_places(new);
    }
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

/// Ends a transaction that failed, so that its connection can be used again.
pub(super) async fn roll_back(client: &Client) -> bool {
    let rolled_back = tokio::time::timeout(Duration::from_secs(1), client.batch_execute("ROLLBACK")).await;
    matches!(rolled_back, Ok(Ok(())))
}
