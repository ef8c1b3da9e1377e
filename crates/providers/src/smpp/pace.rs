//! How fast an SMSC lets us: additive increase, multiplicative decrease, as TCP finds its rate.
//!
//! Without a configured rate nothing is held back until the SMSC says that it is too fast; then half of what was just sent is the rate,
//! and it grows evenly from there. Time that was not used is not saved up, so that a pause is followed by no burst.

use std::time::Duration;

use tokio::time::Instant;

/// Messages a second that no throttling goes below.
const FLOOR: f64 = 1.0;
/// One decrease answers for everything that was on its way when it was made.
const ONCE_IN: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Pace {
    /// What the account allows, where that is known.
    most: Option<f64>,
    /// Messages a second; `None` while nothing is known.
    rate: Option<f64>,
    next: Instant,
    changed: Instant,
    /// When the present second began, what was sent in it, and in the one before.
    second: (Instant, u32, u32),
}

impl Pace {
    pub fn new(most: Option<f64>, now: Instant) -> Self {
        Self { most, rate: most, next: now, changed: now, second: (now, 0, 0) }
    }

    /// When the next message may leave; it is counted as leaving then.
    pub fn take(&mut self, now: Instant) -> Instant {
        self.count(now);
        self.grow(now);
        let Some(rate) = self.rate else { return now };
        let at = self.next.max(now);
        self.next = at + Duration::from_secs_f64(1.0 / rate);
        at
    }

    /// How long the next message would wait.
    pub fn wait(&self, now: Instant) -> Duration {
        if self.rate.is_some() { self.next.saturating_duration_since(now) } else { Duration::ZERO }
    }

    /// The SMSC said that it is too fast.
    pub fn slow_down(&mut self, now: Instant) {
        if self.rate.is_some_and(|rate| self.most != Some(rate))
            && now.saturating_duration_since(self.changed) < ONCE_IN
        {
            return;
        }
        let present = self.rate.unwrap_or_else(|| f64::from(self.second.1.max(self.second.2)));
        self.rate = Some((present / 2.0).max(FLOOR));
        self.changed = now;
    }

    fn count(&mut self, now: Instant) {
        let gone = now.saturating_duration_since(self.second.0);
        if gone >= Duration::from_secs(1) {
            let before = if gone < Duration::from_secs(2) { self.second.1 } else { 0 };
            self.second = (now, 0, before);
        }
        self.second.1 += 1;
    }

    /// A message a second more for each second that went well; a twentieth where the rate is large.
    fn grow(&mut self, now: Instant) {
        let Some(rate) = self.rate else { return };
        let seconds = now.saturating_duration_since(self.changed).as_secs();
        if seconds == 0 || self.most == Some(rate) {
            return;
        }
        let step = (rate / 20.0).max(1.0);
        let grown = rate + step * f64::from(u32::try_from(seconds.min(60)).unwrap_or(60));
        self.rate = Some(self.most.map_or(grown, |most| grown.min(most)));
        self.changed = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent_within(pace: &mut Pace, from: Instant, time: Duration) -> u32 {
        let (mut now, mut sent) = (from, 0);
        loop {
            now = pace.take(now).max(now);
            if now >= from + time {
                return sent;
            }
            sent += 1;
        }
    }

    #[test]
    fn a_configured_rate_is_kept_and_a_pause_saves_nothing_up() {
        let start = Instant::now();
        let mut pace = Pace::new(Some(100.0), start);
        let sent = sent_within(&mut pace, start, Duration::from_secs(2));
        assert!((195..=201).contains(&sent), "{sent}");
        let later = start + Duration::from_secs(100);
        let sent = sent_within(&mut pace, later, Duration::from_secs(1));
        assert!((95..=101).contains(&sent), "{sent}");
    }

    #[test]
    fn throttling_halves_once_and_never_below_the_floor_and_grows_again() {
        let start = Instant::now();
        let mut pace = Pace::new(None, start);
        for n in 0..200 {
            let now = start + Duration::from_millis(n * 5);
            assert_eq!(pace.take(now), now);
        }
        let now = start + Duration::from_secs(1);
        for _ in 0..50 {
            pace.slow_down(now);
        }
        let sent = sent_within(&mut pace, now, Duration::from_millis(990));
        assert!((95..=100).contains(&sent), "{sent}");
        let mut now = now;
        for _ in 0..40 {
            now += Duration::from_secs(1);
            pace.slow_down(now);
        }
        assert_eq!(pace.rate, Some(FLOOR));
        let grown = now + Duration::from_secs(10);
        pace.take(grown);
        assert_eq!(pace.rate, Some(11.0));
    }
}
