//! `GET /v2/Attempts/Summary`: how many sends, and how many of them led to the proof.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::attempts::{Filter, attempts_of};
use super::call::{Call, url};
use super::no::No;
use crate::http::answer;
use crate::service::Shared;

/// Verifications that are read at once.
const CHUNK: usize = 500;

pub(super) async fn fetch(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let filter = Filter::read(&door, &call)?;
    let (mut total, mut converted, mut after) = (0_u64, 0_u64, None);
    loop {
        let page = door.verifier.list(&filter.list(&door, &call, after, CHUNK)).await?;
        for attempt in page.rows.iter().flat_map(attempts_of).filter(|attempt| filter.wants(attempt)) {
            total += 1;
            converted += u64::from(attempt.converted());
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let rate = if total == 0 { 0.0 } else { converted as f64 * 100.0 / total as f64 };
    let body = SummaryBody {
        total_attempts: total,
        total_converted: converted,
        total_unconverted: total - converted,
        conversion_rate_percentage: format!("{rate:.2}"),
        url: url(&door, &call.path),
    };
    Ok(answer::response(answer::json(StatusCode::OK, &body)))
}

/// As it is written.
#[derive(Debug, Serialize)]
struct SummaryBody {
    total_attempts: u64,
    total_converted: u64,
    total_unconverted: u64,
    conversion_rate_percentage: String,
    url: String,
}
