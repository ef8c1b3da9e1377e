//! One message, one request, one answer: the sender behind every descriptor that is spoken to over HTTP.
//!
//! What may be told apart is told apart. Before a connection stands, nothing can have been taken: another provider may try. Once
//! the request is on its way, a silence or a broken connection says nothing about whether it was taken: that is
//! [`Outcome::Unknown`]. Errors of the client are never printed: they quote addresses, and addresses can hold credentials.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::sender::{BoxFuture, Sender};
use reqwest::header::{AUTHORIZATION, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder, Method, Request, Response};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::answer::{Body, Seen, judge};
use crate::build::Now;
use crate::descriptor::{Descriptor, Http};
use crate::hush::Hidden;
use crate::oauth2::Tokens;
use crate::plain::{Answer, NoAnswer, Plain};
use crate::request::{Plan, Prepared};
use crate::template::Vars;

/// The longest answer that is read. Answers of gateways have some hundred bytes.
pub(crate) const LONGEST_ANSWER: usize = 64 * 1024;

/// The longest wait for a connection.
const LONGEST_CONNECT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept. Common servers close theirs after five seconds: a request that meets the closing is
/// lost in a way that nobody can tell from a delivered one, while a new connection costs a few round trips. Busy ones stay open.
pub(crate) const IDLE: Duration = Duration::from_secs(4);

/// How many unused connections are kept.
pub(crate) const MOST_IDLE: usize = 1024;

/// What we call ourselves.
pub(crate) const NAME: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// A provider that is spoken to over HTTP.
pub(crate) struct HttpSender {
    name: String,
    descriptor: Arc<Descriptor>,
    plan: Plan,
    tokens: Option<(Tokens, Client)>,
    wire: Wire,
    now: Now,
    /// What the request holds that must not come back in a reason.
    private: Vec<Zeroizing<String>>,
}

/// How the gateway is reached.
enum Wire {
    Plain(Plain),
    Secure(Client),
}

impl Wire {
    /// Sends one request, once; what there is to say if no answer came.
    async fn send(&self, method: &Method, prepared: Prepared) -> Result<Answer, Outcome> {
        let Prepared { url, headers, body } = prepared;
        let client = match self {
            Self::Plain(plain) => {
                return plain.send(method, &url, headers, body).await.map_err(|no| match no {
                    NoAnswer::NotSent(problem) => rejected(format!("no connection: {problem}")),
                    NoAnswer::Late => Outcome::Unknown { reason: LATE.to_owned() },
                    NoAnswer::Broken => Outcome::Unknown { reason: BROKEN.to_owned() },
                });
            }
            Self::Secure(client) => client,
        };
        let mut request = Request::new(method.clone(), url);
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.into());
        let mut response = client.execute(request).await.map_err(|error| broken(&error))?;
        let (status, headers) = (response.status().as_u16(), std::mem::take(response.headers_mut()));
        Ok(Answer { status, headers, body: read(response).await })
    }
}

impl fmt::Debug for HttpSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSender").field("name", &self.name).finish_non_exhaustive()
    }
}

impl HttpSender {
    pub(crate) fn new(
        name: String,
        descriptor: Arc<Descriptor>,
        mut plan: Plan,
        timeout: Duration,
        now: Now,
        private: Vec<Zeroizing<String>>,
    ) -> Result<Self, String> {
        let wire = if plan.is_secure() {
            Wire::Secure(client(true, timeout)?)
        } else {
            let origin = plan.origin().clone();
            Plain::introduce(&origin, &mut plan.headers);
            Wire::Plain(Plain::new(&origin, connect_within(timeout), timeout))
        };
        // Who gives tokens may be another than who takes messages.
        let tokens = match plan.grant.take() {
            Some(grant) => {
                let client = client(grant.url.scheme() == "https", timeout)?;
                Some((Tokens::new(grant), client))
            }
            None => None,
        };
        Ok(Self { name, descriptor, plan, tokens, wire, now, private })
    }

    async fn carry(&self, message: &Message) -> Outcome {
        let Some(rules) = &self.descriptor.http else { return rejected("not sent: no HTTP provider".to_owned()) };
        if !self.descriptor.channels.contains(&message.channel) {
            return rejected(format!("not sent: this provider does not carry {}", message.channel));
        }
        if !self.descriptor.reaches(message.to.country()) {
            return rejected("not sent: this provider does not reach this country".to_owned());
        }
        let at = (self.now)();
        let now = at.as_secs();
        let Ok(mut prepared) = self.plan.prepare(&Vars::of(message, now), now) else {
            return rejected("not sent: the request could not be made from this message".to_owned());
        };
        let token = match &self.tokens {
            None => None,
            Some((tokens, client)) => match tokens.header(client, at).await {
                Ok(token) => Some(token),
                Err(problem) => return rejected(format!("not sent: {problem}")),
            },
        };
        if let Some(token) = &token {
            prepared.headers.insert(AUTHORIZATION, token.clone());
        }
        let Answer { status, headers, body } = match self.wire.send(&self.plan.method, prepared).await {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        if let (401, Some((tokens, _)), Some(token)) = (status, &self.tokens, &token) {
            tokens.refused(token).await;
        }
        self.judge(rules, &Seen { status, headers: &headers, body }, message, now)
    }

    fn judge(&self, rules: &Http, seen: &Seen<'_>, message: &Message, now: i64) -> Outcome {
        let hidden = Hidden {
            code: message.code.reveal(),
            text: &message.text,
            to: message.to.reveal(),
            private: &self.private,
        };
        judge(rules, seen, &hidden, now)
    }
}

/// What was asked for by `Retry-After`.
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<&str> {
    headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok())
}

impl Sender for HttpSender {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &self.descriptor.channels
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(self.carry(message))
    }
}

async fn read(mut response: Response) -> Body {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > LONGEST_ANSWER => return Body::TooLong,
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Body::Whole(body),
            Err(_) => return Body::Cut,
        }
    }
}

/// No answer came. Whether the request can have been taken depends on whether there was a connection to send it over.
fn broken(error: &reqwest::Error) -> Outcome {
    let reason = no_answer(error);
    if error.is_connect() || error.is_builder() { rejected(reason) } else { Outcome::Unknown { reason } }
}

const LATE: &str = "no answer in time";
const BROKEN: &str = "the connection broke before the answer";

/// Why no answer came, in words for people. What the client says itself is left out: it quotes addresses, which can hold credentials.
#[must_use]
pub fn no_answer(error: &reqwest::Error) -> String {
    if error.is_connect() {
        let problem = if error.is_dns() {
            "its name was not found"
        } else if error.is_timeout() {
            "it did not answer in time"
        } else {
            connecting(error)
        };
        return format!("no connection: {problem}");
    }
    if error.is_builder() {
        return "not sent: the request could not be made".to_owned();
    }
    if error.is_timeout() { LATE } else { BROKEN }.to_owned()
}

fn connecting(error: &reqwest::Error) -> &'static str {
    let mut cause: Option<&(dyn Error + 'static)> = error.source();
    while let Some(error) = cause {
        match error.downcast_ref::<rustls::Error>() {
            Some(rustls::Error::InvalidCertificate(_)) => return "its certificate is not trusted",
            Some(_) => return "no TLS session could be agreed on",
            None => {}
        }
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|io| io.kind() == io::ErrorKind::ConnectionRefused) {
            return "it was refused";
        }
        // What an I/O error wraps is not its source: that is the source of what it wraps.
        let wrapped = io.and_then(io::Error::get_ref).map(|wrapped| wrapped as &(dyn Error + 'static));
        cause = wrapped.or_else(|| error.source());
    }
    "it failed"
}

/// It is certain that nobody got the message, and the fault is not in the message.
fn rejected(reason: String) -> Outcome {
    Outcome::Rejected { failure: Failure::RetryElsewhere, reason, retry_after: None }
}

/// How long a connection may take: less than the whole, so that running out of time while connecting is seen as what it is.
fn connect_within(timeout: Duration) -> Duration {
    LONGEST_CONNECT.min(timeout / 2)
}

/// One client for each provider, so that none waits for another's connections.
fn client(secure: bool, timeout: Duration) -> Result<Client, String> {
    built(client_builder(secure, timeout)?)
}

/// A client that follows no redirect, asks no proxy of the environment, keeps no cookie, and sends nothing twice. With `secure` it
/// speaks TLS and trusts whom the operating system trusts.
///
/// # Errors
/// If TLS cannot be set up.
pub fn client_builder(secure: bool, timeout: Duration) -> Result<ClientBuilder, String> {
    let builder = Client::builder()
        .user_agent(NAME)
        .redirect(Policy::none())
        .referer(false)
        .no_proxy()
        .retry(reqwest::retry::never())
        .connect_timeout(connect_within(timeout))
        .timeout(timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MOST_IDLE);
    let builder = if secure {
        trust_the_system();
        builder.tls_backend_rustls()
    } else {
        // Plain HTTP, to the same machine or a private network: no certificate is looked at, so none is read from the disk.
        builder.tls_backend_preconfigured(no_trust()?)
    };
    Ok(builder)
}

/// The client; or why TLS cannot be set up, in words for people.
///
/// # Errors
/// If there are no certificates to trust.
pub fn built(builder: ClientBuilder) -> Result<Client, String> {
    builder.build().map_err(|error| {
        // The cause is about this machine's certificates and holds nothing of ours.
        let cause = error.source().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        format!("{cause}; is the package `ca-certificates` installed?")
    })
}

/// Certificates are checked against the roots of the operating system (`SSL_CERT_FILE` and `SSL_CERT_DIR` included), through the
/// platform verifier that the client brings. It takes its cryptography from the process's default, so that is set to ring; if
/// the program around us has chosen another before, that one is used.
fn trust_the_system() {
    if CryptoProvider::get_default().is_none() {
        // Losing a race against somebody else's choice is as good.
        let _ = ring::default_provider().install_default();
    }
}

fn no_trust() -> Result<ClientConfig, String> {
    Ok(ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}
