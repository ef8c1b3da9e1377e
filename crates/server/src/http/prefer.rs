//! `Prefer: wait=N` (RFC 7240): hold the answer for the provider's word.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};

/// The request's header.
pub const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The answer's.
pub const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// Nobody is kept waiting longer.
pub const LONGEST: Duration = Duration::from_secs(60);

/// How long the client would wait, at most [`LONGEST`]; `None` if it does not say so. What cannot be read is no preference.
#[must_use]
pub fn wait(headers: &HeaderMap) -> Option<Duration> {
    let preferences =
        headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()).flat_map(|line| line.split(','));
    let mut waits = preferences.filter_map(|preference| {
        let (name, value) = preference.split(';').next()?.split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().trim_matches('"'))
    });
    // Of several the first counts (RFC 7240, section 2).
    let seconds = waits.next().filter(|value| !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()))?;
    Some(seconds.parse().map_or(LONGEST, Duration::from_secs).min(LONGEST))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn preferences_are_read() {
        for (value, seconds) in [
            ("wait=5", Some(5)),
            ("respond-async, WAIT=\"7\"; foo=bar", Some(7)),
            ("wait = 3 , wait=9", Some(3)),
            ("wait=0", Some(0)),
            ("wait=600", Some(60)),
            ("wait=99999999999999999999999", Some(60)),
            ("wait", None),
            ("wait=", None),
            ("wait=-1", None),
            ("wait=1.5", None),
            ("wait=+5", None),
            ("handling=strict", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(PREFER, value.parse().unwrap());
            assert_eq!(wait(&headers), seconds.map(Duration::from_secs), "{value}");
        }
        assert_eq!(wait(&HeaderMap::new()), None);
    }
}
