//! What is written to one-row tables outside of decisions.

use std::time::Duration;

use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, DeliveryStatus, Status, Verification};
use countersign::store::{Claimed, Cleaned};
use countersign::transfer::Loaded;
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::super::error::Error;
use super::super::rows::{Columns, first};
use super::super::sql::Sql;
use super::super::transfer::in_transaction;
use super::super::{webhook, write as support};
use super::OneRow;
use super::batch::{insert_rows, keep_references, update};
use super::read::{by_id, from_row};
use crate::one_row::service;

type Result<T> = std::result::Result<T, Error>;
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Takes overdue deliveries under a new lease. What somebody else has locked is passed over.
pub(in super::super) async fn claim(
    client: &Client,
    sql: &Sql,
    one: &OneRow,
    now: Timestamp,
    lease: Duration,
    most: usize,
) -> Result<Vec<Claimed>> {
    let claiming = async {
        let limit = i64::try_from(most).unwrap_or(i64::MAX);
        let parameters: [Parameter<'_>; 2] = [(&now.as_millis(), Type::INT8), (&limit, Type::INT8)];
        let due = client.query_typed(&one.table.sql.due, &parameters).await?;
        let (mut claimed, mut changed) = (Vec::new(), Vec::new());
        for row in &due {
            let (place, (verification, mut deliveries)) = from_row(one, row)?;
            let overdue =
                |delivery: &&mut Delivery| delivery.status == DeliveryStatus::Queued && delivery.lease_until <= now;
            for delivery in deliveries.iter_mut().filter(overdue).take(most.saturating_sub(claimed.len())) {
                delivery.lease_until = now + lease;
                delivery.claims += 1;
                claimed.push(Claimed { delivery: delivery.clone(), verification: verification.clone() });
            }
            changed.push((place, verification, deliveries));
        }
        let rows: Vec<_> = changed.iter().map(|(place, row, deliveries)| (*place, row, deliveries.clone())).collect();
        if !rows.is_empty() {
            let none_approved = vec![false; rows.len()];
            update(one, &rows, none_approved).run(client).await?;
        }
        Ok(claimed)
    };
    in_transaction(client, &sql.begin, claiming).await
}

/// One small batch, as in the layout `standalone`: only rows of our own, and of what supports them.
pub(in super::super) async fn cleanup(
    client: &Client,
    sql: &Sql,
    one: &OneRow,
    before: Timestamp,
    now: Timestamp,
    most: usize,
    after: &str,
) -> Result<(Cleaned, String)> {
    let verifications = in_transaction(client, &sql.begin, delete_old(client, one, before, most)).await?;
    let many = i64::try_from(most).unwrap_or(i64::MAX).saturating_mul(4);
    let old: [Parameter<'_>; 2] = [(&before.as_millis(), Type::INT8), (&many, Type::INT8)];
    let receipts = client.execute_typed(&one.batched.clean_references, &old).await?;
    let taken_up = webhook::current(client, sql).await?;
    let more_events = one.has_events() && support::cleanup_events(client, sql, before, most, taken_up).await?;
    let (others, more, next) = support::cleanup_support(client, sql, before, now, most, after).await?;
    let more = verifications >= most || receipts >= many.unsigned_abs() || more_events || more;
    Ok((Cleaned { verifications: verifications as u64, others, more }, next))
}

/// Rows go, or what we kept in them does.
async fn delete_old(client: &Client, one: &OneRow, before: Timestamp, most: usize) -> Result<usize> {
    let mut old: Vec<String> = Vec::new();
    for status in Status::ALL {
        let left = i64::try_from(most.saturating_sub(old.len())).unwrap_or(i64::MAX);
        let parameters: [Parameter<'_>; 3] =
            [(&status.as_str(), Type::TEXT), (&before.as_millis(), Type::INT8), (&left, Type::INT8)];
        let found = client.query_typed(&one.table.sql.old, &parameters).await?;
        old.extend(found.iter().map(first::<String>).collect::<Result<Vec<_>>>()?);
    }
    if !old.is_empty() {
        let end = if one.keep_rows { &one.table.sql.let_go } else { &one.table.sql.delete };
        client.execute_typed(end, &[(&old, Type::TEXT_ARRAY)]).await?;
    }
    Ok(old.len())
}

/// Writes verifications as they are, unless they or newer ones are there; within a transaction.
pub(in super::super) async fn load(
    client: &Client,
    sql: &Sql,
    one: &OneRow,
    rows: &[(&Verification, &[Delivery])],
) -> Result<Vec<Loaded>> {
    let mut loaded = Vec::with_capacity(rows.len());
    for (row, deliveries) in rows {
        loaded.push(load_one(client, sql, one, row, deliveries).await?);
    }
    Ok(loaded)
}

async fn load_one(
    client: &Client,
    sql: &Sql,
    one: &OneRow,
    row: &Verification,
    deliveries: &[Delivery],
) -> Result<Loaded> {
    if let Some(known) = by_id(client, one, &row.id.to_string()).await? {
        return Ok(if known.0 == *row && known.1 == deliveries { Loaded::Same } else { Loaded::Differs });
    }
    if one.lacks_room(row).is_some() {
        return Ok(Loaded::NotKept);
    }
    let key: [Parameter<'_>; 4] = [
        (&one.format.write(&row.to), Type::TEXT),
        (&row.application.as_str(), Type::TEXT),
        (&row.purpose.as_str(), Type::TEXT),
        (&service(row), Type::TEXT),
    ];
    let latest = client.query_typed_opt(&one.batched.lock_latest, &key).await?;
    let mut generation = 0;
    if let Some(latest) = latest {
        let (place, (before, _)) = from_row(one, &latest)?;
        if before.created_at > row.created_at {
            return Ok(Loaded::Older);
        }
        generation = Columns::at(&latest, 9).take()?;
        if !one.theirs {
            client.execute_typed(&one.batched.replace, &[(&vec![place], Type::INT8_ARRAY)]).await?;
        }
    }
    let place: i64 = first(&client.query_typed_one(&sql.new_places, &[(&1_i64, Type::INT8)]).await?)?;
    insert_rows(one, &[(place, generation + 1, row, deliveries.to_vec())]).run(client).await?;
    let references = deliveries.iter().flat_map(|delivery| {
        let provider = delivery.provider.as_str();
        let names = [Some(delivery.id.to_string()), delivery.message_id.clone()];
        names.into_iter().flatten().map(move |name| (name, provider, row))
    });
    let references: Vec<_> = references.collect();
    if !references.is_empty() {
        keep_references(one, references).run(client).await?;
    }
    Ok(Loaded::New)
}
