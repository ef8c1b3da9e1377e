//! A verification ends without a check: it is called off, approved on the application's word, or its time is up.

use std::sync::Arc;

use crate::decision::{Changes, Decision, Lookup, Reads, Snapshot, Write};
use crate::event::{Event, EventKind};
use crate::guard;
use crate::id::{ApplicationName, VerificationId};
use crate::policy::Application;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::verification::{Delivery, Status, Verification};

/// Calls a verification off. No limit is given back.
#[derive(Debug)]
pub struct Cancel {
    /// Whose rules hold.
    pub application: Arc<Application>,
    /// Which.
    pub id: VerificationId,
    /// The instant.
    pub now: Timestamp,
}

impl Decision for Cancel {
    type Answer = Result<(Verification, Vec<Delivery>), Refusal>;

    fn lookup(&self) -> Lookup {
        Lookup::ById { application: self.application.name.clone(), id: self.id }
    }

    fn reads(&self, _: Option<&Verification>) -> Reads {
        Reads { deliveries: true, ..Reads::default() }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer) {
        close(snapshot, Status::Canceled, EventKind::VerificationCanceled, self.now)
    }
}

/// Ends a verification as approved because the application itself found the code to be right, as it can with one that it chose.
#[derive(Debug)]
pub struct Approve {
    /// Whose rules hold.
    pub application: Arc<Application>,
    /// Which.
    pub id: VerificationId,
    /// The instant.
    pub now: Timestamp,
}

impl Decision for Approve {
    type Answer = Result<(Verification, Vec<Delivery>), Refusal>;

    fn lookup(&self) -> Lookup {
        Lookup::ById { application: self.application.name.clone(), id: self.id }
    }

    fn reads(&self, verification: Option<&Verification>) -> Reads {
        let limits =
            verification.map(|found| guard::keys_of_approval(&self.application, &found.to)).unwrap_or_default();
        Reads { limits, deliveries: true, ..Reads::default() }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer) {
        let (mut changes, answer) = close(snapshot, Status::Approved, EventKind::VerificationApproved, self.now);
        if let Ok((approved, _)) = &answer {
            changes.limits = guard::confirm(&self.application, &approved.to, &snapshot.limits, self.now);
        }
        (changes, answer)
    }
}

/// Ends a pending verification on the application's word.
fn close(
    snapshot: &Snapshot,
    status: Status,
    kind: EventKind,
    now: Timestamp,
) -> (Changes, Result<(Verification, Vec<Delivery>), Refusal>) {
    let Some(found) = &snapshot.verification else { return (Changes::default(), Err(Refusal::NotFound)) };
    if !found.is_pending_at(now) {
        return (Changes::default(), Err(Refusal::NotPending { status: found.status_at(now) }));
    }
    let mut next = found.clone();
    next.finish(status, now);
    let events = vec![Event::of(kind, &next, now)];
    let changes = Changes { verification: Some(Write::Update(next.clone())), events, ..Changes::default() };
    (changes, Ok((next, snapshot.deliveries.clone())))
}

/// Writes down that a verification's time is up, so that it is told to those who wait for the event.
#[derive(Debug)]
pub struct Expire {
    /// Whose.
    pub application: ApplicationName,
    /// Which.
    pub id: VerificationId,
    /// The instant.
    pub now: Timestamp,
}

impl Decision for Expire {
    type Answer = bool;

    fn lookup(&self) -> Lookup {
        Lookup::ById { application: self.application.clone(), id: self.id }
    }

    fn reads(&self, _: Option<&Verification>) -> Reads {
        Reads::default()
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, bool) {
        let overdue =
            |found: &&Verification| found.status == Status::Pending && found.status_at(self.now) == Status::Expired;
        let Some(found) = snapshot.verification.as_ref().filter(overdue) else { return (Changes::default(), false) };
        let mut next = found.clone();
        next.finish(Status::Expired, next.expires_at);
        let events = vec![Event::of(EventKind::VerificationExpired, &next, self.now)];
        (Changes { verification: Some(Write::Update(next)), events, ..Changes::default() }, true)
    }
}
