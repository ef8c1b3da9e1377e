//! Figures of how providers do, by the hour. No rule lives here.

use countersign::core::health::{self, Figures, HealthKey, HealthRow};
use countersign::core::time::Timestamp;
use rusqlite::{OptionalExtension, Row, ToSql, params};

use super::connection::Connection;
use super::rows;

/// As [`row`] reads them; then the figures, in the order of [`Figures::NAMES`].
macro_rules! health_columns {
    () => {
        "place, hour, application, provider, channel, country, sent, accepted, failed, unknown, delivered, undelivered, approved, \
         delivered_ms, approved_ms"
    };
}

pub(super) fn position(connection: &Connection) -> rusqlite::Result<u64> {
    let row = |row: &Row<'_>| row.get::<_, i64>(0).map(i64::unsigned_abs);
    connection.prepare_cached("SELECT place FROM health_position")?.query_row([], row)
}

pub(super) fn take_up(connection: &Connection, from: u64, through: u64, rows: &[HealthRow]) -> rusqlite::Result<bool> {
    let place = |place: u64| i64::try_from(place).unwrap_or(i64::MAX);
    let moved = connection
        .prepare_cached("UPDATE health_position SET place = ?2 WHERE place = ?1")?
        .execute([place(from), place(through)])?;
    if moved == 1 {
        for row in rows {
            add(connection, row)?;
        }
    }
    Ok(moved == 1)
}

/// Events that were loaded are not counted: what was counted of them is loaded too.
pub(super) fn pass(connection: &Connection, place: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE health_position SET place = ?1 WHERE place < ?1";
    connection.prepare_cached(sql)?.execute([place]).map(drop)
}

pub(super) fn add(connection: &Connection, row: &HealthRow) -> rusqlite::Result<()> {
    let key = &row.key;
    let country = key.country.as_ref().map_or("", |country| country.as_str());
    let (hour, application, channel) = (key.hour.as_millis(), key.application.as_str(), key.channel.as_str());
    let numbers = row.figures.to_array().map(|number| i64::try_from(number).unwrap_or(i64::MAX));
    let mut columns: Vec<&dyn ToSql> = vec![&hour, &application, &key.provider, &channel, &country];
    columns.extend(numbers.iter().map(|number| number as &dyn ToSql));
    connection
        .prepare_cached(
            "INSERT INTO health (hour, application, provider, channel, country, sent, accepted, failed, unknown, delivered, \
             undelivered, approved, delivered_ms, approved_ms) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14) \
             ON CONFLICT (hour, application, provider, channel, country) DO UPDATE SET sent = sent + excluded.sent, \
             accepted = accepted + excluded.accepted, failed = failed + excluded.failed, unknown = unknown + excluded.unknown, \
             delivered = delivered + excluded.delivered, undelivered = undelivered + excluded.undelivered, \
             approved = approved + excluded.approved, delivered_ms = delivered_ms + excluded.delivered_ms, \
             approved_ms = approved_ms + excluded.approved_ms",
        )?
        .execute(columns.as_slice())
        .map(drop)
}

pub(super) fn since(connection: &Connection, since: Timestamp) -> rusqlite::Result<Vec<HealthRow>> {
    connection
        .prepare_cached(concat!("SELECT ", health_columns!(), " FROM health WHERE hour >= ?1 ORDER BY hour"))?
        .query_map([since.as_millis()], |found| row(found).map(|(_, row)| row))?
        .collect()
}

pub(super) fn of_key(connection: &Connection, key: &HealthKey) -> rusqlite::Result<Option<HealthRow>> {
    connection
        .prepare_cached(concat!(
            "SELECT ",
            health_columns!(),
            " FROM health WHERE hour = ?1 AND application = ?2 AND provider = ?3 AND channel = ?4 AND country = ?5"
        ))?
        .query_row(
            params![
                key.hour.as_millis(),
                key.application.as_str(),
                key.provider,
                key.channel.as_str(),
                key.country.as_ref().map_or("", |country| country.as_str()),
            ],
            |found| row(found).map(|(_, row)| row),
        )
        .optional()
}

/// Figures that count for nothing any more; how many were deleted.
pub(super) fn forget(connection: &Connection, now: Timestamp, most: i64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM health WHERE place IN (SELECT place FROM health WHERE hour < ?1 ORDER BY hour LIMIT ?2)",
        )?
        .execute([(now - health::KEPT_FOR).as_millis(), most])
}

pub(super) fn page(connection: &Connection, after: i64, most: i64) -> rusqlite::Result<Vec<(i64, HealthRow)>> {
    connection
        .prepare_cached(concat!("SELECT ", health_columns!(), " FROM health WHERE place > ?1 ORDER BY place LIMIT ?2"))?
        .query_map([after, most], row)?
        .collect()
}

/// A row with its place, from `health_columns!`.
fn row(row: &Row<'_>) -> rusqlite::Result<(i64, HealthRow)> {
    let mut numbers = [0; Figures::COUNT];
    for (nth, number) in numbers.iter_mut().enumerate() {
        *number = row.get::<_, i64>(nth + 6)?.unsigned_abs();
    }
    let country = row.get_ref(5)?.as_str()?.parse().ok();
    let key = HealthKey {
        hour: rows::time(row, 1)?,
        application: rows::parsed(row, 2)?,
        provider: row.get(3)?,
        channel: rows::parsed(row, 4)?,
        country,
    };
    Ok((row.get(0)?, HealthRow { key, figures: Figures::from_array(numbers) }))
}
