//! From settings to running parts: the key ring, the store, the senders, the verifier with every application's rules.
//!
//! The server and every command that touches the store begin here, so that they agree on what a configuration means.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign::core::id::ApplicationName;
use countersign::store::{Store, StoreError};
use countersign::{Broken, Clock, MemoryStore, NewKey, Observer, SystemClock, Verifier};
use countersign_providers::layers::bounded;
use countersign_providers::{Inbox, ProviderError, ReceiptReader, Surroundings, build_with};
#[cfg(feature = "postgres")]
use countersign_store::postgres;
use countersign_store::sqlite::{Options, SqliteStore};
use tokio::task::JoinHandle;

use crate::config::{ProviderSettings, Settings, StoreUrl};
use crate::keys::{Follower, KeyFileError, Opened, Ring};
use crate::metrics::Metrics;
use crate::token::{Algorithm, TokenSigner, UnusableKey};
use crate::webhooks::Webhooks;

pub mod trial;

/// The providers, for those above, who only know this crate.
pub use countersign_providers as providers;
/// Which tables the store has.
pub use countersign_store::layout::Layout;

/// How soon a key ring that was rotated is taken up here.
const KEYS_EVERY: Duration = Duration::from_secs(1);

/// Running parts.
pub struct Parts {
    /// What they were made from.
    pub settings: Arc<Settings>,
    /// The verifier, with the rules of every application that the configuration or the store knows.
    pub verifier: Verifier,
    /// The key ring.
    pub ring: Ring,
    /// Where messages to the inbox go; `None` if no provider is one.
    pub inbox: Option<Inbox>,
    /// What is lawful and should be mended all the same.
    pub warnings: Vec<String>,
}

/// Why settings could not be brought to life.
#[derive(Debug, thiserror::Error)]
pub enum SetUpError {
    /// The key ring.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    /// A key of the ring.
    #[error(transparent)]
    UnusableKey(#[from] UnusableKey),
    /// A provider.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The parts do not fit together.
    #[error(transparent)]
    Verifier(#[from] Broken),
}

impl SetUpError {
    /// Whether a change of the configuration mends it, rather than of the world around.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        match self {
            Self::Keys(KeyFileError::Unfit { .. }) | Self::UnusableKey(_) | Self::Provider(_) => true,
            Self::Keys(_) | Self::Store(_) => false,
            Self::Verifier(error) => matches!(error, Broken::SetUp(_) | Broken::UnknownApplication(_)),
        }
    }
}

/// Brings settings to life. The key ring and the store are made if they are not there.
///
/// # Errors
/// [`SetUpError`] says which part, and what to do.
pub async fn open(settings: Arc<Settings>, observer: Option<Arc<dyn Observer>>) -> Result<Parts, SetUpError> {
    let Opened { ring, made: _, warning } =
        Ring::open_or_make(&key_file(&settings), settings.server.production, SystemClock.now())?;
    if let Some(sql) = settings.store.migrate.then(|| lacking(&settings)).transpose()?.flatten() {
        tracing::info!("the application's table lacks what follows; it is added now\n{sql}");
    }
    let store = open_store(&settings, settings.store.migrate)?;
    let surroundings = Surroundings::default();
    let mut builder = Verifier::builder().store(Arc::clone(&store)).keys(ring.codes(SystemClock.now()));
    for provider in &settings.providers {
        builder = builder.sender(bounded(build_with(&provider.config, &surroundings)?, provider.bounds));
    }
    for name in all_applications(&settings, &*store).await? {
        builder = builder.application(settings.application(&name));
    }
    if let Some(observer) = observer {
        builder = builder.observer(observer);
    }
    let has_inbox = settings.providers.iter().any(|provider| provider.config.uses == Inbox::NAME);
    Ok(Parts {
        verifier: builder.build()?,
        ring,
        inbox: has_inbox.then_some(surroundings.inbox),
        warnings: warning.into_iter().collect(),
        settings,
    })
}

/// What reads the delivery reports of each provider that sends some, by the provider's name.
///
/// # Errors
/// If a provider's secret cannot be one.
pub fn receipt_readers(settings: &Settings) -> Result<Vec<(String, ReceiptReader)>, ProviderError> {
    let reports =
        |provider: &&ProviderSettings| provider.config.described().is_some_and(|descriptor| descriptor.has_receipts());
    let reader =
        |provider: &ProviderSettings| Ok((provider.config.name.clone(), ReceiptReader::new(&provider.config)?));
    settings.providers.iter().filter(reports).map(reader).collect()
}

/// Opens the store alone.
///
/// # Errors
/// [`StoreError`].
pub fn open_store(settings: &Settings, migrate: bool) -> Result<Arc<dyn Store>, StoreError> {
    Ok(match &settings.store.url {
        StoreUrl::Memory => Arc::new(MemoryStore::default()),
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(target) => {
            let (writers, connections) = (2, settings.store.connections as usize);
            let options = postgres::Options {
                schema: settings.store.schema.0.clone(),
                migrate,
                writers,
                readers: connections.saturating_sub(writers),
                ..postgres::Options::default()
            };
            Arc::new(postgres::PostgresStore::open_as((**target).clone(), &settings.layout, options)?)
        }
        StoreUrl::Sqlite(path) => {
            let options = Options { migrate, ..Options::default() };
            Arc::new(SqliteStore::open_as(Path::new(path), &settings.layout, options)?)
        }
    })
}

/// The SQL that the configured tables need: all of it for tables of our own, what is lacking for a table of the application.
///
/// # Errors
/// [`StoreError`] if the application's database cannot be read, or its table cannot hold verifications.
pub fn schema_sql(settings: &Settings) -> Result<String, StoreError> {
    let path = match &settings.store.url {
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(target) => {
            return postgres::schema_sql((**target).clone(), &settings.layout, &settings.store.schema.0);
        }
        StoreUrl::Sqlite(path) => path.as_str(),
        StoreUrl::Memory => "",
    };
    countersign_store::sqlite::schema_sql(&settings.layout, Path::new(path))
}

/// The SQL that a migration is about to run in a database of the application, whose owner wants to see it; `None` if the tables are ours
/// alone, or nothing is lacking.
///
/// # Errors
/// As [`schema_sql`].
pub fn lacking(settings: &Settings) -> Result<Option<String>, StoreError> {
    if !matches!(settings.layout, Layout::Existing(_)) {
        return Ok(None);
    }
    Ok(Some(schema_sql(settings)?).filter(|sql| !sql.trim().is_empty()))
}

/// Copies the store's file while it is in use; gives the size of the copy in bytes. `None` if the store is no file.
///
/// # Errors
/// [`StoreError`]; nothing is overwritten.
pub fn back_up(settings: &Settings, to: &Path) -> Result<Option<u64>, StoreError> {
    match &settings.store.url {
        StoreUrl::Sqlite(path) => countersign_store::sqlite::back_up(Path::new(path), to).map(Some),
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(_) => Ok(None),
        StoreUrl::Memory => Ok(None),
    }
}

/// What a store is called where people read it.
#[must_use]
pub fn store_name(settings: &Settings) -> String {
    match &settings.store.url {
        #[cfg(feature = "postgres")]
        StoreUrl::Postgres(target) => format!("{target}, schema {}", settings.store.schema.0),
        StoreUrl::Sqlite(path) => path.clone(),
        StoreUrl::Memory => "memory".to_owned(),
    }
}

/// Where the key ring is.
#[must_use]
pub fn key_file(settings: &Settings) -> PathBuf {
    PathBuf::from(&settings.keys.file)
}

/// Those of the configuration and those that only the store knows.
async fn all_applications(settings: &Settings, store: &dyn Store) -> Result<Vec<ApplicationName>, StoreError> {
    let mut names = settings.application_names();
    for record in store.applications().await? {
        if !names.contains(&record.name) {
            names.push(record.name);
        }
    }
    Ok(names)
}

impl Parts {
    /// Signs tokens as the service at `issuer`.
    ///
    /// # Errors
    /// If a key of the ring is none.
    pub fn tokens(&self, issuer: &str) -> Result<TokenSigner, UnusableKey> {
        let keys = &self.settings.tokens;
        let (active, others) = self.ring.tokens(self.verifier.now(), keys.algorithm)?;
        let lifetime = i64::try_from(keys.lifetime.as_secs()).unwrap_or(i64::MAX);
        Ok(TokenSigner::new(&active, &others, issuer)?.lifetime(lifetime))
    }

    /// Takes up the key ring when its file is rotated, and new keys when their time comes, until the task is aborted.
    #[must_use]
    pub fn follow_keys(&self, tokens: Arc<TokenSigner>) -> JoinHandle<()> {
        let (path, production) = (key_file(&self.settings), self.settings.server.production);
        let algorithm = self.settings.tokens.algorithm;
        let mut follower = Follower::new(path, production, self.ring.clone(), self.verifier.now());
        let verifier = self.verifier.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(KEYS_EVERY).await;
                let now = verifier.now();
                let looked = tokio::task::spawn_blocking(move || {
                    let news = follower.look(now).map(|ring| ring.cloned());
                    (follower, news)
                });
                // Only a panic ends it, and then the keys stay as they are.
                let Ok((back, news)) = looked.await else { return };
                follower = back;
                match news {
                    Ok(None) => {}
                    Ok(Some(ring)) => take_keys(&ring, &verifier, &tokens, algorithm),
                    Err(error) => {
                        tracing::error!(%error, "the key ring changed to what cannot be used; the one in use is kept")
                    }
                }
            }
        })
    }

    /// Carries events to the endpoints of the configuration and, where there can be some, of accounts.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn webhooks(&self, metrics: Option<Arc<Metrics>>) -> Result<Webhooks, SetUpError> {
        let (endpoints, terms) = (self.settings.webhook_endpoints(), self.settings.webhook_terms());
        let webhooks = Webhooks::new(self.verifier.clone(), endpoints, terms, metrics)
            .map_err(|problem| SetUpError::Verifier(Broken::SetUp(format!("webhooks: {problem}"))))?;
        Ok(if self.settings.tells_accounts() {
            webhooks.following_accounts(self.settings.account_reach())
        } else {
            webhooks
        })
    }

    /// Makes the store know every application of the configuration.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn create_applications(&self) -> Result<(), Broken> {
        let known = self.verifier.store().applications().await?;
        for name in self.settings.application_names() {
            if !known.iter().any(|record| record.name == name) {
                self.verifier.create_application(&name).await?;
            }
        }
        Ok(())
    }

    /// Gives an application an API key if it never had any: its secrets are in the answer and nowhere else. With it, the application's
    /// name. Where `default` is asked for and not set up, it is the first that is.
    ///
    /// # Errors
    /// Broken if the store is, and if no such application is set up.
    pub async fn first_key(&self, wanted: &ApplicationName) -> Result<(ApplicationName, Option<NewKey>), Broken> {
        let names = self.settings.application_names();
        let first = names.first().filter(|_| *wanted == ApplicationName::default() && !names.contains(wanted));
        let name = first.unwrap_or(wanted).clone();
        let key = if self.verifier.store().keys(&name).await?.is_empty() {
            Some(self.verifier.create_key(&name).await?)
        } else {
            None
        };
        Ok((name, key))
    }

    /// Takes up applications that other processes create (`countersign app create`) with their first request.
    pub fn welcome_applications(&self) {
        let settings = Arc::clone(&self.settings);
        self.verifier.set_newcomers(move |name| {
            tracing::info!(application = %name, "a new application");
            settings.application(name)
        });
    }
}

fn take_keys(ring: &Ring, verifier: &Verifier, tokens: &TokenSigner, algorithm: Algorithm) {
    let now = verifier.now();
    let signed = ring.tokens(now, algorithm).and_then(|(active, others)| {
        tokens.set_keys(&active, &others)?;
        Ok(active.kid)
    });
    match signed {
        Ok(token) => {
            let codes = ring.codes(now);
            tracing::info!(code_key = %codes.active(), token_key = token, "the key ring changed and was taken up");
            verifier.set_keys(codes);
        }
        Err(error) => tracing::error!(%error, "the key ring changed to what cannot be used; the one in use is kept"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn settings(name: &str, more: &str) -> Arc<Settings> {
        let directory = std::env::temp_dir().join(format!("countersign-setup-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).unwrap();
        let at = directory.display();
        let text = format!("[store]\nurl = \"sqlite:{at}/a.db\"\n[keys]\nfile = \"{at}/a.keys\"\n{more}");
        Arc::new(Settings::from_text(&text).unwrap())
    }

    #[tokio::test]
    async fn the_first_run_makes_one_key_and_the_next_none() {
        let settings = settings("first", "");
        let parts = open(Arc::clone(&settings), None).await.unwrap();
        parts.create_applications().await.unwrap();
        let (name, key) = parts.first_key(&ApplicationName::default()).await.unwrap();
        let key = key.unwrap();
        assert_eq!(name.as_str(), "default");
        assert_eq!(parts.verifier.authenticate(&key.key).await.unwrap().unwrap().application, name);
        assert!(parts.first_key(&ApplicationName::default()).await.unwrap().1.is_none());
        parts.verifier.shut_down(Duration::from_secs(1)).await.unwrap();

        let again = open(settings, None).await.unwrap();
        again.create_applications().await.unwrap();
        assert!(again.first_key(&name).await.unwrap().1.is_none());
        assert_eq!(again.verifier.authenticate(&key.key).await.unwrap().unwrap().application, name);
    }

    #[tokio::test]
    async fn an_application_that_only_the_store_knows_has_the_common_rules() {
        let settings = settings("store", "[policy]\ncode_length = 7\n");
        let parts = open(Arc::clone(&settings), None).await.unwrap();
        let name: ApplicationName = "other".parse().unwrap();
        assert!(parts.verifier.application(&name).is_err());
        parts.verifier.create_application(&name).await.unwrap();
        parts.welcome_applications();
        assert_eq!(parts.verifier.application(&name).unwrap().policy.code_length, 7);
        let again = open(settings, None).await.unwrap();
        assert_eq!(again.verifier.application(&name).unwrap().policy.code_length, 7);
    }

    #[tokio::test]
    async fn a_store_in_a_folder_that_is_not_there_is_broken_not_misconfigured() {
        let mut wrong = (*settings("nowhere", "")).clone();
        wrong.store.url = StoreUrl::Sqlite("/nowhere/at/all/a.db".to_owned());
        let error = open(Arc::new(wrong), None).await.err().unwrap();
        assert!(!error.is_configuration(), "{error}");
    }
}
