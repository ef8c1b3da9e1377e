//! Signatures of requests, each by its vendor's public scheme. What they have in common is here; a scheme is a file.
//!
//! SHA-1 stands where a vendor's scheme demands it, as a keyed hash or with a secret in front, and nowhere else.

use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use ring::{digest, hmac};
use zeroize::Zeroizing;

use crate::standard_webhooks::{self, Key};
use crate::template::TemplateError;

mod aliyun;
mod aws;
mod azure;
mod ovh;
mod rule;
mod tencent;

pub(crate) use aliyun::Aliyun;
pub(crate) use aws::Aws;
pub(crate) use azure::Azure;
pub(crate) use ovh::Ovh;
pub(crate) use rule::{Hmac, HmacRule, Parts};
pub(crate) use tencent::Tencent;

/// What signs a provider's requests. Secrets are wiped when it is dropped.
pub(crate) enum Signer {
    StandardWebhooks(Key),
    Hmac(Hmac),
    Aws(Aws),
    Azure(Azure),
    Tencent(Tencent),
    Aliyun(Aliyun),
    Ovh(Ovh),
}

/// A request that is about to be signed.
pub(crate) struct Signing<'a> {
    pub method: &'a Method,
    pub url: &'a Url,
    pub headers: &'a mut HeaderMap,
    pub body: &'a [u8],
    /// The delivery's id: what must be said once only is made of it and of the time.
    pub id: &'a str,
    /// Seconds since the epoch.
    pub now: i64,
}

impl Signer {
    pub(crate) fn sign(&self, mut request: Signing<'_>) -> Result<(), TemplateError> {
        match self {
            Self::StandardWebhooks(key) => {
                let signature = key.sign(request.id, request.now, request.body);
                request.insert(ID, request.id)?;
                request.insert(TIMESTAMP, &request.now.to_string())?;
                request.insert(SIGNATURE, &signature)
            }
            Self::Hmac(signer) => signer.sign(&mut request),
            Self::Aws(signer) => signer.sign(&mut request),
            Self::Azure(signer) => signer.sign(&mut request),
            Self::Tencent(signer) => signer.sign(&mut request),
            Self::Aliyun(signer) => signer.sign(&mut request),
            Self::Ovh(signer) => signer.sign(&mut request),
        }
    }
}

// Read once: every webhook has them.
const ID: HeaderName = HeaderName::from_static(standard_webhooks::ID);
const TIMESTAMP: HeaderName = HeaderName::from_static(standard_webhooks::TIMESTAMP);
const SIGNATURE: HeaderName = HeaderName::from_static(standard_webhooks::SIGNATURE);

impl Signing<'_> {
    fn put(&mut self, name: &str, value: &str) -> Result<(), TemplateError> {
        self.insert(name.parse().map_err(|_| TemplateError)?, value)
    }

    fn insert(&mut self, name: HeaderName, value: &str) -> Result<(), TemplateError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| TemplateError)?;
        value.set_sensitive(true);
        self.headers.insert(name, value);
        Ok(())
    }

    /// As the client will send it: with the port, where it is not the scheme's own.
    fn host(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE.as_str())
    }

    /// The query with its pairs in order, encoded as RFC 3986 has it.
    fn canonical_query(&self) -> String {
        let mut pairs: Vec<_> = self.url.query_pairs().map(|(name, value)| (percent(&name), percent(&value))).collect();
        pairs.sort();
        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
    }
}

/// Everything but letters, digits, `-`, `.`, `_` and `~` as `%XX`.
fn percent(text: &str) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => out.push(char::from(byte)),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hmac_sha256(key: &[u8], text: &[u8]) -> Zeroizing<Vec<u8>> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    Zeroizing::new(hmac::sign(&key, text).as_ref().to_vec())
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        out.push(char::from(HEX[usize::from(byte >> 4)]));
        out.push(char::from(HEX[usize::from(byte & 15)]));
    }
    out
}

/// A time in UTC, as `strftime` writes it.
fn date(now: i64, format: &str) -> Result<String, TemplateError> {
    Timestamp::from_second(now).map(|time| time.strftime(format).to_string()).map_err(|_| TemplateError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_utc() {
        assert_eq!(date(1_440_938_160, "%Y%m%dT%H%M%SZ"), Ok("20150830T123600Z".to_owned()));
        assert_eq!(date(784_111_777, "%a, %d %b %Y %H:%M:%S GMT"), Ok("Sun, 06 Nov 1994 08:49:37 GMT".to_owned()));
        assert_eq!(date(i64::MAX, "%Y"), Err(TemplateError));
    }

    #[test]
    fn what_is_not_unreserved_is_percent_encoded() {
        assert_eq!(percent("a-B._~9 +é/=*"), "a-B._~9%20%2B%C3%A9%2F%3D%2A");
    }
}

/// What the tests of the schemes share.
#[cfg(test)]
mod bench {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    /// Signs a request and gives its headers back.
    pub(super) fn signed(
        signer: &Signer,
        method: &str,
        url: &str,
        headers: &[(&str, &str)],
        body: &str,
        now: i64,
    ) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let (method, url) = (method.parse().unwrap(), Url::parse(url).unwrap());
        let request = Signing { method: &method, url: &url, headers: &mut map, body: body.as_bytes(), id: "dl_1", now };
        signer.sign(request).unwrap();
        map
    }
}
