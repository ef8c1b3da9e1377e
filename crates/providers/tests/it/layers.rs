//! Bounds around a sender: what it is spared, and what is said about it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::sender::{BoxFuture, Sender};
use countersign_providers::layers::{ProviderBounds, bounded};
use tokio::time::Instant;

use crate::message;

/// Takes a while, and answers as it is told to; else it accepts.
#[derive(Default)]
struct Slow {
    takes: Duration,
    now: AtomicUsize,
    most: AtomicUsize,
    asked: AtomicUsize,
    answers: Mutex<VecDeque<Outcome>>,
}

impl Sender for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Sms]
    }

    fn send<'a>(&'a self, _: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(now, Ordering::Relaxed);
            tokio::time::sleep(self.takes).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            self.answers.lock().unwrap().pop_front().unwrap_or(Outcome::Accepted { message_id: None })
        })
    }
}

fn around(slow: &Arc<Slow>, bounds: ProviderBounds) -> Arc<dyn Sender> {
    bounded(Arc::clone(slow) as Arc<dyn Sender>, ProviderBounds { timeout: Duration::from_secs(10), ..bounds })
}

async fn all(sender: &Arc<dyn Sender>, count: usize) -> Vec<Outcome> {
    let mut sending = tokio::task::JoinSet::new();
    for _ in 0..count {
        let sender = Arc::clone(sender);
        sending.spawn(async move { sender.send(&message("Your code is 482913")).await });
    }
    sending.join_all().await
}

fn elsewhere(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected { failure: Failure::RetryElsewhere, .. })
}

#[tokio::test(start_paused = true)]
async fn no_more_are_on_their_way_than_may_be_and_nobody_waits_for_long() {
    let slow = Arc::new(Slow { takes: Duration::from_secs(2), ..Slow::default() });
    let sender = around(&slow, ProviderBounds { max_concurrent: 3, ..ProviderBounds::default() });
    let outcomes = all(&sender, 20).await;
    assert_eq!(slow.most.load(Ordering::Relaxed), 3);
    // Half of the time-out is five seconds: three rounds of three begin in it.
    let refused = outcomes.iter().filter(|outcome| elsewhere(outcome)).count();
    assert_eq!((outcomes.len() - refused, slow.asked.load(Ordering::Relaxed)), (9, 9));
}

#[tokio::test(start_paused = true)]
async fn messages_leave_at_the_pace_that_is_allowed() {
    let slow = Arc::new(Slow::default());
    let sender = around(&slow, ProviderBounds { max_per_second: 10, ..ProviderBounds::default() });
    let started = Instant::now();
    let outcomes = all(&sender, 41).await;
    assert!(outcomes.iter().all(|outcome| !elsewhere(outcome)));
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(3_900) && took <= Duration::from_millis(4_100), "{took:?}");
    let refused = all(&sender, 100).await.iter().filter(|outcome| elsewhere(outcome)).count();
    assert!(
        (48..=51).contains(&refused),
        "what would wait for more than half of the time-out goes elsewhere: {refused}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_fails_rests_and_one_message_tries_it() {
    let slow = Arc::new(Slow::default());
    let down = || Outcome::Rejected { failure: Failure::RetryElsewhere, reason: "500".into(), retry_after: None };
    let wrong = Outcome::Rejected { failure: Failure::BlameNumber, reason: "no".into(), retry_after: None };
    let bounds =
        ProviderBounds { breaker_after: 3, breaker_pause: Duration::from_secs(5), ..ProviderBounds::default() };
    let sender = around(&slow, bounds);
    slow.answers.lock().unwrap().extend([
        down(),
        down(),
        wrong,
        down(),
        Outcome::Unknown { reason: "?".into() },
        down(),
    ]);
    for _ in 0..6 {
        all(&sender, 1).await;
    }
    assert_eq!(slow.asked.load(Ordering::Relaxed), 6, "a wrong number is an answer: the count begins anew");
    let rested = all(&sender, 5).await;
    assert!(rested.iter().all(elsewhere) && slow.asked.load(Ordering::Relaxed) == 6, "{rested:?}");
    tokio::time::sleep(Duration::from_secs(5)).await;
    slow.answers.lock().unwrap().push_back(down());
    let tried = all(&sender, 5).await;
    assert_eq!((tried.iter().filter(|outcome| elsewhere(outcome)).count(), slow.asked.load(Ordering::Relaxed)), (5, 7));
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(!elsewhere(&all(&sender, 1).await[0]));
    assert!(all(&sender, 5).await.iter().all(|outcome| !elsewhere(outcome)), "and it is in service again");
}

#[tokio::test(start_paused = true)]
async fn a_trial_whose_carrier_went_away_is_given_back() {
    let slow = Arc::new(Slow { takes: Duration::from_secs(60), ..Slow::default() });
    slow.answers.lock().unwrap().push_back(Outcome::Unknown { reason: "?".into() });
    let bounds =
        ProviderBounds { breaker_after: 1, breaker_pause: Duration::from_secs(1), ..ProviderBounds::default() };
    let sender = around(&slow, bounds);
    all(&sender, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let text = message("Your code is 482913");
    assert!(tokio::time::timeout(Duration::from_secs(1), sender.send(&text)).await.is_err());
    assert!(tokio::time::timeout(Duration::from_secs(1), sender.send(&text)).await.is_err(), "asked, not refused");
    assert_eq!(slow.asked.load(Ordering::Relaxed), 3);
}

#[test]
fn without_bounds_nothing_stands_between() {
    let slow = Arc::new(Slow::default());
    let plain = around(&slow, ProviderBounds::default());
    assert!(Arc::ptr_eq(&(Arc::clone(&slow) as Arc<dyn Sender>), &plain));
}
