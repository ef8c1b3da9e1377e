//! What the writing thread keeps at hand: its connection, the statements that it has prepared, and the rows that it wrote last.

use std::collections::{HashMap, VecDeque};

use countersign::core::id::VerificationId;
use countersign::core::verification::{Delivery, Verification};
use rusqlite::Statement;

use super::connection::Connection;

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use countersign::MemoryStore;
    use countersign::contract::Bench;

    use super::*;

    async fn row() -> Row {
        let bench = Bench::new(Arc::new(MemoryStore::default()));
        let (id, _) = bench.send("+255694230173").await;
        let (verification, deliveries) = bench.verifier.verification(&Default::default(), id).await.unwrap().unwrap();
        Row { place: 1, verification, deliveries: Some(deliveries) }
    }

    #[tokio::test]
    async fn what_was_rolled_back_is_not_remembered() {
        let connection = Connection::new(rusqlite::Connection::open_in_memory().unwrap(), false);
        let mut session = Session::new(&connection);
        let row = row().await;
        let id = row.verification.id;
        session.begin().unwrap();
        session.put_recent(row);
        session.commit().unwrap();
        session.begin().unwrap();
        let mut row = session.take_recent(id).unwrap();
        assert!(session.take_recent(id).is_none(), "it is taken");
        row.place = 2;
        session.put_recent(row);
        session.roll_back();
        assert!(connection.is_autocommit() && session.take_recent(id).is_none());
    }

    #[tokio::test]
    async fn bug_h4_what_another_connection_may_have_changed_is_read_again() {
        let file = std::env::temp_dir().join(format!("countersign-session-{}.db", std::process::id()));
        let connection = Connection::new(rusqlite::Connection::open(&file).unwrap(), false);
        connection.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE t (n INTEGER)").unwrap();
        let other = rusqlite::Connection::open(&file).unwrap();
        let mut session = Session::new(&connection);
        let row = row().await;
        let id = row.verification.id;
        session.begin().unwrap();
        session.put_recent(row);
        connection.execute_batch("INSERT INTO t VALUES (1)").unwrap();
        session.commit().unwrap();
        session.begin().unwrap();
        let row = session.take_recent(id).unwrap();
        session.put_recent(row);
        session.commit().unwrap();
        other.execute_batch("INSERT INTO t VALUES (2)").unwrap();
        session.begin().unwrap();
        assert!(session.take_recent(id).is_none());
        session.roll_back();
        drop((session, other));
        drop(connection);
        std::fs::remove_file(&file).unwrap();
    }

    #[tokio::test]
    async fn the_oldest_go_first_and_memory_is_bounded() {
        let connection = Connection::new(rusqlite::Connection::open_in_memory().unwrap(), false);
        let mut session = Session::new(&connection);
        let Row { verification, .. } = row().await;
        let id = |nth: u128| VerificationId::from_bytes(nth.to_be_bytes());
        for nth in 0..=MOST_RECENT as u128 {
            let verification = Verification { id: id(nth), ..verification.clone() };
            session.put_recent(Row { place: 1, verification, deliveries: None });
        }
        assert!(session.take_recent(id(0)).is_none());
        assert!(session.take_recent(id(1)).is_some() && session.take_recent(id(MOST_RECENT as u128)).is_some());
        assert_eq!((session.recent.rows.len(), session.recent.order.len()), (MOST_RECENT, MOST_RECENT));
    }
}
