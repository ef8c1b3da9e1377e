//! Moving: everything is read whole, and what is loaded is as it was.

use super::answers::{answer_key, new_answer};
use super::records::record;
use super::*;
use countersign_core::health::{Figures, HealthKey, HealthRow};

/// Something of every kind, nothing of it replaced by what came later. Gives an id that is pending, and its code.
async fn filled(store: &Arc<dyn Store>) -> (VerificationId, String) {
    let bench = Bench::with(Arc::clone(store), |application| {
        application.limits = LimitRule::defaults();
        application.policy.allow_custom_code = true;
    });
    let name = ApplicationName::default();
    bench.verifier.create_application(&name).await.unwrap();
    bench.verifier.create_application(&"other".parse().unwrap()).await.unwrap();
    for _ in 0..3 {
        bench.verifier.create_key(&name).await.unwrap();
    }
    let revoked = store.keys(&name).await.unwrap()[0].id.clone();
    store.revoke_key(&revoked, bench.verifier.now()).await.unwrap();
    for kept in [record("house", "h1", None), record("room", "r1", Some("h1")), record("room", "r2", Some("h1"))] {
        assert!(store.create_record(&kept).await.unwrap());
    }
    for key in 1..4 {
        store.begin_answer(&answer_key(key), new_answer(key, bench.verifier.now())).await.unwrap();
    }
    store.keep_answer(&answer_key(2), vec![0, 1, 255]).await.unwrap();
    for nth in 0..5 {
        let (id, code) = bench.send(&format!("+25569423016{nth}")).await;
        let offered = if nth == 0 { code } else { wrong(&code, nth) };
        bench.check(id, &offered).await.unwrap();
    }
    if let Some(position) = store.health_position().await.unwrap() {
        let key = |country: Option<&str>| HealthKey {
            hour: Timestamp::from_millis(1_789_999_200_000),
            application: name.clone(),
            provider: "phone".to_owned(),
            channel: Channel::Sms,
            country: country.map(|country| country.parse().unwrap()),
        };
        let row = |country| HealthRow { key: key(country), figures: Figures::from_array([9, 8, 7, 6, 5, 4, 3, 2, 1]) };
        let rows = [row(Some("TZ")), row(Some("RW")), row(None)];
        assert!(store.take_up_health(position, position, &rows).await.unwrap());
    }
    let service = ServiceId::from_bytes([3; 16]);
    let request = SendRequest::to("jane@example.com").channel(Channel::Email).service(service).client("192.0.2.1");
    let metadata = BTreeMap::from([("order".to_owned(), "12 – „x“".to_owned())]);
    let sending = bench.verifier.send(request.custom_code("00012345").metadata(metadata)).await.unwrap();
    sending.wait(Duration::from_secs(10)).await.unwrap();
    bench.send(TO).await
}

/// Everything, by kind, read in pages of `most`.
async fn whole(store: &Arc<dyn Store>, most: usize) -> Vec<Dumped> {
    let mut rows = Vec::new();
    for kind in RowKind::ALL {
        let mut after = None;
        loop {
            let page = store.dump(kind, after.as_deref(), most).await.unwrap();
            assert!(page.len() <= most && page.iter().all(|dumped| dumped.row.kind() == kind));
            let last = page.len() < most;
            after = page.last().map(|dumped| dumped.place.clone()).or(after);
            rows.extend(page);
            if last {
                break;
            }
        }
    }
    rows
}

fn rows_of(dumped: Vec<Dumped>) -> Vec<Row> {
    dumped.into_iter().map(|dumped| dumped.row).collect()
}

/// Whether they are the same rows, in order where a kind has one: names come in the order that a store sorts them.
fn are_same(left: &[Row], right: &[Row]) -> bool {
    RowKind::ALL.into_iter().all(|kind| {
        let of = |rows: &[Row]| rows.iter().filter(|row| row.kind() == kind).cloned().collect::<Vec<_>>();
        let (left, right) = (of(left), of(right));
        match kind {
            RowKind::Record | RowKind::Verification | RowKind::Event => left == right,
            _ => left.len() == right.len() && left.iter().all(|row| right.contains(row)),
        }
    })
}

pub async fn what_is_here_is_read_whole_and_in_pages(store: Arc<dyn Store>) {
    let (id, code) = filled(&store).await;
    let rows = whole(&store, 1000).await;
    assert!(rows == whole(&store, 1).await && rows == whole(&store, 2).await, "pages of any length give the same");
    let count = |kind| rows.iter().filter(|dumped| dumped.row.kind() == kind).count();
    assert_eq!((count(RowKind::Application), count(RowKind::Key), count(RowKind::Record)), (2, 3, 3));
    assert_eq!((count(RowKind::Verification), count(RowKind::Answer), count(RowKind::Guesses)), (7, 3, 4));
    assert!(count(RowKind::Limit) >= 7);
    // And it is all there is to know: another store goes on from it.
    let elsewhere: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let loaded = elsewhere.load(rows_of(rows)).await.unwrap();
    assert!(loaded.iter().all(|loaded| *loaded == Loaded::New), "{loaded:?}");
    let bench = Bench::new(elsewhere);
    assert_eq!(bench.check(id, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
}

pub async fn what_was_moved_here_is_as_it_was(store: Arc<dyn Store>) {
    let source: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let (id, code) = filled(&source).await;
    let rows = rows_of(whole(&source, 1000).await);
    let loaded = store.load(rows.clone()).await.unwrap();
    assert_eq!(loaded.len(), rows.len());
    let kept: Vec<_> = rows.into_iter().zip(&loaded).filter(|(_, loaded)| **loaded != Loaded::NotKept).collect();
    assert!(kept.iter().all(|(_, loaded)| **loaded == Loaded::New), "{loaded:?}");
    assert!(loaded.iter().filter(|loaded| **loaded == Loaded::NotKept).count() == loaded.len() - kept.len());
    let rows: Vec<_> = kept.into_iter().map(|(row, _)| row).collect();
    assert!(rows.iter().any(|row| row.kind() == RowKind::Verification));
    assert!(
        are_same(&rows_of(whole(&store, 1000).await), &rows),
        "what was written is read back as it was, in its order"
    );
    let again = store.load(rows.clone()).await.unwrap();
    assert!(again.iter().all(|loaded| *loaded == Loaded::Same), "{again:?}");
    // What is here is left, and one that was followed by another is not put before it.
    let mut changed = rows.clone();
    for row in &mut changed {
        match row {
            Row::Application(row) => row.created_at = Timestamp::EPOCH,
            Row::Key(row) => row.key_sid = "SK0".to_owned(),
            Row::Record(row) => row.body = "{}".to_owned(),
            Row::Verification(row, _) => row.sends += 1,
            Row::Limit(_, tat) => tat.0 += 1,
            Row::Guesses(_, log) => log.by_id.push(Timestamp::EPOCH),
            Row::Answer(row) => row.answer = Some(b"another".to_vec()),
            Row::Event(_, event) => event.at = Timestamp::EPOCH,
            Row::Health(row) => row.figures.sent += 1,
        }
    }
    let differs = store.load(changed).await.unwrap();
    assert!(differs.iter().all(|loaded| *loaded == Loaded::Differs), "{differs:?}");
    let Some(Row::Verification(row, _)) = rows.iter().find(|row| row.kind() == RowKind::Verification) else {
        unreachable!("there are verifications")
    };
    let mut older = row.clone();
    older.id = VerificationId::from_bytes([0xEE; 16]);
    older.created_at = older.created_at - Duration::from_secs(1);
    assert_eq!(store.load(vec![Row::Verification(older, Vec::new())]).await.unwrap(), [Loaded::Older]);
    assert!(are_same(&rows_of(whole(&store, 1000).await), &rows), "nothing was changed");
    let bench = Bench::new(store);
    assert_eq!(bench.check(id, &wrong(&code, 0)).await.unwrap(), CheckResult::Incorrect);
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Approved);
    // Receipts find what was moved.
    let (_, deliveries) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    let delivery = deliveries[0].id.to_string();
    assert!(bench.verifier.receipt("phone", &delivery, DeliveryStatus::Delivered, None).await.unwrap());
}
