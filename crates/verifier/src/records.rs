//! What doors keep for an application: settings of a service, rate limits, webhooks. No rule knows of them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_core::time::Timestamp;

use crate::store::{Record, RecordFilter, RecordName, RecordPage};
use crate::verifier::{Broken, Verifier};

/// How long a record is trusted before the store is asked again: what another process changes is seen no later than this.
const TRUSTED: Duration = Duration::from_secs(1);
/// Records remembered at once.
const MOST_CACHED: usize = 10_000;

/// Records read lately, and names of which there was none.
#[derive(Default)]
pub(crate) struct RecordCache(Mutex<HashMap<RecordName, (Timestamp, Option<Record>)>>);

impl RecordCache {
    fn get(&self, name: &RecordName, now: Timestamp) -> Option<Option<Record>> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, known) = cache.get(name)?;
        (now.since(*seen) < TRUSTED && *seen <= now).then(|| known.clone())
    }

    fn put(&self, name: RecordName, now: Timestamp, known: Option<Record>) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MOST_CACHED {
            cache.clear();
        }
        cache.insert(name, (now, known));
    }

    /// A change may take others with it: what a parent's end deletes is not known here.
    fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Verifier {
    /// Keeps a new record, made now; `None` if there is one of this name.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn create_record(
        &self,
        name: RecordName,
        parent: Option<String>,
        body: String,
    ) -> Result<Option<Record>, Broken> {
        let now = self.now();
        let record = Record { name, parent, body, created_at: now, updated_at: now };
        let made = self.inner.store.create_record(&record).await?;
        self.inner.record_cache.forget();
        Ok(made.then_some(record))
    }

    /// Replaces a record's body now; `None` if it is no longer there.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn update_record(&self, mut record: Record, body: String) -> Result<Option<Record>, Broken> {
        record.body = body;
        record.updated_at = self.now();
        let there = self.inner.store.update_record(&record).await?;
        self.inner.record_cache.forget();
        Ok(there.then_some(record))
    }

    /// One record.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn record(&self, name: &RecordName) -> Result<Option<Record>, Broken> {
        Ok(self.inner.store.record(name).await?)
    }

    /// One record as it was within the last second: for what every send and check asks.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn recent_record(&self, name: RecordName) -> Result<Option<Record>, Broken> {
        let now = self.now();
        if let Some(known) = self.inner.record_cache.get(&name, now) {
            return Ok(known);
        }
        let record = self.inner.store.record(&name).await?;
        self.inner.record_cache.put(name, now, record.clone());
        Ok(record)
    }

    /// A page of records, newest first.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn records(&self, filter: &RecordFilter) -> Result<RecordPage, Broken> {
        Ok(self.inner.store.records(filter).await?)
    }

    /// Deletes a record with all that it is the parent of; `false` if there is none of this name.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn delete_record(&self, name: &RecordName) -> Result<bool, Broken> {
        let there = self.inner.store.delete_record(name).await?;
        self.inner.record_cache.forget();
        Ok(there)
    }
}
