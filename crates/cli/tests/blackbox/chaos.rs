//! Two gateways that do whatever gateways do, under many verifications at once: what is said of each message is what happened to
//! it, none is sent more often than the policy says, and reports do no harm. The first is a gateway of one's own, from a folder.

use std::sync::Arc;
use std::time::Duration;

use countersign_server::setup::providers::proof::scaffold;
use serde_json::{Value, json};

use crate::house::plan::open;
use crate::house::{Act, Dir, House, Sink, phone};

const RETRIES: usize = 1;

/// What a gateway can do, and what is then true of the message: at the first, whose answer decides, and at the second, whose
/// status does.
fn faults() -> Vec<(Act, &'static str, &'static str)> {
    let answer = |status, body: &str| Act::Answer(status, body.to_owned());
    vec![
        (answer(202, "{\"id\":\"m-1\"}"), "accepted", "accepted"),
        (answer(500, "<html>Bad gateway</html>"), "failed", "failed"),
        (answer(429, ""), "failed", "failed"),
        (
            Act::Bytes(b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
            "failed",
            "failed",
        ),
        (answer(401, "{\"error\":{\"code\":\"unauthorized\"}}"), "failed", "failed"),
        // Nothing, half an answer, a page, an error under a 200, an answer after time is up, no word.
        (answer(200, ""), "unknown", "accepted"),
        (Act::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":"), "unknown", "unknown"),
        (answer(200, "<html><body>fine</body></html>"), "unknown", "accepted"),
        (answer(200, "{\"error\":{\"code\":\"oops\"}}"), "unknown", "accepted"),
        (Act::Slow(Duration::from_millis(1600), 200, "{\"id\":\"late\"}".into()), "unknown", "unknown"),
        (Act::HangUp, "unknown", "unknown"),
        (Act::Hang, "unknown", "unknown"),
    ]
}

/// Which of them a gateway does with the nth message to a number: spread, and the same in every run.
fn which(to: &str, nth: usize, salt: u64) -> usize {
    let number: u64 = to.trim_start_matches('+').parse().unwrap();
    let mixed = (number.wrapping_mul(6_364_136_223_846_793_005)
        ^ (nth as u64 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15))
        >> 33;
    usize::try_from(mixed).unwrap() % faults().len()
}

async fn house(delivery: &str) -> (House, Sink, Sink) {
    let (first, second) = (Sink::start().await, Sink::start().await);
    let dir = Arc::new(Dir::new());
    let folder = dir.0.join("gateways");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("mine.toml"), scaffold("mine").0).unwrap();
    let base = first.url().trim_end_matches("/messages").to_owned();
    let mine = format!(
        "[[providers]]\nname = \"first\"\nuses = \"mine\"\nbase_url = \"{base}\"\napi_key = \"k\"\nfrom = \"Example\"\nreceipts_secret = \"{SECRET}\""
    );
    let delivery = format!("{delivery}\ndescriptors = {:?}", folder.display().to_string());
    let plan = open().delivery(&delivery).and(&mine).provider("second", &second);
    (House::start_in(plan, dir, None).await, first, second)
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// How a message to this number at this gateway ended.
fn truth(provider: &str, to: &str, nth: usize) -> &'static str {
    let salt = if provider == "first" { 1 } else { 77 };
    let (_, first, second) = &faults()[which(to, nth, salt)];
    if provider == "first" { first } else { second }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g5_whatever_two_gateways_do_each_verification_ends_in_a_true_status() {
    let (house, first, second) = house(&format!("retries = {RETRIES}\ntimeout = \"1s\"")).await;
    first.choose(|to, nth| faults()[which(to, nth, 1)].0.clone());
    second.choose(|to, nth| faults()[which(to, nth, 77)].0.clone());
    let mut sent = Vec::new();
    for batch in (0..96_u32).collect::<Vec<_>>().chunks(24) {
        let asking = batch.iter().map(|n| {
            let (door, to) = (house.door.clone(), phone(*n));
            tokio::spawn(async move {
                let reply = door.post_with("/v1/verifications", &[("Prefer", "wait=15")], json!({"to": to})).await;
                (to, reply)
            })
        });
        for asked in asking.collect::<Vec<_>>() {
            let (to, reply) = asked.await.unwrap();
            let body = reply.json();
            let id = body["id"].as_str().or(body["verification_id"].as_str()).unwrap().to_owned();
            sent.push((to, id, reply.status));
        }
    }
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    for (to, id, status) in &sent {
        let shown = house.door.show(id).await;
        let deliveries = shown["deliveries"].as_array().unwrap();
        let (mut at_first, mut at_second) = (0, 0);
        for (place, delivery) in deliveries.iter().enumerate() {
            let provider = delivery["provider"].as_str().unwrap();
            let count = if provider == "first" { &mut at_first } else { &mut at_second };
            let expected = truth(provider, to, *count);
            *count += 1;
            assert_eq!(delivery["status"], expected, "{to}: {shown}");
            assert_eq!(delivery["error"].is_string(), expected != "accepted", "a reason: {shown}");
            // Whoever may have it gets no second one.
            assert!(expected == "failed" || place + 1 == deliveries.len(), "{to}: {shown}");
            *seen.entry(expected).or_default() += 1;
        }
        // No message without its entry, none more than the policy says.
        assert_eq!((first.to(to).len(), second.to(to).len()), (at_first, at_second), "{to}: {shown}");
        assert!(at_first <= RETRIES + 1 && at_second <= RETRIES + 1, "{to}: {shown}");
        let failed = deliveries.iter().all(|delivery| delivery["status"] == "failed");
        assert_eq!(shown["status"], if failed { "failed" } else { "pending" }, "{to}: {shown}");
        assert_eq!(*status, if failed { 502 } else { 201 }, "{to}: {shown}");
        let code = first.to(to).into_iter().chain(second.to(to)).next_back().unwrap().code;
        let checked = house.door.check_to(to, &code).await.result();
        assert_eq!(checked, if failed { "not_found" } else { "approved" }, "{to}: {shown}");
    }
    assert!(["accepted", "failed", "unknown"].iter().all(|status| seen[status] >= 10), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g11_a_gateway_s_reports_with_a_secret_in_the_path_do_no_harm() {
    let (house, first, _) = house("retries = 0\ntimeout = \"1s\"").await;
    first.habit(Act::Answer(202, "{\"id\":\"m-77\"}".to_owned()));
    let sent =
        house.door.post_with("/v1/verifications", &[("Prefer", "wait=5")], json!({"to": phone(1)})).await.ok(201);
    let id = sent["id"].as_str().unwrap().to_owned();
    let report = async |path: &str, body: Value| {
        let headers = [("Content-Type", "application/json")];
        house.door.ask("POST", path, &headers, body.to_string().as_bytes()).await
    };
    let status = async || house.door.show(&id).await["deliveries"][0]["status"].clone();
    let delivered = json!({"id": "m-77", "status": "delivered"});
    let right = format!("/v1/receipts/first/{SECRET}");
    for path in ["/v1/receipts/first".to_owned(), format!("/v1/receipts/first/{}", "f".repeat(32)), format!("{right}0")]
    {
        report(&path, delivered.clone()).await.problem(401, "unauthorized");
        assert_eq!(status().await, "accepted", "{path}");
    }
    // The same one twice, an older one after it, one of nobody's, and none at all.
    for (body, becomes) in [
        (json!({"id": "m-77", "status": "sent"}), "accepted"),
        (delivered.clone(), "delivered"),
        (delivered.clone(), "delivered"),
        (json!({"id": "m-77", "status": "sent"}), "delivered"),
        (json!({"id": "m-77", "status": "undelivered"}), "delivered"),
        (json!({"id": "nobody-s", "status": "delivered"}), "delivered"),
    ] {
        let reply = report(&right, body.clone()).await;
        assert_eq!(reply.status, 204, "{body}");
        assert_eq!(status().await, becomes, "{body}");
    }
    report(&right, json!({"id": "m-77", "status": "lost"})).await.problem(400, "invalid_request");
    report(&right, json!([])).await.problem(400, "invalid_request");
    assert_eq!(status().await, "delivered");
}
