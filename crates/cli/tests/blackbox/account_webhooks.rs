//! Webhooks that accounts set up themselves, by the Twilio dialect: posted, signed, of their service alone, and followed while it runs.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::fleet;
use crate::house::account::Account;
use crate::house::plan::{Plan, open};
use crate::house::sink::sign;
use crate::house::{Act, House, Sink, phone, until};

fn plan() -> Plan {
    with_webhooks(open())
}

fn with_webhooks(plan: Plan) -> Plan {
    plan.and("[webhooks]\ntimeout = \"1s\"\nallow_private_addresses = true")
}

async fn begin(plan: Plan) -> (House, Sink, Account) {
    let (house, gateway) = House::with_sink(plan).await;
    let account = Account::of(&house, "default").await;
    (house, gateway, account)
}

/// A webhook of the account's service, and what it signs with.
async fn hook(account: &Account, url: &str, events: &[&str]) -> (String, String) {
    let mut form = vec![("FriendlyName", "hook"), ("WebhookUrl", url)];
    form.extend(events.iter().map(|event| ("EventTypes", *event)));
    let made = account.post(&account.path("Webhooks"), &form).await.ok(201);
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("sid"), text("signing_secret"))
}

/// What came, each event once, as its type and the verification's sid.
#[track_caller]
fn told(application: &Sink, secret: &str) -> Vec<(String, String)> {
    let mut seen = HashSet::new();
    let mut told = Vec::new();
    for message in application.messages() {
        let [id, timestamp, signature] = &message.headers;
        assert_eq!(*signature, sign(secret, id, timestamp, &message.body), "{message:?}");
        assert_eq!(message.json["id"], json!(id));
        if seen.insert(id.clone()) {
            let sid = message.json["data"]["verification"]["id"].as_str().unwrap().replace("vf_", "VE");
            told.push((message.json["type"].as_str().unwrap().to_owned(), sid));
        }
    }
    told
}

async fn until_told(application: &Sink, secret: &str, expected: &[(&str, &str)]) {
    until(&format!("{expected:?} came"), async || told(application, secret).len() >= expected.len()).await;
    let told = told(application, secret);
    // In order for each verification; between them there is none.
    let of_each = |(kind, sid): &(&str, &str)| (sid.to_string(), kind.to_string());
    let mut told: Vec<_> = told.iter().map(|(kind, sid)| of_each(&(kind, sid))).collect();
    let mut expected: Vec<_> = expected.iter().map(of_each).collect();
    told.sort_by(|a, b| a.0.cmp(&b.0));
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(told, expected);
}

async fn send(account: &Account, to: &str) -> String {
    account.send(to).await.ok(201)["sid"].as_str().unwrap().to_owned()
}

async fn endpoint(house: &House, id: &str) -> Value {
    let listed = house.cli("webhook list --json").await;
    assert!(listed.status.success(), "{listed:?}");
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let found = listed["endpoints"].as_array().unwrap().iter().find(|endpoint| endpoint["id"] == id);
    found.cloned().unwrap_or_else(|| panic!("{id} is not in {listed}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_told_what_it_wants_of_its_service_and_of_nothing_else() {
    let application = Sink::start().await;
    let (house, gateway, account) = begin(plan()).await;
    let made = account.post("/v2/Services", &[("FriendlyName", "Other")]).await.ok(201);
    let other = Account { service: made["sid"].as_str().unwrap().to_owned(), ..account.clone() };
    let before = send(&other, &phone(9)).await;
    let (sid, secret) = hook(&other, &application.url(), &["factor.created", "verification.approved"]).await;
    // Whoever made it saw the secret; nobody sees it later, but who runs the server.
    for shown in [
        account.get(&other.path(&format!("Webhooks/{sid}"))).await.ok(200),
        account.get(&other.path("Webhooks")).await.ok(200)["webhooks"][0].clone(),
    ] {
        assert_eq!((&shown["sid"], shown.get("signing_secret")), (&json!(sid), None));
    }
    let printed = house.cli(&format!("webhook secret {sid}")).await;
    assert_eq!(String::from_utf8_lossy(&printed.stdout).trim(), secret);
    assert!(!String::from_utf8_lossy(&house.wrote_err()).contains(&secret));
    let kept = house.files().into_iter().filter(|(name, _)| name.contains(".db"));
    assert!(kept.clone().count() > 0);
    for (name, bytes) in kept {
        assert!(!String::from_utf8_lossy(&bytes).contains(secret.trim_start_matches("whsec_")), "{name}");
    }
    // Nothing of other services, doors and kinds; nothing of before, but what happens to it now.
    house.door.begin(&phone(1)).await;
    send(&account, &phone(2)).await;
    let mine = send(&other, &phone(3)).await;
    for (service, to) in [(&account, 2), (&other, 3), (&other, 9)] {
        let code = gateway.code_of(&phone(to)).await;
        assert!(service.check(("To", &phone(to)), &code).await.checked());
    }
    until_told(&application, &secret, &[("verification.approved", &mine), ("verification.approved", &before)]).await;
    let listed = endpoint(&house, &sid).await;
    assert_eq!((&listed["state"], &listed["events"]), (&json!("ok"), &json!(["verification.approved"])));
    let page = house.door.get("/metrics").await.text();
    assert!(
        page.contains("countersign_webhook_attempts_total{endpoint=\"accounts\",outcome=\"delivered\"} 2"),
        "{page}"
    );
    let tested = house.cli(&format!("webhook test {sid}")).await;
    assert!(tested.status.success(), "{tested:?}");
    let ping = application.messages().pop().unwrap();
    assert_eq!(ping.json["type"], "webhook.test");
    assert_eq!(ping.headers[2], sign(&secret, &ping.headers[0], &ping.headers[1], &ping.body));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_followed_by_every_process_without_a_restart() {
    are_followed(plan()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_followed_by_every_process_without_a_restart_on_postgresql() {
    are_followed(with_webhooks(fleet::on(&fleet::postgres::url()))).await;
}

async fn are_followed(plan: Plan) {
    let (first, second) = (Sink::start().await, Sink::start().await);
    let (house, _, account) = begin(plan).await;
    // A process in which nobody has said a word.
    let neighbour = house.neighbour().await;
    let there = Account { door: neighbour.door.clone(), ..account.clone() };
    let (sid, secret) = hook(&account, &first.url(), &["verification.created", "verification.canceled"]).await;
    let path = account.path(&format!("Webhooks/{sid}"));
    let a = send(&there, &phone(1)).await;
    until_told(&first, &secret, &[("verification.created", &a)]).await;
    there.post(&there.path(&format!("Verifications/{a}")), &[("Status", "canceled")]).await.ok(200);
    let both = [("verification.created", &*a), ("verification.canceled", &*a)];
    until_told(&first, &secret, &both).await;
    // One more, while events are taken up: what happens as soon as it is answered for is told.
    let third = Sink::start().await;
    let (other, secret_of_other) = hook(&account, &third.url(), &["verification.created"]).await;
    let b = send(&there, &phone(5)).await;
    until_told(&third, &secret_of_other, &[("verification.created", &b)]).await;
    assert_eq!(account.ask("DELETE", &account.path(&format!("Webhooks/{other}")), &[]).await.status, 204);
    // Elsewhere, of other kinds.
    there.post(&path, &[("WebhookUrl", &second.url()), ("EventTypes", "*")]).await.ok(200);
    let followed = async || {
        send(&account, &phone(2)).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        second.count() > 0
    };
    until("the change is followed", followed).await;
    let so_far = first.count();
    let kind = |told: Vec<(String, String)>| told.iter().any(|(kind, _)| kind == "delivery.accepted");
    until("every kind comes", async || kind(told(&second, &secret))).await;
    // Disabled, and enabled again: what happened meanwhile is nobody's.
    account.post(&path, &[("Status", "disabled")]).await.ok(200);
    let quiet = async || {
        let before = second.count();
        send(&there, &phone(3)).await;
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        second.count() == before
    };
    until("it is quiet", quiet).await;
    assert_eq!(account.get(&path).await.ok(200)["status"], "disabled");
    account.post(&path, &[("Status", "enabled")]).await.ok(200);
    let loud = async || {
        let before = second.count();
        send(&there, &phone(4)).await;
        tokio::time::sleep(std::time::Duration::from_millis(400)).await;
        second.count() > before
    };
    until("it is told again", loud).await;
    assert_eq!(account.ask("DELETE", &path, &[]).await.status, 204);
    until("it is quiet for good", quiet).await;
    assert_eq!(first.count(), so_far, "the first address was left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_process_is_killed() {
    let application = Sink::start().await;
    application.habit(Act::Answer(503, String::new()));
    let (mut house, _, account) = begin(plan()).await;
    let (sid, secret) = hook(&account, &application.url(), &["verification.created"]).await;
    let sent = send(&account, &phone(1)).await;
    until("it was tried", async || application.count() > 0).await;
    house.kill();
    application.habit(Act::Answer(200, String::new()));
    house.restart().await;
    until_told(&application, &secret, &[("verification.created", &sent)]).await;
    until("nothing waits", async || endpoint(&house, &sid).await["pending"] == 0).await;
    // Gone, until somebody says otherwise.
    application.habit(Act::Answer(410, String::new()));
    let account = Account { door: house.door.clone(), ..account };
    let second = send(&account, &phone(2)).await;
    until("it is disabled", async || endpoint(&house, &sid).await["state"] == "disabled").await;
    application.habit(Act::Answer(200, String::new()));
    let enabled = house.cli(&format!("webhook enable {sid}")).await;
    assert!(enabled.status.success(), "{enabled:?}");
    let all = [("verification.created", &*sent), ("verification.created", &*second)];
    until_told(&application, &secret, &all).await;
}

/// An account has no command line to say that its endpoint is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a_gone_webhook_is_enabled_again_by_its_account() {
    let application = Sink::start().await;
    application.habit(Act::Answer(410, String::new()));
    let (house, _, account) = begin(plan()).await;
    let (sid, secret) = hook(&account, &application.url(), &["verification.created"]).await;
    let first = send(&account, &phone(1)).await;
    until("it is disabled", async || endpoint(&house, &sid).await["state"] == "disabled").await;
    application.habit(Act::Answer(200, String::new()));
    let second = send(&account, &phone(2)).await;
    let path = account.path(&format!("Webhooks/{sid}"));
    account.post(&path, &[("FriendlyName", "Hook")]).await.ok(200);
    assert_eq!(endpoint(&house, &sid).await["state"], "disabled", "another name enables nothing");
    account.post(&path, &[("Status", "enabled")]).await.ok(200);
    let all = [("verification.created", &*first), ("verification.created", &*second)];
    until_told(&application, &secret, &all).await;
    assert_eq!(endpoint(&house, &sid).await["state"], "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_goes_only_where_it_may() {
    let application = Sink::start().await;
    let (house, _, account) = begin(open()).await;
    for url in [
        application.url(),
        "http://2130706433/".into(),
        "https://[::1]/".into(),
        "http://169.254.169.254/latest".into(),
        "https://user:secret@app.example/".into(),
        "ftp://app.example/".into(),
        "app.example".into(),
    ] {
        let form = [("FriendlyName", "x"), ("WebhookUrl", &*url), ("EventTypes", "*")];
        account.post(&account.path("Webhooks"), &form).await.twilio(400, 60200);
    }
    // A name that leads there is no way in either.
    let name = application.url().replace("127.0.0.1", "localhost");
    let (sid, _) = hook(&account, &name, &["*"]).await;
    let path = account.path(&format!("Webhooks/{sid}"));
    account.post(&path, &[("WebhookUrl", &application.url())]).await.twilio(400, 60200);
    send(&account, &phone(1)).await;
    until("it failed", async || endpoint(&house, &sid).await["state"] == "failing").await;
    let error = endpoint(&house, &sid).await["last_error"].as_str().unwrap().to_owned();
    assert!(error.contains("not sent: it leads to"), "{error}");
    assert_eq!(application.count(), 0);
    // There is an end to them.
    for nth in 0..10 {
        let form = [("FriendlyName", "x"), ("WebhookUrl", "https://app.example/"), ("EventTypes", "challenge.denied")];
        let reply = account.post(&account.path("Webhooks"), &form).await;
        if nth < 9 {
            reply.ok(201);
        } else {
            reply.twilio(400, 60200);
        }
    }
    // Where no events are kept, nobody is promised any.
    let (_house, _, account) = begin(open().and("[store]\nlayout = \"minimal\"")).await;
    let form = [("FriendlyName", "x"), ("WebhookUrl", "https://app.example/"), ("EventTypes", "*")];
    account.post(&account.path("Webhooks"), &form).await.twilio(403, 60204);
}
