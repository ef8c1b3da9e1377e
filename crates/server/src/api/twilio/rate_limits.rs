//! `/v2/Services/{VA…}/RateLimits`: rates of an account's own, on whatever it names in a send.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::core::limit::ExtraLimit;
use countersign::store::{Record, RecordFilter};
use serde::{Deserialize, Serialize};

use super::buckets::{self, Bucket};
use super::call::{Call, url};
use super::no::{MAX_RATE_LIMITS, NAME_FORMAT, NAME_TAKEN, No};
use super::profile::Profile;
use super::{paging, sid};
use crate::api::native::object::Seconds;
use crate::http::answer;
use crate::service::{Door, Shared};

/// The kind of its records.
pub(super) const KIND: &str = "rate_limit";
/// As many as one service may have.
const MOST: usize = 10;

/// What can be set.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RateLimit {
    pub unique_name: String,
    pub description: Option<String>,
}

pub(super) async fn create(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    let unique_name = call.form.required("UniqueName")?.to_owned();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if unique_name.len() > 64 || !unique_name.bytes().all(fits) {
        return Err(NAME_FORMAT.into());
    }
    let limit = RateLimit { description: description(&call)?, unique_name };
    let name = call.record(KIND, sid_of(&profile.sid, &limit.unique_name));
    if door.verifier.record(&name).await?.is_none() && full(&door, &call, KIND, &profile.sid, MOST).await? {
        return Err(MAX_RATE_LIMITS.into());
    }
    let body = serde_json::to_string(&limit).unwrap_or_default();
    let record = door.verifier.create_record(name, Some(profile.sid.clone()), body).await?.ok_or(NAME_TAKEN)?;
    if full(&door, &call, KIND, &profile.sid, MOST + 1).await? {
        return Err(take_back(&door, &record, MAX_RATE_LIMITS).await);
    }
    let shown = show(&door, &call, &record).ok_or_else(|| call.not_found())?;
    Ok(answer::response(answer::json(StatusCode::CREATED, &shown)))
}

pub(super) async fn list(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    let show = |record: &_| show(&door, &call, record);
    paging::records(&door, &call, (KIND, Some(&profile.sid), "rate_limits"), None, show).await
}

/// One of a name in each service.
fn sid_of(service: &str, unique_name: &str) -> String {
    sid::derived("RK", &["rate limit", service, unique_name])
}

pub(super) fn description(call: &Call) -> Result<Option<String>, No> {
    match call.form.text("Description")? {
        Some(text) if text.chars().count() > 255 => Err(No::invalid("Description")),
        text => Ok(text.filter(|text| !text.is_empty()).map(str::to_owned)),
    }
}

/// Whether a parent has as many children of a kind as it may have.
pub(super) async fn full(door: &Door, call: &Call, kind: &str, parent: &str, most: usize) -> Result<bool, No> {
    let filter = RecordFilter {
        application: call.application().clone(),
        kind: kind.to_owned(),
        parent: Some(parent.to_owned()),
        limit: most,
        after: None,
    };
    Ok(door.verifier.records(&filter).await?.rows.len() >= most)
}

/// Takes back what is one too many. Requests of one instant do not see each other before they are kept, so each looks once more
/// after that, and the last to look sees all. Of two that want the last place both may be refused.
pub(super) async fn take_back(door: &Door, record: &Record, why: impl Into<No>) -> No {
    door.verifier.delete_record(&record.name).await.map_or_else(No::from, |_| why.into())
}

/// The rate limit that the path names, if it is this service's.
pub(super) async fn named(door: &Door, call: &Call) -> Result<(Profile, Record), No> {
    let profile = Profile::named(door, call).await?;
    let record = door.verifier.record(&call.record(KIND, call.param("limit"))).await?;
    let record = record.filter(|record| record.parent.as_deref() == Some(&profile.sid));
    Ok((profile, record.ok_or_else(|| call.not_found())?))
}

/// What a send brings along: the limits behind the names that it gives, each with the name that it is known by.
pub(super) async fn brought(door: &Door, call: &Call, service: &str) -> Result<(Vec<ExtraLimit>, Vec<String>), No> {
    let (mut limits, mut names) = (Vec::new(), Vec::new());
    for (unique_name, whom) in call.form.object("RateLimits", MOST)? {
        let limit = call.record(KIND, sid_of(service, &unique_name));
        if door.verifier.recent_record(limit.clone()).await?.is_none() {
            return Err(No::invalid_because("RateLimits", "the service has no rate limit of this name"));
        }
        let filter = RecordFilter {
            application: call.application().clone(),
            kind: buckets::KIND.to_owned(),
            parent: Some(limit.id),
            limit: buckets::MOST,
            after: None,
        };
        for record in door.verifier.records(&filter).await?.rows {
            let Ok(bucket) = serde_json::from_str::<Bucket>(&record.body) else { continue };
            let window = Duration::from_secs(bucket.interval.into());
            let whom = sid::digest(&[&whom]);
            // A bucket that is changed begins anew: what was used of the old one says nothing about the new.
            let id = format!("{}.{}", record.name.id, bucket.max);
            limits.push(ExtraLimit::new(call.application(), &id, &whom, bucket.max, window));
            names.push(unique_name.clone());
        }
    }
    Ok((limits, names))
}

/// As it is written.
#[derive(Debug, Serialize)]
pub(super) struct RateLimitBody {
    sid: String,
    service_sid: String,
    account_sid: String,
    unique_name: String,
    description: Option<String>,
    date_created: Seconds,
    date_updated: Seconds,
    url: String,
    links: Links,
}

#[derive(Debug, Serialize)]
struct Links {
    buckets: String,
}

pub(super) fn show(door: &Door, call: &Call, record: &Record) -> Option<RateLimitBody> {
    let RateLimit { unique_name, description } = serde_json::from_str(&record.body).ok()?;
    let service_sid = record.parent.clone()?;
    let sid = record.name.id.clone();
    let url = url(door, &format!("/v2/Services/{service_sid}/RateLimits/{sid}"));
    Some(RateLimitBody {
        sid,
        service_sid,
        account_sid: call.account.sid.clone(),
        unique_name,
        description,
        date_created: Seconds::floor(record.created_at),
        date_updated: Seconds::floor(record.updated_at),
        links: Links { buckets: format!("{url}/Buckets") },
        url,
    })
}
