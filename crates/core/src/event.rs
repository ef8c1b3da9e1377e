//! What happened, for webhooks, metrics and the record. Never a code, never a text.

use crate::id::{ApplicationName, DeliveryId, VerificationId};
use crate::time::Timestamp;
use crate::verification::Verification;

/// Something that happened to a verification, committed together with what it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// Whose verification.
    pub application: ApplicationName,
    /// Which verification.
    pub verification: VerificationId,
    /// Which delivery, for events of one.
    pub delivery: Option<DeliveryId>,
    /// When.
    pub at: Timestamp,
}

impl Event {
    pub(crate) fn of(kind: EventKind, verification: &Verification, at: Timestamp) -> Self {
        Self { kind, application: verification.application.clone(), verification: verification.id, delivery: None, at }
    }
}

/// The kinds of events, by their names in webhooks (API.md section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// A verification began.
    VerificationCreated,
    /// The right code came back.
    VerificationApproved,
    /// Its time ran out.
    VerificationExpired,
    /// The application called it off.
    VerificationCanceled,
    /// The holder of the id used up the guesses.
    VerificationMaxAttemptsReached,
    /// No provider would carry it.
    VerificationFailed,
    /// A provider took a message.
    DeliveryAccepted,
    /// A handset has it.
    DeliveryDelivered,
    /// It did not reach a handset.
    DeliveryUndelivered,
    /// A provider did not take it.
    DeliveryFailed,
    /// With the send that began or repeated this verification a block of numbers is full of sends that nobody confirmed: the alarm of
    /// the guard. From then on it refuses, if it enforces.
    GuardBlocked,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::VerificationCreated,
        Self::VerificationApproved,
        Self::VerificationExpired,
        Self::VerificationCanceled,
        Self::VerificationMaxAttemptsReached,
        Self::VerificationFailed,
        Self::DeliveryAccepted,
        Self::DeliveryDelivered,
        Self::DeliveryUndelivered,
        Self::DeliveryFailed,
        Self::GuardBlocked,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::VerificationCreated => "verification.created",
            Self::VerificationApproved => "verification.approved",
            Self::VerificationExpired => "verification.expired",
            Self::VerificationCanceled => "verification.canceled",
            Self::VerificationMaxAttemptsReached => "verification.max_attempts_reached",
            Self::VerificationFailed => "verification.failed",
            Self::DeliveryAccepted => "delivery.accepted",
            Self::DeliveryDelivered => "delivery.delivered",
            Self::DeliveryUndelivered => "delivery.undelivered",
            Self::DeliveryFailed => "delivery.failed",
            Self::GuardBlocked => "guard.blocked",
        }
    }
}
