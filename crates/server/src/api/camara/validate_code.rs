//! `POST …/validate-code`: a code is checked.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::CheckRequest;
use countersign::core::check::{CheckResult, Checked};
use countersign::core::code::Code;
use countersign::core::time::Timestamp;
use countersign::core::verification::{Status, Verification};
use serde::Deserialize;
use utoipa::ToSchema;

use super::SERVICE;
use super::call::Call;
use super::no::{Asked, INVALID_OTP, NOT_FOUND, No, NoBody, VERIFICATION_EXPIRED, VERIFICATION_FAILED};
use crate::http::answer;
use crate::service::Shared;

/// The candidate.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CamaraValidateCode, example = json!({
    "authenticationId": "vf_5f0c1d2e3f405162738495a6b7c8d9e0", "code": "042137"
}))]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents the body")]
pub(super) struct ValidateCodeBody {
    /// What `send-code` answered.
    #[serde(rename = "authenticationId")]
    #[schema(min_length = 1, max_length = 36)]
    authentication_id: String,
    /// What the person typed.
    #[schema(min_length = 1, max_length = 10)]
    code: String,
}

/// Check a code sent by SMS
///
/// CAMARA OneTimePasswordSMS. A right code is accepted once.
#[utoipa::path(
    post, path = "/validate-code", tag = "camara", operation_id = "validateCode", security(("api_key" = [])),
    request_body(content = ValidateCodeBody),
    params(("x-correlator" = Option<String>, Header, description = "Comes back as it came", example = "b4333c46-49c0-4f62-80d7-f0ef930f1c46")),
    responses(
        (status = 204, description = "It was the code"),
        (status = 400, description = "`ONE_TIME_PASSWORD_SMS.INVALID_OTP`, `….VERIFICATION_EXPIRED` (its time is up, a newer code was sent, or it was used), `….VERIFICATION_FAILED` (the tries are used up), `INVALID_ARGUMENT`", body = NoBody),
        (status = 404, description = "`NOT_FOUND`: no such authenticationId", body = NoBody),
        (status = 429, description = "`TOO_MANY_REQUESTS`, with `Retry-After`: too many wrong codes for this number today", body = NoBody),
    ),
)]
pub(super) async fn validate_code(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let [id, code] = call.strings(["authenticationId", "code"])?;
    for (name, text, most) in [("authenticationId", &id, 36), ("code", &code, 10)] {
        if text.is_empty() || text.chars().count() > most {
            return Err(No::invalid(format!("{name}: must be 1 to {most} characters")));
        }
    }
    let id = id.parse().map_err(|_| NOT_FOUND)?;
    if code.parse::<Code>().is_err() {
        let found = door.verifier.verification(&call.application, id).await?;
        let (found, _) = found.filter(|(row, _)| row.service == Some(SERVICE)).ok_or(NOT_FOUND)?;
        return Err(judge_unlike(&found, door.verifier.now()));
    }
    // Another door's is nobody's.
    let request = CheckRequest::by_id(id, &code).of_service(Some(SERVICE)).application(call.application.clone());
    let checked = door.verifier.check(request).await.map_err(|failure| {
        let application = door.verifier.application(&call.application).ok();
        No::from_failure(Asked::Validate, failure, application.as_deref().map(|application| &application.policy))
    })?;
    judge(&checked)?;
    Ok(answer::response(answer::empty(StatusCode::NO_CONTENT)))
}

fn judge(checked: &Checked) -> Result<(), No> {
    let status = checked.verification.as_ref().map(|(row, _)| row.status);
    Err(match checked.result {
        CheckResult::Approved => return Ok(()),
        // The last wrong one is the one that failed it.
        CheckResult::Incorrect if status != Some(Status::MaxAttemptsReached) => INVALID_OTP.into(),
        CheckResult::Incorrect | CheckResult::MaxAttemptsReached => VERIFICATION_FAILED.into(),
        CheckResult::Expired | CheckResult::AlreadyUsed | CheckResult::Canceled => VERIFICATION_EXPIRED.into(),
        CheckResult::NotFound => NOT_FOUND.into(),
    })
}

/// What nobody can have been sent is no guess, and so counts as none: it is answered by where the verification stands.
fn judge_unlike(found: &Verification, now: Timestamp) -> No {
    match found.status_at(now) {
        Status::Pending => INVALID_OTP.into(),
        Status::MaxAttemptsReached => VERIFICATION_FAILED.into(),
        Status::Approved | Status::Canceled | Status::Expired | Status::Failed => VERIFICATION_EXPIRED.into(),
    }
}
