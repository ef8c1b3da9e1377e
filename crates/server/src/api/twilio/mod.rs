//! The Twilio Verify v2 dialect: `/v2`, forms in, JSON out, HTTP Basic, so that an official SDK works when its base URL is changed.
//!
//! An application is an account (`AC…`), and has services (`VA…`): profiles with a name, a code length and rate limits of their own.
//! One is there from the beginning, and the other doors use that one. Verifications of two services never meet; limits and budgets of
//! guesses are the application's. What differs from the original is in `docs/leaving-twilio-verify.md`.

use axum::Router;
use axum::routing::{MethodRouter, get, post};

use crate::service::Shared;

mod attempt;
mod attempts;
mod attempts_summary;
mod bucket;
mod buckets;
mod call;
mod fields;
mod no;
mod paging;
mod profile;
mod rate_limit;
mod rate_limits;
mod safe_number;
mod safe_numbers;
mod service;
mod services;
pub(crate) mod sid;
mod templates;
mod verification;
mod verification_check;
mod verifications;
mod webhook;
mod webhooks;

pub(crate) use no::No;

/// Whether a path is this dialect's, if it is spoken at all.
pub(crate) fn is_of(path: &str) -> bool {
    path == "/v2" || path.starts_with("/v2/")
}

/// Its paths, with and without a trailing slash.
pub(crate) fn router() -> Router<Shared> {
    let paths: [(&str, MethodRouter<Shared>); 17] = [
        ("/v2/Services", post(services::create).get(services::list)),
        ("/v2/Services/{service}", get(service::fetch).post(service::update).delete(service::delete)),
        ("/v2/Services/{service}/Verifications", post(verifications::create)),
        ("/v2/Services/{service}/Verifications/{verification}", get(verification::fetch).post(verification::update)),
        ("/v2/Services/{service}/VerificationCheck", post(verification_check::create)),
        ("/v2/Services/{service}/RateLimits", post(rate_limits::create).get(rate_limits::list)),
        (
            "/v2/Services/{service}/RateLimits/{limit}",
            get(rate_limit::fetch).post(rate_limit::update).delete(rate_limit::delete),
        ),
        ("/v2/Services/{service}/RateLimits/{limit}/Buckets", post(buckets::create).get(buckets::list)),
        (
            "/v2/Services/{service}/RateLimits/{limit}/Buckets/{bucket}",
            get(bucket::fetch).post(bucket::update).delete(bucket::delete),
        ),
        ("/v2/Services/{service}/Webhooks", post(webhooks::create).get(webhooks::list)),
        (
            "/v2/Services/{service}/Webhooks/{webhook}",
            get(webhook::fetch).post(webhook::update).delete(webhook::delete),
        ),
        ("/v2/Attempts", get(attempts::list)),
        ("/v2/Attempts/Summary", get(attempts_summary::fetch)),
        ("/v2/Attempts/{attempt}", get(attempt::fetch)),
        ("/v2/Templates", get(templates::list)),
        ("/v2/SafeList/Numbers", post(safe_numbers::create)),
        ("/v2/SafeList/Numbers/{number}", get(safe_number::fetch).delete(safe_number::delete)),
    ];
    paths.into_iter().fold(Router::new(), |router, (path, methods)| {
        router.route(path, methods.clone()).route(&format!("{path}/"), methods)
    })
}
