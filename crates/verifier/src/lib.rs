//! One-time-passcode verification that an application can run itself.
#![forbid(unsafe_code)]

pub use countersign_core as core;

mod access;
mod answers;
mod check;
mod clock;
pub mod contract;
mod deliver;
mod memory_store;
mod observe;
mod send;
pub mod sender;
pub mod store;
mod upkeep;
mod verifier;

pub use access::{Access, NewKey};
pub use answers::{Answered, Kept};
pub use check::CheckRequest;
pub use clock::{Clock, ManualClock, SystemClock};
pub use deliver::{Recorded, RecordingSender, Word};
pub use memory_store::MemoryStore;
pub use observe::{Observation, Observer};
pub use send::{SendRequest, Sending};
pub use sender::Sender;
pub use store::Store;
pub use upkeep::{Cleanup, Upkeep};
pub use verifier::{Broken, Builder, Failure, Verifier};
