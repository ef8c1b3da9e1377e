//! A closed loop over 64 connections, as light as can be: the load must not be what is measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::sink::Sink;

const CONNECTIONS: usize = 64;

pub struct Target {
    pub address: String,
    pub key: String,
    pub dialect: Dialect,
    /// Of a server of ours: `Authorization` of the Twilio dialect, and the service that is there from the beginning.
    pub account: Option<(String, String)>,
}

/// How the load speaks. Every one but the first names an end user of its own in each cycle, as a page or an app does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// `/v1`, as little as can be said.
    Native,
    /// The same with what the simple dialect cannot leave out: the end user's address, and waiting for the provider's word.
    NativeInFull,
    Simple,
    Twilio,
    Camara,
}

impl Dialect {
    pub const ALL: [Self; 5] = [Self::Native, Self::NativeInFull, Self::Simple, Self::Twilio, Self::Camara];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::NativeInFull => "native, in full",
            Self::Simple => "simple",
            Self::Twilio => "twilio",
            Self::Camara => "camara",
        }
    }
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// When the load ends.
#[derive(Clone, Copy)]
pub enum Until {
    /// After so long.
    Time(Duration),
    /// After so many cycles.
    Count(u64),
}

impl Until {
    fn more(self, started: Instant, begun: &AtomicU64) -> bool {
        match self {
            Self::Time(length) => started.elapsed() < length,
            Self::Count(cycles) => begun.fetch_add(1, Ordering::Relaxed) < cycles,
        }
    }
}

/// Drives as long as it is told to; how many cycles were done and in what time.
///
/// The load never sleeps: waking a core that does is work of whoever sends to it, on a virtual machine as much as the sending itself,
/// and a server that is slow enough for the load to fall asleep would be charged for that on top.
pub async fn drive(target: &Target, sink: &Arc<Sink>, until: Until) -> (u64, Duration) {
    let started = Instant::now();
    let begun = Arc::new(AtomicU64::new(0));
    let awake = tokio::spawn(async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let target = Arc::new(Target {
                account: target.account.clone(),
                address: target.address.clone(),
                key: target.key.clone(),
                ..*target
            });
            let (sink, begun) = (Arc::clone(sink), Arc::clone(&begun));
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(&target.address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut buffer, mut cycles) = (Vec::with_capacity(4096), 0_u64);
                while until.more(started, &begun) {
                    cycle(&mut stream, &mut buffer, &target, &sink).await;
                    cycles += 1;
                }
                cycles
            })
        })
        .collect();
    let mut cycles = 0;
    for task in tasks {
        cycles += task.await.unwrap();
    }
    awake.abort();
    (cycles, started.elapsed())
}

async fn cycle(stream: &mut TcpStream, buffer: &mut Vec<u8>, target: &Target, sink: &Sink) {
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    let to = format!("+25569{:07}", nth.wrapping_mul(6_700_417) % 10_000_000);
    let [_, _, a, b] = (nth as u32).to_be_bytes();
    let client = format!("198.18.{a}.{b}");
    let code = sink.wait_for(to.clone());
    let bearer = format!("authorization: Bearer {}\r\ncontent-type: application/json\r\n", target.key);
    let forwarded = format!("content-type: application/json\r\nx-forwarded-for: {client}\r\n");
    let (basic, service) = target.account.as_ref().map_or(("", ""), |(basic, service)| (basic, service));
    let form = format!("authorization: {basic}\r\ncontent-type: application/x-www-form-urlencoded\r\n");
    let escaped = to.replace('+', "%2B");
    let (path, headers, body) = match target.dialect {
        Dialect::Native => ("/v1/verifications".to_owned(), bearer.clone(), format!("{{\"to\":\"{to}\"}}")),
        Dialect::NativeInFull => (
            "/v1/verifications".to_owned(),
            format!("{bearer}prefer: wait=10\r\n"),
            format!("{{\"to\":\"{to}\",\"client\":{{\"ip\":\"{client}\"}}}}"),
        ),
        Dialect::Simple => ("/api/users/send-otp/".to_owned(), forwarded.clone(), format!("{{\"phone\":\"{to}\"}}")),
        Dialect::Twilio => {
            (format!("/v2/Services/{service}/Verifications"), form.clone(), format!("To={escaped}&Channel=sms"))
        }
        Dialect::Camara => (
            "/one-time-password-sms/v1/send-code".to_owned(),
            bearer.clone(),
            format!(
                "{{\"phoneNumber\":\"{to}\",\"message\":\"Your Example code is {{{{code}}}}. It expires in 60 minutes.\"}}"
            ),
        ),
    };
    let sent = post(stream, buffer, &path, &headers, &body).await;
    assert!(matches!(sent.0, 200 | 201), "{}", String::from_utf8_lossy(&sent.1));
    let id = |prefix: &[u8], digits: usize| {
        let at = sent.1.windows(prefix.len()).position(|window| window == prefix).unwrap();
        std::str::from_utf8(&sent.1[at..at + prefix.len() + digits]).unwrap().to_owned()
    };
    let id = if target.dialect == Dialect::Twilio { id(b"VE", 32) } else { id(b"vf_", 32) };
    let code = code.await.unwrap();
    let (path, headers, body) = match target.dialect {
        Dialect::Native => (format!("/v1/verifications/{id}/check"), bearer, format!("{{\"code\":\"{code}\"}}")),
        Dialect::NativeInFull => (
            format!("/v1/verifications/{id}/check"),
            bearer,
            format!("{{\"code\":\"{code}\",\"client\":{{\"ip\":\"{client}\"}}}}"),
        ),
        Dialect::Simple => (
            "/api/users/verify-otp/".to_owned(),
            forwarded,
            format!("{{\"phone\":\"{to}\",\"otp\":\"{code}\",\"verification_id\":\"{id}\"}}"),
        ),
        Dialect::Twilio => {
            (format!("/v2/Services/{service}/VerificationCheck"), form, format!("VerificationSid={id}&Code={code}"))
        }
        Dialect::Camara => (
            "/one-time-password-sms/v1/validate-code".to_owned(),
            bearer,
            format!("{{\"authenticationId\":\"{id}\",\"code\":\"{code}\"}}"),
        ),
    };
    let checked = post(stream, buffer, &path, &headers, &body).await;
    let said = String::from_utf8_lossy(&checked.1).replace(' ', "");
    let is_right = match target.dialect {
        Dialect::Simple => said.contains("\"verified\":true"),
        Dialect::Camara => checked.0 == 204,
        _ => said.contains("\"valid\":true"),
    };
    assert!(is_right, "{} {said}", checked.0);
}

async fn post(stream: &mut TcpStream, buffer: &mut Vec<u8>, path: &str, headers: &str, body: &str) -> (u16, Vec<u8>) {
    let request =
        format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let (head, body) = read_message(stream, buffer).await.expect("the server hung up");
    let status = std::str::from_utf8(&head[9..12]).unwrap().parse().unwrap();
    (status, body)
}

/// The service that an account has from the beginning.
pub async fn first_service(address: &str, basic: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET /v2/Services HTTP/1.1\r\nhost: localhost\r\nauthorization: {basic}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (_, body) = read_message(&mut stream, &mut Vec::new()).await.expect("the server hung up");
    let list: serde_json::Value = serde_json::from_slice(&body).unwrap();
    list["services"][0]["sid"].as_str().unwrap().to_owned()
}

/// One HTTP message with a content-length: head and body. `None` at the end of the connection.
pub async fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let said = head.split("content-length:").nth(1).and_then(|rest| rest.split("\r\n").next());
    // A 204 has neither a body nor the length of one.
    let length: usize = said.map_or(Some(0), |length| length.trim().parse().ok())?;
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let message = (buffer[..end].to_vec(), buffer[end..end + length].to_vec());
    buffer.drain(..end + length);
    Some(message)
}
