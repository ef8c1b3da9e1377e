//! Everything that is only read.

use countersign::core::decision::{GuessKey, Lookup};
use countersign::core::event::Event;
use countersign::core::health;
use countersign::core::id::{ApplicationName, DeliveryId, VerificationId};
use countersign::core::limit::{LimitKey, Tat};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, GuessLog, Status, Verification};
use countersign::store::{
    ApplicationRecord, Cleaned, KeyRecord, ListFilter, Page, Record, RecordFilter, RecordName, RecordPage,
};
use rusqlite::types::Value;
use rusqlite::{OptionalExtension, Statement, params, params_from_iter};

use super::connection::Connection;
use super::rows::{self, api_key_columns, delivery_columns, record_columns, verification_columns};
use super::session::{Row, Session};

const BY_ID: &str = concat!("SELECT ", verification_columns!(), " FROM verification WHERE id = ?1");
const DELIVERIES: &str =
    concat!("SELECT ", delivery_columns!(), " FROM delivery WHERE verification = ?1 ORDER BY number");

/// The verification that a decision is about.
pub(super) fn lookup(session: &mut Session<'_>, lookup: &Lookup) -> rusqlite::Result<Option<Row>> {
    let found = match lookup {
        Lookup::ById { application, id } => {
            if let Some(row) = session.take_recent(*id) {
                if row.verification.application == *application {
                    return Ok(Some(row));
                }
                session.put_recent(row);
                return Ok(None);
            }
            by_id(session.prepare(BY_ID)?, application, *id)?
        }
        Lookup::Latest { application, service, to, purpose } => session
            .prepare(concat!(
                "SELECT ",
                verification_columns!(),
                " FROM verification WHERE destination = ?1 AND application = ?2 AND purpose = ?3 AND service IS ?4 \
                 ORDER BY place DESC LIMIT 1"
            ))?
            .query_row(
                params![to.reveal(), application.as_str(), purpose.as_str(), service.as_ref().map(|id| id.as_bytes())],
                rows::verification,
            )
            .optional()?,
        Lookup::ByReference { provider, reference } => by_reference(session.connection(), provider, reference)?,
    };
    Ok(found.map(|(place, verification)| {
        // What is kept of it is about to be out of date.
        drop(session.take_recent(verification.id));
        Row { place, verification, deliveries: None }
    }))
}

fn by_id(
    statement: &mut Statement<'_>,
    application: &ApplicationName,
    id: VerificationId,
) -> rusqlite::Result<Option<(i64, Verification)>> {
    let found = statement.query_row([id.as_bytes()], rows::verification).optional()?;
    Ok(found.filter(|(_, row)| row.application == *application))
}

fn by_reference(
    connection: &Connection,
    provider: &str,
    reference: &str,
) -> rusqlite::Result<Option<(i64, Verification)>> {
    let named = connection
        .prepare_cached("SELECT verification FROM delivery WHERE message_id = ?1 AND provider = ?2 ORDER BY verification DESC LIMIT 1")?
        .query_row([reference, provider], |row| row.get::<_, i64>(0))
        .optional()?;
    let place = match (named, reference.parse::<DeliveryId>()) {
        (None, Ok(id)) => connection
            .prepare_cached("SELECT verification FROM delivery WHERE id = ?1 AND provider = ?2")?
            .query_row(params![id.as_bytes(), provider], |row| row.get::<_, i64>(0))
            .optional()?,
        (named, _) => named,
    };
    let Some(place) = place else { return Ok(None) };
    connection
        .prepare_cached(concat!("SELECT ", verification_columns!(), " FROM verification WHERE place = ?1"))?
        .query_row([place], rows::verification)
        .optional()
}

pub(super) fn deliveries(session: &mut Session<'_>, row: &Row) -> rusqlite::Result<Vec<Delivery>> {
    deliveries_of(session.prepare(DELIVERIES)?, row.place, row.verification.id)
}

/// The same beside the writer.
pub(super) fn deliveries_beside(
    connection: &Connection,
    place: i64,
    id: VerificationId,
) -> rusqlite::Result<Vec<Delivery>> {
    deliveries_of(&mut *connection.prepare_cached(DELIVERIES)?, place, id)
}

fn deliveries_of(statement: &mut Statement<'_>, place: i64, id: VerificationId) -> rusqlite::Result<Vec<Delivery>> {
    statement.query_map([place], |row| rows::delivery(row, id))?.collect()
}

pub(super) fn limit(session: &mut Session<'_>, key: &LimitKey) -> rusqlite::Result<Option<Tat>> {
    session
        .prepare("SELECT tat FROM limit_state WHERE key = ?1")?
        .query_row([&key.0], |row| row.get(0).map(Tat))
        .optional()
}

pub(super) fn guesses(session: &mut Session<'_>, key: &GuessKey) -> rusqlite::Result<GuessLog> {
    let found = session
        .prepare("SELECT by_id, by_keyless, by_destination FROM guess_log WHERE application = ?1 AND destination = ?2")?
        .query_row([key.application.as_str(), &key.destination], |row| {
            Ok(GuessLog {
                by_id: rows::instants_from_bytes(row.get_ref(0)?.as_blob()?),
                by_keyless: rows::instants_from_bytes(row.get_ref(1)?.as_blob()?),
                by_destination: rows::instants_from_bytes(row.get_ref(2)?.as_blob()?),
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

pub(super) fn verification(
    connection: &Connection,
    application: &ApplicationName,
    id: VerificationId,
) -> rusqlite::Result<Option<(Verification, Vec<Delivery>)>> {
    let found = by_id(&mut *connection.prepare_cached(BY_ID)?, application, id)?;
    let Some((place, row)) = found else { return Ok(None) };
    let deliveries = deliveries_beside(connection, place, id)?;
    Ok(Some((row, deliveries)))
}

/// Those of these that are there, whosever they are.
pub(super) fn verifications(
    connection: &Connection,
    ids: &[VerificationId],
) -> rusqlite::Result<Vec<(Verification, Vec<Delivery>)>> {
    let sql = concat!("SELECT ", verification_columns!(), " FROM verification WHERE id = ?1");
    let mut by_id = connection.prepare_cached(sql)?;
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        if let Some((place, row)) = by_id.query_row([id.as_bytes()], rows::verification).optional()? {
            let deliveries = deliveries_beside(connection, place, row.id)?;
            found.push((row, deliveries));
        }
    }
    Ok(found)
}

pub(super) fn verification_of(
    connection: &Connection,
    application: &ApplicationName,
    delivery: DeliveryId,
) -> rusqlite::Result<Option<(Verification, Vec<Delivery>)>> {
    let found = connection
        .prepare_cached(concat!(
            "SELECT ",
            verification_columns!(),
            " FROM verification WHERE place = (SELECT verification FROM delivery WHERE id = ?1)"
        ))?
        .query_row([delivery.as_bytes()], rows::verification)
        .optional()?;
    let Some((place, row)) = found.filter(|(_, row)| row.application == *application) else { return Ok(None) };
    let deliveries = deliveries_of(&mut *connection.prepare_cached(DELIVERIES)?, place, row.id)?;
    Ok(Some((row, deliveries)))
}

pub(super) fn list(connection: &Connection, filter: &ListFilter) -> rusqlite::Result<Page> {
    let mut conditions = vec!["application = ?"];
    let mut values = vec![Value::from(filter.application.to_string())];
    if let Some(to) = &filter.to {
        conditions.push("destination = ?");
        values.push(to.reveal().to_owned().into());
    }
    if let Some(service) = &filter.service {
        conditions.push("service IS ?");
        values.push(service.map(|id| id.as_bytes().to_vec()).into());
    }
    if let Some(purpose) = &filter.purpose {
        conditions.push("purpose = ?");
        values.push(purpose.to_string().into());
    }
    if let Some(after) = filter.after {
        conditions.push("place < ?");
        values.push(i64::try_from(after).unwrap_or(i64::MAX).into());
    }
    if let Some(status) = filter.status {
        let now = Value::from(filter.now.as_millis());
        match status {
            Status::Pending => {
                conditions.push("status = 'pending' AND expires_at > ?");
                values.push(now);
            }
            Status::Expired => {
                conditions.push("(status = 'expired' OR status = 'pending' AND expires_at <= ?)");
                values.push(now);
            }
            _ => {
                conditions.push("status = ?");
                values.push(status.as_str().to_owned().into());
            }
        }
    }
    if let Some(since) = filter.since {
        conditions.push("created_at >= ?");
        values.push(since.as_millis().into());
    }
    if let Some(until) = filter.until {
        conditions.push("created_at < ?");
        values.push(until.as_millis().into());
    }
    values.push(i64::try_from(filter.limit.saturating_add(1)).unwrap_or(i64::MAX).into());
    let sql = format!(
        concat!("SELECT ", verification_columns!(), " FROM verification WHERE {} ORDER BY place DESC LIMIT ?"),
        conditions.join(" AND ")
    );
    let mut found: Vec<(i64, Verification)> = connection
        .prepare(&sql)?
        .query_map(params_from_iter(values), rows::verification)?
        .collect::<rusqlite::Result<_>>()?;
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let next = if more { found.last().and_then(|(place, _)| u64::try_from(*place).ok()) } else { None };
    let mut statement = connection.prepare_cached(DELIVERIES)?;
    let rows = found
        .into_iter()
        .map(|(place, row)| deliveries_of(&mut statement, place, row.id).map(|deliveries| (row, deliveries)))
        .collect::<rusqlite::Result<_>>()?;
    Ok(Page { rows, next })
}

pub(super) fn has_overdue_delivery(connection: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM delivery WHERE status = 'queued' AND lease_until <= ?1)")?
        .query_row([now.as_millis()], |row| row.get(0))
}

/// Verifications called pending whose time was up between the two instants: when, whose, which.
/// Verifications that are to be followed up, most overdue first.
pub(super) fn to_follow_up(
    connection: &Connection,
    now: Timestamp,
    most: usize,
) -> rusqlite::Result<Vec<(ApplicationName, VerificationId)>> {
    connection
        .prepare_cached(
            "SELECT application, id FROM verification WHERE follow_up_at IS NOT NULL AND follow_up_at <= ?1 \
             ORDER BY follow_up_at LIMIT ?2",
        )?
        .query_map(params![now.as_millis(), i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            let application: String = row.get(0)?;
            Ok((application.parse().unwrap_or_default(), VerificationId::from_bytes(row.get(1)?)))
        })?
        .collect()
}

pub(super) fn overdue(
    connection: &Connection,
    after: i64,
    now: Timestamp,
    most: usize,
) -> rusqlite::Result<Vec<(i64, ApplicationName, VerificationId)>> {
    connection
        .prepare_cached(
            "SELECT expires_at, application, id FROM verification \
             WHERE expires_at > ?1 AND expires_at <= ?2 AND status = 'pending' ORDER BY expires_at LIMIT ?3",
        )?
        .query_map(params![after, now.as_millis(), i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            let application: String = row.get(1)?;
            Ok((row.get(0)?, application.parse().unwrap_or_default(), VerificationId::from_bytes(row.get(2)?)))
        })?
        .collect()
}

/// What a cleanup would delete.
pub(super) fn count_old(connection: &Connection, before: Timestamp, now: Timestamp) -> rusqlite::Result<Cleaned> {
    let verifications = count(
        connection,
        "SELECT count(*) FROM verification WHERE expires_at < ?1 AND id NOT IN \
         (SELECT verification FROM event WHERE place > (SELECT place FROM webhook_position))",
        before,
    )?;
    let hours = count(connection, "SELECT count(*) FROM health WHERE hour < ?1", now - health::KEPT_FOR)?;
    Ok(Cleaned { verifications, others: count_forgettable(connection, before, now)? + hours, more: false })
}

/// Counters, guess logs, kept answers and webhooks that a cleanup would delete.
pub(super) fn count_forgettable(connection: &Connection, before: Timestamp, now: Timestamp) -> rusqlite::Result<u64> {
    Ok(count(connection, "SELECT count(*) FROM limit_state WHERE tat / 1000 + 1 <= ?1", now)?
        + count(connection, "SELECT count(*) FROM guess_log WHERE forget_at <= ?1", now)?
        + count(connection, "SELECT count(*) FROM kept_answer WHERE expires_at <= ?1", now)?
        + count(connection, "SELECT count(*) FROM webhook_message WHERE expires_at <= ?1", now)?
        + count(connection, "SELECT count(*) FROM webhook_message WHERE waits = 0 AND at < ?1", before)?)
}

pub(super) fn count(connection: &Connection, sql: &str, bound: Timestamp) -> rusqlite::Result<u64> {
    connection.query_row(sql, [bound.as_millis()], |row| row.get::<_, i64>(0)).map(i64::unsigned_abs)
}

pub(super) fn events(connection: &Connection, after: u64, most: usize) -> rusqlite::Result<Vec<(u64, Event)>> {
    connection
        .prepare_cached("SELECT place, kind, application, verification, delivery, at FROM event WHERE place > ?1 ORDER BY place LIMIT ?2")?
        .query_map(params![i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(most).unwrap_or(i64::MAX)], rows::event)?
        .collect()
}

pub(super) fn applications(connection: &Connection) -> rusqlite::Result<Vec<ApplicationRecord>> {
    connection
        .prepare_cached("SELECT name, account_sid, created_at FROM application ORDER BY name")?
        .query_map([], rows::application)?
        .collect()
}

pub(super) fn keys(connection: &Connection, application: &ApplicationName) -> rusqlite::Result<Vec<KeyRecord>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            api_key_columns!(),
            " FROM api_key WHERE application = ?1 ORDER BY created_at, id"
        ))?
        .query_map([application.as_str()], rows::api_key)?
        .collect()
}

pub(super) fn key_by_digest(connection: &Connection, digest: [u8; 32]) -> rusqlite::Result<Option<KeyRecord>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            api_key_columns!(),
            " FROM api_key \
             WHERE (key_digest = ?1 OR auth_token_digest = ?1 OR key_secret_digest = ?1) AND revoked_at IS NULL"
        ))?
        .query_row([digest], rows::api_key)
        .optional()
}

pub(super) fn record(connection: &Connection, name: &RecordName) -> rusqlite::Result<Option<Record>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            record_columns!(),
            " FROM record WHERE application = ?1 AND kind = ?2 AND id = ?3"
        ))?
        .query_row(params![name.application.as_str(), name.kind, name.id], rows::record)
        .optional()
        .map(|found| found.map(|(_, record)| record))
}

pub(super) fn records(connection: &Connection, filter: &RecordFilter) -> rusqlite::Result<RecordPage> {
    let after = filter.after.map_or(i64::MAX, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let most = i64::try_from(filter.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let mut found: Vec<(i64, Record)> = connection
        .prepare_cached(concat!(
            "SELECT ",
            record_columns!(),
            " FROM record WHERE application = ?1 AND kind = ?2 AND (?3 IS NULL OR parent = ?3) AND place < ?4 \
             ORDER BY place DESC LIMIT ?5"
        ))?
        .query_map(params![filter.application.as_str(), filter.kind, filter.parent, after, most], rows::record)?
        .collect::<rusqlite::Result<_>>()?;
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let next = if more { found.last().map(|(place, _)| place.unsigned_abs()) } else { None };
    Ok(RecordPage { rows: found.into_iter().map(|(_, record)| record).collect(), next })
}
