//! `Idempotency-Key`: the same key and request give the first answer again.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use countersign::core::id::ApplicationName;
use countersign::{Answered, Kept};

use super::answer::{self, Answer};
use super::problem::{Kind, Problem};
use crate::service::Shared;

/// The request's header.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Set on an answer that was given before.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// The key of a request. `"abc"` (as the draft has it, a structured-field string) and `abc` (as everybody writes it) are one key.
///
/// # Errors
/// [`Kind::InvalidRequest`] for one that is empty, longer than 255 characters, not printable ASCII, or given twice.
pub fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let refused = || Problem::invalid("Idempotency-Key", "must be one key of 1 to 255 printable ASCII characters");
    let text = value.to_str().map_err(|_| refused())?.trim();
    let key = match text.strip_prefix('"') {
        Some(quoted) => unquote(quoted).ok_or_else(refused)?,
        None => text.to_owned(),
    };
    let fit = (1..=255).contains(&key.len()) && key.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if fit && values.next().is_none() { Ok(Some(key)) } else { Err(refused()) }
}

/// The rest of a structured-field string (RFC 9651, section 3.3.3) after its opening quote.
fn unquote(quoted: &str) -> Option<String> {
    let inside = quoted.strip_suffix('"')?;
    let mut text = String::with_capacity(inside.len());
    let mut characters = inside.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next().filter(|next| matches!(next, '"' | '\\'))?),
            '"' => return None,
            plain => text.push(plain),
        }
    }
    Some(text)
}

/// Does `work` once under a key. It goes on when the client hangs up: its answer is kept for when the client asks again.
pub async fn once<W>(
    door: Shared,
    application: ApplicationName,
    key: String,
    request: [Vec<u8>; 3],
    work: impl FnOnce([u8; 56]) -> W + Send + 'static,
) -> Answer
where
    W: Future<Output = Answer> + Send + 'static,
{
    let asked = super::detached(async move {
        let request = request.each_ref().map(Vec::as_slice);
        let answered = door.verifier.answer_once(&application, &key, &request, |seed| async move {
            let answer = work(seed).await;
            let bytes = answer::encode(&answer);
            if is_passing(&answer) { Kept::Forget(bytes) } else { Kept::Keep(bytes) }
        });
        answered.await
    });
    match asked.await {
        Some(Ok(Answered::First(bytes))) => answer::decode(&bytes).unwrap_or_else(|| Problem::internal().answer()),
        Some(Ok(Answered::Replayed(bytes))) => {
            let mut answer = answer::decode(&bytes).unwrap_or_else(|| Problem::internal().answer());
            answer.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
            answer
        }
        Some(Ok(Answered::InFlight)) => in_flight().answer(),
        Some(Ok(Answered::Mismatch)) => reused().answer(),
        Some(Err(broken)) => Problem::from_broken(&broken).answer(),
        None => Problem::internal().answer(),
    }
}

/// About a state that passes: the same request may succeed later, so its answer is not the one to keep.
fn is_passing(answer: &Answer) -> bool {
    let status = answer.status();
    let marked = answer.extensions().get::<answer::Passing>().is_some();
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS || marked
}

fn in_flight() -> Problem {
    Problem { retry_after: Some(1), ..Problem::new(Kind::IdempotencyInFlight, "ask again in a moment for its answer") }
}

fn reused() -> Problem {
    Problem::new(Kind::IdempotencyKeyReused, "use a new key for a new request; the same one only to repeat a request")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn keys_are_read_bare_and_quoted() {
        let read = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::from_bytes(value.as_bytes()).unwrap());
            key(&headers).map_err(|problem| problem.param.unwrap().into_owned())
        };
        assert_eq!(key(&HeaderMap::new()), Ok(None));
        assert_eq!(read("abc").unwrap().as_deref(), Some("abc"));
        assert_eq!(read("\"abc\"").unwrap(), read(" abc ").unwrap());
        assert_eq!(read(r#""a\"b\\c""#).unwrap().as_deref(), Some(r#"a"b\c"#));
        assert_eq!(read(&"k".repeat(255)).unwrap().unwrap().len(), 255);
        for bad in ["", "\"\"", "\"", "\"a", "\"a\"b\"", r#""a\x""#, "é", &"k".repeat(256), "a\tb"] {
            assert_eq!(read(bad), Err("Idempotency-Key".to_owned()), "{bad}");
        }
        let mut twice = HeaderMap::new();
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        twice.append(IDEMPOTENCY_KEY, HeaderValue::from_static("a"));
        assert!(key(&twice).is_err());
    }
}
