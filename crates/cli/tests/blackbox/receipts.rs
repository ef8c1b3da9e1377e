//! G11: a delivery report is believed if it is signed, recent and the same provider's, and then does no harm.

use serde_json::{Value, json};

use crate::house::http::id;
use crate::house::jwt::now;
use crate::house::plan::open;
use crate::house::sink::sign;
use crate::house::{Act, House, Reply, Sink, WHSEC, phone};

const OTHER: &str = "whsec_b3RoZXJvdGhlcm90aGVyb3RoZXJvdGhlcg==";

struct Report {
    provider: &'static str,
    secret: &'static str,
    at: i64,
    body: Value,
}

impl Report {
    fn of(reference: &str, status: &str) -> Self {
        let body = json!({"id": reference, "status": status, "error": null});
        Self { provider: "gateway", secret: WHSEC, at: now(), body }
    }

    async fn send(&self, house: &House) -> Reply {
        let (at, body) = (self.at.to_string(), self.body.to_string());
        let signature = sign(self.secret, "msg_1", &at, body.as_bytes());
        let headers = [
            ("Content-Type", "application/json"),
            ("webhook-id", "msg_1"),
            ("webhook-timestamp", at.as_str()),
            ("webhook-signature", signature.as_str()),
        ];
        house.door.ask("POST", &format!("/v1/receipts/{}", self.provider), &headers, body.as_bytes()).await
    }
}

async fn delivered(house: &House, sink: &Sink, to: &str, status: &str) -> (String, String) {
    sink.script([Act::Answer(200, "{\"id\":\"their-1\"}".into())]);
    let reply = house.door.post_with("/v1/verifications", &[("Prefer", "wait=5")], json!({"to": to})).await.ok(201);
    assert_eq!(reply["deliveries"][0]["status"], status);
    (id(&reply), reply["deliveries"][0]["id"].as_str().unwrap().to_owned())
}

async fn status(house: &House, verification: &str) -> Value {
    house.door.show(verification).await["deliveries"][0]["status"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g11_reports_that_prove_nothing_change_nothing() {
    let plain = "[[providers]]\nname = \"plain\"\nuses = \"webhook\"\nurl = \"http://127.0.0.1:9/\"";
    let sink = Sink::start().await;
    let second = format!(
        "[[providers]]\nname = \"second\"\nuses = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\nsecret = \"{OTHER}\""
    );
    let house = House::start(open().provider("gateway", &sink).and(&second).and(plain)).await;
    let (verification, delivery) = delivered(&house, &sink, &phone(1), "accepted").await;
    let good = || Report::of(&delivery, "delivered");
    for (what, report) in [
        ("another's secret", Report { secret: OTHER, ..good() }),
        ("old", Report { at: now() - 301 - 5, ..good() }),
        ("from the future", Report { at: now() + 301 + 5, ..good() }),
        ("a provider without a secret", Report { provider: "plain", ..good() }),
    ] {
        let problem = report.send(&house).await.problem(401, "unauthorized");
        assert!(!problem.to_string().contains("whsec"), "{what}");
        assert_eq!(status(&house, &verification).await, "accepted", "{what}");
    }
    // Unsigned, and signed over another body.
    let body = good().body.to_string();
    let at = now().to_string();
    let signature = sign(WHSEC, "msg_1", &at, b"{}");
    for headers in [
        vec![],
        vec![("webhook-id", "msg_1"), ("webhook-timestamp", at.as_str()), ("webhook-signature", signature.as_str())],
        vec![("webhook-id", "msg_1"), ("webhook-timestamp", at.as_str()), ("webhook-signature", "v1,")],
    ] {
        let reply = house.door.ask("POST", "/v1/receipts/gateway", &headers, body.as_bytes()).await;
        reply.problem(401, "unauthorized");
    }
    // An API key is no signature, and another provider's word is not about this provider's message.
    house.door.post("/v1/receipts/gateway", good().body).await.problem(401, "unauthorized");
    assert_eq!(Report { provider: "second", secret: OTHER, ..good() }.send(&house).await.status, 204);
    Report { provider: "nobody", ..good() }.send(&house).await.problem(404, "not_found");
    assert_eq!(status(&house, &verification).await, "accepted");
    assert_eq!(house.door.ask("GET", "/v1/receipts/gateway?id=x&status=delivered", &[], b"").await.status, 401);
    // Signed nonsense is the provider's mistake, and never a 5xx.
    for body in
        [json!(null), json!([]), json!({}), json!({"id": delivery}), json!({"id": delivery, "status": "teleported"})]
    {
        Report { body, ..good() }.send(&house).await.problem(400, "invalid_request");
    }
    assert_eq!(Report::of("never-heard-of", "delivered").send(&house).await.status, 204);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g11_late_repeated_and_out_of_order_reports_are_harmless() {
    let (mut house, sink) = House::with_sink(open()).await;
    let (verification, delivery) = delivered(&house, &sink, &phone(1), "accepted").await;
    let code = sink.code_of(&phone(1)).await;
    // By the gateway's own name for the message, and by ours; a replay says what it said.
    for _ in 0..3 {
        assert_eq!(Report::of("their-1", "delivered").send(&house).await.status, 204);
        assert_eq!(status(&house, &verification).await, "delivered");
    }
    for late in ["accepted", "failed", "undelivered", "delivered"] {
        assert_eq!(Report::of(&delivery, late).send(&house).await.status, 204);
        assert_eq!(status(&house, &verification).await, "delivered", "{late}");
    }
    house.restart().await;
    assert_eq!(status(&house, &verification).await, "delivered");
    assert_eq!(house.door.check(&verification, &code).await.result(), "approved");
    assert_eq!(Report::of(&delivery, "failed").send(&house).await.status, 204);
    assert_eq!(house.door.show(&verification).await["status"], "approved");
    // What was undelivered says why, and nothing else of what it was told.
    let (verification, delivery) = {
        sink.script([Act::Answer(200, "{\"id\":77}".into())]);
        let reply =
            house.door.post_with("/v1/verifications", &[("Prefer", "wait=5")], json!({"to": phone(2)})).await.ok(201);
        (id(&reply), reply["deliveries"][0]["id"].as_str().unwrap().to_owned())
    };
    let code = sink.code_of(&phone(2)).await;
    let mut report = Report::of("77", "undelivered");
    report.body["error"] = json!(format!("absent subscriber; text was: your code {code}"));
    assert_eq!(report.send(&house).await.status, 204);
    let shown = house.door.show(&verification).await;
    assert_eq!(shown["deliveries"][0]["id"], json!(delivery));
    assert_eq!(shown["deliveries"][0]["status"], "undelivered");
    assert!(!shown.to_string().contains(&code), "{shown}");
}
