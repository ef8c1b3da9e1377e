//! The layouts `minimal` and `existing` on SQLite: the promises of the port, and what the application's table may rely on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use countersign::contract::{Bench, wrong};
use countersign::core::check::CheckResult;
use countersign::core::verification::DeliveryStatus;
use countersign::store::StoreError;
use countersign::{Cleanup, Store};
use countersign_store::layout::{DestinationFormat, Existing, Layout};
use countersign_store::sqlite::{Options, SqliteStore, back_up, schema_sql};
use rusqlite::Connection;

/// As Django 5.2 makes it on SQLite from the model that the preset is for.
const DJANGO: &str = "CREATE TABLE \"verification\" (\"verification_id\" varchar(50) NOT NULL PRIMARY KEY, \
    \"phone\" varchar(15) NOT NULL, \"code\" integer NULL, \"verification_type\" varchar(20) NOT NULL, \
    \"verified\" bool NOT NULL, \"created_at\" datetime NOT NULL, \"expires_at\" datetime NULL, \"user_id\" integer NULL);";
/// What the application wrote before us.
const THEIRS: &str = "INSERT INTO verification VALUES ('aa11', '255694230173', 1234, 'Login', 0, '2020-01-01 00:00:00', \
    '2020-01-01 00:05:00', 7), ('bb22', '255694230174', 4321, 'login', 1, '2020-01-01 00:00:00', NULL, NULL);";
const TO: &str = "+255694230173";

/// A new folder, named after the test, deleted with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let test = std::thread::current().name().unwrap().replace(':', "-");
        let name = format!("layouts-{test}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("app.db")
    }

    fn sql(&self, sql: &str) {
        Connection::open(self.file()).unwrap().execute_batch(sql).unwrap();
    }

    fn open(&self, layout: &Layout, migrate: bool) -> Result<Arc<dyn Store>, StoreError> {
        let options = Options { migrate, ..Options::default() };
        Ok(Arc::new(SqliteStore::open_as(&self.file(), layout, options)?))
    }

    /// One text of each row.
    fn rows(&self, sql: &str) -> Vec<String> {
        let connection = Connection::open(self.file()).unwrap();
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let text = |row: &rusqlite::Row<'_>| {
            let cell = |column| match row.get_ref(column).unwrap() {
                rusqlite::types::ValueRef::Null => "null".to_owned(),
                rusqlite::types::ValueRef::Integer(number) => number.to_string(),
                other => String::from_utf8_lossy(other.as_bytes().unwrap()).into_owned(),
            };
            Ok((0..columns).map(cell).collect::<Vec<_>>().join("|"))
        };
        statement.query_map([], text).unwrap().collect::<Result<_, _>>().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn django() -> Layout {
    Layout::Existing(Existing::django())
}

mod minimal {
    use super::*;

    async fn open() -> Arc<dyn Store> {
        // The file is left to the folder's end: the store outlives this function.
        std::mem::ManuallyDrop::new(Folder::new()).open(&Layout::Minimal, true).unwrap()
    }

    countersign::store_contract!(open, without history);
}

mod existing {
    use super::*;

    async fn open() -> Arc<dyn Store> {
        let folder = std::mem::ManuallyDrop::new(Folder::new());
        folder.sql(DJANGO);
        folder.sql(THEIRS);
        folder.open(&django(), true).unwrap()
    }

    countersign::store_contract!(open, without webhooks);
}

/// Another table of another application: an id that numbers itself, times in seconds, numbers in E.164, names that SQL knows.
mod existing_with_other_names {
    use super::*;

    async fn open() -> Arc<dyn Store> {
        let folder = std::mem::ManuallyDrop::new(Folder::new());
        folder.sql(
            "CREATE TABLE \"order\" (id integer NOT NULL PRIMARY KEY AUTOINCREMENT, uid char(36) NOT NULL UNIQUE, \
             \"to\" varchar(254) NOT NULL, \"group\" text NOT NULL, done integer NOT NULL, begun bigint NOT NULL, \
             ends int NOT NULL, note text NOT NULL DEFAULT '');",
        );
        folder.open(&Layout::Existing(other_names()), true).unwrap()
    }

    countersign::store_contract!(open, without webhooks);
}

fn other_names() -> Existing {
    let mut existing = Existing::django();
    existing.table = "order".parse().unwrap();
    existing.destination_format = DestinationFormat::E164;
    let columns = &mut existing.columns;
    for (column, name) in [
        (&mut columns.id, "uid"),
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

#[tokio::test(flavor = "multi_thread")]
async fn the_applications_own_code_sees_what_was_verified() {
    let folder = Folder::new();
    folder.sql(DJANGO);
    folder.sql(THEIRS);
    let bench = Bench::new(folder.open(&django(), true).unwrap());
    let (id, code) = bench.send(TO).await;
    let seen = "SELECT phone, code, verification_type, verified, created_at, expires_at, user_id, verification_id \
                FROM verification WHERE countersign_state IS NOT NULL";
    let row = |verified| {
        format!("255694230173|null|login|{verified}|2026-09-21 14:13:20.000000|2026-09-21 14:18:20.000000|null|{id}")
    };
    assert_eq!(folder.rows(seen), [row(0)]);
    assert_eq!(bench.check_to(TO, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    assert_eq!(folder.rows(seen), [row(0)]);
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::Approved);
    assert_eq!(folder.rows(seen), [row(1)]);
    // What the application does with its column afterwards is its own: a late receipt does not undo it.
    folder.sql("UPDATE verification SET verified = 0");
    let (_, deliveries) = bench.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
    let delivery = deliveries[0].id.to_string();
    assert!(bench.verifier.receipt("phone", &delivery, DeliveryStatus::Delivered, None).await.unwrap());
    assert_eq!(folder.rows(seen), [row(0)]);
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_others_are_never_read_changed_or_deleted() {
    let folder = Folder::new();
    folder.sql(DJANGO);
    folder.sql(THEIRS);
    let theirs = "SELECT verification_id, phone, code, verification_type, verified, created_at, expires_at, user_id, \
                  countersign_place, countersign_application, countersign_service, countersign_status, \
                  countersign_ends_at, countersign_due_at, countersign_state FROM verification \
                  WHERE verification_id IN ('aa11', 'bb22') ORDER BY verification_id";
    let untouched = [
        "aa11|255694230173|1234|Login|0|2020-01-01 00:00:00|2020-01-01 00:05:00|7|null|null|null|null|null|null|null",
        "bb22|255694230174|4321|login|1|2020-01-01 00:00:00|null|null|null|null|null|null|null|null|null",
    ];
    let bench = Bench::new(folder.open(&django(), true).unwrap());
    assert_eq!(bench.check_to(TO, "1234").await.unwrap(), CheckResult::NotFound);
    assert_eq!(bench.check_to("+255694230174", "4321").await.unwrap(), CheckResult::NotFound);
    for to in [TO, "+255694230174"] {
        let (id, code) = bench.send(to).await;
        assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    }
    bench.clock.advance(Duration::from_secs(48 * 60 * 60));
    let cleaned = bench.verifier.clean_up(Cleanup::default(), false, |_| true).await.unwrap();
    assert_eq!(cleaned.verifications, 2);
    assert_eq!(folder.rows(theirs), untouched);
    assert_eq!(folder.rows("SELECT count(*) FROM verification"), ["2"]);
    assert_eq!(folder.rows("SELECT count(*) FROM countersign_receipt"), ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_can_be_left_to_the_application_when_they_are_over() {
    let folder = Folder::new();
    folder.sql(DJANGO);
    let layout = Layout::Existing(Existing { keep_rows: true, ..Existing::django() });
    let bench = Bench::new(folder.open(&layout, true).unwrap());
    let (id, code) = bench.send(TO).await;
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    bench.clock.advance(Duration::from_secs(48 * 60 * 60));
    for cleaned in [1, 0] {
        assert_eq!(bench.verifier.clean_up(Cleanup::default(), false, |_| true).await.unwrap().verifications, cleaned);
    }
    assert_eq!(
        folder.rows("SELECT verification_id, verified, countersign_state, countersign_application FROM verification"),
        [format!("{id}|1|null|null")]
    );
    assert!(bench.verifier.verification(&Default::default(), id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_table_that_cannot_hold_verifications_is_refused_with_what_mends_it() {
    let column = |from: &str, to: &str| DJANGO.replace(from, to);
    for (table, expected) in [
        (String::new(), "has no table called verification"),
        ("CREATE VIEW verification AS SELECT 1;".to_owned(), "has no table called verification"),
        (column("\"phone\"", "\"number\""), "has no column phone; it has verification_id, number, code"),
        (column("\"code\" integer NULL", "\"code\" integer NOT NULL"), "ADD COLUMN \"code_new\" INTEGER NULL"),
        (column("varchar(50) NOT NULL PRIMARY KEY", "varchar(50) NOT NULL"), "CREATE UNIQUE INDEX"),
        (column("varchar(50)", "varchar(32)"), "holds 32 characters and 35 are needed"),
        (column("\"phone\" varchar(15)", "\"phone\" varchar(12)"), "holds 12 characters and 15 are needed"),
    ] {
        let folder = Folder::new();
        folder.sql(&table);
        let refused = folder.open(&django(), true).err().unwrap().to_string();
        assert!(refused.contains(expected), "{refused}");
        assert_eq!(folder.rows("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'countersign%'"), ["0"]);
    }
    let nowhere = Folder::new();
    assert!(nowhere.open(&django(), true).err().unwrap().to_string().contains("makes no database"));
    assert!(!nowhere.file().exists());
}

/// The SQL that a refusal gives is SQL that mends it.
#[tokio::test]
async fn what_is_said_to_mend_a_table_mends_it() {
    for broken in [
        DJANGO.replace("\"code\" integer NULL", "\"code\" integer NOT NULL"),
        DJANGO.replace("varchar(50) NOT NULL PRIMARY KEY", "varchar(50) NOT NULL"),
    ] {
        let folder = Folder::new();
        folder.sql(&broken);
        folder.sql(THEIRS);
        let refused = folder.open(&django(), true).err().unwrap().to_string();
        folder.sql(refused.rsplit_once("run: ").unwrap().1);
        folder.open(&django(), true).unwrap();
        assert_eq!(folder.rows("SELECT code FROM verification ORDER BY code"), ["1234", "4321"]);
    }
}

#[tokio::test]
async fn somebody_elses_table_is_altered_only_by_migrate_and_the_sql_can_be_read_before() {
    let folder = Folder::new();
    folder.sql(DJANGO);
    let before = folder.rows("SELECT sql FROM sqlite_schema ORDER BY name");
    let refused = folder.open(&django(), false).err().unwrap().to_string();
    assert!(refused.contains("countersign migrate --print") && refused.contains("countersign_state"), "{refused}");
    let sql = schema_sql(&django(), &folder.file()).unwrap();
    assert_eq!(folder.rows("SELECT sql FROM sqlite_schema ORDER BY name"), before, "nothing was changed");
    assert_eq!(sql.matches("ALTER TABLE \"verification\" ADD COLUMN countersign_").count(), 8);
    // Run by hand, it is what `migrate` would have done.
    folder.sql(&sql);
    assert_eq!(schema_sql(&django(), &folder.file()).unwrap(), "");
    folder.open(&django(), false).unwrap();
    // One column less, as after a rebuild of the table: only that is asked for.
    folder.sql("DROP INDEX countersign_due; ALTER TABLE verification DROP COLUMN countersign_due_at;");
    let sql = schema_sql(&django(), &folder.file()).unwrap();
    assert_eq!(sql.matches(';').count(), 2, "{sql}");
    folder.open(&django(), true).unwrap();
    assert!(!sql.contains("STRICT"));
}

#[tokio::test]
async fn bug_the_sql_that_is_printed_makes_a_file_that_is_up_to_date() {
    for layout in [Layout::Standalone, Layout::Minimal] {
        let folder = Folder::new();
        folder.sql(&schema_sql(&layout, &folder.file()).unwrap());
        drop(folder.open(&layout, false).unwrap());
        drop(folder.open(&layout, true).unwrap());
    }
}

#[tokio::test]
async fn a_file_of_another_layout_is_refused_by_its_name() {
    for (made, asked) in [(Layout::Standalone, Layout::Minimal), (Layout::Minimal, Layout::Standalone)] {
        let folder = Folder::new();
        drop(folder.open(&made, true).unwrap());
        let refused = folder.open(&asked, true).err().unwrap().to_string();
        assert!(refused.contains(&format!("store.layout = \"{}\"", made.as_str())), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_between_any_two_layouts() {
    let layouts = [Layout::Standalone, Layout::Minimal, django()];
    for from in &layouts {
        let source = Folder::new();
        source.sql(if matches!(from, Layout::Existing(_)) { DJANGO } else { "" });
        let bench = Bench::new(source.open(from, true).unwrap());
        let (first, code) = bench.send(TO).await;
        assert_eq!(bench.check(first, &code).await.unwrap(), CheckResult::Approved);
        let (id, code) = bench.send(TO).await;
        for to in &layouts {
            let target = Folder::new();
            target.sql(if matches!(to, Layout::Existing(_)) { DJANGO } else { "" });
            let there = Bench::new(target.open(to, true).unwrap());
            for kind in countersign::transfer::RowKind::ALL {
                let rows = bench.verifier.store().dump(kind, None, 100).await.unwrap();
                there.verifier.store().load(rows.into_iter().map(|dumped| dumped.row).collect()).await.unwrap();
            }
            assert_eq!(there.check_to(TO, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
            assert_eq!(there.check(id, &code).await.unwrap(), CheckResult::Approved, "{from:?} to {to:?}");
            let kept = there.verifier.verification(&Default::default(), first).await.unwrap().is_some();
            assert_eq!(kept, *from != Layout::Minimal && *to != Layout::Minimal);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_a_file_in_use_is_whole_and_overwrites_nothing() {
    let folder = Folder::new();
    let bench = Bench::new(folder.open(&Layout::Standalone, true).unwrap());
    let (id, code) = bench.send(TO).await;
    let copy = folder.0.join("copy.db");
    assert!(back_up(&folder.file(), &copy).unwrap() > 0);
    assert!(matches!(back_up(&folder.file(), &copy), Err(StoreError::Inconsistent(_))));
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    assert!(!folder.0.join("copy.db.part").exists());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o077, 0);
    }
    // The copy knows nothing of what came after it.
    let restored = Bench::new(Arc::new(SqliteStore::open(&copy, Options::default()).unwrap()));
    assert_eq!(restored.check(id, &code).await.unwrap(), CheckResult::Approved);
    assert!(back_up(&folder.0.join("nothing.db"), &folder.0.join("x.db")).is_err());
    assert!(!folder.0.join("x.db").exists() && !folder.0.join("x.db.part").exists());
}
