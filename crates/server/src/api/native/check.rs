//! `POST /v1/verifications/{id}/check`: a code is offered by who holds the id.

use axum::extract::State;
use axum::response::Response;
use countersign::CheckRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::client::{self, Client};
use super::object::{self, CheckedObject};
use crate::http::auth::Id;
use crate::http::call::Call;
use crate::http::json::Fields;
use crate::http::problem::Problem;
use crate::service::Shared;

/// The candidate.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"code": "042137"}))]
#[serde(deny_unknown_fields)]
pub struct CheckBody {
    /// What the person typed: 4 to 10 ASCII digits, as a string. Anything else counts as nothing.
    #[schema(pattern = "^[0-9]{4,10}$")]
    pub code: String,
    /// The end user, for the `client` limits.
    #[schema(nullable = false)]
    pub client: Option<Client>,
}

/// Check a code
///
/// A right code is accepted once. `checks_left` counts the wrong guesses by who holds the id.
#[utoipa::path(
    post, path = "/v1/verifications/{id}/check", tag = "verifications", operation_id = "checkVerification", security(("api_key" = [])),
    request_body(content = CheckBody),
    params(
        ("id" = String, Path, description = "The verification's id", example = "vf_5f0c1d2e3f405162738495a6b7c8d9e0"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters: the same key and request give the first answer again for 24 h", example = "4f1d0a6e"),
    ),
    responses((status = 200, description = "Whether it was the code", body = CheckedObject,
        example = json!({"valid": false, "result": "incorrect", "verification": {
            "id": "vf_5f0c1d2e3f405162738495a6b7c8d9e0", "status": "pending", "to": "+255694230173", "channel": "sms", "purpose": "login",
            "created_at": "2026-11-22T10:00:00Z", "expires_at": "2026-11-22T10:05:00Z", "code_length": 6, "sends": 1, "sends_left": 4,
            "checks_left": 4, "resend_after": "2026-11-22T10:00:30Z", "deliveries": [], "metadata": {}}}))),
)]
pub(super) async fn check(State(door): State<Shared>, id: Id, call: Call) -> Response {
    let work = move |door: Shared, call: Call| async move {
        let mut fields = call.fields(&["code", "client"])?;
        let code = read_code(&mut fields)?;
        let request = with_client(CheckRequest::by_id(id.known()?, &code), &mut fields)?;
        let checked = door.verifier.check(request.application(call.application())).await;
        let checked = checked.map_err(|no| door.problem(&call.application(), no))?;
        Ok(object::checked(&door, &checked))
    };
    call.answer(door, work).await
}

/// A `code` that no person can have been sent is refused here, alike whether or not there is a verification.
pub(super) fn read_code(fields: &mut Fields) -> Result<String, Problem> {
    let refused = || Problem::invalid("code", "must be a string of 4 to 10 digits 0-9");
    let code = fields.string("code").map_err(|_| refused())?.ok_or_else(refused)?;
    if countersign::core::code::LENGTHS.contains(&u8::try_from(code.len()).unwrap_or(0))
        && code.bytes().all(|byte| byte.is_ascii_digit())
    {
        Ok(code)
    } else {
        Err(refused())
    }
}

pub(super) fn with_client(request: CheckRequest, fields: &mut Fields) -> Result<CheckRequest, Problem> {
    Ok(match client::read(fields)? {
        Some(client) => request.client(client),
        None => request,
    })
}
