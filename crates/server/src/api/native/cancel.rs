//! `POST /v1/verifications/{id}/cancel`: a verification is called off.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::object::VerificationObject;
use crate::http::auth::Id;
use crate::http::call::Call;
use crate::service::Shared;

/// Cancel a verification
///
/// Its code is refused from now on. No limit is given back.
#[utoipa::path(
    post, path = "/v1/verifications/{id}/cancel", tag = "verifications", operation_id = "cancelVerification", security(("api_key" = [])),
    params(
        ("id" = String, Path, description = "The verification's id", example = "vf_5f0c1d2e3f405162738495a6b7c8d9e0"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters: the same key and request give the first answer again for 24 h", example = "4f1d0a6e"),
    ),
    responses((status = 200, description = "It is canceled", body = VerificationObject)),
)]
pub(super) async fn cancel(State(door): State<Shared>, id: Id, call: Call) -> Response {
    let work = move |door: Shared, call: Call| async move {
        call.fields(&[])?;
        let canceled = door.verifier.cancel(&call.application(), id.known()?).await;
        let (verification, deliveries) = canceled.map_err(|no| door.problem(&call.application(), no))?;
        Ok(VerificationObject::answer(StatusCode::OK, &verification, &deliveries, door.verifier.now()))
    };
    call.answer(door, work).await
}
