//! CAMARA OneTimePasswordSMS v1, the one-time-code API of the telecom industry (GSMA Open Gateway): two calls, JSON in and out, an
//! application's API key as the access token.
//!
//! Its verifications are of a service of their own and meet those of no other door. A second code to a number ends the first one. The
//! text of a message is the caller's, which is why nobody may call without a key; see `docs/camara.md`.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::routing::post;
use countersign::core::id::ServiceId;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::Shared;
use crate::settings::CamaraSettings;

mod call;
mod no;
mod send_code;
mod validate_code;

pub(crate) use no::{Asked, No};

/// The prefix of the document that no server gives.
pub(crate) const DEFAULT_PREFIX: &str = "/one-time-password-sms/v1";

/// What a caller tells its requests apart by: it comes back as it came.
pub(crate) const X_CORRELATOR: HeaderName = HeaderName::from_static("x-correlator");

/// The service that verifications of this door are of.
const SERVICE: ServiceId = ServiceId::from_bytes(*b"camara otp sms 1");

/// Its paths.
pub(crate) fn router(settings: &CamaraSettings) -> Router<Shared> {
    let path = |call: &str| format!("{}/{call}", settings.prefix);
    Router::new()
        .route(&path("send-code"), post(send_code::send_code))
        .route(&path("validate-code"), post(validate_code::validate_code))
}

/// Whether a path is this dialect's.
pub(crate) fn is_of(settings: Option<&CamaraSettings>, path: &str) -> bool {
    let rest = settings.and_then(|settings| path.strip_prefix(settings.prefix.as_str()));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The correlator that an answer repeats: a lawful one alone.
pub(crate) fn correlator(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(X_CORRELATOR)?;
    (!value.is_empty() && is_correlator(value.as_bytes())).then(|| value.clone())
}

fn is_correlator(value: &[u8]) -> bool {
    value.len() <= 256 && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_:;./<>{}".contains(byte))
}

/// The dialect's part of the document.
pub(crate) fn document(prefix: &str) -> OpenApi {
    let calls = OpenApiRouter::<Shared>::new()
        .routes(routes!(send_code::send_code))
        .routes(routes!(validate_code::validate_code));
    OpenApiRouter::<Shared>::new().nest(prefix, calls).into_openapi()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_a_lawful_correlator_is_repeated() {
        let given = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_CORRELATOR, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            correlator(&headers).is_some()
        };
        assert!(given("b4333c46-49c0-4f62-80d7-f0ef930f1c46") && given("a_Z:0;./<>{}-") && given(&"x".repeat(256)));
        for bad in ["", " ", "a b", "a\"", "é", "a,b", "(x)", &"x".repeat(257)] {
            assert!(!given(bad), "{bad}");
        }
        assert!(correlator(&HeaderMap::new()).is_none());
    }

    #[test]
    fn paths_are_its_own_by_whole_parts() {
        let settings = CamaraSettings { prefix: "/otp/v1".to_owned(), ..CamaraSettings::default() };
        for (path, is) in [("/otp/v1/send-code", true), ("/otp/v1", true), ("/otp/v10/send-code", false), ("/", false)]
        {
            assert_eq!(is_of(Some(&settings), path), is, "{path}");
            assert!(!is_of(None, path));
        }
    }
}
