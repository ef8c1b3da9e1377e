//! A store in memory: for tests, for embedding where a restart may forget, and as the plainest reading of the port.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use countersign_core::decision::{Changes, GuessKey, Lookup, Snapshot, Write};
use countersign_core::event::Event;
use countersign_core::health::{self, Figures, HealthKey, HealthRow};
use countersign_core::id::{ApplicationName, DeliveryId, Purpose, ServiceId, VerificationId};
use countersign_core::limit::{LimitKey, Tat};
use countersign_core::time::Timestamp;
use countersign_core::verification::{Delivery, DeliveryStatus, GuessLog, Status, Verification};

use crate::access::hex;
use crate::sender::BoxFuture;
use crate::store::{
    AnswerKey, ApplicationRecord, Claimed, Cleaned, Job, KeptAnswer, KeyRecord, ListFilter, NewAnswer, Page, Record,
    RecordFilter, RecordName, RecordPage, Store, StoreResult, WithDeliveries,
};
use crate::transfer::{AnswerRow, Dumped, Loaded, Row, RowKind};
use crate::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};

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

impl Answer {
    fn row(&self, key: &AnswerKey) -> AnswerRow {
        let begun = &self.begun;
        let answer = self.answer.clone();
        AnswerRow::new(key.clone(), begun.fingerprint, begun.seed, begun.in_flight_until, begun.expires_at, answer)
    }
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

    /// The rows of a kind, each by where it stands among them.
    fn rows_of(&self, kind: RowKind) -> BTreeMap<String, Row> {
        let by_place = |place: &u64| format!("{place:020}");
        match kind {
            RowKind::Application => {
                self.applications.values().map(|row| (row.name.to_string(), Row::Application(row.clone()))).collect()
            }
            RowKind::Key => self.keys.iter().map(|row| (row.id.clone(), Row::Key(row.clone()))).collect(),
            RowKind::Record => {
                self.records.iter().map(|(place, row)| (by_place(place), Row::Record(row.clone()))).collect()
            }
            RowKind::Verification => {
                let row =
                    |(row, deliveries): &WithDeliveries| Row::Verification(row.clone().into(), deliveries.clone());
                self.rows.iter().map(|(place, whole)| (by_place(place), row(whole))).collect()
            }
            RowKind::Limit => {
                self.limits.iter().map(|(key, tat)| (key.0.clone(), Row::Limit(key.clone(), *tat))).collect()
            }
            RowKind::Guesses => {
                let place = |key: &GuessKey| format!("{} {}", key.application, key.destination);
                self.guesses.iter().map(|(key, log)| (place(key), Row::Guesses(key.clone(), log.clone()))).collect()
            }
            RowKind::Answer => {
                let place = |key: &AnswerKey| format!("{} {}", key.application, hex(&key.key));
                self.answers.iter().map(|(key, kept)| (place(key), Row::Answer(kept.row(key)))).collect()
            }
            RowKind::Event => {
                self.events.iter().map(|(place, row)| (by_place(place), Row::Event(*place, row.clone()))).collect()
            }
            RowKind::Health => {
                let place = |nth: usize| by_place(&(nth as u64));
                self.health_rows().enumerate().map(|(nth, row)| (place(nth), Row::Health(row))).collect()
            }
        }
    }

    /// What is known under a row's name.
    fn known(&self, row: &Row) -> Option<Row> {
        match row {
            Row::Application(row) => self.applications.get(&row.name).cloned().map(Row::Application),
            Row::Key(row) => self.keys.iter().find(|known| known.id == row.id).cloned().map(Row::Key),
            Row::Record(row) => self.records.values().find(|known| known.name == row.name).cloned().map(Row::Record),
            Row::Verification(row, _) => {
                let (row, deliveries) = self.by_id.get(&row.id).and_then(|place| self.rows.get(place))?;
                Some(Row::Verification(row.clone().into(), deliveries.clone()))
            }
            Row::Limit(key, _) => self.limits.get(key).map(|tat| Row::Limit(key.clone(), *tat)),
            Row::Guesses(key, _) => self.guesses.get(key).map(|log| Row::Guesses(key.clone(), log.clone())),
            Row::Answer(row) => self.answers.get(&row.key).map(|kept| Row::Answer(kept.row(&row.key))),
            Row::Event(place, _) => self.events.get(place).map(|event| Row::Event(*place, event.clone())),
            Row::Health(HealthRow { key, .. }) => {
                self.health.get(key).map(|figures| Row::Health(HealthRow { key: key.clone(), figures: *figures }))
            }
        }
    }

    fn load(&mut self, row: Row) -> Loaded {
        match self.known(&row) {
            Some(known) if known == row => return Loaded::Same,
            Some(_) => return Loaded::Differs,
            None => {}
        }
        match row {
            Row::Application(row) => drop(self.applications.insert(row.name.clone(), row)),
            Row::Key(row) => self.keys.push(row),
            Row::Record(row) => {
                self.last_record += 1;
                self.records.insert(self.last_record, row);
            }
            Row::Verification(row, deliveries) => {
                let latest = self.latest.get(&latest_key(&row)).and_then(|place| self.rows.get(place));
                if latest.is_some_and(|(latest, _)| latest.created_at > row.created_at) {
                    return Loaded::Older;
                }
                self.last_row += 1;
                self.by_id.insert(row.id, self.last_row);
                self.latest.insert(latest_key(&row), self.last_row);
                self.rows.insert(self.last_row, (*row, deliveries));
            }
            Row::Limit(key, tat) => drop(self.limits.insert(key, tat)),
            Row::Guesses(key, log) => drop(self.guesses.insert(key, log)),
            Row::Answer(row) => drop(self.answers.insert(row.key, Answer { begun: row.begun, answer: row.answer })),
            Row::Event(place, event) => {
                self.last_event = self.last_event.max(place);
                self.health_position = self.health_position.max(place);
                self.events.insert(place, event);
            }
            Row::Health(HealthRow { key, figures }) => drop(self.health.insert(key, figures)),
        }
        Loaded::New
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
        let mut state = self.state();
        let mut due: Vec<_> = state
            .rows
            .iter()
            .flat_map(|(place, (_, deliveries))| {
                deliveries.iter().map(|delivery| (delivery.lease_until, *place, delivery.clone()))
            })
            .filter(|(until, _, delivery)| delivery.status == DeliveryStatus::Queued && *until <= now)
            .collect();
        due.sort_by_key(|(until, ..)| *until);
        let mut claimed = Vec::new();
        for (_, place, found) in due.into_iter().take(most) {
            let Some((verification, deliveries)) = state.rows.get_mut(&place) else { continue };
            let Some(delivery) = deliveries.iter_mut().find(|delivery| delivery.id == found.id) else { continue };
            delivery.lease_until = now + lease;
            delivery.claims += 1;
            claimed.push(Claimed { delivery: delivery.clone(), verification: verification.clone() });
        }
        ready(claimed)
    }

    fn overdue(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        let state = self.state();
        let overdue = state
            .rows
            .values()
            .map(|(row, _)| row)
            .filter(|row| row.status == Status::Pending && row.expires_at <= now);
        ready(overdue.take(most).map(|row| (row.application.clone(), row.id)).collect())
    }

    fn to_follow_up(
        &self,
        now: Timestamp,
        most: usize,
    ) -> BoxFuture<'_, StoreResult<Vec<(ApplicationName, VerificationId)>>> {
        let state = self.state();
        let rows = state.rows.values().map(|(row, _)| row);
        let mut due: Vec<_> = rows.filter(|row| row.follow_up_at.is_some_and(|at| at <= now)).collect();
        due.sort_by_key(|row| row.follow_up_at);
        ready(due.into_iter().take(most).map(|row| (row.application.clone(), row.id)).collect())
    }

    fn cleanup(
        &self,
        before: Timestamp,
        now: Timestamp,
        most: usize,
        dry_run: bool,
    ) -> BoxFuture<'_, StoreResult<Cleaned>> {
        let mut state = self.state();
        let position = state.webhook_position.unwrap_or(u64::MAX);
        let untold: HashSet<_> =
            state.events.range(position.saturating_add(1)..).map(|(_, event)| event.verification).collect();
        let old: Vec<_> = state
            .rows
            .iter()
            .filter(|(_, (row, _))| row.expires_at < before && !untold.contains(&row.id))
            .map(|(place, _)| *place)
            .take(most)
            .collect();
        let limits: Vec<_> = state
            .limits
            .iter()
            .filter(|(_, tat)| tat.forgettable_at() <= now)
            .map(|(key, _)| key.clone())
            .take(most)
            .collect();
        let guesses: Vec<_> = state
            .guesses
            .iter()
            .filter(|(_, log)| log.forgettable_at() <= now)
            .map(|(key, _)| key.clone())
            .take(most)
            .collect();
        let answers: Vec<_> = state
            .answers
            .iter()
            .filter(|(_, kept)| kept.begun.expires_at <= now)
            .map(|(key, _)| key.clone())
            .take(most)
            .collect();
        let messages: Vec<_> = state
            .messages
            .iter()
            .filter(|(_, (message, waits))| !waits && message.at < before || message.expires_at <= now)
            .map(|(key, _)| key.clone())
            .take(most)
            .collect();
        let forgotten = now - health::KEPT_FOR;
        let hours: Vec<_> = state.health.keys().filter(|key| key.hour < forgotten).take(most).cloned().collect();
        let counts = [limits.len(), guesses.len(), answers.len(), messages.len(), hours.len()];
        let others: usize = counts.iter().sum();
        let most_of_a_kind = counts.into_iter().max().unwrap_or_default();
        let more = old.len() >= most || most_of_a_kind >= most;
        let cleaned = Cleaned { verifications: old.len() as u64, others: others as u64, more };
        if !dry_run {
            old.into_iter().for_each(|place| state.delete(place));
            state.limits.retain(|key, _| !limits.contains(key));
            state.guesses.retain(|key, _| !guesses.contains(key));
            state.answers.retain(|key, _| !answers.contains(key));
            state.messages.retain(|key, _| !messages.contains(key));
            state.health.retain(|key, _| !hours.contains(key));
        }
        ready(cleaned)
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
        let mut state = self.state();
        let newest = state.last_event;
        state.webhook_position = if wanted { Some(state.webhook_position.unwrap_or(newest)) } else { None };
        ready(state.webhook_position)
    }

    fn take_up_events<'a>(
        &'a self,
        from: u64,
        through: u64,
        messages: &'a [WebhookMessage],
    ) -> BoxFuture<'a, StoreResult<Option<u64>>> {
        let mut state = self.state();
        if state.webhook_position == Some(from) {
            state.webhook_position = Some(through);
            for message in messages {
                state.messages.insert((message.endpoint.clone(), message.id.clone()), (message.clone(), true));
            }
        }
        ready(state.webhook_position)
    }

    fn claim_webhooks<'a>(
        &'a self,
        endpoint: &'a str,
        now: Timestamp,
        lease: Duration,
        most: usize,
    ) -> BoxFuture<'a, StoreResult<Vec<WebhookMessage>>> {
        let mut state = self.state();
        let mut held = HashSet::new();
        let mut claimed = Vec::new();
        if state.endpoints.get(endpoint).is_some_and(|fares| fares.disabled.is_some()) {
            return ready(claimed);
        }
        let waiting = state.messages.values_mut().filter(|(message, waits)| *waits && message.endpoint == endpoint);
        for (message, _) in waiting {
            let free = !held.contains(&message.verification);
            if message.hold_until > now {
                held.insert(message.verification);
            }
            if free && message.due_at <= now && claimed.len() < most {
                message.due_at = now + lease;
                message.attempts += 1;
                claimed.push(message.clone());
            }
        }
        ready(claimed)
    }

    fn settle_webhook<'a>(
        &'a self,
        message: &'a WebhookMessage,
        outcome: &'a WebhookOutcome,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<bool>> {
        let mut state = self.state();
        let State { messages, endpoints, .. } = &mut *state;
        let found = messages.get_mut(&(message.endpoint.clone(), message.id.clone()));
        let Some((kept, waits)) = found.filter(|(kept, waits)| *waits && kept.attempts == message.attempts) else {
            return ready(false);
        };
        *waits = matches!(outcome, WebhookOutcome::Again { .. } | WebhookOutcome::Gone { .. });
        let fares = endpoints.entry(message.endpoint.clone()).or_default();
        fares.endpoint.clone_from(&message.endpoint);
        match outcome {
            WebhookOutcome::Delivered => fares.failing_since = None,
            WebhookOutcome::Again { error, .. }
            | WebhookOutcome::GivenUp { error }
            | WebhookOutcome::Gone { error, .. } => {
                fares.failing_since.get_or_insert(now);
                fares.last_error = Some(error.clone());
            }
        }
        match outcome {
            WebhookOutcome::Again { due_at, .. } => kept.due_at = *due_at,
            WebhookOutcome::Gone { settings, .. } => fares.disabled = Some((now, settings.clone())),
            WebhookOutcome::Delivered | WebhookOutcome::GivenUp { .. } => {}
        }
        ready(true)
    }

    fn requeue_webhooks<'a>(
        &'a self,
        endpoints: &'a [String],
        which: &'a Requeue,
        now: Timestamp,
    ) -> BoxFuture<'a, StoreResult<u64>> {
        let mut state = self.state();
        let mut requeued = 0;
        for (message, waits) in state.messages.values_mut().filter(|(message, _)| endpoints.contains(&message.endpoint))
        {
            let meant = match which {
                Requeue::Event(id) => message.id == *id,
                Requeue::Between(from, until) => (*from..*until).contains(&message.at),
                Requeue::Waiting => *waits,
            };
            if meant {
                (*waits, message.due_at, message.attempts) = (true, now, 0);
                requeued += 1;
            }
        }
        if *which == Requeue::Waiting {
            let named = state.endpoints.values_mut().filter(|fares| endpoints.contains(&fares.endpoint));
            named.for_each(|fares| fares.disabled = None);
        }
        ready(requeued)
    }

    fn webhook_endpoints(&self) -> BoxFuture<'_, StoreResult<Vec<WebhookEndpoint>>> {
        let state = self.state();
        let mut all = state.endpoints.clone();
        for (message, _) in state.messages.values().filter(|(_, waits)| *waits) {
            let fares = all.entry(message.endpoint.clone()).or_default();
            fares.endpoint.clone_from(&message.endpoint);
            fares.pending += 1;
            fares.oldest = Some(fares.oldest.map_or(message.at, |oldest| oldest.min(message.at)));
        }
        ready(all.into_values().collect())
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
