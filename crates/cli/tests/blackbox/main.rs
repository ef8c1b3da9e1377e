//! The adversary: the real binary over HTTP, against the public contract and every bug that one-time codes are known for.
//!
//! Each test bears the id of the bug that it would catch; README.md beside this file says which is where.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod account_webhooks;
mod binding;
mod budget;
mod budget_doors;
mod camara;
mod chaos;
mod chaos_smpp;
mod crash;
mod django_table;
mod expiry;
mod fleet;
mod foreign;
mod house;
mod idempotency;
mod inbox_page;
mod keypress;
mod mail;
mod moving;
mod production;
mod providers;
mod pumping;
mod readme;
mod receipts;
mod redeem;
mod refusals;
mod rotation;
mod routes;
mod sdk;
mod secrecy;
mod sending;
mod service;
mod single_use;
mod smpp;
mod strangers;
mod twilio;
mod values;
mod walk_native;
mod walk_operation;
mod walk_problems;
mod walk_simple;
mod walk_twilio;
mod webhooks;
