//! Every fixture: as `provider check` tries it, and through the real sender to a real socket.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign_providers::descriptor::Descriptor;
use countersign_providers::fixture::{Case, Fixtures, Meant, check, laws};
use countersign_providers::{Inbox, Surroundings, build_with, registry};
use reqwest::Url;

use crate::clock;
use crate::gateway::{Asked, Gateway};

/// What every provider must have a fixture for, or a word on why it has none.
const CASES: [&str; 5] = ["accepted", "rejected-number", "bad-credentials", "throttled", "out-of-money"];

/// Signatures that cover the host: at another address they are others.
const BOUND: [&str; 5] = ["aws_sigv4", "azure_hmac", "tencent_tc3", "aliyun_acs3", "ovh"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors")
}

fn http() -> impl Iterator<Item = &'static Arc<Descriptor>> {
    registry::all().iter().filter(|descriptor| descriptor.is_http())
}

fn file(descriptor: &Descriptor) -> (String, String) {
    let name = format!("{}{}", descriptor.name, registry::FIXTURES);
    let text = fs::read_to_string(folder().join(&name)).unwrap_or_else(|_| panic!("descriptors/{name} is missing"));
    (format!("descriptors/{name}"), text)
}

#[test]
fn every_provider_has_every_case_and_no_fixture_is_nobodys() {
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if let Some(stem) = name.strip_suffix(registry::FIXTURES) {
            assert!(registry::find(stem).is_some_and(|descriptor| descriptor.is_http()), "{name} is nobody's");
        }
    }
    for descriptor in http() {
        let (file, text) = file(descriptor);
        let fixtures = Fixtures::parse(&file, &text).unwrap();
        for case in CASES {
            let there = fixtures.case.contains_key(case);
            let absent = fixtures.absent.get(case).is_some_and(|why| !why.is_empty());
            assert!(there != absent, "{file}: case.{case}: must be there, or its absence explained (`absent`)");
        }
        let receipts = || fixtures.case.values().filter_map(|case| case.receipt.as_ref());
        assert_eq!(receipts().next().is_some(), descriptor.has_receipts(), "{file}: receipts");
        if descriptor.has_receipts() {
            assert!(
                receipts().any(|receipt| receipt.read.as_ref().is_some_and(|read| !read.is_empty())),
                "{file}: none is read"
            );
            assert!(receipts().any(|receipt| receipt.refused.is_some()), "{file}: no receipt is refused");
        }
    }
}

#[test]
fn what_was_read_in_documents_says_in_which_and_is_counted() {
    for descriptor in http() {
        let (file, text) = file(descriptor);
        let fixtures = Fixtures::parse(&file, &text).unwrap();
        let sources: Vec<_> = fixtures.case.values().filter_map(|case| case.source.as_deref()).collect();
        let counted = registry::evidence(&descriptor.name).unwrap();
        assert_eq!(counted, (sources.len(), fixtures.case.len()), "{file}");
        for source in sources {
            assert!(source.starts_with("https://") && Url::parse(source).is_ok(), "{file}: {source}");
        }
    }
}

#[test]
fn every_fixture_holds() {
    let mut problems = Vec::new();
    for descriptor in http() {
        let (file, text) = file(descriptor);
        problems.extend(check(descriptor, &file, &text).unwrap().into_iter().map(|problem| problem.to_string()));
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn what_holds_for_all_holds_for_each() {
    for descriptor in http() {
        // `webhook` is our own contract: its status is its word.
        assert_eq!(laws(descriptor), Vec::<String>::new(), "{}", descriptor.name);
    }
}

#[test]
fn a_broken_fixture_names_file_and_field() {
    let frame = "[case.x]\n";
    let answer = "[case.x.answer]\nstatus = 200\n";
    let cases = [
        ("at = \"x\"\n[case]".to_owned(), ":1: at: "),
        (format!("{frame}answr = 1"), ":2: answr: "),
        (format!("{frame}{answer}"), "case.x.outcome: is missing"),
        (format!("{frame}[case.x.answer]\nstatus = \"200\"\n[case.x.outcome.accepted]"), ":3: status: "),
        (format!("{frame}[case.x.outcome.accepted]"), "case.x.answer: is missing"),
        (format!("{frame}[case.x.receipt]\nbody = \"\""), "case.x.receipt: needs one of"),
    ];
    for (text, field) in cases {
        let error = Fixtures::parse("x.fixtures.toml", &text).unwrap_err().to_string();
        assert!(error.starts_with("x.fixtures.toml:") && error.contains(field), "{error}");
    }
}

#[test]
fn a_fixture_that_does_not_hold_names_the_field() {
    let twilio = registry::find("twilio").unwrap();
    let (file, text) = file(twilio);
    let cases = [
        ("method = \"POST\"", "method = \"GET\"", "case.accepted.request.method: is\n  POST\n"),
        ("Messages.json\"", "Message.json\"", "request.url: "),
        ("Body=Your", "Body=My", "request.body: "),
        ("Basic ", "Basic x", "request.headers.authorization: "),
        ("reason = \"HTTP 429: too many", "reason = \"HTTP 429: so many", "case.throttled.outcome: is Rejected"),
    ];
    for (from, to, field) in cases {
        assert!(text.contains(from), "{from}");
        let problems = check(twilio, &file, &text.replace(from, to)).unwrap();
        let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|problem| problem.contains(field)), "{field}\n{shown:?}");
    }
}

#[tokio::test]
async fn every_case_goes_over_a_real_connection() {
    for descriptor in http().filter(|descriptor| descriptor.auth() != Some("oauth2")) {
        let (file, text) = file(descriptor);
        let fixtures = Fixtures::parse(&file, &text).unwrap();
        for (name, case) in fixtures.case.iter().filter(|(_, case)| case.answer.is_some()) {
            send(&format!("{file}: case.{name}"), descriptor, &fixtures, case).await;
        }
    }
}

async fn send(at: &str, descriptor: &Arc<Descriptor>, fixtures: &Fixtures, case: &Case) {
    let answer = case.answer.as_ref().unwrap();
    let headers: Vec<_> = answer.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let gateway = Gateway::answering(answer.status, &headers, &answer.body).await;
    let expected = case.request.as_ref().or(fixtures.request.as_ref()).unwrap();
    let url = Url::parse(&expected.url).unwrap();
    let config = fixtures.config(descriptor, case);
    let config = if descriptor.field("url").is_some() {
        config.with("url", format!("{}{}", gateway.url, target(&url)))
    } else {
        config.with("base_url", format!("{}{}", gateway.url, beginning(descriptor)))
    };
    let now = clock(case.at.unwrap_or(fixtures.at));
    let around = Surroundings { now: Arc::clone(&now), inbox: Inbox::new(now) };
    let sender = build_with(&config, &around).unwrap_or_else(|error| panic!("{at}: credentials: {error}"));
    let outcome = sender.send(&fixtures.message(descriptor, case).unwrap()).await;

    let asked = gateway.only();
    assert_eq!(asked.line, format!("{} {} HTTP/1.1", expected.method, target(&url)), "{at}: request.url");
    assert_eq!(String::from_utf8(asked.body.clone()).unwrap(), expected.body, "{at}: request.body");
    let bound = descriptor.auth().is_some_and(|auth| BOUND.contains(&auth));
    let unbound = |name: &String| !(bound && matches!(name.as_str(), "authorization" | "x-ovh-signature"));
    let mut wanted = expected.headers.clone();
    wanted.retain(|name, _| unbound(name));
    let mut sent = shown(&asked, &wanted);
    sent.retain(|name, _| unbound(name));
    assert_eq!(sent, wanted, "{at}: request.headers");
    assert_eq!(asked.header("user-agent"), Some(concat!("countersign/", env!("CARGO_PKG_VERSION"))), "{at}");
    assert_eq!(Some(&Meant::of(&outcome)), case.outcome.as_ref(), "{at}: outcome");
}

/// The headers that are the descriptor's, not the transport's.
fn shown(asked: &Asked, wanted: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let transport = ["host", "content-length", "accept", "user-agent"];
    let ours = |name: &str| wanted.contains_key(name) || !transport.contains(&name);
    asked.headers.iter().filter(|(name, _)| ours(name)).cloned().collect()
}

/// The path that the provider's own address begins with.
fn beginning(descriptor: &Descriptor) -> String {
    let address = descriptor.field("base_url").and_then(|field| field.default.clone()).unwrap_or_default();
    Url::parse(&address).map(|url| url.path().trim_end_matches('/').to_owned()).unwrap_or_default()
}

fn target(url: &Url) -> String {
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    format!("{}{query}", url.path())
}
