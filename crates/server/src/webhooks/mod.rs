//! Webhooks to applications: events are taken up from the store in order, and carried to each endpoint until it takes them.
//!
//! Events are committed with what they tell of, so none is lost with the process. [`Webhooks::take_up`] makes each into one message
//! for every endpoint that wants it, in one transaction with the position in the events: exactly once, whoever does it. A message is
//! then claimed under a lease, posted, and settled. At least once: who dies between an answer and its settlement leaves a
//! message that is sent again, under the same id.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use countersign::core::event::{Event, EventKind};
use countersign::core::guard::{Guard, Look, Standing};
use countersign::core::id::ApplicationName;
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
        Self { id, application, url, keys, events, settings: hex(&settings.finalize()[..16]) }
    }

    fn wants(&self, event: &Event) -> bool {
        self.application == event.application && self.events.as_ref().is_none_or(|kinds| kinds.contains(&event.kind))
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
    endpoints: Vec<Arc<Endpoint>>,
    sender: Sender,
    terms: Terms,
    metrics: Option<Arc<Metrics>>,
    /// Up to where events were taken up, as far as is known here.
    position: Mutex<Option<u64>>,
}

/// How often it is looked whether there is something to take up or to carry.
const EVERY: Duration = Duration::from_millis(200);
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
        let endpoints = endpoints.into_iter().map(Arc::new).collect();
        Ok(Self { verifier, endpoints, sender, terms, metrics, position: Mutex::new(None) })
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
        *self.position.lock().await = self.store().webhook_position(!self.endpoints.is_empty()).await?;
        if self.endpoints.is_empty() {
            return Ok(());
        }
        for fares in self.store().webhook_endpoints().await? {
            let endpoint = self.endpoints.iter().find(|endpoint| endpoint.id == fares.endpoint);
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
            let messages = self.messages(&events).await?;
            // Somebody else may have taken them up; then the position is theirs.
            *known = self.store().take_up_events(position, *through, &messages).await?;
            taken += events.len();
        }
    }

    async fn messages(&self, events: &[(u64, Event)]) -> Result<Vec<WebhookMessage>, StoreError> {
        let now = self.verifier.now();
        let mut seen: HashMap<_, Option<WithDeliveries>> = HashMap::new();
        let mut messages = Vec::new();
        for (place, event) in events {
            let wanting: Vec<_> = self.endpoints.iter().filter(|endpoint| endpoint.wants(event)).collect();
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
            messages.extend(wanting.into_iter().map(|endpoint| WebhookMessage {
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
        let webhooks = Arc::new(self);
        let mut tasks: Vec<_> = webhooks
            .endpoints
            .iter()
            .map(|endpoint| {
                let (webhooks, endpoint) = (Arc::clone(&webhooks), Arc::clone(endpoint));
                tokio::spawn(webhooks.carry(endpoint, stopped.clone()))
            })
            .collect();
        if !tasks.is_empty() {
            tasks.push(tokio::spawn(webhooks.keep_taking_up(stopped)));
        }
        Carrying { stop, tasks }
    }

    async fn keep_taking_up(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let mut told = None;
        while !*stopped.borrow() {
            if let Err(error) = self.take_up().await {
                self.trouble(&error);
            }
            let now = self.verifier.now();
            if told.is_none_or(|told| now.since(told) >= TELL_EVERY) {
                told = Some(now);
                if let Err(error) = self.tell().await {
                    self.trouble(&error);
                }
            }
            if !pause(&mut stopped).await {
                return;
            }
        }
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
        let (all, now) = (self.store().webhook_endpoints().await?, self.verifier.now());
        for endpoint in &self.endpoints {
            let fares = all.iter().find(|fares| fares.endpoint == endpoint.id);
            let oldest = fares.and_then(|fares| fares.oldest).map(|oldest| now.since(oldest));
            let disabled = fares.is_some_and(|fares| fares.disabled.is_some());
            metrics.webhook_endpoint(
                &endpoint.id,
                fares.map_or(0, |fares| fares.pending),
                oldest.unwrap_or_default(),
                disabled,
            );
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
        let said = self.sender.post(endpoint, &message.id, self.verifier.now().as_secs(), &message.body).await;
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
            metrics.webhook_attempt(&endpoint.id, name);
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
        self.sender.post(endpoint, &id, now.as_secs(), &body).await
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
