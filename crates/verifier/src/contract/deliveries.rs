//! Deliveries: claimed, taken over, reported; what happened, and what is due.

use super::*;

/// Commits a send whose carrier is never heard of again: the phone says nothing and the process is gone.
async fn abandoned(store: &Arc<dyn Store>) -> (Bench, VerificationId) {
    let bench = Bench::new(Arc::clone(store));
    let unheard = Outcome::Rejected {
        failure: Rejection::RetryLater,
        reason: "busy".into(),
        retry_after: Some(Duration::from_secs(100)),
    };
    bench.phone.script([unheard]);
    let sending = bench.verifier.send(SendRequest::to(TO)).await.unwrap();
    let id = sending.sent.verification.id;
    // Until the first attempt has failed and the second one is waiting in a task of this verifier.
    for _ in 0..1000 {
        let (_, deliveries) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
        if deliveries.len() == 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    (bench, id)
}

pub async fn an_overdue_delivery_is_claimed_once(store: Arc<dyn Store>) {
    let (bench, id) = abandoned(&store).await;
    let now = bench.verifier.now();
    let lease = Duration::from_secs(30);
    assert!(store.claim(now, lease, 10).await.unwrap().is_empty(), "it is under its carrier's lease");
    let later = now + Duration::from_secs(200);
    let claims = all((0..8).map(|_| {
        let store = Arc::clone(&store);
        async move { store.claim(later, lease, 10).await.unwrap() }
    }))
    .await;
    let claimed: Vec<_> = claims.into_iter().flatten().collect();
    assert_eq!(claimed.len(), 1);
    assert_eq!(claimed[0].verification.id, id);
    assert_eq!(claimed[0].delivery.claims, 2);
    assert_eq!(claimed[0].delivery.lease_until, later + lease);
}

pub async fn a_carrier_that_lost_its_lease_is_not_heard(store: Arc<dyn Store>) {
    let (bench, id) = abandoned(&store).await;
    let now = bench.verifier.now();
    store.claim(now + Duration::from_secs(200), Duration::from_secs(600), 10).await.unwrap();
    // The first carrier wakes up and carries it after all; its outcome is under the old claim.
    bench.clock.advance(Duration::from_secs(110));
    bench.phone.wait_for_code(TO).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let (_, deliveries) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    assert_eq!(deliveries[1].status, DeliveryStatus::Queued);
    assert_eq!(deliveries[1].claims, 2);
}

pub async fn an_unclaimed_delivery_is_carried(store: Arc<dyn Store>) {
    let (first, id) = abandoned(&store).await;
    drop(first);
    let second = Bench::new(Arc::clone(&store));
    second.clock.advance(Duration::from_secs(200));
    assert_eq!(second.verifier.carry_overdue().await.unwrap(), 1);
    let code = second.phone.wait_for_code(TO).await;
    assert_eq!(second.check(id, &code).await.unwrap(), CheckResult::Approved);
    let (_, deliveries) = second.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    assert_eq!(deliveries.len(), 3, "each attempt is there: {deliveries:?}");
    assert_eq!(deliveries[1].status, DeliveryStatus::Unknown);
}

pub async fn receipts_find_their_delivery(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    bench.phone.script([Outcome::Accepted { message_id: Some("m-1".into()) }]);
    let (id, _) = bench.send(TO).await;
    let status =
        async || bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap().1[0].clone();
    let delivery = status().await;
    assert_eq!(delivery.message_id.as_deref(), Some("m-1"));
    assert!(!bench.verifier.receipt("another", "m-1", DeliveryStatus::Failed, None).await.unwrap());
    assert!(bench.verifier.receipt("phone", "m-1", DeliveryStatus::Undelivered, Some("absent".into())).await.unwrap());
    assert_eq!(status().await.status, DeliveryStatus::Undelivered);
    assert!(bench.verifier.receipt("phone", &delivery.id.to_string(), DeliveryStatus::Delivered, None).await.unwrap());
    assert!(bench.verifier.receipt("phone", "m-1", DeliveryStatus::Accepted, None).await.unwrap());
    assert_eq!(status().await.status, DeliveryStatus::Delivered);
}

pub async fn events_come_in_order_and_once(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, code) = bench.send(TO).await;
    bench.check(id, &wrong(&code, 0)).await.unwrap();
    bench.check(id, &code).await.unwrap();
    bench.check(id, &code).await.unwrap();
    let events = bench.verifier.store().events(0, 100).await.unwrap();
    let kinds: Vec<_> = events.iter().map(|(_, event)| event.kind).collect();
    assert_eq!(kinds, [EventKind::VerificationCreated, EventKind::DeliveryAccepted, EventKind::VerificationApproved]);
    assert!(events.is_sorted_by_key(|(place, _)| *place));
    let rest = bench.verifier.store().events(events[0].0, 1).await.unwrap();
    assert_eq!(rest, events[1..2]);
}

pub async fn each_end_is_one_event(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, code) = bench.send(TO).await;
    let results = all((0..20).map(|_| {
        let (verifier, request) = (bench.verifier.clone(), CheckRequest::by_id(id, &code));
        async move { verifier.check(request).await.unwrap().result }
    }))
    .await;
    assert_eq!(results.iter().filter(|result| **result == CheckResult::Approved).count(), 1);
    bench.send(TO).await;
    bench.clock.advance(Duration::from_secs(300));
    for _ in 0..2 {
        bench.verifier.expire_overdue().await.unwrap();
    }
    let events = bench.verifier.store().events(0, 100).await.unwrap();
    let count = |kind| events.iter().filter(|(_, event)| event.kind == kind).count();
    assert_eq!((count(EventKind::VerificationApproved), count(EventKind::VerificationExpired)), (1, 1));
}

/// Two verifications of one destination and purpose, the first of which is over; their ids, and the first one's delivery.
async fn one_after_the_other(bench: &Bench) -> (VerificationId, VerificationId, String) {
    let (first, code) = bench.send(TO).await;
    let (_, deliveries) = bench.verifier.verification(&ApplicationName::default(), first).await.unwrap().unwrap();
    assert_eq!(bench.check(first, &code).await.unwrap(), CheckResult::Approved);
    let (second, _) = bench.send(TO).await;
    assert_ne!(first, second);
    (first, second, deliveries[0].id.to_string())
}

pub async fn what_came_before_is_still_there(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (first, second, delivery) = one_after_the_other(&bench).await;
    let (row, _) = bench.verifier.verification(&ApplicationName::default(), first).await.unwrap().unwrap();
    assert_eq!(row.status, Status::Approved);
    assert_eq!(bench.check(first, "000000").await.unwrap(), CheckResult::AlreadyUsed);
    assert!(bench.verifier.receipt("phone", &delivery, DeliveryStatus::Delivered, None).await.unwrap());
    let page = bench.verifier.list(&everything(&bench)).await.unwrap();
    assert_eq!(page.rows.iter().map(|(row, _)| row.id).collect::<Vec<_>>(), [second, first]);
}

pub async fn only_the_latest_is_kept_and_no_events(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (first, second, delivery) = one_after_the_other(&bench).await;
    assert!(bench.verifier.verification(&ApplicationName::default(), first).await.unwrap().is_none());
    assert_eq!(refusal(bench.check(first, "000000").await).kind(), Kind::NotFound);
    assert!(!bench.verifier.receipt("phone", &delivery, DeliveryStatus::Delivered, None).await.unwrap());
    let page = bench.verifier.list(&everything(&bench)).await.unwrap();
    assert_eq!(page.rows.iter().map(|(row, _)| row.id).collect::<Vec<_>>(), [second]);
    assert!(bench.verifier.store().events(0, 100).await.unwrap().is_empty());
}

pub async fn expired_verifications_are_found(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let (id, code) = bench.send(TO).await;
    bench.clock.advance(Duration::from_secs(299));
    assert_eq!(bench.verifier.expire_overdue().await.unwrap(), 0);
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.check(id, &code).await.unwrap(), CheckResult::Expired);
    assert_eq!(bench.check_to(TO, &code).await.unwrap(), CheckResult::Expired);
    assert_eq!(bench.verifier.expire_overdue().await.unwrap(), 1);
    assert_eq!(bench.verifier.expire_overdue().await.unwrap(), 0);
    let (row, _) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    assert_eq!(row.status, Status::Expired);
}

pub async fn what_nobody_answered_is_followed_up_once(store: Arc<dyn Store>) {
    let bench = Bench::with(store, |application| {
        let step = |channel| Step { channel, wait: Duration::from_secs(30) };
        application.policy.workflow = vec![step(Channel::Sms), step(Channel::Voice)];
    });
    let (answered, code) = bench.send("+255694230174").await;
    bench.check(answered, &code).await.unwrap();
    let (id, _) = bench.send(TO).await;
    assert_eq!(bench.verifier.follow_up().await.unwrap(), 0);
    bench.clock.advance(Duration::from_secs(30));
    let store = bench.verifier.store();
    let due = store.to_follow_up(bench.verifier.now(), 10).await.unwrap();
    assert_eq!(due, [(ApplicationName::default(), id)]);
    // As from several processes at once.
    let looked = all((0..5).map(|_| {
        let verifier = bench.verifier.clone();
        async move { verifier.follow_up().await.unwrap() }
    }))
    .await;
    assert!(looked.iter().sum::<usize>() >= 1);
    let (row, deliveries) = bench.verifier.verification(&ApplicationName::default(), id).await.unwrap().unwrap();
    let channels: Vec<_> = deliveries.iter().map(|delivery| delivery.channel).collect();
    assert_eq!((channels, row.follow_up_at), (vec![Channel::Sms, Channel::Voice], None));
    assert!(store.to_follow_up(bench.verifier.now(), 10).await.unwrap().is_empty());
}
