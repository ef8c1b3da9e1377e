//! What stands between the verifier and a sender: how many at once, how many a second, and a rest for a provider that fails.
//!
//! Each process keeps its own. A message that has to wait longer than half of its time-out is not held here: it is refused with
//! [`Failure::RetryElsewhere`], and [`countersign::core::deliver`] decides; so what a slow provider cannot take stays in the store
//! and not in memory.

mod breaker;
mod pace;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::sender::{BoxFuture, Desk, Sender};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use breaker::Breaker;
use pace::Pace;

/// How a provider is spared. Zeros mean no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProviderBounds {
    /// Messages on their way to it at once.
    pub max_concurrent: u32,
    /// Messages handed to it in a second.
    pub max_per_second: u32,
    /// Failures in a row after which it rests.
    pub breaker_after: u32,
    /// How long its first rest is; each one after a failed trial is twice as long, up to six times the first.
    pub breaker_pause: Duration,
    /// How long one message may take.
    pub timeout: Duration,
}

/// A sender within bounds.
pub struct Bounded {
    inner: Arc<dyn Sender>,
    permits: Option<Semaphore>,
    pace: Option<Mutex<Pace>>,
    breaker: Option<Mutex<Breaker>>,
    patience: Duration,
}

impl std::fmt::Debug for Bounded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bounded").field("provider", &self.inner.name()).finish_non_exhaustive()
    }
}

/// Puts a sender within bounds; without any it is given back as it is.
#[must_use]
pub fn bounded(inner: Arc<dyn Sender>, bounds: ProviderBounds) -> Arc<dyn Sender> {
    let nothing = bounds.max_concurrent == 0 && bounds.max_per_second == 0 && bounds.breaker_after == 0;
    if nothing {
        return inner;
    }
    Arc::new(Bounded {
        inner,
        permits: (bounds.max_concurrent > 0).then(|| Semaphore::new(bounds.max_concurrent as usize)),
        pace: (bounds.max_per_second > 0).then(|| Mutex::new(Pace::new(bounds.max_per_second))),
        breaker: (bounds.breaker_after > 0)
            .then(|| Mutex::new(Breaker::new(bounds.breaker_after, bounds.breaker_pause))),
        patience: bounds.timeout / 2,
    })
}

impl Sender for Bounded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn channels(&self) -> &[Channel] {
        self.inner.channels()
    }

    fn attach(&self, desk: Arc<dyn Desk>) {
        self.inner.attach(desk);
    }

    fn start(&self) {
        self.inner.start();
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let trial = match self.breaker.as_ref().map(|breaker| lock(breaker).ask(Instant::now())) {
                None => None,
                Some(Ok(trial)) => Some(trial),
                Some(Err(rest)) => return elsewhere("resting after failures in a row", Some(rest)),
            };
            // Until the provider was asked, being dropped or refused here says nothing about it.
            let mut pending = Pending { breaker: self.breaker.as_ref(), trial: trial.unwrap_or(false) };
            let Ok(_permit) = self.permit().await else {
                return elsewhere("as many as it takes are on their way", None);
            };
            if let Some(wait) = self.pace.as_ref().map(|pace| lock(pace).reserve(Instant::now(), self.patience)) {
                match wait {
                    Some(wait) => tokio::time::sleep(wait).await,
                    None => return elsewhere("as many as it takes in a second are waiting", None),
                }
            }
            let outcome = self.inner.send(message).await;
            pending.settle(&outcome);
            outcome
        })
    }
}

impl Bounded {
    async fn permit(&self) -> Result<Option<tokio::sync::SemaphorePermit<'_>>, ()> {
        let Some(permits) = &self.permits else { return Ok(None) };
        let waited = tokio::time::timeout(self.patience, permits.acquire()).await;
        waited.map_err(|_| ())?.map(Some).map_err(|_| ())
    }
}

/// Tells the breaker what became of a message; a trial that came to nothing is given back when this is dropped.
struct Pending<'a> {
    breaker: Option<&'a Mutex<Breaker>>,
    trial: bool,
}

impl Pending<'_> {
    fn settle(&mut self, outcome: &Outcome) {
        let Some(breaker) = self.breaker.take() else { return };
        match outcome {
            Outcome::Unknown { .. } | Outcome::Rejected { failure: Failure::RetryElsewhere, .. } => {
                lock(breaker).failed(Instant::now());
            }
            // It answered, and sensibly: a wrong number is not its fault.
            Outcome::Accepted { .. } | Outcome::Rejected { .. } => lock(breaker).worked(),
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let Some(breaker) = self.breaker.filter(|_| self.trial) else { return };
        lock(breaker).give_back_trial();
    }
}

fn elsewhere(reason: &str, retry_after: Option<Duration>) -> Outcome {
    Outcome::Rejected { failure: Failure::RetryElsewhere, reason: format!("not asked: {reason}"), retry_after }
}

fn lock<T>(state: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
