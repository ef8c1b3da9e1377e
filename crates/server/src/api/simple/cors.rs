//! Which pages may call (CORS). A request without `Origin` comes from no page: an app, or a server.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

use super::no::Words;
use super::{Endpoint, No};
use crate::http::answer;
use crate::service::Door;

/// The origins that may call.
#[derive(Debug)]
pub(super) struct Origins {
    any: bool,
    /// Listed ones, and the service's own.
    listed: Vec<String>,
}

/// What is known about a request's origin.
#[derive(Clone, Debug)]
enum Standing {
    /// It names none.
    None,
    /// Any may call, without credentials.
    Any,
    /// This one may call, with credentials.
    Listed(HeaderValue),
    /// It may not.
    Stranger,
}

impl Origins {
    pub fn new(allowed: &[String], public_url: &str) -> Self {
        let tidy = |origin: &str| origin.trim_end_matches('/').to_ascii_lowercase();
        let mut listed: Vec<_> = allowed.iter().filter(|origin| *origin != "*").map(|origin| tidy(origin)).collect();
        listed.extend(own(&tidy(public_url)));
        Self { any: allowed.iter().any(|origin| origin == "*"), listed }
    }

    fn judge(&self, headers: &HeaderMap) -> Standing {
        let Some(origin) = headers.get(ORIGIN) else { return Standing::None };
        let text = origin.to_str().unwrap_or_default();
        if self.listed.iter().any(|listed| listed.eq_ignore_ascii_case(text)) {
            Standing::Listed(origin.clone())
        } else if self.any {
            Standing::Any
        } else {
            Standing::Stranger
        }
    }
}

/// The origin of our own pages; on the loop-back interface under each of its names, since people type either.
fn own(public_url: &str) -> Vec<String> {
    let Some((scheme, rest)) = public_url.split_once("://") else { return Vec::new() };
    let authority = rest.split('/').next().unwrap_or(rest);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, format!(":{port}")),
        _ => (authority, String::new()),
    };
    const LOOP_BACK: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];
    let hosts = if LOOP_BACK.contains(&host) { LOOP_BACK.to_vec() } else { vec![host] };
    hosts.into_iter().map(|host| format!("{scheme}://{host}{port}")).collect()
}

impl Standing {
    fn allow(&self, headers: &mut HeaderMap) {
        // The answer differs by origin even where there is none, and caches must know.
        headers.append(VARY, HeaderValue::from_static("origin"));
        match self {
            Self::None | Self::Stranger => {}
            Self::Any => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::Listed(origin) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
    }
}

/// Runs a call for whoever may call.
pub(super) async fn guard<W>(
    door: &Door,
    endpoint: Endpoint,
    request: Request,
    work: impl FnOnce(Request) -> W,
) -> Response
where
    W: Future<Output = Result<Response, No>>,
{
    let Some(simple) = &door.simple else { return No::from(Words::Unavailable).response(endpoint) };
    let standing = simple.origins.judge(request.headers());
    if matches!(standing, Standing::Stranger) {
        return No::from(Words::Origin).response(endpoint);
    }
    let mut response = work(request).await.unwrap_or_else(|no| no.response(endpoint));
    let headers = response.headers_mut();
    standing.allow(headers);
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("retry-after, ratelimit, ratelimit-policy, x-request-id"),
    );
    response
}

/// The answer to a preflight.
pub(super) fn preflight(door: &Door, headers: &HeaderMap) -> Response {
    let standing = door.simple.as_ref().map_or(Standing::Stranger, |simple| simple.origins.judge(headers));
    if matches!(standing, Standing::Stranger) {
        return No::from(Words::Origin).response(Endpoint::Send);
    }
    let mut answer = answer::empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static("POST, OPTIONS"));
    if !matches!(standing, Standing::None) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, x-request-id"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
    standing.allow(headers);
    answer::response(answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn standing(allowed: &[&str], public_url: &str, origin: &str) -> &'static str {
        let allowed: Vec<_> = allowed.iter().map(|&origin| origin.to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, origin.parse().unwrap());
        match Origins::new(&allowed, public_url).judge(&headers) {
            Standing::None => "none",
            Standing::Any => "any",
            Standing::Listed(_) => "listed",
            Standing::Stranger => "stranger",
        }
    }

    #[test]
    fn origins_are_judged() {
        let (url, site) = ("https://verify.example", "https://app.example");
        for (allowed, origin, expected) in [
            (&[][..], url, "listed"),
            (&[], site, "stranger"),
            (&[], "null", "stranger"),
            (&[], "http://verify.example", "stranger"),
            (&[], "https://verify.example.evil.example", "stranger"),
            (&[site], site, "listed"),
            (&["https://App.example/"], site, "listed"),
            (&[site], "https://app.example:8443", "stranger"),
            (&["*"], site, "any"),
            (&["*"], "null", "any"),
            (&["*", site], site, "listed"),
        ] {
            assert_eq!(standing(allowed, url, origin), expected, "{allowed:?} {origin}");
        }
        assert_eq!(standing(&[], "http://127.0.0.1:8080", "http://localhost:8080"), "listed");
        assert_eq!(standing(&[], "http://127.0.0.1:8080", "http://localhost:8081"), "stranger");
        assert_eq!(standing(&[], "http://[::1]:8080", "http://127.0.0.1:8080"), "listed");
    }
}
