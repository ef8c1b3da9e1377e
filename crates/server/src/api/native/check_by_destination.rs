//! `POST /v1/verifications/check`: a code is offered by who only knows the destination.

use axum::extract::State;
use axum::response::Response;
use countersign::CheckRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::check::{read_code, with_client};
use super::client::Client;
use super::object::{self, CheckedObject};
use crate::http::call::Call;
use crate::service::Shared;

/// The candidate, and for whom.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"to": "+255694230173", "code": "042137"}))]
#[serde(deny_unknown_fields)]
pub struct CheckByDestinationBody {
    /// The destination that the code was sent to.
    pub to: String,
    /// What the proof is for. `login` if not said.
    #[schema(nullable = false, min_length = 1, max_length = 32, pattern = "^[A-Za-z0-9_-]{1,32}$", default = "login")]
    pub purpose: Option<String>,
    /// What the person typed: 4 to 10 ASCII digits, as a string. Anything else counts as nothing.
    #[schema(pattern = "^[0-9]{4,10}$")]
    pub code: String,
    /// The end user, for the `client` limits.
    #[schema(nullable = false)]
    pub client: Option<Client>,
}

/// Check a code by destination
///
/// Against the latest verification of the destination and purpose. Wrong guesses here are counted apart from those by id, so that a
/// stranger who hammers a number cannot lock its owner out. With nothing pending the result is `not_found`, after the same work.
#[utoipa::path(
    post, path = "/v1/verifications/check", tag = "verifications", operation_id = "checkByDestination", security(("api_key" = [])),
    request_body(content = CheckByDestinationBody),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters: the same key and request give the first answer again for 24 h", example = "4f1d0a6e"),
    ),
    responses((status = 200, description = "Whether it was the code", body = CheckedObject, example = json!({"valid": false, "result": "not_found"}))),
)]
pub(super) async fn check_by_destination(State(door): State<Shared>, call: Call) -> Response {
    let work = |door: Shared, call: Call| async move {
        let mut fields = call.fields(&["to", "purpose", "code", "client"])?;
        let to = fields.required_string("to")?;
        let mut request = CheckRequest::by_destination(to, &read_code(&mut fields)?).application(call.application());
        if let Some(purpose) = fields.string("purpose")? {
            request = request.purpose(purpose);
        }
        let checked = door.verifier.check(with_client(request, &mut fields)?).await;
        let checked = checked.map_err(|no| door.problem(&call.application(), no))?;
        Ok(object::checked(&door, &checked))
    };
    call.answer(door, work).await
}
