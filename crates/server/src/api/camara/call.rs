//! A call of this dialect: authenticated, its correlator lawful, its body whole.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use countersign::core::id::ApplicationName;

use super::no::No;
use super::{X_CORRELATOR, is_correlator};
use crate::http::json::Fields;
use crate::http::problem::{Kind, Problem};
use crate::http::{auth, body};
use crate::service::Shared;

/// Who asks, and what came with it.
#[derive(Debug)]
pub(super) struct Call {
    /// Whose verifications it is about.
    pub application: ApplicationName,
    body: Bytes,
}

impl FromRequest<Shared> for Call {
    type Rejection = No;

    /// Who is not known costs no memory.
    async fn from_request(request: Request, door: &Shared) -> Result<Self, No> {
        let (parts, body) = request.into_parts();
        let access = match auth::authenticate(door, &parts.headers).await {
            Ok(access) => access,
            Err(problem) => {
                body::discard(&parts.headers, body, &door.settings.bounds).await;
                return Err(No::from_problem(&problem));
            }
        };
        let body = body::read(&parts.headers, body, &door.settings.bounds).await.map_err(Problem::from)?;
        if parts.headers.get_all(X_CORRELATOR).iter().any(|value| !is_correlator(value.as_bytes())) {
            return Err(No::invalid("x-correlator: must be at most 256 characters of a-z, A-Z, 0-9 and -_:;./<>{}"));
        }
        if !body.is_empty() && !body::is_of_type(&parts.headers, "application/json") {
            return Err(Problem::new(Kind::UnsupportedMediaType, "").into());
        }
        Ok(Self { application: access.application, body })
    }
}

impl Call {
    /// The body's properties: these and no others, each a string that must be there.
    pub fn strings<const N: usize>(&self, names: [&'static str; N]) -> Result<[String; N], No> {
        let mut fields = Fields::read(&self.body, &names)?;
        let mut texts = [const { String::new() }; N];
        for (text, name) in texts.iter_mut().zip(names) {
            *text = fields.required_string(name)?;
        }
        Ok(texts)
    }
}
