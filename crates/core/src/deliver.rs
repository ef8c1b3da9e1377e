//! A message is carried: what an outcome means. Done, try the next provider, wait, go on to the next channel, give up.

use std::sync::Arc;
use std::time::Duration;

use crate::decision::{Chance, Changes, Decision, Lookup, Reads, Snapshot, Write};
use crate::event::{Event, EventKind};
use crate::follow::{self, tries};
use crate::id::{DeliveryId, VerificationId};
use crate::outcome::{Failure, Outcome};
use crate::policy::{Application, Unknown};
use crate::route;
use crate::send::event;
use crate::time::Timestamp;
use crate::verification::{Delivery, DeliveryStatus, Status, Verification};

/// Reports what became of a delivery that this process carried.
#[derive(Debug)]
pub struct Report {
    /// Whose rules hold.
    pub application: Arc<Application>,
    /// The verification.
    pub verification: VerificationId,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The claim under which it was carried: a carrier that lost its lease is not heard.
    pub claims: u32,
    /// What the provider said, or what was seen instead.
    pub outcome: Reported,
    /// Random bytes for the next delivery.
    pub chance: Chance,
    /// The instant.
    pub now: Timestamp,
}

/// What is reported about a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The provider's answer.
    Outcome(Outcome),
    /// The process that carried it stopped before the answer: it is carried again, in a new delivery, since an acknowledged send
    /// must not be lost. The person may get two messages with the same code.
    Interrupted,
    /// It was not carried: its verification had ended before its turn came.
    Superseded,
}

/// What happens next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: a provider has it, or nobody can say and the policy waits.
    Done,
    /// This delivery is to be carried, from its `due_at` on.
    Carry(Box<Delivery>),
    /// Nobody will carry this message.
    GaveUp,
    /// The report came too late; somebody else's stands.
    Stale,
}

/// The longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(60);

impl Decision for Report {
    type Answer = (Next, Option<(Verification, Vec<Delivery>)>);

    fn lookup(&self) -> Lookup {
        Lookup::ById { application: self.application.name.clone(), id: self.verification }
    }

    fn reads(&self, _: Option<&Verification>) -> Reads {
        Reads { deliveries: true, ..Reads::default() }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer) {
        let Some(verification) = &snapshot.verification else { return (Changes::default(), (Next::Stale, None)) };
        let mut deliveries = snapshot.deliveries.clone();
        let current = deliveries.iter_mut().find(|delivery| delivery.id == self.delivery);
        let Some(current) = current.filter(|delivery| delivery.claims == self.claims) else {
            return (Changes::default(), (Next::Stale, Some((verification.clone(), deliveries))));
        };
        if current.status != DeliveryStatus::Queued {
            let (changes, next) = self.overtaken(current);
            return (changes, (next, Some((verification.clone(), deliveries))));
        }
        self.settle(current);
        let done = current.clone();
        let next = match self.next(verification, &done, &deliveries) {
            Next::GaveUp => self.next_channel(verification, &done, &deliveries).unwrap_or(Next::GaveUp),
            next => next,
        };
        let mut verification = verification.clone();
        let mut changes = Changes {
            deliveries: vec![Write::Update(done.clone())],
            events: delivery_event(&verification, &done, self.now).into_iter().collect(),
            ..Changes::default()
        };
        if let Next::Carry(delivery) = &next {
            deliveries.push((**delivery).clone());
            changes.deliveries.push(Write::Insert((**delivery).clone()));
        }
        if next == Next::GaveUp && verification.is_pending_at(self.now) && !deliveries.iter().any(may_arrive) {
            verification.finish(Status::Failed, self.now);
            changes.events.push(event(EventKind::VerificationFailed, &verification, self.now));
            changes.verification = Some(Write::Update(verification.clone()));
        }
        if plan_again(&self.application, &mut verification, &deliveries, self.now) {
            changes.verification = Some(Write::Update(verification.clone()));
        }
        (changes, (next, Some((verification, deliveries))))
    }
}

/// Writes into a verification when it is to be followed up; whether that has changed.
fn plan_again(
    application: &Application,
    verification: &mut Verification,
    deliveries: &[Delivery],
    now: Timestamp,
) -> bool {
    let at = follow::plan(application, verification, deliveries, now).map(|plan| plan.at);
    std::mem::replace(&mut verification.follow_up_at, at) != at
}

/// Whether somebody may have, or may yet get, this message.
const fn may_arrive(delivery: &Delivery) -> bool {
    !matches!(delivery.status, DeliveryStatus::Failed)
}

impl Report {
    /// A receipt came before the answer that it is the receipt of. The receipt knows more, but only the answer has the
    /// provider's name for the message, without which no later receipt would find it.
    fn overtaken(&self, delivery: &mut Delivery) -> (Changes, Next) {
        let Reported::Outcome(Outcome::Accepted { message_id }) = &self.outcome else {
            return (Changes::default(), Next::Stale);
        };
        if message_id.is_none() || delivery.message_id.is_some() {
            return (Changes::default(), Next::Done);
        }
        delivery.message_id.clone_from(message_id);
        (Changes { deliveries: vec![Write::Update(delivery.clone())], ..Changes::default() }, Next::Done)
    }

    fn settle(&self, delivery: &mut Delivery) {
        delivery.at = self.now;
        match &self.outcome {
            Reported::Outcome(Outcome::Accepted { message_id }) => {
                delivery.status = DeliveryStatus::Accepted;
                delivery.message_id.clone_from(message_id);
            }
            Reported::Outcome(Outcome::Rejected { reason, .. }) => {
                delivery.status = DeliveryStatus::Failed;
                delivery.error = Some(reason.clone());
            }
            Reported::Outcome(Outcome::Unknown { reason }) => {
                delivery.status = DeliveryStatus::Unknown;
                delivery.error = Some(reason.clone());
            }
            Reported::Interrupted => {
                delivery.status = DeliveryStatus::Unknown;
                delivery.error = Some("interrupted: the process stopped before the provider answered".to_owned());
            }
            Reported::Superseded => {
                delivery.status = DeliveryStatus::Failed;
                delivery.error = Some("not sent: the verification had ended".to_owned());
            }
        }
    }

    fn next(&self, verification: &Verification, done: &Delivery, deliveries: &[Delivery]) -> Next {
        let pending = verification.is_pending_at(self.now);
        match &self.outcome {
            Reported::Outcome(Outcome::Accepted { .. }) => Next::Done,
            Reported::Superseded => Next::GaveUp,
            // At least once more, so that no acknowledged send is lost; not for ever, should the message be what stops its carriers.
            Reported::Interrupted
                if pending
                    && tries(deliveries, done.send, done.channel, &done.provider)
                        <= self.application.delivery.retries.max(1) =>
            {
                Next::Carry(Box::new(self.attempt(done, &done.provider, deliveries, Duration::ZERO)))
            }
            Reported::Interrupted => Next::Done,
            Reported::Outcome(Outcome::Unknown { .. }) => match self.application.delivery.unknown {
                Unknown::Next if pending => self.elsewhere(verification, done, deliveries).unwrap_or(Next::Done),
                _ => Next::Done,
            },
            Reported::Outcome(Outcome::Rejected { failure, retry_after, .. }) => match failure {
                Failure::GiveUp | Failure::BlameNumber => Next::GaveUp,
                _ if !pending => Next::GaveUp,
                Failure::RetryElsewhere => self
                    .elsewhere(verification, done, deliveries)
                    .or_else(|| self.later(verification, done, deliveries, *retry_after))
                    .unwrap_or(Next::GaveUp),
                Failure::RetryLater => self
                    .same_later(verification, done, deliveries, *retry_after)
                    .or_else(|| self.elsewhere(verification, done, deliveries))
                    .or_else(|| self.later(verification, done, deliveries, *retry_after))
                    .unwrap_or(Next::GaveUp),
            },
        }
    }

    /// At once to the first provider of the route that this message has not been offered to.
    fn elsewhere(&self, verification: &Verification, done: &Delivery, deliveries: &[Delivery]) -> Option<Next> {
        let untried = |name: &&str| tries(deliveries, done.send, done.channel, name) == 0;
        let provider = self.providers(verification, done).into_iter().find(untried)?;
        Some(Next::Carry(Box::new(self.attempt(done, provider, deliveries, Duration::ZERO))))
    }

    /// After a pause to whichever provider has had the fewest tries, while there are retries and life left.
    fn later(
        &self,
        verification: &Verification,
        done: &Delivery,
        deliveries: &[Delivery],
        asked: Option<Duration>,
    ) -> Option<Next> {
        let providers = self.providers(verification, done);
        let provider = providers.into_iter().min_by_key(|name| tries(deliveries, done.send, done.channel, name))?;
        self.once_more(verification, done, deliveries, provider, asked)
    }

    /// After a pause to the provider that was just asked, while it has retries and the code has life left.
    fn same_later(
        &self,
        verification: &Verification,
        done: &Delivery,
        deliveries: &[Delivery],
        asked: Option<Duration>,
    ) -> Option<Next> {
        let provider = self.providers(verification, done).into_iter().find(|name| *name == done.provider)?;
        self.once_more(verification, done, deliveries, provider, asked)
    }

    fn once_more(
        &self,
        verification: &Verification,
        done: &Delivery,
        deliveries: &[Delivery],
        provider: &str,
        asked: Option<Duration>,
    ) -> Option<Next> {
        let tried = tries(deliveries, done.send, done.channel, provider);
        if tried > self.application.delivery.retries {
            return None;
        }
        let asked = asked.filter(|_| provider == done.provider).unwrap_or_default();
        let pause = self.pause(tried).max(asked);
        if self.now + pause >= verification.expires_at {
            return None;
        }
        Some(Next::Carry(Box::new(self.attempt(done, provider, deliveries, pause))))
    }

    /// 1 s, 2 s, 4 s, … and up to half as much again by chance, so that what failed together does not come back together.
    fn pause(&self, tried: u32) -> Duration {
        let base = Duration::from_secs(1).saturating_mul(1 << tried.saturating_sub(1).min(16)).min(MAX_PAUSE);
        base + Duration::from_millis(self.chance.jitter(base.as_millis() as u64 / 2))
    }

    /// What the workflow says when no provider of this channel will carry it: the next channel, at once.
    fn next_channel(&self, verification: &Verification, done: &Delivery, deliveries: &[Delivery]) -> Option<Next> {
        let plan = follow::plan(&self.application, verification, deliveries, self.now)?;
        if plan.at > self.now || plan.channel == done.channel {
            return None;
        }
        let next = self.attempt(done, &plan.provider, deliveries, Duration::ZERO);
        Some(Next::Carry(Box::new(Delivery { channel: plan.channel, queued_at: self.now, ..next })))
    }

    fn providers(&self, verification: &Verification, done: &Delivery) -> Vec<&str> {
        let order = route::order(&self.application.routes, done.channel, &verification.to, verification.id);
        order.into_iter().map(|candidate| candidate.provider.as_str()).collect()
    }

    fn attempt(&self, done: &Delivery, provider: &str, deliveries: &[Delivery], pause: Duration) -> Delivery {
        let due_at = self.now + pause;
        Delivery {
            id: self.chance.delivery,
            number: deliveries.len() as u32 + 1,
            provider: provider.to_owned(),
            status: DeliveryStatus::Queued,
            at: self.now,
            error: None,
            message_id: None,
            due_at,
            lease_until: due_at + self.application.delivery.lease(),
            claims: 1,
            ..done.clone()
        }
    }
}

pub(crate) fn delivery_event(verification: &Verification, delivery: &Delivery, at: Timestamp) -> Option<Event> {
    let kind = match delivery.status {
        DeliveryStatus::Accepted => EventKind::DeliveryAccepted,
        DeliveryStatus::Delivered => EventKind::DeliveryDelivered,
        DeliveryStatus::Undelivered => EventKind::DeliveryUndelivered,
        DeliveryStatus::Failed => EventKind::DeliveryFailed,
        DeliveryStatus::Queued | DeliveryStatus::Unknown => return None,
    };
    Some(Event { delivery: Some(delivery.id), ..event(kind, verification, at) })
}

/// A gateway's delivery report. Late, repeated and out-of-order ones are harmless: a delivery only moves to what is more certain.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The provider that it came from.
    pub provider: String,
    /// The provider's message id, or our delivery id.
    pub reference: String,
    /// What it says.
    pub status: DeliveryStatus,
    /// Why, in words for people.
    pub error: Option<String>,
    /// The instant.
    pub now: Timestamp,
}

impl Decision for Receipt {
    /// Whether it named a message that is known.
    type Answer = bool;

    fn lookup(&self) -> Lookup {
        Lookup::ByReference { provider: self.provider.clone(), reference: self.reference.clone() }
    }

    fn reads(&self, _: Option<&Verification>) -> Reads {
        Reads { deliveries: true, ..Reads::default() }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, bool) {
        let Some(verification) = &snapshot.verification else { return (Changes::default(), false) };
        let named = |delivery: &&Delivery| {
            delivery.provider == self.provider
                && (delivery.message_id.as_deref() == Some(&self.reference)
                    || delivery.id.to_string() == self.reference)
        };
        let Some(found) = snapshot.deliveries.iter().find(named) else { return (Changes::default(), false) };
        if self.status.certainty() <= found.status.certainty() {
            return (Changes::default(), true);
        }
        let delivery = Delivery { status: self.status, at: self.now, error: self.error.clone(), ..found.clone() };
        let events = delivery_event(verification, &delivery, self.now).into_iter().collect();
        let mut changes = Changes { events, ..Changes::default() };
        if self.status == DeliveryStatus::Undelivered && verification.is_pending_at(self.now) {
            // Whose rules hold is not known here: the follow-up, which is due at once, asks them.
            let next = Verification { follow_up_at: Some(self.now), ..verification.clone() };
            changes.verification = Some(Write::Update(next));
        }
        changes.deliveries.push(Write::Update(delivery));
        (changes, true)
    }
}
