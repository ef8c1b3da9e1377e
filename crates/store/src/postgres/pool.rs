//! Connections: made when needed, kept while they are good, and nobody waits for a server that is known to be away.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign::store::StoreResult;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, timeout};
use tokio_postgres::Client;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{Error, words};
use super::target::Target;
use super::tls;

/// How long a server may take to let us in.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// How often one that is away is tried again.
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Makes connections, and keeps idle ones for reading. Writers keep theirs.
pub(super) struct Pool {
    target: Target,
    tls: MakeRustlsConnect,
    idle: Mutex<Vec<Arc<Client>>>,
    most: usize,
    permits: Semaphore,
    /// The last attempt to connect failed, or an answer was so late that it was looked after, in vain.
    away: AtomicBool,
    /// A pooler gives our transactions now this session, now that one.
    shared: AtomicBool,
    /// Somebody wants to know whether the server is there.
    doubted: Notify,
}

impl Pool {
    pub(super) fn new(target: Target, most: usize) -> StoreResult<Self> {
        Ok(Self {
            tls: tls::connector(&target)?,
            target,
            idle: Mutex::default(),
            most,
            permits: Semaphore::new(most),
            away: AtomicBool::new(false),
            shared: AtomicBool::new(false),
            doubted: Notify::new(),
        })
    }

    /// Fails at once while the server is known to be away.
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.away.load(Ordering::Acquire) {
            return Err(Error::Cut(format!("no PostgreSQL server can be reached at {}", self.target)));
        }
        Ok(())
    }

    /// Whether sessions are of no use for keeping anything.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Acquire)
    }

    pub(super) fn is_shared_from_now_on(&self) {
        if !self.shared.swap(true, Ordering::AcqRel) {
            tracing::info!(server = %self.target, "sessions are shared by a pooler: statements are sent whole");
        }
    }

    /// A new connection to a server that takes writes.
    pub(super) async fn connect(&self) -> Result<Arc<Client>, Error> {
        let connected = self.try_connect().await;
        if connected.is_err() {
            self.is_away(true);
            self.doubt();
        }
        connected
    }

    async fn try_connect(&self) -> Result<Arc<Client>, Error> {
        let began = Instant::now();
        let connected = self.connect_once().await;
        // One that is cut while it is made says little about the server. After a long wait there is no time for another.
        if connected.is_err() && began.elapsed() < CONNECT_WITHIN / 2 { self.connect_once().await } else { connected }
    }

    async fn connect_once(&self) -> Result<Arc<Client>, Error> {
        let connecting = self.target.config.connect(self.tls.clone());
        let (client, connection) = match timeout(CONNECT_WITHIN, connecting).await {
            Ok(Ok(connected)) => connected,
            Ok(Err(error)) => return Err(Error::Cut(words(&error))),
            Err(_) => {
                return Err(Error::Cut(format!(
                    "no PostgreSQL server answered at {} within {} s",
                    self.target,
                    CONNECT_WITHIN.as_secs()
                )));
            }
        };
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = words(&error), "a connection to the store ended");
            }
        });
        Ok(Arc::new(client))
    }

    fn is_away(&self, away: bool) {
        if self.away.swap(away, Ordering::AcqRel) != away {
            if away {
                tracing::warn!(server = %self.target, "the store is away; requests are refused until it is back");
            } else {
                tracing::info!(server = %self.target, "the store is back");
            }
        }
    }

    /// Has it looked after whether the server is still there.
    pub(super) fn doubt(&self) {
        self.doubted.notify_one();
    }

    /// Looks whenever somebody doubts, and as long as the server is away.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            self.doubted.notified().await;
            loop {
                match self.try_connect().await {
                    Ok(client) => {
                        self.is_away(false);
                        self.put_back(client);
                        break;
                    }
                    Err(error) => {
                        tracing::debug!(?error, "the store is still away");
                        // Connections of before lead to a server that does not answer, or is no primary any more.
                        self.forget();
                        self.is_away(true);
                    }
                }
                tokio::time::sleep(TRY_AGAIN_AFTER).await;
            }
        }
    }

    /// Does something with a connection; twice if the first one turns out to be dead and `again` allows it.
    pub(super) async fn with<T, F>(
        &self,
        again: bool,
        within: Duration,
        work: impl Fn(Arc<Client>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        self.check()?;
        let talk = async {
            let _permit = self.permits.acquire().await.map_err(|_| Error::Cut("the store is closed".to_owned()))?;
            let mut tries = 0;
            loop {
                tries += 1;
                let client = match self.take_idle() {
                    Some(client) => client,
                    None => self.connect().await?,
                };
                match work(Arc::clone(&client)).await {
                    Err(Error::Conflict) if tries < 8 => self.put_back(client),
                    Err(error) if error.is_cut() => {
                        // Its neighbours are likely to be as dead.
                        self.forget();
                        if !again || tries > 1 {
                            return Err(error);
                        }
                    }
                    result => {
                        self.put_back(client);
                        return result;
                    }
                }
            }
        };
        // A connection that is left in the middle is closed, not put back.
        match timeout(within, talk).await {
            Ok(result) => result,
            Err(_) => {
                self.doubt();
                Err(Error::Cut(format!("the PostgreSQL server did not answer within {} ms", within.as_millis())))
            }
        }
    }

    fn take_idle(&self) -> Option<Arc<Client>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|client| !client.is_closed());
        idle.pop()
    }

    /// Keeps a connection that nobody uses any more.
    pub(super) fn put_back(&self, client: Arc<Client>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < self.most && !client.is_closed() {
            idle.push(client);
        }
    }

    fn forget(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn close(&self) {
        self.permits.close();
        self.forget();
    }
}
