//! What can be asked, one file for each call. A dialect is a folder.

pub mod camara;
pub(crate) mod keypress;
pub mod native;
pub mod openapi;
pub mod ops;
pub mod receipts;
pub mod refusals;
pub mod simple;
pub mod twilio;
