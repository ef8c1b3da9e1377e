//! C1 to C4: a code is one application's, one purpose's, one destination's; what proves it is signed.

use serde_json::{Value, json};

use crate::house::http::id;
use crate::house::jwt::{believe, edited, now, reheaded};
use crate::house::plan::open;
use crate::house::{House, phone, wrong};

const TWO: &str = "[[applications]]\nname = \"default\"\n[[applications]]\nname = \"other\"";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c1_a_code_is_right_in_one_place() {
    let (house, sink) = House::with_sink(open().and_policy("max_checks = 100").and(TWO)).await;
    let other = house.door.as_key(&house.key_of("other").await);
    let doors = [&house.door, &other];
    // Two tenants, two purposes, two destinations: eight verifications, each with its code.
    let mut cells = Vec::new();
    for (tenant, door) in doors.into_iter().enumerate() {
        for purpose in ["login", "payment"] {
            for to in [phone(1), phone(2)] {
                let seen = sink.to(&to).len();
                let sent = door.send_as(json!({"to": to, "purpose": purpose})).await;
                let code = sink.wait(&to, seen + 1).await.pop().unwrap().code;
                cells.push((tenant, purpose, to, id(&sent), code));
            }
        }
    }
    for (mine, (tenant, _, _, _, code)) in cells.iter().enumerate() {
        for (target, (their, purpose, to, id, right)) in cells.iter().enumerate() {
            if mine == target || code == right {
                continue;
            }
            for (asker, door) in doors.into_iter().enumerate() {
                let by_id = door.check(id, code).await;
                if asker == *their {
                    assert_eq!(by_id.result(), "incorrect");
                } else {
                    by_id.problem(404, "not_found");
                }
            }
            let body = json!({"to": to, "purpose": purpose, "code": code});
            if *tenant == *their {
                let by_destination = doors[*tenant].post("/v1/verifications/check", body).await;
                assert_eq!(by_destination.result(), "incorrect");
            }
        }
    }
    for (tenant, _, _, id, code) in &cells {
        doors[1 - tenant].check(id, code).await.problem(404, "not_found");
        assert_eq!(doors[*tenant].check(id, code).await.result(), "approved");
    }
}

/// A tenant is served from the moment that it has a key, by every process.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c1_an_application_that_is_made_while_others_are_served_is_served_at_once() {
    let (house, sink) = House::with_sink(open()).await;
    let neighbour = house.neighbour().await;
    assert!(house.cli("app create late").await.status.success());
    let key = house.key_of("late").await;
    for (n, door) in (0..).zip([&house.door, &neighbour.door]) {
        let late = door.as_key(&key);
        let verification = id(&late.send(&phone(n)).await);
        let code = sink.code_of(&phone(n)).await;
        door.check(&verification, &code).await.problem(404, "not_found");
        assert_eq!(late.check(&verification, &code).await.result(), "approved");
    }
}

/// Tries in the wrong cell cost the victim nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c1_wrong_cells_cost_the_victim_nothing() {
    let (house, sink) = House::with_sink(open().and(TWO)).await;
    let other = house.door.as_key(&house.key_of("other").await);
    let to = phone(1);
    let sent = house.door.send(&to).await;
    let code = sink.code_of(&to).await;
    for n in 0..20 {
        other.check(&id(&sent), &code).await.problem(404, "not_found");
        assert_eq!(other.check_to(&to, &wrong(&code, n)).await.result(), "not_found");
        let body = json!({"to": to, "purpose": "payment", "code": code});
        assert_eq!(house.door.post("/v1/verifications/check", body).await.result(), "not_found");
        for path in [String::new(), "/resend".into(), "/cancel".into()] {
            let path = format!("/v1/verifications/{}{path}", id(&sent));
            match path.ends_with("resend") || path.ends_with("cancel") {
                true => other.post(&path, json!(null)).await.problem(404, "not_found"),
                false => other.get(&path).await.problem(404, "not_found"),
            };
        }
    }
    assert_eq!(house.door.show(&id(&sent)).await["checks_left"], 5);
    assert_eq!(house.door.check(&id(&sent), &code).await.result(), "approved");
    assert_eq!(other.get("/v1/verifications").await.ok(200)["data"], json!([]));
}

/// A resend by another channel is the same verification of the same destination.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c2_nothing_moves_a_verification_to_another_destination() {
    let (house, sink) = House::with_sink(open()).await;
    let (to, attacker) = (phone(1), phone(2));
    let sent = house.door.send(&to).await;
    let code = sink.code_of(&to).await;
    let path = format!("/v1/verifications/{}", id(&sent));
    for body in [json!({"to": attacker}), json!({"channel": "voice", "to": attacker})] {
        let problem = house.door.post(&format!("{path}/resend"), body).await.problem(400, "invalid_request");
        assert_eq!(problem["param"], "to");
    }
    let body = json!({"code": code, "to": attacker});
    house.door.post(&format!("{path}/check"), body).await.problem(400, "invalid_request");
    for method in ["PUT", "PATCH", "POST"] {
        let bytes = house.door.bytes_of(method, &path, &[], &json!({"to": attacker}));
        house.door.raw(&bytes).await.problem(405, "method_not_allowed");
    }
    house.door.post(&format!("{path}/resend"), json!({"channel": "voice"})).await.ok(200);
    let messages = sink.wait(&to, 2).await;
    assert_eq!((messages[1].channel.as_str(), messages[1].code.len()), ("voice", 6));
    assert_eq!(sink.to(&attacker).len(), 0);
    assert_eq!(house.door.check_to(&attacker, &code).await.result(), "not_found");
    let approved = house.door.check(&id(&sent), &code).await.ok(200);
    let jwks = house.door.get("/.well-known/jwks.json").await.ok(200);
    let issuer = house.announced["address"].as_str().unwrap();
    let claims = believe(&jwks, approved["token"].as_str().unwrap(), issuer, "default", now()).unwrap();
    assert_eq!(claims["sub"], to);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c3_only_the_signed_token_is_proof() {
    let (house, sink) = House::with_sink(open().and(TWO)).await;
    let other = house.door.as_key(&house.key_of("other").await);
    let issuer = house.announced["address"].as_str().unwrap();
    let to = phone(1);
    let sent = house.door.send_as(json!({"to": to, "purpose": "payment"})).await;
    let code = sink.code_of(&to).await;
    // What a client claims about the outcome is no field of any call.
    let forged = json!({"code": wrong(&code, 0), "valid": true, "verified": true, "status": "approved"});
    let path = format!("/v1/verifications/{}/check", id(&sent));
    house.door.post(&path, forged).await.problem(400, "invalid_request");
    let simple = json!({"phone": to, "otp": wrong(&code, 0), "verified": true, "verification_type": "payment"});
    assert_eq!(house.door.simple("verify-otp", simple).await.ok(400)["verified"], false);
    let approved = house.door.check(&id(&sent), &code).await.ok(200);
    let token = approved["token"].as_str().unwrap();
    let jwks = house.door.ask("GET", "/.well-known/jwks.json", &[], b"").await.ok(200);
    let trust = |token: &str, audience: &str, at: i64| believe(&jwks, token, issuer, audience, at);
    let claims = trust(token, "default", now()).expect("the proof is believed");
    assert_eq!(claims["sub"], to);
    assert_eq!(
        (&claims["purpose"], &claims["channel"], &claims["jti"]),
        (&json!("payment"), &json!("sms"), &sent["id"])
    );
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 300);
    assert!((now() - claims["iat"].as_i64().unwrap()).abs() <= 5);
    let header = token.split('.').next().unwrap();
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["kid"], jwks["keys"][0]["kid"]);
    // Anything else is not.
    assert!(trust(token, "other", now()).is_none());
    assert!(trust(token, "default", now() + 301).is_none());
    for (claim, value) in [
        ("sub", json!(phone(2))),
        ("aud", json!("other")),
        ("purpose", json!("login")),
        ("exp", json!(now() + 9_999_999)),
        ("jti", json!("vf_0")),
        ("iss", json!("https://evil.example")),
    ] {
        let edited = edited(token, claim, value);
        assert!(["default", "other"].iter().all(|audience| trust(&edited, audience, now()).is_none()), "{claim}");
    }
    let signature = token.rsplit('.').next().unwrap();
    for (header, signature) in [
        (json!({"alg": "none"}), ""),
        (json!({"alg": "none", "kid": header["kid"]}), signature),
        (json!({"alg": "HS256", "kid": header["kid"], "typ": "JWT"}), signature),
        (json!({"alg": "EdDSA", "kid": "unknown", "typ": "JWT"}), signature),
    ] {
        assert!(trust(&reheaded(token, &header, signature), "default", now()).is_none(), "{header}");
    }
    // A token of another application, and one of another server.
    other.send(&to).await;
    let code = sink.wait(&to, 2).await.pop().unwrap().code;
    let theirs = other.check_to(&to, &code).await.ok(200)["token"].as_str().unwrap().to_owned();
    assert!(trust(&theirs, "default", now()).is_none() && trust(&theirs, "other", now()).is_some());
    let (stranger, phones) = House::with_sink(open().server(&format!("public_url = \"{issuer}\""))).await;
    stranger.door.send(&to).await;
    let code = phones.code_of(&to).await;
    let theirs = stranger.door.check_to(&to, &code).await.ok(200)["token"].as_str().unwrap().to_owned();
    assert!(trust(&theirs, "default", now()).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c3_the_key_set_holds_nothing_private_and_outlives_a_restart() {
    let (mut house, sink) = House::with_sink(open()).await;
    house.door.send(&phone(1)).await;
    let code = sink.code_of(&phone(1)).await;
    let token = house.door.check_to(&phone(1), &code).await.ok(200)["token"].as_str().unwrap().to_owned();
    let issuer = house.announced["address"].as_str().unwrap().to_owned();
    let jwks = house.door.get("/.well-known/jwks.json").await.ok(200);
    for key in jwks["keys"].as_array().unwrap() {
        assert!(key.get("d").is_none() && key["use"] == "sig" && key["alg"] == "EdDSA", "{key}");
    }
    house.restart().await;
    let after = house.door.get("/.well-known/jwks.json").await.ok(200);
    assert_eq!(after, jwks);
    assert!(believe(&after, &token, &issuer, "default", now()).is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c4_purposes_and_templates_are_the_applications() {
    let plan = open()
        .and_policy("purposes = [\"login\", \"payment\"]")
        .and("[templates.default.en]\nsms = \"{{ application }}: {{ code }} for {{ purpose }}.\"")
        .and("[templates.bare.en]\nsms = \"{{ code }}\"");
    let (house, sink) = House::with_sink(plan).await;
    let to = phone(1);
    for purpose in ["registration", "{{7*7}}", "{0.__class__}", "%s", "${x}", "<script>", "a\nb", "\u{202e}", "", " "] {
        let problem = house.door.post("/v1/verifications", json!({"to": to, "purpose": purpose})).await;
        assert_eq!(problem.problem(400, "invalid_request")["param"], "purpose", "{purpose:?}");
        let body = json!({"phone": to, "verification_type": format!("{purpose}!")});
        assert_eq!(house.door.simple("send-otp", body).await.ok(400)["message"], "Invalid request body");
    }
    let long = "x".repeat(2000);
    house.door.post("/v1/verifications", json!({"to": to, "purpose": long})).await.problem(400, "invalid_request");
    for field in ["text", "body", "message", "sms", "custom_message", "from", "sender"] {
        let body = json!({"to": to, field: "Your bank: call +1 900 555 0100"});
        assert_eq!(house.door.post("/v1/verifications", body).await.problem(400, "invalid_request")["param"], field);
    }
    let body = json!({"to": to, "template": "{{7*7}}"});
    assert_eq!(house.door.post("/v1/verifications", body).await.problem(400, "invalid_request")["param"], "template");
    assert_eq!(sink.count(), 0);
    // What a client may say in freedom is in no text.
    let metadata = json!({"name": "{{7*7}} ${x} %s <script>\n\u{202e}"});
    let body = json!({"to": to, "purpose": "Payment", "metadata": metadata, "locale": "en"});
    let sent = house.door.send_as(body).await;
    assert_eq!((&sent["purpose"], &sent["metadata"]), (&json!("payment"), &metadata));
    let text = sink.wait(&to, 1).await.pop().unwrap().text;
    let code = sink.code_of(&to).await;
    assert_eq!(text, format!("Example: {code} for payment."));
    house.door.send_as(json!({"to": phone(2), "template": "bare"})).await;
    let message = sink.wait(&phone(2), 1).await.pop().unwrap();
    assert_eq!(message.text, message.code);
}
