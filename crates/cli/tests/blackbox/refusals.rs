//! docs/reference/refusals.md, walked: each refusal is provoked in every dialect that can meet it, and is as the table says.

use serde_json::{Value, json};

use crate::house::account::Account;
use crate::house::plan::{limit, open};
use crate::house::{House, Plan, Reply, phone, wrong};

const TABLE: &str = include_str!("../../../../docs/reference/refusals.md");

/// A row: native, simple send, simple verify, Twilio.
fn row(what: &str) -> [String; 4] {
    let line = TABLE.lines().find(|line| line.starts_with(&format!("| {what} |")));
    let cells = line
        .unwrap_or_else(|| panic!("there is no row `{what}`"))
        .split('|')
        .skip(2)
        .map(|cell| cell.trim().to_owned());
    cells.take(4).collect::<Vec<_>>().try_into().unwrap()
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_waiting_mends_is_refused_as_the_table_says() {
    let plan = open().and_policy("allowed_countries = [\"TZ\", \"US\"]").and(
        "[[routes]]\nchannel = \"sms\"\nproviders = [\"gateway\"]\n[[routes]]\nchannel = \"voice\"\ncountries = [\"US\"]\nproviders = [\"gateway\"]",
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
    let locale = json!({"to": phone(1), "locale": "not a locale"});
    native(&house.door.post("/v1/verifications", locale).await, "a field that cannot be meant");
    let locale = [("To", "+255694000001"), ("Channel", "sms"), ("Locale", "not a locale")];
    twilio(&account.post(&account.path("Verifications"), &locale).await, "a field that cannot be meant");
    let purpose = json!({"phone": phone(1), "verification_type": "not a purpose"});
    simple(&house.door.simple("send-otp", purpose).await, "a field that cannot be meant", false);

    let nobody = "0".repeat(32);
    native(&house.door.get(&format!("/v1/verifications/vf_{nobody}")).await, "no such verification");
    let path = account.path(&format!("Verifications/VE{nobody}"));
    twilio(&account.post(&path, &[("Status", "canceled")]).await, "no such verification");
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
    sends(&house, &account, &phone(1), "sent as often as it may be").await;
    let plan = open().policy("resend_after = \"30s\"").and("[server.twilio]\nresend_after = \"30s\"");
    let (house, _sink, account) = begin(plan).await;
    account.send(&phone(1)).await.ok(201);
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
