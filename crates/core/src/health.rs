//! How providers do: what verifications that have ended say of them, and what that still counts for as time goes by.
//!
//! A verification is counted once, when it has ended, so that messages of which nobody can know yet whether they bring a code back weigh
//! nothing. Each of its deliveries counts in the hour in which it was due. An approval is credited to one delivery alone: the last that may
//! have arrived. The ones before it did not suffice, or the person would not have needed it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::channel::Channel;
use crate::destination::Country;
use crate::event::EventKind;
use crate::id::ApplicationName;
use crate::time::Timestamp;
use crate::verification::{Delivery, DeliveryStatus, Status, Verification};

/// After so long a figure counts half.
pub const HALF_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Figures are kept so long: what is older counts less than a two-hundredth, and is forgotten.
pub const KEPT_FOR: Duration = Duration::from_secs(8 * 24 * 60 * 60);

const HOUR_MILLIS: i64 = 60 * 60 * 1000;

/// What figures are kept apart by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HealthKey {
    /// The beginning of the hour in which the messages were due.
    pub hour: Timestamp,
    /// Whose verifications: what is done to one application must not change the routes of another.
    pub application: ApplicationName,
    /// The provider's name in the configuration.
    pub provider: String,
    /// How the messages travelled.
    pub channel: Channel,
    /// The number's country; `None` for addresses and for numbers of no country.
    pub country: Option<Country>,
}

/// Counts of deliveries. Each is in `sent`, and in one of `failed`, `unknown` and `accepted`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Handed to the provider.
    pub sent: u64,
    /// It took them.
    pub accepted: u64,
    /// It did not take them.
    pub failed: u64,
    /// Nobody can say whether it did.
    pub unknown: u64,
    /// Of those it took: a receipt says that they arrived.
    pub delivered: u64,
    /// Of those it took: a receipt says that they did not.
    pub undelivered: u64,
    /// The code came back after them.
    pub approved: u64,
    /// From due to the receipt, milliseconds, of all that were delivered together.
    pub delivered_ms: u64,
    /// From due to the right code, milliseconds, of all that were approved together.
    pub approved_ms: u64,
}

/// Figures under their key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthRow {
    /// Of what.
    pub key: HealthKey,
    /// How many.
    pub figures: Figures,
}

impl Figures {
    /// How many numbers there are.
    pub const COUNT: usize = 9;

    /// Their names, in order.
    pub const NAMES: [&'static str; Self::COUNT] = [
        "sent",
        "accepted",
        "failed",
        "unknown",
        "delivered",
        "undelivered",
        "approved",
        "delivered_ms",
        "approved_ms",
    ];

    /// In the order of [`Figures::NAMES`].
    #[must_use]
    pub const fn to_array(self) -> [u64; Self::COUNT] {
        [
            self.sent,
            self.accepted,
            self.failed,
            self.unknown,
            self.delivered,
            self.undelivered,
            self.approved,
            self.delivered_ms,
            self.approved_ms,
        ]
    }

    /// From what [`Figures::to_array`] gave.
    #[must_use]
    pub const fn from_array(numbers: [u64; Self::COUNT]) -> Self {
        let [sent, accepted, failed, unknown, delivered, undelivered, approved, delivered_ms, approved_ms] = numbers;
        Self { sent, accepted, failed, unknown, delivered, undelivered, approved, delivered_ms, approved_ms }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (mut sum, other) = (self.to_array(), other.to_array());
        sum.iter_mut().zip(other).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        Self::from_array(sum)
    }
}

impl EventKind {
    /// Whether a verification has ended with it. Each ends once.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(
            self,
            Self::VerificationApproved
                | Self::VerificationExpired
                | Self::VerificationCanceled
                | Self::VerificationMaxAttemptsReached
                | Self::VerificationFailed
        )
    }
}

/// The beginning of an instant's hour.
#[must_use]
pub const fn hour_of(at: Timestamp) -> Timestamp {
    let millis = at.as_millis();
    Timestamp::from_millis(millis.saturating_sub(millis.rem_euclid(HOUR_MILLIS)))
}

/// What an ended verification says of each of its deliveries; nothing of one that is pending.
#[must_use]
pub fn told_by(verification: &Verification, deliveries: &[Delivery]) -> Vec<HealthRow> {
    let Some(ended) = verification.finished_at else { return Vec::new() };
    // A message that was not sent because its verification had ended says nothing of its provider.
    let counts = |delivery: &&Delivery| match delivery.status {
        DeliveryStatus::Queued => false,
        DeliveryStatus::Failed => delivery.at <= ended,
        _ => true,
    };
    let approved = (verification.status == Status::Approved)
        .then(|| deliveries.iter().rev().filter(counts).find(|delivery| arrived_by(delivery, ended)))
        .flatten();
    let row = |delivery: &Delivery| HealthRow {
        key: HealthKey {
            hour: hour_of(delivery.due_at),
            application: verification.application.clone(),
            provider: delivery.provider.clone(),
            channel: delivery.channel,
            country: verification.to.country(),
        },
        figures: figures(delivery, approved.is_some_and(|found| found.id == delivery.id).then_some(ended)),
    };
    deliveries.iter().filter(counts).map(row).collect()
}

/// Whether it may have arrived by then.
fn arrived_by(delivery: &Delivery, ended: Timestamp) -> bool {
    let may = matches!(delivery.status, DeliveryStatus::Accepted | DeliveryStatus::Delivered | DeliveryStatus::Unknown);
    may && delivery.due_at <= ended
}

fn figures(delivery: &Delivery, approved_at: Option<Timestamp>) -> Figures {
    let is = |status| u64::from(delivery.status == status);
    let since_due = |at: Timestamp| u64::try_from(at.since(delivery.due_at).as_millis()).unwrap_or(u64::MAX);
    let (delivered, undelivered) = (is(DeliveryStatus::Delivered), is(DeliveryStatus::Undelivered));
    Figures {
        sent: 1,
        accepted: is(DeliveryStatus::Accepted) + delivered + undelivered,
        failed: is(DeliveryStatus::Failed),
        unknown: is(DeliveryStatus::Unknown),
        delivered,
        undelivered,
        approved: u64::from(approved_at.is_some()),
        delivered_ms: if delivered == 1 { since_due(delivery.at) } else { 0 },
        approved_ms: approved_at.map_or(0, since_due),
    }
}

/// Rows of one key made one.
#[must_use]
pub fn together(rows: impl IntoIterator<Item = HealthRow>) -> Vec<HealthRow> {
    let mut sums: BTreeMap<HealthKey, Figures> = BTreeMap::new();
    for row in rows {
        let sum = sums.entry(row.key).or_default();
        *sum = sum.plus(row.figures);
    }
    sums.into_iter().map(|(key, figures)| HealthRow { key, figures }).collect()
}

/// Figures of many hours, the older ones counting less.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Health {
    numbers: [f64; Figures::COUNT],
}

impl Health {
    /// Adds the figures of an hour, with what they count for at `now`.
    pub fn add(&mut self, row: &HealthRow, now: Timestamp) {
        let middle = row.key.hour + Duration::from_millis(HOUR_MILLIS.unsigned_abs() / 2);
        let weight = 0.5_f64.powf(now.since(middle).as_secs_f64() / HALF_LIFE.as_secs_f64());
        for (sum, number) in self.numbers.iter_mut().zip(row.figures.to_array()) {
            *sum += number as f64 * weight;
        }
    }

    /// Adds other sums.
    pub fn join(&mut self, other: &Self) {
        self.numbers.iter_mut().zip(other.numbers).for_each(|(sum, more)| *sum += more);
    }

    /// The counts in the order of [`Figures::NAMES`], each with what it counts for.
    #[must_use]
    pub const fn numbers(&self) -> [f64; Figures::COUNT] {
        self.numbers
    }

    /// Deliveries handed to the provider, each with what it counts for.
    #[must_use]
    pub const fn sent(&self) -> f64 {
        self.numbers[0]
    }

    /// The share of messages that the provider took.
    #[must_use]
    pub fn acceptance(&self) -> Option<f64> {
        share(self.numbers[1], self.sent())
    }

    /// Of what it took, the share that a receipt says arrived. Of a provider that sent no receipt there is nothing to say.
    #[must_use]
    pub fn delivery(&self) -> Option<f64> {
        let (delivered, undelivered) = (self.numbers[4], self.numbers[5]);
        share(delivered, self.numbers[1]).filter(|_| delivered + undelivered > 0.0)
    }

    /// The share of messages after which the code came back.
    #[must_use]
    pub fn conversion(&self) -> Option<f64> {
        share(self.numbers[6], self.sent())
    }

    /// How long messages took to arrive, as receipts have it.
    #[must_use]
    pub fn time_to_deliver(&self) -> Option<Duration> {
        mean(self.numbers[7], self.numbers[4])
    }

    /// How long people took to bring the code back.
    #[must_use]
    pub fn time_to_approve(&self) -> Option<Duration> {
        mean(self.numbers[8], self.numbers[6])
    }
}

fn share(part: f64, whole: f64) -> Option<f64> {
    (whole > 0.0).then(|| part / whole)
}

fn mean(millis: f64, count: f64) -> Option<Duration> {
    share(millis, count).and_then(|mean| Duration::try_from_secs_f64(mean / 1000.0).ok())
}
