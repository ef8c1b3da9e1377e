//! Everything read whole, and written back as it was.
//!
//! Pages go by the order of an index: places where rows have one, else names, in whatever order the database collates them.

use std::collections::{HashMap, HashSet};
use std::future::Future;

use countersign::core::decision::GuessKey;
use countersign::core::health::HealthRow;
use countersign::core::id::{DeliveryId, VerificationId};
use countersign::core::limit::{LimitKey, Tat};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, Verification};
use countersign::store::AnswerKey;
use countersign::transfer::{AnswerRow, Dumped, Loaded, Row as TransferRow, RowKind};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::batch::{Found, Kept, LatestKey};
use super::commit::{insert_deliveries, insert_verifications};
use super::error::Error;
use super::rows::{Columns, Placed, first, instants_to_bytes, service_column, text};
use super::sql::Sql;
use super::transaction::roll_back;
use super::{health, one_row, read};
use crate::json::hex;

type Result<T> = std::result::Result<T, Error>;
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// A verification and its deliveries are read as they stood at one instant.
const BEGIN_READING: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// Collects one column.
macro_rules! list {
    ($rows:expr, $row:pat => $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}

/// The rows of one kind.
macro_rules! only {
    ($rows:expr, $pattern:pat => $value:expr) => {
        $rows.iter().filter_map(|row| if let $pattern = row { Some($value) } else { None }).collect::<Vec<_>>()
    };
}

/// A page of a kind. Places are numbers where rows have one, else what rows are named by.
pub(super) async fn dump(
    client: &Client,
    sql: &Sql,
    kind: RowKind,
    after: Option<&str>,
    most: usize,
) -> Result<Vec<Dumped>> {
    let number: i64 = after.and_then(|after| after.parse().ok()).unwrap_or(i64::MIN);
    let name = text(after.unwrap_or_default());
    let (application, rest) = name.split_once(' ').unwrap_or_default();
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let by_number: [Parameter<'_>; 2] = [(&number, Type::INT8), (&most, Type::INT8)];
    let by_name: [Parameter<'_>; 2] = [(&name, Type::TEXT), (&most, Type::INT8)];
    let by_names: [Parameter<'_>; 3] = [(&application, Type::TEXT), (&rest, Type::TEXT), (&most, Type::INT8)];
    match kind {
        RowKind::Application => page(client, kind, &sql.dump_applications, &by_name).await,
        RowKind::Key => page(client, kind, &sql.dump_keys, &by_name).await,
        RowKind::Record => page(client, kind, &sql.dump_records, &by_number).await,
        RowKind::Verification => match &sql.one_row {
            Some(one) => one_row::dump(client, one, number, most).await,
            None => in_transaction(client, BEGIN_READING, dump_verifications(client, sql, &by_number)).await,
        },
        RowKind::Limit => page(client, kind, &sql.dump_limits, &by_name).await,
        RowKind::Guesses => page(client, kind, &sql.dump_guesses, &by_names).await,
        RowKind::Answer => page(client, kind, &sql.dump_answers, &by_names).await,
        RowKind::Event if sql.one_row.as_ref().is_some_and(|one| !one.has_events()) => Ok(Vec::new()),
        RowKind::Health if sql.one_row.is_some() => Ok(Vec::new()),
        RowKind::Health => page(client, kind, &sql.dump_health, &by_number).await,
        RowKind::Event => {
            read::place_waiting_events(client, sql).await?;
            page(client, kind, &sql.events, &by_number).await
        }
    }
}

async fn page(client: &Client, kind: RowKind, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Dumped>> {
    client.query_typed(statement, parameters).await?.iter().map(|row| dumped(kind, row)).collect()
}

/// A row of any kind but verifications, which need their deliveries.
fn dumped(kind: RowKind, row: &Row) -> Result<Dumped> {
    let mut columns = Columns::of(row);
    let (place, row) = match kind {
        RowKind::Application => {
            let row = columns.application()?;
            (row.name.to_string(), TransferRow::Application(row))
        }
        RowKind::Key => {
            let row = columns.api_key()?;
            (row.id.clone(), TransferRow::Key(row))
        }
        RowKind::Record => {
            let (place, row) = columns.record()?;
            (place.to_string(), TransferRow::Record(row))
        }
        RowKind::Verification => {
            return Err(Error::Unreadable("a verification was read without its deliveries".to_owned()));
        }
        RowKind::Limit => {
            let key: String = columns.take()?;
            (key.clone(), TransferRow::Limit(LimitKey(key), Tat(columns.take()?)))
        }
        RowKind::Guesses => {
            let key = GuessKey { application: columns.parsed()?, destination: columns.take()? };
            (format!("{} {}", key.application, key.destination), TransferRow::Guesses(key, columns.guesses()?))
        }
        RowKind::Answer => {
            let key = AnswerKey { application: columns.parsed()?, key: columns.bytes()? };
            let place = format!("{} {}", key.application, hex(&key.key));
            let (fingerprint, seed) = (columns.bytes()?, columns.bytes()?);
            let (in_flight_until, expires_at) = (columns.time()?, columns.time()?);
            let kept = AnswerRow::new(key, fingerprint, seed, in_flight_until, expires_at, columns.take()?);
            (place, TransferRow::Answer(kept))
        }
        RowKind::Event => {
            let (place, event) = columns.event()?;
            (place.to_string(), TransferRow::Event(place, event))
        }
        RowKind::Health => {
            let (place, row) = health::row(row)?;
            (place.to_string(), TransferRow::Health(row))
        }
    };
    Ok(Dumped { place, row })
}

async fn dump_verifications(client: &Client, sql: &Sql, parameters: &[Parameter<'_>]) -> Result<Vec<Dumped>> {
    let found = placed(client, &sql.dump_verifications, parameters).await?;
    let places = list!(found, found => found.place.to_string());
    let rows = read::with_deliveries(client, sql, found).await?;
    let dumped = |(place, (row, deliveries)): (String, (Verification, Vec<Delivery>))| Dumped {
        place,
        row: TransferRow::Verification(row.into(), deliveries),
    };
    Ok(places.into_iter().zip(rows).map(dumped).collect())
}

async fn placed(client: &Client, statement: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Placed>> {
    client.query_typed(statement, parameters).await?.iter().map(|row| Columns::of(row).verification()).collect()
}

/// Writes rows as they are, unless there is one of their name; all in one transaction.
pub(super) async fn load(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    let loading = async {
        let mut loaded = Vec::with_capacity(rows.len());
        for rows in rows.chunk_by(|a, b| a.kind() == b.kind()) {
            loaded.extend(load_kind(client, sql, rows).await?);
        }
        Ok(loaded)
    };
    in_transaction(client, &sql.begin, loading).await
}

pub(super) async fn in_transaction<T>(
    client: &Client,
    begin: &str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    client.batch_execute(begin).await?;
    match work.await {
        Ok(done) => {
            client.batch_execute("COMMIT").await?;
            Ok(done)
        }
        Err(error) => {
            // A connection that still has its transaction open must not be used again.
            if roll_back(client).await || error.is_cut() {
                return Err(error);
            }
            Err(Error::Cut("a transaction could not be rolled back".to_owned()))
        }
    }
}

/// Rows of one kind.
async fn load_kind(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    match rows.first().map(TransferRow::kind) {
        None => Ok(Vec::new()),
        Some(RowKind::Application) => load_applications(client, sql, rows).await,
        Some(RowKind::Key) => load_keys(client, sql, rows).await,
        Some(RowKind::Record) => load_records(client, sql, rows).await,
        Some(RowKind::Verification) => {
            let rows = only!(rows, TransferRow::Verification(row, deliveries) => (&**row, deliveries.as_slice()));
            match &sql.one_row {
                Some(one) => one_row::load(client, sql, one, &rows).await,
                None => load_verifications(client, sql, &rows).await,
            }
        }
        Some(RowKind::Limit) => load_limits(client, sql, rows).await,
        Some(RowKind::Guesses) => load_guesses(client, sql, rows).await,
        Some(RowKind::Answer) => load_answers(client, sql, rows).await,
        Some(RowKind::Event) if sql.one_row.as_ref().is_some_and(|one| !one.has_events()) => {
            Ok(vec![Loaded::NotKept; rows.len()])
        }
        Some(RowKind::Event) => load_events(client, sql, rows).await,
        Some(RowKind::Health) if sql.one_row.is_some() => Ok(vec![Loaded::NotKept; rows.len()]),
        Some(RowKind::Health) => load_health(client, sql, rows).await,
    }
}

async fn load_applications(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    let of = only!(rows, TransferRow::Application(row) => row);
    let parameters: [Parameter<'_>; 3] = [
        (&list!(of, row => row.name.as_str()), Type::TEXT_ARRAY),
        (&list!(of, row => text(&row.account_sid)), Type::TEXT_ARRAY),
        (&list!(of, row => row.created_at.as_millis()), Type::INT8_ARRAY),
    ];
    load_named(client, rows, &parameters, &sql.load_applications, (&sql.known_applications, 1)).await
}

async fn load_keys(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    let of = only!(rows, TransferRow::Key(row) => row);
    let parameters: [Parameter<'_>; 8] = [
        (&list!(of, row => text(&row.id)), Type::TEXT_ARRAY),
        (&list!(of, row => row.application.as_str()), Type::TEXT_ARRAY),
        (&list!(of, row => row.key_digest.as_slice()), Type::BYTEA_ARRAY),
        (&list!(of, row => row.auth_token_digest.as_slice()), Type::BYTEA_ARRAY),
        (&list!(of, row => text(&row.key_sid)), Type::TEXT_ARRAY),
        (&list!(of, row => row.key_secret_digest.as_slice()), Type::BYTEA_ARRAY),
        (&list!(of, row => row.created_at.as_millis()), Type::INT8_ARRAY),
        (&list!(of, row => row.revoked_at.map(Timestamp::as_millis)), Type::INT8_ARRAY),
    ];
    load_named(client, rows, &parameters, &sql.load_keys, (&sql.known_keys, 1)).await
}

async fn load_records(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    let of = only!(rows, TransferRow::Record(row) => row);
    let parameters: [Parameter<'_>; 7] = [
        (&list!(of, row => row.name.application.as_str()), Type::TEXT_ARRAY),
        (&list!(of, row => text(&row.name.kind)), Type::TEXT_ARRAY),
        (&list!(of, row => text(&row.name.id)), Type::TEXT_ARRAY),
        (&list!(of, row => row.parent.as_deref().map(text)), Type::TEXT_ARRAY),
        (&list!(of, row => text(&row.body)), Type::TEXT_ARRAY),
        (&list!(of, row => row.created_at.as_millis()), Type::INT8_ARRAY),
        (&list!(of, row => row.updated_at.as_millis()), Type::INT8_ARRAY),
    ];
    load_named(client, rows, &parameters, &sql.load_records, (&sql.known_records, 3)).await
}

async fn load_limits(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    let mut of = only!(rows, TransferRow::Limit(key, tat) => (key, tat));
    // As decisions insert them, so that nobody waits in a circle. Of two of one name the first stays first.
    of.sort_by_key(|(key, _)| *key);
    let parameters: [Parameter<'_>; 2] =
        [(&list!(of, row => text(&row.0.0)), Type::TEXT_ARRAY), (&list!(of, row => row.1.0), Type::INT8_ARRAY)];
    load_named(client, rows, &parameters, &sql.load_limits, (&sql.known_limits, 1)).await
}

async fn load_guesses(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    let mut of = only!(rows, TransferRow::Guesses(key, log) => (key, log));
    of.sort_by_key(|(key, _)| *key);
    let parameters: [Parameter<'_>; 6] = [
        (&list!(of, row => row.0.application.as_str()), Type::TEXT_ARRAY),
        (&list!(of, row => text(&row.0.destination)), Type::TEXT_ARRAY),
        (&list!(of, row => instants_to_bytes(&row.1.by_id)), Type::BYTEA_ARRAY),
        (&list!(of, row => instants_to_bytes(&row.1.by_keyless)), Type::BYTEA_ARRAY),
        (&list!(of, row => instants_to_bytes(&row.1.by_destination)), Type::BYTEA_ARRAY),
        (&list!(of, row => row.1.forgettable_at().as_millis()), Type::INT8_ARRAY),
    ];
    load_named(client, rows, &parameters, &sql.load_guesses, (&sql.known_guesses, 2)).await
}

async fn load_answers(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    let of = only!(rows, TransferRow::Answer(row) => row);
    let parameters: [Parameter<'_>; 7] = [
        (&list!(of, row => row.key.application.as_str()), Type::TEXT_ARRAY),
        (&list!(of, row => row.key.key.as_slice()), Type::BYTEA_ARRAY),
        (&list!(of, row => row.begun.fingerprint.as_slice()), Type::BYTEA_ARRAY),
        (&list!(of, row => row.begun.seed.as_slice()), Type::BYTEA_ARRAY),
        (&list!(of, row => row.begun.in_flight_until.as_millis()), Type::INT8_ARRAY),
        (&list!(of, row => row.begun.expires_at.as_millis()), Type::INT8_ARRAY),
        (&list!(of, row => row.answer.as_deref()), Type::BYTEA_ARRAY),
    ];
    load_named(client, rows, &parameters, &sql.load_answers, (&sql.known_answers, 2)).await
}

async fn load_events(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    // What happened here before has its places first, and nobody gives any until this is committed.
    read::place_events(client, sql).await?;
    let of = only!(rows, TransferRow::Event(place, event) => (i64::try_from(*place).unwrap_or(i64::MAX), event));
    let parameters: [Parameter<'_>; 6] = [
        (&list!(of, row => row.0), Type::INT8_ARRAY),
        (&list!(of, row => row.1.kind.as_str()), Type::TEXT_ARRAY),
        (&list!(of, row => row.1.application.as_str()), Type::TEXT_ARRAY),
        (&list!(of, row => row.1.verification.as_bytes().as_slice()), Type::BYTEA_ARRAY),
        (&list!(of, row => row.1.delivery.as_ref().map(|id| id.as_bytes().as_slice())), Type::BYTEA_ARRAY),
        (&list!(of, row => row.1.at.as_millis()), Type::INT8_ARRAY),
    ];
    let loaded = load_named(client, rows, &parameters, &sql.load_events, (&sql.known_events, 1)).await?;
    let last = of.iter().map(|row| row.0).max().unwrap_or(0);
    client.execute_typed(&sql.raise_event_head, &[(&last, Type::INT8)]).await?;
    if sql.one_row.is_none() {
        client.execute_typed(&sql.pass_health_position, &[(&last, Type::INT8)]).await?;
    }
    Ok(loaded)
}

async fn load_health(client: &Client, sql: &Sql, rows: &[TransferRow]) -> Result<Vec<Loaded>> {
    let of = only!(rows, TransferRow::Health(row) => row.clone());
    let inserted = health::put(client, &sql.load_health, &of).await?;
    let mut new =
        inserted.iter().map(|row| health::row(row).map(|(_, row)| row.key)).collect::<Result<HashSet<_>>>()?;
    let known = if new.len() < of.len() { health::known(client, sql, &of).await? } else { Vec::new() };
    let outcome = |row: &HealthRow| match () {
        () if new.remove(&row.key) => Loaded::New,
        () if known.contains(row) => Loaded::Same,
        () => Loaded::Differs,
    };
    Ok(of.iter().map(outcome).collect())
}

/// Inserts what is not there, and compares the rest with what is. The first columns, as many as it says, name a row.
async fn load_named(
    client: &Client,
    rows: &[TransferRow],
    parameters: &[Parameter<'_>],
    insert: &str,
    (known, names): (&str, usize),
) -> Result<Vec<Loaded>> {
    let Some(kind) = rows.first().map(TransferRow::kind) else { return Ok(Vec::new()) };
    let inserted = page(client, kind, insert, parameters).await?;
    let mut new: HashSet<String> = inserted.into_iter().map(|dumped| name(&dumped.row)).collect();
    let known: HashMap<String, TransferRow> = if new.len() < rows.len() {
        let known = page(client, kind, known, parameters.get(..names).unwrap_or_default()).await?;
        known.into_iter().map(|dumped| (name(&dumped.row), dumped.row)).collect()
    } else {
        HashMap::new()
    };
    let outcome = |row: &TransferRow| {
        let name = name(row);
        if new.remove(&name) {
            Loaded::New
        } else if known.get(&name) == Some(row) {
            Loaded::Same
        } else {
            Loaded::Differs
        }
    };
    Ok(rows.iter().map(outcome).collect())
}

/// What is unique among the rows of a kind, as the server has it.
fn name(row: &TransferRow) -> String {
    let name = match row {
        TransferRow::Application(row) => row.name.to_string(),
        TransferRow::Key(row) => row.id.clone(),
        TransferRow::Record(row) => format!("{:?}", (&row.name.application, text(&row.name.kind), text(&row.name.id))),
        TransferRow::Verification(row, _) => row.id.to_string(),
        TransferRow::Limit(key, _) => key.0.clone(),
        TransferRow::Guesses(key, _) => format!("{} {}", key.application, key.destination),
        TransferRow::Answer(row) => format!("{} {}", row.key.application, hex(&row.key.key)),
        TransferRow::Event(place, _) => place.to_string(),
        TransferRow::Health(row) => format!("{:?}", row.key),
    };
    text(&name).into_owned()
}

async fn load_verifications(client: &Client, sql: &Sql, rows: &[(&Verification, &[Delivery])]) -> Result<Vec<Loaded>> {
    let mut known = known_verifications(client, sql, rows).await?;
    let mut latest = latest(client, sql, rows).await?;
    let mut taken = taken_deliveries(client, sql, rows).await?;
    let mut loaded = Vec::with_capacity(rows.len());
    let mut new = Vec::new();
    for (row, deliveries) in rows {
        if let Some((known, of_known)) = known.get(&row.id) {
            loaded.push(if known == *row && of_known == deliveries { Loaded::Same } else { Loaded::Differs });
            continue;
        }
        let before = latest.get(&LatestKey::of(row)).copied();
        if before.is_some_and(|(_, created_at)| created_at > row.created_at) {
            loaded.push(Loaded::Older);
            continue;
        }
        // Another verification has a delivery of this id.
        if deliveries.iter().any(|delivery| taken.contains(&delivery.id)) {
            loaded.push(Loaded::Differs);
            continue;
        }
        let generation = before.map_or(0, |(generation, _)| generation) + 1;
        known.insert(row.id, ((*row).clone(), deliveries.to_vec()));
        latest.insert(LatestKey::of(row), (generation, row.created_at));
        taken.extend(deliveries.iter().map(|delivery| delivery.id));
        new.push((generation, *row, *deliveries));
        loaded.push(Loaded::New);
    }
    insert(client, sql, new).await?;
    Ok(loaded)
}

/// What is there under the ids.
async fn known_verifications(
    client: &Client,
    sql: &Sql,
    rows: &[(&Verification, &[Delivery])],
) -> Result<HashMap<VerificationId, (Verification, Vec<Delivery>)>> {
    let ids = list!(rows, row => row.0.id.as_bytes().as_slice());
    let known = placed(client, &sql.known_verifications, &[(&ids, Type::BYTEA_ARRAY)]).await?;
    let known = read::with_deliveries(client, sql, known).await?;
    Ok(known.into_iter().map(|(row, deliveries)| (row.id, (row, deliveries))).collect())
}

/// Generation and beginning of the latest verification of each application, service, destination and purpose.
async fn latest(
    client: &Client,
    sql: &Sql,
    rows: &[(&Verification, &[Delivery])],
) -> Result<HashMap<LatestKey, (i64, Timestamp)>> {
    let parameters: [Parameter<'_>; 4] = [
        (&list!(rows, row => row.0.to.reveal()), Type::TEXT_ARRAY),
        (&list!(rows, row => row.0.application.as_str()), Type::TEXT_ARRAY),
        (&list!(rows, row => row.0.purpose.as_str()), Type::TEXT_ARRAY),
        (&list!(rows, row => service_column(row.0.service.as_ref())), Type::BYTEA_ARRAY),
    ];
    let mut latest = HashMap::new();
    for found in client.query_typed(&sql.latest_generations, &parameters).await? {
        let mut columns = Columns::of(&found);
        let nth = usize::try_from(columns.take::<i64>()? - 1).unwrap_or(usize::MAX);
        if let Some((row, _)) = rows.get(nth) {
            latest.insert(LatestKey::of(row), (columns.take()?, columns.time()?));
        }
    }
    Ok(latest)
}

async fn taken_deliveries(
    client: &Client,
    sql: &Sql,
    rows: &[(&Verification, &[Delivery])],
) -> Result<HashSet<DeliveryId>> {
    let ids: Vec<&[u8]> = rows.iter().flat_map(|row| row.1).map(|delivery| delivery.id.as_bytes().as_slice()).collect();
    let taken = client.query_typed(&sql.known_deliveries, &[(&ids, Type::BYTEA_ARRAY)]).await?;
    taken.iter().map(|row| Columns::of(row).bytes().map(DeliveryId::from_bytes)).collect()
}

/// Inserts verifications in their order, each with its generation.
async fn insert(client: &Client, sql: &Sql, new: Vec<(i64, &Verification, &[Delivery])>) -> Result<()> {
    if new.is_empty() {
        return Ok(());
    }
    let count = i64::try_from(new.len()).unwrap_or(i64::MAX);
    let places = client.query_typed(&sql.new_places, &[(&count, Type::INT8)]).await?;
    let mut places = places.iter().map(first).collect::<Result<Vec<i64>>>()?;
    places.sort_unstable();
    let deliveries: Vec<(i64, &Delivery)> =
        places.iter().zip(&new).flat_map(|(place, row)| row.2.iter().map(|delivery| (*place, delivery))).collect();
    let found = |(place, (generation, row, _)): (&i64, &(i64, &Verification, &[Delivery]))| Found {
        place: *place,
        generation: *generation,
        row: Kept { stored: false, changed: true, value: (*row).clone() },
        deliveries: None,
        gone: false,
    };
    let found: Vec<Found> = places.iter().zip(&new).map(found).collect();
    insert_verifications(sql, &found.iter().collect::<Vec<_>>()).run(client).await?;
    if !deliveries.is_empty() {
        insert_deliveries(sql, &deliveries).run(client).await?;
    }
    Ok(())
}
