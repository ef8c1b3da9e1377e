//! A service for tests, and sentences to ask it with.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use countersign::core::id::ApplicationName;
use countersign::core::policy::{Application, Policy};
use countersign::core::time::Timestamp;
use countersign::{Builder, ManualClock, MemoryStore, RecordingSender, Store, Verifier};
use countersign_providers::{Inbox, ProviderConfig, ReceiptReader};
use countersign_server::http::client_address::Peer;
use countersign_server::metrics::Metrics;
use countersign_server::service::Service;
use countersign_server::settings::{
    Bounds, CamaraSettings, HttpSettings, SimpleSettings, TwilioSettings, WebhookRules,
};
use countersign_server::token::{Claims, TokenKey, TokenSigner};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

pub const TO: &str = "+255694230173";
pub const NOW: i64 = 1_795_341_600_000; // 2026-11-22T10:00:00Z
pub const PUBLIC_URL: &str = "http://127.0.0.1:8080";
pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

pub struct App {
    pub router: Router,
    pub verifier: Verifier,
    pub phone: Arc<RecordingSender>,
    pub clock: ManualClock,
    pub key: String,
}

/// What a service for tests may have otherwise.
pub struct Setup {
    pub application: Application,
    pub others: Vec<Application>,
    pub settings: HttpSettings,
    pub store: Arc<dyn Store>,
    pub inbox: bool,
}

pub fn name(text: &str) -> ApplicationName {
    text.parse().unwrap()
}

pub fn settings() -> HttpSettings {
    HttpSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        public_url: PUBLIC_URL.into(),
        production: false,
        trusted_proxies: Arc::new([]),
        simple: Some(SimpleSettings {
            prefix: "/api/users".into(),
            application: ApplicationName::default(),
            allowed_origins: vec!["https://app.example".into()],
        }),
        twilio: Some(TwilioSettings { webhooks: Some(WebhookRules::default()), ..TwilioSettings::default() }),
        camara: Some(CamaraSettings { prefix: "/one-time-password-sms/v1".into(), ..CamaraSettings::default() }),
        bounds: Bounds::default(),
    }
}

impl Default for Setup {
    /// No limits but those of a verification, so that a test meets the one that it asks for.
    fn default() -> Self {
        let mut application = Application::new(ApplicationName::default(), "phone");
        application.limits.clear();
        let store = Arc::new(MemoryStore::default());
        Self { application, others: Vec::new(), settings: settings(), store, inbox: false }
    }
}

impl Setup {
    pub fn policy(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.application.policy);
        self
    }

    pub fn settings(mut self, change: impl FnOnce(&mut HttpSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub fn service(self) -> (Service, Verifier, Arc<RecordingSender>, ManualClock) {
        let (phone, clock) = (Arc::new(RecordingSender::new("phone")), ManualClock::at(Timestamp::from_millis(NOW)));
        let metrics = Metrics::new();
        let inbox = {
            let clock = clock.clone();
            Inbox::new(Arc::new(move || countersign::Clock::now(&clock)))
        };
        let mut builder: Builder = Verifier::builder();
        builder =
            builder.clock(Arc::new(clock.clone())).observer(metrics.clone()).store(self.store).sender(phone.clone());
        builder = builder.sender(Arc::new(inbox.sender("inbox"))).application(self.application);
        builder = self.others.into_iter().fold(builder, Builder::application);
        let verifier = builder.build().unwrap();
        let tokens = signer();
        let mut service = Service::new(verifier.clone(), self.settings, tokens, metrics);
        if self.inbox {
            service = service.inbox(inbox);
        }
        let gateway = ProviderConfig::new("phone", "webhook").with("url", "http://127.0.0.1:9/").with("secret", SECRET);
        service = service.receipts("phone", ReceiptReader::new(&gateway).unwrap());
        (service, verifier, phone, clock)
    }

    pub async fn build(self) -> App {
        let (service, verifier, phone, clock) = self.service();
        let key = new_key(&verifier, "default").await;
        App { router: service.router(), verifier, phone, clock, key }
    }
}

pub fn signer() -> TokenSigner {
    TokenSigner::new(&TokenKey::from_seed("k1", [7; 32]), &[], PUBLIC_URL).unwrap()
}

pub async fn new_key(verifier: &Verifier, application: &str) -> String {
    verifier.create_application(&name(application)).await.unwrap();
    verifier.create_key(&name(application)).await.unwrap().key.to_string()
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Got {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Bytes,
}

impl Got {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks the status, and gives the body.
    #[track_caller]
    pub fn is(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// Checks that it is this problem, and gives its body.
    #[track_caller]
    pub fn is_problem(&self, status: u16, code: &str) -> Value {
        let body = self.is(status);
        assert_eq!(body["code"], code, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(body["status"], status);
        for member in ["type", "title", "detail"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member} of {body}");
        }
        body
    }

    /// Checks the words of the simple dialect.
    #[track_caller]
    pub fn says(&self, status: u16, message: &str) -> Value {
        let body = self.is(status);
        assert_eq!(body["message"], message, "{self:?}");
        assert_eq!(body["status"], if status == 200 { "success" } else { "error" });
        body
    }
}

/// A request in the making.
pub struct Ask<'a> {
    app: &'a App,
    request: axum::http::request::Builder,
    body: Body,
    peer: IpAddr,
}

impl Ask<'_> {
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    pub fn key(self, key: &str) -> Self {
        let bearer = format!("Bearer {key}");
        self.header("authorization", &bearer)
    }

    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    pub fn body(mut self, content_type: &str, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    pub fn raw(mut self, body: impl Into<Body>) -> Self {
        self.body = body.into();
        self
    }

    pub fn from(mut self, peer: &str) -> Self {
        self.peer = peer.parse().unwrap();
        self
    }

    pub async fn go(self) -> Got {
        let mut request: Request<Body> = self.request.body(self.body).unwrap();
        request.extensions_mut().insert(Peer(self.peer));
        let response = self.app.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let got = Got { status: parts.status, headers: parts.headers, bytes: body.collect().await.unwrap().to_bytes() };
        assert_eq!(got.header("x-content-type-options"), "nosniff");
        assert_ne!(got.header("cache-control"), "");
        assert_ne!(got.header("x-request-id"), "");
        if got.status == 429 {
            assert!(got.header("retry-after").parse::<u64>().unwrap() >= 1, "{got:?}");
            assert!(got.headers.contains_key("ratelimit") && got.headers.contains_key("ratelimit-policy"), "{got:?}");
        }
        got
    }
}

impl App {
    pub async fn new() -> Self {
        Setup::default().build().await
    }

    pub fn ask(&self, method: Method, path: &str) -> Ask<'_> {
        let request = Request::builder().method(method).uri(path);
        Ask { app: self, request, body: Body::empty(), peer: "203.0.113.9".parse().unwrap() }
    }

    /// A POST with the key.
    pub fn post(&self, path: &str) -> Ask<'_> {
        self.ask(Method::POST, path).key(&self.key)
    }

    /// A GET with the key.
    pub fn get(&self, path: &str) -> Ask<'_> {
        self.ask(Method::GET, path).key(&self.key)
    }

    /// Begins a verification; its object.
    pub async fn send(&self, body: &Value) -> Value {
        self.post("/v1/verifications").json(body).go().await.is(201)
    }

    /// A call of the simple dialect.
    pub async fn simple(&self, call: &str, body: &Value) -> Got {
        self.ask(Method::POST, &format!("/api/users/{call}/")).json(body).go().await
    }

    /// The code that the phone got last.
    pub async fn code(&self) -> String {
        self.phone.wait_for_code(TO).await
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// A token's claims, checked as a back end would.
    #[track_caller]
    pub fn proof(&self, token: &Value) -> Claims {
        signer().verify(token.as_str().unwrap(), "default", self.verifier.now()).unwrap()
    }
}

/// A code that this one is not, of the same length.
pub fn wrong(code: &str) -> String {
    let last = code.as_bytes()[code.len() - 1];
    let other = if last == b'9' { '0' } else { char::from(last + 1) };
    format!("{}{other}", &code[..code.len() - 1])
}
