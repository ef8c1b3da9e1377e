//! The contract, section 2: every call of the native API, as a client meets it.

use serde_json::{Value, json};

use crate::house::http::id;
use crate::house::plan::open;
use crate::house::{Act, House, phone, until, wrong};

fn members(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

const VERIFICATION: [&str; 14] = [
    "channel",
    "checks_left",
    "code_length",
    "created_at",
    "deliveries",
    "expires_at",
    "id",
    "metadata",
    "purpose",
    "resend_after",
    "sends",
    "sends_left",
    "status",
    "to",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verification_is_the_object_of_the_contract() {
    let (house, sink) = House::with_sink(open().policy("resend_after = \"0s\"")).await;
    let body = json!({
        "to": " 255 694 230 173", "channel": "sms", "purpose": "LOGIN", "locale": "en", "code_length": 7, "ttl": 120,
        "client": {"ip": "203.0.113.1", "user_agent": "x", "device_id": "y"}, "metadata": {"order": "77"}
    });
    let reply = house.door.post("/v1/verifications", body).await;
    let sent = reply.ok(201);
    assert_eq!(members(&sent), VERIFICATION);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!(reply.header("location"), Some(format!("/v1/verifications/{}", id(&sent)).as_str()));
    for (member, value) in [
        ("status", json!("pending")),
        ("to", json!("+255694230173")),
        ("channel", json!("sms")),
        ("purpose", json!("login")),
        ("code_length", json!(7)),
        ("sends", json!(1)),
        ("sends_left", json!(4)),
        ("checks_left", json!(5)),
        ("metadata", json!({"order": "77"})),
    ] {
        assert_eq!(sent[member], value, "{member}");
    }
    let delivery = &sent["deliveries"][0];
    assert_eq!(members(delivery), ["at", "channel", "error", "id", "provider", "status"]);
    assert!(delivery["id"].as_str().unwrap().starts_with("dl_") && delivery["error"].is_null());
    assert_eq!((&delivery["provider"], &delivery["channel"]), (&json!("gateway"), &json!("sms")));
    let message = sink.wait("+255694230173", 1).await.pop().unwrap();
    assert_eq!((message.id.as_str(), message.code.len()), (delivery["id"].as_str().unwrap(), 7));
    // Again: the same one, with the same code.
    let again = house.door.post("/v1/verifications", json!({"to": "+255694230173"})).await;
    let body = again.ok(200);
    assert_eq!((again.header("location"), &body["id"], &body["sends"]), (None, &sent["id"], &json!(2)));
    assert_eq!(
        (&body["sends_left"], &body["code_length"], &body["metadata"]),
        (&json!(3), &json!(7), &sent["metadata"])
    );
    assert_eq!(body["deliveries"].as_array().unwrap().len(), 2);
    // By its id, and as it is shown.
    let path = format!("/v1/verifications/{}", id(&sent));
    let resent = house.door.post(&format!("{path}/resend"), json!({"channel": "voice"})).await.ok(200);
    assert_eq!((&resent["sends"], &resent["channel"]), (&json!(3), &json!("voice")));
    assert_eq!((&resent["expires_at"], &resent["checks_left"]), (&sent["expires_at"], &json!(5)));
    let accepted = async || {
        let shown = house.door.show(&id(&sent)).await;
        shown["deliveries"].as_array().unwrap().iter().all(|delivery| delivery["status"] == "accepted")
    };
    until("all are accepted", accepted).await;
    let messages = sink.wait("+255694230173", 3).await;
    assert_eq!(messages[2].channel, "voice");
    assert_eq!(messages[1].code, messages[0].code);
    // A wrong guess, and the right one.
    let code = &messages[0].code;
    let checked = house.door.check(&id(&sent), &wrong(code, 1)).await.ok(200);
    assert_eq!(members(&checked), ["result", "valid", "verification"]);
    assert_eq!((&checked["valid"], &checked["verification"]["checks_left"]), (&json!(false), &json!(4)));
    let checked = house.door.check(&id(&sent), code).await.ok(200);
    assert_eq!(members(&checked), ["result", "token", "valid", "verification"]);
    assert_eq!((&checked["valid"], &checked["verification"]["status"]), (&json!(true), &json!("approved")));
    assert_eq!(checked["token"].as_str().unwrap().split('.').count(), 3);
    assert_eq!(members(&house.door.check_to("+255694230173", code).await.ok(200)), ["result", "valid"]);
    // And now a new one.
    let next = house.door.post("/v1/verifications", json!({"to": "+255694230173"})).await.ok(201);
    assert_ne!(next["id"], sent["id"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_list_is_newest_first_and_can_be_filtered_and_paged() {
    let (house, sink) = House::with_sink(open()).await;
    let mut ids = Vec::new();
    for n in 0..25 {
        let purpose = if n % 5 == 0 { "payment" } else { "login" };
        ids.push(id(&house.door.send_as(json!({"to": phone(n % 20), "purpose": purpose})).await));
    }
    // Numbers 0 to 4 were sent to twice: 1 to 4 for the same purpose, which is the same verification.
    let mut newest: Vec<_> = ids.clone();
    newest.dedup();
    let list = async |query: &str| house.door.get(&format!("/v1/verifications{query}")).await.ok(200);
    let all = list("?limit=100").await;
    assert_eq!(members(&all), ["data", "next_cursor"]);
    assert!(all["next_cursor"].is_null());
    let listed: Vec<_> = all["data"].as_array().unwrap().iter().map(id).collect();
    let mut expected: Vec<String> = Vec::new();
    for id in &ids {
        if !expected.contains(id) {
            expected.push(id.clone());
        }
    }
    expected.reverse();
    assert_eq!(listed, expected);
    assert_eq!(list("").await["data"].as_array().unwrap().len(), 20.min(expected.len()));
    // Page by page the same, also while new ones come in.
    let (mut paged, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let page = list(&format!("?limit=4{cursor}")).await;
        paged.extend(page["data"].as_array().unwrap().iter().map(id));
        pages += 1;
        assert!(pages < 20);
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        house.door.send(&phone(100 + pages)).await;
    }
    assert_eq!(paged, expected);
    let number = phone(3).replace('+', "%2B");
    let of_one = list(&format!("?to={number}")).await;
    assert!(of_one["data"].as_array().unwrap().iter().all(|one| one["to"] == phone(3).as_str()));
    assert!(!of_one["data"].as_array().unwrap().is_empty());
    let paying = list("?purpose=payment&limit=100").await;
    assert_eq!(paying["data"].as_array().unwrap().len(), 4);
    let code = sink.code_of(&phone(7)).await;
    house.door.check_to(&phone(7), &code).await.result();
    let approved = list("?status=approved").await;
    assert_eq!(approved["data"].as_array().unwrap().len(), 1);
    assert_eq!(approved["data"][0]["to"], phone(7).as_str());
    assert_eq!(list("?status=canceled").await["data"], json!([]));
    for (query, param) in [
        ("?limit=101", "limit"),
        ("?limit=0", "limit"),
        ("?limit=x", "limit"),
        ("?status=done", "status"),
        ("?cursor=abc", "cursor"),
        ("?purpose=a%20b", "purpose"),
        ("?x=1", "x"),
        ("?limit=1&limit=2", "limit"),
    ] {
        let problem = house.door.get(&format!("/v1/verifications{query}")).await.problem(400, "invalid_request");
        assert_eq!(problem["param"], param);
    }
    house.door.get("/v1/verifications?to=nobody").await.problem(422, "invalid_destination");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_holds_the_answer_for_the_providers_word_and_no_longer() {
    let (house, sink) = House::with_sink(open()).await;
    let slow = |millis| Act::Slow(std::time::Duration::from_millis(millis), 200, "{}".into());
    sink.script([slow(500), slow(3000)]);
    let send = async |n: u32, prefer: &str| {
        let begun = std::time::Instant::now();
        let reply = house.door.post_with("/v1/verifications", &[("Prefer", prefer)], json!({"to": phone(n)})).await;
        (reply.ok(201)["deliveries"][0]["status"].clone(), begun.elapsed().as_millis(), reply)
    };
    let (status, took, reply) = send(1, "respond-async, wait=5").await;
    assert!(status == "accepted" && took >= 450, "{status} {took}");
    assert_eq!(reply.header("preference-applied"), Some("wait=5"));
    let (status, took, _) = send(2, "wait=1").await;
    assert!(status == "queued" && (950..2500).contains(&took), "{status} {took}");
    sink.habit(slow(1000));
    for (n, prefer) in [(3, "wait"), (4, "wait=-1"), (5, "wait=x"), (6, "return=minimal")] {
        let (status, took, reply) = send(n, prefer).await;
        assert!(status == "queued" && took < 900, "{prefer}: {status} {took}");
        assert_eq!(reply.header("preference-applied"), None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn canceling_ends_a_verification_and_gives_no_limit_back() {
    let rows = [crate::house::plan::limit("destination", "sends", 2, "1h")];
    let (house, sink) = House::with_sink(open().limits(&rows)).await;
    for _ in 0..2 {
        let sent = house.door.send(&phone(1)).await;
        let path = format!("/v1/verifications/{}/cancel", id(&sent));
        assert_eq!(house.door.post(&path, json!({})).await.ok(200)["status"], "canceled");
        house.door.post(&path, json!({"reason": "x"})).await.problem(400, "invalid_request");
    }
    house.door.post("/v1/verifications", json!({"to": phone(1)})).await.problem(429, "rate_limited");
    assert_eq!(sink.wait(&phone(1), 2).await.len(), 2);
}
