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
            let (address, key) = (target.address.clone(), target.key.clone());
            let (sink, begun) = (Arc::clone(sink), Arc::clone(&begun));
            tokio::spawn(async move {
                let mut stream = TcpStream::connect(&address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                let (mut buffer, mut cycles) = (Vec::with_capacity(4096), 0_u64);
                while until.more(started, &begun) {
                    cycle(&mut stream, &mut buffer, &key, &sink).await;
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

async fn cycle(stream: &mut TcpStream, buffer: &mut Vec<u8>, key: &str, sink: &Sink) {
    let nth = NEXT.fetch_add(1, Ordering::Relaxed);
    let to = format!("+25569{:07}", nth.wrapping_mul(6_700_417) % 10_000_000);
    let code = sink.wait_for(to.clone());
    let sent = post(stream, buffer, key, "/v1/verifications", &format!("{{\"to\":\"{to}\"}}")).await;
    assert_eq!(sent.0, 201, "{}", String::from_utf8_lossy(&sent.1));
    let at = sent.1.windows(3).position(|window| window == b"vf_").unwrap();
    let id = std::str::from_utf8(&sent.1[at..at + 35]).unwrap().to_owned();
    let code = code.await.unwrap();
    let path = format!("/v1/verifications/{id}/check");
    let checked = post(stream, buffer, key, &path, &format!("{{\"code\":\"{code}\"}}")).await;
    assert_eq!(checked.0, 200);
    assert!(
        checked.1.windows(12).any(|window| window == b"\"valid\":true" || window == b"valid\": true"),
        "{}",
        String::from_utf8_lossy(&checked.1)
    );
}

async fn post(stream: &mut TcpStream, buffer: &mut Vec<u8>, key: &str, path: &str, body: &str) -> (u16, Vec<u8>) {
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let (head, body) = read_message(stream, buffer).await.expect("the server hung up");
    let status = std::str::from_utf8(&head[9..12]).unwrap().parse().unwrap();
    (status, body)
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
    let length: usize = head.split("content-length:").nth(1)?.split("\r\n").next()?.trim().parse().ok()?;
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let message = (buffer[..end].to_vec(), buffer[end..end + length].to_vec());
    buffer.drain(..end + length);
    Some(message)
}
