//! The PostgreSQL store keeps the promises of the port, and those that only a server can make.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr, reason = "tests")]

#[path = "support/exact.rs"]
mod exact;
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/postgres.rs"]
mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::contract::{self, Bench, wrong};
use countersign::core::check::CheckResult;
use countersign::core::event::EventKind;
use countersign::core::id::VerificationId;
use countersign::core::limit::{LimitRule, Of, Per};
use countersign::core::verification::Status;
use countersign::store::{StoreError, StoreResult};
use countersign::transfer::{Loaded, Row, RowKind};
use countersign::{Broken, CheckRequest, Failure, MemoryStore, SendRequest, Store};
use countersign_store::layout::Layout;
use countersign_store::postgres::{Options, PostgresStore, SCHEMA, Target, migrations_sql};
use exact::all;
use proxy::Proxy;
use support::Server;

fn options(schema: &str) -> Options {
    Options { schema: schema.to_owned(), ..Options::default() }
}

fn open_at(url: &str, schema: &str) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(Target::parse(url).unwrap(), options(schema)).unwrap())
}

async fn open() -> Arc<dyn Store> {
    open_at(&support::url(), &support::new_schema())
}

countersign::store_contract!(open);

/// A server of its own, which a test may stop.
fn own() -> Server {
    Server::start(&[]).unwrap_or_else(|why| panic!("this test of the PostgreSQL store did NOT run: {why}"))
}

fn try_open(url: &str, schema: &str, migrate: bool) -> StoreResult<Arc<dyn Store>> {
    let options = Options { migrate, ..options(schema) };
    Ok(Arc::new(PostgresStore::open(Target::parse(url).unwrap(), options)?))
}

/// As three processes: three stores, each with its own connections, on one schema.
fn fleet(url: &str) -> Vec<Bench> {
    let schema = support::new_schema();
    (0..3).map(|_| Bench::new(open_at(url, &schema))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn three_at_once_on_one_schema_are_exact() {
    exact::begin_and_guess_exactly(&fleet(&support::url())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_shared_by_all_is_charged_exactly_by_three() {
    let (url, schema) = (support::url(), support::new_schema());
    let rule = LimitRule { per: Per::Application, of: Of::Sends, quota: 40, window: Duration::from_secs(3600) };
    let benches: Vec<_> =
        (0..3).map(|_| Bench::with(open_at(&url, &schema), |application| application.limits = vec![rule])).collect();
    let sends = (0..120).map(|nth| {
        let verifier = benches[nth % 3].verifier.clone();
        async move { verifier.send(SendRequest::to(format!("+25569423{nth:04}"))).await.is_ok() }
    });
    let sent = all(sends.collect()).await;
    assert_eq!(sent.iter().filter(|sent| **sent).count(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_starters_migrate_once() {
    let (url, schema) = (support::url(), support::new_schema());
    let starts = (0..8).map(|_| {
        let (url, schema) = (url.clone(), schema.clone());
        async move { tokio::task::spawn_blocking(move || try_open(&url, &schema, true)).await.unwrap() }
    });
    let opened = all(starts.collect()).await;
    for store in &opened {
        assert!(store.is_ok(), "{:?}", store.as_ref().err());
    }
    let bench = Bench::new(opened.into_iter().next().unwrap().unwrap());
    bench.send(TO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bug_h8_a_newer_schema_is_refused_in_words_unless_it_only_grew() {
    let server = own();
    let refused = try_open(&server.url(), "otp", false).err().unwrap();
    assert!(refused.to_string().contains("countersign migrate"), "{refused}");
    drop(try_open(&server.url(), "otp", true).unwrap());
    // A later program expanded it: this one goes on, and writes what the new column does not mind.
    server.psql("UPDATE otp.countersign_schema SET version = 7; ALTER TABLE otp.verification ADD COLUMN later TEXT; ALTER TABLE otp.delivery ADD COLUMN later BIGINT NOT NULL DEFAULT 7");
    let bench = Bench::new(try_open(&server.url(), "otp", false).unwrap());
    let (id, code) = bench.send(TO).await;
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    // A later one contracted it.
    server.psql("UPDATE otp.countersign_schema SET version = 8, compatible_from = 8");
    let refused = try_open(&server.url(), "otp", true).err().unwrap();
    assert!(matches!(refused, StoreError::Inconsistent(_)));
    assert!(refused.to_string().contains("version 8"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_before_webhooks_is_brought_up_to_date_and_keeps_what_it_has() {
    let server = own();
    let first = include_str!("../migrations/postgres/0001_begin.sql");
    server.psql(&format!(
        "CREATE SCHEMA otp; SET search_path = otp; {first} CREATE TABLE countersign_schema (one BIGINT PRIMARY KEY, version BIGINT NOT NULL, \
         compatible_from BIGINT NOT NULL); INSERT INTO countersign_schema VALUES (1, 1, 1); INSERT INTO limit_state VALUES ('kept', 1);"
    ));
    let refused = try_open(&server.url(), "otp", false).err().unwrap().to_string();
    assert!(refused.contains("has version 1") && refused.contains("countersign migrate"), "{refused}");
    let store = try_open(&server.url(), "otp", true).unwrap();
    assert_eq!(server.psql("SELECT version, compatible_from FROM otp.countersign_schema"), format!("{SCHEMA}|1"));
    assert_eq!(server.psql("SELECT key FROM otp.limit_state"), "kept");
    contract::events_are_taken_up_once(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_migration_is_what_is_applied() {
    let server = own();
    server.psql(&migrations_sql("by_hand"));
    drop(try_open(&server.url(), "by_machine", true).unwrap());
    let bench = Bench::new(try_open(&server.url(), "by_hand", false).unwrap());
    bench.send(TO).await;
    let columns = |schema: &str| {
        server.psql(&format!("SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = '{schema}' ORDER BY 1, 2"))
    };
    assert!(columns("by_hand").lines().count() > 50);
    assert_eq!(columns("by_hand"), columns("by_machine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_is_used_again_and_nothing_acknowledged_is_lost() {
    let server = own();
    let bench = Bench::new(try_open(&server.url(), "otp", true).unwrap());
    for round in 0..3 {
        let to = format!("+2556942301{round:02}");
        let (id, code) = bench.send(&to).await;
        assert_eq!(bench.check(id, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
        if round % 2 == 0 {
            server.crash()
        } else {
            server.stop()
        }
        // Away: it is said soon, and nothing is evaluated.
        for _ in 0..3 {
            let started = Instant::now();
            assert!(matches!(bench.check(id, &code).await, Err(Failure::Broken(Broken::Store(_)))));
            assert!(bench.verifier.store().ping().await.is_err());
            assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
        }
        server.start_again();
        back(&bench).await;
        let (row, _) = bench.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
        assert_eq!((row.wrong_by_id, row.status), (1, Status::Pending));
        assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
        assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::AlreadyUsed);
    }
}

async fn back(bench: &Bench) {
    let started = Instant::now();
    while bench.verifier.store().ping().await.is_err() {
        assert!(started.elapsed() < Duration::from_secs(10), "the store did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whatever byte is the last one: a guess is counted at most once and never given back, a code is accepted once, and the store goes
/// on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_cut_at_any_byte_breaks_no_law() {
    let server = own();
    let proxy = Proxy::to(server.port);
    let bench = Bench::new(try_open(&server.url_at(proxy.port), "otp", true).unwrap());
    let mut unknown = 0;
    let rounds: u64 = std::env::var("COUNTERSIGN_CUTS").ok().and_then(|count| count.parse().ok()).unwrap_or(60);
    for round in 0..rounds {
        let to = format!("+25569423{round:04}");
        let (id, code) = bench.send(&to).await;
        // Every request and answer of a decision is a few thousand bytes: the cuts are spread over all of it.
        proxy.cut_after(1 + round * 7_919 % 9_000);
        let mut acknowledged = 0;
        let mut asked = 0;
        for nth in 0..3 {
            asked += 1;
            match bench.check(id, &wrong(&code, nth)).await {
                Ok(result) => {
                    assert_eq!(result, CheckResult::Incorrect);
                    acknowledged += 1;
                }
                Err(Failure::Broken(Broken::Store(error))) => {
                    assert!(error.is_temporary(), "{error}");
                    unknown += 1;
                }
                Err(other) => panic!("{other}"),
            }
        }
        back(&bench).await;
        let (row, _) = bench.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
        assert!((acknowledged..=asked).contains(&row.wrong_by_id), "{acknowledged} <= {} <= {asked}", row.wrong_by_id);
        proxy.cut_after(1 + round * 104_729 % 6_000);
        let mut approved = 0;
        for _ in 0..4 {
            if let Ok(result) = bench.check(id, &code).await {
                approved += u32::from(result == CheckResult::Approved);
            }
        }
        assert!(approved <= 1);
        back(&bench).await;
        proxy.cut_after(0);
        assert_eq!(
            bench.check(id, &code).await.unwrap(),
            CheckResult::AlreadyUsed,
            "somebody's right code was accepted"
        );
    }
    assert!(proxy.cuts() > rounds, "connections were cut: {}", proxy.cuts());
    eprintln!("{} cuts, {unknown} answers unknown", proxy.cuts());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_away_within_two_seconds() {
    let server = own();
    let proxy = Proxy::to(server.port);
    let bench = Bench::new(try_open(&server.url_at(proxy.port), "otp", true).unwrap());
    let (id, code) = bench.send(TO).await;
    proxy.silent(true);
    for _ in 0..4 {
        let started = Instant::now();
        assert!(bench.check(id, &wrong(&code, 0)).await.is_err());
        assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    }
    // By now it is known to be away: nobody waits at all.
    let started = Instant::now();
    assert!(bench.verifier.store().ping().await.is_err());
    assert!(started.elapsed() < Duration::from_millis(950), "{:?}", started.elapsed());
    proxy.silent(false);
    back(&bench).await;
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_is_not_written_to() {
    let server = own();
    let bench = Bench::new(try_open(&server.url(), "otp", true).unwrap());
    let (id, code) = bench.send(TO).await;
    // As a demoted primary: sessions of before go on, but nothing can be written.
    server.psql("ALTER SYSTEM SET default_transaction_read_only = on");
    server.psql("SELECT pg_reload_conf()");
    support::until("the setting is in force", || server.psql("SHOW default_transaction_read_only") == "on");
    assert!(bench.check(id, &code).await.is_err());
    assert!(bench.verifier.store().ping().await.is_err());
    server.psql("ALTER SYSTEM RESET default_transaction_read_only");
    server.psql("SELECT pg_reload_conf()");
    back(&bench).await;
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_time_out_of_the_server_changes_nothing() {
    let server = own();
    let bench = Bench::new(try_open(&server.url(), "otp", true).unwrap());
    let (id, code) = bench.send(TO).await;
    server.psql("ALTER ROLE postgres SET statement_timeout = '300ms'");
    let bench = Bench::new(try_open(&server.url(), "otp", true).unwrap());
    // Somebody sits on the row.
    let sleeper = {
        let mut psql = server.program("psql");
        psql.args(["-X", "-q", "-U", "postgres", "-d", "postgres", "-h"]).arg(&server.dir).args(["-p", &server.port.to_string(), "-c",
            "SET statement_timeout = 0; BEGIN; SELECT 1 FROM otp.verification FOR UPDATE; SELECT pg_sleep(1.2); ROLLBACK"]);
        std::thread::spawn(move || psql.output().unwrap())
    };
    support::until("the row is locked", || {
        server
            .psql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1.2)%' AND wait_event = 'PgSleep'")
            == "1"
    });
    let refused = bench.check(id, &wrong(&code, 0)).await.err().unwrap();
    assert!(refused.to_string().contains("statement timeout"), "{refused}");
    sleeper.join().unwrap();
    let (row, _) = bench.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
    assert_eq!(row.wrong_by_id, 0);
    assert_eq!(bench.check(id, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
}

#[tokio::test]
async fn what_goes_wrong_at_the_start_is_said_without_the_password() {
    let server = own();
    for url in [
        "postgresql://postgres:hunter2@127.0.0.1:1/postgres".to_owned(),
        format!("postgresql://postgres:hunter2@127.0.0.1:{}/postgres?sslmode=disable", server.port),
        format!("postgresql://nobody:hunter2@127.0.0.1:{}/postgres?sslmode=disable", server.port),
        format!("postgresql://postgres:hunter2@127.0.0.1:{}/nothing?sslmode=require", server.port),
    ] {
        let refused = try_open(&url, "otp", true).err().unwrap();
        assert!(!format!("{refused} {refused:?}").contains("hunter2"), "{refused}");
        assert!(refused.is_temporary(), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_three_come_without_gaps_while_they_are_written() {
    let benches = fleet(&support::url());
    let store = Arc::clone(benches[0].verifier.store());
    let sends = (0..90).map(|nth| {
        let verifier = benches[nth % 3].verifier.clone();
        async move { verifier.send(SendRequest::to(format!("+25569423{nth:04}"))).await.is_ok() }
    });
    let writing = tokio::spawn(all(sends.collect()));
    let (mut place, mut created) = (0, 0);
    let mut quiet = 0;
    while quiet < 20 {
        let events = store.events(place, 7).await.unwrap();
        quiet = if events.is_empty() && writing.is_finished() { quiet + 1 } else { 0 };
        for (next, event) in events {
            assert_eq!(next, place + 1, "a place was left out");
            place = next;
            created += u32::from(event.kind == EventKind::VerificationCreated);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(writing.await.unwrap().into_iter().all(|sent| sent));
    assert_eq!(created, 90, "no event was missed");
}

/// All that a store has.
async fn whole(store: &Arc<dyn Store>) -> Vec<Row> {
    let mut rows = Vec::new();
    for kind in RowKind::ALL {
        rows.extend(store.dump(kind, None, 10_000).await.unwrap().into_iter().map(|dumped| dumped.row));
    }
    rows
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_move_here_at_once_is_written_once() {
    let source = Bench::new(Arc::new(MemoryStore::default()));
    for nth in 0..60 {
        let (id, code) = source.send(&format!("+2556942302{nth:02}")).await;
        source.check(id, &wrong(&code, 0)).await.unwrap();
    }
    let rows = whole(source.verifier.store()).await;
    // As a file that has every line twice.
    let twice: Vec<Row> = rows.iter().flat_map(|row| [row.clone(), row.clone()]).collect();
    let benches = fleet(&support::url());
    let loads = benches.iter().map(|bench| {
        let (store, rows) = (Arc::clone(bench.verifier.store()), twice.clone());
        async move { store.load(rows).await.unwrap() }
    });
    let loaded = all(loads.collect()).await;
    for (nth, row) in twice.iter().enumerate() {
        let new = loaded.iter().filter(|loaded| loaded[nth] == Loaded::New).count();
        assert_eq!(new, usize::from(nth % 2 == 0), "{row:?}");
        assert!(loaded.iter().all(|loaded| matches!(loaded[nth], Loaded::New | Loaded::Same)), "{row:?}");
    }
    let store = benches[0].verifier.store();
    assert_eq!(whole(store).await.len(), rows.len());
    // A delivery's id leads to one verification for ever.
    let Some(Row::Verification(row, deliveries)) = rows.iter().find(|row| row.kind() == RowKind::Verification) else {
        unreachable!("there are verifications")
    };
    let mut thief = row.clone();
    thief.id = VerificationId::from_bytes([0xEE; 16]);
    let loaded = store.load(vec![Row::Verification(thief, deliveries.clone())]).await.unwrap();
    assert_eq!(loaded, [Loaded::Differs]);
    assert_eq!(whole(store).await.len(), rows.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_wait_keep_their_places_when_others_are_moved_here() {
    let source = Bench::new(Arc::new(MemoryStore::default()));
    for nth in 0..4 {
        source.send(&format!("+2556942303{nth:02}")).await;
    }
    let moved: Vec<Row> =
        whole(source.verifier.store()).await.into_iter().filter(|row| row.kind() == RowKind::Event).collect();
    let bench = Bench::new(open().await);
    let store = bench.verifier.store();
    let (id, _) = bench.send(TO).await;
    let loaded = store.load(moved.clone()).await.unwrap();
    let events = store.events(0, 1000).await.unwrap();
    let here = events.iter().take_while(|(_, event)| event.verification == id).count();
    assert!(here > 0, "what happened here is where it was");
    let differ = loaded.iter().take_while(|loaded| **loaded == Loaded::Differs).count();
    assert_eq!(differ, here);
    assert!(loaded.iter().skip(here).all(|loaded| *loaded == Loaded::New), "{loaded:?}");
    assert!(events.len() >= moved.len());
    // What happens from now on comes behind all of it.
    let (next, _) = bench.send("+255694230399").await;
    let behind = store.events(events.last().unwrap().0, 1000).await.unwrap();
    assert!(!behind.is_empty() && behind.iter().all(|(_, event)| [id, next].contains(&event.verification)));
}

/// PgBouncer in front of a server, as it comes: each transaction may get another connection, and none keeps a prepared statement.
struct Bouncer {
    child: std::process::Child,
    port: u16,
}

impl Bouncer {
    fn start(server: &Server) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = server.dir.join("bouncer");
        std::fs::create_dir_all(&folder).unwrap();
        let users = format!("\"postgres\" \"{}\"\n", server.password());
        std::fs::write(folder.join("users"), users).unwrap();
        let ini = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {}\npool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\n",
            server.port,
            folder.join("users").display()
        );
        std::fs::write(folder.join("ini"), ini).unwrap();
        let child = support::as_postgres(std::path::Path::new("pgbouncer"))
            .args(["-q"])
            .arg(folder.join("ini"))
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap_or_else(|why| panic!("this test did NOT run, since there is no pgbouncer: {why}"));
        let listens = || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        support::until("pgbouncer listens; is it installed?", listens);
        Self { child, port }
    }
}

impl Drop for Bouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_transaction_mode_is_no_hindrance() {
    let server = own();
    let bouncer = Bouncer::start(&server);
    let url = server.url_at(bouncer.port);
    let new = || open_at(&url, &support::new_schema());
    contract::what_is_written_is_read_back(new()).await;
    contract::the_latest_verification_is_found_by_destination(new()).await;
    contract::parallel_sends_begin_one_verification(new()).await;
    contract::parallel_wrong_guesses_by_id_evaluate_exactly_the_cap(new()).await;
    contract::limits_are_charged_together_or_not_at_all(new()).await;
    contract::an_overdue_delivery_is_claimed_once(new()).await;
    contract::events_come_in_order_and_once(new()).await;
    contract::an_answer_is_kept_under_its_key(new()).await;
    contract::records_are_kept_and_go_with_their_parent(new()).await;
    contract::cleanup_is_bounded_and_spares_the_living(new()).await;
    contract::what_was_moved_here_is_as_it_was(new()).await;
    contract::what_is_here_is_read_whole_and_in_pages(new()).await;
    contract::events_are_taken_up_once(new()).await;
    contract::webhooks_are_claimed_in_order_and_settled_once(new()).await;
    let small = || {
        let target = Target::parse(&url).unwrap();
        Arc::new(PostgresStore::open_as(target, &Layout::Minimal, options(&support::new_schema())).unwrap())
    };
    contract::what_is_written_is_read_back(small()).await;
    contract::parallel_sends_begin_one_verification(small()).await;
    contract::parallel_wrong_guesses_by_id_evaluate_exactly_the_cap(small()).await;
    contract::an_overdue_delivery_is_claimed_once(small()).await;
    contract::what_was_moved_here_is_as_it_was(small()).await;
    // More clients than the pooler has connections.
    let schema = support::new_schema();
    let benches: Vec<_> = (0..4).map(|_| Bench::new(open_at(&url, &schema))).collect();
    let (id, code) = benches[0].send(TO).await;
    let checks = (0..40).map(|nth| {
        let verifier = benches[nth % 4].verifier.clone();
        let code = code.clone();
        async move { verifier.check(CheckRequest::by_id(id, &code)).await.unwrap().result }
    });
    let results = all(checks.collect()).await;
    assert_eq!(results.iter().filter(|result| **result == CheckResult::Approved).count(), 1);
}

/// A certificate authority and a certificate for `localhost`, made with openssl.
fn certificates(folder: &std::path::Path) -> std::path::PathBuf {
    std::fs::create_dir_all(folder).unwrap();
    let script = "set -e; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-ca \
        -keyout ca.key -out ca.pem -addext basicConstraints=critical,CA:TRUE; \
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout server.key -out server.csr; \
        printf 'subjectAltName=DNS:localhost' > ext; \
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out server.pem; \
        chmod 600 server.key; chown postgres server.key server.pem 2>/dev/null || true";
    let made = std::process::Command::new("sh").args(["-c", script]).current_dir(folder).output().unwrap();
    assert!(made.status.success(), "openssl is needed: {}", String::from_utf8_lossy(&made.stderr));
    folder.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_must_prove_who_it_is_as_sslmode_says() {
    let folder = std::env::temp_dir().join(format!("countersign-tls-{}", std::process::id()));
    let folder = certificates(&folder);
    let (pem, key) = (folder.join("server.pem"), folder.join("server.key"));
    let settings = [
        "ssl = on".to_owned(),
        format!("ssl_cert_file = '{}'", pem.display()),
        format!("ssl_key_file = '{}'", key.display()),
    ];
    let server = Server::start(&settings.each_ref().map(String::as_str)).unwrap();
    let plain = server.url().replace("?sslmode=disable", "");
    let ca = folder.join("ca.pem");
    let open = |host: &str, options: &str| {
        let url = format!("{}?{options}", plain.replace("127.0.0.1", host));
        try_open(&url, "otp", true)
    };
    let encrypted = |store: Arc<dyn Store>| async move {
        let bench = Bench::new(store);
        bench.send(&format!("+2556942{:05}", Instant::now().elapsed().subsec_nanos() % 100_000)).await;
        bench.verifier.shut_down(Duration::from_secs(5)).await.unwrap();
    };
    let root = format!("&sslrootcert={}", ca.display());
    encrypted(open("localhost", &format!("sslmode=verify-full{root}")).unwrap()).await;
    let sessions = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE s.ssl AND a.application_name = 'countersign'";
    let store = open("127.0.0.1", &format!("sslmode=verify-ca{root}")).unwrap();
    assert_ne!(server.psql(sessions), "0", "connections are encrypted");
    encrypted(store).await;
    encrypted(open("127.0.0.1", "sslmode=require").unwrap()).await;
    encrypted(open("127.0.0.1", "sslmode=prefer").unwrap()).await;
    // The certificate is for another name; or of an authority that nobody trusts.
    let refused = open("127.0.0.1", &format!("sslmode=verify-full{root}")).err().unwrap().to_string();
    assert!(refused.contains("certificate"), "{refused}");
    for mode in ["sslmode=verify-full", "sslmode=verify-ca"] {
        let refused = open("localhost", mode).err().unwrap().to_string();
        assert!(refused.contains("certificate"), "{refused}");
    }
    let refused = open("localhost", "sslmode=verify-full&sslrootcert=/nowhere.pem").err().unwrap().to_string();
    assert!(refused.contains("/nowhere.pem"), "{refused}");
    std::fs::remove_dir_all(&folder).unwrap();
    // Required of a server that has none.
    let refused = try_open(&own().url().replace("sslmode=disable", "sslmode=require"), "otp", true).err().unwrap();
    assert!(refused.to_string().contains("TLS"), "{refused}");
}

const TO: &str = "+255694230173";
