//! A schema of before is brought up to date with what it has, and programs of before go on beside those of now.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use countersign::contract::Bench;
use countersign::core::check::CheckResult;
use countersign::core::event::EventKind;
use countersign::{Clock, Store};
use countersign_store::postgres::{Options, PostgresStore, SCHEMA, Target};
use support::Server;

fn own() -> Server {
    Server::start(&[]).unwrap_or_else(|why| panic!("this test of the PostgreSQL store did NOT run: {why}"))
}

fn open(server: &Server) -> Arc<dyn Store> {
    let options = Options { schema: "otp".to_owned(), ..Options::default() };
    Arc::new(PostgresStore::open(Target::parse(&server.url()).unwrap(), options).unwrap())
}

/// A schema as programs of before batches of events made it: the first three migrations.
const BEFORE_BATCHES: [&str; 3] = [
    include_str!("../migrations/postgres/0001_begin.sql"),
    include_str!("../migrations/postgres/0002_webhooks.sql"),
    include_str!("../migrations/postgres/0003_health.sql"),
];

/// What such a program wrote of a verification that it began: pending, its message still in the outbox, its events without places.
fn begun_before(nth: u32, at: i64) -> String {
    format!(
        "INSERT INTO verification (place, generation, id, application, service, destination, country, purpose, keyless, channel, status, \
         created_at, expires_at, code_length, key_id, sends, max_sends, resend_at, wrong_by_id, wrong_by_destination, max_checks) \
         VALUES (nextval('verification_place'), 1, decode(md5('v{nth}'), 'hex'), 'default', '', '+2556942305{nth:02}', 'TZ', 'login', false, \
         'sms', 'pending', {at}, {at} + 600000, 6, 'k1', 1, 5, {at}, 0, 0, 5); \
         INSERT INTO delivery (verification, number, id, send, channel, provider, status, queued_at, at, due_at, lease_until, claims) \
         VALUES (currval('verification_place'), 1, decode(md5('d{nth}'), 'hex'), 1, 'sms', 'phone', 'queued', {at}, {at}, {at}, {at} + 30000, 1); \
         INSERT INTO limit_state (key, tat) VALUES ('kept {nth}', 9223372036854775); {}",
        event_before(nth, at)
    )
}

fn event_before(nth: u32, at: i64) -> String {
    format!(
        "INSERT INTO event (kind, application, verification, delivery, at) SELECT * FROM unnest(ARRAY['verification.created'], \
         ARRAY['default'], ARRAY[decode(md5('v{nth}'), 'hex')], ARRAY[NULL::bytea], ARRAY[{at}::bigint]);"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_before_batches_of_events_goes_on_with_what_it_has() {
    let server = own();
    let begun: String = (0..20).map(|nth| begun_before(nth, 1_700_000_000_000)).collect();
    server.psql(&format!(
        "CREATE SCHEMA otp; SET search_path = otp; {} CREATE TABLE countersign_schema (one BIGINT PRIMARY KEY, version BIGINT NOT NULL, \
         compatible_from BIGINT NOT NULL); INSERT INTO countersign_schema VALUES (1, 3, 1); {begun}",
        BEFORE_BATCHES.concat()
    ));
    let store = open(&server);
    assert_eq!(server.psql("SELECT version, compatible_from FROM otp.countersign_schema"), format!("{SCHEMA}|1"));
    let bench = Bench::new(Arc::clone(&store));
    // Somebody goes on where they stopped, and begins what they did not.
    let (id, code) = bench.send("+255694230500").await;
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    assert_eq!(server.psql("SELECT count(*), max(generation) FROM otp.verification"), "21|2");
    let claimed = store.claim(bench.clock.now(), Duration::from_secs(30), 100).await.unwrap();
    assert_eq!(claimed.len(), 20, "what waits in the outbox is carried");
    assert_eq!(server.psql("SELECT count(*) FROM otp.limit_state WHERE key LIKE 'kept %'"), "20");
    let events = store.events(0, 1000).await.unwrap();
    assert!(events.len() > 20, "{}", events.len());
    for (nth, (place, _)) in events.iter().enumerate() {
        assert_eq!(*place, nth as u64 + 1, "no place is left out");
    }
    assert!(
        events[..20].iter().all(|(_, event)| event.kind == EventKind::VerificationCreated && event.verification != id)
    );
}

/// The statements by which programs of before gave places.
const PLACED_BEFORE: &str = "BEGIN; SET LOCAL search_path = otp; SELECT place FROM event_head FOR UPDATE; \
    WITH placed AS (UPDATE event e SET place = (SELECT place FROM event_head) + n.nth FROM (SELECT seq, row_number() OVER (ORDER BY seq) AS nth \
    FROM (SELECT seq FROM event WHERE place IS NULL ORDER BY seq LIMIT 10000) w) n WHERE e.seq = n.seq AND e.place IS NULL RETURNING 1) \
    UPDATE event_head SET place = place + (SELECT count(*) FROM placed); COMMIT";

#[tokio::test(flavor = "multi_thread")]
async fn events_of_programs_of_before_and_of_now_come_without_gaps_and_none_is_lost() {
    let server = own();
    let bench = Bench::new(open(&server));
    let store = bench.verifier.store();
    let (mut place, mut seen) = (0, HashSet::new());
    for round in 0..12 {
        let (id, code) = bench.send(&format!("+2556942306{round:02}")).await;
        server.psql(&format!("SET search_path = otp; {}", event_before(round, 1_700_000_000_000)));
        assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
        match round % 3 {
            // One of before reads first: what it cannot see waits, and is in its way no more than it is lost.
            0 => drop(server.psql(PLACED_BEFORE)),
            1 => continue,
            _ => {}
        }
        for (next, event) in store.events(place, 1000).await.unwrap() {
            assert_eq!(next, place + 1, "a place was left out");
            place = next;
            let known = seen.insert((event.verification, event.kind, event.delivery));
            assert!(known, "{event:?} came twice");
        }
    }
    let of = |kind| seen.iter().filter(|(_, of, _)| *of == kind).count();
    assert_eq!(of(EventKind::VerificationCreated), 24);
    assert_eq!(of(EventKind::VerificationApproved), 12);
}
