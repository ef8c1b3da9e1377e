//! F3 and A17: keys can be changed under live codes, and a store that is away opens nothing.

use std::time::Duration;

use serde_json::{Value, json};

use crate::house::http::{id, request};
use crate::house::jwt::{believe, now};
use crate::house::plan::open;
use crate::house::{House, phone, until, wrong};

/// The ids of the keys in a key set.
fn kids(jwks: &Value) -> Vec<String> {
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

/// The keys that the codes of verifications were derived under, oldest verification first, as the store has them.
fn code_keys(house: &House) -> Vec<String> {
    let store = rusqlite::Connection::open(house.dir.0.join("countersign.db")).unwrap();
    let mut keys = store.prepare("SELECT key_id FROM verification ORDER BY place").unwrap();
    keys.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The ring is rotated under two running processes: neither is restarted, and no request ever meets a key that is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f3_a_rotation_is_taken_up_without_a_restart() {
    let (house, sink) = House::with_sink(open().server("public_url = \"https://verify.example\"")).await;
    let (issuer, neighbour) = ("https://verify.example", house.neighbour().await);
    let (old, other) = (id(&house.door.send(&phone(1)).await), id(&house.door.send(&phone(2)).await));
    let (code, second) = (sink.code_of(&phone(1)).await, sink.code_of(&phone(2)).await);
    let proof = house.door.check(&other, &second).await.ok(200)["token"].as_str().unwrap().to_owned();
    let before = house.door.get("/.well-known/jwks.json").await.ok(200);
    let (first_key, begun) = (code_keys(&house)[0].clone(), std::time::Instant::now());
    let rotated = house.cli("keys rotate --json").await;
    assert!(rotated.status.success(), "{rotated:?}");
    for door in [&house.door, &neighbour.door] {
        let both = async || kids(&door.get("/.well-known/jwks.json").await.ok(200)).len() == 2;
        until("the key set shows both keys", both).await;
        assert!(kids(&door.get("/.well-known/jwks.json").await.ok(200)).contains(&kids(&before)[0]));
    }
    // All the time codes are made by one and checked by the other, before and after the new key comes into use.
    let mut n = 10;
    while code_keys(&house).last().unwrap() == &first_key {
        assert!(begun.elapsed() < Duration::from_secs(30), "the new key is not used");
        let made = id(&house.door.send(&phone(n)).await);
        let code = sink.code_of(&phone(n)).await;
        assert_eq!(neighbour.door.check(&made, &code).await.result(), "approved");
        tokio::time::sleep(Duration::from_millis(200)).await;
        n += 1;
    }
    assert!(begun.elapsed() > Duration::from_secs(8), "not before everybody has it");
    let made = id(&neighbour.door.send(&phone(5)).await);
    let fresh = sink.code_of(&phone(5)).await;
    assert_eq!(house.door.check(&made, &fresh).await.result(), "approved");
    // What was pending verifies as before, with the same code; tokens signed before are believed.
    house.door.send(&phone(1)).await;
    assert!(sink.wait(&phone(1), 2).await.iter().all(|message| message.code == code));
    let approved = house.door.check(&old, &code).await.ok(200);
    let jwks = house.door.get("/.well-known/jwks.json").await.ok(200);
    for token in [proof.as_str(), approved["token"].as_str().unwrap()] {
        assert!(believe(&jwks, token, issuer, "default", now()).is_some());
        assert!(believe(&before, token, issuer, "default", now()).is_some(), "a key set that was kept is still enough");
    }
    // A ring that cannot be used changes nothing.
    let ring = house.dir.0.join("countersign.keys");
    std::fs::write(&ring, "nonsense").unwrap();
    let said = async || String::from_utf8_lossy(&house.wrote_err()).contains("the one in use is kept");
    until("it is said", said).await;
    let made = id(&house.door.send(&phone(6)).await);
    assert_eq!(house.door.check(&made, &sink.code_of(&phone(6)).await).await.result(), "approved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f3_after_a_rotation_and_a_restart_old_codes_work_until_they_expire() {
    let (mut house, sink) = House::with_sink(open()).await;
    let old = id(&house.door.send(&phone(1)).await);
    let code = sink.code_of(&phone(1)).await;
    house.kill();
    assert!(house.cli("keys rotate").await.status.success());
    house.restart().await;
    house.door.send(&phone(1)).await;
    assert!(sink.wait(&phone(1), 2).await.iter().all(|message| message.code == code));
    assert_eq!(house.door.check(&old, &code).await.result(), "approved");
}

/// The store is locked by somebody else: nothing is evaluated and nothing is sent, and it is said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a17_while_the_store_is_away_nothing_is_let_through() {
    let (house, sink) = House::with_sink(open()).await;
    let held = id(&house.door.send(&phone(1)).await);
    let code = sink.code_of(&phone(1)).await;
    let settled = async || house.door.show(&held).await["deliveries"][0]["status"] == "accepted";
    until("the send is settled", settled).await;
    let store = rusqlite::Connection::open(house.dir.0.join("countersign.db")).unwrap();
    store.busy_timeout(Duration::from_secs(5)).unwrap();
    store.execute_batch("BEGIN IMMEDIATE").unwrap();
    let simple = json!({"phone": phone(1), "otp": code}).to_string();
    let asked = [
        house.door.guess(&held, &wrong(&code, 0)),
        house.door.guess(&held, &code),
        house.door.guess_to(&phone(1), &code),
        house.door.bytes_of("POST", "/v1/verifications", &[], &json!({"to": phone(2)})),
        request("POST", "/api/users/verify-otp/", &[("Content-Type", "application/json")], simple.as_bytes()),
    ];
    let mut replies = house.door.race(asked.to_vec()).await;
    let said = json!({"message": "Service unavailable. Please try again later.", "status": "error", "verified": false});
    assert_eq!(replies.pop().unwrap().ok(503), said);
    for reply in &replies {
        reply.problem(503, "store_unavailable");
        assert!(reply.header("retry-after").is_some());
    }
    store.execute_batch("ROLLBACK").unwrap();
    // What was refused was not done later either.
    let back = async || house.door.check_to(&phone(9), "123456").await.status == 200;
    until("the store is back", back).await;
    let shown = house.door.show(&held).await;
    assert_eq!((&shown["status"], &shown["checks_left"]), (&json!("pending"), &json!(5)));
    assert_eq!(sink.to(&phone(2)).len(), 0);
    assert_eq!(house.door.check(&held, &code).await.result(), "approved");
}
