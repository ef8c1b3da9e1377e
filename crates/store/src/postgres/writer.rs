//! Waiting decisions, and the tasks that take them in batches: each has a connection of its own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign::store::{Job, StoreError, StoreResult};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_postgres::Client;

use super::error::Error;
use super::pool::Pool;
use super::sql::Sql;
use super::transaction::{self, Outcome};

/// Decisions that may wait at once. More than this means that the server cannot keep up, and waiting longer would not help.
const QUEUE: usize = 8192;
/// How often a batch runs again because somebody else was there at the same time.
const TRIES: u32 = 20;

pub(super) struct Task {
    job: Box<dyn Job>,
    done: oneshot::Sender<StoreResult<()>>,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    closed: bool,
}

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    arrived: Notify,
}

impl Waiting {
    /// Adds a decision; the answer comes when it is durable.
    pub(super) fn add(&self, job: Box<dyn Job>) -> StoreResult<oneshot::Receiver<StoreResult<()>>> {
        let (done, result) = oneshot::channel();
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.closed {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        if queue.tasks.len() >= QUEUE {
            return Err(StoreError::Unavailable("more decisions wait than the server can take".to_owned()));
        }
        queue.tasks.push_back(Task { job, done });
        drop(queue);
        self.arrived.notify_one();
        Ok(result)
    }

    /// Before all others, in their order.
    fn put_back(&self, tasks: Vec<Task>) {
        if tasks.is_empty() {
            return;
        }
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        for task in tasks.into_iter().rev() {
            queue.tasks.push_front(task);
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// The next batch; `None` once closed and empty. Whoever stopped waiting is left out: their decision has not begun.
    async fn take(&self, most: usize) -> Option<Vec<Task>> {
        loop {
            {
                let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.tasks.retain(|task| !task.done.is_closed());
                let count = queue.tasks.len().min(most);
                if count > 0 {
                    let batch = queue.tasks.drain(..count).collect();
                    if !queue.tasks.is_empty() {
                        self.arrived.notify_one();
                    }
                    return Some(batch);
                }
                if queue.closed {
                    // The next writer has to see it too.
                    self.arrived.notify_one();
                    return None;
                }
            }
            self.arrived.notified().await;
        }
    }

    /// Takes no more; what waits is still done.
    pub(super) fn close(&self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.arrived.notify_one();
    }
}

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
        let mut client = None;
        while let Some(mut batch) = self.waiting.take(self.batch).await {
            match self.run(&mut client, &mut batch).await {
                Err(Error::Refused(_) | Error::Unreadable(_)) if batch.len() > 1 => {
                    // One of them it was: each gets a transaction of its own, so that none pays for its neighbour.
                    for task in batch.into_iter().filter(|task| !task.done.is_closed()) {
                        let mut alone = vec![task];
                        let result = self.run(&mut client, &mut alone).await;
                        answer(alone, result);
                    }
                }
                result => answer(batch, result),
            }
        }
    }

    /// Runs a batch until it is committed, or cannot be. What must wait for the next batch is put back and taken out of this one.
    async fn run(&self, connection: &mut Option<Arc<Client>>, batch: &mut Vec<Task>) -> Result<(), Error> {
        let (mut conflicts, mut cuts) = (0, 0);
        loop {
            let client = match connection.take().filter(|client| !client.is_closed()) {
                Some(client) => client,
                None => {
                    self.pool.check()?;
                    self.pool.connect().await?
                }
            };
            let outcome = {
                let mut jobs: Vec<_> = batch.iter_mut().map(|task| &mut task.job).collect();
                timeout(self.within, transaction::run(&client, &self.sql, &mut jobs)).await
            };
            match outcome {
                Ok(Outcome::Committed(deferred)) => {
                    *connection = Some(client);
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
                Ok(Outcome::Failed(error)) => {
                    if transaction::roll_back(&client).await {
                        *connection = Some(client);
                    }
                    conflicts += 1;
                    if !matches!(error, Error::Conflict) || conflicts >= TRIES {
                        return Err(error);
                    }
                    batch.retain(|task| !task.done.is_closed());
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
        // Whoever asked may have gone away; what was committed stays committed.
        let _ = task.done.send(result);
    }
}
