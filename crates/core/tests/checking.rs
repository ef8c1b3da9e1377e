//! A code is checked: counted, compared, consumed once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod house;

use std::time::Duration;

use countersign_core::check::CheckResult::{
    AlreadyUsed, Approved, Canceled, Expired, Incorrect, MaxAttemptsReached, NotFound,
};
use countersign_core::check::{Against, Check, CheckResult, daily_odds};
use countersign_core::code::{CodeSource, Key, KeyRing};
use countersign_core::decision::Decision;
use countersign_core::event::EventKind;
use countersign_core::limit::{LimitRule, Of, Per};
use countersign_core::outcome::Failure;
use countersign_core::policy::{Application, Policy};
use countersign_core::refusal::{Kind, Refusal};
use countersign_core::verification::{Budget, By, Status, Verification};
use house::{DAY, HOUR, House, MINUTE, MS, OTHER, SECOND, TO, code, number, rejected, rule, wrong};

/// A verification, its code, and the house that it is in.
fn pending() -> (House, Verification, String) {
    let mut house = House::new();
    let sent = house.send(TO);
    let right = house.code(sent.id);
    (house, sent, right)
}

#[test]
fn the_right_code_is_accepted_once() {
    for by_id in [true, false] {
        let (mut house, sent, right) = pending();
        let first = if by_id { house.by_id(sent.id, &right) } else { house.by_destination(TO, &right) };
        assert_eq!(first, Ok(Approved));
        let row = house.row(sent.id);
        assert_eq!((row.status, row.finished_at), (Status::Approved, Some(house.now)));
        assert_eq!(house.by_id(sent.id, &right), Ok(AlreadyUsed));
        assert_eq!(house.by_destination(TO, &right), Ok(NotFound));
        house.wait(HOUR);
        assert_eq!(house.by_id(sent.id, &right), Ok(AlreadyUsed));
        assert_eq!(house.count(EventKind::VerificationApproved), 1);
        assert!(house.guesses.is_empty(), "a right code is no wrong guess");
    }
}

#[test]
fn a_check_answers_how_it_ended() {
    type End = fn(&mut House, &Verification);
    let ends: [(End, CheckResult, CheckResult); 6] = [
        (|_, _| {}, Approved, Approved),
        (|house, sent| house.approve(sent.id), AlreadyUsed, NotFound),
        (|house, sent| drop(house.cancel(sent.id)), Canceled, NotFound),
        (|house, _| house.wait(5 * MINUTE), Expired, Expired),
        (|house, sent| house.wrong_by_id(sent.id, 5), MaxAttemptsReached, MaxAttemptsReached),
        (
            |house, sent| {
                let delivery = house.last_delivery(sent.id);
                house.report(&delivery, rejected(Failure::GiveUp));
            },
            Expired,
            NotFound,
        ),
    ];
    for (nth, (end, by_id, by_destination)) in ends.into_iter().enumerate() {
        for guess in [0, 1] {
            let (mut house, sent, right) = pending();
            end(&mut house, &sent);
            let offered = if guess == 0 { right.clone() } else { wrong(&right, 9) };
            let wanted = |result| if result == Approved && guess == 1 { Incorrect } else { result };
            let before = house.rows.clone();
            assert_eq!(house.by_destination(TO, &offered), Ok(wanted(by_destination)), "row {nth} by destination");
            if by_id != Approved {
                assert_eq!(house.rows, before, "row {nth}: what has ended does not change");
                assert_eq!(house.by_id(sent.id, &offered), Ok(by_id), "row {nth} by id");
            }
        }
    }
}

#[test]
fn bug_a16_the_cap_is_exact_and_a_right_code_may_be_the_last_guess() {
    for cap in 1..=6_u32 {
        for by in [By::Id, By::Destination] {
            let new = || {
                let mut house = House::with(|application| application.policy.max_checks = cap);
                let sent = house.send(TO);
                let right = house.code(sent.id);
                (house, sent, right)
            };
            let guess = |house: &mut House, sent: &Verification, code: &str| match by {
                By::Id => house.by_id(sent.id, code),
                By::Destination => house.by_destination(TO, code),
            };
            let (mut house, sent, right) = new();
            let results: Vec<_> = (0..20).map(|nth| guess(&mut house, &sent, &wrong(&right, nth)).unwrap()).collect();
            assert_eq!(results.iter().filter(|result| **result == Incorrect).count(), cap as usize);
            assert!(results[cap as usize..].iter().all(|result| *result == MaxAttemptsReached));
            assert_eq!(guess(&mut house, &sent, &right), Ok(MaxAttemptsReached), "the right code too");

            let (mut house, sent, right) = new();
            for nth in 1..cap {
                assert_eq!(guess(&mut house, &sent, &wrong(&right, nth.into())), Ok(Incorrect));
            }
            assert_eq!(guess(&mut house, &sent, &right), Ok(Approved), "as guess number {cap}");
        }
    }
}

#[test]
fn bug_a3_each_wrong_guess_shows_in_what_is_left() {
    let (mut house, sent, right) = pending();
    for left in (0..5).rev() {
        let checked = house.check(Against::Id(sent.id), &wrong(&right, left), None).unwrap();
        let (row, _) = checked.verification.unwrap();
        assert_eq!((checked.result, u64::from(row.checks_left())), (Incorrect, left));
        let status = if left == 0 { Status::MaxAttemptsReached } else { Status::Pending };
        assert_eq!(row.status, status, "the wrong guess that uses up the last one answers incorrect");
    }
    let checked = house.check(Against::Id(sent.id), &right, None).unwrap();
    assert_eq!(checked.result, MaxAttemptsReached);
    assert_eq!(house.count(EventKind::VerificationMaxAttemptsReached), 1);
}

#[test]
fn bug_a13_a_stranger_cannot_lock_the_owner_out() {
    let (mut house, sent, right) = pending();
    let results: Vec<_> = (0..1000).map(|nth| house.by_destination(TO, &wrong(&right, nth))).collect();
    assert_eq!(results.iter().filter(|result| **result == Ok(Incorrect)).count(), 5);
    assert!(results[5..].iter().all(|result| *result == Ok(MaxAttemptsReached)));
    let row = house.row(sent.id);
    assert_eq!((row.status, row.checks_left(), row.wrong_by_destination), (Status::Pending, 5, 5));
    assert_eq!(house.count(EventKind::VerificationMaxAttemptsReached), 0);
    assert_eq!(house.by_destination(TO, &right), Ok(MaxAttemptsReached), "without the id the right code does not help");
    assert_eq!(house.by_id(sent.id, &wrong(&right, 0)), Ok(Incorrect));
    assert_eq!(house.by_id(sent.id, &right), Ok(Approved));
}

#[test]
fn bug_a13_nor_over_the_day() {
    let mut house = House::with(|application| application.policy.max_guesses_per_day = 7);
    let mut sent = house.send(TO);
    for nth in 0..7 {
        if nth == 5 {
            house.cancel(sent.id).unwrap();
            sent = house.send(TO);
        }
        let right = house.code(sent.id);
        assert_eq!(house.by_destination(TO, &wrong(&right, nth)), Ok(Incorrect));
    }
    let right = house.code(sent.id);
    assert_eq!(house.by_destination(TO, &right), Err(Kind::RateLimited));
    assert_eq!(house.by_id(sent.id, &right), Ok(Approved));
}

#[test]
fn bug_a13_nor_by_holding_ids_that_anybody_can_have() {
    let mut house = House::with(|application| application.policy.max_guesses_per_day = 7);
    for evaluated in [5, 2] {
        let begun = house.ask(TO).keyless(true).send().unwrap().verification;
        let right = house.code(begun.id);
        (0..evaluated).for_each(|nth| assert_eq!(house.by_id(begun.id, &wrong(&right, nth)), Ok(Incorrect)));
        if evaluated == 2 {
            assert_eq!(house.by_id(begun.id, &right), Err(Kind::RateLimited), "his own budget is used up");
            house.cancel(begun.id).unwrap();
        }
    }
    let sent = house.send(TO);
    house.wrong_by_id(sent.id, 3);
    house.approve(sent.id);
    let again = house.send(TO);
    house.wrong_by_id(again.id, 4);
    let right = house.code(again.id);
    assert_eq!(house.by_id(again.id, &right), Err(Kind::RateLimited), "and the holder's own is no larger for it");
}

#[test]
fn whoever_sends_again_does_not_change_who_began() {
    let mut house = House::new();
    let begun = house.send(TO);
    let again = house.ask(TO).keyless(true).send().unwrap().verification;
    assert_eq!((again.id, again.keyless), (begun.id, false));
}

#[test]
fn the_holder_who_uses_up_the_count_ends_it_for_everybody() {
    let (mut house, sent, right) = pending();
    (0..5).for_each(|nth| assert_eq!(house.by_id(sent.id, &wrong(&right, nth)), Ok(Incorrect)));
    assert_eq!(house.row(sent.id).status, Status::MaxAttemptsReached);
    assert_eq!(house.by_destination(TO, &right), Ok(MaxAttemptsReached));
    assert_eq!(house.row(sent.id).wrong_by_destination, 0);
}

#[test]
fn bug_d1_a_code_lives_exactly_as_long_as_it_says() {
    for (wait, by_id, expected) in [
        (5 * MINUTE - MS, true, Approved),
        (5 * MINUTE - MS, false, Approved),
        (5 * MINUTE, true, Expired),
        (5 * MINUTE, false, Expired),
        (5 * MINUTE + SECOND, true, Expired),
        (30 * DAY, false, Expired),
    ] {
        let (mut house, sent, right) = pending();
        house.wait(wait);
        let result = if by_id { house.by_id(sent.id, &right) } else { house.by_destination(TO, &right) };
        assert_eq!(result, Ok(expected), "after {wait:?}");
    }
}

#[test]
fn bug_d3_a_clock_that_steps_back_moves_no_expiry() {
    let (mut house, sent, right) = pending();
    house.now = house.now - HOUR;
    assert_eq!(house.row(sent.id).expires_at, sent.expires_at);
    house.wait(HOUR + 5 * MINUTE);
    assert_eq!(house.by_id(sent.id, &right), Ok(Expired));
}

// The budget over the day.

/// Guesses wrong as long as it is evaluated, over new verifications of these purposes, as one of the three kinds of guesser; the
/// instants of the evaluated guesses.
fn hammer(house: &mut House, budget: Budget, purposes: &[&str], until: Duration, step: Duration) -> Vec<i64> {
    let (end, mut evaluated) = (house.now + until, Vec::new());
    while house.now < end {
        for purpose in purposes {
            let Ok(sent) = house.ask(TO).purpose(purpose).keyless(budget == Budget::Keyless).send() else { continue };
            let id = sent.verification.id;
            let right = house.code(id);
            for nth in 0..6 {
                let guess = wrong(&right, nth);
                let result = match budget {
                    Budget::Id | Budget::Keyless => house.by_id(id, &guess),
                    Budget::Destination => house.by_purpose(TO, purpose, &guess),
                };
                if result == Ok(Incorrect) {
                    evaluated.push(house.now.as_millis());
                }
            }
        }
        house.wait(step);
    }
    evaluated
}

fn most_in_any_day(instants: &[i64]) -> usize {
    let day = 24 * 60 * 60 * 1000;
    (0..instants.len())
        .map(|first| instants[first..].iter().take_while(|at| **at < instants[first] + day).count())
        .max()
        .unwrap_or(0)
}

#[test]
fn bug_a6_a7_a9_the_days_budget_is_exact_over_any_24_hours() {
    for (budget, purposes, step) in [
        (Budget::Id, vec!["login"], 6 * MINUTE),
        (Budget::Keyless, vec!["login"], 6 * MINUTE),
        (Budget::Destination, vec!["login"], 6 * MINUTE),
        (Budget::Id, vec!["login", "payment", "x"], 4 * MINUTE),
        (Budget::Keyless, vec!["login", "payment", "x"], 5 * MINUTE),
        (Budget::Destination, vec!["login", "payment", "x"], 7 * MINUTE),
        (Budget::Destination, vec!["login"], 23 * MINUTE + 17 * MS),
    ] {
        let mut house = House::with(|application| application.policy.max_sends = 1000);
        let evaluated = hammer(&mut house, budget, &purposes, 3 * DAY, step);
        assert_eq!(most_in_any_day(&evaluated), 50, "{budget:?} {purposes:?}");
        assert!(evaluated.len() >= 3 * 50, "and it opens again every day: {}", evaluated.len());
    }
}

#[test]
fn the_day_s_refusal_says_when_the_budget_opens() {
    let mut house = House::with(|application| {
        application.policy.max_guesses_per_day = 3;
        application.policy.ttl = DAY;
    });
    let sent = house.send(TO);
    let right = house.code(sent.id);
    for nth in 0..3 {
        assert_eq!(house.by_id(sent.id, &wrong(&right, nth)), Ok(Incorrect));
        house.wait(HOUR);
    }
    let refusal = house.check(Against::Id(sent.id), &right, None).unwrap_err();
    let Refusal::RateLimited { limit, quota, window, retry_after } = refusal else { panic!("it is limited") };
    assert_eq!((limit.as_str(), quota, window, retry_after), ("checks", 3, DAY, 21 * HOUR));
    assert!(house.ask(TO).send().is_ok(), "the budget blocks no send");
    house.wait(21 * HOUR - MS);
    assert_eq!(house.by_id(sent.id, &right), Err(Kind::RateLimited));
    assert_eq!(house.row(sent.id).status, Status::Pending);
    assert_eq!(house.guesses.values().next().unwrap().by_id.len(), 3, "a refused check counts as nothing");
    house.wait(MS);
    let next = house.send(TO);
    house.approve(next.id);
}

#[test]
fn the_budget_is_its_applications_and_its_destinations() {
    let mut house = House::with(|application| application.policy.max_guesses_per_day = 1);
    let sent = house.send(TO);
    let right = house.code(sent.id);
    house.by_id(sent.id, &wrong(&right, 0)).unwrap();
    assert_eq!(house.by_id(sent.id, &right), Err(Kind::RateLimited));
    let other = house.send(OTHER);
    let right = house.code(other.id);
    assert_eq!(house.by_id(other.id, &right), Ok(Approved));
    house.enter(Application::new("second".parse().unwrap(), "first"));
    let elsewhere = house.send(TO);
    let right = house.code(elsewhere.id);
    assert_eq!(house.by_id(elsewhere.id, &right), Ok(Approved));
}

#[test]
fn bug_a10_an_address_with_tags_has_one_budget() {
    let mut house = House::with(|application| application.policy.max_guesses_per_day = 3);
    let mut evaluated = 0;
    for tag in 0..10 {
        let sent = house.send(&format!("a.n.n+{tag}@example.com"));
        let right = house.code(sent.id);
        evaluated += usize::from(house.by_id(sent.id, &wrong(&right, 0)) == Ok(Incorrect));
    }
    assert_eq!((evaluated, house.guesses.len()), (3, 1));
}

#[test]
fn bug_d5_the_log_of_guesses_stays_small_and_says_when_it_may_go() {
    let mut house = House::new();
    hammer(&mut house, Budget::Id, &["login"], 3 * DAY, 6 * MINUTE);
    let log = house.guesses.values().next().unwrap();
    assert!(log.by_id.len() <= 50 && log.by_destination.is_empty());
    let last = *log.by_id.last().unwrap();
    assert_eq!(log.forgettable_at(), last + DAY);
    assert_eq!(log.total(last + DAY), 0);
    assert_eq!(log.total(last + (DAY - MS)), 5);
}

#[test]
fn a_clock_that_was_ahead_locks_nobody_out_for_longer_than_a_day() {
    let mut house = House::with(|application| application.policy.max_guesses_per_day = 1);
    house.wait(365 * DAY);
    let ahead = house.send(TO);
    let right = house.code(ahead.id);
    house.by_id(ahead.id, &wrong(&right, 0)).unwrap();
    house.now = house.now - 365 * DAY;
    let sent = house.ask(TO).purpose("other").send().unwrap().verification;
    let right = house.code(sent.id);
    let wait = house.check(Against::Id(sent.id), &right, None).unwrap_err().retry_after().unwrap();
    assert!(wait <= DAY, "{wait:?}");
}

// The odds.

#[test]
fn the_odds_are_those_that_are_documented() {
    let defaults = daily_odds(&Policy::default(), 1);
    assert!((defaults - (19e-6 + 131e-8)).abs() < 1e-15, "{defaults}");
    assert!(defaults <= 2.1e-5);
    let never_hardened = Policy { hardened_after: u32::MAX, ..Policy::default() };
    assert!((daily_odds(&never_hardened, u32::MAX) - 1.5e-4).abs() < 1e-12);
}

/// Evaluated guesses at codes of the policy's length and at longer ones, by somebody who plays the counts, the purposes and the
/// hardening as well as they can be played, for one day.
fn play(house: &mut House, purposes: &[&str], first: By, spare: u32) -> (u32, u32) {
    let (mut soft, mut hard) = (0, 0);
    let soft_length = house.application.policy.code_length;
    let max = u64::from(house.application.policy.max_checks);
    let mut guess = |house: &mut House, id, purpose: &str, by, nth| {
        let right = house.code(id);
        let result = match by {
            By::Id => house.by_id(id, &wrong(&right, nth)),
            By::Destination => house.by_purpose(TO, purpose, &wrong(&right, nth)),
        };
        let evaluated = result == Ok(Incorrect);
        if evaluated && right.len() == usize::from(soft_length) {
            soft += 1;
        } else if evaluated {
            hard += 1;
        }
        evaluated
    };
    let second = if first == By::Id { By::Destination } else { By::Id };
    let end = house.now + DAY;
    // As many guesses as may be before new codes get longer, leaving `spare`; canceled and begun anew when one count is used up.
    let mut before = house.application.policy.hardened_after.saturating_sub(1).saturating_sub(spare);
    while before > 0 {
        let id = house.ask(TO).purpose(purposes[0]).send().unwrap().verification.id;
        for nth in 0..max - 1 {
            if before > 0 && guess(house, id, purposes[0], first, nth) {
                before -= 1;
            }
        }
        house.cancel(id).unwrap();
    }
    // Then one of each purpose at once, each of which still bears its own guesses from both counts; the holder's last, since they end it.
    let mut keyless = false;
    while house.now < end {
        let mut begin = |purpose| house.ask(TO).purpose(purpose).keyless(keyless).send().ok();
        let ids: Vec<_> =
            purposes.iter().filter_map(|purpose| Some((begin(purpose)?.verification.id, *purpose))).collect();
        keyless = !keyless;
        for (by, (id, purpose)) in [second, first].into_iter().flat_map(|by| ids.iter().map(move |id| (by, *id))) {
            let order = if by == By::Destination { 0 } else { 100 };
            for nth in 0..max {
                guess(house, id, purpose, by, nth + order);
            }
        }
        house.wait(5 * MINUTE);
    }
    (soft, hard)
}

#[test]
fn k2_nobody_beats_the_odds_however_the_counts_are_played() {
    let (mut reached, mut guessed) = (0, 0);
    for purposes in [&["a"][..], &["a", "b"], &["a", "b", "c", "d"]] {
        for first in [By::Id, By::Destination] {
            for spare in 0..3 {
                let mut house = House::with(|application| application.policy.max_sends = 1000);
                let policy = house.application.policy.clone();
                let (soft, hard) = play(&mut house, purposes, first, spare);
                let at_once = u32::try_from(purposes.len()).unwrap();
                let bound = 9 + 10 * at_once;
                guessed = guessed.max(soft + hard);
                assert!(soft <= bound && soft + hard <= 150, "{purposes:?} {first:?}: {soft} soft, {hard} hard");
                let won = f64::from(soft) / 1e6 + f64::from(hard) / 1e8;
                assert!(won <= daily_odds(&policy, at_once) + 1e-15);
                if at_once == 1 {
                    reached = reached.max(soft);
                }
            }
        }
    }
    assert_eq!((reached, guessed), (19, 150), "the bound is not only a bound: it can be reached");
}

// What a code is bound to.

#[test]
fn bug_c1_a_code_is_right_in_exactly_one_place() {
    let mut house = House::new();
    house.change(|application| application.policy.max_checks = 1000);
    let mut cells = Vec::new();
    for name in ["one", "two"] {
        let application = || {
            let mut application = Application::new(name.parse().unwrap(), "first");
            application.limits = Vec::new();
            application.policy.max_checks = 1000;
            application.policy.max_guesses_per_day = 1000;
            application
        };
        house.enter(application());
        for purpose in ["login", "payment"] {
            for to in [TO, OTHER] {
                let sent = house.ask(to).purpose(purpose).send().unwrap().verification;
                cells.push((name, purpose, to, sent.id, house.code(sent.id)));
            }
        }
    }
    for (at, (.., offered)) in cells.clone().into_iter().enumerate() {
        for (place, (name, purpose, to, id, _)) in cells.iter().enumerate() {
            if at == place {
                continue;
            }
            let mut application = Application::new(name.parse().unwrap(), "first");
            application.limits = Vec::new();
            application.policy.max_guesses_per_day = 1000;
            house.enter(application);
            assert_eq!(house.by_id(*id, &offered), Ok(Incorrect));
            assert_eq!(house.by_purpose(to, purpose, &offered), Ok(Incorrect));
        }
    }
    for (name, _, _, id, offered) in cells {
        house.enter(Application::new("stranger".parse().unwrap(), "first"));
        assert_eq!(house.by_id(id, &offered), Err(Kind::NotFound), "another application's id is not found");
        house.enter(Application::new(name.parse().unwrap(), "first"));
        assert_eq!(house.by_id(id, &offered), Ok(Approved));
    }
}

#[test]
fn bug_f3_swapped_rows_do_not_verify() {
    let mut house = House::with(|application| application.policy.allow_custom_code = true);
    let one = house.ask(TO).with(|begin| begin.custom_code = Some(code("111111"))).send().unwrap().verification;
    let two = house.ask(OTHER).with(|begin| begin.custom_code = Some(code("222222"))).send().unwrap().verification;
    // Somebody who can write to the store puts the digest of a code that they know into another's row.
    let known = one.code.clone();
    house.rows[1].0.code = known;
    assert_eq!(house.by_id(two.id, "111111"), Ok(Incorrect));
    assert_eq!(house.by_id(two.id, "222222"), Ok(Incorrect));
    let row = house.row(two.id).clone();
    assert!(house.keys.code(&row.code, row.binding(), row.code_length).is_err(), "nor can it be sent");

    // Or moves a row to another destination, purpose or application.
    let third = house.ask(TO).purpose("third").send().unwrap().verification;
    let right = house.code(third.id);
    let changes: [fn(&mut Verification); 4] = [
        |row| row.to = number(OTHER),
        |row| row.purpose = "login".parse().unwrap(),
        |row| row.application = "second".parse().unwrap(),
        |row| row.code_length = 4,
    ];
    for change in changes {
        let mut moved = house.row(third.id).clone();
        change(&mut moved);
        let matched = house.keys.matches(&moved.code, moved.binding(), moved.code_length, &code(&right));
        assert_eq!(matched, Ok(false));
    }
}

#[test]
fn a_chosen_code_verifies_like_any_other() {
    let mut house = House::with(|application| application.policy.allow_custom_code = true);
    let sent = house.ask(TO).with(|begin| begin.custom_code = Some(code("000123"))).send().unwrap().verification;
    assert!(matches!(sent.code, CodeSource::Chosen { .. }));
    assert_eq!(house.by_id(sent.id, "000124"), Ok(Incorrect));
    assert_eq!(house.by_id(sent.id, "00123"), Ok(Incorrect));
    assert_eq!(house.by_id(sent.id, "0000123"), Ok(Incorrect));
    assert_eq!(house.by_id(sent.id, "000123"), Ok(Approved));
    assert_eq!(house.by_id(sent.id, "000123"), Ok(AlreadyUsed));
}

// What does not show, and what breaks.

#[test]
fn bug_f4_a_destination_with_nothing_pending_costs_a_write_too() {
    let (mut house, sent, right) = pending();
    let check = |house: &House, to: &str, code: &str| Check {
        application: house.application.clone(),
        keys: house.keys.clone(),
        against: Against::Destination {
            service: None,
            to: number(to),
            purpose: sent.purpose.clone(),
            shown: [None; 2],
        },
        by: By::Destination,
        payment: None,
        code: code.parse().unwrap(),
        client: None,
        now: house.now,
    };
    let decide = |house: &House, check: &Check| check.decide(&house.snapshot(check)).0;
    let known = check(&house, TO, &wrong(&right, 0));
    assert!(decide(&house, &known).verification.is_some());
    let unknown = check(&house, OTHER, &right);
    let changes = decide(&house, &unknown);
    assert!(changes.decoy && changes.verification.is_none() && changes.guesses.is_none());
    assert_eq!(unknown.reads(None).guesses.is_some(), known.reads(Some(&sent)).guesses.is_some());
    house.cancel(sent.id).unwrap();
    let canceled = check(&house, TO, &right);
    assert!(decide(&house, &canceled).decoy);
    assert!(house.check(Against::Id(sent.id), &right, None).is_ok());
}

#[test]
fn a_key_that_is_gone_is_broken_and_not_wrong() {
    let mut house = House::with(|application| application.limits = LimitRule::defaults());
    let sent = house.send(TO);
    let right = house.code(sent.id);
    let sealed = house.keys.clone();
    house.keys = KeyRing::new("k2", Key::from_bytes([2; 32])).into();
    let check = Check {
        application: house.application.clone(),
        keys: house.keys.clone(),
        against: Against::Id(sent.id),
        by: By::Id,
        payment: None,
        code: code(&right),
        client: Some("192.0.2.1".to_owned()),
        now: house.now,
    };
    let (changes, answer) = check.decide(&house.snapshot(&check));
    assert!(answer.is_err());
    assert!(changes.is_empty(), "nothing was evaluated, so nothing is counted");
    drop(check);
    house.keys = sealed;
    assert_eq!(house.by_id(sent.id, &right), Ok(Approved));
}

#[test]
fn limits_of_checks_count_right_and_wrong_ones_of_a_client() {
    let mut house = House::with(|application| application.limits = vec![rule(Per::Client, Of::Checks, 3, HOUR)]);
    let against = |to: &str| Against::Destination {
        service: None,
        to: number(to),
        purpose: "login".parse().unwrap(),
        shown: [None; 2],
    };
    for to in [TO, OTHER, "+255694230175"] {
        let sent = house.send(to);
        let right = house.code(sent.id);
        assert_eq!(house.check(against(to), &right, Some("192.0.2.1")).unwrap().result, Approved);
    }
    let sent = house.send("+255694230176");
    let right = house.code(sent.id);
    let refusal = house.check(against("+255694230176"), &right, Some("192.0.2.1")).unwrap_err();
    assert_eq!(refusal.retry_after(), Some(HOUR / 3));
    assert!(matches!(refusal, Refusal::RateLimited { limit, .. } if limit.as_str() == "client"));
    assert_eq!(house.row(sent.id).status, Status::Pending, "and the code is still good");
    assert_eq!(house.check(against("+255694230176"), &right, Some("192.0.2.2")).unwrap().result, Approved);
}

#[test]
fn a_check_that_the_day_refuses_charges_no_limit() {
    let mut house = House::with(|application| {
        application.policy.max_guesses_per_day = 1;
        application.limits = vec![rule(Per::Client, Of::Checks, 10, HOUR)];
    });
    let sent = house.send(TO);
    let right = house.code(sent.id);
    house.check(Against::Id(sent.id), &wrong(&right, 0), Some("192.0.2.1")).unwrap();
    let before = house.limits.clone();
    assert!(house.check(Against::Id(sent.id), &right, Some("192.0.2.1")).is_err());
    assert_eq!(house.limits, before);
}

#[test]
fn a_shown_id_makes_a_guess_its_holders_and_no_other_does() {
    let (mut house, sent, right) = pending();
    let other = house.send(OTHER);
    let showing =
        |shown| Against::Destination { service: None, to: number(TO), purpose: "login".parse().unwrap(), shown };
    let strangers = [[None; 2], [Some(other.id), None], [Some(other.id); 2]];
    for (nth, shown) in (0..).zip(strangers) {
        assert_eq!(house.check(showing(shown), &wrong(&right, nth), None).unwrap().result, Incorrect);
    }
    assert_eq!((house.row(sent.id).wrong_by_destination, house.row(sent.id).wrong_by_id), (3, 0));
    for (nth, shown) in (3..).zip([[Some(sent.id), None], [None, Some(sent.id)], [Some(other.id), Some(sent.id)]]) {
        assert_eq!(house.check(showing(shown), &wrong(&right, nth), None).unwrap().result, Incorrect);
    }
    assert_eq!((house.row(sent.id).wrong_by_destination, house.row(sent.id).wrong_by_id), (3, 3));
    assert_eq!(house.row(other.id).wrong_by_id, 0, "nor does it cost the other one anything");
    // What strangers have used up does not keep its holder out.
    (0..2).for_each(|nth| drop(house.check(showing([None; 2]), &wrong(&right, nth), None)));
    assert_eq!(house.check(showing([None; 2]), &right, None).unwrap().result, MaxAttemptsReached);
    assert_eq!(house.check(showing([Some(sent.id), None]), &right, None).unwrap().result, Approved);
    // What is over is nobody's to hold: the same is said as to anybody.
    assert_eq!(house.check(showing([Some(sent.id), None]), &right, None).unwrap().result, NotFound);
}
