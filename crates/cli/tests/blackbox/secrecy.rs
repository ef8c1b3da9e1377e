//! F1 to F6, law 4: a code is in the message and nowhere else; nor is a secret in any answer.

use std::collections::{HashMap, HashSet};

use serde_json::json;

use crate::house::http::id;
use crate::house::plan::open;
use crate::house::{Act, House, Reply, WHSEC, phone, wrong};

/// Texts that must not be found, as they are and as encoders write them, by their first four bytes.
struct Needles {
    likely: Vec<bool>,
    by_start: HashMap<[u8; 4], Vec<Vec<u8>>>,
}

fn slot(start: [u8; 4]) -> usize {
    (u32::from_le_bytes(start).wrapping_mul(0x9e37_79b1) >> 16) as usize
}

impl Needles {
    fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        use base64::Engine as _;
        let mut needles = Self { likely: vec![false; 1 << 16], by_start: HashMap::new() };
        for text in texts {
            let hex: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(text);
            // Without its last characters, which depend on what follows.
            for form in [text.to_owned(), hex, base64[..base64.len() - 2].to_owned()] {
                let form = form.into_bytes();
                let start = *form.first_chunk().unwrap();
                needles.likely[slot(start)] = true;
                needles.by_start.entry(start).or_default().push(form);
            }
        }
        needles
    }

    fn found_in(&self, haystack: &[u8]) -> Option<String> {
        let mut at = 0;
        while let Some(start) = haystack[at..].first_chunk() {
            if self.likely[slot(*start)]
                && let Some(forms) = self.by_start.get(start)
                && let Some(form) = forms.iter().find(|form| haystack[at..].starts_with(form))
            {
                return Some(String::from_utf8_lossy(form).into_owned());
            }
            at += 1;
        }
        None
    }
}

fn holds(haystack: &[u8], needle: &str) -> bool {
    Needles::new([needle]).found_in(haystack).is_some()
}

#[track_caller]
fn found(haystack: &[u8], at: &str, codes: &[String]) {
    let found = Needles::new(codes.iter().map(String::as_str)).found_in(haystack);
    assert_eq!(found, None, "a code is in {at}");
}

async fn whole_life(house: &mut House, sink: &crate::house::Sink, format: &str) -> Vec<String> {
    let echo = "{\"error\":\"cannot send: {ECHO}\",\"id\":\"{ECHO}\"}".to_owned();
    for n in 0..24_u32 {
        let to = if n % 5 == 4 { format!("jane.doe{n}@example.com") } else { phone(n) };
        let act = match n % 6 {
            0 => Act::Answer(400, echo.clone()),
            1 => Act::Answer(200, echo.clone()),
            2 => Act::Answer(503, echo.clone()),
            3 => Act::HangUp,
            _ => Act::Answer(200, "{}".into()),
        };
        sink.script([act]);
        let wait = if n % 2 == 0 { vec![("Prefer", "wait=1")] } else { vec![] };
        let key = format!("life-{format}-{n}");
        let headers = [wait, vec![("Idempotency-Key", key.as_str())]].concat();
        let sent = house.door.post_with("/v1/verifications", &headers, json!({"to": to, "metadata": {"n": "1"}})).await;
        let code = sink.code_of(&to).await;
        house.door.post_with("/v1/verifications", &headers, json!({"to": to, "metadata": {"n": "1"}})).await;
        house.door.check_to(&to, &wrong(&code, 1)).await;
        house.door.simple("send-otp", json!({"phone": to})).await;
        house.door.simple("verify-otp", json!({"phone": to, "otp": wrong(&code, 2)})).await;
        // A code where it does not belong is not repeated.
        for body in [json!({"to": to, "code": code, "x": code}), json!({"to": code}), json!({"to": to, "code": [code]})]
        {
            house.door.post("/v1/verifications/check", body).await;
        }
        house.door.ask("POST", "/v1/verifications", &[("Content-Type", "text/plain")], code.as_bytes()).await;
        if let Some(id) = sent.json()["id"].as_str() {
            house.door.get(&format!("/v1/verifications/{id}")).await;
            house.door.post(&format!("/v1/verifications/{id}/resend"), json!({})).await;
            if n % 3 == 0 {
                house
                    .door
                    .post_with(
                        &format!("/v1/verifications/{id}/check"),
                        &[("Idempotency-Key", "k")],
                        json!({"code": code}),
                    )
                    .await;
            }
        }
        house.door.check_to(&to, &code).await;
        house.door.simple("verify-otp", json!({"phone": to, "otp": code})).await;
        if n == 12 {
            house.restart().await;
        }
    }
    for path in
        ["/v1/verifications?limit=100", "/metrics", "/openapi.json", "/docs", "/healthz", "/readyz", "/inbox", "/x"]
    {
        house.door.get(path).await;
    }
    sink.messages().into_iter().map(|message| message.code).collect()
}

/// F1, F2, F3: answers, logs at their loudest, metrics and the files, of a whole life with a gateway that repeats what it got.
async fn no_code_anywhere(format: &str) {
    let plan = open()
        .and_policy("code_length = 10\nhardened_length = 10\nmax_guesses_per_day = 1000")
        .delivery("retries = 0")
        .log(&format!("level = \"trace\"\nformat = \"{format}\""))
        .and("[guard]\nmode = \"observe\"\nunconfirmed = 1")
        .variable("RUST_LOG", "trace")
        .variable("RUST_BACKTRACE", "1");
    let (mut house, sink) = House::with_sink(plan).await;
    let codes = whole_life(&mut house, &sink, format).await;
    assert!(codes.len() >= 24 && codes.iter().all(|code| code.len() == 10));
    let record = house.door.record.lock().unwrap().clone();
    assert!(record.len() > 50_000, "{}", record.len());
    found(&record, "an answer", &codes);
    let (out, err) = (house.wrote_out(), house.wrote_err());
    assert!(err.len() > 10_000, "the log is loud: {}", err.len());
    found(&out, "standard output", &codes);
    found(&err, "the log", &codes);
    // What opens doors is in no log and no answer: the key was shown once, on standard output.
    let key = house.door.key().to_owned();
    for (name, secret) in [("API key", key.as_str()), ("provider's secret", &WHSEC[6..])] {
        assert!(!holds(&record, secret), "the {name} is in an answer");
        assert!(!holds(&err, secret), "the {name} is in the log");
    }
    // Destinations are masked there, and in metrics they do not occur.
    let metrics = house.door.get("/metrics").await.body;
    let whole: Vec<_> = (0..24).flat_map(|n| [phone(n)[1..].to_owned(), format!("doe{n}@")]).collect();
    let whole = Needles::new(whole.iter().map(String::as_str));
    assert_eq!((whole.found_in(&err), whole.found_in(&metrics)), (None, None), "a whole destination");
    house.kill();
    for (name, bytes) in house.files() {
        found(&bytes, &name, &codes);
        if name != "c.toml" {
            assert!(!holds(&bytes, &key) && !holds(&bytes, &WHSEC[6..]), "a secret is in {name}");
        }
        if name.starts_with("countersign.db") {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(!text.contains("Example code"), "a message's text is in {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f1_no_code_is_in_any_answer() {
    no_code_anywhere("text").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f2_no_code_is_in_any_log_metric_or_file() {
    no_code_anywhere("json").await;
}

/// F3: a stolen store without the key ring yields nothing, and its rows cannot be swapped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f3_what_is_stored_is_bound_to_its_row_and_useless_without_the_ring() {
    let (mut house, sink) = House::with_sink(open().and_policy("allow_custom_code = true")).await;
    let (one, two) = (phone(1), phone(2));
    let first = house.door.send_as(json!({"to": one, "custom_code": "1111111111"})).await;
    let second = house.door.send_as(json!({"to": two, "custom_code": "2222222222"})).await;
    sink.code_of(&two).await;
    house.kill();
    for (name, bytes) in house.files() {
        assert!(!holds(&bytes, "1111111111") && !holds(&bytes, "2222222222"), "{name}");
    }
    let mode = |name: &str| {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::metadata(house.dir.0.join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("countersign.keys"), 0o600);
    // Swap what is kept of the two codes.
    let store = rusqlite::Connection::open(house.dir.0.join("countersign.db")).unwrap();
    let swap = "UPDATE verification SET (chosen_digest, chosen_sealed) = \
                (SELECT kept.chosen_digest, kept.chosen_sealed FROM kept WHERE kept.place <> verification.place)";
    store
        .execute_batch("CREATE TEMP TABLE kept AS SELECT place, chosen_digest, chosen_sealed FROM verification")
        .unwrap();
    assert_eq!(store.execute(swap, []).unwrap(), 2);
    drop(store);
    house.restart().await;
    for (verification, code) in [(&first, "2222222222"), (&second, "1111111111")] {
        let reply = house.door.check(&id(verification), code).await;
        assert!(reply.status >= 500 || reply.result() == "incorrect", "{}", reply.text());
    }
}

fn shape(reply: &Reply) -> (u16, Vec<String>, Vec<String>) {
    let mut headers: Vec<_> = reply.headers.iter().map(|(name, _)| name.clone()).collect();
    headers.sort();
    let body = reply.json();
    let mut members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    members.push(body["message"].to_string());
    (reply.status, headers, members)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f4_known_and_unknown_look_alike() {
    let (house, sink) = House::with_sink(open()).await;
    let (known, unknown) = (phone(1), phone(2));
    let first = house.door.simple("send-otp", json!({"phone": known})).await;
    let code = sink.code_of(&known).await;
    // To whoever asks, a number with something pending answers as one without.
    let again = house.door.simple("send-otp", json!({"phone": known})).await;
    let fresh = house.door.simple("send-otp", json!({"phone": phone(3)})).await;
    assert_eq!(shape(&first), shape(&again));
    assert_eq!(shape(&first), shape(&fresh));
    for otp in [wrong(&code, 1), wrong(&code, 2)] {
        let one = house.door.simple("verify-otp", json!({"phone": known, "otp": otp})).await;
        let other = house.door.simple("verify-otp", json!({"phone": unknown, "otp": otp})).await;
        assert_eq!(shape(&one), shape(&other));
        assert_eq!(one.body, other.body);
    }
    let one = house.door.simple("resend-otp", json!({"phone": known})).await;
    let other = house.door.simple("resend-otp", json!({"phone": phone(4)})).await;
    assert_eq!(shape(&one), shape(&other));
    // Ids: another's, one that never was, and none at all.
    let mut said = HashSet::new();
    for path in [format!("vf_{}", "1".repeat(32)), "nonsense".into(), format!("VF_{}", "1".repeat(32))] {
        let problem = house.door.get(&format!("/v1/verifications/{path}")).await.problem(404, "not_found");
        said.insert(problem.to_string());
    }
    assert_eq!(said.len(), 1);
    // Keys: wrong, malformed, none.
    let mut said = HashSet::new();
    for key in ["cs_0", "", "x", &"a".repeat(1000), &house.door.key()[..20]] {
        let reply = house.door.as_key(key).get("/v1/verifications").await;
        assert_eq!(reply.header("www-authenticate").map(|value| value.starts_with("Bearer")), Some(true));
        said.insert(reply.problem(401, "unauthorized").to_string());
    }
    assert_eq!(said.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f5_what_breaks_tells_no_secret() {
    let (mut house, sink) = House::with_sink(open().delivery("retries = 0\ntimeout = \"1s\"")).await;
    sink.habit(Act::Answer(500, "{\"error\":\"password=hunter2 {ECHO}\"}".into()));
    let failed = house.door.post_with("/v1/verifications", &[("Prefer", "wait=5")], json!({"to": phone(1)})).await;
    let failed = failed.problem(502, "delivery_failed");
    let shown = house.door.show(failed["verification_id"].as_str().unwrap()).await;
    let code = sink.code_of(&phone(1)).await;
    for body in [failed.to_string(), shown.to_string()] {
        assert!(!body.contains(&code) && !body.contains("hunter2") && !body.contains("127.0.0.1"), "{body}");
    }
    assert_eq!(shown["status"], "failed");
    // The store goes away under it: whatever is answered then says so and no more.
    house.kill();
    let store = rusqlite::Connection::open(house.dir.0.join("countersign.db")).unwrap();
    house.restart().await;
    store.execute_batch("DROP TABLE verification").unwrap();
    for reply in [
        house.door.post("/v1/verifications", json!({"to": phone(2)})).await,
        house.door.check_to(&phone(1), &code).await,
    ] {
        let body = reply.json();
        assert!(reply.status >= 500 && body["code"].is_string(), "{body}");
        let text = body.to_string().to_lowercase();
        assert!(!text.contains("sql") && !text.contains("table") && !text.contains(".rs"), "{body}");
        assert!(reply.header("x-request-id").is_some());
    }
    let reply = house.door.simple("send-otp", json!({"phone": phone(3)})).await.ok(503);
    assert_eq!(reply["message"], "Service unavailable. Please try again later.");
}
