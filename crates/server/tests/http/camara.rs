//! The CAMARA dialect, in time that is moved by hand and with a store that fails. Its scenarios are told to the real binary.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::Method;
use countersign::core::id::ServiceId;
use countersign::{CheckRequest, SendRequest};
use serde_json::json;

use crate::support::{App, Got, Setup, TO, new_key, wrong};

const TEXT: &str = "{{code}} is your code";

async fn ask(app: &App, key: &str, call: &str, body: serde_json::Value) -> Got {
    let ask = app.ask(Method::POST, &format!("/one-time-password-sms/v1/{call}")).key(key);
    let got = ask.header("x-correlator", "c-1").json(&body).go().await;
    assert_eq!(got.header("x-correlator"), "c-1", "{got:?}");
    got
}

async fn send(app: &App) -> Got {
    ask(app, &app.key, "send-code", json!({"phoneNumber": TO, "message": TEXT})).await
}

async fn validate(app: &App, id: &str, code: &str) -> Got {
    ask(app, &app.key, "validate-code", json!({"authenticationId": id, "code": code})).await
}

async fn begin(app: &App) -> (String, String) {
    let id = send(app).await.is(200)["authenticationId"].as_str().unwrap().to_owned();
    (id, app.phone.messages().last().unwrap().code.clone())
}

#[track_caller]
fn no(got: &Got, status: u16, code: &str) {
    let body = got.is(status);
    assert_eq!(body["code"].as_str().unwrap().trim_start_matches("ONE_TIME_PASSWORD_SMS."), code, "{body}");
    assert_eq!(body["status"], status);
    assert_eq!(got.header("content-type"), "application/json");
}

#[tokio::test]
async fn a_code_lives_as_long_as_the_policy_says_and_a_second_one_has_a_life_of_its_own() {
    let app = App::new().await;
    let (first, old) = begin(&app).await;
    app.advance(299);
    let (second, code) = begin(&app).await;
    no(&validate(&app, &first, &old).await, 400, "VERIFICATION_EXPIRED");
    app.advance(299);
    assert_eq!(validate(&app, &second, &code).await.status.as_u16(), 204);
    let (third, code) = begin(&app).await;
    app.advance(300);
    no(&validate(&app, &third, &code).await, 400, "VERIFICATION_EXPIRED");
    no(&validate(&app, &third, "AJY3").await, 400, "VERIFICATION_EXPIRED");
}

#[tokio::test]
async fn its_purpose_is_one_that_may_be_named() {
    let app = Setup::default().policy(|policy| policy.purposes = Some(vec!["payment".parse().unwrap()])).build().await;
    let (id, code) = begin(&app).await;
    assert_eq!(app.get(&format!("/v1/verifications/{id}")).go().await.is(200)["purpose"], "payment");
    assert_eq!(validate(&app, &id, &code).await.status.as_u16(), 204);
}

#[tokio::test]
async fn an_id_of_another_door_or_service_is_nobodys() {
    let app = App::new().await;
    for service in [None, Some(ServiceId::from_bytes([7; 16]))] {
        let request = SendRequest::to(TO);
        let request = service.map_or_else(|| SendRequest::to(TO), |service| request.service(service));
        let sent = app.verifier.send(request).await.unwrap();
        let id = sent.sent.verification.id;
        sent.wait(Duration::from_secs(5)).await.unwrap();
        let code = app.phone.messages().last().unwrap().code.clone();
        for offered in [&*code, "AJY3"] {
            no(&validate(&app, &id.to_string(), offered).await, 404, "NOT_FOUND");
        }
        assert_eq!(app.verifier.check(CheckRequest::by_id(id, &code)).await.unwrap().result.as_str(), "approved");
    }
}

#[tokio::test]
async fn a_key_of_an_application_without_rules_may_do_nothing() {
    let app = App::new().await;
    let key = new_key(&app.verifier, "gone").await;
    for (call, body) in [
        ("send-code", json!({"phoneNumber": TO, "message": TEXT})),
        ("validate-code", json!({"authenticationId": format!("vf_{}", "0".repeat(32)), "code": "123456"})),
    ] {
        no(&ask(&app, &key, call, body).await, 403, "PERMISSION_DENIED");
    }
    assert!(app.phone.messages().is_empty());
}

#[tokio::test]
async fn bug_a17_without_its_store_it_refuses_and_evaluates_nothing() {
    let (app, store) = super::operation::fragile().await;
    let (id, code) = begin(&app).await;
    let all = async |status: u16, says: &str| {
        let offered = [validate(&app, &id, &code).await, validate(&app, &id, "AJY3").await, send(&app).await];
        for got in offered {
            no(&got, status, says);
            assert!(!got.text().contains("secret-of-the-store"));
            assert_eq!(got.header("retry-after"), if status == 503 { "1" } else { "" });
        }
    };
    store.away.store(true, Ordering::Relaxed);
    all(503, "UNAVAILABLE").await;
    store.away.store(false, Ordering::Relaxed);
    store.panics.store(true, Ordering::Relaxed);
    all(500, "INTERNAL").await;
    store.panics.store(false, Ordering::Relaxed);
    no(&validate(&app, &id, &wrong(&code)).await, 400, "INVALID_OTP");
    assert_eq!(validate(&app, &id, &code).await.status.as_u16(), 204);
    app.verifier.shut_down(Duration::from_secs(1)).await.unwrap();
    no(&send(&app).await, 503, "UNAVAILABLE");
}
