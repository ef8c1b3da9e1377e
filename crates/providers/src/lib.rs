//! Reaches people.
//!
//! A gateway is data: a descriptor (`descriptors/<provider>.toml`) says what it is called, which credentials it needs, what the
//! request looks like, what counts as acceptance and what each failure means for the next step; fixtures beside it hold the
//! request and the answer of every case that matters. One HTTP sender reads them all. Email over SMTP
//! and SMS over SMPP are code; so are `inbox` and `console`, which reach nobody's phone.
//!
//! What is here hands over one message, once: it does not retry, queue, fail over or keep anything. That is decided by
//! [`countersign::core`] from the [`Outcome`](countersign::core::outcome::Outcome) that a sender returns.
//!
//! ```
//! use countersign_providers::{ProviderConfig, build};
//!
//! let config = ProviderConfig::new("gateway", "webhook").with("url", "http://127.0.0.1:9000/messages");
//! assert_eq!(build(&config)?.name(), "gateway");
//!
//! // What is missing or misspelt is named, and what to write instead.
//! let error = build(&ProviderConfig::new("gateway", "webhook")).err().map(|error| error.to_string());
//! assert!(error.is_some_and(|text| text.contains("`url`")));
//! # Ok::<(), countersign_providers::ProviderError>(())
//! ```
#![forbid(unsafe_code)]

pub mod build;
pub mod config;
pub mod console;
pub mod descriptor;
pub mod fixture;
pub mod http;
pub mod inbox;
pub mod layers;
pub mod proof;
pub mod receipt;
pub mod registry;
pub mod sender_ids;
pub mod standard_webhooks;

mod answer;
mod hush;
mod oauth2;
mod path;
mod plain;
mod request;
mod retry_after;
mod sign;
#[cfg(feature = "smpp")]
mod smpp;
#[cfg(feature = "smtp")]
mod smtp;
mod template;
mod xml;

pub use build::{Now, Surroundings, build, build_with};
pub use config::{FieldValue, ProviderConfig, ProviderError};
pub use console::Console;
pub use descriptor::{Descriptor, DescriptorError, Field};
pub use inbox::{Inbox, InboxMessage};
pub use receipt::{Receipt, ReceiptReader, ReceiptRefused, ReceiptRequest, ReceiptStatus, read_receipt};
pub use registry::Registry;
