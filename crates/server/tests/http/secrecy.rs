//! The code is in the message and in nothing else: law 4.

use std::io;
use std::sync::{Arc, Mutex};

use axum::http::Method;
use base64::Engine as _;
use countersign::core::outcome::{Failure, Outcome};
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;

use crate::support::{App, Setup, TO, wrong};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn bug_f1_f2_no_answer_and_no_log_line_holds_a_code_a_key_or_a_number() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(log.clone()).finish();
    // The runtime of a test is one thread, so this one's subscriber is everybody's.
    let _guard = tracing::subscriber::set_default(subscriber);
    let app = Setup::default().policy(|policy| policy.allow_custom_code = true).build().await;
    let code = "8675309421";
    let mut answers = String::new();
    let mut hear = |got: crate::support::Got| answers.push_str(&format!("{:?} {}\n", got.headers, got.text()));
    let number = json!({"to": TO, "custom_code": code});
    let sent = app
        .post("/v1/verifications")
        .header("prefer", "wait=5")
        .header("idempotency-key", "a")
        .json(&number)
        .go()
        .await;
    let id = sent.is(201)["id"].as_str().unwrap().to_owned();
    hear(sent);
    let path = format!("/v1/verifications/{id}");
    let codes = [
        json!(wrong(code)),
        json!(code.parse::<u64>().unwrap()),
        json!([code]),
        json!({"c": code}),
        json!(format!(" {code}")),
    ];
    for given in codes {
        hear(app.post(&format!("{path}/check")).json(&json!({"code": given, "client": {}})).go().await);
        hear(app.post("/v1/verifications/check").json(&json!({"to": TO, "code": given})).go().await);
        hear(app.simple("verify-otp", &json!({"phone": TO, "otp": given, "verification_type": "x y"})).await);
    }
    hear(app.post(&format!("{path}/check")).body("application/json", format!("{{\"code\":\"{code}\",")).go().await);
    hear(
        app.post(&format!("{path}/check"))
            .body("application/json", format!("{{\"code\":\"{code}\",\"code\":\"{code}\"}}"))
            .go()
            .await,
    );
    hear(
        app.post("/v1/verifications").json(&json!({"to": TO, "custom_code": code.parse::<u64>().unwrap()})).go().await,
    );
    hear(app.ask(Method::GET, &format!("{path}?code={code}")).key(&app.key).go().await);
    hear(app.ask(Method::GET, &format!("/{code}?to={TO}")).go().await);
    app.advance(30);
    app.phone.script([Outcome::Rejected {
        failure: Failure::RetryElsewhere,
        reason: "throttled".into(),
        retry_after: None,
    }]);
    hear(app.post(&format!("{path}/resend")).go().await);
    hear(app.post(&format!("{path}/check")).header("idempotency-key", "b").json(&json!({"code": code})).go().await);
    hear(app.post(&format!("{path}/check")).header("idempotency-key", "b").json(&json!({"code": code})).go().await);
    hear(app.get("/v1/verifications").go().await);
    hear(app.ask(Method::GET, "/metrics").go().await);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("answered") && log.contains("/v1/verifications/{id}/check"), "{log}");
    let base64 = base64::engine::general_purpose::STANDARD.encode(code);
    let hex: String = code.bytes().map(|byte| format!("{byte:02x}")).collect();
    for secret in [code, &base64, &hex, &app.key] {
        assert!(!answers.contains(secret), "{secret} is in an answer");
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    assert!(!log.contains("694230173"), "a whole number is in the log:\n{log}");
}

#[tokio::test]
async fn a_request_is_logged_with_its_id_route_and_status() {
    let log = Log::default();
    let subscriber =
        tracing_subscriber::fmt().json().with_max_level(tracing::Level::INFO).with_writer(log.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let app = App::new().await;
    app.get("/v1/verifications/vf_0?x=secret").header("x-request-id", "req-1").go().await.is(404);
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let line: serde_json::Value = log.lines().filter_map(|line| serde_json::from_str(line).ok()).next_back().unwrap();
    assert_eq!(line["fields"]["status"], 404);
    assert_eq!(
        (&line["span"]["id"], &line["span"]["route"], &line["span"]["method"]),
        (&json!("req-1"), &json!("/v1/verifications/{id}"), &json!("GET"))
    );
    assert!(!log.contains("secret"));
}
