//! Everything that is written outside of decisions. Each is one statement, so each is a transaction of its own.

use std::time::Duration;

use countersign::core::health;
use countersign::core::time::Timestamp;
use countersign::store::{
    AnswerKey, ApplicationRecord, Claimed, Cleaned, KeptAnswer, KeyRecord, NewAnswer, Record, RecordName,
};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::error::Error;
use super::rows::{Columns, Placed, first, text};
use super::sql::Sql;
use super::webhook;

type Result<T> = std::result::Result<T, Error>;
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Takes overdue deliveries under a new lease.
pub(super) async fn claim(
    client: &Client,
    sql: &Sql,
    now: Timestamp,
    lease: Duration,
    most: usize,
) -> Result<Vec<Claimed>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let parameters: [Parameter<'_>; 3] =
        [(&now.as_millis(), Type::INT8), (&(now + lease).as_millis(), Type::INT8), (&most, Type::INT8)];
    let rows = client.query_typed(&sql.claim, &parameters).await?;
    let read = |row| {
        // The delivery's columns come first, and name its verification by a place: that one comes behind them.
        let Placed { row: verification, .. } = Columns::behind_delivery(row).verification()?;
        let (_, delivery) = Columns::of(row).delivery(|_| Some(verification.id))?;
        Ok(Claimed { delivery, verification })
    };
    rows.iter().map(read).collect()
}

/// One small batch: a few rows of each kind, so that live traffic waits for milliseconds at most. Counters have no index on their
/// time, which every send would pay for: they are walked in the order of their keys, a stretch in each batch, from `after` on.
pub(super) async fn cleanup(
    client: &Client,
    sql: &Sql,
    before: Timestamp,
    now: Timestamp,
    most: usize,
    after: &str,
) -> Result<(Cleaned, String)> {
    let rows = i64::try_from(most).unwrap_or(i64::MAX);
    let taken_up = webhook::current(client, sql).await?;
    let old: [Parameter<'_>; 3] = [(&before.as_millis(), Type::INT8), (&rows, Type::INT8), (&taken_up, Type::INT8)];
    let verifications = client.execute_typed(&sql.clean_verifications, &old).await?;
    let more_events = cleanup_events(client, sql, before, most, taken_up).await?;
    let forgotten: [Parameter<'_>; 2] = [(&(now - health::KEPT_FOR).as_millis(), Type::INT8), (&rows, Type::INT8)];
    let hours = client.execute_typed(&sql.clean_health, &forgotten).await?;
    let (others, more, next) = cleanup_support(client, sql, before, now, most, after).await?;
    let more = verifications >= rows.unsigned_abs() || hours >= rows.unsigned_abs() || more_events || more;
    Ok((Cleaned { verifications, others: others + hours, more }, next))
}

/// Events are kept up to where they were taken up for webhooks; whether there may be more.
pub(super) async fn cleanup_events(
    client: &Client,
    sql: &Sql,
    before: Timestamp,
    most: usize,
    taken_up: Option<i64>,
) -> Result<bool> {
    let many = i64::try_from(most).unwrap_or(i64::MAX).saturating_mul(4);
    let old: [Parameter<'_>; 3] = [(&before.as_millis(), Type::INT8), (&many, Type::INT8), (&taken_up, Type::INT8)];
    let placed = client.execute_typed(&sql.clean_placed_events, &old).await?;
    let waiting = client.execute_typed(&sql.clean_waiting_events, &old).await?;
    // A batch is as many as it holds.
    let batches = i64::try_from(most).unwrap_or(i64::MAX);
    let old: [Parameter<'_>; 3] = [(&before.as_millis(), Type::INT8), (&batches, Type::INT8), (&taken_up, Type::INT8)];
    let packed = client.execute_typed(&sql.clean_event_batches, &old).await?;
    Ok(placed + waiting >= many.unsigned_abs() || packed >= batches.unsigned_abs())
}

/// Guess logs, kept answers, webhooks and counters: how many were deleted, whether there may be more, and where the next stretch of
/// counters begins.
pub(super) async fn cleanup_support(
    client: &Client,
    sql: &Sql,
    before: Timestamp,
    now: Timestamp,
    most: usize,
    after: &str,
) -> Result<(u64, bool, String)> {
    let rows = i64::try_from(most).unwrap_or(i64::MAX);
    let mut others = 0;
    let mut more = false;
    for (statement, bound) in [
        (&sql.clean_guesses, now),
        (&sql.clean_answers, now),
        (&sql.clean_expired_webhooks, now),
        (&sql.clean_done_webhooks, before),
    ] {
        let parameters: [Parameter<'_>; 2] = [(&bound.as_millis(), Type::INT8), (&rows, Type::INT8)];
        let deleted = client.execute_typed(statement, &parameters).await?;
        others += deleted;
        more |= deleted >= rows.unsigned_abs();
    }
    let many = rows.saturating_mul(4);
    let stretch: [Parameter<'_>; 2] = [(&after, Type::TEXT), (&(many - 1), Type::INT8)];
    let end: Option<String> = match client.query_typed_opt(&sql.limit_stretch, &stretch).await? {
        Some(row) => Some(first(&row)?),
        None => None,
    };
    let parameters: [Parameter<'_>; 3] = [(&after, Type::TEXT), (&end, Type::TEXT), (&now.as_millis(), Type::INT8)];
    others += client.execute_typed(&sql.clean_limits, &parameters).await?;
    more |= end.is_some();
    Ok((others, more, end.unwrap_or_default()))
}

pub(super) async fn begin_answer(client: &Client, sql: &Sql, key: &AnswerKey, fresh: &NewAnswer) -> Result<KeptAnswer> {
    let (application, name) = (key.application.as_str(), key.key.as_slice());
    let (fingerprint, seed) = (fresh.fingerprint.as_slice(), fresh.seed.as_slice());
    let (in_flight_until, expires_at) = (fresh.in_flight_until.as_millis(), fresh.expires_at.as_millis());
    let now = fresh.now.as_millis();
    // Between two of these statements the row may go: then it is begun after all.
    for _ in 0..8 {
        let begin: [Parameter<'_>; 7] = [
            (&application, Type::TEXT),
            (&name, Type::BYTEA),
            (&fingerprint, Type::BYTEA),
            (&seed, Type::BYTEA),
            (&in_flight_until, Type::INT8),
            (&expires_at, Type::INT8),
            (&now, Type::INT8),
        ];
        if client.query_typed_opt(&sql.begin_answer, &begin).await?.is_some() {
            return Ok(KeptAnswer::Begun { seed: fresh.seed });
        }
        let look: [Parameter<'_>; 3] = [(&application, Type::TEXT), (&name, Type::BYTEA), (&now, Type::INT8)];
        let Some(known) = client.query_typed_opt(&sql.kept_answer, &look).await? else { continue };
        let mut columns = Columns::of(&known);
        if columns.bytes::<32>()? != fresh.fingerprint {
            return Ok(KeptAnswer::Mismatch);
        }
        if let Some(answer) = columns.take()? {
            return Ok(KeptAnswer::Answered(answer));
        }
        let take_over: [Parameter<'_>; 5] = [
            (&application, Type::TEXT),
            (&name, Type::BYTEA),
            (&fingerprint, Type::BYTEA),
            (&in_flight_until, Type::INT8),
            (&now, Type::INT8),
        ];
        return match client.query_typed_opt(&sql.take_over_answer, &take_over).await? {
            Some(row) => Ok(KeptAnswer::Begun { seed: Columns::of(&row).bytes()? }),
            None => Ok(KeptAnswer::InFlight),
        };
    }
    Err(Error::Conflict)
}

pub(super) async fn keep_answer(client: &Client, sql: &Sql, key: &AnswerKey, answer: &[u8]) -> Result<()> {
    let parameters: [Parameter<'_>; 3] =
        [(&key.application.as_str(), Type::TEXT), (&key.key.as_slice(), Type::BYTEA), (&answer, Type::BYTEA)];
    client.execute_typed(&sql.keep_answer, &parameters).await?;
    Ok(())
}

pub(super) async fn release_answer(client: &Client, sql: &Sql, key: &AnswerKey) -> Result<()> {
    let parameters: [Parameter<'_>; 2] = [(&key.application.as_str(), Type::TEXT), (&key.key.as_slice(), Type::BYTEA)];
    client.execute_typed(&sql.release_answer, &parameters).await?;
    Ok(())
}

pub(super) async fn create_application(client: &Client, sql: &Sql, application: &ApplicationRecord) -> Result<bool> {
    let parameters: [Parameter<'_>; 3] = [
        (&application.name.as_str(), Type::TEXT),
        (&application.account_sid, Type::TEXT),
        (&application.created_at.as_millis(), Type::INT8),
    ];
    Ok(client.execute_typed(&sql.create_application, &parameters).await? == 1)
}

pub(super) async fn create_key(client: &Client, sql: &Sql, key: &KeyRecord) -> Result<()> {
    let parameters: [Parameter<'_>; 8] = [
        (&key.id, Type::TEXT),
        (&key.application.as_str(), Type::TEXT),
        (&key.key_digest.as_slice(), Type::BYTEA),
        (&key.auth_token_digest.as_slice(), Type::BYTEA),
        (&key.key_sid, Type::TEXT),
        (&key.key_secret_digest.as_slice(), Type::BYTEA),
        (&key.created_at.as_millis(), Type::INT8),
        (&key.revoked_at.map(Timestamp::as_millis), Type::INT8),
    ];
    client.execute_typed(&sql.create_key, &parameters).await?;
    Ok(())
}

pub(super) async fn revoke_key(client: &Client, sql: &Sql, id: &str, now: Timestamp) -> Result<bool> {
    let parameters: [Parameter<'_>; 2] = [(&id, Type::TEXT), (&now.as_millis(), Type::INT8)];
    Ok(client.execute_typed(&sql.revoke_key, &parameters).await? == 1)
}

pub(super) async fn create_record(client: &Client, sql: &Sql, record: &Record) -> Result<bool> {
    let name = &record.name;
    let parameters: [Parameter<'_>; 7] = [
        (&name.application.as_str(), Type::TEXT),
        (&text(&name.kind), Type::TEXT),
        (&text(&name.id), Type::TEXT),
        (&record.parent.as_deref().map(text), Type::TEXT),
        (&text(&record.body), Type::TEXT),
        (&record.created_at.as_millis(), Type::INT8),
        (&record.updated_at.as_millis(), Type::INT8),
    ];
    Ok(client.execute_typed(&sql.create_record, &parameters).await? == 1)
}

pub(super) async fn update_record(client: &Client, sql: &Sql, record: &Record) -> Result<bool> {
    let name = &record.name;
    let parameters: [Parameter<'_>; 5] = [
        (&name.application.as_str(), Type::TEXT),
        (&text(&name.kind), Type::TEXT),
        (&text(&name.id), Type::TEXT),
        (&text(&record.body), Type::TEXT),
        (&record.updated_at.as_millis(), Type::INT8),
    ];
    Ok(client.execute_typed(&sql.update_record, &parameters).await? == 1)
}

pub(super) async fn delete_record(client: &Client, sql: &Sql, name: &RecordName) -> Result<bool> {
    let parameters: [Parameter<'_>; 3] =
        [(&name.application.as_str(), Type::TEXT), (&text(&name.kind), Type::TEXT), (&text(&name.id), Type::TEXT)];
    Ok(client.execute_typed(&sql.delete_record, &parameters).await? > 0)
}
