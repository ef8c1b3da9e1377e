//! `/v1/receipts/{provider}`: a gateway reports what became of a message.

use axum::body::Bytes;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use countersign::core::verification::DeliveryStatus;
use countersign_providers::{ReceiptRefused, ReceiptRequest};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::body;
use crate::http::problem::{Kind, Problem};
use crate::service::{Door, Shared};

/// Its paths. Some gateways can sign nothing and send a secret in the path instead, and some report by GET.
pub(crate) fn router() -> OpenApiRouter<Shared> {
    let with_secret = get(receipt_with_secret).head(head).post(receipt_with_secret);
    OpenApiRouter::new()
        .routes(routes!(receipt, receipt_by_get))
        .route("/v1/receipts/{provider}/{secret}", with_secret)
        .merge(super::keypress::router())
}

/// Report a delivery
///
/// Authenticated by the provider's own rule: Standard Webhooks headers for `webhook`, the gateway's own signature where it has one
/// that covers the report, else a secret behind the provider's name in the path. One call may hold several reports. Late, repeated and out-of-order reports are harmless, and one about a message that is not known is taken as well.
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

fn answer(taken: Result<Option<String>, Problem>) -> Response {
    match taken {
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        // The gateway asked whether this address is ours: the text proves it, and is no page.
        Ok(Some(text)) => {
            ([(CONTENT_TYPE, if text.starts_with('{') { "application/json" } else { "text/plain" })], text)
                .into_response()
        }
        Err(problem) => problem.into_response(),
    }
}

async fn take(
    door: &Door,
    provider: &str,
    path_secret: Option<&str>,
    request: Request,
) -> Result<Option<String>, Problem> {
    let reader = door
        .receipts
        .get(provider)
        .ok_or_else(|| Problem::new(Kind::NotFound, "no provider of this name reports here"))?;
    if request.method() == Method::HEAD {
        return Ok(None);
    }
    let arrived = arrived(door, request).await?;
    let report = arrived.report(path_secret);
    if let Some(text) = reader.handshake(&report).map_err(|refused| refuse(provider, refused))? {
        return Ok(Some(text));
    }
    for receipt in reader.read(&report).map_err(|refused| refuse(provider, refused))? {
        let status = DeliveryStatus::from(receipt.status);
        let known = door.verifier.receipt(provider, &receipt.reference, status, receipt.error).await;
        let known = known.map_err(|broken| Problem::from_broken(&broken))?;
        tracing::debug!(provider, status = status.as_str(), known, "a receipt");
    }
    Ok(reader.reply().map(str::to_owned))
}

/// What a gateway sent: by a GET, its query is what it says.
pub(super) struct Arrived {
    pub method: Method,
    headers: HeaderMap,
    body: Bytes,
    now: i64,
}

pub(super) async fn arrived(door: &Door, request: Request) -> Result<Arrived, Problem> {
    let (parts, body) = request.into_parts();
    let body = match parts.method {
        Method::GET => Bytes::copy_from_slice(parts.uri.query().unwrap_or_default().as_bytes()),
        _ => body::read(&parts.headers, body, &door.settings.bounds).await?,
    };
    Ok(Arrived { method: parts.method, headers: parts.headers, body, now: door.verifier.now().as_secs() })
}

impl Arrived {
    pub(super) fn report<'a>(&'a self, path_secret: Option<&'a str>) -> ReceiptRequest<'a> {
        let by_get = self.method == Method::GET;
        ReceiptRequest { headers: &self.headers, body: &self.body, by_get, path_secret, now: self.now }
    }
}

pub(super) fn refuse(provider: &str, refused: ReceiptRefused) -> Problem {
    tracing::warn!(provider, reason = %refused, "a receipt was refused");
    if refused.is_unauthenticated() {
        Problem::new(Kind::Unauthorized, "this report is not signed as the provider's are")
    } else {
        Problem::new(Kind::InvalidRequest, refused.to_string())
    }
}
