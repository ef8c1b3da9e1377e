//! For those who run it: health, readiness, metrics, the keys of the tokens.

use axum::extract::State;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::http::answer;
use crate::http::problem::{Problem, ProblemBody};
use crate::metrics;
use crate::service::Shared;

/// Its paths.
pub(crate) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
        .routes(routes!(metrics_page))
        .routes(routes!(jwks))
}

/// Is the process alive?
///
/// Asks nothing of the store.
#[utoipa::path(
    get, path = "/healthz", tag = "operation", operation_id = "health",
    responses((status = 200, description = "It is", content_type = "application/json", body = serde_json::Value, example = json!({"status": "ok"}))),
)]
async fn healthz() -> Response {
    ok()
}

/// Can it take requests?
///
/// 503 while the store is unreachable, and from the moment that it is being shut down.
#[utoipa::path(
    get, path = "/readyz", tag = "operation", operation_id = "readiness",
    responses(
        (status = 200, description = "It can", content_type = "application/json", body = serde_json::Value, example = json!({"status": "ok"})),
        (status = 503, description = "It cannot", body = ProblemBody, content_type = "application/problem+json"),
    ),
)]
async fn readyz(State(door): State<Shared>) -> Response {
    if door.is_closing() {
        Problem::shutting_down().into_response()
    } else if door.store_answers().await {
        ok()
    } else {
        Problem::store_unavailable().into_response()
    }
}

fn ok() -> Response {
    answer::response(answer::with_body(StatusCode::OK, answer::JSON, "{\"status\":\"ok\"}".into()))
}

/// Metrics
///
/// Counts and times in the OpenMetrics text format. No label holds a destination.
#[utoipa::path(
    get, path = "/metrics", tag = "operation", operation_id = "metrics",
    responses((status = 200, description = "The page", content_type = "application/openmetrics-text", body = String, example = "countersign_sends_total{application=\"default\",channel=\"sms\",kind=\"begun\"} 1")),
)]
async fn metrics_page(State(door): State<Shared>) -> Response {
    let page = door.metrics.render(door.verifier.carrying());
    answer::response(answer::with_body(StatusCode::OK, HeaderValue::from_static(metrics::CONTENT_TYPE), page.into()))
}

/// The keys of the tokens
///
/// A JSON Web Key Set of public keys: the one that signs and, after a rotation, the ones before it.
#[utoipa::path(
    get, path = "/.well-known/jwks.json", tag = "operation", operation_id = "jwks",
    responses((status = 200, description = "The keys", content_type = "application/json", body = serde_json::Value,
        example = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "2026-11", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}))),
)]
async fn jwks(State(door): State<Shared>) -> Response {
    let mut answer = answer::with_body(StatusCode::OK, answer::JSON, door.tokens.jwks());
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    answer::response(answer)
}
