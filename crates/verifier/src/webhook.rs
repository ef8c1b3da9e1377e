//! What a store keeps of webhooks: each event on its way to each endpoint, and how the endpoints fare.
//!
//! Events are committed with what they tell of. Whoever sends webhooks takes them up in order: one transaction keeps a message for
//! every endpoint that wants the event and moves the position up to which events were taken up. So each event is taken up exactly
//! once, however many processes try; and as long as nobody sends webhooks there is no position, nothing is kept, and nothing costs.
//!
//! A message is claimed under a lease, tried, and settled. A claim raises `attempts`, and a settlement under an older number is not
//! heard: who lost its lease has lost its say. Delivered at least once: a process that dies between an answer and its settlement
//! leaves a message that is sent again under the same id.

use countersign_core::id::{ApplicationName, VerificationId};
use countersign_core::time::Timestamp;

/// One event on its way to one endpoint. Its `Debug` leaves the body out, which names a destination.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookMessage {
    /// The endpoint's name.
    pub endpoint: String,
    /// The event's name, the same at every endpoint and every attempt. Names sort as their events happened.
    pub id: String,
    /// Whose event.
    pub application: ApplicationName,
    /// Of which verification: its events are sent in order.
    pub verification: VerificationId,
    /// What is sent, the same at every attempt. Never a code.
    pub body: String,
    /// When the event happened.
    pub at: Timestamp,
    /// Until then, as long as it waits, it holds back later messages of its verification to its endpoint.
    pub hold_until: Timestamp,
    /// From then on it may be forgotten, whatever became of it.
    pub expires_at: Timestamp,
    /// Not to be tried before then.
    pub due_at: Timestamp,
    /// How often it was claimed.
    pub attempts: u32,
}

impl std::fmt::Debug for WebhookMessage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WebhookMessage")
            .field("endpoint", &self.endpoint)
            .field("id", &self.id)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// What an attempt came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WebhookOutcome {
    /// The endpoint took it.
    Delivered,
    /// It did not; to be tried again.
    Again {
        /// From when on.
        due_at: Timestamp,
        /// Why, in words for people.
        error: String,
    },
    /// It did not, and will not be asked again.
    GivenUp {
        /// Why, in words for people.
        error: String,
    },
    /// The endpoint says that it is gone: it is disabled. The message waits until it is enabled again, or forgotten.
    Gone {
        /// Why, in words for people.
        error: String,
        /// Tells the endpoint's settings from others: a change of them enables it again.
        settings: String,
    },
}

/// How an endpoint fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookEndpoint {
    /// Its name.
    pub endpoint: String,
    /// Messages that wait.
    pub pending: u64,
    /// When the oldest event that waits happened.
    pub oldest: Option<Timestamp>,
    /// Since when no attempt has succeeded.
    pub failing_since: Option<Timestamp>,
    /// Why the latest attempt that failed did.
    pub last_error: Option<String>,
    /// Since when it is disabled, and [`WebhookOutcome::Gone::settings`] of then.
    pub disabled: Option<(Timestamp, String)>,
}

/// Which messages are to be sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Those of one event.
    Event(String),
    /// Those of every event that happened from the one instant on and before the other.
    Between(Timestamp, Timestamp),
    /// Those that wait anyway, now rather than when they are due; the endpoints are enabled again.
    Waiting,
}
