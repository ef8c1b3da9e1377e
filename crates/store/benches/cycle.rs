//! What a whole cycle (send, carry, the right check; each durable before its answer) costs in CPU, by store and by how many live
//! verifications there are. Ratios within one run are what counts: machines differ.
//!
//! `cargo bench -p countersign-store --bench cycle -- [sqlite] [most live rows]`
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "a benchmark")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign::core::channel::Channel;
use countersign::core::check::CheckResult;
use countersign::core::code::{Key, KeyRing};
use countersign::core::id::ApplicationName;
use countersign::core::outcome::{Message, Outcome};
use countersign::core::policy::Application;
use countersign::sender::BoxFuture;
use countersign::{CheckRequest, MemoryStore, SendRequest, Sender, Store, Verifier};
use countersign_store::sqlite::{Options, SqliteStore};

const CLIENTS: u64 = 64;
const SECONDS: u64 = 4;

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

fn verifier(store: Arc<dyn Store>) -> Verifier {
    let mut application = Application::new(ApplicationName::default(), "sink");
    application.policy.ttl = Duration::from_secs(3600);
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

async fn cycle(verifier: &Verifier, keys: &KeyRing) {
    let sent = verifier.send(SendRequest::to(number())).await.unwrap().sent.verification;
    let code = keys.code(&sent.code, sent.binding(), sent.code_length).unwrap();
    let checked = verifier.check(CheckRequest::by_id(sent.id, code.reveal())).await.unwrap();
    assert_eq!(checked.result, CheckResult::Approved);
}

/// Fills up to so many live verifications.
async fn fill(verifier: &Verifier, live: u64) {
    let mut tasks = Vec::new();
    for _ in 0..256 {
        let verifier = verifier.clone();
        tasks.push(tokio::spawn(async move {
            for _ in 0..live / 256 {
                verifier.send(SendRequest::to(number())).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

async fn measure(name: &str, verifier: Verifier) -> f64 {
    let (started, before) = (Instant::now(), cpu());
    let until = started + Duration::from_secs(SECONDS);
    let tasks: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let (verifier, keys) = (verifier.clone(), keys());
            tokio::spawn(async move {
                let mut cycles = 0_u64;
                while Instant::now() < until {
                    cycle(&verifier, &keys).await;
                    cycles += 1;
                }
                cycles
            })
        })
        .collect();
    let mut cycles = 0;
    for task in tasks {
        cycles += task.await.unwrap();
    }
    let (spent, took) = (cpu() - before, started.elapsed());
    let each = spent.as_secs_f64() * 1e6 / cycles as f64;
    println!("{name:<28} {:>9.0} cycles/s {each:>8.1} us CPU/cycle", cycles as f64 / took.as_secs_f64());
    each
}

/// CPU time of this process, from the kernel's own count (100 ticks a second on Linux).
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}

fn main() {
    let most: u64 = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    if !std::env::args().any(|argument| argument == "sqlite") {
        runtime.block_on(measure("memory", verifier(Arc::new(MemoryStore::default()))));
    }
    let folder = std::env::temp_dir().join(format!("countersign-cycle-{}", std::process::id()));
    let mut costs = Vec::new();
    for live in [1_000, 10_000, 100_000, 1_000_000].into_iter().filter(|live| *live <= most) {
        std::fs::create_dir_all(&folder).unwrap();
        let store = Arc::new(SqliteStore::open(&folder.join("bench.db"), Options::default()).unwrap());
        let verifier = verifier(store);
        runtime.block_on(fill(&verifier, live));
        costs.push(runtime.block_on(measure(&format!("sqlite, {live} live"), verifier.clone())));
        runtime.block_on(verifier.shut_down(Duration::from_secs(30))).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
    }
    if let (Some(first), Some(last)) = (costs.first(), costs.last()) {
        println!("cost with the most live rows, over the fewest: {:.2}", last / first);
    }
}
