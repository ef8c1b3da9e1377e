//! The service as a client sees it: the router over a store in memory, a phone that records and a clock that is moved by hand; and
//! real sockets where time and bytes matter.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs, reason = "tests")]

mod camara;
mod idempotency;
mod native;
mod operation;
mod pages;
mod receipts;
mod secrecy;
mod shutdown;
mod simple;
mod slow_clients;
mod support;
mod twilio;
