//! `GET /v1/verifications/{id}`: one verification.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::object::VerificationObject;
use crate::http::answer;
use crate::http::auth::{Caller, Id};
use crate::http::problem::Problem;
use crate::service::Shared;

/// Get a verification
///
/// Another application's id is as unknown as one that never was.
#[utoipa::path(
    get, path = "/v1/verifications/{id}", tag = "verifications", operation_id = "getVerification", security(("api_key" = [])),
    params(("id" = String, Path, description = "The verification's id", example = "vf_5f0c1d2e3f405162738495a6b7c8d9e0")),
    responses((status = 200, description = "The verification as it stands", body = VerificationObject)),
)]
pub(super) async fn get(State(door): State<Shared>, Caller(access): Caller, id: Id) -> Result<Response, Problem> {
    let found = door.verifier.verification(&access.application, id.known()?).await;
    let found = found.map_err(|broken| Problem::from_broken(&broken))?;
    let (verification, deliveries) = found.ok_or_else(Problem::not_found)?;
    let answer = VerificationObject::answer(StatusCode::OK, &verification, &deliveries, door.verifier.now());
    Ok(answer::response(answer))
}
