//! What a provider's answer means: a pure function of the descriptor's rules and of what was seen.

use std::borrow::Cow;

use countersign::core::outcome::Outcome;
use reqwest::header::HeaderMap;

use crate::descriptor::{Condition, Http, Meaning};
use crate::http::retry_after;
use crate::hush::Hidden;
use crate::path::{Content, first};
use crate::xml;

/// What came back over the wire.
pub(crate) struct Seen<'a> {
    pub status: u16,
    pub headers: &'a HeaderMap,
    pub body: Body,
}

/// The body, as far as it was read.
pub(crate) enum Body {
    Whole(Vec<u8>),
    /// Longer than any answer that we could understand; the rest was left unread.
    TooLong,
    /// It ended before its end: the connection broke, or time was up.
    Cut,
}

/// How much of an answer that is no JSON conditions may look at.
const LONGEST_TEXT: usize = 1024;

/// Says what the answer means. `now` is in seconds since the epoch.
pub(crate) fn judge(rules: &Http, seen: &Seen<'_>, hidden: &Hidden<'_>, now: i64) -> Outcome {
    let status = seen.status;
    let may_accept = rules.accept.status.iter().any(|pattern| pattern.fits(status));
    if may_accept && matches!(seen.body, Body::Cut) {
        return Outcome::Unknown { reason: format!("HTTP {status}, and then the answer broke off") };
    }
    let content = content(&seen.body, seen.headers);
    let holds = |conditions: &[Condition]| conditions.iter().all(|condition| condition.holds(&content));
    if may_accept && holds(&rules.accept.when) {
        let message_id = first(&rules.accept.message_id, &content).and_then(|id| hidden.message_id(&id));
        return Outcome::Accepted { message_id };
    }
    let row = rules.failures.iter().find(|row| {
        (row.status.is_empty() || row.status.iter().any(|pattern| pattern.fits(status))) && holds(&row.when)
    });
    let (meaning, says) = row.map_or((rules.otherwise.meaning, &rules.otherwise.says), |row| (row.meaning, &row.says));
    let code = first(&rules.answer.error_code, &content);
    let code = code.as_deref().and_then(|code| hidden.error_code(code));
    let reason =
        code.map_or_else(|| format!("HTTP {status}: {says}"), |code| format!("HTTP {status}: {says} ({code})"));
    let Some(failure) = meaning.failure() else { return Outcome::Unknown { reason } };
    let asked_to_wait = matches!(meaning, Meaning::RetryElsewhere | Meaning::RetryLater);
    let retry_after =
        retry_after(seen.headers).filter(|_| asked_to_wait).and_then(|value| crate::retry_after::parse(value, now));
    Outcome::Rejected { failure, reason, retry_after }
}

/// The body decides whether it is JSON or XML, not its label: gateways mislabel both ways.
fn content<'a>(body: &'a Body, headers: &'a HeaderMap) -> Content<'a> {
    let of = |value, text| Content { json: value, text, headers: Some(headers) };
    let Body::Whole(bytes) = body else { return of(None, None) };
    if let Ok(json) = serde_json::from_slice(bytes) {
        return of(Some(json), None);
    }
    if let Some(xml) = xml::read(bytes) {
        return of(Some(xml), None);
    }
    let text = String::from_utf8_lossy(bytes.get(..LONGEST_TEXT).unwrap_or(bytes));
    // A byte order mark in front of JSON is an error to the parser, and common where the gateway runs on Windows.
    if let Some(json) = text.strip_prefix('\u{feff}').and_then(|text| serde_json::from_str(text).ok()) {
        return of(Some(json), None);
    }
    of(None, Some(Cow::Owned(text.into_owned())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

    use std::time::Duration;

    use countersign::core::outcome::Failure;
    use proptest::prelude::*;
    use reqwest::header::RETRY_AFTER;

    use super::*;
    use crate::registry;

    const HIDDEN: Hidden<'_> =
        Hidden { code: "482913", text: "Your code is 482913.", to: "+255694230173", private: &[] };

    fn headers(retry_after: Option<&str>) -> HeaderMap {
        let value = retry_after.and_then(|value| value.parse::<reqwest::header::HeaderValue>().ok());
        value.map(|value| (RETRY_AFTER, value)).into_iter().collect()
    }

    fn judged(provider: &str, status: u16, retry_after: Option<&str>, body: Body) -> Outcome {
        let rules = registry::find(provider).and_then(|descriptor| descriptor.http.as_ref()).unwrap();
        judge(rules, &Seen { status, headers: &headers(retry_after), body }, &HIDDEN, 1_700_000_000)
    }

    fn whole(text: &str) -> Body {
        Body::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn a_broken_answer_is_unknown_if_it_began_well_and_a_refusal_if_it_did_not() {
        assert!(matches!(judged("webhook", 200, None, Body::Cut), Outcome::Unknown { .. }));
        let refused = judged("webhook", 500, None, Body::Cut);
        assert!(matches!(refused, Outcome::Rejected { failure: Failure::RetryElsewhere, .. }), "{refused:?}");
    }

    #[test]
    fn the_wait_that_was_asked_for_is_kept_only_where_something_is_tried_again() {
        let wait = |status| match judged("webhook", status, Some("120"), whole("")) {
            Outcome::Rejected { retry_after, .. } => retry_after,
            other => panic!("{other:?}"),
        };
        assert_eq!(wait(429), Some(Duration::from_secs(120)));
        assert_eq!(wait(503), Some(Duration::from_secs(120)));
        assert_eq!(wait(400), None);
    }

    #[test]
    fn json_behind_a_byte_order_mark_is_json() {
        let outcome = judged("webhook", 200, None, whole("\u{feff}{\"id\":\"gw-1\"}"));
        assert_eq!(outcome, Outcome::Accepted { message_id: Some("gw-1".to_owned()) });
    }

    #[test]
    fn an_unlisted_error_code_is_repeated_and_an_echo_is_not() {
        let reason = |body: &str| match judged("twilio", 400, None, whole(body)) {
            Outcome::Rejected { reason, .. } => reason,
            other => panic!("{other:?}"),
        };
        assert_eq!(reason(r#"{"code":29999}"#), "HTTP 400: the request was refused (29999)");
        assert_eq!(reason(r#"{"code":482913}"#), "HTTP 400: the request was refused");
        assert_eq!(reason(r#"{"code":"Your code is 482913."}"#), "HTTP 400: the request was refused");
        assert_eq!(reason(r#"{"code":255694230173}"#), "HTTP 400: the request was refused");
    }

    proptest! {
        #[test]
        fn never_panics_and_gives_nothing_away(
            status in 100..600_u16,
            retry_after in proptest::option::of("\\PC*"),
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "[\\[{][\\[\\]{}\":,a-z0-9. ]*".prop_map(String::into_bytes),
                "\\[\\{\"(msg_id|str_response|response)\":\"[a-zA-Z0-9 ]*482913[a-zA-Z0-9 ]*\"\\}\\]".prop_map(String::into_bytes),
                "\\{\"(sid|code|id|status|error_code)\":\"?(482913|255694230173|[0-9]{5}|queued)\"?\\}".prop_map(String::into_bytes),
            ],
        ) {
            for descriptor in registry::all().iter().filter(|descriptor| descriptor.is_http()) {
                let body = Body::Whole(body.clone());
                let rules = descriptor.http.as_ref().unwrap();
                let headers = headers(retry_after.as_deref());
                let seen = Seen { status, headers: &headers, body };
                let reason = match judge(rules, &seen, &HIDDEN, 0) {
                    Outcome::Accepted { .. } => continue,
                    Outcome::Rejected { reason, .. } | Outcome::Unknown { reason } => reason,
                };
                prop_assert!(!reason.contains("482913") && !reason.contains("694230173"), "{}", reason);
            }
        }
    }
}
