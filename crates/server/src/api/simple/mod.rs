//! The simple dialect: three calls that a browser or a mobile app can make, without a key.
//!
//! Who may call is decided by an origin list (for browsers), how often by the limits: the client's is counted by the connection's
//! address. Who holds a verification's id guesses apart from who only knows the number ([`holder`]), so that a stranger who asks for
//! codes to somebody's number and guesses at them locks nobody out.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use countersign::core::id::ApplicationName;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::{Door, Shared};
use crate::settings::SimpleSettings;

mod body;
mod cors;
mod holder;
mod no;
mod resend_otp;
mod send_otp;
mod verify_otp;

pub(crate) use no::No;

/// The prefix of the document that no server gives.
pub(crate) const DEFAULT_PREFIX: &str = "/api/users";

/// The three calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Send,
    Verify,
    Resend,
}

impl Endpoint {
    pub const ALL: [Self; 3] = [Self::Send, Self::Verify, Self::Resend];

    /// The last part of its path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Send => "send-otp",
            Self::Verify => "verify-otp",
            Self::Resend => "resend-otp",
        }
    }

    /// The call that a path leads to.
    pub fn of(door: &Door, path: &str) -> Option<Self> {
        let rest = path.strip_prefix(door.simple.as_ref()?.prefix.as_str())?.strip_prefix('/')?;
        let name = rest.strip_suffix('/').unwrap_or(rest);
        Self::ALL.into_iter().find(|endpoint| endpoint.name() == name)
    }

    pub fn handler(self) -> MethodRouter<Shared> {
        match self {
            Self::Send => post(send_otp::send_otp),
            Self::Verify => post(verify_otp::verify_otp),
            Self::Resend => post(resend_otp::resend_otp),
        }
    }
}

/// The dialect as it is set up.
#[derive(Debug)]
pub struct Simple {
    pub(crate) prefix: String,
    application: ApplicationName,
    origins: cors::Origins,
    /// What follows the id in the cookie, but for its age.
    cookie: String,
}

impl Simple {
    pub(crate) fn new(settings: &SimpleSettings, public_url: &str) -> Self {
        let prefix = settings.prefix.trim_end_matches('/').to_owned();
        let secure = if public_url.starts_with("https://") { "; Secure" } else { "" };
        let path = if prefix.is_empty() { "/" } else { &prefix };
        Self {
            application: settings.application.clone(),
            origins: cors::Origins::new(&settings.allowed_origins, public_url),
            cookie: format!("; Path={path}; HttpOnly; SameSite=Lax{secure}"),
            prefix,
        }
    }
}

/// Answers what a browser asks before it sends JSON from another origin.
pub(crate) async fn preflight(State(door): State<Shared>, headers: HeaderMap) -> Response {
    cors::preflight(&door, &headers)
}

/// The dialect's part of the document.
pub(crate) fn document(prefix: &str) -> OpenApi {
    let calls = OpenApiRouter::<Shared>::new()
        .routes(routes!(send_otp::send_otp))
        .routes(routes!(verify_otp::verify_otp))
        .routes(routes!(resend_otp::resend_otp));
    if prefix.is_empty() {
        calls.into_openapi()
    } else {
        OpenApiRouter::<Shared>::new().nest(prefix, calls).into_openapi()
    }
}
