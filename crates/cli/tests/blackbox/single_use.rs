//! B1 to B6: a code opens once, for whoever has it first, and nothing else uses it up.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::json;

use crate::house::http::{count, request};
use crate::house::plan::open;
use crate::house::{House, phone, until, wrong};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b1_of_parallel_right_codes_one_is_accepted() {
    let (house, sink) = House::with_sink(open()).await;
    let mut tokens = HashSet::new();
    for round in 0..200 {
        let to = phone(round);
        let id = house.door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let door = &house.door;
        let right = |n: u32| if n.is_multiple_of(2) { door.guess(&id, &code) } else { door.guess_to(&to, &code) };
        let replies = house.door.race((0..50).map(right).collect()).await;
        assert_eq!(count(&replies, "approved"), 1, "round {round}");
        let others = count(&replies, "already_used") + count(&replies, "not_found");
        assert_eq!(others, 49, "round {round}");
        let got: Vec<_> = replies.iter().filter_map(|reply| Some(reply.json()["token"].as_str()?.to_owned())).collect();
        assert_eq!(got.len(), 1);
        tokens.extend(got);
    }
    assert_eq!(tokens.len(), 200);
    let metrics = house.door.get("/metrics").await.text();
    let approved = metrics.lines().find(|line| line.contains("result=\"approved\"")).unwrap();
    assert!(approved.ends_with(" 200"), "{approved}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b1_the_simple_dialect_has_no_second_winner_either() {
    let (house, sink) = House::with_sink(open()).await;
    for round in 0..10 {
        let to = phone(round);
        let id = house.door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let simple = |n: u32| match n % 3 {
            0 => house.door.guess(&id, &code),
            _ => {
                let body = json!({"phone": to, "otp": code}).to_string();
                request("POST", "/api/users/verify-otp/", &[("Content-Type", "application/json")], body.as_bytes())
            }
        };
        let replies = house.door.race((0..50).map(simple).collect()).await;
        let tokens = replies.iter().filter(|reply| reply.json()["token"].is_string()).count();
        assert_eq!(tokens, 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b2_a_used_code_is_used_by_every_door_and_after_a_restart() {
    let (mut house, sink) = House::with_sink(open()).await;
    let to = phone(1);
    let id = house.door.begin(&to).await;
    let code = sink.code_of(&to).await;
    assert_eq!(house.door.check(&id, &code).await.result(), "approved");
    for round in 0..3 {
        assert_eq!(house.door.check(&id, &code).await.result(), "already_used");
        assert_eq!(house.door.check_to(&to, &code).await.result(), "not_found");
        for body in [json!({"phone": to, "otp": code}), json!({"phone": to, "otp": code, "verification_id": id})] {
            let reply = house.door.simple("verify-otp", body).await.ok(400);
            assert_eq!(reply, json!({"message": "Invalid OTP code", "status": "error", "verified": false}));
        }
        house.door.post(&format!("/v1/verifications/{id}/resend"), json!({})).await.problem(409, "not_pending");
        house.door.post(&format!("/v1/verifications/{id}/cancel"), json!(null)).await.problem(409, "not_pending");
        assert_eq!(house.door.show(&id).await["status"], "approved");
        match round {
            0 => tokio::time::sleep(Duration::from_secs(1)).await,
            1 => house.restart().await,
            _ => {}
        }
    }
    let neighbour = house.neighbour().await;
    assert_eq!(neighbour.door.check(&id, &code).await.result(), "already_used");
    assert_eq!(sink.to(&to).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b3_reading_uses_nothing_up() {
    let plan = open().and("[[applications]]\nname = \"default\"\nweb_origin = \"example.com\"");
    let (house, sink) = House::with_sink(plan).await;
    let to = phone(1);
    let id = house.door.begin(&to).await;
    let text = sink.wait(&to, 1).await.pop().unwrap().text;
    let code = sink.code_of(&to).await;
    assert!(!text.contains("://"), "no message holds a link that a scanner could follow: {text}");
    let accepted = async || house.door.show(&id).await["deliveries"][0]["status"] == "accepted";
    until("the message is accepted", accepted).await;
    let before = house.door.show(&id).await;
    let agents = ["Googlebot/2.1", "Slackbot-LinkExpanding 1.0", "facebookexternalhit/1.1", "curl/8.0", "Barracuda"];
    for agent in agents {
        for method in ["GET", "HEAD", "OPTIONS", "DELETE", "PUT"] {
            for path in [
                format!("/v1/verifications/{id}/check?code={code}"),
                format!("/v1/verifications/check?to={}&code={code}", to.replace('+', "%2B")),
                format!("/v1/verifications/{id}/cancel"),
                format!("/v1/verifications/{id}/resend"),
                format!("/api/users/verify-otp/?phone={}&otp={code}", to.replace('+', "%2B")),
            ] {
                let bearer = format!("Bearer {}", house.door.key());
                let headers = [("User-Agent", agent), ("Authorization", bearer.as_str())];
                let bytes = request(method, &path, &headers, b"");
                if method == "HEAD" {
                    // Its answer has a length and no body.
                    let _ = house.door.try_raw(&bytes).await;
                    continue;
                }
                let reply = house.door.raw(&bytes).await;
                assert!(reply.status == 405 || method == "OPTIONS" && reply.status == 204, "{method} {path} {reply:?}");
            }
        }
    }
    assert_eq!(house.door.show(&id).await, before);
    assert_eq!(house.door.check(&id, &code).await.result(), "approved");
    assert_eq!(sink.to(&to).len(), 1);
}

/// Guesses while the process is killed: nothing is lost but answers. Many more rounds of it, with every kind of call, are in `crash`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b4_a_crash_among_guesses_loses_no_verification() {
    let (mut house, sink) = House::with_sink(open().and_policy("max_checks = 100")).await;
    for round in 0..5 {
        let to = phone(round);
        let id = house.door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let mut guessing = Vec::new();
        for n in 0..40 {
            let (door, bytes) = (house.door.clone(), house.door.guess(&id, &wrong(&code, n)));
            guessing.push(tokio::spawn(async move { door.try_raw(&bytes).await.is_ok() }));
        }
        tokio::time::sleep(Duration::from_millis(3 + 4 * u64::from(round))).await;
        house.kill();
        let mut answered = 0;
        for guess in guessing {
            answered += usize::from(guess.await.unwrap());
        }
        house.restart().await;
        let left = house.door.show(&id).await["checks_left"].as_u64().unwrap();
        let counted = usize::try_from(100 - left).unwrap();
        assert!((answered..=40).contains(&counted), "{answered} answered, {counted} counted");
        assert_eq!(house.door.check(&id, &code).await.result(), "approved");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b5_wrong_guesses_beside_it_do_not_spoil_a_right_one() {
    let (house, sink) = House::with_sink(open()).await;
    for round in 0..100 {
        let to = phone(round);
        let id = house.door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let guesses = (0..4).map(|n| {
            let guess = if n == round as usize % 4 { code.clone() } else { wrong(&code, n) };
            house.door.guess(&id, &guess)
        });
        let replies = house.door.race(guesses.collect()).await;
        assert_eq!(count(&replies, "approved"), 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b5_a_double_click_with_a_key_is_one_click() {
    let (house, sink) = House::with_sink(open()).await;
    for round in 0..20 {
        let to = phone(round);
        let id = house.door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let key = format!("click-{round}");
        let path = format!("/v1/verifications/{id}/check");
        let click = || house.door.bytes_of("POST", &path, &[("Idempotency-Key", &key)], &json!({"code": code}));
        let replies = house.door.race(vec![click(), click()]).await;
        let mut said = Vec::new();
        for reply in replies {
            match reply.status {
                200 => said.push(reply),
                _ => drop(reply.problem(409, "idempotency_in_flight")),
            }
        }
        assert!(!said.is_empty());
        // Whoever was told to come back gets the same answer then.
        said.push(house.door.raw(&click()).await);
        for reply in &said {
            assert_eq!(reply.result(), "approved");
            assert_eq!(reply.body, said[0].body);
        }
        assert_eq!(said.last().unwrap().header("idempotency-replayed"), Some("true"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_b6_a_canceled_verification_is_over() {
    let (house, sink) = House::with_sink(open()).await;
    let to = phone(1);
    let id = house.door.begin(&to).await;
    let code = sink.code_of(&to).await;
    let canceled = house.door.post(&format!("/v1/verifications/{id}/cancel"), json!(null)).await.ok(200);
    assert_eq!(canceled["status"], "canceled");
    assert_eq!(house.door.check(&id, &code).await.result(), "canceled");
    assert_eq!(house.door.check(&id, &wrong(&code, 0)).await.result(), "canceled");
    assert_eq!(house.door.check_to(&to, &code).await.result(), "not_found");
    let body = json!({"phone": to, "otp": code, "verification_id": id});
    assert_eq!(house.door.simple("verify-otp", body).await.ok(400)["message"], "Invalid OTP code");
    house.door.post(&format!("/v1/verifications/{id}/cancel"), json!(null)).await.problem(409, "not_pending");
    // Canceling raced with the right code: one of the two, whole.
    for round in 2..22 {
        let to = phone(round);
        let id = house.door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let cancel = house.door.bytes_of("POST", &format!("/v1/verifications/{id}/cancel"), &[], &json!(null));
        let replies = house.door.race(vec![cancel, house.door.guess(&id, &code)]).await;
        let (canceled, approved) = (replies[0].status == 200, replies[1].result() == "approved");
        assert!(canceled != approved, "{replies:?}");
        let status = house.door.show(&id).await["status"].clone();
        assert_eq!(status, if canceled { "canceled" } else { "approved" });
    }
}
