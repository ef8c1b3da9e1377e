//! The shape of every decision: what it must know, what it sees, what it changes.
//!
//! A store runs a decision inside one transaction: it looks up the verification, reads what [`Decision::reads`] names, calls
//! [`Decision::decide`] and writes [`Changes`], all or nothing. A store that cannot lock may call `decide` again with a newer
//! snapshot; a decision therefore changes nothing but its answer.

use crate::destination::Destination;
use crate::event::Event;
use crate::id::{ApplicationName, DeliveryId, Purpose, ServiceId, VerificationId};
use crate::limit::{LimitKey, Tat};
use crate::time::Timestamp;
use crate::verification::{Delivery, GuessLog, Verification};

/// A pure rule: snapshot in, changes and answer out. Time and chance are in the value itself.
pub trait Decision: Send + 'static {
    /// What the caller is told.
    type Answer: Send + 'static;

    /// Which verification it is about.
    fn lookup(&self) -> Lookup;

    /// What else it must know, given that verification.
    fn reads(&self, verification: Option<&Verification>) -> Reads;

    /// Decides.
    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer);
}

/// Which verification a decision is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The one with this id, if it is this application's.
    ById {
        /// Whose.
        application: ApplicationName,
        /// Its id.
        id: VerificationId,
    },
    /// The one begun last for these four, whatever became of it.
    Latest {
        /// Whose.
        application: ApplicationName,
        /// Of which of its services; `None` is the one that it has from the beginning.
        service: Option<ServiceId>,
        /// To whom.
        to: Destination,
        /// What for.
        purpose: Purpose,
    },
    /// The one that has a delivery which this provider knows by this reference (its own message id, or our delivery id).
    ByReference {
        /// The provider's name.
        provider: String,
        /// What its receipt calls the message.
        reference: String,
    },
}

/// What a decision must know besides the verification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Counters of limits.
    pub limits: Vec<LimitKey>,
    /// Whose wrong guesses.
    pub guesses: Option<GuessKey>,
    /// The verification's deliveries.
    pub deliveries: bool,
}

/// Names a [`GuessLog`]: an application and a destination's budget key. `Debug` leaves the destination out.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuessKey {
    /// Whose.
    pub application: ApplicationName,
    /// [`Destination::budget_key`].
    pub destination: String,
}

impl GuessKey {
    /// The log for a destination of an application.
    #[must_use]
    pub fn new(application: &ApplicationName, to: &Destination) -> Self {
        Self { application: application.clone(), destination: to.budget_key() }
    }
}

impl std::fmt::Debug for GuessKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GuessKey").field("application", &self.application).finish_non_exhaustive()
    }
}

/// What a decision sees.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The verification looked up.
    pub verification: Option<Verification>,
    /// Its deliveries in order, if asked for.
    pub deliveries: Vec<Delivery>,
    /// The counters asked for, in the order asked.
    pub limits: Vec<Option<Tat>>,
    /// The wrong guesses asked for.
    pub guesses: GuessLog,
}

/// What a decision changes: written together, or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The verification, new or changed.
    pub verification: Option<Write<Verification>>,
    /// The verification of the snapshot as it ends, where [`Changes::verification`] is a new one that takes its place.
    pub ended: Option<Verification>,
    /// Deliveries, new or changed.
    pub deliveries: Vec<Write<Delivery>>,
    /// Counters of limits as they now stand.
    pub limits: Vec<(LimitKey, Tat)>,
    /// A log of wrong guesses as it now stands.
    pub guesses: Option<(GuessKey, GuessLog)>,
    /// What happened.
    pub events: Vec<Event>,
    /// Nothing changes, but the caller must not learn that from the time it takes: the store makes one small durable write.
    pub decoy: bool,
}

impl Changes {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A row to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write<T> {
    /// It is new.
    Insert(T),
    /// It was in the snapshot.
    Update(T),
}

impl<T> Write<T> {
    /// The row.
    pub const fn row(&self) -> &T {
        match self {
            Self::Insert(row) | Self::Update(row) => row,
        }
    }
}

/// Where time and chance enter: drawn by the caller, so that every rule is repeatable.
#[derive(Clone, Copy)]
pub struct Chance {
    /// For a new verification.
    pub verification: VerificationId,
    /// For a new delivery.
    pub delivery: DeliveryId,
    /// For sealing a chosen code, and for jitter.
    pub nonce: [u8; 24],
}

impl Chance {
    /// From 56 random bytes of the operating system.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 56]) -> Self {
        let (mut verification, mut delivery, mut nonce) = ([0; 16], [0; 16], [0; 24]);
        verification.copy_from_slice(&bytes[..16]);
        delivery.copy_from_slice(&bytes[16..32]);
        nonce.copy_from_slice(&bytes[32..]);
        Self {
            verification: VerificationId::from_bytes(verification),
            delivery: DeliveryId::from_bytes(delivery),
            nonce,
        }
    }

    /// The same chance with a delivery id that begins with the time, so that a store adds it at the end of its index rather than
    /// somewhere in the middle. A delivery's id is no secret; 80 random bits keep it apart from every other.
    #[must_use]
    pub fn with_ordered_delivery(mut self, now: Timestamp) -> Self {
        let mut bytes = *self.delivery.as_bytes();
        bytes[..6].copy_from_slice(&now.as_millis().to_be_bytes()[2..]);
        self.delivery = DeliveryId::from_bytes(bytes);
        self
    }

    /// A number in `0..=most`, near enough to uniform for jitter.
    pub(crate) fn jitter(&self, most: u64) -> u64 {
        let word = self.nonce.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        word % (most.saturating_add(1))
    }
}

impl std::fmt::Debug for Chance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chance")
    }
}
