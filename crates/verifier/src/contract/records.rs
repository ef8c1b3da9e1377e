//! Records of doors, API keys, and cleaning up.

use super::*;

pub(super) fn record(kind: &str, id: &str, parent: Option<&str>) -> Record {
    Record {
        name: RecordName { application: ApplicationName::default(), kind: kind.to_owned(), id: id.to_owned() },
        parent: parent.map(str::to_owned),
        body: format!("{{\"of\":\"{id} – „x“\"}}"),
        created_at: Timestamp::from_millis(1_790_000_000_000),
        updated_at: Timestamp::from_millis(1_790_000_000_000),
    }
}

pub async fn records_are_kept_and_go_with_their_parent(store: Arc<dyn Store>) {
    let family = [
        record("house", "h1", None),
        record("room", "r1", Some("h1")),
        record("bed", "b1", Some("r1")),
        record("room", "r2", Some("h1")),
        record("house", "h2", None),
        record("room", "r3", Some("h2")),
    ];
    for kept in &family {
        assert!(store.create_record(kept).await.unwrap());
        assert!(!store.create_record(kept).await.unwrap(), "one of each name");
        assert_eq!(store.record(&kept.name).await.unwrap().as_ref(), Some(kept));
    }
    let elsewhere = RecordName { application: "other".parse().unwrap(), ..family[0].name.clone() };
    assert!(store.record(&elsewhere).await.unwrap().is_none());
    assert!(!store.delete_record(&elsewhere).await.unwrap());
    let page = async |kind: &str, parent: Option<&str>, limit, after| {
        let (kind, parent) = (kind.to_owned(), parent.map(str::to_owned));
        let filter = RecordFilter { application: ApplicationName::default(), kind, parent, limit, after };
        let page = store.records(&filter).await.unwrap();
        (page.rows.into_iter().map(|record| record.name.id).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = page("room", None, 2, None).await;
    assert_eq!(first, ["r3", "r2"], "newest first");
    assert_eq!(page("room", None, 2, next).await, (vec!["r1".to_owned()], None));
    assert_eq!(page("room", Some("h1"), 2, None).await, (vec!["r2".to_owned(), "r1".to_owned()], None));
    let changed =
        Record { body: "{}".into(), updated_at: Timestamp::from_millis(1_790_000_000_001), ..family[3].clone() };
    assert!(store.update_record(&changed).await.unwrap());
    assert_eq!(store.record(&changed.name).await.unwrap(), Some(changed));
    assert!(!store.update_record(&record("house", "h3", None)).await.unwrap());
    assert!(store.delete_record(&family[0].name).await.unwrap());
    assert!(!store.delete_record(&family[0].name).await.unwrap());
    for gone in &family[..4] {
        assert!(store.record(&gone.name).await.unwrap().is_none(), "{gone:?}");
    }
    assert_eq!(page("room", None, 9, None).await, (vec!["r3".to_owned()], None));
    assert!(store.create_record(&family[0]).await.unwrap(), "a name that was freed can be taken again");
}

pub async fn records_of_one_name_are_created_once(store: Arc<dyn Store>) {
    let made = all((0..20).map(|_| {
        let store = Arc::clone(&store);
        async move { store.create_record(&record("house", "h1", None)).await.unwrap() }
    }))
    .await;
    assert_eq!(made.into_iter().filter(|made| *made).count(), 1);
}

pub async fn keys_are_found_by_digest_until_revoked(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let name = ApplicationName::default();
    let (record, created) = bench.verifier.create_application(&name).await.unwrap();
    assert!(created);
    assert_eq!(bench.verifier.create_application(&name).await.unwrap(), (record.clone(), false));
    let key = bench.verifier.create_key(&name).await.unwrap();
    assert_eq!(key.account_sid, record.account_sid);
    assert_eq!(bench.verifier.authenticate(&key.key).await.unwrap().unwrap().application, name);
    assert!(bench.verifier.authenticate(&key.auth_token).await.unwrap().is_none());
    assert!(bench.verifier.authenticate("cs_0000").await.unwrap().is_none());
    let digests: HashSet<_> =
        [key.record.key_digest, key.record.auth_token_digest, key.record.key_secret_digest].into();
    assert_eq!(digests.len(), 3);
    for digest in digests {
        assert_eq!(bench.verifier.store().key_by_digest(digest).await.unwrap().unwrap(), key.record);
    }
    assert!(bench.verifier.store().revoke_key(&key.record.id, bench.verifier.now()).await.unwrap());
    assert!(!bench.verifier.store().revoke_key("key_0", bench.verifier.now()).await.unwrap());
    bench.clock.advance(Duration::from_secs(1));
    assert!(bench.verifier.authenticate(&key.key).await.unwrap().is_none());
    assert_eq!(
        bench.verifier.store().keys(&name).await.unwrap()[0].revoked_at,
        Some(bench.verifier.now() - Duration::from_secs(1))
    );
}

pub async fn cleanup_is_bounded_and_spares_the_living(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| application.limits = LimitRule::defaults());
    for nth in 0..25 {
        let (id, code) = bench.send(&format!("+2556942301{nth:02}")).await;
        bench.check(id, &wrong(&code, 0)).await.unwrap();
    }
    bench.clock.advance(Duration::from_secs(48 * 60 * 60));
    let (living, code) = bench.send("+255694230199").await;
    let cleanup = Cleanup { batch: 10, pause: Duration::ZERO, ..Cleanup::default() };
    let dry = bench.verifier.clean_up(cleanup, true, |_| true).await.unwrap();
    assert_eq!(dry.verifications, 25);
    let now = bench.verifier.now();
    let batch = bench.verifier.store().cleanup(now - cleanup.older_than, now, 10, false).await.unwrap();
    assert_eq!((batch.verifications, batch.more), (10, true));
    // Two at once are harmless: each row is deleted by one of them.
    let both = all((0..2).map(|_| {
        let verifier = bench.verifier.clone();
        async move { verifier.clean_up(cleanup, false, |_| true).await.unwrap() }
    }))
    .await;
    assert_eq!(both[0].verifications + both[1].verifications, 15);
    let left = bench.verifier.clean_up(cleanup, true, |_| true).await.unwrap();
    assert_eq!((left.verifications, left.others), (0, 0));
    assert_eq!(bench.check(living, &code).await.unwrap(), CheckResult::Approved);
    assert_eq!(Policy::default().max_checks, 5);
}
