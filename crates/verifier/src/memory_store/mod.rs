//! A store in memory: for tests, for embedding where a restart may forget, and as the plainest reading of the port.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_core::decision::{Changes, GuessKey, Lookup, Snapshot, Write};
use countersign_core::event::Event;
use countersign_core::health::{Figures, HealthKey, HealthRow};
use countersign_core::id::{ApplicationName, DeliveryId, Purpose, ServiceId, VerificationId};
use countersign_core::limit::{LimitKey, Tat};
use countersign_core::time::Timestamp;
use countersign_core::verification::{Delivery, GuessLog, Verification};

use crate::sender::BoxFuture;
use crate::store::{
    AnswerKey, ApplicationRecord, Claimed, Cleaned, Job, KeptAnswer, KeyRecord, ListFilter, NewAnswer, Page, Record,
    RecordFilter, RecordName, RecordPage, Store, StoreResult, WithDeliveries,
};
use crate::transfer::{Dumped, Loaded, Row, RowKind};
use crate::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};

mod transfer;
mod upkeep;
mod webhook;

/// Keeps everything in memory behind one lock. Exact, fast, and forgotten with the process.
///
/// ```
/// use countersign::MemoryStore;
/// let store = MemoryStore::default();
/// ```
#[derive(Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<u64, (Verification, Vec<Delivery>)>,
    by_id: HashMap<VerificationId, u64>,
    latest: HashMap<Latest, u64>,
    limits: HashMap<LimitKey, Tat>,
    guesses: HashMap<GuessKey, GuessLog>,
    events: BTreeMap<u64, Event>,
    answers: HashMap<AnswerKey, Answer>,
    applications: BTreeMap<ApplicationName, ApplicationRecord>,
    keys: Vec<KeyRecord>,
    records: BTreeMap<u64, Record>,
    last_record: u64,
    webhook_position: Option<u64>,
    health_position: u64,
    health: BTreeMap<HealthKey, Figures>,
    /// By endpoint and id; with each whether it waits.
    messages: BTreeMap<(String, String), (WebhookMessage, bool)>,
    endpoints: BTreeMap<String, WebhookEndpoint>,
    last_row: u64,
    last_event: u64,
}

/// What [`Lookup::Latest`] goes by.
type Latest = (ApplicationName, Option<ServiceId>, String, Purpose);

fn latest_key(row: &Verification) -> Latest {
    (row.application.clone(), row.service, row.to.reveal().to_owned(), row.purpose.clone())
}

struct Answer {
    begun: NewAnswer,
    answer: Option<Vec<u8>>,
}

impl State {
    fn place(&self, lookup: &Lookup) -> Option<u64> {
        match lookup {
            Lookup::ById { application, id } => {
                let place = *self.by_id.get(id)?;
                (self.rows.get(&place)?.0.application == *application).then_some(place)
            }
            Lookup::Latest { application, service, to, purpose } => {
                self.latest.get(&(application.clone(), *service, to.reveal().to_owned(), purpose.clone())).copied()
            }
            Lookup::ByReference { provider, reference } => self
                .rows
                .iter()
                .find(|(_, (_, deliveries))| {
                    deliveries.iter().any(|delivery| {
                        delivery.provider == *provider
                            && (delivery.message_id.as_ref() == Some(reference)
                                || delivery.id.to_string() == *reference)
                    })
                })
                .map(|(place, _)| *place),
        }
    }

    fn run(&mut self, job: &mut dyn Job) {
        let row = self.place(&job.lookup()).and_then(|place| self.rows.get(&place)).cloned();
        let (verification, deliveries) = row.unzip();
        let reads = job.reads(verification.as_ref());
        let snapshot = Snapshot {
            verification,
            deliveries: deliveries.filter(|_| reads.deliveries).unwrap_or_default(),
            limits: reads.limits.iter().map(|key| self.limits.get(key).copied()).collect(),
            guesses: reads.guesses.and_then(|key| self.guesses.get(&key).cloned()).unwrap_or_default(),
        };
        let changes = job.decide(&snapshot);
        self.apply(changes);
    }

    fn apply(&mut self, changes: Changes) {
        if let Some(row) = changes.ended
            && let Some(kept) = self.by_id.get(&row.id).and_then(|place| self.rows.get_mut(place))
        {
            kept.0 = row;
        }
        match changes.verification {
            Some(Write::Insert(row)) => {
                self.last_row += 1;
                self.by_id.insert(row.id, self.last_row);
                self.latest.insert(latest_key(&row), self.last_row);
                self.rows.insert(self.last_row, (row, Vec::new()));
            }
            Some(Write::Update(row)) => {
                if let Some(kept) = self.by_id.get(&row.id).and_then(|place| self.rows.get_mut(place)) {
                    kept.0 = row;
                }
            }
            None => {}
        }
        for write in changes.deliveries {
            let Some((_, kept)) = self.by_id.get(&write.row().verification).and_then(|place| self.rows.get_mut(place))
            else {
                continue;
            };
            match write {
                Write::Insert(row) => kept.push(row),
                Write::Update(row) => kept
                    .iter_mut()
                    .filter(|delivery| delivery.id == row.id)
                    .for_each(|delivery| *delivery = row.clone()),
            }
        }
        self.limits.extend(changes.limits);
        self.guesses.extend(changes.guesses);
        for event in changes.events {
            self.last_event += 1;
            self.events.insert(self.last_event, event);
        }
    }

    fn health_rows(&self) -> impl Iterator<Item = HealthRow> + '_ {
        self.health.iter().map(|(key, figures)| HealthRow { key: key.clone(), figures: *figures })
    }

    fn delete(&mut self, place: u64) {
        let Some((row, _)) = self.rows.remove(&place) else { return };
        self.by_id.remove(&row.id);
        let key = latest_key(&row);
        if self.latest.get(&key) == Some(&place) {
            self.latest.remove(&key);
        }
        self.events.retain(|_, event| event.verification != row.id);
    }
}

impl MemoryStore {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, StoreResult<T>> {
    Box::pin(std::future::ready(Ok(value)))
}

impl Store for MemoryStore {
    fn run(&self, mut job: Box<dyn Job>) -> BoxFuture<'_, StoreResult<()>> {
        self.state().run(&mut *job);
        ready(())
    }

    fn verification<'a>(
        &'a self,
        application: &'a ApplicationName,
        id: VerificationId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>> {
        let state = self.state();
        let place = state.place(&Lookup::ById { application: application.clone(), id });
        ready(place.and_then(|place| state.rows.get(&place).cloned()))
    }

    fn verification_of<'a>(
        &'a self,
        application: &'a ApplicationName,
        delivery: DeliveryId,
    ) -> BoxFuture<'a, StoreResult<Option<WithDeliveries>>> {
        let state = self.state();
        let has = |(row, deliveries): &&WithDeliveries| {
            row.application == *application && deliveries.iter().any(|known| known.id == delivery)
        };
        ready(state.rows.values().find(has).cloned())
    }

    fn verifications<'a>(&'a self, ids: &'a [VerificationId]) -> BoxFuture<'a, StoreResult<Vec<WithDeliveries>>> {
        let state = self.state();
        let places = ids.iter().filter_map(|id| state.by_id.get(id));
        ready(places.filter_map(|place| state.rows.get(place).cloned()).collect())
    }

    fn list<'a>(&'a self, filter: &'a ListFilter) -> BoxFuture<'a, StoreResult<Page>> {
        let state = self.state();
        let mut rows = state
            .rows
            .range(..filter.after.unwrap_or(u64::MAX))
            .rev()
            .filter(|(_, (row, _))| {
                row.application == filter.application
                    && filter.service.is_none_or(|service| row.service == service)
                    && filter.to.as_ref().is_none_or(|to| row.to.reveal() == to.reveal())
                    && filter.purpose.as_ref().is_none_or(|purpose| row.purpose == *purpose)
                    && filter.status.is_none_or(|status| row.status_at(filter.now) == status)
                    && filter.since.is_none_or(|since| row.created_at >= since)
                    && filter.until.is_none_or(|until| row.created_at < until)
            })
            .map(|(place, row)| (*place, row.clone()));
        let page: Vec<_> = rows.by_ref().take(filter.limit).collect();
        let next = if rows.next().is_some() { page.last().map(|(place, _)| *place) } else { None };
        ready(Page { rows: page.into_iter().map(|(_, row)| row).collect(), next })
    }

    fn claim(&self, now: Timestamp, lease: Duration, most: usize) -> BoxFuture<'_, StoreResult<Vec<Claimed>>> {
        ready(self.state().claim(now, lease, most))
    }

    fn overdue(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        ready(self.state().overdue(now, most))
    }

    fn to_follow_up(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        ready(self.state().to_follow_up(now, most))
    }

    fn cleanup(
        &self,
        before: Timestamp,
        now: Timestamp,
        most: usize,
        dry_run: bool,
    ) -> BoxFuture<'_, StoreResult<Cleaned>> {
        ready(self.state().cleanup(before, now, most, dry_run))
    }

    fn events(&self, after: u64, most: usize) -> BoxFuture<'_, StoreResult<Vec<(u64, Event)>>> {
        let state = self.state();
        ready(
            state
                .events
                .range(after.saturating_add(1)..)
                .take(most)
                .map(|(place, event)| (*place, event.clone()))
                .collect(),
        )
    }

    fn webhook_position(&self, wanted: bool) -> BoxFuture<'_, StoreResult<Option<u64>>> {
        ready(self.state().webhook_position(wanted))
    }

    fn take_up_events<'a>(
        &'a self,
        from: u64,
        through: u64,
        messages: &'a [WebhookMessage],
    ) -> BoxFuture<'a, StoreResult<Option<u64>>> {
        ready(self.state().take_up_events(from, through, messages))
    }

    fn claim_webhooks<'a>(
        &'a self,
        endpoint: &'a str,
        now: Timestamp,
        lease: Duration,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<WebhookMessage>>> {
        ready(self.state().claim_webhooks(endpoint, now, lease, most))
    }

    fn settle_webhook<'a>(
        &'a self,
        message: &'a WebhookMessage,
        outcome: &'a WebhookOutcome,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        ready(self.state().settle_webhook(message, outcome, now))
    }

    fn requeue_webhooks<'a>(
        &'a self,
        endpoints: &'a [String],
        which: &'a Requeue,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        ready(self.state().requeue_webhooks(endpoints, which, now))
    }

    fn webhook_endpoints(&self) -> BoxFuture<'_, StoreResult<Vec<WebhookEndpoint>>> {
        ready(self.state().webhook_endpoints())
    }

    fn health_position(&self) -> BoxFuture<'_, StoreResult<Option<u64>>> {
        ready(Some(self.state().health_position))
    }

    fn take_up_health<'a>(
        &'a self,
        from: u64,
        through: u64,
        rows: &'a [HealthRow],
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let mut state = self.state();
        if state.health_position != from {
            return ready(false);
        }
        state.health_position = through;
        for row in rows {
            let sum = state.health.entry(row.key.clone()).or_default();
            *sum = sum.plus(row.figures);
        }
        ready(true)
    }

    fn health(&self, since: Timestamp) -> BoxFuture<'_, StoreResult<Vec<HealthRow>>> {
        ready(self.state().health_rows().filter(|row| row.key.hour >= since).collect())
    }

    fn begin_answer<'a>(&'a self, key: &'a AnswerKey, fresh: NewAnswer) -> BoxFuture<'a, StoreResult<KeptAnswer>> {
        let mut state = self.state();
        let known = state.answers.get_mut(key).filter(|kept| kept.begun.expires_at > fresh.now);
        let Some(known) = known else {
            let seed = fresh.seed;
            state.answers.insert(key.clone(), Answer { begun: fresh, answer: None });
            return ready(KeptAnswer::Begun { seed });
        };
        ready(match (&known.answer, known.begun.fingerprint == fresh.fingerprint) {
            (_, false) => KeptAnswer::Mismatch,
            (Some(answer), true) => KeptAnswer::Answered(answer.clone()),
            (None, true) if known.begun.in_flight_until > fresh.now => KeptAnswer::InFlight,
            (None, true) => {
                known.begun.in_flight_until = fresh.in_flight_until;
                KeptAnswer::Begun { seed: known.begun.seed }
            }
        })
    }

    fn keep_answer<'a>(&'a self, key: &'a AnswerKey, answer: Vec<u8>) -> BoxFuture<'a, StoreResult<()>> {
        if let Some(kept) = self.state().answers.get_mut(key) {
            kept.answer = Some(answer);
        }
        ready(())
    }

    fn release_answer<'a>(&'a self, key: &'a AnswerKey) -> BoxFuture<'a, StoreResult<()>> {
        if let Some(kept) = self.state().answers.get_mut(key) {
            kept.begun.in_flight_until = Timestamp::EPOCH;
        }
        ready(())
    }

    fn create_application<'a>(&'a self, application: &'a ApplicationRecord) -> BoxFuture<'a, StoreResult<bool>> {
        let mut state = self.state();
        let new = !state.applications.contains_key(&application.name);
        if new {
            state.applications.insert(application.name.clone(), application.clone());
        }
        ready(new)
    }

    fn applications(&self) -> BoxFuture<'_, StoreResult<Vec<ApplicationRecord>>> {
        ready(self.state().applications.values().cloned().collect())
    }

    fn create_key<'a>(&'a self, key: &'a KeyRecord) -> BoxFuture<'a, StoreResult<()>> {
        self.state().keys.push(key.clone());
        ready(())
    }

    fn keys<'a>(&'a self, application: &'a ApplicationName) -> BoxFuture<'a, StoreResult<Vec<KeyRecord>>> {
        ready(self.state().keys.iter().filter(|key| key.application == *application).cloned().collect())
    }

    fn key_by_digest(&self, digest: [u8; 32]) -> BoxFuture<'_, StoreResult<Option<KeyRecord>>> {
        let has = |key: &&KeyRecord| [key.key_digest, key.auth_token_digest, key.key_secret_digest].contains(&digest);
        ready(self.state().keys.iter().filter(|key| key.revoked_at.is_none()).find(has).cloned())
    }

    fn revoke_key<'a>(&'a self, id: &'a str, now: Timestamp) -> BoxFuture<'a, StoreResult<bool>> {
        let mut state = self.state();
        let found = state.keys.iter_mut().find(|key| key.id == id);
        let known = found.is_some();
        if let Some(key) = found {
            key.revoked_at.get_or_insert(now);
        }
        ready(known)
    }

    fn create_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>> {
        let mut state = self.state();
        let new = state.records.values().all(|known| known.name != record.name);
        if new {
            state.last_record += 1;
            let place = state.last_record;
            state.records.insert(place, record.clone());
        }
        ready(new)
    }

    fn update_record<'a>(&'a self, record: &'a Record) -> BoxFuture<'a, StoreResult<bool>> {
        let mut state = self.state();
        let found = state.records.values_mut().find(|known| known.name == record.name);
        let known = found.is_some();
        if let Some(found) = found {
            found.body.clone_from(&record.body);
            found.updated_at = record.updated_at;
        }
        ready(known)
    }

    fn record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<Option<Record>>> {
        ready(self.state().records.values().find(|record| record.name == *name).cloned())
    }

    fn records<'a>(&'a self, filter: &'a RecordFilter) -> BoxFuture<'a, StoreResult<RecordPage>> {
        let state = self.state();
        let mut rows = state.records.range(..filter.after.unwrap_or(u64::MAX)).rev().filter(|(_, record)| {
            record.name.application == filter.application
                && record.name.kind == filter.kind
                && filter.parent.as_ref().is_none_or(|parent| record.parent.as_ref() == Some(parent))
        });
        let page: Vec<_> = rows.by_ref().take(filter.limit).collect();
        let next = if rows.next().is_some() { page.last().map(|(place, _)| **place) } else { None };
        ready(RecordPage { rows: page.into_iter().map(|(_, record)| record.clone()).collect(), next })
    }

    fn delete_record<'a>(&'a self, name: &'a RecordName) -> BoxFuture<'a, StoreResult<bool>> {
        let mut state = self.state();
        let before = state.records.len();
        state.records.retain(|_, record| record.name != *name);
        let known = state.records.len() < before;
        let mut gone = if known { vec![name.id.clone()] } else { Vec::new() };
        while let Some(parent) = gone.pop() {
            state.records.retain(|_, record| {
                let goes = record.name.application == name.application && record.parent.as_ref() == Some(&parent);
                if goes {
                    gone.push(record.name.id.clone());
                }
                !goes
            });
        }
        ready(known)
    }

    fn dump<'a>(
        &'a self,
        kind: RowKind,
        after: Option<&'a str>,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<Dumped>>> {
        let rows = self.state().rows_of(kind);
        let rest = rows.into_iter().filter(|(place, _)| after.is_none_or(|after| place.as_str() > after));
        ready(rest.take(most).map(|(place, row)| Dumped { place, row }).collect())
    }

    fn load(&self, rows: Vec<Row>) -> BoxFuture<'_, StoreResult<Vec<Loaded>>> {
        let mut state = self.state();
        ready(rows.into_iter().map(|row| state.load(row)).collect())
    }

    fn ping(&self) -> BoxFuture<'_, StoreResult<()>> {
        ready(())
    }

    fn close(&self) -> BoxFuture<'_, StoreResult<()>> {
        ready(())
    }
}
