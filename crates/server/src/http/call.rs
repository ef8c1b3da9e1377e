//! A call of the native API: authenticated, its headers read, its body whole.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::Method;
use axum::response::Response;
use countersign::Access;
use countersign::core::id::ApplicationName;

use super::answer::{self, Answer};
use super::json::Fields;
use super::problem::{Kind, Problem};
use super::{auth, body, idempotency, prefer};
use crate::service::Shared;

/// Who asks, and what came with it.
#[derive(Debug)]
pub struct Call {
    /// Who asks.
    pub access: Access,
    /// How long the client would wait for a provider.
    pub wait: Option<Duration>,
    /// The random bytes to decide with, under an idempotency key.
    pub seed: Option<[u8; 56]>,
    key: Option<String>,
    method: Method,
    path: String,
    is_json: bool,
    body: Bytes,
}

impl FromRequest<Shared> for Call {
    type Rejection = Problem;

    /// Who is not known costs no memory.
    async fn from_request(request: Request, door: &Shared) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        let known = auth::authenticate(door, &parts.headers)
            .await
            .and_then(|access| Ok((access, idempotency::key(&parts.headers)?)));
        let (access, key) = match known {
            Ok(known) => known,
            Err(problem) => {
                body::discard(&parts.headers, body, &door.settings.bounds).await;
                return Err(problem);
            }
        };
        let body = body::read(&parts.headers, body, &door.settings.bounds).await?;
        Ok(Self {
            access,
            wait: prefer::wait(&parts.headers),
            seed: None,
            path: if key.is_some() { parts.uri.path().to_owned() } else { String::new() },
            key,
            method: parts.method,
            is_json: body::is_of_type(&parts.headers, "application/json"),
            body,
        })
    }
}

impl Call {
    /// Whose verifications it is about.
    #[must_use]
    pub fn application(&self) -> ApplicationName {
        self.access.application.clone()
    }

    /// The body's fields: these and no others.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub fn fields(&self, known: &[&str]) -> Result<Fields, Problem> {
        if !self.is_json && !self.body.is_empty() {
            return Err(Problem::new(Kind::UnsupportedMediaType, "send JSON with `Content-Type: application/json`"));
        }
        Fields::read(&self.body, known)
    }

    /// Does the work, once if the call has an idempotency key.
    pub async fn answer<W>(mut self, door: Shared, work: impl FnOnce(Shared, Self) -> W + Send + 'static) -> Response
    where
        W: Future<Output = Result<Answer, Problem>> + Send + 'static,
    {
        let answer = match self.key.take() {
            None => work(door, self).await.unwrap_or_else(|problem| problem.answer()),
            Some(key) => {
                let request = [self.method.as_str().into(), self.path.as_bytes().to_vec(), self.body.to_vec()];
                let (application, inner) = (self.application(), Shared::clone(&door));
                let work = move |seed| async move {
                    self.seed = Some(seed);
                    work(inner, self).await.unwrap_or_else(|problem| problem.answer())
                };
                idempotency::once(door, application, key, request, work).await
            }
        };
        answer::response(answer)
    }
}
