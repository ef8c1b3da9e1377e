//! `/v2/SafeList/Numbers`: numbers that an account vouches for. Their country is not asked about.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::core::destination::Destination;
use serde::Serialize;

use super::call::{Call, url};
use super::no::No;
use super::sid;
use crate::http::answer;
use crate::service::{Door, Shared};

/// The kind of its records; a record's id is the number.
pub(super) const KIND: &str = "safe_number";

pub(super) async fn create(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let number = read(&door, &call, call.form.required("PhoneNumber")?).ok_or_else(|| No::invalid("PhoneNumber"))?;
    // Twice is as good as once.
    door.verifier.create_record(call.record(KIND, number.as_str()), None, "{}".to_owned()).await?;
    Ok(answer::response(answer::json(StatusCode::CREATED, &show(&door, &call, number))))
}

/// A phone number as it is kept.
pub(super) fn read(door: &Door, call: &Call, text: &str) -> Option<String> {
    let application = door.verifier.application(call.application()).ok()?;
    match Destination::parse(text, application.policy.default_country) {
        Ok(to @ Destination::Phone(_)) => Some(to.reveal().to_owned()),
        _ => None,
    }
}

/// As it is written.
#[derive(Serialize)]
pub(super) struct SafeNumberBody {
    sid: String,
    phone_number: String,
    url: String,
}

pub(super) fn show(door: &Door, call: &Call, number: String) -> SafeNumberBody {
    SafeNumberBody {
        sid: sid::derived("GN", &["safe number", &call.account.sid, &number]),
        url: url(door, &format!("/v2/SafeList/Numbers/{number}")),
        phone_number: number,
    }
}
