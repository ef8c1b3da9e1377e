//! D1 to D3: a code works as long as was said, in every time zone, and no longer. (D4 and D5, a million rows and a store without
//! expiry, are the store's own tests.)

use std::time::Duration;

use serde_json::{Value, json};

use crate::house::http::id;
use crate::house::jwt::now;
use crate::house::plan::open;
use crate::house::{House, phone, wrong};

fn seconds(text: &Value) -> i64 {
    let text = text.as_str().unwrap();
    assert_eq!((text.len(), &text[19..]), (20, "Z"), "{text}");
    let number = |from: usize, to: usize| text[from..to].parse::<i64>().unwrap();
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    // Days since the epoch by the civil calendar.
    let (year, shifted) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * shifted + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    days * 86_400 + number(11, 13) * 3600 + number(14, 16) * 60 + number(17, 19)
}

/// Real time, with the shortest life that there is: every door together, so that it is waited for once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_d1_at_the_end_of_its_life_a_code_is_refused_by_every_door() {
    let (house, sink) = House::with_sink(open().and_policy("max_guesses_per_day = 6")).await;
    let mut live = Vec::new();
    for n in 0..6 {
        let sent = house.door.send_as(json!({"to": phone(n), "ttl": 30})).await;
        assert_eq!(seconds(&sent["expires_at"]) - seconds(&sent["created_at"]), 30);
        live.push((phone(n), id(&sent), sink.code_of(&phone(n)).await));
    }
    let expires = seconds(&house.door.show(&live[5].1).await["expires_at"]);
    // D2: sending again does not prolong it.
    for (to, id, _) in &live[..2] {
        let again = house.door.post(&format!("/v1/verifications/{id}/resend"), json!({})).await.ok(200);
        assert!(seconds(&again["expires_at"]) <= expires);
        let by_number = house.door.send_as(json!({"to": to, "ttl": 3600})).await;
        assert_eq!(by_number["expires_at"], again["expires_at"], "nor does asking for a longer life");
    }
    // A7: the budget of the day is not of the code.
    for guess in 0..5 {
        assert_eq!(house.door.check(&live[4].1, &wrong(&live[4].2, guess)).await.result(), "incorrect");
    }
    // A second before the end it still works.
    let until = |at: i64| Duration::from_secs(u64::try_from((at - now()).max(0)).unwrap());
    tokio::time::sleep(until(expires - 2)).await;
    assert_eq!(house.door.check(&live[5].1, &live[5].2).await.result(), "approved");
    tokio::time::sleep(until(expires + 1)).await;
    let (to, first, code) = &live[0];
    assert_eq!(house.door.check(first, code).await.result(), "expired");
    assert_eq!(house.door.check_to(to, code).await.result(), "expired");
    let body = json!({"phone": to, "otp": code});
    let reply = house.door.simple("verify-otp", body).await.ok(400);
    assert_eq!(reply["message"], "OTP code has expired. Please request a new one.");
    let body = json!({"phone": live[1].0, "otp": live[1].2, "verification_id": live[1].1});
    assert_eq!(house.door.simple("verify-otp", body).await.status, 400);
    assert_eq!(house.door.show(first).await["status"], "expired");
    let expired = house.door.get("/v1/verifications?status=expired").await.ok(200);
    assert!(expired["data"].as_array().unwrap().iter().any(|one| one["id"] == json!(first)), "{expired}");
    assert_eq!(house.door.get("/v1/verifications?status=pending").await.ok(200)["data"], json!([]));
    house.door.post(&format!("/v1/verifications/{first}/resend"), json!({})).await.problem(409, "not_pending");
    house.door.post(&format!("/v1/verifications/{first}/cancel"), json!(null)).await.problem(409, "not_pending");
    // The next one is new, and the old code does not open it.
    let next = house.door.send(to).await;
    assert_ne!(next["id"], json!(first));
    assert_eq!(house.door.check_to(to, code).await.result(), "incorrect");
    // A7 again: five of the day's six wrong guesses were made before the expiry.
    let (to, _, code) = &live[4];
    let next = id(&house.door.send(to).await);
    assert_eq!(house.door.check(&next, &wrong(code, 9)).await.result(), "incorrect");
    house.door.check(&next, &wrong(code, 10)).await.problem(429, "rate_limited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_d1_the_message_says_the_life_of_this_code() {
    let (house, sink) = House::with_sink(open()).await;
    for (n, ttl, minutes) in [(1, None, "5"), (2, Some(600), "10"), (3, Some(60), "1"), (4, Some(3600), "60")] {
        let mut body = json!({"to": phone(n)});
        if let Some(ttl) = ttl {
            body["ttl"] = json!(ttl);
        }
        let sent = house.door.send_as(body).await;
        assert_eq!(seconds(&sent["expires_at"]) - seconds(&sent["created_at"]), ttl.unwrap_or(300));
        let message = sink.wait(&phone(n), 1).await.pop().unwrap();
        let rest = message.text.replace(&message.code, "");
        let said: Vec<_> = rest.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty()).collect();
        assert_eq!(said, [minutes], "{rest}");
    }
    for ttl in [json!(29), json!(0), json!(86_401), json!(-1), json!(1.5), json!("300"), json!(u64::MAX)] {
        let problem = house.door.post("/v1/verifications", json!({"to": phone(9), "ttl": ttl})).await;
        assert_eq!(problem.problem(400, "invalid_request")["param"], "ttl");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_d2_every_answer_says_the_life_that_is_kept() {
    let (house, sink) = House::with_sink(open()).await;
    let to = phone(1);
    let first = house.door.simple("send-otp", json!({"phone": to})).await.ok(200);
    assert!((299..=300).contains(&first["expires_in"].as_u64().unwrap()), "{first}");
    let sent = house.door.send(&to).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for _ in 0..5 {
        let again = house.door.simple("resend-otp", json!({"phone": to})).await.ok(200);
        let left = again["expires_in"].as_i64().unwrap();
        assert!((left - (seconds(&sent["expires_at"]) - now())).abs() <= 1 && left < 300, "{again}");
        assert_eq!(house.door.send(&to).await["expires_at"], sent["expires_at"]);
    }
    sink.wait(&to, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_d3_a_time_zone_changes_nothing() {
    for zone in ["Pacific/Apia", "America/St_Johns", "Asia/Kathmandu", "XYZ-14"] {
        let (mut house, sink) = House::with_sink(open().variable("TZ", zone)).await;
        let sent = house.door.send(&phone(1)).await;
        assert!((seconds(&sent["created_at"]) - now()).abs() <= 2, "{zone}: {sent}");
        assert!((seconds(&sent["expires_at"]) - now() - 300).abs() <= 2);
        let code = sink.code_of(&phone(1)).await;
        house.restart().await;
        assert_eq!(house.door.show(&id(&sent)).await["expires_at"], sent["expires_at"]);
        assert_eq!(house.door.check_to(&phone(1), &code).await.result(), "approved");
        let page = house.door.get("/v1/verifications").await.ok(200);
        for time in ["created_at", "expires_at", "resend_after"] {
            seconds(&page["data"][0][time]);
        }
        seconds(&page["data"][0]["deliveries"][0]["at"]);
    }
}
