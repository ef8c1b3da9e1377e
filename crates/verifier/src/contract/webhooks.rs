//! Webhooks: events taken up once, messages claimed in order and settled once.

use super::*;

fn webhook(endpoint: &str, place: u64, verification: u8, at: Timestamp) -> WebhookMessage {
    WebhookMessage {
        endpoint: endpoint.to_owned(),
        id: format!("evt_{place:016x}"),
        application: ApplicationName::default(),
        verification: VerificationId::from_bytes([verification; 16]),
        body: format!("{{\"number\":{place}}}"),
        at,
        hold_until: at + Duration::from_secs(600),
        expires_at: at + Duration::from_secs(6000),
        due_at: at,
        attempts: 0,
    }
}

pub async fn events_are_taken_up_once(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    assert_eq!(store.webhook_position(false).await.unwrap(), None);
    assert_eq!(store.take_up_events(0, 1, &[]).await.unwrap(), None, "nothing is taken up that nobody wants");
    bench.send(TO).await;
    let begun = store.webhook_position(true).await.unwrap().unwrap();
    assert!(store.events(begun, 10).await.unwrap().is_empty(), "it begins at the newest event");
    let (id, code) = bench.send("+255694230174").await;
    bench.check(id, &code).await.unwrap();
    assert_eq!(store.webhook_position(true).await.unwrap(), Some(begun));
    let events = store.events(begun, 10).await.unwrap();
    let through = events.last().unwrap().0;
    let now = bench.verifier.now();
    let taken = all((0..8_u8).map(|nth| {
        let (store, message) = (Arc::clone(&store), webhook("we_1", u64::from(nth), nth, now));
        async move { store.take_up_events(begun, through, &[message]).await.unwrap() }
    }))
    .await;
    assert!(taken.iter().all(|position| *position == Some(through)), "{taken:?}");
    let claimed = store.claim_webhooks("we_1", now, Duration::from_secs(60), 10).await.unwrap();
    assert_eq!(claimed.len(), 1, "one of the eight took them up");
    assert_eq!(store.webhook_position(false).await.unwrap(), None);
}

pub async fn webhooks_are_claimed_in_order_and_settled_once(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    let (now, lease) = (bench.verifier.now(), Duration::from_secs(60));
    let begun = store.webhook_position(true).await.unwrap().unwrap();
    // Two of one verification, one of another; the same event to a second endpoint.
    let messages = [
        webhook("we_1", 1, 1, now),
        webhook("we_1", 2, 1, now),
        webhook("we_1", 3, 2, now),
        webhook("we_2", 1, 1, now),
    ];
    store.take_up_events(begun, begun + 3, &messages).await.unwrap();
    let claim = async |at: Timestamp| {
        let claims = all((0..4).map(|_| {
            let store = Arc::clone(&store);
            async move { store.claim_webhooks("we_1", at, lease, 10).await.unwrap() }
        }))
        .await;
        let mut claimed: Vec<_> = claims.into_iter().flatten().collect();
        claimed.sort_by(|a, b| a.id.cmp(&b.id));
        claimed
    };
    let ids = |claimed: &[WebhookMessage]| claimed.iter().map(|message| message.id.clone()).collect::<Vec<_>>();
    let (first, second, third) = (&messages[0].id, &messages[1].id, &messages[2].id);
    let claimed = claim(now).await;
    assert_eq!(ids(&claimed), [first.clone(), third.clone()], "the second waits for the first");
    assert_eq!((claimed[0].attempts, claimed[0].due_at), (1, now + lease));
    assert_eq!(claimed[0].body, messages[0].body);
    assert!(claim(now).await.is_empty());
    assert_eq!(
        store.claim_webhooks("we_2", now, lease, 10).await.unwrap().len(),
        1,
        "endpoints do not wait for each other"
    );

    // It fails: the second goes on waiting, for a bounded time.
    let later = now + Duration::from_secs(300);
    let again = WebhookOutcome::Again { due_at: later + Duration::from_secs(3600), error: "answered 500".to_owned() };
    assert!(store.settle_webhook(&claimed[0], &again, now).await.unwrap());
    assert!(store.settle_webhook(&claimed[1], &WebhookOutcome::Delivered, now).await.unwrap());
    assert!(!store.settle_webhook(&claimed[1], &WebhookOutcome::Delivered, now).await.unwrap(), "once");
    assert!(claim(later).await.is_empty());
    let fares = store.webhook_endpoints().await.unwrap();
    assert_eq!((fares.len(), fares[0].endpoint.as_str(), fares[0].pending), (2, "we_1", 2));
    assert_eq!((fares[0].oldest, fares[0].disabled.clone()), (Some(now), None));
    let much_later = now + Duration::from_secs(600);
    let claimed = claim(much_later).await;
    assert_eq!(ids(&claimed), std::slice::from_ref(second));
    // A carrier whose lease ran out is not heard, and an endpoint that answers fails no more.
    let after = much_later + lease;
    let retaken = claim(after).await;
    assert_eq!((ids(&retaken), retaken[0].attempts), (vec![second.clone()], 2));
    assert!(!store.settle_webhook(&claimed[0], &again, after).await.unwrap());
    assert!(store.settle_webhook(&retaken[0], &again, after).await.unwrap());
    assert_eq!(store.webhook_endpoints().await.unwrap()[0].failing_since, Some(after));
    let due = much_later + Duration::from_secs(7200);
    let last = claim(due).await;
    assert_eq!(last.len(), 2);
    assert!(store.settle_webhook(&last[0], &WebhookOutcome::Delivered, due).await.unwrap());
    let given_up = WebhookOutcome::GivenUp { error: "too often".to_owned() };
    assert!(store.settle_webhook(&last[1], &given_up, due).await.unwrap());
    let fares = store.webhook_endpoints().await.unwrap();
    assert_eq!((fares[0].pending, fares[0].last_error.as_deref()), (0, Some("too often")));
}

pub async fn webhooks_are_requeued_and_endpoints_disabled(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    let (now, lease) = (bench.verifier.now(), Duration::from_secs(60));
    let begun = store.webhook_position(true).await.unwrap().unwrap();
    let old = now - Duration::from_secs(100);
    let messages = [webhook("we_1", 1, 1, old), webhook("we_1", 2, 2, now), webhook("we_2", 2, 2, now)];
    store.take_up_events(begun, begun + 2, &messages).await.unwrap();
    let claimed = store.claim_webhooks("we_1", now, lease, 1).await.unwrap();
    let gone = WebhookOutcome::Gone { error: "answered 410".to_owned(), settings: "s1".to_owned() };
    assert!(store.settle_webhook(&claimed[0], &gone, now).await.unwrap());
    let fares = store.webhook_endpoints().await.unwrap();
    assert_eq!((fares[0].disabled.clone(), fares[0].pending), (Some((now, "s1".to_owned())), 2));
    assert_eq!(fares[1].disabled, None);
    assert!(store.claim_webhooks("we_1", now, lease, 10).await.unwrap().is_empty(), "it is told nothing more");
    let one = ["we_1".to_owned()];
    assert_eq!(store.requeue_webhooks(&one, &Requeue::Waiting, now).await.unwrap(), 2);
    assert_eq!(store.webhook_endpoints().await.unwrap()[0].disabled, None);
    for message in store.claim_webhooks("we_1", now, lease, 10).await.unwrap() {
        assert_eq!(message.attempts, 1, "as if never tried");
        assert!(store.settle_webhook(&message, &WebhookOutcome::Delivered, now).await.unwrap());
    }
    // What was delivered can be sent again: one event, or those of a time.
    assert_eq!(store.requeue_webhooks(&one, &Requeue::Event(messages[1].id.clone()), now).await.unwrap(), 1);
    assert_eq!(store.requeue_webhooks(&one, &Requeue::Event("evt_none".to_owned()), now).await.unwrap(), 0);
    assert_eq!(store.requeue_webhooks(&one, &Requeue::Between(old, now), now).await.unwrap(), 1);
    let mut claimed = store.claim_webhooks("we_1", now, lease, 10).await.unwrap();
    claimed.sort_by(|a, b| a.id.cmp(&b.id));
    let bodies: Vec<_> = claimed.iter().map(|message| message.body.as_str()).collect();
    assert_eq!(bodies, [&messages[0].body, &messages[1].body]);
    // Messages go with their time, whatever became of them.
    let end = now + Duration::from_secs(6000);
    let cleaned = store.cleanup(now - Duration::from_secs(1000), end, 10, false).await.unwrap();
    assert_eq!(cleaned.others, 3);
    assert!(store.webhook_endpoints().await.unwrap().iter().all(|fares| fares.pending == 0));
}

pub async fn cleanup_spares_what_is_not_taken_up(store: Arc<dyn Store>) {
    let bench = Bench::new(Arc::clone(&store));
    let (early, _) = bench.send("+255694230174").await;
    let begun = store.webhook_position(true).await.unwrap().unwrap();
    let (id, code) = bench.send(TO).await;
    bench.check(id, &code).await.unwrap();
    bench.clock.advance(Duration::from_secs(48 * 60 * 60));
    let now = bench.verifier.now();
    store.cleanup(now - Duration::from_secs(1), now, 100, false).await.unwrap();
    let application = ApplicationName::default();
    assert!(store.verification(&application, early).await.unwrap().is_none());
    assert!(store.verification(&application, id).await.unwrap().is_some());
    let events = store.events(begun, 100).await.unwrap();
    assert_eq!(events.iter().filter(|(_, event)| event.verification == id).count(), 3, "{events:?}");
    let message = webhook("we_1", 1, 1, now - Duration::from_secs(2));
    store.take_up_events(begun, events.last().unwrap().0, &[message]).await.unwrap();
    let claimed = store.claim_webhooks("we_1", now, Duration::from_secs(60), 10).await.unwrap();
    store.cleanup(now - Duration::from_secs(1), now, 100, false).await.unwrap();
    assert!(store.verification(&application, id).await.unwrap().is_none());
    // A message that waits is spared, one that was delivered is not.
    assert_eq!(store.webhook_endpoints().await.unwrap()[0].pending, 1);
    assert!(store.settle_webhook(&claimed[0], &WebhookOutcome::Delivered, now).await.unwrap());
    store.cleanup(now - Duration::from_secs(1), now, 100, false).await.unwrap();
    let again = Requeue::Event(claimed[0].id.clone());
    assert_eq!(store.requeue_webhooks(&["we_1".to_owned()], &again, now).await.unwrap(), 0);
}
