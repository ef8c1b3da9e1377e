//! Brings a schema up to date: embedded SQL, once, in order, whoever starts at the same time.
//!
//! Beside its version a schema says the oldest program version that can work with it (`compatible_from`). A migration that only
//! expands leaves that number as it is, so the programs of before go on while a fleet is replaced; one that contracts raises it.

use countersign::store::{StoreError, StoreResult};
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use super::error::Error;
use super::sql::quoted;
use crate::layout::Layout;
use crate::one_row::support_statements;

/// A step: its name, its SQL, and the oldest schema version a program may know to work with what it leaves.
struct Migration {
    name: &'static str,
    sql: &'static str,
    compatible_from: i64,
}

/// The migrations in order; the version of a schema is how many were applied.
const MIGRATIONS: [Migration; 4] = [
    Migration { name: "0001_begin", sql: include_str!("../../migrations/postgres/0001_begin.sql"), compatible_from: 1 },
    Migration {
        name: "0002_webhooks",
        sql: include_str!("../../migrations/postgres/0002_webhooks.sql"),
        compatible_from: 1,
    },
    Migration {
        name: "0003_health",
        sql: include_str!("../../migrations/postgres/0003_health.sql"),
        compatible_from: 1,
    },
    Migration {
        name: "0004_batches",
        sql: include_str!("../../migrations/postgres/0004_batches.sql"),
        compatible_from: 1,
    },
];

/// The version that this program brings a schema to.
pub const SCHEMA: u32 = MIGRATIONS.len() as u32;

const KNOWN: i64 = MIGRATIONS.len() as i64;

/// What the layout `minimal` has of its own in each step.
const MINIMAL: [&str; MIGRATIONS.len()] =
    [include_str!("../../migrations/postgres/minimal/0001_begin.sql"), "", "", ""];
const RECEIPT: &str = include_str!("../../migrations/postgres/receipt.sql");

/// The SQL of a step as a layout needs it: one-row layouts take what supports verifications from the one migration.
fn step_sql(layout: &Layout, number: usize, step: &Migration) -> String {
    let (own, with_events) = match layout {
        Layout::Standalone => return step.sql.to_owned(),
        // The log of events is a history too.
        Layout::Minimal => (MINIMAL.get(number).copied().unwrap_or_default(), false),
        Layout::Existing(_) => ("", true),
    };
    let mut sql = own.to_owned();
    if number == 0 {
        sql.push_str(RECEIPT);
    }
    for statement in support_statements(step.sql, with_events) {
        sql.push_str(&format!("\n{statement};\n"));
    }
    sql
}

/// The SQL of all migrations of the layout `standalone`, for those who want to read it or run it themselves.
#[must_use]
pub fn migrations_sql(schema: &str) -> String {
    sql_since(schema, &Layout::Standalone, 0)
}

/// The SQL that brings a schema from a version up to date.
pub(super) fn sql_since(schema: &str, layout: &Layout, version: usize) -> String {
    let last = MIGRATIONS.last().map_or(1, |migration| migration.compatible_from);
    let steps: String = MIGRATIONS
        .iter()
        .enumerate()
        .skip(version)
        .map(|(number, step)| format!("-- {}\n{}\n", step.name, step_sql(layout, number, step)))
        .collect();
    format!(
        "BEGIN;\n{}\nSET LOCAL search_path = {};\n{steps}UPDATE countersign_schema SET version = {KNOWN}, compatible_from = {last};\nCOMMIT;\n",
        head(schema),
        quoted(schema),
    )
}

/// The SQL that a live schema lacks.
pub(super) async fn lacking_sql(client: &Client, schema: &str, layout: &Layout) -> StoreResult<String> {
    let (version, _) = version(client, schema).await.map_err(Error::into_store_error)?;
    Ok(if version >= KNOWN { String::new() } else { sql_since(schema, layout, usize::try_from(version).unwrap_or(0)) })
}

/// What stands before the first migration: where the version is kept.
fn head(schema: &str) -> String {
    let schema = quoted(schema);
    format!(
        "CREATE SCHEMA IF NOT EXISTS {schema};\n\
         CREATE TABLE IF NOT EXISTS {schema}.countersign_schema (one BIGINT PRIMARY KEY CHECK (one = 1), version BIGINT NOT NULL, \
         compatible_from BIGINT NOT NULL);\n\
         INSERT INTO {schema}.countersign_schema (one, version, compatible_from) VALUES (1, 0, 0) ON CONFLICT (one) DO NOTHING;"
    )
}

/// Applies what is missing, or refuses.
pub(super) async fn migrate(client: &Client, schema: &str, layout: &Layout, may_write: bool) -> StoreResult<()> {
    let (version, compatible_from) = version(client, schema).await.map_err(Error::into_store_error)?;
    if version > 0 {
        has_layout(client, schema, layout).await?;
    }
    if version >= KNOWN {
        return fits(schema, version, compatible_from);
    }
    if !may_write {
        return Err(StoreError::Inconsistent(format!(
            "the schema {schema} has version {version} and this program needs {KNOWN}; run `countersign migrate`"
        )));
    }
    // Two who create the same schema or table at once: one of them is told that it is there already.
    let mut tries = 0;
    loop {
        tries += 1;
        match apply(client, schema, layout).await {
            Err(Error::Conflict) if tries < 20 => {
                let _ = client.batch_execute("ROLLBACK").await;
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
            Err(error) => {
                let _ = client.batch_execute("ROLLBACK").await;
                let error = error.into_store_error();
                return Err(StoreError::Unavailable(format!(
                    "the schema {schema} could not be brought up to date: {error}"
                )));
            }
            Ok(Some((version, compatible_from))) => return fits(schema, version, compatible_from),
            Ok(None) => return Ok(()),
        }
    }
}

fn fits(schema: &str, version: i64, compatible_from: i64) -> StoreResult<()> {
    if compatible_from <= KNOWN {
        return Ok(());
    }
    Err(StoreError::Inconsistent(format!(
        "the schema {schema} has version {version}, which programs that know less than version {compatible_from} cannot use, and this \
         one knows {KNOWN}; run the version that made it, or a newer one"
    )))
}

/// The version of a schema and the oldest that fits; zeros if there is none.
async fn version(client: &Client, schema: &str) -> Result<(i64, i64), Error> {
    let sql = format!("SELECT version, compatible_from FROM {}.countersign_schema", quoted(schema));
    match client.query_typed_opt(&sql, &[]).await {
        Ok(row) => Ok(row.map_or((0, 0), |row| (row.get(0), row.get(1)))),
        Err(error)
            if [Some(&SqlState::UNDEFINED_TABLE), Some(&SqlState::INVALID_SCHEMA_NAME)].contains(&error.code()) =>
        {
            Ok((0, 0))
        }
        Err(error) => Err(error.into()),
    }
}

/// Migrates in one transaction, behind the lock of the version's row; what somebody else has made of it by then, if they were first.
async fn apply(client: &Client, schema: &str, layout: &Layout) -> Result<Option<(i64, i64)>, Error> {
    // A user who may use a schema need not be allowed to make one.
    if !has_table(client, schema).await? {
        client.batch_execute(&head(schema)).await.map_err(already_there)?;
    }
    client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    let lock = format!("SELECT version, compatible_from FROM {}.countersign_schema FOR UPDATE", quoted(schema));
    let row = client.query_typed_one(&lock, &[]).await?;
    let (version, compatible_from): (i64, i64) = (row.get(0), row.get(1));
    if version >= KNOWN {
        client.batch_execute("ROLLBACK").await?;
        return Ok(Some((version, compatible_from)));
    }
    client.batch_execute(&format!("SET LOCAL search_path = {}", quoted(schema))).await?;
    let done = usize::try_from(version).unwrap_or(0);
    let mut compatible_from = compatible_from;
    for (number, step) in MIGRATIONS.iter().enumerate().skip(done) {
        client.batch_execute(&step_sql(layout, number, step)).await?;
        compatible_from = step.compatible_from;
    }
    let update =
        format!("UPDATE countersign_schema SET version = {KNOWN}, compatible_from = {compatible_from}; COMMIT");
    client.batch_execute(&update).await?;
    Ok(None)
}

/// Refuses a schema of another layout by its name: which one it is shows in its tables.
async fn has_layout(client: &Client, schema: &str, wanted: &Layout) -> StoreResult<()> {
    let sql = "SELECT coalesce(bool_or(table_name = 'delivery' AND column_name = 'lease_until'), false), \
               coalesce(bool_or(table_name = 'verification' AND column_name = 'state'), false) \
               FROM information_schema.columns WHERE table_schema = $1";
    let parameters: [(&(dyn ToSql + Sync), Type); 1] = [(&schema, Type::TEXT)];
    let row = client.query_typed_one(sql, &parameters).await.map_err(|error| Error::from(error).into_store_error())?;
    let has = match (row.get(0), row.get(1)) {
        (true, _) => "standalone",
        (false, true) => "minimal",
        (false, false) => "existing",
    };
    if has == wanted.as_str() {
        return Ok(());
    }
    Err(StoreError::Inconsistent(format!(
        "the schema {schema} has the layout \"{has}\"; write store.layout = \"{has}\", or name another schema in store.schema \
         (`countersign export` and `import` move what is in it)"
    )))
}

async fn has_table(client: &Client, schema: &str) -> Result<bool, Error> {
    let sql = "SELECT EXISTS (SELECT 1 FROM information_schema.tables WHERE table_schema = $1 AND table_name = 'countersign_schema')";
    let row = client.query_typed_one(sql, &[(&schema, Type::TEXT)]).await?;
    Ok(row.get(0))
}

/// `CREATE … IF NOT EXISTS` looks first and makes then: two at once can still collide.
fn already_there(error: tokio_postgres::Error) -> Error {
    let state = error.code();
    let collided =
        [Some(&SqlState::DUPLICATE_TABLE), Some(&SqlState::DUPLICATE_SCHEMA), Some(&SqlState::DUPLICATE_OBJECT)];
    if collided.contains(&state) { Error::Conflict } else { error.into() }
}
