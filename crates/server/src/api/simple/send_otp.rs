//! `POST …/send-otp/`: a code is sent.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use countersign::SendRequest;
use countersign::core::destination::Destination;
use countersign::core::time::ceil_secs;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::holder::{self, Shown};
use super::no::{NoBody, Words};
use super::{Endpoint, No, Simple, body, cors};
use crate::http::answer;
use crate::http::client_address::{Peer, client_address, client_key};
use crate::service::{Door, Shared};

/// How long the provider's acceptance is awaited.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to send a code.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"phone": "255694230173", "verification_type": "Login"}))]
pub(super) struct SendOtpBody {
    /// The phone number in any usual writing, with its country code.
    #[expect(dead_code, reason = "documents the body")]
    pub phone: String,
    /// What the proof is for, in any case.
    #[schema(default = "Login")]
    #[expect(dead_code, reason = "documents the body")]
    pub verification_type: Option<String>,
}

/// A code is on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OtpSent, example = json!({
    "message": "OTP sent successfully", "status": "success", "verification_id": "vf_5f0c1d2e3f405162738495a6b7c8d9e0",
    "expires_in": 300, "resend_after": 30
}))]
pub(super) struct SentBody {
    /// A sentence that an app can show.
    message: &'static str,
    /// Always `success`.
    status: &'static str,
    /// To be sent with `verify-otp`; browsers do so by a cookie.
    verification_id: String,
    /// Seconds that the code works.
    expires_in: u64,
    /// Seconds until it may be sent again.
    resend_after: u64,
}

/// Send a code
///
/// The provider's acceptance is awaited, up to 10 seconds. The answer sets a cookie with the verification's id.
#[utoipa::path(
    post, path = "/send-otp/", tag = "simple", operation_id = "sendOtp",
    request_body(content(
        (SendOtpBody = "application/json", example = json!({"phone": "255694230173", "verification_type": "Login"})),
        (SendOtpBody = "application/x-www-form-urlencoded", example = json!({"phone": "255694230173", "verification_type": "Login"})),
    )),
    responses(
        (status = 200, description = "On its way", body = SentBody),
        (status = 400, description = "`Phone number is required`, `Invalid phone number format`, `Invalid request body`", body = NoBody),
        (status = 403, description = "`This phone number cannot be used.`", body = NoBody),
        (status = 429, description = "`Too many OTP requests. Please try again later.`, with `Retry-After`", body = NoBody),
        (status = 502, description = "`Failed to send OTP. Please try again.`", body = NoBody),
        (status = 503, description = "`Service unavailable. Please try again later.`", body = NoBody),
    ),
)]
pub(super) async fn send_otp(State(door): State<Shared>, request: Request) -> Response {
    let work = |request| send(&door, Endpoint::Send, "OTP sent successfully", request);
    cors::guard(&door, Endpoint::Send, request, work).await
}

/// Sends, for the first time or again: whether something is pending decides, not which of the two was asked for.
pub(super) async fn send(
    door: &Door,
    endpoint: Endpoint,
    message: &'static str,
    request: Request,
) -> Result<Response, No> {
    let (parts, mut fields) = body::read(door, request).await?;
    let simple = door.simple.as_ref().ok_or(Words::Unavailable)?;
    let to = read_phone(door, simple, &fields.phone()?)?;
    let purpose = fields.purpose()?;
    let shown = Shown::read(fields.verification_id(), &parts.headers);
    let request = SendRequest::to(to.reveal())
        .application(simple.application.clone())
        .purpose(purpose.as_str())
        .keyless()
        .client(client(door, &parts));
    let sending = door.verifier.send(request).await.map_err(|no| refuse(door, simple, endpoint, &no))?;
    let begun = sending.sent.begun;
    let waited = sending.wait(PATIENCE).await.map_err(|no| refuse(door, simple, endpoint, &no))?;
    let (word, verification, _) = waited;
    if word.is_no() {
        return Err(Words::SendFailed.into());
    }
    let id = if begun || shown.has(verification.id) {
        verification.id
    } else {
        holder::decoy().map_err(|broken| No::from_broken(&broken))?
    };
    let now = door.verifier.now();
    let expires_in = ceil_secs(verification.expires_at.after(now));
    let resend_after = ceil_secs(verification.resend_at.after(now));
    let body = SentBody { message, status: "success", verification_id: id.to_string(), expires_in, resend_after };
    let mut answer = answer::json(StatusCode::OK, &body);
    holder::set_cookie(answer.headers_mut(), simple, id, expires_in);
    Ok(answer::response(answer))
}

/// A phone number; an address is none.
pub(super) fn read_phone(door: &Door, simple: &Simple, text: &str) -> Result<Destination, No> {
    let application = door.verifier.application(&simple.application).map_err(|broken| No::from_broken(&broken))?;
    match Destination::parse(text, application.policy.default_country) {
        Ok(to @ Destination::Phone(_)) => Ok(to),
        _ => Err(Words::PhoneFormat.into()),
    }
}

/// The end user's address, as the client limits count it.
pub(super) fn client(door: &Door, parts: &Parts) -> String {
    let peer = parts.extensions.get().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |Peer(address)| *address);
    client_key(client_address(peer, &parts.headers, &door.settings.trusted_proxies))
}

pub(super) fn refuse(door: &Door, simple: &Simple, endpoint: Endpoint, failure: &countersign::Failure) -> No {
    let application = door.verifier.application(&simple.application).ok();
    No::from_failure(endpoint, failure, application.as_deref().map(|application| &application.policy))
}
