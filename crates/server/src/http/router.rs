//! Which path leads where, and the document that says so.

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, options};
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

use super::around::around;
use super::problem::{Kind, Problem};
use crate::api::{camara, native, openapi, ops, receipts, simple, twilio};
use crate::pages;
use crate::service::{Door, Shared};

/// The whole service.
pub fn build(door: Shared) -> Router {
    let (mut router, mut document) = documented().split_for_parts();
    let simple = door.simple.as_ref().map(|simple| simple::document(&simple.prefix));
    let camara = door.settings.camara.as_ref();
    openapi::describe(&mut document, simple, camara.map(|camara| camara::document(&camara.prefix)));
    openapi::served_at(&mut document, &door.settings.public_url);
    router = router.merge(pages::router(&door, openapi::bytes(&document)));
    if let Some(simple) = &door.simple {
        router = add_simple(router, &simple.prefix);
    }
    if door.settings.twilio.is_some() {
        router = router.merge(twilio::router());
    }
    if let Some(camara) = camara {
        router = router.merge(camara::router(camara));
    }
    router
        .fallback(no_such_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Shared::clone(&door), around))
        .with_state(door)
}

/// The calls that the document describes with their paths; the simple dialect's paths depend on the configuration.
pub(crate) fn documented() -> OpenApiRouter<Shared> {
    native::router().merge(receipts::router()).merge(ops::router())
}

/// The document without a server, for the command line and for golden files.
pub(crate) fn document() -> OpenApi {
    let mut document = documented().into_openapi();
    let (simple, camara) = (simple::document(simple::DEFAULT_PREFIX), camara::document(camara::DEFAULT_PREFIX));
    openapi::describe(&mut document, Some(simple), Some(camara));
    document
}

fn add_simple(router: Router<Shared>, prefix: &str) -> Router<Shared> {
    simple::Endpoint::ALL.into_iter().fold(router, |router, endpoint| {
        // With and without the slash; one of each alone would answer the other with a redirect, which loses bodies.
        ["", "/"].into_iter().fold(router, |router, slash| {
            let path = format!("{prefix}/{}{slash}", endpoint.name());
            router.route(&path, endpoint.handler().merge(options(simple::preflight)))
        })
    })
}

async fn no_such_path(State(door): State<Shared>, uri: Uri) -> Response {
    if door.settings.twilio.is_some() && twilio::is_of(uri.path()) {
        return twilio::No::not_found(uri.path()).into_response();
    }
    let problem = Problem::new(Kind::NotFound, "there is no such path; /openapi.json lists them all");
    if camara::is_of(door.settings.camara.as_ref(), uri.path()) {
        return camara::No::from_problem(&problem).into_response();
    }
    problem.into_response()
}

async fn wrong_method(State(door): State<Shared>, uri: Uri) -> Response {
    let problem = Problem::new(Kind::MethodNotAllowed, "see the header `Allow`");
    refuse(&door, uri.path(), problem)
}

/// Says it in the words of the dialect that was spoken.
pub(crate) fn refuse(door: &Door, path: &str, problem: Problem) -> Response {
    if door.settings.twilio.is_some() && twilio::is_of(path) {
        return twilio::No::from_problem(&problem).into_response();
    }
    if camara::is_of(door.settings.camara.as_ref(), path) {
        return camara::No::from_problem(&problem).into_response();
    }
    match simple::Endpoint::of(door, path) {
        Some(endpoint) => simple::No::from_problem(&problem).response(endpoint),
        None => problem.into_response(),
    }
}

/// A file of the pages, under its path.
pub(crate) fn asset(router: Router<Shared>, path: &str, asset: super::assets::Asset) -> Router<Shared> {
    let asset = std::sync::Arc::new(asset);
    router.route(path, get(move |headers: axum::http::HeaderMap| async move { asset.response(&headers) }))
}
