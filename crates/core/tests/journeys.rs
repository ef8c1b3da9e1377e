//! Random journeys through a house in virtual time: whatever is asked in whatever order, the promises hold.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod house;

use std::collections::HashMap;
use std::time::Duration;

use countersign_core::check::CheckResult;
use countersign_core::deliver::Reported;
use countersign_core::event::EventKind;
use countersign_core::id::VerificationId;
use countersign_core::limit::{LimitRule, Of, Per, Verdict};
use countersign_core::outcome::Failure;
use countersign_core::time::Timestamp;
use countersign_core::verification::{DeliveryStatus, Status, Verification};
use house::{DAY, HOUR, House, MINUTE, OTHER, TO, accepted, rejected, rule, unknown, wrong};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Send { to: usize, purpose: usize },
    Again { which: usize },
    Anew { to: usize, purpose: usize },
    RightById { which: usize },
    RightByDestination { to: usize, purpose: usize },
    WrongById { which: usize, nth: u64 },
    WrongByDestination { to: usize, purpose: usize, nth: u64 },
    Cancel { which: usize },
    Expire { which: usize },
    Report { which: usize, outcome: usize },
    Receipt { which: usize, status: usize },
    Wait { secs: u64 },
    ClockBack { secs: u64 },
    Restart,
}

const TOS: [&str; 2] = [TO, OTHER];
const PURPOSES: [&str; 2] = ["login", "payment"];

fn step(clock_back: bool) -> impl Strategy<Value = Step> {
    let (to, purpose, which) = (0..TOS.len(), 0..PURPOSES.len(), any::<usize>());
    prop_oneof![
        4 => (to.clone(), purpose.clone()).prop_map(|(to, purpose)| Step::Send { to, purpose }),
        2 => which.prop_map(|which| Step::Again { which }),
        2 => (to.clone(), purpose.clone()).prop_map(|(to, purpose)| Step::Anew { to, purpose }),
        1 => which.prop_map(|which| Step::RightById { which }),
        1 => (to.clone(), purpose.clone()).prop_map(|(to, purpose)| Step::RightByDestination { to, purpose }),
        6 => (which, any::<u64>()).prop_map(|(which, nth)| Step::WrongById { which, nth }),
        6 => (to, purpose, any::<u64>()).prop_map(|(to, purpose, nth)| Step::WrongByDestination { to, purpose, nth }),
        1 => which.prop_map(|which| Step::Cancel { which }),
        1 => which.prop_map(|which| Step::Expire { which }),
        3 => (which, 0..7_usize).prop_map(|(which, outcome)| Step::Report { which, outcome }),
        2 => (which, 0..6_usize).prop_map(|(which, status)| Step::Receipt { which, status }),
        3 => prop_oneof![0..40_u64, 100..400_u64, 3_000..100_000_u64].prop_map(|secs| Step::Wait { secs }),
        1 => (0..10_000_u64).prop_map(move |secs| if clock_back { Step::ClockBack { secs } } else { Step::Wait { secs } }),
        1 => Just(Step::Restart),
    ]
}

/// What is remembered of a journey, to hold the house to its word.
#[derive(Default)]
struct Witness {
    begun: HashMap<VerificationId, Verification>,
    accepted: HashMap<VerificationId, u32>,
    wrong: HashMap<(VerificationId, bool), u32>,
    guesses: HashMap<(String, bool), Vec<Timestamp>>,
    sends: HashMap<String, Vec<Timestamp>>,
}

const MAX_CHECKS: u32 = 3;
const MAX_SENDS: u32 = 4;
const A_DAY: u32 = 8;
const QUOTA: u32 = 6;

impl Witness {
    fn sent(&mut self, house: &House, sent: &Verification) {
        self.begun.entry(sent.id).or_insert_with(|| sent.clone());
        self.sends.entry(sent.to.reveal().to_owned()).or_default().push(house.now);
    }

    fn checked(&mut self, house: &House, id: VerificationId, by_id: bool, result: CheckResult) {
        let to = house.row(id).to.reveal().to_owned();
        match result {
            CheckResult::Approved => *self.accepted.entry(id).or_default() += 1,
            CheckResult::Incorrect => {
                *self.wrong.entry((id, by_id)).or_default() += 1;
                self.guesses.entry((to, by_id)).or_default().push(house.now);
            }
            _ => {}
        }
    }

    fn hold(&self, house: &House, clock_is_sane: bool) {
        assert!(self.accepted.values().all(|times| *times == 1), "a right code is accepted once");
        assert!(self.wrong.values().all(|times| *times <= MAX_CHECKS), "no more guesses than the cap are evaluated");
        for (row, deliveries) in &house.rows {
            let begun = &self.begun[&row.id];
            assert_eq!((row.expires_at, row.created_at), (begun.expires_at, begun.created_at), "a life never moves");
            assert_eq!((&row.to, &row.purpose, row.code_length), (&begun.to, &begun.purpose, begun.code_length));
            assert!((1..=MAX_SENDS).contains(&row.sends));
            assert!(row.wrong_by_id <= MAX_CHECKS && row.wrong_by_destination <= MAX_CHECKS);
            assert_eq!(row.finished_at.is_some(), row.status != Status::Pending);
            assert_eq!(row.status == Status::Approved, self.accepted.contains_key(&row.id));
            assert_eq!(row.status == Status::MaxAttemptsReached, row.checks_left() == 0);
            let sends: std::collections::BTreeSet<_> = deliveries.iter().map(|delivery| delivery.send).collect();
            assert_eq!(sends.len(), row.sends as usize, "every send has a delivery");
        }
        for (at, (row, _)) in house.rows.iter().enumerate().filter(|(_, (row, _))| row.status == Status::Pending) {
            let same =
                |(other, _): &(Verification, _)| other.to.reveal() == row.to.reveal() && other.purpose == row.purpose;
            let later = house.rows[at + 1..].iter().any(same);
            assert!(
                !clock_is_sane || !later || !row.is_pending_at(house.now),
                "only the latest of its kind is pending"
            );
        }
        if clock_is_sane {
            for instants in self.guesses.values() {
                assert!(most_within(instants, DAY) <= A_DAY, "the budget of the day is exact");
            }
            for instants in self.sends.values() {
                assert!(most_within(instants, HOUR) < 2 * QUOTA, "GCRA's bound in any window of one hour");
            }
        }
        self.hold_events(house);
    }

    fn hold_events(&self, house: &House) {
        let mut seen = HashMap::new();
        for event in &house.events {
            *seen.entry((event.kind.as_str(), event.verification, event.delivery)).or_insert(0) += 1;
        }
        assert!(seen.values().all(|times| *times == 1), "each event is told once");
        let of = |kind: EventKind, id: VerificationId| seen.contains_key(&(kind.as_str(), id, None));
        for (row, deliveries) in &house.rows {
            assert!(of(EventKind::VerificationCreated, row.id));
            for (kind, status) in [
                (EventKind::VerificationApproved, Status::Approved),
                (EventKind::VerificationCanceled, Status::Canceled),
                (EventKind::VerificationExpired, Status::Expired),
                (EventKind::VerificationMaxAttemptsReached, Status::MaxAttemptsReached),
                (EventKind::VerificationFailed, Status::Failed),
            ] {
                assert_eq!(of(kind, row.id), row.status == status, "{} tells of {}", kind.as_str(), row.status);
            }
            for delivery in deliveries {
                let told = |kind: EventKind| seen.contains_key(&(kind.as_str(), row.id, Some(delivery.id)));
                assert_eq!(told(EventKind::DeliveryDelivered), delivery.status == DeliveryStatus::Delivered);
            }
        }
    }
}

fn most_within(instants: &[Timestamp], window: Duration) -> u32 {
    let within = |first: usize| instants.partition_point(|at| *at < instants[first] + window) - first;
    u32::try_from((0..instants.len()).map(within).max().unwrap_or(0)).unwrap()
}

fn travel(steps: Vec<Step>) {
    let mut house = House::with(|application| {
        application.policy.max_checks = MAX_CHECKS;
        application.policy.max_sends = MAX_SENDS;
        application.policy.max_guesses_per_day = A_DAY;
        application.policy.hardened_after = 5;
        application.policy.resend_after = Duration::from_secs(10);
        application.limits =
            vec![rule(Per::Destination, Of::Sends, QUOTA, HOUR), rule(Per::Application, Of::Sends, 100, MINUTE)];
    });
    let mut witness = Witness::default();
    let mut clock_is_sane = true;
    for step in steps {
        let pick = |house: &House, which: usize| house.rows.get(which % house.rows.len().max(1)).map(|(row, _)| row.id);
        let latest = |house: &House, to: usize, purpose: usize| {
            let is = |row: &Verification| row.to.reveal() == TOS[to] && row.purpose.as_str() == PURPOSES[purpose];
            house.rows.iter().rev().map(|(row, _)| row).find(|row| is(row)).map(|row| row.id)
        };
        match step {
            Step::Send { to, purpose } => {
                if let Ok(sent) = house.ask(TOS[to]).purpose(PURPOSES[purpose]).send() {
                    witness.sent(&house, &sent.verification);
                }
            }
            Step::Again { which } => {
                let Some(id) = pick(&house, which) else { continue };
                if let Ok(sent) = house.again(id).send() {
                    witness.sent(&house, &sent.verification);
                }
            }
            Step::Anew { to, purpose } => {
                if let Ok(sent) =
                    house.ask(TOS[to]).purpose(PURPOSES[purpose]).terms(|terms| terms.supersedes = true).send()
                {
                    assert!(sent.begun);
                    witness.sent(&house, &sent.verification);
                }
            }
            Step::RightById { which } | Step::WrongById { which, .. } => {
                let Some(id) = pick(&house, which) else { continue };
                let right = house.code(id);
                let code = if let Step::WrongById { nth, .. } = step { wrong(&right, nth) } else { right };
                if let Ok(result) = house.by_id(id, &code) {
                    witness.checked(&house, id, true, result);
                }
            }
            Step::RightByDestination { to, purpose } | Step::WrongByDestination { to, purpose, .. } => {
                let Some(id) = latest(&house, to, purpose) else {
                    assert_eq!(house.by_purpose(TOS[to], PURPOSES[purpose], "123456"), Ok(CheckResult::NotFound));
                    continue;
                };
                let right = house.code(id);
                let code = if let Step::WrongByDestination { nth, .. } = step { wrong(&right, nth) } else { right };
                if let Ok(result) = house.by_purpose(TOS[to], PURPOSES[purpose], &code) {
                    witness.checked(&house, id, false, result);
                }
            }
            Step::Cancel { which } => drop(pick(&house, which).map(|id| house.cancel(id))),
            Step::Expire { which } => drop(pick(&house, which).map(|id| house.expire(id))),
            Step::Report { which, outcome } => {
                let Some(id) = pick(&house, which) else { continue };
                let delivery = house.deliveries(id)[which % house.deliveries(id).len()].clone();
                let outcome = match outcome {
                    0 => accepted(&delivery.id.to_string()[..8]),
                    1 => rejected(Failure::RetryElsewhere),
                    2 => rejected(Failure::RetryLater),
                    3 => rejected(Failure::GiveUp),
                    4 => unknown(),
                    5 => Reported::Interrupted,
                    _ => Reported::Superseded,
                };
                house.report(&delivery, outcome);
            }
            Step::Receipt { which, status } => {
                let Some(id) = pick(&house, which) else { continue };
                let delivery = house.deliveries(id)[which % house.deliveries(id).len()].clone();
                let before = delivery.status;
                house.receipt(&delivery.provider, &delivery.id.to_string(), DeliveryStatus::ALL[status]);
                let after = house.deliveries(id).iter().find(|row| row.id == delivery.id).unwrap().status;
                assert!(before != DeliveryStatus::Delivered || after == DeliveryStatus::Delivered);
            }
            Step::Wait { secs } => house.wait(Duration::from_secs(secs)),
            Step::ClockBack { secs } => {
                clock_is_sane = false;
                house.now = house.now - Duration::from_secs(secs);
            }
            Step::Restart => house.restart(),
        }
        witness.hold(&house, clock_is_sane);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_journey_keeps_every_promise(steps in prop::collection::vec(step(false), 1..150)) {
        travel(steps);
    }

    #[test]
    fn a_clock_that_steps_back_breaks_only_promises_about_time(steps in prop::collection::vec(step(true), 1..100)) {
        travel(steps);
    }

    /// Whatever the quota and the window: exactly the quota at once, and never more than GCRA's bound in any window.
    #[test]
    fn a_limit_is_exact(quota in 1_u32..300, secs in 1_u64..200_000, waits in prop::collection::vec(0_u64..100_000_000, 0..20)) {
        let rule = LimitRule { per: Per::Client, of: Of::Sends, quota, window: Duration::from_secs(secs) };
        let (mut now, mut tat, mut allowed) = (Timestamp::from_millis(1_790_000_000_000), None, Vec::new());
        for (nth, wait) in std::iter::once(0).chain(waits).enumerate() {
            now = now + Duration::from_millis(wait);
            let mut burst = 0;
            loop {
                match rule.check(tat, now) {
                    Verdict::Allowed { tat: next, remaining } => {
                        prop_assert!(remaining < quota);
                        allowed.push(now);
                        burst += 1;
                        tat = Some(next);
                    }
                    Verdict::Refused { retry_after } => {
                        prop_assert!(!retry_after.is_zero() && retry_after <= rule.window);
                        let then = rule.check(tat, now + retry_after + Duration::from_millis(1));
                        prop_assert!(!matches!(then, Verdict::Refused { .. }), "it opens when it said");
                        break;
                    }
                }
            }
            prop_assert!(nth > 0 || burst == quota, "{} of {} at once", burst, quota);
            prop_assert!(burst <= quota);
        }
        prop_assert!(most_within(&allowed, rule.window) < 2 * quota);
    }
}
