//! The rules of one-time-passcode verification.
//!
//! This crate decides. It does no I/O, starts no task, reads no clock and draws no randomness: `now` and random bytes are
//! arguments, and every decision is a pure function from a snapshot to changes and an answer. So each rule can be tested in
//! virtual time, run again by a store that lost a race, and read in one sitting.
//!
//! The three verbs are [`send`], [`check`] and [`deliver`]. What they are about is a [`verification`]; what they say no with is a
//! [`refusal`]; how a store runs them is [`decision`].
#![forbid(unsafe_code)]

mod catalogue;
pub mod channel;
pub mod check;
pub mod code;
pub mod decision;
pub mod deliver;
pub mod destination;
pub mod event;
pub mod follow;
pub mod guard;
pub mod health;
pub mod hear;
pub mod id;
pub mod language;
pub mod limit;
pub mod message;
pub mod outcome;
pub mod own_text;
pub mod policy;
pub mod refusal;
pub mod route;
pub mod send;
pub mod sms;
pub mod template;
pub mod time;
pub mod verification;
