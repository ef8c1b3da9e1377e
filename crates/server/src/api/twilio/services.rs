//! `/v2/Services`: the services of an account.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::call::Call;
use super::no::No;
use super::profile::{self, Profile, Settings};
use super::{paging, sid};
use crate::http::answer;
use crate::service::Shared;

/// Create a service.
pub(super) async fn create(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    call.form.required("FriendlyName")?;
    let mut settings = Settings::default();
    settings.read(&call.form)?;
    let name = call.record(profile::KIND, sid::random("VA")?);
    let body = serde_json::to_string(&settings).unwrap_or_default();
    let record = door.verifier.create_record(name, None, body).await?;
    let profile = record.as_ref().and_then(Profile::kept).ok_or_else(|| call.not_found())?;
    Ok(answer::response(answer::json(StatusCode::CREATED, &profile.show(&door, &call))))
}

/// List the services, newest first; the one that is there from the beginning is the last.
pub(super) async fn list(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let first = Profile::first(&door, &call).await?.map(|first| first.show(&door, &call));
    let show = |record: &_| Profile::kept(record).map(|profile| profile.show(&door, &call));
    paging::records(&door, &call, (profile::KIND, None, "services"), first, show).await
}
