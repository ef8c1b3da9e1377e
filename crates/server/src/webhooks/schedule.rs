//! When an endpoint that did not take a message is asked again: a pause for each attempt, longer each time, over four days.

use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The pause after each attempt that failed, in seconds; there is none after the last one.
const PAUSES: [u64; 14] = [
    5,
    30,
    2 * MINUTE,
    5 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    4 * HOUR,
    8 * HOUR,
    12 * HOUR,
    24 * HOUR,
    24 * HOUR,
    24 * HOUR,
];

/// How often one message is tried.
pub const ATTEMPTS: u32 = PAUSES.len() as u32 + 1;
/// How long a message that waits holds back the later ones of its verification.
pub const HOLD: Duration = Duration::from_secs(10 * MINUTE);
/// When a message is forgotten, whatever became of it: well after its last attempt.
pub const FORGET: Duration = Duration::from_secs(8 * 24 * HOUR);
/// The longest pause that an endpoint may ask for.
const LONGEST: Duration = Duration::from_secs(24 * HOUR);

/// The pause after the attempt of this number, from 1; `None` after the last one. `chance` spreads it by a fifth either way, so that
/// those who failed together do not come back together. What the endpoint asks for is the least, within a day.
#[must_use]
pub fn pause(attempt: u32, chance: u32, asked_for: Option<Duration>) -> Option<Duration> {
    let seconds = *PAUSES.get(attempt.saturating_sub(1) as usize)?;
    let spread = 800 + u64::from(chance) * 400 / u64::from(u32::MAX);
    let pause = Duration::from_millis(seconds * spread);
    Some(pause.max(asked_for.unwrap_or_default().min(LONGEST)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn pauses_grow_over_four_days_and_end() {
        let all: Vec<_> = (1..=20).map_while(|attempt| pause(attempt, u32::MAX / 2, None)).collect();
        assert_eq!(all.len() as u32 + 1, ATTEMPTS);
        assert!(all.windows(2).all(|pair| pair[0] <= pair[1]), "{all:?}");
        let days = all.iter().sum::<Duration>().as_secs_f64() / 86_400.0;
        assert!((4.0..4.5).contains(&days), "{days}");
        assert!(Duration::from_secs_f64(days * 86_400.0 * 1.2) < FORGET, "none is forgotten before its last attempt");
        assert_eq!(pause(ATTEMPTS, 0, None), None);
        assert_eq!(pause(0, u32::MAX, None), pause(1, u32::MAX, None));
    }

    #[test]
    fn chance_spreads_and_the_endpoint_may_ask_for_more() {
        assert_eq!(pause(1, 0, None), Some(Duration::from_secs(4)));
        assert_eq!(pause(1, u32::MAX, None), Some(Duration::from_secs(6)));
        let minute = Duration::from_secs(60);
        assert_eq!(pause(1, 0, Some(minute)), Some(minute));
        assert!(pause(5, 0, Some(minute)).unwrap() > minute);
        assert_eq!(pause(1, 0, Some(Duration::MAX)), Some(LONGEST));
    }
}
