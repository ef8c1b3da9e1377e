//! What the writing thread keeps at hand: its connection, the statements that it has prepared, and the rows that it wrote last.

use std::collections::{HashMap, VecDeque};

use countersign::core::id::VerificationId;
use countersign::core::verification::{Delivery, Verification};
use rusqlite::{Connection, Statement};

/// Verifications remembered at once, about 1 KiB each.
const MOST_RECENT: usize = 4096;

/// The writing thread's connection.
pub(super) struct Session<'c> {
    connection: &'c Connection,
    prepared: Vec<(&'static str, Statement<'c>)>,
    recent: Recent,
    /// `PRAGMA data_version` when the last transaction began.
    version: i64,
}

/// A verification as the file has it.
pub(super) struct Row {
    pub place: i64,
    pub verification: Verification,
    /// All of them, in order; `None` if they were not read.
    pub deliveries: Option<Vec<Delivery>>,
}

impl<'c> Session<'c> {
    pub(super) fn new(connection: &'c Connection) -> Self {
        Self { connection, prepared: Vec::new(), recent: Recent::default(), version: 0 }
    }

    /// A statement, prepared once. It is known again by where its text stands in the program: to hash the text of an insert takes
    /// longer than to run it.
    pub(super) fn prepare(&mut self, sql: &'static str) -> rusqlite::Result<&mut Statement<'c>> {
        let known = self.prepared.iter().position(|(text, _)| std::ptr::eq(*text, sql));
        let at = match known {
            Some(at) => at,
            None => {
                self.prepared.push((sql, self.connection.prepare(sql)?));
                self.prepared.len() - 1
            }
        };
        Ok(&mut self.prepared[at].1)
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        self.prepare("BEGIN IMMEDIATE")?.execute([])?;
        // It changes when another process, or another connection of this one, has written to the file.
        let version = self.prepare("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if version != self.version {
            self.forget();
            self.version = version;
        }
        Ok(())
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.prepare("COMMIT")?.execute([]).map(drop)
    }

    /// Undoes the transaction, if one is still open.
    pub(super) fn roll_back(&mut self) {
        self.forget();
        if !self.connection.is_autocommit() {
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }

    /// The connection, for what is written seldom.
    pub(super) const fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Takes a row that was written lately, and saves reading it: a message's outcome and a check come soon after their send. Whoever
    /// takes it puts it back as it then stands.
    pub(super) fn take_recent(&mut self, id: VerificationId) -> Option<Row> {
        self.recent.rows.get_mut(&id)?.take()
    }

    /// Remembers a row as this transaction leaves it.
    pub(super) fn put_recent(&mut self, row: Row) {
        let id = row.verification.id;
        if self.recent.rows.insert(id, Some(row)).is_some() {
            return;
        }
        self.recent.order.push_back(id);
        if self.recent.order.len() > MOST_RECENT
            && let Some(oldest) = self.recent.order.pop_front()
        {
            self.recent.rows.remove(&oldest);
        }
    }

    /// Forgets the rows: something else than a decision changes them, or the transaction that changed them came to nothing.
    pub(super) fn forget(&mut self) {
        self.recent = Recent::default();
    }
}

/// The rows that were written last, first in, first out.
#[derive(Default)]
struct Recent {
    rows: HashMap<VerificationId, Option<Row>>,
    order: VecDeque<VerificationId>,
}
