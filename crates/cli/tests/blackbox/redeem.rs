//! `POST /v1/tokens/redeem` (C3): each proof is taken in once, whoever asks, however often, and whatever happens in between.

use serde_json::json;

use crate::house::http::id;
use crate::house::jwt::edited;
use crate::house::plan::open;
use crate::house::{House, Sink, phone};

const PATH: &str = "/v1/tokens/redeem";

async fn proof(house: &House, sink: &Sink, number: &str) -> (String, String) {
    let made = id(&house.door.send(number).await);
    let code = sink.code_of(number).await;
    let approved = house.door.check(&made, &code).await.ok(200);
    (made, approved["token"].as_str().unwrap().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c3_a_proof_is_redeemed_once() {
    let (mut house, sink) = House::with_sink(open().server("public_url = \"https://verify.example\"")).await;
    let neighbour = house.neighbour().await;
    for round in 0..10 {
        let (made, token) = proof(&house, &sink, &phone(round)).await;
        let doors = [&house.door, &neighbour.door];
        let asked = (0..20).map(|n| {
            let (door, body) = (doors[n % 2].clone(), json!({"token": token}));
            tokio::spawn(async move { door.post(PATH, body).await })
        });
        let mut redeemed = 0;
        for asked in asked.collect::<Vec<_>>() {
            let reply = asked.await.unwrap();
            if reply.status == 200 {
                redeemed += 1;
                let claims = &reply.json()["claims"];
                assert_eq!((&claims["jti"], &claims["sub"]), (&json!(made), &json!(phone(round))));
            } else {
                reply.problem(409, "already_used");
            }
        }
        assert_eq!(redeemed, 1);
    }
    // Not even a crash gives it back.
    let (_, token) = proof(&house, &sink, &phone(50)).await;
    house.door.post(PATH, json!({"token": token})).await.ok(200);
    house.kill();
    house.restart().await;
    house.door.post(PATH, json!({"token": token})).await.problem(409, "already_used");
    // A request that is repeated under its key is one request.
    let (_, token) = proof(&house, &sink, &phone(51)).await;
    for _ in 0..2 {
        house.door.post_with(PATH, &[("Idempotency-Key", "r-1")], json!({"token": token})).await.ok(200);
    }
    house.door.post(PATH, json!({"token": token})).await.problem(409, "already_used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_c3_only_the_application_that_it_is_for_redeems_a_proof() {
    let plan = open().and("[[applications]]\nname = \"default\"\n[[applications]]\nname = \"other\"");
    let (house, sink) = House::with_sink(plan.and("[tokens]\nlifetime = \"30s\"")).await;
    let stranger = house.door.as_key(&house.key_of("other").await);
    let (_, token) = proof(&house, &sink, &phone(1)).await;
    stranger.post(PATH, json!({"token": token})).await.problem(422, "invalid_token");
    stranger.post(PATH, json!({"token": edited(&token, "aud", json!("other"))})).await.problem(422, "invalid_token");
    house.door.as_key("cs_none").post(PATH, json!({"token": token})).await.problem(401, "unauthorized");
    for (body, code) in [(json!({}), 400), (json!({"token": 7}), 400), (json!({"token": token, "x": 1}), 400)] {
        house.door.post(PATH, body).await.problem(code, "invalid_request");
    }
    for text in ["", ".", "..", "a.b.c", "é", &"a".repeat(5000), &token[1..]] {
        house.door.post(PATH, json!({"token": text})).await.problem(422, "invalid_token");
    }
    let claims = house.door.post(PATH, json!({"token": token})).await.ok(200)["claims"].clone();
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 30);
}
