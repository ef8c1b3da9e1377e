//! `Authorization: Bearer <api key>`.

use axum::extract::{FromRequestParts, Path};
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use countersign::Access;
use countersign::core::id::VerificationId;

use super::problem::Problem;
use crate::service::{Door, Shared};

/// Whose key a request bears.
///
/// # Errors
/// Unauthorized for a key that is missing, wrong, revoked or given twice.
pub async fn authenticate(door: &Door, headers: &HeaderMap) -> Result<Access, Problem> {
    let key = bearer(headers).ok_or_else(Problem::unauthorized)?;
    match door.verifier.authenticate(key).await {
        Ok(access) => access.ok_or_else(Problem::unauthorized),
        Err(broken) => Err(Problem::from_broken(&broken)),
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
    let key = key.trim_start_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !key.is_empty()).then_some(key)
}

/// Who asks, for calls without a body.
#[derive(Debug)]
pub struct Caller(pub Access);

impl FromRequestParts<Shared> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, door: &Shared) -> Result<Self, Problem> {
        authenticate(door, &parts.headers).await.map(Self)
    }
}

/// The verification that the path names, if the text can be an id at all. Whoever is not known is told so before anything about ids.
#[derive(Clone, Copy, Debug)]
pub struct Id(Option<VerificationId>);

impl Id {
    /// The id.
    ///
    /// # Errors
    /// Not found: what cannot be an id is nobody's.
    pub fn known(self) -> Result<VerificationId, Problem> {
        self.0.ok_or_else(Problem::not_found)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(Self(path.ok().and_then(|Path(id)| id.parse().ok())))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_one_bearer_key_is_a_key() {
        let mut headers = HeaderMap::new();
        assert_eq!(bearer(&headers), None);
        for (value, key) in [
            ("Bearer cs_1", Some("cs_1")),
            ("bearer  cs_1", Some("cs_1")),
            ("Bearer", None),
            ("Bearer ", None),
            ("cs_1", None),
            ("Basic Y3NfMQ==", None),
        ] {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            assert_eq!(bearer(&headers), key, "{value}");
        }
        headers.append(AUTHORIZATION, "Bearer cs_2".parse().unwrap());
        assert_eq!(bearer(&headers), None);
    }
}
