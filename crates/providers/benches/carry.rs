//! How many messages one process hands to a loopback gateway in a second.
//!
//! `cargo bench -p countersign-providers --bench carry -- [--messages 20000] [--at-once 64] [--floor 2000]`
//! The gateway runs in the same process, so the figure is of both together. With `--floor` it fails below so many a second.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a benchmark")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::id::{ApplicationName, DeliveryId};
use countersign::core::outcome::{Message, Outcome};
use countersign::core::time::Timestamp;
use countersign::sender::Sender;
use countersign_providers::{ProviderConfig, build};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const JSON: &str = r#"{"id":"m-1","sid":"SM1","status":"queued"}"#;
const XML: &str = "<PublishResponse><PublishResult><MessageId>m-1</MessageId></PublishResult></PublishResponse>";

fn main() {
    let value = |name: &str, default: usize| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
        arguments.next().map_or(default, |text| text.parse().expect("a number"))
    };
    let (messages, at_once, floor) = (value("--messages", 20_000), value("--at-once", 64), value("--floor", 0));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let (json, xml) = (gateway(JSON).await, gateway(XML).await);
        let webhook = ProviderConfig::new("webhook", "webhook").with("url", format!("{json}/messages"));
        let webhook = webhook.with("secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let twilio =
            ProviderConfig::new("twilio", "twilio").with("base_url", json.as_str()).with("from", "+15017122661");
        let twilio = twilio.with("account_sid", "AC0123456789abcdef0123456789abcdef").with("auth_token", "t");
        let sns = ProviderConfig::new("aws-sns", "aws-sns").with("base_url", xml).with("region", "eu-west-1");
        let sns = sns.with("access_key_id", "AKIDEXAMPLE").with("secret_access_key", "k");
        for config in [webhook, twilio, sns] {
            let name = config.name.clone();
            let rate = carry(build(&config).unwrap(), messages, at_once).await;
            println!("{name:<10} {rate:>8.0} messages/s ({messages} messages, {at_once} at once)");
            assert!(rate >= floor as f64, "{name} reached {rate:.0}/s, less than {floor}/s");
        }
    });
}

async fn carry(sender: Arc<dyn Sender>, messages: usize, at_once: usize) -> f64 {
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let workers: Vec<_> = (0..at_once)
        .map(|_| {
            let (sender, next) = (Arc::clone(&sender), Arc::clone(&next));
            tokio::spawn(async move {
                while next.fetch_add(1, Ordering::Relaxed) < messages {
                    let outcome = sender.send(&message()).await;
                    assert!(matches!(outcome, Outcome::Accepted { .. }), "{outcome:?}");
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    messages as f64 / begun.elapsed().as_secs_f64()
}

fn message() -> Message {
    Message {
        id: DeliveryId::from_bytes([7; 16]),
        application: ApplicationName::default(),
        display_name: "Example".to_owned(),
        subject: String::new().into(),
        channel: Channel::Sms,
        to: Destination::parse("+255694230173", None).unwrap(),
        text: "Your Example code is 482913. It expires in 5 minutes.".to_owned().into(),
        code: "482913".parse().unwrap(),
        ticket: Default::default(),
        locale: "en".to_owned(),
        expires_at: Timestamp::from_millis(1_700_000_300_000),
    }
}

/// Takes everything, and says the same to all.
async fn gateway(body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, body));
        }
    });
    url
}

async fn serve(mut stream: TcpStream, body: &'static str) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        bytes.drain(..end + length);
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}
