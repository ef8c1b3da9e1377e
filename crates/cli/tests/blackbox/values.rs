//! E2 to E4 and E6: what a code is made of, and what is none. (E1 and E5, a million codes and their timing, are the library's tests.)

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::house::http::id;
use crate::house::plan::open;
use crate::house::{House, Reply, phone, refused};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_e1_two_servers_of_one_instant_share_no_codes() {
    let (one, two) = tokio::join!(House::with_sink(open()), House::with_sink(open()));
    let mut all = Vec::new();
    for (house, sink) in [&one, &two] {
        for n in 0..30 {
            house.door.send_as(json!({"to": phone(n), "code_length": 10})).await;
            all.push(sink.code_of(&phone(n)).await);
        }
    }
    let different: HashSet<_> = all.iter().collect();
    assert_eq!(different.len(), 60);
}

/// A sanity check; the distribution over a million draws is tested in the library.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_e2_all_digits_stand_in_all_places() {
    let (house, sink) = House::with_sink(open().and_policy("code_length = 4")).await;
    let mut sending = Vec::new();
    for n in 0..400 {
        let door = house.door.clone();
        sending.push(tokio::spawn(async move { door.begin(&phone(n)).await }));
    }
    for send in sending {
        send.await.unwrap();
    }
    let mut seen = [[0_u32; 10]; 4];
    for n in 0..400 {
        let code = sink.code_of(&phone(n)).await;
        assert_eq!(code.len(), 4);
        for (place, digit) in code.bytes().enumerate() {
            seen[place][usize::from(digit - b'0')] += 1;
        }
    }
    // 40 expected of each, with a deviation of 6.
    assert!(seen.iter().flatten().all(|count| (4..=80).contains(count)), "{seen:?}");
}

fn numeric(answer: &Reply) {
    assert_eq!(answer.ok(400), json!({"message": "OTP must be numeric", "status": "error", "verified": false}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_e3_leading_zeros_count() {
    let (house, _sink) = House::with_sink(open().and_policy("allow_custom_code = true")).await;
    for (n, code, aliases) in [
        (1, "000123", vec!["123000", "0123", "00123", "0000123", "00000123"]),
        (2, "0000", vec!["00000", "000000"]),
        (3, "0123456789", vec!["123456789", "123456"]),
    ] {
        let to = phone(n);
        let sent = house.door.send_as(json!({"to": to, "custom_code": code})).await;
        assert_eq!(sent["code_length"], json!(code.len()));
        for alias in aliases {
            assert_eq!(house.door.check_to(&to, alias).await.result(), "incorrect", "{alias} for {code}");
        }
        for alias in ["123", "+123", "1.23e2", " 000123", "000123 ", "0x7b", "000123\n", "-000123", "000 123"] {
            let body = json!({"to": to, "code": alias});
            house.door.post("/v1/verifications/check", body.clone()).await.problem(400, "invalid_request");
            if alias != "123" {
                numeric(&house.door.simple("verify-otp", json!({"phone": to, "otp": alias})).await);
            }
        }
        assert_eq!(house.door.show(&id(&sent)).await["checks_left"], 5);
        assert_eq!(house.door.check(&id(&sent), code).await.result(), "approved");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_e3_a_number_in_json_is_its_digits_and_a_string_is_itself() {
    let (house, _sink) = House::with_sink(open().and_policy("allow_custom_code = true")).await;
    let verify = async |to: &str, otp: Value| house.door.simple("verify-otp", json!({"phone": to, "otp": otp})).await;
    let send = async |to: &str, code: &str| {
        house.door.send_as(json!({"to": to, "custom_code": code})).await;
    };
    send(&phone(1), "001234").await;
    assert_eq!(verify(&phone(1), json!("0001234")).await.ok(400)["message"], "Invalid OTP code");
    assert_eq!(verify(&phone(1), json!("1234")).await.ok(400)["message"], "Invalid OTP code");
    assert_eq!(verify(&phone(1), json!(1234)).await.ok(200)["verified"], true);
    send(&phone(2), "1234").await;
    assert_eq!(verify(&phone(2), json!("0001234")).await.ok(400)["message"], "Invalid OTP code");
    assert_eq!(verify(&phone(2), json!(1234)).await.ok(200)["verified"], true);
    send(&phone(3), "000000").await;
    assert_eq!(verify(&phone(3), json!(0)).await.ok(200)["verified"], true);
    send(&phone(4), "001234").await;
    let form = format!("phone={}&otp=001234", phone(4).replace('+', "%2B"));
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply = house.door.ask("POST", "/api/users/verify-otp/", &headers, form.as_bytes()).await;
    assert_eq!(reply.ok(200)["verified"], true);
}

fn weird() -> Vec<String> {
    let mut values: Vec<_> = [
        "null",
        "true",
        "false",
        "0",
        "123456",
        "1.5",
        "-1",
        "1e9",
        "[]",
        "[\"123456\"]",
        "{}",
        "{\"$ne\":null}",
        "\"\"",
        "\" \"",
        "\"12 34\"",
        "\"１２３４５６\"",
        "\"١٢٣٤٥٦\"",
        "\"²²²²²²\"",
        "\"123456\\u0000\"",
        "\"\\u0000\"",
        "\"12345678901\"",
        "\"123\"",
        "\"abcdef\"",
        "\"'; DROP TABLE verifications; --\"",
        "[[[[]]]]",
        "123456789012345678901234567890",
    ]
    .iter()
    .map(|&text| text.to_owned())
    .collect();
    values.push(format!("\"{}\"", "1".repeat(10_000)));
    values
}

/// Every weird value for a code, on every door: refused in one shape, counted as nothing, before and after a code was sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_e4_what_is_no_code_is_refused_alike_and_counts_nothing() {
    let (house, sink) = House::with_sink(open()).await;
    let to = phone(1);
    for sent in [false, true] {
        let held = if sent { house.door.begin(&to).await } else { format!("vf_{}", "0".repeat(32)) };
        let by_id = format!("/v1/verifications/{held}/check");
        for value in weird() {
            let shape = |reply: &Reply| {
                let body = reply.problem(400, "invalid_request");
                assert_eq!(body["param"], "code", "{value}");
                body
            };
            let bodies = [
                (by_id.as_str(), format!("{{\"code\":{value}}}")),
                ("/v1/verifications/check", format!("{{\"to\":\"{to}\",\"code\":{value}}}")),
            ];
            let mut said = Vec::new();
            for (path, body) in bodies {
                said.push(shape(&native(&house, path, &body).await));
            }
            assert_eq!(said[0], said[1]);
            let body = format!("{{\"phone\":\"{to}\",\"otp\":{value}}}");
            let reply = simple(&house, &body).await;
            assert_eq!(reply.status, 400, "{value}: {}", reply.text());
            let body = reply.json();
            assert_eq!((&body["status"], &body["verified"]), (&json!("error"), &json!(false)), "{value}");
        }
        shapes_without_a_code(&house, &to, &by_id).await;
        if sent {
            let shown = house.door.show(&held).await;
            assert_eq!(shown["status"], "pending");
            assert_eq!(shown["checks_left"], 5);
            // "0", "123456" as numbers, "123", … were guesses in the simple dialect, where a number is its digits: at most five.
            let code = sink.code_of(&to).await;
            assert_eq!(house.door.check(&held, &code).await.result(), "approved");
        }
    }
}

async fn native(house: &House, path: &str, body: &str) -> Reply {
    let bearer = format!("Bearer {}", house.door.key());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    house.door.ask("POST", path, &headers, body.as_bytes()).await
}

async fn simple(house: &House, body: &str) -> Reply {
    house.door.ask("POST", "/api/users/verify-otp/", &[("Content-Type", "application/json")], body.as_bytes()).await
}

/// Missing, doubled, broken and mislabelled.
async fn shapes_without_a_code(house: &House, to: &str, by_id: &str) {
    for (body, code) in [
        ("{}", "invalid_request"),
        ("", "invalid_request"),
        ("[]", "invalid_request"),
        ("\"123456\"", "invalid_request"),
        ("{\"code\":\"123456\",\"code\":\"654321\"}", "invalid_json"),
        ("{\"code\":\"123456\"", "invalid_json"),
        ("{\"code\":\"123456\"} x", "invalid_json"),
        ("{\"code\":\"\\ud800\"}", "invalid_json"),
        ("{'code':'123456'}", "invalid_json"),
        ("{\"code\":NaN}", "invalid_json"),
        ("{\"code\":\"123456\",\"CODE\":\"123456\"}", "invalid_request"),
        ("{\"code\":\"123456\",\"otp\":\"123456\"}", "invalid_request"),
    ] {
        native(house, by_id, body).await.problem(400, code);
    }
    let deep = format!("{{\"code\":{}1{}}}", "[".repeat(3000), "]".repeat(3000));
    native(house, by_id, &deep).await.problem(400, "invalid_json");
    let bearer = format!("Bearer {}", house.door.key());
    for kind in ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "text/json"] {
        let headers = [("Authorization", bearer.as_str()), ("Content-Type", kind)];
        let reply = house.door.ask("POST", by_id, &headers, b"code=123456").await;
        reply.problem(415, "unsupported_media_type");
    }
    for body in [
        format!("{{\"phone\":\"{to}\",\"otp\":\"123456\",\"otp\":\"654321\"}}"),
        format!("{{\"phone\":\"{to}\",\"phone\":\"{to}\",\"otp\":\"123456\"}}"),
        "[]".into(),
        "{".into(),
        "\u{0}".into(),
    ] {
        let reply = simple(house, &body).await.ok(400);
        assert_eq!(reply, json!({"message": "Invalid request body", "status": "error", "verified": false}));
    }
    let number = to.replace('+', "%2B");
    for form in [format!("phone={number}&otp=123456&otp=654321"), format!("phone={number}&otp=%ff")] {
        let headers = [("Content-Type", "application/x-www-form-urlencoded")];
        let reply = house.door.ask("POST", "/api/users/verify-otp", &headers, form.as_bytes()).await.ok(400);
        assert_eq!(reply, json!({"message": "Invalid request body", "status": "error", "verified": false}));
    }
    // A form that says it is JSON, and the other way around.
    let form = format!("phone={number}&otp=123456");
    assert_eq!(simple(house, &form).await.status, 400);
    let headers = [("Content-Type", "application/x-www-form-urlencoded")];
    let body = format!("{{\"phone\":\"{to}\",\"otp\":\"123456\"}}");
    assert_eq!(house.door.ask("POST", "/api/users/verify-otp", &headers, body.as_bytes()).await.status, 400);
}

/// The other fields of every call take no weird value either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_e4_no_field_of_any_call_makes_a_five_hundred() {
    let (house, sink) = House::with_sink(open()).await;
    let fields =
        ["to", "channel", "purpose", "locale", "code_length", "ttl", "template", "custom_code", "client", "metadata"];
    let mut accepted = 0;
    for field in fields {
        for value in weird() {
            let body = match field {
                "to" => format!("{{\"to\":{value}}}"),
                _ => format!("{{\"to\":\"{}\",\"{field}\":{value}}}", phone(1)),
            };
            let reply = native(&house, "/v1/verifications", &body).await;
            match reply.status {
                200 | 201 => accepted += 1,
                400 | 422 => assert!(reply.json()["code"].is_string()),
                other => panic!("{other} for {body}: {}", reply.text()),
            }
        }
    }
    for field in ["phone", "verification_type", "verification_id"] {
        for value in weird() {
            for call in ["send-otp", "verify-otp", "resend-otp"] {
                let body = match field {
                    "phone" => format!("{{\"phone\":{value},\"otp\":\"123456\"}}"),
                    _ => format!("{{\"phone\":\"{}\",\"otp\":\"123456\",\"{field}\":{value}}}", phone(2)),
                };
                let headers = [("Content-Type", "application/json")];
                let reply = house.door.ask("POST", &format!("/api/users/{call}"), &headers, body.as_bytes()).await;
                assert!(matches!(reply.status, 200 | 400 | 403 | 429), "{call} {body}: {}", reply.text());
            }
        }
    }
    // `null` is "not said"; whatever was taken was a message to the number that was meant.
    assert!(accepted >= 9, "{accepted}");
    // (Eleven digits are a number of North America.)
    let meant = [phone(1), phone(2), "+12345678901".to_owned()];
    assert!(sink.messages().iter().all(|message| meant.contains(&message.to)));
    for path in ["vf_", "vf_zz", "%00", "..%2f..%2fetc", "vf_00000000000000000000000000000000%20", "\u{fe}"] {
        let bytes = house.door.bytes_of("GET", &format!("/v1/verifications/{path}"), &[], &Value::Null);
        assert!(matches!(house.door.raw(&bytes).await.status, 400 | 404), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_e6_lengths_are_four_to_ten_and_everything_else_is_refused_at_the_start() {
    let (house, sink) = House::with_sink(open()).await;
    for length in 0..=64_u32 {
        let body = json!({"to": phone(length), "code_length": length});
        let reply = house.door.post("/v1/verifications", body).await;
        if (4..=10).contains(&length) {
            assert_eq!(reply.ok(201)["code_length"], length);
            assert_eq!(sink.code_of(&phone(length)).await.len(), length as usize);
        } else {
            assert_eq!(reply.problem(400, "invalid_request")["param"], "code_length");
        }
    }
    for line in ["code_length = 3", "code_length = 11", "code_length = 300", "code_length = -1", "hardened_length = 11"]
    {
        let (code, said) = refused(open().and_policy(line)).await;
        let key = line.split(' ').next().unwrap();
        assert!(code == 2 && said.contains(&format!("policy.{key}")), "{line}: {code} {said}");
    }
}
