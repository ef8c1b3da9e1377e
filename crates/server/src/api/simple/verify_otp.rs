//! `POST …/verify-otp/`: a code is checked.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use countersign::core::check::{CheckResult, Checked};
use countersign::core::destination::Destination;
use countersign::core::id::Purpose;
use countersign::core::time::ceil_secs;
use countersign::core::verification::Status;
use countersign::store::ListFilter;
use countersign::{Broken, CheckRequest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Otp;
use super::holder::Shown;
use super::no::{NoBody, Words};
use super::send_otp::{client, read_phone, refuse};
use super::{Endpoint, No, Simple, body, cors};
use crate::http::answer;
use crate::http::problem::Rate;
use crate::service::{Door, Shared};

/// What the person typed.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"phone": "255694230173", "otp": "042137"}))]
pub(super) struct VerifyOtpBody {
    /// The phone number that the code was sent to.
    #[expect(dead_code, reason = "documents the body")]
    pub phone: String,
    /// The code. A string keeps its leading zeros; a number is padded with zeros to the code's length.
    #[schema(value_type = String)]
    #[expect(dead_code, reason = "documents the body")]
    pub otp: String,
    /// The id from `send-otp`: with it the guess counts as one by who holds the id. A cookie does the same.
    #[expect(dead_code, reason = "documents the body")]
    pub verification_id: Option<String>,
    /// What the proof is for, in any case.
    #[schema(default = "Login")]
    #[expect(dead_code, reason = "documents the body")]
    pub verification_type: Option<String>,
}

/// Control is proved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OtpVerified, example = json!({
    "message": "OTP verified successfully", "status": "success", "verified": true, "token": "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIrMjU1In0.c2ln"
}))]
struct VerifiedBody {
    /// A sentence that an app can show.
    message: &'static str,
    /// Always `success`.
    status: &'static str,
    /// Always true.
    verified: bool,
    /// The proof for the back end: a JWT to be checked against `/.well-known/jwks.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String)]
    token: Option<String>,
}

/// Check a code
///
/// A back end must check the token: what a browser says is no proof.
#[utoipa::path(
    post, path = "/verify-otp/", tag = "simple", operation_id = "verifyOtp",
    request_body(content(
        (VerifyOtpBody = "application/json", example = json!({"phone": "255694230173", "otp": "042137"})),
        (VerifyOtpBody = "application/x-www-form-urlencoded", example = json!({"phone": "255694230173", "otp": "042137"})),
    )),
    responses(
        (status = 200, description = "It was the code", body = VerifiedBody),
        (status = 400, description = "`Phone number is required`, `Invalid phone number format`, `OTP code is required`, `OTP must be numeric`, `Invalid OTP code`, `OTP code has expired. Please request a new one.`, `Invalid request body`", body = NoBody,
            example = json!({"message": "Invalid OTP code", "status": "error", "verified": false})),
        (status = 429, description = "`Too many attempts. Please request a new OTP.`, with `Retry-After`", body = NoBody),
        (status = 503, description = "`Service unavailable. Please try again later.`", body = NoBody),
    ),
)]
pub(super) async fn verify_otp(State(door): State<Shared>, request: Request) -> Response {
    let work = |request| verify(&door, request);
    cors::guard(&door, Endpoint::Verify, request, work).await
}

async fn verify(door: &Door, request: Request) -> Result<Response, No> {
    let (parts, mut fields) = body::read(door, request).await?;
    let simple = door.simple.as_ref().ok_or(Words::Unavailable)?;
    let to = read_phone(door, simple, &fields.phone()?)?;
    let otp = fields.otp()?;
    let purpose = fields.purpose()?;
    let shown = Shown::read(fields.verification_id(), &parts.headers);
    let code = match otp {
        Otp::Digits(digits) => digits,
        Otp::Number(digits) => {
            let length = code_length(door, simple, &to, &purpose).await.map_err(|broken| No::from_broken(&broken))?;
            pad(digits, length)?
        }
    };
    let request = CheckRequest::by_destination(to.reveal(), &code).purpose(purpose.as_str()).showing(shown.ids());
    let request = request.application(simple.application.clone()).client(client(door, &parts));
    let checked = door.verifier.check(request).await.map_err(|no| refuse(door, simple, Endpoint::Verify, &no))?;
    answer(door, &checked)
}

/// The length that a number is padded to: that of the code which is pending.
async fn code_length(door: &Door, simple: &Simple, to: &Destination, purpose: &Purpose) -> Result<u8, Broken> {
    let filter = ListFilter {
        service: Some(None),
        to: Some(to.clone()),
        purpose: Some(purpose.clone()),
        status: Some(Status::Pending),
        limit: 1,
        ..ListFilter::new(simple.application.clone(), door.verifier.now())
    };
    let pending = door.verifier.list(&filter).await?.rows.into_iter().next();
    let policy = door.verifier.application(&simple.application)?.policy.code_length;
    Ok(pending.map_or(policy, |(pending, _)| pending.code_length))
}

fn pad(digits: String, length: u8) -> Result<String, No> {
    let length = usize::from(length);
    if digits.len() > length { Err(Words::CodeInvalid.into()) } else { Ok(format!("{digits:0>length$}")) }
}

fn answer(door: &Door, checked: &Checked) -> Result<Response, No> {
    let now = door.verifier.now();
    match (checked.result, &checked.verification) {
        (CheckResult::Approved, Some((verification, _))) => {
            let token = door.tokens.sign(verification, now);
            let body = VerifiedBody { message: "OTP verified successfully", status: "success", verified: true, token };
            Ok(answer::response(answer::json(StatusCode::OK, &body)))
        }
        (CheckResult::MaxAttemptsReached, Some((verification, _))) => {
            // By then there is something else to guess at.
            let wait = ceil_secs(verification.expires_at.after(now)).max(1);
            let window = ceil_secs(verification.expires_at.since(verification.created_at)).max(1);
            let rate = Rate { name: "checks", quota: verification.max_checks, window };
            Err(No { words: Words::TooManyAttempts, retry_after: Some(wait), rate: Some(rate) })
        }
        (CheckResult::Expired, _) => Err(Words::CodeExpired.into()),
        _ => Err(Words::CodeInvalid.into()),
    }
}
