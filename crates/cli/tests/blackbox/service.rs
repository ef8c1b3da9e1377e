//! H1, H3, H4, H7: ids, statuses, several processes on one store, and clients that want too much.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::house::http::{count, id, request};
use crate::house::plan::{Plan, open};
use crate::house::{House, phone, wrong};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h1_ids_cannot_be_guessed() {
    let (house, _sink) = House::with_sink(open()).await;
    let mut ids = Vec::new();
    for n in 0..200 {
        ids.push(id(&house.door.send(&phone(n)).await));
    }
    let mut bits = [0_u32; 128];
    for id in &ids {
        let hex = id.strip_prefix("vf_").unwrap();
        assert!(hex.len() == 32 && hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{id}");
        let value = u128::from_str_radix(hex, 16).unwrap();
        for (bit, count) in bits.iter_mut().enumerate() {
            *count += u32::from(value >> bit & 1 == 1);
        }
    }
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 200);
    // Every one of 128 bits is as often set as not: 100 expected, with a deviation of 7.
    assert!(bits.iter().all(|count| (58..=142).contains(count)), "{bits:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h3_every_no_is_an_error_status_with_a_stable_code() {
    let (house, _sink) = House::with_sink(open()).await;
    let calls = [
        ("GET", "/nothing", 404, "not_found"),
        ("POST", "/", 405, "method_not_allowed"),
        ("GET", "/v1", 404, "not_found"),
        ("DELETE", "/v1/verifications", 405, "method_not_allowed"),
        ("PUT", "/healthz", 405, "method_not_allowed"),
        ("POST", "/openapi.json", 405, "method_not_allowed"),
        ("GET", "/v1/verifications?limit=0", 400, "invalid_request"),
        ("GET", "/v1/verifications?cursor=x", 400, "invalid_request"),
        ("GET", "/v1/verifications?to=1&to=2", 400, "invalid_request"),
        ("GET", "/v1/verifications?nonsense=1", 400, "invalid_request"),
        ("GET", "/v1/verifications/vf_0", 404, "not_found"),
        ("POST", "/v1/verifications/vf_0/check", 404, "invalid_request"),
    ];
    for (method, path, status, code) in calls {
        let reply = house.door.raw(&house.door.bytes_of(method, path, &[], &json!(null))).await;
        // A body that is wrong may be told before an id that is unknown.
        let status = if path.ends_with("/check") { 400 } else { status };
        let body = reply.problem(status, code);
        assert!(reply.header("x-request-id").is_some() && reply.header("cache-control") == Some("no-store"), "{body}");
        if status == 405 {
            assert!(reply.header("allow").is_some(), "{path}");
        }
    }
    for path in ["/v1/verifications", "/v1/verifications/check", "/v1/verifications/vf_0/cancel"] {
        house.door.ask("POST", path, &[], b"{}").await.problem(401, "unauthorized");
    }
}

/// Two processes on one store: every count is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h4_two_processes_count_as_one() {
    let (house, sink) = House::with_sink(open().and_policy("max_guesses_per_day = 1000")).await;
    let other = house.neighbour().await;
    for round in 0..8 {
        // A1, A4: the cap.
        let to = phone(round);
        let verification = house.door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let half = |door: &crate::house::Door, from: usize| {
            let guesses = (from..from + 50).map(|n| door.guess(&verification, &wrong(&code, n))).collect();
            let door = door.clone();
            async move { door.race(guesses).await }
        };
        let (mut replies, more) = tokio::join!(half(&house.door, 0), half(&other.door, 50));
        replies.extend(more);
        assert_eq!(count(&replies, "incorrect"), 5, "round {round}");
        assert_eq!(other.door.check(&verification, &code).await.result(), "max_attempts_reached");
        // B1: one winner.
        let to = phone(100 + round);
        let verification = other.door.begin(&to).await;
        let code = sink.code_of(&to).await;
        let all = |door: &crate::house::Door| {
            let (door, guesses) = (door.clone(), vec![door.guess(&verification, &code); 25]);
            async move { door.race(guesses).await }
        };
        let (mut replies, more) = tokio::join!(all(&house.door), all(&other.door));
        replies.extend(more);
        assert_eq!(count(&replies, "approved"), 1, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h4_two_processes_send_as_one() {
    let (house, sink) = House::with_sink(Plan::defaults()).await;
    let other = house.neighbour().await;
    for round in 0..4 {
        // G1, G3: one message; G6: one request.
        let to = phone(round);
        let key = format!("key-{round}");
        let all = |door: &crate::house::Door, n: u32| {
            let body = json!({"to": to});
            let plain = door.bytes_of("POST", "/v1/verifications", &[], &body);
            let keyed = door.bytes_of("POST", "/v1/verifications", &[("Idempotency-Key", &key)], &body);
            let (door, requests) = (door.clone(), vec![if n == 0 { plain } else { keyed }; 25]);
            async move { door.race(requests).await }
        };
        let n = round % 2;
        let (mut replies, more) = tokio::join!(all(&house.door, n), all(&other.door, n));
        replies.extend(more);
        let ids: HashSet<_> =
            replies.iter().filter(|reply| reply.status == 201).map(|reply| id(&reply.json())).collect();
        assert_eq!(ids.len(), 1, "round {round}");
        assert!(replies.iter().all(|reply| matches!(reply.status, 201 | 409 | 429)));
        assert_eq!(sink.wait(&to, 1).await.len(), 1);
        // What one sent the other can check, resend and show.
        assert_eq!(other.door.show(ids.iter().next().unwrap()).await["to"], to.as_str());
        let code = sink.code_of(&to).await;
        assert_eq!(other.door.check_to(&to, &code).await.result(), "approved");
        assert_eq!(house.door.check_to(&to, &code).await.result(), "not_found");
    }
    assert_eq!(sink.count(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h7_bodies_and_heads_are_bounded() {
    let (house, _sink) = House::with_sink(open()).await;
    let bearer = format!("Bearer {}", house.door.key());
    let headers = [("Authorization", bearer.as_str()), ("Content-Type", "application/json")];
    let large = format!("{{\"to\":\"{}\"}}", "1".repeat(10_000_000));
    house.door.ask("POST", "/v1/verifications", &headers, large.as_bytes()).await.problem(413, "body_too_large");
    let reply = house.door.ask("POST", "/api/users/verify-otp/", &headers[1..], large.as_bytes()).await.ok(413);
    assert_eq!(reply, json!({"message": "Invalid request body", "status": "error", "verified": false}));
    house
        .door
        .ask("POST", "/v1/receipts/gateway", &headers[1..], large.as_bytes())
        .await
        .problem(413, "body_too_large");
    house.door.ask("POST", "/v1/verifications", &headers[1..], large.as_bytes()).await.problem(401, "unauthorized");
    // 17 kB in pieces of which none says how much is to come.
    let mut chunked = format!(
        "POST /v1/verifications HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {bearer}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    for _ in 0..17 {
        chunked += &format!("400\r\n{}\r\n", " ".repeat(1024));
    }
    chunked += "0\r\n\r\n";
    house.door.raw(chunked.as_bytes()).await.problem(413, "body_too_large");
    // Many headers, a long one, a long path.
    let many: Vec<_> = (0..10_000).map(|n| (format!("X-{n}"), "y".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let long = "z".repeat(100_000);
    for bytes in [
        request("GET", "/healthz", &many, b""),
        request("GET", "/healthz", &[("X-Long", &long)], b""),
        request("GET", &format!("/{long}"), &[], b""),
    ] {
        // Or it is cut while it is still writing.
        if let Ok(reply) = house.door.try_raw(&bytes).await {
            assert!(matches!(reply.status, 400 | 404 | 414 | 431), "{reply:?}");
        }
    }
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ] {
        let _ = house.door.try_raw(nonsense).await;
    }
    assert_eq!(house.door.get("/healthz").await.status, 200);
    let status = std::fs::read_to_string(format!("/proc/{}/status", house.pid())).unwrap_or_default();
    let resident: Option<u64> =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok());
    assert!(resident.is_none_or(|kilobytes| kilobytes < 200_000), "{resident:?} kB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_h7_slow_clients_hold_up_nobody() {
    let (house, sink) = House::with_sink(open()).await;
    let heads = [
        "",
        "POST /v1/verif",
        "POST /v1/verifications HTTP/1.1\r\nHost: x\r\nX-A: ",
        "POST /api/users/send-otp HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
    ];
    let mut slow = Vec::new();
    for n in 0..200 {
        let mut stream = TcpStream::connect(house.door.addr).await.unwrap();
        stream.write_all(heads[n % 4].as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let begun = Instant::now();
    for n in 0..40 {
        house.door.send(&phone(n)).await;
        let code = sink.code_of(&phone(n)).await;
        assert_eq!(house.door.check_to(&phone(n), &code).await.result(), "approved");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // They are cut in the end, also those that drip.
    let mut last = slow.swap_remove(2);
    let dripping = async {
        let mut answer = Vec::new();
        loop {
            tokio::select! {
                read = last.read_buf(&mut answer) => if !matches!(read, Ok(1..)) { return },
                () = tokio::time::sleep(Duration::from_millis(500)) => {
                    if last.write_all(b"x").await.is_err() { return }
                }
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), dripping).await.expect("a slow drip is cut");
    assert_eq!(house.door.get("/readyz").await.status, 200);
}
