//! A store as a file of JSON lines, to be taken into another store: one header, one row a line, one end.
//!
//! What is read while the service runs is as old as the line it stands on. An export that was cut short goes on where it stopped;
//! an import can be done again: what is there already is left.

mod export;
mod import;
#[cfg(test)]
mod tests;

pub use export::{ExportError, Exported, export, resume};
pub use import::{ImportError, Imported, Note, import};

use serde::{Deserialize, Serialize};

/// Rows that are read, or written, together.
const BATCH: usize = 500;

/// The first line.
#[derive(Serialize, Deserialize)]
struct Header {
    /// Tells such a file from any other.
    countersign: String,
    /// Of the lines.
    version: u32,
    /// Where they come from; for people.
    layout: String,
}

const EXPORT: &str = "export";

/// The last line: without it something is missing.
#[derive(Serialize, Deserialize)]
struct End {
    /// `end`.
    kind: String,
    /// Lines between the first and this one.
    rows: u64,
}

const END: &str = "end";
