//! G5: whatever a gateway does, what is said about it is true.

use std::time::Duration;

use serde_json::{Value, json};

use crate::house::plan::{Plan, open};
use crate::house::{Act, House, Sink, phone, until};

const WAIT: [(&str, &str); 1] = [("Prefer", "wait=8")];

fn impatient() -> Plan {
    open().delivery("retries = 0\ntimeout = \"1s\"")
}

struct Fault {
    act: Act,
    /// The delivery's status.
    status: &'static str,
}

fn faults() -> Vec<Fault> {
    let fault = |act, status| Fault { act, status };
    let answer = |status, body: &str| Act::Answer(status, body.to_owned());
    vec![
        fault(answer(500, ""), "failed"),
        fault(answer(503, "{\"id\":\"x\"}"), "failed"),
        fault(answer(429, ""), "failed"),
        fault(answer(400, "{\"error\":\"no\"}"), "failed"),
        fault(answer(401, "<html>"), "failed"),
        fault(answer(302, ""), "failed"),
        fault(
            Act::Bytes(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"),
            "failed",
        ),
        fault(Act::Hang, "unknown"),
        fault(Act::Slow(Duration::from_millis(1500), 200, "{}".into()), "unknown"),
        fault(Act::HangUp, "unknown"),
        fault(Act::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"id\":"), "unknown"),
        fault(Act::Bytes(b"not HTTP at all\r\n\r\n"), "unknown"),
        fault(Act::Bytes(b""), "unknown"),
        // Any 2xx is acceptance, whatever is in it.
        fault(answer(200, ""), "accepted"),
        fault(answer(200, "<html>fine</html>"), "accepted"),
        fault(answer(202, "{\"id\":[1,2,3]}"), "accepted"),
        fault(answer(204, ""), "accepted"),
        fault(Act::Slow(Duration::from_millis(300), 200, "{\"id\":\"late\"}".into()), "accepted"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g5_a_failure_is_never_told_as_a_success() {
    let (house, sink) = House::with_sink(impatient()).await;
    for (n, fault) in faults().into_iter().enumerate() {
        let to = phone(u32::try_from(n).unwrap());
        sink.script([fault.act.clone()]);
        let reply = house.door.post_with("/v1/verifications", &WAIT, json!({"to": to})).await;
        let shown = if fault.status == "failed" {
            let problem = reply.problem(502, "delivery_failed");
            house.door.show(problem["verification_id"].as_str().unwrap()).await
        } else {
            assert_eq!(reply.header("preference-applied"), Some("wait=8"));
            reply.ok(201)
        };
        let delivery = &shown["deliveries"][0];
        assert_eq!(delivery["status"], fault.status, "{:?}: {shown}", fault.act);
        assert_eq!(delivery["error"].is_string(), fault.status != "accepted", "a typed reason: {shown}");
        assert_eq!(shown["status"], if fault.status == "failed" { "failed" } else { "pending" }, "{shown}");
        assert_eq!(sink.to(&to).len(), 1, "{:?}", fault.act);
        let code = sink.code_of(&to).await;
        let checked = house.door.check_to(&to, &code).await.result();
        assert_eq!(checked, if fault.status == "failed" { "not_found" } else { "approved" });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g5_the_simple_dialect_says_so_too() {
    let (house, sink) = House::with_sink(impatient()).await;
    for (n, fault) in faults().into_iter().enumerate() {
        sink.script([fault.act.clone()]);
        let reply = house.door.simple("send-otp", json!({"phone": phone(u32::try_from(n).unwrap())})).await;
        if fault.status == "failed" {
            let said = json!({"message": "Failed to send OTP. Please try again.", "status": "error"});
            assert_eq!(reply.ok(502), said);
        } else {
            assert_eq!(reply.ok(200)["message"], "OTP sent successfully", "{:?}", fault.act);
        }
    }
}

/// Without `Prefer` nobody waits, and the word comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g5_without_waiting_the_word_comes_to_who_asks_again() {
    let (house, sink) = House::with_sink(impatient()).await;
    sink.habit(Act::Slow(Duration::from_millis(400), 400, String::new()));
    let begun = std::time::Instant::now();
    let sent = house.door.send(&phone(1)).await;
    assert!(begun.elapsed() < Duration::from_millis(350));
    assert_eq!((&sent["status"], &sent["deliveries"][0]["status"]), (&json!("pending"), &json!("queued")));
    let id = crate::house::http::id(&sent);
    until("it has failed", async || house.door.show(&id).await["status"] == "failed").await;
    house.door.post(&format!("/v1/verifications/{id}/resend"), json!({})).await.problem(409, "not_pending");
}

async fn two(delivery: &str) -> (House, Sink, Sink) {
    let (first, second) = (Sink::start().await, Sink::start().await);
    let routes = "[[routes]]\nchannel = \"sms\"\nproviders = [\"first\", \"second\"]";
    let plan = open().delivery(delivery).provider("first", &first).provider("second", &second).and(routes);
    (House::start(plan).await, first, second)
}

fn said(verification: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let deliveries = verification["deliveries"].as_array().unwrap();
    deliveries.iter().map(|delivery| (text(&delivery["provider"]), text(&delivery["status"]))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(provider, status)| ((*provider).to_owned(), (*status).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g5_the_next_provider_is_tried_where_that_helps() {
    let (house, first, second) = two("retries = 0\ntimeout = \"1s\"").await;
    let fine = pairs(&[("first", "failed"), ("second", "accepted")]);
    let given_up = pairs(&[("first", "failed")]);
    let open = pairs(&[("first", "unknown")]);
    let cases = [
        (Act::Answer(503, String::new()), 201, fine.clone()),
        (Act::Answer(429, String::new()), 201, fine.clone()),
        (Act::Answer(302, String::new()), 201, fine),
        (Act::Answer(400, String::new()), 502, given_up),
        (Act::Hang, 201, open.clone()),
        (Act::HangUp, 201, open),
    ];
    for (n, (act, status, expected)) in cases.into_iter().enumerate() {
        let (to, before) = (phone(u32::try_from(n).unwrap()), second.count());
        first.script([act.clone()]);
        let reply = house.door.post_with("/v1/verifications", &WAIT, json!({"to": to})).await;
        assert_eq!(reply.status, status, "{act:?}: {}", reply.text());
        let body = reply.json();
        let id = body["id"].as_str().or(body["verification_id"].as_str()).unwrap();
        assert_eq!(said(&house.door.show(id).await), expected, "{act:?}");
        // At most one message, unless a provider said no to the first.
        assert_eq!(second.count() - before, expected.len() - 1);
        let codes: std::collections::HashSet<_> =
            first.to(&to).into_iter().chain(second.to(&to)).map(|message| message.code).collect();
        assert_eq!(codes.len(), 1, "both would say the same code");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g5_with_unknown_next_somebody_may_get_two_messages_of_one_code() {
    let (house, first, second) = two("retries = 0\ntimeout = \"1s\"\nunknown = \"next\"").await;
    first.script([Act::Hang]);
    let to = phone(1);
    let reply = house.door.post_with("/v1/verifications", &WAIT, json!({"to": to})).await.ok(201);
    assert_eq!(said(&reply), pairs(&[("first", "unknown"), ("second", "accepted")]));
    assert_eq!(first.code_of(&to).await, second.code_of(&to).await);
}

/// A gateway that is not there at all has taken nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g5_a_refused_connection_goes_on_to_the_next_and_back_off_is_bounded() {
    let sink = Sink::start().await;
    let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}/messages", closed.local_addr().unwrap());
    drop(closed);
    let row = format!("[[providers]]\nname = \"nobody\"\nuses = \"webhook\"\nurl = \"{nobody}\"");
    let plan = open().delivery("retries = 0").and(&row).provider("gateway", &sink);
    let house = House::start(plan).await;
    let reply = house.door.post_with("/v1/verifications", &WAIT, json!({"to": phone(1)})).await.ok(201);
    assert_eq!(said(&reply), pairs(&[("nobody", "failed"), ("gateway", "accepted")]));
    // Alone, it is tried again with back-off, so often and no more.
    let (house, sink) = House::with_sink(open().delivery("retries = 1\ntimeout = \"2s\"")).await;
    sink.habit(Act::Answer(503, String::new()));
    let begun = std::time::Instant::now();
    let problem = house.door.post_with("/v1/verifications", &WAIT, json!({"to": phone(1)})).await;
    let id = problem.problem(502, "delivery_failed")["verification_id"].as_str().unwrap().to_owned();
    assert!(begun.elapsed() >= Duration::from_secs(1), "it backed off");
    assert_eq!(said(&house.door.show(&id).await), pairs(&[("gateway", "failed"), ("gateway", "failed")]));
    assert_eq!(sink.count(), 2);
    // One that recovers in between delivers.
    sink.script([Act::Answer(503, String::new()), Act::Answer(200, "{}".into())]);
    let reply = house.door.post_with("/v1/verifications", &WAIT, json!({"to": phone(2)})).await.ok(201);
    assert_eq!(said(&reply), pairs(&[("gateway", "failed"), ("gateway", "accepted")]));
}
