//! How providers do: what an ended verification says of each of its deliveries, and what it still counts for later.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod house;

use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::deliver::Reported;
use countersign_core::health::{Figures, HALF_LIFE, Health, HealthKey, HealthRow, hour_of, together, told_by};
use countersign_core::id::{ApplicationName, VerificationId};
use countersign_core::outcome::Failure;
use countersign_core::policy::{Application, Unknown};
use countersign_core::route::Route;
use countersign_core::time::Timestamp;
use countersign_core::verification::DeliveryStatus;
use house::{House, MINUTE, SECOND, TO, accepted, carried, rejected, unknown};
use proptest::prelude::*;

fn two_providers(application: &mut Application) {
    application.routes = vec![Route::to(Channel::Sms, ["one", "two"])];
    application.delivery.unknown = Unknown::Next;
}

fn told(house: &House, id: VerificationId) -> Vec<(String, Figures)> {
    let rows = told_by(house.row(id), house.deliveries(id));
    rows.into_iter().map(|row| (row.key.provider, row.figures)).collect()
}

const ACCEPTED: Figures = Figures { sent: 1, accepted: 1, ..none() };
const FAILED: Figures = Figures { sent: 1, failed: 1, ..none() };

const fn none() -> Figures {
    Figures::from_array([0; Figures::COUNT])
}

#[test]
fn a_verification_that_is_pending_says_nothing() {
    let mut house = House::new();
    let verification = house.send(TO);
    house.report(&house.last_delivery(verification.id), accepted("m-1"));
    assert!(told(&house, verification.id).is_empty());
}

#[test]
fn an_approval_is_credited_to_the_provider_that_took_the_message() {
    let mut house = House::with(two_providers);
    let verification = house.send(TO);
    let second = carried(house.report(&house.last_delivery(verification.id), rejected(Failure::RetryElsewhere)));
    house.report(&second, accepted("m-2"));
    house.wait(20 * SECOND);
    house.approve(verification.id);
    let credited = Figures { approved: 1, approved_ms: 20_000, ..ACCEPTED };
    assert_eq!(told(&house, verification.id), [("one".to_owned(), FAILED), ("two".to_owned(), credited)]);
    let [first, ..] = &told_by(house.row(verification.id), house.deliveries(verification.id))[..] else { panic!() };
    assert_eq!(first.key.country.unwrap().as_str(), "TZ");
    assert_eq!((first.key.channel, first.key.hour), (Channel::Sms, hour_of(verification.created_at)));
}

#[test]
fn of_two_messages_that_may_have_arrived_the_last_is_credited() {
    let mut house = House::with(two_providers);
    let verification = house.send(TO);
    let second = carried(house.report(&house.last_delivery(verification.id), unknown()));
    house.report(&second, unknown());
    house.approve(verification.id);
    let unknown = Figures { sent: 1, unknown: 1, ..none() };
    assert_eq!(
        told(&house, verification.id),
        [("one".to_owned(), unknown), ("two".to_owned(), Figures { approved: 1, ..unknown })]
    );
}

#[test]
fn what_a_receipt_says_did_not_arrive_is_not_credited() {
    let mut house = House::with(two_providers);
    let verification = house.send(TO);
    house.report(&house.last_delivery(verification.id), accepted("m-1"));
    house.wait(MINUTE);
    house.again(verification.id).send().unwrap();
    house.report(&house.last_delivery(verification.id), accepted("m-2"));
    house.wait(3 * SECOND);
    let provider = house.last_delivery(verification.id).provider;
    assert!(house.receipt(&provider, "m-2", DeliveryStatus::Undelivered));
    let first = house.deliveries(verification.id)[0].provider.clone();
    assert!(house.receipt(&first, "m-1", DeliveryStatus::Delivered));
    house.approve(verification.id);
    let arrived = Figures { delivered: 1, delivered_ms: 63_000, approved: 1, approved_ms: 63_000, ..ACCEPTED };
    let lost = Figures { undelivered: 1, ..ACCEPTED };
    assert_eq!(told(&house, verification.id), [(first, arrived), (provider, lost)]);
}

#[test]
fn what_was_not_sent_because_the_verification_had_ended_is_no_failure_of_the_provider() {
    let mut house = House::new();
    let verification = house.send(TO);
    let delivery = house.last_delivery(verification.id);
    house.cancel(verification.id).unwrap();
    assert!(told(&house, verification.id).is_empty(), "it is in the outbox");
    house.wait(SECOND);
    house.report(&delivery, Reported::Superseded);
    assert_eq!(house.last_delivery(verification.id).status, DeliveryStatus::Failed);
    assert!(told(&house, verification.id).is_empty());
}

fn row(provider: &str, hour: Timestamp, figures: Figures) -> HealthRow {
    let (application, provider) = (ApplicationName::default(), provider.to_owned());
    HealthRow { key: HealthKey { hour, application, provider, channel: Channel::Sms, country: None }, figures }
}

#[test]
fn after_a_half_life_a_figure_counts_half() {
    let hour = hour_of(Timestamp::from_millis(1_790_000_000_000));
    let figures = Figures { sent: 100, accepted: 80, failed: 20, approved: 40, approved_ms: 40 * 7000, ..none() };
    let (mut fresh, mut older) = (Health::default(), Health::default());
    let now = hour + 30 * MINUTE;
    fresh.add(&row("one", hour, figures), now);
    older.add(&row("one", hour, figures), now + HALF_LIFE);
    assert!((fresh.sent() - 100.0).abs() < 1e-9 && (older.sent() - 50.0).abs() < 1e-9);
    // Shares and times are not changed by that.
    for health in [fresh, older] {
        assert!((health.acceptance().unwrap() - 0.8).abs() < 1e-9);
        assert!((health.conversion().unwrap() - 0.4).abs() < 1e-9);
        assert_eq!(health.time_to_approve().unwrap().as_secs_f64().round(), 7.0);
        assert_eq!(health.delivery(), None, "it never sent a receipt");
    }
    // A bad hour of today outweighs a good one of the day before.
    let mut both = Health::default();
    both.add(&row("one", hour, figures), now + HALF_LIFE);
    both.add(&row("one", hour + HALF_LIFE, Figures { sent: 100, failed: 100, ..none() }), now + HALF_LIFE);
    assert!((both.conversion().unwrap() - 20.0 / 150.0).abs() < 1e-9);
    assert_eq!(Health::default().conversion(), None);
}

proptest! {
    /// Summing up loses nothing and makes nothing, in whatever order.
    #[test]
    fn rows_of_one_key_are_made_one(numbers in prop::collection::vec((0..4_i64, any::<[u32; Figures::COUNT]>()), 0..20)) {
        let rows = numbers.iter().map(|(hour, numbers)| {
            let hour = Timestamp::from_millis(hour * 3_600_000);
            row("one", hour, Figures::from_array(numbers.map(u64::from)))
        });
        let rows: Vec<_> = rows.collect();
        let total = |rows: &[HealthRow]| rows.iter().fold(none(), |sum, row| sum.plus(row.figures));
        let summed = together(rows.clone());
        prop_assert_eq!(total(&summed), total(&rows));
        prop_assert!(summed.windows(2).all(|pair| pair[0].key < pair[1].key));
        let backwards = together(rows.into_iter().rev());
        prop_assert_eq!(backwards, summed);
    }

    #[test]
    fn an_hour_begins_before_its_instants(millis: i64) {
        let (at, hour) = (Timestamp::from_millis(millis), hour_of(Timestamp::from_millis(millis)));
        prop_assert!(hour <= at && at.since(hour) < Duration::from_secs(3600));
        prop_assert_eq!(hour_of(hour), hour);
    }
}
