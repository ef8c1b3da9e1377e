//! `/v2/Services/{VA…}/RateLimits/{RK…}/Buckets/{BL…}`: one bucket.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::store::Record;

use super::buckets::{Bucket, KIND, show, taken};
use super::call::Call;
use super::no::{INTERVAL_TAKEN, No};
use super::rate_limits;
use crate::http::answer;
use crate::service::{Door, Shared};

/// The bucket that the path names, if it is this rate limit's.
async fn named(door: &Door, call: &Call) -> Result<Record, No> {
    let (_, limit) = rate_limits::named(door, call).await?;
    let record = door.verifier.record(&call.record(KIND, call.param("bucket"))).await?;
    record.filter(|record| record.parent == Some(limit.name.id)).ok_or_else(|| call.not_found())
}

fn shown(door: &Door, call: &Call, record: Option<&Record>) -> Result<Response, No> {
    let shown = record.and_then(|record| show(door, call, record)).ok_or_else(|| call.not_found())?;
    Ok(answer::response(answer::json(StatusCode::OK, &shown)))
}

pub(super) async fn fetch(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let record = named(&door, &call).await?;
    shown(&door, &call, Some(&record))
}

pub(super) async fn update(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let record = named(&door, &call).await?;
    let known: Bucket = serde_json::from_str(&record.body).map_err(|_| call.not_found())?;
    let bucket = Bucket::read(&call, Some(known))?;
    let limit = record.parent.clone().unwrap_or_default();
    if taken(&door, &call, &limit, bucket.interval, &record.name.id).await? {
        return Err(INTERVAL_TAKEN.into());
    }
    let body = serde_json::to_string(&bucket).unwrap_or_default();
    shown(&door, &call, door.verifier.update_record(record, body).await?.as_ref())
}

pub(super) async fn delete(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let record = named(&door, &call).await?;
    door.verifier.delete_record(&record.name).await?;
    Ok(answer::response(answer::empty(StatusCode::NO_CONTENT)))
}
