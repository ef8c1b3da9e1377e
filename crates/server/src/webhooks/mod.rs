//! Webhooks to applications: events are taken up from the store in order, and carried to each endpoint until it takes them.
//!
//! Events are committed with what they tell of, so none is lost with the process. [`Webhooks::take_up`] makes each into one message
//! for every endpoint that wants it, in one transaction with the position in the events: exactly once, whoever does it. A message is
//! then claimed under a lease, posted, and settled. At least once: who dies between an answer and its settlement leaves a
//! message that is sent again, under the same id.
//!
//! Endpoints are those of the configuration, and those that accounts set up at run time ([`account`]), which are followed.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use countersign::core::event::{Event, EventKind};
use countersign::core::guard::{Guard, Look, Standing};
use countersign::core::id::{ApplicationName, ServiceId};
use countersign::core::verification::Verification;
use countersign::store::{StoreError, WithDeliveries};
use countersign::webhook::{Requeue, WebhookMessage, WebhookOutcome};
use countersign::{Store, Verifier};
use countersign_providers::standard_webhooks::Key;
use reqwest::Url;
use sha2::{Digest, Sha256};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::metrics::Metrics;

pub mod account;
pub mod address;
mod body;
mod schedule;
mod sender;

pub use schedule::ATTEMPTS;
pub use sender::{Said, Sender};

/// An endpoint of an application.
#[derive(Clone)]
pub struct Endpoint {
    /// `we_` and 16 hexadecimal digits of the application and the address.
    pub id: String,
    /// Whose events.
    pub application: ApplicationName,
    /// Where they go.
    pub url: Url,
    /// Each signs: two while the secret is being changed.
    pub keys: Vec<Key>,
    /// Which events; `None` is all.
    pub events: Option<Vec<EventKind>>,
    /// Only of verifications of this service: `Some(None)` is the application's own.
    pub service: Option<Option<ServiceId>>,
    /// A digest of all this: tells whether it was changed.
    pub settings: String,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A path or a query may hold a secret of the application's.
        f.debug_struct("Endpoint").field("id", &self.id).field("application", &self.application).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint with these secrets, each a key and its text.
    #[must_use]
    pub fn new(
        application: ApplicationName,
        url: Url,
        secrets: &[(Key, impl AsRef<str>)],
        events: Option<Vec<EventKind>>,
    ) -> Self {
        let hex = |digest: &[u8]| digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let named = Sha256::new().chain_update(application.as_str()).chain_update([0]).chain_update(url.as_str());
        let id = format!("we_{}", hex(&named.clone().finalize()[..8]));
        let mut settings = named;
        for (_, text) in secrets {
            settings.update([1]);
            settings.update(text.as_ref());
        }
        for kind in events.iter().flatten() {
            settings.update([2]);
            settings.update(kind.as_str());
        }
        let keys = secrets.iter().map(|(key, _)| key.clone()).collect();
        Self { id, application, url, keys, events, service: None, settings: hex(&settings.finalize()[..16]) }
    }

    /// The same as an account set it up for one of its services, under a name of its own.
    #[must_use]
    pub fn of_account(mut self, id: String, service: Option<ServiceId>) -> Self {
        (self.id, self.service) = (id, Some(service));
        self
    }

    fn wants(&self, event: &Event) -> bool {
        self.application == event.application && self.events.as_ref().is_none_or(|kinds| kinds.contains(&event.kind))
    }

    /// What metrics call it: those of accounts, of which anybody who has a key can make many, are one.
    fn label(&self) -> &str {
        if self.service.is_some() { "accounts" } else { &self.id }
    }

    fn wants_of(&self, verification: &Verification) -> bool {
        self.service.is_none_or(|service| service == verification.service)
    }
}

/// How endpoints are treated.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long one may take to answer.
    pub timeout: Duration,
    /// How far off they may be.
    pub reach: address::Reach,
}

/// Carries events to endpoints.
#[derive(Debug)]
pub struct Webhooks {
    verifier: Verifier,
    /// Of the configuration.
    endpoints: Vec<Arc<Endpoint>>,
    /// Of accounts, if they are followed.
    followed: Option<(Mutex<account::Follower>, address::Reach)>,
    accounts: RwLock<Vec<Arc<Endpoint>>>,
    sender: Sender,
    /// For the endpoints of accounts, from the first message on: it goes no further than theirs may.
    to_accounts: OnceLock<Result<Sender, String>>,
    terms: Terms,
    metrics: Option<Arc<Metrics>>,
    /// Up to where events were taken up, as far as is known here.
    position: Mutex<Option<u64>>,
}

/// How often it is looked whether there is something to take up or to carry.
const EVERY: Duration = Duration::from_millis(200);
/// How often it is looked whether accounts have changed their endpoints.
const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Applications of which the endpoints are looked at each time.
const FOLLOWED: usize = 50;
/// How often it is told how endpoints fare.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// Events taken up in one transaction.
const BATCH: usize = 200;
/// Requests to one endpoint at once.
const AT_ONCE: usize = 16;
/// What a lease is longer than the time-out: time to write down what came of it.
const GRACE: Duration = Duration::from_secs(10);

/// Webhooks being carried; they stop when this is dropped.
#[derive(Debug)]
pub struct Carrying {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Carrying {
    /// Begins no more requests, and waits for those under way.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

impl Webhooks {
    /// Carries the verifier's events to these endpoints.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(
        verifier: Verifier,
        endpoints: Vec<Endpoint>,
        terms: Terms,
        metrics: Option<Arc<Metrics>>,
    ) -> Result<Self, String> {
        let secure = endpoints.iter().any(|endpoint| endpoint.url.scheme() == "https");
        let sender = Sender::new(secure, terms.timeout, terms.reach)?;
        Ok(Self {
            verifier,
            endpoints: endpoints.into_iter().map(Arc::new).collect(),
            followed: None,
            accounts: RwLock::default(),
            sender,
            to_accounts: OnceLock::new(),
            terms,
            metrics,
            position: Mutex::new(None),
        })
    }

    /// Carries to the endpoints of accounts too, as they set them up and change them: so far, and no further.
    #[must_use]
    pub fn following_accounts(mut self, reach: address::Reach) -> Self {
        self.followed = Some((Mutex::default(), reach));
        self
    }

    /// Every endpoint that there is at present.
    fn all(&self) -> Vec<Arc<Endpoint>> {
        let accounts = self.accounts.read().unwrap_or_else(PoisonError::into_inner);
        self.endpoints.iter().chain(accounts.iter()).cloned().collect()
    }

    /// Looks what accounts have set up, at so many applications at most.
    async fn follow(&self, most: usize) -> Result<(), StoreError> {
        let Some((followed, _)) = &self.followed else { return Ok(()) };
        let mut followed = followed.lock().await;
        followed.look(&self.verifier, most).await?;
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = followed.endpoints();
        Ok(())
    }

    /// Looks what the accounts have set up of which there are events. Who was answered before an event is known after it was read.
    async fn follow_those(&self, events: &[(u64, Event)]) -> Result<(), StoreError> {
        let Some((followed, _)) = &self.followed else { return Ok(()) };
        let mut followed = followed.lock().await;
        followed.look_at(&self.verifier, events.iter().map(|(_, event)| &event.application).collect()).await?;
        *self.accounts.write().unwrap_or_else(PoisonError::into_inner) = followed.endpoints();
        Ok(())
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.verifier.store()
    }

    /// Begins to take up events at the newest one, if none were taken up before; without endpoints, ends it. An endpoint that was
    /// disabled under other settings is enabled. To be called once, before anything happens that is to be told.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn prepare(&self) -> Result<(), StoreError> {
        self.follow(usize::MAX).await?;
        let mut wanted = !self.all().is_empty();
        let mut position = self.store().webhook_position(wanted).await?;
        if !wanted && self.followed.is_some() {
            // Somebody may have set one up between the look and the end.
            self.follow(usize::MAX).await?;
            wanted = !self.all().is_empty();
            if wanted {
                position = self.store().webhook_position(true).await?;
            }
        }
        *self.position.lock().await = position;
        if wanted { self.enable_changed().await } else { Ok(()) }
    }

    /// Enables endpoints that were disabled under other settings.
    async fn enable_changed(&self) -> Result<(), StoreError> {
        let endpoints = self.all();
        for fares in self.store().webhook_endpoints().await? {
            let endpoint = endpoints.iter().find(|endpoint| endpoint.id == fares.endpoint);
            if let (Some(endpoint), Some((_, settings))) = (endpoint, &fares.disabled)
                && endpoint.settings != *settings
            {
                tracing::info!(endpoint = endpoint.id, "a webhook endpoint has new settings and is enabled again");
                let one = std::slice::from_ref(&endpoint.id);
                self.store().requeue_webhooks(one, &Requeue::Waiting, self.verifier.now()).await?;
            }
        }
        Ok(())
    }

    /// Takes up every event that there is; how many.
    ///
    /// # Errors
    /// [`StoreError`]; what was not taken up by then is taken up next time.
    pub async fn take_up(&self) -> Result<usize, StoreError> {
        let mut known = self.position.lock().await;
        let mut taken = 0;
        loop {
            let position = match *known {
                Some(position) => position,
                None => self.store().webhook_position(true).await?.unwrap_or_default(),
            };
            *known = Some(position);
            let events = self.store().events(position, BATCH).await?;
            let Some((through, _)) = events.last() else { return Ok(taken) };
            self.follow_those(&events).await?;
            let messages = self.messages(&events).await?;
            // Somebody else may have taken them up; then the position is theirs.
            *known = self.store().take_up_events(position, *through, &messages).await?;
            taken += events.len();
        }
    }

    async fn messages(&self, events: &[(u64, Event)]) -> Result<Vec<WebhookMessage>, StoreError> {
        let (now, endpoints) = (self.verifier.now(), self.all());
        let mut seen: HashMap<_, Option<WithDeliveries>> = HashMap::new();
        let mut messages = Vec::new();
        for (place, event) in events {
            let wanting: Vec<_> = endpoints.iter().filter(|endpoint| endpoint.wants(event)).collect();
            if wanting.is_empty() {
                continue;
            }
            if let Entry::Vacant(unseen) = seen.entry(event.verification) {
                unseen.insert(self.store().verification(&event.application, event.verification).await?);
            }
            let Some(Some((verification, deliveries))) = seen.get(&event.verification) else {
                tracing::warn!(verification = %event.verification, "an event's verification is gone; its webhook is not sent");
                continue;
            };
            let id = body::event_id(*place, event);
            let guard = if event.kind == EventKind::GuardBlocked { self.guard(verification).await? } else { None };
            let body = body::body(&id, event, (verification, deliveries), guard.as_ref(), now);
            let wanting = wanting.into_iter().filter(|endpoint| endpoint.wants_of(verification));
            messages.extend(wanting.map(|endpoint| WebhookMessage {
                endpoint: endpoint.id.clone(),
                id: id.clone(),
                application: event.application.clone(),
                verification: event.verification,
                body: body.clone(),
                at: event.at,
                hold_until: now + schedule::HOLD,
                expires_at: now + schedule::FORGET,
                due_at: now,
                attempts: 0,
            }));
        }
        Ok(messages)
    }

    /// The guard of a verification's application, and how the blocks of its number stand.
    async fn guard(&self, verification: &Verification) -> Result<Option<(Guard, Vec<Standing>)>, StoreError> {
        let Ok(application) = self.verifier.application(&verification.application) else { return Ok(None) };
        let rules = application.guard.clone();
        let look = Look { application, to: verification.to.clone(), now: self.verifier.now() };
        Ok(Some((rules, countersign::store::ask(&**self.store(), look).await?)))
    }

    /// Takes up and carries in tasks of its own.
    #[must_use]
    pub fn start(self) -> Carrying {
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Vec::new();
        if !self.endpoints.is_empty() || self.followed.is_some() {
            tasks.push(tokio::spawn(Arc::new(self).run(stopped)));
        }
        Carrying { stop, tasks }
    }

    /// Follows accounts, takes up events, and has a carrier for each endpoint.
    async fn run(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let (mut told, mut followed) = (None, Some(self.verifier.now()));
        let mut carriers = Carriers::default();
        while !*stopped.borrow() {
            let now = self.verifier.now();
            if self.followed.is_some() && followed.is_none_or(|followed| now.since(followed) >= FOLLOW_EVERY) {
                followed = Some(now);
                if let Err(error) = self.follow(FOLLOWED).await {
                    self.trouble(&error);
                }
            }
            let changed = carriers.attend(&self);
            let settled: Result<(), StoreError> = async {
                if changed {
                    self.enable_changed().await?;
                }
                // Once it was begun, events are taken up also while nobody wants them: who comes next is told of what comes then.
                if !carriers.0.is_empty() || self.position.lock().await.is_some() {
                    self.take_up().await?;
                }
                if told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
                    told = Some(now);
                    self.tell().await?;
                }
                Ok(())
            }
            .await;
            if let Err(error) = settled {
                self.trouble(&error);
            }
            if !pause(&mut stopped).await {
                break;
            }
        }
        carriers.stop().await;
    }

    fn trouble(&self, error: &StoreError) {
        tracing::warn!(%error, "webhooks: the store did not answer; it is asked again");
        if let Some(metrics) = &self.metrics {
            use countersign::{Observation, Observer as _};
            metrics.observe(Observation::Trouble { doing: "webhooks" });
        }
    }

    /// Tells the metrics how endpoints fare.
    async fn tell(&self) -> Result<(), StoreError> {
        let Some(metrics) = &self.metrics else { return Ok(()) };
        if self.all().is_empty() {
            return Ok(());
        }
        let (all, now) = (self.store().webhook_endpoints().await?, self.verifier.now());
        let mut told: HashMap<&str, (u64, Duration, bool)> = HashMap::new();
        let endpoints = self.all();
        for endpoint in &endpoints {
            let fares = all.iter().find(|fares| fares.endpoint == endpoint.id);
            let oldest = fares.and_then(|fares| fares.oldest).map(|oldest| now.since(oldest)).unwrap_or_default();
            let (pending, longest, disabled) = told.entry(endpoint.label()).or_default();
            *pending += fares.map_or(0, |fares| fares.pending);
            *longest = oldest.max(*longest);
            *disabled |= fares.is_some_and(|fares| fares.disabled.is_some());
        }
        for (label, (pending, oldest, disabled)) in told {
            metrics.webhook_endpoint(label, pending, oldest, disabled);
        }
        Ok(())
    }

    async fn carry(self: Arc<Self>, endpoint: Arc<Endpoint>, mut stopped: watch::Receiver<bool>) {
        let mut under_way = JoinSet::new();
        while !*stopped.borrow() {
            let room = AT_ONCE.saturating_sub(under_way.len());
            if room > 0 {
                let lease = self.terms.timeout + GRACE;
                match self.store().claim_webhooks(&endpoint.id, self.verifier.now(), lease, room).await {
                    Ok(claimed) => {
                        for messages in by_verification(claimed) {
                            let (webhooks, endpoint) = (Arc::clone(&self), Arc::clone(&endpoint));
                            under_way.spawn(async move { webhooks.attempt_all(&endpoint, messages).await });
                        }
                    }
                    Err(error) => self.trouble(&error),
                }
            }
            tokio::select! {
                Some(_) = under_way.join_next() => {}
                go_on = pause(&mut stopped) => if !go_on { break },
            }
        }
        while under_way.join_next().await.is_some() {}
    }

    /// One after the other: they are of one verification.
    async fn attempt_all(&self, endpoint: &Endpoint, messages: Vec<WebhookMessage>) {
        for message in messages {
            // What would outlive its lease is left for when the lease is over.
            if self.verifier.now() + self.terms.timeout < message.due_at {
                self.attempt(endpoint, &message).await;
            }
        }
    }

    async fn attempt(&self, endpoint: &Endpoint, message: &WebhookMessage) {
        let said = self.post(endpoint, &message.id, self.verifier.now().as_secs(), &message.body).await;
        let now = self.verifier.now();
        let outcome = match said {
            Said::Taken => WebhookOutcome::Delivered,
            Said::Gone => {
                tracing::warn!(
                    endpoint = endpoint.id,
                    "a webhook endpoint answered 410 and is disabled; see: countersign webhook list"
                );
                WebhookOutcome::Gone { error: "answered 410".to_owned(), settings: endpoint.settings.clone() }
            }
            Said::No { error, retry_after } => match schedule::pause(message.attempts, chance(), retry_after) {
                Some(pause) => WebhookOutcome::Again { due_at: now + pause, error },
                None => WebhookOutcome::GivenUp { error },
            },
        };
        let name = match &outcome {
            WebhookOutcome::Delivered => "delivered",
            WebhookOutcome::Again { .. } => "failed",
            WebhookOutcome::GivenUp { .. } => "given_up",
            WebhookOutcome::Gone { .. } => "gone",
        };
        tracing::debug!(
            endpoint = endpoint.id,
            message = message.id,
            attempt = message.attempts,
            outcome = name,
            "webhook"
        );
        if let Some(metrics) = &self.metrics {
            metrics.webhook_attempt(endpoint.label(), name);
        }
        if let Err(error) = self.store().settle_webhook(message, &outcome, now).await {
            // Its lease runs out, and it is sent again under the same id.
            self.trouble(&error);
        }
    }

    /// Tries an endpoint with a signed message that tells of nothing.
    pub async fn test(&self, endpoint: &Endpoint) -> Said {
        let now = self.verifier.now();
        let id = format!("evt_test{:08x}{:08x}", chance(), chance());
        let body = body::test_body(&id, endpoint.application.as_str(), now);
        self.post(endpoint, &id, now.as_secs(), &body).await
    }

    async fn post(&self, endpoint: &Endpoint, id: &str, now: i64, body: &str) -> Said {
        let Some((_, reach)) = self.followed.as_ref().filter(|_| endpoint.service.is_some()) else {
            return self.sender.post(endpoint, id, now, body).await;
        };
        match self.to_accounts.get_or_init(|| Sender::new(true, self.terms.timeout, *reach)) {
            Ok(sender) => sender.post(endpoint, id, now, body).await,
            Err(error) => Said::No { error: format!("not sent: {error}"), retry_after: None },
        }
    }
}

/// A task for each endpoint that carries to it, by the endpoint's name.
#[derive(Default)]
struct Carriers(HashMap<String, Carrier>);

struct Carrier {
    settings: String,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Carriers {
    /// Begins what is new, ends what is gone, and changes what is changed; whether there was any.
    fn attend(&mut self, webhooks: &Arc<Webhooks>) -> bool {
        let endpoints = webhooks.all();
        let is_there = |id: &str, settings: &str| endpoints.iter().any(|one| one.id == id && one.settings == settings);
        let before = self.0.len();
        // What it has begun it finishes; who comes after it claims what it has not.
        self.0.retain(|id, carrier| {
            let stays = is_there(id, &carrier.settings);
            if !stays {
                carrier.stop.send_replace(true);
            }
            stays
        });
        let mut changed = self.0.len() != before;
        for endpoint in endpoints {
            if self.0.contains_key(&endpoint.id) {
                continue;
            }
            let (stop, stopped) = watch::channel(false);
            let (id, settings) = (endpoint.id.clone(), endpoint.settings.clone());
            let task = tokio::spawn(Arc::clone(webhooks).carry(endpoint, stopped));
            self.0.insert(id, Carrier { settings, stop, task });
            changed = true;
        }
        changed
    }

    async fn stop(self) {
        for carrier in self.0.values() {
            carrier.stop.send_replace(true);
        }
        for carrier in self.0.into_values() {
            let _ = carrier.task.await;
        }
    }
}

/// Those of each verification together, in order.
fn by_verification(messages: Vec<WebhookMessage>) -> Vec<Vec<WebhookMessage>> {
    let mut places = HashMap::new();
    let mut groups: Vec<Vec<WebhookMessage>> = Vec::new();
    for message in messages {
        let place = *places.entry(message.verification).or_insert(groups.len());
        match groups.get_mut(place) {
            Some(group) => group.push(message),
            None => groups.push(vec![message]),
        }
    }
    groups
}

/// For spreading retries; if the system has no chance to give, they are not spread.
fn chance() -> u32 {
    let mut bytes = [0; 4];
    let _ = getrandom::fill(&mut bytes);
    u32::from_be_bytes(bytes)
}

/// Whether to go on after it.
async fn pause(stopped: &mut watch::Receiver<bool>) -> bool {
    tokio::select! {
        () = tokio::time::sleep(EVERY) => true,
        changed = stopped.changed() => changed.is_ok() && !*stopped.borrow(),
    }
}
