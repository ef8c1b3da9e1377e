//! A code is said to who pressed a key: on the call that carries it, once, and while it can be used.
#![allow(clippy::unwrap_used, reason = "tests")]

mod house;

use std::sync::Arc;

use countersign_core::channel::Channel;
use countersign_core::code::{Key, KeyRing};
use countersign_core::event::EventKind;
use countersign_core::hear::Hear;
use countersign_core::route::Route;
use countersign_core::verification::{Delivery, DeliveryStatus, Verification};
use house::{House, MINUTE, SECOND, TO, accepted};
use proptest::prelude::*;

/// A house in which a phone rings.
fn ringing() -> (House, Verification, Delivery) {
    let mut house = House::with(|application| application.routes.insert(0, Route::to(Channel::Voice, ["call"])));
    let sent = house.ask(TO).channel(Channel::Voice).send().unwrap();
    house.report(&sent.deliveries[0], accepted("CA1"));
    let delivery = house.last_delivery(sent.verification.id);
    (house, sent.verification, delivery)
}

fn ticket(house: &House, verification: &Verification, delivery: &Delivery) -> String {
    let made = house.keys.ticket(&verification.code, verification.binding(), delivery.id.as_bytes());
    made.unwrap().to_string()
}

fn hear(house: &House, delivery: &Delivery, ticket: impl Into<String>) -> Hear {
    Hear {
        provider: delivery.provider.clone(),
        delivery: delivery.id,
        ticket: ticket.into(),
        keys: Arc::clone(&house.keys),
        now: house.now,
    }
}

#[test]
fn who_pressed_a_key_hears_the_code_once_and_then_it_is_delivered() {
    let (mut house, verification, delivery) = ringing();
    let right = ticket(&house, &verification, &delivery);
    house.wait(20 * SECOND);
    let ask = hear(&house, &delivery, right);
    let (row, heard) = house.run(&ask).unwrap();
    assert_eq!((row.id, heard.id, heard.status), (verification.id, delivery.id, DeliveryStatus::Delivered));
    assert_eq!(house.last_delivery(verification.id).status, DeliveryStatus::Delivered);
    assert_eq!(house.count(EventKind::DeliveryDelivered), 1);
    assert!(house.run(&ask).is_none(), "a captured request that is played again");
    // The call ends, and the provider says what it says of every call in which nobody pressed a key.
    assert!(house.receipt("call", "CA1", DeliveryStatus::Undelivered));
    assert_eq!(house.last_delivery(verification.id).status, DeliveryStatus::Delivered);
}

#[test]
fn nobody_else_hears_it() {
    let (mut house, verification, delivery) = ringing();
    let right = ticket(&house, &verification, &delivery);
    let other = house.ask("+255694230199").channel(Channel::Voice).send().unwrap();
    let anothers = ticket(&house, &other.verification, &other.deliveries[0]);
    let strange = KeyRing::new("k", Key::from_bytes([99; 32]));
    let guessed = strange.ticket(&verification.code, verification.binding(), delivery.id.as_bytes());
    for wrong in [String::new(), right[1..].to_owned(), right.to_uppercase(), right.clone() + "0", anothers] {
        if wrong != right {
            assert!(house.run(&hear(&house, &delivery, wrong.clone())).is_none(), "{wrong}");
        }
    }
    assert!(guessed.is_err() || house.run(&hear(&house, &delivery, guessed.unwrap().to_string())).is_none());
    let elsewhere = Hear { provider: "other".to_owned(), ..hear(&house, &delivery, right.clone()) };
    assert!(house.run(&elsewhere).is_none(), "another provider of ours");
    let its_own = Hear { delivery: other.deliveries[0].id, ..hear(&house, &delivery, right.clone()) };
    assert!(house.run(&its_own).is_none(), "another call");
    assert_eq!(house.last_delivery(verification.id).status, DeliveryStatus::Accepted);
    assert!(house.run(&hear(&house, &delivery, right)).is_some());
}

#[test]
fn a_code_that_can_no_longer_be_used_is_not_said() {
    let (mut house, verification, delivery) = ringing();
    let right = ticket(&house, &verification, &delivery);
    house.approve(verification.id);
    assert!(house.run(&hear(&house, &delivery, right)).is_none(), "approved");

    let (mut house, verification, delivery) = ringing();
    let right = ticket(&house, &verification, &delivery);
    house.wait(5 * MINUTE + SECOND);
    assert!(house.run(&hear(&house, &delivery, right)).is_none(), "expired");

    let (mut house, verification, delivery) = ringing();
    let right = ticket(&house, &verification, &delivery);
    assert!(house.receipt("call", "CA1", DeliveryStatus::Undelivered));
    assert!(house.run(&hear(&house, &delivery, right)).is_none(), "the call is over");
}

#[test]
fn a_text_message_is_never_read_out() {
    let mut house = House::new();
    let sent = house.ask(TO).send().unwrap();
    let right = ticket(&house, &sent.verification, &sent.deliveries[0]);
    assert!(house.run(&hear(&house, &sent.deliveries[0], right)).is_none());
}

proptest! {
    #[test]
    fn no_other_word_opens_it(guess in "[0-9a-f]{0,40}|\\PC{0,40}") {
        let (mut house, verification, delivery) = ringing();
        let right = ticket(&house, &verification, &delivery);
        prop_assert_eq!(right.len(), 32);
        let ask = hear(&house, &delivery, guess.clone());
        prop_assert_eq!(house.run(&ask).is_some(), guess == right);
    }
}
