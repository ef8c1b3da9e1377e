//! BUGS G11, callbacks abused: a report is believed only with the provider's own signature, of this body, of about now.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_providers::standard_webhooks::{Key, Unsigned};
use countersign_providers::{
    ProviderConfig, Receipt, ReceiptReader, ReceiptRefused, ReceiptRequest, ReceiptStatus, read_receipt,
};
use proptest::prelude::*;
use reqwest::Url;
use reqwest::header::HeaderMap;
use ring::hmac;

use crate::{AT, SECRET};

const BODY: &[u8] = br#"{"id":"gw-1","status":"delivered","error":null}"#;

fn config(secret: &str) -> ProviderConfig {
    ProviderConfig::new("gateway", "webhook").with("url", "http://127.0.0.1:9/").with("secret", secret)
}

fn headers(id: &str, timestamp: &str, signature: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", id.parse().unwrap());
    headers.insert("webhook-timestamp", timestamp.parse().unwrap());
    headers.insert("webhook-signature", signature.parse().unwrap());
    headers
}

fn signed(secret: &str, body: &[u8]) -> HeaderMap {
    let key: Key = secret.parse().unwrap();
    headers("r1", &AT.to_string(), &key.sign("r1", AT, body))
}

fn read(headers: &HeaderMap, body: &[u8], now: i64) -> Result<Receipt, ReceiptRefused> {
    let receipts =
        read_receipt(&config(SECRET), &ReceiptRequest { headers, body, by_get: false, path_secret: None, now })?;
    assert_eq!(receipts.len(), 1);
    Ok(receipts.into_iter().next().unwrap())
}

const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

#[test]
fn a_signed_report_is_read() {
    let receipt = read(&signed(SECRET, BODY), BODY, AT).unwrap();
    assert_eq!(receipt, Receipt { reference: "gw-1".to_owned(), status: ReceiptStatus::Delivered, error: None });
}

#[test]
fn bug_g11_a_bad_signature_is_refused() {
    let bad = Err(ReceiptRefused::Unsigned(Unsigned::BadSignature));
    // Another provider's secret, another body, another id, another time, none.
    assert_eq!(read(&signed(OTHER, BODY), BODY, AT), bad);
    assert_eq!(read(&signed(SECRET, BODY), br#"{"id":"gw-2","status":"delivered","error":null}"#, AT), bad);
    let right = signed(SECRET, BODY)["webhook-signature"].to_str().unwrap().to_owned();
    assert_eq!(read(&headers("r2", &AT.to_string(), &right), BODY, AT), bad);
    assert_eq!(read(&headers("r1", &(AT + 1).to_string(), &right), BODY, AT), bad);
    assert_eq!(read(&headers("r1", &AT.to_string(), ""), BODY, AT), bad);
    let missing = Err(ReceiptRefused::Unsigned(Unsigned::MissingHeader));
    assert_eq!(read(&HeaderMap::new(), BODY, AT), missing);
    for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
        let mut headers = signed(SECRET, BODY);
        headers.remove(name);
        assert_eq!(read(&headers, BODY, AT), missing, "{name}");
    }
    assert!(ReceiptRefused::Unsigned(Unsigned::BadSignature).is_unauthenticated());
}

#[test]
fn bug_g11_an_old_timestamp_is_refused() {
    let stale = Err(ReceiptRefused::Unsigned(Unsigned::Stale));
    let headers = signed(SECRET, BODY);
    assert!(read(&headers, BODY, AT + 300).is_ok() && read(&headers, BODY, AT - 300).is_ok());
    assert_eq!(read(&headers, BODY, AT + 301), stale);
    assert_eq!(read(&headers, BODY, AT - 301), stale);
}

#[test]
fn bug_g11_a_replay_says_what_it_said_or_nothing() {
    let reader = ReceiptReader::new(&config(SECRET)).unwrap();
    let headers = signed(SECRET, BODY);
    let at =
        |now| reader.read(&ReceiptRequest { headers: &headers, body: BODY, by_get: false, path_secret: None, now });
    assert_eq!(at(AT), at(AT + 299));
    assert!(at(AT + 3600).is_err());
}

#[test]
fn bug_g11_without_a_secret_nothing_is_believed() {
    let config = ProviderConfig::new("gateway", "webhook").with("url", "http://127.0.0.1:9/");
    for headers in [HeaderMap::new(), signed(SECRET, BODY)] {
        let request = ReceiptRequest { headers: &headers, body: BODY, by_get: false, path_secret: Some(""), now: AT };
        assert_eq!(read_receipt(&config, &request), Err(ReceiptRefused::NoSecret));
    }
}

#[test]
fn a_secret_can_be_rotated() {
    let both = format!(
        "{} {}",
        signed(OTHER, BODY)["webhook-signature"].to_str().unwrap(),
        signed(SECRET, BODY)["webhook-signature"].to_str().unwrap()
    );
    assert!(read(&headers("r1", &AT.to_string(), &both), BODY, AT).is_ok());
}

#[test]
fn what_is_signed_and_makes_no_sense_is_refused() {
    let cases: [(&str, ReceiptRefused); 8] = [
        ("", ReceiptRefused::Unreadable),
        ("<xml/>", ReceiptRefused::Unreadable),
        ("[]", ReceiptRefused::NoReference),
        (r#"{"status":"delivered"}"#, ReceiptRefused::NoReference),
        (r#"{"id":"two words","status":"delivered"}"#, ReceiptRefused::NoReference),
        (r#"{"id":"gw-1"}"#, ReceiptRefused::UnknownStatus),
        (r#"{"id":"gw-1","status":"seen"}"#, ReceiptRefused::UnknownStatus),
        (r#"{"id":"gw-1","status":["delivered"]}"#, ReceiptRefused::UnknownStatus),
    ];
    for (body, expected) in cases {
        let refused = read(&signed(SECRET, body.as_bytes()), body.as_bytes(), AT).unwrap_err();
        assert_eq!(refused, expected, "{body}");
        assert!(!refused.is_unauthenticated());
    }
}

#[test]
fn every_status_is_known_and_a_number_can_be_an_id() {
    for (word, status) in [
        ("accepted", ReceiptStatus::Accepted),
        ("DELIVERED", ReceiptStatus::Delivered),
        ("undelivered", ReceiptStatus::Undelivered),
        ("failed", ReceiptStatus::Failed),
    ] {
        let body = format!(r#"{{"id":99148291377,"status":"{word}","error":"27"}}"#);
        let receipt = read(&signed(SECRET, body.as_bytes()), body.as_bytes(), AT).unwrap();
        let expected = Receipt { reference: "99148291377".to_owned(), status, error: Some("27".to_owned()) };
        assert_eq!(receipt, expected);
    }
}

/// A provider that asks for the code of a call once a key was pressed.
fn caller() -> ProviderConfig {
    ProviderConfig::new("call", "twilio-voice")
        .with("account_sid", "AC0")
        .with("auth_token", "t0k3n")
        .with("signing_token", "t0k3n")
        .with("receipts_url", "https://otp.example.com/v1/receipts/call/")
        .with("from", "+15017122661")
        .with("keypress", "on")
}

/// The signature of Twilio, over an address and a form.
fn as_twilio(address: &str, form: &[(String, String)]) -> HeaderMap {
    let mut sorted = form.to_vec();
    sorted.sort();
    let text: String = sorted.iter().fold(address.to_owned(), |text, (name, value)| text + name + value);
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"t0k3n");
    let mut headers = HeaderMap::new();
    headers.insert("x-twilio-signature", STANDARD.encode(hmac::sign(&key, text.as_bytes())).parse().unwrap());
    headers
}

fn encoded(form: &[(String, String)]) -> String {
    let mut url = Url::parse("http://form.invalid/").unwrap();
    url.query_pairs_mut().extend_pairs(form);
    url.query().unwrap_or_default().to_owned()
}

const TAIL: &str = "/dl_07070707070707070707070707070707/00112233445566778899aabbccddeeff";

proptest! {
    #[test]
    fn bug_g11_no_body_is_believed_without_its_signature(body in proptest::collection::vec(any::<u8>(), 0..100)) {
        let refused = read(&signed(SECRET, BODY), &body, AT);
        prop_assert!(body == BODY || refused == Err(ReceiptRefused::Unsigned(Unsigned::BadSignature)));
    }

    #[test]
    fn signed_nonsense_never_panics(body in "[\\[{]?[\\[\\]{}\":,a-z0-9. ]*") {
        let _ = read(&signed(SECRET, body.as_bytes()), body.as_bytes(), AT);
    }

    #[test]
    fn a_key_is_only_what_the_provider_says_is_one(digits in "[0-9*# ]{0,3}|\\PC{0,3}", other in "\\PC{0,20}", by_get in any::<bool>()) {
        let form = vec![("CallSid".to_owned(), other), ("Digits".to_owned(), digits.clone())];
        let body = encoded(&form);
        let address = format!("https://otp.example.com/v1/receipts/call{TAIL}");
        // By GET the query is part of the address.
        let headers = if by_get { as_twilio(&format!("{address}?{body}"), &[]) } else { as_twilio(&address, &form) };
        let request = ReceiptRequest { headers: &headers, body: body.as_bytes(), by_get, path_secret: None, now: AT };
        let reader = ReceiptReader::new(&caller()).unwrap();
        prop_assert_eq!(reader.key_was_pressed(&request, TAIL), Ok(!digits.trim().is_empty()));
        prop_assert_eq!(reader.key_was_pressed(&request, &TAIL[1..]), Err(ReceiptRefused::BadSignature));
        prop_assert_eq!(reader.key_was_pressed(&request, ""), Err(ReceiptRefused::BadSignature));
    }

    #[test]
    fn nothing_unsigned_is_a_key(body in "\\PC*", tail in "\\PC*", given in "[ -~]{0,40}", by_get in any::<bool>()) {
        let mut headers = HeaderMap::new();
        headers.insert("x-twilio-signature", given.trim().parse().unwrap());
        let request = ReceiptRequest { headers: &headers, body: body.as_bytes(), by_get, path_secret: None, now: AT };
        let reader = ReceiptReader::new(&caller()).unwrap();
        prop_assert_eq!(reader.key_was_pressed(&request, &tail), Err(ReceiptRefused::BadSignature));
    }
}
