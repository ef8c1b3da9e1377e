//! One message, one request, one answer: signed by Standard Webhooks, to an address that may be gone to, and nowhere else.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use countersign_providers::http::{built, client_builder, no_answer};
use countersign_providers::standard_webhooks::{ID, SIGNATURE, TIMESTAMP};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, StatusCode};

use super::Endpoint;
use super::address::{Guide, NotPublic, Reach};

/// How much of an answer is read, so that its connection can be used again.
const LONGEST_ANSWER: usize = 16 * 1024;

/// What an endpoint said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It took the message.
    Taken,
    /// It will never take another one (410).
    Gone,
    /// It did not take it.
    No {
        /// Why, in words for people.
        error: String,
        /// How long it asks to be left alone.
        retry_after: Option<Duration>,
    },
}

/// Sends webhooks.
#[derive(Clone)]
pub struct Sender {
    client: Client,
    guide: Guide,
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("guide", &self.guide).finish_non_exhaustive()
    }
}

impl Sender {
    /// Gives an endpoint `timeout` to answer, and goes as far as `reach`.
    ///
    /// # Errors
    /// If TLS cannot be set up.
    pub fn new(secure: bool, timeout: Duration, reach: Reach) -> Result<Self, String> {
        let guide = Guide(reach);
        let client = built(client_builder(secure, timeout)?.dns_resolver(guide))?;
        Ok(Self { client, guide })
    }

    /// Posts a body under an id. `now` is in seconds since the epoch: it is signed too, so that a captured request goes stale.
    pub async fn post(&self, endpoint: &Endpoint, id: &str, now: i64, body: &str) -> Said {
        // The client looks names up through the guide, but not what is an address already.
        if let Some(refused) = endpoint.url.host_str().and_then(|host| self.guide.refuses(host)) {
            return no(format!("not sent: {refused}"));
        }
        let signatures: Vec<_> = endpoint.keys.iter().map(|key| key.sign(id, now, body.as_bytes())).collect();
        let request = self
            .client
            .post(endpoint.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(ID, id)
            .header(TIMESTAMP, now)
            .header(SIGNATURE, signatures.join(" "))
            .body(body.to_owned());
        let mut answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return no(why(&error)),
        };
        let (status, wait) = (answer.status(), answer.headers().get(RETRY_AFTER));
        let retry_after = wait.and_then(|wait| wait.to_str().ok()?.trim().parse().ok()).map(Duration::from_secs);
        let mut read = 0;
        while let Ok(Some(piece)) = answer.chunk().await {
            read += piece.len();
            if read > LONGEST_ANSWER {
                break;
            }
        }
        judge(status, retry_after)
    }
}

fn judge(status: StatusCode, retry_after: Option<Duration>) -> Said {
    match status {
        StatusCode::GONE => Said::Gone,
        _ if status.is_success() => Said::Taken,
        _ if status.is_redirection() => {
            no(format!("answered {}: redirects are not followed; write the final address", status.as_u16()))
        }
        _ => Said::No { error: format!("answered {}", status.as_u16()), retry_after },
    }
}

fn no(error: String) -> Said {
    Said::No { error, retry_after: None }
}

/// The guide's refusal, if it is one, else as for any request.
fn why(error: &reqwest::Error) -> String {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        if let Some(refused) = error.downcast_ref::<NotPublic>() {
            return format!("not sent: {refused}");
        }
        cause = error.source();
    }
    no_answer(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_2xx_is_taken_and_only_a_410_is_gone() {
        let status = |code| StatusCode::from_u16(code).unwrap_or_default();
        for code in 100..600 {
            let said = judge(status(code), None);
            assert_eq!(said == Said::Taken, (200..300).contains(&code), "{code}");
            assert_eq!(said == Said::Gone, code == 410, "{code}");
        }
        assert!(
            matches!(judge(status(302), None), Said::No { error, .. } if error.contains("redirects are not followed"))
        );
    }
}
