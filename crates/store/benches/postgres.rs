//! Whole cycles (send, carry, the right check; each durable before its answer) on a throw-away PostgreSQL, beside SQLite and beside
//! pgbench's own TPC-B-like rate on the same server, in one run. Everything shares one machine, so only ratios count.
//!
//! `cargo bench -p countersign-store --bench postgres -- [most rows] [seconds]`
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign::core::channel::Channel;
use countersign::core::check::CheckResult;
use countersign::core::code::{Key, KeyRing};
use countersign::core::id::ApplicationName;
use countersign::core::limit::{LimitRule, Of, Per};
use countersign::core::outcome::{Message, Outcome};
use countersign::core::policy::Application;
use countersign::sender::BoxFuture;
use countersign::{CheckRequest, SendRequest, Sender, Store, Verifier};
use countersign_store::postgres::{Options, PostgresStore, Target};
use countersign_store::sqlite::{self, SqliteStore};

#[path = "../tests/support/postgres.rs"]
mod support;

use support::Server;

const CLIENTS: u64 = 64;

/// Takes everything and keeps nothing.
struct Sink;

impl Sender for Sink {
    fn name(&self) -> &str {
        "sink"
    }
    fn channels(&self) -> &[Channel] {
        &Channel::ALL
    }
    fn send<'a>(&'a self, _: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(async { Outcome::Accepted { message_id: None } })
    }
}

fn keys() -> KeyRing {
    KeyRing::new("k1", Key::from_bytes([1; 32]))
}

fn verifier(store: Arc<dyn Store>, shared: bool) -> Verifier {
    let mut application = Application::new(ApplicationName::default(), "sink");
    application.policy.ttl = Duration::from_secs(3600);
    if shared {
        let window = Duration::from_secs(3600);
        application.limits.push(LimitRule { per: Per::Application, of: Of::Sends, quota: 100_000_000, window });
    }
    Verifier::builder()
        .store(store)
        .keys(keys())
        .sender(Arc::new(Sink))
        .application(application)
        .carriers(4096)
        .build()
        .unwrap()
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Numbers of one plan, scattered, so that no tree is filled in order.
fn number() -> String {
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("+25569{:07}", nth.wrapping_mul(6_700_417) % 10_000_000)
}

async fn cycle(verifier: &Verifier, keys: &KeyRing) -> bool {
    let Ok(sending) = verifier.send(SendRequest::to(number())).await else { return false };
    let sent = sending.sent.verification;
    let code = keys.code(&sent.code, sent.binding(), sent.code_length).unwrap();
    let Ok(checked) = verifier.check(CheckRequest::by_id(sent.id, code.reveal())).await else { return false };
    assert_eq!(checked.result, CheckResult::Approved);
    true
}

/// Cycles a second over all of these verifiers, and how many were turned away.
async fn measure(verifiers: &[Verifier], seconds: u64) -> (f64, u64) {
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|nth| {
            let (verifier, keys) = (verifiers[nth as usize % verifiers.len()].clone(), keys());
            tokio::spawn(async move {
                let (mut cycles, mut refused) = (0_u64, 0_u64);
                while Instant::now() < until {
                    if cycle(&verifier, &keys).await { cycles += 1 } else { refused += 1 }
                }
                (cycles, refused)
            })
        })
        .collect();
    let (mut cycles, mut refused) = (0, 0);
    for task in tasks {
        let (done, turned_away) = task.await.unwrap();
        cycles += done;
        refused += turned_away;
    }
    (cycles as f64 / started.elapsed().as_secs_f64(), refused)
}

async fn fill(verifier: &Verifier, live: u64) {
    let tasks: Vec<_> = (0..512)
        .map(|_| {
            let verifier = verifier.clone();
            tokio::spawn(async move {
                for _ in 0..live / 512 {
                    // Turned away at worst.
                    let _ = verifier.send(SendRequest::to(number())).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// pgbench's TPC-B-like transactions a second, with as many clients.
fn pgbench(server: &Server, seconds: u64) -> f64 {
    let run = |arguments: &[&str]| {
        let mut command = server.program("pgbench");
        let output = command.args(["-h"]).arg(&server.dir).args(["-p", &server.port.to_string(), "-U", "postgres"]);
        let output = output.args(arguments).arg("postgres").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let exists = server.psql("SELECT to_regclass('public.pgbench_accounts') IS NOT NULL");
    if exists != "t" {
        run(&["-i", "-q", "-s", "64"]);
    }
    let said = run(&["-c", &CLIENTS.to_string(), "-j", "2", "-M", "prepared", "-T", &seconds.to_string()]);
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("{said}"))
}

fn open(server: &Server, schema: &str, writers: usize) -> Arc<dyn Store> {
    let options = Options { schema: schema.to_owned(), writers, ..Options::default() };
    Arc::new(PostgresStore::open(Target::parse(&server.url()).unwrap(), options).unwrap())
}

fn main() {
    let numbers: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let most = numbers.first().copied().unwrap_or(100_000);
    let seconds = numbers.get(1).copied().unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server =
        Server::start(&["synchronous_commit = on", "fsync = on", "shared_buffers = 512MB", "max_wal_size = 4GB"])
            .expect("a PostgreSQL server");
    let version = server.psql("SHOW server_version");
    println!("PostgreSQL {version}, synchronous_commit = on, {CLIENTS} clients, {seconds} s each");

    let folder = std::env::temp_dir().join(format!("countersign-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let sqlite = Arc::new(SqliteStore::open(&folder.join("bench.db"), sqlite::Options::default()).unwrap());
    let (on_sqlite, _) = runtime.block_on(measure(&[verifier(sqlite, false)], seconds));
    std::fs::remove_dir_all(&folder).unwrap();
    println!("sqlite                          {on_sqlite:>8.0} cycles/s");

    let mut tpcb = pgbench(&server, seconds);
    println!("pgbench tpcb-like, prepared     {tpcb:>8.0} transactions/s");
    let mut best = 0_f64;
    for writers in [1, 2, 3] {
        let schema = format!("writers_{writers}");
        let (rate, refused) = runtime.block_on(measure(&[verifier(open(&server, &schema, writers), false)], seconds));
        best = best.max(rate);
        println!(
            "postgres, {writers} writer(s)            {rate:>8.0} cycles/s, {:.2}x pgbench, {:.2}x sqlite, {refused} refused",
            rate / tpcb,
            rate / on_sqlite
        );
    }
    tpcb = tpcb.midpoint(pgbench(&server, seconds));
    println!("pgbench, mean of before and after {tpcb:>6.0} transactions/s: best is {:.2}x", best / tpcb);

    for shared in [false, true] {
        for stores in 1..=3 {
            let schema = format!("stores_{stores}_{shared}");
            let verifiers: Vec<_> = (0..stores).map(|_| verifier(open(&server, &schema, 2), shared)).collect();
            let (rate, refused) = runtime.block_on(measure(&verifiers, seconds));
            let what = if shared { "one limit shared by all" } else { "no shared limit" };
            println!("{stores} store(s), {what:<24} {rate:>8.0} cycles/s, {refused} refused");
        }
    }

    let one = verifier(open(&server, "rows", 2), false);
    let mut first = 0.0;
    let mut filled = 0;
    for live in [10_000, 100_000, 1_000_000, 10_000_000].into_iter().filter(|live| *live <= most) {
        runtime.block_on(fill(&one, live - filled));
        filled = live;
        let (rate, refused) = runtime.block_on(measure(std::slice::from_ref(&one), seconds));
        if first == 0.0 {
            first = rate;
        }
        let rows = server.psql("SELECT count(*) FROM rows.verification");
        println!(
            "{rows:>9} rows                 {rate:>8.0} cycles/s, {:.2}x of the smallest, {refused} refused",
            rate / first
        );
    }
}
