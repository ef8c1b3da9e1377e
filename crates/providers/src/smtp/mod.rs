//! Email over SMTP (RFC 5321).
//!
//! The dialogue is lettre's; what is ours is the order of its steps, since that is what an outcome hangs on. Until the end of the
//! message has been written nobody can have got it, whatever breaks: another provider may try. Once it is written, a silence says
//! nothing: that is [`Outcome::Unknown`]. So connections are kept here and not in lettre's pool, which tells neither the step at which
//! it failed, nor would it let go of a connection in the middle of a message when its caller stops waiting.

mod letter;
mod reply;
mod settings;

use std::error::Error as _;
use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::sender::{BoxFuture, Sender};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::DEFAULT_MECHANISMS;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::commands::{Data, Mail, Rcpt, Rset};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use crate::build::Now;
use crate::config::{ProviderConfig, ProviderError};
use letter::Letter;
use reply::{Enhanced, Step};
use settings::{Security, Settings};

/// How long an unused connection is kept. RFC 5321, 4.5.3.2.7 asks servers to wait for five minutes; not all do.
const IDLE: Duration = Duration::from_secs(60);

/// The longest wait for a connection.
const LONGEST_CONNECT: Duration = Duration::from_secs(5);

/// A mail server.
pub(crate) struct Smtp {
    name: String,
    settings: Settings,
    now: Now,
    /// A little less than the policy gives, so that what is known when time runs out is still heard.
    patience: Duration,
    connections: Semaphore,
    idle: Mutex<Vec<Idle>>,
}

/// A connection between two messages.
struct Idle {
    connection: AsyncSmtpConnection,
    since: Instant,
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Smtp {
    /// What `uses` calls it.
    pub(crate) const NAME: &'static str = "smtp";

    /// Reads the settings; connects to nothing.
    pub(crate) fn new(config: &ProviderConfig, now: Now) -> Result<Self, ProviderError> {
        let settings = Settings::read(config)?;
        Ok(Self {
            name: config.name.clone(),
            now,
            patience: config.timeout - config.timeout / 10,
            connections: Semaphore::new(settings.connections),
            idle: Mutex::default(),
            settings,
        })
    }

    async fn carry(&self, message: &Message) -> Outcome {
        if message.channel != Channel::Email {
            return rejected(format!("not sent: this provider does not carry {}", message.channel));
        }
        let letter = match Letter::write(message, &self.settings, (self.now)()) {
            Ok(letter) => letter,
            Err(outcome) => return outcome,
        };
        let deadline = Instant::now() + self.patience;
        let mut ready = match timeout_at(deadline, self.ready(&letter)).await {
            Ok(Ok(ready)) => ready,
            Ok(Err(outcome)) => return outcome,
            Err(_) => return rejected("not sent: the mail server did not answer in time".to_owned()),
        };
        // From here on a silence says nothing.
        let answer = timeout_at(deadline, ready.connection.message(&letter.bytes)).await;
        let Ok(answer) = answer else { return unknown("no answer in time, after the message was written") };
        match answer {
            Ok(_) => {
                self.keep(ready);
                Outcome::Accepted { message_id: Some(letter.message_id) }
            }
            Err(error) => match said(&error) {
                Some((code, enhanced)) => {
                    if code != 421 {
                        self.keep(ready);
                    }
                    reply::meaning(Step::Message, code, enhanced)
                }
                None => unknown("the connection broke before the answer to the message"),
            },
        }
    }

    /// A connection on which the server has taken sender and recipient and waits for the message.
    async fn ready(&self, letter: &Letter) -> Result<Ready<'_>, Outcome> {
        // Never closed, so only waiting can fail, and whoever waits is bounded by the deadline.
        let permit = self.connections.acquire().await.map_err(|_| rejected("not sent: shutting down".to_owned()))?;
        let connection = match self.awake().await {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let mut ready = Ready { connection, _permit: permit };
        match self.address(&mut ready.connection, letter).await {
            Ok(()) => Ok(ready),
            Err((step, error)) => {
                let outcome = self.failed(step, &error);
                if said(&error).is_some_and(|(code, _)| code != 421) {
                    self.keep(ready);
                }
                Err(outcome)
            }
        }
    }

    /// A kept connection that the server still answers on, reset: what the one before left behind on it is gone.
    async fn awake(&self) -> Option<AsyncSmtpConnection> {
        loop {
            let mut kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()?;
            if kept.since.elapsed() < IDLE && kept.connection.command(Rset).await.is_ok() {
                return Some(kept.connection);
            }
        }
    }

    fn keep(&self, ready: Ready<'_>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(Idle { connection: ready.connection, since: Instant::now() });
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, Outcome> {
        let Settings { host, port, security, hello, credentials, .. } = &self.settings;
        let failed = |step| move |error: Error| self.failed(step, &error);
        let (at_once, later) = match security {
            Security::None => (None, None),
            Security::Implicit(tls) => (Some(tls.clone()), None),
            Security::StartTls(tls) => (None, Some(tls.clone())),
        };
        let patience = Some(LONGEST_CONNECT.min(self.patience / 2));
        let connecting = AsyncSmtpConnection::connect_tokio1((host.as_str(), *port), patience, hello, at_once, None);
        let mut connection = connecting.await.map_err(failed(Step::Greeting))?;
        if let Some(tls) = later {
            if !connection.can_starttls() {
                return Err(rejected("not sent: the mail server offers no STARTTLS".to_owned()));
            }
            connection.starttls(tls, hello).await.map_err(failed(Step::Greeting))?;
        }
        if let Some(credentials) = credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(failed(Step::LogIn))?;
        }
        Ok(connection)
    }

    async fn address(&self, connection: &mut AsyncSmtpConnection, letter: &Letter) -> Result<(), (Step, Error)> {
        let from = self.settings.from.email.clone();
        connection.command(Mail::new(Some(from), Vec::new())).await.map_err(|error| (Step::Sender, error))?;
        let recipient = Rcpt::new(letter.to.clone(), Vec::new());
        connection.command(recipient).await.map_err(|error| (Step::Recipient, error))?;
        connection.command(Data).await.map_err(|error| (Step::Message, error))?;
        Ok(())
    }

    /// Something failed before the message was written. The client's own words are not repeated: they quote the server's, which
    /// quote what they were sent.
    fn failed(&self, step: Step, error: &Error) -> Outcome {
        if let Some((code, enhanced)) = said(error) {
            return reply::meaning(step, code, enhanced);
        }
        if step == Step::LogIn && error.is_client() {
            return rejected("not sent: the mail server offers no way of logging in that is known here".to_owned());
        }
        rejected(format!("no connection: {}", trouble(error)))
    }
}

/// A connection in use.
struct Ready<'a> {
    connection: AsyncSmtpConnection,
    _permit: SemaphorePermit<'a>,
}

impl Sender for Smtp {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Email]
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(self.carry(message))
    }
}

/// The server's reply code, and the enhanced one if it gave one.
fn said(error: &Error) -> Option<(u16, Option<Enhanced>)> {
    let code = u16::from(error.status()?);
    let words = error.source().map(ToString::to_string).unwrap_or_default();
    Some((code, Enhanced::read(&words)))
}

fn trouble(error: &Error) -> &'static str {
    if error.is_timeout() {
        return "it did not answer in time";
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = error.source();
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
        let wrapped = io.and_then(io::Error::get_ref).map(|wrapped| wrapped as &(dyn std::error::Error + 'static));
        cause = wrapped.or_else(|| error.source());
    }
    if error.is_response() { "it does not speak SMTP" } else { "it failed" }
}

/// It is certain that nobody got the message, and the fault is not in the message.
fn rejected(reason: String) -> Outcome {
    Outcome::Rejected { failure: Failure::RetryElsewhere, reason, retry_after: None }
}

fn unknown(reason: &str) -> Outcome {
    Outcome::Unknown { reason: reason.to_owned() }
}
