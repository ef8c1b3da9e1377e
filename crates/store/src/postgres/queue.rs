//! Decisions that wait, and what their askers wait for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use countersign::core::decision::Lookup;
use countersign::store::{Job, StoreError, StoreResult};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout_at};

use super::pool::Pool;

/// Decisions that may wait at once. More than this means that the server cannot keep up, and waiting longer would not help.
const QUEUE: usize = 8192;
/// A batch of this size shows that many are asking at once. Those who were just answered are about to ask again: the writer waits for
/// what they bring, so that they share one transaction, but no longer than this. Whoever asks alone waits for nothing.
const BUSY: usize = 12;
const GATHER_WITHIN: Duration = Duration::from_millis(1);
/// It waits for this part of them.
const GATHER_SHARE: usize = 2;
/// How often it is looked whether somebody has waited for too long.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What somebody waits for.
pub(super) struct Answer(Mutex<Option<oneshot::Sender<StoreResult<()>>>>);

impl Answer {
    pub(super) fn give(&self, result: StoreResult<()>) {
        if let Some(sender) = self.sender().take() {
            // Whoever asked may have gone away; what was committed stays committed.
            let _ = sender.send(result);
        }
    }

    /// Whether anybody still waits for it.
    pub(super) fn is_awaited(&self) -> bool {
        self.sender().as_ref().is_some_and(|sender| !sender.is_closed())
    }

    fn sender(&self) -> MutexGuard<'_, Option<oneshot::Sender<StoreResult<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Task {
    pub(super) job: Box<dyn Job>,
    pub(super) answer: Arc<Answer>,
    /// Its turn.
    number: u64,
}

/// What batches are made of: the one or the other, since they need other rows, and so take fewer statements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Those that go by a destination, and may begin a verification there.
    Latest,
    /// All others.
    Known,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Latest, Self::Known];

    const fn of(lookup: &Lookup) -> Self {
        match lookup {
            Lookup::Latest { .. } => Self::Latest,
            Lookup::ById { .. } | Lookup::ByReference { .. } => Self::Known,
        }
    }
}

#[derive(Default)]
struct Queue {
    latest: VecDeque<Task>,
    known: VecDeque<Task>,
    count: u64,
    closed: bool,
    /// Batches of [`Kind::Latest`] that are being run, and whether the last one charged a counter that all charge: then one at a time
    /// is enough, since a second one would but wait for the first one's lock, and hold up a writer.
    running: usize,
    is_hot: bool,
}

impl Queue {
    fn of(&mut self, kind: Kind) -> &mut VecDeque<Task> {
        match kind {
            Kind::Latest => &mut self.latest,
            Kind::Known => &mut self.known,
        }
    }

    fn len(&self) -> usize {
        self.latest.len() + self.known.len()
    }

    fn holds_back(&self, kind: Kind) -> bool {
        kind == Kind::Latest && self.is_hot && self.running > 0
    }

    /// Whether there is something that may be run now.
    fn is_ready(&self) -> bool {
        !self.known.is_empty() || !self.latest.is_empty() && !self.holds_back(Kind::Latest)
    }

    /// The first of one kind: that of whoever waits longest.
    fn batch(&mut self, most: usize) -> Option<(Kind, Vec<Task>)> {
        let mut first: Option<(u64, Kind)> = None;
        for kind in Kind::ALL {
            // Whoever stopped waiting is left out: their decision has not begun.
            self.of(kind).retain(|task| task.answer.is_awaited());
            let number = self.of(kind).front().map(|task| task.number);
            if let Some(number) = number.filter(|_| !self.holds_back(kind))
                && first.is_none_or(|(least, _)| number < least)
            {
                first = Some((number, kind));
            }
        }
        let (_, kind) = first?;
        let count = self.of(kind).len().min(most);
        let batch = self.of(kind).drain(..count).collect();
        self.running += usize::from(kind == Kind::Latest);
        Some((kind, batch))
    }
}

/// What waits.
#[derive(Default)]
pub(super) struct Waiting {
    queue: Mutex<Queue>,
    /// Until when each is answered, in the order of their coming.
    promised: Mutex<VecDeque<(Instant, Weak<Answer>)>>,
    arrived: Notify,
    turn: tokio::sync::Mutex<()>,
    /// When the last batch was answered, and how many it were.
    answered: Mutex<Option<(Instant, usize)>>,
}

impl Waiting {
    /// Adds a decision; the answer comes when it is durable, or when it is too late.
    pub(super) fn add(&self, job: Box<dyn Job>, within: Duration) -> StoreResult<oneshot::Receiver<StoreResult<()>>> {
        let (sender, result) = oneshot::channel();
        let answer = Arc::new(Answer(Mutex::new(Some(sender))));
        let promise = (Instant::now() + within, Arc::downgrade(&answer));
        let kind = Kind::of(&job.lookup());
        let mut queue = self.queue();
        if queue.closed {
            return Err(StoreError::Unavailable("the store is closed".to_owned()));
        }
        if queue.len() >= QUEUE {
            return Err(StoreError::Unavailable("more decisions wait than the server can take".to_owned()));
        }
        queue.count += 1;
        let number = queue.count;
        queue.of(kind).push_back(Task { job, answer, number });
        drop(queue);
        self.promised().push_back(promise);
        self.arrived.notify_one();
        Ok(result)
    }

    /// Before all others of their kind, in their order.
    pub(super) fn put_back(&self, tasks: Vec<Task>) {
        if tasks.is_empty() {
            return;
        }
        let mut queue = self.queue();
        for task in tasks.into_iter().rev() {
            queue.of(Kind::of(&task.job.lookup())).push_front(task);
        }
        drop(queue);
        self.arrived.notify_one();
    }

    /// The next batch; `None` once closed and empty. One writer at a time waits for one.
    pub(super) async fn take(&self, most: usize) -> Option<(Kind, Vec<Task>)> {
        let _turn = self.turn.lock().await;
        loop {
            let (is_ready, is_over) = {
                let queue = self.queue();
                (queue.is_ready(), queue.closed && queue.len() == 0)
            };
            if is_ready {
                self.gather(most).await;
                if let Some(batch) = self.queue().batch(most) {
                    return Some(batch);
                }
            } else if is_over {
                return None;
            } else {
                self.arrived.notified().await;
            }
        }
    }

    /// A batch has come to its end, and is about to be answered. `is_hot`, if it is known: whether it charged a counter that all charge.
    pub(super) fn ended(&self, kind: Kind, count: usize, is_hot: Option<bool>) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), count));
        if kind == Kind::Latest {
            let mut queue = self.queue();
            queue.running = queue.running.saturating_sub(1);
            queue.is_hot = is_hot.unwrap_or(queue.is_hot);
            drop(queue);
            self.arrived.notify_one();
        }
    }

    /// After a large batch: waits for what those bring who were just answered.
    async fn gather(&self, most: usize) {
        let answered = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((at, count)) = answered.filter(|(_, count)| *count >= BUSY) else { return };
        let (enough, until) = ((count / GATHER_SHARE).min(most), at + GATHER_WITHIN);
        while self.queue().len() < enough && Instant::now() < until {
            let _ = timeout_at(until, self.arrived.notified()).await;
        }
    }

    /// Takes no more; what waits is still done.
    pub(super) fn close(&self) {
        self.queue().closed = true;
        self.arrived.notify_one();
    }

    /// Tells those who have waited for too long.
    pub(super) async fn watch(self: Arc<Self>, pool: Arc<Pool>, within: Duration) {
        loop {
            sleep(LOOK_EVERY).await;
            let now = Instant::now();
            let mut late = Vec::new();
            {
                let mut promised = self.promised();
                while let Some((until, answer)) = promised.front() {
                    match answer.upgrade() {
                        Some(answer) if *until <= now => late.push(answer),
                        Some(_) => break,
                        None => {}
                    }
                    promised.pop_front();
                }
            }
            if late.iter().any(|answer| answer.is_awaited()) {
                pool.doubt();
            }
            for answer in late {
                answer.give(Err(StoreError::Unavailable(format!(
                    "no answer within {} ms (whether it was written is not known)",
                    within.as_millis()
                ))));
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn promised(&self) -> MutexGuard<'_, VecDeque<(Instant, Weak<Answer>)>> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
