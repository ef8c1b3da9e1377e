//! A person answered a call and pressed a key: may they hear the code?

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use subtle::ConstantTimeEq;

use crate::channel::Channel;
use crate::code::KeyRing;
use crate::decision::{Changes, Decision, Lookup, Reads, Snapshot, Write};
use crate::deliver::delivery_event;
use crate::id::DeliveryId;
use crate::time::Timestamp;
use crate::verification::{Delivery, DeliveryStatus, Verification};

/// How long a call may take from its being queued to the key, retries of the provider's and a long ringing included. After that
/// whoever asks is not on the phone.
const LONGEST_CALL: Duration = Duration::from_secs(5 * 60);

/// A gateway says that a key was pressed on a call, and asks what is to be said. It is told once: the code has then been heard, which
/// is all that a delivery can do.
pub struct Hear {
    /// The provider that asks.
    pub provider: String,
    /// The delivery that the call carries.
    pub delivery: DeliveryId,
    /// What was given as its ticket ([`KeyRing::ticket`]).
    pub ticket: String,
    /// Makes the ticket that it must be.
    pub keys: Arc<KeyRing>,
    /// The instant.
    pub now: Timestamp,
}

impl fmt::Debug for Hear {
    /// Without the ticket.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hear").field("delivery", &self.delivery).finish_non_exhaustive()
    }
}

impl Decision for Hear {
    /// What the message is to be written from; `None` where nothing may be said.
    type Answer = Option<(Verification, Delivery)>;

    fn lookup(&self) -> Lookup {
        Lookup::ByReference { provider: self.provider.clone(), reference: self.delivery.to_string() }
    }

    fn reads(&self, _: Option<&Verification>) -> Reads {
        Reads { deliveries: true, ..Reads::default() }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer) {
        let nothing = (Changes::default(), None);
        let Some(verification) = &snapshot.verification else { return nothing };
        let Some(call) = snapshot.deliveries.iter().find(|delivery| self.may_be_heard(verification, delivery)) else {
            return nothing;
        };
        let heard = Delivery { status: DeliveryStatus::Delivered, at: self.now, error: None, ..call.clone() };
        let changes = Changes {
            deliveries: vec![Write::Update(heard.clone())],
            events: delivery_event(verification, &heard, self.now).into_iter().collect(),
            ..Changes::default()
        };
        (changes, Some((verification.clone(), heard)))
    }
}

impl Hear {
    fn may_be_heard(&self, verification: &Verification, delivery: &Delivery) -> bool {
        delivery.id == self.delivery
            && delivery.provider == self.provider
            && delivery.channel == Channel::Voice
            && delivery.status.certainty() < DeliveryStatus::Undelivered.certainty()
            && self.now.since(delivery.due_at) <= LONGEST_CALL
            && verification.is_pending_at(self.now)
            && self.is_ticket(verification)
    }

    /// In constant time. Without the key of the verification there is no right one.
    fn is_ticket(&self, verification: &Verification) -> bool {
        let right = self.keys.ticket(&verification.code, verification.binding(), self.delivery.as_bytes());
        right.is_ok_and(|right| right.as_bytes().ct_eq(self.ticket.as_bytes()).into())
    }
}
