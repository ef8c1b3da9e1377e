//! Bearer tokens for client credentials: got once, kept, got anew when they are over or refused.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use countersign::core::time::Timestamp;
use countersign::sender::Sender;
use countersign_providers::descriptor::Descriptor;
use countersign_providers::{Inbox, Now, ProviderConfig, Surroundings, build_with};

use crate::gateway::Gateway;
use crate::{AT, kind, message, reason};

const DESCRIPTOR: &str = r#"
name = "tokens"
title = "Tokens"
summary = "A gateway that wants a token."
docs = "https://gateway.example/docs"
channels = ["sms"]
fields = [
    { name = "client_id", help = "the id", required = true },
    { name = "client_secret", help = "the secret", secret = true, required = true },
    { name = "token_url", help = "where tokens are" },
]
[http]
method = "POST"
base_url = "https://gateway.example"
auth = { kind = "oauth2", token_url = "{{ token_url }}", client_id = "{{ client_id }}", client_secret = "{{ client_secret }}", scope = "sms" }
json = { to = "{{ to }}" }
accept = { status = ["2xx"], when = [{ field = ["id"], present = true }] }
failures = [{ status = ["401"], meaning = "retry_elsewhere", says = "the token was refused" }]
otherwise = { meaning = "unknown", says = "not understood" }
"#;

/// A sender whose clock can be set.
fn sender(tokens: &Gateway, gateway: &Gateway) -> (Arc<dyn Sender>, Arc<AtomicI64>) {
    let descriptor = Arc::new(Descriptor::parse("tokens.toml", DESCRIPTOR).unwrap());
    let config = ProviderConfig::new("mine", "tokens")
        .described_by(descriptor)
        .with("client_id", "me")
        .with("client_secret", "hunter2-hunter2")
        .with("token_url", format!("{}/token", tokens.url))
        .with("base_url", gateway.url.as_str());
    let at = Arc::new(AtomicI64::new(AT));
    let clock = Arc::clone(&at);
    let now: Now = Arc::new(move || Timestamp::from_millis(clock.load(Ordering::Relaxed) * 1000));
    let around = Surroundings { now: Arc::clone(&now), inbox: Inbox::new(now) };
    (build_with(&config, &around).unwrap(), at)
}

const TOKEN: &str = r#"{"access_token":"t0ken","token_type":"Bearer","expires_in":3600}"#;

#[tokio::test]
async fn a_token_is_got_once_and_kept_until_a_minute_before_it_ends() {
    let tokens = Gateway::answering(200, &[], TOKEN).await;
    let gateway = Gateway::answering(200, &[], r#"{"id":"m-1"}"#).await;
    let (sender, at) = sender(&tokens, &gateway);
    let first = message("x");
    let ten = (0..10).map(|_| sender.send(&first));
    for outcome in futures_of(ten).await {
        assert_eq!(kind(&outcome), "accepted");
    }
    let asked = tokens.only();
    assert_eq!(asked.line, "POST /token HTTP/1.1");
    assert_eq!(String::from_utf8(asked.body.clone()).unwrap(), "grant_type=client_credentials&scope=sms");
    assert_eq!(asked.header("authorization"), Some("Basic bWU6aHVudGVyMi1odW50ZXIy"));
    assert!(gateway.asked().iter().all(|asked| asked.header("authorization") == Some("Bearer t0ken")));
    for (later, times) in [(3539, 1), (3540, 2), (3541, 2)] {
        at.store(AT + later, Ordering::Relaxed);
        sender.send(&first).await;
        assert_eq!(tokens.asked().len(), times, "{later} s later");
    }
}

#[tokio::test]
async fn a_token_that_is_refused_is_forgotten() {
    let tokens = Gateway::answering(200, &[], TOKEN).await;
    let gateway = Gateway::answering(401, &[], "{}").await;
    let (sender, _) = sender(&tokens, &gateway);
    for times in 1..=2 {
        let outcome = sender.send(&message("x")).await;
        assert_eq!(reason(&outcome), "HTTP 401: the token was refused");
        assert_eq!((tokens.asked().len(), gateway.asked().len()), (times, times), "nothing is sent twice");
    }
}

#[tokio::test]
async fn without_a_token_nothing_is_sent_and_another_may_try() {
    for (status, body, said) in [
        (401, "{\"error\":\"invalid_client\",\"echo\":\"hunter2-hunter2\"}", "the token server answered HTTP 401"),
        (200, "{}", "the token server's answer holds no token"),
        (200, "<html>", "the token server's answer holds no token"),
        (200, "{\"access_token\":\"a\\nb\"}", "the token server's answer holds no token"),
    ] {
        let tokens = Gateway::answering(status, &[], body).await;
        let gateway = Gateway::answering(200, &[], "{}").await;
        let (sender, _) = sender(&tokens, &gateway);
        let outcome = sender.send(&message("x")).await;
        assert_eq!((kind(&outcome), reason(&outcome)), ("retry_elsewhere", format!("not sent: {said}").as_str()));
        assert_eq!(gateway.asked().len(), 0);
    }
}

/// All of them at once.
async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<_> = all.map(Box::pin).collect();
    let mut done: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, slot) in waiting.iter_mut().zip(&mut done) {
            if slot.is_none()
                && let std::task::Poll::Ready(output) = future.as_mut().poll(context)
            {
                *slot = Some(output);
            }
        }
        if done.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done.into_iter().flatten().collect()
}
