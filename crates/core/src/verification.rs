//! One attempt to prove control of one destination of one application for one purpose.
//!
//! ```text
//!                    ┌── right code ───────────────► approved
//!                    │
//!                    ├── the holder's last guess ──► max_attempts_reached
//!   send ─► pending ─┼── canceled by the app ──────► canceled
//!           │     ▲  ├── its time is up ───────────► expired
//!           └─────┘  └── no provider carries it ───► failed
//!        sent again,
//!        wrong guess
//! ```
//! Every state but `pending` is final. `expired` is true from the instant `expires_at` on, whether or not the store says so yet:
//! [`Verification::status_at`] is what rules ask.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::channel::Channel;
use crate::code::{Binding, CodeSource};
use crate::destination::Destination;
use crate::id::{ApplicationName, DeliveryId, Purpose, ServiceId, VerificationId};
use crate::time::Timestamp;

/// A verification as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Its unguessable name.
    pub id: VerificationId,
    /// Whose it is.
    pub application: ApplicationName,
    /// Which service of the application it belongs to; `None` is the one that every application has from the beginning.
    pub service: Option<ServiceId>,
    /// What is to be proved.
    pub to: Destination,
    /// What for.
    pub purpose: Purpose,
    /// Whether it was begun by somebody without a key, who then holds its id. Guesses at it have a budget of their own.
    pub keyless: bool,
    /// The channel of the latest send.
    pub channel: Channel,
    /// As last written; [`Verification::status_at`] knows about time.
    pub status: Status,
    /// When it began.
    pub created_at: Timestamp,
    /// From this instant on its code is refused. Never moves.
    pub expires_at: Timestamp,
    /// When it reached a final state.
    pub finished_at: Option<Timestamp>,
    /// Digits of its code.
    pub code_length: u8,
    /// Where its code comes from.
    pub code: CodeSource,
    /// How often it was sent.
    pub sends: u32,
    /// How often it may be sent.
    pub max_sends: u32,
    /// From when on it may be sent again.
    pub resend_at: Timestamp,
    /// When the next provider or channel is tried if nothing has happened by then: see [`crate::follow`].
    pub follow_up_at: Option<Timestamp>,
    /// Wrong guesses by who holds the id.
    pub wrong_by_id: u32,
    /// Wrong guesses by who only knows the destination.
    pub wrong_by_destination: u32,
    /// Wrong guesses that each of the two may have.
    pub max_checks: u32,
    /// BCP 47 tag asked for.
    pub locale: Option<String>,
    /// The name of the template asked for.
    pub template: Option<String>,
    /// The application's own notes, at most ten.
    pub metadata: BTreeMap<String, String>,
    /// The payment that its code confirms.
    pub payment: Option<Payment>,
    /// What its message says in words of its own.
    pub wording: Wording,
}

/// A payment that a code confirms: whoever offers the code must name the same one (dynamic linking, Delegated Regulation (EU)
/// 2018/389 article 5). The code is derived from it too, so that an altered row has another code.
#[derive(Clone, PartialEq, Eq)]
pub struct Payment {
    /// How much, as the application writes it, with its currency.
    pub amount: String,
    /// To whom.
    pub payee: String,
}

impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payment")
    }
}

/// What the message of one verification says in place of the application's words, or besides them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wording {
    /// In place of [`crate::policy::Application::display_name`].
    pub name: Option<String>,
    /// In place of [`crate::policy::Application::android_app_hash`].
    pub android_app_hash: Option<String>,
    /// What a template names as `custom`.
    pub values: BTreeMap<String, String>,
    /// In place of every template: see [`crate::own_text`].
    pub text: Option<String>,
}

/// Where a verification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Its code would be accepted.
    Pending,
    /// Its code was accepted, once.
    Approved,
    /// The application called it off.
    Canceled,
    /// Its time ran out.
    Expired,
    /// The holder of its id used up the guesses.
    MaxAttemptsReached,
    /// No provider would carry it.
    Failed,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Approved, Self::Canceled, Self::Expired, Self::MaxAttemptsReached, Self::Failed];

    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
            Self::MaxAttemptsReached => "max_attempts_reached",
            Self::Failed => "failed",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Verification {
    /// Where it stands at `now`.
    #[must_use]
    pub fn status_at(&self, now: Timestamp) -> Status {
        if self.status == Status::Pending && now >= self.expires_at { Status::Expired } else { self.status }
    }

    /// Whether its code would be accepted at `now`.
    #[must_use]
    pub fn is_pending_at(&self, now: Timestamp) -> bool {
        self.status_at(now) == Status::Pending
    }

    /// Guesses that the holder of the id has left.
    #[must_use]
    pub const fn checks_left(&self) -> u32 {
        self.max_checks.saturating_sub(self.wrong_by_id)
    }

    /// Sends that are left.
    #[must_use]
    pub const fn sends_left(&self) -> u32 {
        self.max_sends.saturating_sub(self.sends)
    }

    /// What its code is bound to.
    #[must_use]
    pub fn binding(&self) -> Binding<'_> {
        Binding {
            verification: self.id.as_bytes(),
            application: self.application.as_str(),
            destination: self.to.reveal(),
            purpose: self.purpose.as_str(),
            service: self.service.as_ref().map(ServiceId::as_bytes),
            payment: self.payment.as_ref(),
        }
    }

    /// Ends it. The sealed copy of a chosen code goes with the last use that it could have.
    pub(crate) fn finish(&mut self, status: Status, at: Timestamp) {
        self.status = status;
        self.finished_at = Some(at);
        self.follow_up_at = None;
        if let CodeSource::Chosen { sealed, .. } = &mut self.code {
            *sealed = None;
        }
    }
}

/// One attempt to have a provider carry one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its name; gateways get it as their idempotency key.
    pub id: DeliveryId,
    /// What it belongs to.
    pub verification: VerificationId,
    /// Its place among the verification's deliveries, from 1.
    pub number: u32,
    /// Which send of the verification it carries, from 1.
    pub send: u32,
    /// How it travels.
    pub channel: Channel,
    /// The provider's name in the configuration.
    pub provider: String,
    /// What became of it.
    pub status: DeliveryStatus,
    /// When the message was decided on: what the minutes in its text are counted from.
    pub queued_at: Timestamp,
    /// When its status last changed.
    pub at: Timestamp,
    /// Why it failed, in words for people; no secrets.
    pub error: Option<String>,
    /// The provider's own name for the message.
    pub message_id: Option<String>,
    /// Not to be carried before then.
    pub due_at: Timestamp,
    /// The outbox's lease: who took it has until then; after that anybody may.
    pub lease_until: Timestamp,
    /// How often it was taken from the outbox: fences off a carrier that lost its lease.
    pub claims: u32,
}

/// What became of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryStatus {
    /// In the outbox.
    Queued,
    /// The provider took it.
    Accepted,
    /// A handset has it.
    Delivered,
    /// It did not reach a handset.
    Undelivered,
    /// The provider did not take it.
    Failed,
    /// Nobody can say.
    Unknown,
}

impl DeliveryStatus {
    /// Every status.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Accepted, Self::Delivered, Self::Undelivered, Self::Failed, Self::Unknown];

    /// The name on the wire and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Undelivered => "undelivered",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }

    /// How much is known: a report may only move a delivery up.
    #[must_use]
    pub(crate) const fn certainty(self) -> u8 {
        match self {
            Self::Queued => 0,
            Self::Unknown => 1,
            Self::Accepted => 2,
            Self::Failed | Self::Undelivered => 3,
            Self::Delivered => 4,
        }
    }
}

/// The wrong guesses at one destination of one application in the last 24 hours, all purposes together. It outlives resends, new
/// verifications and expiry, which is what makes it a budget.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuessLog {
    /// By who held the verification's id.
    pub by_id: Vec<Timestamp>,
    /// By who held the id of a verification that was begun without a key: anybody can have one.
    pub by_keyless: Vec<Timestamp>,
    /// By who only knew the destination.
    pub by_destination: Vec<Timestamp>,
}

/// Who offers a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum By {
    /// Who holds the unguessable id.
    Id,
    /// Who only knows the destination.
    Destination,
}

/// Whose budget of the day a guess is counted in. Whoever begins verifications of a number without a key holds their ids, and must
/// not use up the budget of who holds one that an application began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Budget {
    /// Of who holds the id.
    Id,
    /// Of who holds the id of a verification begun without a key.
    Keyless,
    /// Of who only knows the destination.
    Destination,
}

impl Verification {
    /// Whose budget a guess at this verification is counted in.
    #[must_use]
    pub const fn budget(&self, by: By) -> Budget {
        match by {
            By::Id if self.keyless => Budget::Keyless,
            By::Id => Budget::Id,
            By::Destination => Budget::Destination,
        }
    }
}

impl Budget {
    /// Every budget.
    pub const ALL: [Self; 3] = [Self::Id, Self::Keyless, Self::Destination];
}

impl GuessLog {
    /// How far back it counts.
    pub const WINDOW: Duration = Duration::from_secs(24 * 60 * 60);

    /// Wrong guesses counted in one budget in the 24 h up to `now`.
    #[must_use]
    pub fn count(&self, budget: Budget, now: Timestamp) -> u32 {
        u32::try_from(self.of(budget).iter().filter(|at| is_recent(**at, now)).count()).unwrap_or(u32::MAX)
    }

    /// Wrong guesses of all together in the 24 h up to `now`.
    #[must_use]
    pub fn total(&self, now: Timestamp) -> u32 {
        Budget::ALL.into_iter().fold(0, |sum, budget| sum.saturating_add(self.count(budget, now)))
    }

    /// How long until a budget has a guess again, if `allowed` in 24 h are used up; `None` if not.
    #[must_use]
    pub fn wait(&self, budget: Budget, allowed: u32, now: Timestamp) -> Option<Duration> {
        let mut recent: Vec<_> = self.of(budget).iter().copied().filter(|at| is_recent(*at, now)).collect();
        recent.sort_unstable();
        let blocking = recent.len().checked_sub(allowed.max(1) as usize)?;
        // The budget opens when the oldest of those that fill it leaves the window. A guess "in the future" was made by a wrong clock.
        Some((recent.get(blocking).copied()?.min(now) + Self::WINDOW).after(now))
    }

    /// The log with one more wrong guess, and without what no rule asks about any more.
    #[must_use]
    pub fn with(&self, budget: Budget, now: Timestamp) -> Self {
        let keep = |log: &[Timestamp]| log.iter().map(|at| (*at).min(now)).filter(|at| is_recent(*at, now)).collect();
        let mut next = Self {
            by_id: keep(&self.by_id),
            by_keyless: keep(&self.by_keyless),
            by_destination: keep(&self.by_destination),
        };
        match budget {
            Budget::Id => next.by_id.push(now),
            Budget::Keyless => next.by_keyless.push(now),
            Budget::Destination => next.by_destination.push(now),
        }
        next
    }

    /// When nothing in it counts any more and it may be forgotten.
    #[must_use]
    pub fn forgettable_at(&self) -> Timestamp {
        let last = Budget::ALL.into_iter().filter_map(|budget| self.of(budget).iter().max()).max();
        last.map_or(Timestamp::EPOCH, |last| *last + Self::WINDOW)
    }

    fn of(&self, budget: Budget) -> &[Timestamp] {
        match budget {
            Budget::Id => &self.by_id,
            Budget::Keyless => &self.by_keyless,
            Budget::Destination => &self.by_destination,
        }
    }
}

fn is_recent(at: Timestamp, now: Timestamp) -> bool {
    at + GuessLog::WINDOW > now
}
