//! `/v2/SafeList/Numbers/{number}`: one number that an account vouches for.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::call::Call;
use super::no::No;
use super::safe_numbers::{KIND, read, show};
use crate::http::answer;
use crate::service::{Door, Shared};

async fn named(door: &Door, call: &Call) -> Result<String, No> {
    let number = read(door, call, call.param("number")).ok_or_else(|| call.not_found())?;
    let kept = door.verifier.record(&call.record(KIND, number.as_str())).await?;
    kept.map(|_| number).ok_or_else(|| call.not_found())
}

pub(super) async fn fetch(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let number = named(&door, &call).await?;
    Ok(answer::response(answer::json(StatusCode::OK, &show(&door, &call, number))))
}

pub(super) async fn delete(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let number = named(&door, &call).await?;
    door.verifier.delete_record(&call.record(KIND, number)).await?;
    Ok(answer::response(answer::empty(StatusCode::NO_CONTENT)))
}
