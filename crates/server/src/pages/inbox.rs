//! `GET /inbox.json` and `GET /inbox/events`: the messages that were caught, and those that come.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse as _, Response};
use countersign::core::channel::Channel;
use countersign::core::message;
use countersign_providers::InboxMessage;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::price;
use crate::api::native::object::Seconds;
use crate::http::answer;
use crate::http::problem::{Kind, Problem};
use crate::service::Shared;

/// A comment so often, so that proxies and browsers know that the line is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Serialize)]
struct Page<'a> {
    messages: Vec<MessageObject<'a>>,
}

/// A message, and what it would have cost.
#[derive(Serialize)]
struct MessageObject<'a> {
    id: String,
    to: &'a str,
    channel: &'static str,
    text: &'a str,
    at: Seconds,
    application: &'a str,
    locale: &'a str,
    encoding: Option<&'static str>,
    units: Option<usize>,
    segments: Option<usize>,
    country: Option<String>,
    price_class: Option<&'static str>,
}

impl<'a> MessageObject<'a> {
    fn new(message: &'a InboxMessage) -> Self {
        let segments = (message.channel == Channel::Sms).then(|| message::segments(&message.text));
        let country = message.to.country();
        Self {
            id: message.id.to_string(),
            to: message.to.reveal(),
            channel: message.channel.as_str(),
            text: message.text.as_str(),
            at: Seconds::floor(message.at),
            application: message.application.as_str(),
            locale: &message.locale,
            encoding: segments.map(|segments| segments.encoding.as_str()),
            units: segments.map(|segments| segments.units),
            segments: segments.map(|segments| segments.count),
            country: country.map(|country| country.to_string()),
            price_class: segments.and(country).and_then(|country| price::class(country.as_str())),
        }
    }
}

/// What is kept, newest first.
pub(super) async fn messages(State(door): State<Shared>) -> Response {
    let Some(inbox) = &door.inbox else { return Problem::new(Kind::NotFound, "there is no inbox").into_response() };
    let kept = inbox.messages();
    let page = Page { messages: kept.iter().map(|message| MessageObject::new(message)).collect() };
    answer::response(answer::json(StatusCode::OK, &page))
}

/// What comes from now on, each as a server-sent event. Whoever reads too slowly is cut off, comes back and reads the list.
pub(super) async fn events(State(door): State<Shared>) -> Response {
    let Some(inbox) = &door.inbox else { return Problem::new(Kind::NotFound, "there is no inbox").into_response() };
    let (told, events) = mpsc::channel(16);
    tokio::spawn(pass_on(inbox.subscribe(), told, door.closing.clone()));
    Sse::new(ReceiverStream::new(events)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

async fn pass_on(
    mut live: broadcast::Receiver<Arc<InboxMessage>>,
    told: mpsc::Sender<Result<Event, Infallible>>,
    closing: CancellationToken,
) {
    loop {
        let message = tokio::select! {
            // An open stream must not hold up a shutdown.
            () = closing.cancelled() => return,
            () = told.closed() => return,
            message = live.recv() => message,
        };
        let Ok(message) = message else { return };
        let json = serde_json::to_string(&MessageObject::new(&message)).unwrap_or_default();
        if told.send(Ok(Event::default().data(json))).await.is_err() {
            return;
        }
    }
}
