//! From a store to a file.

use std::io::{BufRead, Write};

use countersign::store::{Store, StoreError};
use countersign::transfer::RowKind;
use countersign_store::json;
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::{BATCH, END, EXPORT, End, Header};

/// Why an export stopped.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// The file to go on with is none of ours.
    #[error("it is no export of this version; name another file")]
    NoExport,
    /// The file to go on with has its end.
    #[error("it is complete, with {0} rows")]
    Complete(u64),
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows in the file, those of an earlier run too.
    pub rows: u64,
    /// Whether it was told to stop before the end.
    pub interrupted: bool,
    /// The last row: its kind and place.
    last: Option<(RowKind, String)>,
    /// Bytes that are whole lines.
    pub bytes: u64,
}

/// What an export that was cut short has already: the rest of the file, from [`Exported::bytes`] on, is to be cut off.
///
/// # Errors
/// [`ExportError`] if it is no export, or whole.
pub fn resume(mut file: impl BufRead) -> Result<Exported, ExportError> {
    let (mut done, mut line) = (Exported::default(), Vec::new());
    while file.read_until(b'\n', &mut line)? > 0 {
        let whole = line.ends_with(b"\n");
        let value = serde_json::from_slice::<Value>(&line).ok().filter(|_| whole);
        let Some(value) = value else {
            // Only the last line can have been cut.
            return if whole { Err(ExportError::NoExport) } else { Ok(done) };
        };
        if done.bytes == 0 {
            let header = Header::deserialize(value).map_err(|_| ExportError::NoExport)?;
            if header.countersign != EXPORT || header.version != json::VERSION {
                return Err(ExportError::NoExport);
            }
        } else {
            let kind = value.get("kind").and_then(Value::as_str);
            if kind == Some(END) {
                return Err(ExportError::Complete(done.rows));
            }
            let place = value.get("place").and_then(Value::as_str).map(str::to_owned);
            let (Some(kind), Some(place)) = (kind.and_then(RowKind::from_name), place) else {
                return Err(ExportError::NoExport);
            };
            done.rows += 1;
            done.last = Some((kind, place));
        }
        done.bytes += line.len() as u64;
        line.clear();
    }
    Ok(done)
}

/// Writes everything, or what follows on an earlier run. After each page `go_on` is told how many rows are there, and says whether to
/// go on.
///
/// # Errors
/// [`ExportError`]; what was written can be gone on with.
pub async fn export(
    store: &dyn Store,
    layout: &str,
    mut done: Exported,
    out: &mut (dyn Write + Send),
    mut go_on: impl FnMut(u64) -> bool,
) -> Result<Exported, ExportError> {
    if done.bytes == 0 {
        let header = Header { countersign: EXPORT.to_owned(), version: json::VERSION, layout: layout.to_owned() };
        writeln!(out, "{}", json!(header))?;
    }
    for kind in RowKind::ALL {
        let mut after = match done.last.take() {
            Some((last, place)) if last == kind => Some(place),
            Some(last) if last.0 > kind => {
                done.last = Some(last);
                continue;
            }
            _ => None,
        };
        loop {
            let page = store.dump(kind, after.as_deref(), BATCH).await?;
            for dumped in &page {
                let mut value = json::write(&dumped.row);
                if let Some(members) = value.as_object_mut() {
                    members.insert("place".to_owned(), json!(dumped.place));
                }
                writeln!(out, "{value}")?;
            }
            out.flush()?;
            done.rows += page.len() as u64;
            if !go_on(done.rows) {
                done.interrupted = true;
                return Ok(done);
            }
            if page.len() < BATCH {
                break;
            }
            after = page.into_iter().next_back().map(|dumped| dumped.place);
        }
    }
    writeln!(out, "{}", json!(End { kind: END.to_owned(), rows: done.rows }))?;
    out.flush()?;
    Ok(done)
}
