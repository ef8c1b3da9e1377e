//! Bearer tokens for client credentials (RFC 6749, 4.4), kept until they expire.

use std::time::Duration;

use countersign::core::time::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Url};
use serde::Deserialize;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::config::FieldValue;

/// How much earlier than it expires a token is renewed: a request that carries it must arrive in time.
const EARLY: Duration = Duration::from_secs(60);

/// How long a token is kept whose server does not say how long it lasts.
const UNSAID: Duration = Duration::from_secs(300);

/// What a token is asked for with.
#[derive(Clone)]
pub(crate) struct Grant {
    pub url: Url,
    pub authorization: HeaderValue,
    /// Empty if none is asked for.
    pub scope: String,
}

/// The token of one provider. Whoever finds none gets one while the others wait: it is asked for once.
pub(crate) struct Tokens {
    grant: Grant,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    header: HeaderValue,
    until: Timestamp,
}

#[derive(Deserialize)]
struct Answer {
    access_token: FieldValue,
    expires_in: Option<u64>,
}

impl Tokens {
    pub(crate) fn new(grant: Grant) -> Self {
        Self { grant, kept: Mutex::default() }
    }

    /// The value of `Authorization`.
    ///
    /// # Errors
    /// Why there is none, without anything of what was sent or answered.
    pub(crate) async fn header(&self, client: &Client, now: Timestamp) -> Result<HeaderValue, String> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.as_ref().filter(|kept| now < kept.until) {
            return Ok(kept.header.clone());
        }
        let fresh = self.ask(client, now).await?;
        let header = fresh.header.clone();
        *kept = Some(fresh);
        Ok(header)
    }

    /// Forgets a token that was refused, so that the next message gets another. One that has been renewed since stays.
    pub(crate) async fn refused(&self, header: &HeaderValue) {
        let mut kept = self.kept.lock().await;
        if kept.as_ref().is_some_and(|kept| kept.header == *header) {
            *kept = None;
        }
    }

    async fn ask(&self, client: &Client, now: Timestamp) -> Result<Kept, String> {
        let mut form = vec![("grant_type", "client_credentials")];
        if !self.grant.scope.is_empty() {
            form.push(("scope", self.grant.scope.as_str()));
        }
        let request = client
            .post(self.grant.url.clone())
            .header(AUTHORIZATION, self.grant.authorization.clone())
            .header(ACCEPT, "application/json")
            .form(&form);
        let answer = request.send().await.map_err(|_| "the token server could not be asked".to_owned())?;
        let status = answer.status();
        if !status.is_success() {
            return Err(format!("the token server answered HTTP {}", status.as_u16()));
        }
        let bytes = answer.bytes().await.map_err(|_| "the token server's answer broke off".to_owned())?;
        let unread = || "the token server's answer holds no token".to_owned();
        let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| unread())?;
        let value = Zeroizing::new(format!("Bearer {}", answer.access_token.reveal()));
        let mut header = HeaderValue::from_str(&value).map_err(|_| unread())?;
        header.set_sensitive(true);
        let lasts = answer.expires_in.map_or(UNSAID, Duration::from_secs);
        Ok(Kept { header, until: now + lasts.saturating_sub(EARLY) })
    }
}
