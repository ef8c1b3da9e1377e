//! `POST /v1/verifications/{id}/resend`: the same code is sent again.

use axum::extract::State;
use axum::response::Response;
use countersign::SendRequest;
use serde::Deserialize;
use utoipa::ToSchema;

use super::client::{self, Client};
use super::object::VerificationObject;
use super::send::{answer, read_channel, seeded};
use crate::http::auth::Id;
use crate::http::call::Call;
use crate::service::Shared;

/// How to send it again.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"channel": "voice"}))]
#[serde(deny_unknown_fields)]
pub struct ResendBody {
    /// Another channel; the same one if not said.
    #[schema(value_type = super::object::ChannelWord, inline, required = false)]
    pub channel: Option<String>,
    /// The end user, for the `client` limits.
    #[schema(nullable = false)]
    pub client: Option<Client>,
}

/// Send a code again
///
/// The same code. `sends` grows by one; the lifetime is not extended and `checks_left` not restored.
#[utoipa::path(
    post, path = "/v1/verifications/{id}/resend", tag = "verifications", operation_id = "resendVerification", security(("api_key" = [])),
    request_body(content = Option<ResendBody>),
    params(
        ("id" = String, Path, description = "The verification's id", example = "vf_5f0c1d2e3f405162738495a6b7c8d9e0"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` holds the answer up to N seconds (60 at most) for the provider's word", example = "wait=10"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters: the same key and request give the first answer again for 24 h", example = "4f1d0a6e"),
    ),
    responses((status = 200, description = "It was sent again", body = VerificationObject)),
)]
pub(super) async fn resend(State(door): State<Shared>, id: Id, call: Call) -> Response {
    let work = move |door: Shared, call: Call| async move {
        let mut fields = call.fields(&["channel", "client"])?;
        let mut request = SendRequest::again(id.known()?).application(call.application());
        if let Some(channel) = read_channel(&mut fields)? {
            request = request.channel(channel);
        }
        if let Some(client) = client::read(&mut fields)? {
            request = request.client(client);
        }
        let sending =
            door.verifier.send(seeded(request, &call)).await.map_err(|no| door.problem(&call.application(), no))?;
        answer(&door, sending, call.wait).await
    };
    call.answer(door, work).await
}
