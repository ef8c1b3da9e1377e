//! The PostgreSQL store keeps the promises of the port, and those that only a server can make.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "support/postgres.rs"]
mod support;

use std::sync::Arc;

use countersign::Store;
use countersign_store::postgres::{Options, PostgresStore, Target};

fn options(schema: &str) -> Options {
    Options { schema: schema.to_owned(), ..Options::default() }
}

fn open_at(url: &str, schema: &str) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(Target::parse(url).unwrap(), options(schema)).unwrap())
}

async fn open() -> Arc<dyn Store> {
    open_at(&support::url(), &support::new_schema())
}

countersign::store_contract!(open);
