//! Files that are part of the program, each with a strong `ETag`.

use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH, REFERRER_POLICY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use sha2::{Digest as _, Sha256};

use super::answer;

/// One file.
#[derive(Clone, Debug)]
pub struct Asset {
    content_type: HeaderValue,
    policy: Option<HeaderValue>,
    etag: HeaderValue,
    body: Bytes,
}

impl Asset {
    /// A file of this type.
    #[must_use]
    pub fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        let digest = Sha256::digest(&body);
        let tag = digest.iter().take(16).fold(String::from("\""), |tag, byte| tag + &format!("{byte:02x}")) + "\"";
        Self { content_type: HeaderValue::from_static(content_type), policy: None, etag: answer::value(tag), body }
    }

    /// A page that may do only so much (`Content-Security-Policy`).
    #[must_use]
    pub fn with_policy(mut self, policy: &'static str) -> Self {
        self.policy = Some(HeaderValue::from_static(policy));
        self
    }

    /// The file, or 304 if the client has it already. It is asked for each time, so that an upgraded server is seen at once.
    #[must_use]
    pub fn response(&self, request: &HeaderMap) -> Response {
        let known = request.get_all(IF_NONE_MATCH).iter().any(|tags| names(tags, &self.etag));
        let mut answer = if known {
            answer::empty(StatusCode::NOT_MODIFIED)
        } else {
            answer::with_body(StatusCode::OK, self.content_type.clone(), self.body.clone())
        };
        let headers = answer.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if let Some(policy) = &self.policy {
            headers.insert(CONTENT_SECURITY_POLICY, policy.clone());
        }
        answer::response(answer)
    }
}

fn names(tags: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(tags), Ok(etag)) = (tags.to_str(), etag.to_str()) else { return false };
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let asset = Asset::new("text/css", "a{}");
        let first = asset.response(&HeaderMap::new());
        assert_eq!(first.status(), 200);
        let etag = first.headers()[ETAG].to_str().unwrap().to_owned();
        assert!(etag.starts_with('"') && etag.len() == 34);
        for (tags, status) in
            [(etag.clone(), 304), (format!("\"x\", W/{etag}"), 304), ("*".to_owned(), 304), ("\"x\"".to_owned(), 200)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(IF_NONE_MATCH, tags.parse().unwrap());
            assert_eq!(asset.response(&headers).status(), status, "{tags}");
        }
    }
}
