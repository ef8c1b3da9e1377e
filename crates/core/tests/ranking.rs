//! When two refusals are true, the order says which is given: every pair that can be, row by row, the expected one last.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod house;

use std::collections::HashSet;
use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::check::Against;
use countersign_core::destination::{Country, NumberType};
use countersign_core::guard::{Guard, Mode};
use countersign_core::limit::{Of, Per};
use countersign_core::policy::Countries;
use countersign_core::refusal::{Kind, Limit, RANKING, Refusal};
use countersign_core::verification::Status;
use house::{HOUR, House, MINUTE, TO, number, rule, wrong};

/// Every pair that can be true of one send. Not here because they exclude each other: `not_found` and everything else (nothing is
/// known of what is not there); `not_pending` with a wrong field (only a new one has fields) or with the two refusals of a pending one.
const SEND: [(Kind, Kind, Kind); 42] = {
    use Kind::{
        CountryBlocked as Country, FraudSuspected as Fraud, InvalidDestination as Destination,
        InvalidRequest as Request, MaxSendsReached as Sends, NotPending as Ended, NumberTypeBlocked as Type,
        RateLimited as Rate, ResendTooSoon as Soon, UnsupportedChannel as Channel,
    };
    [
        (Request, Destination, Request),
        (Request, Country, Request),
        (Request, Type, Request),
        (Request, Channel, Request),
        (Request, Fraud, Request),
        (Request, Sends, Request),
        (Request, Soon, Request),
        (Request, Rate, Request),
        (Ended, Destination, Ended),
        (Ended, Country, Ended),
        (Ended, Type, Ended),
        (Ended, Channel, Ended),
        (Ended, Fraud, Ended),
        (Ended, Rate, Ended),
        (Destination, Country, Destination),
        (Destination, Type, Destination),
        (Destination, Channel, Destination),
        (Destination, Fraud, Destination),
        (Destination, Sends, Destination),
        (Destination, Soon, Destination),
        (Destination, Rate, Destination),
        (Country, Type, Country),
        (Country, Channel, Country),
        (Country, Fraud, Country),
        (Country, Sends, Country),
        (Country, Soon, Country),
        (Country, Rate, Country),
        (Type, Channel, Type),
        (Type, Fraud, Type),
        (Type, Sends, Type),
        (Type, Soon, Type),
        (Type, Rate, Type),
        (Channel, Fraud, Channel),
        (Channel, Sends, Channel),
        (Channel, Soon, Channel),
        (Channel, Rate, Channel),
        (Fraud, Sends, Fraud),
        (Fraud, Soon, Fraud),
        (Fraud, Rate, Fraud),
        (Sends, Soon, Sends),
        (Sends, Rate, Sends),
        (Soon, Rate, Soon),
    ]
};

/// Makes all of these true of one send and says what is given. `pending` says whether one is pending that would be sent again.
fn given(truths: &[Kind], pending: bool) -> Option<Refusal> {
    let is = |kind| truths.contains(&kind);
    let mut house = House::with(|application| {
        if is(Kind::MaxSendsReached) {
            application.policy.max_sends = 1;
        }
        if is(Kind::ResendTooSoon) {
            application.policy.resend_after = Duration::from_secs(30);
        }
        if is(Kind::RateLimited) {
            application.limits = vec![rule(Per::Destination, Of::Sends, 1, HOUR)];
        }
    });
    if is(Kind::FraudSuspected) {
        house.change(|application| {
            application.guard = Guard { mode: Mode::Enforce, unconfirmed: 1, ..Guard::default() }
        });
    }
    let first = house.send(TO);
    if is(Kind::NotPending) || !pending {
        house.cancel(first.id).unwrap();
    }
    house.change(|application| {
        if is(Kind::CountryBlocked) {
            application.policy.allowed_countries = Countries::Only(vec!["KE".parse::<Country>().unwrap()]);
        }
        if is(Kind::NumberTypeBlocked) {
            application.policy.blocked_number_types = vec![NumberType::Mobile];
        }
        if is(Kind::UnsupportedChannel) {
            application.routes.clear();
        }
    });
    // The fields are of a new one; what has ended can only be named by its id.
    let mut ask = if is(Kind::NotPending) { house.again(first.id) } else { house.ask(TO) };
    if is(Kind::InvalidRequest) {
        ask = ask.with(|begin| begin.code_length = Some(99));
    }
    if is(Kind::InvalidDestination) {
        ask = ask.channel(Channel::Email);
    }
    ask.send().err()
}

#[test]
fn of_two_refusals_of_a_send_the_ranking_says_which_is_given() {
    for (one, other, expected) in SEND {
        let needs_pending = [one, other].iter().any(|kind| matches!(kind, Kind::MaxSendsReached | Kind::ResendTooSoon));
        for pending in [true, false] {
            if needs_pending && !pending {
                continue;
            }
            for single in [one, other] {
                assert_eq!(given(&[single], pending).map(|refusal| refusal.kind()), Some(single), "alone: {single:?}");
            }
            let both = given(&[one, other], pending).map(|refusal| refusal.kind());
            assert_eq!(both, Some(expected), "{one:?} and {other:?}, pending: {pending}");
        }
    }
}

#[test]
fn the_table_has_every_pair_once_and_agrees_with_the_ranking() {
    let rank = |kind| RANKING.iter().position(|ranked| *ranked == kind).unwrap();
    let pairs: HashSet<_> =
        SEND.iter().map(|(one, other, _)| (rank(*one).min(rank(*other)), rank(*one).max(rank(*other)))).collect();
    assert_eq!(pairs.len(), SEND.len());
    assert!(SEND.iter().all(|(one, other, expected)| rank(*expected) == rank(*one).min(rank(*other))));
    let excluded = [
        (Kind::InvalidRequest, Kind::NotPending),
        (Kind::NotPending, Kind::MaxSendsReached),
        (Kind::NotPending, Kind::ResendTooSoon),
    ];
    let possible = RANKING.len() - 1;
    assert_eq!(SEND.len() + excluded.len(), possible * (possible - 1) / 2);
}

#[test]
fn what_is_not_there_is_not_found_whatever_else_is_true() {
    let mut house = House::with(|application| application.routes.clear());
    let nobody = countersign_core::id::VerificationId::from_bytes([0; 16]);
    assert_eq!(house.again(nobody).channel(Channel::Email).refused(), Refusal::NotFound);
    assert_eq!(house.cancel(nobody).unwrap_err(), Refusal::NotFound);
    assert_eq!(house.by_id(nobody, "123456"), Err(Kind::NotFound));
}

#[test]
fn the_ranking_holds_every_kind_once_and_codes_are_unique() {
    // A kind that is added must be ranked: the match has no wildcard.
    let known = |kind: Kind| match kind {
        Kind::InvalidRequest
        | Kind::NotFound
        | Kind::NotPending
        | Kind::InvalidDestination
        | Kind::UnsupportedChannel
        | Kind::CountryBlocked
        | Kind::NumberTypeBlocked
        | Kind::FraudSuspected
        | Kind::MaxSendsReached
        | Kind::ResendTooSoon
        | Kind::RateLimited => 11,
    };
    assert_eq!(RANKING.iter().collect::<HashSet<_>>().len(), RANKING.len());
    assert_eq!(RANKING.len(), known(RANKING[0]));
    assert_eq!(RANKING.iter().map(|kind| kind.code()).collect::<HashSet<_>>().len(), RANKING.len());
}

#[test]
fn all_at_once_in_any_order_give_the_first_with_the_longest_wait() {
    let secs = Duration::from_secs;
    let limited =
        |per, wait| Refusal::RateLimited { limit: Limit::Rate(per), quota: 1, window: HOUR, retry_after: secs(wait) };
    let mut all = vec![
        limited(Per::Client, 7),
        Refusal::ResendTooSoon { retry_after: secs(5), pause: secs(30) },
        limited(Per::Destination, 600),
        Refusal::MaxSendsReached { retry_after: secs(100) },
    ];
    for _ in 0..all.len() {
        all.rotate_left(1);
        assert_eq!(Refusal::first(all.clone()), Some(Refusal::MaxSendsReached { retry_after: secs(600) }));
    }
    all.push(Refusal::NotPending { status: Status::Canceled });
    let first = Refusal::first(all).unwrap();
    assert_eq!((first.kind(), first.retry_after()), (Kind::NotPending, None), "no waiting mends it");
    assert_eq!(Refusal::first(Vec::new()), None);
}

#[test]
fn among_limits_the_longest_wait_then_the_order_of_the_rows() {
    let limited = |per, secs| Refusal::RateLimited {
        limit: Limit::Rate(per),
        quota: 1,
        window: HOUR,
        retry_after: Duration::from_secs(secs),
    };
    for (one, other, expected) in [
        ((Per::Destination, 10), (Per::Client, 20), Per::Client),
        ((Per::Client, 20), (Per::Destination, 20), Per::Destination),
        ((Per::Application, 20), (Per::Prefix, 20), Per::Prefix),
        ((Per::Country, 21), (Per::Destination, 20), Per::Country),
    ] {
        let first = Refusal::first(vec![limited(one.0, one.1), limited(other.0, other.1)]);
        let Some(Refusal::RateLimited { limit, .. }) = first else { panic!("a limit is given") };
        assert_eq!(limit, Limit::Rate(expected));
    }
}

#[test]
fn bug_a14_the_wait_that_is_told_leads_into_no_refusal_that_was_known() {
    let mut house = House::with(|application| {
        application.policy.resend_after = Duration::from_secs(30);
        application.policy.ttl = HOUR;
        application.limits = vec![rule(Per::Destination, Of::Sends, 1, 10 * MINUTE)];
    });
    house.send(TO);
    let refusal = house.ask(TO).refused();
    assert_eq!((refusal.kind(), refusal.retry_after()), (Kind::ResendTooSoon, Some(10 * MINUTE)));
    house.wait(10 * MINUTE - house::MS);
    assert_eq!(house.ask(TO).refused().kind(), Kind::RateLimited);
    house.wait(house::MS);
    house.ask(TO).send().unwrap();
}

/// What is given when a check is limited, or the day's budget is used up, or the verification has ended.
#[test]
fn of_two_refusals_of_a_check_the_longer_wait_is_given_and_an_ended_one_needs_no_budget() {
    let rate = Some("client");
    let budget = Some("checks");
    for (limited, limit_window, spent, ended, expected) in [
        (false, HOUR, false, false, None),
        (true, HOUR, false, false, rate),
        (false, HOUR, true, false, budget),
        (true, HOUR, true, false, budget),
        (true, 48 * HOUR, true, false, rate),
        (false, HOUR, true, true, None),
        (true, HOUR, true, true, rate),
        (true, HOUR, false, true, rate),
    ] {
        let mut house = House::with(|application| {
            application.policy.max_guesses_per_day = 1;
            if limited {
                application.limits = vec![rule(Per::Client, Of::Checks, 1, limit_window)];
            }
        });
        let sent = house.send(TO);
        let code = house.code(sent.id);
        if limited {
            let elsewhere = Against::Destination {
                service: None,
                to: number(house::OTHER),
                purpose: sent.purpose.clone(),
                shown: [None; 2],
            };
            house.check(elsewhere, "123456", Some("192.0.2.1")).unwrap();
        }
        if spent {
            // From an address that no limit counts yet.
            house.check(Against::Id(sent.id), &wrong(&code, 0), None).unwrap();
        }
        if ended {
            house.cancel(sent.id).unwrap();
        }
        let given =
            house.check(Against::Id(sent.id), &wrong(&code, 1), Some("192.0.2.1")).err().map(|refusal| match refusal {
                Refusal::RateLimited { limit, .. } => limit.as_str(),
                other => panic!("no limit: {other}"),
            });
        assert_eq!(given, expected, "limited {limited}, spent {spent}, ended {ended}");
    }
}
