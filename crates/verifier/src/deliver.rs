//! A message is carried, after the commit: by the process that committed it, or by another when its lease runs out.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::decision::Chance;
use countersign_core::deliver::{Next, Receipt, Report, Reported};
use countersign_core::hear::Hear;
use countersign_core::id::DeliveryId;
use countersign_core::message;
use countersign_core::outcome::{Failure as Rejection, Message, Outcome};
use countersign_core::policy::Application;
use countersign_core::time::Timestamp;
use countersign_core::verification::{Delivery, DeliveryStatus, Verification};
use tokio::sync::Notify;

use crate::observe::Observation;
use crate::sender::{BoxFuture, Sender};
use crate::store::{self, Claimed, WithDeliveries};
use crate::verifier::{Broken, Verifier, chance};

/// How often an outcome that the store would not take is offered again before the lease is left to run out.
const REPORT_TRIES: u32 = 6;

/// Deliveries taken from the outbox in one transaction.
const CLAIMED_AT_ONCE: usize = 256;

/// What a provider has said about a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It took it.
    Accepted,
    /// No provider took it, and none will be asked again.
    Failed,
    /// The same, since the provider says that nobody can reach the number.
    Unreachable,
    /// Nobody can say; the policy waits for a receipt.
    Unknown,
    /// Nothing yet.
    NotYet,
}

impl Word {
    /// Whether no provider took the message, and none will be asked again.
    #[must_use]
    pub const fn is_no(self) -> bool {
        matches!(self, Self::Failed | Self::Unreachable)
    }
}

impl Verifier {
    /// Takes what is overdue in the outbox, as much as this process can carry, and carries it; how many were taken.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn carry_overdue(&self) -> Result<usize, Broken> {
        self.carry_some().await.map(|(taken, _)| taken)
    }

    /// The same, and whether there may be more than was taken.
    pub(crate) async fn carry_some(&self) -> Result<(usize, bool), Broken> {
        let free = self.inner.carriers.available_permits();
        if free == 0 || self.open().is_err() {
            return Ok((0, free == 0));
        }
        let (lease, most) = (self.longest_lease(), free.min(CLAIMED_AT_ONCE));
        let claimed = self.inner.store.claim(self.now(), lease, most).await?;
        let taken = claimed.len();
        for one in claimed {
            let Ok(permit) = Arc::clone(&self.inner.carriers).acquire_owned().await else { break };
            let verifier = self.clone();
            tokio::spawn(async move {
                verifier.carry_claimed(one).await;
                drop(permit);
            });
        }
        Ok((taken, taken == most))
    }

    /// Carries one delivery taken from the outbox. If it was taken before, whoever had it stopped before its outcome was known.
    async fn carry_claimed(&self, Claimed { delivery, verification }: Claimed) {
        let Ok(application) = self.application(&verification.application) else {
            tracing::error!(application = %verification.application, "a message waits for an application that is not set up");
            return;
        };
        if delivery.claims <= 1 {
            self.carry(&application, verification, delivery).await;
            return;
        }
        match self.report(&application, &delivery, Reported::Interrupted).await {
            Some((Next::Carry(again), Some((verification, _)))) => {
                self.carry(&application, verification, *again).await;
            }
            _ => tracing::debug!(delivery = %delivery.id, "an interrupted delivery needs nothing more"),
        }
    }

    /// Carries a message until a provider has it or nobody will: one delivery after the other, as [`countersign_core::deliver`] decides.
    /// With the word, the verification as it was when that was written down.
    pub(crate) async fn carry(
        &self,
        application: &Arc<Application>,
        mut verification: Verification,
        mut delivery: Delivery,
    ) -> (Word, Option<WithDeliveries>) {
        loop {
            let reported = match self.when_due(&mut verification, &delivery).await {
                Ok(true) => Reported::Outcome(self.hand_over(application, &verification, &delivery).await),
                Ok(false) => Reported::Superseded,
                // The lease runs out and somebody who can reach the store takes over.
                Err(_) => return (Word::NotYet, None),
            };
            let unknown = matches!(reported, Reported::Outcome(Outcome::Unknown { .. }));
            let blamed =
                matches!(reported, Reported::Outcome(Outcome::Rejected { failure: Rejection::BlameNumber, .. }));
            let Some((next, rows)) = self.report(application, &delivery, reported).await else {
                return (Word::NotYet, None);
            };
            match next {
                Next::Done if unknown => return (Word::Unknown, rows),
                Next::Done => return (Word::Accepted, rows),
                Next::GaveUp if blamed => return (Word::Unreachable, rows),
                Next::GaveUp => return (Word::Failed, rows),
                Next::Stale => return (Word::NotYet, None),
                Next::Carry(again) => delivery = *again,
            }
            if let Some((row, _)) = rows {
                verification = row;
            }
        }
    }

    /// Waits until a delivery is due; whether its verification still wants it then.
    async fn when_due(&self, verification: &mut Verification, delivery: &Delivery) -> Result<bool, Broken> {
        let pause = delivery.due_at.after(self.now());
        if !pause.is_zero() {
            self.inner.clock.sleep(pause).await;
            self.open()?;
            match self.verification(&verification.application, verification.id).await? {
                Some((row, _)) => *verification = row,
                None => return Ok(false),
            }
        }
        Ok(verification.is_pending_at(self.now()))
    }

    /// Hands the message to the provider, for as long as the policy gives it.
    async fn hand_over(&self, application: &Application, verification: &Verification, delivery: &Delivery) -> Outcome {
        let Some(sender) = self.inner.senders.get(&delivery.provider) else {
            return rejected(Rejection::RetryElsewhere, "the provider is not set up any more");
        };
        let message = match message::write(application, &self.keys(), verification, delivery) {
            Ok(message) => message,
            Err(error) => {
                tracing::error!(%error, verification = %verification.id, "a message could not be written");
                return rejected(Rejection::GiveUp, "the message could not be written; see the log");
            }
        };
        let (started, timeout) = (self.now(), application.delivery.timeout);
        let outcome = tokio::select! {
            biased;
            outcome = sender.send(&message) => outcome,
            () = self.inner.clock.sleep(timeout) => Outcome::Unknown { reason: format!("no answer within {} s", timeout.as_secs()) },
        };
        let name = match &outcome {
            Outcome::Accepted { .. } => "accepted",
            Outcome::Rejected { .. } => "rejected",
            Outcome::Unknown { .. } => "unknown",
        };
        tracing::debug!(delivery = %delivery.id, provider = %delivery.provider, to = %verification.to, outcome = name, "carried");
        let took = self.now().since(started);
        let observation =
            Observation::Carried { provider: &delivery.provider, channel: delivery.channel, outcome: name, took };
        self.inner.observer.observe(observation);
        outcome
    }

    /// Makes an outcome durable; `None` if the store would not take it in time.
    async fn report(
        &self,
        application: &Arc<Application>,
        delivery: &Delivery,
        reported: Reported,
    ) -> Option<(Next, Option<(Verification, Vec<Delivery>)>)> {
        for tried in 0..REPORT_TRIES {
            match self.try_report(application, delivery, reported.clone()).await {
                Ok(answer) => return Some(answer),
                Err(error) => {
                    tracing::warn!(%error, delivery = %delivery.id, "an outcome could not be written down; trying again");
                    self.inner.observer.observe(Observation::Trouble { doing: "report" });
                }
            }
            self.inner.clock.sleep(Duration::from_millis(100 << tried)).await;
        }
        None
    }

    async fn try_report(
        &self,
        application: &Arc<Application>,
        delivery: &Delivery,
        outcome: Reported,
    ) -> Result<(Next, Option<(Verification, Vec<Delivery>)>), Broken> {
        let chance: Chance = chance()?.with_ordered_delivery(self.now());
        let report = Report {
            application: Arc::clone(application),
            verification: delivery.verification,
            delivery: delivery.id,
            claims: delivery.claims,
            outcome,
            chance,
            now: self.now(),
        };
        Ok(store::ask(&*self.inner.store, report).await?)
    }

    /// Takes a gateway's delivery report; whether it named a message that is known.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn receipt(
        &self,
        provider: &str,
        reference: &str,
        status: DeliveryStatus,
        error: Option<String>,
    ) -> Result<bool, Broken> {
        let receipt =
            Receipt { provider: provider.to_owned(), reference: reference.to_owned(), status, error, now: self.now() };
        Ok(store::ask(&*self.inner.store, receipt).await?)
    }

    /// A gateway says that a person pressed a key on the call that carries this delivery: the message to say, code included, or
    /// `None` where nothing may be said (any more). Whoever asks has proved before that it is the gateway; the ticket proves which
    /// call it is about. A code is given once for a call, and the call then counts as delivered.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn hear(&self, provider: &str, delivery: DeliveryId, ticket: String) -> Result<Option<Message>, Broken> {
        let hear = Hear { provider: provider.to_owned(), delivery, ticket, keys: self.keys(), now: self.now() };
        let Some((verification, delivery)) = store::ask(&*self.inner.store, hear).await? else { return Ok(None) };
        let application = self.application(&verification.application)?;
        match message::write(&application, &self.keys(), &verification, &delivery) {
            Ok(message) => Ok(Some(message)),
            Err(error) => {
                tracing::error!(%error, verification = %verification.id, "a message could not be written");
                Ok(None)
            }
        }
    }

    fn longest_lease(&self) -> Duration {
        let applications = self.inner.applications.read().unwrap_or_else(PoisonError::into_inner);
        applications.values().map(|application| application.delivery.lease()).max().unwrap_or(Duration::from_secs(30))
    }
}

fn rejected(failure: Rejection, reason: &str) -> Outcome {
    Outcome::Rejected { failure, reason: reason.to_owned(), retry_after: None }
}

/// A phone for tests: takes every message unless told otherwise, and can be asked what it got.
///
/// ```
/// use countersign::{RecordingSender, Sender};
/// let phone = RecordingSender::new("phone");
/// assert_eq!(phone.name(), "phone");
/// ```
pub struct RecordingSender {
    name: String,
    messages: Mutex<Vec<Recorded>>,
    script: Mutex<VecDeque<Outcome>>,
    arrived: Notify,
}

/// A message as a [`RecordingSender`] got it.
#[derive(Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The delivery's id.
    pub id: String,
    /// To whom.
    pub to: String,
    /// How.
    pub channel: Channel,
    /// The text, code included.
    pub text: String,
    /// The code.
    pub code: String,
    /// When the code stops working.
    pub expires_at: Timestamp,
}

impl RecordingSender {
    /// A phone of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), messages: Mutex::default(), script: Mutex::default(), arrived: Notify::new() }
    }

    /// What it answers to the next messages, in order; after that it accepts. A message that it does not accept is not recorded,
    /// except one whose outcome is unknown.
    pub fn script(&self, outcomes: impl IntoIterator<Item = Outcome>) {
        self.script.lock().unwrap_or_else(PoisonError::into_inner).extend(outcomes);
    }

    /// Everything it got, oldest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Recorded> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The code of the newest message to a destination, as soon as there is one.
    pub async fn wait_for_code(&self, to: &str) -> String {
        loop {
            let arrived = self.arrived.notified();
            if let Some(message) = self.messages().into_iter().rev().find(|message| message.to == to) {
                return message.code;
            }
            arrived.await;
        }
    }
}

impl Sender for RecordingSender {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &Channel::ALL
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            let scripted = self.script.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let outcome = scripted.unwrap_or(Outcome::Accepted { message_id: None });
            if !matches!(outcome, Outcome::Rejected { .. }) {
                let recorded = Recorded {
                    id: message.id.to_string(),
                    to: message.to.reveal().to_owned(),
                    channel: message.channel,
                    text: message.text.to_string(),
                    code: message.code.reveal().to_owned(),
                    expires_at: message.expires_at,
                };
                self.messages.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
                self.arrived.notify_waiters();
            }
            outcome
        })
    }
}
