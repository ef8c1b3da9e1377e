//! `/v2/Services/{VA…}/RateLimits/{RK…}`: one rate limit.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::store::Record;

use super::call::Call;
use super::no::No;
use super::rate_limits::{RateLimit, description, named, show};
use crate::http::answer;
use crate::service::{Door, Shared};

fn shown(door: &Door, call: &Call, record: Option<&Record>) -> Result<Response, No> {
    let shown = record.and_then(|record| show(door, call, record)).ok_or_else(|| call.not_found())?;
    Ok(answer::response(answer::json(StatusCode::OK, &shown)))
}

pub(super) async fn fetch(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let (_, record) = named(&door, &call).await?;
    shown(&door, &call, Some(&record))
}

pub(super) async fn update(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let (_, record) = named(&door, &call).await?;
    let mut limit: RateLimit = serde_json::from_str(&record.body).map_err(|_| call.not_found())?;
    if call.form.text("Description")?.is_some() {
        limit.description = description(&call)?;
    }
    let body = serde_json::to_string(&limit).unwrap_or_default();
    shown(&door, &call, door.verifier.update_record(record, body).await?.as_ref())
}

/// Delete a rate limit with its buckets.
pub(super) async fn delete(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let (_, record) = named(&door, &call).await?;
    door.verifier.delete_record(&record.name).await?;
    Ok(answer::response(answer::empty(StatusCode::NO_CONTENT)))
}
