//! The HTTP service: a verifier and its doors.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use countersign::core::id::ApplicationName;
use countersign::{Broken, Cleanup, Failure, Verifier};
use countersign_providers::{Inbox, ReceiptReader};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::api::simple::Simple;
use crate::http::problem::Problem;
use crate::http::{listener, router};
use crate::metrics::Metrics;
use crate::settings::HttpSettings;
use crate::token::TokenSigner;
use crate::webhooks::Webhooks;

/// Everything that the HTTP service is made of.
///
/// ```
/// use std::sync::Arc;
/// use countersign::{RecordingSender, Verifier};
/// use countersign_server::metrics::Metrics;
/// use countersign_server::service::Service;
/// use countersign_server::settings::{Bounds, HttpSettings};
/// use countersign_server::token::{TokenKey, TokenSigner};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let metrics = Metrics::new();
/// let verifier = Verifier::builder().sender(Arc::new(RecordingSender::new("phone"))).observer(metrics.clone()).build()?;
/// let settings = HttpSettings {
///     listen: ([127, 0, 0, 1], 0).into(),
///     public_url: "http://127.0.0.1:8080".into(),
///     production: false,
///     trusted_proxies: Arc::new([]),
///     simple: None,
///     twilio: None,
///     camara: None,
///     bounds: Bounds::default(),
/// };
/// let key = TokenKey::from_seed("k1", [7; 32]);
/// let tokens = TokenSigner::new(&key, &[], &settings.public_url)?;
/// let router = Service::new(verifier, settings, tokens, metrics).router();
/// # let _ = router;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Service {
    verifier: Verifier,
    settings: HttpSettings,
    tokens: Arc<TokenSigner>,
    metrics: Arc<Metrics>,
    inbox: Option<Inbox>,
    receipts: HashMap<String, ReceiptReader>,
    cleanup: Cleanup,
    webhooks: Option<Webhooks>,
}

impl Service {
    /// A service without an inbox and without receipts. `metrics` should be the verifier's observer.
    #[must_use]
    pub fn new(
        verifier: Verifier,
        settings: HttpSettings,
        tokens: impl Into<Arc<TokenSigner>>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let tokens = tokens.into();
        let (receipts, cleanup) = (HashMap::new(), Cleanup::default());
        Self { verifier, settings, tokens, metrics, inbox: None, receipts, cleanup, webhooks: None }
    }

    /// Shows the messages of this inbox, unless in production mode.
    #[must_use]
    pub fn inbox(mut self, inbox: Inbox) -> Self {
        self.inbox = Some(inbox);
        self
    }

    /// Takes the delivery reports of the provider of this name.
    #[must_use]
    pub fn receipts(mut self, provider: impl Into<String>, reader: ReceiptReader) -> Self {
        self.receipts.insert(provider.into(), reader);
        self
    }

    /// Paces the background work.
    #[must_use]
    pub const fn cleanup(mut self, cleanup: Cleanup) -> Self {
        self.cleanup = cleanup;
        self
    }

    /// Carries events to endpoints.
    #[must_use]
    pub fn webhooks(mut self, webhooks: Webhooks) -> Self {
        self.webhooks = Some(webhooks);
        self
    }

    fn open(self) -> Shared {
        let simple = self.settings.simple.as_ref().map(|simple| Simple::new(simple, &self.settings.public_url));
        Arc::new(Door {
            inbox: self.inbox.filter(|_| !self.settings.production),
            verifier: self.verifier,
            settings: self.settings,
            tokens: self.tokens,
            metrics: self.metrics,
            receipts: self.receipts,
            simple,
            unready: AtomicBool::new(false),
            closing: CancellationToken::new(),
        })
    }

    /// Every path, for a server of one's own or for tests. Background work and the bounds on connections are [`Service::serve`]'s.
    pub fn router(self) -> Router {
        router::build(self.open())
    }

    /// Serves until `shutdown`, then finishes what was begun: says that it is not ready, takes no more connections, lets the open
    /// ones finish, stops the background work, lets messages that are being carried finish, closes the store.
    ///
    /// # Errors
    /// Broken if the store cannot be closed.
    pub async fn serve(mut self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), Broken> {
        let (verifier, bounds, metrics) = (self.verifier.clone(), self.settings.bounds, Arc::clone(&self.metrics));
        countersign::core::destination::warm_up();
        if let Some(webhooks) = &self.webhooks {
            webhooks.prepare().await.map_err(Broken::from)?;
        }
        let carrying = self.webhooks.take().map(Webhooks::start);
        let upkeep = verifier.start_upkeep(self.cleanup);
        let door = self.open();
        let serving =
            listener::serve(router::build(Arc::clone(&door)), listener, bounds, metrics, door.closing.clone());
        let closing = async {
            shutdown.await;
            tracing::info!("shutting down: finishing what was begun");
            door.close();
        };
        tokio::join!(serving, closing);
        upkeep.stop().await;
        if let Some(carrying) = carrying {
            carrying.stop().await;
        }
        verifier.shut_down(bounds.shutdown_within).await
    }
}

/// What handlers share.
pub type Shared = Arc<Door>;

/// The parts of a service that answers.
#[derive(Debug)]
pub struct Door {
    pub(crate) verifier: Verifier,
    pub(crate) settings: HttpSettings,
    pub(crate) tokens: Arc<TokenSigner>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) inbox: Option<Inbox>,
    pub(crate) receipts: HashMap<String, ReceiptReader>,
    pub(crate) simple: Option<Simple>,
    /// Asked by every request, so it is one load; the token beside it wakes those who wait.
    unready: AtomicBool,
    pub(crate) closing: CancellationToken,
}

impl Door {
    /// Whether new requests are turned away.
    pub(crate) fn is_closing(&self) -> bool {
        self.unready.load(Ordering::Relaxed)
    }

    fn close(&self) {
        self.unready.store(true, Ordering::Relaxed);
        self.closing.cancel();
    }

    /// A failure as a problem of this application.
    pub(crate) fn problem(&self, application: &ApplicationName, failure: Failure) -> Problem {
        let application = self.verifier.application(application).ok();
        Problem::from_failure(failure, application.as_deref().map(|application| &application.policy))
    }

    /// Whether the store answers within a second.
    pub(crate) async fn store_answers(&self) -> bool {
        let ping = tokio::time::timeout(Duration::from_secs(1), self.verifier.store().ping()).await;
        matches!(ping, Ok(Ok(())))
    }
}
