//! Ours as it is served: SQLite with `synchronous=FULL`, the `webhook` provider, tokens, limits, metrics.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::core::code::{Key, KeyRing};
use countersign::core::id::ApplicationName;
use countersign::core::limit::Per;
use countersign::core::policy::Application;
use countersign::{MemoryStore, SETTLED_AFTER, SendRequest, Store, Verifier};
use countersign_providers::{ProviderConfig, build};
use countersign_server::metrics::Metrics;
use countersign_server::service::Service;
use countersign_server::settings::{Bounds, CamaraSettings, HttpSettings, SimpleSettings, TwilioSettings};
use countersign_server::token::{TokenKey, TokenSigner};
use countersign_store::sqlite::{Options, SqliteStore};
use tokio::io::AsyncReadExt as _;

pub fn run() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(serve());
}

pub async fn until_stdin_ends() {
    let _ = tokio::io::stdin().read(&mut [0]).await;
}

async fn serve() {
    let live: u64 = std::env::var("COUNTERSIGN_BENCH_LIVE").unwrap().parse().unwrap();
    let sink = std::env::var("COUNTERSIGN_BENCH_SINK").unwrap();
    let folder = std::env::temp_dir().join(format!("countersign-load-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let metrics = Metrics::new();
    let mut application = Application::new(ApplicationName::default(), "gateway");
    application.policy.ttl = Duration::from_secs(3600);
    // All the load comes from few addresses: its limits are counted as they are, and never used up.
    for rule in application.limits.iter_mut().filter(|rule| rule.per == Per::Client) {
        rule.quota = 10_000_000;
    }
    let gateway = ProviderConfig::new("gateway", "webhook")
        .with("url", sink)
        .with("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let store: Arc<dyn Store> = if std::env::var_os("COUNTERSIGN_BENCH_MEMORY").is_some() {
        Arc::new(MemoryStore::default())
    } else {
        Arc::new(SqliteStore::open(&folder.join("load.db"), Options::default()).unwrap())
    };
    let keys = || KeyRing::new("k1", Key::from_bytes([1; 32]));
    fill(&store, keys(), live).await;
    let verifier = Verifier::builder()
        .store(store)
        .keys(keys())
        .sender(build(&gateway).unwrap())
        .observer(metrics.clone())
        .application(application)
        .build()
        .unwrap();
    let name = ApplicationName::default();
    verifier.create_application(&name).await.unwrap();
    let key = verifier.create_key(&name).await.unwrap();
    let settings = HttpSettings {
        listen: ([127, 0, 0, 1], 0).into(),
        public_url: "http://127.0.0.1".into(),
        production: false,
        trusted_proxies: Arc::new(["127.0.0.1/32".parse().unwrap()]),
        simple: Some(SimpleSettings { prefix: "/api/users".into(), application: name, allowed_origins: Vec::new() }),
        twilio: Some(TwilioSettings::default()),
        camara: Some(CamaraSettings { prefix: "/one-time-password-sms/v1".into(), ..CamaraSettings::default() }),
        bounds: Bounds::default(),
    };
    let signer = TokenSigner::new(&TokenKey::from_seed("t1", [7; 32]), &[], &settings.public_url).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let basic = STANDARD.encode(format!("{}:{}", key.account_sid, &*key.auth_token));
    println!("{}\n{}\nBasic {basic}", listener.local_addr().unwrap(), &*key.key);
    Service::new(verifier, settings, signer, metrics).serve(listener, until_stdin_ends()).await.unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Live verifications of other numbers than the load uses, scattered over the plan.
async fn fill(store: &Arc<dyn Store>, keys: KeyRing, live: u64) {
    let mut application = Application::new(ApplicationName::default(), "nobody");
    application.policy.ttl = Duration::from_secs(24 * 60 * 60);
    let phone: Arc<dyn countersign::Sender> = Arc::new(Silent);
    let builder = Verifier::builder().store(store.clone()).keys(keys).sender(phone).application(application);
    let verifier = builder.carriers(4096).build().unwrap();
    let mut tasks = Vec::new();
    for task in 0..256_u64 {
        let verifier = verifier.clone();
        tasks.push(tokio::spawn(async move {
            for nth in (task..live).step_by(256) {
                let to = format!("+25576{:07}", nth.wrapping_mul(6_700_417) % 10_000_000);
                verifier.send(SendRequest::to(to)).await.unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    // Until the last one is carried.
    while verifier.carry_overdue().await.unwrap() > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    if live > 10_000 {
        // And counted for the figures of providers: what is measured is what a cycle costs, not what is left over from filling.
        tokio::time::sleep(SETTLED_AFTER + Duration::from_secs(1)).await;
        verifier.take_up_health().await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Takes everything and keeps nothing.
struct Silent;

impl countersign::Sender for Silent {
    fn name(&self) -> &str {
        "nobody"
    }
    fn channels(&self) -> &[countersign::core::channel::Channel] {
        &countersign::core::channel::Channel::ALL
    }
    fn send<'a>(
        &'a self,
        _: &'a countersign::core::outcome::Message,
    ) -> countersign::sender::BoxFuture<'a, countersign::core::outcome::Outcome> {
        Box::pin(async { countersign::core::outcome::Outcome::Accepted { message_id: None } })
    }
}
