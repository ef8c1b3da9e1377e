//! What one decision costs. The budget: send, write, report and check together stay under 15 µs, numbering plans aside.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a bench: `criterion_group!` writes an undocumented fn"
)]

use std::hint::black_box;
use std::sync::Arc;

use countersign_core::check::{Against, Check};
use countersign_core::code::{Binding, Code, CodeSource, Key, KeyRing};
use countersign_core::decision::{Chance, Decision, Snapshot, Write};
use countersign_core::deliver::{Report, Reported};
use countersign_core::destination::Destination;
use countersign_core::id::ApplicationName;
use countersign_core::message;
use countersign_core::outcome::Outcome;
use countersign_core::policy::Application;
use countersign_core::send::{Begin, Send, Terms, What};
use countersign_core::time::Timestamp;
use countersign_core::verification::{By, Delivery, Verification};
use criterion::{Criterion, criterion_group, criterion_main};

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

struct World {
    application: Arc<Application>,
    keys: Arc<KeyRing>,
    to: Destination,
}

impl World {
    fn new() -> Self {
        let mut application = Application::new(ApplicationName::default(), "gateway");
        application.web_origin = Some("example.com".to_owned());
        Self {
            application: application.shared(),
            keys: Arc::new(KeyRing::new("k1", Key::from_bytes([7; 32]))),
            to: Destination::parse("+255694230173", None).unwrap(),
        }
    }

    fn send(&self) -> Send {
        Send {
            application: Arc::clone(&self.application),
            keys: Arc::clone(&self.keys),
            what: What::Begin(Box::new(Begin::new(self.to.clone()))),
            channel: None,
            client: Some("192.0.2.1".to_owned()),
            carry_now: true,
            terms: Terms::default(),
            chance: Chance::from_bytes(&[9; 56]),
            now: NOW,
        }
    }

    fn check(&self, verification: &Verification, code: Code) -> Check {
        Check {
            application: Arc::clone(&self.application),
            keys: Arc::clone(&self.keys),
            against: Against::Id(verification.id),
            by: By::Id,
            payment: None,
            code,
            client: Some("192.0.2.1".to_owned()),
            now: NOW,
        }
    }

    fn sent(&self) -> (Verification, Delivery) {
        let (changes, answer) = decide(&self.send(), None, Vec::new());
        let [Write::Insert(delivery)] = changes.deliveries.as_slice() else { panic!("a send makes one delivery") };
        (answer.unwrap().verification, delivery.clone())
    }

    fn code(&self, verification: &Verification) -> Code {
        self.keys.code(&verification.code, verification.binding(), verification.code_length).unwrap()
    }
}

/// As a store runs it: what it needs is asked for, then it decides.
fn decide<D: Decision>(
    decision: &D,
    verification: Option<Verification>,
    deliveries: Vec<Delivery>,
) -> (countersign_core::decision::Changes, D::Answer) {
    black_box(decision.lookup());
    let reads = decision.reads(verification.as_ref());
    let limits = vec![None; reads.limits.len()];
    decision.decide(&Snapshot { verification, deliveries, limits, ..Snapshot::default() })
}

fn report(world: &World, delivery: &Delivery) -> Report {
    Report {
        application: Arc::clone(&world.application),
        verification: delivery.verification,
        delivery: delivery.id,
        claims: delivery.claims,
        outcome: Reported::Outcome(Outcome::Accepted { message_id: Some("m-1".to_owned()) }),
        chance: Chance::from_bytes(&[8; 56]),
        now: NOW,
    }
}

fn pieces(c: &mut Criterion) {
    let world = World::new();
    let (verification, delivery) = world.sent();
    let binding = Binding::new(&[1; 16], "default", "+255694230173", "login");
    let source = CodeSource::Derived { key: world.keys.active().clone() };
    let text = message::write(&world.application, &world.keys, &verification, &delivery).unwrap().text;
    countersign_core::destination::warm_up();

    c.bench_function("derive a code", |b| b.iter(|| world.keys.code(&source, black_box(binding), 6)));
    c.bench_function("decide a send", |b| b.iter(|| decide(&world.send(), None, Vec::new())));
    c.bench_function("decide a send again", |b| {
        b.iter(|| {
            let again = Send { now: Timestamp::from_millis(NOW.as_millis() + 60_000), ..world.send() };
            decide(&again, Some(verification.clone()), Vec::new())
        });
    });
    c.bench_function("check a right code", |b| {
        b.iter(|| {
            decide(&world.check(&verification, world.code(&verification)), Some(verification.clone()), Vec::new())
        });
    });
    c.bench_function("check a wrong code", |b| {
        let wrong = |code: Code| code.reveal().bytes().map(|digit| char::from(b'0' + b'9' - digit)).collect::<String>();
        let wrong = wrong(world.code(&verification));
        b.iter(|| decide(&world.check(&verification, wrong.parse().unwrap()), Some(verification.clone()), Vec::new()));
    });
    c.bench_function("report an acceptance", |b| {
        b.iter(|| decide(&report(&world, &delivery), Some(verification.clone()), vec![delivery.clone()]));
    });
    c.bench_function("write a message", |b| {
        b.iter(|| message::write(&world.application, &world.keys, &verification, &delivery));
    });
    c.bench_function("write a message in a language without a text", |b| {
        let verification = Verification { locale: Some("sw-TZ".to_owned()), ..verification.clone() };
        b.iter(|| message::write(&world.application, &world.keys, &verification, &delivery));
    });
    c.bench_function("count segments", |b| b.iter(|| message::segments(black_box(&text))));
    c.bench_function("parse a phone number", |b| {
        b.iter(|| Destination::parse(black_box("+255 694 230 173"), None));
    });
    c.bench_function("parse an address", |b| {
        b.iter(|| Destination::parse(black_box("Ann.Example+tag@mail.example.com"), None));
    });
}

fn cycle(c: &mut Criterion) {
    let world = World::new();
    c.bench_function("send, write, report and check", |b| {
        b.iter(|| {
            let (verification, delivery) = world.sent();
            let message = message::write(&world.application, &world.keys, &verification, &delivery).unwrap();
            black_box(decide(&report(&world, &delivery), Some(verification.clone()), vec![delivery]));
            decide(&world.check(&verification, message.code), Some(verification.clone()), Vec::new())
        });
    });
}

criterion_group!(decisions, pieces, cycle);
criterion_main!(decisions);
