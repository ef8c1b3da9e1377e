//! BUGS G5, failure reported as success: whatever goes wrong is said to have gone wrong, and a silence is not a refusal.

use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::outcome::{Message, Outcome};
use countersign_providers::ProviderConfig;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::gateway::{Gateway, Step, answer};
use crate::{everybody, impatient, kind, message, reason, sender, webhook};

const TEXT: &str = "Your Example code is 482913.";

/// What every provider makes of a gateway that does this.
async fn outcomes(steps: Vec<Step>) -> Vec<Outcome> {
    let gateway = Gateway::doing(steps).await;
    outcomes_of(&gateway, everybody(&gateway.url)).await
}

async fn outcomes_with_little_time(steps: Vec<Step>) -> Vec<Outcome> {
    let gateway = Gateway::doing(steps).await;
    outcomes_of(&gateway, impatient(&gateway.url)).await
}

async fn outcomes_of(gateway: &Gateway, providers: Vec<ProviderConfig>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for config in providers {
        outcomes.push(sender(&config).send(&message(TEXT)).await);
    }
    // Once for each provider: nothing is ever sent twice.
    assert_eq!(gateway.asked().len(), outcomes.len());
    outcomes
}

fn kinds(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().map(kind).collect()
}

fn begun(length: usize, body: &str) -> Step {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}");
    Step::Write(head.into_bytes())
}

#[tokio::test]
async fn bug_g5_a_refused_connection_goes_elsewhere() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for config in everybody(&url) {
        let outcome = sender(&config).send(&message(TEXT)).await;
        assert_eq!((kind(&outcome), reason(&outcome)), ("retry_elsewhere", "no connection: it was refused"));
    }
}

#[tokio::test]
async fn bug_g5_a_name_that_is_not_found_goes_elsewhere() {
    let outcome = sender(&webhook("http://nobody.invalid").within(Duration::from_secs(20))).send(&message(TEXT)).await;
    assert_eq!(kind(&outcome), "retry_elsewhere");
    assert!(reason(&outcome).starts_with("no connection: "), "{outcome:?}");
}

#[tokio::test]
async fn bug_g5_a_failed_tls_handshake_goes_elsewhere() {
    // A port that speaks no TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"220 smtp.example ESMTP\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    let outcome = sender(&webhook(&url).within(Duration::from_secs(5))).send(&message(TEXT)).await;
    assert_eq!(
        (kind(&outcome), reason(&outcome)),
        ("retry_elsewhere", "no connection: no TLS session could be agreed on")
    );
}

#[tokio::test]
async fn bug_g5_a_port_that_takes_connections_and_never_speaks_tls_goes_elsewhere() {
    let gateway = Gateway::doing(vec![]).await;
    let url = gateway.url.replace("http://", "https://");
    let outcome = sender(&webhook(&url).within(Duration::from_secs(1))).send(&message(TEXT)).await;
    assert_eq!((kind(&outcome), reason(&outcome)), ("retry_elsewhere", "no connection: it did not answer in time"));
}

#[tokio::test]
async fn bug_g5_silence_is_unknown() {
    let outcomes = outcomes_with_little_time(vec![Step::Wait(Duration::from_secs(60))]).await;
    assert_eq!(kinds(&outcomes), ["unknown"; 3]);
    assert_eq!(reason(&outcomes[0]), "no answer in time");
}

#[tokio::test]
async fn bug_g5_a_reset_before_the_answer_is_unknown() {
    let outcomes = outcomes(vec![Step::Reset]).await;
    assert_eq!(kinds(&outcomes), ["unknown"; 3]);
    assert_eq!(reason(&outcomes[0]), "the connection broke before the answer");
}

#[tokio::test]
async fn bug_g5_a_close_before_the_answer_is_unknown() {
    assert_eq!(kinds(&outcomes(vec![Step::Close]).await), ["unknown"; 3]);
}

#[tokio::test]
async fn bug_g5_a_reset_in_the_answer_is_unknown() {
    let steps = vec![begun(60, "[{\"msg_id\":\"1\","), Step::Wait(Duration::from_millis(50)), Step::Reset];
    let outcomes = outcomes(steps).await;
    assert_eq!(kinds(&outcomes), ["unknown"; 3]);
    assert_eq!(reason(&outcomes[0]), "HTTP 200, and then the answer broke off");
}

#[tokio::test]
async fn bug_g5_half_an_answer_is_unknown() {
    // A wrong content-length, and a connection that ends in order before it is reached.
    let whole = "{\"id\":\"gw-1\",\"sid\":\"SM1\",\"status\":\"queued\"}";
    assert_eq!(kinds(&outcomes(vec![begun(whole.len() + 1, whole), Step::Close]).await), ["unknown"; 3]);
}

#[tokio::test]
async fn bug_g5_an_answer_that_never_ends_is_unknown() {
    let steps = vec![begun(60, "{"), Step::Wait(Duration::from_secs(60))];
    assert_eq!(kinds(&outcomes_with_little_time(steps).await), ["unknown"; 3]);
}

#[tokio::test]
async fn bug_g5_a_failure_that_breaks_off_is_still_a_failure() {
    let head = b"HTTP/1.1 500 No\r\ncontent-length: 60\r\n\r\n{".to_vec();
    assert_eq!(kinds(&outcomes(vec![Step::Write(head), Step::Close]).await), ["retry_elsewhere"; 3]);
}

#[tokio::test]
async fn bug_g5_what_is_not_http_is_unknown() {
    let steps = vec![Step::Write(b"220 smtp.example ESMTP\r\n".to_vec()), Step::Close];
    assert_eq!(kinds(&outcomes(steps).await), ["unknown"; 3]);
}

#[tokio::test]
async fn bug_g5_html_is_no_success_where_the_answer_decides() {
    let page = "<html><body>Service unavailable, please try again</body></html>";
    let steps = vec![Step::Write(answer(200, &[("content-type", "text/html")], page))];
    assert_eq!(kinds(&outcomes(steps).await), ["accepted", "unknown", "unknown"], "a webhook's status is its word");
}

#[tokio::test]
async fn bug_g5_an_empty_200_is_no_success_where_the_answer_decides() {
    let outcomes = outcomes(vec![Step::Write(answer(200, &[], ""))]).await;
    assert_eq!(kinds(&outcomes), ["accepted", "unknown", "unknown"]);
    assert_eq!(outcomes[0], Outcome::Accepted { message_id: None });
}

#[tokio::test]
async fn bug_g5_an_answer_of_more_than_64_kib_is_not_read_to_its_end() {
    let long = format!("{{\"id\":\"gw-1\",\"sid\":\"SM1\",\"status\":\"queued\",\"x\":\"{}\"}}", "x".repeat(64 * 1024));
    let outcomes = outcomes(vec![Step::Write(answer(200, &[("content-type", "application/json")], &long))]).await;
    assert_eq!(kinds(&outcomes), ["accepted", "unknown", "unknown"]);
    assert_eq!(outcomes[0], Outcome::Accepted { message_id: None });
}

#[tokio::test]
async fn bug_g5_an_answer_of_just_64_kib_is_read() {
    let frame = "{\"id\":\"gw-1\",\"x\":\"\"}";
    let body = format!("{{\"id\":\"gw-1\",\"x\":\"{}\"}}", "x".repeat(64 * 1024 - frame.len()));
    let gateway = Gateway::answering(200, &[], &body).await;
    let outcome = sender(&webhook(&gateway.url)).send(&message(TEXT)).await;
    assert_eq!(outcome, Outcome::Accepted { message_id: Some("gw-1".to_owned()) });
}

#[tokio::test]
async fn bug_g5_the_wrong_content_type_changes_nothing() {
    let json = "{\"id\":\"gw-1\",\"sid\":\"SM1\",\"status\":\"queued\"}";
    for label in ["text/html", "text/plain; charset=latin1", "image/png"] {
        let outcomes = outcomes(vec![Step::Write(answer(200, &[("content-type", label)], json))]).await;
        assert_eq!(kinds(&outcomes), ["accepted", "unknown", "accepted"], "{label}: JSON is JSON");
        assert_eq!(outcomes[0], Outcome::Accepted { message_id: Some("gw-1".to_owned()) });
    }
    let page = Step::Write(answer(200, &[("content-type", "application/json")], "<html></html>"));
    assert_eq!(kinds(&outcomes(vec![page]).await), ["accepted", "unknown", "unknown"], "and a page is a page");
}

#[tokio::test]
async fn bug_g5_an_error_under_200_is_no_success() {
    let errors = [
        "[{\"msg_id\":\"\",\"str_response\":\"Invalid Password\"}]",
        "{\"code\":20003,\"message\":\"Authenticate\",\"status\":401}",
        "{\"error\":true}",
        "null",
        "[]",
        "[[]]",
        "\"Send Successful\"",
    ];
    for error in errors {
        let outcomes = outcomes(vec![Step::Write(answer(200, &[("content-type", "application/json")], error))]).await;
        assert!(kinds(&outcomes)[1..].iter().all(|kind| *kind != "accepted"), "{error}: {outcomes:?}");
    }
}

#[tokio::test]
async fn bug_g5_a_redirect_is_not_followed() {
    let there = Gateway::answering(200, &[], "{}").await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/messages", there.url);
        let outcomes = outcomes(vec![Step::Write(answer(status, &[("location", &location)], ""))]).await;
        assert_eq!(kinds(&outcomes), ["retry_elsewhere"; 3], "{status}");
    }
    assert_eq!(there.asked().len(), 0);
}

#[tokio::test]
async fn bug_g5_a_channel_that_is_not_carried_is_not_tried() {
    let gateway = Gateway::answering(200, &[], "{}").await;
    let voice = countersign::core::outcome::Message { channel: Channel::Voice, ..message(TEXT) };
    let outcome = sender(&everybody(&gateway.url)[2]).send(&voice).await;
    assert_eq!((kind(&outcome), reason(&outcome)), ("retry_elsewhere", "not sent: this provider does not carry voice"));
    assert_eq!(gateway.asked().len(), 0);
}

#[tokio::test]
async fn a_country_that_is_not_reached_is_not_tried() {
    let gateway = Gateway::answering(200, &[], "{\"code\":\"00\",\"jobid\":\"1\"}").await;
    let turkish =
        ProviderConfig::new("tr", "netgsm").with("username", "u").with("password", "p").with("sender", "EXAMPLE");
    let sender = sender(&turkish.with("base_url", gateway.url.as_str()));
    let outcome = sender.send(&message(TEXT)).await;
    assert_eq!(reason(&outcome), "not sent: this provider does not reach this country");
    assert_eq!((kind(&outcome), gateway.asked().len()), ("retry_elsewhere", 0));
    let to = Destination::parse("+905000000000", None).unwrap();
    assert_eq!(kind(&sender.send(&Message { to, ..message(TEXT) }).await), "accepted");
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let gateway = Gateway::answering(200, &[], "{}").await;
    let sender = sender(&webhook(&gateway.url));
    for _ in 0..5 {
        assert_eq!(kind(&sender.send(&message(TEXT)).await), "accepted");
    }
    assert_eq!((gateway.asked().len(), gateway.connections()), (5, 1));
}

#[tokio::test]
async fn a_connection_that_the_gateway_has_closed_is_not_used_again() {
    let gateway = Gateway::doing(vec![Step::Write(answer(200, &[], "{}")), Step::Close]).await;
    let sender = sender(&webhook(&gateway.url));
    for _ in 0..3 {
        assert_eq!(kind(&sender.send(&message(TEXT)).await), "accepted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((gateway.asked().len(), gateway.connections()), (3, 3));
}

#[tokio::test]
async fn many_messages_at_once_are_each_sent_once() {
    let gateway =
        Gateway::doing(vec![Step::Wait(Duration::from_millis(20)), Step::Write(answer(200, &[], "{}"))]).await;
    let sender = sender(&webhook(&gateway.url).within(Duration::from_secs(10)));
    let mut sends = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let sender = std::sync::Arc::clone(&sender);
        sends.spawn(async move { kind(&sender.send(&message(TEXT)).await) });
    }
    assert_eq!(sends.join_all().await, vec!["accepted"; 50]);
    assert_eq!(gateway.asked().len(), 50);
}

#[tokio::test]
async fn a_send_can_be_dropped_at_any_await() {
    let gateway = Gateway::doing(vec![Step::Wait(Duration::from_secs(60))]).await;
    let sender = sender(&webhook(&gateway.url).within(Duration::from_secs(1)));
    let text = message(TEXT);
    let waited = tokio::time::timeout(Duration::from_millis(50), sender.send(&text)).await;
    assert!(waited.is_err());
    let again = sender.send(&text).await;
    assert_eq!(kind(&again), "unknown");
}
