//! An axum application that verifies phone numbers by itself: no server beside it, no call to anybody's cloud.
//!
//! ```text
//! cargo run -p countersign --example embed_in_axum            # listens on 127.0.0.1:3000; codes appear in the terminal
//! curl -d to=+255694230173 127.0.0.1:3000/code                # {"verification":"vf_…"}
//! curl -d verification=vf_… -d code=123456 127.0.0.1:3000/login
//! ```
//! With `--try` it sends itself these two requests and stops: the test suite runs it so.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, reason = "an example")]

use std::sync::Arc;

use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use countersign::core::channel::Channel;
use countersign::core::check::CheckResult;
use countersign::core::outcome::{Message, Outcome};
use countersign::sender::BoxFuture;
use countersign::{CheckRequest, Cleanup, Failure, SendRequest, Sender, Verifier};
use serde::Deserialize;
use serde_json::json;

/// Your gateway goes here; this one reads the message out in the terminal.
struct Terminal;

impl Sender for Terminal {
    fn name(&self) -> &str {
        "terminal"
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Sms]
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        println!("to {}: {}", message.to.reveal(), &*message.text);
        Box::pin(async { Outcome::Accepted { message_id: None } })
    }
}

#[derive(Deserialize)]
struct Wanted {
    to: String,
}

/// Sends a code. The id goes to whoever asked: it is what makes their guesses count as theirs.
async fn code(State(verifier): State<Verifier>, Form(wanted): Form<Wanted>) -> Response {
    match verifier.send(SendRequest::to(wanted.to)).await {
        Ok(sending) => Json(json!({ "verification": sending.sent.verification.id.to_string() })).into_response(),
        Err(failure) => refuse(&failure),
    }
}

#[derive(Deserialize)]
struct Offered {
    verification: String,
    code: String,
}

/// Checks a code, and logs in.
async fn login(State(verifier): State<Verifier>, Form(offered): Form<Offered>) -> Response {
    let Ok(id) = offered.verification.parse() else { return StatusCode::BAD_REQUEST.into_response() };
    match verifier.check(CheckRequest::by_id(id, &offered.code)).await {
        Ok(checked) if checked.result == CheckResult::Approved => {
            let number = checked.verification.map(|(row, _)| row.to.reveal().to_owned());
            Json(json!({ "logged_in": number })).into_response()
        }
        Ok(checked) => (StatusCode::FORBIDDEN, Json(json!({ "result": checked.result.as_str() }))).into_response(),
        Err(failure) => refuse(&failure),
    }
}

/// A refusal is an answer to a person; anything else is ours to look at.
fn refuse(failure: &Failure) -> Response {
    match failure {
        Failure::Refused(refusal) => (StatusCode::UNPROCESSABLE_ENTITY, refusal.to_string()).into_response(),
        Failure::Broken(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Without a store it keeps everything in memory; see `countersign_store::sqlite::SqliteStore` for one that remembers.
    let verifier = Verifier::builder().sender(Arc::new(Terminal)).build()?;
    let _upkeep = verifier.start_upkeep(Cleanup::default());
    let app = axum::Router::new().route("/code", post(code)).route("/login", post(login)).with_state(verifier);
    if std::env::args().any(|argument| argument == "--try") {
        return try_it(app).await;
    }
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}

/// The two requests of the module's documentation, with a wrong code: the right one is in the terminal, where it belongs.
async fn try_it(app: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
    use tower::ServiceExt as _;
    let form = |path: &str, body: String| {
        axum::http::Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(axum::body::Body::from(body))
            .unwrap()
    };
    let sent = app.clone().oneshot(form("/code", "to=%2B255694230173".into())).await?;
    assert_eq!(sent.status(), StatusCode::OK);
    let body = axum::body::to_bytes(sent.into_body(), 4096).await?;
    let id =
        serde_json::from_slice::<serde_json::Value>(&body)?["verification"].as_str().unwrap_or_default().to_owned();
    let refused = app.oneshot(form("/login", format!("verification={id}&code=0000"))).await?;
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    println!("sent {id}; a wrong code was refused");
    Ok(())
}
