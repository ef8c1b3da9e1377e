//! The guard, rule by rule.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod house;

use std::sync::Arc;
use std::time::Duration;

use countersign_core::destination::NumberType;
use countersign_core::event::EventKind;
use countersign_core::guard::{Block, Guard, Look, Mode, Open, Standing, Width};
use countersign_core::limit::{Of, Per, Tat};
use countersign_core::refusal::{Kind, Refusal};
use countersign_core::send::Approve;
use countersign_core::time::Timestamp;
use house::{DAY, HOUR, House, MINUTE, SECOND, number, rule, wrong};
use proptest::prelude::*;

/// The `nth` number of a block of 10,000; an area has a hundred of them.
fn phone(area: u32, block: u32, nth: u32) -> String {
    format!("+2556{:02}{:02}{nth:04}", 50 + area, block)
}

fn guarded(mode: Mode, unconfirmed: u32) -> House {
    House::with(|application| {
        application.guard = Guard { mode, unconfirmed, window: HOUR, ..Guard::default() };
    })
}

fn refused(house: &mut House, to: &str) -> bool {
    match house.ask(to).send() {
        Ok(_) => false,
        Err(refusal) => {
            assert_eq!(refusal, Refusal::FraudSuspected { country: number(to).country() });
            true
        }
    }
}

fn look(house: &mut House, to: &str) -> Vec<Standing> {
    let look = Look { application: Arc::clone(&house.application), to: number(to), now: house.now };
    house.run(&look)
}

fn unconfirmed(house: &mut House, to: &str) -> u32 {
    look(house, to)[0].unconfirmed
}

#[test]
fn a_block_that_nobody_confirms_is_full_after_its_allowance_and_drains() {
    let mut house = guarded(Mode::Enforce, 5);
    let taken = (0..20).filter(|nth| !refused(&mut house, &phone(0, 0, *nth))).count();
    assert_eq!(taken, 5);
    assert!(!refused(&mut house, &phone(0, 1, 0)), "the next block is another one");
    house.wait(HOUR / 5 - SECOND);
    assert!(refused(&mut house, &phone(0, 0, 100)));
    house.wait(SECOND);
    assert!(!refused(&mut house, &phone(0, 0, 100)), "time drains one");
    assert!(refused(&mut house, &phone(0, 0, 101)));
    house.wait(HOUR);
    assert_eq!(unconfirmed(&mut house, &phone(0, 0, 0)), 0);
}

#[test]
fn repeated_sends_are_sends() {
    let mut house = guarded(Mode::Enforce, 3);
    let id = house.send(&phone(0, 0, 1)).id;
    house.again(id).send().unwrap();
    assert_eq!(unconfirmed(&mut house, &phone(0, 0, 1)), 2);
    house.again(id).send().unwrap();
    assert_eq!(house.again(id).refused().kind(), Kind::FraudSuspected);
}

#[test]
fn an_approval_takes_back_what_the_least_conversion_says_and_nothing_else_does() {
    let mut house = guarded(Mode::Enforce, 50);
    let ids: Vec<_> = (0..10).map(|nth| house.send(&phone(0, 0, nth)).id).collect();
    let right = house.code(ids[0]);
    house.by_id(ids[0], &wrong(&right, 0)).unwrap();
    house.cancel(ids[1]).unwrap();
    assert_eq!(unconfirmed(&mut house, &phone(0, 0, 0)), 10, "a wrong code and a cancel take nothing back");
    house.approve(ids[0]);
    assert_eq!(unconfirmed(&mut house, &phone(0, 0, 0)), 6, "one in four is enough");
    let approve = Approve { application: Arc::clone(&house.application), id: ids[2], now: house.now };
    house.run(&approve).unwrap();
    assert_eq!(unconfirmed(&mut house, &phone(0, 0, 0)), 2, "the application's word counts too");
    let again = Approve { application: Arc::clone(&house.application), id: ids[2], now: house.now };
    house.run(&again).unwrap_err();
    house.by_id(ids[0], &right).unwrap();
    assert_eq!(unconfirmed(&mut house, &phone(0, 0, 0)), 2, "once");
    house.approve(ids[3]);
    assert_eq!(look(&mut house, &phone(0, 0, 0)).iter().map(|block| block.unconfirmed).max(), Some(0));
}

#[test]
fn nothing_can_be_saved_up() {
    let mut house = guarded(Mode::Enforce, 5);
    for nth in 0..100 {
        let id = house.send(&phone(0, 0, nth)).id;
        house.approve(id);
    }
    assert_eq!((100..200).filter(|nth| !refused(&mut house, &phone(0, 0, *nth))).count(), 5);
}

#[test]
fn spreading_over_blocks_fills_the_area_and_spreading_over_areas_the_country() {
    let mut house = guarded(Mode::Enforce, 2);
    let mut taken = (0..50).filter(|block| !refused(&mut house, &phone(0, *block, 0))).count();
    assert_eq!(taken, 20, "ten times a block");
    for nth in 0..30 {
        for area in 1..20 {
            taken += usize::from(!refused(&mut house, &phone(area, nth, 0)));
        }
    }
    assert_eq!(taken, 200, "a hundred times a block");
    assert!(!refused(&mut house, "+254712123456"), "the next country is another one");
}

#[test]
fn a_block_is_charged_with_the_other_limits_or_none_is() {
    let mut house = guarded(Mode::Enforce, 2);
    house.change(|application| application.limits = vec![rule(Per::Destination, Of::Sends, 1, HOUR)]);
    house.send(&phone(0, 0, 1));
    house.cancel(house.rows[0].0.id).unwrap();
    assert_eq!(house.ask(&phone(0, 0, 1)).refused().kind(), Kind::RateLimited);
    assert_eq!(unconfirmed(&mut house, &phone(0, 0, 1)), 1, "a send that a limit refuses fills nothing");
    house.send(&phone(0, 0, 2));
    let before = house.limits.clone();
    assert!(refused(&mut house, &phone(0, 0, 3)));
    assert_eq!(house.limits, before, "one that the guard refuses uses up no limit");
}

#[test]
fn the_alarm_is_given_once_for_a_block_until_it_has_been_quiet() {
    let mut house = guarded(Mode::Enforce, 5);
    let alarms = |house: &House| house.count(EventKind::GuardBlocked);
    for nth in 0..4 {
        let sent = house.ask(&phone(0, 0, nth)).send().unwrap();
        assert_eq!(sent.noticed.filled, []);
    }
    let sent = house.ask(&phone(0, 0, 4)).send().unwrap();
    assert_eq!(sent.noticed.filled.len(), 1);
    assert_eq!((sent.noticed.filled[0].block.as_str(), sent.noticed.filled[0].unconfirmed), ("+25565000xxxx", 5));
    assert_eq!(house.events.last().map(|event| event.verification), Some(sent.verification.id));
    assert!(look(&mut house, &phone(0, 0, 0))[0].blocked);
    // An attack of hours: what drains is filled again, and is the same alarm.
    for minute in 0..600 {
        house.wait(MINUTE);
        let _ = house.ask(&phone(0, 0, 10 + minute)).send();
    }
    assert_eq!(alarms(&house), 1);
    house.wait(2 * HOUR);
    assert!(!look(&mut house, &phone(0, 0, 0))[0].blocked);
    for nth in 0..20 {
        let _ = house.ask(&phone(0, 0, 2000 + nth)).send();
    }
    assert_eq!(alarms(&house), 2, "it was quiet, so it is news");
}

#[test]
fn bug_a_block_that_is_narrow_and_wide_gives_the_alarm_once() {
    let mut house = guarded(Mode::Enforce, 2);
    house.send("+6907290");
    let filled = house.ask("+6907291").send().unwrap().noticed.filled;
    assert_eq!(filled.iter().map(|filled| filled.block.as_str()).collect::<Vec<_>>(), ["+690xxxx"]);
    assert!(refused(&mut house, "+6907292"));
    house.approve(house.rows[0].0.id);
    assert_eq!(look(&mut house, "+6907290").iter().map(|block| block.unconfirmed).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn observing_refuses_nothing_and_tells_all() {
    let mut house = guarded(Mode::Observe, 5);
    let sent: Vec<_> = (0..20).map(|nth| house.ask(&phone(0, 0, nth)).send().unwrap()).collect();
    assert_eq!(sent.iter().filter(|sent| sent.noticed.suspected).count(), 15);
    assert_eq!(house.count(EventKind::GuardBlocked), 1);
    assert_eq!(unconfirmed(&mut house, &phone(0, 0, 0)), 5, "a full block is no fuller");
    house.approve(sent[19].verification.id);
    assert!(!house.ask(&phone(0, 0, 30)).send().unwrap().noticed.suspected);
}

#[test]
fn who_is_vouched_for_is_counted_and_not_refused() {
    let mut house = guarded(Mode::Enforce, 2);
    for nth in 0..5 {
        let sent = house.ask(&phone(0, 0, nth)).terms(|terms| terms.unguarded = true).send().unwrap();
        assert_eq!(sent.noticed.suspected, nth >= 2);
    }
    house.ask(&phone(0, 0, 6)).terms(|terms| terms.vouched = true).send().unwrap();
    assert!(refused(&mut house, &phone(0, 0, 7)));
}

#[test]
fn what_is_off_reads_and_writes_nothing() {
    let mut house = guarded(Mode::Off, 1);
    let ids: Vec<_> = (0..20).map(|nth| house.send(&phone(0, 0, nth)).id).collect();
    house.approve(ids[0]);
    assert!(house.limits.is_empty());
    assert_eq!(look(&mut house, &phone(0, 0, 0)), []);
}

#[test]
fn a_mail_domain_is_one_wide_block() {
    let mut house = guarded(Mode::Enforce, 1);
    let taken = (0..150).filter(|nth| !refused(&mut house, &format!("a{nth}@example.com"))).count();
    assert_eq!(taken, 100);
    assert!(!refused(&mut house, "a@example.org"));
}

#[test]
fn applications_are_guarded_apart() {
    let mut house = guarded(Mode::Enforce, 1);
    assert!(!refused(&mut house, &phone(0, 0, 1)));
    assert!(refused(&mut house, &phone(0, 0, 2)));
    let mut other = countersign_core::policy::Application::new("other".parse().unwrap(), "first");
    other.guard = house.application.guard.clone();
    house.enter(other);
    assert!(!refused(&mut house, &phone(0, 0, 2)));
}

#[test]
fn an_opened_block_is_written_to_again_and_gives_the_alarm_anew() {
    let mut house = guarded(Mode::Enforce, 3);
    let fill = |house: &mut House, from| (from..from + 10).filter(|nth| !refused(house, &phone(0, 0, *nth))).count();
    assert_eq!(fill(&mut house, 0), 3);
    let open =
        Open { application: Arc::clone(&house.application), block: Block::named("+25565000xxxx"), now: house.now };
    let before = house.run(&open);
    assert_eq!((before.unconfirmed, before.allowed, before.blocked), (3, 3, true));
    assert_eq!(unconfirmed(&mut house, &phone(0, 0, 0)), 0);
    assert_eq!(fill(&mut house, 100), 3);
    assert_eq!(house.count(EventKind::GuardBlocked), 2);
    let other = Open { application: Arc::clone(&house.application), block: Block::named("KE"), now: house.now };
    let written = house.limits.len();
    assert_eq!(house.run(&other).unconfirmed, 0);
    assert_eq!(house.limits.len(), written, "what holds nothing is not made");
}

#[test]
fn a_clock_that_was_ahead_blocks_nobody_for_longer_than_a_window_and_silences_no_alarm() {
    let mut house = guarded(Mode::Enforce, 5);
    let set_right = house.now;
    for (block, ahead) in [(0, 4000 * DAY), (1, MINUTE)] {
        house.now = set_right + ahead;
        (0..10).filter(|nth| !refused(&mut house, &phone(0, block, *nth))).for_each(drop);
    }
    house.now = set_right;
    assert_eq!((20..30).filter(|nth| !refused(&mut house, &phone(0, 0, *nth))).count(), 5, "it counts as new");
    assert_eq!(house.count(EventKind::GuardBlocked), 3, "and so does the alarm");
    assert!(refused(&mut house, &phone(0, 1, 20)), "a minute is believed");
    house.wait(HOUR / 5 + MINUTE);
    assert!(!refused(&mut house, &phone(0, 1, 21)));
}

#[test]
fn satellite_phones_and_networks_of_no_country_are_no_numbers_to_write_to() {
    let mut house = House::new();
    for (to, kind) in [
        ("+870773111632", NumberType::Satellite),
        ("+881631234567", NumberType::Satellite),
        ("+8821621234567", NumberType::Satellite),
        ("+883510012345678", NumberType::Satellite),
        ("+19005550123", NumberType::PremiumRate),
        ("+447011234567", NumberType::Personal),
    ] {
        assert_eq!(number(to).number_type(), Some(kind), "{to}");
        let restored = countersign_core::destination::Destination::restored(to.to_owned(), None);
        assert_eq!(restored.number_type(), Some(kind), "{to}, from the store");
        let said = house.ask(to).send().err().map(|refusal| refusal.kind());
        assert_eq!(said, (kind != NumberType::Personal).then_some(Kind::NumberTypeBlocked), "{to}");
    }
}

#[test]
fn blocks_say_how_wide_they_are() {
    for (to, blocks) in [
        ("+255694230173", ["+25569423xxxx", "+255694xxxxxx", "TZ"]),
        ("+12125550123", ["+1212555xxxx", "+12125xxxxxx", "US"]),
        ("+29022158", ["+2902xxxx", "+290xxxxx", "SH"]),
        ("+870773111632", ["+87077311xxxx", "+870773xxxxxx", "+870"]),
    ] {
        let found = Block::of(&number(to));
        assert_eq!(found.iter().map(Block::as_str).collect::<Vec<_>>(), blocks);
        assert_eq!(found.iter().map(Block::width).collect::<Vec<_>>(), [Width::Block, Width::Area, Width::Country]);
    }
    // Of four digits after the country's code, and so in two blocks.
    let narrow = Block::of(&number("+6907290"));
    assert_eq!(narrow.iter().map(Block::as_str).collect::<Vec<_>>(), ["+690xxxx", "TK"]);
    assert_eq!(narrow.iter().map(Block::width).collect::<Vec<_>>(), [Width::Block, Width::Country]);
    let mail = Block::of(&number("jane@maxx.xxx"));
    assert_eq!((mail.len(), mail[0].as_str(), mail[0].width()), (1, "maxx.xxx", Width::Country));
}

proptest! {
    /// A bucket names its block, and neither it nor the key's `Debug` has the last digits of anybody.
    #[test]
    fn a_bucket_tells_its_block_and_nobodys_number(nth in 0_u32..10_000_000, window in 60_u64..2_678_400) {
        let to = number(&format!("+25569{nth:07}"));
        let guard = Guard { window: Duration::from_secs(window), ..Guard::default() };
        let application = "shop".parse().unwrap();
        for block in Block::of(&to) {
            let (bucket, alarm) = (guard.bucket(&application, &block), guard.alarm(&application, &block));
            prop_assert_eq!(guard.block(&application, &bucket), Some(block.clone()));
            prop_assert_eq!(guard.block(&application, &alarm), None);
            prop_assert_eq!(guard.block(&"other".parse().unwrap(), &bucket), None);
            prop_assert!(!bucket.0.contains(to.reveal()));
            let shown = format!("{bucket:?}");
            prop_assert!(!shown.contains(block.as_str()), "{}", shown);
        }
    }

    /// Whatever order sends, approvals and time come in, a block takes no more unconfirmed sends than its allowance and what drained.
    #[test]
    fn no_more_is_taken_than_the_allowance_what_drained_and_what_was_confirmed(
        steps in prop::collection::vec((0_u64..120, prop::bool::weighted(0.2)), 1..400),
        allowance in 1_u32..20,
        least in 1_u32..=100,
    ) {
        let mut house = guarded(Mode::Enforce, allowance);
        house.change(|application| application.guard.least_conversion = least);
        let (begun, mut taken, mut confirmed) = (house.now, 0_u32, 0_u32);
        for (nth, (pause, confirms)) in (0_u32..).zip(steps) {
            house.wait(Duration::from_secs(pause));
            let Ok(sent) = house.ask(&phone(0, 0, nth)).send() else { continue };
            taken += 1;
            if confirms {
                house.approve(sent.verification.id);
                confirmed += 1;
            }
        }
        let drained = house.now.since(begun).as_secs_f64() / HOUR.as_secs_f64() * f64::from(allowance);
        let most = f64::from(allowance) + drained + f64::from(confirmed) * 100.0 / f64::from(least);
        prop_assert!(f64::from(taken) <= most + 1e-6, "{} of {}", taken, most);
    }

    /// What a store holds may be anything: no time and no counter makes it panic or locks a block for longer than a window.
    #[test]
    fn no_counter_is_too_strange(tat: i64, alarm: i64, now in 0_i64..8_000_000_000_000) {
        let guard = Guard { mode: Mode::Enforce, unconfirmed: 3, window: HOUR, ..Guard::default() };
        let mut house = House::with(|application| application.guard = guard.clone());
        house.now = Timestamp::from_millis(now);
        for block in Block::of(&number(house::TO)) {
            house.limits.insert(guard.bucket(&house.application.name, &block), Tat(tat));
            house.limits.insert(guard.alarm(&house.application.name, &block), Tat(alarm));
        }
        let _ = house.ask(house::TO).send();
        house.wait(2 * HOUR + MINUTE);
        let sent = house.ask(house::OTHER).send().unwrap();
        house.approve(sent.verification.id);
    }
}
