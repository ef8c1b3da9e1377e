//! The one thread that writes, and its group commit.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use countersign::store::{StoreError, StoreResult};
use rusqlite::ErrorCode;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::connection::Connection;
use super::place::Place;
use super::session::Session;
use super::unavailable;

/// Decisions that may wait at once. More than this means that the disk cannot keep up, and waiting longer would not help.
const QUEUE: usize = 8192;
/// Decisions in one transaction: enough that the fsync is shared by all who wait, few enough that nobody waits for long.
const BATCH: usize = 256;

/// A batch of this size shows that many are asking at once. Then the writer lets whoever shares its core go first, and gathers what
/// they bring: where all cores are busy that halves the number of fsyncs, and where one is idle nobody waits for anything.
const BUSY: usize = 12;
/// It stays so until a batch is smaller than this: one that came together too early must not make the next ones small too.
const STILL_BUSY: usize = 4;
/// How often it does so for one batch.
const ROUNDS: usize = 8;
/// How often they may bring nothing before it stops: whoever was let go first need not be one of them.
const FRUITLESS: usize = 3;

/// What is done in a transaction. It may be done again: each time as if for the first time.
pub(super) type Work = Box<dyn FnMut(&mut Session<'_>) -> rusqlite::Result<()> + Send>;

struct Task {
    work: Work,
    done: oneshot::Sender<StoreResult<()>>,
    /// Where it is waited for.
    runtime: Option<Handle>,
}

/// The handle of the writing thread.
pub(super) struct Writer {
    queue: Mutex<Option<SyncSender<Task>>>,
    broken: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn start(connection: Connection, place: Place) -> StoreResult<Self> {
        let (queue, tasks) = sync_channel(QUEUE);
        let broken = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&broken);
        let thread = std::thread::Builder::new()
            .name("countersign-writer".to_owned())
            .spawn(move || write_all(&connection, &place, &tasks, &sees))
            .map_err(|error| StoreError::Unavailable(error.to_string()))?;
        Ok(Self { queue: Mutex::new(Some(queue)), broken, thread: Mutex::new(Some(thread)) })
    }

    /// Whether the store still takes work.
    pub(super) fn check(&self) -> StoreResult<()> {
        if self.broken.load(Ordering::Acquire) {
            return Err(StoreError::Unavailable(
                "a commit failed on this file; look at the disk and restart".to_owned(),
            ));
        }
        Ok(())
    }

    /// Runs work in the next transaction; returns when it is durable.
    pub(super) fn run(&self, work: Work) -> impl Future<Output = StoreResult<()>> + Send + use<> {
        let (done, result) = oneshot::channel();
        let runtime = Handle::try_current().ok();
        let queued = self.check().and_then(|()| self.enqueue(Task { work, done, runtime }));
        async move {
            queued?;
            result.await.unwrap_or_else(|_| Err(StoreError::Unavailable("the writer stopped".to_owned())))
        }
    }

    fn enqueue(&self, task: Task) -> StoreResult<()> {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = queue.as_ref().ok_or_else(|| StoreError::Unavailable("the store is closed".to_owned()))?;
        queue.try_send(task).map_err(|error| {
            StoreError::Unavailable(match error {
                TrySendError::Full(_) => "more decisions wait than the disk can take".to_owned(),
                TrySendError::Disconnected(_) => "the writer stopped".to_owned(),
            })
        })
    }

    /// Finishes what waits, and stops.
    pub(super) async fn close(&self) -> StoreResult<()> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        match joined {
            Ok(Ok(())) => Ok(()),
            _ => Err(StoreError::Unavailable("the writer did not stop cleanly".to_owned())),
        }
    }
}

fn write_all(connection: &Connection, place: &Place, tasks: &Receiver<Task>, broken: &AtomicBool) {
    let mut session = Session::new(connection);
    let mut batch = Vec::with_capacity(BATCH);
    let mut busy = false;
    while let Ok(first) = tasks.recv() {
        batch.push(first);
        gather(tasks, &mut batch, busy);
        busy = batch.len() >= if busy { STILL_BUSY } else { BUSY };
        if place.is_there() {
            commit(&mut session, &mut batch, broken);
        } else {
            batch.drain(..).for_each(|task| answer(task, Err(place.gone())));
        }
    }
    // Leaves one file behind rather than three.
    let _ = connection.pragma_update(None, "wal_checkpoint", "truncate");
}

/// Takes what waits; while many ask, also what they bring when they are let go first.
fn gather(tasks: &Receiver<Task>, batch: &mut Vec<Task>, busy: bool) {
    batch.extend(tasks.try_iter().take(BATCH - batch.len()));
    let mut fruitless = 0;
    for _ in 0..if busy { ROUNDS } else { 0 } {
        std::thread::yield_now();
        let before = batch.len();
        batch.extend(tasks.try_iter().take(BATCH - before));
        fruitless = if batch.len() == before { fruitless + 1 } else { 0 };
        if fruitless == FRUITLESS {
            break;
        }
    }
}

/// One transaction for all. If one of them fails, each gets a transaction of its own, so that none pays for its neighbour.
fn commit(session: &mut Session<'_>, batch: &mut Vec<Task>, broken: &AtomicBool) {
    match transaction(session, batch, broken) {
        Ok(()) => answer_all(batch),
        Err(error) if batch.len() == 1 => batch.drain(..).for_each(|task| answer(task, Err(unavailable(&error)))),
        Err(error) if is_about_the_file(&error) => {
            batch.drain(..).for_each(|task| answer(task, Err(unavailable(&error))));
        }
        Err(_) => {
            for task in batch.drain(..) {
                let mut alone = vec![task];
                commit(session, &mut alone, broken);
            }
        }
    }
}

fn transaction(session: &mut Session<'_>, batch: &mut [Task], broken: &AtomicBool) -> rusqlite::Result<()> {
    let mut result = session.begin().and_then(|()| batch.iter_mut().try_for_each(|task| (task.work)(session)));
    if result.is_ok() {
        result = session.commit();
        // After a failed fsync nobody can say what is on the disk, and asking again may be answered wrongly: stop, and let the
        // next start recover from the log.
        if result.as_ref().is_err_and(is_io) {
            tracing::error!(
                "a commit failed with an I/O error; the store takes no more work until the process is restarted"
            );
            broken.store(true, Ordering::Release);
        }
    }
    if result.is_err() {
        session.roll_back();
    }
    result
}

/// Errors that every task of the batch would meet again.
fn is_about_the_file(error: &rusqlite::Error) -> bool {
    is_io(error)
        || matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DatabaseBusy
                    | ErrorCode::DatabaseLocked
                    | ErrorCode::DiskFull
                    | ErrorCode::ReadOnly
                    | ErrorCode::DatabaseCorrupt
            )
        )
}

fn is_io(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure)
}

/// Wakes all who waited. Many who wait in one runtime are woken from inside: from here each of them would have to be put into a queue
/// that its threads share, and the first would take this core away from the others.
fn answer_all(batch: &mut Vec<Task>) {
    let runtime = batch.first().and_then(|task| task.runtime.clone()).filter(|runtime| {
        batch.len() >= BUSY
            && batch.iter().all(|task| task.runtime.as_ref().is_some_and(|other| other.id() == runtime.id()))
    });
    let Some(runtime) = runtime else { return batch.drain(..).for_each(|task| answer(task, Ok(()))) };
    // Should the runtime end before it comes to this, the tasks that wait end with it.
    let waiting: Vec<_> = batch.drain(..).map(|task| task.done).collect();
    runtime.spawn(async move {
        for done in waiting {
            let _ = done.send(Ok(()));
        }
    });
}

fn answer(task: Task, result: StoreResult<()>) {
    // Whoever asked may have gone away; what was committed stays committed.
    let _ = task.done.send(result);
}
