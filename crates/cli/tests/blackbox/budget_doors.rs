//! A9 to A12 and A14: one budget behind every door, every writing of a number and every address that a client claims.

use std::time::Duration;

use serde_json::json;

use crate::house::plan::{limit, open};
use crate::house::{House, phone, until, wrong};

/// Guesses by who knows the destination share one count, and guesses by who holds the id another: no third.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a9_guesses_spread_over_all_doors_share_one_budget() {
    let (house, sink) = House::with_sink(open()).await;
    let to = phone(1);
    let id = house.door.begin(&to).await;
    let code = sink.code_of(&to).await;
    let (mut by_destination, mut by_id) = (0, 0);
    for n in 0..24 {
        let guess = wrong(&code, n);
        let simple = json!({"phone": to, "otp": guess});
        let held = json!({"phone": to, "otp": guess, "verification_id": id});
        match n % 4 {
            0 => by_destination += usize::from(house.door.check_to(&to, &guess).await.result() == "incorrect"),
            1 => by_destination += usize::from(house.door.simple("verify-otp", simple).await.status == 400),
            2 => by_id += usize::from(house.door.simple("verify-otp", held).await.status == 400),
            _ => by_id += usize::from(house.door.check(&id, &guess).await.result() == "incorrect"),
        }
    }
    assert_eq!(by_id, 5);
    assert!(by_destination <= 5, "{by_destination}");
    assert_eq!(house.door.check(&id, &code).await.result(), "max_attempts_reached");
    assert_eq!(house.door.check_to(&to, &code).await.result(), "max_attempts_reached");
    let reply = house.door.simple("verify-otp", json!({"phone": to, "otp": code})).await;
    assert_eq!(reply.status, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a9_sends_spread_over_all_doors_share_one_budget() {
    let plan = open().limits(&[limit("destination", "sends", 5, "10m")]);
    let (house, sink) = House::with_sink(plan).await;
    let (to, mut taken) = (phone(1), 0);
    let id = house.door.begin(&to).await;
    for n in 0..20 {
        let reply = match n % 5 {
            0 => house.door.post("/v1/verifications", json!({"to": to})).await,
            1 => house.door.post("/v1/verifications", json!({"to": to, "purpose": format!("p{n}")})).await,
            2 => house.door.post(&format!("/v1/verifications/{id}/resend"), json!({})).await,
            3 => house.door.simple("send-otp", json!({"phone": to})).await,
            _ => house.door.simple("resend-otp", json!({"phone": to, "verification_type": format!("t{n}")})).await,
        };
        match reply.status {
            200 | 201 => taken += 1,
            _ => assert_eq!(reply.status, 429, "{}", reply.text()),
        }
    }
    assert_eq!(taken, 4);
    assert_eq!(sink.wait(&to, 5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a10_every_writing_of_a_number_is_one_number() {
    let plan = open().limits(&[limit("destination", "sends", 3, "10m")]);
    let (house, sink) = House::with_sink(plan).await;
    let number = "+255694230173";
    let writings = [
        "+255694230173",
        "255694230173",
        "00255694230173",
        "+255 694 230 173",
        "+255-694-230-173",
        "+255.694.230.173",
        "+255 (694) 230173",
        "+255\u{a0}694\u{a0}230\u{a0}173",
        "+２５５６９４２３０１７３",
        "+٢٥٥٦٩٤٢٣٠١٧٣",
        "+255694230173 ",
        "tel:+255694230173",
        "+2550694230173",
        "+255694230173;ext=5",
        "(+255) 694 230 173",
        "＋255694230173",
        "++255694230173",
    ];
    let mut taken = 0;
    for (n, writing) in writings.iter().enumerate() {
        let reply = match n % 2 {
            0 => house.door.post("/v1/verifications", json!({"to": writing, "purpose": format!("p{n}")})).await,
            _ => {
                let body = json!({"phone": writing, "verification_type": format!("p{n}")});
                house.door.simple("send-otp", body).await
            }
        };
        match reply.status {
            201 | 200 => taken += 1,
            429 => {}
            400 | 422 => {}
            other => panic!("{writing}: {other} {}", reply.text()),
        }
        if let (201, Ok(body)) = (reply.status, serde_json::from_slice::<serde_json::Value>(&reply.body)) {
            assert_eq!(body["to"], number, "{writing}");
        }
    }
    assert_eq!(taken, 3);
    sink.wait(number, 3).await;
    assert!(sink.messages().iter().all(|message| message.to == number));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a10_every_writing_of_a_mailbox_has_one_budget() {
    let plan = open().limits(&[limit("destination", "sends", 2, "10m")]);
    let (house, _sink) = House::with_sink(plan).await;
    let mut taken = 0;
    let writings = [
        "jane.doe@example.com",
        "Jane.Doe@Example.COM",
        "janedoe@example.com",
        "jane.doe+a@example.com",
        "jane.doe+b@example.com",
        " jane.doe@example.com ",
        "JANEDOE+1@EXAMPLE.COM",
        "j.a.n.e.d.o.e@example.com",
    ];
    for (n, writing) in writings.iter().enumerate() {
        let reply = house.door.post("/v1/verifications", json!({"to": writing, "purpose": format!("p{n}")})).await;
        match reply.status {
            201 => taken += 1,
            _ => drop(reply.problem(429, "rate_limited")),
        }
    }
    assert_eq!(taken, 2);
    // Look-alikes are other people or nobody, never a second mailbox of hers.
    for writing in
        ["jane.doe@exаmple.com", "jane.doe@example.com.", "\"jane.doe\"@example.com", "jane.doe@example.com\n"]
    {
        house.door.post("/v1/verifications", json!({"to": writing})).await.problem(422, "invalid_destination");
    }
}

/// Guesses, too, are counted by the number and not by its writing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a10_writings_share_the_guesses() {
    let (house, sink) = House::with_sink(open()).await;
    let to = "+255694230173";
    house.door.begin(to).await;
    let code = sink.code_of(to).await;
    let writings = ["255694230173", "00255694230173", "+255 694 230 173", "+255-694-230-173", "tel:+255694230173"];
    let mut evaluated = 0;
    for n in 0..15 {
        evaluated += usize::from(house.door.check_to(writings[n % 5], &wrong(&code, n)).await.result() == "incorrect");
    }
    assert_eq!(evaluated, 5);
}

fn claims(n: usize) -> Vec<(&'static str, String)> {
    let address = format!("198.51.{}.{}", n / 250, n % 250 + 1);
    let name =
        ["X-Forwarded-For", "Forwarded", "X-Real-IP", "CF-Connecting-IP", "True-Client-IP", "X-Client-IP"][n % 6];
    let value = if name == "Forwarded" { format!("for={address}") } else { address };
    vec![(name, value)]
}

async fn sends_with(house: &House, n: usize, headers: &[(&str, String)]) -> u16 {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = json!({"phone": phone(u32::try_from(n).unwrap())});
    house.door.simple_with("send-otp", &headers, body).await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a11_a_claimed_address_is_nobodys() {
    let (house, _sink) = House::with_sink(open().limits(&[limit("client", "sends", 10, "1h")])).await;
    let mut taken = 0;
    for n in 0..100 {
        let claims = if n % 7 == 6 { Vec::new() } else { claims(n) };
        taken += usize::from(sends_with(&house, n, &claims).await == 200);
    }
    assert_eq!(taken, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a11_behind_a_trusted_proxy_the_nearest_stranger_is_the_client() {
    let plan = open().server("trusted_proxies = [\"127.0.0.1\", \"10.0.0.0/8\"]");
    let (house, _sink) = House::with_sink(plan.limits(&[limit("client", "sends", 5, "1h")])).await;
    let mut taken = 0;
    for n in 0..30 {
        // What the client wrote itself stands to the left, and changes every time.
        let list = format!("198.51.100.{n}, 203.0.113.7, 10.1.2.3");
        taken += usize::from(sends_with(&house, n, &[("X-Forwarded-For", list)]).await == 200);
    }
    assert_eq!(taken, 5);
    // Another client behind the same proxies has its own count.
    let other = [("X-Forwarded-For", "203.0.113.8".to_owned())];
    assert_eq!(sends_with(&house, 31, &other).await, 200);
    // 100 addresses of one /64 are one client, in headers as in what an application states.
    let mut taken = 0;
    for n in 0..50 {
        let address = [("X-Forwarded-For", format!("2001:db8:1:2:{n:x}::{n:x}"))];
        taken += usize::from(sends_with(&house, 100 + n, &address).await == 200);
        let client = json!({"ip": format!("2001:db8:1:2::{n:x}")});
        let body = json!({"to": phone(500 + u32::try_from(n).unwrap()), "client": client});
        taken += usize::from(house.door.post("/v1/verifications", body).await.status == 201);
    }
    assert_eq!(taken, 5);
    let neighbour = [("X-Forwarded-For", "2001:db8:1:3::1".to_owned())];
    assert_eq!(sends_with(&house, 300, &neighbour).await, 200);
}

/// The application's own address is never a client, and what it states is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a11_in_the_native_api_the_client_is_who_the_application_says() {
    let (house, _sink) = House::with_sink(open().limits(&[limit("client", "sends", 3, "1h")])).await;
    for n in 0..10 {
        house.door.send(&phone(n)).await;
    }
    for n in 10..13 {
        house.door.send_as(json!({"to": phone(n), "client": {"ip": "203.0.113.9"}})).await;
    }
    let body = json!({"to": phone(14), "client": {"ip": "203.0.113.9"}});
    assert_eq!(house.door.post("/v1/verifications", body).await.problem(429, "rate_limited")["limit"], "client");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a12_one_guess_at_each_of_many_numbers_is_noticed() {
    // The default row: 60 checks of a client in an hour.
    let (house, sink) = House::with_sink(open().limits(&[limit("client", "checks", 60, "1h")])).await;
    for n in 0..80 {
        house.door.begin(&phone(n)).await;
    }
    let code = sink.code_of(&phone(79)).await;
    let mut evaluated = 0;
    for n in 0..80 {
        let reply = house.door.simple("verify-otp", json!({"phone": phone(n), "otp": wrong(&code, 1)})).await;
        match reply.status {
            400 => evaluated += 1,
            _ => {
                assert_eq!(reply.ok(429)["message"], "Too many attempts. Please request a new OTP.");
                reply.says_when(&json!(null));
            }
        }
    }
    assert_eq!(evaluated, 60);
    // The right one neither: it does not become a way around the limit.
    assert_eq!(house.door.simple("verify-otp", json!({"phone": phone(79), "otp": code})).await.status, 429);
    let counted = async || house.door.get("/metrics").await.text().contains("rate_limited");
    until("the alarm's metric moves", counted).await;
    // Natively, for the client that the application states.
    let client = json!({"ip": "203.0.113.5"});
    let mut evaluated = 0;
    for n in 0..70 {
        let body = json!({"to": phone(n), "code": "000000", "client": client});
        evaluated += usize::from(house.door.post("/v1/verifications/check", body).await.status == 200);
    }
    assert_eq!(evaluated, 60);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_a14_the_wait_that_is_told_is_the_wait() {
    let rows = [limit("destination", "sends", 2, "4s"), limit("client", "checks", 1, "2s")];
    let (house, _sink) = House::with_sink(open().limits(&rows)).await;
    let to = phone(1);
    house.door.send(&to).await;
    house.door.send(&to).await;
    let problem = house.door.post("/v1/verifications", json!({"to": to})).await.problem(429, "rate_limited");
    let wait = problem["retry_after"].as_u64().unwrap();
    assert!((1..=4).contains(&wait), "{problem}");
    // Seconds are rounded up, so the wait that was told is enough.
    tokio::time::sleep(Duration::from_secs(wait)).await;
    house.door.send(&to).await;
    house.door.post("/v1/verifications", json!({"to": to})).await.problem(429, "rate_limited");
    // The pause between two sends.
    let plan = open().policy("resend_after = \"2s\"");
    let (house, _sink) = House::with_sink(plan).await;
    house.door.send(&to).await;
    let problem = house.door.post("/v1/verifications", json!({"to": to})).await.problem(429, "resend_too_soon");
    let wait = problem["retry_after"].as_u64().unwrap();
    assert!((1..=2).contains(&wait), "{problem}");
    tokio::time::sleep(Duration::from_secs(wait)).await;
    house.door.send(&to).await;
}
