//! Rates: how many sends or checks somebody may have in a window, as GCRA (one timestamp for each key).
//!
//! The Generic Cell Rate Algorithm keeps the *theoretical arrival time* (TAT): the instant at which everything used so far would
//! have been earned back. A request is allowed while the TAT after it lies no more than one window ahead. So a quota may be used
//! at once, and comes back evenly, one every `window / quota`.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::destination::Destination;
use crate::id::ApplicationName;
use crate::time::Timestamp;

/// Whom a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Per {
    /// One destination of one application (an email's mailbox, whatever its tag).
    Destination,
    /// One end user's address of one application; an IPv6 /64 is one.
    Client,
    /// One block of 10,000 numbers, or one mail domain, of one application.
    Prefix,
    /// One country of one application.
    Country,
    /// One application.
    Application,
}

impl Per {
    /// Every row, in the order in which limits are reported when several are reached.
    pub const ALL: [Self; 5] = [Self::Destination, Self::Client, Self::Prefix, Self::Country, Self::Application];

    /// The name in the configuration, and in the `limit` member of a problem.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Destination => "destination",
            Self::Client => "client",
            Self::Prefix => "prefix",
            Self::Country => "country",
            Self::Application => "application",
        }
    }
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Of {
    /// Messages sent, first ones and repeated ones alike.
    Sends,
    /// Codes offered, right and wrong ones alike.
    Checks,
}

/// One row of the limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitRule {
    /// Whom it counts.
    pub per: Per,
    /// What it counts.
    pub of: Of,
    /// How many in a window.
    pub quota: u32,
    /// The window.
    pub window: Duration,
}

/// A limit that one request brings along, besides the application's own: charged together with them, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraLimit {
    /// Its counter.
    pub key: LimitKey,
    /// How many in a window.
    pub quota: u32,
    /// The window.
    pub window: Duration,
}

impl ExtraLimit {
    /// The counter of the limit `id` of an application for the one who is counted: `whom` is a digest, so that it is of one length
    /// and tells nobody.
    #[must_use]
    pub fn new(application: &ApplicationName, id: &str, whom: &[u8; 16], quota: u32, window: Duration) -> Self {
        let mut key = format!("{application}/extra/{id}/");
        whom.iter().for_each(|byte| {
            let _ = write!(key, "{byte:02x}");
        });
        let _ = write!(key, "/sends/{}", window.as_secs());
        Self { key: LimitKey(key), quota, window }
    }

    /// Whether one more is allowed at `now`.
    #[must_use]
    pub fn check(&self, stored: Option<Tat>, now: Timestamp) -> Verdict {
        let rule = LimitRule { per: Per::Application, of: Of::Sends, quota: self.quota, window: self.window };
        rule.check(stored, now)
    }
}

/// Names one counter in the store. Readable there, so that an operator can see what is limited; `Debug` leaves out whom it counts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitKey(pub String);

impl fmt::Debug for LimitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // application/per/whom/of/window, where `whom` may hold slashes of its own.
        let (head, rest) = self.0.match_indices('/').nth(1).map_or(("", ""), |(at, _)| self.0.split_at(at));
        let tail = rest.rmatch_indices('/').nth(1).map_or("", |(at, _)| &rest[at..]);
        write!(f, "LimitKey({head}/***{tail})")
    }
}

/// The theoretical arrival time of one counter, in microseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tat(pub i64);

/// What a limit says about one more request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed; the counter would then stand here.
    Allowed {
        /// The counter after this request.
        tat: Tat,
        /// How many more would be allowed at once.
        remaining: u32,
    },
    /// Refused until then.
    Refused {
        /// How long to wait; never more than the window.
        retry_after: Duration,
    },
}

impl LimitRule {
    /// The limits of an application that configures none (API.md section 6).
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        const HOUR: u64 = 60 * 60;
        let row = |per, of, quota, secs| Self { per, of, quota, window: Duration::from_secs(secs) };
        vec![
            row(Per::Destination, Of::Sends, 5, 10 * 60),
            row(Per::Destination, Of::Sends, 10, 24 * HOUR),
            row(Per::Client, Of::Sends, 20, HOUR),
            row(Per::Client, Of::Checks, 60, HOUR),
        ]
    }

    /// The counter that this row uses for a request; `None` if the request has nothing for it to count (no client stated, no country known).
    #[must_use]
    pub fn key(&self, application: &ApplicationName, to: &Destination, client: Option<&str>) -> Option<LimitKey> {
        let of = match self.of {
            Of::Sends => "sends",
            Of::Checks => "checks",
        };
        let whom = match self.per {
            Per::Destination => to.budget(),
            Per::Client => Cow::Borrowed(client?),
            Per::Prefix => Cow::Borrowed(to.prefix()),
            Per::Country => Cow::Owned(to.country()?.to_string()),
            Per::Application => Cow::Borrowed(""),
        };
        // The destination stands before the window, so that the rows of one destination are neighbours in an ordered store.
        let mut key = String::with_capacity(application.as_str().len() + whom.len() + 40);
        for part in [application.as_str(), self.per.as_str(), &whom, of] {
            key.push_str(part);
            key.push('/');
        }
        let _ = write!(key, "{}", self.window.as_secs());
        Some(LimitKey(key))
    }

    /// Whether one more is allowed at `now`.
    #[must_use]
    pub fn check(&self, stored: Option<Tat>, now: Timestamp) -> Verdict {
        if self.quota == 0 {
            // No wait mends it; the longest one that is ever told keeps clients from asking again each second.
            return Verdict::Refused { retry_after: self.window };
        }
        let (interval, full) = (self.interval_micros(), self.full(now).0);
        let tat = self.stands(stored, now).saturating_add(interval);
        if tat > full {
            return Verdict::Refused {
                retry_after: Duration::from_micros(
                    u64::try_from(tat.saturating_sub(full).clamp(1, self.window_micros())).unwrap_or(1),
                ),
            };
        }
        Verdict::Allowed { tat: Tat(tat), remaining: u32::try_from((full - tat) / interval).unwrap_or(0) }
    }

    /// In how long one is earned back.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_micros(self.interval_micros().unsigned_abs())
    }

    /// Where the counter stands when everything is used up.
    pub(crate) fn full(&self, now: Timestamp) -> Tat {
        let most = self.interval_micros().saturating_mul(i64::from(self.quota.max(1)));
        Tat(micros(now).saturating_add(most))
    }

    /// How many are used and not yet earned back; one that is earned back in part is used.
    pub(crate) fn used(&self, stored: Option<Tat>, now: Timestamp) -> u32 {
        let interval = self.interval_micros();
        let ahead = self.stands(stored, now).saturating_sub(micros(now));
        u32::try_from(ahead / interval + i64::from(ahead % interval > 0)).unwrap_or(u32::MAX)
    }

    /// The counter with so much less used; `None` if nothing was.
    pub(crate) fn less(&self, stored: Option<Tat>, by: Duration, now: Timestamp) -> Option<Tat> {
        let (tat, empty) = (self.stands(stored, now), micros(now));
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        (tat > empty).then(|| Tat(tat.saturating_sub(by).max(empty)))
    }

    /// Where the counter stands: not before `now`, and not after what is full. A refusal writes nothing, so a counter that a clock left
    /// far ahead would refuse until that day: it says nothing, and counts as new. The clocks of several processes may differ by less.
    fn stands(&self, stored: Option<Tat>, now: Timestamp) -> i64 {
        let (empty, full) = (micros(now), self.full(now).0);
        let believed = full.saturating_add(self.window_micros().max(60_000_000));
        stored.filter(|tat| tat.0 <= believed).map_or(empty, |tat| tat.0.clamp(empty, full))
    }

    fn window_micros(&self) -> i64 {
        i64::try_from(self.window.as_micros()).unwrap_or(i64::MAX).max(1)
    }

    /// Rounded up, and the window with it, so that exactly `quota` fit whether or not it divides the window.
    fn interval_micros(&self) -> i64 {
        let (window, quota) = (self.window_micros(), i64::from(self.quota.max(1)));
        window / quota + i64::from(window % quota > 0)
    }
}

fn micros(at: Timestamp) -> i64 {
    at.as_millis().saturating_mul(1000)
}

impl Tat {
    /// The counter that is as good as new from this instant on.
    pub(crate) fn at(instant: Timestamp) -> Self {
        Self(micros(instant))
    }

    /// When the counter is as good as new and may be forgotten.
    #[must_use]
    pub const fn forgettable_at(self) -> Timestamp {
        Timestamp::from_millis(self.0 / 1000 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(quota: u32, secs: u64) -> LimitRule {
        LimitRule { per: Per::Destination, of: Of::Sends, quota, window: Duration::from_secs(secs) }
    }

    /// Uses a rule until it refuses; how many were allowed and how long to wait.
    fn use_up(rule: LimitRule, mut tat: Option<Tat>, now: Timestamp) -> (u32, Duration, Option<Tat>) {
        let mut allowed = 0;
        loop {
            match rule.check(tat, now) {
                Verdict::Allowed { tat: next, .. } => (tat, allowed) = (Some(next), allowed + 1),
                Verdict::Refused { retry_after } => return (allowed, retry_after, tat),
            }
        }
    }

    #[test]
    fn a_quota_can_be_used_at_once_and_not_exceeded() {
        for (quota, secs) in [(1, 1), (3, 600), (5, 600), (7, 600), (10, 86_400), (60, 3600)] {
            let (allowed, wait, _) = use_up(rule(quota, secs), None, Timestamp::from_millis(1_000_000));
            assert_eq!(allowed, quota);
            assert!(wait <= Duration::from_secs(secs).div_f64(f64::from(quota)) + Duration::from_millis(1));
        }
    }

    #[test]
    fn bug_a14_retry_after_is_exact_and_within_the_window() {
        let (rule, start) = (rule(5, 600), Timestamp::from_millis(1_700_000_000_000));
        let (_, wait, tat) = use_up(rule, None, start);
        assert!(wait <= rule.window);
        assert!(matches!(rule.check(tat, start + wait - Duration::from_secs(1)), Verdict::Refused { .. }));
        assert!(matches!(rule.check(tat, start + wait), Verdict::Allowed { .. }));
    }

    #[test]
    fn bug_a14_a_quota_of_none_does_not_invite_to_ask_again_at_once() {
        let (rule, now) = (rule(0, 3600), Timestamp::from_millis(1_700_000_000_000));
        assert_eq!(rule.check(None, now), Verdict::Refused { retry_after: rule.window });
    }

    #[test]
    fn bug_a15_a_clock_that_was_ahead_locks_nobody_out_for_ever() {
        let (rule, right) = (rule(5, 600), Timestamp::from_millis(1_700_000_000_000));
        for ahead in [1, 300, 600, 601, 86_400, 10_000_000_000] {
            let (_, _, tat) = use_up(rule, None, right + Duration::from_secs(ahead));
            if let Verdict::Refused { retry_after } = rule.check(tat, right) {
                assert!(retry_after <= rule.window);
            }
            // A refusal writes nothing: the counter stands where the wrong clock left it.
            let later = right + rule.window + rule.window;
            assert!(matches!(rule.check(tat, later), Verdict::Allowed { .. }), "{ahead} s ahead");
        }
    }
}
