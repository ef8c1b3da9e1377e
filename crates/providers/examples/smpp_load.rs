//! How many messages a second go through one SMPP session: to an SMSC in the same process, which answers at once or after a while.
//!
//! `cargo run --release -p countersign-providers --example smpp_load [messages] [window] [answer after so many ms]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program that prints its figures, or fails")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::id::{ApplicationName, DeliveryId};
use countersign::core::outcome::{Message, Outcome};
use countersign::core::time::Timestamp;
use countersign_providers::{ProviderConfig, Surroundings, build_with};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// As many messages are offered at once as a verifier carries.
const CARRIERS: usize = 512;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>().unwrap());
    let messages = arguments.next().unwrap_or(20_000);
    let window = arguments.next().unwrap_or(50);
    let delay = Duration::from_millis(u64::from(arguments.next().unwrap_or(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(smsc(stream, delay));
        }
    });
    let config = ProviderConfig::new("load", "smpp")
        .with("host", "127.0.0.1")
        .with("port", port.to_string())
        .with("system_id", "load")
        .with("password", "load")
        .with("window", window.to_string());
    let around =
        Surroundings { now: Arc::new(|| Timestamp::from_millis(1_700_000_000_000)), ..Surroundings::default() };
    let sender = build_with(&config, &around).unwrap();
    assert!(matches!(sender.send(&message(0)).await, Outcome::Accepted { .. }));

    let (next, accepted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let begun = Instant::now();
    let carriers: Vec<_> = (0..CARRIERS)
        .map(|_| {
            let (sender, next, accepted) = (Arc::clone(&sender), Arc::clone(&next), Arc::clone(&accepted));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= messages as usize {
                        return;
                    }
                    let outcome = sender.send(&message(u32::try_from(number).unwrap())).await;
                    accepted.fetch_add(usize::from(matches!(outcome, Outcome::Accepted { .. })), Ordering::Relaxed);
                }
            })
        })
        .collect();
    for carrier in carriers {
        carrier.await.unwrap();
    }
    let took = begun.elapsed();
    let rate = f64::from(messages) / took.as_secs_f64();
    println!(
        "{} of {messages} accepted in {took:.2?}: {rate:.0}/s, window {window}, answers after {delay:?}",
        accepted.load(Ordering::Relaxed)
    );
    sender.close().await;
    assert_eq!(accepted.load(Ordering::Relaxed), messages as usize, "every message is accepted");
}

fn message(number: u32) -> Message {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&number.to_be_bytes());
    Message {
        id: DeliveryId::from_bytes(id),
        application: ApplicationName::default(),
        display_name: "Example".to_owned(),
        channel: Channel::Sms,
        to: Destination::parse("+255694230173", None).unwrap(),
        subject: String::new().into(),
        text: "Your Example code is 482913. It expires in 5 minutes.\n\n@example.com #482913".to_owned().into(),
        code: "482913".parse().unwrap(),
        ticket: Default::default(),
        locale: "en".to_owned(),
        expires_at: Timestamp::from_millis(1_700_000_300_000),
    }
}

/// Answers everything with ESME_ROK, messages with an id.
async fn smsc(stream: TcpStream, delay: Duration) {
    stream.set_nodelay(true).unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let (answers, mut queue) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    tokio::spawn(async move {
        while let Some((at, answer)) = queue.recv().await {
            tokio::time::sleep_until(at.into()).await;
            if writer.write_all(&answer).await.is_err() {
                return;
            }
        }
    });
    let (mut read, mut id) = (Vec::new(), 0_u32);
    loop {
        while let Some(length) = read.get(..4).map(|four: &[u8]| u32::from_be_bytes(four.try_into().unwrap()) as usize)
        {
            if read.len() < length {
                break;
            }
            let unit: Vec<u8> = read.drain(..length).collect();
            id += 1;
            let body = format!("{id:08X}\0");
            let mut answer = u32::try_from(16 + body.len()).unwrap().to_be_bytes().to_vec();
            let command = u32::from_be_bytes(unit[4..8].try_into().unwrap()) | 0x8000_0000;
            answer.extend(command.to_be_bytes());
            answer.extend([0; 4]);
            answer.extend(&unit[12..16]);
            answer.extend(body.as_bytes());
            if answers.send((Instant::now() + delay, answer)).is_err() {
                return;
            }
        }
        if reader.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return;
        }
    }
}
