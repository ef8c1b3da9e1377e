//! Webhook messages: taken up, claimed, settled. No rule lives here.
//!
//! Whatever must happen together is one statement, and each locks messages before endpoints, so that nobody waits in a circle.

use std::collections::BTreeMap;
use std::time::Duration;

use countersign::core::id::VerificationId;
use countersign::core::time::Timestamp;
use countersign::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::error::Error;
use super::read;
use super::rows::{Columns, first, text};
use super::sql::Sql;

type Result<T> = std::result::Result<T, Error>;
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

pub(super) async fn position(client: &Client, sql: &Sql, wanted: bool) -> Result<Option<u64>> {
    if wanted {
        // It begins at the newest event: those that were not read yet have no place so far.
        read::place_waiting_events(client, sql).await?;
        client.execute_typed(&sql.begin_taking_up, &[]).await?;
    } else {
        client.execute_typed(&sql.end_taking_up, &[]).await?;
    }
    Ok(current(client, sql).await?.map(i64::unsigned_abs))
}

/// Up to where events were taken up.
pub(super) async fn current(client: &Client, sql: &Sql) -> Result<Option<i64>> {
    client.query_typed_opt(&sql.taken_up, &[]).await?.as_ref().map(first).transpose()
}

/// Collects one column.
macro_rules! column {
    ($rows:expr, $row:ident => $value:expr) => {
        $rows.iter().map(|$row| $value).collect::<Vec<_>>()
    };
}

pub(super) async fn take_up(
    client: &Client,
    sql: &Sql,
    from: u64,
    through: u64,
    messages: &[WebhookMessage],
) -> Result<Option<u64>> {
    let place = |place: u64| i64::try_from(place).unwrap_or(i64::MAX);
    let parameters: [Parameter<'_>; 12] = [
        (&place(from), Type::INT8),
        (&place(through), Type::INT8),
        (&column!(messages, row => text(&row.endpoint)), Type::TEXT_ARRAY),
        (&column!(messages, row => text(&row.id)), Type::TEXT_ARRAY),
        (&column!(messages, row => row.application.as_str()), Type::TEXT_ARRAY),
        (&column!(messages, row => row.verification.as_bytes().as_slice()), Type::BYTEA_ARRAY),
        (&column!(messages, row => text(&row.body)), Type::TEXT_ARRAY),
        (&column!(messages, row => row.at.as_millis()), Type::INT8_ARRAY),
        (&column!(messages, row => row.hold_until.as_millis()), Type::INT8_ARRAY),
        (&column!(messages, row => row.expires_at.as_millis()), Type::INT8_ARRAY),
        (&column!(messages, row => row.due_at.as_millis()), Type::INT8_ARRAY),
        (&column!(messages, row => i64::from(row.attempts)), Type::INT8_ARRAY),
    ];
    client.execute_typed(&sql.take_up_events, &parameters).await?;
    Ok(current(client, sql).await?.map(i64::unsigned_abs))
}

/// Whether a claim would find something, were it not for what holds messages back.
pub(super) async fn is_due(client: &Client, sql: &Sql, endpoint: &str, now: Timestamp) -> Result<bool> {
    let parameters: [Parameter<'_>; 2] = [(&text(endpoint), Type::TEXT), (&now.as_millis(), Type::INT8)];
    first(&client.query_typed_one(&sql.webhook_is_due, &parameters).await?)
}

pub(super) async fn claim(
    client: &Client,
    sql: &Sql,
    endpoint: &str,
    now: Timestamp,
    lease: Duration,
    most: usize,
) -> Result<Vec<WebhookMessage>> {
    let parameters: [Parameter<'_>; 4] = [
        (&text(endpoint), Type::TEXT),
        (&now.as_millis(), Type::INT8),
        (&(now + lease).as_millis(), Type::INT8),
        (&i64::try_from(most).unwrap_or(i64::MAX), Type::INT8),
    ];
    let rows = client.query_typed(&sql.claim_webhooks, &parameters).await?;
    let mut claimed = rows.iter().map(message).collect::<Result<Vec<_>>>()?;
    claimed.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(claimed)
}

fn message(row: &Row) -> Result<WebhookMessage> {
    let mut columns = Columns::of(row);
    Ok(WebhookMessage {
        endpoint: columns.take()?,
        id: columns.take()?,
        application: columns.parsed()?,
        verification: VerificationId::from_bytes(columns.bytes()?),
        body: columns.take()?,
        at: columns.time()?,
        hold_until: columns.time()?,
        expires_at: columns.time()?,
        due_at: columns.time()?,
        attempts: columns.number()?,
    })
}

pub(super) async fn settle(
    client: &Client,
    sql: &Sql,
    message: &WebhookMessage,
    outcome: &WebhookOutcome,
    now: Timestamp,
) -> Result<bool> {
    let (endpoint, id, attempts) = (text(&message.endpoint), text(&message.id), i64::from(message.attempts));
    let mut parameters: Vec<Parameter<'_>> = vec![(&endpoint, Type::TEXT), (&id, Type::TEXT), (&attempts, Type::INT8)];
    let settled = match outcome {
        // Almost always there is nothing to write of the endpoint: one that answers has nothing to tell.
        WebhookOutcome::Delivered => client.query_typed_one(&sql.settle_delivered, &parameters).await?,
        WebhookOutcome::Again { error, .. }
        | WebhookOutcome::GivenUp { error }
        | WebhookOutcome::Gone { error, .. } => {
            let due_at = match outcome {
                WebhookOutcome::Again { due_at, .. } => Some(due_at.as_millis()),
                _ => None,
            };
            let (waits, error) = (!matches!(outcome, WebhookOutcome::GivenUp { .. }), text(error));
            let settings = match outcome {
                WebhookOutcome::Gone { settings, .. } => Some(text(settings)),
                _ => None,
            };
            let (now, disabled_at) = (now.as_millis(), settings.is_some().then(|| now.as_millis()));
            parameters.extend([
                (&waits as &(dyn ToSql + Sync), Type::BOOL),
                (&due_at, Type::INT8),
                (&now, Type::INT8),
                (&error, Type::TEXT),
                (&disabled_at, Type::INT8),
                (&settings, Type::TEXT),
            ]);
            client.query_typed_one(&sql.settle_failed, &parameters).await?
        }
    };
    Ok(first::<i64>(&settled)? == 1)
}

pub(super) async fn requeue(
    client: &Client,
    sql: &Sql,
    endpoints: &[String],
    which: &Requeue,
    now: Timestamp,
) -> Result<u64> {
    let endpoints: Vec<_> = endpoints.iter().map(|endpoint| text(endpoint)).collect();
    let now = now.as_millis();
    let (id, between, waiting) = match which {
        Requeue::Event(id) => (Some(text(id)), None, false),
        Requeue::Between(from, until) => (None, Some((from.as_millis(), until.as_millis())), false),
        Requeue::Waiting => (None, None, true),
    };
    let (from, until) = between.unzip();
    let parameters: [Parameter<'_>; 6] = [
        (&endpoints, Type::TEXT_ARRAY),
        (&now, Type::INT8),
        (&id, Type::TEXT),
        (&from, Type::INT8),
        (&until, Type::INT8),
        (&waiting, Type::BOOL),
    ];
    let requeued: i64 = first(&client.query_typed_one(&sql.requeue_webhooks, &parameters).await?)?;
    Ok(requeued.unsigned_abs())
}

pub(super) async fn endpoints(client: &Client, sql: &Sql) -> Result<Vec<WebhookEndpoint>> {
    let mut all: BTreeMap<String, WebhookEndpoint> = BTreeMap::new();
    for row in client.query_typed(&sql.webhook_endpoints, &[]).await? {
        let mut columns = Columns::of(&row);
        let instant = |at: Option<i64>| at.map(Timestamp::from_millis);
        let fares = WebhookEndpoint {
            endpoint: columns.take()?,
            failing_since: instant(columns.take()?),
            last_error: columns.take()?,
            disabled: instant(columns.take()?).zip(columns.take()?),
            ..WebhookEndpoint::default()
        };
        all.insert(fares.endpoint.clone(), fares);
    }
    for row in client.query_typed(&sql.webhooks_waiting, &[]).await? {
        let mut columns = Columns::of(&row);
        let endpoint: String = columns.take()?;
        let fares = all.entry(endpoint.clone()).or_default();
        fares.endpoint = endpoint;
        fares.pending = columns.take::<i64>()?.unsigned_abs();
        fares.oldest = Some(columns.time()?);
    }
    Ok(all.into_values().collect())
}
