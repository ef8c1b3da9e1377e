//! Whole cycles (send, carry, the right check; each durable before its answer) on a throw-away PostgreSQL, beside SQLite and beside
//! pgbench's own TPC-B-like rate on the same server, in one run, both through the server's socket. Everything shares one machine, so
//! only ratios count.
//!
//! `cargo bench -p countersign-store --bench postgres -- [speed] [stores] [processes] [rows] [cleanup] [seconds=5] [clients=64] [most=1000000]`
//!
//! With `COUNTERSIGN_BENCH_DATA=<folder>` the server and its rows are kept there: `load most=10000000` fills it once, `rows` measures.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a benchmark"
)]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use countersign::core::channel::Channel;
use countersign::core::check::CheckResult;
use countersign::core::code::{Key, KeyRing};
use countersign::core::id::ApplicationName;
use countersign::core::limit::{LimitRule, Of, Per};
use countersign::core::outcome::{Message, Outcome};
use countersign::core::policy::Application;
use countersign::core::time::Timestamp;
use countersign::sender::BoxFuture;
use countersign::{CheckRequest, Cleanup, SendRequest, Sender, Store, Verifier};
use countersign_store::postgres::{Options, PostgresStore, Target};
use countersign_store::sqlite::{self, SqliteStore};

#[path = "../tests/support/postgres.rs"]
mod support;

use support::Server;

/// How many ask at once, if nothing else is said; `speed` asks with [`MANY`] too, as much of pgbench as of ours.
const CLIENTS: u64 = 64;
const MANY: u64 = 256;

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

/// How long its check took.
async fn cycle(verifier: &Verifier, keys: &KeyRing) -> Option<Duration> {
    let sending = verifier.send(SendRequest::to(number())).await.ok()?;
    let sent = sending.sent.verification;
    let code = keys.code(&sent.code, sent.binding(), sent.code_length).unwrap();
    let asked = Instant::now();
    let checked = verifier.check(CheckRequest::by_id(sent.id, code.reveal())).await.ok()?;
    assert_eq!(checked.result, CheckResult::Approved);
    Some(asked.elapsed())
}

/// Cycles a second over all of these verifiers, and how many were turned away.
async fn measure(verifiers: &[Verifier], clients: u64, seconds: u64) -> (f64, u64) {
    let started = Instant::now();
    let until = started + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..clients)
        .map(|nth| {
            let (verifier, keys) = (verifiers[nth as usize % verifiers.len()].clone(), keys());
            tokio::spawn(async move {
                let (mut cycles, mut refused) = (0_u64, 0_u64);
                while Instant::now() < until {
                    if cycle(&verifier, &keys).await.is_some() { cycles += 1 } else { refused += 1 }
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

/// pgbench's TPC-B-like transactions a second, with as many clients: statement by statement as it does by itself, or prepared.
#[derive(Clone, Copy)]
struct Tpcb {
    simple: f64,
    prepared: f64,
}

impl Tpcb {
    fn measure(server: &Server, clients: u64, seconds: u64) -> Self {
        let rate = |protocol| pgbench(server, protocol, clients, seconds);
        Self { simple: rate("simple"), prepared: rate("prepared") }
    }

    fn midpoint(self, other: Self) -> Self {
        Self { simple: self.simple.midpoint(other.simple), prepared: self.prepared.midpoint(other.prepared) }
    }

    fn ratios(self, rate: f64) -> String {
        format!("{:.2}x pgbench simple, {:.2}x prepared", rate / self.simple, rate / self.prepared)
    }
}

impl std::fmt::Display for Tpcb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "-M simple {:.0}, -M prepared {:.0} transactions/s", self.simple, self.prepared)
    }
}

fn pgbench(server: &Server, protocol: &str, clients: u64, seconds: u64) -> f64 {
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
    server.psql("CHECKPOINT");
    let said = run(&["-c", &clients.to_string(), "-j", "2", "-M", protocol, "-T", &seconds.to_string()]);
    let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
    rate.unwrap_or_else(|| panic!("{said}"))
}

fn open(url: &str, schema: &str, writers: usize) -> Arc<dyn Store> {
    let options = Options { schema: schema.to_owned(), writers, ..Options::default() };
    Arc::new(PostgresStore::open(Target::parse(url).unwrap(), options).unwrap())
}

fn default_writers() -> usize {
    Options::default().writers
}

/// What is measured, on what.
struct Run {
    server: Server,
    runtime: tokio::runtime::Runtime,
    seconds: u64,
    clients: u64,
    most: u64,
}

impl Run {
    fn measure(&self, verifiers: &[Verifier]) -> (f64, u64) {
        self.runtime.block_on(measure(verifiers, self.clients, self.seconds))
    }

    /// Through the socket, as pgbench does.
    fn open(&self, schema: &str, writers: usize) -> Arc<dyn Store> {
        open(&self.server.socket_url(), schema, writers)
    }

    fn speed(&self) {
        let folder = std::env::temp_dir().join(format!("countersign-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let sqlite = Arc::new(SqliteStore::open(&folder.join("bench.db"), sqlite::Options::default()).unwrap());
        let (on_sqlite, _) = self.measure(&[verifier(sqlite, false)]);
        std::fs::remove_dir_all(&folder).unwrap();
        println!("sqlite, {} clients {on_sqlite:>8.0} cycles/s", self.clients);
        for clients in [self.clients, MANY] {
            self.speed_with(clients);
        }
    }

    /// pgbench before and after, since the machine may change meanwhile.
    fn speed_with(&self, clients: u64) {
        let before = Tpcb::measure(&self.server, clients, self.seconds);
        println!("{clients} clients: pgbench tpcb-like: {before}");
        let sockets = (1..=4).map(|writers| (writers, "", self.server.socket_url()));
        let ways = sockets.chain([(default_writers(), ", TCP", self.server.url())]);
        let rates: Vec<(usize, &str, f64)> = ways
            .map(|(writers, way, url)| {
                let store = open(&url, &format!("writers_{writers}_{clients}_{}", url.len()), writers);
                let verifiers = [verifier(store, false)];
                self.server.psql("CHECKPOINT");
                let (rate, refused) = self.runtime.block_on(measure(&verifiers, clients, self.seconds));
                println!(
                    "{clients} clients: postgres, {writers} writer(s){way} {rate:>8.0} cycles/s, {refused} refused"
                );
                (writers, way, rate)
            })
            .collect();
        let tpcb = before.midpoint(Tpcb::measure(&self.server, clients, self.seconds));
        println!("{clients} clients: pgbench, mean of before and after: {tpcb}");
        for (writers, way, rate) in rates {
            let default = if writers == default_writers() { ", the default" } else { "" };
            println!("{clients} clients: {writers} writer(s){default}{way}: {}", tpcb.ratios(rate));
        }
    }

    fn stores(&self) {
        for shared in [false, true] {
            for stores in 1..=3 {
                let schema = format!("stores_{stores}_{shared}");
                let open = |_| verifier(self.open(&schema, default_writers()), shared);
                let (rate, refused) = self.measure(&(0..stores).map(open).collect::<Vec<_>>());
                let what = if shared { "one limit shared by all" } else { "no shared limit" };
                println!("{stores} store(s), {what:<24} {rate:>8.0} cycles/s, {refused} refused");
            }
        }
    }

    /// One to three processes with 64 clients each; then with commits that take 10 ms more, as those to a far replica do.
    fn processes(&self) {
        for delay in [0, 10_000] {
            self.server.psql(&format!("ALTER SYSTEM SET commit_delay = {delay}"));
            self.server.psql("ALTER SYSTEM SET commit_siblings = 0");
            self.server.psql("SELECT pg_reload_conf()");
            let mut first = 0.0;
            for count in 1..=3 {
                let schema = format!("processes_{count}_{delay}");
                drop(self.open(&schema, 1));
                let start = |_| {
                    let mut child = Command::new(std::env::current_exe().unwrap());
                    child
                        .args(["child", &self.server.socket_url(), &schema, &self.seconds.to_string()])
                        .stdout(Stdio::piped());
                    child.spawn().unwrap()
                };
                let children: Vec<_> = (0..count).map(start).collect();
                let rate: f64 = children
                    .into_iter()
                    .map(|child| String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap())
                    .map(|said| said.trim().parse::<f64>().unwrap())
                    .sum();
                if count == 1 {
                    first = rate;
                }
                println!(
                    "{count} process(es), commit + {delay:>5} us {rate:>8.0} cycles/s, {:.2}x of one",
                    rate / first
                );
            }
        }
        self.server.psql("ALTER SYSTEM RESET commit_delay");
        self.server.psql("SELECT pg_reload_conf()");
    }

    /// Fills schemas of growing size, each as if that many verifications had begun within the last hour.
    fn load(&self) {
        for rows in self.sizes() {
            let schema = format!("rows_{rows}");
            drop(self.open(&schema, 1));
            let took = self.fill(&schema, rows, 3_600_000);
            println!("{rows:>9} rows loaded in {:.0} s", took.as_secs_f64());
        }
    }

    /// Verifications with a delivery and a counter each, that expire so many milliseconds from now. Tables are filled side by side, and
    /// their indexes made afterwards, so that ten million take minutes.
    fn fill(&self, schema: &str, rows: u64, expires_in: i64) -> Duration {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for sql in [verifications(schema, rows, expires_in), deliveries_and_counters(schema, rows)] {
                scope.spawn(move || self.server.psql(&sql));
            }
        });
        self.server.psql(&format!("SELECT setval('{schema}.verification_place', {rows}); CHECKPOINT"));
        began.elapsed()
    }

    fn sizes(&self) -> impl Iterator<Item = u64> + use<> {
        let most = self.most;
        [10_000, 1_000_000, 10_000_000].into_iter().filter(move |rows| *rows <= most)
    }

    /// Each size twice, in turn, so that what else the machine does falls on all of them.
    fn rows(&self) {
        let sizes: Vec<u64> = self.sizes().collect();
        let verifiers: Vec<_> =
            sizes.iter().map(|rows| verifier(self.open(&format!("rows_{rows}"), default_writers()), false)).collect();
        let mut rates = vec![0.0; sizes.len()];
        for _ in 0..2 {
            for (verifier, rate) in verifiers.iter().zip(&mut rates) {
                *rate += self.measure(std::slice::from_ref(verifier)).0 / 2.0;
            }
        }
        println!(
            "| verifications | cycles/s, of the smallest | table: rows, indexes | expired ones deleted a second |"
        );
        println!("|---|---|---|---|");
        for ((rows, rate), verifier) in sizes.iter().zip(&rates).zip(&verifiers) {
            let sizes = self.server.psql(&format!(
                "SELECT string_agg(relname || ': ' || pg_size_pretty(pg_table_size(oid)) || ', ' || pg_size_pretty(pg_indexes_size(oid)), \
                 '; ' ORDER BY pg_table_size(oid) DESC) FROM pg_class WHERE relnamespace = 'rows_{rows}'::regnamespace AND relkind = 'r' \
                 AND relname IN ('verification', 'delivery', 'limit_state', 'event', 'event_batch')"
            ));
            let deleted = self.runtime.block_on(deleting(&**verifier.store(), Duration::from_secs(self.seconds)));
            println!("| {rows} | {rate:.0} ({:.2}) | {sizes} | {deleted:.0} |", rate / rates[0]);
        }
    }

    /// Checks in quiet, and while a million expired rows are deleted as the configuration has it.
    fn cleanup(&self) {
        let store = self.open("cleanup", default_writers());
        self.fill("cleanup", 1_000_000, -90_000_000);
        let verifier = verifier(store, false);
        let quiet = self.runtime.block_on(checks(&verifier, self.seconds));
        let stop = Arc::new(AtomicBool::new(false));
        let cleaner = {
            let (verifier, stop) = (verifier.clone(), Arc::clone(&stop));
            let goes_on = move |_| !stop.load(Ordering::Relaxed);
            self.runtime.spawn(async move { verifier.clean_up(Cleanup::default(), false, goes_on).await.unwrap() })
        };
        let cleaning = self.runtime.block_on(checks(&verifier, self.seconds * 2));
        stop.store(true, Ordering::Relaxed);
        let cleaned = self.runtime.block_on(cleaner).unwrap();
        let of = |took: &[Duration], percent: usize| took[took.len() * percent / 100].as_secs_f64() * 1e3;
        println!(
            "checks: p50 {:.1} ms, p99 {:.1} ms in quiet; p50 {:.1} ms, p99 {:.1} ms while {} of 1000000 expired rows are deleted: p99 {:.2}x",
            of(&quiet, 50),
            of(&quiet, 99),
            of(&cleaning, 50),
            of(&cleaning, 99),
            cleaned.verifications,
            of(&cleaning, 99) / of(&quiet, 99)
        );
    }
}

/// How long checks take that come at a rate which leaves the server room: 16 clients with pauses. Shortest first.
async fn checks(verifier: &Verifier, seconds: u64) -> Vec<Duration> {
    let until = Instant::now() + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let (verifier, keys) = (verifier.clone(), keys());
            tokio::spawn(async move {
                let mut took = Vec::new();
                while Instant::now() < until {
                    took.extend(cycle(&verifier, &keys).await);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                took
            })
        })
        .collect();
    let mut took = Vec::new();
    for task in tasks {
        took.extend(task.await.unwrap());
    }
    took.sort_unstable();
    took
}

/// Verifications a second that the cleanup deletes, each with its delivery and its counters, in its batches but without their pauses. What it deletes is
/// what was loaded: all of it has expired by then.
async fn deleting(store: &dyn Store, within: Duration) -> f64 {
    let (began, mut deleted) = (Instant::now(), 0);
    let later = Timestamp::from_millis(i64::MAX / 2_000);
    while began.elapsed() < within {
        let cleaned = store.cleanup(later, later, Cleanup::default().batch, false).await.unwrap();
        deleted += cleaned.verifications;
        if cleaned.verifications == 0 {
            break;
        }
    }
    deleted as f64 / began.elapsed().as_secs_f64()
}

/// Takes the indexes off a table, runs a statement that fills it, and makes them again.
fn filled(schema: &str, table: &str, statement: &str) -> String {
    format!(
        "SET search_path = {schema}; SET maintenance_work_mem = '512MB'; SET synchronous_commit = off;
         CREATE TEMP TABLE made_{table} AS SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = '{schema}' AND tablename = '{table}'
             AND indexname NOT LIKE '%_pkey';
         DO $$ DECLARE one record; BEGIN FOR one IN SELECT indexname FROM made_{table} LOOP EXECUTE 'DROP INDEX ' || one.indexname; END LOOP; END $$;
         {statement};
         DO $$ DECLARE one record; BEGIN FOR one IN SELECT indexdef FROM made_{table} LOOP EXECUTE one.indexdef; END LOOP; END $$;
         DROP TABLE made_{table}; ANALYZE {table};"
    )
}

fn verifications(schema: &str, rows: u64, expires_in: i64) -> String {
    let insert = format!(
        "INSERT INTO verification (place, generation, id, application, service, destination, country, purpose, keyless, channel, status,
             created_at, expires_at, code_length, key_id, sends, max_sends, resend_at, wrong_by_id, wrong_by_destination, max_checks)
         SELECT n, 1, decode(md5('{schema}' || n), 'hex'), 'default', '', '+2557' || lpad((n * 6700417 % 100000000)::text, 8, '0'),
             'TZ', 'login', false, 'sms', 'pending', now_ms, now_ms + {expires_in} - n % 1000000, 6, 'k1', 1, 5, now_ms, 0, 0, 5
         FROM generate_series(1, {rows}::bigint) n, (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now_ms) t"
    );
    filled(schema, "verification", &insert)
}

fn deliveries_and_counters(schema: &str, rows: u64) -> String {
    let deliveries = format!(
        "INSERT INTO delivery (verification, number, id, send, channel, provider, status, queued_at, at, message_id, due_at, lease_until, claims)
         SELECT n, 1, decode(lpad(to_hex(n), 32, '0'), 'hex'), 1, 'sms', 'sink', 'accepted', now_ms, now_ms, 'm' || n, now_ms, now_ms, 1
         FROM generate_series(1, {rows}::bigint) n, (SELECT (extract(epoch FROM now()) * 1000)::bigint AS now_ms) t"
    );
    let counters = format!(
        "INSERT INTO limit_state (key, tat) SELECT 'default sends destination ' || lpad(n::text, 9, '0'), 1 FROM generate_series(1, {rows}::bigint) n"
    );
    filled(schema, "delivery", &deliveries) + &filled(schema, "limit_state", &counters)
}

/// Cycles in a process of its own.
fn child(url: &str, schema: &str, seconds: u64, writers: usize, clients: u64) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // Numbers of its own.
    NEXT.store(u64::from(std::process::id()) * 1_000_003, Ordering::Relaxed);
    let store = open(url, schema, writers);
    println!("{}", runtime.block_on(measure(&[verifier(store, false)], clients, seconds)).0);
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [first, url, schema, seconds, more @ ..] = words.as_slice()
        && first == "child"
    {
        let writers = more.first().map_or_else(default_writers, |writers| writers.parse().unwrap());
        let clients = more.get(1).map_or(CLIENTS, |clients| clients.parse().unwrap());
        return child(url, schema, seconds.parse().unwrap(), writers, clients);
    }
    let number = |name: &str| words.iter().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok());
    let (seconds, most) = (number("seconds").unwrap_or(5), number("most").unwrap_or(1_000_000));
    let clients = number("clients").unwrap_or(CLIENTS);
    let settings = [
        "synchronous_commit = on",
        "fsync = on",
        "shared_buffers = 512MB",
        "max_wal_size = 4GB",
        "max_connections = 300",
    ];
    let server = match std::env::var_os("COUNTERSIGN_BENCH_DATA") {
        Some(folder) => Server::kept(folder.as_ref(), &settings),
        None => Server::start(&settings),
    };
    let server = server.expect("a PostgreSQL server");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let version = server.psql("SHOW server_version");
    println!("PostgreSQL {version}, synchronous_commit = on, {clients} clients, {seconds} s each");
    let run = Run { server, runtime, seconds, clients, most };
    let is_kept = std::env::var_os("COUNTERSIGN_BENCH_DATA").is_some();
    let parts = ["speed", "stores", "processes", "load", "rows", "cleanup"];
    let asked = |part: &str| words.iter().any(|word| word == part);
    let all = !parts.iter().any(|part| asked(part));
    for part in parts.into_iter().filter(|part| all || asked(part)) {
        match part {
            "speed" => run.speed(),
            "stores" => run.stores(),
            "processes" => run.processes(),
            "load" => run.load(),
            "rows" => {
                if !all && !is_kept && !asked("load") {
                    run.load();
                }
                run.rows();
            }
            _ => run.cleanup(),
        }
    }
}
