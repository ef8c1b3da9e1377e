//! `GET /v2/Attempts/{VL…}`: one send.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::attempts::{attempts_of, show};
use super::call::Call;
use super::no::No;
use super::sid;
use crate::http::answer;
use crate::service::Shared;

pub(super) async fn fetch(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let id = sid::attempt(call.param("attempt")).ok_or_else(|| call.not_found())?;
    let found = door.verifier.verification_of(call.application(), id).await?.ok_or_else(|| call.not_found())?;
    let attempt = attempts_of(&found).find(|attempt| attempt.is(id)).ok_or_else(|| call.not_found())?;
    Ok(answer::response(answer::json(StatusCode::OK, &show(&door, &call, &attempt))))
}
