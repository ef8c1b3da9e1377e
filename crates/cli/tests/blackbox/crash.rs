//! A15, H5: the process is killed at random under mixed load, and everything that was said is still true afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use crate::house::http::{id, request};
use crate::house::plan::{limit, open};
use crate::house::{Door, House, Sink, phone, until, wrong};

/// What the clients were told.
#[derive(Default)]
struct Told {
    /// Acknowledged sends, by number.
    sends: HashMap<String, usize>,
    /// Acknowledged wrong guesses, by id.
    wrong: HashMap<String, u64>,
    /// Approvals, by id.
    approved: HashMap<String, usize>,
    ids: HashMap<String, String>,
}

const NUMBERS: u32 = 6;

fn rounds() -> u32 {
    std::env::var("COUNTERSIGN_CRASH_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(25)
}

/// One client among several; it goes on until the server is gone.
async fn client(door: Door, sink: Sink, told: Arc<Mutex<Told>>, round: u32, worker: u32) {
    for step in 0..10_000_u32 {
        let number = phone(1000 * round + (worker + step) % NUMBERS);
        let known = told.lock().unwrap().ids.get(&number).cloned();
        let Some(known) = known else {
            let Ok(reply) = door.try_post("/v1/verifications", &json!({"to": number})).await else { return };
            if matches!(reply.status, 200 | 201) {
                let mut told = told.lock().unwrap();
                *told.sends.entry(number.clone()).or_default() += 1;
                told.ids.insert(number, id(&reply.json()));
            }
            continue;
        };
        match (step + worker) % 7 {
            0 => {
                let path = format!("/v1/verifications/{known}/resend");
                let Ok(reply) = door.try_post(&path, &json!({})).await else { return };
                if reply.status == 200 {
                    *told.lock().unwrap().sends.entry(number).or_default() += 1;
                }
            }
            1 => {
                let body = json!({"phone": number}).to_string();
                let headers = [("Content-Type", "application/json")];
                let bytes = request("POST", "/api/users/send-otp", &headers, body.as_bytes());
                let Ok(reply) = door.try_raw(&bytes).await else { return };
                if reply.status == 200 {
                    *told.lock().unwrap().sends.entry(number).or_default() += 1;
                }
            }
            2 if step > 20 => {
                let Some(message) = sink.to(&number).pop() else { continue };
                let Ok(reply) = door.try_raw(&door.guess(&known, &message.code)).await else { return };
                if reply.result() == "approved" {
                    *told.lock().unwrap().approved.entry(known).or_default() += 1;
                }
            }
            _ => {
                let guess = wrong(&format!("{:06}", step * 7919 % 1_000_000), worker as usize);
                if sink.to(&number).iter().any(|message| message.code == guess) {
                    continue;
                }
                let Ok(reply) = door.try_raw(&door.guess(&known, &guess)).await else { return };
                if reply.result() == "incorrect" {
                    *told.lock().unwrap().wrong.entry(known).or_default() += 1;
                }
            }
        }
    }
}

/// Lawful uses of randomness in a test: when to pull the plug.
fn some(below: u64) -> u64 {
    use std::hash::{BuildHasher as _, Hasher as _};
    std::collections::hash_map::RandomState::new().build_hasher().finish() % below
}

/// Of every verification of a number, as the store has it.
async fn all_sends_to(door: &Door, number: &str) -> u64 {
    let page = door.get(&format!("/v1/verifications?limit=100&to=%2B{}", &number[1..])).await.ok(200);
    page["data"].as_array().unwrap().iter().map(|verification| verification["sends"].as_u64().unwrap()).sum()
}

const CAP: u64 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h5_nothing_that_was_said_is_lost_when_the_process_is_killed() {
    let plan = open()
        .and_policy(&format!("max_checks = {CAP}\nmax_guesses_per_day = 1000\nhardened_after = 1000"))
        .limits(&[limit("destination", "sends", 12, "24h")]);
    let (mut house, sink) = House::with_sink(plan).await;
    let (mut all_sends, mut all_wrong) = (0, 0);
    for round in 0..rounds() {
        let told = Arc::<Mutex<Told>>::default();
        let mut clients = Vec::new();
        for worker in 0..6 {
            let run = client(house.door.clone(), sink.clone(), Arc::clone(&told), round, worker);
            clients.push(tokio::spawn(run));
        }
        tokio::time::sleep(Duration::from_millis(20 + some(120))).await;
        house.kill();
        for client in clients {
            client.await.unwrap();
        }
        house.restart().await;
        let told = Arc::try_unwrap(told).ok().unwrap().into_inner().unwrap();
        for (number, verification) in &told.ids {
            let shown = house.door.show(verification).await;
            let (wrong, approved) = (
                told.wrong.get(verification).copied().unwrap_or(0),
                told.approved.get(verification).copied().unwrap_or(0),
            );
            let counted = CAP - shown["checks_left"].as_u64().unwrap();
            // At most the guesses whose answers were under way may be counted besides.
            assert!(counted >= wrong && counted <= wrong + 6, "round {round}: {wrong} told, {counted} counted");
            assert!(approved <= 1);
            if approved == 1 {
                assert_eq!(shown["status"], "approved");
            }
            let sends = all_sends_to(&house.door, number).await;
            assert!(sends >= told.sends[number] as u64, "round {round}: {} told, {sends} kept", told.sends[number]);
            assert!(sends <= 12, "the limit holds: {sends}");
            all_sends += told.sends[number];
            all_wrong += wrong;
            // A code that was used stays used, and one that was not works once.
            if let Some(message) = sink.to(number).pop() {
                let result = house.door.check(verification, &message.code).await.result();
                match shown["status"].as_str().unwrap() {
                    "approved" => assert_eq!(result, "already_used"),
                    "pending" => assert_eq!(result, "approved"),
                    _ => assert_eq!(result, "max_attempts_reached"),
                }
            }
        }
        // The limit goes on where it stood: what was sent before the crash is still counted.
        if let Some(number) = told.ids.keys().next() {
            let sent = all_sends_to(&house.door, number).await;
            let mut more = 0;
            while more < 20 {
                let body = json!({"to": number, "purpose": format!("more-{more}")});
                let reply = house.door.post("/v1/verifications", body).await;
                if reply.status == 429 {
                    break;
                }
                assert_eq!(reply.status, 201, "{}", reply.text());
                more += 1;
            }
            assert_eq!(sent + more, 12, "round {round}");
        }
    }
    assert!(all_sends > 50 && all_wrong > 50, "there was a load: {all_sends} sends, {all_wrong} wrong guesses");
    eprintln!("{} rounds, {all_sends} acknowledged sends, {all_wrong} acknowledged wrong guesses", rounds());
}

/// An acknowledged send is in the outbox. Whoever starts next carries it, as soon as the dead carrier's lease is over.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h5_an_acknowledged_send_is_delivered_after_the_crash() {
    let (mut house, sink) = House::with_sink(open().delivery("timeout = \"1s\"")).await;
    // The gateway has it on the wire and never answers; or it has not even got it.
    sink.habit(crate::house::Act::Hang);
    let mut sent = Vec::new();
    for n in 0..10 {
        sent.push((phone(n), id(&house.door.send_as(json!({"to": phone(n), "ttl": 600})).await)));
    }
    house.kill();
    let before = sink.count();
    sink.habit(crate::house::Act::Answer(200, "{}".into()));
    house.restart().await;
    // A lease is the time-out and 20 s: until then nobody can know that the carrier is dead.
    for (number, verification) in &sent {
        let had = sink.to(number).len();
        let accepted = async || {
            let shown = house.door.show(verification).await;
            let deliveries = shown["deliveries"].as_array().unwrap();
            deliveries.iter().any(|delivery| delivery["status"] == "accepted")
        };
        until("the message is carried", accepted).await;
        assert!(had <= 2 && !sink.to(number).is_empty());
        let codes: std::collections::HashSet<_> = sink.to(number).into_iter().map(|message| message.code).collect();
        assert_eq!(codes.len(), 1);
        assert_eq!(house.door.check(verification, codes.iter().next().unwrap()).await.result(), "approved");
    }
    eprintln!("{before} of 10 were on the wire when the process died");
}

/// A15: no counter outlives its window. What the store keeps of limits and guesses says when it may be forgotten, and is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a15_no_counter_is_kept_for_ever() {
    let rows = [limit("destination", "sends", 3, "2s"), limit("client", "sends", 5, "2s")];
    let (mut house, sink) = House::with_sink(open().limits(&rows)).await;
    for n in 0..5 {
        let body = json!({"to": phone(n), "client": {"ip": "203.0.113.1"}});
        house.door.send_as(body).await;
    }
    let body = json!({"to": phone(1), "client": {"ip": "203.0.113.1"}});
    house.door.post("/v1/verifications", body.clone()).await.problem(429, "rate_limited");
    sink.code_of(&phone(4)).await;
    house.kill();
    house.restart().await;
    let sent = async || house.door.post("/v1/verifications", body.clone()).await.status == 200;
    until("the window is over, crash or no crash", sent).await;
    // All of it goes, by the command that operators have. What is still live stays.
    let cleanup = async || {
        let made = house.cli("cleanup --older-than 0s --json").await;
        assert!(made.status.success(), "{made:?}");
        let store = rusqlite::Connection::open(house.dir.0.join("countersign.db")).unwrap();
        let mut names =
            store.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE '%limit%'").unwrap();
        let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        assert!(!names.is_empty());
        names.iter().all(|name| {
            store.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get::<_, i64>(0)).unwrap() == 0
        })
    };
    until("no counter is left", cleanup).await;
}
