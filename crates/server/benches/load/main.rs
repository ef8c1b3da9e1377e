//! The whole over loopback HTTP, beside a bare axum server in the same run.
//!
//! A cycle is: send a code, take its delivery at an HTTP sink, offer the right code. Ours makes send and check durable before each
//! answer (SQLite, `synchronous=FULL`) and signs a token; the bare one keeps a map in memory and does nothing else. Each server runs
//! on one core, the load and the sink on another, over 64 connections. Ratios are what counts: machines differ. Between the two stands
//! the floor: the bare one with the signature and the fewest durable writes that keep the promises, and nothing else.
//!
//! `cargo bench -p countersign-server --bench load -- [--seconds 5] [--rounds 3] [--live 1000,1000000] [--floor 0.4]`
//! `COUNTERSIGN_BENCH_MEMORY=1` gives ours a store in memory, to see what the disk costs.
//! With `--floor` it fails if ours reaches less of the bare server's cycles. `--profile` runs ours alone for long, for a profiler.
//! `--count 2000 --role ours` does exactly so many cycles with one server and ends: what the machine does besides does not show in
//! counts of instructions or system calls. `--under "valgrind --tool=callgrind --callgrind-out-file=f"` runs the server under a tool;
//! two runs with different counts, and the difference is the cycles alone.
//! `--dialects` compares the doors of ours with each other in place of all that; `--dialect simple` is the door of a count.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a benchmark")]

mod bare;
mod client;
mod floor;
mod ours;
mod sink;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use client::{Dialect, Until};

/// A server under load: another process, pinned to the first core.
struct Server {
    process: Child,
    address: String,
    key: String,
    basic: Option<String>,
}

impl Server {
    fn start(role: &str, sink: &str, live: u64) -> Self {
        let under = option("--under").unwrap_or_default();
        let mut process = Command::new("taskset")
            .args(["-c", "0"])
            .args(under.split_whitespace())
            .arg(std::env::current_exe().unwrap())
            .env("COUNTERSIGN_BENCH_ROLE", role)
            .env("COUNTERSIGN_BENCH_SINK", sink)
            .env("COUNTERSIGN_BENCH_LIVE", live.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("taskset (util-linux) is needed");
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = lines.next().unwrap().unwrap();
        let key = lines.next().unwrap().unwrap();
        let basic = (role == "ours").then(|| lines.next().unwrap().unwrap());
        Self { process, address, key, basic }
    }

    async fn target(&self, dialect: Dialect) -> client::Target {
        let account = match &self.basic {
            Some(basic) => Some((basic.clone(), client::first_service(&self.address, basic).await)),
            None => None,
        };
        client::Target { address: self.address.clone(), key: self.key.clone(), dialect, account }
    }

    /// CPU time from the kernel's own count (100 ticks a second on Linux).
    fn cpu(&self) -> Duration {
        let fields = self.proc("stat");
        let fields: Vec<&str> = fields.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks = |at: usize| fields[at].parse::<u64>().unwrap();
        Duration::from_millis((ticks(11) + ticks(12)) * 10)
    }

    fn memory_mib(&self) -> u64 {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or("0 0");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.process.id())).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

#[derive(Clone, Copy)]
struct Result {
    per_second: f64,
    cpu_us: f64,
}

async fn measure(server: &Server, sink: &Arc<sink::Sink>, seconds: u64) -> Result {
    measure_as(Dialect::Native, server, sink, seconds).await
}

async fn measure_as(dialect: Dialect, server: &Server, sink: &Arc<sink::Sink>, seconds: u64) -> Result {
    let target = server.target(dialect).await;
    client::drive(&target, sink, Until::Time(Duration::from_secs(1))).await;
    let before = server.cpu();
    let (cycles, took) = client::drive(&target, sink, Until::Time(Duration::from_secs(seconds))).await;
    let cpu = server.cpu() - before;
    Result { per_second: cycles as f64 / took.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / cycles as f64 }
}

fn option(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    arguments.next()
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of[of.len() / 2]
}

fn main() {
    match std::env::var("COUNTERSIGN_BENCH_ROLE").as_deref() {
        Ok("bare") => return bare::run(),
        Ok("floor") => return floor::run(),
        Ok("ours") => return ours::run(),
        _ => {}
    }
    // The load and the sink share the other core.
    let _ = Command::new("taskset").args(["-cp", "1", &std::process::id().to_string()]).stdout(Stdio::null()).status();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let passed = runtime.block_on(compare());
    std::process::exit(i32::from(!passed));
}

async fn compare() -> bool {
    let seconds = option("--seconds").and_then(|text| text.parse().ok()).unwrap_or(5);
    let rounds = option("--rounds").and_then(|text| text.parse().ok()).unwrap_or(3);
    let live: Vec<u64> =
        option("--live").unwrap_or_else(|| "1000".to_owned()).split(',').filter_map(|text| text.parse().ok()).collect();
    let sink = sink::Sink::listen().await;
    if std::env::args().any(|argument| argument == "--profile") {
        let server = Server::start("ours", &sink.address, live[0]);
        println!("profile process {} for {seconds} s", server.process.id());
        report("ours", measure(&server, &sink, seconds).await);
        return true;
    }
    if let Some(count) = option("--count").and_then(|text| text.parse().ok()) {
        let server = Server::start(&option("--role").unwrap_or_else(|| "ours".to_owned()), &sink.address, live[0]);
        let named = option("--dialect").unwrap_or_else(|| "native".to_owned());
        let dialect = Dialect::ALL.into_iter().find(|dialect| dialect.name() == named).expect("a dialect");
        let target = server.target(dialect).await;
        let before = server.cpu();
        let (cycles, _) = client::drive(&target, &sink, Until::Count(count)).await;
        println!("{cycles} cycles, {:.1} us CPU/cycle", (server.cpu() - before).as_secs_f64() * 1e6 / cycles as f64);
        return true;
    }
    if std::env::args().any(|argument| argument == "--dialects") {
        return compare_dialects(&sink, seconds, rounds, live[0]).await;
    }
    let (mut ratios, mut floors) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let bare = measure(&Server::start("bare", &sink.address, 0), &sink, seconds).await;
        let floor = measure(&Server::start("floor", &sink.address, 0), &sink, seconds).await;
        let server = Server::start("ours", &sink.address, live[0]);
        let idle = server.memory_mib();
        let ours = measure(&server, &sink, seconds).await;
        println!("round {round}");
        report("  bare axum, map in memory", bare);
        report("  floor: the bare one, durable, signed", floor);
        report(&format!("  countersign, {} live", live[0]), ours);
        let percent = |of: Result| (of.per_second / bare.per_second * 100.0, bare.cpu_us / of.cpu_us * 100.0);
        let ((cycles, cpu), (floor_cycles, floor_cpu)) = (percent(ours), percent(floor));
        println!(
            "  cycles {cycles:.1} % (floor {floor_cycles:.1} %), by CPU {cpu:.1} % (floor {floor_cpu:.1} %); memory before the load {idle} MiB"
        );
        ratios.push(cycles / 100.0);
        floors.push(floor_cycles / 100.0);
    }
    let mut costs = Vec::new();
    for more in &live {
        let server = Server::start("ours", &sink.address, *more);
        let result = measure(&server, &sink, seconds).await;
        report(&format!("countersign, {more} live"), result);
        costs.push(result.cpu_us);
    }
    let ratio = median(ratios);
    println!("median: {:.1} % of the bare server's cycles; the floor {:.1} %", ratio * 100.0, median(floors) * 100.0);
    println!(
        "cost per cycle with {} live rows over {}: {:.2}",
        live[live.len() - 1],
        live[0],
        costs[costs.len() - 1] / costs[0]
    );
    option("--floor").and_then(|text| text.parse::<f64>().ok()).is_none_or(|floor| ratio >= floor)
}

/// The doors of ours, each in turn, with a server of its own; the median of each one's CPU time over the native door's in its round.
async fn compare_dialects(sink: &Arc<sink::Sink>, seconds: u64, rounds: u64, live: u64) -> bool {
    let mut ratios = vec![Vec::new(); Dialect::ALL.len()];
    for round in 1..=rounds {
        println!("round {round}");
        let mut native = None;
        for (dialect, ratios) in Dialect::ALL.into_iter().zip(&mut ratios) {
            let server = Server::start("ours", &sink.address, live);
            let result = measure_as(dialect, &server, sink, seconds).await;
            let native = *native.get_or_insert(result.cpu_us);
            report(&format!("  {}", dialect.name()), result);
            ratios.push(result.cpu_us / native);
        }
    }
    for (dialect, ratios) in Dialect::ALL.into_iter().zip(ratios) {
        println!("{:<20} {:>6.1} % of the native door's CPU time for a cycle", dialect.name(), median(ratios) * 100.0);
    }
    true
}

fn report(name: &str, result: Result) {
    println!("{name:<40} {:>8.0} cycles/s {:>8.1} us CPU/cycle", result.per_second, result.cpu_us);
}
