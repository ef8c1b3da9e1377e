//! Webhooks to applications (API section 5): each event, in order, at least once, signed, to where it may go and nowhere else.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::fleet;
use crate::house::http::id;
use crate::house::plan::{Plan, open};
use crate::house::sink::sign;
use crate::house::{Act, House, Sink, WHSEC, phone, until, wrong};

const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// A plan with one endpoint of the application `default`, at this address.
fn telling(url: &str, lines: &str) -> Plan {
    telling_with(open(), url, lines)
}

fn telling_with(plan: Plan, url: &str, lines: &str) -> Plan {
    plan.and("[[applications]]\nname = \"default\"").and(&format!(
        "[[applications.webhooks]]\nurl = \"{url}\"\n{lines}\n[webhooks]\ntimeout = \"1s\"\nallow_private_addresses = true"
    ))
}

fn secret() -> String {
    format!("secret = \"{WHSEC}\"")
}

/// A server, its gateway, and its application.
async fn house() -> (House, Sink, Sink) {
    house_with(open()).await
}

async fn house_with(plan: Plan) -> (House, Sink, Sink) {
    let application = Sink::start().await;
    let (house, gateway) = House::with_sink(telling_with(plan, &application.url(), &secret())).await;
    (house, gateway, application)
}

/// The same on a schema of its own.
async fn house_on_postgresql() -> (House, Sink, Sink) {
    house_with(fleet::on(&fleet::postgres::url())).await
}

/// The events of a verification in the order in which they came, each once.
fn told(application: &Sink, verification: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let about =
        |message: &crate::house::sink::Message| message.json["data"]["verification"]["id"] == json!(verification);
    let messages = application.messages();
    let news = messages.iter().filter(|message| about(message) && seen.insert(message.headers[0].clone()));
    news.map(|message| message.json["type"].as_str().unwrap().to_owned()).collect()
}

async fn until_told(application: &Sink, verification: &str, kinds: &[&str]) {
    until(&format!("{kinds:?} came"), async || told(application, verification).len() >= kinds.len()).await;
    assert_eq!(told(application, verification), kinds);
}

async fn list(house: &House) -> Value {
    let listed = house.cli("webhook list --json").await;
    assert!(listed.status.success(), "{listed:?}");
    serde_json::from_slice::<Value>(&listed.stdout).unwrap()["endpoints"][0].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_told_in_order_and_signed() {
    is_told_in_order_and_signed(house().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_is_told_in_order_and_signed_on_postgresql() {
    is_told_in_order_and_signed(house_on_postgresql().await).await;
}

async fn is_told_in_order_and_signed((house, gateway, application): (House, Sink, Sink)) {
    let mut held = Vec::new();
    for n in 0..8 {
        held.push((
            phone(n),
            id(&house.door.send_as(json!({"to": phone(n), "metadata": {"order": n.to_string()}})).await),
        ));
    }
    for (number, verification) in &held {
        let code = gateway.code_of(number).await;
        let settled = async || house.door.show(verification).await["deliveries"][0]["status"] == "accepted";
        until("the gateway took it", settled).await;
        assert_eq!(house.door.check(verification, &wrong(&code, 0)).await.result(), "incorrect");
        assert_eq!(house.door.check(verification, &code).await.result(), "approved");
    }
    let kinds = ["verification.created", "delivery.accepted", "verification.approved"];
    for (_, verification) in &held {
        until_told(&application, verification, &kinds).await;
    }
    let codes: HashSet<_> = gateway.messages().into_iter().map(|message| message.code).collect();
    let mut ids = BTreeMap::new();
    for message in application.messages() {
        assert!(message.signed, "{message:?}");
        let (body, text) = (&message.json, String::from_utf8(message.body.clone()).unwrap());
        assert_eq!(body["id"], json!(message.headers[0]));
        let members: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
        assert_eq!(members, ["data", "id", "timestamp", "type"]);
        let verification = &body["data"]["verification"];
        let shown = house.door.show(verification["id"].as_str().unwrap()).await;
        for member in ["to", "purpose", "metadata", "created_at", "expires_at"] {
            assert_eq!(verification[member], shown[member]);
        }
        assert_eq!(body["data"]["delivery"].is_object(), body["type"].as_str().unwrap().starts_with("delivery."));
        ids.insert(message.headers[0].clone(), text.clone());
        // Never the code, nor what the message said.
        let digits = text.replace(&shown["to"].as_str().unwrap()[1..], "");
        for code in &codes {
            let runs: Vec<_> = digits.split(|c: char| !c.is_ascii_digit()).collect();
            assert!(!runs.contains(&code.as_str()), "{code} is in {text}");
        }
        assert!(!text.contains("code is"), "{text}");
    }
    assert_eq!(ids.len(), 24, "each event has an id of its own");
    let endpoint = list(&house).await;
    assert_eq!((&endpoint["state"], &endpoint["pending"], &endpoint["secrets"]), (&json!("ok"), &json!(0), &json!(1)));
    let metrics = async || house.door.get("/metrics").await.text();
    until("it is counted", async || {
        let page = metrics().await;
        page.lines().any(|line| {
            line.starts_with("countersign_webhook_attempts_total{") && line.ends_with("outcome=\"delivered\"} 24")
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_tried_again_under_its_id_and_holds_back_its_own_verification_alone() {
    what_fails_is_tried_again(house().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_fails_is_tried_again_under_its_id_and_holds_back_its_own_verification_alone_on_postgresql() {
    what_fails_is_tried_again(house_on_postgresql().await).await;
}

async fn what_fails_is_tried_again((house, _, application): (House, Sink, Sink)) {
    application.habit(Act::Answer(500, String::new()));
    let first = id(&house.door.send(&phone(1)).await);
    until("the first attempt", async || application.count() >= 1).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(told(&application, &first), ["verification.created"], "the later one waits");
    let endpoint = list(&house).await;
    assert_eq!((&endpoint["state"], &endpoint["last_error"]), (&json!("failing"), &json!("answered 500")));
    assert!(endpoint["failing_since"].is_string() && endpoint["pending"].as_u64().unwrap() >= 2, "{endpoint}");
    application.habit(Act::Answer(204, String::new()));
    let second = id(&house.door.send(&phone(2)).await);
    until_told(&application, &second, &["verification.created", "delivery.accepted"]).await;
    until_told(&application, &first, &["verification.created", "delivery.accepted"]).await;
    let tries: Vec<_> =
        application.messages().into_iter().filter(|message| message.json["type"] == "verification.created").collect();
    let of_first: Vec<_> =
        tries.iter().filter(|message| message.json["data"]["verification"]["id"] == json!(first)).collect();
    assert!(of_first.len() >= 2, "{of_first:?}");
    assert!(
        of_first.iter().all(|message| message.headers[0] == of_first[0].headers[0] && message.body == of_first[0].body)
    );
    assert!(of_first[0].headers[1] < of_first[1].headers[1], "each attempt has its own time, and is signed anew");
    assert!(of_first.iter().all(|message| message.signed));
    until("all is well again", async || list(&house).await["state"] == "ok").await;
    // What was delivered can be asked for again.
    let (before, event) = (application.count(), of_first[0].headers[0].clone());
    let replayed = house.cli(&format!("webhook replay {event} --json")).await;
    assert_eq!(serde_json::from_slice::<Value>(&replayed.stdout).unwrap(), json!({"requeued": 1}));
    until("it comes again", async || application.count() > before).await;
    assert_eq!(application.messages()[before].headers[0], event);
    let all = house.cli("webhook replay --from 2026-01-01T00:00:00Z --json").await;
    assert_eq!(serde_json::from_slice::<Value>(&all.stdout).unwrap(), json!({"requeued": 4}));
    until("all come again", async || application.count() >= before + 5).await;
    let none = house.cli("webhook replay evt_none").await;
    assert_eq!(none.status.code(), Some(1), "{none:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gone_endpoint_is_disabled_until_it_is_enabled() {
    a_gone_endpoint_is_disabled(house().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gone_endpoint_is_disabled_until_it_is_enabled_on_postgresql() {
    a_gone_endpoint_is_disabled(house_on_postgresql().await).await;
}

async fn a_gone_endpoint_is_disabled((mut house, _, application): (House, Sink, Sink)) {
    application.habit(Act::Answer(410, String::new()));
    let held = id(&house.door.send(&phone(1)).await);
    until("it is disabled", async || list(&house).await["state"] == "disabled").await;
    let so_far = application.count();
    let second = id(&house.door.send(&phone(2)).await);
    until("the gateway took it", async || house.door.show(&second).await["deliveries"][0]["status"] == "accepted")
        .await;
    house.restart().await;
    house.door.send(&phone(3)).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(application.count(), so_far, "it is not asked again, not even after a restart");
    application.habit(Act::Answer(200, String::new()));
    let endpoint = list(&house).await;
    assert!(endpoint["disabled_at"].is_string(), "{endpoint}");
    let enabled = house.cli(&format!("webhook enable {}", endpoint["id"].as_str().unwrap())).await;
    assert!(enabled.status.success(), "{enabled:?}");
    until_told(&application, &held, &["verification.created", "delivery.accepted"]).await;
    // What happened meanwhile is told too.
    let ids = || application.messages().iter().map(|message| message.headers[0].clone()).collect::<HashSet<_>>();
    until("all six came", async || ids().len() == 6).await;
    until("nothing waits", async || list(&house).await["pending"] == 0).await;
    let unknown = house.cli("webhook enable we_none").await;
    assert_eq!(unknown.status.code(), Some(2), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_configuration_enables_a_gone_endpoint() {
    let (mut house, _, application) = house().await;
    application.habit(Act::Answer(410, String::new()));
    let held = id(&house.door.send(&phone(1)).await);
    until("it is disabled", async || list(&house).await["state"] == "disabled").await;
    application.habit(Act::Answer(200, String::new()));
    // While a secret is being changed there are two, and both sign.
    let both = format!("secret = [\"{OTHER}\", \"{WHSEC}\"]\n[webhooks]");
    house.replan(|plan| plan.replace(&format!("{}\n[webhooks]", secret()), &both));
    house.restart().await;
    until_told(&application, &held, &["verification.created", "delivery.accepted"]).await;
    let last = application.messages().pop().unwrap();
    let [id, timestamp, signatures] = &last.headers;
    let both = format!("{} {}", sign(OTHER, id, timestamp, &last.body), sign(WHSEC, id, timestamp, &last.body));
    assert_eq!(*signatures, both);
    assert_eq!(list(&house).await["secrets"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_are_refused() {
    let (house, _, application) = house().await;
    let elsewhere = Sink::start().await;
    let answer = format!("HTTP/1.1 307 Elsewhere\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", elsewhere.url());
    application.habit(Act::Bytes(answer.leak().as_bytes()));
    house.door.send(&phone(1)).await;
    until("it failed", async || list(&house).await["state"] == "failing").await;
    let error = list(&house).await["last_error"].as_str().unwrap().to_owned();
    assert!(error.contains("answered 307: redirects are not followed"), "{error}");
    assert_eq!(elsewhere.count(), 0);
}

/// A name of the outside that leads into the own network is no way in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_leads_to_a_private_address_is_not_gone_to() {
    let application = Sink::start().await;
    let url = application.url().replace("127.0.0.1", "localhost");
    let plan = telling(&url, &secret()).replace("allow_private_addresses = true", "");
    let (house, _) = House::with_sink(plan.server("listen = \"127.0.0.1:0\"\nproduction = true")).await;
    house.door.send(&phone(1)).await;
    until("it failed", async || list(&house).await["state"] == "failing").await;
    let error = list(&house).await["last_error"].as_str().unwrap().to_owned();
    assert!(error.contains("not sent: it leads to") && error.contains("no address of the public internet"), "{error}");
    let tested = house.cli("webhook test --json").await;
    assert_eq!(tested.status.code(), Some(3), "{tested:?}");
    assert_eq!(application.count(), 0);
    for literal in [
        "http://10.0.0.1:9/",
        "http://167772161/",
        "http://0xa.1/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://169.254.169.254/",
    ] {
        let plan = telling(literal, &secret()).replace("allow_private_addresses = true", "");
        let (code, said) = crate::house::refused(plan).await;
        assert!(code == 2 && said.contains("no address of the public internet"), "{literal}: {code} {said}");
    }
}

/// The application under trial mostly runs beside the server: a row without any further key is told of everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_an_endpoint_on_this_machine_is_told_without_a_further_key() {
    for host in ["127.0.0.1", "localhost"] {
        let application = Sink::start().await;
        let url = application.url().replace("127.0.0.1", host);
        let plan = telling(&url, &secret()).replace("allow_private_addresses = true", "");
        let (house, _) = House::with_sink(plan).await;
        let verification = id(&house.door.send(&phone(1)).await);
        until_told(&application, &verification, &["verification.created", "delivery.accepted"]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_process_is_killed() {
    nothing_is_lost(house().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_process_is_killed_on_postgresql() {
    nothing_is_lost(house_on_postgresql().await).await;
}

async fn nothing_is_lost((mut house, gateway, application): (House, Sink, Sink)) {
    // The application is slow and often away, so that messages are at every stage when the plug is pulled.
    application.habit(Act::Slow(Duration::from_millis(60), 200, String::new()));
    let mut held = Vec::new();
    for round in 0..4_u32 {
        for n in 0..6 {
            let number = phone(10 * round + n);
            let verification = id(&house.door.send(&number).await);
            let code = gateway.code_of(&number).await;
            if n % 2 == 0 {
                assert_eq!(house.door.check(&verification, &code).await.result(), "approved");
            }
            held.push((verification, n % 2 == 0));
        }
        tokio::time::sleep(Duration::from_millis(u64::from(round) * 90)).await;
        house.restart().await;
    }
    for (verification, approved) in &held {
        let is_told = async || {
            let told = told(&application, verification);
            told.first().is_some_and(|first| first == "verification.created")
                && told.iter().any(|kind| kind == "verification.approved") == *approved
        };
        until("every event came, the first one first", is_told).await;
    }
    until("nothing waits", async || list(&house).await["pending"] == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_tell_each_event_once() {
    each_event_is_told_once(house().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_processes_tell_each_event_once_on_postgresql() {
    each_event_is_told_once(house_on_postgresql().await).await;
}

async fn each_event_is_told_once((house, gateway, application): (House, Sink, Sink)) {
    let neighbours = [house.neighbour().await, house.neighbour().await];
    let mut held = Vec::new();
    for n in 0..30 {
        let door = [&house.door, &neighbours[0].door, &neighbours[1].door][n as usize % 3];
        held.push(id(&door.send(&phone(n)).await));
        gateway.code_of(&phone(n)).await;
    }
    for verification in &held {
        until_told(&application, verification, &["verification.created", "delivery.accepted"]).await;
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(application.count(), 60, "no process died, so none was told twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_is_told_what_it_wants_and_can_be_tried() {
    let (application, other) = (Sink::start().await, Sink::start().await);
    let plan =
        telling(&application.url(), &format!("{}\nevents = [\"verification.approved\"]", secret())).and(&format!(
            "[[applications]]\nname = \"other\"\n[[applications.webhooks]]\nurl = \"{}\"\n{}",
            other.url(),
            secret()
        ));
    let (house, gateway) = House::with_sink(plan).await;
    let tested = house.cli("webhook test --json").await;
    assert!(tested.status.success(), "{tested:?}");
    assert_eq!((application.count(), other.count()), (1, 1));
    let ping = application.messages().pop().unwrap();
    assert!(
        ping.signed && ping.json["type"] == "webhook.test" && ping.json["id"] == json!(ping.headers[0]),
        "{ping:?}"
    );
    let held = id(&house.door.send(&phone(1)).await);
    let code = gateway.code_of(&phone(1)).await;
    assert_eq!(house.door.check(&held, &code).await.result(), "approved");
    until_told(&application, &held, &["verification.approved"]).await;
    let strangers = house.key_of("other").await;
    let theirs = id(&house.door.as_key(&strangers).send(&phone(2)).await);
    until_told(&other, &theirs, &["verification.created", "delivery.accepted"]).await;
    assert_eq!(application.count(), 2, "and nothing of another application's");
}
