//! `/v2/Services/{VA…}/RateLimits/{RK…}/Buckets`: how many in which time. A rate limit may have several.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::store::{Record, RecordFilter};
use serde::{Deserialize, Serialize};

use super::call::{Call, url};
use super::no::{INTERVAL_TAKEN, MAX_BUCKETS, No};
use super::rate_limits::{full, named, take_back};
use super::{paging, sid};
use crate::api::native::object::Seconds;
use crate::http::answer;
use crate::service::{Door, Shared};

/// The kind of its records.
pub(super) const KIND: &str = "bucket";
/// As many as one rate limit may have.
pub(super) const MOST: usize = 5;

/// What can be set.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Bucket {
    pub max: u32,
    /// Seconds.
    pub interval: u32,
}

impl Bucket {
    /// What a form says; what it leaves out stays.
    pub fn read(call: &Call, known: Option<Self>) -> Result<Self, No> {
        let (max, interval) = known.map_or((None, None), |known| (Some(known.max), Some(known.interval)));
        let max = call.form.number("Max", 1..=1_000_000)?.or(max).ok_or_else(|| No::invalid("Max"))?;
        let interval = call.form.number("Interval", 1..=31 * 24 * 60 * 60)?.or(interval);
        Ok(Self { max, interval: interval.ok_or_else(|| No::invalid("Interval"))? })
    }
}

/// The interval of a bucket of this rate limit, other than `but`, that is the same.
pub(super) async fn taken(door: &Door, call: &Call, limit: &str, interval: u32, but: &str) -> Result<bool, No> {
    let filter = RecordFilter {
        application: call.application().clone(),
        kind: KIND.to_owned(),
        parent: Some(limit.to_owned()),
        limit: MOST,
        after: None,
    };
    let rows = door.verifier.records(&filter).await?.rows;
    let same =
        |record: &Record| serde_json::from_str::<Bucket>(&record.body).is_ok_and(|bucket| bucket.interval == interval);
    Ok(rows.iter().any(|record| record.name.id != but && same(record)))
}

pub(super) async fn create(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let (_, limit) = named(&door, &call).await?;
    let bucket = Bucket::read(&call, None)?;
    let limit = limit.name.id;
    if taken(&door, &call, &limit, bucket.interval, "").await? {
        return Err(INTERVAL_TAKEN.into());
    }
    if full(&door, &call, KIND, &limit, MOST).await? {
        return Err(MAX_BUCKETS.into());
    }
    let name = call.record(KIND, sid::random("BL")?);
    let body = serde_json::to_string(&bucket).unwrap_or_default();
    let record = door.verifier.create_record(name, Some(limit.clone()), body).await?.ok_or(INTERVAL_TAKEN)?;
    if taken(&door, &call, &limit, bucket.interval, &record.name.id).await? {
        return Err(take_back(&door, &record, INTERVAL_TAKEN).await);
    }
    if full(&door, &call, KIND, &limit, MOST + 1).await? {
        return Err(take_back(&door, &record, MAX_BUCKETS).await);
    }
    let shown = show(&door, &call, &record).ok_or_else(|| call.not_found())?;
    Ok(answer::response(answer::json(StatusCode::CREATED, &shown)))
}

pub(super) async fn list(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let (_, limit) = named(&door, &call).await?;
    let show = |record: &_| show(&door, &call, record);
    paging::records(&door, &call, (KIND, Some(&limit.name.id), "buckets"), None, show).await
}

/// As it is written.
#[derive(Debug, Serialize)]
pub(super) struct BucketBody {
    sid: String,
    rate_limit_sid: String,
    service_sid: String,
    account_sid: String,
    max: u32,
    interval: u32,
    date_created: Seconds,
    date_updated: Seconds,
    url: String,
}

pub(super) fn show(door: &Door, call: &Call, record: &Record) -> Option<BucketBody> {
    let Bucket { max, interval } = serde_json::from_str(&record.body).ok()?;
    let (service_sid, rate_limit_sid) = (call.param("service").to_owned(), record.parent.clone()?);
    let sid = record.name.id.clone();
    Some(BucketBody {
        url: url(door, &format!("/v2/Services/{service_sid}/RateLimits/{rate_limit_sid}/Buckets/{sid}")),
        sid,
        rate_limit_sid,
        service_sid,
        account_sid: call.account.sid.clone(),
        max,
        interval,
        date_created: Seconds::floor(record.created_at),
        date_updated: Seconds::floor(record.updated_at),
    })
}
