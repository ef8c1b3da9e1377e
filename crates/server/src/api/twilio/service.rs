//! `/v2/Services/{VA…}`: one service.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::call::Call;
use super::no::No;
use super::profile::{self, Profile};
use crate::http::answer;
use crate::service::Shared;

pub(super) async fn fetch(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    Ok(answer::response(answer::json(StatusCode::OK, &profile.show(&door, &call))))
}

pub(super) async fn update(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let mut profile = Profile::named(&door, &call).await?;
    profile.settings.read(&call.form)?;
    let body = serde_json::to_string(&profile.settings).unwrap_or_default();
    let name = call.record(profile::KIND, profile.sid.as_str());
    profile.record = match profile.record {
        Some(record) => door.verifier.update_record(record, body).await?,
        None => match door.verifier.create_record(name.clone(), None, body.clone()).await? {
            Some(record) => Some(record),
            // Somebody else was first.
            None => match door.verifier.record(&name).await? {
                Some(record) => door.verifier.update_record(record, body).await?,
                None => None,
            },
        },
    };
    if profile.record.is_none() {
        return Err(call.not_found());
    }
    Ok(answer::response(answer::json(StatusCode::OK, &profile.show(&door, &call))))
}

/// Delete a service with its rate limits and webhooks. The one that is there from the beginning stays: the other doors use it.
pub(super) async fn delete(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    if profile.id.is_none() {
        return Err((403, 20403, "The account's first service cannot be deleted").into());
    }
    if !door.verifier.delete_record(&call.record(profile::KIND, profile.sid.as_str())).await? {
        return Err(call.not_found());
    }
    Ok(answer::response(answer::empty(StatusCode::NO_CONTENT)))
}
