//! Is asked.
#![forbid(unsafe_code)]

pub mod api;
pub mod config;
pub mod http;
pub mod keys;
pub mod metrics;
pub mod pages;
pub mod service;
pub mod settings;
pub mod setup;
pub mod telemetry;
pub mod token;
pub mod transfer;
pub mod webhooks;
