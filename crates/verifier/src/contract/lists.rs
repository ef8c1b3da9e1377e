//! Lists and what is found by a delivery.

use super::*;

pub async fn lists_are_paged_newest_first(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let mut ids = Vec::new();
    for nth in 0..7 {
        ids.push(bench.send(&format!("+25569423018{nth}")).await.0);
    }
    ids.reverse();
    bench.verifier.cancel(&ApplicationName::default(), ids[0]).await.unwrap();
    let mut filter = ListFilter { limit: 3, ..everything(&bench) };
    let mut seen = Vec::new();
    loop {
        let page = bench.verifier.list(&filter).await.unwrap();
        assert!(page.rows.len() <= 3);
        assert!(page.rows.iter().all(|(_, deliveries)| deliveries.len() == 1));
        seen.extend(page.rows.into_iter().map(|(row, _)| row.id));
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ids);
    let count = async |status| {
        bench
            .verifier
            .list(&ListFilter { status: Some(status), limit: 100, ..filter.clone() })
            .await
            .unwrap()
            .rows
            .len()
    };
    assert_eq!((count(Status::Pending).await, count(Status::Canceled).await, count(Status::Expired).await), (6, 1, 0));
    let later = ListFilter {
        now: filter.now + Duration::from_secs(300),
        status: Some(Status::Expired),
        limit: 100,
        ..filter.clone()
    };
    assert_eq!(bench.verifier.list(&later).await.unwrap().rows.len(), 6);
    let to = ListFilter {
        to: Some(countersign_core::destination::Destination::parse("+255694230183", None).unwrap()),
        ..filter
    };
    assert_eq!(bench.verifier.list(&to).await.unwrap().rows.len(), 1);
}

pub async fn lists_are_cut_by_time(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let mut begun = Vec::new();
    for nth in 0..3 {
        begun.push((bench.verifier.now(), bench.send(&format!("+25569423018{nth}")).await.0));
        bench.clock.advance(Duration::from_secs(1));
    }
    let (at, second) = begun[1];
    let ids = async |since, until| -> Vec<_> {
        let page = bench.verifier.list(&ListFilter { since, until, ..everything(&bench) }).await.unwrap();
        page.rows.into_iter().map(|(row, _)| row.id).collect()
    };
    assert_eq!(ids(Some(at), Some(at + Duration::from_millis(1))).await, [second]);
    assert_eq!(ids(Some(at), None).await, [begun[2].1, second]);
    assert_eq!(ids(None, Some(at)).await, [begun[0].1]);
}

pub async fn a_verification_is_found_by_its_delivery(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, _) = bench.send(TO).await;
    bench.send("+255694230174").await;
    let (default, store) = (ApplicationName::default(), bench.verifier.store());
    let whole = bench.verifier.verification(&default, id).await.unwrap().unwrap();
    let delivery = whole.1[0].id;
    assert_eq!(store.verification_of(&default, delivery).await.unwrap().unwrap(), whole);
    assert!(store.verification_of(&"other".parse().unwrap(), delivery).await.unwrap().is_none());
    let nobody = countersign_core::id::DeliveryId::from_bytes([9; 16]);
    assert!(store.verification_of(&default, nobody).await.unwrap().is_none());
}
