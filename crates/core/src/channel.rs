//! The ways in which a message can reach a person.

use std::fmt;
use std::str::FromStr;

use crate::destination::Destination;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// A text message to a phone number.
    Sms,
    /// A call that speaks the code.
    Voice,
    /// A WhatsApp message.
    Whatsapp,
    /// A Telegram message.
    Telegram,
    /// An email.
    Email,
}

impl Channel {
    /// Every channel, in the order in which documents list them.
    pub const ALL: [Self; 5] = [Self::Sms, Self::Voice, Self::Whatsapp, Self::Telegram, Self::Email];

    /// The name on the wire, in the configuration and in the store.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sms => "sms",
            Self::Voice => "voice",
            Self::Whatsapp => "whatsapp",
            Self::Telegram => "telegram",
            Self::Email => "email",
        }
    }

    /// The channel taken when a request names none: `sms` for a number, `email` for an address.
    #[must_use]
    pub const fn default_for(to: &Destination) -> Self {
        match to {
            Destination::Phone(_) => Self::Sms,
            Destination::Email(_) => Self::Email,
        }
    }

    /// Whether this channel can address such a destination at all.
    #[must_use]
    pub const fn reaches(self, to: &Destination) -> bool {
        matches!((self, to), (Self::Email, Destination::Email(_)))
            || !matches!(self, Self::Email) && matches!(to, Destination::Phone(_))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no channel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such channel; the channels are sms, voice, whatsapp, telegram, email")]
pub struct UnknownChannel;

impl FromStr for Channel {
    type Err = UnknownChannel;
    fn from_str(text: &str) -> Result<Self, UnknownChannel> {
        Self::ALL.into_iter().find(|channel| channel.as_str() == text).ok_or(UnknownChannel)
    }
}
