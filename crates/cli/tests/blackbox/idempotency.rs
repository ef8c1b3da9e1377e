//! G6: a request that is sent twice is done once.

use serde_json::json;

use crate::house::plan::open;
use crate::house::{Act, House, phone, until};

const PATH: &str = "/v1/verifications";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g6_twenty_parallel_repeats_are_one_message() {
    let (house, sink) = House::with_sink(open()).await;
    for round in 0..10 {
        let (to, key) = (phone(round), format!("round-{round}"));
        let headers = [("Idempotency-Key", key.as_str())];
        let send = house.door.bytes_of("POST", PATH, &headers, &json!({"to": to}));
        let replies = house.door.race(vec![send.clone(); 20]).await;
        let done: Vec<_> = replies.iter().filter(|reply| reply.status == 201).collect();
        assert!(!done.is_empty());
        for reply in &replies {
            match reply.status {
                201 => assert_eq!(reply.body, done[0].body),
                _ => drop(reply.problem(409, "idempotency_in_flight")),
            }
        }
        let firsts = done.iter().filter(|reply| reply.header("idempotency-replayed").is_none()).count();
        assert_eq!(firsts, 1);
        let again = house.door.raw(&send).await;
        assert_eq!((again.status, &again.body), (201, &done[0].body));
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
        assert_eq!(again.header("location"), done[0].header("location"));
        assert_eq!(sink.wait(&to, 1).await.len(), 1);
        assert_eq!(house.door.show(done[0].json()["id"].as_str().unwrap()).await["sends"], 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g6_a_key_is_one_requests_of_one_application_and_survives_a_restart() {
    let plan = open().and("[[applications]]\nname = \"default\"\n[[applications]]\nname = \"other\"");
    let (mut house, sink) = House::with_sink(plan).await;
    let key = [("Idempotency-Key", "one")];
    let first = house.door.post_with(PATH, &key, json!({"to": phone(1)})).await;
    let id = first.ok(201)["id"].as_str().unwrap().to_owned();
    let code = sink.code_of(&phone(1)).await;
    let other = house.door.post_with(PATH, &key, json!({"to": phone(2)})).await;
    other.problem(422, "idempotency_key_reused");
    let path = format!("{PATH}/{id}/cancel");
    house.door.post_with(&path, &key, json!(null)).await.problem(422, "idempotency_key_reused");
    house.restart().await;
    let again = house.door.post_with(PATH, &key, json!({"to": phone(1)})).await;
    assert_eq!((again.status, &again.body), (201, &first.body));
    assert_eq!(again.header("idempotency-replayed"), Some("true"));
    house.door.post_with(PATH, &key, json!({"to": phone(2)})).await.problem(422, "idempotency_key_reused");
    // Another application's key of the same name is another key.
    let stranger = house.door.as_key(&house.key_of("other").await);
    let theirs = stranger.post_with(PATH, &key, json!({"to": phone(3)})).await;
    assert_eq!((theirs.status, theirs.header("idempotency-replayed")), (201, None));
    // On every POST: a check, whose answer holds a token, is kept as well, and a cancel.
    let check = format!("{PATH}/{id}/check");
    let key = [("Idempotency-Key", "two")];
    let approved = house.door.post_with(&check, &key, json!({"code": code})).await;
    assert_eq!(approved.result(), "approved");
    let again = house.door.post_with(&check, &key, json!({"code": code})).await;
    assert_eq!(again.body, approved.body);
    let third = house.door.begin(&phone(4)).await;
    let cancel = format!("{PATH}/{third}/cancel");
    for replayed in [None, Some("true")] {
        let reply = house.door.post_with(&cancel, &[("Idempotency-Key", "three")], json!(null)).await;
        assert_eq!(reply.ok(200)["status"], "canceled");
        assert_eq!(reply.header("idempotency-replayed"), replayed);
    }
    let resend = format!("{PATH}/{}/resend", house.door.begin(&phone(5)).await);
    for _ in 0..3 {
        let reply = house.door.post_with(&resend, &[("Idempotency-Key", "four")], json!({})).await;
        assert_eq!(reply.ok(200)["sends"], 2);
    }
    let wrong_twice = format!("{PATH}/{}/check", house.door.begin(&phone(6)).await);
    for _ in 0..3 {
        let reply =
            house.door.post_with(&wrong_twice, &[("Idempotency-Key", "five")], json!({"code": "0000000"})).await;
        assert_eq!(reply.ok(200)["verification"]["checks_left"], 4, "a repeated guess is one guess");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g6_keys_have_a_form() {
    let (house, sink) = House::with_sink(open()).await;
    let long = "k".repeat(256);
    for key in ["", "\"\"", long.as_str(), "é"] {
        let problem = house.door.post_with(PATH, &[("Idempotency-Key", key)], json!({"to": phone(1)})).await;
        assert_eq!(problem.problem(400, "invalid_request")["param"], "Idempotency-Key");
    }
    let twice = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")];
    house.door.post_with(PATH, &twice, json!({"to": phone(1)})).await.problem(400, "invalid_request");
    assert_eq!(sink.count(), 0);
    house.door.post_with(PATH, &[("Idempotency-Key", &long[..255])], json!({"to": phone(1)})).await.ok(201);
}

/// What passes (a limit, a gateway's failure) is not kept: the same key succeeds later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g6_an_answer_about_a_passing_state_is_not_kept() {
    let (house, _sink) = House::with_sink(open().policy("resend_after = \"1s\"")).await;
    let (to, key) = (phone(1), [("Idempotency-Key", "later")]);
    house.door.send(&to).await;
    house.door.post_with(PATH, &key, json!({"to": to})).await.problem(429, "resend_too_soon");
    let sent = async || house.door.post_with(PATH, &key, json!({"to": to})).await.status == 200;
    until("the pause is over", sent).await;
}

/// A crash between the provider's word and the commit: the repeat sends no second message, or one of the same code.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g6_a_repeat_after_a_crash_finds_the_same_verification() {
    let (mut house, sink) = House::with_sink(open()).await;
    for round in 0..4_u32 {
        let (to, key) = (phone(round), format!("crash-{round}"));
        sink.script([Act::Slow(std::time::Duration::from_millis(300), 200, "{}".into())]);
        let headers = [("Idempotency-Key", key.as_str()), ("Prefer", "wait=3")];
        let bytes = house.door.bytes_of("POST", PATH, &headers, &json!({"to": to}));
        let door = house.door.clone();
        let lost = {
            let bytes = bytes.clone();
            tokio::spawn(async move { door.try_raw(&bytes).await.is_ok() })
        };
        sink.wait(&to, 1).await;
        house.kill();
        assert!(!lost.await.unwrap());
        house.restart().await;
        // In flight for as long as the first could be; what was committed is found again, by the key or by the number.
        let again = house.door.raw(&bytes).await;
        let code = sink.code_of(&to).await;
        assert!(matches!(again.status, 200 | 201 | 409), "{}", again.text());
        assert_eq!(
            house.door.get(&format!("{PATH}?to=%2B{}", &to[1..])).await.ok(200)["data"].as_array().unwrap().len(),
            1
        );
        assert!(sink.to(&to).iter().all(|message| message.code == code));
        assert_eq!(house.door.check_to(&to, &code).await.result(), "approved");
    }
}
