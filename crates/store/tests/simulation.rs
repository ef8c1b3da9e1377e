//! A deterministic simulation in virtual time: random sends, resends, checks, cancels, clock jumps, provider failures and crashes
//! against the rules, the verifier and a store, with the laws asserted after every step.
//!
//! A failing run prints its seed; `COUNTERSIGN_SEED=<seed> cargo test -p countersign-store --test simulation` plays it again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::check::CheckResult;
use countersign::core::code::{Key, KeyRing};
use countersign::core::event::EventKind;
use countersign::core::id::{ApplicationName, VerificationId};
use countersign::core::limit::{LimitRule, Of, Per};
use countersign::core::outcome::{Failure as Rejection, Outcome};
use countersign::core::policy::{Application, Unknown};
use countersign::core::refusal::Refusal;
use countersign::core::route::Route;
use countersign::core::time::Timestamp;
use countersign::core::verification::{Budget, By, DeliveryStatus, GuessLog, Status};
use countersign::{
    CheckRequest, Cleanup, Clock, Failure, ManualClock, MemoryStore, RecordingSender, SendRequest, Store, Verifier,
};
use countersign_store::layout::{Existing, Layout};
use countersign_store::postgres::{self, PostgresStore, Target};
use countersign_store::sqlite::{Options, SqliteStore};

#[path = "support/postgres.rs"]
mod support;

const DESTINATIONS: [&str; 3] = ["+255694230173", "+12025550143", "+447400123456"];
const PURPOSES: [&str; 2] = ["login", "registration"];
const SENDS: LimitRule = LimitRule { per: Per::Destination, of: Of::Sends, quota: 8, window: Duration::from_secs(600) };
const PER_DAY: u32 = 20;

/// SplitMix64: small, good enough to choose steps with, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % sides
    }
}

/// What the world outside knows to be true.
#[derive(Default)]
struct Witness {
    known: Vec<(VerificationId, &'static str)>,
    expires: HashMap<VerificationId, Timestamp>,
    approved: HashSet<VerificationId>,
    canceled: HashSet<VerificationId>,
    wrong_by_id: HashMap<VerificationId, u32>,
    wrong_by_destination: HashMap<VerificationId, u32>,
    guesses: Vec<(Timestamp, &'static str, Budget)>,
    sends: Vec<(Timestamp, &'static str)>,
    checks_left: HashMap<VerificationId, u32>,
    acknowledged: HashMap<VerificationId, u32>,
    latest: HashMap<(&'static str, String), VerificationId>,
    /// Followed by another, in a store that keeps the latest alone.
    replaced: HashSet<VerificationId>,
}

struct World {
    store: Arc<dyn Store>,
    clock: ManualClock,
    phones: [Arc<RecordingSender>; 2],
    witness: Witness,
    dice: Dice,
    runtime: tokio::runtime::Runtime,
    verifier: Verifier,
    /// Whether the store keeps more than the latest of each destination and purpose.
    history: bool,
}

impl World {
    fn new(store: Arc<dyn Store>, seed: u64, history: bool) -> Self {
        let clock = ManualClock::at(Timestamp::from_millis(1_790_000_000_000));
        let phones = ["one", "two"].map(|name| Arc::new(RecordingSender::new(name)));
        let (runtime, verifier) = start(&store, &clock, &phones);
        Self { store, clock, phones, witness: Witness::default(), dice: Dice(seed), runtime, verifier, history }
    }

    /// The process is gone: every task with it. What the store has stays.
    fn crash(&mut self) {
        let (runtime, verifier) = start(&self.store, &self.clock, &self.phones);
        self.verifier = verifier;
        std::mem::replace(&mut self.runtime, runtime).shutdown_background();
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..=24 => self.send(),
            25..=34 => self.resend(),
            35..=64 => self.check_by_id(),
            65..=79 => self.check_by_destination(),
            80..=82 => self.cancel(),
            83..=86 => self.fail_providers(),
            87..=92 => self.advance(),
            93..=95 => self.crash(),
            96 => self.step_back(),
            _ => self.keep_up(),
        }
        self.settle();
        self.assert_laws();
    }

    /// Lets every task run until it waits for the clock.
    fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            // The SQLite writer is a thread of its own: a read behind it shows that it has caught up.
            self.store.ping().await.unwrap();
        });
    }

    fn pick_destination(&mut self) -> &'static str {
        DESTINATIONS[self.dice.roll(3) as usize]
    }

    fn pick_known(&mut self) -> Option<(VerificationId, &'static str)> {
        let count = self.witness.known.len() as u64;
        if count == 0 {
            return None;
        }
        // Mostly recent ones.
        let back = self.dice.roll(count.min(4)) + if self.dice.roll(10) == 0 { self.dice.roll(count) } else { 0 };
        Some(self.witness.known[(count - 1).saturating_sub(back) as usize])
    }

    fn send(&mut self) {
        let (to, purpose) = (self.pick_destination(), PURPOSES[self.dice.roll(2) as usize]);
        let request = SendRequest::to(to).purpose(purpose);
        let request = if self.dice.roll(3) == 0 { request.keyless() } else { request };
        let result = self.runtime.block_on(self.verifier.send(request));
        self.saw_send(to, result.map(|sending| sending.sent));
    }

    fn resend(&mut self) {
        let Some((id, to)) = self.pick_known() else { return };
        let result = self.runtime.block_on(self.verifier.send(SendRequest::again(id)));
        self.saw_send(to, result.map(|sending| sending.sent));
    }

    fn saw_send(&mut self, to: &'static str, result: Result<countersign::core::send::Sent, Failure>) {
        let now = self.clock.now();
        let sent = match result {
            Ok(sent) => sent,
            Err(Failure::Refused(refusal)) => {
                let wait = refusal.retry_after().unwrap_or_default();
                return assert!(wait <= Duration::from_secs(600), "a wait longer than any window: {refusal:?}");
            }
            Err(Failure::Broken(error)) => unreachable!("{error}"),
        };
        let row = sent.verification;
        self.witness.sends.push((now, to));
        if sent.begun {
            assert!(!self.witness.expires.contains_key(&row.id), "an id was given twice");
            assert_eq!(row.expires_at.since(row.created_at), Duration::from_secs(300));
            self.witness.known.push((row.id, to));
            let before = self.witness.latest.insert((to, row.purpose.to_string()), row.id);
            self.witness.replaced.extend(before.filter(|_| !self.history));
            self.witness.expires.insert(row.id, row.expires_at);
        }
        assert_eq!(self.witness.expires[&row.id], row.expires_at, "sending again moved the end");
        assert!(row.sends <= row.max_sends);
        assert!(
            now < row.expires_at
                && !self.witness.approved.contains(&row.id)
                && !self.witness.canceled.contains(&row.id)
        );
        *self.witness.acknowledged.entry(row.id).or_default() += 1;
    }

    fn code_of(&self, id: VerificationId) -> Option<String> {
        let row = self.row(id)?;
        let keys = keys();
        Some(keys.code(&row.code, row.binding(), row.code_length).ok()?.reveal().to_owned())
    }

    fn row(&self, id: VerificationId) -> Option<countersign::core::verification::Verification> {
        let found = self.runtime.block_on(self.verifier.verification(&ApplicationName::default(), id)).unwrap();
        found.map(|(row, _)| row)
    }

    /// The right code one time in four.
    fn offer(&mut self, id: VerificationId) -> Option<(String, bool)> {
        let code = self.code_of(id)?;
        if self.dice.roll(4) == 0 {
            return Some((code, true));
        }
        let offered = countersign::contract::wrong(&code, self.dice.roll(1000) as u32);
        Some((offered, false))
    }

    fn check_by_id(&mut self) {
        let Some((id, to)) = self.pick_known() else { return };
        let Some((offered, right)) = self.offer(id) else { return };
        let result = self.runtime.block_on(self.verifier.check(CheckRequest::by_id(id, &offered)));
        self.saw_check(id, to, right, true, result.map(|checked| checked.result));
    }

    fn check_by_destination(&mut self) {
        let (to, purpose) = (self.pick_destination(), PURPOSES[self.dice.roll(2) as usize]);
        let latest = self.witness.known.iter().rev().filter(|(_, known)| *known == to).map(|(id, _)| *id);
        let latest: Vec<_> =
            latest.filter(|id| self.row(*id).is_some_and(|row| row.purpose.as_str() == purpose)).take(1).collect();
        let Some(id) = latest.first().copied() else { return };
        let Some((offered, right)) = self.offer(id) else { return };
        let request = CheckRequest::by_destination(to, &offered).purpose(purpose);
        let result = self.runtime.block_on(self.verifier.check(request));
        self.saw_check(id, to, right, false, result.map(|checked| checked.result));
    }

    fn saw_check(
        &mut self,
        id: VerificationId,
        to: &'static str,
        right: bool,
        by_id: bool,
        result: Result<CheckResult, Failure>,
    ) {
        let now = self.clock.now();
        match result {
            Ok(CheckResult::Approved) => {
                assert!(right, "a wrong code was accepted");
                assert!(now < self.witness.expires[&id], "a code was accepted after its time");
                assert!(!self.witness.canceled.contains(&id), "a canceled code was accepted");
                assert!(self.witness.approved.insert(id), "a code was accepted twice");
                let wrong = if by_id { &self.witness.wrong_by_id } else { &self.witness.wrong_by_destination };
                assert!(wrong.get(&id).copied().unwrap_or_default() < 5, "a code was accepted after the last guess");
            }
            Ok(CheckResult::Incorrect) => {
                assert!(!right, "the right code was called wrong");
                let wrong = if by_id { &mut self.witness.wrong_by_id } else { &mut self.witness.wrong_by_destination };
                let count = wrong.entry(id).or_default();
                *count += 1;
                assert!(*count <= 5, "more guesses were evaluated than the cap");
                let by = if by_id { By::Id } else { By::Destination };
                // A row that was just guessed at is there.
                let Some(row) = self.row(id) else { return };
                let budget = row.budget(by);
                self.witness.guesses.push((now, to, budget));
                let recent = self.witness.guesses.iter().filter(|(at, whose, by)| {
                    *whose == to && *by == budget && *at + GuessLog::WINDOW > now && *at <= now
                });
                assert!(recent.count() as u32 <= PER_DAY, "more guesses were evaluated in a day than the budget");
            }
            Ok(_) => {}
            Err(Failure::Refused(Refusal::RateLimited { retry_after, .. })) => assert!(retry_after <= GuessLog::WINDOW),
            Err(Failure::Refused(Refusal::NotFound)) => assert!(self.row(id).is_none()),
            Err(other) => unreachable!("{other}"),
        }
    }

    fn cancel(&mut self) {
        let Some((id, _)) = self.pick_known() else { return };
        if self.runtime.block_on(self.verifier.cancel(&ApplicationName::default(), id)).is_ok() {
            assert!(!self.witness.approved.contains(&id));
            self.witness.canceled.insert(id);
        }
    }

    fn fail_providers(&mut self) {
        let phone = &self.phones[self.dice.roll(2) as usize];
        let rejected = |failure| Outcome::Rejected { failure, reason: "503".into(), retry_after: None };
        let outcomes = [
            rejected(Rejection::RetryElsewhere),
            rejected(Rejection::RetryLater),
            rejected(Rejection::GiveUp),
            rejected(Rejection::BlameNumber),
            Outcome::Unknown { reason: "silence".into() },
        ];
        let count = 1 + self.dice.roll(6);
        let chosen: Vec<_> = (0..count).map(|_| outcomes[self.dice.roll(5) as usize].clone()).collect();
        phone.script(chosen);
    }

    fn advance(&mut self) {
        let seconds = [1, 5, 29, 31, 61, 300, 3_600, 90_000][self.dice.roll(8) as usize];
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// As a clock that was ahead is set right.
    fn step_back(&mut self) {
        let now = self.clock.now();
        self.clock.set(now - Duration::from_secs(self.dice.roll(30)));
    }

    fn keep_up(&mut self) {
        self.runtime.block_on(async {
            self.verifier.carry_overdue().await.unwrap();
            self.verifier.expire_overdue().await.unwrap();
            let cleanup = Cleanup { batch: 7, pause: Duration::ZERO, ..Cleanup::default() };
            self.verifier.clean_up(cleanup, false, |_| true).await.unwrap();
        });
    }

    fn assert_laws(&mut self) {
        let now = self.clock.now();
        for &(id, to) in &self.witness.known {
            let found = self.runtime.block_on(self.verifier.verification(&ApplicationName::default(), id)).unwrap();
            if self.witness.replaced.contains(&id) {
                assert!(found.is_none(), "a row was followed by another and is still there");
                continue;
            }
            let Some((row, deliveries)) = found else {
                assert!(
                    self.witness.expires[&id] + Cleanup::default().older_than < now + Duration::from_secs(3_600),
                    "a living row was deleted"
                );
                continue;
            };
            assert_eq!(row.expires_at, self.witness.expires[&id]);
            assert_eq!(row.to.reveal(), to);
            assert_eq!(row.status == Status::Approved, self.witness.approved.contains(&id));
            assert_eq!(
                row.wrong_by_id,
                self.witness.wrong_by_id.get(&id).copied().unwrap_or_default(),
                "a guess was forgotten"
            );
            assert_eq!(
                row.wrong_by_destination,
                self.witness.wrong_by_destination.get(&id).copied().unwrap_or_default()
            );
            assert_eq!(row.sends, self.witness.acknowledged[&id], "an acknowledged send was lost");
            let left = self.witness.checks_left.insert(id, row.checks_left()).unwrap_or(5);
            assert!(row.checks_left() <= left, "guesses were given back");
            assert!(deliveries.iter().enumerate().all(|(place, delivery)| delivery.number as usize == place + 1));
            for send in 1..=row.sends {
                assert!(deliveries.iter().any(|delivery| delivery.send == send), "a send has no delivery");
            }
            if row.status == Status::Failed {
                assert!(
                    deliveries.iter().all(|delivery| delivery.status == DeliveryStatus::Failed),
                    "failed, although something may arrive"
                );
            }
        }
        self.assert_messages();
    }

    /// Every message of a verification carries its one code, and no delivery is carried twice by one claim.
    fn assert_messages(&self) {
        let mut messages: HashMap<String, Vec<countersign::Recorded>> = HashMap::new();
        for message in self.phones.iter().flat_map(|phone| phone.messages()) {
            assert!(message.text.contains(&message.code));
            messages.entry(message.id.clone()).or_default().push(message);
        }
        for &(id, _) in self.witness.known.iter().rev().take(5) {
            let found = self.runtime.block_on(self.verifier.verification(&ApplicationName::default(), id)).unwrap();
            let (Some((row, deliveries)), Some(code)) = (found, self.code_of(id)) else { continue };
            for delivery in deliveries {
                let carried = messages.get(&delivery.id.to_string()).map_or(&[][..], Vec::as_slice);
                assert!(carried.len() as u32 <= delivery.claims, "a message was carried twice");
                assert!(carried.iter().all(|message| message.code == code && message.to == row.to.reveal()));
            }
        }
    }

    /// At the end every acknowledged send was carried, or its verification had ended or was given up on.
    fn drain(&mut self) {
        self.crash();
        for _ in 0..40 {
            self.clock.advance(Duration::from_secs(31));
            self.keep_up();
            self.settle();
        }
        for &(id, _) in &self.witness.known {
            let found = self.runtime.block_on(self.verifier.verification(&ApplicationName::default(), id)).unwrap();
            let Some((_, deliveries)) = found else { continue };
            assert!(
                deliveries.iter().all(|delivery| delivery.status != DeliveryStatus::Queued),
                "a message waits for ever: {deliveries:?}"
            );
        }
        let events = self.runtime.block_on(self.store.events(0, usize::MAX >> 1)).unwrap();
        let mut ended = HashSet::new();
        for (_, event) in events {
            let ends = matches!(
                event.kind,
                EventKind::VerificationApproved
                    | EventKind::VerificationCanceled
                    | EventKind::VerificationExpired
                    | EventKind::VerificationFailed
                    | EventKind::VerificationMaxAttemptsReached
            );
            assert!(!ends || ended.insert(event.verification), "a verification ended twice");
        }
    }
}

fn keys() -> KeyRing {
    KeyRing::new("k1", Key::from_bytes([3; 32]))
}

fn start(
    store: &Arc<dyn Store>,
    clock: &ManualClock,
    phones: &[Arc<RecordingSender>; 2],
) -> (tokio::runtime::Runtime, Verifier) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut application = Application::new(ApplicationName::default(), "one");
    application.limits = vec![SENDS];
    application.policy.resend_after = Duration::from_secs(5);
    application.policy.max_guesses_per_day = PER_DAY;
    application.delivery.unknown = Unknown::Next;
    application.routes = vec![Route::to(Channel::Sms, ["one", "two"])];
    let mut builder = Verifier::builder()
        .store(Arc::clone(store))
        .clock(Arc::new(clock.clone()))
        .keys(keys())
        .application(application)
        .carriers(4);
    for phone in phones {
        builder = builder.sender(phone.clone());
    }
    (runtime, builder.build().unwrap())
}

fn simulate(seed: u64, steps: u32, store: Arc<dyn Store>, history: bool) {
    let run = std::panic::AssertUnwindSafe(|| {
        let mut world = World::new(store, seed, history);
        for _ in 0..steps {
            world.step();
        }
        world.drain();
        world.witness.approved.len()
    });
    match std::panic::catch_unwind(run) {
        Ok(approved) => assert!(approved > 0 || steps < 200, "seed {seed} proved nothing: nobody was approved"),
        Err(panic) => {
            #[allow(clippy::print_stderr, reason = "the seed is what the next person needs")]
            {
                eprintln!("\nthe simulation failed; play it again with COUNTERSIGN_SEED={seed}\n");
            }
            std::panic::resume_unwind(panic);
        }
    }
}

fn seeds(count: u64) -> Vec<u64> {
    match std::env::var("COUNTERSIGN_SEED") {
        Ok(seed) => vec![seed.parse().expect("COUNTERSIGN_SEED is a number")],
        Err(_) => (1..=count).collect(),
    }
}

#[test]
fn the_laws_hold_in_memory() {
    for seed in seeds(40) {
        simulate(seed, 400, Arc::new(MemoryStore::default()), true);
    }
}

fn simulate_on_sqlite(layout: &Layout, count: u64) {
    for seed in seeds(count) {
        let name = format!("simulation-{}-{seed}", layout.as_str());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("test.db");
        if let Layout::Existing(_) = layout {
            let made = rusqlite::Connection::open(&file).unwrap();
            made.execute_batch(
                "CREATE TABLE verification (verification_id varchar(50) PRIMARY KEY, phone varchar(15), code integer, \
                 verification_type varchar(20), verified bool, created_at datetime, expires_at datetime)",
            )
            .unwrap();
        }
        let store = SqliteStore::open_as(&file, layout, Options::default()).unwrap();
        simulate(seed, 250, Arc::new(store), *layout != Layout::Minimal);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}

#[test]
fn the_laws_hold_on_sqlite() {
    simulate_on_sqlite(&Layout::Standalone, 6);
}

#[test]
fn the_laws_hold_on_sqlite_with_one_small_table() {
    simulate_on_sqlite(&Layout::Minimal, 6);
}

#[test]
fn the_laws_hold_in_a_table_of_the_application() {
    simulate_on_sqlite(&Layout::Existing(Existing::django()), 6);
}

fn simulate_on_postgresql(layout: &Layout, count: u64) {
    for seed in seeds(count) {
        let options = postgres::Options { schema: support::new_schema(), ..postgres::Options::default() };
        let target = Target::parse(&support::url()).unwrap();
        let store = PostgresStore::open_as(target, layout, options).unwrap();
        simulate(seed, 200, Arc::new(store), *layout != Layout::Minimal);
    }
}

#[test]
fn the_laws_hold_on_postgresql() {
    simulate_on_postgresql(&Layout::Standalone, 3);
}

#[test]
fn the_laws_hold_on_postgresql_with_one_small_table() {
    simulate_on_postgresql(&Layout::Minimal, 3);
}

#[test]
fn the_laws_hold_in_a_table_of_the_application_on_postgresql() {
    let mut existing = Existing::django();
    existing.table.schema = Some(support::new_schema().parse().unwrap());
    let made = format!(
        "CREATE SCHEMA {}; CREATE TABLE {} (verification_id varchar(50) PRIMARY KEY, phone varchar(15), code integer, \
         verification_type varchar(20), verified boolean, created_at timestamptz, expires_at timestamptz)",
        existing.table.schema.as_ref().unwrap(),
        existing.table
    );
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let (client, connection) = tokio_postgres::connect(&support::url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(&made).await.unwrap();
    });
    // One table of the application's for all of them, as it would be.
    simulate_on_postgresql(&Layout::Existing(existing), 1);
}
