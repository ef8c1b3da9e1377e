//! `GET /v1/verifications`: verifications, newest first.

use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::Verifier;
use countersign::core::destination::Destination;
use countersign::core::id::ApplicationName;
use countersign::core::refusal::Refusal;
use countersign::core::verification::Status;
use countersign::store::ListFilter;
use serde::Serialize;
use utoipa::ToSchema;

use super::object::VerificationObject;
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::http::{answer, form};
use crate::service::Shared;

/// A page of verifications.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VerificationPage)]
pub struct PageObject<'a> {
    /// Newest first.
    data: Vec<VerificationObject<'a>>,
    /// What to pass as `cursor` for the next page; null on the last one.
    next_cursor: Option<String>,
}

/// List verifications
///
/// Newest first, a page at a time.
#[utoipa::path(
    get, path = "/v1/verifications", tag = "verifications", operation_id = "listVerifications", security(("api_key" = [])),
    params(
        ("to" = Option<String>, Query, description = "Only this destination", example = "+255694230173"),
        ("purpose" = Option<String>, Query, description = "Only this purpose", example = "login"),
        ("status" = Option<String>, Query, description = "Only this status", example = "pending"),
        ("limit" = Option<u32>, Query, description = "At most so many, 1 to 100; 20 if not said", minimum = 1, maximum = 100, example = 20),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before", example = "AQAAAAAAAABk"),
    ),
    responses((status = 200, description = "A page", body = PageObject, example = json!({"data": [], "next_cursor": null}))),
)]
pub(super) async fn list(
    State(door): State<Shared>,
    Caller(access): Caller,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let filter = read(&door.verifier, access.application, query.as_deref().unwrap_or_default())?;
    let page = door.verifier.list(&filter).await.map_err(|broken| Problem::from_broken(&broken))?;
    let object = |(verification, deliveries)| VerificationObject::new(verification, deliveries, filter.now);
    let data =
        page.rows.iter().map(|(verification, deliveries)| object((verification, deliveries.as_slice()))).collect();
    let body = PageObject { data, next_cursor: page.next.map(write_cursor) };
    Ok(answer::response(answer::json(StatusCode::OK, &body)))
}

fn read(verifier: &Verifier, application: ApplicationName, query: &str) -> Result<ListFilter, Problem> {
    let malformed = |_| Problem::new(crate::http::problem::Kind::InvalidRequest, "the query cannot be read");
    let mut pairs = form::pairs(query.as_bytes()).map_err(malformed)?;
    let mut take = |name: &'static str| -> Result<Option<String>, Problem> {
        let mut found: Vec<_> = pairs.extract_if(.., |(given, _)| given == name).map(|(_, value)| value).collect();
        match (found.pop(), found.is_empty()) {
            (value, true) => Ok(value),
            _ => Err(Problem::invalid(name, "must be given once")),
        }
    };
    let (to, purpose, status, limit, cursor) =
        (take("to")?, take("purpose")?, take("status")?, take("limit")?, take("cursor")?);
    if let Some((name, _)) = pairs.first() {
        let shown: String = name.chars().take(64).collect();
        return Err(Problem::invalid(shown, "unknown; the parameters are to, purpose, status, limit, cursor"));
    }
    let policy = verifier.application(&application).map_err(|broken| Problem::from_broken(&broken))?;
    let to = to.map(|to| Destination::parse(&to, policy.policy.default_country)).transpose();
    let purpose = purpose.map(|purpose| purpose.parse()).transpose();
    Ok(ListFilter {
        to: to.map_err(|no| Problem::from_refusal(&Refusal::InvalidDestination(no), None))?,
        purpose: purpose
            .map_err(|_| Problem::invalid("purpose", "must be 1 to 32 characters of a-z, 0-9, `_` and `-`"))?,
        status: status.map(|status| read_status(&status)).transpose()?,
        limit: limit.map_or(Ok(20), |limit| read_limit(&limit))?,
        after: cursor.map(|cursor| read_cursor(&cursor)).transpose()?,
        ..ListFilter::new(application, verifier.now())
    })
}

fn read_status(word: &str) -> Result<Status, Problem> {
    let words = || Status::ALL.map(Status::as_str).join(", ");
    Status::from_name(word).ok_or_else(|| Problem::invalid("status", format!("must be one of {}", words())))
}

fn read_limit(text: &str) -> Result<usize, Problem> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|limit| digits && (1..=100).contains(limit));
    limit.ok_or_else(|| Problem::invalid("limit", "must be 1 to 100"))
}

/// A cursor is a place in the list behind a version byte; clients see letters and take none of it apart.
fn write_cursor(place: u64) -> String {
    let mut bytes = [1; 9];
    bytes[1..].copy_from_slice(&place.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

fn read_cursor(text: &str) -> Result<u64, Problem> {
    let place = || match URL_SAFE_NO_PAD.decode(text).ok()?.split_first()? {
        (1, place) => Some(u64::from_be_bytes(place.try_into().ok()?)),
        _ => None,
    };
    place().ok_or_else(|| Problem::invalid("cursor", "must be the `next_cursor` of an earlier page"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back() {
        for place in [0, 1, u64::MAX] {
            assert_eq!(read_cursor(&write_cursor(place)), Ok(place));
        }
        for bad in ["", "1", "x", "AQ", "AgAAAAAAAAAA", "AQAAAAAAAAAAAA", "💥"] {
            assert!(read_cursor(bad).is_err(), "{bad}");
        }
    }
}
