//! What is only read of one-row tables.

use countersign::core::id::{ApplicationName, DeliveryId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::core::verification::Status;
use countersign::store::{Cleaned, ListFilter, Page};
use countersign::transfer::{Dumped, Row as TransferRow};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::super::error::Error;
use super::super::rows::{Columns, first};
use super::super::sql::Sql;
use super::OneRow;
use crate::json::Head;
use crate::one_row::{Condition, Whole, restore};

type Result<T> = std::result::Result<T, Error>;
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

pub(in super::super) async fn verification(
    client: &Client,
    one: &OneRow,
    application: &ApplicationName,
    id: VerificationId,
) -> Result<Option<Whole>> {
    let found = by_id(client, one, &id.to_string()).await?;
    Ok(found.filter(|(row, _)| row.application == *application))
}

pub(in super::super) async fn verifications(
    client: &Client,
    one: &OneRow,
    ids: &[VerificationId],
) -> Result<Vec<Whole>> {
    let mut found = Vec::with_capacity(ids.len());
    for id in ids {
        found.extend(by_id(client, one, &id.to_string()).await?);
    }
    Ok(found)
}

pub(in super::super) async fn verification_of(
    client: &Client,
    one: &OneRow,
    application: &ApplicationName,
    delivery: DeliveryId,
) -> Result<Option<Whole>> {
    let referred = client.query_typed(&one.batched.referred, &[(&delivery.to_string(), Type::TEXT)]).await?;
    let Some(id) = referred.first().map(first::<String>).transpose()? else { return Ok(None) };
    let found = by_id(client, one, &id).await?;
    Ok(found.filter(|(row, deliveries)| {
        row.application == *application && deliveries.iter().any(|known| known.id == delivery)
    }))
}

pub(super) async fn by_id(client: &Client, one: &OneRow, id: &str) -> Result<Option<Whole>> {
    let row = client.query_typed_opt(&one.table.sql.by_id, &[(&id, Type::TEXT)]).await?;
    row.map(|row| from_row(one, &row).map(|(_, whole)| whole)).transpose()
}

/// A verification with its place.
pub(super) fn from_row(one: &OneRow, row: &Row) -> Result<(i64, Whole)> {
    let mut columns = Columns::of(row);
    let place = columns.take()?;
    let (id, application) = (columns.parsed()?, columns.parsed()?);
    let service: &str = columns.take()?;
    let service = if service.is_empty() {
        None
    } else {
        Some(service.parse().map_err(|_| Error::Unreadable("a row holds a service that cannot be read".to_owned()))?)
    };
    let head = Head {
        id,
        application,
        service,
        to: columns.take()?,
        purpose: columns.parsed()?,
        status: columns.named(Status::from_name)?,
        expires_at: columns.time()?,
    };
    let whole = restore(head, columns.take()?, one.format)
        .map_err(|error| Error::Unreadable(format!("the state of a row cannot be read: {error}")))?;
    Ok((place, whole))
}

/// A parameter of a list.
enum Value {
    Text(String),
    Number(i64),
}

pub(in super::super) async fn list(client: &Client, one: &OneRow, filter: &ListFilter) -> Result<Page> {
    let mut conditions = Vec::new();
    let mut add = |condition: Condition, value: Value| conditions.push((one.table.condition(condition), value));
    add(Condition::Application, Value::Text(filter.application.to_string()));
    if let Some(to) = &filter.to {
        add(Condition::Destination, Value::Text(one.format.write(to)));
    }
    if let Some(service) = &filter.service {
        add(Condition::Service, Value::Text(service.map(|id| id.to_string()).unwrap_or_default()));
    }
    if let Some(purpose) = &filter.purpose {
        add(Condition::Purpose, Value::Text(purpose.to_string()));
    }
    if let Some(after) = filter.after {
        add(Condition::After, Value::Number(i64::try_from(after).unwrap_or(i64::MAX)));
    }
    match filter.status {
        Some(Status::Pending) => add(Condition::Pending, Value::Number(filter.now.as_millis())),
        Some(Status::Expired) => add(Condition::Expired, Value::Number(filter.now.as_millis())),
        Some(status) => add(Condition::Status, Value::Text(status.as_str().to_owned())),
        None => {}
    }
    if let Some(since) = filter.since {
        add(Condition::Since, Value::Number(since.as_millis()));
    }
    if let Some(until) = filter.until {
        add(Condition::Until, Value::Number(until.as_millis()));
    }
    let (conditions, mut values): (Vec<_>, Vec<_>) = conditions.into_iter().unzip();
    values.push(Value::Number(i64::try_from(filter.limit.saturating_add(1)).unwrap_or(i64::MAX)));
    let parameters: Vec<Parameter<'_>> = values
        .iter()
        .map(|value| match value {
            Value::Text(text) => (text as &(dyn ToSql + Sync), Type::TEXT),
            Value::Number(number) => (number as &(dyn ToSql + Sync), Type::INT8),
        })
        .collect();
    let rows = client.query_typed(&one.table.list(&conditions), &parameters).await?;
    let mut found = rows.iter().map(|row| from_row(one, row)).collect::<Result<Vec<_>>>()?;
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let next = if more { found.last().and_then(|(place, _)| u64::try_from(*place).ok()) } else { None };
    Ok(Page { rows: found.into_iter().map(|(_, whole)| whole).collect(), next })
}

pub(in super::super) async fn has_due(client: &Client, one: &OneRow, now: Timestamp) -> Result<bool> {
    first(&client.query_typed_one(&one.table.sql.has_due, &[(&now.as_millis(), Type::INT8)]).await?)
}

pub(in super::super) async fn overdue(
    client: &Client,
    one: &OneRow,
    now: Timestamp,
    most: usize,
) -> Result<Vec<(ApplicationName, VerificationId)>> {
    whose_time_has_come(client, &one.table.sql.overdue, 1, now, most).await
}

pub(in super::super) async fn to_follow_up(
    client: &Client,
    one: &OneRow,
    now: Timestamp,
    most: usize,
) -> Result<Vec<(ApplicationName, VerificationId)>> {
    whose_time_has_come(client, &one.table.sql.to_follow_up, 0, now, most).await
}

/// The application and id of each, which begin at a column of the statement.
async fn whose_time_has_come(
    client: &Client,
    statement: &str,
    column: usize,
    now: Timestamp,
    most: usize,
) -> Result<Vec<(ApplicationName, VerificationId)>> {
    let most = i64::try_from(most).unwrap_or(i64::MAX);
    let parameters: [Parameter<'_>; 2] = [(&now.as_millis(), Type::INT8), (&most, Type::INT8)];
    let rows = client.query_typed(statement, &parameters).await?;
    let read = |row| {
        let mut columns = Columns::at(row, column);
        Ok((columns.parsed()?, columns.parsed()?))
    };
    rows.iter().map(read).collect()
}

/// What a cleanup would delete.
pub(in super::super) async fn count_old(
    client: &Client,
    sql: &Sql,
    one: &OneRow,
    before: Timestamp,
    now: Timestamp,
) -> Result<Cleaned> {
    let parameters: [Parameter<'_>; 2] = [(&before.as_millis(), Type::INT8), (&now.as_millis(), Type::INT8)];
    let verifications: i64 = first(&client.query_typed_one(&one.table.sql.count_old, &parameters[..1]).await?)?;
    let others: i64 = first(&client.query_typed_one(&sql.count_forgettable, &parameters).await?)?;
    Ok(Cleaned { verifications: verifications.unsigned_abs(), others: others.unsigned_abs(), more: false })
}

pub(in super::super) async fn dump(client: &Client, one: &OneRow, after: i64, most: i64) -> Result<Vec<Dumped>> {
    let rows = client.query_typed(&one.table.sql.dump, &[(&after, Type::INT8), (&most, Type::INT8)]).await?;
    let read = |row| {
        let (place, (row, deliveries)) = from_row(one, row)?;
        Ok(Dumped { place: place.to_string(), row: TransferRow::Verification(row.into(), deliveries) })
    };
    rows.iter().map(read).collect()
}
