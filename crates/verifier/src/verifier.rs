//! The verifier: what an application embeds, and what every door of the server calls.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::code::{CodeUnavailable, Key, KeyRing};
use countersign_core::decision::Chance;
use countersign_core::id::{ApplicationName, DeliveryId, VerificationId};
use countersign_core::policy::Application;
use countersign_core::refusal::Refusal;
use countersign_core::route::{Candidate, Route};
use countersign_core::send::{Approve, Cancel};
use countersign_core::time::Timestamp;
use countersign_core::verification::{Delivery, DeliveryStatus, Verification};
use tokio::sync::Semaphore;

use crate::access::{Access, Account, KeyCache};
use crate::clock::{Clock, SystemClock};
use crate::memory_store::MemoryStore;
use crate::observe::{Nobody, Observation, Observer};
use crate::records::RecordCache;
use crate::sender::{BoxFuture, Desk, Sender};
use crate::store::{self, ListFilter, Page, Store, StoreError};

/// Sends codes and checks what comes back. Cheap to clone; all clones are one.
///
/// ```
/// use std::sync::Arc;
/// use countersign::{CheckRequest, RecordingSender, SendRequest, Verifier};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let phone = Arc::new(RecordingSender::new("phone"));
/// let verifier = Verifier::builder().sender(phone.clone()).build()?;
///
/// let sent = verifier.send(SendRequest::to("+255694230173")).await?.sent;
/// let code = phone.wait_for_code("+255694230173").await;
///
/// let checked = verifier.check(CheckRequest::by_id(sent.verification.id, &code)).await?;
/// assert_eq!(checked.result.as_str(), "approved");
///
/// let again = verifier.check(CheckRequest::by_id(sent.verification.id, &code)).await?;
/// assert_eq!(again.result.as_str(), "already_used");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Verifier {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
    pub observer: Arc<dyn Observer>,
    pub keys: RwLock<Arc<KeyRing>>,
    pub senders: HashMap<String, Arc<dyn Sender>>,
    pub applications: RwLock<HashMap<ApplicationName, Arc<Application>>>,
    pub newcomers: OnceLock<Newcomers>,
    pub carriers: Arc<Semaphore>,
    pub most_carriers: u32,
    pub closing: AtomicBool,
    pub key_cache: KeyCache<Access>,
    pub account_cache: KeyCache<Account>,
    pub record_cache: RecordCache,
}

/// Gives the rules of an application that was made while this runs.
type Newcomers = Box<dyn Fn(&ApplicationName) -> Application + Send + Sync>;

/// Why there is no answer of the kind asked for: a lawful no, or something broke.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A lawful no.
    #[error("{0}")]
    Refused(Refusal),
    /// Something broke.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// Something broke.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The store did not do what was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key ring lacks a key.
    #[error(transparent)]
    Keys(#[from] CodeUnavailable),
    /// No application of this name is set up.
    #[error("no application `{0}` is set up")]
    UnknownApplication(ApplicationName),
    /// The operating system gave no random bytes.
    #[error("the operating system's random source failed: {0}")]
    Random(getrandom::Error),
    /// The verifier is being shut down and takes no more work.
    #[error("shutting down")]
    ShuttingDown,
    /// It was put together wrongly.
    #[error("{0}")]
    SetUp(String),
}

impl Broken {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        match self {
            Self::Store(error) => error.is_temporary(),
            Self::Random(_) | Self::ShuttingDown => true,
            Self::Keys(_) | Self::UnknownApplication(_) | Self::SetUp(_) => false,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Broken(error.into())
    }
}

/// Puts a [`Verifier`] together.
#[derive(Default)]
pub struct Builder {
    store: Option<Arc<dyn Store>>,
    clock: Option<Arc<dyn Clock>>,
    observer: Option<Arc<dyn Observer>>,
    keys: Option<KeyRing>,
    senders: Vec<Arc<dyn Sender>>,
    applications: Vec<Application>,
    carriers: Option<u32>,
}

impl Builder {
    /// What remembers; else a [`MemoryStore`].
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// What tells the time; else the machine's clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Who is told what happens.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The keys that codes are derived under; else a fresh one, with which no other process and no later run can check a code.
    #[must_use]
    pub fn keys(mut self, keys: KeyRing) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Adds a provider.
    #[must_use]
    pub fn sender(mut self, sender: Arc<dyn Sender>) -> Self {
        self.senders.push(sender);
        self
    }

    /// Adds an application; without any there is one called `default`, whose messages go to the senders in the order added.
    #[must_use]
    pub fn application(mut self, application: Application) -> Self {
        self.applications.push(application);
        self
    }

    /// How many messages this process carries at once (512 if not said). What is more waits in the store, not in memory.
    #[must_use]
    pub const fn carriers(mut self, most: u32) -> Self {
        self.carriers = Some(most);
        self
    }

    /// Checks that it fits together.
    ///
    /// # Errors
    /// [`Broken::SetUp`] says what does not: two senders of one name, or a route to a provider that is not there.
    pub fn build(self) -> Result<Verifier, Broken> {
        let mut senders = HashMap::new();
        let names: Vec<_> = self.senders.iter().map(|sender| sender.name().to_owned()).collect();
        for sender in self.senders {
            let name = sender.name().to_owned();
            if senders.insert(name.clone(), sender).is_some() {
                return Err(Broken::SetUp(format!("two providers are called `{name}`")));
            }
        }
        let mut applications = self.applications;
        if applications.is_empty() {
            let mut application = Application::new(ApplicationName::default(), "");
            let names: Vec<_> = names.iter().map(String::as_str).collect();
            application.routes =
                Channel::ALL.into_iter().map(|channel| Route::to(channel, names.iter().copied())).collect();
            applications.push(application);
        }
        for route in applications.iter().flat_map(|application| &application.routes) {
            let missing = route.candidates.iter().find(|candidate| !senders.contains_key(&candidate.provider));
            if let Some(Candidate { provider: missing, .. }) = missing {
                return Err(Broken::SetUp(format!(
                    "a route for {} names the provider `{missing}`, which is not set up",
                    route.channel
                )));
            }
        }
        let keys = match self.keys {
            Some(keys) => keys,
            None => KeyRing::new("ephemeral", Key::from_bytes(random()?)),
        };
        let most_carriers = self.carriers.unwrap_or(512).max(1);
        let inner = Inner {
            store: self.store.unwrap_or_else(|| Arc::new(MemoryStore::default())),
            clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock)),
            observer: self.observer.unwrap_or_else(|| Arc::new(Nobody)),
            keys: RwLock::new(Arc::new(keys)),
            senders,
            applications: RwLock::new(applications.into_iter().map(|app| (app.name.clone(), app.shared())).collect()),
            newcomers: OnceLock::new(),
            carriers: Arc::new(Semaphore::new(most_carriers as usize)),
            most_carriers,
            closing: AtomicBool::new(false),
            key_cache: KeyCache::default(),
            account_cache: KeyCache::default(),
            record_cache: RecordCache::default(),
        };
        let verifier = Verifier { inner: Arc::new(inner) };
        for sender in verifier.inner.senders.values() {
            sender.attach(Arc::new(AtVerifier(Arc::downgrade(&verifier.inner))));
        }
        Ok(verifier)
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("senders", &self.inner.senders.keys()).finish_non_exhaustive()
    }
}

impl Verifier {
    /// Begins to put one together.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The rules of an application.
    ///
    /// # Errors
    /// [`Broken::UnknownApplication`].
    pub fn application(&self, name: &ApplicationName) -> Result<Arc<Application>, Broken> {
        let known = self.inner.applications.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        if let Some(known) = known {
            return Ok(known);
        }
        let rules = self.inner.newcomers.get().ok_or_else(|| Broken::UnknownApplication(name.clone()))?;
        let made = rules(name).shared();
        let mut applications = self.inner.applications.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(applications.entry(name.clone()).or_insert(made)))
    }

    /// Says what rules hold for applications that were not set up here, because they are made while this runs: from the next call on
    /// none is unknown. For who asks in the name of applications that the store knows, as those are to which a key gives access. To be
    /// said once; what is said later is not heard.
    pub fn set_newcomers(&self, rules: impl Fn(&ApplicationName) -> Application + Send + Sync + 'static) {
        let _ = self.inner.newcomers.set(Box::new(rules));
    }

    /// Adds an application, or replaces its rules for every request from now on.
    pub fn set_application(&self, application: Application) {
        let mut applications = self.inner.applications.write().unwrap_or_else(PoisonError::into_inner);
        applications.insert(application.name.clone(), application.shared());
    }

    pub(crate) fn keys(&self) -> Arc<KeyRing> {
        Arc::clone(&self.inner.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A keyed digest of these parts: a secret that need not be kept, since it can be made again. It outlives rotations of the key
    /// ring, as long as the oldest key stays.
    #[must_use]
    pub fn fingerprint(&self, parts: &[&[u8]]) -> [u8; 32] {
        self.keys().fingerprint(parts)
    }

    /// Takes another key ring for everything from now on: the same one after a rotation. Codes made with a key that it lacks can no
    /// longer be checked.
    pub fn set_keys(&self, keys: KeyRing) {
        *self.inner.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// The store, for what has no rule: reading, listing, keys.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// The present, by the verifier's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.inner.clock.now()
    }

    /// Calls a verification off. No limit is given back.
    ///
    /// # Errors
    /// Refused if there is no such verification of this application, or it has ended; broken if the store is.
    pub async fn cancel(
        &self,
        application: &ApplicationName,
        id: VerificationId,
    ) -> Result<(Verification, Vec<Delivery>), Failure> {
        let application = self.application(application)?;
        let name = application.name.clone();
        let answer = store::ask(&*self.inner.store, Cancel { application, id, now: self.now() }).await?;
        answer.map_err(|refusal| self.refused(name.as_str(), refusal))
    }

    /// Ends a verification as approved, because the application itself found the code to be right.
    ///
    /// # Errors
    /// Refused if there is no such verification of this application, or it has ended; broken if the store is.
    pub async fn approve(
        &self,
        application: &ApplicationName,
        id: VerificationId,
    ) -> Result<(Verification, Vec<Delivery>), Failure> {
        let application = self.application(application)?;
        let name = application.name.clone();
        let answer = store::ask(&*self.inner.store, Approve { application, id, now: self.now() }).await?;
        answer.map_err(|refusal| self.refused(name.as_str(), refusal))
    }

    /// The verification of this application that has this delivery, with all its deliveries.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn verification_of(
        &self,
        application: &ApplicationName,
        delivery: DeliveryId,
    ) -> Result<Option<(Verification, Vec<Delivery>)>, Broken> {
        Ok(self.inner.store.verification_of(application, delivery).await?)
    }

    /// One verification with its deliveries; `None` if this application has none of this id.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn verification(
        &self,
        application: &ApplicationName,
        id: VerificationId,
    ) -> Result<Option<(Verification, Vec<Delivery>)>, Broken> {
        Ok(self.inner.store.verification(application, id).await?)
    }

    /// A page of verifications, newest first.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn list(&self, filter: &ListFilter) -> Result<Page, Broken> {
        Ok(self.inner.store.list(filter).await?)
    }

    /// How many messages this process is carrying now.
    #[must_use]
    pub fn carrying(&self) -> usize {
        (self.inner.most_carriers as usize).saturating_sub(self.inner.carriers.available_permits())
    }

    /// Takes no more sends and checks, waits until what is being carried is done or `patience` is over, and closes the store.
    /// What is not done by then is in the outbox, for the next process.
    ///
    /// # Errors
    /// Broken if the store cannot be closed.
    pub async fn shut_down(&self, patience: Duration) -> Result<(), Broken> {
        self.inner.closing.store(true, Ordering::Release);
        let carried = self.inner.carriers.acquire_many(self.inner.most_carriers);
        let _ = tokio::time::timeout(patience, carried).await;
        for sender in self.inner.senders.values() {
            sender.close().await;
        }
        Ok(self.inner.store.close().await?)
    }

    pub(crate) fn open(&self) -> Result<(), Broken> {
        if self.inner.closing.load(Ordering::Acquire) { Err(Broken::ShuttingDown) } else { Ok(()) }
    }

    pub(crate) fn refused(&self, application: &str, refusal: Refusal) -> Failure {
        self.inner.observer.observe(Observation::Refused { application, refusal: refusal.kind() });
        Failure::Refused(refusal)
    }
}

/// Where senders hand in what they learn. They are held by the verifier, so they do not hold it.
struct AtVerifier(Weak<Inner>);

impl Desk for AtVerifier {
    fn receipt<'a>(
        &'a self,
        provider: &'a str,
        reference: &'a str,
        status: DeliveryStatus,
        error: Option<String>,
    ) -> BoxFuture<'a, Result<bool, Broken>> {
        Box::pin(async move {
            let inner = self.0.upgrade().ok_or(Broken::ShuttingDown)?;
            Verifier { inner }.receipt(provider, reference, status, error).await
        })
    }

    fn observe(&self, observation: Observation<'_>) {
        if let Some(inner) = self.0.upgrade() {
            inner.observer.observe(observation);
        }
    }
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Broken> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(Broken::Random)?;
    Ok(bytes)
}

pub(crate) fn chance() -> Result<Chance, Broken> {
    Ok(Chance::from_bytes(&random()?))
}
