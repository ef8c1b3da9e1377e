//! Which providers carry what, in which order, and what is tried when the person does not answer.

use std::time::Duration;

use crate::channel::Channel;
use crate::destination::{Destination, NumberType};
use crate::id::VerificationId;
use crate::policy::Countries;

/// One row: for this channel, these countries and these types of numbers, these providers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The channel that it is for.
    pub channel: Channel,
    /// The countries that it is for.
    pub countries: Countries,
    /// The types of phone numbers that it is for; `None` is for every type and for addresses.
    pub number_types: Option<Vec<NumberType>>,
    /// Who may carry it: the next one is tried when one fails. Never empty in a checked configuration.
    pub candidates: Vec<Candidate>,
    /// A message that a provider accepted but nobody reported as delivered by then is offered to the next one. `None`: acceptance is
    /// enough. Only for providers that send receipts.
    pub receipt_within: Option<Duration>,
}

/// A provider on a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub provider: String,
    /// Its share of first attempts beside the others'; if no candidate of a route has one, they are asked as they are listed.
    pub weight: Option<u32>,
    /// What it charges for a message; of SMS, for each part.
    pub price: Option<Price>,
}

/// The price of one message; of an SMS that is sent in parts, of each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// In millionths of the currency's unit.
    pub micros: u64,
    /// ISO 4217, three capital letters.
    pub currency: String,
}

impl Price {
    /// That of so many.
    #[must_use]
    pub fn times(&self, count: u64) -> Self {
        Self { micros: self.micros.saturating_mul(count), currency: self.currency.clone() }
    }
}

/// One channel of a workflow: the same code is sent over the next one if it was not approved in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The channel.
    pub channel: Channel,
    /// How long the person is given before the next step; of no meaning in the last one.
    pub wait: Duration,
}

impl Route {
    /// A row for every destination, its providers in this order.
    #[must_use]
    pub fn to<'a>(channel: Channel, providers: impl IntoIterator<Item = &'a str>) -> Self {
        let candidate = |provider: &str| Candidate { provider: provider.to_owned(), weight: None, price: None };
        Self {
            channel,
            countries: Countries::All,
            number_types: None,
            candidates: providers.into_iter().map(candidate).collect(),
            receipt_within: None,
        }
    }

    /// Whether it is for this channel and destination.
    #[must_use]
    pub fn fits(&self, channel: Channel, to: &Destination) -> bool {
        let type_fits = |types: &Vec<NumberType>| to.number_type().is_some_and(|found| types.contains(&found));
        self.channel == channel
            && self.countries.contains(to.country())
            && self.number_types.as_ref().is_none_or(type_fits)
    }

    /// The candidates in the order in which they are asked for one verification. With weights the order is drawn from the
    /// verification's id: the same at every attempt and in every process, and over many verifications each is first as often as its
    /// weight says.
    #[must_use]
    pub fn order(&self, verification: VerificationId) -> Vec<&Candidate> {
        let mut left: Vec<&Candidate> = self.candidates.iter().collect();
        if left.iter().all(|candidate| candidate.weight.is_none()) {
            return left;
        }
        let mut draw = Draw::from(verification);
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let total: u64 = left.iter().map(|candidate| weight(candidate)).sum();
            let mut point = draw.below(total);
            let chosen = left.iter().position(|candidate| {
                let share = weight(candidate);
                let hit = point < share;
                point = point.saturating_sub(share);
                hit
            });
            // Those of weight zero are what is left when the others are used up: as listed.
            order.push(left.remove(chosen.unwrap_or(0)));
        }
        order
    }
}

fn weight(candidate: &Candidate) -> u64 {
    u64::from(candidate.weight.unwrap_or(0))
}

/// The first row that fits, if any does.
#[must_use]
pub fn find<'a>(routes: &'a [Route], channel: Channel, to: &Destination) -> Option<&'a Route> {
    routes.iter().find(|route| route.fits(channel, to))
}

/// The candidates for a message, in order. Empty if no row fits.
#[must_use]
pub fn order<'a>(
    routes: &'a [Route],
    channel: Channel,
    to: &Destination,
    verification: VerificationId,
) -> Vec<&'a Candidate> {
    find(routes, channel, to).map(|route| route.order(verification)).unwrap_or_default()
}

/// Numbers that look random and follow from an id (SplitMix64, Steele, Lea and Flood 2014). Nothing secret rests on them.
struct Draw(u64);

impl Draw {
    fn from(id: VerificationId) -> Self {
        Self(id.as_bytes().chunks(8).fold(0, |sum, half| {
            let word = half.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            mix(sum ^ word)
        }))
    }

    /// Below `bound`; 0 if that is 0. Weights are small beside 2^64, so the bias of the remainder is not seen.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0).checked_rem(bound).unwrap_or(0)
    }
}

const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

impl std::fmt::Display for Price {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, rest) = (self.micros / 1_000_000, self.micros % 1_000_000);
        let digits = format!("{rest:06}");
        let digits = digits.trim_end_matches('0');
        write!(f, "{whole}.{digits:0<2} {}", self.currency)
    }
}

/// What is wrong with a price, or with a step of a workflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not a price.
    #[error("must be an amount and a currency, for example \"0.0071 EUR\"")]
    Price,
    /// Not a step.
    #[error(
        "must be a channel and how long to wait before the next, for example \"sms 30s\"; the last one a channel alone"
    )]
    Step,
}

impl std::str::FromStr for Price {
    type Err = Unreadable;

    /// `0.0071 EUR`: at most six decimals.
    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let (amount, currency) = text.trim().split_once(' ').ok_or(Unreadable::Price)?;
        let (whole, decimals) = amount.split_once('.').unwrap_or((amount, ""));
        let number = |text: &str| match text {
            "" => Some(0),
            digits if digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse::<u64>().ok(),
            _ => None,
        };
        let lawful = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
        if !lawful || amount.trim_matches('.').is_empty() || decimals.len() > 6 {
            return Err(Unreadable::Price);
        }
        let (whole, parts) = number(whole).zip(number(decimals)).ok_or(Unreadable::Price)?;
        let scale = 10_u64.pow(6 - decimals.len() as u32);
        Ok(Self { micros: whole * 1_000_000 + parts * scale, currency: currency.to_owned() })
    }
}
