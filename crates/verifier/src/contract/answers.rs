//! Answers under idempotency keys.

use super::*;

pub(super) fn answer_key(key: u8) -> AnswerKey {
    AnswerKey { application: ApplicationName::default(), key: [key; 32] }
}

pub(super) fn new_answer(fingerprint: u8, now: Timestamp) -> NewAnswer {
    NewAnswer {
        fingerprint: [fingerprint; 32],
        seed: [fingerprint; 56],
        now,
        in_flight_until: now + Duration::from_secs(60),
        expires_at: now + Duration::from_secs(24 * 60 * 60),
    }
}

pub async fn an_answer_is_kept_under_its_key(store: Arc<dyn Store>) {
    let (now, key) = (Timestamp::from_millis(1_790_000_000_000), answer_key(1));
    let begun = all((0..20).map(|_| {
        let (store, key) = (Arc::clone(&store), key.clone());
        async move { store.begin_answer(&key, new_answer(1, now)).await.unwrap() }
    }))
    .await;
    assert_eq!(begun.iter().filter(|kept| matches!(kept, KeptAnswer::Begun { .. })).count(), 1);
    assert_eq!(begun.iter().filter(|kept| matches!(kept, KeptAnswer::InFlight)).count(), 19);
    assert!(matches!(store.begin_answer(&key, new_answer(2, now)).await.unwrap(), KeptAnswer::Mismatch));
    store.keep_answer(&key, b"answer".to_vec()).await.unwrap();
    let kept = store.begin_answer(&key, new_answer(1, now)).await.unwrap();
    assert!(matches!(kept, KeptAnswer::Answered(answer) if answer == b"answer"));
    let other = AnswerKey { application: "other".parse().unwrap(), ..key.clone() };
    assert!(matches!(store.begin_answer(&other, new_answer(1, now)).await.unwrap(), KeptAnswer::Begun { .. }));
    let tomorrow = now + Duration::from_secs(24 * 60 * 60);
    assert!(matches!(store.begin_answer(&key, new_answer(3, tomorrow)).await.unwrap(), KeptAnswer::Begun { .. }));
    store.release_answer(&key).await.unwrap();
    let again = NewAnswer { seed: [9; 56], ..new_answer(3, tomorrow) };
    let released = store.begin_answer(&key, again).await.unwrap();
    assert!(
        matches!(released, KeptAnswer::Begun { seed } if seed == [3; 56]),
        "released: the same request goes on at once"
    );
    assert!(matches!(store.begin_answer(&key, new_answer(4, tomorrow)).await.unwrap(), KeptAnswer::Mismatch));
}

pub async fn an_answer_begun_before_a_crash_keeps_its_seed(store: Arc<dyn Store>) {
    let (now, key) = (Timestamp::from_millis(1_790_000_000_000), answer_key(2));
    store.begin_answer(&key, new_answer(5, now)).await.unwrap();
    let later = now + Duration::from_secs(61);
    let again = NewAnswer { seed: [6; 56], ..new_answer(5, later) };
    let kept = store.begin_answer(&key, again).await.unwrap();
    assert!(matches!(kept, KeptAnswer::Begun { seed } if seed == [5; 56]));
    assert!(matches!(store.begin_answer(&key, new_answer(5, later)).await.unwrap(), KeptAnswer::InFlight));
    // And with that seed the send that was committed before the crash is found, not made again.
    let bench = Bench::new(Arc::clone(&store));
    let first = bench.verifier.send(SendRequest::to(TO).seed([5; 56])).await.unwrap().sent;
    bench.phone.wait_for_code(TO).await;
    let again = bench.verifier.send(SendRequest::to(TO).seed([5; 56])).await.unwrap().sent;
    assert_eq!(first.verification.id, again.verification.id);
    assert_eq!(again.verification.sends, 1);
    assert_eq!(bench.phone.messages().len(), 1);
}

pub async fn what_was_begun_before_a_crash_is_found_whatever_began_since(store: Arc<dyn Store>) {
    let bench = Bench::new(store);
    let first = bench.verifier.send(SendRequest::to(TO).seed([5; 56])).await.unwrap().sent;
    bench.phone.wait_for_code(TO).await;
    bench.verifier.cancel(&first.verification.application, first.verification.id).await.unwrap();
    let other = bench.verifier.send(SendRequest::to(TO).seed([6; 56])).await.unwrap();
    assert!(other.sent.begun && other.sent.verification.id != first.verification.id);
    other.wait(Duration::from_secs(10)).await.unwrap();
    let again = bench.verifier.send(SendRequest::to(TO).seed([5; 56])).await.unwrap().sent;
    assert_eq!((again.verification.id, again.begun, again.carry), (first.verification.id, true, None));
    assert_eq!(bench.phone.messages().len(), 2);
}
