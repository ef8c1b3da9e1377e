//! The Twilio dialect in virtual time, and when something is broken.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::http::Method;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::NewKey;
use countersign::core::id::ApplicationName;
use serde_json::{Value, json};

use crate::support::{App, Got, TO, wrong};

struct Account<'a> {
    app: &'a App,
    key: NewKey,
    service: String,
}

impl<'a> Account<'a> {
    async fn without_service(app: &'a App, name: &ApplicationName) -> Self {
        app.verifier.create_application(name).await.unwrap();
        let key = app.verifier.create_key(name).await.unwrap();
        Self { app, key, service: String::new() }
    }

    async fn of(app: &'a App) -> Self {
        let mut account = Self::without_service(app, &ApplicationName::default()).await;
        let services = account.ask(Method::GET, "/v2/Services", "").await.is(200);
        account.service = services["services"][0]["sid"].as_str().unwrap().to_owned();
        account
    }

    async fn ask(&self, method: Method, path: &str, form: &str) -> Got {
        let pair = STANDARD.encode(format!("{}:{}", self.key.account_sid, self.key.auth_token.as_str()));
        let ask = self.app.ask(method, path).header("authorization", &format!("Basic {pair}"));
        ask.body("application/x-www-form-urlencoded", form.to_owned()).go().await
    }

    async fn send(&self) -> Got {
        let path = format!("/v2/Services/{}/Verifications", self.service);
        self.ask(Method::POST, &path, &format!("To={}&Channel=sms", TO.replace('+', "%2B"))).await
    }

    async fn check(&self, code: &str) -> Got {
        let path = format!("/v2/Services/{}/VerificationCheck", self.service);
        self.ask(Method::POST, &path, &format!("To={}&Code={code}", TO.replace('+', "%2B"))).await
    }
}

fn says(got: &Got, status: u16, code: u32) -> Value {
    let body = got.is(status);
    assert_eq!(body["code"], json!(code), "{body}");
    assert!(body.get("type").is_none() && body.get("title").is_none(), "{body}");
    body
}

#[tokio::test]
async fn bug_d1_what_has_expired_is_gone_whatever_it_was() {
    let app = App::new().await;
    let account = Account::of(&app).await;
    let sid = account.send().await.is(201)["sid"].as_str().unwrap().to_owned();
    let path = format!("/v2/Services/{}/Verifications/{sid}", account.service);
    let code = app.code().await;
    app.advance(299);
    assert_eq!(account.ask(Method::GET, &path, "").await.is(200)["status"], "pending");
    app.advance(1);
    says(&account.check(&code).await, 404, 20404);
    says(&account.ask(Method::GET, &path, "").await, 404, 20404);
    says(&account.ask(Method::POST, &path, "Status=approved").await, 404, 20404);

    let again = account.send().await.is(201);
    assert_ne!(again["sid"], json!(sid));
    let path = format!("/v2/Services/{}/Verifications/{}", account.service, again["sid"].as_str().unwrap());
    app.advance(1);
    for _ in 0..5 {
        assert_eq!(account.check(&wrong(&code)).await.is(200)["valid"], json!(false));
    }
    let refused = account.check(&code).await;
    says(&refused, 429, 60202);
    assert_eq!(refused.header("retry-after"), "299");
    assert_eq!(account.ask(Method::GET, &path, "").await.is(200)["status"], "max_attempts_reached");
    app.advance(299);
    says(&account.check(&code).await, 404, 20404);
    says(&account.ask(Method::GET, &path, "").await, 404, 20404);
}

#[tokio::test]
async fn the_sixth_send_says_when_a_seventh_can_be() {
    let app = App::new().await;
    let account = Account::of(&app).await;
    for _ in 0..5 {
        account.send().await.is(201);
    }
    let refused = account.send().await;
    says(&refused, 429, 60203);
    assert_eq!(refused.header("retry-after"), "300");
    app.advance(300);
    account.send().await.is(201);
}

#[tokio::test]
async fn bug_a17_without_its_store_this_door_evaluates_nothing() {
    let (app, store) = super::operation::fragile().await;
    let account = Account::of(&app).await;
    account.send().await.is(201);
    let code = app.code().await;
    store.away.store(true, Ordering::Relaxed);
    for got in [account.send().await, account.check(&code).await, account.check(&wrong(&code)).await] {
        says(&got, 503, 20503);
        assert_ne!(got.header("retry-after"), "");
        assert!(!got.text().contains("secret-of-the-store"));
    }
    store.away.store(false, Ordering::Relaxed);
    store.panics.store(true, Ordering::Relaxed);
    for got in [account.send().await, account.check(&code).await] {
        says(&got, 500, 20500);
        assert!(!got.text().contains("secret-of-the-store"));
    }
    store.panics.store(false, Ordering::Relaxed);
    assert_eq!(account.check(&code).await.is(200)["valid"], json!(true));
    app.verifier.shut_down(Duration::from_secs(1)).await.unwrap();
    says(&account.send().await, 503, 20503);
}

#[tokio::test]
async fn a_key_of_an_application_without_rules_may_do_nothing() {
    let app = App::new().await;
    let account = Account::without_service(&app, &"gone".parse().unwrap()).await;
    says(&account.ask(Method::GET, "/v2/Services", "").await, 403, 20403);
}
