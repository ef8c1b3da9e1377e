//! Waiting decisions, and the tasks that take them in batches: each has a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use countersign::store::StoreError;
use tokio::time::timeout;

use super::error::Error;
use super::pool::Pool;
use super::queue::{Task, Waiting};
use super::session::Session;
use super::sql::Sql;
use super::transaction::{self, Outcome};

/// How often a batch runs again because somebody else was there at the same time.
const TRIES: u32 = 20;
/// From this size on a batch shows whether all charge one counter.
const MANY: usize = 4;

/// Takes batches until the queue is closed and empty.
pub(super) struct Writer {
    pub(super) waiting: Arc<Waiting>,
    pub(super) pool: Arc<Pool>,
    pub(super) sql: Arc<Sql>,
    pub(super) batch: usize,
    /// How long a transaction may take before its connection is given up.
    pub(super) within: Duration,
}

impl Writer {
    pub(super) async fn work(self) {
        let mut session = None;
        while let Some((kind, mut batch)) = self.waiting.take(self.batch).await {
            let mut is_hot = None;
            match self.run(&mut session, &mut batch, &mut is_hot).await {
                Err(Error::Refused(_) | Error::Unreadable(_)) if batch.len() > 1 => {
                    // One of them it was: each gets a transaction of its own, so that none pays for its neighbour.
                    for task in batch.into_iter().filter(|task| task.answer.is_awaited()) {
                        let mut alone = vec![task];
                        let result = self.run(&mut session, &mut alone, &mut is_hot).await;
                        answer(alone, result);
                    }
                    self.waiting.ended(kind, 0, None);
                }
                result => {
                    self.waiting.ended(kind, batch.len(), is_hot);
                    answer(batch, result);
                }
            }
        }
    }

    /// Runs a batch until it is committed, or cannot be. What must wait for the next batch is put back and taken out of this one.
    async fn run(
        &self,
        kept: &mut Option<Session>,
        batch: &mut Vec<Task>,
        is_hot: &mut Option<bool>,
    ) -> Result<(), Error> {
        let (mut conflicts, mut cuts, mut forgotten) = (0, 0, 0);
        loop {
            let session = match kept.take().filter(|session| !session.is_closed()) {
                Some(session) if session.is_plain() || !self.pool.is_shared() => session,
                _ => self.session().await?,
            };
            let outcome = {
                let mut jobs: Vec<_> = batch.iter_mut().map(|task| &mut task.job).collect();
                timeout(self.within, transaction::run(&session, &self.sql, &mut jobs)).await
            };
            match outcome {
                Ok(Outcome::Committed { deferred, charged }) => {
                    *kept = Some(session);
                    // Few say nothing about what all do.
                    *is_hot = (batch.len() >= MANY).then_some(charged * 2 > batch.len());
                    self.defer(batch, &deferred);
                    return Ok(());
                }
                Ok(Outcome::Unknown(text)) => {
                    self.pool.doubt();
                    return Err(Error::Cut(format!("{text} (whether it was written is not known)")));
                }
                Ok(Outcome::Failed(Error::Cut(text))) => {
                    // Nothing was committed, so it can be done again.
                    cuts += 1;
                    if cuts > 2 {
                        self.pool.doubt();
                        return Err(Error::Cut(text));
                    }
                }
                // The session is left: the next one begins anew, and if that does not help either, keeps nothing.
                Ok(Outcome::Failed(error @ (Error::Moved | Error::Forgotten))) if forgotten < 3 => {
                    transaction::roll_back(session.client()).await;
                    forgotten += 1;
                    if matches!(error, Error::Moved) || forgotten > 1 {
                        self.pool.is_shared_from_now_on();
                    }
                }
                Ok(Outcome::Failed(error)) => {
                    if transaction::roll_back(session.client()).await {
                        *kept = Some(session);
                    }
                    conflicts += 1;
                    if !matches!(error, Error::Conflict) || conflicts >= TRIES {
                        return Err(error);
                    }
                    batch.retain(|task| task.answer.is_awaited());
                    if batch.is_empty() {
                        return Ok(());
                    }
                }
                Err(_) => {
                    self.pool.doubt();
                    return Err(Error::Cut(
                        "the PostgreSQL server did not answer in time (whether it was written is not known)".to_owned(),
                    ));
                }
            }
        }
    }

    /// A connection of our own. One that is cut while statements are planned tells nothing of the server: it is made once more.
    async fn session(&self) -> Result<Session, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.pool.check()?;
            let client = self.pool.connect().await?;
            if self.pool.is_shared() || self.sql.one_row.is_some() {
                return Ok(Session::plain(client));
            }
            match timeout(self.within, Session::plan(client, &self.sql)).await {
                Ok(Err(Error::Cut(_))) if tries < 3 => {}
                Ok(session) => return session,
                Err(_) => return Err(Error::Cut("the PostgreSQL server did not answer in time".to_owned())),
            }
        }
    }

    fn defer(&self, batch: &mut Vec<Task>, deferred: &[usize]) {
        let (mut done, mut later) = (Vec::with_capacity(batch.len()), Vec::new());
        for (nth, task) in batch.drain(..).enumerate() {
            if deferred.contains(&nth) { later.push(task) } else { done.push(task) }
        }
        *batch = done;
        self.waiting.put_back(later);
    }
}

fn answer(batch: Vec<Task>, result: Result<(), Error>) {
    let result = result.map_err(Error::into_store_error);
    for task in batch {
        let result = match &result {
            Ok(()) => Ok(()),
            Err(StoreError::Unavailable(text)) => Err(StoreError::Unavailable(text.clone())),
            Err(StoreError::Inconsistent(text)) => Err(StoreError::Inconsistent(text.clone())),
        };
        task.answer.give(result);
    }
}
