//! CAMARA OneTimePasswordSMS v1: each of the published scenarios of release 1.1.1 (r3.2), by its facts; beside each its tag. Then what
//! the scenarios leave out.

use std::time::Duration;

use serde_json::{Value, json};

use crate::house::http::request;
use crate::house::plan::{Plan, limit, open};
use crate::house::sink::code_in;
use crate::house::{Act, House, Reply, Sink, phone, wrong};

const PREFIX: &str = "/one-time-password-sms/v1";
const CORRELATOR: &str = "b4333c46-49c0-4f62-80d7-f0ef930f1c46";
const TEXT: &str = "{{code}} is your short code to authenticate with Cool App via SMS";
/// What CAMARA says of its answers, in our words: for each call and status the codes that there are.
const PUBLISHED: &str = include_str!("camara.json");
/// Of a line in a wall.
const LANDLINE: &str = "+255222123456";
/// Of a kind that only costs money.
const PREMIUM: &str = "+19005550123";

/// The caller, whose correlator comes back in every answer.
struct Caller<'a> {
    house: &'a House,
    key: String,
}

impl<'a> Caller<'a> {
    fn new(house: &'a House) -> Self {
        Self { house, key: house.door.key().to_owned() }
    }

    async fn ask(&self, call: &str, authorization: Option<&str>, body: &[u8]) -> Reply {
        let mut headers = vec![("Content-Type", "application/json"), ("X-Correlator", CORRELATOR)];
        headers.extend(authorization.map(|value| ("Authorization", value)));
        let reply = self.house.door.raw(&request("POST", &format!("{PREFIX}/{call}"), &headers, body)).await;
        assert_eq!(reply.header("x-correlator"), Some(CORRELATOR), "{reply:?}");
        is_published(call, &reply);
        reply
    }

    async fn post(&self, call: &str, body: Value) -> Reply {
        self.ask(call, Some(&format!("Bearer {}", self.key)), body.to_string().as_bytes()).await
    }

    async fn send(&self, to: &str) -> Reply {
        self.post("send-code", json!({"phoneNumber": to, "message": TEXT})).await
    }

    /// The authenticationId of a code that is on its way.
    async fn begin(&self, to: &str) -> String {
        let body = self.send(to).await.ok(200);
        assert_eq!(body.as_object().unwrap().len(), 1, "{body}");
        let id = body["authenticationId"].as_str().unwrap().to_owned();
        assert!(id.len() <= 36);
        id
    }

    async fn validate(&self, id: &str, code: &str) -> Reply {
        self.post("validate-code", json!({"authenticationId": id, "code": code})).await
    }

    async fn approve(&self, id: &str, code: &str) {
        let reply = self.validate(id, code).await;
        assert_eq!((reply.status, reply.text().as_str()), (204, ""), "{reply:?}");
    }
}

/// Whatever the scenario, the answer is one that is published for its call.
#[track_caller]
fn is_published(call: &str, reply: &Reply) {
    let published: Value = serde_json::from_str(PUBLISHED).unwrap();
    let status = reply.status.to_string();
    match published[call].get(&status).or_else(|| published["any"].get(&status)) {
        Some(Value::Null) => assert_eq!(reply.text(), "", "{call} {status}"),
        Some(Value::String(member)) => {
            let body = reply.json();
            assert!(body[member].as_str().is_some_and(|text| (1..=36).contains(&text.len())), "{call}: {body}");
            assert_eq!(body.as_object().unwrap().len(), 1, "{call}: {body}");
        }
        Some(Value::Array(codes)) => assert!(codes.contains(&reply.json()["code"]), "{call}: {}", reply.text()),
        _ => panic!("{call}: {status} is not published: {}", reply.text()),
    }
}

/// A refusal of this dialect, in every part that it has.
#[track_caller]
fn no(reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!(reply.status, status, "{}", reply.text());
    assert_eq!(reply.header("content-type"), Some("application/json"));
    let body = reply.json();
    let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["code", "message", "status"], "{body}");
    let own = ["INVALID_OTP", "VERIFICATION_EXPIRED", "VERIFICATION_FAILED", "MAX_OTP_CODES_EXCEEDED"];
    let own = own.contains(&code) || code.starts_with("PHONE_NUMBER");
    let code = format!("{}{code}", if own { "ONE_TIME_PASSWORD_SMS." } else { "" });
    assert_eq!((&body["status"], &body["code"]), (&json!(status), &json!(code)), "{body}");
    assert!(body["message"].as_str().is_some_and(|text| text.contains(' ')), "words for people: {body}");
    if status == 429 {
        reply.says_when(&Value::Null);
    }
    body
}

async fn begun(plan: Plan) -> (House, Sink) {
    House::with_sink(plan).await
}

/// send-code: 01, 02.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_sent_in_the_callers_words() {
    let (house, sink) = begun(open()).await;
    let caller = Caller::new(&house);
    let id = caller.begin(&phone(1)).await;
    let message = sink.wait(&phone(1), 1).await.remove(0);
    assert_eq!((&*message.channel, &*message.text), ("sms", &*TEXT.replace("{{code}}", &message.code)));
    caller.approve(&id, &message.code).await;
    // Without a correlator there is none in the answer.
    let bearer = format!("Bearer {}", house.door.key());
    let headers = [("Content-Type", "application/json; charset=utf-8"), ("Authorization", &*bearer)];
    let body = json!({"phoneNumber": phone(2), "message": TEXT}).to_string();
    let reply = house.door.ask("POST", &format!("{PREFIX}/send-code"), &headers, body.as_bytes()).await;
    assert!(reply.ok(200)["authenticationId"].is_string());
    assert_eq!((reply.header("content-type"), reply.header("x-correlator")), (Some("application/json"), None));
}

/// send-code: 400.1, 400.2, 400.4, 400.5, 400.6, 400.7; validate-code: 400.1, 400.2, 400.3 (twice), 400.4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arguments_that_cannot_be_meant_are_refused_and_named() {
    let (house, sink) = begun(open()).await;
    let caller = Caller::new(&house);
    let bearer = format!("Bearer {}", caller.key);
    for call in ["send-code", "validate-code"] {
        for body in [&b""[..], b"{}", b"[]", b"{", b"null", b"{\"a\":1,\"a\":2}"] {
            no(&caller.ask(call, Some(&bearer), body).await, 400, "INVALID_ARGUMENT");
        }
    }
    let too_long = format!("{{{{code}}}}{}", "x".repeat(153));
    let with = |phone: Value, message: Value| json!({"phoneNumber": phone, "message": message});
    let to = json!(phone(1));
    for (body, named) in [
        (with(json!("3301"), json!(TEXT)), "phoneNumber"),
        (with(json!("255694000001"), json!(TEXT)), "phoneNumber"),
        (with(json!("+255 694 000 001"), json!(TEXT)), "phoneNumber"),
        (with(json!("+0255694000001"), json!(TEXT)), "phoneNumber"),
        (with(json!("+1234567890123456"), json!(TEXT)), "phoneNumber"),
        // As it is written, and still none.
        (with(json!("+99912345"), json!(TEXT)), "phoneNumber"),
        (with(json!(255_694_000_001_u64), json!(TEXT)), "phoneNumber"),
        (json!({"message": TEXT}), "phoneNumber"),
        (json!({"phoneNumber": phone(1)}), "message"),
        (with(to.clone(), Value::Null), "message"),
        (with(to.clone(), json!("message without code")), "message"),
        (with(to.clone(), json!("{{ code }}")), "message"),
        (with(to.clone(), json!(too_long)), "message"),
        (with(to.clone(), json!("{{code}}\u{0}")), "message"),
        (with(to.clone(), json!("\u{202e}{{code}}")), "message"),
        (with(to.clone(), json!("{{code}} https://evil.example")), "message"),
        (with(to.clone(), json!("{{code}}\n\n@evil.example #{{code}}")), "message"),
        // Links of other scripts, and without a name.
        (with(to.clone(), json!("{{code}} аррӏе.com")), "message"),
        (with(to.clone(), json!("{{code}} банк.рф")), "message"),
        (with(to.clone(), json!("{{code}} 203.0.113.7/login")), "message"),
        (json!({"phoneNumber": phone(1), "message": TEXT, "other": 1}), "other"),
    ] {
        let said = no(&caller.post("send-code", body.clone()).await, 400, "INVALID_ARGUMENT");
        assert!(said["message"].as_str().unwrap().contains(named), "{body}: {said}");
    }
    assert_eq!(sink.count(), 0);
    let id = caller.begin(&phone(1)).await;
    let code = sink.code_of(&phone(1)).await;
    for (body, named) in [
        (json!({"code": code}), "authenticationId"),
        (json!({"authenticationId": null, "code": code}), "authenticationId"),
        (json!({"authenticationId": "x".repeat(37), "code": code}), "authenticationId"),
        (json!({"authenticationId": id}), "code"),
        (json!({"authenticationId": id, "code": null}), "code"),
        (json!({"authenticationId": id, "code": ""}), "code"),
        (json!({"authenticationId": id, "code": 123_456}), "code"),
        (json!({"authenticationId": id, "code": "thisCodeExceedsTenCharacters"}), "code"),
        (json!({"authenticationId": id, "code": code, "phoneNumber": phone(1)}), "phoneNumber"),
    ] {
        let said = no(&caller.post("validate-code", body.clone()).await, 400, "INVALID_ARGUMENT");
        assert!(said["message"].as_str().unwrap().contains(named), "{body}: {said}");
    }
    caller.approve(&id, &code).await;
    // 160 characters, of which eight are the code's place.
    let longest = format!("{{{{code}}}}{}", "é".repeat(152));
    caller.post("send-code", with(to, json!(longest))).await.ok(200);
}

/// send-code: 401.1, 401.2, 401.3; validate-code: 401.1, 401.2, 401.3. What expires here is a key that is revoked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_known_is_unauthenticated() {
    let (house, sink) = begun(open()).await;
    let caller = Caller::new(&house);
    let made = house.cli("key create default --json").await;
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert!(house.cli(&format!("key revoke {}", made["id"].as_str().unwrap())).await.status.success());
    let revoked = format!("Bearer {}", made["key"].as_str().unwrap());
    for call in ["send-code", "validate-code"] {
        let body = json!({"phoneNumber": phone(1), "message": TEXT}).to_string();
        for authorization in [None, Some(&*revoked), Some("Bearer nonsense"), Some("Basic Y3M6eA=="), Some("Bearer ")] {
            let reply = caller.ask(call, authorization, body.as_bytes()).await;
            no(&reply, 401, "UNAUTHENTICATED");
            assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
    }
    assert_eq!(sink.count(), 0);
}

/// send-code: 03 (`max_send` is one more than the limit's quota).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_many_codes_for_a_number_are_refused() {
    let (house, _sink) = begun(open().limits(&[limit("destination", "sends", 5, "10m")])).await;
    let caller = Caller::new(&house);
    for _ in 0..5 {
        caller.begin(&phone(1)).await;
    }
    let reply = caller.send(&phone(1)).await;
    no(&reply, 403, "MAX_OTP_CODES_EXCEEDED");
    reply.says_when(&Value::Null);
    caller.begin(&phone(2)).await;
}

/// send-code: 04, 05, 06, 404.1. The gateway is Twilio's Messages API, whose refusals say whose fault they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_that_no_sms_reaches_are_refused() {
    let sink = Sink::start().await;
    let base = sink.url().replace("/messages", "");
    let house = House::start(open().and_policy("allowed_countries = [\"TZ\", \"KE\", \"US\"]").delivery("retries = 0").and(&format!(
        "[[providers]]\nname = \"gateway\"\nuses = \"twilio\"\nbase_url = \"{base}\"\naccount_sid = \"AC0123456789abcdef0123456789abcdef\"\n\
         auth_token = \"secret\"\nfrom = \"+15005550006\"\n\
         [[routes]]\nchannel = \"sms\"\ncountries = [\"TZ\", \"US\"]\nproviders = [\"gateway\"]"
    )))
    .await;
    let caller = Caller::new(&house);
    no(&caller.send(PREMIUM).await, 403, "PHONE_NUMBER_NOT_ALLOWED");
    no(&caller.send(LANDLINE).await, 403, "PHONE_NUMBER_NOT_ALLOWED");
    // A country that the application does not write to.
    no(&caller.send("+447400123456").await, 403, "PHONE_NUMBER_NOT_ALLOWED");
    // One that no gateway here serves.
    no(&caller.send("+254712123456").await, 404, "NOT_FOUND");
    assert_eq!(sink.count(), 0);
    sink.script([Act::Answer(400, json!({"code": 21614, "message": "no", "status": 400}).to_string())]);
    no(&caller.send(&phone(1)).await, 403, "PHONE_NUMBER_BLOCKED");
    sink.script([Act::Answer(500, String::new())]);
    no(&caller.send(&phone(2)).await, 502, "BAD_GATEWAY");
}

/// validate-code: 01, 02, 400.5, 400.8, 400.9 (`max_try` is `policy.max_checks`), 404.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_right_once_and_guesses_end() {
    let (house, sink) = begun(open()).await;
    let caller = Caller::new(&house);
    let id = caller.begin(&phone(1)).await;
    let code = sink.code_of(&phone(1)).await;
    no(&caller.validate(&id, &wrong(&code, 0)).await, 400, "INVALID_OTP");
    // What nobody can have been sent is no guess.
    for unlike in ["AJY3", "12", "١٢٣٤٥٦", " ", "0123456789"].iter().chain(&["a"; 10]) {
        no(&caller.validate(&id, unlike).await, 400, "INVALID_OTP");
    }
    let shown = house.door.show(&id).await;
    assert_eq!(shown["checks_left"], 3, "two were guesses: {shown}");
    let bearer = format!("Bearer {}", caller.key);
    let headers = [("Content-Type", "application/json"), ("Authorization", &*bearer)];
    let body = json!({"authenticationId": id, "code": code}).to_string();
    let reply = house.door.ask("POST", &format!("{PREFIX}/validate-code"), &headers, body.as_bytes()).await;
    assert_eq!((reply.status, reply.header("x-correlator")), (204, None));
    for offered in [&*code, &wrong(&code, 0), "AJY3"] {
        no(&caller.validate(&id, offered).await, 400, "VERIFICATION_EXPIRED");
    }

    let id = caller.begin(&phone(2)).await;
    let code = sink.code_of(&phone(2)).await;
    for nth in 0..4 {
        no(&caller.validate(&id, &wrong(&code, nth)).await, 400, "INVALID_OTP");
    }
    for offered in [&*wrong(&code, 4), &code, "AJY3"] {
        no(&caller.validate(&id, offered).await, 400, "VERIFICATION_FAILED");
    }

    for unknown in [format!("vf_{}", "0".repeat(32)), "ea0840f3-3663-4149-bd10-c7c6b8912105".to_owned(), "x".into()] {
        for offered in [&*code, "AJY3"] {
            no(&caller.validate(&unknown, offered).await, 404, "NOT_FOUND");
        }
    }
}

/// validate-code: 400.6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_expires() {
    let (house, sink) = begun(open().and_policy("ttl = \"30s\"")).await;
    let caller = Caller::new(&house);
    let id = caller.begin(&phone(1)).await;
    let code = sink.code_of(&phone(1)).await;
    tokio::time::sleep(Duration::from_millis(30_500)).await;
    for offered in [&*code, &wrong(&code, 0), "AJY3"] {
        no(&caller.validate(&id, offered).await, 400, "VERIFICATION_EXPIRED");
    }
}

/// validate-code: 400.7.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_code_to_a_number_ends_the_first() {
    let (house, sink) = begun(open().policy("resend_after = \"30s\"\nmax_sends = 1")).await;
    let caller = Caller::new(&house);
    let first = caller.begin(&phone(1)).await;
    let second = caller.begin(&phone(1)).await;
    assert_ne!(first, second);
    let messages = sink.wait(&phone(1), 2).await;
    let [old, new] = [&messages[0].code, &messages[1].code];
    assert_eq!(code_in(&messages[1].text), *new);
    for offered in [&**old, new, "AJY3"] {
        no(&caller.validate(&first, offered).await, 400, "VERIFICATION_EXPIRED");
    }
    let shown = house.door.show(&first).await;
    assert_eq!(shown["status"], "canceled");
    caller.approve(&second, new).await;
    // All at the same instant: one is left that can be approved.
    let body = json!({"phoneNumber": phone(2), "message": TEXT}).to_string();
    let bearer = format!("Bearer {}", caller.key);
    let headers = [("Content-Type", "application/json"), ("Authorization", &*bearer)];
    let bytes = request("POST", &format!("{PREFIX}/send-code"), &headers, body.as_bytes());
    let sent = house.door.race(vec![bytes; 12]).await;
    let mut pending = 0;
    for reply in &sent {
        let shown = house.door.show(reply.ok(200)["authenticationId"].as_str().unwrap()).await;
        pending += usize::from(shown["status"] == "pending");
    }
    assert_eq!(pending, 1);
    // A pause can be asked for.
    let (house, _sink) = begun(open().and("[server.camara]\nresend_after = \"30s\"")).await;
    let caller = Caller::new(&house);
    caller.begin(&phone(1)).await;
    no(&caller.send(&phone(1)).await, 403, "MAX_OTP_CODES_EXCEEDED");
}

/// Verifications of this door and of others never meet; limits and the day's guesses are one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doors_are_apart_and_share_every_budget() {
    let plan = open().and_policy("max_guesses_per_day = 3").limits(&[limit("destination", "sends", 3, "10m")]);
    let (house, sink) =
        begun(plan.and("[[applications]]\nname = \"default\"\n[[applications]]\nname = \"other\"")).await;
    let caller = Caller::new(&house);
    let native = house.door.begin(&phone(1)).await;
    let code = sink.code_of(&phone(1)).await;
    let id = caller.begin(&phone(1)).await;
    assert_ne!(native, id);
    no(&caller.validate(&native, &code).await, 404, "NOT_FOUND");
    assert_eq!(house.door.check_to(&phone(1), &code).await.result(), "approved");
    let code = sink.wait(&phone(1), 2).await.pop().unwrap().code;
    let stranger = Caller { house: &house, key: house.key_of("other").await };
    no(&stranger.validate(&id, &code).await, 404, "NOT_FOUND");
    for nth in 0..3 {
        no(&caller.validate(&id, &wrong(&code, nth)).await, 400, "INVALID_OTP");
    }
    no(&caller.validate(&id, &code).await, 429, "TOO_MANY_REQUESTS");
    caller.begin(&phone(1)).await;
    no(&caller.send(&phone(1)).await, 403, "MAX_OTP_CODES_EXCEEDED");
    house.door.post("/v1/verifications", json!({"to": phone(1)})).await.problem(429, "rate_limited");
}

/// What is said around the calls is said in the same shape.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_refusal_has_the_shape_too() {
    let rows = [limit("application", "sends", 1, "1h"), limit("prefix", "sends", 1, "1h")];
    let (house, _sink) = begun(open().limits(&rows)).await;
    let caller = Caller::new(&house);
    let bearer = format!("Bearer {}", caller.key);
    let ask = async |method: &str, call: &str, more: &[(&str, &str)], body: &[u8]| {
        let headers = [&[("Authorization", &*bearer), ("X-Correlator", CORRELATOR)][..], more].concat();
        house.door.raw(&request(method, &format!("{PREFIX}/{call}"), &headers, body)).await
    };
    let json_type = [("Content-Type", "application/json")];
    no(&ask("GET", "send-code", &[], b"").await, 405, "METHOD_NOT_ALLOWED");
    no(&ask("POST", "retrieve-code", &json_type, b"{}").await, 404, "NOT_FOUND");
    no(&ask("POST", "send-code", &[("Content-Type", "text/plain")], b"x").await, 415, "UNSUPPORTED_MEDIA_TYPE");
    no(&ask("POST", "send-code", &json_type, &[b' '; 20_000]).await, 413, "PAYLOAD_TOO_LARGE");
    for (bad, body) in [("a b", b"{}"), ("a\"b", b"{}")] {
        let headers = [("Content-Type", "application/json"), ("Authorization", &*bearer), ("X-Correlator", bad)];
        let reply = house.door.raw(&request("POST", &format!("{PREFIX}/send-code"), &headers, body)).await;
        let said = no(&reply, 400, "INVALID_ARGUMENT");
        assert!(said["message"].as_str().unwrap().starts_with("x-correlator"), "{said}");
        assert_eq!(reply.header("x-correlator"), None);
    }
    caller.begin(&phone(1)).await;
    no(&caller.send(&phone(30_000)).await, 429, "QUOTA_EXCEEDED");

    let (house, _sink) = begun(open().limits(&[limit("prefix", "sends", 1, "1h")])).await;
    let caller = Caller::new(&house);
    caller.begin(&phone(1)).await;
    no(&caller.send(&phone(2)).await, 429, "TOO_MANY_REQUESTS");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_door_can_be_moved_and_switched_off() {
    let (house, _sink) = begun(open().and("[server.camara]\nenabled = false")).await;
    for call in ["send-code", "validate-code"] {
        let reply = house.door.post(&format!("{PREFIX}/{call}"), json!({})).await;
        reply.problem(404, "not_found");
    }
    let document = house.door.get("/openapi.json").await.ok(200);
    assert!(document["paths"].get(format!("{PREFIX}/send-code")).is_none());
    let (house, _sink) = begun(open().and("[server.camara]\nprefix = \"/otp\"")).await;
    let body = json!({"phoneNumber": phone(1), "message": TEXT});
    house.door.post("/otp/send-code", body.clone()).await.ok(200);
    house.door.post(&format!("{PREFIX}/send-code"), body).await.problem(404, "not_found");
    let document = house.door.get("/openapi.json").await.ok(200);
    assert!(document["paths"]["/otp/send-code"]["post"].is_object());
}
