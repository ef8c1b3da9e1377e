//! A provider that stalls: what is sent meanwhile waits in the store, and drains as fast as the provider takes it again.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::outcome::{Message, Outcome};
use countersign::core::policy::Application;
use countersign::core::time::Timestamp;
use countersign::sender::BoxFuture;
use countersign::{Cleanup, ManualClock, SendRequest, Sender, Verifier};
use tokio::sync::watch;

const CARRIERS: u32 = 8;
const MESSAGES: usize = 1_000;

/// Takes nothing and says nothing until it is opened.
struct Stalled {
    open: watch::Receiver<bool>,
    asked: AtomicUsize,
    taken: AtomicUsize,
}

impl Sender for Stalled {
    fn name(&self) -> &str {
        "stalled"
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Sms]
    }

    fn send<'a>(&'a self, _: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let _ = self.open.clone().wait_for(|open| *open).await;
            self.taken.fetch_add(1, Ordering::Relaxed);
            Outcome::Accepted { message_id: None }
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_waits_in_the_store_and_drains_as_fast_as_it_is_taken() {
    let (gate, open) = watch::channel(false);
    let stalled = Arc::new(Stalled { open, asked: AtomicUsize::new(0), taken: AtomicUsize::new(0) });
    let clock = ManualClock::at(Timestamp::from_millis(1_790_000_000_000));
    let mut application = Application::new("default".parse().unwrap(), "stalled");
    application.limits.clear();
    let verifier = Verifier::builder().sender(stalled.clone()).clock(Arc::new(clock.clone())).application(application);
    let verifier = verifier.carriers(CARRIERS).build().unwrap();
    let upkeep = verifier.start_upkeep(Cleanup::default());
    for nth in 0..MESSAGES {
        verifier.send(SendRequest::to(format!("+25569{:07}", 4_230_000 + nth))).await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!((verifier.carrying(), stalled.asked.load(Ordering::Relaxed)), (CARRIERS as usize, CARRIERS as usize));

    gate.send_replace(true);
    let mut passed = Duration::ZERO;
    while stalled.taken.load(Ordering::Relaxed) < MESSAGES {
        clock.advance(Duration::from_millis(5));
        passed += Duration::from_millis(5);
        assert!(passed < Duration::from_secs(30), "{} were taken", stalled.taken.load(Ordering::Relaxed));
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    // A look every half second would take a minute for what fits into the carriers eight at a time.
    assert_eq!(stalled.asked.load(Ordering::Relaxed), MESSAGES, "each is carried once");
    upkeep.stop().await;
}
