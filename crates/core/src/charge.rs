//! Limits are charged together or not at all: those of the application, and those that a request brings along.

use crate::destination::Destination;
use crate::limit::{ExtraLimit, LimitKey, LimitRule, Of, Tat, Verdict};
use crate::policy::Application;
use crate::refusal::{Limit, Refusal};
use crate::time::Timestamp;

/// The counters that a request of this application is counted by.
pub(crate) fn limit_keys(application: &Application, to: &Destination, client: Option<&str>, of: Of) -> Vec<LimitKey> {
    counters(application, to, client, of).map(|(_, key)| key).collect()
}

/// The rows that count a request, each with its counter, in the order of the configuration.
fn counters<'a>(
    application: &'a Application,
    to: &'a Destination,
    client: Option<&'a str>,
    of: Of,
) -> impl Iterator<Item = (&'a LimitRule, LimitKey)> {
    let counting = application.limits.iter().filter(move |rule| rule.of == of);
    counting.filter_map(move |rule| Some((rule, rule.key(&application.name, to, client)?)))
}

/// Charges every limit, or none: all counters as they would stand, or the refusals.
pub(crate) fn charge(
    application: &Application,
    to: &Destination,
    client: Option<&str>,
    of: Of,
    stored: &[Option<Tat>],
    now: Timestamp,
) -> Result<Vec<(LimitKey, Tat)>, Vec<Refusal>> {
    let (mut charged, mut refusals) = (Vec::<(LimitKey, Tat)>::with_capacity(stored.len()), Vec::new());
    for ((rule, key), tat) in counters(application, to, client, of).zip(stored) {
        match rule.check(*tat, now) {
            // Two rows of one window share a counter: what the stricter one charges stands.
            Verdict::Allowed { tat, .. } => match charged.iter_mut().find(|(known, _)| *known == key) {
                Some((_, known)) => *known = tat.max(*known),
                None => charged.push((key, tat)),
            },
            Verdict::Refused { retry_after } => refusals.push(Refusal::RateLimited {
                limit: Limit::Rate(rule.per),
                quota: rule.quota,
                window: rule.window,
                retry_after,
            }),
        }
    }
    if refusals.is_empty() { Ok(charged) } else { Err(refusals) }
}

/// The counters before the last ones, and those.
pub(crate) fn before_last(stored: &[Option<Tat>], last: usize) -> (&[Option<Tat>], &[Option<Tat>]) {
    stored.split_at(stored.len().saturating_sub(last))
}

/// Charges the limits that a request brought along, or none.
pub(crate) fn charge_extra(
    limits: &[ExtraLimit],
    stored: &[Option<Tat>],
    now: Timestamp,
) -> Result<Vec<(LimitKey, Tat)>, Vec<Refusal>> {
    let (mut charged, mut refusals) = (Vec::with_capacity(limits.len()), Vec::new());
    for (place, (extra, tat)) in (0_u16..).zip(limits.iter().zip(stored)) {
        match extra.check(*tat, now) {
            Verdict::Allowed { tat, .. } => charged.push((extra.key.clone(), tat)),
            Verdict::Refused { retry_after } => refusals.push(Refusal::RateLimited {
                limit: Limit::Extra(place),
                quota: extra.quota,
                window: extra.window,
                retry_after,
            }),
        }
    }
    if refusals.is_empty() { Ok(charged) } else { Err(refusals) }
}
