//! A message is carried: fail over, wait, try again, give up; and what receipts may say afterwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod house;

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::deliver::{Next, Reported};
use countersign_core::destination::NumberType;
use countersign_core::event::EventKind;
use countersign_core::follow::FollowUp;
use countersign_core::id::VerificationId;
use countersign_core::outcome::{Failure, Outcome};
use countersign_core::policy::{Application, Unknown};
use countersign_core::route::{Candidate, Price, Route, Step};
use countersign_core::verification::{Delivery, DeliveryStatus, Status, Verification};
use house::{HOUR, House, MINUTE, MS, SECOND, TO, accepted, carried, rejected, rejected_for, unknown};

fn with_providers(providers: &'static [&'static str]) -> impl FnOnce(&mut Application) {
    |application| application.routes = vec![Route::to(Channel::Sms, providers.iter().copied())]
}

fn sent(house: &mut House) -> (Verification, Delivery) {
    let verification = house.send(TO);
    let delivery = house.last_delivery(verification.id);
    (verification, delivery)
}

/// Carries until nothing is left to carry, every provider answering alike; whom it asked, and after which pause.
fn carry_all(house: &mut House, mut delivery: Delivery, outcome: &Reported) -> (Vec<(String, Duration)>, Next) {
    let mut asked = vec![(delivery.provider.clone(), Duration::ZERO)];
    loop {
        match house.report(&delivery, outcome.clone()) {
            Next::Carry(next) => {
                let pause = next.due_at.after(house.now);
                asked.push((next.provider.clone(), pause));
                house.wait(pause);
                delivery = *next;
            }
            next => return (asked, next),
        }
    }
}

#[test]
fn an_acceptance_is_written_down_and_done() {
    let mut house = House::new();
    let (verification, delivery) = sent(&mut house);
    house.wait(SECOND);
    assert_eq!(house.report(&delivery, accepted("m-1")), Next::Done);
    let now = house.last_delivery(verification.id);
    assert_eq!((now.status, now.message_id.as_deref(), now.at), (DeliveryStatus::Accepted, Some("m-1"), house.now));
    assert_eq!(now.queued_at, verification.created_at);
    assert_eq!(house.count(EventKind::DeliveryAccepted), 1);
    assert_eq!(house.row(verification.id).status, Status::Pending);
}

#[test]
fn what_a_failure_means_for_the_next_step() {
    use Failure::{BlameNumber, GiveUp, RetryElsewhere, RetryLater};
    for (failure, expected) in [
        (RetryElsewhere, Some(("second", false))),
        (RetryLater, Some(("first", true))),
        (GiveUp, None),
        (BlameNumber, None),
    ] {
        let mut house = House::with(with_providers(&["first", "second"]));
        let (verification, delivery) = sent(&mut house);
        let next = house.report(&delivery, rejected(failure));
        let Some((provider, later)) = expected else {
            assert_eq!(next, Next::GaveUp, "{failure:?}");
            assert_eq!(house.row(verification.id).status, Status::Failed);
            assert_eq!(house.count(EventKind::VerificationFailed), 1);
            continue;
        };
        let next = carried(next);
        assert_eq!((next.provider.as_str(), next.due_at > house.now), (provider, later), "{failure:?}");
        assert_eq!((next.number, next.send, next.status, next.claims), (2, 1, DeliveryStatus::Queued, 1));
        assert_eq!(next.queued_at, delivery.queued_at, "the minutes in its text are counted from the same instant");
        assert!(next.lease_until > next.due_at);
        assert_ne!(next.id, delivery.id);
        assert_eq!(house.row(verification.id).status, Status::Pending);
    }
}

#[test]
fn providers_are_tried_in_the_order_of_the_route_and_then_again() {
    let mut house = House::with(with_providers(&["a", "b", "c"]));
    let (verification, delivery) = sent(&mut house);
    let (asked, next) = carry_all(&mut house, delivery, &rejected(Failure::RetryElsewhere));
    let order: String = asked.iter().map(|(provider, _)| provider.as_str()).collect();
    assert_eq!(order, "abcabcabc", "retries = 2: each is asked three times");
    assert!(asked[..3].iter().all(|(_, pause)| pause.is_zero()), "another provider is asked at once");
    assert_eq!(next, Next::GaveUp);
    assert_eq!(house.row(verification.id).status, Status::Failed);
    assert_eq!(house.count(EventKind::DeliveryFailed), 9);
    assert_eq!(house.count(EventKind::VerificationFailed), 1);
}

#[test]
fn a_provider_alone_is_asked_again_with_growing_pauses() {
    let mut house = House::with(|application| application.delivery.retries = 4);
    let (_, delivery) = sent(&mut house);
    let (asked, next) = carry_all(&mut house, delivery, &rejected(Failure::RetryElsewhere));
    assert_eq!((asked.len(), next), (5, Next::GaveUp));
    for (nth, (_, pause)) in asked[1..].iter().enumerate() {
        let base = SECOND * (1 << nth);
        assert!((base..=base + base / 2).contains(pause), "pause {nth}: {pause:?}");
    }
}

#[test]
fn no_retry_comes_after_the_code_has_expired() {
    let mut house = House::with(|application| application.delivery.retries = 1000);
    let (verification, delivery) = sent(&mut house);
    let (_, next) = carry_all(&mut house, delivery, &rejected(Failure::RetryLater));
    assert_eq!(next, Next::GaveUp);
    assert!(house.now < verification.expires_at);
    assert!(house.deliveries(verification.id).iter().all(|delivery| delivery.due_at < verification.expires_at));
    assert_eq!(house.row(verification.id).status, Status::Failed);
}

#[test]
fn what_the_provider_asks_for_is_waited_for() {
    for (asked, least, kept) in [
        (10 * SECOND, 10 * SECOND, true),
        (Duration::ZERO, SECOND, true),
        (5 * MINUTE - MS, 5 * MINUTE - MS, true),
        (5 * MINUTE, Duration::ZERO, false),
        (Duration::MAX, Duration::ZERO, false),
    ] {
        let mut house = House::new();
        let (_, delivery) = sent(&mut house);
        let next = house.report(&delivery, rejected_for(Failure::RetryLater, Some(asked)));
        if kept {
            assert!(carried(next).due_at >= house.now + least, "Retry-After {asked:?}");
        } else {
            assert_eq!(next, Next::GaveUp, "Retry-After {asked:?} is longer than the code lives");
        }
    }
}

#[test]
fn a_busy_provider_is_asked_again_before_another_one() {
    let mut house = House::with(with_providers(&["a", "b"]));
    let (_, delivery) = sent(&mut house);
    let (asked, next) = carry_all(&mut house, delivery, &rejected(Failure::RetryLater));
    let order: String = asked.iter().map(|(provider, _)| provider.as_str()).collect();
    assert_eq!((order.as_str(), next), ("aaabbb", Next::GaveUp));
}

#[test]
fn a_busy_provider_that_stays_busy_for_longer_than_the_code_lives_is_left_for_another() {
    let mut house = House::with(with_providers(&["a", "b"]));
    let (_, delivery) = sent(&mut house);
    let next = carried(house.report(&delivery, rejected_for(Failure::RetryLater, Some(HOUR))));
    assert_eq!((next.provider.as_str(), next.due_at), ("b", house.now));
}

#[test]
fn an_unknown_outcome_waits_or_goes_on_as_the_policy_says() {
    for (policy, providers, expected) in
        [(Unknown::Wait, &["a", "b"][..], None), (Unknown::Next, &["a", "b"], Some("b")), (Unknown::Next, &["a"], None)]
    {
        let mut house = House::with(|application| {
            with_providers(providers)(application);
            application.delivery.unknown = policy;
        });
        let (verification, delivery) = sent(&mut house);
        match (house.report(&delivery, unknown()), expected) {
            (Next::Carry(next), Some(provider)) => assert_eq!(next.provider, provider),
            (next, None) => assert_eq!(next, Next::Done, "{policy:?}"),
            (next, _) => panic!("{policy:?}: {next:?}"),
        }
        assert_eq!(house.deliveries(verification.id)[0].status, DeliveryStatus::Unknown);
        assert_eq!(house.row(verification.id).status, Status::Pending, "somebody may have got it");
    }
}

#[test]
fn bug_g5_what_may_have_arrived_never_ends_in_failed() {
    let mut house = House::with(|application| {
        with_providers(&["a", "b"])(application);
        application.delivery.unknown = Unknown::Next;
    });
    let (verification, delivery) = sent(&mut house);
    let second = carried(house.report(&delivery, unknown()));
    assert_eq!(house.report(&second, rejected(Failure::GiveUp)), Next::GaveUp);
    assert_eq!(house.row(verification.id).status, Status::Pending);
    house.approve(verification.id);
}

#[test]
fn bug_g4_a_failed_resend_never_ends_what_was_accepted() {
    for earlier in [accepted("m"), unknown(), Reported::Interrupted] {
        let mut house = House::new();
        let (verification, delivery) = sent(&mut house);
        house.report(&delivery, earlier.clone());
        house.again(verification.id).send().unwrap();
        let again = house.last_delivery(verification.id);
        assert_eq!(house.report(&again, rejected(Failure::GiveUp)), Next::GaveUp);
        assert_eq!(house.row(verification.id).status, Status::Pending, "after {earlier:?}");
        house.approve(verification.id);
    }
}

#[test]
fn a_resend_that_is_still_on_its_way_keeps_it_pending() {
    let mut house = House::new();
    let (verification, first) = sent(&mut house);
    house.again(verification.id).send().unwrap();
    let second = house.last_delivery(verification.id);
    assert_eq!(house.report(&first, rejected(Failure::GiveUp)), Next::GaveUp);
    assert_eq!(house.row(verification.id).status, Status::Pending);
    assert_eq!(house.report(&second, rejected(Failure::GiveUp)), Next::GaveUp);
    assert_eq!(house.row(verification.id).status, Status::Failed);
    assert_eq!(house.count(EventKind::VerificationFailed), 1);
}

#[test]
fn each_send_is_offered_to_every_provider_anew() {
    let mut house = House::with(with_providers(&["a", "b"]));
    let (verification, first) = sent(&mut house);
    let second = carried(house.report(&first, rejected(Failure::RetryElsewhere)));
    house.report(&second, accepted("m"));
    let again = house.again(verification.id).send().unwrap().deliveries.pop().unwrap();
    assert_eq!((again.provider.as_str(), again.number, again.send), ("a", 3, 2));
    let next = carried(house.report(&again, rejected(Failure::RetryElsewhere)));
    assert_eq!((next.provider.as_str(), next.number, next.send), ("b", 4, 2));
}

#[test]
fn a_carrier_that_lost_its_claim_is_not_heard() {
    let mut house = House::new();
    let (verification, delivery) = sent(&mut house);
    house.rows[0].1[0].claims += 1;
    let before = house.rows.clone();
    for outcome in [accepted("m"), rejected(Failure::GiveUp), unknown(), Reported::Interrupted, Reported::Superseded] {
        assert_eq!(house.report(&delivery, outcome), Next::Stale);
    }
    assert_eq!(house.rows, before);
    assert_eq!(house.events.len(), 1);
    let taken = house.last_delivery(verification.id);
    assert_eq!(house.report(&taken, accepted("m")), Next::Done);
    house.rows.clear();
    assert_eq!(house.report(&taken, accepted("m")), Next::Stale, "nor one whose verification is cleaned up");
}

#[test]
fn an_outcome_that_is_reported_twice_is_written_once() {
    for outcome in [accepted("m"), rejected(Failure::RetryElsewhere), unknown(), Reported::Interrupted] {
        let mut house = House::new();
        let (_, delivery) = sent(&mut house);
        house.report(&delivery, outcome.clone());
        let before = (house.rows.clone(), house.events.clone());
        house.wait(SECOND);
        let next = house.report(&delivery, outcome.clone());
        assert!(matches!(next, Next::Stale | Next::Done), "{outcome:?}");
        assert_eq!((house.rows.clone(), house.events.clone()), before);
    }
}

#[test]
fn an_interrupted_delivery_is_carried_again_while_its_code_lives() {
    let mut house = House::with(with_providers(&["a", "b"]));
    let (verification, delivery) = sent(&mut house);
    let next = carried(house.report(&delivery, Reported::Interrupted));
    assert_eq!((next.provider.as_str(), next.due_at, next.number), ("a", house.now, 2));
    assert_eq!(house.deliveries(verification.id)[0].status, DeliveryStatus::Unknown);
    house.wait(5 * MINUTE);
    assert_eq!(house.report(&next, Reported::Interrupted), Next::Done);
    assert_eq!(house.deliveries(verification.id).len(), 2);
}

#[test]
fn what_has_ended_is_not_carried_any_more() {
    let ends: [fn(&mut House); 3] = [
        |house| drop(house.cancel(house.rows[0].0.id)),
        |house| house.approve(house.rows[0].0.id),
        |house| house.wait(5 * MINUTE),
    ];
    for end in ends {
        for outcome in [
            Reported::Superseded,
            rejected(Failure::RetryElsewhere),
            rejected(Failure::RetryLater),
            unknown(),
            Reported::Interrupted,
        ] {
            let mut house = House::with(|application| {
                with_providers(&["a", "b"])(application);
                application.delivery.unknown = Unknown::Next;
            });
            let (verification, delivery) = sent(&mut house);
            end(&mut house);
            let status = house.row(verification.id).status;
            let next = house.report(&delivery, outcome.clone());
            assert!(matches!(next, Next::GaveUp | Next::Done), "{outcome:?}: {next:?}");
            assert_eq!(house.row(verification.id).status, status, "an end is final");
            assert_eq!(house.count(EventKind::VerificationFailed), 0);
        }
    }
}

// Receipts.

#[test]
fn a_receipt_moves_a_delivery_only_to_what_is_more_certain() {
    use DeliveryStatus::{Accepted, Delivered, Failed, Queued, Undelivered, Unknown};
    for (from, receipt, expected) in [
        (Accepted, Delivered, Delivered),
        (Accepted, Undelivered, Undelivered),
        (Accepted, Failed, Failed),
        (Accepted, Accepted, Accepted),
        (Accepted, Unknown, Accepted),
        (Accepted, Queued, Accepted),
        (Unknown, Accepted, Accepted),
        (Unknown, Delivered, Delivered),
        (Unknown, Failed, Failed),
        (Unknown, Queued, Unknown),
        (Delivered, Undelivered, Delivered),
        (Delivered, Failed, Delivered),
        (Delivered, Accepted, Delivered),
        (Delivered, Unknown, Delivered),
        (Undelivered, Delivered, Delivered),
        (Undelivered, Failed, Undelivered),
        (Undelivered, Accepted, Undelivered),
        (Failed, Delivered, Delivered),
        (Failed, Undelivered, Failed),
        (Failed, Accepted, Failed),
    ] {
        let mut house = House::new();
        let (verification, delivery) = sent(&mut house);
        house.report(&delivery, accepted("m"));
        house.rows[0].1[0].status = from;
        let before = house.events.len();
        for time in 0..3 {
            house.wait(SECOND);
            assert!(house.receipt("first", "m", receipt), "the message is known");
            let now = house.last_delivery(verification.id);
            assert_eq!(now.status, expected, "{receipt:?} after {from:?}, time {time}");
        }
        let events = usize::from(from != expected);
        assert_eq!(house.events.len(), before + events, "{receipt:?} after {from:?}: told once");
    }
}

#[test]
fn receipts_in_any_order_end_alike() {
    use DeliveryStatus::{Accepted, Delivered, Undelivered};
    for order in
        [[Accepted, Delivered, Undelivered], [Undelivered, Delivered, Accepted], [Delivered, Accepted, Undelivered]]
    {
        let mut house = House::new();
        let (verification, delivery) = sent(&mut house);
        house.report(&delivery, accepted("m"));
        for status in order {
            house.receipt("first", "m", status);
        }
        assert_eq!(house.last_delivery(verification.id).status, Delivered);
        assert_eq!(house.count(EventKind::DeliveryDelivered), 1);
        assert_eq!(house.row(verification.id).status, Status::Pending);
    }
}

#[test]
fn bug_g11_a_receipt_is_heard_from_the_provider_that_carried_it_alone() {
    let mut house = House::with(with_providers(&["a", "b"]));
    let (verification, delivery) = sent(&mut house);
    house.report(&delivery, accepted("m"));
    let ours = delivery.id.to_string();
    for (provider, reference, known) in [
        ("b", "m", false),
        ("b", ours.as_str(), false),
        ("a", "other", false),
        ("a", "", false),
        ("a", "m", true),
        ("a", ours.as_str(), true),
    ] {
        assert_eq!(house.receipt(provider, reference, DeliveryStatus::Delivered), known, "{provider} {reference}");
        let status = if known { DeliveryStatus::Delivered } else { DeliveryStatus::Accepted };
        assert_eq!(house.last_delivery(verification.id).status, status);
    }
}

#[test]
fn a_receipt_that_overtakes_the_answer_loses_nothing() {
    let mut house = House::new();
    let (verification, delivery) = sent(&mut house);
    // The gateway reports, by our name for the message, before its answer to the request is read.
    assert!(house.receipt("first", &delivery.id.to_string(), DeliveryStatus::Accepted));
    assert_eq!(house.report(&delivery, accepted("m-1")), Next::Done);
    let now = house.last_delivery(verification.id);
    assert_eq!((now.status, now.message_id.as_deref()), (DeliveryStatus::Accepted, Some("m-1")));
    assert!(house.receipt("first", "m-1", DeliveryStatus::Delivered), "by its own name from then on");
    assert_eq!(house.report(&delivery, accepted("m-2")), Next::Done);
    let now = house.last_delivery(verification.id);
    assert_eq!((now.status, now.message_id.as_deref()), (DeliveryStatus::Delivered, Some("m-1")));
    assert_eq!(house.count(EventKind::DeliveryAccepted), 1);
    assert_eq!(house.count(EventKind::DeliveryDelivered), 1);
    assert_eq!(house.report(&delivery, rejected(Failure::GiveUp)), Next::Stale);
}

#[test]
fn reasons_are_kept() {
    let mut house = House::with(with_providers(&["a", "b"]));
    let (verification, delivery) = sent(&mut house);
    house.report(&delivery, rejected(Failure::RetryElsewhere));
    let reasons: Vec<_> = house.deliveries(verification.id).iter().map(|delivery| delivery.error.as_deref()).collect();
    assert_eq!(reasons, [Some("no"), None]);
    let second = house.last_delivery(verification.id);
    house.report(&second, Reported::Outcome(Outcome::Unknown { reason: "no answer within 10 s".to_owned() }));
    assert_eq!(house.last_delivery(verification.id).error.as_deref(), Some("no answer within 10 s"));
}

// Nobody answered: the next provider, the next channel.

/// `sms 30s`, `voice`, with two providers for text messages that send receipts.
fn with_workflow(application: &mut Application) {
    let confirmed = Route { receipt_within: Some(10 * SECOND), ..Route::to(Channel::Sms, ["a", "b"]) };
    application.routes = vec![confirmed, Route::to(Channel::Voice, ["call"])];
    application.policy.workflow =
        vec![Step { channel: Channel::Sms, wait: 30 * SECOND }, Step { channel: Channel::Voice, wait: Duration::ZERO }];
}

/// Accepted by the first provider, a second after it was sent.
fn accepted_once(house: &mut House) -> Verification {
    let (verification, delivery) = sent(house);
    house.wait(SECOND);
    assert_eq!(house.report(&delivery, accepted("m-1")), Next::Done);
    house.row(verification.id).clone()
}

#[test]
fn without_a_receipt_the_next_provider_is_asked_and_without_an_approval_the_next_channel() {
    let mut house = House::with(with_workflow);
    let verification = accepted_once(&mut house);
    assert_eq!(verification.follow_up_at, Some(house.now + 10 * SECOND));
    house.wait(10 * SECOND - MS);
    assert_eq!(house.follow_up(verification.id), None, "it is not due yet");
    house.wait(MS);
    let second = house.follow_up(verification.id).unwrap();
    assert_eq!((second.provider.as_str(), second.channel, second.number, second.send), ("b", Channel::Sms, 2, 1));
    assert_eq!(house.follow_up(verification.id), None, "and it is due once, whoever asks");
    house.report(&second, accepted("m-2"));
    // No third provider: what is left is the workflow, thirty seconds after the first text message.
    assert_eq!(house.row(verification.id).follow_up_at, Some(verification.created_at + 30 * SECOND));
    house.wait(19 * SECOND);
    let call = house.follow_up(verification.id).unwrap();
    assert_eq!((call.provider.as_str(), call.channel, call.number), ("call", Channel::Voice, 3));
    house.report(&call, accepted("c-1"));
    let row = house.row(verification.id).clone();
    assert_eq!((row.follow_up_at, row.sends, row.channel), (None, 1, Channel::Sms), "a workflow is one send");
    assert_eq!(house.code(row.id), house.code(verification.id));
    house.approve(verification.id);
}

#[test]
fn what_ends_or_delivers_a_verification_ends_the_follow_up() {
    let ends: [fn(&mut House); 3] = [
        |house| drop(house.cancel(house.rows[0].0.id)),
        |house| house.approve(house.rows[0].0.id),
        |house| house.wait(5 * MINUTE),
    ];
    for end in ends {
        let mut house = House::with(with_workflow);
        let verification = accepted_once(&mut house);
        end(&mut house);
        house.wait(MINUTE);
        assert_eq!(house.follow_up(verification.id), None);
        assert_eq!(house.deliveries(verification.id).len(), 1);
        assert_eq!(house.row(verification.id).follow_up_at, None);
    }
    let mut house = House::with(with_workflow);
    let verification = accepted_once(&mut house);
    assert!(house.receipt("a", "m-1", DeliveryStatus::Delivered));
    house.wait(10 * SECOND);
    assert_eq!(house.follow_up(verification.id), None, "the receipt came: nobody else is asked for a text message");
    assert_eq!(house.row(verification.id).follow_up_at, Some(verification.created_at + 30 * SECOND));
    house.wait(19 * SECOND);
    assert_eq!(house.follow_up(verification.id).unwrap().channel, Channel::Voice, "but delivered is not read");
}

#[test]
fn a_receipt_that_says_undelivered_is_followed_up_at_once() {
    let mut house = House::with(with_workflow);
    let verification = accepted_once(&mut house);
    assert!(house.receipt("a", "m-1", DeliveryStatus::Undelivered));
    let second = house.follow_up(verification.id).unwrap();
    assert_eq!(second.provider, "b");
    house.report(&second, accepted("m-2"));
    assert!(house.receipt("b", "m-2", DeliveryStatus::Undelivered));
    assert_eq!(house.follow_up(verification.id).unwrap().channel, Channel::Voice, "nobody has it: why wait");
    // Where nothing follows, it is only written down.
    let mut house = House::new();
    let verification = accepted_once(&mut house);
    let provider = house.last_delivery(verification.id).provider;
    assert!(house.receipt(&provider, "m-1", DeliveryStatus::Undelivered));
    assert_eq!(house.follow_up(verification.id), None);
    assert_eq!(house.row(verification.id).follow_up_at, None);
}

#[test]
fn a_channel_that_nobody_carries_is_left_at_once() {
    let mut house = House::with(with_workflow);
    let (verification, delivery) = sent(&mut house);
    let call = carried(house.report(&delivery, rejected(Failure::GiveUp)));
    assert_eq!((call.provider.as_str(), call.channel, call.due_at), ("call", Channel::Voice, house.now));
    assert_eq!(house.row(verification.id).status, Status::Pending);
    assert_eq!(house.report(&call, rejected(Failure::GiveUp)), Next::GaveUp);
    assert_eq!(house.row(verification.id).status, Status::Failed);
    assert_eq!(house.count(EventKind::VerificationFailed), 1);
}

#[test]
fn a_workflow_begins_at_the_channel_asked_for_and_never_goes_back() {
    let mut house = House::with(with_workflow);
    let sent = house.ask(TO).channel(Channel::Voice).send().unwrap();
    house.report(&sent.deliveries[0], accepted("c-1"));
    assert_eq!(house.row(sent.verification.id).follow_up_at, None);
    // One that is sent again begins anew.
    let verification = house.again(sent.verification.id).channel(Channel::Sms).send().unwrap().verification;
    let delivery = house.last_delivery(verification.id);
    house.report(&delivery, accepted("m-9"));
    assert!(house.row(verification.id).follow_up_at.is_some());
}

#[test]
fn a_follow_up_that_this_process_cannot_carry_waits_in_the_outbox() {
    let mut house = House::with(with_workflow);
    let verification = accepted_once(&mut house);
    house.wait(10 * SECOND);
    let follow_up = FollowUp {
        application: house.application.clone(),
        id: verification.id,
        carry_now: false,
        chance: house.chance(),
        now: house.now,
    };
    assert_eq!(house.run(&follow_up), None);
    let waiting = house.last_delivery(verification.id);
    assert_eq!((waiting.status, waiting.claims, waiting.lease_until), (DeliveryStatus::Queued, 0, house.now));
}

#[test]
fn weights_share_out_first_attempts_and_the_order_of_one_verification_stays() {
    let candidate = |provider: &str, weight| Candidate { provider: provider.into(), weight: Some(weight), price: None };
    let route = Route {
        candidates: vec![candidate("a", 3), candidate("b", 1), candidate("c", 0)],
        ..Route::to(Channel::Sms, [])
    };
    let mut first: BTreeMap<&str, u32> = BTreeMap::new();
    for nth in 0..10_000_u64 {
        let id = VerificationId::from_bytes(std::array::from_fn(|place| (nth >> (8 * (place % 8))) as u8));
        let order: Vec<_> = route.order(id).iter().map(|candidate| candidate.provider.as_str()).collect();
        assert_eq!(order.len(), 3);
        assert_eq!(order, route.order(id).iter().map(|candidate| candidate.provider.as_str()).collect::<Vec<_>>());
        let leader = route.order(id)[0];
        *first.entry(&leader.provider).or_default() += 1;
    }
    assert!((7_300..=7_700).contains(&first["a"]), "{first:?}");
    assert!(!first.contains_key("c"), "a stand-in is asked when the others are used up");
}

#[test]
fn a_route_may_be_for_a_type_of_number() {
    let mut house = House::with(|application| {
        let mobile = Route { number_types: Some(vec![NumberType::Mobile]), ..Route::to(Channel::Voice, ["mobile"]) };
        application.routes = vec![mobile, Route::to(Channel::Voice, ["any"])];
    });
    let provider = |house: &mut House, to: &str| {
        house.ask(to).channel(Channel::Voice).send().unwrap().deliveries[0].provider.clone()
    };
    assert_eq!(provider(&mut house, TO), "mobile");
    assert_eq!(provider(&mut house, "+442083661177"), "any");
}

#[test]
fn prices_are_read_and_written() {
    for (text, micros, written) in [
        ("0.0071 EUR", 7_100, "0.0071 EUR"),
        ("1 USD", 1_000_000, "1.00 USD"),
        (".5 TZS", 500_000, "0.50 TZS"),
        ("12.345678 INR", 12_345_678, "12.345678 INR"),
    ] {
        let price: Price = text.parse().unwrap();
        assert_eq!((price.micros, price.to_string().as_str()), (micros, written));
        assert_eq!(written.parse::<Price>().unwrap(), price);
        assert_eq!((price.times(3).micros, price.times(0).micros, price.times(1)), (micros * 3, 0, price));
    }
    for bad in [
        "",
        "1",
        "1 eur",
        "1 EURO",
        "EUR 1",
        "-1 EUR",
        "1,5 EUR",
        "0.0000001 EUR",
        ". EUR",
        "1e3 EUR",
        "9999999999 EUR",
    ] {
        assert!(bad.parse::<Price>().is_err(), "{bad}");
    }
}
