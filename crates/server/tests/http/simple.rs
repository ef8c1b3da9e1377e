//! API.md, section 3.

use std::time::Duration;

use axum::http::Method;
use countersign::core::limit::{LimitRule, Of, Per};
use countersign::core::outcome::{Failure, Outcome};
use serde_json::{Value, json};

use crate::support::{App, Got, Setup, TO, wrong};

const INVALID: &str = "Invalid OTP code";
const TOO_MANY: &str = "Too many attempts. Please request a new OTP.";

async fn sent(app: &App) -> Value {
    app.simple("send-otp", &json!({"phone": TO})).await.says(200, "OTP sent successfully")
}

async fn verify(app: &App, otp: Value, id: Option<&Value>) -> Got {
    let mut body = json!({"phone": TO, "otp": otp});
    if let Some(id) = id {
        body["verification_id"] = id.clone();
    }
    app.simple("verify-otp", &body).await
}

#[tokio::test]
async fn the_three_calls_do_what_they_say() {
    let app = App::new().await;
    let got = app.simple("send-otp", &json!({"phone": "255694230173", "verification_type": " Registration "})).await;
    let body = got.says(200, "OTP sent successfully");
    let id = body["verification_id"].clone();
    assert_eq!(
        body,
        json!({"message": "OTP sent successfully", "status": "success", "verification_id": id, "expires_in": 300, "resend_after": 30})
    );
    let cookie = format!("cs_vid={}; Max-Age=300; Path=/api/users; HttpOnly; SameSite=Lax", id.as_str().unwrap());
    assert_eq!(got.header("set-cookie"), cookie);
    assert_eq!(app.phone.messages().len(), 1, "the provider's acceptance was awaited");
    app.advance(30);
    let again = app
        .simple(
            "resend-otp",
            &json!({"phone": "+255 694 230 173", "verification_type": "registration", "verification_id": id}),
        )
        .await;
    let again = again.says(200, "OTP resent successfully");
    assert_eq!((&again["verification_id"], &again["expires_in"]), (&id, &json!(270)));
    let code = app.code().await;
    let elsewhere = verify(&app, json!(code), None).await.says(400, INVALID);
    assert_eq!(elsewhere["verified"], false);
    let body = app.simple("verify-otp", &json!({"phone": TO, "otp": code, "verification_type": "REGISTRATION"})).await;
    let body = body.says(200, "OTP verified successfully");
    assert_eq!(body["verified"], true);
    let claims = app.proof(&body["token"]);
    assert_eq!((claims.sub.as_str(), claims.purpose.as_str()), (TO, "registration"));
    let used = app
        .simple(
            "verify-otp",
            &json!({"phone": TO, "otp": code, "verification_type": "registration", "verification_id": id}),
        )
        .await;
    used.says(400, INVALID);
}

#[tokio::test]
async fn resend_with_nothing_pending_begins_and_answers_alike() {
    let app = App::new().await;
    let body = app.simple("resend-otp", &json!({"phone": TO})).await.says(200, "OTP resent successfully");
    assert_eq!((&body["expires_in"], &body["resend_after"]), (&json!(300), &json!(30)));
    verify(&app, json!(app.code().await), Some(&body["verification_id"])).await.says(200, "OTP verified successfully");
}

#[tokio::test]
async fn each_refusal_has_its_words_and_its_order() {
    let app = App::new().await;
    let post = |call: &'static str, body: Value| {
        let app = &app;
        async move { app.simple(call, &body).await }
    };
    for call in ["send-otp", "resend-otp", "verify-otp"] {
        for body in
            [json!({}), json!({"phone": null}), json!({"phone": ""}), json!({"phone": " "}), json!({"otp": "x"})]
        {
            post(call, body).await.says(400, "Phone number is required");
        }
        for phone in
            [json!("12"), json!("hello"), json!("a@example.com"), json!([TO]), json!(true), json!("foo255694230173bar")]
        {
            post(call, json!({"phone": phone, "otp": ""})).await.says(400, "Invalid phone number format");
        }
        for kind in [json!("pass word"), json!(5), json!(""), json!("x".repeat(33))] {
            let body = json!({"phone": TO, "otp": "123456", "verification_type": kind});
            post(call, body).await.says(400, "Invalid request body");
        }
    }
    for otp in [json!(null), json!("")] {
        assert_eq!(verify(&app, otp, None).await.says(400, "OTP code is required")["verified"], false);
    }
    for otp in [
        json!("12a456"),
        json!(true),
        json!(1.5),
        json!(-123_456),
        json!(["123456"]),
        json!({}),
        json!("١٢٣٤٥٦"),
        json!(" 123456"),
    ] {
        assert_eq!(verify(&app, otp, None).await.says(400, "OTP must be numeric")["verified"], false);
    }
    for otp in
        [json!("123456"), json!("123"), json!("12345678901"), json!(123_456), json!(12_345_678_901_u64), json!(0)]
    {
        assert_eq!(verify(&app, otp, None).await.says(400, INVALID)["verified"], false);
    }
    post("send-otp", json!({"phone": "+18005550100"})).await.says(403, "This phone number cannot be used.");
    sent(&app).await;
    let soon = app.simple("send-otp", &json!({"phone": TO})).await;
    soon.says(429, "Too many OTP requests. Please try again later.");
    assert_eq!(soon.header("retry-after"), "30");
    let code = app.code().await;
    app.advance(300);
    assert_eq!(
        verify(&app, json!(code), None).await.says(400, "OTP code has expired. Please request a new one.")["verified"],
        false
    );
    app.phone.script([Outcome::Rejected { failure: Failure::GiveUp, reason: "no".into(), retry_after: None }]);
    app.simple("send-otp", &json!({"phone": TO})).await.says(502, "Failed to send OTP. Please try again.");
}

#[tokio::test]
async fn bodies_are_json_or_forms_with_and_without_the_slash() {
    let app = Setup::default().policy(|policy| policy.resend_after = Duration::ZERO).build().await;
    let form = "application/x-www-form-urlencoded";
    for (path, content_type, body) in [
        ("/api/users/send-otp/", form, "phone=%2B255694230173&verification_type=Login&csrf=x"),
        ("/api/users/send-otp", form, "phone=%2B255+694+230+173"),
        ("/api/users/send-otp", "application/json; charset=utf-8", r#"{"phone":"255694230173","extra":[1]}"#),
        ("/api/users/send-otp/", "application/json", r#"{"phone":255694230173}"#),
    ] {
        let got = app.ask(Method::POST, path).body(content_type, body).go().await;
        got.says(200, "OTP sent successfully");
    }
    let post = |content_type: &'static str, body: &str| {
        app.ask(Method::POST, "/api/users/verify-otp/").body(content_type, body.to_owned()).go()
    };
    for (content_type, body) in [
        ("application/json", r#"{"phone":"255694230173","otp":"1","otp":"2"}"#),
        ("application/json", "[]"),
        ("application/json", "phone=255694230173"),
        ("application/json", "{"),
        ("text/plain", r#"{"phone":"255694230173"}"#),
        ("multipart/form-data; boundary=x", "--x"),
        (form, "phone=255694230173&otp=1&otp=2"),
        (form, "phone=%"),
    ] {
        let body = post(content_type, body).await.says(400, "Invalid request body");
        assert_eq!(body["verified"], false);
    }
    let large = format!("phone={}", "1".repeat(20_000));
    post(form, &large).await.says(413, "Invalid request body");
    let code = app.code().await;
    post(form, &format!("phone=255694230173&otp={code}")).await.says(200, "OTP verified successfully");
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE] {
        let got = app.ask(method, "/api/users/send-otp/").go().await;
        assert_eq!(got.status, 405);
        assert!(got.header("allow").contains("POST"), "{got:?}");
    }
    app.ask(Method::POST, "/api/users/other/").go().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn bug_e3_zeros_are_kept_in_strings_and_put_back_to_numbers() {
    let app = Setup::default().policy(|policy| policy.allow_custom_code = true).build().await;
    for (custom, otp, right) in [
        ("000123", json!("000123"), true),
        ("000123", json!(123), true),
        ("000123", json!("123"), false),
        ("000123", json!("0000123"), false),
        ("1234", json!("0001234"), false),
        ("1234", json!(1234), true),
        ("0042", json!(42), true),
        ("000123", json!("+123"), false),
        ("000123", json!("1.23e2"), false),
        ("00000000", json!(0), true),
        ("000123", json!(1_000_123), false),
    ] {
        let body = json!({"to": TO, "custom_code": custom});
        app.post("/v1/verifications").header("prefer", "wait=5").json(&body).go().await.is(201);
        let got = verify(&app, otp.clone(), None).await;
        assert_eq!(got.status == 200, right, "{custom} {otp} {got:?}");
        if !right {
            assert_eq!(got.status, 400);
            verify(&app, json!(custom), None).await.says(200, "OTP verified successfully");
        }
    }
}

#[tokio::test]
async fn bug_a13_whoever_holds_the_id_is_not_locked_out() {
    let app = App::new().await;
    let id = sent(&app).await["verification_id"].clone();
    let code = app.code().await;
    for _ in 0..5 {
        verify(&app, json!(wrong(&code)), None).await.says(400, INVALID);
    }
    let locked = verify(&app, json!(code), None).await;
    assert_eq!(locked.says(429, TOO_MANY)["verified"], false);
    assert_eq!(locked.header("retry-after"), "300");
    verify(&app, json!(code), Some(&json!("vf_00000000000000000000000000000000"))).await.says(429, TOO_MANY);
    verify(&app, json!(code), Some(&id)).await.says(200, "OTP verified successfully");
}

#[tokio::test]
async fn bug_a13_the_cookie_is_enough() {
    let app = App::new().await;
    let id = sent(&app).await["verification_id"].as_str().unwrap().to_owned();
    let code = app.code().await;
    for _ in 0..6 {
        verify(&app, json!(wrong(&code)), None).await;
    }
    let decoy = "vf_00000000000000000000000000000000";
    // A wrong id in the body does not hide the right one in the cookie.
    let body = json!({"phone": TO, "otp": code, "verification_id": decoy});
    let got = app
        .ask(Method::POST, "/api/users/verify-otp/")
        .header("cookie", &format!("a=b; cs_vid={id}"))
        .json(&body)
        .go()
        .await;
    got.says(200, "OTP verified successfully");
}

#[tokio::test]
async fn bug_a13_a_stranger_is_never_handed_the_id() {
    let app = App::new().await;
    let owner = sent(&app).await["verification_id"].clone();
    for call in ["send-otp", "resend-otp", "send-otp"] {
        app.advance(30);
        let got = app.simple(call, &json!({"phone": TO})).await;
        let stranger = got.is(200);
        let id = stranger["verification_id"].as_str().unwrap();
        assert!(stranger["verification_id"] != owner && id.starts_with("vf_") && id.len() == 35);
        assert!(got.header("set-cookie").contains(id), "the decoy looks alike in the cookie");
        assert!(
            !got.text().contains(owner.as_str().unwrap())
                && !got.header("set-cookie").contains(owner.as_str().unwrap())
        );
        // With it a guess is one of somebody who only knows the number.
        let code = app.code().await;
        verify(&app, json!(wrong(&code)), Some(&stranger["verification_id"])).await.says(400, INVALID);
    }
    let found = app.get(&format!("/v1/verifications/{}", owner.as_str().unwrap())).go().await.is(200);
    assert_eq!((&found["checks_left"], &found["sends"]), (&json!(5), &json!(4)));
    app.advance(30);
    let got = app
        .ask(Method::POST, "/api/users/resend-otp/")
        .header("cookie", &format!("cs_vid={}", owner.as_str().unwrap()));
    assert_eq!(got.json(&json!({"phone": TO})).go().await.is(200)["verification_id"], owner);
    verify(&app, json!(app.code().await), Some(&owner)).await.says(200, "OTP verified successfully");
}

#[tokio::test]
async fn bug_a13_an_id_counts_only_for_its_own_number_and_purpose() {
    let app = App::new().await;
    let other = app.simple("send-otp", &json!({"phone": "+255694230174"})).await.is(200)["verification_id"].clone();
    sent(&app).await;
    let code = app.code().await;
    verify(&app, json!(wrong(&code)), Some(&other)).await.says(400, INVALID);
    let found = app.get(&format!("/v1/verifications/{}", other.as_str().unwrap())).go().await.is(200);
    assert_eq!(found["checks_left"], 5, "the other number's holder lost nothing");
}

#[tokio::test]
async fn the_holder_who_used_up_the_tries_is_told_so() {
    let app = App::new().await;
    let id = sent(&app).await["verification_id"].clone();
    let code = app.code().await;
    for _ in 0..5 {
        verify(&app, json!(wrong(&code)), Some(&id)).await.says(400, INVALID);
    }
    verify(&app, json!(code), Some(&id)).await.says(429, TOO_MANY);
}

#[tokio::test]
async fn bug_a11_the_connection_is_what_limits_count() {
    let limits = vec![
        LimitRule { per: Per::Client, of: Of::Sends, quota: 3, window: Duration::from_secs(3600) },
        LimitRule { per: Per::Client, of: Of::Checks, quota: 4, window: Duration::from_secs(3600) },
    ];
    let mut setup = Setup::default();
    setup.application.limits.clone_from(&limits);
    let app = setup.build().await;
    let mut allowed = 0;
    for n in 0..30 {
        let forged = format!("198.51.100.{n}");
        let mut ask =
            app.ask(Method::POST, "/api/users/send-otp/").json(&json!({"phone": format!("+2556942301{n:02}")}));
        for name in ["x-forwarded-for", "x-real-ip", "cf-connecting-ip", "true-client-ip"] {
            ask = ask.header(name, &forged);
        }
        let got = ask.header("forwarded", &format!("for={forged}")).go().await;
        allowed += u32::from(got.status == 200);
        if got.status != 200 {
            got.says(429, "Too many OTP requests. Please try again later.");
            assert_eq!(got.header("ratelimit-policy"), "\"client\";q=3;w=3600");
        }
    }
    assert_eq!(allowed, 3);
    let mut statuses = Vec::new();
    for n in 0..6 {
        let peer = format!("2001:db8:0:7::{n}");
        let body = json!({"phone": format!("+2556942301{n:02}"), "otp": "123456"});
        statuses
            .push(app.ask(Method::POST, "/api/users/verify-otp/").from(&peer).json(&body).go().await.status.as_u16());
    }
    assert_eq!(statuses, [400, 400, 400, 400, 429, 429], "one /64 is one client");

    let mut setup =
        Setup::default().settings(|settings| settings.trusted_proxies = ["203.0.113.9/32".parse().unwrap()].into());
    setup.application.limits = limits;
    let app = setup.build().await;
    let mut allowed = 0;
    for n in 0..10 {
        let list = format!("10.0.0.{n}, 198.51.100.1");
        let ask = app.ask(Method::POST, "/api/users/send-otp/").json(&json!({"phone": format!("+2556942301{n:02}")}));
        allowed += u32::from(ask.header("x-forwarded-for", &list).go().await.status == 200);
    }
    assert_eq!(allowed, 3, "behind the proxy the right-most hop is the client");
    let ask = app.ask(Method::POST, "/api/users/send-otp/").json(&json!({"phone": TO}));
    ask.header("x-forwarded-for", "198.51.100.2").go().await.says(200, "OTP sent successfully");
}

#[tokio::test]
async fn pages_of_other_origins_are_turned_away() {
    let app = App::new().await;
    let ask = |origin: &'static str| {
        app.ask(Method::POST, "/api/users/send-otp/").header("origin", origin).json(&json!({"phone": ""})).go()
    };
    for (origin, allowed) in [
        ("https://app.example", true),
        ("http://127.0.0.1:8080", true),
        ("http://localhost:8080", true),
        ("https://evil.example", false),
        ("null", false),
        ("http://app.example", false),
    ] {
        let got = ask(origin).await;
        if allowed {
            got.says(400, "Phone number is required");
            assert_eq!(got.header("access-control-allow-origin"), origin);
            assert_eq!(got.header("access-control-allow-credentials"), "true");
        } else {
            got.says(403, "This origin is not allowed.");
            assert_eq!(got.header("access-control-allow-origin"), "");
        }
    }
    let preflight = |origin: &'static str| {
        let ask = app.ask(Method::OPTIONS, "/api/users/verify-otp/").header("origin", origin);
        ask.header("access-control-request-method", "POST")
            .header("access-control-request-headers", "content-type")
            .go()
    };
    let got = preflight("https://app.example").await;
    assert_eq!(got.status, 204);
    assert_eq!(got.header("access-control-allow-origin"), "https://app.example");
    assert_eq!(got.header("access-control-allow-methods"), "POST");
    assert!(got.header("access-control-allow-headers").contains("content-type"));
    assert_eq!(preflight("https://evil.example").await.status, 403);

    let any = Setup::default()
        .settings(|settings| settings.simple.as_mut().unwrap().allowed_origins = vec!["*".into()])
        .build()
        .await;
    let got = any
        .ask(Method::POST, "/api/users/send-otp/")
        .header("origin", "https://any.example")
        .json(&json!({"phone": TO}))
        .go()
        .await;
    got.says(200, "OTP sent successfully");
    assert_eq!((got.header("access-control-allow-origin"), got.header("access-control-allow-credentials")), ("*", ""));
}

#[tokio::test]
async fn the_cookie_is_secure_where_the_service_is() {
    let app = Setup::default().settings(|settings| settings.public_url = "https://verify.example".into()).build().await;
    let got = app.simple("send-otp", &json!({"phone": TO})).await;
    assert!(got.header("set-cookie").ends_with("; Path=/api/users; HttpOnly; SameSite=Lax; Secure"), "{got:?}");
}

#[tokio::test]
async fn it_can_be_switched_off_and_moved() {
    let off = Setup::default().settings(|settings| settings.simple = None).build().await;
    off.simple("send-otp", &json!({"phone": TO})).await.is_problem(404, "not_found");
    assert!(!off.ask(Method::GET, "/openapi.json").go().await.text().contains("send-otp"));
    let moved =
        Setup::default().settings(|settings| settings.simple.as_mut().unwrap().prefix = "/otp".into()).build().await;
    moved.simple("send-otp", &json!({"phone": TO})).await.is_problem(404, "not_found");
    assert!(moved.ask(Method::GET, "/openapi.json").go().await.text().contains("\"/otp/send-otp/\""));
    let got = moved.ask(Method::POST, "/otp/send-otp").json(&json!({"phone": TO})).go().await;
    got.says(200, "OTP sent successfully");
    assert!(got.header("set-cookie").contains("; Path=/otp;"));
}

#[tokio::test]
async fn bug_f4_known_and_unknown_numbers_are_one_answer() {
    let app = App::new().await;
    sent(&app).await;
    let code = wrong(&app.code().await);
    let known = verify(&app, json!(code), None).await;
    let unknown = app.simple("verify-otp", &json!({"phone": "+255694230174", "otp": code})).await;
    assert_eq!((known.status, known.bytes), (unknown.status, unknown.bytes));
    let names = |headers: &axum::http::HeaderMap| {
        headers.keys().map(ToString::to_string).collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(names(&known.headers), names(&unknown.headers));
}
