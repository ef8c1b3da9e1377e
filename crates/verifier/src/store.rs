//! The port to what remembers, and how to write another one.
//!
//! A store is a notebook. It holds no rule: it runs a [`Job`] in a transaction (look up, read, decide, write, make durable) and only
//! then returns. Implementations MUST
//! - run jobs on the same keys one after the other, as if alone (serialisable), whatever process they come from;
//! - make every change of a job durable before [`Store::run`] returns, and none of them if it returns an error;
//! - call [`Job::decide`] again with a fresh snapshot if they find that the one it saw was out of date; the last call counts.
//!
//! They MAY run many waiting jobs in one transaction and make them durable together: that is where the speed comes from. What a
//! wrong answer costs: a snapshot that is out of date lets a code be accepted twice; a change that is lost gives a guess back.
//!
//! [`crate::contract`] holds these promises as a suite; run it against any new store.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_core::decision::{Changes, Decision, Lookup, Reads, Snapshot};
use countersign_core::destination::Destination;
use countersign_core::event::Event;
use countersign_core::health::HealthRow;
use countersign_core::id::{ApplicationName, DeliveryId, Purpose, ServiceId, VerificationId};
use countersign_core::time::Timestamp;
use countersign_core::verification::{Delivery, Status, Verification};

use crate::sender::BoxFuture;
use crate::transfer::{Dumped, Loaded, Row, RowKind};
use crate::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};

/// What a store returns.
pub type StoreResult<T> = Result<T, StoreError>;

/// A verification with its deliveries in order.
pub type WithDeliveries = (Verification, Vec<Delivery>);

/// Something broke. Absence is never an error: it is `None`.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot be reached, or did not answer in time. Nothing was changed, or it is unknown whether it was; ask again later.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// What the store holds contradicts itself, or is newer than this program; asking again will not help.
    #[error("the store is inconsistent: {0}")]
    Inconsistent(String),
}

impl StoreError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A decision as a store sees it: its answer is kept inside.
pub trait Job: Send {
    /// [`Decision::lookup`].
    fn lookup(&self) -> Lookup;
    /// [`Decision::reads`].
    fn reads(&self, verification: Option<&Verification>) -> Reads;
    /// [`Decision::decide`]; the answer of the last call is the one that is given.
    fn decide(&mut self, snapshot: &Snapshot) -> Changes;
}

struct Asked<D: Decision> {
    decision: D,
    answer: Arc<Mutex<Option<D::Answer>>>,
}

impl<D: Decision> Job for Asked<D> {
    fn lookup(&self) -> Lookup {
        self.decision.lookup()
    }

    fn reads(&self, verification: Option<&Verification>) -> Reads {
        self.decision.reads(verification)
    }

    fn decide(&mut self, snapshot: &Snapshot) -> Changes {
        let (changes, answer) = self.decision.decide(snapshot);
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        changes
    }
}

/// Runs a decision in a store; the answer leaves only after the commit.
///
/// # Errors
/// [`StoreError`] if it could not be made durable.
pub async fn ask<D: Decision>(store: &dyn Store, decision: D) -> StoreResult<D::Answer> {
    let answer = Arc::new(Mutex::new(None));
    store.run(Box::new(Asked { decision, answer: Arc::clone(&answer) })).await?;
    let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
    answer.ok_or_else(|| StoreError::Inconsistent("the store never ran the decision".to_owned()))
}

/// Remembers verifications, deliveries, limits, guesses and events; applications, their keys and their records; answers given under
/// a key.
pub trait Store: Send + Sync + 'static {
    /// Runs one job and returns when its changes are durable.
    fn run(&self, job: Box<dyn Job>) -> BoxFuture<'_, StoreResult<()>>;

    /// One verification of an application, with its deliveries in order.
    fn verification<'a>(
        &'a self,
        application: &'a ApplicationName,
        id: VerificationId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>>;

    /// The verification of an application that has this delivery, with its deliveries in order.
    fn verification_of<'a>(
        &'a self,
        application: &'a ApplicationName,
        delivery: DeliveryId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>>;

    /// Those of these verifications that are there, of whatever application, each with its deliveries in order; in any order.
    fn verifications<'a>(&'a self, ids: &'a [VerificationId]) -> BoxFuture<'a, StoreResult<Vec<WithDeliveries>>>;

    /// A page of verifications, newest first.
    fn list<'a>(&'a self, filter: &'a ListFilter) -> BoxFuture<'a, StoreResult<Page>>;

    /// Takes deliveries whose lease has run out, most overdue first, under a new lease: nobody else is given them until it ends.
    /// `claims` of each is one higher than before.
    fn claim(&self, now: Timestamp, lease: Duration, most: usize) -> BoxFuture<'_, StoreResult<Vec<Claimed>>>;

    /// Verifications that are still called pending although their time was up at `now`, oldest first.
    fn overdue(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>>;

    /// Verifications whose [`Verification::follow_up_at`] has come at `now`, most overdue first.
    fn to_follow_up(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>>;

    /// Deletes, in one short transaction, at most `most` verifications of which the time was up before `before`, with what belongs to
    /// them, and at most as many counters, guess logs, kept answers, webhook messages and figures of health that are forgettable at `now`
    /// (of messages those that wait no more and are from before `before`, and those that have expired; of figures those older than
    /// [`countersign_core::health::KEPT_FOR`]). With `dry_run` it only counts.
    fn cleanup(
        &self,
        before: Timestamp,
        now: Timestamp,
        most: usize,
        dry_run: bool,
    ) -> BoxFuture<'_, StoreResult<Cleaned>>;

    /// Events after a position, oldest first, each with its position. Once an event can be read, none that is read later may have a
    /// lower position: who reads on from the last one misses nothing.
    fn events(&self, after: u64, most: usize) -> BoxFuture<'_, StoreResult<Vec<(u64, Event)>>>;

    /// Up to where events were taken up for webhooks; `None` if they are not. If they are `wanted` and were not before, it begins at
    /// the newest event; if they are not wanted, the position is forgotten. What has a position is spared by [`Store::cleanup`]: events
    /// after it, and their verifications.
    fn webhook_position(&self, wanted: bool) -> BoxFuture<'_, StoreResult<Option<u64>>>;

    /// If the position is `from`, moves it to `through` and keeps the messages, in one transaction; the position as it stands after.
    fn take_up_events<'a>(
        &'a self,
        from: u64,
        through: u64,
        messages: &'a [WebhookMessage],
    ) -> BoxFuture<'a, StoreResult<Option<u64>>>;

    /// Takes messages to an endpoint that are due, the earliest event first, under a new lease: nobody else is given them until it ends.
    /// `attempts` of each is one higher than before. A message waits for every earlier one of its verification that waits and whose
    /// `hold_until` is not past. An endpoint that is disabled is given none.
    fn claim_webhooks<'a>(
        &'a self,
        endpoint: &'a str,
        now: Timestamp,
        lease: Duration,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<WebhookMessage>>>;

    /// Writes down what a claimed message came to; `false`, and nothing changed, if it was claimed again since.
    fn settle_webhook<'a>(
        &'a self,
        message: &'a WebhookMessage,
        outcome: &'a WebhookOutcome,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<bool>>;

    /// Makes messages to these endpoints wait again, due now and as if never tried; how many.
    fn requeue_webhooks<'a>(
        &'a self,
        endpoints: &'a [String],
        which: &'a Requeue,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<u64>>;

    /// How every endpoint fares of which there is something to tell, by name.
    fn webhook_endpoints(&self) -> BoxFuture<'_, StoreResult<Vec<WebhookEndpoint>>>;

    /// Up to where events were counted in the figures of health; `None` if the store keeps none. It begins at the first event of a new
    /// store; events that were loaded are counted as taken up, since what was counted of them is loaded too.
    fn health_position(&self) -> BoxFuture<'_, StoreResult<Option<u64>>>;

    /// If the position is `from`, moves it to `through` and adds the figures to those that are there, in one transaction; `false`, and
    /// nothing changed, if it is elsewhere.
    fn take_up_health<'a>(&'a self, from: u64, through: u64, rows: &'a [HealthRow])
    -> BoxFuture<'a, StoreResult<bool>>;

    /// The figures of health of hours that began at `since` or later, in any order.
    fn health(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<HealthRow>>>;

    /// Begins an answer under an idempotency key, or tells what is known of it.
    fn begin_answer<'a>(&'a self, key: &'a AnswerKey, fresh: NewAnswer) -> BoxFuture<'a, StoreResult<KeptAnswer>>;

    /// Keeps the answer given under a key until it expires.
    fn keep_answer<'a>(&'a self, key: &'a AnswerKey, answer: Vec<u8>) -> BoxFuture<'a, StoreResult<()>>;

    /// Says that the request under a key is no longer in flight, and has no answer to keep: the same request may come again at once,
    /// and decides with the same seed.
    fn release_answer<'a>(&'a self, key: &'a AnswerKey) -> BoxFuture<'a, StoreResult<()>>;

    /// Creates an application; `false` if there is one of this name.
    fn create_application<'a>(&'a self, application: &'a ApplicationRecord) -> BoxFuture<'a, StoreResult<bool>>;

    /// All applications, by name.
    fn applications(&self) -> BoxFuture<'_, StoreResult<Vec<ApplicationRecord>>>;

    /// Keeps a new API key.
    fn create_key<'a>(&'a self, key: &'a KeyRecord) -> BoxFuture<'a, StoreResult<()>>;

    /// All API keys of an application, oldest first, revoked ones too.
    fn keys<'a>(&'a self, application: &'a ApplicationName) -> BoxFuture<'a, StoreResult<Vec<KeyRecord>>>;

    /// The key of which one of the three secrets has this SHA-256 digest, unless revoked.
    fn key_by_digest(&self, digest: [u8; 32]) -> BoxFuture<'_, StoreResult<Option<KeyRecord>>>;

    /// Revokes a key; `false` if there is none of this id.
    fn revoke_key<'a>(&'a self, id: &'a str, now: Timestamp) -> BoxFuture<'a, StoreResult<bool>>;

    /// Keeps a new record; `false`, and nothing changed, if there is one of this name.
    fn create_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>>;

    /// Replaces the body of a record and its `updated_at`; `false` if there is none of this name.
    fn update_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>>;

    /// One record.
    fn record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<Option<Record>>>;

    /// A page of records of one kind, newest first.
    fn records<'a>(&'a self, filter: &'a RecordFilter) -> BoxFuture<'a, StoreResult<RecordPage>>;

    /// Deletes a record and all that it is the parent of, and what they are; `false` if there is none of this name.
    fn delete_record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<bool>>;

    /// The next rows of a kind after a place, as they are; from the beginning after `None`. Each row that is there from the first page
    /// to the last is given once. Fewer than `most` are the last ones.
    fn dump<'a>(
        &'a self,
        kind: RowKind,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Dumped>>>;

    /// Writes rows as they are, all of them in one transaction; what is there already is left. What became of each, in their order.
    fn load(&self, rows: Vec<Row>) -> BoxFuture<'_, StoreResult<Vec<Loaded>>>;

    /// Whether the store answers.
    fn ping(&self) -> BoxFuture<'_, StoreResult<()>>;

    /// Stops taking work and finishes what waits. Afterwards every call is [`StoreError::Unavailable`].
    fn close(&self) -> BoxFuture<'_, StoreResult<()>>;
}

/// A delivery taken from the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The delivery, already under its new lease.
    pub delivery: Delivery,
    /// What it belongs to.
    pub verification: Verification,
}

/// Which verifications to list.
#[derive(Clone, Debug)]
pub struct ListFilter {
    /// Whose.
    pub application: ApplicationName,
    /// Only this service's; `Some(None)` are those of the application's own.
    pub service: Option<Option<ServiceId>>,
    /// Only this destination.
    pub to: Option<Destination>,
    /// Only this purpose.
    pub purpose: Option<Purpose>,
    /// Only those that have this status at `now`.
    pub status: Option<Status>,
    /// Only those that began at this instant or later.
    pub since: Option<Timestamp>,
    /// Only those that began before this instant.
    pub until: Option<Timestamp>,
    /// At most so many.
    pub limit: usize,
    /// Only those that come after this place in the list.
    pub after: Option<u64>,
    /// The instant at which statuses are judged.
    pub now: Timestamp,
}

impl ListFilter {
    /// The first hundred of an application.
    #[must_use]
    pub const fn new(application: ApplicationName, now: Timestamp) -> Self {
        Self {
            application,
            service: None,
            to: None,
            purpose: None,
            status: None,
            since: None,
            until: None,
            limit: 100,
            after: None,
            now,
        }
    }
}

/// A page of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Newest first, each with its deliveries.
    pub rows: Vec<WithDeliveries>,
    /// The place after which the next page begins; `None` on the last one.
    pub next: Option<u64>,
}

/// What a cleanup deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Verifications, each with its deliveries and events.
    pub verifications: u64,
    /// Counters, guess logs, kept answers, webhook messages and figures of health.
    pub others: u64,
    /// Whether there may be more to delete.
    pub more: bool,
}

/// Names the answer to a request that may be repeated: an application and a digest of its idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AnswerKey {
    /// Whose.
    pub application: ApplicationName,
    /// SHA-256 of the key.
    pub key: [u8; 32],
}

/// What is kept when a request with an idempotency key begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAnswer {
    /// Keyed digest of method, path and body.
    pub fingerprint: [u8; 32],
    /// Random bytes that the request decides with, so that the same request after a crash is known again.
    pub seed: [u8; 56],
    /// The instant.
    pub now: Timestamp,
    /// Until when a request that never finished is taken to be in flight.
    pub in_flight_until: Timestamp,
    /// Until when the answer is kept.
    pub expires_at: Timestamp,
}

/// What is known under an idempotency key.
#[derive(Clone, PartialEq, Eq)]
pub enum KeptAnswer {
    /// Nothing: the request is the first, or the first one after a crash. It decides with this seed.
    Begun {
        /// [`NewAnswer::seed`] of whoever began first.
        seed: [u8; 56],
    },
    /// The first request is still at it.
    InFlight,
    /// The key was used for another request.
    Mismatch,
    /// The first request's answer.
    Answered(Vec<u8>),
}

/// An application as the store knows it. What it allows is in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApplicationRecord {
    /// Its name.
    pub name: ApplicationName,
    /// `AC` and 32 hexadecimal digits: its name in the Twilio dialect.
    pub account_sid: String,
    /// When it was created.
    pub created_at: Timestamp,
}

/// An API key as the store knows it: digests alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// `key_` and letters and digits; public.
    pub id: String,
    /// Whose.
    pub application: ApplicationName,
    /// SHA-256 of the bearer key.
    pub key_digest: [u8; 32],
    /// SHA-256 of the auth token of the Twilio dialect.
    pub auth_token_digest: [u8; 32],
    /// `SK` and 32 hexadecimal digits: the key's name in the Twilio dialect; public.
    pub key_sid: String,
    /// SHA-256 of that key's secret.
    pub key_secret_digest: [u8; 32],
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Names a record: whose, of which kind, which.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordName {
    /// Whose.
    pub application: ApplicationName,
    /// What it is: a word of whoever keeps it.
    pub kind: String,
    /// Which: unique among the records of an application.
    pub id: String,
}

/// Something that a door keeps for an application and no rule knows of: a service's settings, a rate limit, a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its name.
    pub name: RecordName,
    /// The id of the record that it belongs to, and goes with.
    pub parent: Option<String>,
    /// A JSON text.
    pub body: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its body was last replaced.
    pub updated_at: Timestamp,
}

/// Which records to list.
#[derive(Clone, Debug)]
pub struct RecordFilter {
    /// Whose.
    pub application: ApplicationName,
    /// Of which kind.
    pub kind: String,
    /// Only those of this parent.
    pub parent: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Only those that come after this place in the list.
    pub after: Option<u64>,
}

/// A page of records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordPage {
    /// Newest first.
    pub rows: Vec<Record>,
    /// The place after which the next page begins; `None` on the last one.
    pub next: Option<u64>,
}
