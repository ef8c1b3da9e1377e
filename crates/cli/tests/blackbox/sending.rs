//! G1, G3, G4, G7 to G10: how many messages, to whom, saying what, and what a failed one leaves behind.

use std::time::Duration;

use serde_json::json;

use crate::house::http::{id, request};
use crate::house::plan::{Plan, limit, open};
use crate::house::{Act, House, Reply, Sink, phone, until};

fn taken(replies: &[Reply]) -> usize {
    replies.iter().filter(|reply| matches!(reply.status, 200 | 201)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g1_a_number_gets_so_many_messages_and_no_more() {
    // The limits as they come: 5 in 10 minutes for a destination; and a client limit by the socket.
    let (house, sink) = House::with_sink(Plan::defaults().policy("resend_after = \"0s\"\nmax_sends = 1000")).await;
    let to = phone(1);
    let mut requests = Vec::new();
    for n in 0..150 {
        let address = format!("198.51.100.{n}");
        let body = json!({"to": to, "purpose": format!("p{}", n % 7), "client": {"ip": address}});
        requests.push(house.door.bytes_of("POST", "/v1/verifications", &[], &body));
        let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", address.as_str())];
        let body = json!({"phone": to}).to_string();
        requests.push(request("POST", "/api/users/send-otp", &headers, body.as_bytes()));
    }
    let replies = house.door.race(requests).await;
    assert_eq!(taken(&replies), 5);
    for reply in replies.iter().filter(|reply| reply.status >= 400) {
        assert_eq!(reply.status, 429, "{}", reply.text());
        reply.says_when(&json!(null));
    }
    // In sequence too, and by reloading pages.
    for n in 0..100 {
        let reply = match n % 4 {
            0 => house.door.simple("resend-otp", json!({"phone": to})).await,
            1 => house.door.post("/v1/verifications", json!({"to": to})).await,
            2 => house.door.ask("GET", "/api/users/send-otp/", &[], b"").await,
            _ => house.door.ask("GET", "/docs", &[], b"").await,
        };
        assert!(matches!(reply.status, 429 | 405 | 200), "{}", reply.text());
    }
    sink.wait(&to, 5).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(sink.count(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g1_the_default_client_limit_bounds_who_asks_for_many_numbers() {
    let (house, sink) = House::with_sink(Plan::defaults()).await;
    let bodies = (0..60).map(|n| json!({"phone": phone(n)}).to_string());
    let requests = bodies
        .map(|body| request("POST", "/api/users/send-otp", &[("Content-Type", "application/json")], body.as_bytes()));
    let replies = house.door.race(requests.collect()).await;
    assert_eq!(taken(&replies), 20);
    assert_eq!(sink.count(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g2_prefixes_and_countries_can_be_bounded_and_costly_numbers_are_never_asked_for() {
    let rows = [limit("prefix", "sends", 7, "1h"), limit("country", "sends", 20, "1h")];
    let plan = open().and_policy("allowed_countries = [\"TZ\", \"US\"]").limits(&rows);
    let (house, sink) = House::with_sink(plan).await;
    let send = async |to: &str| house.door.post("/v1/verifications", json!({"to": to})).await;
    let mut taken = 0;
    for n in 0..50 {
        let reply = send(&phone(1000 + n)).await;
        match reply.status {
            201 => taken += 1,
            _ => assert_eq!(reply.problem(429, "rate_limited")["limit"], "prefix"),
        }
    }
    assert_eq!(taken, 7);
    for n in 0..50 {
        taken += usize::from(send(&phone(10_000 * n)).await.status == 201);
    }
    assert_eq!(taken, 20);
    send("+254712123456").await.problem(403, "country_blocked");
    send("+870773111632").await.problem(403, "country_blocked");
    send("+19005550100").await.problem(403, "number_type_blocked");
    send("+18005550100").await.problem(403, "number_type_blocked");
    let reply = house.door.simple("send-otp", json!({"phone": "+19005550100"})).await.ok(403);
    assert_eq!(reply, json!({"message": "This phone number cannot be used.", "status": "error"}));
    assert_eq!(sink.count(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g3_parallel_sends_to_one_number_are_one_message() {
    let (house, sink) = House::with_sink(Plan::defaults()).await;
    for round in 0..8 {
        let to = phone(round);
        let send = house.door.bytes_of("POST", "/v1/verifications", &[], &json!({"to": to}));
        let replies = house.door.race(vec![send; 100]).await;
        assert_eq!(taken(&replies), 1, "round {round}");
        for reply in replies.iter().filter(|reply| reply.status >= 400) {
            reply.problem(429, "resend_too_soon");
        }
        let code = sink.code_of(&to).await;
        assert_eq!(house.door.check_to(&to, &code).await.result(), "approved");
        assert_eq!(sink.to(&to).len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g4_a_refused_or_failed_resend_leaves_the_first_code_alive() {
    let (house, sink) = House::with_sink(Plan::defaults().policy("resend_after = \"30s\"")).await;
    let to = phone(1);
    let first = id(&house.door.send(&to).await);
    let code = sink.code_of(&to).await;
    house.door.post("/v1/verifications", json!({"to": to})).await.problem(429, "resend_too_soon");
    house.door.post(&format!("/v1/verifications/{first}/resend"), json!({})).await.problem(429, "resend_too_soon");
    assert_eq!(house.door.show(&first).await["sends"], 1);
    assert_eq!(house.door.check(&first, &code).await.result(), "approved");

    let (house, sink) = House::with_sink(open().delivery("retries = 0\ntimeout = \"1s\"")).await;
    for (n, act) in [(1, Act::Answer(500, String::new())), (2, Act::Answer(400, String::new())), (3, Act::Hang)] {
        let to = phone(n);
        let sent = id(&house.door.send(&to).await);
        let code = sink.code_of(&to).await;
        sink.script([act.clone()]);
        let path = format!("/v1/verifications/{sent}/resend");
        let again = house.door.post_with(&path, &[("Prefer", "wait=5")], json!({})).await;
        if matches!(act, Act::Answer(..)) {
            again.problem(502, "delivery_failed");
        } else {
            assert_eq!(again.ok(200)["deliveries"][1]["status"], "unknown");
        }
        let shown = house.door.show(&sent).await;
        assert_eq!((&shown["status"], &shown["deliveries"][0]["status"]), (&json!("pending"), &json!("accepted")));
        assert_eq!(house.door.check(&sent, &code).await.result(), "approved");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g7_the_code_works_the_moment_the_message_is_there() {
    let sink = Sink::start().await;
    let house = House::start(open().provider("gateway", &sink)).await;
    let (door, results) = (house.door.clone(), std::sync::Arc::new(std::sync::Mutex::new(Vec::new())));
    let kept = std::sync::Arc::clone(&results);
    sink.on_message(move |message| {
        let (door, kept) = (door.clone(), std::sync::Arc::clone(&kept));
        async move {
            let result = door.check_to(&message.to, &message.code).await.result();
            kept.lock().unwrap().push(result);
        }
    });
    for n in 0..20 {
        let reply = house.door.post_with("/v1/verifications", &[("Prefer", "wait=5")], json!({"to": phone(n)})).await;
        assert_eq!(reply.ok(201)["status"], "approved");
    }
    assert_eq!(results.lock().unwrap().iter().filter(|result| *result == "approved").count(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g7_a_slow_gateway_exhausts_nothing() {
    let (house, sink) = House::with_sink(open()).await;
    sink.habit(Act::Slow(Duration::from_secs(4), 200, "{}".into()));
    let send = |n: u32| house.door.bytes_of("POST", "/v1/verifications", &[], &json!({"to": phone(n)}));
    let begun = std::time::Instant::now();
    let replies = house.door.race((0..100).map(send).collect()).await;
    assert_eq!(taken(&replies), 100);
    sink.wait(&phone(99), 1).await;
    // While all of them hang, others are served, and the codes work.
    for n in 0..20 {
        let code = sink.code_of(&phone(n)).await;
        assert_eq!(house.door.check_to(&phone(n), &code).await.result(), "approved");
        assert_eq!(house.door.ask("GET", "/readyz", &[], b"").await.status, 200);
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "nobody waited for the gateway: {:?}", begun.elapsed());
    assert_eq!(sink.count(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g8_whichever_message_comes_first_its_code_works() {
    let (house, sink) = House::with_sink(open()).await;
    // The first two are late.
    sink.script([
        Act::Slow(Duration::from_millis(900), 200, "{}".into()),
        Act::Slow(Duration::from_millis(600), 200, "{}".into()),
    ]);
    let to = phone(1);
    let sent = id(&house.door.send(&to).await);
    house.door.send(&to).await;
    house.door.send(&to).await;
    let messages = sink.wait(&to, 3).await;
    assert!(messages.iter().all(|message| message.code == messages[0].code));
    let settled = async || {
        let shown = house.door.show(&sent).await;
        shown["deliveries"].as_array().unwrap().iter().all(|delivery| delivery["status"] == "accepted")
    };
    until("all three are accepted", settled).await;
    assert_eq!(house.door.check(&sent, &messages[2].code).await.result(), "approved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g9_a_text_arrives_as_it_was_meant() {
    let name = "A&B <\\\"x\\\"> {{ code }} 'é'";
    let plan = open().and(&format!(
        "[[applications]]\nname = \"default\"\ndisplay_name = \"{name}\"\nweb_origin = \"login.example.com\"\n\
         [templates.default.en]\nsms = \"{{{{ application }}}}: {{{{ code }}}} ({{{{ minutes }}}} min)\"\nemail = \"{{{{ application }}}}: {{{{ code }}}}\""
    ));
    let (house, sink) = House::with_sink(plan).await;
    house.door.send_as(json!({"to": phone(1), "ttl": 600})).await;
    let message = sink.wait(&phone(1), 1).await.pop().unwrap();
    assert!(message.signed, "the message is signed by Standard Webhooks");
    let code = &message.code;
    let meant = format!("A&B <\"x\"> {{{{ code }}}} 'é': {code} (10 min)");
    assert!(message.text.starts_with(&meant), "{:?}", message.text);
    assert_eq!(message.text.lines().last().unwrap(), format!("@login.example.com #{code}"));
    for field in ["id", "application", "channel", "to", "from", "text", "locale"] {
        assert!(message.json.get(field).is_some(), "{field}: {}", message.json);
    }
    assert_eq!((&message.json["application"], &message.json["locale"]), (&json!("default"), &json!("en")));
    // Nothing of a request can put a line into a header of a mail.
    for to in [
        "a@example.com\r\nBcc: b@example.com",
        "a@example.com,b@example.com",
        "a@example.com b@example.com",
        "<a@example.com>",
    ] {
        house.door.post("/v1/verifications", json!({"to": to})).await.problem(422, "invalid_destination");
    }
    let body = json!({"to": phone(2), "locale": "en\r\nX: y"});
    assert_eq!(house.door.post("/v1/verifications", body).await.problem(400, "invalid_request")["param"], "locale");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g10_what_is_no_number_is_refused_and_what_is_sent_is_e164() {
    let (house, sink) = House::with_sink(open()).await;
    let holes = [
        "foo12345678bar",
        "+",
        "+0",
        "+0694230173",
        "",
        " ",
        "12",
        "+255",
        "+2556942301731234567",
        "+1234567890123456",
        "+15551234567,+15557654321",
        "+15551234567;+15557654321",
        "+15551234567 +15557654321",
        "+1-800-FLOWERS",
        "abc",
        "+255694230173\r\nTo: +15551234567",
        "+255694230173\0",
        "+25569423017a",
        "+99999999999",
        "911",
        "null",
        "[object Object]",
        "+255694230173 ext 5",
        "'; DROP TABLE x; --",
        "+٠٠٠٠٠٠٠٠٠٠",
    ];
    for hole in holes {
        let reply = house.door.post("/v1/verifications", json!({"to": hole})).await;
        assert!(matches!(reply.status, 400 | 422), "{hole:?}: {}", reply.text());
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let simple = house.door.simple("send-otp", json!({"phone": hole})).await.ok(400);
        let said = simple["message"].as_str().unwrap();
        assert!(["Invalid phone number format", "Phone number is required"].contains(&said), "{hole:?}: {said}");
    }
    // A fixed line is reached by voice and not by SMS; an address by mail alone.
    house.door.post("/v1/verifications", json!({"to": "+255222123456"})).await.problem(422, "invalid_destination");
    house.door.send_as(json!({"to": "+255222123456", "channel": "voice"})).await;
    house
        .door
        .post("/v1/verifications", json!({"to": "a@example.com", "channel": "sms"}))
        .await
        .problem(422, "invalid_destination");
    house
        .door
        .post("/v1/verifications", json!({"to": phone(1), "channel": "email"}))
        .await
        .problem(422, "invalid_destination");
    let reply = house.door.simple("send-otp", json!({"phone": "a@example.com"})).await.ok(400);
    assert_eq!(reply["message"], "Invalid phone number format");
    for message in sink.messages() {
        assert!(
            message.to.starts_with('+') && message.to[1..].bytes().all(|byte| byte.is_ascii_digit()),
            "{}",
            message.to
        );
    }
}
