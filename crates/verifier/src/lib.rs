//! One-time-passcode verification that an application can run itself: it sends a code to a phone number or an email address, checks
//! what comes back, once, and tells the application in a way that it can trust.
//!
//! A [`Verifier`] is put together from what carries messages (a [`Sender`] for each provider), what remembers (a [`Store`]; in memory
//! if none is named), and the rules of each application ([`core::policy::Application`]). Rules are decided by [`core`], purely; this
//! crate acts on them: load, decide, commit, answer, and only then carry.
//!
//! ```
//! use std::sync::Arc;
//! use countersign::core::check::CheckResult;
//! use countersign::core::policy::Application;
//! use countersign::{CheckRequest, Cleanup, Failure, RecordingSender, SendRequest, Verifier};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // 1. Who carries messages. In production a gateway; here a phone that can be asked what it got.
//! let phone = Arc::new(RecordingSender::new("phone"));
//!
//! // 2. The rules: the defaults, with the name that messages speak of.
//! let mut application = Application::new("default".parse()?, "phone");
//! application.display_name = "Duka".to_owned();
//!
//! // 3. Together. Without `.store(…)` it remembers in memory; without `.keys(…)` codes are good for this process alone.
//! let verifier = Verifier::builder().sender(phone.clone()).application(application).build()?;
//! let upkeep = verifier.start_upkeep(Cleanup::default());
//!
//! // 4. Send. The id goes to whoever asked: it makes their guesses count as theirs, apart from a stranger's.
//! let sending = verifier.send(SendRequest::to("+255 694 230 173").purpose("login")).await?;
//! let id = sending.sent.verification.id;
//!
//! // 5. Check. A refusal is an answer, not an error: it says what to tell the person.
//! match verifier.check(CheckRequest::by_id(id, &phone.wait_for_code("+255694230173").await)).await {
//!     Ok(checked) => assert_eq!(checked.result, CheckResult::Approved),
//!     Err(Failure::Refused(refusal)) => println!("{refusal}"),
//!     Err(Failure::Broken(broken)) => return Err(broken.into()),
//! }
//!
//! // 6. Stop: what is being carried is finished, the rest is in the outbox for the next start.
//! upkeep.stop().await;
//! verifier.shut_down(std::time::Duration::from_secs(10)).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! For production: a store that outlives the process (`countersign_store::sqlite::SqliteStore`), a [`core::code::KeyRing`] from a file
//! that only the application can read, [`Verifier::start_upkeep`] running, and an [`Observer`] for metrics. To write a store or a sender
//! of your own, read [`store`] or [`sender`], and run [`contract`] against it.
#![forbid(unsafe_code)]

pub use countersign_core as core;

mod access;
mod answers;
mod check;
mod clock;
pub mod contract;
mod deliver;
mod guard;
mod health;
mod memory_store;
mod observe;
mod records;
mod send;
pub mod sender;
pub mod store;
pub mod transfer;
mod upkeep;
mod verifier;
pub mod webhook;

pub use access::{Access, Account, NewKey};
pub use answers::{Answered, Kept};
pub use check::CheckRequest;
pub use clock::{Clock, ManualClock, SystemClock};
pub use deliver::{Recorded, RecordingSender, Word};
pub use health::SETTLED_AFTER;
pub use memory_store::MemoryStore;
pub use observe::{Observation, Observer};
pub use send::{SendRequest, Sending};
pub use sender::Sender;
pub use store::Store;
pub use upkeep::{Cleanup, Upkeep};
pub use verifier::{Broken, Builder, Failure, Verifier};
