//! Health, metrics, keys, the document, and what is true of every path.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use countersign::core::health::HealthRow;
use countersign::core::id::{ApplicationName, DeliveryId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, Verification};
use countersign::sender::BoxFuture;
use countersign::store::{
    AnswerKey, ApplicationRecord, Claimed, Cleaned, Job, KeptAnswer, KeyRecord, ListFilter, NewAnswer, Page, Record,
    RecordFilter, RecordName, RecordPage, StoreError, StoreResult,
};
use countersign::transfer::{Dumped, Loaded, Row, RowKind};
use countersign::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};
use countersign::{MemoryStore, Store};
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::{App, Setup, TO};

#[tokio::test]
async fn health_and_keys() {
    let app = App::new().await;
    assert_eq!(app.ask(Method::GET, "/healthz").go().await.is(200), json!({"status": "ok"}));
    assert_eq!(app.ask(Method::GET, "/readyz").go().await.is(200), json!({"status": "ok"}));
    assert_eq!(app.ask(Method::HEAD, "/healthz").go().await.status, 200);
    let keys = app.ask(Method::GET, "/.well-known/jwks.json").go().await;
    assert_eq!(keys.header("cache-control"), "public, max-age=300");
    assert_eq!(keys.is(200)["keys"][0]["kid"], "k1");
}

#[tokio::test]
async fn paths_and_methods_that_are_none_are_problems() {
    let app = App::new().await;
    for path in
        ["/nothing", "/v1", "/v1/verifications/", "/.env", "/inbox", "/inbox.json", "/inbox/events", "/%ff", "//"]
    {
        app.ask(Method::GET, path).go().await.is_problem(404, "not_found");
    }
    for (method, path, allow) in [
        (Method::DELETE, "/v1/verifications", "POST"),
        (Method::PUT, "/v1/verifications/check", "POST"),
        (Method::POST, "/healthz", "GET"),
        (Method::TRACE, "/healthz", "GET"),
        (Method::POST, "/docs", "GET"),
        (Method::DELETE, "/v1/receipts/phone", "POST"),
    ] {
        let got = app.ask(method, path).go().await;
        got.is_problem(405, "method_not_allowed");
        assert!(got.header("allow").contains(allow), "{path} {got:?}");
    }
    assert_eq!(
        app.ask(Method::DELETE, "/healthz").header("x-request-id", "abc-1").go().await.header("x-request-id"),
        "abc-1"
    );
}

#[tokio::test]
async fn metrics_count_what_happens_and_name_nobody() {
    let app = App::new().await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    let code = app.code().await;
    app.post(&format!("/v1/verifications/{id}/check")).json(&json!({"code": code})).go().await.is(200);
    app.ask(Method::GET, &format!("/secret/{TO}")).go().await.is(404);
    let got = app.ask(Method::GET, "/metrics").go().await;
    assert!(got.header("content-type").starts_with("application/openmetrics-text"));
    let page = got.text();
    for line in [
        r#"countersign_sends_total{application="default",channel="sms",kind="begun"} 1"#,
        r#"countersign_checks_total{application="default",result="approved"} 1"#,
        r#"countersign_deliveries_total{provider="phone",channel="sms",outcome="accepted"} 1"#,
        r#"countersign_http_requests_total{method="POST",route="/v1/verifications",status="201"} 1"#,
        r#"countersign_http_requests_total{method="POST",route="/v1/verifications/{id}/check",status="200"} 1"#,
        r#"countersign_http_requests_total{method="GET",route="none",status="404"} 1"#,
    ] {
        assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
    }
    assert!(!page.contains("694230173") && !page.contains(&id) && !page.contains(&code));
}

#[tokio::test]
async fn the_document_describes_what_is_served() {
    let app = App::new().await;
    let document = app.ask(Method::GET, "/openapi.json").go().await.is(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    assert_eq!(document["servers"][0]["url"], crate::support::PUBLIC_URL);
    assert_eq!(document["components"]["securitySchemes"]["api_key"]["scheme"], "bearer");
    let mut described = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described += 1;
            assert!(operation.to_string().contains("\"example"), "{method} {path} has no example");
            assert!(
                operation["operationId"].is_string()
                    && operation["summary"].is_string()
                    && operation["tags"][0].is_string(),
                "{path}"
            );
            let path = path.replace("{id}", "vf_0").replace("{provider}", "phone").replace("{call}/{ticket}", "dl_0/0");
            let got = app.ask(method.to_uppercase().parse().unwrap(), &path).go().await;
            let simple = path.starts_with("/api/users/");
            assert!(got.status != 405 && (got.status != 404 || simple), "{method} {path} is not served: {got:?}");
            assert!(operation["responses"]["default"].is_object(), "{method} {path}");
            assert!(!operation["parameters"].to_string().contains("null\""), "{method} {path}");
        }
    }
    assert_eq!(described, 21);
    for reference in references(&document) {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference} leads nowhere");
    }
    let without_server = serde_json::to_value(countersign_server::api::openapi::openapi()).unwrap();
    assert_eq!(without_server["paths"], document["paths"]);
    assert!(without_server.get("servers").is_none());
}

fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => {
            let own = fields.get("$ref").and_then(Value::as_str).map(str::to_owned);
            own.into_iter().chain(fields.values().flat_map(references)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// A store that can be made to break: to answer that it is away, to hang, or to panic.
#[derive(Default)]
pub struct Fragile {
    inner: MemoryStore,
    pub away: AtomicBool,
    hangs: AtomicBool,
    pub panics: AtomicBool,
}

impl Fragile {
    fn strike<'a, T: Send + 'a>(&'a self, call: BoxFuture<'a, StoreResult<T>>) -> BoxFuture<'a, StoreResult<T>> {
        Box::pin(async move {
            assert!(!self.panics.load(Ordering::Relaxed), "struck down with secret-of-the-store");
            if self.hangs.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
            if self.away.load(Ordering::Relaxed) {
                return Err(StoreError::Unavailable("secret-of-the-store".into()));
            }
            call.await
        })
    }
}

macro_rules! pass {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name<'a>(&'a self, $($arg: $type),*) -> BoxFuture<'a, StoreResult<$out>> {
            self.strike(self.inner.$name($($arg),*))
        })*
    };
}

impl Store for Fragile {
    fn run(&self, job: Box<dyn Job>) -> BoxFuture<'_, StoreResult<()>> {
        self.strike(Box::pin(async move { self.inner.run(job).await }))
    }
    fn claim(&self, now: Timestamp, lease: Duration, most: usize) -> BoxFuture<'_, StoreResult<Vec<Claimed>>> {
        self.inner.claim(now, lease, most)
    }
    fn dump<'a>(
        &'a self,
        kind: RowKind,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Dumped>>> {
        self.inner.dump(kind, after, most)
    }

    fn load(&self, rows: Vec<Row>) -> BoxFuture<'_, StoreResult<Vec<Loaded>>> {
        self.inner.load(rows)
    }

    fn to_follow_up(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        self.inner.to_follow_up(now, most)
    }

    fn overdue(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        self.inner.overdue(now, most)
    }
    fn cleanup(
        &self,
        before: Timestamp,
        now: Timestamp,
        most: usize,
        dry_run: bool,
    ) -> BoxFuture<'_, StoreResult<Cleaned>> {
        self.inner.cleanup(before, now, most, dry_run)
    }
    fn events(
        &self,
        after: u64,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(u64, countersign::core::event::Event)>>> {
        self.inner.events(after, most)
    }
    fn applications(&self) -> BoxFuture<'_, StoreResult<Vec<ApplicationRecord>>> {
        self.strike(self.inner.applications())
    }
    fn key_by_digest(&self, digest: [u8; 32]) -> BoxFuture<'_, StoreResult<Option<KeyRecord>>> {
        self.strike(self.inner.key_by_digest(digest))
    }
    fn webhook_position(&self, wanted: bool) -> BoxFuture<'_, StoreResult<Option<u64>>> {
        self.inner.webhook_position(wanted)
    }
    fn health_position(&self) -> BoxFuture<'_, StoreResult<Option<u64>>> {
        self.inner.health_position()
    }
    fn health(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<HealthRow>>> {
        self.inner.health(since)
    }
    fn webhook_endpoints(&self) -> BoxFuture<'_, StoreResult<Vec<WebhookEndpoint>>> {
        self.inner.webhook_endpoints()
    }
    fn ping(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.strike(self.inner.ping())
    }
    fn close(&self) -> BoxFuture<'_, StoreResult<()>> {
        self.inner.close()
    }
    pass! {
        verification(application: &'a ApplicationName, id: VerificationId) -> Option<(Verification, Vec<Delivery>)>;
        list(filter: &'a ListFilter) -> Page;
        verifications(ids: &'a [VerificationId]) -> Vec<(Verification, Vec<Delivery>)>;
        take_up_health(from: u64, through: u64, rows: &'a [HealthRow]) -> bool;
        verification_of(application: &'a ApplicationName, delivery: DeliveryId) -> Option<(Verification, Vec<Delivery>)>;
        create_record(record: &'a Record) -> bool;
        update_record(record: &'a Record) -> bool;
        record(name: &'a RecordName) -> Option<Record>;
        records(filter: &'a RecordFilter) -> RecordPage;
        delete_record(name: &'a RecordName) -> bool;
        take_up_events(from: u64, through: u64, messages: &'a [WebhookMessage]) -> Option<u64>;
        claim_webhooks(endpoint: &'a str, now: Timestamp, lease: Duration, most: usize) -> Vec<WebhookMessage>;
        settle_webhook(message: &'a WebhookMessage, outcome: &'a WebhookOutcome, now: Timestamp) -> bool;
        requeue_webhooks(endpoints: &'a [String], which: &'a Requeue, now: Timestamp) -> u64;
        begin_answer(key: &'a AnswerKey, fresh: NewAnswer) -> KeptAnswer;
        keep_answer(key: &'a AnswerKey, answer: Vec<u8>) -> ();
        release_answer(key: &'a AnswerKey) -> ();
        create_application(application: &'a ApplicationRecord) -> bool;
        create_key(key: &'a KeyRecord) -> ();
        keys(application: &'a ApplicationName) -> Vec<KeyRecord>;
        revoke_key(id: &'a str, now: Timestamp) -> bool;
    }
}

pub async fn fragile() -> (App, Arc<Fragile>) {
    let store = Arc::new(Fragile::default());
    let setup = Setup { store: store.clone(), ..Setup::default() };
    let app = setup.settings(|settings| settings.bounds.answer_within = Duration::from_millis(1500)).build().await;
    (app, store)
}

/// Every call that needs the store.
async fn ask_everything(app: &App, id: &str, status: u16, code: &str) {
    for (method, path, body) in [
        (Method::POST, "/v1/verifications".to_owned(), json!({"to": TO})),
        (Method::GET, "/v1/verifications".to_owned(), json!(null)),
        (Method::POST, "/v1/verifications/check".to_owned(), json!({"to": TO, "code": "123456"})),
        (Method::GET, format!("/v1/verifications/{id}"), json!(null)),
        (Method::POST, format!("/v1/verifications/{id}/check"), json!({"code": "123456"})),
        (Method::POST, format!("/v1/verifications/{id}/resend"), json!({})),
        (Method::POST, format!("/v1/verifications/{id}/cancel"), json!({})),
    ] {
        for key in [None, Some("k")] {
            let mut ask = app.ask(method.clone(), &path).key(&app.key).json(&body);
            if let Some(key) = key {
                ask = ask.header("idempotency-key", key);
            }
            let got = ask.go().await;
            got.is_problem(status, code);
            assert!(!got.text().contains("secret-of-the-store"), "{got:?}");
        }
    }
    for call in ["send-otp", "resend-otp", "verify-otp"] {
        let got = app.simple(call, &json!({"phone": TO, "otp": "123456", "verification_id": id})).await;
        got.says(503, "Service unavailable. Please try again later.");
        assert_eq!(got.json().get("verified").is_some(), call == "verify-otp");
    }
}

#[tokio::test]
async fn bug_a17_without_its_store_it_refuses_and_evaluates_nothing() {
    let (app, store) = fragile().await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    let code = app.code().await;
    store.away.store(true, Ordering::Relaxed);
    ask_everything(&app, &id, 503, "store_unavailable").await;
    let ready = app.ask(Method::GET, "/readyz").go().await;
    ready.is_problem(503, "store_unavailable");
    assert_ne!(ready.header("retry-after"), "");
    app.ask(Method::GET, "/healthz").go().await.is(200);
    store.away.store(false, Ordering::Relaxed);
    let got = app.post(&format!("/v1/verifications/{id}/check")).json(&json!({"code": code})).go().await.is(200);
    assert_eq!((&got["valid"], &got["verification"]["checks_left"]), (&json!(true), &json!(5)));
}

#[tokio::test]
async fn bug_f5_a_panic_is_one_request_s_and_tells_nothing() {
    let (app, store) = fragile().await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    app.code().await;
    store.panics.store(true, Ordering::Relaxed);
    ask_everything(&app, &id, 500, "internal_error").await;
    store.panics.store(false, Ordering::Relaxed);
    app.get(&format!("/v1/verifications/{id}")).go().await.is(200);
}

#[tokio::test]
async fn a_store_that_hangs_is_not_waited_for_for_ever() {
    let (app, store) = fragile().await;
    app.send(&json!({"to": TO})).await;
    app.code().await;
    store.hangs.store(true, Ordering::Relaxed);
    let (ready, sent) = (
        app.ask(Method::GET, "/readyz").go(),
        app.post("/v1/verifications").json(&json!({"to": "+255694230174"})).go(),
    );
    let (ready, sent) = tokio::join!(ready, sent);
    ready.is_problem(503, "store_unavailable");
    sent.is_problem(503, "store_unavailable");
}
