//! Everything read whole, and written back as it was.

use countersign::core::decision::GuessKey;
use countersign::core::id::ApplicationName;
use countersign::core::limit::{LimitKey, Tat};
use countersign::core::time::Timestamp;
use countersign::core::verification::{GuessLog, Verification};
use countersign::store::AnswerKey;
use countersign::transfer::{AnswerRow, Dumped, Loaded, Row as TransferRow, RowKind};
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Params, Row, params};

use super::connection::Connection;
use super::one_row::{self, OneRow};
use super::rows::{self, api_key_columns, record_columns, verification_columns};
use super::session::Session;
use super::{health, read, write};
use crate::json::hex;

/// A page of a kind. Places are numbers where rows have one, else what rows are named by.
pub(super) fn dump(
    one_row: Option<&OneRow>,
    connection: &Connection,
    kind: RowKind,
    after: Option<&str>,
    most: usize,
) -> rusqlite::Result<Vec<Dumped>> {
    let number: i64 = after.and_then(|after| after.parse().ok()).unwrap_or(i64::MIN);
    let name = after.unwrap_or_default();
    let rows = i64::try_from(most).unwrap_or(i64::MAX);
    match (kind, one_row) {
        (RowKind::Application, _) => page(
            connection,
            "SELECT name, account_sid, created_at FROM application WHERE name > ?1 ORDER BY name LIMIT ?2",
            params![name, rows],
            |row| Ok((row.get(0)?, TransferRow::Application(rows::application(row)?))),
        ),
        (RowKind::Key, _) => page(
            connection,
            concat!("SELECT ", api_key_columns!(), " FROM api_key WHERE id > ?1 ORDER BY id LIMIT ?2"),
            params![name, rows],
            |row| Ok((row.get(0)?, TransferRow::Key(rows::api_key(row)?))),
        ),
        (RowKind::Record, _) => page(
            connection,
            concat!("SELECT ", record_columns!(), " FROM record WHERE place > ?1 ORDER BY place LIMIT ?2"),
            params![number, rows],
            |row| rows::record(row).map(|(place, record)| (place.to_string(), TransferRow::Record(record))),
        ),
        (RowKind::Verification, Some(one)) => one_row::dump(one, connection, number, most),
        (RowKind::Verification, None) => dump_verifications(connection, number, rows),
        (RowKind::Limit, _) => page(
            connection,
            "SELECT key, tat FROM limit_state WHERE key > ?1 ORDER BY key LIMIT ?2",
            params![name, rows],
            |row| Ok((row.get(0)?, TransferRow::Limit(LimitKey(row.get(0)?), Tat(row.get(1)?)))),
        ),
        (RowKind::Guesses, _) => {
            let (application, destination) = name.split_once(' ').unwrap_or_default();
            page(
                connection,
                "SELECT application, destination, by_id, by_keyless, by_destination FROM guess_log \
                 WHERE (application, destination) > (?1, ?2) ORDER BY application, destination LIMIT ?3",
                params![application, destination, rows],
                guesses,
            )
        }
        (RowKind::Answer, _) => {
            let (application, key) = name.split_once(' ').unwrap_or_default();
            page(
                connection,
                "SELECT application, key, fingerprint, seed, in_flight_until, expires_at, answer FROM kept_answer \
                 WHERE (application, key) > (?1, unhex(?2)) ORDER BY application, key LIMIT ?3",
                params![application, key, rows],
                answer,
            )
        }
        (RowKind::Event, Some(one)) if !one.has_events() => Ok(Vec::new()),
        (RowKind::Health, Some(_)) => Ok(Vec::new()),
        (RowKind::Health, None) => {
            let found = health::page(connection, number, rows)?.into_iter();
            Ok(found.map(|(place, row)| Dumped { place: place.to_string(), row: TransferRow::Health(row) }).collect())
        }
        (RowKind::Event, _) => page(
            connection,
            "SELECT place, kind, application, verification, delivery, at FROM event WHERE place > ?1 ORDER BY place LIMIT ?2",
            params![number, rows],
            |row| rows::event(row).map(|(place, event)| (place.to_string(), TransferRow::Event(place, event))),
        ),
    }
}

fn page(
    connection: &Connection,
    sql: &str,
    bounds: impl Params,
    read: impl Fn(&Row<'_>) -> rusqlite::Result<(String, TransferRow)>,
) -> rusqlite::Result<Vec<Dumped>> {
    connection
        .prepare_cached(sql)?
        .query_map(bounds, |row| read(row).map(|(place, row)| Dumped { place, row }))?
        .collect()
}

fn dump_verifications(connection: &Connection, after: i64, most: i64) -> rusqlite::Result<Vec<Dumped>> {
    let sql =
        concat!("SELECT ", verification_columns!(), " FROM verification WHERE place > ?1 ORDER BY place LIMIT ?2");
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![after, most], rows::verification)?;
    found
        .map(|row| {
            let (place, row) = row?;
            let deliveries = read::deliveries_beside(connection, place, row.id)?;
            Ok(Dumped { place: place.to_string(), row: TransferRow::Verification(row.into(), deliveries) })
        })
        .collect()
}

fn guesses(row: &Row<'_>) -> rusqlite::Result<(String, TransferRow)> {
    let key = GuessKey { application: application(row, 0)?, destination: row.get(1)? };
    let log = GuessLog {
        by_id: rows::instants_from_bytes(row.get_ref(2)?.as_blob()?),
        by_keyless: rows::instants_from_bytes(row.get_ref(3)?.as_blob()?),
        by_destination: rows::instants_from_bytes(row.get_ref(4)?.as_blob()?),
    };
    Ok((format!("{} {}", key.application, key.destination), TransferRow::Guesses(key, log)))
}

fn answer(row: &Row<'_>) -> rusqlite::Result<(String, TransferRow)> {
    let key = AnswerKey { application: application(row, 0)?, key: row.get(1)? };
    let place = format!("{} {}", key.application, hex(&key.key));
    let seed = write::seed(row.get_ref(3)?.as_blob()?);
    let kept = AnswerRow::new(key, row.get(2)?, seed, rows::time(row, 4)?, rows::time(row, 5)?, row.get(6)?);
    Ok((place, TransferRow::Answer(kept)))
}

fn application(row: &Row<'_>, column: usize) -> rusqlite::Result<ApplicationName> {
    row.get_ref(column)?
        .as_str()?
        .parse()
        .map_err(|error| rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error)))
}

/// Writes a row as it is, unless there is one of its name.
pub(super) fn load(one_row: Option<&OneRow>, session: &mut Session<'_>, row: &TransferRow) -> rusqlite::Result<Loaded> {
    let connection = session.connection();
    if let TransferRow::Verification(row, deliveries) = row {
        return match one_row {
            Some(one) => one_row::load(one, connection, row, deliveries),
            None => load_verification(session, row, deliveries),
        };
    }
    if matches!(row, TransferRow::Event(..)) && one_row.is_some_and(|one| !one.has_events()) {
        return Ok(Loaded::NotKept);
    }
    if matches!(row, TransferRow::Health(_)) && one_row.is_some() {
        return Ok(Loaded::NotKept);
    }
    if let Some(known) = known(session, row)? {
        return Ok(if known == *row { Loaded::Same } else { Loaded::Differs });
    }
    match row {
        TransferRow::Application(row) => match write::create_application(connection, row)? {
            true => Ok(Loaded::New),
            // Another application has its account's name.
            false => Ok(Loaded::Differs),
        },
        TransferRow::Key(row) => {
            let digests = [row.key_digest, row.auth_token_digest, row.key_secret_digest];
            for digest in digests {
                if is_taken(connection, digest, &row.key_sid)? {
                    return Ok(Loaded::Differs);
                }
            }
            write::create_key(connection, row).map(|()| Loaded::New)
        }
        TransferRow::Record(row) => write::create_record(connection, row).map(|_| Loaded::New),
        TransferRow::Limit(key, tat) => write::put_limit(session, key, *tat).map(|()| Loaded::New),
        TransferRow::Guesses(key, log) => write::put_guesses(session, key, log).map(|()| Loaded::New),
        TransferRow::Answer(row) => {
            write::put_answer(connection, &row.key, &row.begun)?;
            if let Some(answer) = &row.answer {
                write::keep_answer(connection, &row.key, answer)?;
            }
            Ok(Loaded::New)
        }
        TransferRow::Event(place, event) => {
            let place = i64::try_from(*place).unwrap_or(i64::MAX);
            write::put_event(session, Some(place), event)?;
            if one_row.is_none() {
                health::pass(session.connection(), place)?;
            }
            Ok(Loaded::New)
        }
        TransferRow::Health(row) => health::add(connection, row).map(|()| Loaded::New),
        TransferRow::Verification(..) => Ok(Loaded::NotKept),
    }
}

/// What is there under a row's name.
fn known(session: &mut Session<'_>, row: &TransferRow) -> rusqlite::Result<Option<TransferRow>> {
    let connection = session.connection();
    match row {
        TransferRow::Application(row) => connection
            .prepare_cached("SELECT name, account_sid, created_at FROM application WHERE name = ?1")?
            .query_row([row.name.as_str()], rows::application)
            .optional()
            .map(|found| found.map(TransferRow::Application)),
        TransferRow::Key(row) => connection
            .prepare_cached(concat!("SELECT ", api_key_columns!(), " FROM api_key WHERE id = ?1"))?
            .query_row([&row.id], rows::api_key)
            .optional()
            .map(|found| found.map(TransferRow::Key)),
        TransferRow::Record(row) => Ok(read::record(connection, &row.name)?.map(TransferRow::Record)),
        TransferRow::Verification(..) => Ok(None),
        TransferRow::Limit(key, _) => Ok(read::limit(session, key)?.map(|tat| TransferRow::Limit(key.clone(), tat))),
        TransferRow::Guesses(key, _) => connection
            .prepare_cached(
                "SELECT application, destination, by_id, by_keyless, by_destination FROM guess_log \
                 WHERE application = ?1 AND destination = ?2",
            )?
            .query_row([key.application.as_str(), &key.destination], guesses)
            .optional()
            .map(|found| found.map(|(_, row)| row)),
        TransferRow::Answer(row) => connection
            .prepare_cached(
                "SELECT application, key, fingerprint, seed, in_flight_until, expires_at, answer FROM kept_answer \
                 WHERE application = ?1 AND key = ?2",
            )?
            .query_row(params![row.key.application.as_str(), row.key.key], answer)
            .optional()
            .map(|found| found.map(|(_, row)| row)),
        TransferRow::Event(place, _) => connection
            .prepare_cached("SELECT place, kind, application, verification, delivery, at FROM event WHERE place = ?1")?
            .query_row([i64::try_from(*place).unwrap_or(i64::MAX)], rows::event)
            .optional()
            .map(|found| found.map(|(place, event)| TransferRow::Event(place, event))),
        TransferRow::Health(row) => Ok(health::of_key(connection, &row.key)?.map(TransferRow::Health)),
    }
}

/// Whether another key has one of these secrets or names.
fn is_taken(connection: &Connection, digest: [u8; 32], sid: &str) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM api_key WHERE key_digest = ?1 OR auth_token_digest = ?1 OR key_secret_digest = ?1 \
             OR key_sid = ?2)",
        )?
        .query_row(params![digest, sid], |row| row.get(0))
}

fn load_verification(
    session: &mut Session<'_>,
    row: &Verification,
    deliveries: &[countersign::core::verification::Delivery],
) -> rusqlite::Result<Loaded> {
    let id = session
        .connection()
        .prepare_cached(concat!("SELECT ", verification_columns!(), " FROM verification WHERE id = ?1"))?
        .query_row([row.id.as_bytes()], rows::verification)
        .optional()?;
    if let Some((place, known)) = id {
        let same = known == *row && read::deliveries_beside(session.connection(), place, row.id)? == deliveries;
        return Ok(if same { Loaded::Same } else { Loaded::Differs });
    }
    if latest_at(session, row)?.is_some_and(|latest| latest > row.created_at) {
        return Ok(Loaded::Older);
    }
    write::put_verification(session, row, deliveries).map(|()| Loaded::New)
}

/// When the latest verification of the same application, service, destination and purpose began.
fn latest_at(session: &mut Session<'_>, row: &Verification) -> rusqlite::Result<Option<Timestamp>> {
    let lookup = countersign::core::decision::Lookup::Latest {
        application: row.application.clone(),
        service: row.service,
        to: row.to.clone(),
        purpose: row.purpose.clone(),
    };
    Ok(read::lookup(session, &lookup)?.map(|latest| latest.verification.created_at))
}
