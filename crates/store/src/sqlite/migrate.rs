//! Brings a file's schema up to date: embedded SQL, once, in order, refused if the file is newer than the program.

use std::path::Path;

use countersign::store::StoreError;
use rusqlite::{Connection, TransactionBehavior};

/// The migrations in order; the version of a schema is how many were applied.
const MIGRATIONS: [(&str, &str); 1] = [("0001_begin", include_str!("../../migrations/sqlite/0001_begin.sql"))];

/// The version that this program brings a file to.
pub const SCHEMA: u32 = MIGRATIONS.len() as u32;

/// Marks a file as ours: `CSGN` (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x4353_474E;

/// Why a file is not opened.
#[derive(Debug)]
pub(super) enum Refused {
    Sql(rusqlite::Error),
    NotOurs,
    Newer(u32),
    Older(u32),
}

impl From<rusqlite::Error> for Refused {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl Refused {
    pub(super) fn at(&self, path: &Path) -> StoreError {
        let path = path.display();
        match self {
            Self::Sql(error) => StoreError::Unavailable(format!("{path}: {error}")),
            Self::NotOurs => StoreError::Inconsistent(format!(
                "{path} is a database of something else; name another file in store.url"
            )),
            Self::Newer(version) => StoreError::Inconsistent(format!(
                "{path} has schema {version} and this program knows {SCHEMA}; run the version that made it, or a newer one"
            )),
            Self::Older(version) => StoreError::Inconsistent(format!(
                "{path} has schema {version} and this program needs {SCHEMA}; run `countersign migrate`"
            )),
        }
    }
}

/// The SQL of all migrations, for those who want to read it or run it themselves.
#[must_use]
pub fn migrations_sql() -> String {
    MIGRATIONS.iter().map(|(name, sql)| format!("-- {name}\n{sql}\n")).collect()
}

/// The version of a file's schema; 0 for an empty one.
///
/// # Errors
/// If it cannot be read.
pub fn schema_version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Applies what is missing, or refuses. Several processes may start at once: one migrates, the others find it done.
pub(super) fn migrate(connection: &mut Connection, may_write: bool) -> Result<(), Refused> {
    let version = schema_version(connection)?;
    if version > SCHEMA {
        return Err(Refused::Newer(version));
    }
    if version == SCHEMA {
        return check_ours(connection);
    }
    if !may_write {
        return Err(Refused::Older(version));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = schema_version(&transaction)?;
    if version == 0 && has_tables(&transaction)? {
        return Err(Refused::NotOurs);
    }
    for (_, sql) in MIGRATIONS.iter().skip(version as usize) {
        transaction.execute_batch(sql)?;
    }
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(())
}

fn check_ours(connection: &Connection) -> Result<(), Refused> {
    let id: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if id == APPLICATION_ID { Ok(()) } else { Err(Refused::NotOurs) }
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table')", [], |row| row.get(0))
}
