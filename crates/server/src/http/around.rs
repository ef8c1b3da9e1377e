//! What is around every request: its id, its span, its metrics, a limit of time, a net for panics, the headers of every answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{CACHE_CONTROL, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::Instrument as _;

use super::problem::Problem;
use super::request_id::{self, X_REQUEST_ID};
use super::router::refuse;
use crate::api::camara;
use crate::service::{Door, Shared};

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// The route of what matches none, so that a scanner's paths are one label and not a million.
const NO_ROUTE: &str = "none";

/// Paths that answer also while the server is being shut down: those who ask there want to know that it is.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Wraps one request.
pub async fn around(State(door): State<Shared>, request: Request, next: Next) -> Response {
    let started = tokio::time::Instant::now();
    let id = request_id::of(request.headers());
    let method = name(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    let is_camara = camara::is_of(door.settings.camara.as_ref(), request.uri().path());
    let correlator = is_camara.then(|| camara::correlator(request.headers())).flatten();
    // The path, query and headers hold destinations and keys; the template holds none.
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), method, route);
    let _in_flight = door.metrics.begin_request();
    let mut response = if door.is_closing() && !PROBES.contains(&route) {
        refuse(&door, route, Problem::shutting_down())
    } else {
        answer(&door, route, request, next).instrument(span.clone()).await
    };
    let headers = response.headers_mut();
    headers.entry(CACHE_CONTROL).or_insert(NO_STORE);
    headers.entry(X_CONTENT_TYPE_OPTIONS).or_insert(NOSNIFF);
    headers.insert(X_REQUEST_ID, id);
    if let Some(correlator) = correlator {
        headers.insert(camara::X_CORRELATOR, correlator);
    }
    let (status, took) = (response.status().as_u16(), started.elapsed());
    door.metrics.request_done(method, route, status, took);
    span.in_scope(|| tracing::info!(status, ms = took.as_secs_f64() * 1000.0, "answered"));
    response
}

async fn answer(door: &Door, route: &str, request: Request, next: Next) -> Response {
    let mut work = pin!(next.run(request));
    // A panic is one request's misfortune, not the process's.
    let caught = std::future::poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(panic)),
    });
    match tokio::time::timeout(door.settings.bounds.answer_within, caught).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a request panicked");
            refuse(door, route, Problem::internal())
        }
        Err(_) => {
            tracing::error!("a request was not answered in time");
            refuse(door, route, Problem::store_unavailable())
        }
    }
}

/// Methods that nobody knows are one label.
fn name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
