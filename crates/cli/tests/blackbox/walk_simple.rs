//! The contract, section 3: the simple dialect, word by word.

use serde_json::{Value, json};

use crate::house::plan::{Plan, open};
use crate::house::{Act, House, Reply, phone, wrong};

fn no(reply: &Reply, status: u16, message: &str, verify: bool) {
    let mut expected = json!({"message": message, "status": "error"});
    if verify {
        expected["verified"] = json!(false);
    }
    assert_eq!(reply.ok(status), expected);
    assert_eq!(reply.header("content-type"), Some("application/json"));
    if status == 429 {
        reply.says_when(&Value::Null);
    }
}

async fn form(house: &House, call: &str, body: &str) -> Reply {
    let headers = [("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")];
    house.door.ask("POST", &format!("/api/users/{call}"), &headers, body.as_bytes()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sentence_of_the_simple_dialect_is_as_written() {
    let (house, sink) =
        House::with_sink(open().policy("resend_after = \"0s\"\nmax_sends = 3").delivery("retries = 0")).await;
    for call in ["send-otp", "resend-otp", "verify-otp"] {
        let verify = call == "verify-otp";
        for body in [json!({}), json!({"phone": ""}), json!({"phone": null}), json!({"otp": "123456"})] {
            no(&house.door.simple(call, body).await, 400, "Phone number is required", verify);
        }
        for bad in [json!("abc"), json!("12"), json!(true), json!([]), json!("a@example.com")] {
            no(
                &house.door.simple(call, json!({"phone": bad, "otp": "123456"})).await,
                400,
                "Invalid phone number format",
                verify,
            );
        }
        let typed = json!({"phone": phone(1), "otp": "123456", "verification_type": "no spaces here"});
        no(&house.door.simple(call, typed).await, 400, "Invalid request body", verify);
        let headers = [("Content-Type", "text/plain")];
        let reply = house.door.ask("POST", &format!("/api/users/{call}/"), &headers, b"phone=1").await;
        no(&reply, 400, "Invalid request body", verify);
        no(&house.door.simple(call, json!([1])).await, 400, "Invalid request body", verify);
        let reply = house.door.ask("GET", &format!("/api/users/{call}/"), &[], b"").await;
        assert_eq!((reply.status, &reply.json()["message"]), (405, &json!("Method not allowed")));
        assert_eq!(reply.json()["status"], "error");
        assert_eq!(reply.json().get("verified").is_some(), verify);
    }
    assert_eq!(sink.count(), 0);
    let verify = async |otp: Value| house.door.simple("verify-otp", json!({"phone": phone(1), "otp": otp})).await;
    no(&verify(Value::Null).await, 400, "OTP code is required", true);
    no(&verify(json!("")).await, 400, "OTP code is required", true);
    no(&verify(json!("12a456")).await, 400, "OTP must be numeric", true);
    no(&verify(json!("123456")).await, 400, "Invalid OTP code", true);

    let sent = house.door.simple("send-otp", json!({"phone": phone(1), "verification_type": " Login "})).await;
    let body = sent.ok(200);
    assert_eq!((&body["message"], &body["status"]), (&json!("OTP sent successfully"), &json!("success")));
    assert!(body["verification_id"].as_str().unwrap().starts_with("vf_"));
    assert_eq!((&body["expires_in"], &body["resend_after"]), (&json!(300), &json!(0)));
    let code = sink.code_of(&phone(1)).await;
    let again = house.door.simple("resend-otp", json!({"phone": phone(1)})).await.ok(200);
    assert_eq!((&again["message"], &again["status"]), (&json!("OTP resent successfully"), &json!("success")));
    no(&verify(json!(wrong(&code, 1))).await, 400, "Invalid OTP code", true);
    let verified = verify(json!(code)).await.ok(200);
    assert_eq!(verified["message"], "OTP verified successfully");
    assert_eq!((&verified["status"], &verified["verified"]), (&json!("success"), &json!(true)));
    assert_eq!(verified["token"].as_str().unwrap().split('.').count(), 3);
    no(&verify(json!(code)).await, 400, "Invalid OTP code", true);
    // With nothing pending a resend begins, and answers alike.
    let fresh = house.door.simple("resend-otp", json!({"phone": phone(1)})).await.ok(200);
    assert_eq!(fresh["message"], "OTP resent successfully");
    for _ in 0..2 {
        house.door.simple("send-otp", json!({"phone": phone(1)})).await.ok(200);
    }
    for call in ["send-otp", "resend-otp"] {
        let reply = house.door.simple(call, json!({"phone": phone(1)})).await;
        no(&reply, 429, "Too many OTP requests. Please try again later.", false);
    }
    let code = sink.code_of(&phone(1)).await;
    for n in 0..5 {
        no(&verify(json!(wrong(&code, n))).await, 400, "Invalid OTP code", true);
    }
    no(&verify(json!(code)).await, 429, "Too many attempts. Please request a new OTP.", true);
    sink.script([Act::Answer(500, String::new()), Act::Answer(400, "{ECHO}".into())]);
    for call in ["send-otp", "resend-otp"] {
        let reply = house.door.simple(call, json!({"phone": phone(2)})).await;
        no(&reply, 502, "Failed to send OTP. Please try again.", false);
    }
    no(
        &house.door.simple("send-otp", json!({"phone": "+255222123456"})).await,
        403,
        "This phone number cannot be used.",
        false,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_slashes_numbers_and_writings_are_one() {
    let (house, sink) = House::with_sink(open()).await;
    let to = "+255694230173";
    for (n, phone) in ["255694230173", "%2B255694230173", "%2B255+694+230+173", "+255694230173"].iter().enumerate() {
        let call = if n % 2 == 0 { "send-otp/" } else { "send-otp" };
        form(&house, call, &format!("phone={phone}&verification_type=Login&csrf=x")).await.ok(200);
    }
    house.door.simple("send-otp", json!({"phone": 255_694_230_173_u64})).await.ok(200);
    assert_eq!(sink.wait(to, 5).await.len(), 5);
    let code = sink.code_of(to).await;
    assert!(sink.messages().iter().all(|message| message.code == code));
    let page = house.door.get("/v1/verifications").await.ok(200);
    assert_eq!(page["data"].as_array().unwrap().len(), 1);
    assert_eq!((&page["data"][0]["purpose"], &page["data"][0]["sends"]), (&json!("login"), &json!(5)));
    let reply = form(&house, "verify-otp", &format!("phone=255694230173&otp={code}&verification_type=LOGIN")).await;
    assert_eq!(reply.ok(200)["verified"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cookie_is_http_only_same_site_and_holds_the_id_alone() {
    let (house, sink) = House::with_sink(open()).await;
    let sent = house.door.simple("send-otp", json!({"phone": phone(1)})).await;
    let cookie = sent.header("set-cookie").unwrap().to_owned();
    let body = sent.ok(200);
    let lower = cookie.to_ascii_lowercase();
    assert!(lower.contains("httponly") && lower.contains("samesite=") && !lower.contains("samesite=none"), "{cookie}");
    assert!(cookie.contains(body["verification_id"].as_str().unwrap()));
    assert!(!cookie.contains(&sink.code_of(&phone(1)).await));
    // Behind HTTPS it is for HTTPS alone.
    let (house, _sink) = House::with_sink(open().server("public_url = \"https://verify.example.com\"")).await;
    let sent = house.door.simple("send-otp", json!({"phone": phone(1)})).await;
    assert!(sent.header("set-cookie").unwrap().contains("Secure"));
}

async fn from(house: &House, method: &str, origin: &str) -> Reply {
    let headers = [
        ("Origin", origin),
        ("Content-Type", "application/json"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ];
    let body = json!({"phone": phone(1)}).to_string();
    let body: &[u8] = if method == "POST" { body.as_bytes() } else { b"" };
    house.door.ask(method, "/api/users/send-otp/", &headers, body).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_listed_origins_may_call_and_no_others() {
    let plan = open().simple("allowed_origins = [\"https://app.example.com\"]");
    let (house, sink) = House::with_sink(plan).await;
    let preflight = from(&house, "OPTIONS", "https://app.example.com").await;
    assert_eq!(preflight.status, 204);
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert!(preflight.header("access-control-allow-methods").unwrap().contains("POST"));
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("content-type"));
    let reply = from(&house, "POST", "https://app.example.com").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, Some("https://app.example.com")));
    assert_eq!(reply.header("access-control-allow-credentials"), Some("true"));
    assert!(reply.header("vary").unwrap().to_ascii_lowercase().contains("origin"));
    for origin in
        ["https://evil.example", "null", "https://app.example.com.evil.example", "http://app.example.com", "file://"]
    {
        for method in ["OPTIONS", "POST"] {
            let reply = from(&house, method, origin).await;
            assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, None), "{method} {origin}");
        }
    }
    sink.wait(&phone(1), 1).await;
    assert_eq!(sink.count(), 1);
    // Any origin, then without credentials; and one's own, always.
    let (house, _sink) = House::with_sink(open().simple("allowed_origins = [\"*\"]")).await;
    let reply = from(&house, "POST", "https://anywhere.example").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(reply.header("access-control-allow-credentials"), None);
    let own = house.announced["address"].as_str().unwrap().to_owned();
    assert_eq!(from(&house, "POST", &own).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dialect_can_be_moved_and_switched_off() {
    let (house, _sink) = House::with_sink(open().simple("enabled = false")).await;
    for call in ["send-otp/", "verify-otp", "resend-otp/"] {
        let reply =
            house.door.ask("POST", &format!("/api/users/{call}"), &[("Content-Type", "application/json")], b"{}").await;
        reply.problem(404, "not_found");
    }
    let plan: Plan = open().simple("prefix = \"/auth/v2\"\napplication = \"shop\"");
    let (house, sink) =
        House::with_sink(plan.and("[[applications]]\nname = \"default\"\n[[applications]]\nname = \"shop\"")).await;
    let headers = [("Content-Type", "application/json")];
    let body = json!({"phone": phone(1)}).to_string();
    let reply = house.door.ask("POST", "/auth/v2/send-otp/", &headers, body.as_bytes()).await;
    assert_eq!(reply.status, 200);
    assert!(reply.header("set-cookie").unwrap().contains("Path=/auth/v2"));
    assert_eq!(sink.wait(&phone(1), 1).await[0].json["application"], "shop");
    house.door.ask("POST", "/api/users/send-otp/", &headers, body.as_bytes()).await.problem(404, "not_found");
}
