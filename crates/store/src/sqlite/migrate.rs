//! Brings a file's schema up to date: embedded SQL, once, in order, refused if the file is newer than the program.

use std::path::Path;

use countersign::store::{StoreError, StoreResult};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::one_row::schema::{self, MINIMAL_ID};
use crate::layout::Layout;

/// The migrations in order; the version of a schema is how many were applied.
pub(super) const MIGRATIONS: [(&str, &str); 2] = [
    ("0001_begin", include_str!("../../migrations/sqlite/0001_begin.sql")),
    ("0002_health", include_str!("../../migrations/sqlite/0002_health.sql")),
];

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
    /// A file of ours with this layout.
    Layout(&'static str),
    /// The application's file lacks this.
    Lacking(String),
    /// The application's file cannot be used as it is.
    Unfit(String),
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
            Self::Layout(layout) => StoreError::Inconsistent(format!(
                "{path} has the layout \"{layout}\"; write store.layout = \"{layout}\", or name another file in store.url \
                 (`countersign export` and `import` move what is in it)"
            )),
            Self::Lacking(what) => StoreError::Inconsistent(format!(
                "{path} is the application's and lacks {what}; look at the SQL with `countersign migrate --print`, then run \
                 `countersign migrate`"
            )),
            Self::Unfit(why) => StoreError::Inconsistent(format!("{path}: {why}")),
        }
    }
}

/// The SQL that a layout needs, for those who want to read it or run it themselves: all of it in tables of our own, and what a live
/// table of the application in the file at `path` lacks.
///
/// # Errors
/// [`StoreError`] if the application's file cannot be read, or its table cannot hold verifications.
pub fn schema_sql(layout: &Layout, path: &Path) -> StoreResult<String> {
    let existing = match layout {
        Layout::Standalone => return Ok(marked(&migrations_sql(), APPLICATION_ID)),
        Layout::Minimal => return Ok(marked(&schema::minimal_sql(), MINIMAL_ID)),
        Layout::Existing(existing) => existing,
    };
    schema::must_be_there(path).map_err(|refused| refused.at(path))?;
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let connection = connection.map_err(|error| Refused::Sql(error).at(path))?;
    schema::existing_sql(&connection, existing).map_err(|refused| refused.at(path))
}

/// With what marks a file as brought up to date: without it, one that was made by hand would be taken for somebody else's.
fn marked(sql: &str, id: i32) -> String {
    format!(
        "{sql}\n-- The version of the schema, and whose it is.\nPRAGMA user_version = {SCHEMA};\nPRAGMA application_id = {id};\n"
    )
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
    migrate_with(connection, may_write, APPLICATION_ID, |transaction, from| {
        MIGRATIONS.iter().skip(from).try_for_each(|(_, sql)| transaction.execute_batch(sql))
    })
}

/// The same for a file that is marked with `id`; `apply` brings it up to date from a version.
pub(super) fn migrate_with(
    connection: &mut Connection,
    may_write: bool,
    id: i32,
    apply: impl FnOnce(&Transaction<'_>, usize) -> rusqlite::Result<()>,
) -> Result<(), Refused> {
    let version = schema_version(connection)?;
    if version > SCHEMA {
        return Err(Refused::Newer(version));
    }
    if version > 0 {
        check_ours(connection, id)?;
    }
    if version == SCHEMA {
        return Ok(());
    }
    if !may_write {
        return Err(Refused::Older(version));
    }
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let version = schema_version(&transaction)?;
    if version > 0 {
        check_ours(&transaction, id)?;
    }
    if version == 0 && has_tables(&transaction)? {
        return Err(Refused::NotOurs);
    }
    if version < SCHEMA {
        apply(&transaction, version as usize)?;
        transaction.pragma_update(None, "user_version", SCHEMA)?;
        transaction.pragma_update(None, "application_id", id)?;
    }
    transaction.commit()?;
    Ok(())
}

fn check_ours(connection: &Connection, wanted: i32) -> Result<(), Refused> {
    match connection.pragma_query_value(None, "application_id", |row| row.get::<_, i32>(0))? {
        id if id == wanted => Ok(()),
        APPLICATION_ID => Err(Refused::Layout("standalone")),
        MINIMAL_ID => Err(Refused::Layout("minimal")),
        _ => Err(Refused::NotOurs),
    }
}

fn has_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table')", [], |row| row.get(0))
}
