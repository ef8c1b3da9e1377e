//! A call of this dialect: authenticated, its path taken apart, its form read.

use axum::extract::{FromRequest, FromRequestParts as _, RawPathParams, Request};
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::Account;
use countersign::core::id::ApplicationName;
use countersign::store::RecordName;

use super::fields::Fields;
use super::no::{AUTHENTICATE, No};
use crate::http::body;
use crate::service::{Door, Shared};

/// Who asks, for what, and what came with it.
pub(super) struct Call {
    /// Who asks.
    pub account: Account,
    /// The path, without the address and the query.
    pub path: String,
    /// The parameters of the query.
    pub query: Fields,
    /// The parameters of the body.
    pub form: Fields,
    params: Vec<(String, String)>,
}

impl FromRequest<Shared> for Call {
    type Rejection = No;

    /// Who is not known costs no memory.
    async fn from_request(request: Request, door: &Shared) -> Result<Self, No> {
        let (mut parts, body) = request.into_parts();
        let account = match authenticate(door, &parts.headers).await {
            Ok(account) => account,
            Err(no) => {
                body::discard(&parts.headers, body, &door.settings.bounds).await;
                return Err(no);
            }
        };
        let path = parts.uri.path().trim_end_matches('/').to_owned();
        // SDKs send a content type, and sometimes a body, where there is nothing to send.
        let form = if parts.method == Method::POST {
            let whole = body::read(&parts.headers, body, &door.settings.bounds).await?;
            if !whole.is_empty() && !body::is_of_type(&parts.headers, "application/x-www-form-urlencoded") {
                return Err((415, 20415, "The body must be application/x-www-form-urlencoded").into());
            }
            Fields::read(&whole)?
        } else {
            body::discard(&parts.headers, body, &door.settings.bounds).await;
            Fields::default()
        };
        let query = Fields::read(parts.uri.query().unwrap_or_default().as_bytes())?;
        // A path that is not UTF-8 names nothing.
        let params = RawPathParams::from_request_parts(&mut parts, door).await.map_err(|_| No::not_found(&path))?;
        let params = params.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { account, path, query, form, params })
    }
}

impl Call {
    /// Whose verifications it is about.
    pub const fn application(&self) -> &ApplicationName {
        &self.account.access.application
    }

    /// A part of the path.
    pub fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Names a record of this account.
    pub fn record(&self, kind: &str, id: impl Into<String>) -> RecordName {
        RecordName { application: self.application().clone(), kind: kind.to_owned(), id: id.into() }
    }

    pub fn not_found(&self) -> No {
        No::not_found(&self.path)
    }
}

/// The absolute address of a path of this dialect.
pub(super) fn url(door: &Door, path: &str) -> String {
    format!("{}{path}", door.settings.public_url)
}

async fn authenticate(door: &Door, headers: &HeaderMap) -> Result<Account, No> {
    let (sid, secret) = basic(headers).ok_or(AUTHENTICATE)?;
    let account = door.verifier.authenticate_account(&sid, &secret).await?;
    account.ok_or_else(|| AUTHENTICATE.into())
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else { return None };
    let (scheme, pair) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let pair = String::from_utf8(STANDARD.decode(pair.trim()).ok()?).ok()?;
    let (sid, secret) = pair.split_once(':')?;
    Some((sid.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn only_one_pair_is_a_pair() {
        let mut headers = HeaderMap::new();
        assert_eq!(basic(&headers), None);
        for (value, pair) in [
            ("Basic QUMxOjI=", Some(("AC1", "2"))),
            ("basic  QUMxOjI=", Some(("AC1", "2"))),
            ("Basic QUMxOjI6Mw==", Some(("AC1", "2:3"))),
            ("Basic QUMx", None),
            ("Basic ///", None),
            ("Basic", None),
            ("Bearer QUMxOjI=", None),
        ] {
            headers.insert(AUTHORIZATION, value.parse().unwrap());
            assert_eq!(basic(&headers), pair.map(|(sid, secret)| (sid.to_owned(), secret.to_owned())), "{value}");
        }
        headers.append(AUTHORIZATION, "Basic QUMxOjI=".parse().unwrap());
        assert_eq!(basic(&headers), None);
    }
}
