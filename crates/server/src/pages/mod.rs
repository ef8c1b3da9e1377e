//! Pages for people: the inbox and the API's document. All of it is part of the program; nothing is loaded from elsewhere.

use axum::Router;
use axum::body::Bytes;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::http::assets::Asset;
use crate::http::router::asset;
use crate::service::{Door, Shared};

pub mod inbox;
mod price;

/// What the inbox page may do: its own script and style, and asking its own server.
const INBOX_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                            font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The viewer of the document writes its styles into the page.
const DOCS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; \
                           img-src 'self' data:; font-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! file {
    ($content_type:expr, $path:literal) => {
        Asset::new($content_type, include_bytes!(concat!("../../assets/", $path)).as_slice())
    };
}

/// The paths of the pages. In production mode, or without an inbox, there is no inbox: its paths are unknown ones.
pub(crate) fn router(door: &Door, document: Bytes) -> Router<Shared> {
    let mut router = Router::new();
    for (path, file) in [
        ("/openapi.json", Asset::new("application/json", document)),
        ("/docs", file!(HTML, "docs/index.html").with_policy(DOCS_POLICY)),
        ("/docs/docs.css", file!(CSS, "docs/docs.css")),
        ("/docs/docs.js", file!(SCRIPT, "docs/docs.js")),
        ("/docs/vendor/rapidoc.js", file!(SCRIPT, "docs/vendor/rapidoc.js")),
        ("/docs/vendor/LICENSE", file!(TEXT, "docs/vendor/LICENSE")),
        ("/favicon.svg", file!("image/svg+xml", "favicon.svg")),
    ] {
        router = asset(router, path, file);
    }
    let start = if door.inbox.is_some() { "/inbox" } else { "/docs" };
    if !door.settings.production {
        router = router.route("/", get(move || async move { to(start) }));
    }
    if door.inbox.is_some() {
        for (path, file) in [
            ("/inbox", file!(HTML, "inbox/index.html").with_policy(INBOX_POLICY)),
            ("/inbox/inbox.css", file!(CSS, "inbox/inbox.css")),
            ("/inbox/inbox.js", file!(SCRIPT, "inbox/inbox.js")),
        ] {
            router = asset(router, path, file);
        }
        router = router.route("/inbox.json", get(inbox::messages)).route("/inbox/events", get(inbox::events));
    }
    router
}

fn to(path: &'static str) -> Response {
    let mut response = StatusCode::FOUND.into_response();
    response.headers_mut().insert(LOCATION, HeaderValue::from_static(path));
    response
}
