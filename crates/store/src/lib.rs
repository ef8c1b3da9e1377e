//! The durable stores: each keeps the promises of [`countersign::store`], and passes the same suite, [`countersign::contract`].
#![forbid(unsafe_code)]

pub mod json;
pub mod layout;
mod one_row;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod wording;
