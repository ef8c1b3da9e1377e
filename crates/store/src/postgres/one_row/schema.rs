//! What one-row layouts need of a database: made where the schema is ours, checked and shown where the table is the application's.

use std::fmt::Write as _;

use countersign::store::{StoreError, StoreResult};
use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::super::error::Error;
use super::super::migrate;
use super::super::rows::Columns;
use super::super::sql::quoted;
use super::super::transfer::in_transaction;
use super::sql::Batched;
use super::{FlagAs, Of, OneRow, Room, TimeAs, Written};
use crate::layout::{DestinationFormat, Existing, Layout, TableName};
use crate::one_row::{Dialect, PREFIX, Table, added_columns, indexes};

type Result<T> = std::result::Result<T, Refused>;
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Why the application's table is not used.
pub(in super::super) enum Refused {
    Sql(Error),
    /// It cannot be used as it is.
    Unfit(String),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl From<tokio_postgres::Error> for Refused {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Sql(error.into())
    }
}

impl Refused {
    pub(in super::super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Sql(error) => error.into_store_error(),
            Self::Unfit(why) => StoreError::Inconsistent(format!("the database: {why}")),
        }
    }
}

fn unfit<T>(why: String) -> Result<T> {
    Err(Refused::Unfit(why))
}

/// The layout `minimal`, in a schema that is up to date.
pub(in super::super) fn minimal(schema: &str) -> StoreResult<OneRow> {
    let table = table(schema, &Layout::Minimal)?;
    let batched = Batched::new(&table, schema, None);
    let format = DestinationFormat::E164;
    Ok(OneRow { table, batched, format, theirs: false, keep_rows: false, room: Vec::new() })
}

fn table(schema: &str, layout: &Layout) -> StoreResult<Table> {
    // Neither layout is without a table.
    let table = Table::new(Dialect::Postgres { schema }, layout);
    table.ok_or_else(|| StoreError::Inconsistent("the layout has no table".to_owned()))
}

/// The application's table: what we need is there, or is added if we may, or is said.
pub(in super::super) async fn open_existing(
    client: &Client,
    schema: &str,
    existing: &Existing,
    may_write: bool,
) -> StoreResult<OneRow> {
    let layout = Layout::Existing(existing.clone());
    let mut plan = Plan::of(client, existing).await.map_err(Refused::into_store_error)?;
    let is_old = !migrate::lacking_sql(client, schema, &layout).await?.is_empty();
    if !may_write && (is_old || !plan.lacking.is_empty()) {
        let mut what = plan.what;
        what.extend(is_old.then(|| format!("the tables in the schema {schema}")));
        return Err(StoreError::Inconsistent(format!(
            "the database is the application's and lacks {}; look at the SQL with `countersign migrate --print`, then run \
             `countersign migrate`",
            what.join(", ")
        )));
    }
    migrate::migrate(client, schema, &layout, may_write).await?;
    if !plan.lacking.is_empty() {
        plan = add(client, schema, existing).await.map_err(Refused::into_store_error)?;
    }
    let existing = Existing { table: plan.table, ..existing.clone() };
    let (format, keep_rows) = (existing.destination_format, existing.keep_rows);
    let table = table(schema, &Layout::Existing(existing))?;
    let batched = Batched::new(&table, schema, Some(plan.written));
    Ok(OneRow { table, batched, format, theirs: true, keep_rows, room: plan.room })
}

/// Adds what is lacking, behind the lock of the schema's version: another process may have been first.
async fn add(client: &Client, schema: &str, existing: &Existing) -> Result<Plan> {
    let refused = std::cell::RefCell::new(None);
    let adding = async {
        let lock = format!("SELECT version FROM {}.countersign_schema FOR UPDATE", quoted(schema));
        client.query_typed(&lock, &[]).await?;
        let plan = match Plan::of(client, existing).await {
            Ok(plan) => plan,
            Err(Refused::Sql(error)) => return Err(error),
            Err(unfit) => {
                *refused.borrow_mut() = Some(unfit);
                return Err(Error::Unreadable(String::new()));
            }
        };
        for statement in &plan.lacking {
            client.batch_execute(statement).await?;
        }
        Ok(plan)
    };
    // Whoever uses the table is waited for, but not for long: they would all wait behind us.
    let begin = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '5s'";
    let added = in_transaction(client, begin, adding).await;
    added.map_err(|error| refused.into_inner().unwrap_or(Refused::Sql(error)))
}

/// The SQL that a live table lacks; nothing if it lacks nothing.
pub(in super::super) async fn existing_sql(client: &Client, schema: &str, existing: &Existing) -> StoreResult<String> {
    let layout = Layout::Existing(existing.clone());
    let plan = Plan::of(client, existing).await.map_err(Refused::into_store_error)?;
    let mut sql = migrate::lacking_sql(client, schema, &layout).await?;
    for statement in &plan.lacking {
        let _ = writeln!(sql, "{statement};");
    }
    Ok(sql)
}

/// What the application's table has, held against what we need.
struct Plan {
    /// The table, with its schema.
    table: TableName,
    /// The statements that are lacking, in order.
    lacking: Vec<String>,
    /// What they are for, in words.
    what: Vec<String>,
    written: Written,
    room: Vec<Room>,
}

/// A column as the database has it.
struct Column {
    name: String,
    /// As people write it, `character varying(50)`.
    declared: String,
    /// As the catalogue has it, `varchar`.
    kind: String,
    /// The most characters, where there is a most.
    length: Option<usize>,
    refuses_null: bool,
    has_default: bool,
}

impl Plan {
    async fn of(client: &Client, existing: &Existing) -> Result<Self> {
        let (oid, table) = find(client, &existing.table).await?;
        let columns = columns(client, oid).await?;
        let written = fit(client, existing, oid, &table, &columns).await?;
        let (mut lacking, mut what) = (Vec::new(), Vec::new());
        let whole = Existing { table: table.clone(), ..existing.clone() };
        for (name, kind, sql) in added_columns(Dialect::Postgres { schema: "" }, &whole) {
            let catalogued = if kind == "bigint" { "int8" } else { kind };
            match columns.iter().find(|column| column.name == name) {
                None => {
                    lacking.push(sql);
                    what.push(name);
                }
                Some(column) if column.kind != catalogued => {
                    return unfit(format!(
                        "the column {name} of {table} is {} and must be {kind}; run: ALTER TABLE {table} ALTER COLUMN {name} TYPE \
                         {kind} USING {name}::{kind};",
                        column.declared
                    ));
                }
                Some(_) => {}
            }
        }
        let there = index_names(client, oid).await?;
        for (name, sql) in indexes(Dialect::Postgres { schema: "" }, &whole) {
            if !there.contains(&name) {
                lacking.push(sql);
                what.push(format!("the index {name}"));
            }
        }
        let room = [(&existing.columns.destination, Of::Destination), (&existing.columns.purpose, Of::Purpose)]
            .into_iter()
            .filter_map(|(name, of)| {
                let column = columns.iter().find(|column| column.name == name.as_str())?;
                Some(Room { column: column.name.clone(), most: column.length?, of })
            })
            .collect();
        Ok(Self { table, lacking, what, written, room })
    }
}

/// The table's number, and its name with its schema.
async fn find(client: &Client, wanted: &TableName) -> Result<(i64, TableName)> {
    let name = wanted.to_string();
    let sql = "SELECT c.oid::bigint, n.nspname::text, c.relkind::text FROM pg_catalog.pg_class c \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass($1)";
    let parameters: [Parameter<'_>; 1] = [(&name, Type::TEXT)];
    let Some(row) = client.query_typed_opt(sql, &parameters).await? else {
        return unfit(format!(
            "it has no table called {name}; run the application's own migrations first, or write another name into \
             store.existing.table{}",
            other_cases(client, wanted).await?
        ));
    };
    let mut columns = Columns::of(&row);
    let (oid, schema, kind): (i64, String, String) = (columns.take()?, columns.take()?, columns.take()?);
    if !["r", "p"].contains(&kind.as_str()) {
        return unfit(format!("{name} is no table; write the name of a table into store.existing.table"));
    }
    match schema.parse() {
        Ok(schema) => Ok((oid, TableName { schema: Some(schema), name: wanted.name.clone() })),
        Err(_) => unfit(format!("the schema of {name} has a name that is not made of letters, digits and `_`")),
    }
}

/// Names are taken as they are written; one that differs in its case alone, or is in a schema that was not named, is likely meant.
async fn other_cases(client: &Client, wanted: &TableName) -> Result<String> {
    let sql = "SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE lower(c.relname) = lower($1) AND c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema') \
               AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1 LIMIT 5";
    let name = wanted.name.as_str();
    let rows = client.query_typed(sql, &[(&name, Type::TEXT)]).await?;
    let names = rows.iter().map(|row| Columns::of(row).take::<String>()).collect::<std::result::Result<Vec<_>, _>>()?;
    Ok(if names.is_empty() {
        String::new()
    } else {
        format!(" (there is {}; upper and lower case count)", names.join(", "))
    })
}

async fn columns(client: &Client, table: i64) -> Result<Vec<Column>> {
    let sql = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), t.typname::text, \
               CASE WHEN t.typname IN ('varchar', 'bpchar') AND a.atttypmod > 4 THEN a.atttypmod::bigint - 4 END, \
               a.attnotnull, a.atthasdef OR a.attidentity <> '' \
               FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
               WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = client.query_typed(sql, &[(&table, Type::INT8)]).await?;
    let read = |row| {
        let mut columns = Columns::of(row);
        Ok(Column {
            name: columns.take()?,
            declared: columns.take()?,
            kind: columns.take()?,
            length: columns.take::<Option<i64>>()?.and_then(|length| usize::try_from(length).ok()),
            refuses_null: columns.take()?,
            has_default: columns.take()?,
        })
    };
    Ok(rows.iter().map(read).collect::<std::result::Result<Vec<_>, Error>>()?)
}

async fn index_names(client: &Client, table: i64) -> Result<Vec<String>> {
    let sql = "SELECT c.relname::text FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid \
               WHERE i.indrelid = $1::bigint::oid AND i.indisvalid";
    let rows = client.query_typed(sql, &[(&table, Type::INT8)]).await?;
    Ok(rows.iter().map(|row| Columns::of(row).take()).collect::<std::result::Result<Vec<_>, Error>>()?)
}

/// How the columns are written, if the table can hold verifications.
async fn fit(client: &Client, existing: &Existing, oid: i64, table: &TableName, columns: &[Column]) -> Result<Written> {
    let find = |name: &str| columns.iter().find(|column| column.name == name);
    for (key, name) in existing.columns.named() {
        if find(name.as_str()).is_none() {
            let known = columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
            return unfit(format!(
                "the table {table} has no column {}; it has {known}; write the one that is meant into store.existing.columns.{key} \
                 (upper and lower case count)",
                name.as_str()
            ));
        }
    }
    let id = existing.columns.id.as_str();
    let digits = usize::from(existing.destination_format == DestinationFormat::Digits);
    for (name, needed, why) in [
        (id, 35, "an id is vf_ and 32 digits"),
        (existing.columns.destination.as_str(), 16 - digits, "a number has up to 15 digits"),
        (existing.columns.purpose.as_str(), 5, "a purpose is a word"),
    ] {
        let Some(column) = find(name) else { continue };
        if !["text", "varchar"].contains(&column.kind.as_str()) {
            return unfit(format!(
                "the column {name} of {table} is {} and must be text or character varying; write another column into \
                 store.existing.columns, or change the application's model",
                column.declared
            ));
        }
        if let Some(length) = column.length.filter(|length| *length < needed) {
            return unfit(format!(
                "the column {name} of {table} holds {length} characters and {needed} are needed: {why}; make it longer in the \
                 application's model"
            ));
        }
    }
    if !is_unique(client, oid, id).await? {
        let index = format!("{}_{id}_unique", table.name.as_str());
        return unfit(format!(
            "the column {id} of {table} is not unique, so a verification could not be told from another; run: \
             CREATE UNIQUE INDEX \"{index}\" ON {table} (\"{id}\");"
        ));
    }
    let written = Written {
        verified: flag(table, find(existing.columns.verified.as_str()))?,
        created_at: instant(table, find(existing.columns.created_at.as_str()))?,
        expires_at: instant(table, find(existing.columns.expires_at.as_str()))?,
    };
    let named = existing.columns.named();
    let is_ours =
        |column: &Column| named.iter().any(|(_, name)| column.name == name.as_str()) || column.name.starts_with(PREFIX);
    let refuses = columns.iter().find(|column| column.refuses_null && !column.has_default && !is_ours(column));
    if let Some(Column { name, .. }) = refuses {
        return unfit(format!(
            "the column {name} of {table} takes no null and has no default, and there is nothing to write there (codes are not stored); \
             in a Django model give it null=True, then makemigrations and migrate; or run: \
             ALTER TABLE {table} ALTER COLUMN \"{name}\" DROP NOT NULL;"
        ));
    }
    may(client, oid, table).await?;
    Ok(written)
}

fn flag(table: &TableName, column: Option<&Column>) -> Result<FlagAs> {
    match column.map(|column| column.kind.as_str()) {
        Some("bool") => Ok(FlagAs::Boolean),
        Some("int2" | "int4" | "int8") => Ok(FlagAs::Number),
        _ => unfit(wrong_type(table, column, "boolean, or an integer (0 and 1)")),
    }
}

fn instant(table: &TableName, column: Option<&Column>) -> Result<TimeAs> {
    match column.map(|column| column.kind.as_str()) {
        Some("timestamptz") => Ok(TimeAs::Instant),
        Some("timestamp") => Ok(TimeAs::Utc),
        Some("int4" | "int8") => Ok(TimeAs::Seconds),
        _ => unfit(wrong_type(
            table,
            column,
            "timestamp with time zone, timestamp without time zone (UTC), or bigint or integer (seconds since 1970)",
        )),
    }
}

fn wrong_type(table: &TableName, column: Option<&Column>, needed: &str) -> String {
    let (name, declared) = column.map_or(("", ""), |column| (column.name.as_str(), column.declared.as_str()));
    format!("the column {name} of {table} is {declared} and must be {needed}; change it in the application's model")
}

/// Whether a column alone is the primary key, or under a unique index over all rows.
async fn is_unique(client: &Client, table: i64, column: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid \
               WHERE i.indrelid = $1::bigint::oid AND a.attname = $2 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL \
               AND i.indnkeyatts = 1 AND i.indkey[0] = a.attnum)";
    let parameters: [Parameter<'_>; 2] = [(&table, Type::INT8), (&column, Type::TEXT)];
    Ok(Columns::of(&client.query_typed_one(sql, &parameters).await?).take()?)
}

/// Whether we may do with rows what has to be done.
async fn may(client: &Client, oid: i64, table: &TableName) -> Result<()> {
    let sql = "SELECT current_user::text, has_table_privilege($1::bigint::oid, 'SELECT') AND has_table_privilege($1::bigint::oid, 'INSERT') \
               AND has_table_privilege($1::bigint::oid, 'UPDATE') AND has_table_privilege($1::bigint::oid, 'DELETE')";
    let row = client.query_typed_one(sql, &[(&oid, Type::INT8)]).await?;
    let mut columns = Columns::of(&row);
    let (user, may): (String, bool) = (columns.take()?, columns.take()?);
    if may {
        return Ok(());
    }
    unfit(format!(
        "the role {user} may not read and write {table}; as its owner run: GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {};",
        quoted(&user)
    ))
}
