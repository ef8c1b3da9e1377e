//! Every fixture through the real sender.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign::core::destination::Destination;
use countersign::core::outcome::{Message, Outcome};
use countersign::core::time::Timestamp;
use countersign_providers::{
    Inbox, ProviderConfig, ReceiptRequest, ReceiptStatus, Surroundings, build_with, read_receipt, registry,
};
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderName};

use crate::fixture::{self, Fixture, Meant, Said};
use crate::gateway::{Asked, Gateway};
use crate::{AT, clock, failure_name};

/// What every provider must have a fixture for.
const CASES: [&str; 7] =
    ["accepted", "rejected-number", "bad-credentials", "throttled", "server-error", "error-in-200", "html"];

#[test]
fn every_provider_has_every_case_and_no_fixture_is_nobodys() {
    let providers: BTreeSet<_> =
        registry::all().iter().filter(|provider| provider.is_http()).map(|provider| provider.name.clone()).collect();
    let folders = std::fs::read_dir(fixture::folder()).unwrap();
    let folders: BTreeSet<_> = folders.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(folders, providers);
    for provider in &providers {
        let fixtures = fixture::of(provider);
        for case in CASES {
            assert!(fixtures.contains_key(case), "fixtures/{provider}/{case}.toml is missing");
        }
        let receipts = fixtures.values().any(|fixture| fixture.receipt.is_some());
        assert_eq!(receipts, registry::find(provider).unwrap().has_receipts(), "{provider}");
    }
}

#[test]
fn a_broken_fixture_names_file_and_field() {
    let cases = [
        ("title = 1", "title = 1"),
        ("title = \"x\"\nanswr = 1", "answr"),
        ("title = \"x\"\n[answer]\nstatus = 200\nbody = \"\"", "outcome: is missing"),
        ("title = \"x\"\n[answer]\nstatus = \"200\"\nbody = \"\"\n[outcome.accepted]", "status = \"200\""),
        ("title = \"x\"\n[outcome.accepted]", "answer: is missing"),
        ("title = \"x\"\n[receipt]\nbody = \"\"\nheaders = {}", "receipt: needs `read` or `refused`"),
    ];
    for (text, field) in cases {
        let error = fixture::parse("fixtures/x/y.toml", text).unwrap_err();
        assert!(error.starts_with("fixtures/x/y.toml: ") && error.contains(field), "{error}");
    }
}

#[tokio::test]
async fn webhook() {
    run("webhook").await;
}

#[tokio::test]
async fn mshastra() {
    run("mshastra").await;
}

#[tokio::test]
async fn twilio() {
    run("twilio").await;
}

async fn run(provider: &str) {
    let fixtures = fixture::of(provider);
    let accepted = fixtures["accepted"].clone();
    for (name, fixture) in &fixtures {
        let at = format!("fixtures/{provider}/{name}.toml ({})", fixture.title);
        let credentials = fixture.credentials.as_ref().or(accepted.credentials.as_ref()).unwrap();
        if fixture.receipt.is_some() {
            receive(&at, provider, fixture, credentials);
        } else {
            send(&at, provider, fixture, &accepted, credentials).await;
        }
    }
}

async fn send(at: &str, provider: &str, fixture: &Fixture, accepted: &Fixture, credentials: &BTreeMap<String, String>) {
    let answer = fixture.answer.as_ref().unwrap();
    let headers: Vec<_> = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let gateway = Gateway::answering(answer.status, &headers, &answer.body).await;
    let expected = fixture.request.as_ref().or(accepted.request.as_ref()).unwrap();
    let url = Url::parse(&expected.url).unwrap();

    // The provider as it is in the world must be asked at the fixture's address; here it is asked at ours.
    let descriptor = registry::find(provider).unwrap();
    let world = descriptor.field("base_url").and_then(|field| field.default.clone()).unwrap_or_default();
    let configured = credentials.get("url").cloned().unwrap_or(world);
    assert_eq!(Url::parse(&configured).unwrap().origin(), url.origin(), "{at}: request.url");
    let mut config = ProviderConfig::new("under-test", provider);
    for (field, value) in credentials {
        config = config.with(field.clone(), value.as_str());
    }
    let config = match credentials.get("url") {
        Some(_) => config.with("url", format!("{}{}", gateway.url, target(&url))),
        None => config.with("base_url", gateway.url.clone()),
    };
    let now = clock(fixture.at.unwrap_or(AT));
    let around = Surroundings { now: Arc::clone(&now), inbox: Inbox::new(now) };
    let sender = build_with(&config, &around).unwrap_or_else(|error| panic!("{at}: credentials: {error}"));

    let said = fixture.message.as_ref().or(accepted.message.as_ref()).unwrap();
    let outcome = sender.send(&message(at, said)).await;

    let asked = gateway.only();
    assert_eq!(asked.line, format!("{} {} HTTP/1.1", expected.method, target(&url)), "{at}: request.url");
    assert_eq!(String::from_utf8(asked.body.clone()).unwrap(), expected.body, "{at}: request.body");
    assert_eq!(shown(&asked), expected.headers, "{at}: request.headers");
    assert_eq!(asked.header("user-agent"), Some(concat!("countersign/", env!("CARGO_PKG_VERSION"))), "{at}");
    assert_eq!(Some(&meant(&outcome)), fixture.outcome.as_ref(), "{at}: outcome");
}

/// The headers that are the descriptor's, not the transport's.
fn shown(asked: &Asked) -> BTreeMap<String, String> {
    let transport = ["host", "content-length", "accept", "user-agent"];
    asked.headers.iter().filter(|(name, _)| !transport.contains(&name.as_str())).cloned().collect()
}

fn target(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}{query}", url.path())
}

fn message(at: &str, said: &Said) -> Message {
    let bad = |field: &str| -> ! { panic!("{at}: message.{field}") };
    Message {
        id: said.id.parse().unwrap_or_else(|_| bad("id")),
        application: said.application.parse().unwrap_or_else(|_| bad("application")),
        display_name: said.application.clone(),
        channel: said.channel.parse().unwrap_or_else(|_| bad("channel")),
        to: Destination::parse(&said.to, None).unwrap_or_else(|_| bad("to")),
        subject: Default::default(),
        text: said.text.clone().into(),
        code: said.code.parse().unwrap_or_else(|_| bad("code")),
        locale: said.locale.clone(),
        expires_at: Timestamp::from_millis((AT + 300) * 1000),
    }
}

fn meant(outcome: &Outcome) -> Meant {
    match outcome.clone() {
        Outcome::Accepted { message_id } => Meant::Accepted { message_id },
        Outcome::Unknown { reason } => Meant::Unknown { reason },
        Outcome::Rejected { failure, reason, retry_after } => Meant::Rejected {
            failure: failure_name(failure).to_owned(),
            reason,
            retry_after: retry_after.map(|wait| wait.as_secs()),
        },
    }
}

fn receive(at: &str, provider: &str, fixture: &Fixture, credentials: &BTreeMap<String, String>) {
    let report = fixture.receipt.as_ref().unwrap();
    let mut config = ProviderConfig::new("under-test", provider);
    for (field, value) in credentials {
        config = config.with(field.clone(), value.as_str());
    }
    let headers: HeaderMap = report
        .headers
        .iter()
        .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
        .collect();
    let request = ReceiptRequest {
        headers: &headers,
        body: report.body.as_bytes(),
        path_secret: None,
        now: fixture.at.unwrap_or(AT),
    };
    match (read_receipt(&config, &request), &report.read, &report.refused) {
        (Ok(receipt), Some(expected), None) => {
            assert_eq!(receipt.reference, expected.reference, "{at}: receipt.read.reference");
            assert_eq!(status_name(receipt.status), expected.status, "{at}: receipt.read.status");
            assert_eq!(receipt.error, expected.error, "{at}: receipt.read.error");
        }
        (Err(refused), None, Some(expected)) => {
            assert_eq!(refused.to_string(), expected.because, "{at}: receipt.refused.because");
        }
        (other, ..) => panic!("{at}: receipt: {other:?}"),
    }
}

const fn status_name(status: ReceiptStatus) -> &'static str {
    match status {
        ReceiptStatus::Accepted => "accepted",
        ReceiptStatus::Delivered => "delivered",
        ReceiptStatus::Undelivered => "undelivered",
        ReceiptStatus::Failed => "failed",
    }
}
