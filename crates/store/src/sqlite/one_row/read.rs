//! What is only read of one-row tables.

use countersign::core::decision::Lookup;
use countersign::core::id::{ApplicationName, DeliveryId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::core::verification::Status;
use countersign::store::{Cleaned, ListFilter, Page};
use countersign::transfer::{Dumped, Row as TransferRow};
use rusqlite::types::{Type, Value};
use rusqlite::{OptionalExtension, Params, Row, params, params_from_iter};

use super::super::connection::Connection;
use super::super::read;
use super::OneRow;
use crate::json::Head;
use crate::one_row::{Condition, Whole, restore};

/// The verification that a decision is about, with its deliveries.
pub(super) fn lookup(one: &OneRow, connection: &Connection, lookup: &Lookup) -> rusqlite::Result<Option<Whole>> {
    match lookup {
        Lookup::ById { application, id } => verification(one, connection, application, *id),
        Lookup::Latest { application, service, to, purpose } => {
            let service = service.map(|id| id.to_string()).unwrap_or_default();
            let key = params![one.format.write(to), application.as_str(), purpose.as_str(), service];
            whole(one, connection, &one.table.sql.latest, key)
        }
        Lookup::ByReference { provider, reference } => {
            let id: Option<String> = connection
                .prepare_cached("SELECT verification FROM receipt WHERE reference = ?1 AND provider = ?2")?
                .query_row([reference, provider], |row| row.get(0))
                .optional()?;
            let Some(id) = id else { return Ok(None) };
            whole(one, connection, &one.table.sql.by_id, [id])
        }
    }
}

pub(in super::super) fn verification(
    one: &OneRow,
    connection: &Connection,
    application: &ApplicationName,
    id: VerificationId,
) -> rusqlite::Result<Option<Whole>> {
    let found = whole(one, connection, &one.table.sql.by_id, [id.to_string()])?;
    Ok(found.filter(|(row, _)| row.application == *application))
}

pub(in super::super) fn verifications(
    one: &OneRow,
    connection: &Connection,
    ids: &[VerificationId],
) -> rusqlite::Result<Vec<Whole>> {
    let found = ids.iter().map(|id| whole(one, connection, &one.table.sql.by_id, [id.to_string()]));
    found.filter_map(rusqlite::Result::transpose).collect()
}

pub(in super::super) fn verification_of(
    one: &OneRow,
    connection: &Connection,
    application: &ApplicationName,
    delivery: DeliveryId,
) -> rusqlite::Result<Option<Whole>> {
    let id: Option<String> = connection
        .prepare_cached("SELECT verification FROM receipt WHERE reference = ?1")?
        .query_row([delivery.to_string()], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(None) };
    let found = whole(one, connection, &one.table.sql.by_id, [id])?;
    Ok(found.filter(|(row, deliveries)| {
        row.application == *application && deliveries.iter().any(|known| known.id == delivery)
    }))
}

pub(super) fn whole(
    one: &OneRow,
    connection: &Connection,
    sql: &str,
    key: impl Params,
) -> rusqlite::Result<Option<Whole>> {
    let found = connection.prepare_cached(sql)?.query_row(key, |row| from_row(one, row)).optional()?;
    Ok(found.map(|(_, whole)| whole))
}

/// A verification with its place.
pub(super) fn from_row(one: &OneRow, row: &Row<'_>) -> rusqlite::Result<(i64, Whole)> {
    let text = |column: usize| row.get_ref(column)?.as_str().map_err(rusqlite::Error::from);
    let service = text(3)?;
    let head = Head {
        id: parsed(1, text(1)?)?,
        application: parsed(2, text(2)?)?,
        service: if service.is_empty() { None } else { Some(parsed(3, service)?) },
        to: text(4)?.to_owned(),
        purpose: parsed(5, text(5)?)?,
        status: Status::from_name(text(6)?).ok_or_else(|| unreadable(6, crate::json::Unreadable::Field("status")))?,
        expires_at: Timestamp::from_millis(row.get(7)?),
    };
    let whole = restore(head, text(8)?, one.format).map_err(|error| unreadable(8, error))?;
    Ok((row.get(0)?, whole))
}

fn parsed<T: std::str::FromStr>(column: usize, text: &str) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.parse().map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

pub(in super::super) fn list(one: &OneRow, connection: &Connection, filter: &ListFilter) -> rusqlite::Result<Page> {
    let mut conditions = vec![(Condition::Application, Value::from(filter.application.to_string()))];
    if let Some(to) = &filter.to {
        conditions.push((Condition::Destination, one.format.write(to).into()));
    }
    if let Some(service) = &filter.service {
        conditions.push((Condition::Service, service.map(|id| id.to_string()).unwrap_or_default().into()));
    }
    if let Some(purpose) = &filter.purpose {
        conditions.push((Condition::Purpose, purpose.to_string().into()));
    }
    if let Some(after) = filter.after {
        conditions.push((Condition::After, i64::try_from(after).unwrap_or(i64::MAX).into()));
    }
    match filter.status {
        Some(Status::Pending) => conditions.push((Condition::Pending, filter.now.as_millis().into())),
        Some(Status::Expired) => conditions.push((Condition::Expired, filter.now.as_millis().into())),
        Some(status) => conditions.push((Condition::Status, status.as_str().to_owned().into())),
        None => {}
    }
    if let Some(since) = filter.since {
        conditions.push((Condition::Since, since.as_millis().into()));
    }
    if let Some(until) = filter.until {
        conditions.push((Condition::Until, until.as_millis().into()));
    }
    let (conditions, mut values): (Vec<_>, Vec<_>) =
        conditions.into_iter().map(|(condition, value)| (one.table.condition(condition), value)).unzip();
    values.push(i64::try_from(filter.limit.saturating_add(1)).unwrap_or(i64::MAX).into());
    let mut found: Vec<(i64, Whole)> = connection
        .prepare(&one.table.list(&conditions))?
        .query_map(params_from_iter(values), |row| from_row(one, row))?
        .collect::<rusqlite::Result<_>>()?;
    let more = found.len() > filter.limit;
    found.truncate(filter.limit);
    let next = if more { found.last().and_then(|(place, _)| u64::try_from(*place).ok()) } else { None };
    Ok(Page { rows: found.into_iter().map(|(_, whole)| whole).collect(), next })
}

pub(in super::super) fn has_due(one: &OneRow, connection: &Connection, now: Timestamp) -> rusqlite::Result<bool> {
    connection.prepare_cached(&one.table.sql.has_due)?.query_row([now.as_millis()], |row| row.get(0))
}

pub(in super::super) fn overdue(
    one: &OneRow,
    connection: &Connection,
    now: Timestamp,
    most: usize,
) -> rusqlite::Result<Vec<(ApplicationName, VerificationId)>> {
    connection
        .prepare_cached(&one.table.sql.overdue)?
        .query_map(params![now.as_millis(), i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            Ok((parsed(1, row.get_ref(1)?.as_str()?)?, parsed(2, row.get_ref(2)?.as_str()?)?))
        })?
        .collect()
}

pub(in super::super) fn to_follow_up(
    one: &OneRow,
    connection: &Connection,
    now: Timestamp,
    most: usize,
) -> rusqlite::Result<Vec<(ApplicationName, VerificationId)>> {
    connection
        .prepare_cached(&one.table.sql.to_follow_up)?
        .query_map(params![now.as_millis(), i64::try_from(most).unwrap_or(i64::MAX)], |row| {
            Ok((parsed(0, row.get_ref(0)?.as_str()?)?, parsed(1, row.get_ref(1)?.as_str()?)?))
        })?
        .collect()
}

/// What a cleanup would delete.
pub(in super::super) fn count_old(
    one: &OneRow,
    connection: &Connection,
    before: Timestamp,
    now: Timestamp,
) -> rusqlite::Result<Cleaned> {
    let verifications = read::count(connection, &one.table.sql.count_old, before)?;
    Ok(Cleaned { verifications, others: read::count_forgettable(connection, before, now)?, more: false })
}

pub(in super::super) fn dump(
    one: &OneRow,
    connection: &Connection,
    after: i64,
    most: usize,
) -> rusqlite::Result<Vec<Dumped>> {
    let mut statement = connection.prepare_cached(&one.table.sql.dump)?;
    let rows =
        statement.query_map(params![after, i64::try_from(most).unwrap_or(i64::MAX)], |row| from_row(one, row))?;
    rows.map(|row| {
        let (place, (row, deliveries)) = row?;
        Ok(Dumped { place: place.to_string(), row: TransferRow::Verification(row.into(), deliveries) })
    })
    .collect()
}
