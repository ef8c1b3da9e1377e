//! What happens, for metrics: counts and times, never a destination or a code.

use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::check::CheckResult;
use countersign_core::destination::Country;
use countersign_core::health::HealthRow;
use countersign_core::refusal;
use countersign_core::time::Timestamp;

/// Something that was just done.
#[derive(Clone, Copy, Debug)]
pub enum Observation<'a> {
    /// A message was committed to the outbox.
    Sent {
        /// Whose.
        application: &'a str,
        /// How it travels.
        channel: Channel,
        /// Whether it began a verification.
        begun: bool,
    },
    /// A request was refused.
    Refused {
        /// Whose.
        application: &'a str,
        /// Why.
        refusal: refusal::Kind,
    },
    /// A send went to a block of numbers that is full of sends that nobody confirmed.
    Suspected {
        /// Whose.
        application: &'a str,
        /// The number's country.
        country: Option<Country>,
        /// Whether it was refused: if not, the guard only observes, or the application answers for it.
        refused: bool,
    },
    /// A block of numbers filled up with sends that nobody confirmed.
    Alarm {
        /// Whose.
        application: &'a str,
        /// The country of the numbers.
        country: Option<Country>,
    },
    /// A code was checked.
    Checked {
        /// Whose.
        application: &'a str,
        /// What came of it.
        result: CheckResult,
    },
    /// A provider was asked to carry a message.
    Carried {
        /// Which.
        provider: &'a str,
        /// How.
        channel: Channel,
        /// `accepted`, `rejected` or `unknown`.
        outcome: &'static str,
        /// How long it took to answer.
        took: Duration,
    },
    /// A provider's sessions changed, or what is on its way over them.
    Sessions {
        /// Which.
        provider: &'a str,
        /// Sessions that are bound.
        bound: usize,
        /// Messages that were handed over and not answered.
        outstanding: usize,
    },
    /// A provider asked to be sent less.
    Throttled {
        /// Which.
        provider: &'a str,
    },
    /// Something in the background broke; it will be tried again.
    Trouble {
        /// What was being done.
        doing: &'static str,
    },
    /// How providers do, as the store has it: all that still counts for something, from time to time.
    Health {
        /// By hour, application, provider, channel and country.
        rows: &'a [HealthRow],
        /// The instant.
        now: Timestamp,
    },
    /// Verifications were deleted after their time.
    Cleaned {
        /// How many.
        verifications: u64,
    },
}

/// Told of every [`Observation`]. Called on hot paths: it must be quick and must not block.
pub trait Observer: Send + Sync + 'static {
    /// Takes one.
    fn observe(&self, observation: Observation<'_>);
}

/// Nobody watches.
pub(crate) struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _: Observation<'_>) {}
}
