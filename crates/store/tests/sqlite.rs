//! The SQLite store keeps the promises of the port, and those that only a file can make.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use countersign::Store;
use countersign::contract::{Bench, wrong};
use countersign::core::check::CheckResult;
use countersign::store::StoreError;
use countersign_store::sqlite::{Options, SqliteStore};

/// A new file in a folder of its own, named after the test, deleted with it.
struct File(PathBuf);

impl File {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let test = std::thread::current().name().unwrap().replace(':', "-");
        let name = format!("sqlite-{test}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        // What a run before this one left there, since it was ended or kept its store open to the last.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder.join("test.db"))
    }

    fn open(&self) -> Arc<dyn Store> {
        Arc::new(SqliteStore::open(&self.0, Options::default()).unwrap())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.0.parent().unwrap());
    }
}

async fn open() -> Arc<dyn Store> {
    // The file is left to the folder's end: the store outlives this function.
    let file = std::mem::ManuallyDrop::new(File::new());
    file.open()
}

countersign::store_contract!(open);

const TO: &str = "+255694230173";

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_survives_a_reopening() {
    let file = File::new();
    let bench = Bench::new(file.open());
    let (id, code) = bench.send(TO).await;
    assert_eq!(bench.check(id, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    // Not closed: as if the process had stopped here. Another connection sees what was answered.
    let again = Bench::new(file.open());
    let (row, _) = again.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
    assert_eq!(row.wrong_by_id, 1);
    assert_eq!(again.check(id, &code).await.unwrap(), CheckResult::Approved);
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::AlreadyUsed);
}

#[tokio::test(flavor = "multi_thread")]
async fn bug_h4_two_writers_on_one_file_are_exact() {
    let file = File::new();
    let (one, two) = (Bench::new(file.open()), Bench::new(file.open()));
    for round in 0..20 {
        let to = format!("+2556942301{round:02}");
        let (id, code) = one.send(&to).await;
        let mut tasks = Vec::new();
        for nth in 0..60 {
            let verifier = if nth % 2 == 0 { &one } else { &two }.verifier.clone();
            let code = if nth % 3 == 0 { code.clone() } else { wrong(&code, nth) };
            tasks.push(tokio::spawn(async move {
                verifier.check(countersign::CheckRequest::by_id(id, &code)).await.unwrap().result
            }));
        }
        let mut results = Vec::new();
        for task in tasks {
            results.push(task.await.unwrap());
        }
        let count = |wanted| results.iter().filter(|result| **result == wanted).count();
        assert!(count(CheckResult::Approved) <= 1);
        assert!(count(CheckResult::Incorrect) <= 5);
        assert_eq!(count(CheckResult::Approved) == 0, count(CheckResult::Incorrect) == 5, "{results:?}");
    }
}

#[tokio::test]
async fn bug_h8_a_newer_schema_is_refused_in_words() {
    let file = File::new();
    drop(file.open());
    let connection = rusqlite::Connection::open(&file.0).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let refused = SqliteStore::open(&file.0, Options::default()).err().unwrap();
    assert!(matches!(refused, StoreError::Inconsistent(_)));
    assert!(refused.to_string().contains("schema 99"), "{refused}");
}

#[tokio::test]
async fn a_file_of_something_else_is_left_alone() {
    let file = File::new();
    let connection = rusqlite::Connection::open(&file.0).unwrap();
    connection.execute_batch("CREATE TABLE shop (id INTEGER)").unwrap();
    drop(connection);
    let refused = SqliteStore::open(&file.0, Options::default()).err().unwrap();
    assert!(refused.to_string().contains("something else"), "{refused}");
    std::fs::write(&file.0, b"not a database at all, but long enough to look at").unwrap();
    assert!(SqliteStore::open(&file.0, Options::default()).is_err());
}

#[tokio::test]
async fn a_file_that_must_be_migrated_is_refused_when_told_so() {
    let file = File::new();
    let options = Options { migrate: false, ..Options::default() };
    let refused = SqliteStore::open(&file.0, options).err().unwrap();
    assert!(refused.to_string().contains("countersign migrate"), "{refused}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_new_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let file = File::new();
    let _store = file.open();
    for entry in std::fs::read_dir(file.0.parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{:?}", entry.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_store_says_so_and_leaves_one_file() {
    let file = File::new();
    let bench = Bench::new(file.open());
    bench.send(TO).await;
    bench.verifier.shut_down(Duration::from_secs(5)).await.unwrap();
    assert!(
        bench
            .verifier
            .store()
            .create_application(&countersign::store::ApplicationRecord {
                name: Default::default(),
                account_sid: "AC0".into(),
                created_at: bench.verifier.now(),
            })
            .await
            .is_err()
    );
    let wal = file.0.with_extension("db-wal");
    assert!(!wal.exists() || wal.metadata().unwrap().len() == 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_blocked_too_long_is_unavailable_and_nothing_is_evaluated() {
    let file = File::new();
    let store: Arc<dyn Store> = Arc::new(
        SqliteStore::open(&file.0, Options { busy: Duration::from_millis(100), ..Options::default() }).unwrap(),
    );
    let bench = Bench::new(store);
    let (id, code) = bench.send(TO).await;
    let blocker = rusqlite::Connection::open(&file.0).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert!(bench.check(id, &code).await.is_err());
    assert!(bench.check(id, &wrong(&code, 0)).await.is_err());
    assert!(bench.verifier.store().ping().await.is_err(), "who cannot write is not ready");
    blocker.execute_batch("ROLLBACK").unwrap();
    let (row, _) = bench.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
    assert_eq!(row.wrong_by_id, 0);
    bench.verifier.store().ping().await.unwrap();
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn bug_h6_a_file_that_is_moved_or_replaced_takes_no_decision_until_it_is_back() {
    let file = File::new();
    let bench = Bench::new(file.open());
    let (id, code) = bench.send(TO).await;
    let elsewhere = file.0.with_extension("moved");
    std::fs::rename(&file.0, &elsewhere).unwrap();
    for replaced in [false, true] {
        if replaced {
            std::fs::write(&file.0, "").unwrap();
        }
        assert!(bench.check(id, &wrong(&code, 0)).await.is_err());
        assert!(bench.check(id, &code).await.is_err());
        assert!(bench.verifier.verification(&Default::default(), id).await.is_err());
        assert!(bench.verifier.store().ping().await.is_err());
    }
    std::fs::rename(&elsewhere, &file.0).unwrap();
    let (row, _) = bench.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
    assert_eq!(row.wrong_by_id, 0);
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_writer_remembers_is_what_the_file_has() {
    let file = File::new();
    let bench = Bench::new(file.open());
    let (id, code) = bench.send(TO).await;
    let read = async || bench.verifier.verification(&Default::default(), id).await.unwrap();
    // The outcome of the delivery is written whenever it comes.
    while read().await.unwrap().1[0].status == countersign::core::verification::DeliveryStatus::Queued {
        tokio::task::yield_now().await;
    }
    for offered in [wrong(&code, 0), wrong(&code, 1), code.clone(), code] {
        let checked = bench.verifier.check(countersign::CheckRequest::by_id(id, &offered)).await.unwrap();
        let read = read().await;
        assert_eq!(checked.verification, read, "decisions see the one, everybody else the other");
    }
}
