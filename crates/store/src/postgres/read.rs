//! Everything that is only read, outside of decisions.

use std::collections::HashMap;

use countersign::core::event::Event;
use countersign::core::health;
use countersign::core::id::{ApplicationName, DeliveryId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, Status, Verification};
use countersign::store::{
    ApplicationRecord, Cleaned, KeyRecord, ListFilter, Page, Record, RecordFilter, RecordName, RecordPage,
};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::error::Error;
use super::rows::{Columns, Placed, first, service_column, text};
use super::sql::Sql;

type Result<T> = std::result::Result<T, Error>;

pub(super) async fn verification(
    client: &Client,
    sql: &Sql,
    application: &ApplicationName,
    id: VerificationId,
) -> Result<Option<(Verification, Vec<Delivery>)>> {
    let row = client
        .query_typed_opt(
            &sql.verification,
            &[(&id.as_bytes().as_slice(), Type::BYTEA), (&application.as_str(), Type::TEXT)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let found = Columns::of(&row).verification()?;
    Ok(with_deliveries(client, sql, vec![found]).await?.pop())
}

pub(super) async fn verification_of(
    client: &Client,
    sql: &Sql,
    application: &ApplicationName,
    delivery: DeliveryId,
) -> Result<Option<(Verification, Vec<Delivery>)>> {
    let row = client
        .query_typed_opt(
            &sql.verification_of,
            &[(&delivery.as_bytes().as_slice(), Type::BYTEA), (&application.as_str(), Type::TEXT)],
        )
        .await?;
    let Some(row) = row else { return Ok(None) };
    let found = Columns::of(&row).verification()?;
    Ok(with_deliveries(client, sql, vec![found]).await?.pop())
}

pub(super) async fn with_deliveries(
    client: &Client,
    sql: &Sql,
    found: Vec<Placed>,
) -> Result<Vec<(Verification, Vec<Delivery>)>> {
    let places: Vec<i64> = found.iter().map(|found| found.place).collect();
    let ids: HashMap<i64, VerificationId> = found.iter().map(|found| (found.place, found.row.id)).collect();
    let mut deliveries: HashMap<i64, Vec<Delivery>> = HashMap::new();
    for row in client.query_typed(&sql.deliveries, &[(&places, Type::INT8_ARRAY)]).await? {
        let (place, delivery) = Columns::of(&row).delivery(|place| ids.get(&place).copied())?;
        deliveries.entry(place).or_default().push(delivery);
    }
    Ok(found.into_iter().map(|found| (found.row, deliveries.remove(&found.place).unwrap_or_default())).collect())
}

pub(super) async fn list(client: &Client, sql: &Sql, filter: &ListFilter) -> Result<Page> {
    let mut statement = sql.list.clone();
    let application = filter.application.as_str();
    let (to, purpose) = (filter.to.as_ref().map(|to| to.reveal()), filter.purpose.as_ref().map(|p| p.as_str()));
    let after = filter.after.map(|after| i64::try_from(after).unwrap_or(i64::MAX));
    let now = filter.now.as_millis();
    let status = filter.status.map(Status::as_str);
    let limit = i64::try_from(filter.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let service = filter.service.as_ref().map(|service| service_column(service.as_ref()));
    let (since, until) = (filter.since.map(Timestamp::as_millis), filter.until.map(Timestamp::as_millis));
    let mut parameters: Vec<(&(dyn ToSql + Sync), Type)> = vec![(&application, Type::TEXT)];
    if let Some(service) = &service {
        parameters.push((service, Type::BYTEA));
        statement += &format!(" AND v.service = ${}", parameters.len());
    }
    if let Some(since) = &since {
        parameters.push((since, Type::INT8));
        statement += &format!(" AND v.created_at >= ${}", parameters.len());
    }
    if let Some(until) = &until {
        parameters.push((until, Type::INT8));
        statement += &format!(" AND v.created_at < ${}", parameters.len());
    }
    if let Some(to) = &to {
        parameters.push((to, Type::TEXT));
        statement += &format!(" AND v.destination = ${}", parameters.len());
    }
    if let Some(purpose) = &purpose {
        parameters.push((purpose, Type::TEXT));
        statement += &format!(" AND v.purpose = ${}", parameters.len());
    }
    if let Some(after) = &after {
        parameters.push((after, Type::INT8));
        statement += &format!(" AND v.place < ${}", parameters.len());
    }
    match filter.status {
        Some(Status::Pending) => {
            parameters.push((&now, Type::INT8));
            statement += &format!(" AND v.status = 'pending' AND v.expires_at > ${}", parameters.len());
        }
        Some(Status::Expired) => {
            parameters.push((&now, Type::INT8));
            statement += &format!(
                " AND (v.status = 'expired' OR v.status = 'pending' AND v.expires_at <= ${})",
                parameters.len()
            );
        }
        Some(_) => {
            parameters.push((&status, Type::TEXT));
            statement += &format!(" AND v.status = ${}", parameters.len());
        }
        None => {}
    }
    parameters.push((&limit, Type::INT8));
    statement += &format!(" ORDER BY v.place DESC LIMIT ${}", parameters.len());
    let rows = client.query_typed(&statement, &parameters).await?;
    let mut found = rows.iter().map(|row| Columns::of(row).verification()).collect::<Result<Vec<_>>>()?;
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let next = if more { found.last().and_then(|found| u64::try_from(found.place).ok()) } else { None };
    Ok(Page { rows: with_deliveries(client, sql, found).await?, next })
}

pub(super) async fn has_overdue_delivery(client: &Client, sql: &Sql, now: Timestamp) -> Result<bool> {
    first(&client.query_typed_one(&sql.has_overdue_delivery, &[(&now.as_millis(), Type::INT8)]).await?)
}

/// Verifications called pending whose time was up between the two instants: when, whose, which.
pub(super) async fn overdue(
    client: &Client,
    sql: &Sql,
    after: i64,
    now: Timestamp,
    most: usize,
) -> Result<Vec<(i64, ApplicationName, VerificationId)>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&after, Type::INT8), (&now.as_millis(), Type::INT8), (&most, Type::INT8)];
    let rows = client.query_typed(&sql.overdue, &parameters).await?;
    let read = |row| {
        let mut columns = Columns::of(row);
        Ok((columns.take()?, columns.parsed()?, VerificationId::from_bytes(columns.bytes()?)))
    };
    rows.iter().map(read).collect()
}

/// Verifications that are to be followed up, most overdue first.
pub(super) async fn to_follow_up(
    client: &Client,
    sql: &Sql,
    now: Timestamp,
    most: usize,
) -> Result<Vec<(ApplicationName, VerificationId)>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let parameters: [(&(dyn ToSql + Sync), Type); 2] = [(&now.as_millis(), Type::INT8), (&most, Type::INT8)];
    let rows = client.query_typed(&sql.to_follow_up, &parameters).await?;
    let read = |row| {
        let mut columns = Columns::of(row);
        Ok((columns.parsed()?, VerificationId::from_bytes(columns.bytes()?)))
    };
    rows.iter().map(read).collect()
}

/// What a cleanup would delete.
pub(super) async fn count_old(client: &Client, sql: &Sql, before: Timestamp, now: Timestamp) -> Result<Cleaned> {
    let parameters: [(&(dyn ToSql + Sync), Type); 2] =
        [(&before.as_millis(), Type::INT8), (&now.as_millis(), Type::INT8)];
    let verifications: i64 = first(&client.query_typed_one(&sql.count_old, &parameters[..1]).await?)?;
    let others: i64 = first(&client.query_typed_one(&sql.count_forgettable, &parameters).await?)?;
    let forgotten = (now - health::KEPT_FOR).as_millis();
    let hours: i64 = first(&client.query_typed_one(&sql.count_health, &[(&forgotten, Type::INT8)]).await?)?;
    let others = (others + hours).unsigned_abs();
    Ok(Cleaned { verifications: verifications.unsigned_abs(), others, more: false })
}

/// Those of these that are there, whosever they are.
pub(super) async fn verifications(
    client: &Client,
    sql: &Sql,
    ids: &[VerificationId],
) -> Result<Vec<(Verification, Vec<Delivery>)>> {
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.as_bytes().as_slice()).collect();
    let rows = client.query_typed(&sql.known_verifications, &[(&ids, Type::BYTEA_ARRAY)]).await?;
    let found = rows.iter().map(|row| Columns::of(row).verification()).collect::<Result<Vec<_>>>()?;
    with_deliveries(client, sql, found).await
}

/// Those that have no place yet get one first.
pub(super) async fn events(client: &Client, sql: &Sql, after: u64, most: usize) -> Result<Vec<(u64, Event)>> {
    place_waiting_events(client, sql).await?;
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let after = i64::try_from(after).unwrap_or(i64::MAX);
    let rows = client.query_typed(&sql.events, &[(&after, Type::INT8), (&most, Type::INT8)]).await?;
    rows.iter().map(|row| Columns::of(row).event()).collect()
}

/// Gives places to events that have none yet, in one transaction at a time.
pub(super) async fn place_waiting_events(client: &Client, sql: &Sql) -> Result<()> {
    if first(&client.query_typed_one(&sql.events_waiting, &[]).await?)? {
        client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
        let placed = place_events(client, sql).await;
        let end = if placed.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = client.batch_execute(end).await;
        placed?;
        ended?;
    }
    Ok(())
}

/// The same within a transaction, which then holds the head.
pub(super) async fn place_events(client: &Client, sql: &Sql) -> Result<()> {
    const BATCHES: i64 = 500;
    const SINGLE: i64 = 10_000;
    let mut head: i64 = first(&client.query_typed_one(&sql.lock_event_head, &[]).await?)?;
    loop {
        let parameters: [(&(dyn ToSql + Sync), Type); 3] =
            [(&head, Type::INT8), (&BATCHES, Type::INT8), (&SINGLE, Type::INT8)];
        let placed = client.query_typed_one(&sql.place_events, &parameters).await?;
        let mut columns = Columns::of(&placed);
        head += columns.take::<i64>()?;
        if !columns.take::<bool>()? {
            break;
        }
    }
    client.execute_typed(&sql.set_event_head, &[(&head, Type::INT8)]).await?;
    Ok(())
}

pub(super) async fn applications(client: &Client, sql: &Sql) -> Result<Vec<ApplicationRecord>> {
    let rows = client.query_typed(&sql.applications, &[]).await?;
    rows.iter().map(|row| Columns::of(row).application()).collect()
}

pub(super) async fn keys(client: &Client, sql: &Sql, application: &ApplicationName) -> Result<Vec<KeyRecord>> {
    let rows = client.query_typed(&sql.keys, &[(&application.as_str(), Type::TEXT)]).await?;
    rows.iter().map(|row| Columns::of(row).api_key()).collect()
}

pub(super) async fn key_by_digest(client: &Client, sql: &Sql, digest: [u8; 32]) -> Result<Option<KeyRecord>> {
    let row = client.query_typed_opt(&sql.key_by_digest, &[(&digest.as_slice(), Type::BYTEA)]).await?;
    row.map(|row| Columns::of(&row).api_key()).transpose()
}

/// Whether the server takes writes: a replica answers too, but is of no use.
pub(super) async fn ping(client: &Client) -> Result<()> {
    let row = client.query_typed_one("SELECT current_setting('transaction_read_only')", &[]).await?;
    match first::<String>(&row)?.as_str() {
        "off" => Ok(()),
        _ => Err(Error::Cut("the PostgreSQL server takes no writes: it is a replica".to_owned())),
    }
}

pub(super) async fn record(client: &Client, sql: &Sql, name: &RecordName) -> Result<Option<Record>> {
    let (kind, id) = (text(&name.kind), text(&name.id));
    let parameters: [(&(dyn ToSql + Sync), Type); 3] =
        [(&name.application.as_str(), Type::TEXT), (&kind, Type::TEXT), (&id, Type::TEXT)];
    let row = client.query_typed_opt(&sql.record, &parameters).await?;
    row.map(|row| Columns::of(&row).record().map(|(_, record)| record)).transpose()
}

pub(super) async fn records(client: &Client, sql: &Sql, filter: &RecordFilter) -> Result<RecordPage> {
    let after = filter.after.map_or(i64::MAX, |after| i64::try_from(after).unwrap_or(i64::MAX));
    let most = i64::try_from(filter.limit.saturating_add(1)).unwrap_or(i64::MAX);
    let (kind, parent) = (text(&filter.kind), filter.parent.as_deref().map(text));
    let parameters: [(&(dyn ToSql + Sync), Type); 5] = [
        (&filter.application.as_str(), Type::TEXT),
        (&kind, Type::TEXT),
        (&parent, Type::TEXT),
        (&after, Type::INT8),
        (&most, Type::INT8),
    ];
    let rows = client.query_typed(&sql.records, &parameters).await?;
    let mut found = rows.iter().map(|row| Columns::of(row).record()).collect::<Result<Vec<_>>>()?;
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let next = if more { found.last().map(|(place, _)| place.unsigned_abs()) } else { None };
    Ok(RecordPage { rows: found.into_iter().map(|(_, record)| record).collect(), next })
}
