//! An actix-web application that verifies phone numbers by itself: no server beside it, no call to anybody's cloud.
//!
//! ```text
//! cd examples/actix && cargo run                              # listens on 127.0.0.1:3001; codes appear in the terminal
//! curl -d to=+255694230173 127.0.0.1:3001/code                # {"verification":"vf_…"}
//! curl -d verification=vf_… -d code=123456 127.0.0.1:3001/login
//! ```
//! With `--try` it sends itself these requests and stops: the test suite runs it so.
#![forbid(unsafe_code)]

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::web::{Data, Form};
use actix_web::{App, Error, HttpResponse, HttpServer, post, test};
use countersign::core::channel::Channel;
use countersign::core::check::CheckResult;
use countersign::core::outcome::{Message, Outcome};
use countersign::sender::BoxFuture;
use countersign::{CheckRequest, Cleanup, Failure, RecordingSender, SendRequest, Sender, Verifier};
use serde::Deserialize;
use serde_json::{Value, json};

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
#[post("/code")]
async fn code(verifier: Data<Verifier>, Form(wanted): Form<Wanted>) -> HttpResponse {
    match verifier.send(SendRequest::to(wanted.to)).await {
        Ok(sending) => HttpResponse::Ok().json(json!({ "verification": sending.sent.verification.id.to_string() })),
        Err(failure) => refuse(&failure),
    }
}

#[derive(Deserialize)]
struct Offered {
    verification: String,
    code: String,
}

/// Checks a code, and logs in.
#[post("/login")]
async fn login(verifier: Data<Verifier>, Form(offered): Form<Offered>) -> HttpResponse {
    let Ok(id) = offered.verification.parse() else { return HttpResponse::BadRequest().finish() };
    match verifier.check(CheckRequest::by_id(id, &offered.code)).await {
        Ok(checked) if checked.result == CheckResult::Approved => {
            let number = checked.verification.map(|(row, _)| row.to.reveal().to_owned());
            HttpResponse::Ok().json(json!({ "logged_in": number }))
        }
        Ok(checked) => HttpResponse::Forbidden().json(json!({ "result": checked.result.as_str() })),
        Err(failure) => refuse(&failure),
    }
}

/// A refusal is an answer to a person; anything else is ours to look at.
fn refuse(failure: &Failure) -> HttpResponse {
    match failure {
        Failure::Refused(refusal) => HttpResponse::UnprocessableEntity().body(refusal.to_string()),
        Failure::Broken(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// The application. Every worker gets a clone of one verifier, and all clones are one.
fn app(
    verifier: Verifier,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    App::new().app_data(Data::new(verifier)).service(code).service(login)
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().any(|argument| argument == "--try") {
        return try_it().await;
    }
    // Without a store it keeps everything in memory; see `countersign_store::sqlite::SqliteStore` for one that remembers.
    let verifier = Verifier::builder().sender(Arc::new(Terminal)).build()?;
    let _upkeep = verifier.start_upkeep(Cleanup::default());
    println!("listening on http://127.0.0.1:3001");
    Ok(HttpServer::new(move || app(verifier.clone())).bind("127.0.0.1:3001")?.run().await?)
}

/// The requests of the documentation: a wrong code is refused, the right one is accepted, once.
async fn try_it() -> Result<(), Box<dyn std::error::Error>> {
    let phone = Arc::new(RecordingSender::new("phone"));
    let verifier = Verifier::builder().sender(phone.clone()).build()?;
    let app = test::init_service(app(verifier)).await;
    let sent = test::TestRequest::post().uri("/code").set_form([("to", "+255694230173")]).to_request();
    let sent: Value = test::call_and_read_body_json(&app, sent).await;
    let id = sent["verification"].as_str().ok_or("no id")?.to_owned();
    let right = phone.wait_for_code("+255694230173").await;
    let wrong = if right == "000000" { "000001" } else { "000000" };
    let offer = async |typed: &str| {
        let request = test::TestRequest::post().uri("/login").set_form([("verification", id.as_str()), ("code", typed)]);
        test::call_service(&app, request.to_request()).await.status().as_u16()
    };
    let statuses = [offer(wrong).await, offer(&right).await, offer(&right).await];
    if statuses != [403, 200, 403] {
        return Err(format!("a wrong code, the right one, and again: {statuses:?}").into());
    }
    println!("sent {id}; a wrong code was refused, the right one accepted, once");
    Ok(())
}
