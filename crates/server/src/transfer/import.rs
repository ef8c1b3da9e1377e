//! From a file to a store.

use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};

use countersign::core::code::{CodeSource, KeyRing};
use countersign::core::time::Timestamp;
use countersign::store::{Store, StoreError};
use countersign::transfer::{Loaded, Row, RowKind};
use countersign_store::json;
use serde::Deserialize as _;
use serde_json::Value;

use super::{BATCH, END, EXPORT, End, Header};

/// Longer than any line that was ever written: what is longer is no line of ours, and is not read into memory.
const MOST_BYTES: u64 = 16 * 1024 * 1024;

/// Why an import stopped. Every line before the one that it names is in the store.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error("{0}")]
    File(#[from] std::io::Error),
    /// A line.
    #[error("line {line}: {why}")]
    Line {
        /// Its number, from 1.
        line: u64,
        /// What is wrong with it, without its text.
        why: String,
    },
}

/// What became of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Rows that were written, by kind.
    pub new: BTreeMap<RowKind, u64>,
    /// Rows that were there.
    pub same: u64,
    /// Rows of which something else is there, which was left.
    pub differs: u64,
    /// Verifications that were followed by one that is there.
    pub older: u64,
    /// Rows of a kind that this layout does not keep.
    pub not_kept: u64,
    /// The first of those that differ.
    pub notes: Vec<Note>,
    /// Whether the file had its end, and as many rows as that says.
    pub is_whole: bool,
    /// Whether it was told to stop before the end.
    pub interrupted: bool,
}

/// A row that differs from what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The number of its line.
    pub line: u64,
    /// What it is.
    pub what: String,
}

/// How many of those that differ are told one by one.
const MOST_NOTES: usize = 20;

impl Imported {
    /// Rows that were read.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.new.values().sum::<u64>() + self.same + self.differs + self.older + self.not_kept
    }
}

/// Takes a file in. `ring` must have the key of every verification that is pending at `now`. After each batch `go_on` is told how
/// many bytes were read, and says whether to go on.
///
/// # Errors
/// [`ImportError`]; everything before the line that it names is in the store, and the file can be imported again.
pub async fn import(
    store: &dyn Store,
    ring: Option<&KeyRing>,
    now: Timestamp,
    file: impl BufRead,
    mut go_on: impl FnMut(u64) -> bool,
) -> Result<Imported, ImportError> {
    let mut reader = Lines { file, number: 0, bytes: 0 };
    let mut done = Imported::default();
    let Some(first) = reader.next()? else {
        return Err(reader.wrong("the file is empty"));
    };
    let header = Header::deserialize(first).ok().filter(|header| header.countersign == EXPORT);
    match header {
        None => return Err(reader.wrong("this is no export: the first line is no header")),
        Some(header) if header.version > json::VERSION => {
            return Err(
                reader.wrong(format!("this export is of a later version ({}); use that version", header.version))
            );
        }
        Some(_) => {}
    }
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        let next = match reader.next() {
            Ok(Some(value)) => row(&value, ring, now).map(Some).map_err(|why| reader.wrong(why)),
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        match next {
            Ok(Some(Line::Row(row))) => batch.push((reader.number, *row)),
            Ok(Some(Line::End(rows))) => {
                flush(store, &mut batch, &mut done).await?;
                done.is_whole = rows == done.rows();
                return Ok(done);
            }
            Ok(None) => {
                flush(store, &mut batch, &mut done).await?;
                return Ok(done);
            }
            // What came before it is not lost.
            Err(error) => {
                flush(store, &mut batch, &mut done).await?;
                return Err(error);
            }
        }
        if batch.len() >= BATCH {
            flush(store, &mut batch, &mut done).await?;
            if !go_on(reader.bytes) {
                done.interrupted = true;
                return Ok(done);
            }
        }
    }
}

enum Line {
    Row(Box<Row>),
    End(u64),
}

fn row(value: &Value, ring: Option<&KeyRing>, now: Timestamp) -> Result<Line, String> {
    if value.get("kind").and_then(Value::as_str) == Some(END) {
        let end = End::deserialize(value).map_err(|_| "the end does not say how many rows there are".to_owned())?;
        return Ok(Line::End(end.rows));
    }
    let row = json::read(value).map_err(|error| error.to_string())?;
    if let Row::Verification(row, _) = &row
        && row.is_pending_at(now)
        && let CodeSource::Derived { key } | CodeSource::Chosen { key, .. } = &row.code
        && !ring.is_some_and(|ring| ring.knows(key))
    {
        return Err(format!(
            "the code of {} is under the key {key}, which is not in keys.file here, so it could not be checked; bring the key ring \
             along, then import again",
            row.id
        ));
    }
    Ok(Line::Row(row.into()))
}

async fn flush(store: &dyn Store, batch: &mut Vec<(u64, Row)>, done: &mut Imported) -> Result<(), StoreError> {
    if batch.is_empty() {
        return Ok(());
    }
    let (lines, rows): (Vec<_>, Vec<_>) =
        batch.drain(..).map(|(line, row)| ((line, row.kind(), format!("{row:?}")), row)).unzip();
    for ((line, kind, what), loaded) in lines.into_iter().zip(store.load(rows).await?) {
        match loaded {
            Loaded::New => *done.new.entry(kind).or_default() += 1,
            Loaded::Same => done.same += 1,
            Loaded::Older => done.older += 1,
            Loaded::NotKept => done.not_kept += 1,
            Loaded::Differs => {
                done.differs += 1;
                if done.notes.len() < MOST_NOTES {
                    done.notes.push(Note { line, what });
                }
            }
        }
    }
    Ok(())
}

/// The lines of a file as JSON, counted.
struct Lines<R> {
    file: R,
    number: u64,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<Value>, ImportError> {
        let mut line = Vec::new();
        let read = self.file.by_ref().take(MOST_BYTES).read_until(b'\n', &mut line)? as u64;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        self.bytes += read;
        if read == MOST_BYTES {
            return Err(self.wrong("it is longer than any line of an export"));
        }
        serde_json::from_slice(&line).map(Some).map_err(|error| {
            let cut = if line.ends_with(b"\n") { "" } else { "; the file ends in the middle of it" };
            self.wrong(format!("it is no JSON from character {} on{cut}", error.column()))
        })
    }

    fn wrong(&self, why: impl Into<String>) -> ImportError {
        ImportError::Line { line: self.number.max(1), why: why.into() }
    }
}
