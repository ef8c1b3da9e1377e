//! PostgreSQL: one database, as many processes as wanted.
//!
//! Waiting decisions are run in batches, each in one transaction of three round trips (`transaction`), by a few writers with a
//! connection each; reads run beside them. What keeps processes apart are row locks and unique keys, nothing that a session would
//! have to keep: it works behind a pooler in transaction mode. Everything that talks to the server lives on a thread of the store's
//! own, so that a store outlives the runtime of who asks.

mod batch;
mod error;
mod migrate;
mod pool;
mod queue;
mod read;
mod rows;
mod session;
mod sql;
mod target;
mod tls;
mod transaction;
mod transfer;
mod write;
mod writer;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign::core::event::Event;
use countersign::core::id::{ApplicationName, DeliveryId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::sender::BoxFuture;
use countersign::store::{
    AnswerKey, ApplicationRecord, Claimed, Cleaned, Job, KeptAnswer, KeyRecord, ListFilter, NewAnswer, Page, Record,
    RecordFilter, RecordName, RecordPage, Store, StoreError, StoreResult, WithDeliveries,
};
use countersign::transfer::{Dumped, Loaded, Row, RowKind};
use countersign::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};
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
        if !is_schema_name(&options.schema) {
            return Err(StoreError::Inconsistent(
                "a schema's name is made of letters, digits and underscores".to_owned(),
            ));
        }
        let pool = Arc::new(Pool::new(target, options.readers.max(1))?);
        let inner = Arc::new(Inner {
            pool,
            sql: Arc::new(Sql::new(&options.schema)),
            waiting: Arc::default(),
            expired_through: Mutex::new(i64::MIN),
            cleaned_through: Mutex::default(),
        });
        let (opened, is_open) = std::sync::mpsc::sync_channel(1);
        let (stop, stopped) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let sees = Arc::clone(&inner);
        std::thread::Builder::new()
            .name("countersign-postgres".to_owned())
            .spawn(move || {
                live(&sees, &options, &opened, stopped);
                let _ = ending.send(());
            })
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        let handle =
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

/// The store's thread: connects, migrates, then runs whatever is asked until it is told to stop.
fn live(
    inner: &Arc<Inner>,
    options: &Options,
    opened: &std::sync::mpsc::SyncSender<StoreResult<Handle>>,
    stopped: oneshot::Receiver<()>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(opened.send(Err(StoreError::Unavailable(error.to_string())))),
    };
    runtime.block_on(async {
        let migrated = async {
            let client = inner.pool.connect().await.map_err(Error::into_store_error)?;
            migrate::migrate(&client, &options.schema, options.migrate).await?;
            inner.pool.put_back(client);
            Ok(())
        };
        if let Err(error) = migrated.await {
            return drop(opened.send(Err(error)));
        }
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
        let _ = opened.send(Ok(Handle::current()));
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

fn no_webhooks() -> StoreError {
    StoreError::Inconsistent("webhooks are not sent from PostgreSQL yet".to_owned())
}

impl Store for PostgresStore {
    fn run(&self, job: Box<dyn Job>) -> BoxFuture<'_, StoreResult<()>> {
        let queued = match self.inner.pool.check() {
            Ok(()) => self.inner.waiting.add(job, ANSWER_WITHIN),
            Err(error) => Err(error.into_store_error()),
        };
        Box::pin(async move {
            queued?.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the store is closed".to_owned())))
        })
    }

    fn verification<'a>(
        &'a self,
        application: &'a ApplicationName,
        id: VerificationId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>> {
        let application = application.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let application = application.clone();
            async move { read::verification(&client, &sql, &application, id).await }
        })
    }

    fn verification_of<'a>(
        &'a self,
        application: &'a ApplicationName,
        delivery: DeliveryId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>> {
        let application = application.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let application = application.clone();
            async move { read::verification_of(&client, &sql, &application, delivery).await }
        })
    }

    fn list<'a>(&'a self, filter: &'a ListFilter) -> BoxFuture<'a, StoreResult<Page>> {
        let filter = filter.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let filter = filter.clone();
            async move { read::list(&client, &sql, &filter).await }
        })
    }

    fn claim(&self, now: Timestamp, lease: Duration, most: usize) -> BoxFuture<'_, StoreResult<Vec<Claimed>>> {
        self.tell(ANSWER_WITHIN, move |client, sql| async move {
            // Almost always nothing is overdue: a read finds that out without a write.
            if !read::has_overdue_delivery(&client, &sql, now).await? {
                return Ok(Vec::new());
            }
            write::claim(&client, &sql, now, lease, most).await
        })
    }

    fn overdue(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        Box::pin(async move {
            let after = *self.inner.expired_through.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = self
                .ask(BACKGROUND_WITHIN, move |client, sql| async move {
                    read::overdue(&client, &sql, after, now, most).await
                })
                .await?;
            // What was found is looked for again next time, in case it could not be marked.
            let through = rows.first().map_or(now.as_millis(), |(expires_at, ..)| expires_at - 1);
            *self.inner.expired_through.lock().unwrap_or_else(PoisonError::into_inner) = through;
            Ok(rows.into_iter().map(|(_, application, id)| (application, id)).collect())
        })
    }

    fn to_follow_up(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        self.ask(
            BACKGROUND_WITHIN,
            move |client, sql| async move { read::to_follow_up(&client, &sql, now, most).await },
        )
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
                    .ask(BACKGROUND_WITHIN, move |client, sql| async move {
                        read::count_old(&client, &sql, before, now).await
                    })
                    .await;
            }
            let after = self.inner.cleaned_through.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let (cleaned, next) = self
                .ask(BACKGROUND_WITHIN, move |client, sql| {
                    let after = after.clone();
                    async move { write::cleanup(&client, &sql, before, now, most, &after).await }
                })
                .await?;
            *self.inner.cleaned_through.lock().unwrap_or_else(PoisonError::into_inner) = next;
            Ok(cleaned)
        })
    }

    fn events(&self, after: u64, most: usize) -> BoxFuture<'_, StoreResult<Vec<(u64, Event)>>> {
        self.ask(ANSWER_WITHIN, move |client, sql| async move { read::events(&client, &sql, after, most).await })
    }

    fn begin_answer<'a>(&'a self, key: &'a AnswerKey, fresh: NewAnswer) -> BoxFuture<'a, StoreResult<KeptAnswer>> {
        let key = key.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let (key, fresh) = (key.clone(), fresh.clone());
            async move { write::begin_answer(&client, &sql, &key, &fresh).await }
        })
    }

    fn keep_answer<'a>(&'a self, key: &'a AnswerKey, answer: Vec<u8>) -> BoxFuture<'a, StoreResult<()>> {
        let key = key.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let (key, answer) = (key.clone(), answer.clone());
            async move { write::keep_answer(&client, &sql, &key, &answer).await }
        })
    }

    fn release_answer<'a>(&'a self, key: &'a AnswerKey) -> BoxFuture<'a, StoreResult<()>> {
        let key = key.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let key = key.clone();
            async move { write::release_answer(&client, &sql, &key).await }
        })
    }

    fn create_application<'a>(&'a self, application: &'a ApplicationRecord) -> BoxFuture<'a, StoreResult<bool>> {
        let application = application.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let application = application.clone();
            async move { write::create_application(&client, &sql, &application).await }
        })
    }

    fn applications(&self) -> BoxFuture<'_, StoreResult<Vec<ApplicationRecord>>> {
        self.ask(ANSWER_WITHIN, move |client, sql| async move { read::applications(&client, &sql).await })
    }

    fn create_key<'a>(&'a self, key: &'a KeyRecord) -> BoxFuture<'a, StoreResult<()>> {
        let key = key.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let key = key.clone();
            async move { write::create_key(&client, &sql, &key).await }
        })
    }

    fn keys<'a>(&'a self, application: &'a ApplicationName) -> BoxFuture<'a, StoreResult<Vec<KeyRecord>>> {
        let application = application.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let application = application.clone();
            async move { read::keys(&client, &sql, &application).await }
        })
    }

    fn key_by_digest(&self, digest: [u8; 32]) -> BoxFuture<'_, StoreResult<Option<KeyRecord>>> {
        self.ask(ANSWER_WITHIN, move |client, sql| async move { read::key_by_digest(&client, &sql, digest).await })
    }

    fn revoke_key<'a>(&'a self, id: &'a str, now: Timestamp) -> BoxFuture<'a, StoreResult<bool>> {
        let id = id.to_owned();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let id = id.clone();
            async move { write::revoke_key(&client, &sql, &id, now).await }
        })
    }

    fn create_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>> {
        let record = record.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let record = record.clone();
            async move { write::create_record(&client, &sql, &record).await }
        })
    }

    fn update_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>> {
        let record = record.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let record = record.clone();
            async move { write::update_record(&client, &sql, &record).await }
        })
    }

    fn record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<Option<Record>>> {
        let name = name.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let name = name.clone();
            async move { read::record(&client, &sql, &name).await }
        })
    }

    fn records<'a>(&'a self, filter: &'a RecordFilter) -> BoxFuture<'a, StoreResult<RecordPage>> {
        let filter = filter.clone();
        self.ask(ANSWER_WITHIN, move |client, sql| {
            let filter = filter.clone();
            async move { read::records(&client, &sql, &filter).await }
        })
    }

    fn delete_record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<bool>> {
        let name = name.clone();
        self.tell(ANSWER_WITHIN, move |client, sql| {
            let name = name.clone();
            async move { write::delete_record(&client, &sql, &name).await }
        })
    }

    fn dump<'a>(
        &'a self,
        kind: RowKind,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Dumped>>> {
        let after = after.map(str::to_owned);
        self.ask(BACKGROUND_WITHIN, move |client, sql| {
            let after = after.clone();
            async move { transfer::dump(&client, &sql, kind, after.as_deref(), most).await }
        })
    }

    fn load(&self, rows: Vec<Row>) -> BoxFuture<'_, StoreResult<Vec<Loaded>>> {
        let rows: Arc<[Row]> = rows.into();
        Box::pin(async move {
            let loaded = self
                .tell(BACKGROUND_WITHIN, move |client, sql| {
                    let rows = Arc::clone(&rows);
                    async move { transfer::load(&client, &sql, &rows).await }
                })
                .await?;
            // What was moved here may have expired long ago.
            *self.inner.expired_through.lock().unwrap_or_else(PoisonError::into_inner) = i64::MIN;
            Ok(loaded)
        })
    }

    fn webhook_position(&self, wanted: bool) -> BoxFuture<'_, StoreResult<Option<u64>>> {
        Box::pin(async move { if wanted { Err(no_webhooks()) } else { Ok(None) } })
    }

    fn take_up_events<'a>(
        &'a self,
        _: u64,
        _: u64,
        _: &'a [WebhookMessage],
    ) -> BoxFuture<'a, StoreResult<Option<u64>>> {
        Box::pin(async { Err(no_webhooks()) })
    }

    fn claim_webhooks<'a>(
        &'a self,
        _: &'a str,
        _: Timestamp,
        _: Duration,
        _: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<WebhookMessage>>> {
        Box::pin(async { Err(no_webhooks()) })
    }

    fn settle_webhook<'a>(
        &'a self,
        _: &'a WebhookMessage,
        _: &'a WebhookOutcome,
        _: Timestamp,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        Box::pin(async { Err(no_webhooks()) })
    }

    fn requeue_webhooks<'a>(
        &'a self,
        _: &'a [String],
        _: &'a Requeue,
        _: Timestamp,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        Box::pin(async { Err(no_webhooks()) })
    }

    fn webhook_endpoints(&self) -> BoxFuture<'_, StoreResult<Vec<WebhookEndpoint>>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn ping(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.ask(Duration::from_millis(900), move |client, _| async move { read::ping(&client).await })
    }

    fn close(&self) -> BoxFuture<'_, StoreResult<()>> {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(stop);
        Box::pin(async move {
            let Some(ended) = ended else { return Ok(()) };
            match ended.await {
                Ok(()) => Ok(()),
                Err(_) => Err(StoreError::Unavailable("the store's thread did not end cleanly".to_owned())),
            }
        })
    }
}
