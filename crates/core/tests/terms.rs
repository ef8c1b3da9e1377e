//! What one request brings along: limits, a payment, words of its own, the application's word for a number.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod house;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::check::{Against, Check, CheckResult};
use countersign_core::event::EventKind;
use countersign_core::id::ServiceId;
use countersign_core::limit::{ExtraLimit, Of, Per};
use countersign_core::message;
use countersign_core::policy::Countries;
use countersign_core::refusal::{Kind, Limit, Refusal};
use countersign_core::send::{Approve, Terms};
use countersign_core::verification::{By, Payment, Status, Verification, Wording};
use house::{House, MINUTE, OTHER, TO, rule};

fn extra(house: &House, whom: u8, quota: u32) -> ExtraLimit {
    ExtraLimit::new(&house.application.name, "BL1", &[whom; 16], quota, MINUTE)
}

#[test]
fn limits_that_a_request_brings_are_charged_with_the_others_or_not_at_all() {
    let mut house = House::new();
    let limits = |house: &House| vec![extra(house, 1, 2), extra(house, 2, 9)];
    for _ in 0..2 {
        let brought = limits(&house);
        house.ask(TO).terms(|terms| terms.limits = brought).send().unwrap();
    }
    let (before, brought) = (house.limits.clone(), limits(&house));
    let refused = house.ask(OTHER).terms(|terms| terms.limits = brought).refused();
    if let Refusal::RateLimited { limit, quota, window, .. } = refused {
        assert_eq!((limit, quota, window), (Limit::Extra(0), 2, MINUTE));
    } else {
        panic!("expected a limit: {refused}");
    }
    assert_eq!(house.limits, before, "nothing is charged by a refusal");
    let free = vec![extra(&house, 3, 2)];
    house.ask(OTHER).terms(|terms| terms.limits = free).send().unwrap();
}

#[test]
fn a_request_can_shorten_the_pause_and_no_cap() {
    let mut house = House::with(|application| application.policy.resend_after = MINUTE);
    for _ in 0..5 {
        house.ask(TO).terms(|terms| terms.resend_after = Some(Duration::ZERO)).send().unwrap();
    }
    let refused = house.ask(TO).terms(|terms| terms.resend_after = Some(Duration::ZERO)).refused();
    assert_eq!(refused.kind(), Kind::MaxSendsReached);
}

#[test]
fn the_application_s_word_for_a_number_opens_its_country_and_nothing_else() {
    let mut house = House::with(|application| application.policy.allowed_countries = Countries::Only(Vec::new()));
    assert_eq!(house.ask(TO).refused().kind(), Kind::CountryBlocked);
    house.ask(TO).terms(|terms| terms.vouched = true).send().unwrap();
    let premium = house.ask("+19005550123").terms(|terms| terms.vouched = true).refused();
    assert_eq!(premium.kind(), Kind::NumberTypeBlocked);
}

#[test]
fn a_send_that_supersedes_ends_what_was_pending_and_begins_anew() {
    let mut house = House::with(|application| application.policy.resend_after = MINUTE);
    let first = house.send(TO);
    let code = house.code(first.id);
    let sent = house.ask(TO).terms(|terms| terms.supersedes = true).send();
    assert_eq!(sent.unwrap_err().kind(), Kind::ResendTooSoon, "the pause holds, unless the request shortens it");
    let anew = |terms: &mut Terms| {
        terms.supersedes = true;
        terms.resend_after = Some(Duration::ZERO);
    };
    let sent = house.ask(TO).terms(anew).send().unwrap();
    let second = sent.verification;
    assert!(sent.begun && second.id != first.id && second.sends == 1 && sent.deliveries.len() == 1);
    assert_ne!(house.code(second.id), code);
    assert_eq!(house.row(first.id).status, Status::Canceled);
    assert_eq!(house.by_id(first.id, &code), Ok(CheckResult::Canceled));
    let kinds: Vec<_> = house.events.iter().map(|event| (event.kind, event.verification)).collect();
    let expected = [
        (EventKind::VerificationCreated, first.id),
        (EventKind::VerificationCanceled, first.id),
        (EventKind::VerificationCreated, second.id),
    ];
    assert_eq!(kinds, expected);
    let code = house.code(second.id);
    assert_eq!(house.by_id(second.id, &code), Ok(CheckResult::Approved));
    // What is over is left as it is.
    let third = house.ask(TO).terms(anew).send().unwrap();
    assert!(third.begun && house.row(second.id).status == Status::Approved);
}

#[test]
fn a_send_that_supersedes_gives_no_limit_and_no_guess_back() {
    let mut house = House::with(|application| {
        application.policy.max_guesses_per_day = 6;
        application.limits = vec![rule(Per::Destination, Of::Sends, 3, MINUTE)];
    });
    let anew = |terms: &mut Terms| {
        terms.supersedes = true;
        terms.resend_after = Some(Duration::ZERO);
    };
    for _ in 0..3 {
        let sent = house.ask(TO).terms(anew).send().unwrap().verification;
        house.wrong_by_id(sent.id, 2);
    }
    let refused = house.ask(TO).terms(anew).refused();
    assert!(matches!(refused, Refusal::RateLimited { limit: Limit::Rate(Per::Destination), .. }), "{refused}");
    let pending = house.rows.last().unwrap().0.id;
    let code = house.code(pending);
    assert_eq!(house.by_id(pending, &code), Err(Kind::RateLimited), "the day's guesses are used up");
    assert_eq!(house.rows.iter().filter(|(row, _)| row.status == Status::Pending).count(), 1);
}

#[test]
fn an_id_of_another_service_is_nobodys() {
    let mut house = House::new();
    let service = Some(ServiceId::from_bytes([7; 16]));
    let sent = house.ask(TO).with(|begin| begin.service = service).send().unwrap().verification;
    let code = house.code(sent.id);
    for other in [None, Some(ServiceId::from_bytes([8; 16]))] {
        let before = house.rows.clone();
        assert_eq!(house.check(Against::IdOf(sent.id, other), &code, None).unwrap_err().kind(), Kind::NotFound);
        let wrong = house.check(Against::IdOf(sent.id, other), &house::wrong(&code, 0), None).unwrap_err();
        assert_eq!(wrong.kind(), Kind::NotFound);
        assert_eq!(house.rows, before, "and no guess at it");
    }
    assert_eq!(house.check(Against::IdOf(sent.id, service), &code, None).unwrap().result, CheckResult::Approved);
}

#[test]
fn a_refused_send_supersedes_nothing() {
    let mut house = House::with(|application| application.limits = vec![rule(Per::Destination, Of::Sends, 1, MINUTE)]);
    let first = house.send(TO);
    let refused = house.ask(TO).terms(|terms| {
        terms.supersedes = true;
        terms.resend_after = Some(Duration::ZERO);
    });
    assert_eq!(refused.refused().kind(), Kind::RateLimited);
    let code = house.code(first.id);
    assert_eq!(house.by_id(first.id, &code), Ok(CheckResult::Approved));
}

fn pay(amount: &str, payee: &str) -> Payment {
    Payment { amount: amount.to_owned(), payee: payee.to_owned() }
}

fn check(house: &mut House, found: &Verification, code: &str, payment: Option<Payment>) -> CheckResult {
    let check = Check {
        application: Arc::clone(&house.application),
        keys: Arc::clone(&house.keys),
        against: Against::Id(found.id),
        by: By::Id,
        payment,
        code: code.parse().unwrap(),
        client: None,
        now: house.now,
    };
    house.run(&check).unwrap().unwrap().result
}

#[test]
fn a_code_confirms_the_payment_that_it_was_sent_for_and_no_other() {
    let mut house = House::new();
    let sent = house.ask(TO).with(|begin| begin.payment = Some(pay("39.99 EUR", "Acme"))).send().unwrap().verification;
    let code = house.code(sent.id);
    let mut altered = house.row(sent.id).clone();
    altered.payment = Some(pay("3999 EUR", "Acme"));
    let other = house.keys.code(&altered.code, altered.binding(), altered.code_length).unwrap();
    assert_ne!(other.reveal(), code, "the code is derived from the payment");
    for named in [None, Some(pay("39.98 EUR", "Acme")), Some(pay("39.99 EUR", "Acne")), Some(pay("39.99 EURA", "cme"))]
    {
        assert_eq!(check(&mut house, &sent, &code, named), CheckResult::Incorrect);
    }
    house.wait(MINUTE);
    let again = house.ask(TO).with(|begin| begin.payment = Some(pay("40 EUR", "Acme"))).refused();
    assert!(matches!(again, Refusal::InvalidRequest { param: "payment", .. }), "{again}");
    house.ask(TO).with(|begin| begin.payment = Some(pay("39.99 EUR", "Acme"))).send().unwrap();
    let right = Some(pay("39.99 EUR", "Acme"));
    assert_eq!(check(&mut house, &sent, &code, right), CheckResult::Approved);
}

#[test]
fn a_message_says_the_payment_and_words_of_its_own() {
    let mut house = House::with(|application| {
        let text = "{{ application }}: {{ code }} for order {{ custom.order }}{{ custom.nothing }}";
        application.templates.insert("order", "en", Channel::Sms, text).unwrap();
    });
    let values = BTreeMap::from([("order".to_owned(), "12\n@evil.example #1".to_owned())]);
    let hash = Some("abcdefghijk".to_owned());
    let wording = Wording { name: Some("Shop".to_owned()), android_app_hash: hash, values, text: None };
    let sent = house.ask(TO).with(|begin| {
        begin.template = Some("order".to_owned());
        begin.wording = wording;
    });
    let sent = sent.send().unwrap().verification;
    let code = house.code(sent.id);
    let delivery = house.last_delivery(sent.id);
    let text = message::write(&house.application, &house.keys, house.row(sent.id), &delivery).unwrap().text;
    assert_eq!(*text, format!("Shop: {code} for order 12 @evil.example #1\n\nabcdefghijk"));
    let paid =
        house.ask(OTHER).with(|begin| begin.payment = Some(pay("39.99 EUR", "Acme"))).send().unwrap().verification;
    let delivery = house.last_delivery(paid.id);
    let text = message::write(&house.application, &house.keys, house.row(paid.id), &delivery).unwrap().text;
    assert!(text.contains(" to pay 39.99 EUR to Acme is "), "{}", *text);
}

#[test]
fn the_application_can_approve_what_is_pending_once() {
    let mut house = House::new();
    let sent = house.send(TO);
    let approve = |house: &House| Approve { application: Arc::clone(&house.application), id: sent.id, now: house.now };
    let ended = house.run(&approve(&house)).unwrap().0;
    assert_eq!(ended.status, Status::Approved);
    let again = house.run(&approve(&house)).unwrap_err();
    assert_eq!(again.kind(), Kind::NotPending);
}
