//! How many messages a second one process carries to a loopback gateway, from the send to the provider's word, every step durable
//! (SQLite, `synchronous=FULL`); and what it holds in memory when the gateway stalls.
//!
//! `cargo bench -p countersign-server --bench carry -- [--messages 20000] [--senders 64] [--stall SECONDS] [--live 50000] [--floor 2000]`
//! The gateway is a process of its own. Without `--stall` it answers at once. With it, it hangs while `--live` messages are sent and for
//! so many seconds; then it answers, and the queue drains. With `--floor` it fails below so many a second.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a benchmark")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign::core::code::{Key, KeyRing};
use countersign::core::id::ApplicationName;
use countersign::core::policy::Application;
use countersign::{Cleanup, Observation, Observer, SendRequest, Verifier};
use countersign_providers::{ProviderConfig, build};
use countersign_store::sqlite::{Options, SqliteStore};
use tokio::net::TcpListener;

#[path = "../../../providers/benches/support/gateway.rs"]
mod gateway;

use gateway::{serve, value};

fn main() {
    if std::env::args().any(|argument| argument == "--gateway") {
        return be_the_gateway();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (senders, floor, stall) = (value("--senders", 64), value("--floor", 0), value("--stall", 0));
    let rate = if stall > 0 {
        runtime.block_on(stalled(value("--live", 50_000), senders, Duration::from_secs(stall as u64)))
    } else {
        runtime.block_on(at_full_speed(value("--messages", 20_000), senders))
    };
    assert!(rate >= floor as f64, "{rate:.0}/s, less than {floor}/s");
}

/// What became of the messages that were handed over.
#[derive(Default)]
struct Seen {
    accepted: AtomicUsize,
    unknown: AtomicUsize,
    rejected: AtomicUsize,
}

impl Observer for Seen {
    fn observe(&self, observation: Observation<'_>) {
        if let Observation::Carried { outcome, .. } = observation {
            let count = match outcome {
                "accepted" => &self.accepted,
                "unknown" => &self.unknown,
                _ => &self.rejected,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Seen {
    fn all(&self) -> usize {
        [&self.accepted, &self.unknown, &self.rejected].iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    async fn wait_for(&self, messages: usize) {
        let begun = Instant::now();
        while self.all() < messages {
            assert!(begun.elapsed() < Duration::from_secs(200), "{} of {messages} were carried", self.all());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// A verifier as it is served, its gateway, and a folder.
struct House {
    verifier: Verifier,
    seen: Arc<Seen>,
    gateway: Child,
    folder: std::path::PathBuf,
}

impl House {
    fn new(hangs: bool) -> Self {
        let mut gateway = Command::new(std::env::current_exe().unwrap())
            .args(["--gateway", if hangs { "hangs" } else { "answers" }])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        BufReader::new(gateway.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        let config = ProviderConfig::new("gateway", "webhook")
            .with("url", url.trim())
            .with("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let folder = std::env::temp_dir().join(format!("countersign-carry-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut application = Application::new(ApplicationName::default(), "gateway");
        application.policy.ttl = Duration::from_secs(600);
        application.limits.clear();
        let seen = Arc::new(Seen::default());
        let verifier = Verifier::builder()
            .store(Arc::new(SqliteStore::open(&folder.join("carry.db"), Options::default()).unwrap()))
            .keys(KeyRing::new("k1", Key::from_bytes([1; 32])))
            .sender(build(&config).unwrap())
            .observer(seen.clone())
            .application(application)
            .build()
            .unwrap();
        Self { verifier, seen, gateway, folder }
    }

    /// Sends to so many new numbers; each is answered when it is durable.
    async fn send(&self, from: usize, until: usize, senders: usize) {
        let next = Arc::new(AtomicUsize::new(from));
        let tasks: Vec<_> = (0..senders)
            .map(|_| {
                let (verifier, next) = (self.verifier.clone(), Arc::clone(&next));
                tokio::spawn(async move {
                    loop {
                        let nth = next.fetch_add(1, Ordering::Relaxed);
                        if nth >= until {
                            return;
                        }
                        // Scattered over the plan, so that no tree is filled in order.
                        let number = (nth as u64 * 7_368_787) % 9_000_000;
                        verifier.send(SendRequest::to(format!("+25569{:07}", number + 1_000_000))).await.unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }

    async fn end(mut self) {
        self.verifier.shut_down(Duration::from_secs(20)).await.unwrap();
        drop(self.gateway.stdin.take());
        self.gateway.wait().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

async fn at_full_speed(messages: usize, senders: usize) -> f64 {
    let house = House::new(false);
    let upkeep = house.verifier.start_upkeep(Cleanup::default());
    let begun = Instant::now();
    house.send(0, messages, senders).await;
    let sent = begun.elapsed();
    house.seen.wait_for(messages).await;
    let took = begun.elapsed();
    let rate = messages as f64 / took.as_secs_f64();
    println!(
        "{messages} messages from {senders} senders: sent in {sent:.2?}, accepted by the gateway in {took:.2?}: {rate:.0} messages/s; resident {} MiB",
        resident()
    );
    assert_eq!(house.seen.accepted.load(Ordering::Relaxed), messages, "each is accepted, and carried once");
    upkeep.stop().await;
    house.end().await;
    rate
}

async fn stalled(messages: usize, senders: usize, stall: Duration) -> f64 {
    let mut house = House::new(true);
    let upkeep = house.verifier.start_upkeep(Cleanup::default());
    println!("before: resident {} MiB", resident());
    let begun = Instant::now();
    let tenth = messages / 10;
    house.send(0, tenth, senders).await;
    println!(
        "{tenth} sent while the gateway hangs: resident {} MiB, {} carrying",
        resident(),
        house.verifier.carrying()
    );
    house.send(tenth, messages, senders).await;
    let queued = begun.elapsed();
    println!(
        "{} sent in {queued:.2?} while the gateway hangs: resident {} MiB, {} carrying",
        messages,
        resident(),
        house.verifier.carrying()
    );
    tokio::time::sleep(stall).await;
    let given_up = house.seen.all();
    println!("{} s later: resident {} MiB, {given_up} without an answer in time", stall.as_secs(), resident());
    house.gateway.stdin.as_mut().unwrap().write_all(b"answer\n").unwrap();
    let answers = Instant::now();
    house.seen.wait_for(messages).await;
    let rate = (messages - given_up) as f64 / answers.elapsed().as_secs_f64();
    println!(
        "then it answers: the queue is empty after {:.2?}, {rate:.0} messages/s, resident {} MiB; {} accepted, {} unknown, {} rejected",
        answers.elapsed(),
        resident(),
        house.seen.accepted.load(Ordering::Relaxed),
        house.seen.unknown.load(Ordering::Relaxed),
        house.seen.rejected.load(Ordering::Relaxed),
    );
    assert_eq!(house.seen.rejected.load(Ordering::Relaxed), 0);
    upkeep.stop().await;
    house.end().await;
    rate
}

/// Resident memory of this process in MiB.
fn resident() -> u64 {
    let mut text = String::new();
    std::fs::File::open("/proc/self/status").and_then(|mut file| file.read_to_string(&mut text)).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
}

/// Takes everything; hangs until a line comes on its input, if it is to. Ends with its input.
fn be_the_gateway() {
    let answers = Arc::new(AtomicBool::new(std::env::args().any(|argument| argument == "answers")));
    let told = Arc::clone(&answers);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            told.store(line.is_ok(), Ordering::Relaxed);
        }
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}/messages", listener.local_addr().unwrap());
        while let Ok((stream, _)) = listener.accept().await {
            let answers = Arc::clone(&answers);
            tokio::spawn(async move { serve(stream, r#"{"id":"m-1"}"#, || !answers.load(Ordering::Relaxed)).await });
        }
    });
}
