//! `x-request-id`: the client's, if it can stand in a log; else one of ours.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A part for this process, a number for the request: unique without asking the operating system each time. It names, it does
/// not protect.
static PROCESS: LazyLock<u64> = LazyLock::new(|| {
    let mut bytes = [0; 8];
    let _ = getrandom::fill(&mut bytes);
    u64::from_be_bytes(bytes)
});
static NEXT: AtomicU64 = AtomicU64::new(1);

/// The id of a request.
pub fn of(headers: &HeaderMap) -> HeaderValue {
    match headers.get(&X_REQUEST_ID) {
        Some(id) if is_fit(id.as_bytes()) => id.clone(),
        _ => ours(*PROCESS, NEXT.fetch_add(1, Ordering::Relaxed)),
    }
}

/// Two numbers of 16 hexadecimal digits and a dash between them.
fn ours(process: u64, number: u64) -> HeaderValue {
    let mut text = [b'-'; 33];
    for (start, number) in [(0, process), (17, number)] {
        for (nth, digit) in text[start..start + 16].iter_mut().enumerate() {
            *digit = b"0123456789abcdef"[(number >> (60 - 4 * nth)) as usize & 0xf];
        }
    }
    HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static(""))
}

fn is_fit(id: &[u8]) -> bool {
    (1..=64).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_id_is_taken_over_only_if_it_is_harmless() {
        let given = |id: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap());
            of(&headers)
        };
        assert_eq!(given("abc-DEF_1.2"), "abc-DEF_1.2");
        assert_eq!(given(&"a".repeat(64)), "a".repeat(64).as_str());
        for bad in ["", "a b", "a\"b", "a;b", "é", &"a".repeat(65)] {
            assert!(is_fit(given(bad).as_bytes()) && given(bad) != bad, "{bad}");
        }
        assert_ne!(of(&HeaderMap::new()), of(&HeaderMap::new()));
        assert_eq!(ours(0x0123_4567_89ab_cdef, 255), "0123456789abcdef-00000000000000ff");
    }
}
