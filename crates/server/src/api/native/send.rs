//! `POST /v1/verifications`: a code is sent.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::Response;
use countersign::core::channel::Channel;
use countersign::{SendRequest, Sending};
use serde::Deserialize;
use utoipa::ToSchema;

use super::client::{self, Client};
use super::object::VerificationObject;
use crate::http::answer::{self, Answer};
use crate::http::call::Call;
use crate::http::json::Fields;
use crate::http::prefer::PREFERENCE_APPLIED;
use crate::http::problem::{Kind, Problem, ProblemBody};
use crate::service::{Door, Shared};

/// What to send.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"to": "+255694230173", "purpose": "login"}))]
#[serde(deny_unknown_fields)]
pub struct SendBody {
    /// A phone number in any usual writing, or an email address.
    pub to: String,
    /// How the message is to travel; the destination's own way if not said.
    #[schema(value_type = super::object::ChannelWord, inline, required = false)]
    pub channel: Option<String>,
    /// What the proof is for: lower-cased, `[a-z0-9_-]`. `login` if not said.
    #[schema(nullable = false, min_length = 1, max_length = 32, pattern = "^[A-Za-z0-9_-]{1,32}$", default = "login")]
    pub purpose: Option<String>,
    /// BCP 47 tag of the language wanted.
    #[schema(nullable = false, max_length = 35)]
    pub locale: Option<String>,
    /// Digits of the code; the policy's number if not said.
    #[schema(nullable = false, minimum = 4, maximum = 10)]
    pub code_length: Option<u8>,
    /// How long the code works, in seconds; the policy's time if not said.
    #[schema(nullable = false, minimum = 30, maximum = 86400)]
    pub ttl: Option<u32>,
    /// The name of a configured template.
    #[schema(nullable = false)]
    pub template: Option<String>,
    /// The code to send, where the policy allows it.
    #[schema(nullable = false, pattern = "^[0-9]{4,10}$")]
    pub custom_code: Option<String>,
    /// The end user, for the `client` limits.
    #[schema(nullable = false)]
    pub client: Option<Client>,
    /// The application's own notes: at most 10 strings of at most 128 characters.
    #[schema(nullable = false)]
    pub metadata: Option<BTreeMap<String, String>>,
}

const FIELDS: [&str; 10] =
    ["to", "channel", "purpose", "locale", "code_length", "ttl", "template", "custom_code", "client", "metadata"];

/// Send a code
///
/// Begins a verification. If one is pending for the same application, destination and purpose, that one is sent again with the same code.
#[utoipa::path(
    post, path = "/v1/verifications", tag = "verifications", operation_id = "sendVerification", security(("api_key" = [])),
    request_body(content = SendBody),
    params(
        ("Prefer" = Option<String>, Header, description = "`wait=N` holds the answer up to N seconds (60 at most) for the provider's word", example = "wait=10"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters: the same key and request give the first answer again for 24 h", example = "4f1d0a6e"),
    ),
    responses(
        (status = 201, description = "A verification began", body = VerificationObject, headers(("Location" = String, description = "Its path"))),
        (status = 200, description = "The pending verification was sent again", body = VerificationObject),
        (status = 502, description = "`delivery_failed`, only with `Prefer: wait`", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub(super) async fn send(State(door): State<Shared>, call: Call) -> Response {
    let work = |door: Shared, call: Call| async move {
        let request = read(&mut call.fields(&FIELDS)?)?.application(call.application());
        let sending =
            door.verifier.send(seeded(request, &call)).await.map_err(|no| door.problem(&call.application(), no))?;
        answer(&door, sending, call.wait).await
    };
    call.answer(door, work).await
}

fn read(fields: &mut Fields) -> Result<SendRequest, Problem> {
    let mut request = SendRequest::to(fields.required_string("to")?);
    if let Some(channel) = read_channel(fields)? {
        request = request.channel(channel);
    }
    if let Some(purpose) = fields.string("purpose")? {
        request = request.purpose(purpose);
    }
    if let Some(locale) = fields.string("locale")? {
        request = request.locale(locale);
    }
    if let Some(digits) = fields.integer("code_length")? {
        // What does not fit is as wrong as 255, which the policy refuses.
        request = request.code_length(u8::try_from(digits).unwrap_or(u8::MAX));
    }
    if let Some(seconds) = fields.integer("ttl")? {
        request = request.ttl(Duration::from_secs(seconds));
    }
    if let Some(template) = fields.string("template")? {
        request = request.template(template);
    }
    if let Some(code) = fields.string("custom_code")? {
        request = request.custom_code(&code);
    }
    if let Some(client) = client::read(fields)? {
        request = request.client(client);
    }
    Ok(request.metadata(fields.strings("metadata")?))
}

/// `channel`; a word that names none is refused as a channel without a provider is.
pub(super) fn read_channel(fields: &mut Fields) -> Result<Option<Channel>, Problem> {
    let Some(word) = fields.string("channel")? else { return Ok(None) };
    let unknown = |error: countersign::core::channel::UnknownChannel| Problem {
        param: Some("channel".into()),
        ..Problem::new(Kind::UnsupportedChannel, error.to_string())
    };
    word.parse().map(Some).map_err(unknown)
}

/// Under an idempotency key the same request after a crash decides the same.
pub(super) fn seeded(request: SendRequest, call: &Call) -> SendRequest {
    match call.seed {
        Some(seed) => request.seed(seed),
        None => request,
    }
}

/// The answer to a send: at once, or with the provider's word if the client would wait for it.
pub(super) async fn answer(door: &Door, sending: Sending, wait: Option<Duration>) -> Result<Answer, Problem> {
    let (begun, id) = (sending.sent.begun, sending.sent.verification.id);
    let status = if begun { StatusCode::CREATED } else { StatusCode::OK };
    let mut answer = match wait {
        None => {
            let sent = &sending.sent;
            VerificationObject::answer(status, &sent.verification, &sent.deliveries, door.verifier.now())
        }
        Some(patience) => {
            let application = sending.sent.verification.application.clone();
            let waited = sending.wait(patience).await.map_err(|no| door.problem(&application, no))?;
            let (word, verification, deliveries) = waited;
            if word.is_no() {
                let problem =
                    Problem::new(Kind::DeliveryFailed, "no provider took the message; its deliveries say why");
                return Err(Problem { verification: Some(id), ..problem });
            }
            VerificationObject::answer(status, &verification, &deliveries, door.verifier.now())
        }
    };
    let headers = answer.headers_mut();
    if let Some(patience) = wait {
        headers.insert(PREFERENCE_APPLIED, answer::value(format!("wait={}", patience.as_secs())));
    }
    if begun {
        headers.insert(LOCATION, answer::value(format!("/v1/verifications/{id}")));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use utoipa::PartialSchema as _;

    use super::*;

    #[test]
    fn the_document_lists_the_fields_that_are_read() {
        let schema = serde_json::to_value(SendBody::schema()).unwrap();
        let documented: std::collections::BTreeSet<_> =
            schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(documented, FIELDS.into());
    }
}
