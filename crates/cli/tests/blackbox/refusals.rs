//! docs/reference/refusals.md, walked: each refusal is provoked in every dialect that can meet it, and is as the table says.

use serde_json::{Value, json};

use crate::house::account::Account;
use crate::house::plan::{limit, open};
use crate::house::{House, Plan, Reply, phone, wrong};

const TABLE: &str = include_str!("../../../../docs/reference/refusals.md");

/// A row: native, simple send, simple verify, Twilio, CAMARA send, CAMARA validate.
fn row(what: &str) -> [String; 6] {
    let line = TABLE.lines().find(|line| line.starts_with(&format!("| {what} |")));
    let cells = line
        .unwrap_or_else(|| panic!("there is no row `{what}`"))
        .split('|')
        .skip(2)
        .map(|cell| cell.trim().to_owned());
    cells.take(6).collect::<Vec<_>>().try_into().unwrap()
}

#[track_caller]
fn native(reply: &Reply, what: &str) {
    let cell = format!("{} `{}`", reply.status, reply.json()["code"].as_str().unwrap_or_default());
    assert_eq!(cell, row(what)[0], "{what}: {}", reply.text());
}

#[track_caller]
fn simple(reply: &Reply, what: &str, verify: bool) {
    let cell = format!("{} {}", reply.status, reply.json()["message"].as_str().unwrap_or_default());
    assert_eq!(cell, row(what)[1 + usize::from(verify)], "{what}: {}", reply.text());
}

#[track_caller]
fn twilio(reply: &Reply, what: &str) {
    let cell = format!("{} {}", reply.status, reply.json()["code"]);
    assert_eq!(cell, row(what)[3], "{what}: {}", reply.text());
}

#[track_caller]
fn camara(reply: &Reply, what: &str, validate: bool) {
    let body = reply.json();
    let code = body["code"].as_str().unwrap_or_default().replace("ONE_TIME_PASSWORD_SMS.", "…");
    assert_eq!(format!("{} {code}", reply.status), row(what)[4 + usize::from(validate)], "{what}: {}", reply.text());
    assert_eq!(body["status"], reply.status);
}

/// A send of this body, and a check of another, in the dialect of CAMARA.
async fn ask_camara(house: &House, call: &str, body: Value) -> Reply {
    house.door.post(&format!("/one-time-password-sms/v1/{call}"), body).await
}

async fn send_camara(house: &House, to: &str) -> Reply {
    ask_camara(house, "send-code", json!({"phoneNumber": to, "message": "{{code}} it is"})).await
}

async fn begin(plan: Plan) -> (House, crate::house::Sink, Account) {
    let (house, sink) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    (house, sink, account)
}

/// A send of this body in each dialect.
async fn sends(house: &House, account: &Account, to: &str, what: &str) {
    native(&house.door.post("/v1/verifications", json!({"to": to})).await, what);
    simple(&house.door.simple("send-otp", json!({"phone": to})).await, what, false);
    twilio(&account.send(to).await, what);
    camara(&send_camara(house, to).await, what, false);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_waiting_mends_is_refused_as_the_table_says() {
    let plan = open().and_policy("allowed_countries = [\"TZ\", \"US\", \"KE\"]").and(
        "[[routes]]\nchannel = \"sms\"\ncountries = [\"TZ\", \"US\", \"GB\"]\nproviders = [\"gateway\"]\n[[routes]]\nchannel = \"voice\"\ncountries = [\"US\"]\nproviders = [\"gateway\"]",
    );
    let (house, sink, account) = begin(plan).await;
    sends(&house, &account, "12", "not a number or address").await;
    sends(&house, &account, "+255222123456", "a text to a landline").await;
    sends(&house, &account, "+447400123456", "the country is not allowed").await;
    sends(&house, &account, "+19005550123", "the type of number is blocked").await;
    let voice = json!({"to": phone(1), "channel": "voice"});
    native(&house.door.post("/v1/verifications", voice).await, "nothing carries this channel");
    let call = [("To", "+255694000001"), ("Channel", "call")];
    twilio(&account.post(&account.path("Verifications"), &call).await, "nothing carries this channel");
    let unserved = "nothing carries this channel";
    simple(&house.door.simple("send-otp", json!({"phone": "+254712123456"})).await, unserved, false);
    camara(&send_camara(&house, "+254712123456").await, unserved, false);
    let locale = json!({"to": phone(1), "locale": "not a locale"});
    native(&house.door.post("/v1/verifications", locale).await, "a field that cannot be meant");
    let locale = [("To", "+255694000001"), ("Channel", "sms"), ("Locale", "not a locale")];
    twilio(&account.post(&account.path("Verifications"), &locale).await, "a field that cannot be meant");
    let purpose = json!({"phone": phone(1), "verification_type": "not a purpose"});
    simple(&house.door.simple("send-otp", purpose).await, "a field that cannot be meant", false);

    let words = json!({"phoneNumber": phone(1), "message": "no place for it"});
    camara(&ask_camara(&house, "send-code", words).await, "a field that cannot be meant", false);
    let body = json!({"authenticationId": "x".repeat(37), "code": "123456"});
    camara(&ask_camara(&house, "validate-code", body).await, "a field that cannot be meant", true);
    for (call, body) in [
        ("verify-otp", json!({"phone": phone(1), "otp": "12"})),
        ("verify-otp", json!({"phone": "12", "otp": "123456"})),
    ] {
        let what = if body["phone"] == "12" { "not a number or address" } else { "no such verification" };
        simple(&house.door.simple(call, body).await, what, true);
    }
    let purpose = json!({"phone": phone(1), "otp": "123456", "verification_type": "not a purpose"});
    simple(&house.door.simple("verify-otp", purpose).await, "a field that cannot be meant", true);

    let nobody = "0".repeat(32);
    native(&house.door.get(&format!("/v1/verifications/vf_{nobody}")).await, "no such verification");
    let path = account.path(&format!("Verifications/VE{nobody}"));
    twilio(&account.post(&path, &[("Status", "canceled")]).await, "no such verification");
    let body = json!({"authenticationId": format!("vf_{nobody}"), "code": "123456"});
    camara(&ask_camara(&house, "validate-code", body).await, "no such verification", true);
    let id = house.door.begin(&phone(2)).await;
    let code = sink.code_of(&phone(2)).await;
    assert_eq!(house.door.check(&id, &code).await.result(), "approved");
    native(
        &house.door.post(&format!("/v1/verifications/{id}/cancel"), Value::Null).await,
        "the verification has ended",
    );
    let path = account.path(&format!("Verifications/{}", id.replace("vf_", "VE")));
    twilio(&account.post(&path, &[("Status", "canceled")]).await, "the verification has ended");
    let verify = house.door.simple("verify-otp", json!({"phone": phone(2), "otp": code})).await;
    simple(&verify, "the verification has ended", true);
    let sent = send_camara(&house, &phone(3)).await.ok(200);
    let code = sink.code_of(&phone(3)).await;
    let body = json!({"authenticationId": sent["authenticationId"], "code": code});
    assert_eq!(ask_camara(&house, "validate-code", body.clone()).await.status, 204);
    camara(&ask_camara(&house, "validate-code", body).await, "the verification has ended", true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_guard_suspects_is_refused_as_the_table_says() {
    let (house, _sink, account) = begin(open().and("[guard]\nmode = \"enforce\"\nunconfirmed = 1")).await;
    account.send(&phone(1)).await.ok(201);
    sends(&house, &account, &phone(2), "the guard suspects pumping").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn caps_and_pauses_are_refused_as_the_table_says() {
    let (house, _sink, account) = begin(open().policy("max_sends = 1\nresend_after = \"0s\"")).await;
    account.send(&phone(1)).await.ok(201);
    // A code of CAMARA's is sent once: the next one is another.
    let what = "sent as often as it may be";
    native(&house.door.post("/v1/verifications", json!({"to": phone(1)})).await, what);
    simple(&house.door.simple("send-otp", json!({"phone": phone(1)})).await, what, false);
    simple(&house.door.simple("resend-otp", json!({"phone": phone(1)})).await, what, false);
    twilio(&account.send(&phone(1)).await, what);
    let pauses = "[server.twilio]\nresend_after = \"30s\"\n[server.camara]\nresend_after = \"30s\"";
    let (house, _sink, account) = begin(open().policy("resend_after = \"30s\"").and(pauses)).await;
    account.send(&phone(1)).await.ok(201);
    send_camara(&house, &phone(1)).await.ok(200);
    sends(&house, &account, &phone(1), "sent again too soon").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_are_refused_as_the_table_says() {
    for (per, what) in [
        ("destination", "the destination's limit"),
        ("prefix", "the prefix's limit"),
        ("country", "the country's limit"),
        ("application", "the application's limit"),
    ] {
        let (house, _sink, account) = begin(open().limits(&[limit(per, "sends", 1, "1h")])).await;
        account.send(&phone(1)).await.ok(201);
        sends(&house, &account, &phone(1), what).await;
    }
    // Limits of checks are limits too.
    for (per, what) in [
        ("destination", "the destination's limit"),
        ("prefix", "the prefix's limit"),
        ("country", "the country's limit"),
        ("application", "the application's limit"),
    ] {
        let (house, _sink, account) = begin(open().limits(&[limit(per, "checks", 1, "1h")])).await;
        let sent = send_camara(&house, &phone(1)).await.ok(200);
        assert_eq!(house.door.check_to(&phone(1), "123456").await.result(), "not_found");
        native(&house.door.check_to(&phone(1), "123456").await, what);
        simple(&house.door.simple("verify-otp", json!({"phone": phone(1), "otp": "123456"})).await, what, true);
        twilio(&account.check(("To", &phone(1)), "123456").await, what);
        let body = json!({"authenticationId": sent["authenticationId"], "code": "123456"});
        camara(&ask_camara(&house, "validate-code", body).await, what, true);
    }
    let rows = [limit("client", "sends", 1, "1h"), limit("client", "checks", 1, "1h")];
    let (house, _sink, account) = begin(open().limits(&rows)).await;
    let what = "the client's limit";
    for nth in 0..2 {
        let body = json!({"to": phone(nth), "client": {"ip": "198.51.100.7"}});
        let form = [("To", &*phone(nth)), ("Channel", "sms"), ("DeviceIp", "198.51.100.8")];
        let sent = [
            house.door.post("/v1/verifications", body).await,
            account.post(&account.path("Verifications"), &form).await,
            house.door.simple("send-otp", json!({"phone": phone(nth)})).await,
            house.door.simple("verify-otp", json!({"phone": phone(nth), "otp": "123456"})).await,
        ];
        if nth == 1 {
            native(&sent[0], what);
            twilio(&sent[1], what);
            simple(&sent[2], what, false);
            simple(&sent[3], what, true);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_days_guesses_and_an_accounts_own_limits_are_refused_as_the_table_says() {
    let (house, sink, account) = begin(open().and_policy("max_guesses_per_day = 1")).await;
    let to = phone(1);
    let id = house.door.begin(&to).await;
    let code = sink.code_of(&to).await;
    assert_eq!(house.door.check(&id, &wrong(&code, 0)).await.result(), "incorrect");
    native(&house.door.check(&id, &code).await, "the day's wrong guesses");
    twilio(&account.check(("To", &to), &code).await, "the day's wrong guesses");
    let sent = send_camara(&house, &to).await.ok(200);
    let body = json!({"authenticationId": sent["authenticationId"], "code": code});
    camara(&ask_camara(&house, "validate-code", body).await, "the day's wrong guesses", true);
    let guess = json!({"phone": to, "otp": wrong(&code, 1)});
    assert_eq!(house.door.simple("verify-otp", guess.clone()).await.status, 400);
    simple(&house.door.simple("verify-otp", guess).await, "the day's wrong guesses", true);

    let limit = account.post(&account.path("RateLimits"), &[("UniqueName", "own")]).await.ok(201);
    let buckets = account.path(&format!("RateLimits/{}/Buckets", limit["sid"].as_str().unwrap()));
    account.post(&buckets, &[("Max", "1"), ("Interval", "60")]).await.ok(201);
    for nth in 5..7 {
        let form = [("To", &*phone(nth)), ("Channel", "sms"), ("RateLimits", "{\"own\":\"x\"}")];
        let sent = account.post(&account.path("Verifications"), &form).await;
        if nth == 6 {
            twilio(&sent, "a rate limit of the account's own");
        } else {
            sent.ok(201);
        }
    }
}
