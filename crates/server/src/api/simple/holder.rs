//! Who holds a verification's id, and who only knows the number.
//!
//! The id is handed to whoever begins a verification, in the answer and in a cookie. Somebody who asks for a number that has a
//! verification pending already, and does not show its id, is a stranger: he gets an answer of the same shape, with an id that
//! names nothing. With it his guesses are counted as those of somebody who only knows the number.

use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue};
use countersign::Broken;
use countersign::core::id::VerificationId;

use super::Simple;
use crate::http::answer;

const COOKIE_NAME: &str = "cs_vid";

/// The ids that a request shows: in its body, in its cookies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shown([Option<VerificationId>; 2]);

impl Shown {
    pub fn read(in_body: Option<VerificationId>, headers: &HeaderMap) -> Self {
        Self([in_body, in_cookie(headers)])
    }

    pub fn has(self, id: VerificationId) -> bool {
        self.0.into_iter().flatten().any(|shown| shown.same_as(&id))
    }

    /// The body's first.
    pub const fn ids(self) -> [Option<VerificationId>; 2] {
        self.0
    }
}

fn in_cookie(headers: &HeaderMap) -> Option<VerificationId> {
    let lines = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        if name == COOKIE_NAME { value.trim_matches('"').parse().ok() } else { None }
    })
}

/// An id that names nothing, for a stranger.
pub(super) fn decoy() -> Result<VerificationId, Broken> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Broken::Random)?;
    Ok(VerificationId::from_bytes(bytes))
}

/// Has the browser show the id with its guesses, whatever the page does.
pub(super) fn set_cookie(headers: &mut HeaderMap, simple: &Simple, id: VerificationId, seconds: u64) {
    let cookie: HeaderValue = answer::value(format!("{COOKIE_NAME}={id}; Max-Age={seconds}{}", simple.cookie));
    headers.append(SET_COOKIE, cookie);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_cookie_is_found_among_others() {
        let id = VerificationId::from_bytes([7; 16]);
        for (line, found) in [
            (format!("a=b; cs_vid={id}; c"), true),
            (format!("cs_vid=\"{id}\""), true),
            (format!("xcs_vid={id}"), false),
            ("cs_vid=1".to_owned(), false),
            (String::new(), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, line.parse().unwrap());
            assert_eq!(Shown::read(None, &headers).has(id), found, "{line}");
        }
    }
}
