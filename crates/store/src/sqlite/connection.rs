//! A connection whose statements find our supporting tables, whatever they are called there.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Deref;

use rusqlite::{CachedStatement, Params, Row, Statement};

use crate::one_row::prefixed;

/// A connection to a file. In somebody else's database our tables have a prefix, which is put into statements as they are prepared.
pub(super) struct Connection {
    inner: rusqlite::Connection,
    /// Statements with the prefix, by those without; `None` in a file of our own.
    prefixed: Option<RefCell<HashMap<Box<str>, Box<str>>>>,
}

impl Connection {
    pub(super) fn new(inner: rusqlite::Connection, with_prefix: bool) -> Self {
        Self { inner, prefixed: with_prefix.then(RefCell::default) }
    }

    pub(super) fn prepare_cached(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        let Some(prefixed_sql) = &self.prefixed else { return self.inner.prepare_cached(sql) };
        let mut known = prefixed_sql.borrow_mut();
        if let Some(known) = known.get(sql) {
            return self.inner.prepare_cached(known);
        }
        let made = prefixed(sql).into_boxed_str();
        let statement = self.inner.prepare_cached(&made);
        known.insert(sql.into(), made);
        statement
    }

    /// A statement to keep.
    pub(super) fn prepare(&self, sql: &str) -> rusqlite::Result<Statement<'_>> {
        match self.prefixed {
            None => self.inner.prepare(sql),
            Some(_) => self.inner.prepare(&prefixed(sql)),
        }
    }

    pub(super) fn query_row<T, P: Params>(
        &self,
        sql: &str,
        params: P,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        self.prepare_cached(sql)?.query_row(params, read)
    }
}

impl Deref for Connection {
    type Target = rusqlite::Connection;
    fn deref(&self) -> &rusqlite::Connection {
        &self.inner
    }
}
