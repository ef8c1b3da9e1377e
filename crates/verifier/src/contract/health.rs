//! How providers do: every verification that has ended is counted once, whoever counts.

use countersign_core::health::{Figures, HealthRow, KEPT_FOR, hour_of};

use super::*;
use crate::SETTLED_AFTER;

const RWANDA: &str = "+250788123456";

fn of(rows: &[HealthRow], country: Option<&str>) -> Figures {
    let wanted = country.map(|country| country.parse().unwrap());
    rows.iter().filter(|row| row.key.country == wanted).fold(Figures::default(), |sum, row| sum.plus(row.figures))
}

fn settle(bench: &Bench) {
    bench.clock.advance(SETTLED_AFTER + Duration::from_secs(1));
}

pub async fn what_ended_is_counted_once_whoever_counts(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    let hour = hour_of(bench.verifier.now());
    let (approved, code) = bench.send(TO).await;
    bench.clock.advance(Duration::from_secs(20));
    assert_eq!(bench.check(approved, &code).await.unwrap(), CheckResult::Approved);
    let (wasted, code) = bench.send(RWANDA).await;
    for nth in 0..5 {
        bench.check(wasted, &wrong(&code, nth)).await.unwrap();
    }
    bench.phone.script([Outcome::Rejected { failure: Rejection::GiveUp, reason: "no".to_owned(), retry_after: None }]);
    let refused = bench.verifier.send(SendRequest::to("+250788123457")).await.unwrap();
    refused.wait(Duration::from_secs(10)).await.unwrap();
    let (pending, _) = bench.send("+255694230174").await;
    assert_eq!(bench.verifier.take_up_health().await.unwrap(), 0, "what has just ended may yet have receipts");
    settle(&bench);
    let counters = all((0..6).map(|_| {
        let verifier = bench.verifier.clone();
        async move { verifier.take_up_health().await.unwrap() }
    }));
    assert_eq!(counters.await.into_iter().sum::<usize>(), 3, "each by one of the six");
    assert_eq!(bench.verifier.take_up_health().await.unwrap(), 0);
    let rows = bench.verifier.health().await.unwrap();
    assert!(
        rows.iter().all(|row| row.key.hour == hour && row.key.provider == "phone" && row.key.channel == Channel::Sms)
    );
    let tanzania = Figures { sent: 1, accepted: 1, approved: 1, approved_ms: 20_000, ..Figures::default() };
    assert_eq!(of(&rows, Some("TZ")), tanzania, "one is pending and not counted");
    assert_eq!(of(&rows, Some("RW")), Figures { sent: 2, accepted: 1, failed: 1, ..Figures::default() });
    // It ends later, and is added to the same rows.
    bench.verifier.cancel(&ApplicationName::default(), pending).await.unwrap();
    settle(&bench);
    assert_eq!(bench.verifier.take_up_health().await.unwrap(), 1);
    let again = bench.verifier.health().await.unwrap();
    assert_eq!(again.len(), rows.len());
    assert_eq!(of(&again, Some("TZ")), Figures { sent: 2, accepted: 2, ..tanzania });
    // Who was at an older position adds nothing.
    let position = store.health_position().await.unwrap().unwrap();
    assert!(!store.take_up_health(position - 1, position + 9, &again).await.unwrap());
    assert_eq!(store.health_position().await.unwrap(), Some(position));
    assert_eq!(of(&store.health(hour).await.unwrap(), Some("TZ")), of(&again, Some("TZ")));
    assert!(store.health(hour + Duration::from_secs(1)).await.unwrap().is_empty(), "hours from then on");
}

pub async fn cleanup_counts_before_it_deletes_and_forgets_old_figures(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    let sending = bench.verifier.send(SendRequest::to("jane@example.com").channel(Channel::Email)).await.unwrap();
    // What is still being written down is passed over by a cleanup.
    sending.wait(Duration::from_secs(10)).await.unwrap();
    let code = bench.phone.wait_for_code("jane@example.com").await;
    bench.check_to("jane@example.com", &code).await.unwrap();
    bench.clock.advance(Duration::from_secs(48 * 60 * 60));
    let cleanup = Cleanup { older_than: Duration::from_secs(3600), ..Cleanup::default() };
    assert_eq!(bench.verifier.clean_up(cleanup, false, |_| true).await.unwrap().verifications, 1);
    assert_eq!(of(&bench.verifier.health().await.unwrap(), None).approved, 1);
    bench.clock.advance(KEPT_FOR);
    let now = bench.verifier.now();
    assert!(bench.verifier.health().await.unwrap().is_empty());
    assert_eq!(store.health(Timestamp::EPOCH).await.unwrap().len(), 1);
    assert_eq!(store.cleanup(now, now, 10, true).await.unwrap().others, 1);
    assert_eq!(store.cleanup(now, now, 10, false).await.unwrap().others, 1);
    assert!(store.health(Timestamp::EPOCH).await.unwrap().is_empty());
}

pub async fn figures_are_moved_and_not_counted_again(store: Arc<dyn Store>) {
    let source: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let bench = Bench::new(Arc::clone(&source));
    let (id, code) = bench.send(TO).await;
    bench.check(id, &code).await.unwrap();
    settle(&bench);
    bench.verifier.take_up_health().await.unwrap();
    let mut rows = Vec::new();
    for kind in RowKind::ALL {
        rows.extend(source.dump(kind, None, 100).await.unwrap().into_iter().map(|dumped| dumped.row));
    }
    assert!(store.load(rows).await.unwrap().iter().all(|loaded| *loaded == Loaded::New));
    let here = Bench::new(Arc::clone(&store));
    here.clock.advance(SETTLED_AFTER * 10);
    here.verifier.take_up_health().await.unwrap();
    assert_eq!(store.health(Timestamp::EPOCH).await.unwrap(), source.health(Timestamp::EPOCH).await.unwrap());
}
