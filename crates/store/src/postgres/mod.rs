//! PostgreSQL: one database, as many processes as wanted.
//!
//! Waiting decisions are run in batches, each in one transaction of three round trips (`transaction`), by a few writers with a
//! connection each; reads run beside them. What keeps processes apart are row locks and unique keys, nothing that a session would
//! have to keep: it works behind a pooler in transaction mode. Everything that talks to the server lives on a thread of the store's
//! own, so that a store outlives the runtime of who asks.

mod batch;
mod commit;
mod error;
mod health;
mod migrate;
mod one_row;
mod pool;
mod port;
mod queue;
mod read;
mod rows;
mod session;
mod sql;
mod target;
mod tls;
mod together;
mod transaction;
mod transfer;
mod webhook;
mod write;
mod writer;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::sender::BoxFuture;
use countersign::store::{StoreError, StoreResult};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio_postgres::Client;

use error::Error;
pub use migrate::{SCHEMA, migrations_sql};
use pool::Pool;
use queue::Waiting;
use sql::Sql;
pub use target::{BadTarget, SslVerify, Target};
use writer::Writer;

use crate::layout::Layout;

/// How long anybody who serves a request waits for an answer.
const ANSWER_WITHIN: Duration = Duration::from_millis(1_700);
/// How long a transaction of decisions may take before its connection is given up.
const BATCH_WITHIN: Duration = Duration::from_secs(10);
/// The same for work that nobody waits for.
const BACKGROUND_WITHIN: Duration = Duration::from_secs(60);

/// A store in one schema of a PostgreSQL database.
///
/// ```no_run
/// use std::sync::Arc;
/// use countersign::{RecordingSender, Verifier};
/// use countersign_store::postgres::{Options, PostgresStore, Target};
///
/// let target = Target::parse("postgresql://countersign:secret@db.example/otp?sslmode=verify-full")?;
/// let store = PostgresStore::open(target, Options::default())?;
/// let phone = Arc::new(RecordingSender::new("phone"));
/// let verifier = Verifier::builder().store(Arc::new(store)).sender(phone).build()?;
/// # drop(verifier);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PostgresStore {
    inner: Arc<Inner>,
    handle: Handle,
    /// Dropped, it ends the store's thread.
    stop: Mutex<Option<oneshot::Sender<()>>>,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

struct Inner {
    pool: Arc<Pool>,
    sql: Arc<Sql>,
    waiting: Arc<Waiting>,
    /// Up to when every verification that had expired was seen to be marked so.
    expired_through: Mutex<i64>,
    /// The counter at which the next cleanup begins.
    cleaned_through: Mutex<String>,
}

/// How a store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The schema that the tables are in: letters, digits and underscores.
    pub schema: String,
    /// Whether the schema is brought up to date; if not, one that is not up to date is refused.
    pub migrate: bool,
    /// Connections that write decisions.
    pub writers: usize,
    /// Connections, at most, for everything else.
    pub readers: usize,
    /// Decisions in one transaction, at most.
    pub batch: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { schema: "countersign".to_owned(), migrate: true, writers: 2, readers: 4, batch: 256 }
    }
}

/// Whether a schema may be called so.
#[must_use]
pub fn is_schema_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= 63
        && bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

impl PostgresStore {
    /// Connects, and brings the schema up to date or refuses it. Blocks until that is done.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the server cannot be reached; [`StoreError::Inconsistent`] if its schema is newer than this
    /// program can work with, or a certificate file cannot be read.
    pub fn open(target: Target, options: Options) -> StoreResult<Self> {
        Self::open_as(target, &Layout::Standalone, options)
    }

    /// The same in any layout. What supports the table of [`Layout::Existing`] is in our own schema.
    ///
    /// # Errors
    /// As [`PostgresStore::open`]; [`StoreError::Inconsistent`] also if the application's table cannot hold verifications, or lacks
    /// columns of ours and [`Options::migrate`] does not let us add them.
    pub fn open_as(target: Target, layout: &Layout, options: Options) -> StoreResult<Self> {
        must_be_schema_name(&options.schema)?;
        let pool = Arc::new(Pool::new(target, options.readers.max(1))?);
        let (opened, is_open) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let layout = layout.clone();
        std::thread::Builder::new()
            .name("countersign-postgres".to_owned())
            .spawn(move || {
                live(pool, &layout, &options, &opened, stopped);
                let _ = ending.send(());
            })
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let (handle, inner) =
            is_open.recv().unwrap_or_else(|_| Err(StoreError::Unavailable("the store's thread ended".to_owned())))?;
        Ok(Self { inner, handle, stop: Mutex::new(Some(stop)), ended: Mutex::new(Some(ended)) })
    }

    /// Runs something on the store's thread.
    fn spawn<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> BoxFuture<'static, StoreResult<T>> {
        let task = self.handle.spawn(work);
        Box::pin(async move {
            match task.await {
                Ok(result) => result.map_err(Error::into_store_error),
                Err(_) => Err(StoreError::Unavailable("the store is closed".to_owned())),
            }
        })
    }

    /// One statement or a few that may be done again if the connection was dead.
    fn ask<T, F>(
        &self,
        within: Duration,
        work: impl Fn(Arc<Client>, Arc<Sql>) -> F + Send + Sync + 'static,
    ) -> BoxFuture<'static, StoreResult<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.talk(true, within, work)
    }

    /// The same for what must not be done twice.
    fn tell<T, F>(
        &self,
        within: Duration,
        work: impl Fn(Arc<Client>, Arc<Sql>) -> F + Send + Sync + 'static,
    ) -> BoxFuture<'static, StoreResult<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        self.talk(false, within, work)
    }

    fn talk<T, F>(
        &self,
        again: bool,
        within: Duration,
        work: impl Fn(Arc<Client>, Arc<Sql>) -> F + Send + Sync + 'static,
    ) -> BoxFuture<'static, StoreResult<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Error>> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        self.spawn(async move { inner.pool.with(again, within, |client| work(client, Arc::clone(&inner.sql))).await })
    }
}

fn must_be_schema_name(name: &str) -> StoreResult<()> {
    if is_schema_name(name) {
        return Ok(());
    }
    Err(StoreError::Inconsistent("a schema's name is made of letters, digits and underscores".to_owned()))
}

/// The SQL that a layout needs, for those who want to read it or run it themselves: all of it in a schema of our own, and what a live
/// table of the application lacks. Blocks until that is known.
///
/// # Errors
/// [`StoreError`] if the application's database cannot be read, or its table cannot hold verifications.
pub fn schema_sql(target: Target, layout: &Layout, schema: &str) -> StoreResult<String> {
    must_be_schema_name(schema)?;
    let Layout::Existing(existing) = layout else { return Ok(migrate::sql_since(schema, layout, 0)) };
    let (schema, existing) = (schema.to_owned(), existing.clone());
    // Whoever asks may be on a runtime of their own.
    let reading = std::thread::spawn(move || {
        let pool = Pool::new(target, 1)?;
        let runtime = runtime()?;
        runtime.block_on(async {
            let client = pool.connect().await.map_err(Error::into_store_error)?;
            one_row::schema::existing_sql(&client, &schema, &existing).await
        })
    });
    reading.join().unwrap_or_else(|_| Err(StoreError::Unavailable("the database could not be read".to_owned())))
}

fn runtime() -> StoreResult<tokio::runtime::Runtime> {
    let made = tokio::runtime::Builder::new_current_thread().enable_all().build();
    made.map_err(|error| StoreError::Unavailable(error.to_string()))
}

/// Brings the database up to date or refuses it; what is asked there.
async fn prepare(pool: &Pool, layout: &Layout, options: &Options) -> StoreResult<Sql> {
    let (schema, may_write) = (options.schema.as_str(), options.migrate);
    let client = pool.connect().await.map_err(Error::into_store_error)?;
    let one_row = match layout {
        Layout::Existing(existing) => Some(one_row::schema::open_existing(&client, schema, existing, may_write).await?),
        Layout::Standalone | Layout::Minimal => {
            migrate::migrate(&client, schema, layout, may_write).await?;
            if *layout == Layout::Minimal { Some(one_row::schema::minimal(schema)?) } else { None }
        }
    };
    pool.put_back(client);
    Ok(Sql::new(schema, one_row))
}

type Opened = StoreResult<(Handle, Arc<Inner>)>;

/// The store's thread: connects, migrates, then runs whatever is asked until it is told to stop.
fn live(
    pool: Arc<Pool>,
    layout: &Layout,
    options: &Options,
    opened: &std::sync::mpsc::SyncSender<Opened>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(error) => return drop(opened.send(Err(error))),
    };
    runtime.block_on(async {
        let sql = match prepare(&pool, layout, options).await {
            Ok(sql) => sql,
            Err(error) => return drop(opened.send(Err(error))),
        };
        let inner = Arc::new(Inner {
            pool,
            sql: Arc::new(sql),
            waiting: Arc::default(),
            expired_through: Mutex::new(i64::MIN),
            cleaned_through: Mutex::default(),
        });
        let writers: Vec<_> = (0..options.writers.max(1))
            .map(|_| {
                let writer = Writer {
                    waiting: Arc::clone(&inner.waiting),
                    pool: Arc::clone(&inner.pool),
                    sql: Arc::clone(&inner.sql),
                    batch: options.batch.max(1),
                    within: BATCH_WITHIN,
                };
                tokio::spawn(writer.work())
            })
            .collect();
        let watch = tokio::spawn(Arc::clone(&inner.pool).watch());
        let clock = Arc::clone(&inner.waiting).watch(Arc::clone(&inner.pool), ANSWER_WITHIN);
        let clock = tokio::spawn(clock);
        let _ = opened.send(Ok((Handle::current(), Arc::clone(&inner))));
        let _ = stopped.await;
        inner.waiting.close();
        for writer in writers {
            let _ = writer.await;
        }
        watch.abort();
        clock.abort();
        inner.pool.close();
    });
}
