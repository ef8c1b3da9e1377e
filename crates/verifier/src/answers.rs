//! Idempotency keys: a request that is sent twice is done once (IETF draft idempotency-key-header).

use std::future::Future;
use std::time::Duration;

use countersign_core::id::ApplicationName;
use countersign_core::time::Timestamp;
use sha2::{Digest, Sha256};

use crate::store::{AnswerKey, KeptAnswer, NewAnswer};
use crate::verifier::{Broken, Verifier, random};

/// How long an answer is kept.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a request without an answer is taken to be in flight; after that its process must have crashed.
const IN_FLIGHT: Duration = Duration::from_secs(60);

/// What a request under an idempotency key came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Answered {
    /// It was the first: this is its answer, kept from now on.
    First(Vec<u8>),
    /// It was done before: this was its answer.
    Replayed(Vec<u8>),
    /// The first one is still being done.
    InFlight,
    /// The key was used for another request.
    Mismatch,
}

/// What the work under a key gives.
#[derive(Debug)]
pub enum Kept {
    /// An answer to give again whenever the request comes again.
    Keep(Vec<u8>),
    /// An answer about a passing state (something broke, a limit): the same request may succeed later. It decides with the same seed,
    /// since what broke may have broken after the commit.
    Forget(Vec<u8>),
}

impl Verifier {
    /// Does `work` once for each key of an application. `request` is everything that makes two requests the same one (method, path,
    /// body). The work is given a seed for [`crate::SendRequest::seed`]: the same one if it has to be done again after a crash.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn answer_once<F, W>(
        &self,
        application: &ApplicationName,
        key: &str,
        request: &[&[u8]],
        work: F,
    ) -> Result<Answered, Broken>
    where
        F: FnOnce([u8; 56]) -> W,
        W: Future<Output = Kept>,
    {
        let now = self.now();
        let key = AnswerKey { application: application.clone(), key: Sha256::digest(key.as_bytes()).into() };
        let fresh = NewAnswer {
            // Keyed: a body may hold a code, which a plain digest would give away to whoever has the store.
            fingerprint: self.keys().fingerprint(request),
            seed: random()?,
            now,
            in_flight_until: now + IN_FLIGHT,
            expires_at: now + KEPT,
        };
        let context = context(&key);
        match self.inner.store.begin_answer(&key, fresh).await? {
            KeptAnswer::InFlight => Ok(Answered::InFlight),
            KeptAnswer::Mismatch => Ok(Answered::Mismatch),
            KeptAnswer::Answered(sealed) => Ok(Answered::Replayed(self.keys().open(&context, &sealed)?)),
            KeptAnswer::Begun { seed } => match work(seed).await {
                Kept::Keep(answer) => {
                    // Answers may hold tokens, so the store gets them sealed.
                    if let Some(sealed) = self.keys().seal(&context, &answer, random()?) {
                        self.inner.store.keep_answer(&key, sealed).await?;
                    }
                    Ok(Answered::First(answer))
                }
                Kept::Forget(answer) => {
                    self.inner.store.release_answer(&key).await?;
                    Ok(Answered::First(answer))
                }
            },
        }
    }
}

impl Verifier {
    /// Whether something of an application is done for the first time, until `until`: of all who ask, wherever and however often, one
    /// is told yes, durably.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn is_first(&self, application: &ApplicationName, what: &str, until: Timestamp) -> Result<bool, Broken> {
        // Idempotency keys are printable, so none of them is this text.
        let key = Sha256::new().chain_update(b"\0once\0").chain_update(what).finalize().into();
        let key = AnswerKey { application: application.clone(), key };
        let now = self.now();
        let fresh = NewAnswer { fingerprint: [0; 32], seed: random()?, now, in_flight_until: until, expires_at: until };
        let seed = fresh.seed;
        let answer = self.inner.store.begin_answer(&key, fresh).await?;
        Ok(matches!(answer, KeptAnswer::Begun { seed: theirs } if theirs == seed))
    }
}

/// Binds a sealed answer to its key, so that rows cannot be swapped.
fn context(key: &AnswerKey) -> [u8; 16] {
    let digest = Sha256::new().chain_update(key.key).chain_update(key.application.as_str()).finalize();
    digest.first_chunk().copied().unwrap_or_default()
}
