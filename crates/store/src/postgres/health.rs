//! Figures of how providers do, by the hour. No rule lives here.

use countersign::core::health::{Figures, HealthKey, HealthRow};
use countersign::core::time::Timestamp;
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Row};

use super::error::Error;
use super::rows::{Columns, first, text};
use super::sql::Sql;
use super::transfer::in_transaction;

type Result<T> = std::result::Result<T, Error>;
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

pub(super) async fn position(client: &Client, sql: &Sql) -> Result<u64> {
    first::<i64>(&client.query_typed_one(&sql.health_position, &[]).await?).map(i64::unsigned_abs)
}

pub(super) async fn take_up(client: &Client, sql: &Sql, from: u64, through: u64, rows: &[HealthRow]) -> Result<bool> {
    let place = |place: u64| i64::try_from(place).unwrap_or(i64::MAX);
    let taking = async {
        let (from, through) = (place(from), place(through));
        let parameters: [Parameter<'_>; 2] = [(&from, Type::INT8), (&through, Type::INT8)];
        // Who moves the position has locked it: whoever comes second waits, and finds that it is elsewhere.
        let moved = client.execute_typed(&sql.move_health_position, &parameters).await? == 1;
        if moved && !rows.is_empty() {
            put(client, &sql.add_health, rows).await?;
        }
        Ok(moved)
    };
    in_transaction(client, "BEGIN ISOLATION LEVEL READ COMMITTED", taking).await
}

/// Runs a statement that takes rows; what it gives back.
pub(super) async fn put(client: &Client, statement: &str, rows: &[HealthRow]) -> Result<Vec<Row>> {
    // In one order, whoever writes them.
    let mut rows: Vec<&HealthRow> = rows.iter().collect();
    rows.sort_by(|a, b| a.key.cmp(&b.key));
    let keys = keys(&rows);
    let numbers: [Vec<i64>; Figures::COUNT] = std::array::from_fn(|nth| {
        let number = |row: &&HealthRow| i64::try_from(row.figures.to_array()[nth]).unwrap_or(i64::MAX);
        rows.iter().map(number).collect()
    });
    let mut parameters = keys.parameters();
    parameters.extend(numbers.iter().map(|column| -> Parameter<'_> { (column, Type::INT8_ARRAY) }));
    Ok(client.query_typed(statement, &parameters).await?)
}

/// What is there under the rows' keys.
pub(super) async fn known(client: &Client, sql: &Sql, rows: &[HealthRow]) -> Result<Vec<HealthRow>> {
    let keys = keys(&rows.iter().collect::<Vec<_>>());
    let found = client.query_typed(&sql.known_health, &keys.parameters()).await?;
    found.iter().map(|found| row(found).map(|(_, row)| row)).collect()
}

struct Keys {
    hours: Vec<i64>,
    names: [Vec<String>; 4],
}

fn keys(rows: &[&HealthRow]) -> Keys {
    let column = |value: fn(&HealthKey) -> String| rows.iter().map(|row| value(&row.key)).collect();
    Keys {
        hours: rows.iter().map(|row| row.key.hour.as_millis()).collect(),
        names: [
            column(|key| key.application.to_string()),
            column(|key| text(&key.provider).into_owned()),
            column(|key| key.channel.as_str().to_owned()),
            column(|key| key.country.map(|country| country.to_string()).unwrap_or_default()),
        ],
    }
}

impl Keys {
    fn parameters(&self) -> Vec<Parameter<'_>> {
        let mut parameters: Vec<Parameter<'_>> = vec![(&self.hours, Type::INT8_ARRAY)];
        parameters.extend(self.names.iter().map(|column| -> Parameter<'_> { (column, Type::TEXT_ARRAY) }));
        parameters
    }
}

pub(super) async fn since(client: &Client, sql: &Sql, since: Timestamp) -> Result<Vec<HealthRow>> {
    let rows = client.query_typed(&sql.health, &[(&since.as_millis(), Type::INT8)]).await?;
    rows.iter().map(|found| row(found).map(|(_, row)| row)).collect()
}

/// A row with its place, from `health_columns!`.
pub(super) fn row(row: &Row) -> Result<(i64, HealthRow)> {
    let mut columns = Columns::of(row);
    let place = columns.take()?;
    let key = HealthKey {
        hour: columns.time()?,
        application: columns.parsed()?,
        provider: columns.take()?,
        channel: columns.parsed()?,
        country: columns.take::<&str>()?.parse().ok(),
    };
    let mut numbers = [0; Figures::COUNT];
    for number in &mut numbers {
        *number = columns.take::<i64>()?.unsigned_abs();
    }
    Ok((place, HealthRow { key, figures: Figures::from_array(numbers) }))
}
