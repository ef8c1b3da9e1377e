//! An answer before it leaves: status, headers and a whole body, so that it can be kept and given again byte for byte.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::written::Written;

/// A whole answer.
pub type Answer = Response<Bytes>;

/// `application/json`.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Marks an answer about a state that passes although its status does not say so: the same request may succeed later.
#[derive(Clone, Copy, Debug)]
pub struct Passing;

/// An answer with a JSON body.
pub fn json<T: Serialize>(status: StatusCode, body: &T) -> Answer {
    // Serialising our own structs into memory cannot fail; an empty body would show at once in any test.
    let mut bytes = Vec::with_capacity(1280);
    let _ = serde_json::to_writer(&mut bytes, body);
    with_body(status, JSON, bytes.into())
}

/// An answer with a JSON body that was written already.
pub fn written(status: StatusCode, body: Written) -> Answer {
    with_body(status, JSON, body.into_body())
}

/// An answer with a body of this type.
pub fn with_body(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, content_type);
    answer
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Bytes::new());
    *answer.status_mut() = status;
    answer
}

/// What axum sends.
pub fn response(answer: Answer) -> axum::response::Response {
    answer.map(Body::from)
}

/// A header's value from text that we made: ASCII without control characters.
pub fn value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

/// An answer as bytes: status, headers, body; each text with its length before it.
pub fn encode(answer: &Answer) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(answer.body().len() + 128);
    bytes.extend(answer.status().as_u16().to_be_bytes());
    bytes.extend(u16::try_from(answer.headers().len()).unwrap_or(0).to_be_bytes());
    for (name, value) in answer.headers() {
        for text in [name.as_str().as_bytes(), value.as_bytes()] {
            bytes.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
            bytes.extend(text);
        }
    }
    bytes.extend(answer.body().as_ref());
    bytes
}

/// Reads what [`encode`] made; `None` if it did not.
pub fn decode(bytes: &[u8]) -> Option<Answer> {
    let (status, rest) = number(bytes)?;
    let (headers, mut rest) = number(rest)?;
    let mut answer = empty(StatusCode::from_u16(status).ok()?);
    for _ in 0..headers {
        let (name, after) = text(rest)?;
        let (value, after) = text(after)?;
        let name = HeaderName::from_bytes(name).ok()?;
        answer.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
        rest = after;
    }
    *answer.body_mut() = Bytes::copy_from_slice(rest);
    Some(answer)
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_be_bytes(*number), rest))
}

fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = number(bytes)?;
    rest.split_at_checked(usize::from(length))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_kept_answer_comes_back_byte_for_byte() {
        let mut answer = json(StatusCode::CREATED, &serde_json::json!({"a": "é\0"}));
        answer.headers_mut().insert("location", HeaderValue::from_static("/v1/verifications/vf_0"));
        let bytes = encode(&answer);
        let again = decode(&bytes).unwrap();
        assert_eq!(again.status(), answer.status());
        assert_eq!(again.headers(), answer.headers());
        assert_eq!(again.body(), answer.body());
        for cut in 0..bytes.len() - answer.body().len() {
            assert!(decode(&bytes[..cut]).is_none(), "{cut}");
        }
    }
}
