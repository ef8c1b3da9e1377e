//! Everything that is written, inside the writer's transaction. No rule lives here.

use std::time::Duration;

use countersign::core::code::CodeSource;
use countersign::core::decision::{Changes, GuessKey, Snapshot, Write};
use countersign::core::event::Event;
use countersign::core::limit::{LimitKey, Tat};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, GuessLog, Verification};
use countersign::store::{
    AnswerKey, ApplicationRecord, Claimed, Cleaned, Job, KeptAnswer, KeyRecord, NewAnswer, Record, RecordName,
};
use rusqlite::{OptionalExtension, params};

use super::connection::Connection;
use super::rows::{self, api_key_columns, delivery_columns, verification_columns};
use super::session::{Row, Session};
use super::{health, read};
use crate::wording;

/// Looks up, reads, decides, writes.
pub(super) fn run(session: &mut Session<'_>, job: &mut dyn Job) -> rusqlite::Result<()> {
    let mut found = read::lookup(session, &job.lookup())?;
    let reads = job.reads(found.as_ref().map(|row| &row.verification));
    if let Some(row) = found.as_mut().filter(|row| reads.deliveries && row.deliveries.is_none()) {
        row.deliveries = Some(read::deliveries(session, row)?);
    }
    let limits = reads.limits.iter().map(|key| read::limit(session, key)).collect::<rusqlite::Result<_>>()?;
    let guesses = match &reads.guesses {
        Some(key) => read::guesses(session, key)?,
        None => GuessLog::default(),
    };
    let mut snapshot = Snapshot { limits, guesses, ..Snapshot::default() };
    let mut place = None;
    if let Some(row) = found {
        place = Some(row.place);
        snapshot.verification = Some(row.verification);
        snapshot.deliveries = row.deliveries.unwrap_or_default();
    }
    let changes = job.decide(&snapshot);
    place = apply(session, place, &changes)?;
    if let Some(row) = as_written(place, reads.deliveries, snapshot, changes) {
        session.put_recent(row);
    }
    Ok(())
}

/// The verification as the changes leave it; `None` if there is none, or not all of its deliveries are known.
fn as_written(place: Option<i64>, deliveries_read: bool, snapshot: Snapshot, changes: Changes) -> Option<Row> {
    let (verification, mut deliveries) = match changes.verification {
        Some(Write::Insert(row)) => (row, Vec::new()),
        Some(Write::Update(row)) if deliveries_read => (row, snapshot.deliveries),
        None if deliveries_read => (snapshot.verification?, snapshot.deliveries),
        _ => return None,
    };
    for write in changes.deliveries {
        match write {
            Write::Insert(row) => deliveries.push(row),
            Write::Update(row) => {
                let known = deliveries.iter_mut().find(|known| known.number == row.number)?;
                *known = row;
            }
        }
    }
    Some(Row { place: place?, verification, deliveries: Some(deliveries) })
}

/// Writes; the place of the verification that it is about.
fn apply(session: &mut Session<'_>, place: Option<i64>, changes: &Changes) -> rusqlite::Result<Option<i64>> {
    let mut place = place;
    if let Some(row) = &changes.ended {
        update_verification(session, place, row)?;
    }
    match &changes.verification {
        Some(Write::Insert(row)) => place = Some(insert_verification(session, row)?),
        Some(Write::Update(row)) => update_verification(session, place, row)?,
        None => {}
    }
    for write in &changes.deliveries {
        match write {
            Write::Insert(row) => insert_delivery(session, place, row)?,
            Write::Update(row) => update_delivery(session, place, row)?,
        }
    }
    apply_events(session, changes)?;
    apply_support(session, changes)?;
    Ok(place)
}

/// Counters, wrong guesses, and the write that is none.
pub(super) fn apply_support(session: &mut Session<'_>, changes: &Changes) -> rusqlite::Result<()> {
    for (key, tat) in &changes.limits {
        put_limit(session, key, *tat)?;
    }
    if let Some((key, log)) = &changes.guesses {
        put_guesses(session, key, log)?;
    }
    if changes.decoy {
        session.prepare("UPDATE decoy SET count = count + 1")?.execute([])?;
    }
    Ok(())
}

pub(super) fn apply_events(session: &mut Session<'_>, changes: &Changes) -> rusqlite::Result<()> {
    changes.events.iter().try_for_each(|event| put_event(session, None, event))
}

pub(super) fn put_limit(session: &mut Session<'_>, key: &LimitKey, tat: Tat) -> rusqlite::Result<()> {
    session
        .prepare("INSERT OR REPLACE INTO limit_state (key, tat) VALUES (?1, ?2)")?
        .execute(params![key.0, tat.0])
        .map(drop)
}

pub(super) fn put_guesses(session: &mut Session<'_>, key: &GuessKey, log: &GuessLog) -> rusqlite::Result<()> {
    session
        .prepare("INSERT OR REPLACE INTO guess_log VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![
            key.application.as_str(),
            key.destination,
            rows::instants_to_bytes(&log.by_id),
            rows::instants_to_bytes(&log.by_keyless),
            rows::instants_to_bytes(&log.by_destination),
            log.forgettable_at().as_millis(),
        ])
        .map(drop)
}

/// At the next place if none is given.
pub(super) fn put_event(session: &mut Session<'_>, place: Option<i64>, event: &Event) -> rusqlite::Result<()> {
    session
        .prepare(
            "INSERT INTO event (place, kind, application, verification, delivery, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            place,
            event.kind.as_str(),
            event.application.as_str(),
            event.verification.as_bytes(),
            event.delivery.as_ref().map(|id| id.as_bytes()),
            event.at.as_millis(),
        ])
        .map(drop)
}

/// A verification with its deliveries, as it is.
pub(super) fn put_verification(
    session: &mut Session<'_>,
    row: &Verification,
    deliveries: &[Delivery],
) -> rusqlite::Result<()> {
    let place = insert_verification(session, row)?;
    deliveries.iter().try_for_each(|delivery| insert_delivery(session, Some(place), delivery))
}

fn insert_verification(session: &mut Session<'_>, row: &Verification) -> rusqlite::Result<i64> {
    let (key, digest, sealed) = code_columns(&row.code);
    let metadata = (!row.metadata.is_empty()).then(|| serde_json::to_string(&row.metadata).unwrap_or_default());
    session
        .prepare(
            "INSERT INTO verification (id, application, destination, country, purpose, channel, status, created_at, expires_at, \
             finished_at, code_length, key_id, chosen_digest, chosen_sealed, sends, max_sends, resend_at, wrong_by_id, \
             wrong_by_destination, max_checks, locale, template, metadata, keyless, service, amount, payee, wording, follow_up_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29)",
        )?
        .execute(params![
            row.id.as_bytes(),
            row.application.as_str(),
            row.to.reveal(),
            row.to.country().as_ref().map(|country| country.as_str()),
            row.purpose.as_str(),
            row.channel.as_str(),
            row.status.as_str(),
            row.created_at.as_millis(),
            row.expires_at.as_millis(),
            row.finished_at.map(Timestamp::as_millis),
            row.code_length,
            key,
            digest,
            sealed,
            row.sends,
            row.max_sends,
            row.resend_at.as_millis(),
            row.wrong_by_id,
            row.wrong_by_destination,
            row.max_checks,
            row.locale,
            row.template,
            metadata,
            row.keyless,
            row.service.as_ref().map(|id| id.as_bytes()),
            row.payment.as_ref().map(|payment| &payment.amount),
            row.payment.as_ref().map(|payment| &payment.payee),
            wording::to_json(&row.wording),
            row.follow_up_at.map(Timestamp::as_millis),
        ])?;
    Ok(session.connection().last_insert_rowid())
}

/// Only what can change does: the rest of a verification is what its code is bound to.
fn update_verification(session: &mut Session<'_>, place: Option<i64>, row: &Verification) -> rusqlite::Result<()> {
    let (_, _, sealed) = code_columns(&row.code);
    let changed = session
        .prepare(
            "UPDATE verification SET channel = ?2, status = ?3, finished_at = ?4, chosen_sealed = ?5, sends = ?6, resend_at = ?7, \
             wrong_by_id = ?8, wrong_by_destination = ?9, template = ?10, wording = ?11, follow_up_at = ?12 WHERE place = ?1",
        )?
        .execute(params![
            place,
            row.channel.as_str(),
            row.status.as_str(),
            row.finished_at.map(Timestamp::as_millis),
            sealed,
            row.sends,
            row.resend_at.as_millis(),
            row.wrong_by_id,
            row.wrong_by_destination,
            row.template,
            wording::to_json(&row.wording),
            row.follow_up_at.map(Timestamp::as_millis),
        ])?;
    exactly_one(changed)
}

type CodeColumns<'a> = (&'a str, Option<&'a [u8]>, Option<&'a [u8]>);

fn code_columns(code: &CodeSource) -> CodeColumns<'_> {
    match code {
        CodeSource::Derived { key } => (key, None, None),
        CodeSource::Chosen { key, digest, sealed } => (key, Some(digest), sealed.as_deref()),
    }
}

fn insert_delivery(session: &mut Session<'_>, place: Option<i64>, row: &Delivery) -> rusqlite::Result<()> {
    session
        .prepare(
            "INSERT INTO delivery (verification, number, id, send, channel, provider, status, queued_at, at, error, message_id, \
             due_at, lease_until, claims) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            place,
            row.number,
            row.id.as_bytes(),
            row.send,
            row.channel.as_str(),
            row.provider,
            row.status.as_str(),
            row.queued_at.as_millis(),
            row.at.as_millis(),
            row.error,
            row.message_id,
            row.due_at.as_millis(),
            row.lease_until.as_millis(),
            row.claims,
        ])
        .and_then(exactly_one)
}

fn update_delivery(session: &mut Session<'_>, place: Option<i64>, row: &Delivery) -> rusqlite::Result<()> {
    session
        .prepare(
            "UPDATE delivery SET status = ?3, at = ?4, error = ?5, message_id = ?6, lease_until = ?7, claims = ?8 \
             WHERE verification = ?1 AND number = ?2",
        )?
        .execute(params![
            place,
            row.number,
            row.status.as_str(),
            row.at.as_millis(),
            row.error,
            row.message_id,
            row.lease_until.as_millis(),
            row.claims,
        ])
        .and_then(exactly_one)
}

/// A row that was read in this transaction must be there to be written: anything else is a bug, and must not be committed.
pub(super) fn exactly_one(changed: usize) -> rusqlite::Result<()> {
    if changed == 1 { Ok(()) } else { Err(rusqlite::Error::StatementChangedRows(changed)) }
}

/// Takes overdue deliveries under a new lease.
pub(super) fn claim(
    session: &mut Session<'_>,
    now: Timestamp,
    lease: Duration,
    most: usize,
) -> rusqlite::Result<Vec<Claimed>> {
    session.forget();
    let connection = session.connection();
    let due: Vec<(i64, i64)> = connection
        .prepare_cached(
            "SELECT verification, number FROM delivery WHERE status = 'queued' AND lease_until <= ?1 ORDER BY lease_until LIMIT ?2",
        )?
        .query_map(params![now.as_millis(), i64::try_from(most).unwrap_or(i64::MAX)], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut claimed = Vec::with_capacity(due.len());
    for (place, number) in due {
        connection
            .prepare_cached(
                "UPDATE delivery SET lease_until = ?3, claims = claims + 1 WHERE verification = ?1 AND number = ?2",
            )?
            .execute(params![place, number, (now + lease).as_millis()])?;
        let found = connection
            .prepare_cached(concat!("SELECT ", verification_columns!(), " FROM verification WHERE place = ?1"))?
            .query_row([place], rows::verification)
            .optional()?;
        let Some((_, verification)) = found else { continue };
        let delivery = connection
            .prepare_cached(concat!(
                "SELECT ",
                delivery_columns!(),
                " FROM delivery WHERE verification = ?1 AND number = ?2"
            ))?
            .query_row([place, number], |row| rows::delivery(row, verification.id))?;
        claimed.push(Claimed { delivery, verification });
    }
    Ok(claimed)
}

/// One small batch: a few rows of each kind, so that live traffic waits for milliseconds at most. Counters have no index on their
/// time, which every send would pay for: they are walked in the order of their keys, a stretch in each batch, from `after` on.
pub(super) fn cleanup(
    session: &mut Session<'_>,
    before: Timestamp,
    now: Timestamp,
    most: usize,
    after: &str,
) -> rusqlite::Result<(Cleaned, String)> {
    session.forget();
    let connection = session.connection();
    let rows = i64::try_from(most).unwrap_or(i64::MAX);
    let old: Vec<i64> = connection
        .prepare_cached(
            // Those of events that are still to be taken up for webhooks stay: nearly always there are none.
            "SELECT place FROM verification WHERE expires_at < ?1 AND id NOT IN \
             (SELECT verification FROM event WHERE place > (SELECT place FROM webhook_position)) ORDER BY expires_at LIMIT ?2",
        )?
        .query_map([before.as_millis(), rows], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for place in &old {
        connection.prepare_cached("DELETE FROM delivery WHERE verification = ?1")?.execute([place])?;
        connection.prepare_cached("DELETE FROM verification WHERE place = ?1")?.execute([place])?;
    }
    let events = cleanup_events(connection, before, rows)?;
    let hours = health::forget(connection, now, rows)?;
    let (others, more, next) = cleanup_support(connection, before, now, rows, after)?;
    let more = old.len() >= most || events >= rows.saturating_mul(4) || hours >= most || more;
    Ok((Cleaned { verifications: old.len() as u64, others: others + hours as u64, more }, next))
}

/// The newest event stays, so that places are never given twice and no reader of events misses one.
pub(super) fn cleanup_events(connection: &Connection, before: Timestamp, rows: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached(
            "DELETE FROM event WHERE place IN (SELECT place FROM event ORDER BY place LIMIT ?2) AND at < ?1 \
             AND place < (SELECT max(place) FROM event) \
             AND place <= coalesce((SELECT place FROM webhook_position), 9223372036854775807)",
        )?
        .execute([before.as_millis(), rows.saturating_mul(4)])
        .map(|deleted| deleted as i64)
}

/// Counters, guess logs, kept answers and webhooks: how many were deleted, whether there may be more, and where the next stretch begins.
pub(super) fn cleanup_support(
    connection: &Connection,
    before: Timestamp,
    now: Timestamp,
    rows: i64,
    after: &str,
) -> rusqlite::Result<(u64, bool, String)> {
    let mut others = 0;
    for sql in [
        "DELETE FROM guess_log WHERE (application, destination) IN \
         (SELECT application, destination FROM guess_log WHERE forget_at <= ?1 LIMIT ?2)",
        "DELETE FROM kept_answer WHERE (application, key) IN (SELECT application, key FROM kept_answer WHERE expires_at <= ?1 LIMIT ?2)",
        "DELETE FROM webhook_message WHERE (endpoint, id) IN (SELECT endpoint, id FROM webhook_message WHERE expires_at <= ?1 LIMIT ?2)",
    ] {
        others += connection.prepare_cached(sql)?.execute([now.as_millis(), rows])?;
    }
    others += connection
        .prepare_cached(
            "DELETE FROM webhook_message WHERE (endpoint, id) IN \
             (SELECT endpoint, id FROM webhook_message WHERE waits = 0 AND at < ?1 ORDER BY at LIMIT ?2)",
        )?
        .execute([before.as_millis(), rows])?;
    let (counters, next) = cleanup_limits(connection, now, rows.saturating_mul(4), after)?;
    let more = others as i64 >= rows || !next.is_empty();
    Ok(((others + counters) as u64, more, next))
}

/// Deletes forgettable counters among the next `most` keys; where the next stretch begins, or nothing at the end.
fn cleanup_limits(
    connection: &Connection,
    now: Timestamp,
    most: i64,
    after: &str,
) -> rusqlite::Result<(usize, String)> {
    let stretch: Vec<(String, Tat)> = connection
        .prepare_cached("SELECT key, tat FROM limit_state WHERE key > ?1 ORDER BY key LIMIT ?2")?
        .query_map(params![after, most], |row| Ok((row.get(0)?, row.get(1).map(Tat)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let mut deleted = 0;
    for (key, _) in stretch.iter().filter(|(_, tat)| tat.forgettable_at() <= now) {
        deleted += connection.prepare_cached("DELETE FROM limit_state WHERE key = ?1")?.execute([key])?;
    }
    let last = stretch.last().filter(|_| stretch.len() as i64 >= most);
    Ok((deleted, last.map(|(key, _)| key.clone()).unwrap_or_default()))
}

pub(super) fn begin_answer(
    connection: &Connection,
    key: &AnswerKey,
    fresh: &NewAnswer,
) -> rusqlite::Result<KeptAnswer> {
    let id = params![key.application.as_str(), key.key];
    let known = connection
        .prepare_cached(
            "SELECT fingerprint, seed, in_flight_until, expires_at, answer FROM kept_answer WHERE application = ?1 AND key = ?2",
        )?
        .query_row(id, |row| {
            Ok((row.get::<_, [u8; 32]>(0)?, seed(row.get_ref(1)?.as_blob()?), rows::time(row, 2)?, rows::time(row, 3)?, row.get(4)?))
        })
        .optional()?;
    match known.filter(|(_, _, _, expires_at, _)| *expires_at > fresh.now) {
        Some((fingerprint, ..)) if fingerprint != fresh.fingerprint => Ok(KeptAnswer::Mismatch),
        Some((.., Some(answer))) => Ok(KeptAnswer::Answered(answer)),
        Some((_, _, in_flight_until, ..)) if in_flight_until > fresh.now => Ok(KeptAnswer::InFlight),
        Some((_, seed, ..)) => {
            connection
                .prepare_cached("UPDATE kept_answer SET in_flight_until = ?3 WHERE application = ?1 AND key = ?2")?
                .execute(params![key.application.as_str(), key.key, fresh.in_flight_until.as_millis()])?;
            Ok(KeptAnswer::Begun { seed })
        }
        None => {
            put_answer(connection, key, fresh)?;
            Ok(KeptAnswer::Begun { seed: fresh.seed })
        }
    }
}

pub(super) fn put_answer(connection: &Connection, key: &AnswerKey, fresh: &NewAnswer) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO kept_answer VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL)")?
        .execute(params![
            key.application.as_str(),
            key.key,
            fresh.fingerprint,
            fresh.seed.as_slice(),
            fresh.in_flight_until.as_millis(),
            fresh.expires_at.as_millis(),
        ])
        .map(drop)
}

pub(super) fn seed(bytes: &[u8]) -> [u8; 56] {
    bytes.first_chunk().copied().unwrap_or([0; 56])
}

pub(super) fn keep_answer(connection: &Connection, key: &AnswerKey, answer: &[u8]) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE kept_answer SET answer = ?3 WHERE application = ?1 AND key = ?2")?
        .execute(params![key.application.as_str(), key.key, answer])
        .map(drop)
}

pub(super) fn release_answer(connection: &Connection, key: &AnswerKey) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE kept_answer SET in_flight_until = 0 WHERE application = ?1 AND key = ?2")?
        .execute(params![key.application.as_str(), key.key])
        .map(drop)
}

pub(super) fn create_application(connection: &Connection, application: &ApplicationRecord) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO application (name, account_sid, created_at) VALUES (?1, ?2, ?3)")?
        .execute(params![application.name.as_str(), application.account_sid, application.created_at.as_millis()])
        .map(|made| made == 1)
}

pub(super) fn create_key(connection: &Connection, key: &KeyRecord) -> rusqlite::Result<()> {
    connection
        .prepare_cached(concat!(
            "INSERT INTO api_key (",
            api_key_columns!(),
            ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
        ))?
        .execute(params![
            key.id,
            key.application.as_str(),
            key.key_digest,
            key.auth_token_digest,
            key.key_sid,
            key.key_secret_digest,
            key.created_at.as_millis(),
            key.revoked_at.map(Timestamp::as_millis),
        ])
        .map(drop)
}

pub(super) fn revoke_key(connection: &Connection, id: &str, now: Timestamp) -> rusqlite::Result<bool> {
    connection
        .prepare_cached("UPDATE api_key SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1")?
        .execute(params![id, now.as_millis()])
        .map(|changed| changed == 1)
}

pub(super) fn create_record(connection: &Connection, record: &Record) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "INSERT OR IGNORE INTO record (application, kind, id, parent, body, created_at, updated_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            record.name.application.as_str(),
            record.name.kind,
            record.name.id,
            record.parent,
            record.body,
            record.created_at.as_millis(),
            record.updated_at.as_millis(),
        ])
        .map(|made| made == 1)
}

pub(super) fn update_record(connection: &Connection, record: &Record) -> rusqlite::Result<bool> {
    let name = &record.name;
    connection
        .prepare_cached(
            "UPDATE record SET body = ?4, updated_at = ?5 WHERE application = ?1 AND kind = ?2 AND id = ?3",
        )?
        .execute(params![name.application.as_str(), name.kind, name.id, record.body, record.updated_at.as_millis()])
        .map(|changed| changed == 1)
}

pub(super) fn delete_record(connection: &Connection, name: &RecordName) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "WITH RECURSIVE goes (place, id) AS (\
                 SELECT place, id FROM record WHERE application = ?1 AND kind = ?2 AND id = ?3 \
                 UNION SELECT child.place, child.id FROM record AS child JOIN goes \
                 ON child.application = ?1 AND child.parent = goes.id) \
             DELETE FROM record WHERE place IN (SELECT place FROM goes)",
        )?
        .execute(params![name.application.as_str(), name.kind, name.id])
        .map(|deleted| deleted > 0)
}
