//! API.md, section 2.

use axum::http::Method;
use countersign::core::limit::{LimitRule, Of, Per};
use countersign::core::outcome::{Failure, Outcome};
use countersign::core::policy::Application;
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{App, Setup, TO, name, new_key, wrong};

fn rejected() -> Outcome {
    Outcome::Rejected { failure: Failure::GiveUp, reason: "no such subscriber".into(), retry_after: None }
}

#[tokio::test]
async fn the_object_is_the_one_of_the_contract() {
    let app = App::new().await;
    let got = app
        .post("/v1/verifications")
        .header("prefer", "wait=5")
        .json(&json!({"to": "255694230173", "metadata": {"order": "7"}}))
        .go()
        .await;
    let body = got.is(201);
    let id = body["id"].as_str().unwrap();
    assert!(id.starts_with("vf_") && id.len() == 35);
    assert_eq!(got.header("location"), format!("/v1/verifications/{id}"));
    assert_eq!(got.header("preference-applied"), "wait=5");
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("cache-control"), "no-store");
    let delivery = body["deliveries"][0]["id"].clone();
    let expected = json!({
        "id": id, "status": "pending", "to": TO, "channel": "sms", "purpose": "login",
        "created_at": "2026-11-22T10:00:00Z", "expires_at": "2026-11-22T10:05:00Z", "code_length": 6,
        "sends": 1, "sends_left": 4, "checks_left": 5, "resend_after": "2026-11-22T10:00:30Z",
        "deliveries": [{"id": delivery, "channel": "sms", "provider": "phone", "status": "accepted", "at": "2026-11-22T10:00:00Z", "error": null}],
        "metadata": {"order": "7"}
    });
    assert_eq!(body, expected);
    assert_eq!(app.get(&format!("/v1/verifications/{id}")).go().await.is(200), expected);
}

#[tokio::test]
async fn sending_again_is_the_same_verification_and_code() {
    let app = App::new().await;
    let first = app.send(&json!({"to": TO})).await;
    let code = app.code().await;
    let soon = app.post("/v1/verifications").json(&json!({"to": TO})).go().await;
    let problem = soon.is_problem(429, "resend_too_soon");
    assert_eq!(problem["retry_after"], 30);
    assert_eq!(soon.header("retry-after"), "30");
    assert_eq!(soon.header("ratelimit-policy"), "\"resend\";q=1;w=30");
    assert_eq!(soon.header("ratelimit"), "\"resend\";r=0;t=30");
    app.advance(30);
    let again = app.post("/v1/verifications").json(&json!({"to": "+255 694 230 173"})).go().await;
    assert_eq!(again.header("location"), "");
    let again = again.is(200);
    assert_eq!((&again["id"], &again["sends"], &again["sends_left"]), (&first["id"], &json!(2), &json!(3)));
    assert_eq!(again["expires_at"], first["expires_at"]);
    app.advance(30);
    let path = format!("/v1/verifications/{}/resend", first["id"].as_str().unwrap());
    assert_eq!(app.post(&path).go().await.is(200)["sends"], 3);
    app.advance(30);
    assert_eq!(app.post(&path).json(&json!({"channel": "voice"})).go().await.is(200)["channel"], "voice");
    app.advance(30);
    assert_eq!(app.post(&path).json(&json!({})).go().await.is(200)["sends_left"], 0);
    app.advance(30);
    let over = app.post(&path).go().await;
    assert_eq!(over.is_problem(429, "max_sends_reached")["retry_after"], 150);
    assert_eq!(over.header("ratelimit-policy"), "\"sends\";q=5;w=300");
    tokio::task::yield_now().await;
    assert!(app.phone.messages().iter().all(|message| message.code == code));
}

#[tokio::test]
async fn a_right_code_is_approved_once_with_a_token() {
    let app = App::new().await;
    let sent = app.send(&json!({"to": TO, "purpose": "Registration"})).await;
    let id = sent["id"].as_str().unwrap();
    let check = format!("/v1/verifications/{id}/check");
    let code = app.code().await;
    let bad = app.post(&check).json(&json!({"code": wrong(&code)})).go().await.is(200);
    assert_eq!(
        (&bad["valid"], &bad["result"], &bad["verification"]["checks_left"]),
        (&json!(false), &json!("incorrect"), &json!(4))
    );
    assert!(bad.get("token").is_none());
    let good = app.post(&check).json(&json!({"code": code, "client": {"ip": "198.51.100.7"}})).go().await.is(200);
    assert_eq!(
        (&good["valid"], &good["result"], &good["verification"]["status"]),
        (&json!(true), &json!("approved"), &json!("approved"))
    );
    let claims = app.proof(&good["token"]);
    assert_eq!(
        (claims.sub.as_str(), claims.purpose.as_str(), claims.aud.as_str(), claims.jti.as_str()),
        (TO, "registration", "default", id)
    );
    let again = app.post(&check).json(&json!({"code": code})).go().await.is(200);
    assert_eq!((&again["valid"], &again["result"]), (&json!(false), &json!("already_used")));
    assert!(again.get("token").is_none());
    app.post(&format!("/v1/verifications/{id}/resend")).go().await.is_problem(409, "not_pending");
    app.post(&format!("/v1/verifications/{id}/cancel")).go().await.is_problem(409, "not_pending");
}

#[tokio::test]
async fn the_last_guess_is_incorrect_and_the_next_one_too_many() {
    let app = App::new().await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    let (code, check) = (app.code().await, format!("/v1/verifications/{id}/check"));
    for left in (0..5).rev() {
        let body = app.post(&check).json(&json!({"code": wrong(&code)})).go().await.is(200);
        assert_eq!((&body["result"], &body["verification"]["checks_left"]), (&json!("incorrect"), &json!(left)));
    }
    let body = app.post(&check).json(&json!({"code": code})).go().await.is(200);
    assert_eq!(
        (&body["result"], &body["verification"]["status"]),
        (&json!("max_attempts_reached"), &json!("max_attempts_reached"))
    );
}

#[tokio::test]
async fn bug_a13_a_stranger_who_only_knows_the_number_locks_nobody_out() {
    let app = App::new().await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    let code = app.code().await;
    for _ in 0..20 {
        let guess = json!({"to": TO, "code": wrong(&code)});
        app.post("/v1/verifications/check").json(&guess).go().await.is(200);
    }
    let body = app.post("/v1/verifications/check").json(&json!({"to": TO, "code": code})).go().await.is(200);
    assert_eq!(body["result"], "max_attempts_reached");
    let body = app.post(&format!("/v1/verifications/{id}/check")).json(&json!({"code": code})).go().await.is(200);
    assert_eq!(body["result"], "approved");
}

#[tokio::test]
async fn checks_by_destination_find_what_is_pending() {
    let app = App::new().await;
    let check = |body: Value| app.post("/v1/verifications/check").json(&body).go();
    let nothing = check(json!({"to": TO, "code": "123456"})).await;
    assert_eq!(nothing.is(200), json!({"valid": false, "result": "not_found"}));
    let sent = app.send(&json!({"to": TO})).await;
    let code = app.code().await;
    assert_eq!(check(json!({"to": TO, "purpose": "other", "code": code})).await.is(200)["result"], "not_found");
    let body = check(json!({"to": "255 694 230 173", "purpose": "LOGIN", "code": code})).await.is(200);
    assert_eq!((&body["result"], &body["verification"]["id"]), (&json!("approved"), &sent["id"]));
    check(json!({"to": "12", "code": "123456"})).await.is_problem(422, "invalid_destination");
    app.send(&json!({"to": TO})).await;
    app.advance(300);
    assert_eq!(check(json!({"to": TO, "code": code})).await.is(200)["result"], "expired");
}

#[tokio::test]
async fn canceled_is_the_end() {
    let app = App::new().await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    let code = app.code().await;
    let path = format!("/v1/verifications/{id}");
    assert_eq!(app.post(&format!("{path}/cancel")).go().await.is(200)["status"], "canceled");
    app.post(&format!("{path}/cancel")).go().await.is_problem(409, "not_pending");
    assert_eq!(
        app.post(&format!("{path}/check")).json(&json!({"code": code})).go().await.is(200)["result"],
        "canceled"
    );
    let by_destination = app.post("/v1/verifications/check").json(&json!({"to": TO, "code": code})).go().await;
    assert_eq!(by_destination.is(200), json!({"valid": false, "result": "not_found"}));
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_by_name() {
    let app = Setup::default().policy(|policy| policy.purposes = Some(vec!["login".parse().unwrap()])).build().await;
    let with = |field: &str, value: Value| {
        let mut body = json!({"to": TO});
        body[field] = value;
        body
    };
    let long: serde_json::Map<_, _> = (0..11).map(|n| (n.to_string(), json!("x"))).collect();
    for (body, param) in [
        (json!({}), "to"),
        (json!({"to": null}), "to"),
        (json!({"to": 255_694_230_173_u64}), "to"),
        (json!({"to": [TO]}), "to"),
        (with("channel", json!(1)), "channel"),
        (with("purpose", json!("pass word")), "purpose"),
        (with("purpose", json!("")), "purpose"),
        (with("purpose", json!("other")), "purpose"),
        (with("purpose", json!(["login"])), "purpose"),
        (with("locale", json!("en_US!")), "locale"),
        (with("code_length", json!(3)), "code_length"),
        (with("code_length", json!(11)), "code_length"),
        (with("code_length", json!(260)), "code_length"),
        (with("code_length", json!("6")), "code_length"),
        (with("ttl", json!(29)), "ttl"),
        (with("ttl", json!(86_401)), "ttl"),
        (with("ttl", json!(60.5)), "ttl"),
        (with("ttl", json!("5m")), "ttl"),
        (with("template", json!("nope")), "template"),
        (with("custom_code", json!("123456")), "custom_code"),
        (with("custom_code", json!("12x")), "custom_code"),
        (with("custom_code", json!(123_456)), "custom_code"),
        (with("client", json!("198.51.100.7")), "client"),
        (with("client", json!({"ip": "here"})), "client.ip"),
        (with("client", json!({"ip": 1})), "client.ip"),
        (with("client", json!({"port": 1})), "client.port"),
        (with("metadata", json!({"a": 1})), "metadata"),
        (with("metadata", json!({"a": "x".repeat(129)})), "metadata"),
        (with("metadata", Value::Object(long)), "metadata"),
        (with("phone", json!("x")), "phone"),
    ] {
        let got = app.post("/v1/verifications").json(&body).go().await;
        assert_eq!(got.is_problem(400, "invalid_request")["param"], param, "{body}");
    }
    for to in ["", "12", "hello", "+255694230173,+255694230174", "+25569423017300000", "a@b", "+255694230173;ext=5"] {
        app.post("/v1/verifications").json(&json!({"to": to})).go().await.is_problem(422, "invalid_destination");
    }
    app.post("/v1/verifications")
        .json(&with("channel", json!("pigeon")))
        .go()
        .await
        .is_problem(422, "unsupported_channel");
    app.post("/v1/verifications")
        .json(&with("channel", json!("email")))
        .go()
        .await
        .is_problem(422, "invalid_destination");
    app.post("/v1/verifications")
        .json(&json!({"to": "+18005550100"}))
        .go()
        .await
        .is_problem(403, "number_type_blocked");
    assert!(app.phone.messages().is_empty(), "a refused request sends nothing");
}

#[tokio::test]
async fn what_is_meant_is_done() {
    let app = Setup::default().policy(|policy| policy.allow_custom_code = true).build().await;
    let full = json!({
        "to": TO, "channel": "voice", "purpose": "Pay-Out_1", "locale": "sw", "code_length": 4, "ttl": 30, "template": "default",
        "custom_code": "0042", "client": {"ip": "2001:db8::1", "user_agent": "x", "device_id": "y"}, "metadata": {}
    });
    let sent = app.send(&full).await;
    assert_eq!(
        (&sent["channel"], &sent["purpose"], &sent["code_length"]),
        (&json!("voice"), &json!("pay-out_1"), &json!(4))
    );
    assert_eq!(sent["expires_at"], "2026-11-22T10:00:30Z");
    assert_eq!(app.code().await, "0042");
}

#[tokio::test]
async fn bug_e4_a_code_of_the_wrong_kind_is_no_guess_and_reveals_nothing() {
    let app = App::new().await;
    let codes = [
        json!(null),
        json!(""),
        json!(" "),
        json!(true),
        json!(false),
        json!(0),
        json!(123_456),
        json!([]),
        json!(["123456"]),
        json!({}),
        json!({"$ne": null}),
        json!("123"),
        json!("12345678901"),
        json!("１２３４５６"),
        json!("١٢٣٤٥٦"),
        json!("²²²²²²"),
        json!("12 456"),
        json!(" 123456"),
        json!("123456\n"),
        json!("+12345"),
        json!("1.23e2"),
        json!("0x7b11"),
        json!("123456\0"),
        json!("1".repeat(10_000)),
    ];
    let unknown = "/v1/verifications/vf_00000000000000000000000000000000/check".to_owned();
    let mut shapes = std::collections::HashSet::new();
    for round in 0..2 {
        let id =
            if round == 0 { None } else { Some(app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned()) };
        let by_id = id.as_ref().map_or(unknown.clone(), |id| format!("/v1/verifications/{id}/check"));
        for code in &codes {
            for (path, body) in
                [(&*by_id, json!({"code": code})), ("/v1/verifications/check", json!({"to": TO, "code": code}))]
            {
                let got = app.post(path).json(&body).go().await;
                assert_eq!(got.is_problem(400, "invalid_request")["param"], "code", "{code}");
                shapes.insert(got.text());
            }
        }
        for path in [&*by_id, "/v1/verifications/check"] {
            let missing = app.post(path).json(&json!({"to": TO})).go().await;
            missing.is(400);
        }
        if let Some(id) = id {
            let code = app.code().await;
            assert_eq!(app.get(&format!("/v1/verifications/{id}")).go().await.is(200)["checks_left"], 5);
            let check = json!({"code": code});
            assert_eq!(
                app.post(&format!("/v1/verifications/{id}/check")).json(&check).go().await.is(200)["result"],
                "approved"
            );
        }
    }
    assert_eq!(shapes.len(), 1, "one shape, whatever was wrong: {shapes:?}");
}

#[tokio::test]
async fn bug_e4_bodies_that_are_no_json_are_refused() {
    let app = App::new().await;
    let post = |body: &str| app.post("/v1/verifications").body("application/json", body.to_owned()).go();
    for body in ["{", "to=1", "\0", "{\"to\":\"+255694230173\",\"to\":\"+255694230174\"}", &"[".repeat(10_000)] {
        post(body).await.is_problem(400, "invalid_json");
    }
    for body in ["[]", "null", "1", "\"x\""] {
        post(body).await.is_problem(400, "invalid_request");
    }
    let body = json!({"to": TO}).to_string();
    for content_type in ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", ""] {
        let got = app.post("/v1/verifications").body(content_type, body.clone()).go().await;
        got.is_problem(415, "unsupported_media_type");
    }
    app.post("/v1/verifications").raw(body.clone()).go().await.is_problem(415, "unsupported_media_type");
    app.post("/v1/verifications").body("Application/JSON; charset=UTF-8", body).go().await.is(201);
    let large = format!("{{\"to\":\"{}\"}}", "1".repeat(20_000));
    post(&large).await.is_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_key_is_needed_and_opens_its_own_application_only() {
    let mut other = Application::new(name("other"), "phone");
    other.limits.clear();
    let app = Setup { others: vec![other], ..Setup::default() }.build().await;
    let other = new_key(&app.verifier, "other").await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    let paths = [
        (Method::POST, "/v1/verifications".to_owned()),
        (Method::GET, "/v1/verifications".to_owned()),
        (Method::POST, "/v1/verifications/check".to_owned()),
        (Method::GET, format!("/v1/verifications/{id}")),
        (Method::POST, format!("/v1/verifications/{id}/check")),
        (Method::POST, format!("/v1/verifications/{id}/resend")),
        (Method::POST, format!("/v1/verifications/{id}/cancel")),
        (Method::POST, "/v1/verifications/nonsense/cancel".to_owned()),
    ];
    for (method, path) in paths {
        for header in ["", "Bearer", "Bearer cs_0000", "Bearer x", "Basic eA=="] {
            let got = app.ask(method.clone(), &path).header("authorization", header).go().await;
            got.is_problem(401, "unauthorized");
            assert!(got.header("www-authenticate").starts_with("Bearer"));
        }
    }
    // H1 and T4: a foreign id and an unknown one are one answer.
    let (code, unknown) = (app.code().await, "vf_00000000000000000000000000000000");
    for (verb, body) in [("check", json!({"code": code})), ("resend", json!({})), ("cancel", json!({}))] {
        let mut answers = Vec::new();
        for id in [&*id, unknown, "nonsense", "vf_0", "%ff"] {
            let got =
                app.ask(Method::POST, &format!("/v1/verifications/{id}/{verb}")).key(&other).json(&body).go().await;
            got.is_problem(404, "not_found");
            answers.push(got.text());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }
    app.ask(Method::GET, &format!("/v1/verifications/{id}")).key(&other).go().await.is_problem(404, "not_found");
    let list = app.ask(Method::GET, "/v1/verifications").key(&other).go().await.is(200);
    assert_eq!(list, json!({"data": [], "next_cursor": null}));
    let found =
        app.ask(Method::POST, "/v1/verifications/check").key(&other).json(&json!({"to": TO, "code": code})).go().await;
    assert_eq!(found.is(200)["result"], "not_found");
    let stray = new_key(&app.verifier, "stray").await;
    app.ask(Method::POST, "/v1/verifications")
        .key(&stray)
        .json(&json!({"to": TO}))
        .go()
        .await
        .is_problem(403, "forbidden");
    let body = app.post(&format!("/v1/verifications/{id}/check")).json(&json!({"code": code})).go().await.is(200);
    assert_eq!((&body["result"], &body["verification"]["checks_left"]), (&json!("approved"), &json!(5)));
}

#[tokio::test]
async fn lists_are_paged_newest_first() {
    let app = App::new().await;
    for n in 0..25 {
        app.send(&json!({"to": format!("+2556942301{n:02}"), "purpose": if n % 2 == 0 { "even" } else { "odd" }}))
            .await;
        app.advance(1);
    }
    let get = |query: String| {
        let app = &app;
        async move { app.get(&format!("/v1/verifications{query}")).go().await.is(200) }
    };
    let first = get(String::new()).await;
    assert_eq!(first["data"].as_array().unwrap().len(), 20);
    assert_eq!(first["data"][0]["to"], "+255694230124");
    let rest = get(format!("?cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!(rest["data"].as_array().unwrap().len(), 5);
    assert_eq!((&rest["data"][4]["to"], &rest["next_cursor"]), (&json!("+255694230100"), &json!(null)));
    assert_eq!(get("?purpose=Even&limit=100".into()).await["data"].as_array().unwrap().len(), 13);
    assert_eq!(get("?to=%2B255694230103".into()).await["data"].as_array().unwrap().len(), 1);
    assert_eq!(get("?to=255694230103&status=approved".into()).await["data"], json!([]));
    app.advance(300);
    assert_eq!(get("?status=expired&limit=1".into()).await["data"][0]["status"], "expired");
    for (query, param) in [
        ("?limit=0", "limit"),
        ("?limit=101", "limit"),
        ("?limit=x", "limit"),
        ("?limit=", "limit"),
        ("?limit=%2B5", "limit"),
        ("?status=gone", "status"),
        ("?cursor=zzz", "cursor"),
        ("?cursor=", "cursor"),
        ("?purpose=a%20b", "purpose"),
        ("?limit=1&limit=1", "limit"),
        ("?page=2", "page"),
    ] {
        let got = app.get(&format!("/v1/verifications{query}")).go().await;
        assert_eq!(got.is_problem(400, "invalid_request")["param"], param, "{query}");
    }
    app.get("/v1/verifications?to=12").go().await.is_problem(422, "invalid_destination");
    app.get("/v1/verifications?to=%ff").go().await.is_problem(400, "invalid_request");
}

#[tokio::test]
async fn bug_g5_a_failed_delivery_is_told_to_who_waits() {
    let app = App::new().await;
    app.phone.script([rejected()]);
    let got = app.post("/v1/verifications").header("prefer", "wait=5").json(&json!({"to": TO})).go().await;
    let id = got.is_problem(502, "delivery_failed")["verification_id"].as_str().unwrap().to_owned();
    let body = app.get(&format!("/v1/verifications/{id}")).go().await.is(200);
    assert_eq!((&body["status"], &body["deliveries"][0]["status"]), (&json!("failed"), &json!("failed")));
    assert_eq!(body["deliveries"][0]["error"], "no such subscriber");
}

#[tokio::test]
async fn without_a_preference_nobody_waits_for_a_provider() {
    let app = App::new().await;
    let sent = app.send(&json!({"to": TO})).await;
    assert_eq!(sent["deliveries"][0]["status"], "queued");
}

#[tokio::test]
async fn client_limits_count_the_stated_address() {
    let mut setup = Setup::default();
    setup.application.limits =
        vec![LimitRule { per: Per::Client, of: Of::Sends, quota: 2, window: Duration::from_secs(3600) }];
    let app = setup.build().await;
    let send = |n: u32, ip: &'static str| {
        let mut body = json!({"to": format!("+25569423010{n}")});
        if !ip.is_empty() {
            body["client"] = json!({"ip": ip});
        }
        let app = &app;
        async move { app.post("/v1/verifications").json(&body).go().await }
    };
    send(0, "2001:db8:0:1::1").await.is(201);
    send(1, "2001:db8:0:1:ffff::2").await.is(201);
    let got = send(2, "2001:db8:0:1:abcd::3").await;
    assert_eq!(got.is_problem(429, "rate_limited")["limit"], "client");
    assert_eq!(got.header("ratelimit-policy"), "\"client\";q=2;w=3600");
    send(3, "2001:db8:0:2::1").await.is(201);
    for n in 4..9 {
        send(n, "").await.is(201);
    }
}

#[tokio::test]
async fn bug_a14_the_wait_that_is_told_is_the_one_that_helps() {
    let mut setup = Setup::default().policy(|policy| policy.resend_after = Duration::ZERO);
    setup.application.limits =
        vec![LimitRule { per: Per::Destination, of: Of::Sends, quota: 2, window: Duration::from_secs(600) }];
    let app = setup.build().await;
    let send = || async { app.post("/v1/verifications").json(&json!({"to": TO})).go().await };
    send().await.is(201);
    send().await.is(200);
    let got = send().await;
    assert_eq!(got.is_problem(429, "rate_limited")["limit"], "destination");
    let wait: u64 = got.header("retry-after").parse().unwrap();
    assert_eq!(wait, 300);
    app.advance(wait - 1);
    send().await.is_problem(429, "rate_limited");
    app.advance(1);
    assert!(send().await.status.is_success());
}

#[tokio::test]
async fn bug_c1_a_code_opens_one_cell_of_the_matrix() {
    let mut other = Application::new(name("other"), "phone");
    other.limits.clear();
    let app = Setup { others: vec![other], ..Setup::default() }.build().await;
    let other = new_key(&app.verifier, "other").await;
    let id = app.send(&json!({"to": TO, "purpose": "login"})).await["id"].as_str().unwrap().to_owned();
    let code = app.code().await;
    let second = app.send(&json!({"to": "+255694230174", "purpose": "login"})).await["id"].as_str().unwrap().to_owned();
    let third = app.send(&json!({"to": TO, "purpose": "payment"})).await["id"].as_str().unwrap().to_owned();
    for (key, to, purpose) in [
        (&other, TO, "login"),
        (&other, TO, "payment"),
        (&app.key, "+255694230174", "login"),
        (&app.key, TO, "payment"),
    ] {
        let body = json!({"to": to, "purpose": purpose, "code": code});
        assert_eq!(
            app.ask(Method::POST, "/v1/verifications/check").key(key).json(&body).go().await.is(200)["valid"],
            false
        );
    }
    for id in [&second, &third] {
        let got = app.post(&format!("/v1/verifications/{id}/check")).json(&json!({"code": code})).go().await;
        assert_eq!(got.is(200)["valid"], false);
    }
    let got = app.post(&format!("/v1/verifications/{id}/check")).json(&json!({"code": code})).go().await.is(200);
    assert_eq!((&got["valid"], &got["verification"]["checks_left"]), (&json!(true), &json!(5)));
}

#[tokio::test]
async fn bug_b3_reading_changes_nothing() {
    let app = App::new().await;
    let id = app.send(&json!({"to": TO})).await["id"].as_str().unwrap().to_owned();
    let code = app.code().await;
    let before = app.get(&format!("/v1/verifications/{id}")).go().await.text();
    for method in [Method::GET, Method::HEAD] {
        for path in ["", "/check", "/resend", "/cancel"] {
            let got =
                app.ask(method.clone(), &format!("/v1/verifications/{id}{path}?code={code}")).key(&app.key).go().await;
            assert_eq!(got.status.as_u16(), if path.is_empty() { 200 } else { 405 });
            if method == Method::HEAD {
                assert!(got.bytes.is_empty());
            }
        }
        app.ask(method, "/v1/verifications/check").key(&app.key).go().await;
    }
    assert_eq!(app.get(&format!("/v1/verifications/{id}")).go().await.text(), before);
    let got = app.post(&format!("/v1/verifications/{id}/check")).json(&json!({"code": code})).go().await;
    assert_eq!(got.is(200)["valid"], true);
}

#[tokio::test]
async fn bug_b5_a_right_code_among_wrong_ones_is_approved_exactly_once() {
    let app = std::sync::Arc::new(App::new().await);
    for round in 0..20 {
        let to = format!("+2556942301{round:02}");
        let id = app.send(&json!({"to": to})).await["id"].as_str().unwrap().to_owned();
        let code = app.phone.wait_for_code(&to).await;
        let guesses = [code.clone(), wrong(&code), code.clone(), wrong(&code), wrong(&code)];
        let tasks = guesses.map(|guess| {
            let (app, path) = (app.clone(), format!("/v1/verifications/{id}/check"));
            tokio::spawn(
                async move { app.post(&path).json(&json!({"code": guess})).go().await.is(200)["valid"] == true },
            )
        });
        let mut approved = 0;
        for task in tasks {
            approved += u32::from(task.await.unwrap());
        }
        assert_eq!(approved, 1);
    }
}
