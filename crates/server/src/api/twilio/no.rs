//! What this dialect says instead of an answer: `{code, message, more_info, status}`.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::http::header::{HeaderName, HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use countersign::core::channel::Channel;
use countersign::core::destination::InvalidDestination;
use countersign::core::limit::Per;
use countersign::core::policy::Policy;
use countersign::core::refusal::{Limit, Refusal};
use countersign::core::time::ceil_secs;
use countersign::{Broken, Failure};
use serde::Serialize;

use crate::http::answer;
use crate::http::body::Unread;
use crate::http::problem::{self, Problem, Rate};

const REACHED: HeaderName = HeaderName::from_static("twilio-reached-rate-limit");

/// Bad credentials.
pub(super) const AUTHENTICATE: (u16, u32, &str) = (401, 20003, "Authenticate");
/// A parameter that cannot be meant; the message names it.
pub(super) const INVALID_PARAMETER: (u16, u32, &str) = (400, 60200, "Invalid parameter");
/// Five wrong codes.
pub(super) const MAX_CHECKS: (u16, u32, &str) = (429, 60202, "Max check attempts reached");
/// Five sends.
pub(super) const MAX_SENDS: (u16, u32, &str) = (429, 60203, "Max send attempts reached");
/// The service was not set up for it.
pub(super) const NOT_SUPPORTED: (u16, u32, &str) = (403, 60204, "Service does not support this feature");
/// A text to a line in a wall.
pub(super) const LANDLINE: (u16, u32, &str) = (403, 60205, "SMS is not supported by landline phone number");
/// A service for payments wants to know which.
pub(super) const PAYMENT_REQUIRED: (u16, u32, &str) = (400, 60206, "Amount and Payee params are required");
/// As many rate limits as a service may have.
pub(super) const MAX_RATE_LIMITS: (u16, u32, &str) = (400, 60207, "Max Rate Limits per service reached");
/// A rate limit of this name is there.
pub(super) const NAME_TAKEN: (u16, u32, &str) = (409, 60208, "Rate Limit with this UniqueName already exists");
/// Not a name.
pub(super) const NAME_FORMAT: (u16, u32, &str) = (400, 60209, "Invalid format of UniqueName");
/// As many buckets as a rate limit may have.
pub(super) const MAX_BUCKETS: (u16, u32, &str) = (400, 60210, "Max Buckets per Rate Limit reached");
/// A bucket of this interval is there.
pub(super) const INTERVAL_TAKEN: (u16, u32, &str) = (409, 60211, "Bucket with this Interval already exists");
/// As many webhooks as a service, or an account, may have.
pub(super) const MAX_WEBHOOKS: (u16, u32, &str) = (400, 60200, "Max Webhooks reached");
/// Sent again too soon.
pub(super) const TOO_SOON: (u16, u32, &str) = (429, 60212, "Too many concurrent requests for phone number");
/// A call for a payment.
pub(super) const PAYMENT_BY_CALL: (u16, u32, &str) = (403, 60214, "Call channel is not allowed with PSD2");
/// Nothing carries email.
pub(super) const NO_MAILER: (u16, u32, &str) = (400, 60217, "Invalid service configuration: nothing carries email");
/// Neither `To` nor `VerificationSid`.
pub(super) const NOTHING_NAMED: (u16, u32, &str) = (400, 60221, "Either To or VerificationSid must be given");
/// Nothing carries this channel there.
pub(super) const CHANNEL_DISABLED: (u16, u32, &str) = (400, 60223, "Delivery channel disabled");
/// Numbers that are only called to earn money, and what the guard suspects.
pub(super) const BLOCKED: (u16, u32, &str) = (403, 60410, "Verification delivery attempt blocked");
/// A country that is not allowed.
pub(super) const COUNTRY: (u16, u32, &str) = (403, 60605, "Destination country is not allowed (geo permissions)");
/// Too many requests.
pub(super) const TOO_MANY: (u16, u32, &str) = (429, 20429, "Too many requests");

/// A refusal or a break, in the words of this dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct No {
    pub status: u16,
    pub code: u32,
    message: Cow<'static, str>,
    retry_after: Option<u64>,
    rate: Option<Rate>,
    /// The unique name of the rate limit that was reached.
    reached: Option<String>,
}

impl From<(u16, u32, &'static str)> for No {
    fn from((status, code, message): (u16, u32, &'static str)) -> Self {
        Self { status, code, message: message.into(), retry_after: None, rate: None, reached: None }
    }
}

impl From<Broken> for No {
    fn from(broken: Broken) -> Self {
        Self::from_problem(&Problem::from_broken(&broken))
    }
}

impl From<Unread> for No {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::Encoded => (415, 20415, "The body must not have a Content-Encoding").into(),
            _ => Self::from_problem(&Problem::from(unread)),
        }
    }
}

impl No {
    /// A parameter that cannot be meant.
    pub fn invalid(param: &str) -> Self {
        Self { message: format!("Invalid parameter: {param}").into(), ..INVALID_PARAMETER.into() }
    }

    /// The same, and what it should be.
    pub fn invalid_because(param: &str, detail: &str) -> Self {
        Self { message: format!("Invalid parameter: {param} ({detail})").into(), ..INVALID_PARAMETER.into() }
    }

    /// There is nothing under this path, or it is another account's.
    pub fn not_found(path: &str) -> Self {
        let path = path.strip_prefix("/v2").unwrap_or(path);
        Self { message: format!("The requested resource {path} was not found").into(), ..(404, 20404, "").into() }
    }

    /// With the wait after which asking again can help, and the cap that was reached.
    pub fn after(self, seconds: u64, rate: Rate) -> Self {
        Self { retry_after: Some(seconds.max(1)), rate: Some(rate), ..self }
    }

    /// With the cap on sends that this policy has, if that is what was reached.
    pub fn capped(self, policy: Option<&Policy>) -> Self {
        let cap = |rate: Rate| match policy {
            Some(policy) if rate.name == "sends" => {
                Rate { quota: policy.max_sends, window: ceil_secs(policy.ttl).max(1), ..rate }
            }
            _ => rate,
        };
        Self { rate: self.rate.map(cap), ..self }
    }

    /// What is said around every call, in the words of this dialect.
    pub fn from_problem(problem: &Problem) -> Self {
        let (status, _, title) = problem.kind.row();
        let (code, message) = match status {
            401 => return AUTHENTICATE.into(),
            405 => (20004, "Method not allowed"),
            429 => (20429, "Too many requests"),
            _ => (20000 + u32::from(status), title),
        };
        Self { retry_after: problem.retry_after, rate: problem.rate, ..(status, code, message).into() }
    }

    /// What the verifier said no to, or broke at. `reached` are the names of the limits that the request brought along.
    pub fn from_failure(failure: Failure, channel: Option<Channel>, path: &str, reached: &[String]) -> Self {
        match failure {
            Failure::Broken(broken) => broken.into(),
            Failure::Refused(refusal) => Self::from_refusal(&refusal, channel, path, reached),
        }
    }

    pub fn from_refusal(refusal: &Refusal, channel: Option<Channel>, path: &str, reached: &[String]) -> Self {
        let no: Self = match refusal {
            Refusal::InvalidRequest { param, detail } => Self::invalid_because(field(param), detail),
            Refusal::NotFound | Refusal::NotPending { .. } => Self::not_found(path),
            Refusal::InvalidDestination(InvalidDestination::Channel) if channel == Some(Channel::Sms) => {
                LANDLINE.into()
            }
            Refusal::InvalidDestination(_) => Self::invalid("To"),
            Refusal::UnsupportedChannel if channel == Some(Channel::Email) => NO_MAILER.into(),
            Refusal::UnsupportedChannel => CHANNEL_DISABLED.into(),
            Refusal::CountryBlocked => COUNTRY.into(),
            Refusal::NumberTypeBlocked | Refusal::FraudSuspected { .. } => BLOCKED.into(),
            Refusal::MaxSendsReached { .. } => MAX_SENDS.into(),
            Refusal::ResendTooSoon { .. } => TOO_SOON.into(),
            Refusal::RateLimited { limit, .. } => match limit {
                Limit::Checks => MAX_CHECKS.into(),
                Limit::Rate(Per::Destination) => MAX_SENDS.into(),
                Limit::Rate(_) => TOO_MANY.into(),
                Limit::Extra(place) => Self { reached: reached.get(usize::from(*place)).cloned(), ..TOO_MANY.into() },
            },
        };
        let retry_after = refusal.retry_after().map(|wait| ceil_secs(wait).max(1));
        Self { retry_after, rate: problem::rate(refusal, None), ..no }
    }
}

/// What the field of a refusal is called here.
fn field(param: &str) -> &str {
    match param {
        "to" => "To",
        "channel" => "Channel",
        "locale" => "Locale",
        "code" => "Code",
        "code_length" => "CodeLength",
        "custom_code" => "CustomCode",
        "template" => "TemplateSid",
        "metadata" => "Tags",
        "payment" => "Amount",
        "wording" => "CustomFriendlyName",
        other => other,
    }
}

/// As it is written. Never `type` and `title`: the SDKs would take it for another kind of error.
#[derive(Serialize)]
struct NoBody<'a> {
    code: u32,
    message: &'a str,
    more_info: String,
    status: u16,
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let Self { status, code, message, retry_after, rate, reached } = self;
        let more_info = format!("https://www.twilio.com/docs/errors/{code}");
        let body = NoBody { code, message: &message, more_info, status };
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = answer::json(status, &body);
        let headers = answer.headers_mut();
        problem::wait_headers(headers, retry_after, rate);
        if let Some(Ok(name)) = reached.map(HeaderValue::try_from) {
            headers.insert(REACHED, name);
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"countersign\""));
        }
        answer::response(answer)
    }
}
