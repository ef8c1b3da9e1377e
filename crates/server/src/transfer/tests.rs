#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::sync::Arc;
use std::time::Duration;

use countersign::contract::Bench;
use countersign::core::check::CheckResult;
use countersign::core::code::{Key, KeyRing};
use countersign::{MemoryStore, Store};
use proptest::prelude::*;

use super::*;

fn ring() -> KeyRing {
    KeyRing::new("k1", Key::from_bytes([7; 32]))
}

/// A store with `count` destinations that were written to, and its export.
async fn exported(count: usize) -> (Bench, Vec<u8>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let bench = Bench::new(Arc::clone(&store));
    bench.verifier.create_application(&Default::default()).await.unwrap();
    for nth in 0..count {
        bench.send(&format!("+2556942{nth:05}")).await;
    }
    let mut file = Vec::new();
    let done = export(&*store, "standalone", Exported::default(), &mut file, |_| true).await.unwrap();
    assert!(done.rows as usize > count && !done.interrupted);
    (bench, file)
}

async fn imported(store: &Arc<dyn Store>, bench: &Bench, file: &[u8]) -> Result<Imported, ImportError> {
    import(&**store, Some(&ring()), bench.verifier.now(), file, |_| true).await
}

fn empty() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

#[tokio::test]
async fn a_file_is_whole_and_can_be_taken_in_twice() {
    let (bench, file) = exported(3).await;
    let store = empty();
    let first = imported(&store, &bench, &file).await.unwrap();
    assert!(first.is_whole && first.new.values().sum::<u64>() == first.rows());
    let again = imported(&store, &bench, &file).await.unwrap();
    assert!(again.is_whole && again.same == first.rows(), "{again:?}");
    let there = Bench::new(store);
    let code = bench.phone.messages()[0].code.clone();
    assert_eq!(there.check_to("+255694200000", &code).await.unwrap(), CheckResult::Approved);
    let used = imported(&Arc::clone(there.verifier.store()), &bench, &file).await.unwrap();
    assert!(used.differs >= 1 && used.notes[0].what.starts_with("verification vf_"), "{used:?}");
    assert_eq!(there.check_to("+255694200000", &code).await.unwrap(), CheckResult::NotFound, "what is there was left");
}

#[tokio::test]
async fn an_export_that_was_cut_at_any_byte_is_gone_on_with() {
    let (bench, file) = exported(4).await;
    for cut in (0..file.len()).step_by(37) {
        let done = match resume(&file[..cut]) {
            Ok(done) => done,
            Err(ExportError::Complete(_)) => continue,
            Err(error) => unreachable!("{cut}: {error}"),
        };
        let mut whole = file[..done.bytes as usize].to_vec();
        export(&**bench.verifier.store(), "standalone", done, &mut whole, |_| true).await.unwrap();
        assert!(whole == file, "cut at {cut}");
    }
    assert!(matches!(resume(&file[..]), Err(ExportError::Complete(_))));
    assert!(matches!(resume(&b"{\"a\":1}\n"[..]), Err(ExportError::NoExport)));
}

#[tokio::test]
async fn an_export_that_was_told_to_stop_has_whole_pages() {
    let (bench, file) = exported(3).await;
    let mut part = Vec::new();
    let store = Arc::clone(bench.verifier.store());
    let done = export(&*store, "standalone", Exported::default(), &mut part, |rows| rows < 2).await.unwrap();
    assert!(done.interrupted && file.starts_with(&part));
    let (before, target) = (done.rows, empty());
    let partly = imported(&target, &bench, &part).await.unwrap();
    assert!(!partly.is_whole && partly.rows() == before);
    assert!(imported(&target, &bench, &file).await.unwrap().same >= before);
}

#[tokio::test]
async fn a_broken_line_says_its_number_and_loses_nothing() {
    let (bench, file) = exported(3).await;
    let text = String::from_utf8(file).unwrap();
    let lines: Vec<_> = text.lines().collect();
    for broken in ["{", "", "7", "{\"kind\":\"verification\"}", "{\"kind\":\"what\"}", "\u{0}"] {
        for at in 1..lines.len() - 1 {
            let mut changed = lines.clone();
            changed[at] = broken;
            let store = empty();
            let error = imported(&store, &bench, changed.join("\n").as_bytes()).await.unwrap_err();
            assert!(error.to_string().starts_with(&format!("line {}: ", at + 1)), "{error}");
            // Mended, the rest comes in, and what was in is the same.
            let rest = imported(&store, &bench, text.as_bytes()).await.unwrap();
            assert_eq!((rest.same as usize, rest.is_whole), (at - 1, true));
        }
    }
    for (start, expected) in [
        ("", "line 1: the file is empty"),
        ("{}\n", "line 1: this is no export"),
        ("{\"countersign\":\"export\",\"version\":99,\"layout\":\"x\"}\n", "of a later version (99)"),
    ] {
        let error = imported(&empty(), &bench, start.as_bytes()).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[tokio::test]
async fn a_verification_that_could_not_be_checked_here_is_not_taken_in() {
    let (bench, file) = exported(1).await;
    let other = KeyRing::new("k2", Key::from_bytes([8; 32]));
    for ring in [None, Some(&other)] {
        let store = empty();
        let now = bench.verifier.now();
        let error = import(&*store, ring, now, &file[..], |_| true).await.unwrap_err();
        assert!(
            error.to_string().contains("under the key k1") && error.to_string().contains("bring the key ring"),
            "{error}"
        );
        // One that is over needs no key.
        let later = now + Duration::from_secs(300);
        assert!(import(&*store, ring, later, &file[..], |_| true).await.unwrap().is_whole);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is in a file, there is an answer, and no destination in it.
    #[test]
    fn a_file_with_anything_in_it_is_read_or_refused(at: prop::sample::Index, with in prop::collection::vec(any::<u8>(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (bench, mut file) = exported(2).await;
            let at = at.index(file.len());
            file.splice(at..(at + with.len()).min(file.len()), with);
            if let Err(error) = imported(&empty(), &bench, &file).await {
                assert!(!error.to_string().contains("2556942"), "{error}");
            }
            let _ = resume(&file[..]);
        });
    }
}
