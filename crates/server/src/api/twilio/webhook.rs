//! `/v2/Services/{VA…}/Webhooks/{YW…}`: one webhook.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::store::Record;

use super::call::Call;
use super::no::No;
use super::profile::Profile;
use super::webhooks::{read, rules, show};
use crate::http::answer;
use crate::service::{Door, Shared};
use crate::webhooks::account::{self, KIND, Webhook};

/// The webhook that the path names, if it is this service's.
async fn named(door: &Door, call: &Call) -> Result<Record, No> {
    let profile = Profile::named(door, call).await?;
    let record = door.verifier.record(&call.record(KIND, call.param("webhook"))).await?;
    record.filter(|record| record.parent == Some(profile.sid)).ok_or_else(|| call.not_found())
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
    let mut webhook: Webhook = serde_json::from_str(&record.body).map_err(|_| call.not_found())?;
    read(&mut webhook, &call.form, rules(&door)?)?;
    let body = serde_json::to_string(&webhook).unwrap_or_default();
    let record = door.verifier.update_record(record, body).await?.ok_or_else(|| call.not_found())?;
    if call.form.text("Status")? == Some("enabled") {
        account::enable(&door.verifier, &record.name.id).await?;
    }
    shown(&door, &call, Some(&record))
}

pub(super) async fn delete(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let record = named(&door, &call).await?;
    door.verifier.delete_record(&record.name).await?;
    Ok(answer::response(answer::empty(StatusCode::NO_CONTENT)))
}
