//! The port to time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use countersign_core::time::Timestamp;
use tokio::sync::watch;

use crate::sender::BoxFuture;

/// Tells the time and waits for it. Rules never see it: they get `now`.
pub trait Clock: Send + Sync + 'static {
    /// The present.
    fn now(&self) -> Timestamp;

    /// Waits that long.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that moves when told to: for tests of anything that takes minutes or days.
///
/// ```
/// use std::time::Duration;
/// use countersign::{Clock, ManualClock, core::time::Timestamp};
///
/// let clock = ManualClock::at(Timestamp::from_millis(1_700_000_000_000));
/// clock.advance(Duration::from_secs(300));
/// assert_eq!(clock.now().as_secs(), 1_700_000_300);
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<Mutex<Timestamp>>,
    moved: watch::Sender<()>,
}

impl ManualClock {
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now: Arc::new(Mutex::new(now)), moved: watch::channel(()).0 }
    }

    /// Moves forward and wakes whoever waited for that.
    pub fn advance(&self, by: Duration) {
        let now = self.now();
        self.set(now + by);
    }

    /// Moves anywhere, also back, as clocks of real machines do.
    pub fn set(&self, to: Timestamp) {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner) = to;
        self.moved.send_replace(());
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let until = self.now() + duration;
        let (clock, mut moved) = (self.clone(), self.moved.subscribe());
        Box::pin(async move {
            while clock.now() < until {
                if moved.changed().await.is_err() {
                    return;
                }
            }
        })
    }
}
