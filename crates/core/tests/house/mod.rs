//! A house to test the rules in: a notebook for a store, a clock that moves when told, chance that counts.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "shared by test files that each use a part of it")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use countersign_core::channel::Channel;
use countersign_core::check::{Against, Check, CheckResult, Checked};
use countersign_core::code::{Code, Key, KeyRing};
use countersign_core::decision::{Chance, Changes, Decision, GuessKey, Lookup, Snapshot, Write};
use countersign_core::deliver::{Next, Receipt, Report, Reported};
use countersign_core::destination::Destination;
use countersign_core::event::{Event, EventKind};
use countersign_core::follow::FollowUp;
use countersign_core::id::{ApplicationName, VerificationId};
use countersign_core::limit::{LimitKey, LimitRule, Of, Per, Tat};
use countersign_core::outcome::{Failure, Outcome};
use countersign_core::policy::Application;
use countersign_core::refusal::{Kind, Refusal};
use countersign_core::send::{Begin, Cancel, Expire, Send, Sent, Terms, What};
use countersign_core::time::Timestamp;
use countersign_core::verification::{By, Delivery, DeliveryStatus, GuessLog, Verification};

/// A mobile number, by its plan.
pub const TO: &str = "+255694230173";
/// Another one.
pub const OTHER: &str = "+255694230174";

pub const SECOND: Duration = Duration::from_secs(1);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub const MS: Duration = Duration::from_millis(1);

pub struct House {
    pub application: Arc<Application>,
    pub keys: Arc<KeyRing>,
    pub now: Timestamp,
    /// Verifications in the order in which they began, each with its deliveries.
    pub rows: Vec<(Verification, Vec<Delivery>)>,
    pub limits: HashMap<LimitKey, Tat>,
    pub guesses: HashMap<GuessKey, GuessLog>,
    pub events: Vec<Event>,
    pub draws: u64,
}

impl House {
    /// The default policy without rates and without a pause between sends, so that each test says what it is about.
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut Application)) -> Self {
        let mut application = Application::new(ApplicationName::default(), "first");
        application.limits = Vec::new();
        application.policy.resend_after = Duration::ZERO;
        change(&mut application);
        Self {
            application: application.shared(),
            keys: Arc::new(KeyRing::new("k1", Key::from_bytes([1; 32]))),
            now: Timestamp::from_millis(1_790_000_000_000),
            rows: Vec::new(),
            limits: HashMap::new(),
            guesses: HashMap::new(),
            events: Vec::new(),
            draws: 0,
        }
    }

    /// Changes the rules in the middle of things, as a new configuration does.
    pub fn change(&mut self, change: impl FnOnce(&mut Application)) {
        change(Arc::get_mut(&mut self.application).unwrap());
    }

    /// Goes on as another application that shares the keys and the store.
    pub fn enter(&mut self, application: Application) {
        self.application = application.shared();
    }

    pub fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }

    pub fn chance(&mut self) -> Chance {
        self.draws += 1;
        Chance::from_bytes(&bytes(self.draws))
    }

    fn find(&self, lookup: &Lookup) -> Option<&(Verification, Vec<Delivery>)> {
        match lookup {
            Lookup::ById { application, id } => {
                self.rows.iter().rev().find(|(row, _)| row.id == *id && row.application == *application)
            }
            Lookup::Latest { application, service, to, purpose } => self.rows.iter().rev().find(|(row, _)| {
                row.application == *application && row.service == *service && row.to == *to && row.purpose == *purpose
            }),
            Lookup::ByReference { provider, reference } => self.rows.iter().find(|(_, deliveries)| {
                deliveries.iter().any(|delivery| {
                    delivery.provider == *provider
                        && (delivery.message_id.as_ref() == Some(reference) || delivery.id.to_string() == *reference)
                })
            }),
        }
    }

    pub fn snapshot<D: Decision>(&self, decision: &D) -> Snapshot {
        let found = self.find(&decision.lookup());
        let reads = decision.reads(found.map(|(row, _)| row));
        Snapshot {
            verification: found.map(|(row, _)| row.clone()),
            deliveries: found.filter(|_| reads.deliveries).map(|(_, rows)| rows.clone()).unwrap_or_default(),
            limits: reads.limits.iter().map(|key| self.limits.get(key).copied()).collect(),
            guesses: reads.guesses.and_then(|key| self.guesses.get(&key).cloned()).unwrap_or_default(),
        }
    }

    /// Decides and writes. A store that lost a race decides again, so the same snapshot must give the same changes.
    pub fn run<D: Decision>(&mut self, decision: &D) -> D::Answer {
        let snapshot = self.snapshot(decision);
        let (changes, answer) = decision.decide(&snapshot);
        assert_eq!(decision.decide(&snapshot).0, changes, "a decision is a function");
        self.apply(changes);
        answer
    }

    pub fn apply(&mut self, changes: Changes) {
        if let Some(row) = changes.ended {
            let (kept, _) = self.rows.iter_mut().rev().find(|(kept, _)| kept.id == row.id).unwrap();
            *kept = row;
        }
        match changes.verification {
            Some(Write::Insert(row)) => {
                assert!(self.rows.iter().rev().take(100).all(|(kept, _)| kept.id != row.id), "an id is new");
                self.rows.push((row, Vec::new()));
            }
            Some(Write::Update(row)) => {
                let (kept, _) = self.rows.iter_mut().rev().find(|(kept, _)| kept.id == row.id).unwrap();
                *kept = row;
            }
            None => {}
        }
        for write in changes.deliveries {
            let id = write.row().verification;
            let (_, kept) = self.rows.iter_mut().rev().find(|(row, _)| row.id == id).unwrap();
            match write {
                Write::Insert(row) => {
                    assert_eq!(row.number as usize, kept.len() + 1, "deliveries are numbered from 1");
                    kept.push(row);
                }
                Write::Update(row) => {
                    let delivery = kept.iter_mut().find(|delivery| delivery.id == row.id).unwrap();
                    *delivery = row;
                }
            }
        }
        self.limits.extend(changes.limits);
        self.guesses.extend(changes.guesses);
        self.events.extend(changes.events);
    }

    /// What a store keeps of a destination is its text: everything is read back from it.
    pub fn restart(&mut self) {
        for (row, _) in &mut self.rows {
            row.to = Destination::restored(row.to.reveal().to_owned(), row.to.country());
        }
    }

    // A code is sent.

    pub fn ask<'a>(&'a mut self, to: &str) -> Asking<'a> {
        let begin = Begin::new(number(to));
        Asking {
            what: What::Begin(Box::new(begin)),
            channel: None,
            client: None,
            chance: None,
            terms: Terms::default(),
            house: self,
        }
    }

    pub fn again(&mut self, id: VerificationId) -> Asking<'_> {
        Asking {
            what: What::Again(id),
            channel: None,
            client: None,
            chance: None,
            terms: Terms::default(),
            house: self,
        }
    }

    /// Sends and takes it as done.
    pub fn send(&mut self, to: &str) -> Verification {
        self.ask(to).send().unwrap().verification
    }

    pub fn cancel(&mut self, id: VerificationId) -> Result<Verification, Refusal> {
        let cancel = Cancel { application: Arc::clone(&self.application), id, now: self.now };
        self.run(&cancel).map(|(row, _)| row)
    }

    pub fn expire(&mut self, id: VerificationId) -> bool {
        let expire = Expire { application: self.application.name.clone(), id, now: self.now };
        self.run(&expire)
    }

    // A code is checked.

    pub fn check(&mut self, against: Against, code: &str, client: Option<&str>) -> Result<Checked, Refusal> {
        let check = Check {
            application: Arc::clone(&self.application),
            keys: Arc::clone(&self.keys),
            by: if matches!(against, Against::Id(_) | Against::IdOf(..)) { By::Id } else { By::Destination },
            payment: None,
            against,
            code: code.parse().unwrap(),
            client: client.map(str::to_owned),
            now: self.now,
        };
        self.run(&check).unwrap()
    }

    pub fn by_id(&mut self, id: VerificationId, code: &str) -> Result<CheckResult, Kind> {
        self.check(Against::Id(id), code, None).map(|checked| checked.result).map_err(|refusal| refusal.kind())
    }

    pub fn by_destination(&mut self, to: &str, code: &str) -> Result<CheckResult, Kind> {
        self.by_purpose(to, "login", code)
    }

    pub fn by_purpose(&mut self, to: &str, purpose: &str, code: &str) -> Result<CheckResult, Kind> {
        let against =
            Against::Destination { service: None, to: number(to), purpose: purpose.parse().unwrap(), shown: [None; 2] };
        self.check(against, code, None).map(|checked| checked.result).map_err(|refusal| refusal.kind())
    }

    /// Offers the right code as the holder of the id.
    pub fn approve(&mut self, id: VerificationId) {
        let right = self.code(id);
        assert_eq!(self.by_id(id, &right), Ok(CheckResult::Approved));
    }

    /// Guesses wrong so often as the holder of the id.
    pub fn wrong_by_id(&mut self, id: VerificationId, times: u64) {
        let right = self.code(id);
        (0..times).for_each(|nth| assert_eq!(self.by_id(id, &wrong(&right, nth)), Ok(CheckResult::Incorrect)));
    }

    /// The code that the message holds.
    pub fn code(&self, id: VerificationId) -> String {
        let row = self.row(id);
        self.keys.code(&row.code, row.binding(), row.code_length).unwrap().reveal().to_owned()
    }

    // A message is carried.

    pub fn report(&mut self, delivery: &Delivery, outcome: Reported) -> Next {
        let report = Report {
            application: Arc::clone(&self.application),
            verification: delivery.verification,
            delivery: delivery.id,
            claims: delivery.claims,
            outcome,
            chance: self.chance(),
            now: self.now,
        };
        self.run(&report).0
    }

    /// Does what is due; the delivery to carry, if there is one.
    pub fn follow_up(&mut self, id: VerificationId) -> Option<Delivery> {
        let follow_up = FollowUp {
            application: Arc::clone(&self.application),
            id,
            carry_now: true,
            chance: self.chance(),
            now: self.now,
        };
        self.run(&follow_up).map(|(_, delivery)| delivery)
    }

    pub fn receipt(&mut self, provider: &str, reference: &str, status: DeliveryStatus) -> bool {
        let receipt = Receipt {
            provider: provider.to_owned(),
            reference: reference.to_owned(),
            status,
            error: None,
            now: self.now,
        };
        self.run(&receipt)
    }

    // What is known.

    pub fn row(&self, id: VerificationId) -> &Verification {
        &self.rows.iter().rev().find(|(row, _)| row.id == id).unwrap().0
    }

    pub fn deliveries(&self, id: VerificationId) -> &[Delivery] {
        &self.rows.iter().rev().find(|(row, _)| row.id == id).unwrap().1
    }

    pub fn last_delivery(&self, id: VerificationId) -> Delivery {
        self.deliveries(id).last().unwrap().clone()
    }

    pub fn count(&self, kind: EventKind) -> usize {
        self.events.iter().filter(|event| event.kind == kind).count()
    }
}

/// A send in the making.
pub struct Asking<'a> {
    house: &'a mut House,
    what: What,
    channel: Option<Channel>,
    client: Option<&'a str>,
    terms: Terms,
    chance: Option<Chance>,
}

impl<'a> Asking<'a> {
    pub fn with(mut self, change: impl FnOnce(&mut Begin)) -> Self {
        if let What::Begin(begin) = &mut self.what {
            change(begin);
        }
        self
    }

    pub fn purpose(self, purpose: &str) -> Self {
        let purpose = purpose.parse().unwrap();
        self.with(|begin| begin.purpose = purpose)
    }

    pub fn keyless(self, keyless: bool) -> Self {
        self.with(|begin| begin.keyless = keyless)
    }

    pub fn channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }

    pub fn client(mut self, client: &'a str) -> Self {
        self.client = Some(client);
        self
    }

    pub fn terms(mut self, change: impl FnOnce(&mut Terms)) -> Self {
        change(&mut self.terms);
        self
    }

    pub fn chance(mut self, chance: Chance) -> Self {
        self.chance = Some(chance);
        self
    }

    pub fn send(self) -> Result<Sent, Refusal> {
        let chance = self.chance.unwrap_or_else(|| self.house.chance());
        let send = Send {
            application: Arc::clone(&self.house.application),
            keys: Arc::clone(&self.house.keys),
            what: self.what,
            channel: self.channel,
            client: self.client.map(str::to_owned),
            carry_now: true,
            terms: self.terms,
            chance,
            now: self.house.now,
        };
        self.house.run(&send)
    }

    pub fn refused(self) -> Refusal {
        self.send().unwrap_err()
    }
}

pub fn number(text: &str) -> Destination {
    Destination::parse(text, None).unwrap()
}

pub fn code(text: &str) -> Code {
    text.parse().unwrap()
}

/// The `nth` wrong code of the same length as `right`, each another one.
pub fn wrong(right: &str, nth: u64) -> String {
    let values = 10_u64.pow(u32::try_from(right.len()).unwrap());
    format!("{:0width$}", (right.parse::<u64>().unwrap() + 1 + nth % (values - 1)) % values, width = right.len())
}

/// Bytes that look random and are the same every time (SplitMix64).
pub fn bytes(seed: u64) -> [u8; 56] {
    let (mut state, mut bytes) = (seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), [0; 56]);
    for chunk in bytes.chunks_exact_mut(8) {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(word ^ (word >> 31)).to_be_bytes());
    }
    bytes
}

pub const fn rule(per: Per, of: Of, quota: u32, window: Duration) -> LimitRule {
    LimitRule { per, of, quota, window }
}

pub fn accepted(message_id: &str) -> Reported {
    Reported::Outcome(Outcome::Accepted { message_id: Some(message_id.to_owned()) })
}

pub fn rejected(failure: Failure) -> Reported {
    rejected_for(failure, None)
}

pub fn rejected_for(failure: Failure, retry_after: Option<Duration>) -> Reported {
    Reported::Outcome(Outcome::Rejected { failure, reason: "no".to_owned(), retry_after })
}

pub fn unknown() -> Reported {
    Reported::Outcome(Outcome::Unknown { reason: "no answer".to_owned() })
}

/// The delivery to be carried next.
pub fn carried(next: Next) -> Delivery {
    match next {
        Next::Carry(delivery) => *delivery,
        other => panic!("expected a delivery to carry, not {other:?}"),
    }
}
