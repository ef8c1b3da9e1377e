//! What this dialect says instead of an answer: `{status, code, message}`, with the codes of CAMARA.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::http::header::{HeaderValue, WWW_AUTHENTICATE};
use axum::response::{IntoResponse, Response};
use countersign::core::destination::InvalidDestination;
use countersign::core::limit::Per;
use countersign::core::policy::Policy;
use countersign::core::refusal::{Limit, Refusal};
use countersign::core::time::ceil_secs;
use countersign::{Broken, Failure};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::answer;
use crate::http::problem::{self, Problem, Rate};

type Row = (u16, &'static str, &'static str);

/// A field that cannot be meant; the message names it.
const INVALID_ARGUMENT: Row = (400, "INVALID_ARGUMENT", "The request cannot be meant");
/// The guesses at this one are used up.
pub(super) const VERIFICATION_FAILED: Row =
    (400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_FAILED", "All tries for this authenticationId are used up");
/// Its time is up, a newer one took its place, or it was used.
pub(super) const VERIFICATION_EXPIRED: Row =
    (400, "ONE_TIME_PASSWORD_SMS.VERIFICATION_EXPIRED", "This authenticationId is no longer valid");
/// Not the code.
pub(super) const INVALID_OTP: Row =
    (400, "ONE_TIME_PASSWORD_SMS.INVALID_OTP", "This is not the code of this authenticationId");
/// The number was sent as many codes as it may be.
const MAX_OTP_CODES: Row =
    (403, "ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED", "Too many codes were asked for this number; try later");
/// A number that is not written to, or cannot be.
const NOT_ALLOWED: Row = (403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_NOT_ALLOWED", "This number cannot be sent an SMS");
/// The gateway says that nobody reaches this number.
pub(super) const BLOCKED: Row = (403, "ONE_TIME_PASSWORD_SMS.PHONE_NUMBER_BLOCKED", "This number takes no SMS");
/// No verification of this application, or no route to the number.
pub(super) const NOT_FOUND: Row = (404, "NOT_FOUND", "There is no such authenticationId");
/// No provider took the message.
pub(super) const NOT_SENT: Row = (502, "BAD_GATEWAY", "No gateway took the message; try again");

/// Which call is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Send,
    Validate,
}

/// A refusal or a break, in the words of this dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct No {
    pub status: u16,
    pub code: &'static str,
    message: Cow<'static, str>,
    retry_after: Option<u64>,
    rate: Option<Rate>,
}

impl From<Row> for No {
    fn from((status, code, message): Row) -> Self {
        Self { status, code, message: message.into(), retry_after: None, rate: None }
    }
}

impl From<Problem> for No {
    fn from(problem: Problem) -> Self {
        Self::from_problem(&problem)
    }
}

impl From<Broken> for No {
    fn from(broken: Broken) -> Self {
        Self::from_problem(&Problem::from_broken(&broken))
    }
}

impl No {
    /// A field or a header that cannot be meant.
    pub fn invalid(message: impl Into<Cow<'static, str>>) -> Self {
        Self { message: message.into(), ..INVALID_ARGUMENT.into() }
    }

    /// What is said around every call, in the words of this dialect.
    pub fn from_problem(problem: &Problem) -> Self {
        let (status, _, title) = problem.kind.row();
        let code = match status {
            400 | 422 => {
                let param = problem.param.as_deref().map(|param| format!("{param}: "));
                let message = format!("{}{}", param.unwrap_or_default(), problem.detail);
                return Self { message: message.into(), ..INVALID_ARGUMENT.into() };
            }
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            405 => "METHOD_NOT_ALLOWED",
            408 => "REQUEST_TIMEOUT",
            413 => "PAYLOAD_TOO_LARGE",
            415 => "UNSUPPORTED_MEDIA_TYPE",
            429 => "TOO_MANY_REQUESTS",
            503 => "UNAVAILABLE",
            _ => "INTERNAL",
        };
        Self { retry_after: problem.retry_after, rate: problem.rate, ..(status, code, title).into() }
    }

    /// What the verifier said no to, or broke at.
    pub fn from_failure(asked: Asked, failure: Failure, policy: Option<&Policy>) -> Self {
        match failure {
            Failure::Broken(broken) => broken.into(),
            Failure::Refused(refusal) => Self::from_refusal(asked, &refusal, policy),
        }
    }

    pub fn from_refusal(asked: Asked, refusal: &Refusal, policy: Option<&Policy>) -> Self {
        let no: Self = match refusal {
            Refusal::InvalidRequest { param, detail } => Self::invalid(format!("{param}: {detail}")),
            Refusal::NotFound => NOT_FOUND.into(),
            Refusal::NotPending { .. } => VERIFICATION_EXPIRED.into(),
            Refusal::InvalidDestination(InvalidDestination::Channel)
            | Refusal::CountryBlocked
            | Refusal::NumberTypeBlocked
            | Refusal::FraudSuspected { .. } => NOT_ALLOWED.into(),
            Refusal::InvalidDestination(reason) => Self::invalid(format!("phoneNumber: {reason}")),
            Refusal::UnsupportedChannel => {
                Self { message: "This number is of no network served here".into(), ..NOT_FOUND.into() }
            }
            Refusal::MaxSendsReached { .. } | Refusal::ResendTooSoon { .. } => MAX_OTP_CODES.into(),
            Refusal::RateLimited { limit: Limit::Rate(Per::Destination), .. } if asked == Asked::Send => {
                MAX_OTP_CODES.into()
            }
            Refusal::RateLimited { limit: Limit::Rate(Per::Application), .. } => {
                (429, "QUOTA_EXCEEDED", "The quota of this application is used up").into()
            }
            Refusal::RateLimited { .. } => (429, "TOO_MANY_REQUESTS", "Too many requests; try later").into(),
        };
        let retry_after = refusal.retry_after().map(|wait| ceil_secs(wait).max(1));
        Self { retry_after, rate: problem::rate(refusal, policy), ..no }
    }
}

/// As it is written.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CamaraRefusal, example = json!({
    "status": 400, "code": "INVALID_ARGUMENT", "message": "phoneNumber: must be given, as a string"
}))]
pub(crate) struct NoBody {
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is the matter: a code of CAMARA.
    code: &'static str,
    /// The same in words.
    message: String,
}

impl IntoResponse for No {
    fn into_response(self) -> Response {
        let Self { status, code, message, retry_after, rate } = self;
        let answered = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = answer::json(answered, &NoBody { status, code, message: message.into_owned() });
        problem::wait_headers(answer.headers_mut(), retry_after, rate);
        if answered == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"countersign\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        answer::response(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::problem::Kind;

    #[test]
    fn every_problem_has_a_code_of_its_status() {
        for kind in Kind::ALL {
            let no = No::from_problem(&Problem::new(*kind, "why"));
            let status = if kind.row().0 == 422 { 400 } else { kind.row().0 };
            assert_eq!(no.status, status, "{}", kind.code());
            // What the design guide of CAMARA has for this status; it knows no 408, 409 and 413.
            let code = match status {
                400 => "INVALID_ARGUMENT",
                401 => "UNAUTHENTICATED",
                403 => "PERMISSION_DENIED",
                404 => "NOT_FOUND",
                405 => "METHOD_NOT_ALLOWED",
                415 => "UNSUPPORTED_MEDIA_TYPE",
                429 => "TOO_MANY_REQUESTS",
                500 => "INTERNAL",
                503 => "UNAVAILABLE",
                _ => no.code,
            };
            assert_eq!(no.code, code);
            assert!(!no.message.is_empty());
        }
    }
}
