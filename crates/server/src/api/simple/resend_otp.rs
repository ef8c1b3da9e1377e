//! `POST …/resend-otp/`: the same code is sent again; with nothing pending a new one is.

use axum::extract::{Request, State};
use axum::response::Response;

use super::no::NoBody;
use super::send_otp::{SendOtpBody, SentBody, send};
use super::{Endpoint, cors};
use crate::service::Shared;

/// Send a code again
///
/// With nothing pending it begins a new verification and answers alike.
#[utoipa::path(
    post, path = "/resend-otp/", tag = "simple", operation_id = "resendOtp",
    request_body(content(
        (SendOtpBody = "application/json", example = json!({"phone": "255694230173", "verification_type": "Login"})),
        (SendOtpBody = "application/x-www-form-urlencoded", example = json!({"phone": "255694230173", "verification_type": "Login"})),
    )),
    responses(
        (status = 200, description = "On its way", body = SentBody, example = json!({
            "message": "OTP resent successfully", "status": "success", "verification_id": "vf_5f0c1d2e3f405162738495a6b7c8d9e0",
            "expires_in": 240, "resend_after": 30})),
        (status = 400, description = "`Phone number is required`, `Invalid phone number format`, `Invalid request body`", body = NoBody),
        (status = 403, description = "`This phone number cannot be used.`", body = NoBody),
        (status = 429, description = "`Too many OTP requests. Please try again later.`, with `Retry-After`", body = NoBody),
        (status = 502, description = "`Failed to send OTP. Please try again.`", body = NoBody),
        (status = 503, description = "`Service unavailable. Please try again later.`", body = NoBody),
    ),
)]
pub(super) async fn resend_otp(State(door): State<Shared>, request: Request) -> Response {
    let work = |request| send(&door, Endpoint::Resend, "OTP resent successfully", request);
    cors::guard(&door, Endpoint::Resend, request, work).await
}
