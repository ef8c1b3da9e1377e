//! A message was taken, and then nothing: the next provider, or the next channel of the workflow, with the same code.
//!
//! When the instant comes is written into the verification ([`Verification::follow_up_at`]) by whatever changes a delivery, so that
//! any process finds it due, also after a crash. An approval, a cancel, an expiry takes it away.

use std::sync::Arc;

use crate::channel::Channel;
use crate::decision::{Chance, Changes, Decision, Lookup, Reads, Snapshot, Write};
use crate::id::{ApplicationName, VerificationId};
use crate::policy::Application;
use crate::route;
use crate::time::Timestamp;
use crate::verification::{Delivery, DeliveryStatus, Verification};

/// Does what is due because nobody answered.
#[derive(Debug)]
pub struct FollowUp {
    /// Whose rules hold.
    pub application: Arc<Application>,
    /// The verification.
    pub id: VerificationId,
    /// Whether this process can carry the message at once. If not, it waits in the outbox for whoever can.
    pub carry_now: bool,
    /// Random bytes for the new delivery.
    pub chance: Chance,
    /// The instant.
    pub now: Timestamp,
}

impl Decision for FollowUp {
    /// The verification and the delivery to carry now, if there is one.
    type Answer = Option<(Verification, Delivery)>;

    fn lookup(&self) -> Lookup {
        let application: ApplicationName = self.application.name.clone();
        Lookup::ById { application, id: self.id }
    }

    fn reads(&self, _: Option<&Verification>) -> Reads {
        Reads { deliveries: true, ..Reads::default() }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer) {
        let due = |found: &&Verification| found.follow_up_at.is_some_and(|at| at <= self.now);
        let Some(found) = snapshot.verification.as_ref().filter(due) else { return (Changes::default(), None) };
        let plan = plan(&self.application, found, &snapshot.deliveries, self.now);
        let mut next = found.clone();
        next.follow_up_at = plan.as_ref().map(|plan| plan.at).filter(|at| *at > self.now);
        let mut changes = Changes { verification: Some(Write::Update(next.clone())), ..Changes::default() };
        let Some(plan) = plan.filter(|plan| plan.at <= self.now) else { return (changes, None) };
        let delivery = self.delivery(found, plan, snapshot.deliveries.len());
        changes.deliveries.push(Write::Insert(delivery.clone()));
        (changes, self.carry_now.then_some((next, delivery)))
    }
}

impl FollowUp {
    fn delivery(&self, found: &Verification, plan: Plan, before: usize) -> Delivery {
        Delivery {
            id: self.chance.delivery,
            verification: found.id,
            number: before as u32 + 1,
            send: found.sends,
            channel: plan.channel,
            provider: plan.provider,
            status: DeliveryStatus::Queued,
            queued_at: self.now,
            at: self.now,
            error: None,
            message_id: None,
            due_at: self.now,
            lease_until: if self.carry_now { self.now + self.application.delivery.lease() } else { self.now },
            claims: u32::from(self.carry_now),
        }
    }
}

/// What is done next if nothing happens until then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub at: Timestamp,
    pub channel: Channel,
    pub provider: String,
}

/// The earlier of: the next provider of the route, if no receipt came; the next channel of the workflow, if no approval came.
pub(crate) fn plan(
    application: &Application,
    verification: &Verification,
    deliveries: &[Delivery],
    now: Timestamp,
) -> Option<Plan> {
    let last = deliveries.iter().rfind(|delivery| delivery.send == verification.sends)?;
    if last.status == DeliveryStatus::Queued || !verification.is_pending_at(now) {
        return None;
    }
    let plans = [
        unconfirmed(application, verification, deliveries, last),
        next_step(application, verification, deliveries, last),
    ];
    plans.into_iter().flatten().min_by_key(|plan| plan.at).filter(|plan| plan.at < verification.expires_at)
}

fn unconfirmed(
    application: &Application,
    verification: &Verification,
    deliveries: &[Delivery],
    last: &Delivery,
) -> Option<Plan> {
    let route = route::find(&application.routes, last.channel, &verification.to)?;
    let patience = route.receipt_within?;
    let at = match last.status {
        DeliveryStatus::Accepted | DeliveryStatus::Unknown => last.at + patience,
        DeliveryStatus::Undelivered => last.at,
        DeliveryStatus::Queued | DeliveryStatus::Delivered | DeliveryStatus::Failed => return None,
    };
    let untried = |name: &str| tries(deliveries, last.send, last.channel, name) == 0;
    let next = route.order(verification.id).into_iter().find(|candidate| untried(&candidate.provider))?;
    Some(Plan { at, channel: last.channel, provider: next.provider.clone() })
}

fn next_step(
    application: &Application,
    verification: &Verification,
    deliveries: &[Delivery],
    last: &Delivery,
) -> Option<Plan> {
    let steps = &application.policy.workflow;
    let place = steps.iter().position(|step| step.channel == last.channel)?;
    let of_send = || deliveries.iter().filter(|delivery| delivery.send == last.send);
    let in_channel = || of_send().filter(|delivery| delivery.channel == last.channel);
    let lost = |delivery: &Delivery| matches!(delivery.status, DeliveryStatus::Failed | DeliveryStatus::Undelivered);
    let at = match in_channel().next() {
        // Nobody has it, and nobody will: waiting helps nobody.
        _ if in_channel().all(lost) => last.at,
        Some(first) => first.queued_at + steps.get(place)?.wait,
        None => return None,
    };
    steps.get(place + 1..)?.iter().find_map(|step| {
        let used = of_send().any(|delivery| delivery.channel == step.channel);
        if used || !step.channel.reaches(&verification.to) {
            return None;
        }
        let order = route::order(&application.routes, step.channel, &verification.to, verification.id);
        let provider = order.first()?.provider.clone();
        Some(Plan { at, channel: step.channel, provider })
    })
}

/// How often a provider was offered the message of one send over one channel.
pub(crate) fn tries(deliveries: &[Delivery], send: u32, channel: Channel, provider: &str) -> u32 {
    let same =
        |delivery: &&Delivery| delivery.send == send && delivery.channel == channel && delivery.provider == provider;
    deliveries.iter().filter(same).count() as u32
}
