//! What one-row layouts need of a file: made where the file is ours, checked and shown where it is the application's.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension, TransactionBehavior};

use super::super::migrate::{self, MIGRATIONS, Refused, SCHEMA};
use super::{OneRow, TimeAs, Writes, Written};
use crate::layout::{Existing, Layout};
use crate::one_row::{Dialect, PREFIX, Table, added_columns, indexes, prefixed, support_statements};

/// Marks a file of this layout as ours: `CSGM` (`PRAGMA application_id`).
pub(in super::super) const MINIMAL_ID: i32 = 0x4353_474D;

const MINIMAL: [&str; MIGRATIONS.len()] = [
    include_str!("../../../migrations/sqlite/minimal/0001_begin.sql"),
    include_str!("../../../migrations/sqlite/minimal/0002_health.sql"),
];
const RECEIPT: &str = include_str!("../../../migrations/sqlite/receipt.sql");

/// The file of the layout `minimal`: brought up to date, or refused.
pub(in super::super) fn open_minimal(connection: &mut Connection, may_write: bool) -> Result<OneRow, Refused> {
    migrate::migrate_with(connection, may_write, MINIMAL_ID, |transaction, from| {
        transaction.execute_batch(&minimal_since(from))
    })?;
    // Minimal is never none.
    let table = Table::new(Dialect::Sqlite, &Layout::Minimal).ok_or(Refused::NotOurs)?;
    let (writes, format) = (Writes::new(&table), crate::layout::DestinationFormat::E164);
    Ok(OneRow { table, writes, format, written: None, keep_rows: false })
}

/// The SQL of all migrations of the layout `minimal`.
pub(in super::super) fn minimal_sql() -> String {
    minimal_since(0)
}

fn minimal_since(version: usize) -> String {
    let mut sql = String::new();
    for (number, own) in MINIMAL.iter().enumerate().skip(version) {
        sql.push_str(own);
        if number == 0 {
            sql.push('\n');
            sql.push_str(RECEIPT);
        }
        // The log of events is a history too.
        for statement in support_statements(MIGRATIONS[number].1, false) {
            sql.push_str(&format!("\n{statement};\n"));
        }
    }
    sql
}

/// The application's file: what we need is there, or is added if we may, or is said.
pub(in super::super) fn open_existing(
    connection: &mut Connection,
    existing: &Existing,
    may_write: bool,
) -> Result<OneRow, Refused> {
    let mut plan = Plan::of(connection, existing)?;
    if !plan.lacking.is_empty() {
        if !may_write {
            return Err(Refused::Lacking(plan.what));
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Another process may have been first.
        plan = Plan::of(&transaction, existing)?;
        plan.lacking.iter().try_for_each(|sql| transaction.execute_batch(sql))?;
        transaction.commit()?;
    }
    let layout = Layout::Existing(existing.clone());
    let table = Table::new(Dialect::Sqlite, &layout).ok_or(Refused::NotOurs)?;
    let format = existing.destination_format;
    let writes = Writes::new(&table);
    Ok(OneRow { table, writes, format, written: Some(plan.written), keep_rows: existing.keep_rows })
}

/// The SQL that a live table lacks; nothing if it lacks nothing.
pub(in super::super) fn existing_sql(connection: &Connection, existing: &Existing) -> Result<String, Refused> {
    let plan = Plan::of(connection, existing)?;
    Ok(plan.lacking.iter().map(|sql| format!("{sql};\n")).collect())
}

/// What the application's file has, held against what we need.
struct Plan {
    /// The statements that are lacking, in order.
    lacking: Vec<String>,
    /// What they are for, in words.
    what: String,
    written: Written,
}

/// A column as the file declares it.
struct Column {
    name: String,
    declared: String,
    refuses_null: bool,
    has_default: bool,
    in_key: bool,
}

impl Plan {
    fn of(connection: &Connection, existing: &Existing) -> Result<Self, Refused> {
        let columns = fit(connection, existing)?;
        let has = |name: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let (mut lacking, mut what) = (Vec::new(), Vec::new());
        for (name, _, sql) in added_columns(Dialect::Sqlite, existing) {
            if !has(&name) {
                lacking.push(sql);
                what.push(name);
            }
        }
        for (name, sql) in indexes(Dialect::Sqlite, existing) {
            if !is_there(connection, "index", &name)? {
                lacking.push(sql);
                what.push(format!("the index {name}"));
            }
        }
        let version = version(connection)?;
        if version > SCHEMA {
            return Err(Refused::Newer(version));
        }
        if version < SCHEMA {
            lacking.extend(support(version as usize));
            what.push(format!("the tables {PREFIX}…"));
        }
        let declared = |name: &str| columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
        let time = |name: &str| {
            let whole = declared(name).is_some_and(|column| column.declared.to_uppercase().contains("INT"));
            if whole { TimeAs::Seconds } else { TimeAs::Text }
        };
        let written = Written {
            created_at: time(existing.columns.created_at.as_str()),
            expires_at: time(existing.columns.expires_at.as_str()),
        };
        Ok(Self { lacking, what: what.join(", "), written })
    }
}

/// The columns of the application's table, if it can hold verifications.
fn fit(connection: &Connection, existing: &Existing) -> Result<Vec<Column>, Refused> {
    let table = existing.table.name.as_str();
    if existing.table.schema.is_some() {
        return unfit(format!("SQLite has no schemas: write store.existing.table = \"{table}\""));
    }
    if !is_there(connection, "table", table)? {
        return unfit(format!(
            "it has no table called {table}; run the application's own migrations first, or write another name into store.existing.table"
        ));
    }
    let columns = columns(connection, table)?;
    let find = |name: &str| columns.iter().find(|column| column.name.eq_ignore_ascii_case(name));
    for (key, name) in existing.columns.named() {
        if find(name.as_str()).is_none() {
            let known = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            return unfit(format!(
                "the table {table} has no column {}; it has {known}; write the one that is meant into store.existing.columns.{key}",
                name.as_str()
            ));
        }
    }
    let id = existing.columns.id.as_str();
    if !is_unique(connection, table, id)? {
        return unfit(format!(
            "the column {id} of {table} is not unique, so a verification could not be told from another; run: \
             CREATE UNIQUE INDEX \"{table}_{id}_unique\" ON \"{table}\" (\"{id}\");"
        ));
    }
    let digits = usize::from(existing.destination_format == crate::layout::DestinationFormat::Digits);
    for (name, needed, why) in [
        (id, 35, "an id is vf_ and 32 digits"),
        (existing.columns.destination.as_str(), 16 - digits, "a number has up to 15 digits"),
    ] {
        let length = find(name).and_then(|column| length(&column.declared));
        if length.is_some_and(|length| length < needed) {
            return unfit(format!(
                "the column {name} of {table} holds {} characters and {needed} are needed: {why}; make it longer in the application's model",
                length.unwrap_or_default()
            ));
        }
    }
    let written = existing.columns.named();
    let is_ours = |column: &Column| {
        written.iter().any(|(_, name)| column.name.eq_ignore_ascii_case(name.as_str()))
            || column.name.to_ascii_lowercase().starts_with(PREFIX)
    };
    // An integer primary key numbers itself.
    let numbers_itself = |column: &Column| column.in_key && column.declared.eq_ignore_ascii_case("integer");
    let refuses = columns
        .iter()
        .find(|column| column.refuses_null && !column.has_default && !is_ours(column) && !numbers_itself(column));
    if let Some(Column { name, declared, .. }) = refuses {
        return unfit(format!(
            "the column {name} of {table} takes no null and has no default, and there is nothing to write there (codes are not stored); \
             in a Django model give it null=True, then makemigrations and migrate; or run: \
             ALTER TABLE \"{table}\" ADD COLUMN \"{name}_new\" {declared} NULL; UPDATE \"{table}\" SET \"{name}_new\" = \"{name}\"; \
             ALTER TABLE \"{table}\" DROP COLUMN \"{name}\"; ALTER TABLE \"{table}\" RENAME COLUMN \"{name}_new\" TO \"{name}\";"
        ));
    }
    Ok(columns)
}

fn unfit<T>(why: String) -> Result<T, Refused> {
    Err(Refused::Unfit(why))
}

fn is_there(connection: &Connection, kind: &str, name: &str) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = ?1 AND name = ?2 COLLATE NOCASE)";
    connection.query_row(sql, [kind, name], |row| row.get(0))
}

fn columns(connection: &Connection, table: &str) -> rusqlite::Result<Vec<Column>> {
    let sql = "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk > 0 FROM pragma_table_info(?1)";
    connection
        .prepare(sql)?
        .query_map([table], |row| {
            Ok(Column {
                name: row.get(0)?,
                declared: row.get(1)?,
                refuses_null: row.get(2)?,
                has_default: row.get(3)?,
                in_key: row.get(4)?,
            })
        })?
        .collect()
}

/// Whether a column alone is the primary key, or under a unique index over all rows.
fn is_unique(connection: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let key = "SELECT count(*) = 1 AND max(name = ?2 COLLATE NOCASE) FROM pragma_table_info(?1) WHERE pk > 0";
    let index = "SELECT EXISTS (SELECT 1 FROM pragma_index_list(?1) AS list WHERE \"unique\" AND NOT partial AND \
                 (SELECT count(*) = 1 AND max(name = ?2 COLLATE NOCASE) FROM pragma_index_info(list.name)))";
    let asked = |sql| connection.query_row(sql, [table, column], |row| row.get::<_, Option<bool>>(0));
    Ok(asked(key)?.unwrap_or_default() || asked(index)?.unwrap_or_default())
}

/// The length in `varchar(50)`.
fn length(declared: &str) -> Option<usize> {
    let (kind, rest) = declared.split_once('(')?;
    let is_text = kind.to_uppercase().contains("CHAR");
    rest.trim_end().strip_suffix(')').filter(|_| is_text)?.trim().parse().ok()
}

/// The version of our supporting tables in the application's file; 0 if they are not there.
fn version(connection: &Connection) -> rusqlite::Result<u32> {
    if !is_there(connection, "table", &format!("{PREFIX}schema"))? {
        return Ok(0);
    }
    let found =
        connection.query_row(&format!("SELECT version FROM {PREFIX}schema"), [], |row| row.get(0)).optional()?;
    Ok(found.unwrap_or_default())
}

/// The statements that bring our supporting tables from a version up to date.
fn support(version: usize) -> Vec<String> {
    let mut statements = Vec::new();
    for (number, (_, migration)) in MIGRATIONS.iter().enumerate().skip(version) {
        if number == 0 {
            statements.push("CREATE TABLE schema (version INTEGER NOT NULL)".to_owned());
            statements.push("INSERT INTO schema VALUES (0)".to_owned());
            statements.extend(support_statements(RECEIPT, true));
        }
        statements.extend(support_statements(migration, true));
    }
    statements.push(format!("UPDATE schema SET version = {SCHEMA}"));
    // The application may read its file with an SQLite that knows no STRICT tables: one of them, and it could read none.
    let everywhere = |sql: String| sql.replace(") STRICT, WITHOUT ROWID", ") WITHOUT ROWID").replace(") STRICT", ")");
    statements.into_iter().map(|sql| prefixed(&everywhere(sql))).collect()
}

/// Whether a file is one that the application made: `existing` makes none.
pub(in super::super) fn must_be_there(path: &Path) -> Result<(), Refused> {
    if path.exists() {
        return Ok(());
    }
    unfit(
        "it is not there; run the application's own migrations first: layout \"existing\" makes no database".to_owned(),
    )
}
