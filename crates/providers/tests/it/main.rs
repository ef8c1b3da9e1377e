//! Every provider against a real TCP connection: what goes out byte for byte, and what is made of what comes back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may fail")]

mod bodies;
mod faults;
mod fixtures;
mod gateway;
mod layers;
mod leaks;
#[cfg(feature = "smtp")]
mod mail;
mod oauth2;
#[cfg(any(feature = "smpp", feature = "smtp"))]
mod peer;
mod phones;
#[cfg(feature = "smpp")]
mod proxy;
mod receipts;
#[cfg(feature = "smpp")]
mod smsc;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::id::{ApplicationName, DeliveryId};
use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::core::time::Timestamp;
use countersign::sender::Sender;
use countersign_providers::{Inbox, Now, ProviderConfig, Surroundings, build_with};

const AT: i64 = 1_700_000_000;

fn clock(at: i64) -> Now {
    Arc::new(move || Timestamp::from_millis(at * 1000))
}

fn sender(config: &ProviderConfig) -> Arc<dyn Sender> {
    let around = Surroundings { now: clock(AT), inbox: Inbox::new(clock(AT)) };
    build_with(config, &around).unwrap()
}

fn message(text: &str) -> Message {
    Message {
        id: DeliveryId::from_bytes([7; 16]),
        application: ApplicationName::default(),
        display_name: "Example".to_owned(),
        channel: Channel::Sms,
        to: Destination::parse("+255694230173", None).unwrap(),
        subject: Default::default(),
        text: text.to_owned().into(),
        code: "482913".parse().unwrap(),
        ticket: Default::default(),
        locale: "en".to_owned(),
        expires_at: Timestamp::from_millis((AT + 300) * 1000),
    }
}

/// The three providers that are spoken to over HTTP, pointed at `base_url`.
fn everybody(base_url: &str) -> Vec<ProviderConfig> {
    let url = format!("{base_url}/messages");
    vec![
        ProviderConfig::new("gateway", "webhook").with("url", url.as_str()).with("secret", SECRET),
        ProviderConfig::new("tz", "mshastra")
            .with("user", "20061628")
            .with("password", "correct-horse")
            .with("sender", "MyApp")
            .with("base_url", base_url),
        ProviderConfig::new("tw", "twilio")
            .with("account_sid", "AC0123456789abcdef0123456789abcdef")
            .with("auth_token", "t0k3n-of-the-account")
            .with("from", "+15017122661")
            .with("base_url", base_url),
    ]
}

/// The same, with little time.
fn impatient(base_url: &str) -> Vec<ProviderConfig> {
    everybody(base_url).into_iter().map(|config| config.within(Duration::from_millis(400))).collect()
}

fn webhook(base_url: &str) -> ProviderConfig {
    everybody(base_url).swap_remove(0)
}

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// The outcome in few words: `accepted`, `unknown`, or the failure.
fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Accepted { .. } => "accepted",
        Outcome::Unknown { .. } => "unknown",
        Outcome::Rejected { failure, .. } => failure_name(*failure),
    }
}

fn failure_name(failure: Failure) -> &'static str {
    match failure {
        Failure::RetryElsewhere => "retry_elsewhere",
        Failure::RetryLater => "retry_later",
        Failure::GiveUp => "give_up",
        Failure::BlameNumber => "blame_number",
    }
}

fn reason(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Accepted { .. } => "",
        Outcome::Unknown { reason } | Outcome::Rejected { reason, .. } => reason,
    }
}
