//! The layouts `minimal` and `existing` on PostgreSQL: the promises of the port, with several processes too, and what the
//! application's table may rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/exact.rs"]
mod exact;
#[path = "support/postgres.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use countersign::contract::{Bench, wrong};
use countersign::core::check::CheckResult;
use countersign::core::verification::DeliveryStatus;
use countersign::store::{StoreError, StoreResult};
use countersign::transfer::{Loaded, RowKind};
use countersign::{Cleanup, SendRequest, Store};
use countersign_store::layout::{DestinationFormat, Existing, Layout};
use countersign_store::postgres::{Options, PostgresStore, Target, schema_sql};
use countersign_store::sqlite::{self, SqliteStore};
use exact::all;
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// As Django 5.2 makes it on PostgreSQL from the model that the preset is for.
const DJANGO: &str = "CREATE TABLE \"verification\" (\"verification_id\" varchar(50) NOT NULL PRIMARY KEY, \
    \"phone\" varchar(15) NOT NULL, \"code\" integer NULL, \"verification_type\" varchar(20) NOT NULL, \
    \"verified\" boolean NOT NULL, \"created_at\" timestamp with time zone NOT NULL, \
    \"expires_at\" timestamp with time zone NULL, \"user_id\" integer NULL);";
/// What the application wrote before us.
const THEIRS: &str = "INSERT INTO verification VALUES ('aa11', '255694230173', 1234, 'Login', false, '2020-01-01 00:00:00+00', \
    '2020-01-01 00:05:00+00', 7), ('bb22', '255694230174', 4321, 'login', true, '2020-01-01 00:00:00+00', NULL, NULL);";
const TO: &str = "+255694230173";

/// Runs statements; one text of each row. With `@` for the schema, which is found first.
async fn sql(schema: &str, sql: &str) -> Vec<String> {
    try_sql(schema, sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"))
}

async fn try_sql(schema: &str, sql: &str) -> Result<Vec<String>, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(&support::url(), NoTls).await?;
    tokio::spawn(connection);
    let text = |message| match message {
        SimpleQueryMessage::Row(row) => {
            let cells = (0..row.len()).map(|column| row.get(column).unwrap_or("null").to_owned());
            Some(cells.collect::<Vec<_>>().join("|"))
        }
        _ => None,
    };
    let place = format!("CREATE SCHEMA IF NOT EXISTS {schema}; SET search_path = {schema}; SET timezone = 'UTC'");
    client.batch_execute(&place).await?;
    Ok(client.simple_query(sql).await?.into_iter().filter_map(text).collect())
}

/// A place in the database: the application's schema, and ours beside it.
struct Place {
    theirs: String,
    ours: String,
}

impl Place {
    fn new() -> Self {
        let theirs = support::new_schema();
        Self { ours: format!("{theirs}_own"), theirs }
    }

    /// With the application's table and rows.
    async fn with(statements: &[&str]) -> Self {
        let place = Self::new();
        place.sql("SELECT 1").await;
        for statement in statements {
            place.sql(statement).await;
        }
        place
    }

    async fn sql(&self, statement: &str) -> Vec<String> {
        sql(&self.theirs, statement).await
    }

    fn existing(&self, mut existing: Existing) -> Layout {
        existing.table.schema = Some(self.theirs.parse().unwrap());
        Layout::Existing(existing)
    }

    fn django(&self) -> Layout {
        self.existing(Existing::django())
    }

    fn open(&self, layout: &Layout, migrate: bool) -> StoreResult<Arc<dyn Store>> {
        let options = Options { schema: self.ours.clone(), migrate, ..Options::default() };
        Ok(Arc::new(PostgresStore::open_as(Target::parse(&support::url()).unwrap(), layout, options)?))
    }

    fn print(&self, layout: &Layout) -> StoreResult<String> {
        schema_sql(Target::parse(&support::url()).unwrap(), layout, &self.ours)
    }
}

mod minimal {
    use super::*;

    async fn open() -> Arc<dyn Store> {
        Place::new().open(&Layout::Minimal, true).unwrap()
    }

    countersign::store_contract!(open, without history);
}

mod existing {
    use super::*;

    async fn open() -> Arc<dyn Store> {
        // The suite sends to email addresses too, and PostgreSQL minds lengths.
        let place = Place::with(&[&DJANGO.replace("varchar(15)", "varchar(254)"), THEIRS]).await;
        place.open(&place.django(), true).unwrap()
    }

    countersign::store_contract!(open, without webhooks);
}

/// Another table of another application: an id that numbers itself, times in seconds and without a zone, numbers in E.164, names that
/// SQL knows and that it would fold.
mod existing_with_other_names {
    use super::*;

    async fn open() -> Arc<dyn Store> {
        let place = Place::with(&[OTHER]).await;
        place.open(&place.existing(other_names()), true).unwrap()
    }

    countersign::store_contract!(open, without webhooks);
}

const OTHER: &str = "CREATE TABLE \"order\" (id bigserial PRIMARY KEY, \"Uid\" varchar(36) NOT NULL UNIQUE, \
    \"to\" varchar(254) NOT NULL, \"group\" text NOT NULL, done smallint NOT NULL, begun timestamp NOT NULL, \
    ends integer NOT NULL, note text NOT NULL DEFAULT '')";

fn other_names() -> Existing {
    let mut existing = Existing::django();
    existing.table = "order".parse().unwrap();
    existing.destination_format = DestinationFormat::E164;
    let columns = &mut existing.columns;
    for (column, name) in [
        (&mut columns.id, "Uid"),
        (&mut columns.destination, "to"),
        (&mut columns.purpose, "group"),
        (&mut columns.verified, "done"),
        (&mut columns.created_at, "begun"),
        (&mut columns.expires_at, "ends"),
    ] {
        *column = name.parse().unwrap();
    }
    existing
}

/// Each table with three processes on it.
async fn fleets() -> Vec<(&'static str, Vec<Bench>)> {
    let (small, django, other) = (Place::new(), Place::with(&[DJANGO, THEIRS]).await, Place::with(&[OTHER]).await);
    let (of_django, of_other) = (django.django(), other.existing(other_names()));
    let fleet = |place: &Place, layout: &Layout| {
        (0..3).map(|_| Bench::new(place.open(layout, true).unwrap())).collect::<Vec<_>>()
    };
    vec![
        ("minimal", fleet(&small, &Layout::Minimal)),
        ("django", fleet(&django, &of_django)),
        ("other", fleet(&other, &of_other)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn three_at_once_on_one_table_are_exact() {
    for (_, benches) in fleets().await {
        exact::begin_and_guess_exactly(&benches).await;
    }
}

/// One after the other ends and begins, at three at once: of each there is one row that is not over.
#[tokio::test(flavor = "multi_thread")]
async fn what_three_begin_at_once_after_an_end_begins_once() {
    for (name, benches) in fleets().await {
        for round in 0..8 {
            let sends = (0..9).map(|nth| {
                let verifier = benches[nth % 3].verifier.clone();
                async move { verifier.send(SendRequest::to(TO)).await }
            });
            let sent = all(sends.collect()).await;
            let ids: Vec<_> = sent.into_iter().flatten().map(|sending| sending.sent.verification.id).collect();
            assert!(!ids.is_empty() && ids.iter().all(|id| *id == ids[0]), "{name}, round {round}: {ids:?}");
            benches[round % 3].verifier.cancel(&Default::default(), ids[0]).await.unwrap();
        }
    }
}

/// A process that is gone leaves what it had not carried: it is claimed once, and receipts are heard at any process.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_claimed_once_by_three() {
    for (name, benches) in fleets().await {
        let mut sent = Vec::new();
        for nth in 0..12 {
            sent.push(benches[nth % 3].send(&format!("+2556942303{nth:02}")).await.0);
        }
        let store = benches[0].verifier.store();
        // As if none had been carried.
        let (now, lease) = (benches[0].verifier.now(), Duration::from_secs(60));
        assert!(store.claim(now, lease, 100).await.unwrap().is_empty(), "{name}: all were carried");
        for (nth, id) in sent.iter().enumerate() {
            let bench = &benches[nth % 3];
            let (_, deliveries) = bench.verifier.verification(&Default::default(), *id).await.unwrap().unwrap();
            let (listener, reference) = (&benches[(nth + 1) % 3].verifier, deliveries[0].id.to_string());
            let heard = listener.receipt("phone", &reference, DeliveryStatus::Delivered, None);
            assert!(heard.await.unwrap(), "{name}");
            let (_, deliveries) = bench.verifier.verification(&Default::default(), *id).await.unwrap().unwrap();
            assert_eq!(deliveries[0].status, DeliveryStatus::Delivered);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_cleaners_at_once_are_harmless_and_delete_all() {
    for (name, benches) in fleets().await {
        for nth in 0..30 {
            benches[nth % 3].send(&format!("+2556942304{nth:02}")).await;
        }
        for bench in &benches {
            bench.clock.advance(Duration::from_secs(48 * 60 * 60));
        }
        let cleaners = benches.iter().map(|bench| {
            let verifier = bench.verifier.clone();
            let cleanup = Cleanup { batch: 4, pause: Duration::ZERO, ..Cleanup::default() };
            async move { verifier.clean_up(cleanup, false, |_| true).await.unwrap().verifications }
        });
        let cleaned: u64 = all(cleaners.collect()).await.into_iter().sum();
        let left = benches[0].verifier.store().dump(RowKind::Verification, None, 100).await.unwrap();
        assert_eq!((cleaned, left.len()), (30, 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_migrate_at_once_migrate_once() {
    for layout in ["minimal", "existing"] {
        let place = Arc::new(Place::with(&[DJANGO, THEIRS]).await);
        let starts = (0..6).map(|_| {
            let place = Arc::clone(&place);
            let layout = if layout == "minimal" { Layout::Minimal } else { place.django() };
            async move { tokio::task::spawn_blocking(move || place.open(&layout, true)).await.unwrap() }
        });
        for store in all(starts.collect()).await {
            assert!(store.is_ok(), "{layout}: {:?}", store.as_ref().err());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_applications_own_code_sees_what_was_verified() {
    let place = Place::with(&[DJANGO, THEIRS]).await;
    let bench = Bench::new(place.open(&place.django(), true).unwrap());
    let (id, code) = bench.send(TO).await;
    let seen = "SELECT phone, code, verification_type, verified, created_at, expires_at, user_id, verification_id \
                FROM verification WHERE countersign_state IS NOT NULL";
    let row = |verified| {
        format!("255694230173|null|login|{verified}|2026-09-21 14:13:20+00|2026-09-21 14:18:20+00|null|{id}")
    };
    assert_eq!(place.sql(seen).await, [row('f')]);
    assert_eq!(bench.check_to(TO, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    assert_eq!(place.sql(seen).await, [row('f')]);
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::Approved);
    assert_eq!(place.sql(seen).await, [row('t')]);
    // What the application does with its column afterwards is its own: a late receipt does not undo it.
    place.sql("UPDATE verification SET verified = false").await;
    let (_, deliveries) = bench.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
    let delivery = deliveries[0].id.to_string();
    assert!(bench.verifier.receipt("phone", &delivery, DeliveryStatus::Delivered, None).await.unwrap());
    assert_eq!(place.sql(seen).await, [row('f')]);
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::NotFound);

    let place = Place::with(&[OTHER]).await;
    let bench = Bench::new(place.open(&place.existing(other_names()), true).unwrap());
    let (_, code) = bench.send(TO).await;
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::Approved);
    assert_eq!(
        place.sql("SELECT \"to\", \"group\", done, begun, ends, note FROM \"order\"").await,
        [format!("{TO}|login|1|2026-09-21 14:13:20|1790000300|")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_others_are_never_read_changed_or_deleted() {
    let place = Place::with(&[DJANGO, THEIRS]).await;
    let theirs = "SELECT * FROM verification WHERE verification_id IN ('aa11', 'bb22') ORDER BY verification_id";
    let bench = Bench::new(place.open(&place.django(), true).unwrap());
    let before = place.sql(theirs).await;
    assert_eq!(
        before[0],
        format!("aa11|255694230173|1234|Login|f|2020-01-01 00:00:00+00|2020-01-01 00:05:00+00|7{}", "|null".repeat(9))
    );
    assert_eq!(bench.check_to(TO, "1234").await.unwrap(), CheckResult::NotFound);
    assert_eq!(bench.check_to("+255694230174", "4321").await.unwrap(), CheckResult::NotFound);
    for to in [TO, "+255694230174"] {
        let (id, code) = bench.send(to).await;
        assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    }
    // A row of the application's that looks like one of ours is none.
    place.sql("UPDATE verification SET countersign_status = 'pending' WHERE verification_id = 'aa11'").await;
    let before = place.sql(theirs).await;
    bench.clock.advance(Duration::from_secs(48 * 60 * 60));
    let cleaned = bench.verifier.clean_up(Cleanup::default(), false, |_| true).await.unwrap();
    assert_eq!(cleaned.verifications, 2);
    assert_eq!(place.sql(theirs).await, before);
    assert_eq!(place.sql("SELECT count(*) FROM verification").await, ["2"]);
    assert_eq!(place.sql(&format!("SELECT count(*) FROM {}.receipt", place.ours)).await, ["0"]);
    let schema = "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()";
    assert_eq!(place.sql(schema).await, ["1"], "the application's schema has its own table alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_application_deleted_or_changed_is_gone_for_its_code() {
    let place = Place::with(&[DJANGO]).await;
    let bench = Bench::new(place.open(&place.django(), true).unwrap());
    let (id, code) = bench.send(TO).await;
    place.sql("DELETE FROM verification").await;
    assert!(bench.check(id, &code).await.is_err());
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::NotFound);
    let (id, code) = bench.send(TO).await;
    place.sql("UPDATE verification SET phone = '255694230199', expires_at = now() + interval '1 day'").await;
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Incorrect, "the code is bound to the number");
    assert_eq!(place.sql("SELECT verified FROM verification").await, ["f"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_column_has_no_room_for_is_refused_in_words_and_alone() {
    let place = Place::with(&[DJANGO]).await;
    let bench = Bench::new(place.open(&place.django(), true).unwrap());
    let long = ["somebody@example.com", "a@example.com"];
    let sends = (0..20).map(|nth| {
        let verifier = bench.verifier.clone();
        let to = if nth % 4 == 0 { long[0].to_owned() } else { format!("+2556942305{nth:02}") };
        async move { verifier.send(SendRequest::to(to)).await }
    });
    for (nth, sent) in all(sends.collect()).await.into_iter().enumerate() {
        assert_eq!(sent.is_err(), nth % 4 == 0, "{nth}");
        if let Err(error) = sent {
            let text = error.to_string();
            assert!(text.contains("phone holds 15 characters") && !text.contains("somebody"), "{text}");
        }
    }
    let (id, code) = bench.send(long[1]).await;
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    // Moved here it is left behind, and said so.
    let elsewhere = Bench::new(Place::new().open(&Layout::Minimal, true).unwrap());
    elsewhere.send(long[0]).await;
    elsewhere.send(TO).await;
    let rows = elsewhere.verifier.store().dump(RowKind::Verification, None, 10).await.unwrap();
    let loaded = bench.verifier.store().load(rows.into_iter().map(|dumped| dumped.row).collect()).await.unwrap();
    assert_eq!(loaded, [Loaded::NotKept, Loaded::New]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_can_be_left_to_the_application_when_they_are_over() {
    let place = Place::with(&[DJANGO]).await;
    let layout = place.existing(Existing { keep_rows: true, ..Existing::django() });
    let bench = Bench::new(place.open(&layout, true).unwrap());
    let (id, code) = bench.send(TO).await;
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    bench.clock.advance(Duration::from_secs(48 * 60 * 60));
    for cleaned in [1, 0] {
        assert_eq!(bench.verifier.clean_up(Cleanup::default(), false, |_| true).await.unwrap().verifications, cleaned);
    }
    let left = "SELECT verification_id, verified, countersign_state, countersign_application, countersign_generation FROM verification";
    assert_eq!(place.sql(left).await, [format!("{id}|t|null|null|null")]);
    assert!(bench.verifier.verification(&Default::default(), id).await.unwrap().is_none());
    let (_, code) = bench.send(TO).await;
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::Approved);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_hold_verifications_is_refused_with_what_mends_it() {
    let column = |from: &str, to: &str| {
        assert!(DJANGO.contains(from), "{from}");
        DJANGO.replace(from, to)
    };
    for (table, expected) in [
        (String::new(), "run the application's own migrations first"),
        (DJANGO.replace("\"verification\"", "\"Verification\""), "upper and lower case count"),
        ("CREATE VIEW verification AS SELECT 1".to_owned(), "is no table"),
        (column("\"phone\"", "\"Phone\""), "has no column phone; it has verification_id, Phone, code"),
        (column("\"code\" integer NULL", "\"code\" integer NOT NULL"), "ALTER COLUMN \"code\" DROP NOT NULL;"),
        (column("varchar(50) NOT NULL PRIMARY KEY", "varchar(50) NOT NULL"), "CREATE UNIQUE INDEX"),
        (column("varchar(50)", "varchar(32)"), "holds 32 characters and 35 are needed"),
        (column("varchar(50)", "char(50)"), "is character(50) and must be text or character varying"),
        (column("varchar(50)", "uuid"), "is uuid and must be text or character varying"),
        (column("\"phone\" varchar(15)", "\"phone\" varchar(12)"), "holds 12 characters and 15 are needed"),
        (column("\"phone\" varchar(15)", "\"phone\" bigint"), "is bigint and must be text"),
        (column("\"verified\" boolean", "\"verified\" varchar(5)"), "must be boolean, or an integer"),
        (column("\"created_at\" timestamp with time zone", "\"created_at\" date"), "is date and must be timestamp"),
        (column("\"user_id\" integer NULL", "\"countersign_place\" integer NULL"), "must be bigint; run: ALTER TABLE"),
    ] {
        let place = Place::with(&[&table]).await;
        let refused = place.open(&place.django(), true).err().unwrap();
        assert!(matches!(refused, StoreError::Inconsistent(_)), "{refused}");
        assert!(refused.to_string().contains(expected), "{refused}");
        assert!(place.print(&place.django()).err().unwrap().to_string().contains(expected));
        let made = format!("SELECT count(*) FROM information_schema.schemata WHERE schema_name = '{}'", place.ours);
        assert_eq!(place.sql(&made).await, ["0"], "nothing was made");
    }
}

/// The SQL that a refusal gives is SQL that mends it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_mend_a_table_mends_it() {
    for broken in [
        DJANGO.replace("\"code\" integer NULL", "\"code\" integer NOT NULL"),
        DJANGO.replace("varchar(50) NOT NULL PRIMARY KEY", "varchar(50) NOT NULL"),
        DJANGO.replace("\"user_id\" integer NULL", "\"user_id\" integer NULL, countersign_place integer NULL"),
    ] {
        let place = Place::with(&[&broken]).await;
        let refused = place.open(&place.django(), true).err().unwrap().to_string();
        place.sql(refused.rsplit_once("run: ").unwrap().1).await;
        place.open(&place.django(), true).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_not_write_is_told_what_to_grant() {
    let place = Place::with(&[DJANGO]).await;
    drop(place.open(&place.django(), true).unwrap());
    let role = format!("{}_role", place.theirs);
    let (ours, theirs) = (&place.ours, &place.theirs);
    place
        .sql(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD 'p'; GRANT USAGE ON SCHEMA {ours}, {theirs} TO {role}; \
        GRANT ALL ON ALL TABLES IN SCHEMA {ours} TO {role}; GRANT ALL ON ALL SEQUENCES IN SCHEMA {ours} TO {role}"
        ))
        .await;
    let (scheme, rest) = support::url().split_once("://").map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let url = format!("{scheme}://{role}:p@{}", rest.rsplit_once('@').unwrap().1);
    let open = || {
        let options = Options { schema: ours.clone(), migrate: false, ..Options::default() };
        PostgresStore::open_as(Target::parse(&url).unwrap(), &place.django(), options)
    };
    let refused = open().err().unwrap().to_string();
    place.sql(refused.rsplit_once("run: ").unwrap().1).await;
    let bench = Bench::new(Arc::new(open().unwrap()));
    let (id, code) = bench.send(TO).await;
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    drop(bench);
    place.sql(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_table_is_altered_only_by_migrate_and_the_sql_can_be_read_before() {
    let place = Place::with(&[DJANGO, THEIRS]).await;
    let layout = place.django();
    let columns = "SELECT column_name FROM information_schema.columns WHERE table_schema = current_schema() ORDER BY 1";
    let before = place.sql(columns).await;
    let refused = place.open(&layout, false).err().unwrap().to_string();
    assert!(refused.contains("countersign migrate --print") && refused.contains("countersign_state"), "{refused}");
    assert!(refused.contains(&format!("the tables in the schema {}", place.ours)), "{refused}");
    let printed = place.print(&layout).unwrap();
    assert_eq!(place.sql(columns).await, before, "nothing was changed");
    let adds = format!("ALTER TABLE \"{}\".\"verification\" ADD COLUMN countersign_", place.theirs);
    assert_eq!(printed.matches(&adds).count(), 9, "{printed}");
    // Run by hand, it is what `migrate` would have done.
    place.sql(&printed).await;
    assert_eq!(place.print(&layout).unwrap(), "");
    let by_hand = Bench::new(place.open(&layout, false).unwrap());
    by_hand.send(TO).await;
    let other = Place::with(&[DJANGO, THEIRS]).await;
    drop(other.open(&other.django(), true).unwrap());
    let columns_of = |place: &Place| {
        format!(
            "SELECT replace(table_schema, '{}', ''), table_name, column_name, data_type, is_nullable FROM information_schema.columns \
            WHERE table_schema IN ('{}', '{}') ORDER BY 1, 2, 3",
            place.theirs, place.theirs, place.ours
        )
    };
    assert_eq!(place.sql(&columns_of(&place)).await, other.sql(&columns_of(&other)).await);
    // One column less, as after a mistake: only that is asked for, and its index.
    place.sql("ALTER TABLE verification DROP COLUMN countersign_due_at").await;
    let printed = place.print(&layout).unwrap();
    assert_eq!(printed.matches(';').count(), 2, "{printed}");
    place.open(&layout, true).unwrap();
    assert_eq!(place.print(&layout).unwrap(), "");
    // What counts the attempts is counted anew, and what was pending goes on.
    let before = Bench::new(place.open(&layout, false).unwrap());
    for _ in 0..3 {
        let (id, _) = before.send(TO).await;
        before.verifier.cancel(&Default::default(), id).await.unwrap();
    }
    let (id, code) = before.send(TO).await;
    place.sql("ALTER TABLE verification DROP COLUMN countersign_generation").await;
    let after = Bench::new(place.open(&layout, true).unwrap());
    assert_eq!(after.check_to(TO, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    assert_eq!(after.check(id, &code).await.unwrap(), CheckResult::Approved);
    let (next, _) = after.send(TO).await;
    assert_ne!(next, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_migration_of_one_small_table_is_what_is_applied() {
    let (by_hand, by_machine) = (Place::new(), Place::new());
    by_hand.sql(&by_hand.print(&Layout::Minimal).unwrap()).await;
    Bench::new(by_hand.open(&Layout::Minimal, false).unwrap()).send(TO).await;
    drop(by_machine.open(&Layout::Minimal, true).unwrap());
    let columns = |place: &Place| {
        format!(
            "SELECT table_name, column_name, data_type, is_nullable FROM information_schema.columns WHERE table_schema = '{}' \
            ORDER BY 1, 2",
            place.ours
        )
    };
    let made = by_hand.sql(&columns(&by_hand)).await;
    assert_eq!(made, by_machine.sql(&columns(&by_machine)).await);
    assert!(!made.iter().any(|column| column.starts_with("event") || column.starts_with("delivery")), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_of_another_layout_is_refused_by_its_name() {
    let layouts = |place: &Place| [Layout::Standalone, Layout::Minimal, place.django()];
    for made in 0..3 {
        let place = Place::with(&[DJANGO]).await;
        let layouts = layouts(&place);
        drop(place.open(&layouts[made], true).unwrap());
        for asked in (0..3).filter(|asked| *asked != made) {
            for migrate in [true, false] {
                let refused = place.open(&layouts[asked], migrate).err().unwrap().to_string();
                let expected = format!("store.layout = \"{}\"", layouts[made].as_str());
                let lacking =
                    layouts[asked].as_str() == "existing" && !migrate && refused.contains("lacks countersign_");
                assert!(refused.contains(&expected) || lacking, "{refused}");
            }
        }
        let columns = "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema() \
                       AND column_name LIKE 'countersign%'";
        let expected = if made == 2 { "9" } else { "0" };
        assert_eq!(place.sql(columns).await, [expected], "a table is not altered for a schema that cannot be used");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_between_any_two_layouts_and_databases() {
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}.db", support::new_schema()));
    for from in 0..3 {
        let source = Place::with(&[DJANGO]).await;
        let layouts = |place: &Place| [Layout::Standalone, Layout::Minimal, place.django()];
        let bench = Bench::new(source.open(&layouts(&source)[from], true).unwrap());
        let (first, code) = bench.send(TO).await;
        assert_eq!(bench.check(first, &code).await.unwrap(), CheckResult::Approved);
        bench.clock.advance(Duration::from_secs(1));
        let (id, code) = bench.send(TO).await;
        for to in 0..4 {
            let target = Place::with(&[DJANGO]).await;
            let there: Arc<dyn Store> = match layouts(&target).get(to) {
                Some(layout) => target.open(layout, true).unwrap(),
                None => {
                    let _ = std::fs::remove_file(&file);
                    Arc::new(SqliteStore::open(&file, sqlite::Options::default()).unwrap())
                }
            };
            let there = Bench::new(there);
            let mut loaded = [0, 0];
            for again in [0, 1] {
                for kind in RowKind::ALL {
                    let rows = bench.verifier.store().dump(kind, None, 100).await.unwrap();
                    let rows: Vec<_> = rows.into_iter().map(|dumped| dumped.row).collect();
                    let results = there.verifier.store().load(rows).await.unwrap();
                    loaded[again] += results.iter().filter(|result| **result == Loaded::New).count();
                }
            }
            assert!(loaded[0] > 0 && loaded[1] == 0, "{from} to {to}: {loaded:?}");
            assert_eq!(there.check_to(TO, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
            assert_eq!(there.check(id, &code).await.unwrap(), CheckResult::Approved, "{from} to {to}");
            let kept = there.verifier.verification(&Default::default(), first).await.unwrap().is_some();
            assert_eq!(kept, from != 1 && to != 1);
        }
    }
    let _ = std::fs::remove_file(&file);
}
