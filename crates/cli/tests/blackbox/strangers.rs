//! A13: a lock-out is no weapon. Whoever only knows a number can take nothing from who holds the id.

use serde_json::{Value, json};

use crate::house::http::id;
use crate::house::plan::open;
use crate::house::{House, phone, wrong};

/// Hammers by every door that takes a number.
async fn hammer(house: &House, to: &str, code: &str, times: usize) {
    for n in 0..times {
        let guess = wrong(code, n);
        match n % 4 {
            0 => drop(house.door.simple("send-otp", json!({"phone": to})).await),
            1 => drop(house.door.simple("verify-otp", json!({"phone": to, "otp": guess})).await),
            2 => drop(house.door.simple("resend-otp", json!({"phone": to})).await),
            _ => drop(house.door.check_to(to, &guess).await),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a13_a_stranger_cannot_lock_out_who_holds_the_id() {
    let (house, sink) = House::with_sink(open().and_policy("max_guesses_per_day = 9")).await;
    let to = phone(1);
    let sent = house.door.send(&to).await;
    let code = sink.code_of(&to).await;
    hammer(&house, &to, &code, 200).await;
    let now = house.door.show(&id(&sent)).await;
    for kept in ["checks_left", "status", "expires_at", "code_length"] {
        assert_eq!(now[kept], sent[kept], "{kept}");
    }
    // A typing slip of the holder's own is still a slip and no more.
    assert_eq!(house.door.check(&id(&sent), &wrong(&code, 7)).await.result(), "incorrect");
    assert_eq!(house.door.check(&id(&sent), &code).await.result(), "approved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a13_in_the_simple_dialect_the_holder_is_who_began() {
    let (house, sink) = House::with_sink(open().and_policy("max_guesses_per_day = 9")).await;
    for (n, with_cookie) in [(1, true), (2, false)] {
        let to = phone(n);
        let began = house.door.simple("send-otp", json!({"phone": to})).await;
        let cookie = began.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
        let shown = began.ok(200)["verification_id"].as_str().unwrap().to_owned();
        let code = sink.code_of(&to).await;
        hammer(&house, &to, &code, 100).await;
        // The stranger's own sends gave him ids, which are worth nothing.
        let stranger = house.door.simple("send-otp", json!({"phone": to})).await.ok(200);
        assert_ne!(stranger["verification_id"], Value::from(shown.as_str()));
        let body = json!({"phone": to, "otp": code, "verification_id": stranger["verification_id"]});
        let refused = house.door.simple("verify-otp", body).await;
        assert_eq!(refused.status, 429, "{}", refused.text());
        let verified = match with_cookie {
            true => {
                let body = json!({"phone": to, "otp": code});
                house.door.simple_with("verify-otp", &[("Cookie", &cookie)], body).await
            }
            false => {
                let body = json!({"phone": to, "otp": code, "verification_id": shown});
                house.door.simple("verify-otp", body).await
            }
        };
        assert_eq!(verified.ok(200)["verified"], true);
    }
}

/// Without a key anybody can begin verifications of a number and hold their ids. A day of guesses at those takes nothing from who
/// holds an id that the application began.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a13_ids_that_anybody_can_have_lock_nobody_out() {
    let (house, sink) = House::with_sink(open()).await;
    let to = phone(1);
    let mut evaluated = 0;
    for _ in 0..12 {
        let begun = house.door.simple("send-otp", json!({"phone": to})).await.ok(200);
        let code = sink.code_of(&to).await;
        for n in 0..5 {
            let body = json!({"phone": to, "otp": wrong(&code, n), "verification_id": begun["verification_id"]});
            evaluated += usize::from(house.door.simple("verify-otp", body).await.status == 400);
        }
        let pending = house.door.get(&format!("/v1/verifications?to={}&status=pending", to.replace('+', "%2B"))).await;
        for row in pending.ok(200)["data"].as_array().unwrap() {
            house.door.post(&format!("/v1/verifications/{}/cancel", id(row)), json!({})).await.ok(200);
        }
    }
    assert_eq!(evaluated, 50, "the stranger's own budget of the day is exact");
    let sent = house.door.send(&to).await;
    let code = sink.wait(&to, 13).await.pop().unwrap().code;
    assert_eq!(house.door.check(&id(&sent), &wrong(&code, 7)).await.result(), "incorrect");
    assert_eq!(house.door.check(&id(&sent), &code).await.result(), "approved");
}

/// Who holds the id of one verification is still a stranger to another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a13_an_id_of_ones_own_opens_no_second_budget() {
    let (house, sink) = House::with_sink(open()).await;
    let (mine, victim) = (phone(1), phone(2));
    let own = house.door.simple("send-otp", json!({"phone": mine})).await.ok(200)["verification_id"].clone();
    house.door.simple("send-otp", json!({"phone": victim})).await.ok(200);
    let code = sink.code_of(&victim).await;
    let mut evaluated = 0;
    for n in 0..20 {
        let body = json!({"phone": victim, "otp": wrong(&code, n), "verification_id": own});
        let reply = house.door.simple("verify-otp", body).await;
        evaluated += usize::from(reply.status == 400);
    }
    assert_eq!(evaluated, 5);
    // Nor did it cost the own one anything.
    let right = sink.code_of(&mine).await;
    let body = json!({"phone": mine, "otp": right, "verification_id": own});
    assert_eq!(house.door.simple("verify-otp", body).await.status, 200);
}
