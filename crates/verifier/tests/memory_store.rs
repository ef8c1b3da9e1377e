//! The memory store keeps the promises of the port.

use std::sync::Arc;

use countersign::{MemoryStore, Store};

async fn open() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

countersign::store_contract!(open);
