//! F3 and A17: keys can be changed under live codes, and a store that is away opens nothing.

use std::time::Duration;

use serde_json::json;

use crate::house::http::{id, request};
use crate::house::jwt::{believe, now};
use crate::house::plan::open;
use crate::house::{House, phone, until, wrong};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f3_after_a_rotation_old_codes_work_until_they_expire() {
    let (mut house, sink) = House::with_sink(open().server("public_url = \"https://verify.example\"")).await;
    let issuer = "https://verify.example";
    let (old, other) = (id(&house.door.send(&phone(1)).await), id(&house.door.send(&phone(2)).await));
    let (code, second) = (sink.code_of(&phone(1)).await, sink.code_of(&phone(2)).await);
    let proof = house.door.check(&other, &second).await.ok(200)["token"].as_str().unwrap().to_owned();
    let before = house.door.get("/.well-known/jwks.json").await.ok(200);
    house.kill();
    let rotated = house.cli("keys rotate --json").await;
    assert!(rotated.status.success(), "{rotated:?}");
    house.restart().await;
    let jwks = house.door.get("/.well-known/jwks.json").await.ok(200);
    assert_ne!(jwks, before);
    assert!(believe(&jwks, &proof, issuer, "default", now()).is_some(), "older tokens are still believed");
    // The same code again, and it works; a new verification's key is the new one.
    house.door.send(&phone(1)).await;
    assert!(sink.wait(&phone(1), 2).await.iter().all(|message| message.code == code));
    let approved = house.door.check(&old, &code).await.ok(200);
    let token = approved["token"].as_str().unwrap();
    assert!(believe(&jwks, token, issuer, "default", now()).is_some());
    assert!(believe(&before, token, issuer, "default", now()).is_none(), "signed by the new key");
    house.door.send(&phone(3)).await;
    let code = sink.code_of(&phone(3)).await;
    assert_eq!(house.door.check_to(&phone(3), &code).await.result(), "approved");
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
