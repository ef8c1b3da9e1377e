//! A code is sent: begin a verification, send it again, or refuse.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::channel::Channel;
use crate::charge::{before_last, charge, charge_extra, limit_keys};
use crate::code::{Binding, Code, CodeSource, KeyRing};
use crate::decision::{Chance, Changes, Decision, GuessKey, Lookup, Reads, Snapshot, Write};
use crate::destination::{Destination, InvalidDestination, NumberType};
use crate::event::{Event, EventKind};
use crate::guard::{self, Noticed};
use crate::id::{Purpose, ServiceId, VerificationId};
use crate::limit::{ExtraLimit, LimitKey, Of, Tat};
use crate::policy::{Application, Policy};
use crate::refusal::Refusal;
use crate::route;
use crate::time::Timestamp;
use crate::verification::{Delivery, DeliveryStatus, Payment, Status, Verification, Wording};

pub use crate::close::{Approve, Cancel, Expire};

/// Asks for a message to be sent.
#[derive(Debug)]
pub struct Send {
    /// Whose rules hold.
    pub application: Arc<Application>,
    /// The keys that codes are made with.
    pub keys: Arc<KeyRing>,
    /// What to send.
    pub what: What,
    /// The channel asked for; else that of the pending verification, else the destination's own.
    pub channel: Option<Channel>,
    /// The end user's address, for the limits that count it.
    pub client: Option<String>,
    /// Whether this process can carry the message at once. If not, it waits in the outbox for whoever can.
    pub carry_now: bool,
    /// What holds for this request besides the application's rules.
    pub terms: Terms,
    /// Random bytes. The same ones for the same idempotency key, so that a send is known again after a crash.
    pub chance: Chance,
    /// The instant.
    pub now: Timestamp,
}

/// What holds for one request besides the application's rules, as its door knows it.
#[derive(Debug, Default)]
pub struct Terms {
    /// Limits that it brings along.
    pub limits: Vec<ExtraLimit>,
    /// The pause before the same verification may be sent again; the policy's if not said.
    pub resend_after: Option<Duration>,
    /// The application vouches for this number: its country is not asked about.
    pub vouched: bool,
    /// A pending verification is not sent again: it is called off, and a new one with another code begins in its place.
    pub supersedes: bool,
    /// The application answers for this send: the guard counts it, and does not refuse it.
    pub unguarded: bool,
}

/// What to send.
#[derive(Debug)]
pub enum What {
    /// Begin a verification, or send the pending one of this destination and purpose again.
    Begin(Box<Begin>),
    /// Send this verification again.
    Again(VerificationId),
}

/// What a new verification is to be. Everything here is ignored but the template and the code when one is pending already.
pub struct Begin {
    /// Of which service; `None` is the application's own.
    pub service: Option<ServiceId>,
    /// To whom.
    pub to: Destination,
    /// What for.
    pub purpose: Purpose,
    /// BCP 47 tag of the language wanted.
    pub locale: Option<String>,
    /// Digits wanted; the policy's number if not said, more if the destination is being guessed at.
    pub code_length: Option<u8>,
    /// Life wanted; the policy's if not said.
    pub ttl: Option<Duration>,
    /// The template wanted.
    pub template: Option<String>,
    /// A code chosen by the caller, where the policy allows it.
    pub custom_code: Option<Code>,
    /// The application's own notes.
    pub metadata: BTreeMap<String, String>,
    /// Whether whoever asks has no key, and so will hold its id without being known.
    pub keyless: bool,
    /// The payment that the code is to confirm.
    pub payment: Option<Payment>,
    /// What the message says in words of its own.
    pub wording: Wording,
}

impl Begin {
    /// A verification of `to` as the policy has it.
    #[must_use]
    pub fn new(to: Destination) -> Self {
        Self {
            service: None,
            to,
            purpose: Purpose::default(),
            locale: None,
            code_length: None,
            ttl: None,
            template: None,
            custom_code: None,
            metadata: BTreeMap::new(),
            keyless: false,
            payment: None,
            wording: Wording::default(),
        }
    }
}

impl std::fmt::Debug for Begin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begin").field("to", &self.to).field("purpose", &self.purpose).finish_non_exhaustive()
    }
}

/// A message is on its way to the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The verification as it now stands.
    pub verification: Verification,
    /// Its deliveries, the new one last.
    pub deliveries: Vec<Delivery>,
    /// Whether the verification was begun by this send.
    pub begun: bool,
    /// The delivery to carry now; `None` if somebody else will, or already did.
    pub carry: Option<Delivery>,
    /// What the guard made of it.
    pub noticed: Noticed,
}

impl Decision for Send {
    type Answer = Result<Sent, Refusal>;

    fn lookup(&self) -> Lookup {
        let application = self.application.name.clone();
        match &self.what {
            What::Begin(begin) => Lookup::Latest {
                application,
                service: begin.service,
                to: begin.to.clone(),
                purpose: begin.purpose.clone(),
            },
            What::Again(id) => Lookup::ById { application, id: *id },
        }
    }

    fn reads(&self, verification: Option<&Verification>) -> Reads {
        let Some(to) = self.destination(verification) else { return Reads::default() };
        let mut limits = limit_keys(&self.application, to, self.client.as_deref(), Of::Sends);
        limits.extend(self.terms.limits.iter().map(|limit| limit.key.clone()));
        limits.extend(guard::keys_of_send(&self.application, to));
        Reads { limits, guesses: Some(GuessKey::new(&self.application.name, to)), deliveries: true }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer) {
        let pending = snapshot.verification.as_ref().filter(|found| found.is_pending_at(self.now));
        if let Some(sent) = self.already_sent(snapshot) {
            return (Changes::default(), Ok(sent));
        }
        match self.try_send(snapshot, pending) {
            Ok((changes, sent)) => (changes, Ok(sent)),
            Err(refusal) => (Changes::default(), Err(refusal)),
        }
    }
}

impl Send {
    fn destination<'a>(&'a self, verification: Option<&'a Verification>) -> Option<&'a Destination> {
        match &self.what {
            What::Begin(begin) => Some(&begin.to),
            What::Again(_) => verification.map(|found| &found.to),
        }
    }

    /// The same idempotency key after a crash: the delivery that it made is there, so the message is not sent again.
    fn already_sent(&self, snapshot: &Snapshot) -> Option<Sent> {
        let verification = snapshot.verification.clone()?;
        let made = snapshot.deliveries.iter().find(|delivery| delivery.id == self.chance.delivery)?;
        let (begun, deliveries) = (made.send == 1, snapshot.deliveries.clone());
        Some(Sent { begun, verification, deliveries, carry: None, noticed: Noticed::default() })
    }

    fn try_send(&self, snapshot: &Snapshot, pending: Option<&Verification>) -> Result<(Changes, Sent), Refusal> {
        let found = snapshot.verification.as_ref();
        let supersedes = self.terms.supersedes && matches!(self.what, What::Begin(_));
        let (ended, pending) = if supersedes { (pending, None) } else { (None, pending) };
        let mut refusals = Vec::new();
        let to = match (&self.what, found) {
            (What::Again(_), None) => return Err(Refusal::NotFound),
            (What::Again(_), Some(found)) => {
                if pending.is_none() {
                    refusals.push(Refusal::NotPending { status: found.status_at(self.now) });
                }
                &found.to
            }
            (What::Begin(begin), _) => {
                refusals.extend(self.refuse_begin(begin, pending));
                &begin.to
            }
        };
        let channel = self.channel.or(pending.map(|found| found.channel)).unwrap_or_else(|| Channel::default_for(to));
        refusals.extend(refuse_destination(&self.application, to, channel, self.terms.vouched));
        refusals.extend(pending.and_then(|found| refuse_resend(found, self.pause(), self.now)));
        refusals.extend(ended.and_then(|found| too_soon(found, self.pause(), self.now)));
        let (limits, guarded) = before_last(&snapshot.limits, guard::keys_of_send(&self.application, to).len());
        let (own, extra) = before_last(limits, self.terms.limits.len());
        let own = charge(&self.application, to, self.client.as_deref(), Of::Sends, own, self.now);
        let mut charged = Vec::new();
        for result in [own, charge_extra(&self.terms.limits, extra, self.now)] {
            match result {
                Ok(counters) => charged.extend(counters),
                Err(limits) => refusals.extend(limits),
            }
        }
        let exempt = self.terms.vouched || self.terms.unguarded;
        let noticed = match guard::charge(&self.application, to, exempt, guarded, self.now) {
            Ok((counters, noticed)) => {
                charged.extend(counters);
                noticed
            }
            Err(refusal) => {
                refusals.push(refusal);
                Noticed::default()
            }
        };
        if let Some(refusal) = Refusal::first(refusals) {
            return Err(refusal);
        }
        let begun = pending.is_none();
        let verification = match (pending, &self.what) {
            (Some(found), _) => self.again(found, channel),
            (None, What::Begin(begin)) => self.begin(begin, channel, snapshot),
            (None, What::Again(_)) => return Err(Refusal::NotFound),
        };
        Ok(self.commit(verification, begun, ended, snapshot, charged, noticed))
    }

    fn pause(&self) -> Duration {
        self.terms.resend_after.unwrap_or(self.application.policy.resend_after)
    }

    fn refuse_begin(&self, begin: &Begin, pending: Option<&Verification>) -> Vec<Refusal> {
        let policy = &self.application.policy;
        let mut refusals = Vec::new();
        let mut invalid =
            |param, detail: &str| refusals.push(Refusal::InvalidRequest { param, detail: detail.to_owned() });
        if policy.purposes.as_ref().is_some_and(|purposes| !purposes.contains(&begin.purpose)) {
            invalid("purpose", "not one of policy.purposes");
        }
        if begin.code_length.is_some_and(|length| !crate::code::LENGTHS.contains(&length)) {
            invalid("code_length", "must be 4 to 10");
        }
        if begin.ttl.is_some_and(|ttl| !(Policy::MIN_TTL..=Policy::MAX_TTL).contains(&ttl)) {
            invalid("ttl", "must be 30 to 86400 seconds");
        }
        if begin.template.as_deref().is_some_and(|name| !self.application.templates.has(name)) {
            invalid("template", "no template of this name is configured");
        }
        if let Some(code) = &begin.custom_code {
            if !policy.allow_custom_code {
                invalid("custom_code", "policy.allow_custom_code is off");
            } else if pending.is_some_and(|found| !self.is_code_of(found, code)) {
                invalid("custom_code", "the pending verification has another code; cancel it first");
            }
        }
        if let (Some(found), Some(payment)) = (pending, &begin.payment)
            && found.payment.as_ref() != Some(payment)
        {
            invalid("payment", "the pending verification is for another payment; cancel it first");
        }
        refusals
    }

    fn is_code_of(&self, found: &Verification, code: &Code) -> bool {
        self.keys.matches(&found.code, found.binding(), found.code_length, code).unwrap_or(false)
    }

    fn begin(&self, begin: &Begin, channel: Channel, snapshot: &Snapshot) -> Verification {
        let policy = &self.application.policy;
        let id = self.chance.verification;
        let application = self.application.name.as_str();
        let binding = Binding {
            service: begin.service.as_ref().map(ServiceId::as_bytes),
            payment: begin.payment.as_ref(),
            ..Binding::new(id.as_bytes(), application, begin.to.reveal(), begin.purpose.as_str())
        };
        let chosen = begin.custom_code.as_ref().or_else(|| self.application.test_code(&begin.to));
        let (code, code_length) = match chosen {
            Some(chosen) => (self.keys.keep(chosen, binding, self.chance.nonce), chosen.length()),
            None => (
                CodeSource::Derived { key: self.keys.active().clone() },
                self.code_length(begin, snapshot.guesses.total(self.now)),
            ),
        };
        Verification {
            id,
            application: self.application.name.clone(),
            service: begin.service,
            to: begin.to.clone(),
            purpose: begin.purpose.clone(),
            keyless: begin.keyless,
            channel,
            status: Status::Pending,
            created_at: self.now,
            expires_at: self.now + begin.ttl.unwrap_or(policy.ttl),
            finished_at: None,
            code_length,
            code,
            sends: 1,
            max_sends: policy.max_sends,
            resend_at: self.now + self.pause(),
            follow_up_at: None,
            wrong_by_id: 0,
            wrong_by_destination: 0,
            max_checks: policy.max_checks,
            locale: begin.locale.clone(),
            template: begin.template.clone(),
            metadata: begin.metadata.clone(),
            payment: begin.payment.clone(),
            wording: begin.wording.clone(),
        }
    }

    /// A destination that is being guessed at gets longer codes, so that its safety does not rest on locking its owner out.
    fn code_length(&self, begin: &Begin, wrong_today: u32) -> u8 {
        let policy = &self.application.policy;
        let wanted = begin.code_length.unwrap_or(policy.code_length);
        if wrong_today >= policy.hardened_after { wanted.max(policy.hardened_length) } else { wanted }
    }

    fn again(&self, found: &Verification, channel: Channel) -> Verification {
        let mut next = found.clone();
        next.sends += 1;
        next.follow_up_at = None;
        next.channel = channel;
        next.resend_at = self.now + self.pause();
        if let What::Begin(begin) = &self.what {
            if begin.template.is_some() {
                next.template.clone_from(&begin.template);
            }
            if begin.wording != Wording::default() {
                next.wording.clone_from(&begin.wording);
            }
        }
        next
    }

    fn commit(
        &self,
        verification: Verification,
        begun: bool,
        ended: Option<&Verification>,
        snapshot: &Snapshot,
        limits: Vec<(LimitKey, Tat)>,
        noticed: Noticed,
    ) -> (Changes, Sent) {
        let delivery = self.delivery(&verification, snapshot);
        let mut deliveries = if begun { Vec::new() } else { snapshot.deliveries.clone() };
        deliveries.push(delivery.clone());
        let ended = ended.cloned().map(|mut ended| {
            ended.finish(Status::Canceled, self.now);
            ended
        });
        let mut events: Vec<_> =
            ended.iter().map(|ended| Event::of(EventKind::VerificationCanceled, ended, self.now)).collect();
        if begun {
            events.push(Event::of(EventKind::VerificationCreated, &verification, self.now));
        }
        if !noticed.filled.is_empty() {
            events.push(Event::of(EventKind::GuardBlocked, &verification, self.now));
        }
        let write = if begun { Write::Insert } else { Write::Update };
        let changes = Changes {
            verification: Some(write(verification.clone())),
            ended,
            deliveries: vec![Write::Insert(delivery.clone())],
            limits,
            events,
            ..Changes::default()
        };
        (changes, Sent { verification, deliveries, begun, carry: self.carry_now.then_some(delivery), noticed })
    }

    fn delivery(&self, verification: &Verification, snapshot: &Snapshot) -> Delivery {
        let order = route::order(&self.application.routes, verification.channel, &verification.to, verification.id);
        let number = if verification.sends == 1 { 1 } else { snapshot.deliveries.len() as u32 + 1 };
        Delivery {
            id: self.chance.delivery,
            verification: verification.id,
            number,
            send: verification.sends,
            channel: verification.channel,
            provider: order.first().map(|candidate| candidate.provider.clone()).unwrap_or_default(),
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

/// What no waiting mends about a destination: refused before any provider is asked.
fn refuse_destination(application: &Application, to: &Destination, channel: Channel, vouched: bool) -> Vec<Refusal> {
    let policy = &application.policy;
    let mut refusals = Vec::new();
    let kind = to.number_type();
    // A text message to a line in a wall reaches nobody; a call does, and a messenger may be registered with it.
    let walled = kind == Some(NumberType::FixedLine) && channel == Channel::Sms;
    if !channel.reaches(to) || walled {
        refusals.push(Refusal::InvalidDestination(InvalidDestination::Channel));
    }
    if matches!(to, Destination::Phone(_)) && !vouched && !policy.allowed_countries.contains(to.country()) {
        refusals.push(Refusal::CountryBlocked);
    }
    if kind.is_some_and(|kind| policy.blocked_number_types.contains(&kind)) {
        refusals.push(Refusal::NumberTypeBlocked);
    }
    if route::find(&application.routes, channel, to).is_none() {
        refusals.push(Refusal::UnsupportedChannel);
    }
    refusals
}

fn refuse_resend(found: &Verification, pause: Duration, now: Timestamp) -> Option<Refusal> {
    if found.sends_left() == 0 {
        return Some(Refusal::MaxSendsReached { retry_after: found.expires_at.after(now) });
    }
    too_soon(found, pause, now)
}

fn too_soon(found: &Verification, pause: Duration, now: Timestamp) -> Option<Refusal> {
    // Bounded by the pause itself: a clock that was ahead must not stretch it.
    let retry_after = found.resend_at.after(now).min(pause);
    (!retry_after.is_zero()).then_some(Refusal::ResendTooSoon { retry_after, pause })
}
