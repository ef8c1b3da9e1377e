//! What those who run PostgreSQL do with it: they fail over, change tables, put a pooler in front, ask, and tune.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use countersign::contract::{Bench, wrong};
use countersign::core::check::CheckResult;
use countersign::core::verification::Status;
use countersign::store::Store;
use countersign_store::postgres::{Options, PostgresStore, Target};
use support::Server;

fn open(url: &str) -> Arc<dyn Store> {
    let options = Options { schema: "otp".to_owned(), ..Options::default() };
    Arc::new(PostgresStore::open(Target::parse(url).unwrap(), options).unwrap())
}

fn start(settings: &[&str]) -> Server {
    Server::start(settings).unwrap_or_else(|why| panic!("this test of the PostgreSQL store did NOT run: {why}"))
}

async fn back(bench: &Bench) {
    let started = Instant::now();
    while bench.verifier.store().ping().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(15), "the store did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A primary and a replica without which nothing is committed.
fn pair() -> (Server, Server) {
    let primary = start(&[]);
    let replica = primary.replica().unwrap();
    primary.psql("ALTER SYSTEM SET synchronous_standby_names = '*'");
    primary.psql("SELECT pg_reload_conf()");
    support::until("the replica is synchronous", || {
        primary.psql("SELECT sync_state FROM pg_stat_replication") == "sync"
    });
    (primary, replica)
}

/// Whole cycles until told to stop; how many went through.
fn traffic(bench: &Bench, first: u32) -> (Arc<AtomicBool>, Arc<AtomicU32>, tokio::task::JoinHandle<()>) {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let (sees, counts, verifier) = (Arc::clone(&stop), Arc::clone(&done), bench.verifier.clone());
    let task = tokio::spawn(async move {
        for nth in first.. {
            if sees.load(Ordering::SeqCst) {
                return;
            }
            let request = countersign::SendRequest::to(format!("+25569424{nth:04}"));
            match verifier.send(request).await {
                Ok(_) => drop(counts.fetch_add(1, Ordering::SeqCst)),
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    });
    (stop, done, task)
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_goes_on_by_itself_on_a_replica_that_is_promoted_and_no_guess_is_given_back() {
    let (primary, replica) = pair();
    let bench = Bench::new(open(&primary.url_with(&replica)));
    let (id, code) = bench.send("+255694230173").await;
    let (used, its_code) = bench.send("+255694230174").await;
    for nth in 0..3 {
        assert_eq!(bench.check(id, &wrong(&code, nth)).await.unwrap(), CheckResult::Incorrect);
    }
    assert_eq!(bench.check(used, &its_code).await.unwrap(), CheckResult::Approved);
    let (stop, done, task) = traffic(&bench, 0);
    support::until("there is traffic", || done.load(Ordering::SeqCst) > 20);

    primary.crash();
    replica.control(&["-w", "promote"]).unwrap();
    back(&bench).await;
    let before = done.load(Ordering::SeqCst);
    let started = Instant::now();
    while done.load(Ordering::SeqCst) < before + 20 {
        assert!(started.elapsed() < Duration::from_secs(15), "traffic did not go on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // What was the primary comes back as a replica, and stands first in the URL.
    let signal = primary.dir.join("data/standby.signal");
    assert!(support::as_postgres(Path::new("touch")).arg(signal).status().unwrap().success());
    primary.start_again();
    assert_eq!(primary.psql("SELECT pg_is_in_recovery()"), "t");
    let newcomer = Bench::new(open(&primary.url_with(&replica)));
    newcomer.send("+255694230175").await;

    stop.store(true, Ordering::SeqCst);
    task.await.unwrap();
    let (row, _) = bench.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
    assert_eq!((row.wrong_by_id, row.status), (3, Status::Pending));
    assert_eq!(bench.check(used, &its_code).await.unwrap(), CheckResult::AlreadyUsed);
    assert_eq!(bench.check(id, &wrong(&code, 3)).await.unwrap(), CheckResult::Incorrect);
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    let rows = replica.psql("SELECT count(*) FROM otp.verification");
    assert!(rows.parse::<u32>().unwrap() >= done.load(Ordering::SeqCst), "nothing acknowledged was lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_is_demoted_under_live_sessions_is_left_for_the_promoted_one() {
    let (primary, replica) = pair();
    let bench = Bench::new(open(&primary.url_with(&replica)));
    let (id, code) = bench.send("+255694230173").await;
    assert_eq!(bench.check(id, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    // It goes on answering, and its sessions stay open, but it takes no writes.
    primary.psql("ALTER SYSTEM SET default_transaction_read_only = on");
    primary.psql("SELECT pg_reload_conf()");
    support::until("the setting is in force", || primary.psql("SHOW default_transaction_read_only") == "on");
    replica.control(&["-w", "promote"]).unwrap();
    let started = Instant::now();
    let result = loop {
        match bench.check(id, &code).await {
            Ok(result) => break result,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        assert!(started.elapsed() < Duration::from_secs(15), "it stuck to the old primary");
    };
    assert_eq!(result, CheckResult::Approved);
    assert_eq!(replica.psql("SELECT status, wrong_by_id FROM otp.verification"), "approved|1");
    assert_eq!(primary.psql("SELECT status, wrong_by_id FROM otp.verification"), "pending|1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_the_server_planned_for_other_tables_is_planned_again() {
    let server = start(&[]);
    let bench = Bench::new(open(&server.url()));
    let (id, code) = bench.send("+255694230173").await;
    // The server refuses to run what it keeps once its rows would come in another shape.
    for shape in ["varchar(200)", "text", "varchar(300)"] {
        server.psql(&format!("ALTER TABLE otp.verification ALTER COLUMN locale TYPE {shape}"));
        let wrong_code = wrong(&code, 0);
        assert_eq!(bench.check(id, &wrong_code).await.unwrap(), CheckResult::Incorrect);
    }
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    assert_eq!(server.psql("SELECT wrong_by_id FROM otp.verification"), "3", "each was counted once");
}

/// The statements of the page that DBAs read, as they stand there.
fn of_the_page() -> Vec<String> {
    let page = include_str!("../../../docs/postgresql.md");
    let blocks = page.split("```sql\n").skip(1).map(|block| block.split("```").next().unwrap());
    let statements = blocks.flat_map(|block| block.split(";\n")).map(|statement| {
        let lines = statement.lines().filter(|line| !line.trim_start().starts_with("--"));
        lines.collect::<Vec<_>>().join("\n").replace("countersign.", "otp.").trim().to_owned()
    });
    statements.filter(|statement| !statement.is_empty()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_page_for_dbas_says_runs_against_the_schema() {
    let server = start(&[]);
    let bench = Bench::new(open(&server.url()));
    let (approved, code) = bench.send("+255694230173").await;
    bench.check(approved, &code).await.unwrap();
    bench.send("+255694230174").await;
    bench.send("+447400123456").await;
    bench.verifier.shut_down(Duration::from_secs(5)).await.unwrap();
    // The bench has a clock of its own: its rows are moved to now.
    server.psql(
        "WITH moved AS (SELECT (extract(epoch FROM now()) * 1000)::bigint - min(created_at) AS by FROM otp.verification) \
         UPDATE otp.verification SET created_at = created_at + by, expires_at = expires_at + by FROM moved",
    );
    server.psql("UPDATE otp.delivery SET queued_at = (extract(epoch FROM now()) * 1000)::bigint");
    let statements = of_the_page();
    let asked = |begins: &str| -> Vec<&String> { statements.iter().filter(|one| one.starts_with(begins)).collect() };
    // Those for tables of the other layouts, which are not there, read one column that holds all of a state.
    let of_this_layout =
        |statement: &&String| !statement.contains("state::json") && !statement.contains("countersign_");
    let answers: Vec<_> = asked("SELECT").into_iter().filter(of_this_layout).map(|one| server.psql(one)).collect();
    let answer = |holds: &str| answers.iter().any(|answer| answer.lines().any(|line| line == holds));
    assert!(answers.iter().any(|answer| answer.ends_with("|sms|2")), "the living: {answers:?}");
    assert!(answer("TZ|2|50.0"), "conversion by country: {answers:?}");
    assert!(answer("GB|1|0.0"), "conversion by country: {answers:?}");
    assert!(answers.iter().any(|answer| answer.contains("|sms|3|0.0|33.3")), "by provider: {answers:?}");
    assert!(answer("0|"), "nothing waits in the outbox: {answers:?}");
    assert_eq!(answers.len(), 4, "{answers:?}");
    let settings = asked("ALTER TABLE");
    assert_eq!(settings.len(), 4, "{statements:?}");
    for statement in settings {
        server.psql(statement);
    }
    let set = server.psql("SELECT count(DISTINCT relname) FROM pg_class WHERE reloptions::text LIKE '%autovacuum%'");
    assert_eq!(set, "4");
}
