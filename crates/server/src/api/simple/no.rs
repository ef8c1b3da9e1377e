//! Every no of the dialect, word by word: apps show these sentences, or compare them.

use axum::http::StatusCode;
use axum::response::Response;
use countersign::core::policy::Policy;
use countersign::core::refusal::Refusal;
use countersign::core::time::ceil_secs;
use countersign::{Broken, Failure};
use serde::Serialize;
use utoipa::ToSchema;

use super::Endpoint;
use crate::http::answer;
use crate::http::body::Unread;
use crate::http::problem::{self, Problem, Rate};

/// What is said no with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Words {
    PhoneRequired,
    PhoneFormat,
    TooManyRequests,
    SendFailed,
    CodeRequired,
    CodeNotNumeric,
    CodeInvalid,
    CodeExpired,
    TooManyAttempts,
    Body,
    BodyTooLarge,
    BodyTooSlow,
    BodyEncoded,
    NumberUnusable,
    Origin,
    Method,
    Unavailable,
}

impl Words {
    const fn row(self) -> (StatusCode, &'static str) {
        match self {
            Self::PhoneRequired => (StatusCode::BAD_REQUEST, "Phone number is required"),
            Self::PhoneFormat => (StatusCode::BAD_REQUEST, "Invalid phone number format"),
            Self::TooManyRequests => (StatusCode::TOO_MANY_REQUESTS, "Too many OTP requests. Please try again later."),
            Self::SendFailed => (StatusCode::BAD_GATEWAY, "Failed to send OTP. Please try again."),
            Self::CodeRequired => (StatusCode::BAD_REQUEST, "OTP code is required"),
            Self::CodeNotNumeric => (StatusCode::BAD_REQUEST, "OTP must be numeric"),
            Self::CodeInvalid => (StatusCode::BAD_REQUEST, "Invalid OTP code"),
            Self::CodeExpired => (StatusCode::BAD_REQUEST, "OTP code has expired. Please request a new one."),
            Self::TooManyAttempts => (StatusCode::TOO_MANY_REQUESTS, "Too many attempts. Please request a new OTP."),
            Self::Body => (StatusCode::BAD_REQUEST, "Invalid request body"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "Invalid request body"),
            Self::BodyTooSlow => (StatusCode::REQUEST_TIMEOUT, "Invalid request body"),
            Self::BodyEncoded => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Invalid request body"),
            Self::NumberUnusable => (StatusCode::FORBIDDEN, "This phone number cannot be used."),
            Self::Origin => (StatusCode::FORBIDDEN, "This origin is not allowed."),
            Self::Method => (StatusCode::METHOD_NOT_ALLOWED, "Method not allowed"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "Service unavailable. Please try again later."),
        }
    }
}

/// A no, and when it may be a yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct No {
    pub words: Words,
    pub retry_after: Option<u64>,
    pub rate: Option<Rate>,
}

/// What a no looks like.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SimpleRefusal, example = json!({"message": "Phone number is required", "status": "error"}))]
pub(crate) struct NoBody {
    /// A sentence that an app can show.
    message: &'static str,
    /// Always `error`.
    status: &'static str,
    /// Always false, and only on verify.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    verified: Option<bool>,
}

impl From<Words> for No {
    fn from(words: Words) -> Self {
        Self { words, retry_after: None, rate: None }
    }
}

impl From<Unread> for No {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Words::BodyTooLarge.into(),
            Unread::Slow => Words::BodyTooSlow.into(),
            Unread::Broken => Words::Body.into(),
            Unread::Encoded => Words::BodyEncoded.into(),
        }
    }
}

impl No {
    /// What the verifier said no to, or broke at.
    pub fn from_failure(endpoint: Endpoint, failure: &Failure, policy: Option<&Policy>) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::from_refusal(endpoint, refusal, policy),
            Failure::Broken(broken) => Self::from_broken(broken),
        }
    }

    /// What broke. The reason goes to the log.
    pub fn from_broken(broken: &Broken) -> Self {
        tracing::error!(error = %broken, "a request failed");
        Self { retry_after: Some(1), ..Words::Unavailable.into() }
    }

    pub fn from_refusal(endpoint: Endpoint, refusal: &Refusal, policy: Option<&Policy>) -> Self {
        let words = match (refusal, endpoint) {
            (Refusal::InvalidDestination(countersign::core::destination::InvalidDestination::Channel), _) => {
                Words::NumberUnusable
            }
            (Refusal::InvalidDestination(_), _) => Words::PhoneFormat,
            (Refusal::InvalidRequest { param: "code", .. }, _) => Words::CodeInvalid,
            (Refusal::InvalidRequest { .. }, _) => Words::Body,
            (Refusal::NotFound | Refusal::NotPending { .. }, _) => Words::CodeInvalid,
            (
                Refusal::CountryBlocked
                | Refusal::NumberTypeBlocked
                | Refusal::FraudSuspected { .. }
                | Refusal::UnsupportedChannel,
                _,
            ) => Words::NumberUnusable,
            (
                Refusal::MaxSendsReached { .. } | Refusal::ResendTooSoon { .. } | Refusal::RateLimited { .. },
                Endpoint::Verify,
            ) => Words::TooManyAttempts,
            (Refusal::MaxSendsReached { .. } | Refusal::ResendTooSoon { .. } | Refusal::RateLimited { .. }, _) => {
                Words::TooManyRequests
            }
        };
        let retry_after = refusal.retry_after().map(|wait| ceil_secs(wait).max(1));
        Self { words, retry_after, rate: problem::rate(refusal, policy) }
    }

    /// What is said around every call, in the words of this dialect.
    pub fn from_problem(problem: &Problem) -> Self {
        let words = match problem.kind.row().0 {
            405 => Words::Method,
            408 => Words::BodyTooSlow,
            413 => Words::BodyTooLarge,
            500.. => Words::Unavailable,
            _ => Words::Body,
        };
        Self { retry_after: problem.retry_after, rate: problem.rate, words }
    }

    /// Its status and its words.
    pub fn row(self) -> (u16, &'static str) {
        let (status, message) = self.words.row();
        (status.as_u16(), message)
    }

    /// The answer.
    pub fn response(self, endpoint: Endpoint) -> Response {
        let (status, message) = self.words.row();
        let verified = (endpoint == Endpoint::Verify).then_some(false);
        let mut answer = answer::json(status, &NoBody { message, status: "error", verified });
        problem::wait_headers(answer.headers_mut(), self.retry_after, self.rate);
        answer::response(answer)
    }
}
