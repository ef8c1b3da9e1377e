//! A code is sent: begun, sent again, or refused; and what is charged for it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod house;

use std::collections::BTreeMap;
use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::check::CheckResult::{Approved, Incorrect};
use countersign_core::code::CodeSource;
use countersign_core::destination::{Country, InvalidDestination, NumberType};
use countersign_core::event::EventKind;
use countersign_core::limit::{LimitRule, Of, Per};
use countersign_core::policy::{Countries, Policy, TestDestination};
use countersign_core::refusal::{Kind, Limit, Refusal};
use countersign_core::route::Route;
use countersign_core::verification::{DeliveryStatus, Status};
use house::{DAY, HOUR, House, MINUTE, MS, OTHER, SECOND, TO, accepted, code, number, rejected, rule, wrong};

#[test]
fn a_verification_begins_as_the_policy_has_it() {
    let mut house = House::with(|application| application.policy.resend_after = 30 * SECOND);
    let sent = house.ask(TO).send().unwrap();
    let begun = &sent.verification;
    assert!(sent.begun);
    assert_eq!((begun.status, begun.code_length, begun.sends, begun.sends_left()), (Status::Pending, 6, 1, 4));
    assert_eq!((begun.checks_left(), begun.purpose.as_str(), begun.channel), (5, "login", Channel::Sms));
    assert_eq!(begun.created_at, house.now);
    assert_eq!(begun.expires_at, house.now + 5 * MINUTE);
    assert_eq!(begun.resend_at, house.now + 30 * SECOND);
    assert_eq!(sent.carry.as_ref(), sent.deliveries.last());
    assert_eq!(sent.deliveries[0].status, DeliveryStatus::Queued);
    assert_eq!(house.count(EventKind::VerificationCreated), 1);
}

#[test]
fn what_is_asked_for_is_kept() {
    let mut house = House::new();
    let metadata = BTreeMap::from([("order".to_owned(), "12".to_owned())]);
    let ask = house.ask(TO).purpose("Registration").channel(Channel::Voice).with(|begin| {
        begin.code_length = Some(9);
        begin.ttl = Some(HOUR);
        begin.locale = Some("sw".to_owned());
        begin.metadata = metadata.clone();
    });
    let begun = ask.send().unwrap().verification;
    assert_eq!((begun.purpose.as_str(), begun.channel, begun.code_length), ("registration", Channel::Voice, 9));
    assert_eq!(begun.expires_at, house.now + HOUR);
    assert_eq!((begun.locale.as_deref(), &begun.metadata), (Some("sw"), &metadata));
    assert_eq!(house.code(begun.id).len(), 9);
}

#[test]
fn bug_a5_sending_again_gives_the_same_code_and_restores_nothing() {
    let mut house = House::new();
    let first = house.send(TO);
    let right = house.code(first.id);
    house.by_id(first.id, &wrong(&right, 0)).unwrap();
    house.by_destination(TO, &wrong(&right, 1)).unwrap();
    house.wait(MINUTE);
    let sent = house.ask(TO).send().unwrap();
    let again = &sent.verification;
    assert!(!sent.begun);
    assert_eq!((again.id, again.sends, again.checks_left()), (first.id, 2, 4));
    assert_eq!((again.wrong_by_id, again.wrong_by_destination), (1, 1));
    assert_eq!(house.code(again.id), right);
    assert_eq!(sent.deliveries.len(), 2);
    assert_eq!(house.count(EventKind::VerificationCreated), 1, "it began once");
}

#[test]
fn bug_d2_no_send_prolongs_a_life() {
    let mut house = House::with(|application| application.policy.max_sends = 1000);
    let first = house.send(TO);
    for _ in 0..9 {
        house.wait(30 * SECOND);
        assert_eq!(house.again(first.id).send().unwrap().verification.expires_at, first.expires_at);
    }
    house.wait(30 * SECOND);
    let refusal = house.again(first.id).refused();
    assert_eq!(refusal, Refusal::NotPending { status: Status::Expired });
    let next = house.ask(TO).send().unwrap();
    assert!(next.begun);
    assert_ne!(next.verification.id, first.id);
    assert_ne!(house.code(next.verification.id), house.code(first.id));
}

#[test]
fn bug_a16_the_send_cap_is_exact() {
    for cap in 1..=6 {
        let mut house = House::with(|application| application.policy.max_sends = cap);
        let sends = (0..10).take_while(|_| house.ask(TO).send().is_ok()).count();
        assert_eq!(sends, cap as usize);
        let refusal = house.ask(TO).refused();
        assert_eq!(refusal, Refusal::MaxSendsReached { retry_after: 5 * MINUTE });
        let id = house.rows[0].0.id;
        assert_eq!(house.again(id).refused(), refusal, "by its id too");
        house.wait(5 * MINUTE);
        assert!(house.ask(TO).send().unwrap().begun);
    }
}

#[test]
fn the_pause_between_two_sends_is_exact() {
    let mut house = House::with(|application| application.policy.resend_after = 30 * SECOND);
    house.send(TO);
    house.wait(10 * SECOND);
    assert_eq!(house.ask(TO).refused(), Refusal::ResendTooSoon { retry_after: 20 * SECOND, pause: 30 * SECOND });
    house.wait(20 * SECOND - MS);
    assert_eq!(house.ask(TO).refused().retry_after(), Some(MS));
    house.wait(MS);
    house.ask(TO).send().unwrap();
    house.now = house.now - HOUR;
    let Refusal::ResendTooSoon { retry_after, .. } = house.ask(TO).refused() else { panic!("it is too soon") };
    assert_eq!(retry_after, 30 * SECOND, "a clock that is set back does not stretch the pause");
}

#[test]
fn bug_g4_a_refused_send_leaves_the_earlier_code_alone() {
    let mut house = House::with(|application| application.policy.resend_after = 30 * SECOND);
    let first = house.send(TO);
    let (right, before) = (house.code(first.id), house.rows.clone());
    house.ask(TO).refused();
    assert_eq!(house.rows, before);
    assert_eq!(house.by_id(first.id, &right), Ok(Approved));
}

#[test]
fn a_new_one_begins_when_the_last_has_ended_however_it_ended() {
    let right = |house: &House| house.code(house.rows.last().unwrap().0.id);
    type End = fn(&mut House);
    let ends: [(Status, End); 5] = [
        (Status::Approved, |house| house.approve(house.rows[0].0.id)),
        (Status::Canceled, |house| drop(house.cancel(house.rows[0].0.id).unwrap())),
        (Status::Expired, |house| house.wait(5 * MINUTE)),
        (Status::MaxAttemptsReached, |house| house.wrong_by_id(house.rows[0].0.id, 5)),
        (Status::Failed, |house| {
            let delivery = house.last_delivery(house.rows[0].0.id);
            house.report(&delivery, rejected(countersign_core::outcome::Failure::GiveUp));
        }),
    ];
    for (status, end) in ends {
        let mut house = House::new();
        let first = house.send(TO);
        let old = right(&house);
        end(&mut house);
        assert_eq!(house.row(first.id).status_at(house.now), status);
        assert_eq!(house.again(first.id).refused(), Refusal::NotPending { status });
        assert_eq!(house.cancel(first.id), Err(Refusal::NotPending { status }));
        let next = house.ask(TO).send().unwrap();
        assert!(next.begun, "after {status}");
        assert_eq!((next.verification.sends, next.deliveries.len(), next.deliveries[0].number), (1, 1, 1));
        assert_ne!(right(&house), old);
    }
}

#[test]
fn purposes_and_destinations_have_verifications_of_their_own() {
    let mut house = House::new();
    let login = house.send(TO);
    let other = house.ask(TO).purpose("registration").send().unwrap().verification;
    let else_ = house.send(OTHER);
    assert_eq!(house.rows.len(), 3);
    assert!(login.id != other.id && login.id != else_.id);
}

#[test]
fn limits_are_charged_together_or_not_at_all() {
    let mut house = House::with(|application| {
        application.limits = vec![
            rule(Per::Destination, Of::Sends, 2, HOUR),
            rule(Per::Client, Of::Sends, 3, HOUR),
            rule(Per::Application, Of::Sends, 100, HOUR),
        ];
    });
    let send = |house: &mut House, to: &str| house.ask(to).client("192.0.2.1").send().map(|_| ());
    for _ in 0..2 {
        send(&mut house, TO).unwrap();
    }
    let before = house.limits.clone();
    for _ in 0..5 {
        let refusal = send(&mut house, TO).unwrap_err();
        let limit = Limit::Rate(Per::Destination);
        assert_eq!(refusal, Refusal::RateLimited { limit, quota: 2, window: HOUR, retry_after: HOUR / 2 });
        assert_eq!(house.limits, before, "the client does not pay for what its destination is refused");
    }
    send(&mut house, OTHER).unwrap();
    assert_eq!(send(&mut house, "+255694230175").unwrap_err().kind(), Kind::RateLimited);
}

#[test]
fn a_send_that_is_refused_for_another_reason_charges_nothing() {
    type Refuse = fn(&mut House) -> Refusal;
    let refused: [(&str, Refuse); 4] = [
        ("a wrong field", |house| house.ask(OTHER).with(|begin| begin.ttl = Some(SECOND)).refused()),
        ("the pause", |house| house.ask(TO).refused()),
        ("a channel that does not reach", |house| house.ask(TO).channel(Channel::Email).refused()),
        ("one that has ended", |house| {
            let other = house.send(OTHER);
            house.cancel(other.id).unwrap();
            let before = house.limits.clone();
            let refusal = house.again(other.id).refused();
            assert_eq!(house.limits, before);
            refusal
        }),
    ];
    for (why, refuse) in refused {
        let mut house = House::with(|application| {
            application.limits = LimitRule::defaults();
            application.policy.resend_after = 30 * SECOND;
        });
        house.send(TO);
        let before = house.limits.len();
        refuse(&mut house);
        let charged = if why == "one that has ended" { 2 * before } else { before };
        assert_eq!(house.limits.len(), charged, "{why}");
    }
}

#[test]
fn two_limits_of_one_window_hold_both() {
    // They share a counter, whichever stands first.
    for quotas in [[5, 3], [3, 5]] {
        let mut house = House::with(|application| {
            application.policy.max_sends = 100;
            application.limits = quotas.map(|quota| rule(Per::Destination, Of::Sends, quota, HOUR)).to_vec();
        });
        assert_eq!((0..10).take_while(|_| house.ask(TO).send().is_ok()).count(), 3, "{quotas:?}");
    }
}

#[test]
fn every_limit_counts_whom_it_says() {
    let pair = [("+255694230173", "192.0.2.1"), ("+255694230174", "192.0.2.2")];
    let address = ("ann@example.com", "192.0.2.3");
    for (per, first, second, one_counter) in [
        (Per::Destination, pair[0], pair[0], true),
        (Per::Destination, pair[0], pair[1], false),
        (Per::Destination, ("a.nn+1@example.com", "a"), ("ANN+2@example.com", "b"), true),
        (Per::Client, pair[0], (pair[1].0, pair[0].1), true),
        (Per::Client, pair[0], (pair[0].0, pair[1].1), false),
        (Per::Prefix, pair[0], pair[1], true),
        (Per::Prefix, pair[0], ("+255694240173", "x"), false),
        (Per::Prefix, address, ("bob@EXAMPLE.com", "x"), true),
        (Per::Country, pair[0], ("+255754123456", "x"), true),
        (Per::Country, pair[0], ("+254712345678", "x"), false),
        (Per::Application, pair[0], address, true),
    ] {
        let mut house = House::with(|application| application.limits = vec![rule(per, Of::Sends, 1, HOUR)]);
        let mut send = |(to, client)| house.ask(to).client(client).send().err().map(|refusal| refusal.kind());
        assert_eq!(send(first), None);
        assert_eq!(send(second), one_counter.then_some(Kind::RateLimited), "{per:?}: {} and {}", first.0, second.0);
    }
    // Without a client there is nothing for a client limit to count.
    let mut house = House::with(|application| application.limits = vec![rule(Per::Client, Of::Sends, 1, HOUR)]);
    assert!((0..5).all(|_| house.ask(TO).send().is_ok()));
    assert!(house.limits.is_empty());
}

#[test]
fn bug_a14_a_limit_opens_when_it_said_and_not_before() {
    let mut house = House::with(|application| {
        application.policy.max_sends = 1000;
        application.policy.ttl = DAY;
        application.limits = LimitRule::defaults();
    });
    for _ in 0..20 {
        while house.ask(TO).send().is_ok() {}
        let wait = house.ask(TO).refused().retry_after().unwrap();
        assert!(wait <= DAY);
        house.wait(wait - MS);
        assert!(house.ask(TO).send().is_err());
        house.wait(MS);
        assert!(house.ask(TO).send().is_ok());
        if house.rows.len() > 2 {
            break;
        }
    }
}

#[test]
fn bug_a10_one_number_in_many_spellings_has_one_budget() {
    let mut house = House::with(|application| application.limits = vec![rule(Per::Destination, Of::Sends, 2, HOUR)]);
    for spelling in ["+255694230173", "255 694 230 173"] {
        house.ask(spelling).send().unwrap();
    }
    for spelling in ["00255694230173", "+255 (694) 230-173", "\u{ff0b}255694230173", "tel:+255-694-230-173"] {
        assert_eq!(house.ask(spelling).refused().kind(), Kind::RateLimited, "{spelling}");
    }
    assert_eq!(house.rows.len(), 1);
}

// What cannot be reached, or must not be.

#[test]
fn a_destination_is_refused_for_what_its_plan_says() {
    use Channel::{Email, Sms, Voice, Whatsapp};
    let unreachable = Some(Refusal::InvalidDestination(InvalidDestination::Channel));
    let blocked = Some(Refusal::NumberTypeBlocked);
    for (to, kind, channel, expected) in [
        ("+255694230173", Some(NumberType::Mobile), Sms, None),
        ("+447400123456", Some(NumberType::Mobile), Whatsapp, None),
        ("+12015550123", Some(NumberType::FixedLineOrMobile), Sms, None),
        ("+442079460000", Some(NumberType::FixedLine), Sms, unreachable.clone()),
        ("+442079460000", Some(NumberType::FixedLine), Whatsapp, None),
        ("+442079460000", Some(NumberType::FixedLine), Voice, None),
        ("+448001234567", Some(NumberType::TollFree), Sms, blocked.clone()),
        ("+448001234567", Some(NumberType::TollFree), Voice, blocked.clone()),
        ("+449012345678", Some(NumberType::PremiumRate), Sms, blocked.clone()),
        ("+449012345678", Some(NumberType::PremiumRate), Voice, blocked.clone()),
        ("+39848123456", Some(NumberType::SharedCost), Sms, blocked.clone()),
        ("+447640123456", Some(NumberType::Pager), Sms, blocked.clone()),
        ("+445512345678", Some(NumberType::Uan), Sms, blocked),
        ("+445612345678", Some(NumberType::Voip), Sms, None),
        ("+447012345678", Some(NumberType::Personal), Sms, None),
        ("ann@example.com", None, Email, None),
        ("ann@example.com", None, Sms, unreachable.clone()),
        ("+255694230173", Some(NumberType::Mobile), Email, unreachable),
    ] {
        assert_eq!(number(to).number_type(), kind, "{to}");
        let mut house = House::new();
        assert_eq!(house.ask(to).channel(channel).send().err(), expected, "{to} over {channel}");
    }
}

#[test]
fn a_fixed_line_that_was_called_is_not_sent_an_sms_afterwards() {
    let mut house = House::new();
    let called = house.ask("+442079460000").channel(Channel::Voice).send().unwrap().verification;
    // A store gives back the number's text, and the rule must still know what kind of number it is.
    house.restart();
    let refusal = house.again(called.id).channel(Channel::Sms).refused();
    assert_eq!(refusal, Refusal::InvalidDestination(InvalidDestination::Channel));
    assert_eq!(house.again(called.id).send().unwrap().verification.channel, Channel::Voice);
}

#[test]
fn a_country_that_is_not_allowed_is_not_written_to() {
    let only = |codes: &[&str]| Countries::Only(codes.iter().map(|code| code.parse::<Country>().unwrap()).collect());
    for (allowed, to, expected) in [
        (Countries::All, TO, None),
        (only(&["TZ", "KE"]), TO, None),
        (only(&["KE"]), TO, Some(Refusal::CountryBlocked)),
        (only(&[]), TO, Some(Refusal::CountryBlocked)),
        // +1 is many countries, and each is its own.
        (only(&["US"]), "+12015550123", None),
        (only(&["US"]), "+15062345678", Some(Refusal::CountryBlocked)),
        (only(&["US"]), "+18762101234", Some(Refusal::CountryBlocked)),
        // A satellite is in no country.
        (only(&["US"]), "+881612345678", Some(Refusal::CountryBlocked)),
        // An address has no country that could be forbidden.
        (only(&["KE"]), "ann@example.com", None),
    ] {
        let mut house = House::with(|application| application.policy.allowed_countries = allowed.clone());
        assert_eq!(house.ask(to).send().err(), expected, "{to} with {allowed:?}");
    }
}

#[test]
fn the_first_route_that_fits_says_who_carries() {
    let tanzania =
        Route { countries: Countries::Only(vec!["TZ".parse().unwrap()]), ..Route::to(Channel::Sms, ["tz", "any"]) };
    let mut house = House::with(|application| {
        application.routes = vec![tanzania, Route::to(Channel::Sms, ["any"]), Route::to(Channel::Email, ["mail"])];
    });
    for (to, provider) in [(TO, "tz"), ("+254712345678", "any"), ("ann@example.com", "mail")] {
        assert_eq!(house.ask(to).send().unwrap().deliveries[0].provider, provider);
    }
    assert_eq!(house.ask(OTHER).channel(Channel::Voice).refused(), Refusal::UnsupportedChannel);
}

// What cannot be meant.

#[test]
fn bug_c4_a_purpose_that_is_not_listed_is_refused() {
    let purposes = |names: &[&str]| Some(names.iter().map(|name| name.parse().unwrap()).collect());
    for (listed, asked, allowed) in [
        (None, "anything", true),
        (purposes(&["login", "payment"]), "Payment", true),
        (purposes(&["login"]), "payment", false),
        (purposes(&[]), "login", false),
    ] {
        let mut house = House::with(|application| application.policy.purposes = listed);
        let refusal = house.ask(TO).purpose(asked).send().err();
        let param = refusal.map(|refusal| match refusal {
            Refusal::InvalidRequest { param, .. } => param,
            other => panic!("{other:?}"),
        });
        assert_eq!(param, (!allowed).then_some("purpose"));
    }
}

#[test]
fn fields_have_their_ranges() {
    let mut house = House::new();
    for (length, lawful) in [(0, false), (3, false), (4, true), (10, true), (11, false), (64, false), (255, false)] {
        let asked = house.ask(TO).with(|begin| begin.code_length = Some(length)).send();
        assert_eq!(asked.is_ok(), lawful, "code_length {length}");
        if let Ok(sent) = asked {
            assert_eq!(house.code(sent.verification.id).len(), usize::from(length));
            house.cancel(sent.verification.id).unwrap();
        }
    }
    for (ttl, lawful) in [
        (Duration::ZERO, false),
        (Policy::MIN_TTL - MS, false),
        (Policy::MIN_TTL, true),
        (Policy::MAX_TTL, true),
        (Policy::MAX_TTL + MS, false),
        (Duration::MAX, false),
    ] {
        let asked = house.ask(TO).with(|begin| begin.ttl = Some(ttl)).send();
        assert_eq!(asked.is_ok(), lawful, "ttl {ttl:?}");
        if let Ok(sent) = asked {
            assert_eq!(sent.verification.expires_at, house.now + ttl);
            house.cancel(sent.verification.id).unwrap();
        }
    }
    let refusal = house.ask(TO).with(|begin| begin.template = Some("none".to_owned())).refused();
    assert!(matches!(refusal, Refusal::InvalidRequest { param: "template", .. }));
    house.ask(TO).with(|begin| begin.template = Some("default".to_owned())).send().unwrap();
}

#[test]
fn bug_e6_a_policy_that_cannot_be_is_named_by_its_key() {
    type Change = fn(&mut Policy);
    let changes: [(&str, Change); 11] = [
        ("code_length", |policy| policy.code_length = 3),
        ("code_length", |policy| policy.code_length = 11),
        ("hardened_length", |policy| policy.hardened_length = 64),
        ("ttl", |policy| policy.ttl = 29 * SECOND),
        ("ttl", |policy| policy.ttl = DAY + SECOND),
        ("max_sends", |policy| policy.max_sends = 0),
        ("max_checks", |policy| policy.max_checks = 0),
        ("max_checks", |policy| policy.max_checks = 1001),
        ("max_guesses_per_day", |policy| policy.max_guesses_per_day = 0),
        ("resend_after", |policy| policy.resend_after = DAY + SECOND),
        ("resend_after", |policy| policy.resend_after = Duration::MAX),
    ];
    Policy::default().validate().unwrap();
    for (key, change) in changes {
        let mut policy = Policy::default();
        change(&mut policy);
        assert_eq!(policy.validate().unwrap_err().0, key);
    }
}

// Codes that are not derived.

#[test]
fn a_chosen_code_is_sent_where_the_policy_allows_it() {
    let mut house = House::new();
    let choose = |house: &mut House, digits: &str| {
        let chosen = code(digits);
        house.ask(TO).with(|begin| begin.custom_code = Some(chosen)).send()
    };
    let refusal = choose(&mut house, "000123").unwrap_err();
    assert!(matches!(refusal, Refusal::InvalidRequest { param: "custom_code", .. }));

    house.change(|application| application.policy.allow_custom_code = true);
    let begun = choose(&mut house, "000123").unwrap().verification;
    assert_eq!((begun.code_length, house.code(begun.id)), (6, "000123".to_owned()));
    assert!(matches!(&begun.code, CodeSource::Chosen { sealed: Some(_), .. }));
    assert_eq!(choose(&mut house, "000123").unwrap().verification.sends, 2, "the same code is a send again");
    let refusal = choose(&mut house, "000124").unwrap_err();
    assert!(matches!(refusal, Refusal::InvalidRequest { param: "custom_code", .. }), "another code is not");
    assert_eq!(house.code(begun.id), "000123");
}

#[test]
fn bug_f3_the_sealed_copy_of_a_chosen_code_goes_with_the_end() {
    let ends: [fn(&mut House); 5] = [
        |house| house.approve(house.rows[0].0.id),
        |house| drop(house.cancel(house.rows[0].0.id).unwrap()),
        |house| house.wrong_by_id(house.rows[0].0.id, 5),
        |house| {
            house.wait(5 * MINUTE);
            assert!(house.expire(house.rows[0].0.id));
        },
        |house| {
            let delivery = house.last_delivery(house.rows[0].0.id);
            house.report(&delivery, rejected(countersign_core::outcome::Failure::GiveUp));
        },
    ];
    for end in ends {
        let mut house = House::with(|application| application.policy.allow_custom_code = true);
        house.ask(TO).with(|begin| begin.custom_code = Some(code("000123"))).send().unwrap();
        end(&mut house);
        let row = &house.rows[0].0;
        assert_ne!(row.status, Status::Pending);
        assert!(row.finished_at.is_some());
        assert!(matches!(&row.code, CodeSource::Chosen { sealed: None, .. }), "{:?}", row.status);
    }
}

#[test]
fn a_test_destination_has_its_code_and_nobody_else_does() {
    let mut house = House::with(|application| {
        application.test_destinations = vec![TestDestination { to: number("+15005550006"), code: code("123456") }];
    });
    let test = house.send("+15005550006");
    assert_eq!(house.code(test.id), "123456");
    let other = house.send(TO);
    assert_ne!(house.code(other.id), "123456");
    assert!(matches!(other.code, CodeSource::Derived { .. }));
}

#[test]
fn a_destination_that_is_guessed_at_gets_longer_codes_for_a_day() {
    // Both counts together make the ten.
    for (by_id, by_destination, length) in [(0, 0, 6), (5, 4, 6), (5, 5, 8), (0, 10, 8), (10, 0, 8)] {
        let mut house = House::with(|application| application.policy.max_checks = 20);
        let first = house.send(TO);
        let right = house.code(first.id);
        house.wrong_by_id(first.id, by_id);
        (0..by_destination).for_each(|nth| assert_eq!(house.by_destination(TO, &wrong(&right, nth)), Ok(Incorrect)));
        assert_eq!(house.again(first.id).send().unwrap().verification.code_length, 6, "the pending one keeps its code");
        house.cancel(first.id).unwrap();
        let other = house.ask(TO).purpose("other").send().unwrap().verification;
        assert_eq!(other.code_length, length, "{by_id} by id, {by_destination} by destination: every purpose");
        assert_eq!(house.send(OTHER).code_length, 6, "other destinations do not change");
        house.wait(DAY - MS);
        assert_eq!(house.send(TO).code_length, length);
        house.wait(MS);
        house.cancel(house.rows.last().unwrap().0.id).unwrap();
        assert_eq!(house.send(TO).code_length, 6, "and back to normal");
    }
}

#[test]
fn a_longer_code_that_was_asked_for_stays_longer() {
    let mut house = House::with(|application| application.policy.hardened_after = 0);
    let length = |house: &mut House, asked| {
        let begun = house.ask(TO).with(|begin| begin.code_length = asked).send().unwrap().verification;
        house.cancel(begun.id).unwrap();
        begun.code_length
    };
    assert_eq!(length(&mut house, None), 8);
    assert_eq!(length(&mut house, Some(4)), 8, "a request cannot soften it");
    assert_eq!(length(&mut house, Some(10)), 10);
}

// The same request again.

#[test]
fn bug_g6_the_same_chance_is_the_same_send() {
    let mut house = House::with(|application| application.limits = vec![rule(Per::Destination, Of::Sends, 2, HOUR)]);
    let chance = house.chance();
    let first = house.ask(TO).chance(chance).send().unwrap();
    let before = (house.rows.clone(), house.limits.clone(), house.events.clone());
    for _ in 0..5 {
        let again = house.ask(TO).chance(chance).send().unwrap();
        assert!(again.begun && again.carry.is_none(), "answered alike, carried by nobody");
        assert_eq!(again.verification, first.verification);
    }
    assert_eq!((house.rows.clone(), house.limits.clone(), house.events.clone()), before, "and nothing charged");

    let chance = house.chance();
    house.again(first.verification.id).chance(chance).send().unwrap();
    let replayed = house.again(first.verification.id).chance(chance).send().unwrap();
    assert!(!replayed.begun && replayed.carry.is_none());
    assert_eq!((replayed.verification.sends, replayed.deliveries.len()), (2, 2));
    // Even when it has ended meanwhile, or would be refused by now.
    house.cancel(first.verification.id).unwrap();
    assert_eq!(house.again(first.verification.id).chance(chance).send().unwrap().verification.status, Status::Canceled);
}

#[test]
fn canceling_gives_no_limit_back_and_happens_once() {
    let mut house = House::with(|application| application.limits = vec![rule(Per::Destination, Of::Sends, 1, HOUR)]);
    let first = house.send(TO);
    let delivery = house.last_delivery(first.id);
    house.report(&delivery, accepted("m"));
    let canceled = house.cancel(first.id).unwrap();
    assert_eq!((canceled.status, canceled.finished_at), (Status::Canceled, Some(house.now)));
    assert_eq!(house.cancel(first.id), Err(Refusal::NotPending { status: Status::Canceled }));
    assert_eq!(house.ask(TO).refused().kind(), Kind::RateLimited);
    assert_eq!(house.count(EventKind::VerificationCanceled), 1);
}

#[test]
fn expiry_is_written_down_once_and_only_when_it_is_true() {
    let mut house = House::new();
    let first = house.send(TO);
    house.wait(5 * MINUTE - MS);
    assert!(!house.expire(first.id));
    house.wait(MINUTE);
    assert!(house.expire(first.id));
    assert!(!house.expire(first.id));
    let row = house.row(first.id);
    assert_eq!((row.status, row.finished_at), (Status::Expired, Some(first.expires_at)));
    assert_eq!(house.count(EventKind::VerificationExpired), 1);
    let approved = house.send(TO);
    let right = house.code(approved.id);
    house.by_id(approved.id, &right).unwrap();
    house.wait(HOUR);
    assert!(!house.expire(approved.id), "what has ended does not expire");
}
