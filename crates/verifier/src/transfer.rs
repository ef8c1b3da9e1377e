//! Moving what one store remembers into another: every store can be read whole, in pages, and filled again.
//!
//! Rows are as they were written: what is loaded behaves as if it had been decided there. Whoever moves verifications moves the key
//! ring with them, or their codes cannot be checked.

use countersign_core::decision::GuessKey;
use countersign_core::event::Event;
use countersign_core::health::HealthRow;
use countersign_core::limit::{LimitKey, Tat};
use countersign_core::time::Timestamp;
use countersign_core::verification::{Delivery, GuessLog, Verification};

use crate::store::{AnswerKey, ApplicationRecord, KeyRecord, NewAnswer, Record};

/// What a store remembers, in the order in which it has to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowKind {
    /// Applications.
    Application,
    /// API keys.
    Key,
    /// What doors keep for an application.
    Record,
    /// Verifications with their deliveries, oldest first.
    Verification,
    /// Counters of limits.
    Limit,
    /// Wrong guesses of the last day.
    Guesses,
    /// Answers given under idempotency keys.
    Answer,
    /// Events, oldest first.
    Event,
    /// Figures of how providers do, oldest first.
    Health,
}

impl RowKind {
    /// Every kind, in the order in which they have to be loaded.
    pub const ALL: [Self; 9] = [
        Self::Application,
        Self::Key,
        Self::Record,
        Self::Verification,
        Self::Limit,
        Self::Guesses,
        Self::Answer,
        Self::Event,
        Self::Health,
    ];

    /// Its name in a file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Key => "key",
            Self::Record => "record",
            Self::Verification => "verification",
            Self::Limit => "limit",
            Self::Guesses => "guesses",
            Self::Answer => "answer",
            Self::Event => "event",
            Self::Health => "health",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// One thing that a store remembers.
#[derive(Clone, PartialEq, Eq)]
pub enum Row {
    /// An application.
    Application(ApplicationRecord),
    /// An API key: digests alone.
    Key(KeyRecord),
    /// A record.
    Record(Record),
    /// A verification with its deliveries in order.
    Verification(Box<Verification>, Vec<Delivery>),
    /// A counter.
    Limit(LimitKey, Tat),
    /// The wrong guesses at one destination of one application.
    Guesses(GuessKey, GuessLog),
    /// An answer.
    Answer(AnswerRow),
    /// An event with its position: readers of events go by it, so it is kept.
    Event(u64, Event),
    /// Figures of an hour.
    Health(HealthRow),
}

impl Row {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> RowKind {
        match self {
            Self::Application(_) => RowKind::Application,
            Self::Key(_) => RowKind::Key,
            Self::Record(_) => RowKind::Record,
            Self::Verification(..) => RowKind::Verification,
            Self::Limit(..) => RowKind::Limit,
            Self::Guesses(..) => RowKind::Guesses,
            Self::Answer(_) => RowKind::Answer,
            Self::Event(..) => RowKind::Event,
            Self::Health(_) => RowKind::Health,
        }
    }

    /// What one can call it by in a message: an id or a name, never a destination.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Application(row) => row.name.to_string(),
            Self::Key(row) => row.id.clone(),
            Self::Record(row) => format!("{}/{}/{}", row.name.application, row.name.kind, row.name.id),
            Self::Verification(row, _) => row.id.to_string(),
            Self::Limit(..) => "a counter".to_owned(),
            Self::Guesses(key, _) => format!("of a destination of {}", key.application),
            Self::Answer(row) => format!("of {}", row.key.application),
            Self::Event(place, _) => format!("at {place}"),
            Self::Health(row) => format!("of {} at {}", row.key.provider, row.key.hour),
        }
    }
}

impl std::fmt::Debug for Row {
    /// Its kind and name: a row holds destinations and digests.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kind().as_str(), self.name())
    }
}

/// An answer under an idempotency key, as a store keeps it.
#[derive(Clone, PartialEq, Eq)]
pub struct AnswerRow {
    /// Whose, and the key's digest.
    pub key: AnswerKey,
    /// What it began with. `now` is not kept; it is the epoch here.
    pub begun: NewAnswer,
    /// The answer, sealed; `None` while the first request is at it.
    pub answer: Option<Vec<u8>>,
}

impl AnswerRow {
    /// What a store has of an answer.
    #[must_use]
    pub const fn new(
        key: AnswerKey,
        fingerprint: [u8; 32],
        seed: [u8; 56],
        in_flight_until: Timestamp,
        expires_at: Timestamp,
        answer: Option<Vec<u8>>,
    ) -> Self {
        let begun = NewAnswer { fingerprint, seed, now: Timestamp::EPOCH, in_flight_until, expires_at };
        Self { key, begun, answer }
    }
}

/// A row that was read, and where it stands among those of its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dumped {
    /// Reading goes on after here: opaque, and good for the store that gave it alone.
    pub place: String,
    /// The row.
    pub row: Row,
}

/// What became of a row that was to be loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It was written.
    New,
    /// It was there, just so.
    Same,
    /// Something else is there under its name; that was left.
    Differs,
    /// A newer verification of the same application, service, destination and purpose is there; this one was left out, since the
    /// latest is what counts.
    Older,
    /// The store keeps nothing of the kind.
    NotKept,
}
