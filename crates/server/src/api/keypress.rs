//! `/v1/receipts/{provider}/{call}/{ticket}`: a gateway says that a key was pressed on a call, and asks for the code to say.
//!
//! A stranger who learns such an address can do nothing with it: the gateway signs its request, as it signs its reports. Nor can who
//! holds another call's: the ticket is of one delivery, and nobody can make it without the key ring. What was answered once is not
//! answered again. The answer holds the code, so it is logged nowhere.

use axum::extract::{Path, Request, State};
use axum::http::Method;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use countersign::core::id::DeliveryId;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::receipts::{arrived, refuse};
use crate::http::problem::{Kind, Problem};
use crate::service::{Door, Shared};

/// Its paths: gateways call by POST, unless they are set up to call by GET.
pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(keypress, keypress_by_get))
}

/// Ask for the code of a call
///
/// For a voice provider with `keypress = "on"`: it calls this address, which it was told with the call, once a person has pressed a
/// key, and is answered with what to say, in its own markup. Authenticated by its own signature, as its reports are. Answered once for
/// a call, while the verification is pending; after that, and where no key was pressed, the answer ends the call.
#[utoipa::path(
    post, path = "/v1/receipts/{provider}/{call}/{ticket}", tag = "receipts", operation_id = "askForCode",
    params(
        ("provider" = String, Path, description = "The provider's name in the configuration", example = "call"),
        ("call" = String, Path, description = "The delivery that the call carries", example = "dl_0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
        ("ticket" = String, Path, description = "A word for this delivery alone", example = "00112233445566778899aabbccddeeff"),
    ),
    request_body(content = serde_json::Value, description = "What the provider says of the key", example = json!({"Digits": "1"})),
    responses((status = 200, description = "What to say", content_type = "application/xml", body = String)),
)]
async fn keypress(State(door): State<Shared>, path: Path<(String, String, String)>, request: Request) -> Response {
    let Path((provider, call, ticket)) = path;
    answer(&door, &provider, &call, ticket, request).await.unwrap_or_else(|problem| problem.into_response())
}

/// Ask for the code of a call by GET
///
/// For gateways that call so: what is said of the key is the query.
#[utoipa::path(
    get, path = "/v1/receipts/{provider}/{call}/{ticket}", tag = "receipts", operation_id = "askForCodeByGet",
    params(
        ("provider" = String, Path, description = "The provider's name in the configuration", example = "call"),
        ("call" = String, Path, description = "The delivery that the call carries", example = "dl_0a1b2c3d4e5f60718293a4b5c6d7e8f9"),
        ("ticket" = String, Path, description = "A word for this delivery alone", example = "00112233445566778899aabbccddeeff"),
    ),
    responses((status = 200, description = "What to say", content_type = "application/xml", body = String)),
)]
async fn keypress_by_get(
    State(door): State<Shared>,
    path: Path<(String, String, String)>,
    request: Request,
) -> Response {
    let Path((provider, call, ticket)) = path;
    answer(&door, &provider, &call, ticket, request).await.unwrap_or_else(|problem| problem.into_response())
}

async fn answer(
    door: &Door,
    provider: &str,
    call: &str,
    ticket: String,
    request: Request,
) -> Result<Response, Problem> {
    let nobody = || Problem::new(Kind::NotFound, "no provider of this name reports here");
    let reader = door.receipts.get(provider).ok_or_else(nobody)?;
    let asked = arrived(door, request).await?;
    let tail = format!("/{call}/{ticket}");
    // A HEAD asks and is told nothing.
    let pressed = asked.method != Method::HEAD
        && reader.key_was_pressed(&asked.report(None), &tail).map_err(|refused| refuse(provider, refused))?;
    let message = match call.parse::<DeliveryId>() {
        Ok(delivery) if pressed => {
            door.verifier.hear(provider, delivery, ticket).await.map_err(|broken| Problem::from_broken(&broken))?
        }
        _ => None,
    };
    tracing::debug!(provider, pressed, said = message.is_some(), "a call asked for its code");
    let speech = reader.speech(message.as_ref()).ok_or_else(nobody)?;
    Ok(([(CONTENT_TYPE, "application/xml")], speech.as_bytes().to_vec()).into_response())
}
