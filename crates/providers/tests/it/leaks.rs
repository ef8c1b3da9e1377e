//! BUGS F2 and F5: what a provider echoes in an error comes back neither as a reason nor as an id, nor does a credential.

use countersign::core::outcome::Outcome;
use countersign_providers::{FieldValue, ProviderConfig};
use serde_json::json;

use crate::gateway::Gateway;
use crate::{SECRET, everybody, kind, message, sender};

const TEXT: &str = "Your Example code is 482913.";

/// What each of the providers sends and must not be told again, in the order of [`everybody`].
const HIDDEN: [&[&str]; 3] = [
    &["482913", "694230173", "Your Example code", SECRET],
    &["482913", "694230173", "Your Example code", "correct-horse", "20061628"],
    &["482913", "694230173", "Your Example code", "t0k3n-of-the-account", "AC0123456789abcdef0123456789abcdef"],
];

fn assert_silent(hidden: &[&str], outcome: &Outcome) {
    let shown = format!("{outcome:?}");
    for hidden in hidden {
        assert!(!shown.contains(hidden), "{hidden}: {shown}");
    }
}

/// Every way in which a body can echo these.
fn echoes(hidden: &[&str]) -> Vec<String> {
    let everything = format!("{TEXT} to +255694230173: {}", hidden.join(" "));
    let mut all = vec![everything.clone(), format!("<html>{everything}</html>")];
    for value in [&[everything.as_str(), TEXT, "+255694230173", "255694230173"], hidden].concat() {
        for key in ["code", "error_code", "id", "sid", "message", "error", "status"] {
            all.push(json!({ key: value, "status": "failed" }).to_string());
            all.push(json!({ key: value }).to_string());
        }
        all.push(json!({ "sid": value, "status": "queued" }).to_string());
        for key in ["str_response", "response", "msg_id"] {
            all.push(json!([{ key: value, "number": "255694230173" }]).to_string());
            all.push(json!([{ key: value, "str_response": "Send Successful" }]).to_string());
            all.push(json!([{ key: value, "msg_id": "7" }]).to_string());
        }
    }
    all.push(r#"{"code":482913,"id":482913,"sid":482913,"status":"queued"}"#.to_owned());
    all.push(r#"[{"msg_id":482913,"str_response":"Send Successful"}]"#.to_owned());
    all.push(r#"{"code":255694230173,"error_code":255694230173}"#.to_owned());
    all
}

#[tokio::test]
async fn bug_f2_a_provider_that_echoes_in_its_answer_leaks_nothing() {
    for status in [200, 201, 400, 401, 429, 500] {
        for (nth, hidden) in HIDDEN.into_iter().enumerate() {
            for echo in echoes(hidden) {
                let gateway = Gateway::answering(status, &[("content-type", "application/json")], &echo).await;
                let config = everybody(&gateway.url).swap_remove(nth);
                assert_silent(hidden, &sender(&config).send(&message(TEXT)).await);
            }
        }
    }
}

#[tokio::test]
async fn bug_f2_a_provider_that_echoes_in_its_headers_leaks_nothing() {
    let headers = [("retry-after", "482913"), ("x-error", TEXT), ("location", "http://host/482913")];
    for status in [302, 400, 429] {
        let gateway = Gateway::answering(status, &headers, "").await;
        for (config, hidden) in everybody(&gateway.url).iter().zip(HIDDEN) {
            assert_silent(hidden, &sender(config).send(&message(TEXT)).await);
        }
    }
}

#[tokio::test]
async fn bug_f5_an_address_with_a_token_is_in_no_reason() {
    let config =
        ProviderConfig::new("gw", "webhook").with("url", "http://127.0.0.1:1/correct-horse?token=correct-horse");
    let outcome = sender(&config).send(&message(TEXT)).await;
    assert_eq!(kind(&outcome), "retry_elsewhere");
    assert_silent(&["correct-horse", "127.0.0.1"], &outcome);
}

#[test]
fn bug_f5_no_debug_shows_a_credential_or_a_message() {
    for (config, hidden) in everybody("http://127.0.0.1:9").iter().zip(HIDDEN) {
        let shown = format!("{config:?} {:?}", message(TEXT));
        for hidden in hidden {
            assert!(!shown.contains(hidden), "{hidden}: {shown}");
        }
    }
    assert_eq!(format!("{:?}", FieldValue::from("correct-horse")), "…");
}
