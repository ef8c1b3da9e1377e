//! What must be done although nobody asks: overdue messages, expired verifications, old rows.

use std::sync::Arc;
use std::time::Duration;

use countersign_core::follow::FollowUp;
use countersign_core::id::{ApplicationName, VerificationId};
use countersign_core::send::Expire;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::observe::Observation;
use crate::store::{self, Cleaned};
use crate::verifier::{Broken, Verifier, chance};

/// How the background work is paced.
#[derive(Clone, Copy, Debug)]
pub struct Cleanup {
    /// Verifications are deleted so long after they expired.
    pub older_than: Duration,
    /// The pause between two cleanups.
    pub every: Duration,
    /// Rows deleted in one transaction: small, so that live traffic never waits for long.
    pub batch: usize,
    /// The pause after each batch, at least: it is three times as long as the batch took, so that deleting never takes more than a
    /// quarter of the time, however slow the store is.
    pub pause: Duration,
}

impl Cleanup {
    /// After a batch that took so long.
    fn pause_after(&self, took: Duration) -> Duration {
        self.pause.max(took.saturating_mul(3))
    }
}

impl Default for Cleanup {
    fn default() -> Self {
        Self {
            older_than: Duration::from_secs(24 * 60 * 60),
            every: Duration::from_secs(10 * 60),
            batch: 500,
            pause: Duration::from_millis(50),
        }
    }
}

/// The background work of a [`Verifier`]; it stops when this is dropped.
#[derive(Debug)]
pub struct Upkeep {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Upkeep {
    /// Stops at the next safe point and waits for it.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        let _ = self.task.await;
    }
}

const OUTBOX_EVERY: Duration = Duration::from_millis(500);
/// The same while more is due than can be carried at once: a queue must drain as fast as a provider takes it.
const BACKLOG_EVERY: Duration = Duration::from_millis(20);
const EXPIRE_BATCH: usize = 500;
const FOLLOW_UP_BATCH: usize = 500;
/// How often it is looked whether verifications have ended that are to be counted, and told how providers do.
const HEALTH_EVERY: Duration = Duration::from_secs(10);

impl Verifier {
    /// Does the background work in a task: carries what is overdue in the outbox, marks what has expired, counts how providers do,
    /// deletes what is old.
    #[must_use]
    pub fn start_upkeep(&self, cleanup: Cleanup) -> Upkeep {
        let (stop, stopped) = watch::channel(false);
        for sender in self.inner.senders.values() {
            sender.start();
        }
        let verifier = self.clone();
        Upkeep { stop, task: tokio::spawn(async move { verifier.keep_up(cleanup, stopped).await }) }
    }

    async fn keep_up(&self, cleanup: Cleanup, mut stopped: watch::Receiver<bool>) {
        let mut cleaned_at = self.now();
        let mut counted_at = None;
        while !*stopped.borrow() {
            let outbox = self.carry_backlog(&mut stopped).await;
            if *stopped.borrow() {
                return;
            }
            let more = matches!(outbox, Ok(true));
            self.note("outbox", outbox);
            self.note("follow up", self.follow_up().await);
            self.note("expire", self.expire_overdue().await);
            if counted_at.is_none_or(|at| self.now().since(at) >= HEALTH_EVERY) {
                counted_at = Some(self.now());
                self.note("health", self.take_up_health().await);
                self.note("health", self.tell_health().await);
            }
            if self.now().since(cleaned_at) >= cleanup.every {
                cleaned_at = self.now();
                self.note("cleanup", self.clean_up(cleanup, false, |_| !*stopped.borrow()).await);
            }
            let pause = if more { BACKLOG_EVERY } else { OUTBOX_EVERY };
            tokio::select! {
                () = self.inner.clock.sleep(pause) => {}
                changed = stopped.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Carries what is due for as long as there is more, and whoever else waits for upkeep can wait; whether there is more still.
    async fn carry_backlog(&self, stopped: &mut watch::Receiver<bool>) -> Result<bool, Broken> {
        let until = self.now() + OUTBOX_EVERY;
        loop {
            let (_, more) = self.carry_some().await?;
            if !more || self.now() >= until {
                return Ok(more);
            }
            tokio::select! {
                () = self.inner.clock.sleep(BACKLOG_EVERY) => {}
                _ = stopped.changed() => return Ok(more),
            }
        }
    }

    fn note<T>(&self, doing: &'static str, result: Result<T, Broken>) {
        if let Err(error) = result {
            tracing::warn!(%error, doing, "background work failed; it is tried again");
            self.inner.observer.observe(Observation::Trouble { doing });
        }
    }

    /// Goes on with what nobody answered: the next provider, or the next channel of the workflow; how many verifications were looked at.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn follow_up(&self) -> Result<usize, Broken> {
        self.open()?;
        let due = self.inner.store.to_follow_up(self.now(), FOLLOW_UP_BATCH).await?;
        let mut following = JoinSet::new();
        for (application, id) in &due {
            let (verifier, application, id) = (self.clone(), application.clone(), *id);
            following.spawn(async move { verifier.follow_up_one(&application, id).await });
        }
        while let Some(followed) = following.join_next().await {
            if let Ok(Err(error)) = followed {
                tracing::warn!(%error, "a verification could not be followed up; it is tried again");
            }
        }
        Ok(due.len())
    }

    async fn follow_up_one(&self, application: &ApplicationName, id: VerificationId) -> Result<(), Broken> {
        let application = self.application(application)?;
        let permit = Arc::clone(&self.inner.carriers).try_acquire_owned().ok();
        let chance = chance()?.with_ordered_delivery(self.now());
        let follow_up = FollowUp {
            application: Arc::clone(&application),
            id,
            carry_now: permit.is_some(),
            chance,
            now: self.now(),
        };
        let carry = store::ask(&*self.inner.store, follow_up).await?;
        if let (Some((verification, delivery)), Some(permit)) = (carry, permit) {
            let verifier = self.clone();
            tokio::spawn(async move {
                verifier.carry(&application, verification, delivery).await;
                drop(permit);
            });
        }
        Ok(())
    }

    /// Marks verifications whose time is up, one batch; how many. Rules do not need it (they know the time), those who wait for the event do.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn expire_overdue(&self) -> Result<usize, Broken> {
        let now = self.now();
        let overdue = self.inner.store.overdue(now, EXPIRE_BATCH).await?;
        // All at once, so that the store can commit them together.
        let mut marking = JoinSet::new();
        for (application, id) in overdue {
            let store = Arc::clone(&self.inner.store);
            marking.spawn(async move { store::ask(&*store, Expire { application, id, now }).await });
        }
        let mut expired = 0;
        while let Some(marked) = marking.join_next().await {
            expired += usize::from(marked.is_ok_and(|marked| marked.is_ok_and(|changed| changed)));
        }
        Ok(expired)
    }

    /// Deletes verifications that expired longer than `older_than` ago, with what belongs to them, in small batches with a pause
    /// after each. `go_on` is told the count so far and may stop it. With `dry_run` it only counts. What they say of providers is counted
    /// before.
    ///
    /// # Errors
    /// Broken if the store is; what was deleted by then stays deleted.
    pub async fn clean_up(
        &self,
        cleanup: Cleanup,
        dry_run: bool,
        mut go_on: impl FnMut(Cleaned) -> bool,
    ) -> Result<Cleaned, Broken> {
        let mut total = Cleaned::default();
        if !dry_run {
            self.take_up_health().await?;
        }
        let batch = if dry_run { usize::MAX >> 1 } else { cleanup.batch.max(1) };
        loop {
            let now = self.now();
            let done = self.inner.store.cleanup(now - cleanup.older_than, now, batch, dry_run).await?;
            total.verifications += done.verifications;
            total.others += done.others;
            total.more = done.more;
            if !dry_run {
                self.inner.observer.observe(Observation::Cleaned { verifications: done.verifications });
            }
            if !done.more || dry_run || !go_on(total) {
                return Ok(total);
            }
            self.inner.clock.sleep(cleanup.pause_after(self.now().since(now))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cleanup_takes_a_quarter_of_the_time_at_most() {
        let cleanup = Cleanup { pause: Duration::from_millis(50), ..Cleanup::default() };
        assert_eq!(cleanup.pause_after(Duration::from_millis(4)), Duration::from_millis(50));
        assert_eq!(cleanup.pause_after(Duration::from_millis(200)), Duration::from_millis(600));
    }
}
