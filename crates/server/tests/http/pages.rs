//! The inbox, the document's page.

use axum::http::Method;
use countersign::core::policy::Application;
use http_body_util::BodyExt as _;
use serde_json::json;
use tower::ServiceExt as _;

use crate::support::{App, Setup, TO, name};

async fn with_inbox(production: bool) -> App {
    let mut application = Application::new(name("default"), "inbox");
    application.limits.clear();
    let setup = Setup { application, inbox: true, ..Setup::default() };
    setup.settings(|settings| settings.production = production).build().await
}

#[tokio::test]
async fn the_inbox_shows_what_was_sent_newest_first() {
    let app = with_inbox(false).await;
    let wait =
        |to: &'static str| app.post("/v1/verifications").header("prefer", "wait=5").json(&json!({"to": to})).go();
    assert_eq!(app.ask(Method::GET, "/inbox.json").go().await.is(200), json!({"messages": []}));
    let sent = wait("+12025550143").await.is(201);
    app.advance(1);
    let sent2 = wait(TO).await.is(201);
    let messages = app.ask(Method::GET, "/inbox.json").go().await.is(200)["messages"].clone();
    assert_eq!(messages.as_array().unwrap().len(), 2);
    assert_eq!((&messages[0]["to"], &messages[0]["id"]), (&json!(TO), &sent2["deliveries"][0]["id"]));
    let text = messages[1]["text"].clone();
    assert_eq!(
        messages[1],
        json!({
            "id": sent["deliveries"][0]["id"], "to": "+12025550143", "channel": "sms", "text": text, "at": "2026-11-22T10:00:00Z",
            "application": "default", "locale": "en", "encoding": "gsm7", "units": text.as_str().unwrap().len(), "segments": 1, "country": "US", "price_class": "low"
        })
    );
    app.post("/v1/verifications").header("prefer", "wait=5").json(&json!({"to": "a@example.com"})).go().await.is(201);
    let mail = app.ask(Method::GET, "/inbox.json").go().await.is(200)["messages"][0].clone();
    assert_eq!((&mail["channel"], &mail["segments"], &mail["country"]), (&json!("email"), &json!(null), &json!(null)));
}

#[tokio::test]
async fn messages_are_streamed_as_they_come() {
    let app = with_inbox(false).await;
    let request = axum::http::Request::builder().uri("/inbox/events").body(axum::body::Body::empty()).unwrap();
    let response = app.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut events = response.into_body();
    app.post("/v1/verifications").header("prefer", "wait=5").json(&json!({"to": TO})).go().await.is(201);
    let frame = events.frame().await.unwrap().unwrap().into_data().unwrap();
    let event = String::from_utf8(frame.to_vec()).unwrap();
    let data: serde_json::Value = serde_json::from_str(event.strip_prefix("data: ").unwrap().trim()).unwrap();
    let listed = app.ask(Method::GET, "/inbox.json").go().await.is(200)["messages"][0].clone();
    assert_eq!(data, listed);
}

#[tokio::test]
async fn bug_f6_there_is_no_inbox_in_production_or_without_its_provider() {
    for app in [with_inbox(true).await, App::new().await] {
        for path in ["/inbox", "/inbox.json", "/inbox/events", "/inbox/inbox.js"] {
            app.ask(Method::GET, path).go().await.is_problem(404, "not_found");
        }
    }
    with_inbox(true).await.ask(Method::GET, "/").go().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn pages_load_nothing_from_elsewhere() {
    let app = with_inbox(false).await;
    let start = app.ask(Method::GET, "/").go().await;
    assert_eq!((start.status.as_u16(), start.header("location")), (302, "/inbox"));
    for (path, content_type) in [
        ("/inbox", "text/html"),
        ("/inbox/inbox.css", "text/css"),
        ("/inbox/inbox.js", "text/javascript"),
        ("/docs", "text/html"),
        ("/docs/docs.css", "text/css"),
        ("/docs/docs.js", "text/javascript"),
        ("/docs/vendor/rapidoc.js", "text/javascript"),
        ("/favicon.svg", "image/svg+xml"),
        ("/openapi.json", "application/json"),
    ] {
        let got = app.ask(Method::GET, path).go().await;
        assert_eq!(got.status, 200, "{path}");
        assert!(got.header("content-type").starts_with(content_type), "{path} {got:?}");
        assert_eq!(got.header("referrer-policy"), "no-referrer");
        assert_eq!(got.header("cache-control"), "no-cache");
        let unchanged = app.ask(Method::GET, path).header("if-none-match", got.header("etag")).go().await;
        assert_eq!((unchanged.status.as_u16(), unchanged.bytes.len()), (304, 0));
        if content_type == "text/html" {
            let policy = got.header("content-security-policy");
            assert!(
                policy.starts_with("default-src 'none'; script-src 'self';")
                    && policy.contains("frame-ancestors 'none'"),
                "{policy}"
            );
            for (_, rest) in got.text().match_indices("src=\"").map(|(at, _)| ((), got.text()[at + 5..].to_owned())) {
                let source = rest.split('"').next().unwrap();
                assert!(source.starts_with('/'), "{path} loads {source}");
                assert_eq!(app.ask(Method::GET, source).go().await.status, 200, "{source}");
            }
        }
    }
}
