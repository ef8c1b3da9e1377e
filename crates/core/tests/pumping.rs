//! Traffic in virtual time through the real decisions: the guard never trips over people, and stops who pumps. The figures that
//! docs/guard.md gives are printed by `COUNTERSIGN_FIGURES=1 cargo test -p countersign-core --test pumping -- --nocapture`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, reason = "tests")]

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use countersign_core::check::{Against, Check, CheckResult};
use countersign_core::code::{Key, KeyRing};
use countersign_core::decision::{Chance, Decision, Snapshot};
use countersign_core::destination::Destination;
use countersign_core::guard::{Block, Guard, Mode, Width};
use countersign_core::limit::{LimitKey, Tat};
use countersign_core::policy::Application;
use countersign_core::send::{Begin, Send, Terms, What};
use countersign_core::time::Timestamp;
use countersign_core::verification::{By, Verification};
use proptest::prelude::*;

/// Numbers that look random and are the same every time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn part(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.word() % bound
    }

    /// The time to the next of so many a second (Poisson).
    fn gap(&mut self, rate: f64) -> f64 {
        -(1.0 - self.part()).ln() / rate
    }

    fn bytes(&mut self) -> [u8; 56] {
        let mut bytes = [0; 56];
        bytes.chunks_exact_mut(8).for_each(|chunk| chunk.copy_from_slice(&self.word().to_be_bytes()));
        bytes
    }
}

/// People, or somebody who passes for them.
struct Stream {
    /// Sends in a second.
    rate: f64,
    /// How many in a hundred confirm,
    conversion: f64,
    /// after so many seconds at least and at most.
    delay: (f64, f64),
    /// Where their numbers are.
    number: fn(&mut Dice) -> String,
}

/// The mobile prefixes of Tanzania, as its people have them: some operators are larger.
fn tanzania(dice: &mut Dice) -> String {
    const OPERATORS: [&str; 10] = ["75", "76", "74", "71", "65", "67", "68", "78", "69", "62"];
    let operator = OPERATORS[(dice.below(10) * dice.below(10) / 10) as usize];
    format!("+255{operator}{:07}", dice.below(10_000_000))
}

fn one_block(dice: &mut Dice) -> String {
    format!("+25573423{:04}", dice.below(10_000))
}

fn one_area(dice: &mut Dice) -> String {
    format!("+255734{:06}", dice.below(1_000_000))
}

fn one_operator(dice: &mut Dice) -> String {
    format!("+25573{:07}", dice.below(10_000_000))
}

/// What came of some time.
#[derive(Debug, Default)]
struct Course {
    sent: u64,
    refused: u64,
    /// Sends before the first refusal.
    sent_before: Option<u64>,
    alarms: u64,
    /// The fullest that a block of each width was, as a part of its allowance.
    peak: [f64; 3],
}

struct World {
    application: Arc<Application>,
    keys: Arc<KeyRing>,
    limits: HashMap<LimitKey, Tat>,
    dice: Dice,
    /// When the next stretch of time begins, in seconds.
    begins: f64,
}

impl World {
    fn new(guard: Guard, seed: u64) -> Self {
        let mut application = Application::new("shop".parse().unwrap(), "first");
        application.limits = Vec::new();
        application.guard = guard;
        let keys = Arc::new(KeyRing::new("k1", Key::from_bytes([1; 32])));
        Self { application: application.shared(), keys, limits: HashMap::new(), dice: Dice(seed), begins: 0.0 }
    }

    fn run<D: Decision>(&mut self, decision: &D, verification: Option<Verification>) -> D::Answer {
        let reads = decision.reads(verification.as_ref());
        let limits = reads.limits.iter().map(|key| self.limits.get(key).copied()).collect();
        let (changes, answer) = decision.decide(&Snapshot { verification, limits, ..Snapshot::default() });
        self.limits.extend(changes.limits);
        answer
    }

    fn send(&mut self, to: Destination, now: Timestamp) -> Result<(Verification, u64), ()> {
        let send = Send {
            application: Arc::clone(&self.application),
            keys: Arc::clone(&self.keys),
            what: What::Begin(Box::new(Begin::new(to))),
            channel: None,
            client: None,
            carry_now: true,
            terms: Terms::default(),
            chance: Chance::from_bytes(&self.dice.bytes()),
            now,
        };
        let sent = self.run(&send, None).map_err(|_| ())?;
        Ok((sent.verification, sent.noticed.filled.len() as u64))
    }

    fn approve(&mut self, verification: Verification, now: Timestamp) {
        let code = self.keys.code(&verification.code, verification.binding(), verification.code_length).unwrap();
        let check = Check {
            application: Arc::clone(&self.application),
            keys: Arc::clone(&self.keys),
            against: Against::Id(verification.id),
            by: By::Id,
            code,
            payment: None,
            client: None,
            now,
        };
        assert_eq!(self.run(&check, Some(verification)).unwrap().unwrap().result, CheckResult::Approved);
    }

    fn fill(&self, to: &Destination, now: Timestamp, peak: &mut [f64; 3]) {
        let guard = &self.application.guard;
        for block in Block::of(to) {
            let bucket = self.limits.get(&guard.bucket(&self.application.name, &block)).copied();
            let place = match block.width() {
                Width::Block => 0,
                Width::Area => 1,
                Width::Country => 2,
            };
            let standing = guard.standing(block, bucket, None, now);
            peak[place] = peak[place].max(f64::from(standing.unconfirmed) / f64::from(standing.allowed));
        }
    }

    /// So many seconds of these streams at once. What one of them gets is told for each.
    fn live(&mut self, streams: &[Stream], seconds: f64) -> Vec<Course> {
        let mut courses: Vec<Course> = streams.iter().map(|_| Course::default()).collect();
        let begins = Timestamp::from_millis(1_790_000_000_000) + Duration::from_secs_f64(self.begins);
        let at = |second: f64| begins + Duration::from_secs_f64(second);
        self.begins += seconds;
        // Whole microseconds, so that they can be ordered; then which stream, and the verification that is confirmed.
        let mut due = BinaryHeap::new();
        let micros = |second: f64| (second * 1e6) as u64;
        let mut pending: HashMap<u64, Verification> = HashMap::new();
        let mut nth = 0;
        for (stream, with) in streams.iter().enumerate() {
            due.push(Reverse((micros(self.dice.gap(with.rate)), stream, None)));
        }
        while let Some(Reverse((when, stream, confirms))) = due.pop() {
            let (second, with) = (when as f64 / 1e6, &streams[stream]);
            if let Some(confirms) = confirms {
                self.approve(pending.remove(&confirms).unwrap(), at(second));
                continue;
            }
            if second > seconds {
                continue;
            }
            due.push(Reverse((micros(second + self.dice.gap(with.rate)), stream, None)));
            let text = (with.number)(&mut self.dice);
            let to = Destination::parse(&text, None).unwrap();
            let course = &mut courses[stream];
            match self.send(to.clone(), at(second)) {
                Ok((verification, alarms)) => {
                    course.sent += 1;
                    course.alarms += alarms;
                    if self.dice.part() * 100.0 < with.conversion {
                        nth += 1;
                        let (least, most) = with.delay;
                        let back = second + least + self.dice.part() * (most - least);
                        pending.insert(nth, verification);
                        due.push(Reverse((micros(back), stream, Some(nth))));
                    }
                }
                Err(()) => {
                    course.sent_before.get_or_insert(course.sent);
                    course.refused += 1;
                }
            }
            self.fill(&to, at(second), &mut courses[stream].peak);
        }
        courses
    }
}

fn enforced() -> Guard {
    Guard { mode: Mode::Enforce, ..Guard::default() }
}

fn people(rate: f64, conversion: f64, number: fn(&mut Dice) -> String) -> Stream {
    Stream { rate, conversion, delay: (5.0, 120.0), number }
}

fn pumping(rate: f64, conversion: f64, number: fn(&mut Dice) -> String) -> Stream {
    Stream { rate, conversion, delay: (1.0, 5.0), number }
}

fn show(what: &str, course: &Course) {
    if std::env::var_os("COUNTERSIGN_FIGURES").is_some() {
        let [block, area, country] = course.peak.map(|peak| format!("{:.0} %", peak * 100.0));
        println!(
            "{what}: {} sent, {} refused (first after {:?}), {} alarms; fullest: block {block}, area {area}, country {country}",
            course.sent, course.refused, course.sent_before, course.alarms
        );
    }
}

#[test]
fn fifty_sends_a_second_in_one_country_never_trip() {
    for seed in 0..2 {
        let courses = World::new(enforced(), seed).live(&[people(50.0, 80.0, tanzania)], 400.0);
        show("50/s over Tanzania, 80 % confirm", &courses[0]);
        assert_eq!((courses[0].refused, courses[0].alarms), (0, 0), "seed {seed}: {:?}", courses[0]);
        assert!(courses[0].sent > 18_000);
        assert!(courses[0].peak.iter().all(|peak| *peak < 0.7), "{:?}", courses[0]);
    }
}

#[test]
fn a_rush_in_a_million_numbers_and_in_ten_thousand_does_not_trip() {
    for (what, rate, number) in [
        ("10/s in one area, 80 % confirm", 10.0, one_area as fn(&mut Dice) -> String),
        ("1 in 2 s in one block, 80 % confirm", 0.5, one_block),
    ] {
        for seed in 0..4 {
            let courses = World::new(enforced(), seed).live(&[people(rate, 80.0, number)], 600.0);
            show(what, &courses[0]);
            assert_eq!((courses[0].refused, courses[0].alarms), (0, 0), "{what}, seed {seed}: {:?}", courses[0]);
        }
    }
}

#[test]
fn bug_g2_who_pumps_is_stopped_at_the_allowance() {
    for (what, conversion, number, most) in [
        ("one block, nobody confirms", 0.0, one_block as fn(&mut Dice) -> String, 50_u64),
        ("one block, 5 % confirm", 5.0, one_block, 50 * 100 / 80 + 15),
        ("one area, nobody confirms", 0.0, one_area, 500),
        ("one operator, nobody confirms", 0.0, one_operator, 5000),
    ] {
        let courses = World::new(enforced(), 7).live(&[pumping(20.0, conversion, number)], 600.0);
        show(what, &courses[0]);
        let Course { sent, sent_before, alarms, .. } = courses[0];
        // What drains meanwhile: at most one in 28 minutes, 173 s and 17 s.
        let drained = most / 100;
        assert!(sent_before.is_some_and(|before| before <= most + drained), "{what}: {:?}", courses[0]);
        assert!(sent <= most * 2, "{what}: {:?}", courses[0]);
        assert!(alarms >= 1, "{what}");
    }
}

#[test]
fn bug_g2_people_elsewhere_do_not_notice_who_pumps() {
    let streams = [people(20.0, 80.0, tanzania), pumping(20.0, 0.0, one_block)];
    let courses = World::new(enforced(), 3).live(&streams, 400.0);
    show("people beside a pumped block", &courses[0]);
    show("the pumped block", &courses[1]);
    assert_eq!(courses[0].refused, 0, "{:?}", courses[0]);
    assert!(courses[1].sent <= 52 && courses[1].refused > 7000, "{:?}", courses[1]);
}

#[test]
fn a_block_that_was_pumped_opens_by_itself_for_the_people_in_it() {
    let mut world = World::new(enforced(), 5);
    let pumped = world.live(&[pumping(20.0, 0.0, one_block)], 60.0);
    assert!(pumped[0].refused > 0);
    // What drains lets one through, whose approval lets four through: it opens ever faster.
    let first = world.live(&[people(0.05, 80.0, one_block)], 2.0 * 3600.0);
    show("the first two hours of people at 0.05/s", &first[0]);
    assert!(first[0].refused > 0, "{:?}", first[0]);
    let then = world.live(&[people(0.05, 80.0, one_block)], 2.0 * 3600.0);
    show("the next two hours", &then[0]);
    assert_eq!(then[0].refused, 0, "{:?}", then[0]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// At up to one send in two seconds in ten thousand numbers, with most people confirming within two minutes, nobody is refused.
    #[test]
    fn people_never_trip(seed: u64, rate in 0.01_f64..0.5, conversion in 70.0_f64..100.0, least in 1.0_f64..10.0, most in 15.0_f64..120.0) {
        let stream = Stream { rate, conversion, delay: (least, most), number: one_block };
        let courses = World::new(enforced(), seed).live(&[stream], 900.0);
        prop_assert_eq!(courses[0].refused, 0, "{:?}", courses[0]);
    }

    /// Who confirms one in ten at most is stopped within the allowance divided by what each send leaves.
    #[test]
    fn pumping_always_trips(seed: u64, rate in 1.0_f64..50.0, conversion in 0.0_f64..10.0) {
        let courses = World::new(enforced(), seed).live(&[pumping(rate, conversion, one_block)], 400.0);
        let most = 50.0 / (1.0 - conversion / 100.0 * 4.0);
        // Luck: whether so few confirm is a throw of dice.
        prop_assert!(courses[0].sent_before.is_some_and(|before| before as f64 <= most * 3.0 + 20.0), "{:?}", courses[0]);
    }
}
