//! Two SMSCs that somebody else wrote (node-smpp, smpp34), which do whatever SMSCs do, and a process that is killed in between: what is
//! said of each message is what happened to it, none is sent more often than the policy says, and nothing that was accepted is called failed.
//!
//! `scripts/test` names the interpreters that have them. Without one the test says that it did not run; in CI it fails.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::house::peer::Peer;
use crate::house::plan::open;
use crate::house::sink::code_in;
use crate::house::{House, phone};

const RETRIES: usize = 1;

/// What the first SMSC does with a number that ends so (`smsc.js`): accepts, reports before or after its answer, sends a message of
/// somebody's, refuses for good or for now, throttles once, never answers, hangs up, answers with something else, stays half open,
/// takes its time, ends the session.
const FAULTS: [u32; 18] = [0, 5, 6, 9, 10, 11, 14, 64, 66, 8, 4, 58, 7, 17, 27, 37, 47, 18];
const REFUSED_BY_FIRST: [u32; 6] = [11, 14, 64, 66, 8, 4];
const REFUSED_BY_SECOND: [u32; 5] = [11, 14, 58, 66, 8];

/// What an SMSC saw of one number.
#[derive(Debug, Default)]
struct Saw {
    submits: usize,
    refused: usize,
    accepted: usize,
    code: Option<String>,
}

fn saw(first: &Peer, second: &Peer, provider: &str, digits: u32, to: &str) -> Saw {
    let to = to.trim_start_matches('+');
    let at_first = provider == "first";
    let peer = if at_first { first } else { second };
    let submits = peer.all(|said| said["submit"] == to);
    let refused = match at_first {
        true if digits == 58 => submits.len().min(1),
        true if REFUSED_BY_FIRST.contains(&digits) => submits.len(),
        false if REFUSED_BY_SECOND.contains(&digits) => submits.len(),
        _ => 0,
    };
    let accepted = if at_first { first.all(|said| said["accepted"] == to).len() } else { submits.len() - refused };
    let code = submits.last().map(|submit| code_in(&text(submit)));
    Saw { submits: submits.len(), refused, accepted, code }
}

/// The message, as either of them tells it.
fn text(submit: &Value) -> String {
    match submit["octets"].as_str() {
        Some(hex) => {
            (0..hex.len()).step_by(2).map(|at| char::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap())).collect()
        }
        None => submit["text"].as_str().unwrap().to_owned(),
    }
}

fn smpp(name: &str, port: u64) -> String {
    format!(
        "[[providers]]\nname = \"{name}\"\nuses = \"smpp\"\nhost = \"127.0.0.1\"\nport = {port}\nsystem_id = \"codes\"\n\
         password = \"secret\"\nsource = \"MyApp\"\nsessions = 2\nenquire_link = 1\n"
    )
}

/// Waits until nothing is on its way; the verification as it is then.
async fn settled(house: &House, id: &str) -> Value {
    let begun = Instant::now();
    loop {
        let shown = house.door.show(id).await;
        let queued = shown["deliveries"].as_array().unwrap().iter().any(|delivery| delivery["status"] == "queued");
        if !queued {
            return shown;
        }
        assert!(begun.elapsed() < Duration::from_secs(90), "it is still on its way: {shown}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_g5_whatever_two_smscs_do_each_verification_ends_in_a_true_status() {
    let Some(node) = Peer::interpreter("COUNTERSIGN_PEERS_NODE", "chaos over SMPP (node-smpp)") else { return };
    let Some(python) = Peer::interpreter("COUNTERSIGN_PEERS_PYTHON", "chaos over SMPP (smpp34)") else { return };
    let (first, second) = (Peer::start(&node, "smsc.js"), Peer::start(&python, "smsc.py"));
    let rows = format!("{}{}", smpp("first", first.port().await), smpp("second", second.port().await));
    let delivery = format!("retries = {RETRIES}\ntimeout = \"2s\"");
    let mut house = House::start(open().delivery(&delivery).and_policy("ttl = \"10m\"").and(&rows)).await;
    first.wait_for(2, "bound").await;
    second.wait_for(2, "bound").await;

    let mut sent = Vec::new();
    for round in 0..6_u32 {
        let killed = round >= 4;
        let asking = FAULTS.iter().map(|digits| {
            let (door, to, digits) = (house.door.clone(), phone(10_000 * (round + 1) + digits), *digits);
            let wait = if killed { "respond-async" } else { "wait=12" };
            tokio::spawn(async move {
                let reply = door.post_with("/v1/verifications", &[("Prefer", wait)], json!({"to": to})).await;
                let body = reply.json();
                let id = body["id"].as_str().or(body["verification_id"].as_str());
                (to, digits, id.unwrap_or_else(|| panic!("{body}")).to_owned(), killed)
            })
        });
        for asked in asking.collect::<Vec<_>>() {
            sent.push(asked.await.unwrap());
        }
        if killed {
            // Some are on the wire, some wait for their answer, some are in the outbox.
            tokio::time::sleep(Duration::from_millis(u64::from(round - 4) * 150)).await;
            house.restart().await;
        }
    }

    let mut seen = BTreeMap::<String, usize>::new();
    for (to, digits, id, killed) in &sent {
        let shown = settled(&house, id).await;
        let deliveries = shown["deliveries"].as_array().unwrap();
        let mut codes = Vec::new();
        for provider in ["first", "second"] {
            let saw = saw(&first, &second, provider, *digits, to);
            let about = format!("{to} at {provider}: {saw:?} {shown}");
            let here: Vec<_> = deliveries.iter().filter(|delivery| delivery["provider"] == provider).collect();
            let count = |statuses: &[&str]| {
                here.iter().filter(|delivery| statuses.contains(&delivery["status"].as_str().unwrap())).count()
            };
            // No message without its entry, none more often than the policy says; a process that was killed may have sent one more.
            assert!(saw.submits <= here.len(), "{about}");
            assert!(here.len() <= RETRIES + 1 + usize::from(*killed), "{about}");
            // What it took is never called failed, and what it did not take is never called accepted.
            assert!(here.len() - count(&["failed"]) >= saw.submits - saw.refused, "{about}");
            assert!(count(&["accepted", "delivered", "undelivered"]) <= saw.accepted, "{about}");
            assert!(count(&["delivered"]) == 0 || [5, 6].contains(digits), "{about}");
            assert!(count(&["undelivered"]) == 0 || *digits == 9, "{about}");
            codes.extend(saw.code);
            for delivery in here {
                *seen.entry(delivery["status"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        let failed = deliveries.iter().all(|delivery| delivery["status"] == "failed");
        assert_eq!(shown["status"], if failed { "failed" } else { "pending" }, "{to}: {shown}");
        // Every message of a verification has the same code, and it is good while the verification is.
        assert!(codes.windows(2).all(|pair| pair[0] == pair[1]), "{to}: {codes:?}");
        if let Some(code) = codes.last() {
            let checked = house.door.check_to(to, code).await.result();
            assert_eq!(checked, if failed { "not_found" } else { "approved" }, "{to}: {shown}");
        }
    }
    // How often depends on when the process was killed.
    let all = ["accepted", "delivered", "undelivered", "failed", "unknown"];
    assert!(all.into_iter().all(|status| seen.contains_key(status)), "{seen:?}");
}
