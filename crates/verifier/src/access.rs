//! Applications and API keys: random, shown once, kept as digests.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_core::id::ApplicationName;
use countersign_core::time::Timestamp;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::store::{ApplicationRecord, KeyRecord};
use crate::verifier::{Broken, Verifier, random};

/// How long a looked-up key is trusted before the store is asked again: a revoked key works no longer than this.
const TRUSTED: Duration = Duration::from_secs(1);
/// Keys remembered at once.
const MOST_CACHED: usize = 10_000;

/// A new API key with its secrets, which exist nowhere else.
pub struct NewKey {
    /// What the store keeps.
    pub record: KeyRecord,
    /// The account's name in the Twilio dialect.
    pub account_sid: String,
    /// The bearer key, `cs_…`.
    pub key: Zeroizing<String>,
    /// The auth token of the Twilio dialect.
    pub auth_token: Zeroizing<String>,
    /// The secret that goes with [`KeyRecord::key_sid`].
    pub key_secret: Zeroizing<String>,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("id", &self.record.id).finish_non_exhaustive()
    }
}

/// What a key gives access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The application.
    pub application: ApplicationName,
    /// The key's id, for logs.
    pub key_id: String,
}

/// Digests of keys seen lately. A wrong key is not cached: guessing must not fill the memory.
#[derive(Default)]
pub(crate) struct KeyCache(Mutex<HashMap<[u8; 32], (Timestamp, Access)>>);

impl Verifier {
    /// Makes the application known to the store, if it is not; its record either way.
    ///
    /// # Errors
    /// Broken if the store or the random source is.
    pub async fn create_application(&self, name: &ApplicationName) -> Result<(ApplicationRecord, bool), Broken> {
        let record = ApplicationRecord {
            name: name.clone(),
            account_sid: format!("AC{}", hex(&random::<16>()?)),
            created_at: self.now(),
        };
        let created = self.inner.store.create_application(&record).await?;
        let kept = self.inner.store.applications().await?.into_iter().find(|kept| kept.name == *name);
        Ok((kept.unwrap_or(record), created))
    }

    /// Makes an API key. Its secrets are in the answer and nowhere else.
    ///
    /// # Errors
    /// [`Broken::UnknownApplication`] if the store does not know the application; broken if the store or the random source is.
    pub async fn create_key(&self, application: &ApplicationName) -> Result<NewKey, Broken> {
        let known = self.inner.store.applications().await?.into_iter().find(|known| known.name == *application);
        let account_sid = known.ok_or_else(|| Broken::UnknownApplication(application.clone()))?.account_sid;
        let key = Zeroizing::new(format!("cs_{}", hex(&random::<32>()?)));
        let auth_token = Zeroizing::new(hex(&random::<16>()?));
        let key_secret = Zeroizing::new(hex(&random::<16>()?));
        let record = KeyRecord {
            id: format!("key_{}", hex(&random::<8>()?)),
            application: application.clone(),
            key_digest: digest(&key),
            auth_token_digest: digest(&auth_token),
            key_sid: format!("SK{}", hex(&random::<16>()?)),
            key_secret_digest: digest(&key_secret),
            created_at: self.now(),
            revoked_at: None,
        };
        self.inner.store.create_key(&record).await?;
        Ok(NewKey { record, account_sid, key, auth_token, key_secret })
    }

    /// Whose bearer key this is; `None` for a wrong or revoked one. A revoked key stops working within a second.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn authenticate(&self, key: &str) -> Result<Option<Access>, Broken> {
        if !key.starts_with("cs_") {
            return Ok(None);
        }
        let (digest, now) = (digest(key), self.now());
        if let Some(access) = self.inner.key_cache.get(&digest, now) {
            return Ok(Some(access));
        }
        // Looked up by digest: what the comparison could reveal by its time is the digest of what the caller sent.
        let found = self.inner.store.key_by_digest(digest).await?.filter(|record| record.key_digest == digest);
        let Some(record) = found else { return Ok(None) };
        let access = Access { application: record.application, key_id: record.id };
        self.inner.key_cache.put(digest, now, access.clone());
        Ok(Some(access))
    }
}

impl KeyCache {
    fn get(&self, digest: &[u8; 32], now: Timestamp) -> Option<Access> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, access) = cache.get(digest)?;
        (now.since(*seen) < TRUSTED && *seen <= now).then(|| access.clone())
    }

    fn put(&self, digest: [u8; 32], now: Timestamp, access: Access) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MOST_CACHED {
            cache.clear();
        }
        cache.insert(digest, (now, access));
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
