//! So many a second, evenly: each message has its slot (GCRA, as the limits of core, but of one process and forgotten with it).

use std::time::Duration;

use tokio::time::Instant;

#[derive(Debug)]
pub(super) struct Pace {
    every: Duration,
    /// Up to a tenth of a second's messages may go at once.
    burst: Duration,
    next: Option<Instant>,
}

impl Pace {
    pub fn new(per_second: u32) -> Self {
        let every = Duration::from_secs(1) / per_second.max(1);
        Self { every, burst: Duration::from_millis(100).saturating_sub(every), next: None }
    }

    /// Takes the next slot and says how long it is until then; `None`, and nothing taken, if that is longer than `patience`.
    pub fn reserve(&mut self, now: Instant, patience: Duration) -> Option<Duration> {
        let slot = self.next.filter(|next| *next > now).unwrap_or(now);
        let wait = (slot - now).saturating_sub(self.burst);
        if wait > patience {
            return None;
        }
        self.next = Some(slot + self.every);
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_second_has_more_than_it_may_by_much() {
        for per_second in [1, 3, 50, 1000] {
            let (mut pace, start) = (Pace::new(per_second), Instant::now());
            let waits: Vec<_> =
                (0..per_second * 3).filter_map(|_| pace.reserve(start, Duration::from_secs(60))).collect();
            assert_eq!(waits.len(), per_second as usize * 3);
            let in_first = waits.iter().filter(|wait| **wait < Duration::from_secs(1)).count();
            assert!(in_first <= per_second as usize + per_second as usize / 10 + 1, "{per_second}: {in_first}");
            assert!(in_first >= per_second as usize, "{per_second}: {in_first}");
        }
    }

    #[test]
    fn what_would_wait_too_long_takes_no_slot() {
        let (mut pace, start) = (Pace::new(1), Instant::now());
        assert_eq!(pace.reserve(start, Duration::ZERO), Some(Duration::ZERO));
        for _ in 0..5 {
            assert_eq!(pace.reserve(start, Duration::from_millis(500)), None);
        }
        assert_eq!(pace.reserve(start + Duration::from_secs(1), Duration::ZERO), Some(Duration::ZERO));
    }
}
