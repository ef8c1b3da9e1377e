//! Problems (RFC 9457): one table from what went wrong to status, code and title.

use std::borrow::Cow;

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use countersign::core::id::VerificationId;
use countersign::core::policy::Policy;
use countersign::core::refusal::Refusal;
use countersign::core::time::ceil_secs;
use countersign::{Broken, Failure};
use serde::Serialize;
use utoipa::ToSchema;

use super::answer::{self, Answer};

/// Where the types are explained; a type is this and its code. It is the same at every deployment, so that clients can compare it.
pub const TYPES: &str = "https://github.com/countersign/countersign/blob/main/docs/reference/problems.md#";

const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:literal, $code:literal, $title:literal;)+) => {
        /// What can go wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Kind {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Kind {
            /// Every kind, in the order of the documents.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Status, stable code, title.
            #[must_use]
            pub const fn row(self) -> (u16, &'static str, &'static str) {
                match self {
                    $(Self::$name => ($status, $code, $title),)+
                }
            }

            /// What it means, for the documents.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+),)+
                }
            }
        }
    };
}

kinds! {
    /// The body is not JSON, or names a field twice.
    InvalidJson = 400, "invalid_json", "The body is not valid JSON";
    /// A field, a header or a parameter of the query cannot be meant; `param` names it.
    InvalidRequest = 400, "invalid_request", "The request cannot be meant";
    /// The API key is missing, wrong or revoked.
    Unauthorized = 401, "unauthorized", "A valid API key is needed";
    /// The API key's application is not set up at this server.
    Forbidden = 403, "forbidden", "Not allowed";
    /// The application does not write to this country.
    CountryBlocked = 403, "country_blocked", "This country is not written to";
    /// The application does not write to numbers of this type (toll-free, premium rate, …).
    NumberTypeBlocked = 403, "number_type_blocked", "Numbers of this type are not written to";
    /// Messages to numbers like this one were not confirmed too often of late, and the application has its guard on. Neither which
    /// numbers those are nor until when is said.
    FraudSuspected = 403, "fraud_suspected", "This destination is not written to at present";
    /// There is no such thing, or it is another application's.
    NotFound = 404, "not_found", "Not found";
    /// The path exists; `Allow` says which methods it takes.
    MethodNotAllowed = 405, "method_not_allowed", "Method not allowed";
    /// The request's body did not arrive in time.
    RequestTimeout = 408, "request_timeout", "The request came too slowly";
    /// A request with this `Idempotency-Key` is still being answered.
    IdempotencyInFlight = 409, "idempotency_in_flight", "The first request with this key is still in flight";
    /// The verification has ended; nothing more can be done with it.
    NotPending = 409, "not_pending", "The verification has ended";
    /// The token was redeemed before.
    AlreadyUsed = 409, "already_used", "The token was redeemed before";
    /// The body is larger than this server reads.
    BodyTooLarge = 413, "body_too_large", "The body is too large";
    /// The body is not `application/json`.
    UnsupportedMediaType = 415, "unsupported_media_type", "The body must be application/json";
    /// Not a possible number or address, or one that the channel cannot reach.
    InvalidDestination = 422, "invalid_destination", "The destination cannot be reached";
    /// There is no such channel, or no provider for it and this country.
    UnsupportedChannel = 422, "unsupported_channel", "No provider for this channel";
    /// The token is not to be believed, is another application's, or has expired; `detail` says which.
    InvalidToken = 422, "invalid_token", "The token is not to be believed";
    /// The `Idempotency-Key` was used for another request in the last 24 hours.
    IdempotencyKeyReused = 422, "idempotency_key_reused", "The idempotency key was used for another request";
    /// The verification was sent as often as it may be.
    MaxSendsReached = 429, "max_sends_reached", "Sent as often as it may be";
    /// The last message is too recent to send another one.
    ResendTooSoon = 429, "resend_too_soon", "Too soon to send again";
    /// A limit is used up; `limit` names it.
    RateLimited = 429, "rate_limited", "A limit is used up";
    /// Something broke that trying again may not mend; the server's log says what, under the request's id.
    InternalError = 500, "internal_error", "Something broke";
    /// No provider took the message, and none will be asked again (only with `Prefer: wait`).
    DeliveryFailed = 502, "delivery_failed", "The message could not be delivered";
    /// The store does not answer; nothing was sent or evaluated.
    StoreUnavailable = 503, "store_unavailable", "The store is unavailable";
    /// The server is being shut down; another one, or this one in a moment, can take the request.
    ShuttingDown = 503, "shutting_down", "Shutting down";
}

impl Kind {
    /// The HTTP status.
    #[must_use]
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The stable code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        self.row().1
    }
}

/// The table as a page of the documents, one anchor for each type.
#[must_use]
pub fn markdown() -> String {
    use std::fmt::Write as _;
    let mut page = String::from(
        "# Problems\n\nEvery refusal of the native API is `application/problem+json` with one of these codes.\n",
    );
    for kind in Kind::ALL {
        let (status, code, title) = kind.row();
        let _ = write!(page, "\n## {code}\n\n{status} {title}.{}\n", kind.meaning());
    }
    page
}

/// A limit as the `RateLimit` fields tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Its name.
    pub name: &'static str,
    /// How many in a window.
    pub quota: u32,
    /// The window in seconds, at least 1.
    pub window: u64,
}

/// A refusal or a break, as the native API tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub kind: Kind,
    /// What to do about it.
    pub detail: Cow<'static, str>,
    /// The field, header or parameter that is meant.
    pub param: Option<Cow<'static, str>>,
    /// Whole seconds until asking again can help.
    pub retry_after: Option<u64>,
    /// The limit that is used up.
    pub rate: Option<Rate>,
    /// The verification that it is about, where the answer would have named it.
    pub verification: Option<VerificationId>,
}

impl Problem {
    /// One with this detail.
    pub fn new(kind: Kind, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, detail: detail.into(), param: None, retry_after: None, rate: None, verification: None }
    }

    /// A field, header or parameter that cannot be meant.
    pub fn invalid(param: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { param: Some(param.into()), ..Self::new(Kind::InvalidRequest, detail) }
    }

    /// Something that there is not, or that is another's: one answer for both.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "there is no such verification")
    }

    /// No key, or none that is valid.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(Kind::Unauthorized, "send `Authorization: Bearer <api key>`; `countersign key create` makes one")
    }

    /// What the verifier said no to, or broke at. The policy is that of the application asked.
    #[must_use]
    pub fn from_failure(failure: Failure, policy: Option<&Policy>) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::from_refusal(&refusal, policy),
            Failure::Broken(broken) => Self::from_broken(&broken),
        }
    }

    /// What the verifier said no to.
    #[must_use]
    pub fn from_refusal(refusal: &Refusal, policy: Option<&Policy>) -> Self {
        let kind = match refusal {
            Refusal::InvalidRequest { param, detail } => return Self::invalid(*param, detail.clone()),
            Refusal::NotFound => Kind::NotFound,
            Refusal::NotPending { .. } => Kind::NotPending,
            Refusal::InvalidDestination(_) => Kind::InvalidDestination,
            Refusal::UnsupportedChannel => Kind::UnsupportedChannel,
            Refusal::CountryBlocked => Kind::CountryBlocked,
            Refusal::NumberTypeBlocked => Kind::NumberTypeBlocked,
            Refusal::FraudSuspected { .. } => Kind::FraudSuspected,
            Refusal::MaxSendsReached { .. } => Kind::MaxSendsReached,
            Refusal::ResendTooSoon { .. } => Kind::ResendTooSoon,
            Refusal::RateLimited { .. } => Kind::RateLimited,
        };
        let mut problem = Self::new(kind, refusal.to_string());
        problem.retry_after = refusal.retry_after().map(|wait| ceil_secs(wait).max(1));
        problem.rate = rate(refusal, policy);
        problem
    }

    /// What broke. The reason goes to the log, not to the answer.
    #[must_use]
    pub fn from_broken(broken: &Broken) -> Self {
        match broken {
            Broken::ShuttingDown => Self::shutting_down(),
            Broken::UnknownApplication(_) => {
                tracing::warn!(error = %broken, "a request for an application that is not set up");
                Self::new(Kind::Forbidden, "this key's application is not set up at this server")
            }
            Broken::Store(error) if error.is_temporary() => {
                tracing::error!(error = %broken, "a request failed");
                Self::store_unavailable()
            }
            Broken::Store(_) | Broken::Keys(_) | Broken::Random(_) | Broken::SetUp(_) => {
                tracing::error!(error = %broken, "a request failed");
                Self::internal()
            }
        }
    }

    /// The store does not answer.
    #[must_use]
    pub fn store_unavailable() -> Self {
        Self { retry_after: Some(1), ..Self::new(Kind::StoreUnavailable, "nothing was done; try again in a moment") }
    }

    /// The server is going away.
    #[must_use]
    pub fn shutting_down() -> Self {
        Self { retry_after: Some(1), ..Self::new(Kind::ShuttingDown, "nothing was done; try again in a moment") }
    }

    /// Something broke; the log says what.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Kind::InternalError, "the server's log says what, under this answer's x-request-id")
    }

    /// The answer.
    #[must_use]
    pub fn answer(&self) -> Answer {
        let (status, code, title) = self.kind.row();
        let body = ProblemBody {
            r#type: [TYPES, code].concat(),
            title: title.to_owned(),
            status,
            detail: self.detail.as_ref().to_owned(),
            code: code.to_owned(),
            param: self.param.as_deref().map(str::to_owned),
            limit: self.rate.filter(|_| self.kind == Kind::RateLimited).map(|rate| rate.name.to_owned()),
            retry_after: self.retry_after,
            verification_id: self.verification.map(|id| id.to_string()),
        };
        let mut answer = answer::json(self.kind.status(), &body);
        let headers = answer.headers_mut();
        headers.insert(axum::http::header::CONTENT_TYPE, PROBLEM_JSON);
        if self.kind == Kind::FraudSuspected {
            answer.extensions_mut().insert(answer::Passing);
        }
        let headers = answer.headers_mut();
        if self.kind == Kind::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"countersign\""));
        }
        wait_headers(headers, self.retry_after, self.rate);
        answer
    }
}

/// `Retry-After`, and what the `RateLimit` fields say about the limit that is used up.
pub fn wait_headers(headers: &mut axum::http::HeaderMap, retry_after: Option<u64>, rate: Option<Rate>) {
    let Some(wait) = retry_after else { return };
    headers.insert(RETRY_AFTER, wait.into());
    if let Some(Rate { name, quota, window }) = rate {
        headers.insert(RATE_LIMIT_POLICY, answer::value(format!("\"{name}\";q={quota};w={window}")));
        headers.insert(RATE_LIMIT, answer::value(format!("\"{name}\";r=0;t={wait}")));
    }
}

/// The limit behind a refusal that waiting mends.
pub fn rate(refusal: &Refusal, policy: Option<&Policy>) -> Option<Rate> {
    let rate = |name, quota, window| Some(Rate { name, quota, window: ceil_secs(window).max(1) });
    match refusal {
        Refusal::RateLimited { limit, quota, window, .. } => rate(limit.as_str(), *quota, *window),
        Refusal::ResendTooSoon { pause, .. } => rate("resend", 1, *pause),
        Refusal::MaxSendsReached { retry_after } => {
            policy.map_or_else(|| rate("sends", 1, *retry_after), |policy| rate("sends", policy.max_sends, policy.ttl))
        }
        _ => None,
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        answer::response(self.answer())
    }
}

/// A problem as it is written (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem, title = "Problem", example = json!({
    "type": "https://github.com/countersign/countersign/blob/main/docs/reference/problems.md#resend_too_soon",
    "title": "Too soon to send again", "status": 429, "detail": "the last message is too recent to send another one",
    "code": "resend_too_soon", "retry_after": 21
}))]
pub struct ProblemBody {
    /// Where this kind of problem is explained.
    #[schema(format = "uri")]
    r#type: String,
    /// The same words for every problem of its kind.
    title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What to do about this one.
    detail: String,
    /// The stable name of its kind.
    code: String,
    /// The field, header or parameter that is meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    param: Option<String>,
    /// The limit that is used up: `destination`, `client`, `prefix`, `country`, `application` or `checks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    limit: Option<String>,
    /// Whole seconds until asking again can help, as in `Retry-After`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retry_after: Option<u64>,
    /// The verification, where the answer would have named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    verification_id: Option<String>,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::HashSet;
    use std::time::Duration;

    use countersign::core::destination::InvalidDestination;
    use countersign::core::limit::Per;
    use countersign::core::refusal::{Limit, RANKING};
    use countersign::core::verification::Status;

    use super::*;

    #[test]
    fn codes_and_titles_are_unique_and_statuses_are_errors() {
        let codes: HashSet<_> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        let titles: HashSet<_> = Kind::ALL.iter().map(|kind| kind.row().2).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert_eq!(titles.len(), Kind::ALL.len());
        for kind in Kind::ALL {
            assert!((400..600).contains(&kind.row().0), "{kind:?}");
            assert!(markdown().contains(&format!("## {}\n", kind.code())));
        }
    }

    fn every_refusal() -> Vec<(Refusal, u16)> {
        let wait = Duration::from_millis(1500);
        vec![
            (Refusal::InvalidRequest { param: "ttl", detail: "no".into() }, 400),
            (Refusal::NotFound, 404),
            (Refusal::NotPending { status: Status::Approved }, 409),
            (Refusal::InvalidDestination(InvalidDestination::TooShort), 422),
            (Refusal::CountryBlocked, 403),
            (Refusal::FraudSuspected { country: None }, 403),
            (Refusal::NumberTypeBlocked, 403),
            (Refusal::UnsupportedChannel, 422),
            (Refusal::MaxSendsReached { retry_after: wait }, 429),
            (Refusal::ResendTooSoon { retry_after: wait, pause: Duration::from_secs(30) }, 429),
            (
                Refusal::RateLimited {
                    limit: Limit::Checks,
                    quota: 50,
                    window: Duration::from_secs(86_400),
                    retry_after: wait,
                },
                429,
            ),
            (
                Refusal::RateLimited {
                    limit: Limit::Rate(Per::Client),
                    quota: 20,
                    window: Duration::from_secs(3600),
                    retry_after: wait,
                },
                429,
            ),
        ]
    }

    #[test]
    fn every_refusal_has_its_row_and_its_own_code() {
        let kinds: HashSet<_> = every_refusal().iter().map(|(refusal, _)| refusal.kind()).collect();
        assert_eq!(kinds.len(), RANKING.len(), "a refusal is missing from this table");
        for (refusal, status) in every_refusal() {
            let problem = Problem::from_refusal(&refusal, Some(&Policy::default()));
            assert_eq!(problem.kind.code(), refusal.kind().code());
            let answer = problem.answer();
            assert_eq!(answer.status().as_u16(), status, "{refusal:?}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let body: serde_json::Value = serde_json::from_slice(answer.body()).unwrap();
            assert_eq!(body["status"], status);
            assert_eq!(body["type"], format!("{TYPES}{}", refusal.kind().code()));
        }
    }

    #[test]
    fn every_429_says_when_and_by_which_limit() {
        for (refusal, _) in every_refusal().into_iter().filter(|(_, status)| *status == 429) {
            let answer = Problem::from_refusal(&refusal, Some(&Policy::default())).answer();
            assert_eq!(answer.headers()["retry-after"], "2", "{refusal:?}");
            let (limit, policy) = (
                answer.headers()["ratelimit"].to_str().unwrap(),
                answer.headers()["ratelimit-policy"].to_str().unwrap(),
            );
            assert!(limit.ends_with(";r=0;t=2"), "{limit}");
            assert!(
                policy.contains(";q=") && policy.contains(";w=") && policy.split(';').next() == limit.split(';').next(),
                "{policy}"
            );
        }
        let refusal = Refusal::ResendTooSoon { retry_after: Duration::from_millis(1), pause: Duration::from_millis(1) };
        let answer = Problem::from_refusal(&refusal, None).answer();
        assert_eq!(answer.headers()["retry-after"], "1");
        assert_eq!(answer.headers()["ratelimit-policy"], "\"resend\";q=1;w=1");
    }
}
