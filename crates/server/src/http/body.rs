//! A request's body: whole, in time, and no larger than it may be.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody as _};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http_body_util::BodyExt as _;

use super::problem::{Kind, Problem};
use crate::settings::Bounds;

/// Of a body that is too large so much is read and thrown away before the refusal. A client that is still writing when its
/// connection closes never sees the answer; beyond this it is on its own.
const THROWN_AWAY: usize = 16 * 1024 * 1024;

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is larger than it may be.
    TooLarge,
    /// It did not come in time.
    Slow,
    /// The connection or the framing broke.
    Broken,
    /// It is compressed.
    Encoded,
}

/// Reads a body.
///
/// # Errors
/// [`Unread`] says why not.
pub async fn read(headers: &HeaderMap, body: Body, bounds: &Bounds) -> Result<Bytes, Unread> {
    // What is small may grow without end when it is unpacked, so nothing is.
    if is_encoded(headers) {
        discard(headers, body, bounds).await;
        return Err(Unread::Encoded);
    }
    read_as_it_is(headers, body, bounds).await
}

/// The same whatever it is said to be: gateways say `Content-Encoding: utf-8`, and prove their reports otherwise.
///
/// # Errors
/// [`Unread`] says why not.
pub async fn read_as_it_is(headers: &HeaderMap, body: Body, bounds: &Bounds) -> Result<Bytes, Unread> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > bounds.body as u64) {
        // Who asked first (100-continue) has sent nothing yet.
        if !headers.contains_key(EXPECT) {
            throw_away(body, 0, bounds.body_within).await;
        }
        return Err(Unread::TooLarge);
    }
    tokio::time::timeout(bounds.body_within, collect(body, bounds)).await.unwrap_or(Err(Unread::Slow))
}

async fn collect(mut body: Body, bounds: &Bounds) -> Result<Bytes, Unread> {
    let Some(first) = next(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() <= bounds.body && body.is_end_stream() {
        return Ok(first);
    }
    let mut whole = Vec::with_capacity(first.len() * 2);
    whole.extend_from_slice(&first);
    while whole.len() <= bounds.body {
        match next(&mut body).await? {
            Some(more) => whole.extend_from_slice(&more),
            None => return Ok(whole.into()),
        }
    }
    throw_away(body, whole.len(), bounds.body_within).await;
    Err(Unread::TooLarge)
}

/// The next bytes; trailers are nobody's business.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Unread> {
    loop {
        match body.frame().await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Unread::Broken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// Lets a body that nobody will read come in, within bounds: what was refused for another reason than its body must be heard too.
pub async fn discard(headers: &HeaderMap, body: Body, bounds: &Bounds) {
    if !body.is_end_stream() && !headers.contains_key(EXPECT) {
        throw_away(body, 0, bounds.body_within).await;
    }
}

async fn throw_away(mut body: Body, mut seen: usize, within: Duration) {
    let reading = async {
        while seen <= THROWN_AWAY {
            match next(&mut body).await {
                Ok(Some(more)) => seen += more.len(),
                _ => return,
            }
        }
    };
    let _ = tokio::time::timeout(within, reading).await;
}

/// Whether the body is said to be anything but what it is.
fn is_encoded(headers: &HeaderMap) -> bool {
    let codings = |name, plain: &'static str| {
        let is_plain = move |word: &str| word.trim().is_empty() || word.trim().eq_ignore_ascii_case(plain);
        headers.get_all(name).iter().any(|value| !value.to_str().is_ok_and(|said| said.split(',').all(is_plain)))
    };
    codings(CONTENT_ENCODING, "identity") || codings(TRANSFER_ENCODING, "chunked")
}

/// Whether the body is said to be of this type, whatever its parameters (`; charset=utf-8`).
pub fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    said.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted)
}

impl From<Unread> for Problem {
    fn from(unread: Unread) -> Self {
        match unread {
            Unread::TooLarge => Self::new(Kind::BodyTooLarge, "no request of this API needs so large a body"),
            Unread::Slow => Self::new(Kind::RequestTimeout, "the body did not arrive in time; send it again"),
            Unread::Broken => Self::new(Kind::InvalidRequest, "the body broke off"),
            Unread::Encoded => {
                Self::new(Kind::UnsupportedMediaType, "send the body as it is: nothing is unpacked here")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn bounds(body: usize) -> Bounds {
        Bounds { body, body_within: Duration::from_millis(50), ..Bounds::default() }
    }

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound_and_not_beyond() {
        let headers = HeaderMap::new();
        assert_eq!(read(&headers, Body::from("12345"), &bounds(5)).await.unwrap(), "12345");
        assert_eq!(read(&headers, Body::from("123456"), &bounds(5)).await, Err(Unread::TooLarge));
        assert_eq!(read(&headers, Body::empty(), &bounds(5)).await.unwrap(), "");
        let parts = || Body::from_stream(tokio_stream::iter(["12", "34", "5"].map(Ok::<_, std::convert::Infallible>)));
        assert_eq!(read(&headers, parts(), &bounds(5)).await.unwrap(), "12345");
        assert_eq!(read(&headers, parts(), &bounds(4)).await, Err(Unread::TooLarge));
    }

    #[tokio::test]
    async fn a_body_that_does_not_come_is_given_up() {
        let never = Body::from_stream(tokio_stream::pending::<Result<&str, std::convert::Infallible>>());
        assert_eq!(read(&HeaderMap::new(), never, &bounds(5)).await, Err(Unread::Slow));
    }

    #[tokio::test]
    async fn a_body_that_is_compressed_is_not_taken_as_if_it_were_not() {
        let mut headers = HeaderMap::new();
        for (said, plain) in [
            ("identity", true),
            ("Identity, identity", true),
            ("", true),
            ("gzip", false),
            ("identity, br", false),
            ("é", false),
        ] {
            headers.insert(CONTENT_ENCODING, axum::http::HeaderValue::from_bytes(said.as_bytes()).unwrap());
            assert_eq!(read(&headers, Body::from("{}"), &bounds(5)).await.is_ok(), plain, "{said}");
        }
        for (said, plain) in [("chunked", true), ("gzip, chunked", false)] {
            let headers = HeaderMap::from_iter([(TRANSFER_ENCODING, said.parse().unwrap())]);
            assert_eq!(read(&headers, Body::from("{}"), &bounds(5)).await.is_ok(), plain, "{said}");
        }
    }

    #[test]
    fn types_are_compared_without_their_parameters() {
        let mut headers = HeaderMap::new();
        for (said, is) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/jsonp", false),
            ("text/json", false),
            ("", false),
        ] {
            headers.insert(CONTENT_TYPE, said.parse().unwrap());
            assert_eq!(is_of_type(&headers, "application/json"), is, "{said}");
        }
    }
}
