//! `/v1/receipts/{provider}`.

use axum::http::Method;
use countersign_providers::standard_webhooks::Key;
use serde_json::{Value, json};

use crate::support::{App, Got, NOW, SECRET, TO};

async fn report(app: &App, body: &Value, at: i64) -> Got {
    let (key, text): (Key, _) = (SECRET.parse().unwrap(), body.to_string());
    let ask = app
        .ask(Method::POST, "/v1/receipts/phone")
        .header("webhook-id", "msg_1")
        .header("webhook-timestamp", &at.to_string());
    ask.header("webhook-signature", &key.sign("msg_1", at, text.as_bytes())).body("application/json", text).go().await
}

async fn delivery(app: &App, id: &str) -> Value {
    app.get(&format!("/v1/verifications/{id}")).go().await.is(200)["deliveries"][0].clone()
}

#[tokio::test]
async fn bug_g11_a_signed_report_moves_a_delivery_forward_only() {
    let app = App::new().await;
    let sent = app.post("/v1/verifications").header("prefer", "wait=5").json(&json!({"to": TO})).go().await.is(201);
    let (id, reference) = (sent["id"].as_str().unwrap(), sent["deliveries"][0]["id"].clone());
    let at = NOW / 1000;
    for (status, becomes) in [
        ("delivered", "delivered"),
        ("delivered", "delivered"),
        ("accepted", "delivered"),
        ("undelivered", "delivered"),
    ] {
        let got = report(&app, &json!({"id": reference, "status": status, "error": null}), at).await;
        assert_eq!((got.status.as_u16(), got.bytes.len()), (204, 0));
        assert_eq!(delivery(&app, id).await["status"], becomes);
    }
    let unknown = report(&app, &json!({"id": "dl_00000000000000000000000000000000", "status": "delivered"}), at).await;
    assert_eq!(unknown.status, 204, "late reports about what was cleaned up are no error");
}

#[tokio::test]
async fn bug_g11_an_unsigned_or_old_report_is_refused() {
    let app = App::new().await;
    let sent = app.post("/v1/verifications").header("prefer", "wait=5").json(&json!({"to": TO})).go().await.is(201);
    let (id, reference) = (sent["id"].as_str().unwrap(), sent["deliveries"][0]["id"].clone());
    let body = json!({"id": reference, "status": "failed"});
    report(&app, &body, NOW / 1000 - 301).await.is_problem(401, "unauthorized");
    report(&app, &body, NOW / 1000 + 301).await.is_problem(401, "unauthorized");
    let unsigned = app.ask(Method::POST, "/v1/receipts/phone").json(&body).go().await;
    unsigned.is_problem(401, "unauthorized");
    app.ask(Method::POST, "/v1/receipts/phone/guess").json(&body).go().await.is_problem(401, "unauthorized");
    app.ask(Method::GET, "/v1/receipts/phone?id=x&status=failed").go().await.is_problem(401, "unauthorized");
    app.ask(Method::POST, "/v1/receipts/nobody").json(&body).go().await.is_problem(404, "not_found");
    report(&app, &json!({"id": reference, "status": "lost"}), NOW / 1000).await.is_problem(400, "invalid_request");
    report(&app, &json!([]), NOW / 1000).await.is_problem(400, "invalid_request");
    let large = app.ask(Method::POST, "/v1/receipts/phone").raw("x".repeat(20_000)).go().await;
    large.is_problem(413, "body_too_large");
    assert_eq!(app.ask(Method::HEAD, "/v1/receipts/phone").go().await.status, 204);
    assert_eq!(delivery(&app, id).await["status"], "accepted");
}
