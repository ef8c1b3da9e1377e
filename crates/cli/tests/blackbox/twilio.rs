//! The bugs that one-time codes are known for, at the Twilio door: the same budgets, the same caps, the same single use.

use serde_json::json;

use crate::house::account::Account;
use crate::house::plan::open;
use crate::house::{House, phone, wrong};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a4_parallel_guesses_by_number_and_by_sid_are_one_count() {
    let (house, sink) = House::with_sink(open()).await;
    let account = Account::of(&house, "default").await;
    for round in 0..3 {
        let to = phone(round);
        let sid = account.send(&to).await.ok(201)["sid"].as_str().unwrap().to_owned();
        let code = sink.code_of(&to).await;
        let guesses = (0..60).map(|n| {
            let by = if n % 2 == 0 { ("To", to.as_str()) } else { ("VerificationSid", sid.as_str()) };
            account.guess(by, &wrong(&code, n))
        });
        let replies = house.door.race(guesses.collect()).await;
        let evaluated = replies.iter().filter(|reply| reply.status == 200).count();
        assert_eq!(evaluated, 5);
        for reply in replies.iter().filter(|reply| reply.status != 200) {
            reply.twilio(429, 60202);
        }
        assert!(replies.iter().filter(|reply| reply.status == 200).all(|reply| !reply.checked()));
        account.check(("To", &to), &code).await.twilio(429, 60202);
        // Sending again is a new verification and gives nothing of the day's budget back.
        assert_ne!(account.send(&to).await.ok(201)["sid"], sid);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a9_guesses_here_and_at_the_native_door_are_one_count() {
    let (house, sink) = House::with_sink(open()).await;
    let account = Account::of(&house, "default").await;
    let to = phone(1);
    let id = house.door.begin(&to).await;
    let code = sink.code_of(&to).await;
    let sid = id.replace("vf_", "VE");
    assert_eq!(account.get(&account.path(&format!("Verifications/{sid}"))).await.ok(200)["sid"], sid);
    for n in 0..2 {
        assert_eq!(house.door.check(&id, &wrong(&code, n)).await.result(), "incorrect");
        assert!(!account.check(("To", &to), &wrong(&code, n + 10)).await.checked());
    }
    assert!(!account.check(("VerificationSid", &sid), &wrong(&code, 20)).await.checked());
    account.check(("To", &to), &code).await.twilio(429, 60202);
    assert_eq!(house.door.check(&id, &code).await.result(), "max_attempts_reached");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a6_two_services_share_the_days_budget() {
    let plan = open().and_policy("max_guesses_per_day = 7");
    let (house, sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    let other = account.post("/v2/Services", &[("FriendlyName", "Other")]).await.ok(201);
    let other = Account { service: other["sid"].as_str().unwrap().to_owned(), ..account.clone() };
    let (to, mut evaluated) = (phone(1), 0);
    for account in [&account, &other] {
        account.send(&to).await.ok(201);
        let code = sink.wait(&to, 1 + usize::from(evaluated > 0)).await.pop().unwrap().code;
        for n in 0..6 {
            let reply = account.check(("To", &to), &wrong(&code, n)).await;
            match reply.status {
                200 => evaluated += usize::from(!reply.checked()),
                _ => drop(reply.twilio(429, 60202)),
            }
        }
    }
    assert_eq!(evaluated, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a10_every_writing_of_a_number_is_one_verification() {
    let (house, sink) = House::with_sink(open()).await;
    let account = Account::of(&house, "default").await;
    let first = account.send("+255694230173").await.ok(201)["sid"].clone();
    // A plus that was not escaped is a space in a form.
    let body = b"To=+255694230173&Channel=sms";
    let authorization = account.authorization.as_str();
    let headers =
        [("Authorization", authorization), ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")];
    let plus = house.door.ask("POST", &account.path("Verifications"), &headers, body).await;
    assert_eq!(plus.ok(201)["sid"], first);
    for writing in ["255694230173", "00255694230173", "+255 694 230 173", "+255-694-230-173", "+255 (694) 230173"] {
        assert_eq!(account.send(writing).await.ok(201)["sid"], first, "{writing}");
    }
    for in_path in ["+255694230173", "%2B255694230173", "255694230173"] {
        let found = account.get(&account.path(&format!("Verifications/{in_path}"))).await;
        assert_eq!(found.ok(200)["sid"], first, "{in_path}");
    }
    assert_eq!(sink.wait("+255694230173", 7).await.len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b1_of_parallel_right_codes_at_two_doors_one_is_accepted() {
    let (house, sink) = House::with_sink(open()).await;
    let account = Account::of(&house, "default").await;
    for round in 0..10 {
        let to = phone(round);
        let sid = account.send(&to).await.ok(201)["sid"].as_str().unwrap().to_owned();
        let code = sink.code_of(&to).await;
        let id = sid.replace("VE", "vf_");
        let checks = (0..30).map(|n| match n % 3 {
            0 => account.guess(("To", &to), &code),
            1 => account.guess(("VerificationSid", &sid), &code),
            _ => house.door.guess(&id, &code),
        });
        let replies = house.door.race(checks.collect()).await;
        let won = replies.iter().filter(|reply| reply.status == 200 && reply.json()["valid"] == json!(true)).count();
        assert_eq!(won, 1);
        for (n, reply) in replies.iter().enumerate().filter(|(n, reply)| n % 3 < 2 && reply.status != 200) {
            reply.twilio(404, 20404);
            assert!(n < 30);
        }
        account.get(&account.path(&format!("Verifications/{sid}"))).await.twilio(404, 20404);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c1_a_code_is_right_in_one_service_of_one_account() {
    let plan = open().and("[[applications]]\nname = \"default\"\n[[applications]]\nname = \"other\"");
    let (house, sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    let stranger = Account::of(&house, "other").await;
    let second = account.post("/v2/Services", &[("FriendlyName", "Second")]).await.ok(201);
    let second = Account { service: second["sid"].as_str().unwrap().to_owned(), ..account.clone() };
    assert_ne!(account.service, stranger.service);
    let to = phone(1);
    let sid = account.send(&to).await.ok(201)["sid"].as_str().unwrap().to_owned();
    let code = sink.code_of(&to).await;
    let trespasser = Account { service: account.service.clone(), ..stranger.clone() };
    for elsewhere in [&stranger, &second, &trespasser] {
        elsewhere.check(("To", &to), &code).await.twilio(404, 20404);
        elsewhere.check(("VerificationSid", &sid), &code).await.twilio(404, 20404);
        let path = elsewhere.path(&format!("Verifications/{sid}"));
        elsewhere.get(&path).await.twilio(404, 20404);
        elsewhere.post(&path, &[("Status", "canceled")]).await.twilio(404, 20404);
    }
    let attempt = account.get("/v2/Attempts").await.ok(200)["attempts"][0]["sid"].as_str().unwrap().to_owned();
    stranger.get(&format!("/v2/Attempts/{attempt}")).await.twilio(404, 20404);
    assert_eq!(stranger.get("/v2/Attempts").await.ok(200)["attempts"], json!([]));
    for path in ["", "/RateLimits", "/Webhooks"] {
        stranger.get(&format!("/v2/Services/{}{path}", second.service)).await.twilio(404, 20404);
    }
    stranger.ask("DELETE", &format!("/v2/Services/{}", second.service), &[]).await.twilio(404, 20404);
    assert!(account.check(("To", &to), &code).await.checked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_e4_what_is_no_code_is_refused_alike_at_this_door_too() {
    let (house, sink) = House::with_sink(open()).await;
    let account = Account::of(&house, "default").await;
    let to = phone(1);
    account.send(&to).await.ok(201);
    let code = sink.code_of(&to).await;
    let long = "1".repeat(4000);
    for nothing in
        ["", " ", "12", "12a456", "+12345", "1.23e2", "0x7b", "１２３４５６", "²²²²²²", " 123456", "\0", "null", &long]
    {
        account.check(("To", &to), nothing).await.twilio(400, 60200);
        account.check(("To", &phone(2)), nothing).await.twilio(400, 60200);
    }
    let path = account.path("VerificationCheck");
    account.post(&path, &[("To", &to)]).await.twilio(400, 60200);
    account.post(&path, &[("To", &to), ("Code", &code), ("Code", "000000")]).await.twilio(400, 60200);
    account.post(&path, &[("To", &to), ("To", &phone(2)), ("Code", &code)]).await.twilio(400, 60200);
    account.post(&path, &[("Code", &code)]).await.twilio(400, 60221);
    account.check(("VerificationSid", "VE1"), &code).await.twilio(404, 20404);
    let padded = format!("0{code}");
    assert!(!account.check(("To", &to), &padded).await.checked());
    assert!(account.check(("To", &to), &code).await.checked());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f1_no_code_is_in_any_answer_of_this_door() {
    let plan = open().and_policy("allow_custom_code = true");
    let (house, sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    let (to, own) = (phone(1), "9753197531");
    account.send(&to).await.ok(201);
    let form = [("To", "+255694000002"), ("Channel", "sms"), ("CustomCode", own)];
    account.post(&account.path("Verifications"), &form).await.ok(201);
    let code = sink.code_of(&to).await;
    assert_eq!(sink.code_of("+255694000002").await, own);
    account.check(("To", &to), &wrong(&code, 1)).await.checked();
    for path in ["/v2/Attempts", "/v2/Attempts/Summary", "/v2/Services", "/v2/Templates"] {
        account.get(path).await.ok(200);
    }
    account.get(&account.path(&format!("Verifications/{to}"))).await.ok(200);
    account.check(("To", &to), &code).await.checked();
    account.check(("To", "+255694000002"), own).await.checked();
    let (said, log) = (house.door.record.lock().unwrap().clone(), house.wrote_err());
    for (what, text) in [("an answer", said), ("the log", log)] {
        let text = String::from_utf8_lossy(&text).into_owned();
        for code in [code.as_str(), own] {
            assert!(!text.contains(code), "a code is in {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g3_parallel_sends_are_one_verification_of_five_messages() {
    let (house, sink) = House::with_sink(open().policy("")).await;
    let account = Account::of(&house, "default").await;
    let to = phone(1);
    let form = [("To", to.as_str()), ("Channel", "sms")];
    let sends = (0..40).map(|_| account.bytes_of("POST", &account.path("Verifications"), &form));
    let replies = house.door.race(sends.collect()).await;
    let sent: Vec<_> =
        replies.iter().filter(|reply| reply.status == 201).map(|reply| reply.json()["sid"].clone()).collect();
    assert_eq!(sent.len(), 5);
    assert!(sent.iter().all(|sid| *sid == sent[0]));
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        reply.twilio(429, 60203);
        let policy = reply.header("ratelimit-policy").unwrap();
        assert!(policy.starts_with("\"sends\";q=5;"), "the cap is told: {policy}");
    }
    let messages = sink.wait(&to, 5).await;
    assert!(messages.iter().all(|message| message.code == messages[0].code));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h3_every_no_of_this_door_has_its_shape() {
    let plan = open().and_policy("resend_after = \"0s\"").policy("max_sends = 5");
    let (house, _sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    let service = account.service.clone();
    // Who asks.
    for headers in [vec![], vec![("Authorization", "Basic eDp5")], vec![("Authorization", "Bearer cs_1")]] {
        let reply = house.door.ask("GET", "/v2/Services", &headers, b"").await;
        reply.twilio(401, 20003);
        assert!(reply.header("www-authenticate").unwrap().starts_with("Basic "), "{reply:?}");
        house.door.ask("POST", &account.path("Verifications"), &headers, &[b'x'; 100_000]).await.twilio(401, 20003);
    }
    // What is there.
    let nobody = format!("VA{}", "0".repeat(32));
    for path in [
        "/v2",
        "/v2/",
        "/v2/Nothing",
        &format!("/v2/Services/{nobody}"),
        "/v2/Services/VA1",
        "/v2/Services/%ff",
        &format!("/v2/Services/{service}/Entities"),
        &format!("/v2/Services/{service}/Verifications/VE1"),
        &format!("/v2/Services/{service}/RateLimits/RK1"),
        "/v2/Attempts/VL1",
        "/v2/SafeList/Numbers/1",
    ] {
        account.get(path).await.twilio(404, 20404);
    }
    // How it is asked.
    for (method, path) in [
        ("DELETE", "/v2/Services"),
        ("PUT", "/v2/Services"),
        ("GET", &account.path("VerificationCheck")),
        ("POST", "/v2/Attempts"),
        ("PATCH", "/v2/Templates"),
    ] {
        let reply = account.ask(method, path, &[]).await;
        reply.twilio(405, 20004);
        assert!(reply.header("allow").is_some(), "{reply:?}");
    }
    // A head alone: the length of the body, and no body.
    let head = house.door.try_raw(&account.bytes_of("HEAD", "/v2/Services", &[])).await.unwrap_err().to_string();
    assert!(head.contains("HTTP/1.1 200") && head.ends_with("\\r\\n\\r\\n\""), "{head}");
    account.get("/v2/Services/").await.ok(200);
    account.get(&format!("/v2/Services/{}/", service.to_lowercase().replace("va", "VA"))).await.ok(200);
    account.post(&account.path("Verifications/"), &[("To", "+255694000001"), ("Channel", "sms")]).await.ok(201);
    for query in ["PageSize=x", "PageToken=nothing", "Page=-1", "PageSize=1&PageSize=2", "DateCreatedAfter=yesterday"] {
        let path = if query.starts_with("Date") { "/v2/Attempts" } else { "/v2/Services" };
        account.get(&format!("{path}?{query}")).await.twilio(400, 60200);
    }
    let big = "x".repeat(20_000);
    account.post("/v2/Services", &[("FriendlyName", &big)]).await.twilio(413, 20413);
    let authorization = account.authorization.as_str();
    let json = [("Authorization", authorization), ("Content-Type", "application/json")];
    house.door.ask("POST", "/v2/Services", &json, b"{\"FriendlyName\":\"x\"}").await.twilio(415, 20415);
    let form = [("Authorization", authorization), ("Content-Type", "application/x-www-form-urlencoded")];
    house.door.ask("POST", "/v2/Services", &form, b"FriendlyName=%zz").await.twilio(400, 20400);
    house.door.ask("POST", "/v2/Services", &form, b"FriendlyName=%ff").await.twilio(400, 20400);
}
