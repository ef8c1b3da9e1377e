//! What is written to one-row tables, inside the writer's transaction. No rule lives here.

use std::time::Duration;

use countersign::core::decision::{Changes, Snapshot, Write};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, DeliveryStatus, GuessLog, Status, Verification};
use countersign::store::{Claimed, Cleaned, Job};
use countersign::transfer::Loaded;
use rusqlite::types::Value;
use rusqlite::{params, params_from_iter};

use super::super::connection::Connection;
use super::super::session::Session;
use super::super::{read as common, write as support};
use super::OneRow;
use super::read::{from_row, lookup, whole};
use crate::json::State;
use crate::one_row::{Whole, due_at, service};

/// Looks up, reads, decides, writes.
pub(in super::super) fn run(one: &OneRow, session: &mut Session<'_>, job: &mut dyn Job) -> rusqlite::Result<()> {
    let connection = session.connection();
    let found = lookup(one, connection, &job.lookup())?;
    let reads = job.reads(found.as_ref().map(|(row, _)| row));
    let snapshot = Snapshot {
        verification: found.as_ref().map(|(row, _)| row.clone()),
        deliveries: match &found {
            Some((_, deliveries)) if reads.deliveries => deliveries.clone(),
            _ => Vec::new(),
        },
        limits: reads.limits.iter().map(|key| common::limit(session, key)).collect::<rusqlite::Result<_>>()?,
        guesses: match &reads.guesses {
            Some(key) => common::guesses(session, key)?,
            None => GuessLog::default(),
        },
    };
    let changes = job.decide(&snapshot);
    apply(one, connection, found, &changes)?;
    if one.has_events() {
        support::apply_events(session, &changes)?;
    }
    support::apply_support(session, &changes)
}

fn apply(one: &OneRow, connection: &Connection, found: Option<Whole>, changes: &Changes) -> rusqlite::Result<()> {
    match (&changes.verification, found) {
        (None, _) if changes.deliveries.is_empty() => Ok(()),
        (Some(Write::Insert(row)), found) => {
            if let (Some(ended), Some((_, deliveries))) = (&changes.ended, found) {
                rewrite(one, connection, ended, deliveries, &[])?;
            }
            let deliveries = merge(Vec::new(), &changes.deliveries)?;
            insert(one, connection, row, &deliveries)
        }
        (Some(Write::Update(row)), Some((before, deliveries))) => {
            let approved = row.status == Status::Approved && before.status != Status::Approved;
            rewrite(one, connection, row, deliveries, &changes.deliveries)?;
            match &one.writes.approve {
                // Once, and not with every later receipt: what the application does to its column is its own.
                Some(sql) if approved => connection
                    .prepare_cached(sql)?
                    .execute(params![row.id.to_string(), true])
                    .and_then(support::exactly_one),
                _ => Ok(()),
            }
        }
        (None, Some((row, deliveries))) => rewrite(one, connection, &row, deliveries, &changes.deliveries),
        // A row that was read in this transaction must be there to be written: anything else is a bug, and must not be committed.
        (_, None) => Err(rusqlite::Error::StatementChangedRows(0)),
    }
}

fn merge(mut deliveries: Vec<Delivery>, writes: &[Write<Delivery>]) -> rusqlite::Result<Vec<Delivery>> {
    for write in writes {
        match write {
            Write::Insert(row) => deliveries.push(row.clone()),
            Write::Update(row) => match deliveries.iter_mut().find(|known| known.id == row.id) {
                Some(known) => known.clone_from(row),
                None => return Err(rusqlite::Error::StatementChangedRows(0)),
            },
        }
    }
    Ok(deliveries)
}

fn insert(one: &OneRow, connection: &Connection, row: &Verification, deliveries: &[Delivery]) -> rusqlite::Result<()> {
    let destination = one.format.write(&row.to);
    if let Some(sql) = &one.writes.replace {
        let key = params![destination, row.application.as_str(), row.purpose.as_str(), service(row)];
        connection.prepare_cached(sql)?.execute(key)?;
    }
    let mut values: Vec<Value> = vec![
        row.id.to_string().into(),
        row.application.to_string().into(),
        service(row).into(),
        destination.into(),
        row.purpose.to_string().into(),
        row.status.as_str().to_owned().into(),
        row.expires_at.as_millis().into(),
        due_at(deliveries).into(),
        row.follow_up_at.map(Timestamp::as_millis).into(),
        State::new(row, deliveries).to_json().into(),
    ];
    if let Some(written) = one.written {
        let verified = row.status == Status::Approved;
        values.extend([
            verified.into(),
            written.created_at.write(row.created_at),
            written.expires_at.write(row.expires_at),
        ]);
    }
    connection.prepare_cached(&one.writes.insert)?.execute(params_from_iter(values)).and_then(support::exactly_one)?;
    for delivery in deliveries {
        keep_references(connection, row, delivery, None)?;
    }
    Ok(())
}

fn rewrite(
    one: &OneRow,
    connection: &Connection,
    row: &Verification,
    before: Vec<Delivery>,
    writes: &[Write<Delivery>],
) -> rusqlite::Result<()> {
    for write in writes {
        let known = before.iter().find(|known| known.id == write.row().id);
        keep_references(connection, row, write.row(), known)?;
    }
    let deliveries = merge(before, writes)?;
    update(one, connection, row, &deliveries)
}

fn update(one: &OneRow, connection: &Connection, row: &Verification, deliveries: &[Delivery]) -> rusqlite::Result<()> {
    let state = State::new(row, deliveries).to_json();
    connection
        .prepare_cached(&one.writes.update)?
        .execute(params![
            row.id.to_string(),
            row.status.as_str(),
            due_at(deliveries),
            row.follow_up_at.map(Timestamp::as_millis),
            state
        ])
        .and_then(support::exactly_one)
}

/// Remembers what a provider may call a delivery, as far as that was not known before.
fn keep_references(
    connection: &Connection,
    row: &Verification,
    delivery: &Delivery,
    before: Option<&Delivery>,
) -> rusqlite::Result<()> {
    let id = before.is_none().then(|| delivery.id.to_string());
    let message_id =
        delivery.message_id.clone().filter(|id| before.and_then(|known| known.message_id.as_ref()) != Some(id));
    for reference in [id, message_id].into_iter().flatten() {
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO receipt (reference, provider, verification, ends_at) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![reference, delivery.provider, row.id.to_string(), row.expires_at.as_millis()])?;
    }
    Ok(())
}

/// Takes overdue deliveries under a new lease.
pub(in super::super) fn claim(
    one: &OneRow,
    connection: &Connection,
    now: Timestamp,
    lease: Duration,
    most: usize,
) -> rusqlite::Result<Vec<Claimed>> {
    let due: Vec<(i64, Whole)> = connection
        .prepare_cached(&one.table.sql.due)?
        .query_map(params![now.as_millis(), i64::try_from(most).unwrap_or(i64::MAX)], |row| from_row(one, row))?
        .collect::<rusqlite::Result<_>>()?;
    let mut claimed = Vec::with_capacity(due.len());
    for (_, (verification, mut deliveries)) in due {
        let overdue =
            |delivery: &&mut Delivery| delivery.status == DeliveryStatus::Queued && delivery.lease_until <= now;
        for delivery in deliveries.iter_mut().filter(overdue).take(most.saturating_sub(claimed.len())) {
            delivery.lease_until = now + lease;
            delivery.claims += 1;
            claimed.push(Claimed { delivery: delivery.clone(), verification: verification.clone() });
        }
        update(one, connection, &verification, &deliveries)?;
    }
    Ok(claimed)
}

/// One small batch, as in the standalone layout: only rows of our own, and of what supports them.
pub(in super::super) fn cleanup(
    one: &OneRow,
    connection: &Connection,
    before: Timestamp,
    now: Timestamp,
    most: usize,
    after: &str,
) -> rusqlite::Result<(Cleaned, String)> {
    let rows = i64::try_from(most).unwrap_or(i64::MAX);
    let mut old: Vec<String> = Vec::new();
    for status in Status::ALL {
        let left = i64::try_from(most.saturating_sub(old.len())).unwrap_or(i64::MAX);
        let mut statement = connection.prepare_cached(&one.table.sql.old)?;
        let found = statement.query_map(params![status.as_str(), before.as_millis(), left], |row| row.get(0))?;
        old.extend(found.collect::<rusqlite::Result<Vec<String>>>()?);
    }
    let end = if one.keep_rows { &one.table.sql.let_go } else { &one.table.sql.delete };
    for id in &old {
        connection.prepare_cached(end)?.execute([id])?;
    }
    let receipts = connection
        .prepare_cached(
            "DELETE FROM receipt WHERE (reference, provider) IN (SELECT reference, provider FROM receipt WHERE ends_at < ?1 LIMIT ?2)",
        )?
        .execute([before.as_millis(), rows.saturating_mul(4)])? as i64;
    let events = if one.has_events() { support::cleanup_events(connection, before, rows)? } else { 0 };
    let (others, more, next) = support::cleanup_support(connection, before, now, rows, after)?;
    let more = old.len() >= most || receipts.max(events) >= rows.saturating_mul(4) || more;
    Ok((Cleaned { verifications: old.len() as u64, others, more }, next))
}

/// Writes a verification as it is, unless it or a newer one is there.
pub(in super::super) fn load(
    one: &OneRow,
    connection: &Connection,
    row: &Verification,
    deliveries: &[Delivery],
) -> rusqlite::Result<Loaded> {
    let sql = &one.table.sql;
    if let Some(known) = whole(one, connection, &sql.by_id, [row.id.to_string()])? {
        return Ok(if known.0 == *row && known.1 == deliveries { Loaded::Same } else { Loaded::Differs });
    }
    let key = params![one.format.write(&row.to), row.application.as_str(), row.purpose.as_str(), service(row)];
    let latest = whole(one, connection, &sql.latest, key)?;
    if latest.is_some_and(|(latest, _)| latest.created_at > row.created_at) {
        return Ok(Loaded::Older);
    }
    insert(one, connection, row, deliveries).map(|()| Loaded::New)
}
