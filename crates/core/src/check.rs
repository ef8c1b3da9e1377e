//! A code is checked: count the attempt, compare in constant time, consume.
//!
//! Who holds the unguessable id and who only knows the destination are counted apart, in the verification and over the day, so
//! that a stranger who hammers a number cannot lock its owner out. Over the day there is a third count, of who holds the id of a
//! verification that was begun without a key: a stranger can begin as many of those as the send limits allow.
//!
//! The odds. `max_guesses_per_day` wrong guesses for each of the three bound what guessing at one destination can win in a day. The
//! first few meet a code of `code_length` digits: up to `hardened_after` - 1, and those that the verification pending at that time
//! still bears; the rest meet longer ones. [`daily_odds`] is that bound: with the defaults and one purpose 19/10^6 + 131/10^8 =
//! 2.03e-5 a day, where a service without a budget over the day stands at 7.2e-4.

use std::sync::Arc;

use crate::charge::{charge, limit_keys};
use crate::code::{Binding, Code, CodeSource, CodeUnavailable, KeyRing};
use crate::decision::{Changes, Decision, GuessKey, Lookup, Reads, Snapshot, Write};
use crate::destination::Destination;
use crate::event::{Event, EventKind};
use crate::guard;
use crate::id::{Purpose, ServiceId, VerificationId};
use crate::limit::Of;
use crate::policy::{Application, Policy};
use crate::refusal::{Limit, Refusal};
use crate::time::Timestamp;
use crate::verification::{Budget, By, Delivery, GuessLog, Payment, Status, Verification};

/// Offers a code.
pub struct Check {
    /// Whose rules hold.
    pub application: Arc<Application>,
    /// The keys that codes are made with.
    pub keys: Arc<KeyRing>,
    /// Against what.
    pub against: Against,
    /// As whose guess it counts: [`By::Id`] by who holds the id, or whom the door knows as well as that.
    pub by: By,
    /// The candidate.
    pub code: Code,
    /// The payment that the caller says the code confirms. A verification of another one does not match.
    pub payment: Option<Payment>,
    /// The end user's address, for the limits that count it.
    pub client: Option<String>,
    /// The instant.
    pub now: Timestamp,
}

impl std::fmt::Debug for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Check").field("against", &self.against).finish_non_exhaustive()
    }
}

/// What a code is offered against.
#[derive(Debug)]
pub enum Against {
    /// A verification whose id the caller holds.
    Id(VerificationId),
    /// The same, if it is of this service; else it is nobody's.
    IdOf(VerificationId, Option<ServiceId>),
    /// Whatever is pending for a destination and purpose.
    Destination {
        /// Of which service; `None` is the application's own.
        service: Option<ServiceId>,
        /// To whom it was sent.
        to: Destination,
        /// What for.
        purpose: Purpose,
        /// Ids that the caller shows. If one of them is that of what is pending, it is the guess of who holds it.
        shown: [Option<VerificationId>; 2],
    },
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The result.
    pub result: CheckResult,
    /// The verification as it now stands and its deliveries; `None` only with [`CheckResult::NotFound`].
    pub verification: Option<(Verification, Vec<Delivery>)>,
}

/// The result of a check, by its name on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckResult {
    /// The right code, for the first and only time.
    Approved,
    /// A wrong code; it was counted.
    Incorrect,
    /// The time is up.
    Expired,
    /// The guesses are used up; this one was not looked at.
    MaxAttemptsReached,
    /// The right code was accepted before.
    AlreadyUsed,
    /// The application called it off.
    Canceled,
    /// Nothing is pending for this destination.
    NotFound,
}

impl CheckResult {
    /// Every result.
    pub const ALL: [Self; 7] = [
        Self::Approved,
        Self::Incorrect,
        Self::Expired,
        Self::MaxAttemptsReached,
        Self::AlreadyUsed,
        Self::Canceled,
        Self::NotFound,
    ];

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Incorrect => "incorrect",
            Self::Expired => "expired",
            Self::MaxAttemptsReached => "max_attempts_reached",
            Self::AlreadyUsed => "already_used",
            Self::Canceled => "canceled",
            Self::NotFound => "not_found",
        }
    }
}

impl Decision for Check {
    type Answer = Result<Result<Checked, Refusal>, CodeUnavailable>;

    fn lookup(&self) -> Lookup {
        let application = self.application.name.clone();
        match &self.against {
            Against::Id(id) | Against::IdOf(id, _) => Lookup::ById { application, id: *id },
            Against::Destination { service, to, purpose, .. } => {
                Lookup::Latest { application, service: *service, to: to.clone(), purpose: purpose.clone() }
            }
        }
    }

    fn reads(&self, verification: Option<&Verification>) -> Reads {
        let Some(to) = self.destination(verification) else { return Reads::default() };
        let mut limits = limit_keys(&self.application, to, self.client.as_deref(), Of::Checks);
        limits.extend(guard::keys_of_approval(&self.application, to));
        Reads { limits, guesses: Some(GuessKey::new(&self.application.name, to)), deliveries: true }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer) {
        let Some(to) = self.destination(snapshot.verification.as_ref()) else {
            return (Changes::default(), Ok(Err(Refusal::NotFound)));
        };
        let settled = self.settled(snapshot.verification.as_ref());
        let mut refusals = Vec::new();
        if let Settled::Open(found) = settled {
            refusals.extend(self.budget(found, &snapshot.guesses));
        }
        let charged = charge(&self.application, to, self.client.as_deref(), Of::Checks, &snapshot.limits, self.now);
        let charged = charged.unwrap_or_else(|limits| {
            refusals.extend(limits);
            Vec::new()
        });
        if let Some(refusal) = Refusal::first(refusals) {
            return (Changes::default(), Ok(Err(refusal)));
        }
        let (mut changes, answer) = match settled {
            Settled::Over(result) => self.over(result, snapshot),
            Settled::Open(found) => self.evaluate(found, snapshot),
        };
        if answer.is_err() {
            return (Changes::default(), answer);
        }
        if let Ok(Ok(Checked { result: CheckResult::Approved, .. })) = &answer {
            let guarded = guard::keys_of_approval(&self.application, to).len();
            let (_, guarded) = snapshot.limits.split_at(snapshot.limits.len().saturating_sub(guarded));
            changes.limits = guard::confirm(&self.application, to, guarded, self.now);
        }
        changes.limits.extend(charged);
        // An answer about a destination must cost the same whether or not anything is pending there.
        changes.decoy = changes.verification.is_none() && matches!(self.against, Against::Destination { .. });
        (changes, answer)
    }
}

/// Whether there is anything left to evaluate.
enum Settled<'a> {
    Over(CheckResult),
    Open(&'a Verification),
}

impl Check {
    fn destination<'a>(&'a self, verification: Option<&'a Verification>) -> Option<&'a Destination> {
        match &self.against {
            Against::Id(_) => verification.map(|found| &found.to),
            Against::IdOf(_, service) => verification.filter(|found| found.service == *service).map(|found| &found.to),
            Against::Destination { to, .. } => Some(to),
        }
    }

    /// As whose guess it counts at this verification.
    fn counts_by(&self, found: &Verification) -> By {
        match &self.against {
            Against::Destination { shown, .. } if found.is_pending_at(self.now) => {
                let holds = shown.iter().flatten().any(|id| id.same_as(&found.id));
                if holds { By::Id } else { self.by }
            }
            _ => self.by,
        }
    }

    /// The answers that need no comparison, in their order: how it ended, then whose guesses are used up.
    fn settled<'a>(&self, verification: Option<&'a Verification>) -> Settled<'a> {
        let Some(found) = verification else { return Settled::Over(CheckResult::NotFound) };
        let over = match (found.status_at(self.now), self.counts_by(found)) {
            (Status::Pending, By::Destination) if found.wrong_by_destination >= found.max_checks => {
                CheckResult::MaxAttemptsReached
            }
            (Status::Pending, _) => return Settled::Open(found),
            (Status::MaxAttemptsReached, _) => CheckResult::MaxAttemptsReached,
            // A verification that nobody carried has no code that anybody could hold.
            (Status::Expired, _) | (Status::Failed, By::Id) => CheckResult::Expired,
            (Status::Approved, By::Id) => CheckResult::AlreadyUsed,
            (Status::Canceled, By::Id) => CheckResult::Canceled,
            (Status::Approved | Status::Canceled | Status::Failed, By::Destination) => CheckResult::NotFound,
        };
        Settled::Over(over)
    }

    fn over(&self, result: CheckResult, snapshot: &Snapshot) -> (Changes, <Self as Decision>::Answer) {
        self.compare_in_vain(snapshot.verification.as_ref());
        let found = snapshot.verification.clone().filter(|_| result != CheckResult::NotFound);
        let verification = found.map(|found| (found, snapshot.deliveries.clone()));
        (Changes::default(), Ok(Ok(Checked { result, verification })))
    }

    /// The day's budget, which outlives resends, new verifications and expiry.
    fn budget(&self, found: &Verification, guesses: &GuessLog) -> Option<Refusal> {
        let quota = self.application.policy.max_guesses_per_day;
        let retry_after = guesses.wait(found.budget(self.counts_by(found)), quota, self.now)?;
        Some(Refusal::RateLimited { limit: Limit::Checks, quota, window: GuessLog::WINDOW, retry_after })
    }

    fn evaluate(&self, found: &Verification, snapshot: &Snapshot) -> (Changes, <Self as Decision>::Answer) {
        let right = match self.keys.matches(&found.code, found.binding(), found.code_length, &self.code) {
            Ok(right) => right,
            Err(unavailable) => return (Changes::default(), Err(unavailable)),
        };
        let right = right && (found.payment.is_none() || found.payment == self.payment);
        let mut next = found.clone();
        let mut changes = Changes::default();
        let result = if right {
            next.finish(Status::Approved, self.now);
            changes.events.push(Event::of(EventKind::VerificationApproved, &next, self.now));
            CheckResult::Approved
        } else {
            self.count(&mut next, &mut changes, snapshot);
            CheckResult::Incorrect
        };
        changes.verification = Some(Write::Update(next.clone()));
        (changes, Ok(Ok(Checked { result, verification: Some((next, snapshot.deliveries.clone())) })))
    }

    fn count(&self, next: &mut Verification, changes: &mut Changes, snapshot: &Snapshot) {
        let by = self.counts_by(next);
        match by {
            By::Id => next.wrong_by_id += 1,
            By::Destination => next.wrong_by_destination += 1,
        }
        if next.checks_left() == 0 {
            next.finish(Status::MaxAttemptsReached, self.now);
            changes.events.push(Event::of(EventKind::VerificationMaxAttemptsReached, next, self.now));
        }
        let key = GuessKey::new(&self.application.name, &next.to);
        changes.guesses = Some((key, snapshot.guesses.with(next.budget(by), self.now)));
    }

    /// The work of a comparison where there is nothing to compare with, so that its absence does not show.
    fn compare_in_vain(&self, found: Option<&Verification>) {
        let nobody = [0; 16];
        let (destination, purpose) = match &self.against {
            Against::Destination { to, purpose, .. } => (to.reveal(), purpose.as_str()),
            Against::Id(_) | Against::IdOf(..) => ("", ""),
        };
        let application = self.application.name.as_str();
        let nothing = Binding::new(&nobody, application, destination, purpose);
        let binding = found.map_or(nothing, Verification::binding);
        let source = CodeSource::Derived { key: self.keys.active().clone() };
        std::hint::black_box(self.keys.matches(&source, binding, self.application.policy.code_length, &self.code).ok());
    }
}

/// An upper bound of the chance that somebody who guesses all day at one destination, with every kind of id and without, hits once.
///
/// `at_once` is how many verifications of the destination can be pending together: the number of purposes, or what the send limits
/// allow within one life. Each that began before the hardening still bears its own guesses, from both counts, at the shorter length.
#[must_use]
pub fn daily_odds(policy: &Policy, at_once: u32) -> f64 {
    let guesses = policy.max_guesses_per_day.saturating_mul(Budget::ALL.len() as u32);
    let borne = policy.max_checks.saturating_mul(2).saturating_mul(at_once);
    let soft = guesses.min(policy.hardened_after.saturating_sub(1).saturating_add(borne));
    let hardened = policy.hardened_length.max(policy.code_length);
    f64::from(soft) / 10_f64.powi(i32::from(policy.code_length))
        + f64::from(guesses - soft) / 10_f64.powi(i32::from(hardened))
}
