//! A rest for a provider that fails: after so many failures in a row it is not asked for a while; then one message tries it.

use std::time::Duration;

use tokio::time::Instant;

/// The longest rest, in first rests.
const LONGEST: u32 = 6;

#[derive(Debug)]
pub(super) struct Breaker {
    after: u32,
    pause: Duration,
    failures: u32,
    /// Until when it rests, and how long that rest was. Stays set until a trial works.
    rest: Option<(Instant, Duration)>,
    on_trial: bool,
}

impl Breaker {
    pub fn new(after: u32, pause: Duration) -> Self {
        Self { after, pause, failures: 0, rest: None, on_trial: false }
    }

    /// Whether the provider may be asked, and if so, whether that is the trial; else how long it still rests.
    pub fn ask(&mut self, now: Instant) -> Result<bool, Duration> {
        match self.rest {
            None => Ok(false),
            Some((until, _)) if now < until => Err(until - now),
            // One at a time: the others wait as long as a trial may take, at most.
            Some((_, length)) if self.on_trial => Err(length.min(self.pause)),
            Some(_) => {
                self.on_trial = true;
                Ok(true)
            }
        }
    }

    pub fn worked(&mut self) {
        (self.failures, self.rest, self.on_trial) = (0, None, false);
    }

    pub fn failed(&mut self, now: Instant) {
        self.failures = self.failures.saturating_add(1);
        let length = match self.rest {
            Some((_, length)) if self.on_trial => (length * 2).min(self.pause * LONGEST),
            // What was on its way when the rest began says nothing new.
            Some(_) => return,
            None if self.failures >= self.after => self.pause,
            None => return,
        };
        (self.rest, self.on_trial) = (Some((now + length, length)), false);
    }

    pub fn give_back_trial(&mut self) {
        self.on_trial = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: Duration = Duration::from_secs(30);

    #[test]
    fn it_rests_after_failures_in_a_row_and_tries_one_message() {
        let (mut breaker, start) = (Breaker::new(3, REST), Instant::now());
        for _ in 0..2 {
            breaker.failed(start);
        }
        breaker.worked();
        for _ in 0..3 {
            assert_eq!(breaker.ask(start), Ok(false));
            breaker.failed(start);
        }
        assert_eq!(breaker.ask(start), Err(REST));
        let after = start + REST;
        assert_eq!(breaker.ask(after), Ok(true));
        assert!(breaker.ask(after).is_err(), "one trial at a time");
        breaker.failed(after);
        assert_eq!(breaker.ask(after), Err(REST * 2), "twice as long");
        assert_eq!(breaker.ask(after + REST * 2), Ok(true));
        breaker.give_back_trial();
        assert_eq!(breaker.ask(after + REST * 2), Ok(true), "a trial that came to nothing is not lost");
        breaker.worked();
        assert_eq!(breaker.ask(after), Ok(false));
    }

    #[test]
    fn what_was_on_its_way_does_not_prolong_the_rest() {
        let (mut breaker, start) = (Breaker::new(1, REST), Instant::now());
        breaker.failed(start);
        breaker.failed(start + REST / 2);
        assert_eq!(breaker.ask(start + REST), Ok(true));
    }

    #[test]
    fn a_rest_has_an_end() {
        let (mut breaker, mut now) = (Breaker::new(1, REST), Instant::now());
        for _ in 0..40 {
            let _ = breaker.ask(now);
            breaker.failed(now);
            now += REST * LONGEST;
        }
        assert_eq!(breaker.ask(now), Ok(true));
    }
}
