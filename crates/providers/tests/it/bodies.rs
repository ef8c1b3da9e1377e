//! BUGS G9, body damaged: what a person was meant to read is what leaves, byte for byte, and stays inside its string.

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::id::ApplicationName;
use countersign::core::outcome::Message;
use countersign_providers::ProviderConfig;
use proptest::prelude::*;
use reqwest::Url;
use serde_json::Value;

use crate::gateway::{Asked, Gateway};
use crate::{everybody, kind, message, sender};

/// A tenant's name as in the bug, and everything that a body can be broken with.
const NASTY: &str = "A&B <\"x\">: 482913 \\ \\u0022 {{ code }} {% if %} ' ` %00 %41 + = & ; \r\n\t\u{202e}evil\u{202c} \u{0} \u{7f} é \u{1F511}";

/// What a provider was sent for this text.
async fn asked(config: impl Fn(&str) -> ProviderConfig, text: &str) -> Asked {
    let gateway = Gateway::answering(200, &[], "{}").await;
    sender(&config(&gateway.url)).send(&message(text)).await;
    gateway.only()
}

fn webhook(url: &str) -> ProviderConfig {
    everybody(url).swap_remove(0)
}

fn mshastra(url: &str) -> ProviderConfig {
    everybody(url).swap_remove(1)
}

fn twilio(url: &str) -> ProviderConfig {
    everybody(url).swap_remove(2)
}

fn json(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

fn form(asked: &Asked) -> Vec<(String, String)> {
    let body = std::str::from_utf8(&asked.body).unwrap();
    let url = Url::parse(&format!("http://host/?{body}")).unwrap();
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
}

#[tokio::test]
async fn bug_g9_a_json_body_holds_the_text_byte_for_byte() {
    let body = json(&asked(webhook, NASTY).await);
    assert_eq!(body["text"], NASTY);
    let keys: Vec<_> = body.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["application", "channel", "from", "id", "locale", "text", "to"]);

    let body = json(&asked(mshastra, NASTY).await);
    assert_eq!(body.as_array().unwrap().len(), 1);
    assert_eq!(body[0]["msg"], NASTY);
    assert_eq!(body[0]["language"], "Unicode");
    assert_eq!(body[0].as_object().unwrap().len(), 6);
}

#[tokio::test]
async fn bug_g9_a_form_body_holds_the_text_byte_for_byte() {
    let form = form(&asked(twilio, NASTY).await);
    let expected = [("To", "+255694230173"), ("From", "+15017122661"), ("Body", NASTY)];
    assert_eq!(form, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn a_country_sees_its_own_sender() {
    let gateway = Gateway::answering(200, &[], "{}").await;
    let config =
        twilio(&gateway.url).sender_in("US".parse().unwrap(), "+15005550006").sender_in("KE".parse().unwrap(), "MyApp");
    let sender = sender(&config);
    assert_eq!((sender.name(), sender.channels()), ("tw", &[Channel::Sms][..]));
    let kenya = "+254712123456";
    // A store that keeps no country still has the number.
    let restored = Destination::restored(kenya.to_owned(), None);
    for (to, from) in [
        (Destination::parse("+12015550123", None).unwrap(), "+15005550006"),
        (Destination::parse(kenya, None).unwrap(), "MyApp"),
        (restored, "MyApp"),
        (Destination::parse("+255694230173", None).unwrap(), "+15017122661"),
    ] {
        sender.send(&Message { to, ..message("x") }).await;
        let asked = gateway.asked().pop().unwrap();
        assert_eq!(form(&asked)[1], ("From".to_owned(), from.to_owned()));
    }
}

#[tokio::test]
async fn bug_g9_the_plainest_case_on_the_wire() {
    let text = "A&B <\"x\">: 482913";
    let webhook = asked(webhook, text).await;
    let body = String::from_utf8(webhook.body).unwrap();
    assert!(body.contains(r#""text":"A&B <\"x\">: 482913""#), "{body}");
    let twilio = asked(twilio, text).await;
    let body = String::from_utf8(twilio.body).unwrap();
    assert!(body.ends_with("&Body=A%26B+%3C%22x%22%3E%3A+482913"), "{body}");
}

#[tokio::test]
async fn bug_g9_credentials_stay_in_their_places() {
    let nasty = "p\"w\\&=%41 {{ text }} é";
    let gateway = Gateway::answering(200, &[], "{}").await;
    let config = ProviderConfig::new("tz", "mshastra").with("base_url", gateway.url.as_str());
    let config = config.with("user", "u\",\"x\":\"").with("password", nasty).with("sender", "A&B <\"x\">");
    sender(&config).send(&message("x")).await;
    let body = json(&gateway.only());
    assert_eq!((&body[0]["pwd"], &body[0]["user"]), (&nasty.into(), &"u\",\"x\":\"".into()));
    assert_eq!(body[0]["sender"], "A&B <\"x\">");

    let gateway = Gateway::answering(200, &[], "{}").await;
    let config = ProviderConfig::new("tw", "twilio").with("base_url", format!("{}/proxy/", gateway.url));
    let config = config.with("account_sid", "../AC 1?a=b#c").with("auth_token", "t").with("from", "A&B");
    sender(&config).send(&message("x")).await;
    let line = gateway.only().line;
    assert_eq!(line, "POST /proxy/2010-04-01/Accounts/..%2FAC%201%3Fa=b%23c/Messages.json HTTP/1.1");
}

#[tokio::test]
async fn bug_g9_no_field_can_add_a_header() {
    let gateway = Gateway::answering(200, &[], "{}").await;
    let text = message("x\r\nX-Evil: 1");
    let evil = Message { locale: "en\r\nX-Evil: 1".to_owned(), application: ApplicationName::default(), ..text };
    for config in everybody(&gateway.url) {
        sender(&config).send(&evil).await;
    }
    for asked in gateway.asked() {
        assert_eq!(asked.header("x-evil"), None, "{asked:?}");
    }
}

#[tokio::test]
async fn a_text_of_a_hundred_kilobytes_is_carried_whole() {
    let long = "x".repeat(100_000);
    let body = json(&asked(webhook, &long).await);
    assert_eq!(body["text"], long.as_str());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bug_g9_any_text_is_read_back_as_it_was(text in any::<String>()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let gateway = Gateway::answering(200, &[], "{}").await;
            for config in everybody(&gateway.url) {
                let outcome = sender(&config).send(&message(&text)).await;
                assert_ne!(kind(&outcome), "give_up");
            }
            let asked = gateway.asked();
            assert_eq!(json(&asked[0])["text"], text.as_str());
            assert_eq!(json(&asked[1])[0]["msg"], text.as_str());
            assert_eq!(form(&asked[2])[2].1, text);
        });
    }
}
