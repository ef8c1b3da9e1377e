//! What is handed to a provider, and what it may answer.

use std::fmt;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::channel::Channel;
use crate::code::Code;
use crate::destination::Destination;
use crate::id::{ApplicationName, DeliveryId};
use crate::time::Timestamp;

/// One message, ready to be carried. It holds the code, so it is made just before it is carried, wiped after, and never stored.
pub struct Message {
    /// The delivery's id: a gateway that knows idempotency keys is given this one.
    pub id: DeliveryId,
    /// The application's name.
    pub application: ApplicationName,
    /// What the application calls itself, on one line.
    pub display_name: String,
    /// How it travels.
    pub channel: Channel,
    /// To whom.
    pub to: Destination,
    /// The line above an email; empty on every other channel. A template may put the code into it.
    pub subject: Zeroizing<String>,
    /// The whole text, code included.
    pub text: Zeroizing<String>,
    /// The code alone, for channels that build their own text (voice, WhatsApp templates).
    pub code: Code,
    /// A word for this delivery alone that nobody else can make ([`KeyRing::ticket`](crate::code::KeyRing::ticket)): part of the
    /// address at which a gateway asks for the code of a call once a key was pressed. Empty but for calls.
    pub ticket: Zeroizing<String>,
    /// BCP 47 tag of the text's language.
    pub locale: String,
    /// When the code stops working; a gateway that can should not deliver later.
    pub expires_at: Timestamp,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("channel", &self.channel)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// A provider's answer about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The provider took it.
    Accepted {
        /// The provider's own name for the message, by which its receipts call it.
        message_id: Option<String>,
    },
    /// The provider did not take it, and it is certain that nobody got it.
    Rejected {
        /// What that means for the next step.
        failure: Failure,
        /// A short reason for people, without secrets, texts or full destinations.
        reason: String,
        /// How long the provider asked to be left alone (`Retry-After`).
        retry_after: Option<Duration>,
    },
    /// Nobody can say: the request was written and no answer understood. It may have been delivered.
    Unknown {
        /// A short reason for people.
        reason: String,
    },
}

/// What a rejection means for the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// This provider cannot now; another one may (5xx, throttled, out of money, bad credentials, no connection).
    RetryElsewhere,
    /// Nothing is wrong with the provider; the same one should be asked again a little later.
    RetryLater,
    /// The message itself is not wanted: no provider will be asked again.
    GiveUp,
    /// The number cannot be reached by anybody.
    BlameNumber,
}
