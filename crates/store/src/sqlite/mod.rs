//! SQLite: one file, no server.
//!
//! One thread writes. It takes every decision that waits, runs them in one transaction and makes them durable with one fsync
//! (`journal_mode=WAL`, `synchronous=FULL`), and only then are they answered. Reads run beside it. A second process on the same
//! file is safe: transactions begin `IMMEDIATE`, so the two take turns.

mod backup;
mod connection;
mod health;
mod migrate;
mod one_row;
mod place;
mod read;
mod rows;
mod session;
mod transfer;
mod webhook;
mod write;
mod writer;

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign::core::event::Event;
use countersign::core::health::HealthRow;
use countersign::core::id::{ApplicationName, DeliveryId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::sender::BoxFuture;
use countersign::store::{
    AnswerKey, ApplicationRecord, Claimed, Cleaned, Job, KeptAnswer, KeyRecord, ListFilter, NewAnswer, Page, Record,
    RecordFilter, RecordName, RecordPage, Store, StoreError, StoreResult, WithDeliveries,
};
use countersign::transfer::{Dumped, Loaded, Row, RowKind};
use countersign::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};
use rusqlite::OpenFlags;
use rusqlite::config::DbConfig;

pub use backup::back_up;
use connection::Connection;
pub use migrate::{SCHEMA, migrations_sql, schema_sql, schema_version};
use one_row::OneRow;
use place::Place;
use session::Session;
use writer::Writer;

use crate::layout::Layout;

/// The SQLite that is linked must not have the WAL-reset bug (fixed in 3.51.3): it loses committed writes in just our shape.
const OLDEST_SQLITE: i32 = 3_051_003;

/// A store in one SQLite file.
///
/// ```
/// use std::sync::Arc;
/// use countersign::{RecordingSender, Verifier};
/// use countersign_store::sqlite::{Options, SqliteStore};
///
/// # let folder = std::env::temp_dir().join(format!("countersign-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// let store = SqliteStore::open(&folder.join("countersign.db"), Options::default())?;
/// let phone = Arc::new(RecordingSender::new("phone"));
/// let verifier = Verifier::builder().store(Arc::new(store)).sender(phone).build()?;
/// # drop(verifier);
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct SqliteStore {
    writer: Writer,
    readers: Arc<Readers>,
    /// Up to when every verification that had expired was seen to be marked so.
    expired_through: Mutex<i64>,
    /// The counter at which the next cleanup begins.
    cleaned_through: Mutex<String>,
    /// How one-row tables are read and written; `None` in the standalone layout.
    one_row: Option<Arc<OneRow>>,
}

/// Connections that only read; one is made when all are in use.
struct Readers {
    place: Place,
    /// Whether our tables have a prefix there.
    prefix: bool,
    idle: Mutex<Vec<Connection>>,
}

/// How a store file is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whether the schema is brought up to date; if not, a file that is not up to date is refused.
    pub migrate: bool,
    /// How long to wait for another process that is writing.
    pub busy: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { migrate: true, busy: Duration::from_secs(5) }
    }
}

impl SqliteStore {
    /// Opens a store file, and makes it if it is not there (readable by its owner alone).
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the file cannot be opened or is being written to by somebody else for too long;
    /// [`StoreError::Inconsistent`] if it is not ours, or its schema is newer than this program knows.
    pub fn open(path: &Path, options: Options) -> StoreResult<Self> {
        Self::open_as(path, &Layout::Standalone, options)
    }

    /// The same in any layout. The file of [`Layout::Existing`] is the application's: it must be there, and keeps its journal mode.
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; [`StoreError::Inconsistent`] also if the application's table cannot hold verifications, or lacks
    /// columns of ours and [`Options::migrate`] does not let us add them.
    pub fn open_as(path: &Path, layout: &Layout, options: Options) -> StoreResult<Self> {
        if rusqlite::version_number() < OLDEST_SQLITE {
            return Err(StoreError::Inconsistent(
                "linked with an SQLite that can lose committed writes; 3.51.3 or later is needed".into(),
            ));
        }
        let theirs = matches!(layout, Layout::Existing(_));
        if theirs {
            one_row::schema::must_be_there(path).map_err(|refused| refused.at(path))?;
        } else {
            make_private(path)?;
        }
        let mut connection = rusqlite::Connection::open(path).map_err(|error| broken_at(path, &error))?;
        prepare(&connection, options.busy, !theirs).map_err(|error| broken_at(path, &error))?;
        let one_row = match layout {
            Layout::Standalone => migrate::migrate(&mut connection, options.migrate).map(|()| None),
            Layout::Minimal => one_row::schema::open_minimal(&mut connection, options.migrate).map(Some),
            Layout::Existing(existing) => {
                one_row::schema::open_existing(&mut connection, existing, options.migrate).map(Some)
            }
        };
        let one_row = one_row.map_err(|refused| refused.at(path))?.map(Arc::new);
        let place = Place::of(path);
        let idle = Mutex::new(Vec::new());
        let readers = Arc::new(Readers { place: place.clone(), prefix: theirs, idle });
        Ok(Self {
            writer: Writer::start(Connection::new(connection, theirs), place)?,
            readers,
            expired_through: Mutex::new(i64::MIN),
            cleaned_through: Mutex::default(),
            one_row,
        })
    }

    /// Runs a read of verifications, as this layout keeps them.
    async fn read_rows<T: Send + 'static>(
        &self,
        standalone: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
        one_row: impl FnOnce(&OneRow, &Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        match self.one_row.clone() {
            None => self.read(standalone).await,
            Some(one) => self.read(move |connection| one_row(&one, connection)).await,
        }
    }

    /// Runs a read beside the writer, off the async threads.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.writer.check()?;
        let readers = Arc::clone(&self.readers);
        let read = move || {
            let connection = readers.take()?;
            let result = work(&connection).map_err(|error| unavailable(&error));
            readers.put_back(connection);
            result
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }

    /// Runs a write among the decisions, in their transaction. It may run again if a neighbour failed.
    async fn write<T: Send + 'static>(
        &self,
        mut work: impl FnMut(&mut Session<'_>) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        let slot = Arc::new(Mutex::new(None));
        let result = Arc::clone(&slot);
        self.writer
            .run(Box::new(move |session| {
                let value = work(session)?;
                *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
                Ok(())
            }))
            .await?;
        let value = slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        value.ok_or_else(|| StoreError::Inconsistent("a write was never run".to_owned()))
    }
}

impl Readers {
    fn take(&self) -> StoreResult<Connection> {
        if !self.place.is_there() {
            return Err(self.place.gone());
        }
        if let Some(connection) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            rusqlite::Connection::open_with_flags(self.place.path(), flags).map_err(|error| unavailable(&error))?;
        let connection = Connection::new(connection, self.prefix);
        connection.busy_timeout(Duration::from_secs(2)).map_err(|error| unavailable(&error))?;
        connection.pragma_update(None, "query_only", true).map_err(|error| unavailable(&error))?;
        Ok(connection)
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < 4 {
            idle.push(connection);
        }
    }
}

/// The file holds destinations: a new one is its owner's alone. SQLite gives its companions (`-wal`, `-shm`) the same mode.
fn make_private(path: &Path) -> StoreResult<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(StoreError::Unavailable(format!("{}: {error}", path.display()))),
    }
}

fn prepare(connection: &rusqlite::Connection, busy: Duration, ours: bool) -> rusqlite::Result<()> {
    connection.busy_timeout(busy)?;
    if ours {
        connection.pragma_update(None, "journal_mode", "wal")?;
    }
    connection.pragma_update(None, "synchronous", "full")?;
    // 16 MiB of log between checkpoints: pages that are written often are copied back once.
    connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
    // 16 MiB of pages. More costs more than it saves: whenever a tree is balanced out of order, SQLite lends a page a number beyond the
    // file's end, and the commit then walks the whole cache for pages beyond that end (10 % of all time with 64 MiB). What is not
    // here is read from the kernel's cache.
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.set_prepared_statement_cache_capacity(64);
    // Without this, statements are planned anew for every value bound: the bundled SQLite has STAT4 (measured: 40 % of the writer's time).
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

pub(crate) fn unavailable(error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

fn broken_at(path: &Path, error: &rusqlite::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}

impl Store for SqliteStore {
    fn run(&self, mut job: Box<dyn Job>) -> BoxFuture<'_, StoreResult<()>> {
        let one_row = self.one_row.clone();
        Box::pin(self.writer.run(Box::new(move |session| match &one_row {
            None => write::run(session, &mut *job),
            Some(one) => one_row::run(one, session, &mut *job),
        })))
    }

    fn verification<'a>(
        &'a self,
        application: &'a ApplicationName,
        id: VerificationId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>> {
        let (application, same) = (application.clone(), application.clone());
        Box::pin(self.read_rows(
            move |connection| read::verification(connection, &application, id),
            move |one, connection| one_row::verification(one, connection, &same, id),
        ))
    }

    fn verification_of<'a>(
        &'a self,
        application: &'a ApplicationName,
        delivery: DeliveryId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>> {
        let (application, same) = (application.clone(), application.clone());
        Box::pin(self.read_rows(
            move |connection| read::verification_of(connection, &application, delivery),
            move |one, connection| one_row::verification_of(one, connection, &same, delivery),
        ))
    }

    fn verifications<'a>(&'a self, ids: &'a [VerificationId]) -> BoxFuture<'a, StoreResult<Vec<WithDeliveries>>> {
        let (ids, same) = (ids.to_vec(), ids.to_vec());
        Box::pin(self.read_rows(
            move |connection| read::verifications(connection, &ids),
            move |one, connection| one_row::verifications(one, connection, &same),
        ))
    }

    fn list<'a>(&'a self, filter: &'a ListFilter) -> BoxFuture<'a, StoreResult<Page>> {
        let (filter, same) = (filter.clone(), filter.clone());
        Box::pin(self.read_rows(
            move |connection| read::list(connection, &filter),
            move |one, connection| one_row::list(one, connection, &same),
        ))
    }

    fn claim(&self, now: Timestamp, lease: Duration, most: usize) -> BoxFuture<'_, StoreResult<Vec<Claimed>>> {
        Box::pin(async move {
            // Almost always nothing is overdue: a read finds that out without a transaction.
            let has_due = self.read_rows(
                move |connection| read::has_overdue_delivery(connection, now),
                move |one, connection| one_row::has_due(one, connection, now),
            );
            if !has_due.await? {
                return Ok(Vec::new());
            }
            let one_row = self.one_row.clone();
            self.write(move |session| match &one_row {
                None => write::claim(session, now, lease, most),
                Some(one) => one_row::claim(one, session.connection(), now, lease, most),
            })
            .await
        })
    }

    fn overdue(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        Box::pin(async move {
            if let Some(one) = self.one_row.clone() {
                return self.read(move |connection| one_row::overdue(&one, connection, now, most)).await;
            }
            let after = *self.expired_through.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = self.read(move |connection| read::overdue(connection, after, now, most)).await?;
            // What was found is looked for again next time, in case it could not be marked.
            let through = rows.first().map_or(now.as_millis(), |(expires_at, ..)| expires_at - 1);
            *self.expired_through.lock().unwrap_or_else(PoisonError::into_inner) = through;
            Ok(rows.into_iter().map(|(_, application, id)| (application, id)).collect())
        })
    }

    fn to_follow_up(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        Box::pin(self.read_rows(
            move |connection| read::to_follow_up(connection, now, most),
            move |one, connection| one_row::to_follow_up(one, connection, now, most),
        ))
    }

    fn cleanup(
        &self,
        before: Timestamp,
        now: Timestamp,
        most: usize,
        dry_run: bool,
    ) -> BoxFuture<'_, StoreResult<Cleaned>> {
        Box::pin(async move {
            if dry_run {
                return self
                    .read_rows(
                        move |connection| read::count_old(connection, before, now),
                        move |one, connection| one_row::count_old(one, connection, before, now),
                    )
                    .await;
            }
            let one_row = self.one_row.clone();
            let after = self.cleaned_through.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let work = self.write(move |session| match &one_row {
                None => write::cleanup(session, before, now, most, &after),
                Some(one) => one_row::cleanup(one, session.connection(), before, now, most, &after),
            });
            let (cleaned, next) = work.await?;
            *self.cleaned_through.lock().unwrap_or_else(PoisonError::into_inner) = next;
            Ok(cleaned)
        })
    }

    fn events(&self, after: u64, most: usize) -> BoxFuture<'_, StoreResult<Vec<(u64, Event)>>> {
        Box::pin(self.read_rows(
            move |connection| read::events(connection, after, most),
            move |one, connection| {
                if one.has_events() { read::events(connection, after, most) } else { Ok(Vec::new()) }
            },
        ))
    }

    fn webhook_position(&self, wanted: bool) -> BoxFuture<'_, StoreResult<Option<u64>>> {
        Box::pin(self.write(move |session| webhook::position(session.connection(), wanted)))
    }

    fn take_up_events<'a>(
        &'a self,
        from: u64,
        through: u64,
        messages: &'a [WebhookMessage],
    ) -> BoxFuture<'a, StoreResult<Option<u64>>> {
        let messages = messages.to_vec();
        Box::pin(self.write(move |session| webhook::take_up(session.connection(), from, through, &messages)))
    }

    fn claim_webhooks<'a>(
        &'a self,
        endpoint: &'a str,
        now: Timestamp,
        lease: Duration,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<WebhookMessage>>> {
        let endpoint = endpoint.to_owned();
        Box::pin(async move {
            let asked = endpoint.clone();
            if !self.read(move |connection| webhook::is_due(connection, &asked, now)).await? {
                return Ok(Vec::new());
            }
            self.write(move |session| webhook::claim(session.connection(), &endpoint, now, lease, most)).await
        })
    }

    fn settle_webhook<'a>(
        &'a self,
        message: &'a WebhookMessage,
        outcome: &'a WebhookOutcome,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let (message, outcome) = (message.clone(), outcome.clone());
        Box::pin(self.write(move |session| webhook::settle(session.connection(), &message, &outcome, now)))
    }

    fn requeue_webhooks<'a>(
        &'a self,
        endpoints: &'a [String],
        which: &'a Requeue,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        let (endpoints, which) = (endpoints.to_vec(), which.clone());
        Box::pin(self.write(move |session| webhook::requeue(session.connection(), &endpoints, &which, now)))
    }

    fn webhook_endpoints(&self) -> BoxFuture<'_, StoreResult<Vec<WebhookEndpoint>>> {
        Box::pin(self.read(webhook::endpoints))
    }

    fn health_position(&self) -> BoxFuture<'_, StoreResult<Option<u64>>> {
        Box::pin(self.read_rows(|connection| health::position(connection).map(Some), |_, _| Ok(None)))
    }

    fn take_up_health<'a>(
        &'a self,
        from: u64,
        through: u64,
        rows: &'a [HealthRow],
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let (rows, kept) = (rows.to_vec(), self.one_row.is_none());
        Box::pin(self.write(move |session| Ok(kept && health::take_up(session.connection(), from, through, &rows)?)))
    }

    fn health(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<HealthRow>>> {
        Box::pin(self.read_rows(move |connection| health::since(connection, since), |_, _| Ok(Vec::new())))
    }

    fn begin_answer<'a>(&'a self, key: &'a AnswerKey, fresh: NewAnswer) -> BoxFuture<'a, StoreResult<KeptAnswer>> {
        let key = key.clone();
        Box::pin(self.write(move |session| write::begin_answer(session.connection(), &key, &fresh)))
    }

    fn keep_answer<'a>(&'a self, key: &'a AnswerKey, answer: Vec<u8>) -> BoxFuture<'a, StoreResult<()>> {
        let key = key.clone();
        Box::pin(self.write(move |session| write::keep_answer(session.connection(), &key, &answer)))
    }

    fn release_answer<'a>(&'a self, key: &'a AnswerKey) -> BoxFuture<'a, StoreResult<()>> {
        let key = key.clone();
        Box::pin(self.write(move |session| write::release_answer(session.connection(), &key)))
    }

    fn create_application<'a>(&'a self, application: &'a ApplicationRecord) -> BoxFuture<'a, StoreResult<bool>> {
        let application = application.clone();
        Box::pin(self.write(move |session| write::create_application(session.connection(), &application)))
    }

    fn applications(&self) -> BoxFuture<'_, StoreResult<Vec<ApplicationRecord>>> {
        Box::pin(self.read(read::applications))
    }

    fn create_key<'a>(&'a self, key: &'a KeyRecord) -> BoxFuture<'a, StoreResult<()>> {
        let key = key.clone();
        Box::pin(self.write(move |session| write::create_key(session.connection(), &key)))
    }

    fn keys<'a>(&'a self, application: &'a ApplicationName) -> BoxFuture<'a, StoreResult<Vec<KeyRecord>>> {
        let application = application.clone();
        Box::pin(self.read(move |connection| read::keys(connection, &application)))
    }

    fn key_by_digest(&self, digest: [u8; 32]) -> BoxFuture<'_, StoreResult<Option<KeyRecord>>> {
        Box::pin(self.read(move |connection| read::key_by_digest(connection, digest)))
    }

    fn revoke_key<'a>(&'a self, id: &'a str, now: Timestamp) -> BoxFuture<'a, StoreResult<bool>> {
        let id = id.to_owned();
        Box::pin(self.write(move |session| write::revoke_key(session.connection(), &id, now)))
    }

    fn create_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>> {
        let record = record.clone();
        Box::pin(self.write(move |session| write::create_record(session.connection(), &record)))
    }

    fn update_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>> {
        let record = record.clone();
        Box::pin(self.write(move |session| write::update_record(session.connection(), &record)))
    }

    fn record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<Option<Record>>> {
        let name = name.clone();
        Box::pin(self.read(move |connection| read::record(connection, &name)))
    }

    fn records<'a>(&'a self, filter: &'a RecordFilter) -> BoxFuture<'a, StoreResult<RecordPage>> {
        let filter = filter.clone();
        Box::pin(self.read(move |connection| read::records(connection, &filter)))
    }

    fn delete_record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<bool>> {
        let name = name.clone();
        Box::pin(self.write(move |session| write::delete_record(session.connection(), &name)))
    }

    fn dump<'a>(
        &'a self,
        kind: RowKind,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Dumped>>> {
        let (after, one_row) = (after.map(str::to_owned), self.one_row.clone());
        Box::pin(
            self.read(move |connection| transfer::dump(one_row.as_deref(), connection, kind, after.as_deref(), most)),
        )
    }

    fn load(&self, rows: Vec<Row>) -> BoxFuture<'_, StoreResult<Vec<Loaded>>> {
        let one_row = self.one_row.clone();
        Box::pin(
            self.write(move |session| {
                rows.iter().map(|row| transfer::load(one_row.as_deref(), session, row)).collect()
            }),
        )
    }

    fn ping(&self) -> BoxFuture<'_, StoreResult<()>> {
        // In the writer's turn, though it writes nothing: a file that can only be read takes no decision.
        Box::pin(self.write(|session| session.connection().query_row("SELECT one FROM decoy", [], |_| Ok(()))))
    }

    fn close(&self) -> BoxFuture<'_, StoreResult<()>> {
        Box::pin(async move {
            self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            self.writer.close().await
        })
    }
}
