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

/// An application as the Twilio dialect knows it: what a pair of a sid and its secret gives access to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The application and the key.
    pub access: Access,
    /// The application's `AC…`.
    pub sid: String,
    /// When the application was created.
    pub created_at: Timestamp,
}

/// Digests of keys seen lately, and what they gave. A wrong key is not cached: guessing must not fill the memory.
pub(crate) struct KeyCache<T>(Mutex<HashMap<[u8; 32], (Timestamp, T)>>);

impl<T> Default for KeyCache<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

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

    /// Whose account this pair opens: `AC…` and an auth token, or `SK…` and its secret; `None` if it opens none. A revoked key stops
    /// working within a second.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn authenticate_account(&self, sid: &str, secret: &str) -> Result<Option<Account>, Broken> {
        let (pair, now) = (digest(&format!("{sid}:{secret}")), self.now());
        if let Some(account) = self.inner.account_cache.get(&pair, now) {
            return Ok(Some(account));
        }
        let secret = digest(secret);
        let Some(record) = self.inner.store.key_by_digest(secret).await? else { return Ok(None) };
        let known = self.inner.store.applications().await?.into_iter().find(|known| known.name == record.application);
        let Some(application) = known else { return Ok(None) };
        let opens = (sid == application.account_sid && record.auth_token_digest == secret)
            || (sid == record.key_sid && record.key_secret_digest == secret);
        if !opens {
            return Ok(None);
        }
        let access = Access { application: record.application, key_id: record.id };
        let account = Account { access, sid: application.account_sid, created_at: application.created_at };
        self.inner.account_cache.put(pair, now, account.clone());
        Ok(Some(account))
    }
}

impl<T: Clone> KeyCache<T> {
    fn get(&self, digest: &[u8; 32], now: Timestamp) -> Option<T> {
        let cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, known) = cache.get(digest)?;
        (now.since(*seen) < TRUSTED && *seen <= now).then(|| known.clone())
    }

    fn put(&self, digest: [u8; 32], now: Timestamp, known: T) {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= MOST_CACHED {
            cache.clear();
        }
        cache.insert(digest, (now, known));
    }
}

fn digest(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
