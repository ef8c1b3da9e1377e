//! G2, O8, O9, O11: the guard against pumped traffic, at every door, over a restart, and with three processes on one database.

use serde_json::{Value, json};

use crate::fleet::{fleet, on, postgres, race};
use crate::house::account::Account;
use crate::house::http::{id, request};
use crate::house::plan::{Plan, limit, open};
use crate::house::{Door, House, Reply, Sink, WHSEC, until};

const ENFORCED: &str = "[guard]\nmode = \"enforce\"";

/// The `nth` of 10,000 numbers that hardly anybody has.
fn rare(nth: u32) -> String {
    format!("+25573423{nth:04}")
}

/// The `nth` of many numbers all over Kenya.
fn kenyan(nth: u32) -> String {
    format!("+2547{:08}", 10_000_000 + nth * 7_919)
}

fn telling(url: &str) -> String {
    format!(
        "[[applications]]\nname = \"default\"\n[[applications.webhooks]]\nurl = \"{url}\"\nsecret = \"{WHSEC}\"\n\
         events = [\"guard.blocked\"]\n[webhooks]\nallow_private_addresses = true"
    )
}

/// A send natively for somebody at the `nth` of 200 addresses.
fn natively(door: &Door, to: &str, nth: u32) -> Vec<u8> {
    let client = format!("198.51.{}.{}", nth % 200 / 100, nth % 100);
    door.bytes_of("POST", "/v1/verifications", &[], &json!({"to": to, "client": {"ip": client}}))
}

/// The same through a proxy at the door without a key.
fn simply(to: &str, nth: u32) -> Vec<u8> {
    let client = format!("203.0.{}.{}", nth % 200 / 100, nth % 100);
    let headers = [("Content-Type", "application/json"), ("X-Forwarded-For", client.as_str())];
    request("POST", "/api/users/send-otp/", &headers, json!({"phone": to}).to_string().as_bytes())
}

/// A refusal that says neither which block is full nor until when.
#[track_caller]
fn opaque(reply: &Reply) {
    let native = reply.header("content-type") == Some("application/problem+json");
    if native {
        let body = reply.problem(403, "fraud_suspected");
        let members: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(members, ["code", "detail", "status", "title", "type"], "{body}");
    } else {
        let expected = json!({"message": "This phone number cannot be used.", "status": "error"});
        assert_eq!(reply.ok(403), expected);
    }
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert_eq!(reply.header(name), None, "{reply:?}");
    }
    assert!(!reply.text().contains("73423") && !reply.text().contains("TZ"), "{}", reply.text());
}

fn taken(replies: &[Reply]) -> usize {
    replies.iter().filter(|reply| matches!(reply.status, 200 | 201)).inspect(|reply| drop(reply.json())).count()
}

async fn listed(house: &House) -> Value {
    let listed = house.cli("guard list --json").await;
    assert!(listed.status.success(), "{listed:?}");
    serde_json::from_slice(&listed.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g2_a_rare_prefix_that_nobody_confirms_is_held_and_a_country_that_confirms_is_not() {
    let application = Sink::start().await;
    let plan = Plan::defaults()
        .policy("allowed_countries = [\"TZ\", \"KE\"]\nresend_after = \"0s\"")
        .server("listen = \"127.0.0.1:0\"\ntrusted_proxies = [\"127.0.0.1\"]")
        .and(ENFORCED)
        .and(&telling(&application.url()));
    let (mut house, sink) = House::with_sink(plan).await;
    let door = house.door.clone();

    // 500 numbers of one block, from 200 addresses, at both doors and at once; none is confirmed.
    let mut held = 0;
    for wave in 0..2 {
        let requests = (0..250).map(|n| {
            let nth = wave * 250 + n;
            if nth % 2 == 0 { natively(&door, &rare(nth), nth) } else { simply(&rare(nth), nth) }
        });
        let replies = door.race(requests.collect()).await;
        replies.iter().filter(|reply| reply.status == 403).for_each(opaque);
        held += 250 - taken(&replies);
        assert_eq!(replies.iter().filter(|reply| reply.status == 403).count() + taken(&replies), 250);
    }
    assert_eq!(held, 450, "the allowance is 50, and exact");
    let pumped = |sink: &Sink| sink.messages().iter().filter(|message| message.to.starts_with("+25573423")).count();
    until("all that was taken was carried", async || pumped(&sink) == 50).await;

    // A country where four in five confirm, at the same volume.
    for wave in 0..20 {
        let numbers: Vec<_> = (0..25).map(|n| wave * 25 + n).collect();
        let sends = numbers.iter().map(|nth| natively(&door, &kenyan(*nth), *nth));
        let replies = door.race(sends.collect()).await;
        assert_eq!(taken(&replies), 25, "wave {wave}");
        for (nth, reply) in numbers.iter().zip(&replies).take(20) {
            let code = sink.code_of(&kenyan(*nth)).await;
            assert_eq!(door.check(&id(&reply.json()), &code).await.result(), "approved");
        }
    }

    // One alarm, not one for every refused send. It names the block, and nobody's code.
    until("the alarm came", async || application.count() >= 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    assert_eq!(application.count(), 1);
    let alarm = application.messages().remove(0);
    assert!(alarm.signed);
    assert_eq!(alarm.json["type"], "guard.blocked");
    let guard = &alarm.json["data"]["guard"];
    assert_eq!(
        (&guard["mode"], &guard["country"], &guard["window"]),
        (&json!("enforce"), &json!("TZ"), &json!(86_400))
    );
    let block = json!({"block": "+25573423xxxx", "unconfirmed": 50, "allowed": 50, "blocked": true});
    assert_eq!(guard["blocks"][0], block);
    assert_eq!(
        guard["blocks"][1],
        json!({"block": "+255734xxxxxx", "unconfirmed": 50, "allowed": 500, "blocked": false})
    );
    assert_eq!(guard["blocks"][2]["block"], "TZ");
    let body = String::from_utf8(alarm.body.clone()).unwrap();
    let log = String::from_utf8(house.wrote_err()).unwrap();
    let line = log.lines().find(|line| line.contains("a block of numbers is full")).expect("a line in the log");
    assert!(line.contains("+25573423xxxx") && line.contains("50"), "{line}");
    for message in sink.messages() {
        assert!(!body.contains(&message.code) && !log.contains(&message.to));
    }
    let metrics = door.get("/metrics").await.text();
    for line in [
        r#"countersign_guard_suspected_total{application="default",country="TZ",outcome="refused"} 450"#,
        r#"countersign_guard_alarms_total{application="default",country="TZ"} 1"#,
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }

    // It outlives the process. Who knows better opens it.
    house.restart().await;
    // An answer under a key is not kept: it is about what passes.
    let keyed = async || {
        let key = [("Idempotency-Key", "once")];
        house.door.post_with("/v1/verifications", &key, json!({"to": rare(901)})).await
    };
    opaque(&keyed().await);
    let before = listed(&house).await;
    assert_eq!((&before["mode"], &before["blocks"]), (&json!("enforce"), &json!([block])));
    let opened = house.cli("guard open +25573423xxxx --json").await;
    assert!(opened.status.success(), "{opened:?}");
    assert_eq!(house.cli("guard open +25573423xxxx").await.status.code(), Some(1));
    assert_eq!(listed(&house).await["blocks"], json!([]));
    assert_eq!(keyed().await.status, 201);
    assert_eq!(house.door.raw(&natively(&house.door, &rare(900), 1)).await.status, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g2_observing_refuses_nothing_and_gives_the_alarm() {
    let application = Sink::start().await;
    let plan = open().and("[guard]\nmode = \"observe\"\nunconfirmed = 10").and(&telling(&application.url()));
    let (house, sink) = House::with_sink(plan).await;
    for nth in 0..30 {
        house.door.send(&rare(nth)).await;
    }
    until("all were carried", async || sink.count() == 30).await;
    until("the alarm came", async || application.count() == 1).await;
    assert_eq!(application.messages()[0].json["data"]["guard"]["mode"], "observe");
    let line = r#"countersign_guard_suspected_total{application="default",country="TZ",outcome="let_through"} 20"#;
    assert!(house.door.get("/metrics").await.text().contains(line));
    assert_eq!(listed(&house).await["blocks"][0]["unconfirmed"], 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g2_one_application_is_guarded_and_its_neighbour_is_not() {
    let rows = "[[applications]]\nname = \"default\"\n[applications.guard]\nmode = \"enforce\"\nunconfirmed = 5\n\
                [[applications]]\nname = \"other\"";
    let (house, _sink) = House::with_sink(open().and(rows)).await;
    let other = house.door.as_key(&house.key_of("other").await);
    let (mut here, mut there) = (0, 0);
    for nth in 0..20 {
        here += usize::from(house.door.post("/v1/verifications", json!({"to": rare(nth)})).await.status == 201);
        there += usize::from(other.post("/v1/verifications", json!({"to": rare(nth)})).await.status == 201);
    }
    assert_eq!((here, there), (5, 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g2_the_guard_speaks_twilio_and_lets_through_what_an_account_answers_for() {
    let (house, _sink) = House::with_sink(open().and("[guard]\nmode = \"enforce\"\nunconfirmed = 5")).await;
    let account = Account::of(&house, "default").await;
    for nth in 0..5 {
        assert_eq!(account.send(&rare(nth)).await.status, 201);
    }
    account.send(&rare(5)).await.twilio(403, 60410);
    let path = account.path("Verifications");
    let to = rare(6);
    let checked = async |risk| account.post(&path, &[("To", &to), ("Channel", "sms"), ("RiskCheck", risk)]).await;
    checked("enable").await.twilio(403, 60410);
    assert_eq!(checked("disable").await.status, 201);
    account.send(&rare(7)).await.twilio(403, 60410);
    assert_eq!(account.post("/v2/SafeList/Numbers", &[("PhoneNumber", &rare(7))]).await.status, 201);
    assert_eq!(account.send(&rare(7)).await.status, 201);
    account.send(&rare(8)).await.twilio(403, 60410);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g2_premium_and_satellite_numbers_are_refused_before_any_provider() {
    let (house, sink) = House::with_sink(open()).await;
    for to in ["+19005550100", "+18005550100", "+870773111632", "+881631234567", "+8821621234567", "+883510012345678"] {
        house.door.post("/v1/verifications", json!({"to": to})).await.problem(403, "number_type_blocked");
    }
    let (house, other) = House::with_sink(open().and_policy("allowed_countries = [\"KE\"]")).await;
    house.door.post("/v1/verifications", json!({"to": rare(1)})).await.problem(403, "country_blocked");
    assert_eq!((sink.count(), other.count()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g2_three_processes_hold_one_block() {
    let rows = [limit("application", "sends", 1_000_000, "1h")];
    let (houses, sink) = fleet(on(&postgres::url()).limits(&rows).and("[guard]\nmode = \"enforce\"")).await;
    let door = &houses[0].door;
    let replies = race(&houses, (0..300).map(|nth| natively(door, &rare(nth), nth)).collect()).await;
    assert_eq!(taken(&replies), 50);
    replies.iter().filter(|reply| reply.status != 201).for_each(opaque);
    // What is confirmed at one of them is confirmed at all: 13 take back 52.
    let confirmed: Vec<_> = replies.iter().filter(|reply| reply.status == 201).take(13).map(Reply::json).collect();
    for (nth, verification) in confirmed.iter().enumerate() {
        let code = sink.code_of(verification["to"].as_str().unwrap()).await;
        let reply = houses[nth % 3].door.check(&id(verification), &code).await;
        assert_eq!(reply.result(), "approved");
    }
    let replies = race(&houses, (300..500).map(|nth| natively(door, &rare(nth), nth)).collect()).await;
    assert_eq!(taken(&replies), 50);
}

/// In a country of four digits the block is the area too: it is charged, told of and listed once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g2_a_block_that_is_a_whole_small_country_is_told_of_once() {
    let application = Sink::start().await;
    let plan = open().and("[guard]\nmode = \"enforce\"\nunconfirmed = 2").and(&telling(&application.url()));
    let (house, _sink) = House::with_sink(plan).await;
    for number in ["+6907290", "+6907291"] {
        house.door.send(number).await;
    }
    opaque(&house.door.post("/v1/verifications", json!({"to": "+6907292"})).await);
    until("the alarm came", async || application.count() > 0).await;
    let told = application.messages().remove(0).json["data"]["guard"].clone();
    let blocks: Vec<_> = told["blocks"].as_array().unwrap().iter().map(|block| block["block"].clone()).collect();
    assert_eq!(blocks, ["+690xxxx", "TK"], "{told}");
    let page = house.door.get("/metrics").await.text();
    let alarms = page.lines().find(|line| line.starts_with("countersign_guard_alarms_total{")).unwrap();
    assert!(alarms.ends_with(" 1"), "{alarms}");
}
