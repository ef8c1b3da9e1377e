//! A code that is spoken is heard by a person who pressed a key, and by no mailbox: a whole call, with a gateway of our own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};

use crate::house::account::encode;
use crate::house::http::{Reply, id};
use crate::house::plan::{Plan, open};
use crate::house::sink::code_in;
use crate::house::{Act, House, Sink, phone, refused};

/// Where the gateway is told to call. The test calls the server there itself, as a proxy would.
const PUBLIC: &str = "https://otp.example.com";
const TOKEN: &str = "t0k3n-of-the-account";

fn base(sink: &Sink) -> String {
    sink.url().trim_end_matches("/messages").to_owned()
}

fn calls(sink: &Sink, keypress: &str) -> Plan {
    let provider = format!(
        "[[providers]]\nname = \"call\"\nuses = \"twilio-voice\"\nbase_url = \"{}\"\naccount_sid = \"AC0\"\nauth_token = \"{TOKEN}\"\n\
         signing_token = \"{TOKEN}\"\nfrom = \"+15017122661\"\nkeypress = {keypress}\n[[routes]]\nchannel = \"voice\"\nproviders = [\"call\"]",
        base(sink)
    );
    open().server(&format!("public_url = \"{PUBLIC}\"")).and(&provider)
}

/// Begins a call; the verification's id, the delivery's, and what the gateway was told, decoded.
async fn call(house: &House, sink: &Sink, to: &str, sid: &str) -> (String, String, String) {
    sink.script([Act::Answer(201, format!("{{\"sid\":\"{sid}\",\"status\":\"queued\"}}"))]);
    let body = json!({"to": to, "channel": "voice"});
    let reply = house.door.post_with("/v1/verifications", &[("Prefer", "wait=8")], body).await.ok(201);
    assert_eq!(reply["deliveries"][0]["status"], "accepted", "{reply}");
    let told = sink.messages().pop().unwrap().body;
    (id(&reply), reply["deliveries"][0]["id"].as_str().unwrap().to_owned(), decoded(&told))
}

/// The parameter `Twiml` of a form.
fn decoded(form: &[u8]) -> String {
    let text = String::from_utf8_lossy(form).into_owned();
    let value = text.split('&').find_map(|pair| pair.strip_prefix("Twiml=")).unwrap_or_default().replace('+', " ");
    let mut bytes = Vec::new();
    let mut rest = value.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The address that the gateway was told to call, without the host.
fn address(twiml: &str) -> String {
    let action = twiml.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    action.strip_prefix(PUBLIC).unwrap().to_owned()
}

/// Calls the server as Twilio does: a form, signed with the address.
async fn twilio(house: &House, path: &str, token: &str, form: &[(&str, &str)]) -> Reply {
    let mut sorted = form.to_vec();
    sorted.sort_unstable();
    let signed: String = sorted.iter().map(|(name, value)| format!("{name}{value}")).collect();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    let signature = STANDARD.encode(hmac::sign(&key, format!("{PUBLIC}{path}{signed}").as_bytes()));
    let body: Vec<_> = form.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("X-Twilio-Signature", signature.as_str())];
    house.door.ask("POST", path, &headers, body.join("&").as_bytes()).await
}

const KEY: [(&str, &str); 3] = [("CallSid", "CA1"), ("CallStatus", "in-progress"), ("Digits", "5")];
const HANG_UP: &str = "<Response><Hangup/></Response>";

async fn pressed(house: &House, path: &str) -> String {
    let reply = twilio(house, path, TOKEN, &KEY).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/xml")), "{}", reply.text());
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    reply.text()
}

async fn delivery(house: &House, verification: &str) -> Value {
    house.door.show(verification).await["deliveries"][0].clone()
}

async fn ended(house: &House, sid: &str) -> u16 {
    twilio(house, "/v1/receipts/call", TOKEN, &[("CallSid", sid), ("CallStatus", "completed")]).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_is_spoken_to_who_pressed_a_key_and_once() {
    let sink = Sink::start().await;
    // So long that no time or count in a log is it by chance.
    let house = House::start(calls(&sink, "\"on\"").and_policy("code_length = 10")).await;
    let (verification, reference, twiml) = call(&house, &sink, &phone(1), "CA1").await;
    assert!(twiml.contains("Press any key to hear your code."), "{twiml}");
    let path = address(&twiml);
    assert!(path.starts_with(&format!("/v1/receipts/call/{reference}/")), "{path}");

    let said = pressed(&house, &path).await;
    let code = code_in(&said);
    assert!(code.len() == 10 && said.matches("Your verification code is").count() == 2, "{said}");
    let spoken = code.chars().map(String::from).collect::<Vec<_>>().join(", ");
    assert!(!twiml.contains(&code) && !twiml.contains(&spoken), "the call itself holds no code: {twiml}");
    assert_eq!(delivery(&house, &verification).await["status"], "delivered");

    // Heard is heard: neither a second key nor a captured request brings it again, and the end of the call takes nothing back.
    assert_eq!(pressed(&house, &path).await, HANG_UP);
    assert_eq!(ended(&house, "CA1").await, 204);
    assert_eq!(delivery(&house, &verification).await["status"], "delivered");
    assert_eq!(house.door.check(&verification, &code).await.result(), "approved");

    // Nothing that the server keeps or writes has the code, and nothing that it writes the word that opens it.
    let ticket = path.rsplit('/').next().unwrap();
    let kept = house.files().into_iter().map(|(_, bytes)| bytes);
    for bytes in kept.chain([house.wrote_out(), house.wrote_err()]) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(&code) && !text.contains(&spoken) && !text.contains(ticket));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mailbox_hears_no_code_and_the_call_is_undelivered() {
    let sink = Sink::start().await;
    let house = House::start(calls(&sink, "true")).await;
    let (verification, _, twiml) = call(&house, &sink, &phone(1), "CA1").await;
    let path = address(&twiml);
    // What was gathered is nothing.
    for digits in ["", " "] {
        let form = [("CallSid", "CA1"), ("Digits", digits)];
        assert_eq!(twilio(&house, &path, TOKEN, &form).await.text(), HANG_UP);
    }
    assert_eq!(twilio(&house, &path, TOKEN, &[("CallSid", "CA1")]).await.text(), HANG_UP);
    assert_eq!(delivery(&house, &verification).await["status"], "accepted");
    assert_eq!(ended(&house, "CA1").await, 204);
    let told = delivery(&house, &verification).await;
    assert_eq!((&told["status"], &told["error"]), (&json!("undelivered"), &json!("no key was pressed")));
    assert_eq!(pressed(&house, &path).await, HANG_UP, "the call is over");

    // Off, and by default, a call that was answered is all that is known.
    for keypress in ["\"off\"", "false"] {
        let sink = Sink::start().await;
        let house = House::start(calls(&sink, keypress)).await;
        let (verification, reference, twiml) = call(&house, &sink, &phone(1), "CA1").await;
        assert!(!twiml.contains("<Gather") && code_in(&twiml).len() == 6, "{twiml}");
        let path = format!("/v1/receipts/call/{reference}/00112233445566778899aabbccddeeff");
        twilio(&house, &path, TOKEN, &KEY).await.problem(401, "unauthorized");
        assert_eq!(ended(&house, "CA1").await, 204);
        assert_eq!(delivery(&house, &verification).await["status"], "delivered");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_who_learns_the_address_hears_nothing() {
    let sink = Sink::start().await;
    let house = House::start(calls(&sink, "\"on\"")).await;
    let (verification, reference, twiml) = call(&house, &sink, &phone(1), "CA1").await;
    let (_, other, others) = call(&house, &sink, &phone(2), "CA2").await;
    let (path, others) = (address(&twiml), address(&others));
    // Without a signature, with another account's, with one of another address or of other words.
    let form = b"CallSid=CA1&CallStatus=in-progress&Digits=5";
    let bare = [("Content-Type", "application/x-www-form-urlencoded")];
    for (method, path) in [("POST", path.clone()), ("GET", format!("{path}?CallSid=CA1&Digits=5"))] {
        house.door.ask(method, &path, &bare, form).await.problem(401, "unauthorized");
    }
    twilio(&house, &path, "another-token", &KEY).await.problem(401, "unauthorized");
    twilio(&house, &path.replace("/call/", "/nobody/"), TOKEN, &KEY).await.problem(404, "not_found");
    // Signed by the gateway, and of no call, or of another: it ends.
    let tickets = [path.rsplit('/').next().unwrap().to_owned(), others.rsplit('/').next().unwrap().to_owned()];
    for wrong in [
        format!("/v1/receipts/call/{reference}/{}", tickets[1]),
        format!("/v1/receipts/call/{other}/{}", tickets[0]),
        format!("/v1/receipts/call/{reference}/{}", tickets[0].to_uppercase()),
        format!("/v1/receipts/call/{reference}/x"),
        format!("/v1/receipts/call/dl_00000000000000000000000000000000/{}", tickets[0]),
        format!("/v1/receipts/call/nonsense/{}", tickets[0]),
    ] {
        // A ticket of digits alone has no capitals to be wrong in.
        if wrong != path {
            assert_eq!(pressed(&house, &wrong).await, HANG_UP, "{wrong}");
        }
    }
    assert_eq!(delivery(&house, &verification).await["status"], "accepted");
    // Canceled: the code is no code any more.
    house.door.post(&format!("/v1/verifications/{verification}/cancel"), json!({})).await.ok(200);
    assert_eq!(pressed(&house, &path).await, HANG_UP);
    // Nobody took anything from the other one.
    assert_eq!(code_in(&pressed(&house, &others).await).len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_key_cannot_be_asked_for_the_start_says_so() {
    let sink = Sink::start().await;
    let plan = calls(&sink, "\"on\"");
    let unsigned = plan.clone().replace(&format!("signing_token = \"{TOKEN}\"\n"), "");
    let wordless = plan.clone().replace("keypress = ", "language = \"tlh\"\nkeypress = ");
    for (plan, says) in [
        (plan.clone().replace("\"on\"", "\"maybe\""), "keypress: must be \"on\" or \"off\""),
        (unsigned, "keypress: cannot be on"),
        (wordless, "there are no words of ours for the language `tlh`"),
    ] {
        let (code, text) = refused(plan).await;
        assert!(code == 2 && text.contains(says), "{code} {says}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_gateway_asks_by_itself_nobody_says_more_than_is_known() {
    let sink = Sink::start().await;
    let provider = format!(
        "[[providers]]\nname = \"call\"\nuses = \"sinch-voice\"\nbase_url = \"{}\"\napplication_key = \"k\"\napplication_secret = \"s\"\n\
         receipts_secret = \"0123456789abcdef0123\"\nfrom = \"+15017122661\"\nlanguage = \"de-DE\"\n[[routes]]\nchannel = \"voice\"\nproviders = [\"call\"]",
        base(&sink)
    );
    let house = House::start(open().and(&provider)).await;
    sink.script([Act::Answer(200, "{\"callId\":\"c-1\"}".into())]);
    let body = json!({"to": phone(1), "channel": "voice"});
    let reply = house.door.post_with("/v1/verifications", &[("Prefer", "wait=8")], body).await.ok(201);
    let told: Value = serde_json::from_slice(&sink.messages().pop().unwrap().body).unwrap();
    let ace: Value = serde_json::from_str(told["customCallout"]["ace"].as_str().unwrap()).unwrap();
    let menus = &ace["action"]["menus"];
    let asked = menus[0]["mainPrompt"].as_str().unwrap();
    assert_eq!(asked, "#tts[Drücken Sie eine beliebige Taste, um Ihren Code zu hören.]");
    let code = code_in(menus[1]["mainPrompt"].as_str().unwrap());
    assert!(menus[0]["options"].as_array().unwrap().iter().all(|option| option["action"] == "menu(code)"));
    let dice = |result: &str| json!({"event": "dice", "callid": "c-1", "result": result}).to_string();
    let headers = [("Content-Type", "application/json")];
    let path = "/v1/receipts/call/0123456789abcdef0123";
    let answered = house.door.ask("POST", path, &headers, dice("ANSWERED").as_bytes()).await;
    assert_eq!((answered.status, answered.text().len()), (200, 0));
    let verification = id(&reply);
    assert_eq!(delivery(&house, &verification).await["status"], "accepted", "by a person or a mailbox");
    assert_eq!(house.door.ask("POST", path, &headers, dice("NOANSWER").as_bytes()).await.status, 200);
    assert_eq!(delivery(&house, &verification).await["status"], "undelivered");
    assert_eq!(house.door.check(&verification, &code).await.result(), "approved");
}
