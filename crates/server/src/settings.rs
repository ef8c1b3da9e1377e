//! What the HTTP service must be told: the meeting point of the configuration and the doors.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use countersign::core::id::ApplicationName;
use ipnet::IpNet;

use crate::webhooks::address::Reach;

/// How the HTTP service listens and behaves.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// The address that it listens on.
    pub listen: SocketAddr,
    /// Its address as clients see it, without a trailing slash: the issuer of tokens, the base of links.
    pub public_url: Arc<str>,
    /// Whether weak set-ups are refused, and the inbox does not exist.
    pub production: bool,
    /// Proxies whose forwarding headers count.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The simple dialect; `None` when switched off.
    pub simple: Option<SimpleSettings>,
    /// The Twilio Verify dialect; `None` when switched off.
    pub twilio: Option<TwilioSettings>,
    /// The CAMARA dialect; `None` when switched off.
    pub camara: Option<CamaraSettings>,
    /// Bounds on what a client may take.
    pub bounds: Bounds,
}

/// How the simple dialect behaves.
#[derive(Clone, Debug)]
pub struct SimpleSettings {
    /// The path that its calls are under, for example `/api/users`.
    pub prefix: String,
    /// The application that its verifications belong to.
    pub application: ApplicationName,
    /// Origins that browsers may call it from (CORS); `*` allows any; empty allows the service's own alone.
    pub allowed_origins: Vec<String>,
}

/// How the Twilio Verify dialect behaves.
#[derive(Clone, Copy, Debug, Default)]
pub struct TwilioSettings {
    /// The pause before the same verification may be sent again, in place of the policy's: the original has none.
    pub resend_after: Duration,
    /// Which webhooks accounts may set up; `None` where no events are kept that could be told.
    pub webhooks: Option<WebhookRules>,
}

/// Where webhooks that accounts set up may go.
#[derive(Clone, Copy, Debug, Default)]
pub struct WebhookRules {
    /// How far off.
    pub reach: Reach,
    /// Whether to https alone.
    pub only_https: bool,
}

/// How the CAMARA OneTimePasswordSMS dialect behaves.
#[derive(Clone, Debug, Default)]
pub struct CamaraSettings {
    /// The path that its calls are under, for example `/one-time-password-sms/v1`.
    pub prefix: String,
    /// The pause before another code may be sent to the same number, in place of the policy's: the original has none.
    pub resend_after: Duration,
}

/// Bounds on what one client may take of the service.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a request body.
    pub body: usize,
    /// Time for a connection's first request, and between two, to begin and have its headers whole.
    pub headers_within: Duration,
    /// Time for a request body to arrive.
    pub body_within: Duration,
    /// Time for an answer, waiting for a provider included.
    pub answer_within: Duration,
    /// Open connections.
    pub connections: usize,
    /// Time for a graceful shutdown before connections are cut.
    pub shutdown_within: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            body: 16 * 1024,
            headers_within: Duration::from_secs(10),
            body_within: Duration::from_secs(10),
            answer_within: Duration::from_secs(75),
            connections: 10_000,
            shutdown_within: Duration::from_secs(20),
        }
    }
}
