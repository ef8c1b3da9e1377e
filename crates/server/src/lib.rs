//! Is asked.
#![forbid(unsafe_code)]

pub mod settings;
