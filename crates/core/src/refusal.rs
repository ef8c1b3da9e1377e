//! Lawful noes, ranked. A refusal is an answer, not an error: nothing broke, and asking again without a change gives the same.

use std::time::Duration;

use crate::destination::{Country, InvalidDestination};
use crate::verification::Status;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A field of the request cannot be meant.
    InvalidRequest {
        /// Which field.
        param: &'static str,
        /// What it should be.
        detail: String,
    },
    /// No such verification of this application.
    NotFound,
    /// The verification has ended; nothing more can be done with it.
    NotPending {
        /// How it ended.
        status: Status,
    },
    /// Not a possible destination, or one that this channel cannot reach.
    InvalidDestination(InvalidDestination),
    /// No provider is configured for this channel and country.
    UnsupportedChannel,
    /// The application does not write to this country.
    CountryBlocked,
    /// The application does not write to numbers of this type.
    NumberTypeBlocked,
    /// Too many messages to numbers like this one were not confirmed (see [`crate::guard`]). Neither which block nor until when is said.
    FraudSuspected {
        /// The number's country, for counting.
        country: Option<Country>,
    },
    /// The verification was sent as often as it may be.
    MaxSendsReached {
        /// How long until it has ended and a new one may begin.
        retry_after: Duration,
    },
    /// The pause between two sends of one verification is not over.
    ResendTooSoon {
        /// What is left of the pause, or of the limits that are used up as well.
        retry_after: Duration,
        /// The pause.
        pause: Duration,
    },
    /// A limit is used up.
    RateLimited {
        /// Which.
        limit: Limit,
        /// How many it allows in a window.
        quota: u32,
        /// The window.
        window: Duration,
        /// How long to wait.
        retry_after: Duration,
    },
}

/// The limit that a request ran into, as the `limit` member of a problem names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// A rate.
    Rate(crate::limit::Per),
    /// The day's budget of wrong guesses at a destination.
    Checks,
    /// One that the request brought along: its place among them.
    Extra(u16),
}

impl Limit {
    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rate(per) => per.as_str(),
            Self::Checks => "checks",
            Self::Extra(_) => "extra",
        }
    }
}

/// The order in which refusals are given when several are true: first what no waiting mends, then what ends with the verification,
/// then what a short wait mends. The wait that is told is the longest of all, so that `Retry-After` never sends anybody into the
/// next refusal that was already known.
pub const RANKING: [Kind; 11] = [
    Kind::InvalidRequest,
    Kind::NotFound,
    Kind::NotPending,
    Kind::InvalidDestination,
    Kind::CountryBlocked,
    Kind::NumberTypeBlocked,
    Kind::UnsupportedChannel,
    Kind::FraudSuspected,
    Kind::MaxSendsReached,
    Kind::ResendTooSoon,
    Kind::RateLimited,
];

/// A refusal without its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// [`Refusal::InvalidRequest`].
    InvalidRequest,
    /// [`Refusal::NotFound`].
    NotFound,
    /// [`Refusal::NotPending`].
    NotPending,
    /// [`Refusal::InvalidDestination`].
    InvalidDestination,
    /// [`Refusal::UnsupportedChannel`].
    UnsupportedChannel,
    /// [`Refusal::CountryBlocked`].
    CountryBlocked,
    /// [`Refusal::NumberTypeBlocked`].
    NumberTypeBlocked,
    /// [`Refusal::FraudSuspected`].
    FraudSuspected,
    /// [`Refusal::MaxSendsReached`].
    MaxSendsReached,
    /// [`Refusal::ResendTooSoon`].
    ResendTooSoon,
    /// [`Refusal::RateLimited`].
    RateLimited,
}

impl Kind {
    /// The stable `code` of a problem.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::NotFound => "not_found",
            Self::NotPending => "not_pending",
            Self::InvalidDestination => "invalid_destination",
            Self::UnsupportedChannel => "unsupported_channel",
            Self::CountryBlocked => "country_blocked",
            Self::NumberTypeBlocked => "number_type_blocked",
            Self::FraudSuspected => "fraud_suspected",
            Self::MaxSendsReached => "max_sends_reached",
            Self::ResendTooSoon => "resend_too_soon",
            Self::RateLimited => "rate_limited",
        }
    }

    fn rank(self) -> usize {
        RANKING.iter().position(|kind| *kind == self).unwrap_or(RANKING.len())
    }
}

impl Refusal {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::InvalidRequest { .. } => Kind::InvalidRequest,
            Self::NotFound => Kind::NotFound,
            Self::NotPending { .. } => Kind::NotPending,
            Self::InvalidDestination(_) => Kind::InvalidDestination,
            Self::UnsupportedChannel => Kind::UnsupportedChannel,
            Self::CountryBlocked => Kind::CountryBlocked,
            Self::NumberTypeBlocked => Kind::NumberTypeBlocked,
            Self::FraudSuspected { .. } => Kind::FraudSuspected,
            Self::MaxSendsReached { .. } => Kind::MaxSendsReached,
            Self::ResendTooSoon { .. } => Kind::ResendTooSoon,
            Self::RateLimited { .. } => Kind::RateLimited,
        }
    }

    /// How long to wait before the same request can succeed, where waiting helps.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::MaxSendsReached { retry_after }
            | Self::ResendTooSoon { retry_after, .. }
            | Self::RateLimited { retry_after, .. } => Some(*retry_after),
            _ => None,
        }
    }

    /// Of several true refusals the one that is given: by [`RANKING`]; among limits the longest wait, then the order of
    /// [`crate::limit::Per`]. If waiting helps, it says how long to wait until none of them is true.
    #[must_use]
    pub fn first(refusals: Vec<Self>) -> Option<Self> {
        let longest = refusals.iter().filter_map(Self::retry_after).max();
        let mut first = refusals.into_iter().min_by(|a, b| {
            a.kind()
                .rank()
                .cmp(&b.kind().rank())
                .then_with(|| b.retry_after().cmp(&a.retry_after()))
                .then_with(|| a.limit().cmp(&b.limit()))
        })?;
        if let (
            Self::MaxSendsReached { retry_after }
            | Self::ResendTooSoon { retry_after, .. }
            | Self::RateLimited { retry_after, .. },
            Some(longest),
        ) = (&mut first, longest)
        {
            *retry_after = longest;
        }
        Some(first)
    }

    const fn limit(&self) -> Option<Limit> {
        match self {
            Self::RateLimited { limit, .. } => Some(*limit),
            _ => None,
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::InvalidRequest { param, detail } => write!(f, "`{param}`: {detail}"),
            Self::NotFound => f.write_str("there is no such verification"),
            Self::NotPending { status } => write!(f, "the verification is {status}; begin a new one"),
            Self::InvalidDestination(reason) => reason.fmt(f),
            Self::UnsupportedChannel => {
                f.write_str("no provider is configured for this channel and country; see [[routes]]")
            }
            Self::CountryBlocked => {
                f.write_str("this application does not write to that country; see policy.allowed_countries")
            }
            Self::NumberTypeBlocked => {
                f.write_str("numbers of this type (toll-free, premium rate, …) are not written to")
            }
            Self::FraudSuspected { .. } => f.write_str("this destination is not written to at present"),
            Self::MaxSendsReached { .. } => {
                f.write_str("this verification was sent as often as it may be; a new one may begin when it has ended")
            }
            Self::ResendTooSoon { .. } => f.write_str("the last message is too recent to send another one"),
            Self::RateLimited { limit: Limit::Checks, .. } => {
                f.write_str("too many wrong codes for this destination in the last 24 hours")
            }
            Self::RateLimited { limit, quota, window, .. } => {
                write!(f, "the limit for this {} is used up: {quota} in {} s", limit.as_str(), window.as_secs())
            }
        }
    }
}
