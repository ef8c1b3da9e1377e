//! `Idempotency-Key`.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use countersign::core::channel::Channel;
use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::core::policy::Application;
use countersign::sender::BoxFuture;
use countersign::{Sender, Verifier};
use countersign_server::metrics::Metrics;
use countersign_server::service::Service;
use serde_json::json;
use tokio::sync::Notify;

use crate::support::{App, Got, Setup, TO, name, new_key, settings, signer, wrong};

async fn send(app: &App, key: &str, body: &serde_json::Value) -> Got {
    app.post("/v1/verifications").header("idempotency-key", key).json(body).go().await
}

#[tokio::test]
async fn bug_g6_the_same_request_again_is_the_same_answer_and_one_message() {
    let app = App::new().await;
    let first = send(&app, "order-7", &json!({"to": TO})).await;
    first.is(201);
    assert_eq!(first.header("idempotency-replayed"), "");
    for key in ["order-7", "\"order-7\""] {
        app.advance(60);
        let again = send(&app, key, &json!({"to": TO})).await;
        assert_eq!((again.status, &again.bytes), (first.status, &first.bytes));
        for header in ["location", "content-type"] {
            assert_eq!(again.header(header), first.header(header));
        }
        assert_eq!(again.header("idempotency-replayed"), "true");
    }
    app.code().await;
    assert_eq!(app.phone.messages().len(), 1);
    send(&app, "order-7", &json!({"to": "+255694230174"})).await.is_problem(422, "idempotency_key_reused");
    let elsewhere =
        app.post("/v1/verifications/check").header("idempotency-key", "order-7").json(&json!({"to": TO})).go().await;
    elsewhere.is_problem(422, "idempotency_key_reused");
    app.advance(24 * 3600);
    send(&app, "order-7", &json!({"to": TO})).await.is(201);
}

#[tokio::test]
async fn bug_g6_twenty_at_once_are_one_message() {
    let app = Arc::new(App::new().await);
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let app = Arc::clone(&app);
            tokio::spawn(async move { send(&app, "k", &json!({"to": TO})).await })
        })
        .collect();
    let mut bodies = std::collections::HashSet::new();
    for task in tasks {
        let got = task.await.unwrap();
        match got.status.as_u16() {
            201 => drop(bodies.insert(got.text())),
            _ => drop(got.is_problem(409, "idempotency_in_flight")),
        }
    }
    assert_eq!(bodies.len(), 1);
    app.code().await;
    assert_eq!(app.phone.messages().len(), 1);
}

#[tokio::test]
async fn bug_b5_a_double_click_on_verify_is_one_approval_told_twice() {
    let app = App::new().await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    let (code, path) = (app.code().await, format!("/v1/verifications/{id}/check"));
    let check = |code: String| app.post(&path).header("idempotency-key", "c").json(&json!({"code": code})).go();
    let first = check(code.clone()).await;
    assert_eq!(first.is(200)["valid"], true);
    let again = check(code.clone()).await;
    assert_eq!((again.is(200), again.header("idempotency-replayed")), (first.is(200), "true"));
    check(wrong(&code)).await.is_problem(422, "idempotency_key_reused");
}

#[tokio::test]
async fn keys_belong_to_their_application() {
    let mut other = Application::new(name("other"), "phone");
    other.limits.clear();
    let app = Setup { others: vec![other], ..Setup::default() }.build().await;
    let other = new_key(&app.verifier, "other").await;
    let first = send(&app, "k", &json!({"to": TO})).await.is(201);
    let got = app
        .ask(Method::POST, "/v1/verifications")
        .key(&other)
        .header("idempotency-key", "k")
        .json(&json!({"to": TO}))
        .go()
        .await;
    assert_ne!(got.is(201)["id"], first["id"]);
}

#[tokio::test]
async fn refusals_are_kept_and_passing_states_are_not() {
    let app = App::new().await;
    send(&app, "bad", &json!({"to": "12"})).await.is_problem(422, "invalid_destination");
    let again = send(&app, "bad", &json!({"to": "12"})).await;
    again.is_problem(422, "invalid_destination");
    assert_eq!(again.header("idempotency-replayed"), "true");
    send(&app, "a", &json!({"to": TO})).await.is(201);
    send(&app, "soon", &json!({"to": TO})).await.is_problem(429, "resend_too_soon");
    app.advance(30);
    let later = send(&app, "soon", &json!({"to": TO})).await;
    later.is(200);
    assert_eq!(later.header("idempotency-replayed"), "");
    app.phone.script([Outcome::Rejected { failure: Failure::GiveUp, reason: "no".into(), retry_after: None }]);
    let other = json!({"to": "+255694230174"});
    let wait = || {
        app.post("/v1/verifications").header("idempotency-key", "fails").header("prefer", "wait=5").json(&other).go()
    };
    wait().await.is_problem(502, "delivery_failed");
    wait().await.is(201);
}

#[tokio::test]
async fn keys_that_are_none_are_refused_on_every_post() {
    let app = App::new().await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    for path in ["", "/check", &format!("/{id}/check"), &format!("/{id}/resend"), &format!("/{id}/cancel")] {
        for key in ["", &"k".repeat(256), "\"\""] {
            let got = app
                .post(&format!("/v1/verifications{path}"))
                .header("idempotency-key", key)
                .json(&json!({}))
                .go()
                .await;
            assert_eq!(got.is_problem(400, "invalid_request")["param"], "Idempotency-Key", "{path} {key}");
        }
    }
    send(&app, &"k".repeat(255), &json!({"to": "+255694230174"})).await.is(201);
}

/// Takes messages when it is told to.
struct Slow(Arc<Notify>);

impl Sender for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn channels(&self) -> &[Channel] {
        &Channel::ALL
    }

    fn send<'a>(&'a self, _: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.0.notified().await;
            Outcome::Accepted { message_id: None }
        })
    }
}

#[tokio::test]
async fn while_the_first_is_in_flight_the_second_is_409_and_hanging_up_loses_nothing() {
    let go = Arc::new(Notify::new());
    let mut application = Application::new(name("default"), "slow");
    application.limits.clear();
    let verifier = Verifier::builder().sender(Arc::new(Slow(go.clone()))).application(application).build().unwrap();
    let key = new_key(&verifier, "default").await;
    let service = Service::new(verifier.clone(), settings(), signer(), Metrics::new());
    let (_, _, phone, clock) = Setup::default().service();
    let app = App { router: service.router(), verifier, phone, clock, key };
    let body = json!({"to": TO});
    let wait =
        || app.post("/v1/verifications").header("idempotency-key", "k").header("prefer", "wait=30").json(&body).go();
    // The client hangs up before the provider has answered.
    assert!(tokio::time::timeout(Duration::from_millis(50), wait()).await.is_err());
    wait().await.is_problem(409, "idempotency_in_flight");
    go.notify_one();
    let answer = loop {
        let got = wait().await;
        if got.status != 409 {
            break got;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!(answer.is(201)["deliveries"][0]["status"], "accepted");
    assert_eq!(answer.header("idempotency-replayed"), "true");
}
