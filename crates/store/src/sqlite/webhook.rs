//! Webhook messages: taken up, claimed, settled. No rule lives here.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::core::id::VerificationId;
use countersign::core::time::Timestamp;
use countersign::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};
use rusqlite::{OptionalExtension, Row, params};

use super::connection::Connection;

use super::rows;

pub(super) fn position(connection: &Connection, wanted: bool) -> rusqlite::Result<Option<u64>> {
    let sql = if wanted {
        "INSERT OR IGNORE INTO webhook_position SELECT 1, coalesce(max(place), 0) FROM event"
    } else {
        "DELETE FROM webhook_position"
    };
    connection.prepare_cached(sql)?.execute([])?;
    current(connection)
}

fn current(connection: &Connection) -> rusqlite::Result<Option<u64>> {
    let row = |row: &Row<'_>| row.get::<_, i64>(0).map(i64::unsigned_abs);
    connection.prepare_cached("SELECT place FROM webhook_position")?.query_row([], row).optional()
}

pub(super) fn take_up(
    connection: &Connection,
    from: u64,
    through: u64,
    messages: &[WebhookMessage],
) -> rusqlite::Result<Option<u64>> {
    let place = |place: u64| i64::try_from(place).unwrap_or(i64::MAX);
    let moved = connection
        .prepare_cached("UPDATE webhook_position SET place = ?2 WHERE place = ?1")?
        .execute([place(from), place(through)])?;
    if moved == 1 {
        for message in messages {
            insert(connection, message)?;
        }
    }
    current(connection)
}

fn insert(connection: &Connection, message: &WebhookMessage) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO webhook_message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1)")?
        .execute(params![
            message.endpoint,
            message.id,
            message.application.as_str(),
            message.verification.as_bytes(),
            message.body,
            message.at.as_millis(),
            message.hold_until.as_millis(),
            message.expires_at.as_millis(),
            message.due_at.as_millis(),
            message.attempts,
        ])
        .map(drop)
}

/// Whether a claim would find something, were it not for what holds messages back.
pub(super) fn is_due(connection: &Connection, endpoint: &str, now: Timestamp) -> rusqlite::Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM webhook_message WHERE endpoint = ?1 AND due_at <= ?2 AND waits = 1) \
             AND NOT EXISTS (SELECT 1 FROM webhook_endpoint WHERE endpoint = ?1 AND disabled_at IS NOT NULL)",
        )?
        .query_row(params![endpoint, now.as_millis()], |row| row.get(0))
}

pub(super) fn claim(
    connection: &Connection,
    endpoint: &str,
    now: Timestamp,
    lease: Duration,
    most: usize,
) -> rusqlite::Result<Vec<WebhookMessage>> {
    let mut due: Vec<WebhookMessage> = connection
        .prepare_cached(
            "SELECT endpoint, id, application, verification, body, at, hold_until, expires_at, due_at, attempts \
             FROM webhook_message AS message WHERE endpoint = ?1 AND due_at <= ?2 AND waits = 1 AND NOT EXISTS \
             (SELECT 1 FROM webhook_message AS earlier WHERE earlier.verification = message.verification AND earlier.waits = 1 \
              AND earlier.endpoint = message.endpoint AND earlier.id < message.id AND earlier.hold_until > ?2) \
             AND NOT EXISTS (SELECT 1 FROM webhook_endpoint WHERE endpoint = ?1 AND disabled_at IS NOT NULL) \
             ORDER BY id LIMIT ?3",
        )?
        .query_map(params![endpoint, now.as_millis(), i64::try_from(most).unwrap_or(i64::MAX)], message)?
        .collect::<rusqlite::Result<_>>()?;
    for message in &mut due {
        message.due_at = now + lease;
        message.attempts += 1;
        connection
            .prepare_cached("UPDATE webhook_message SET due_at = ?3, attempts = ?4 WHERE endpoint = ?1 AND id = ?2")?
            .execute(params![message.endpoint, message.id, message.due_at.as_millis(), message.attempts])?;
    }
    Ok(due)
}

fn message(row: &Row<'_>) -> rusqlite::Result<WebhookMessage> {
    Ok(WebhookMessage {
        endpoint: row.get(0)?,
        id: row.get(1)?,
        application: rows::parsed(row, 2)?,
        verification: VerificationId::from_bytes(row.get(3)?),
        body: row.get(4)?,
        at: rows::time(row, 5)?,
        hold_until: rows::time(row, 6)?,
        expires_at: rows::time(row, 7)?,
        due_at: rows::time(row, 8)?,
        attempts: row.get(9)?,
    })
}

pub(super) fn settle(
    connection: &Connection,
    message: &WebhookMessage,
    outcome: &WebhookOutcome,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let (waits, due_at) = match outcome {
        WebhookOutcome::Again { due_at, .. } => (true, Some(due_at.as_millis())),
        WebhookOutcome::Gone { .. } => (true, None),
        WebhookOutcome::Delivered | WebhookOutcome::GivenUp { .. } => (false, None),
    };
    let changed = connection
        .prepare_cached(
            "UPDATE webhook_message SET waits = ?4, due_at = coalesce(?5, due_at) \
             WHERE endpoint = ?1 AND id = ?2 AND attempts = ?3 AND waits = 1",
        )?
        .execute(params![message.endpoint, message.id, message.attempts, waits, due_at])?;
    if changed != 1 {
        return Ok(false);
    }
    match outcome {
        // Almost always there is nothing to write: an endpoint that answers has nothing to tell.
        WebhookOutcome::Delivered => connection
            .prepare_cached(
                "UPDATE webhook_endpoint SET failing_since = NULL WHERE endpoint = ?1 AND failing_since IS NOT NULL",
            )?
            .execute([&message.endpoint])?,
        WebhookOutcome::Again { error, .. } | WebhookOutcome::GivenUp { error } => {
            failed(connection, message, error, now)?
        }
        WebhookOutcome::Gone { error, settings } => {
            failed(connection, message, error, now)?;
            connection
                .prepare_cached("UPDATE webhook_endpoint SET disabled_at = ?2, settings = ?3 WHERE endpoint = ?1")?
                .execute(params![message.endpoint, now.as_millis(), settings])?
        }
    };
    Ok(true)
}

fn failed(connection: &Connection, message: &WebhookMessage, error: &str, now: Timestamp) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "INSERT INTO webhook_endpoint (endpoint, failing_since, last_error) VALUES (?1, ?2, ?3) ON CONFLICT (endpoint) \
             DO UPDATE SET failing_since = coalesce(failing_since, excluded.failing_since), last_error = excluded.last_error",
        )?
        .execute(params![message.endpoint, now.as_millis(), error])
}

pub(super) fn requeue(
    connection: &Connection,
    endpoints: &[String],
    which: &Requeue,
    now: Timestamp,
) -> rusqlite::Result<u64> {
    let mut requeued = 0;
    for endpoint in endpoints {
        let set = "UPDATE webhook_message SET waits = 1, due_at = ?2, attempts = 0 WHERE endpoint = ?1 AND";
        let now = now.as_millis();
        requeued += match which {
            Requeue::Event(id) => connection.execute(&format!("{set} id = ?3"), params![endpoint, now, id])?,
            Requeue::Between(from, until) => connection.execute(
                &format!("{set} at >= ?3 AND at < ?4"),
                params![endpoint, now, from.as_millis(), until.as_millis()],
            )?,
            Requeue::Waiting => {
                connection.execute(
                    "UPDATE webhook_endpoint SET disabled_at = NULL, settings = NULL WHERE endpoint = ?1",
                    [endpoint],
                )?;
                connection.execute(&format!("{set} waits = 1"), params![endpoint, now])?
            }
        };
    }
    Ok(requeued as u64)
}

pub(super) fn endpoints(connection: &Connection) -> rusqlite::Result<Vec<WebhookEndpoint>> {
    let known: Vec<WebhookEndpoint> = connection
        .prepare_cached("SELECT endpoint, failing_since, last_error, disabled_at, settings FROM webhook_endpoint")?
        .query_map([], |row| {
            let instant = |at: Option<i64>| at.map(Timestamp::from_millis);
            Ok(WebhookEndpoint {
                endpoint: row.get(0)?,
                failing_since: instant(row.get(1)?),
                last_error: row.get(2)?,
                disabled: instant(row.get(3)?).zip(row.get(4)?),
                ..WebhookEndpoint::default()
            })
        })?
        .collect::<rusqlite::Result<_>>()?;
    let mut all: BTreeMap<String, WebhookEndpoint> =
        known.into_iter().map(|fares| (fares.endpoint.clone(), fares)).collect();
    let waiting: Vec<(String, i64, i64)> = connection
        .prepare_cached("SELECT endpoint, count(*), min(at) FROM webhook_message WHERE waits = 1 GROUP BY endpoint")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (endpoint, pending, oldest) in waiting {
        let fares = all.entry(endpoint.clone()).or_default();
        fares.endpoint = endpoint;
        fares.pending = pending.unsigned_abs();
        fares.oldest = Some(Timestamp::from_millis(oldest));
    }
    Ok(all.into_values().collect())
}
