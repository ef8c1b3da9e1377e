//! The contract, problems: every code that this release can give, once each, in its shape.

use serde_json::{Value, json};

use crate::house::account::Account;
use crate::house::http::{id, request};
use crate::house::plan::{limit, open};
use crate::house::{Act, House, phone, wrong};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_field_out_of_range_is_named() {
    let (house, sink) = House::with_sink(open()).await;
    let to = phone(1);
    let many: serde_json::Map<_, _> = (0..11).map(|n| (n.to_string(), json!("x"))).collect();
    for (param, value) in [
        ("purpose", json!("")),
        ("purpose", json!("a".repeat(33))),
        ("purpose", json!("ünï")),
        ("purpose", json!(5)),
        ("locale", json!("not a tag")),
        ("locale", json!("")),
        ("code_length", json!(3)),
        ("code_length", json!(11)),
        ("code_length", json!("6")),
        ("ttl", json!(29)),
        ("ttl", json!(86_401)),
        ("template", json!("none")),
        ("custom_code", json!("123456")),
        ("custom_code", json!("12")),
        ("client", json!("x")),
        ("metadata", json!([])),
        ("metadata", json!({"a": 1})),
        ("metadata", json!({"a": "x".repeat(129)})),
        ("metadata", Value::Object(many)),
        ("unknown", json!(1)),
        ("To", json!("+1")),
    ] {
        let body = json!({"to": to, param: value});
        let problem = house.door.post("/v1/verifications", body).await.problem(400, "invalid_request");
        assert_eq!(problem["param"], param, "{problem}");
    }
    for (client, param) in [
        (json!({"ip": "nowhere"}), "client.ip"),
        (json!({"ip": 1}), "client.ip"),
        (json!({"port": 1}), "client.port"),
        (json!({"user_agent": []}), "client.user_agent"),
        (json!({"device_id": false}), "client.device_id"),
    ] {
        let body = json!({"to": to, "client": client});
        assert_eq!(house.door.post("/v1/verifications", body).await.problem(400, "invalid_request")["param"], param);
        let body = json!({"to": to, "code": "123456", "client": client});
        let reply = house.door.post("/v1/verifications/check", body).await;
        assert_eq!(reply.problem(400, "invalid_request")["param"], param);
    }
    for body in [json!({}), json!({"to": null}), json!({"to": 255_694_230_173_u64}), json!({"to": []})] {
        assert_eq!(house.door.post("/v1/verifications", body).await.problem(400, "invalid_request")["param"], "to");
    }
    for channel in ["pigeon", "SMS", ""] {
        let body = json!({"to": to, "channel": channel});
        house.door.post("/v1/verifications", body).await.problem(422, "unsupported_channel");
    }
    // The edges of the ranges are inside.
    let metadata: serde_json::Map<_, _> =
        (0..10).map(|n| (format!("{n}{}", "k".repeat(127)), json!("é".repeat(128)))).collect();
    let body = json!({"to": to, "purpose": "a".repeat(32), "ttl": 86_400, "code_length": 10, "metadata": metadata, "locale": "pt-BR"});
    house.door.post("/v1/verifications", body).await.ok(201);
    house.door.post("/v1/verifications", json!({"to": phone(2), "ttl": 30, "code_length": 4})).await.ok(201);
    sink.wait(&to, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_other_problem_has_its_status_and_code() {
    let rows = [limit("application", "sends", 6, "1h"), limit("client", "sends", 1, "1h")];
    let routes = "[[routes]]\nchannel = \"sms\"\ncountries = [\"TZ\"]\nproviders = [\"gateway\"]";
    let plan =
        open().and_policy("max_sends = 2\nmax_guesses_per_day = 2\nallowed_countries = [\"TZ\", \"KE\"]").and(routes);
    let plan = plan
        .policy("resend_after = \"0s\"\nmax_sends = 2\nmax_guesses_per_day = 2\nallowed_countries = [\"TZ\", \"KE\"]");
    let (house, sink) = House::with_sink(plan.limits(&rows).delivery("retries = 0")).await;
    let post = async |body: Value| house.door.post("/v1/verifications", body).await;
    post(json!({"to": "12"})).await.problem(422, "invalid_destination");
    post(json!({"to": "+447700900123"})).await.problem(403, "country_blocked");
    post(json!({"to": "+254712123456"})).await.problem(422, "unsupported_channel");
    post(json!({"to": phone(1), "channel": "voice"})).await.problem(422, "unsupported_channel");
    post(json!({"to": "a@example.com"})).await.problem(422, "unsupported_channel");
    let sent = post(json!({"to": phone(1), "client": {"ip": "203.0.113.1"}})).await.ok(201);
    let limited = post(json!({"to": phone(2), "client": {"ip": "203.0.113.1"}})).await;
    assert_eq!(limited.problem(429, "rate_limited")["limit"], "client");
    assert_eq!(limited.header("ratelimit-policy"), Some("\"client\";q=1;w=3600"));
    post(json!({"to": phone(1)})).await.ok(200);
    post(json!({"to": phone(1)})).await.problem(429, "max_sends_reached");
    let path = format!("/v1/verifications/{}/resend", id(&sent));
    house.door.post(&path, json!({})).await.problem(429, "max_sends_reached");
    let code = sink.code_of(&phone(1)).await;
    for n in 0..2 {
        assert_eq!(house.door.check(&id(&sent), &wrong(&code, n)).await.result(), "incorrect");
    }
    assert_eq!(house.door.check(&id(&sent), &code).await.problem(429, "rate_limited")["limit"], "checks");
    // A stranger's guesses are counted apart.
    assert_eq!(house.door.check_to(&phone(1), &code).await.result(), "approved");
    sink.script([Act::Answer(400, String::new())]);
    let headers = [("Prefer", "wait=5")];
    let failed = house.door.post_with("/v1/verifications", &headers, json!({"to": phone(3)})).await;
    failed.problem(502, "delivery_failed");
    for n in 4..10 {
        let reply = post(json!({"to": phone(n)})).await;
        if reply.status != 201 {
            assert_eq!(reply.problem(429, "rate_limited")["limit"], "application");
        }
    }
    post(json!({"to": phone(11)})).await.problem(429, "rate_limited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_asked_for_before_anything_else() {
    let (house, _sink) = House::with_sink(open()).await;
    let id = house.door.begin(&phone(1)).await;
    for (method, path) in [
        ("POST", "/v1/verifications".to_owned()),
        ("GET", "/v1/verifications".into()),
        ("POST", "/v1/verifications/check".into()),
        ("GET", format!("/v1/verifications/{id}")),
        ("GET", "/v1/verifications/nonsense".into()),
        ("POST", format!("/v1/verifications/{id}/check")),
        ("POST", format!("/v1/verifications/{id}/resend")),
        ("POST", format!("/v1/verifications/{id}/cancel")),
    ] {
        for authorization in
            ["", "Bearer ", "Bearer x", "Basic Y3M6eA==", "bearer cs_00", &format!("Token {}", house.door.key())]
        {
            let headers = if authorization.is_empty() { vec![] } else { vec![("Authorization", authorization)] };
            let body: &[u8] = if method == "POST" { b"{not json" } else { b"" };
            let reply = house.door.ask(method, &path, &headers, body).await;
            reply.problem(401, "unauthorized");
            assert!(reply.header("www-authenticate").unwrap().starts_with("Bearer"));
        }
        let bearer = format!("Bearer {}", house.door.key());
        let twice = [("Authorization", bearer.as_str()), ("Authorization", bearer.as_str())];
        house.door.ask(method, &path, &twice, b"").await.problem(401, "unauthorized");
    }
    // A revoked key is no key any more, in the running server too.
    let made = house.cli("key create default --json").await;
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let door = house.door.as_key(made["key"].as_str().unwrap());
    door.get("/v1/verifications").await.ok(200);
    assert!(house.cli(&format!("key revoke {}", made["id"].as_str().unwrap())).await.status.success());
    let revoked = async || door.get("/v1/verifications").await.status == 401;
    crate::house::until("the key is revoked", revoked).await;
    assert_eq!(house.door.get("/v1/verifications").await.status, 200);
}

/// What is compressed is refused as such: it is not read as if it were not, nor is it unpacked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a_body_with_an_encoding_is_refused_by_every_door() {
    let (house, sink) = House::with_sink(open()).await;
    let account = Account::of(&house, "default").await;
    let bearer = format!("Bearer {}", house.door.key());
    let json_type = ("Content-Type", "application/json");
    for encoding in ["gzip", "br", "identity, gzip", "nonsense"] {
        let post = async |path: &str, headers: &[(&str, &str)], body: &str| {
            let headers = [headers, &[("Content-Encoding", encoding)]].concat();
            house.door.raw(&request("POST", path, &headers, body.as_bytes())).await
        };
        let known = [("Authorization", bearer.as_str()), json_type];
        let to = json!({"to": phone(1)}).to_string();
        post("/v1/verifications", &known, &to).await.problem(415, "unsupported_media_type");
        let text = json!({"phoneNumber": phone(1), "message": "{{code}}"}).to_string();
        let camara = post("/one-time-password-sms/v1/send-code", &known, &text).await;
        assert_eq!(camara.ok(415)["code"], "UNSUPPORTED_MEDIA_TYPE");
        let simple = post("/api/users/send-otp/", &[json_type], &json!({"phone": phone(1)}).to_string()).await;
        assert_eq!(simple.ok(415), json!({"message": "Invalid request body", "status": "error"}));
        let form =
            [("Authorization", account.authorization.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        post(&account.path("Verifications"), &form, "To=%2B255694000001&Channel=sms").await.twilio(415, 20415);
        // A gateway's report is read as it is: what proves it is its signature.
        post("/v1/receipts/gateway", &[json_type], "{}").await.problem(401, "unauthorized");
    }
    assert_eq!(sink.count(), 0);
    let plain = [("Content-Encoding", "identity")];
    house.door.post_with("/v1/verifications", &plain, json!({"to": phone(1)})).await.ok(201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_fields_says_so() {
    let (house, _sink) = House::with_sink(open()).await;
    let id = house.door.begin(&phone(1)).await;
    let reply = house.door.post(&format!("/v1/verifications/{id}/cancel"), json!({"why": "x"})).await;
    let problem = reply.problem(400, "invalid_request");
    assert_eq!((&problem["param"], &problem["detail"]), (&json!("why"), &json!("unknown; this call takes none")));
}
