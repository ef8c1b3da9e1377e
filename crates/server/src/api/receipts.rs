//! `/v1/receipts/{provider}`: a gateway reports what became of a message.

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use countersign::core::verification::DeliveryStatus;
use countersign_providers::{ReceiptRefused, ReceiptRequest, ReceiptStatus};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::body;
use crate::http::problem::{Kind, Problem};
use crate::service::{Door, Shared};

/// Its paths. Some gateways can sign nothing and send a secret in the path instead, and some report by GET.
pub(crate) fn router() -> OpenApiRouter<Shared> {
    let with_secret = get(receipt_with_secret).head(head).post(receipt_with_secret);
    OpenApiRouter::new().routes(routes!(receipt, receipt_by_get)).route("/v1/receipts/{provider}/{secret}", with_secret)
}

/// Report a delivery
///
/// Authenticated by the provider's own rule: Standard Webhooks headers for `webhook`, or a secret behind the provider's name in the
/// path. Late, repeated and out-of-order reports are harmless, and one about a message that is not known is taken as well.
#[utoipa::path(
    post, path = "/v1/receipts/{provider}", tag = "receipts", operation_id = "reportDelivery",
    params(
        ("provider" = String, Path, description = "The provider's name in the configuration", example = "gateway"),
        ("webhook-id" = Option<String>, Header, description = "Standard Webhooks: the report's id", example = "msg_1"),
        ("webhook-timestamp" = Option<String>, Header, description = "Standard Webhooks: seconds since the epoch", example = "1795341600"),
        ("webhook-signature" = Option<String>, Header, description = "Standard Webhooks: `v1,…`", example = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ),
    request_body(content = serde_json::Value, description = "The provider's report; that of `webhook` is the example",
        example = json!({"id": "dl_0a1b2c3d4e5f60718293a4b5c6d7e8f9", "status": "delivered", "error": null})),
    responses((status = 204, description = "Taken")),
)]
pub(super) async fn receipt(State(door): State<Shared>, provider: Path<String>, request: Request) -> Response {
    answer(take(&door, &provider.0, None, request).await)
}

/// Report a delivery by GET
///
/// For gateways that call so: the report is the query.
#[utoipa::path(
    get, path = "/v1/receipts/{provider}", tag = "receipts", operation_id = "reportDeliveryByGet",
    params(("provider" = String, Path, description = "The provider's name in the configuration", example = "gateway")),
    responses((status = 204, description = "Taken")),
)]
pub(super) async fn receipt_by_get(State(door): State<Shared>, provider: Path<String>, request: Request) -> Response {
    answer(take(&door, &provider.0, None, request).await)
}

async fn receipt_with_secret(State(door): State<Shared>, path: Path<(String, String)>, request: Request) -> Response {
    let Path((provider, secret)) = path;
    answer(take(&door, &provider, Some(&secret), request).await)
}

/// A HEAD asks and must not report.
async fn head() -> StatusCode {
    StatusCode::NO_CONTENT
}

fn answer(taken: Result<(), Problem>) -> Response {
    match taken {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn take(door: &Door, provider: &str, path_secret: Option<&str>, request: Request) -> Result<(), Problem> {
    let reader = door
        .receipts
        .get(provider)
        .ok_or_else(|| Problem::new(Kind::NotFound, "no provider of this name reports here"))?;
    if request.method() == Method::HEAD {
        return Ok(());
    }
    let (parts, body) = request.into_parts();
    let body = match parts.method {
        Method::GET => Bytes::copy_from_slice(parts.uri.query().unwrap_or_default().as_bytes()),
        _ => body::read(&parts.headers, body, &door.settings.bounds).await?,
    };
    let now = door.verifier.now().as_secs();
    let report = ReceiptRequest { headers: &parts.headers, body: &body, path_secret, now };
    let receipt = reader.read(&report).map_err(|refused| refuse(provider, refused))?;
    let status = match receipt.status {
        ReceiptStatus::Accepted => DeliveryStatus::Accepted,
        ReceiptStatus::Delivered => DeliveryStatus::Delivered,
        ReceiptStatus::Undelivered => DeliveryStatus::Undelivered,
        ReceiptStatus::Failed => DeliveryStatus::Failed,
    };
    let known = door.verifier.receipt(provider, &receipt.reference, status, receipt.error).await;
    let known = known.map_err(|broken| Problem::from_broken(&broken))?;
    tracing::debug!(provider, status = status.as_str(), known, "a receipt");
    Ok(())
}

fn refuse(provider: &str, refused: ReceiptRefused) -> Problem {
    tracing::warn!(provider, reason = %refused, "a receipt was refused");
    if refused.is_unauthenticated() {
        Problem::new(Kind::Unauthorized, "this report is not signed as the provider's are")
    } else {
        Problem::new(Kind::InvalidRequest, refused.to_string())
    }
}
