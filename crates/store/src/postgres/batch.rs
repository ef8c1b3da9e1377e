//! What a batch of decisions sees and changes: the rows that its transaction has locked, and over them what the decisions before in
//! the same batch have made of them. So decisions about the same rows run one after the other, though all are written together.

use std::collections::{HashMap, HashSet};

use countersign::core::decision::{Changes, GuessKey, Lookup, Reads, Snapshot, Write};
use countersign::core::event::Event;
use countersign::core::id::{ApplicationName, Purpose, ServiceId, VerificationId};
use countersign::core::limit::{LimitKey, Tat};
use countersign::core::verification::{Delivery, GuessLog, Verification};
use countersign::store::Job;

use super::error::Error;
use super::rows::Placed;

/// What [`Lookup::Latest`] goes by.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct LatestKey {
    pub(super) application: ApplicationName,
    pub(super) service: Option<ServiceId>,
    pub(super) destination: String,
    pub(super) purpose: Purpose,
}

impl LatestKey {
    fn asked_for(lookup: &Lookup) -> Option<Self> {
        let Lookup::Latest { application, service, to, purpose } = lookup else { return None };
        let (application, purpose) = (application.clone(), purpose.clone());
        Some(Self { application, service: *service, destination: to.reveal().to_owned(), purpose })
    }

    /// What a verification is the latest of, if it is.
    pub(super) fn of(row: &Verification) -> Self {
        Self {
            application: row.application.clone(),
            service: row.service,
            destination: row.to.reveal().to_owned(),
            purpose: row.purpose.clone(),
        }
    }
}

/// Provider, reference.
pub(super) type ReferenceKey = (String, String);

/// What the decisions of a batch ask for first.
#[derive(Default)]
pub(super) struct Questions {
    pub(super) ids: Vec<VerificationId>,
    pub(super) latest: Vec<LatestKey>,
    pub(super) references: Vec<ReferenceKey>,
}

/// What they ask for then.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) limits: Vec<LimitKey>,
    pub(super) guesses: Vec<GuessKey>,
    pub(super) places: Vec<i64>,
    /// How many want the counter that most of them want.
    pub(super) most_wanted: usize,
}

/// A row that may change.
pub(super) struct Kept<T> {
    /// Whether it is in the store.
    pub(super) stored: bool,
    pub(super) changed: bool,
    pub(super) value: T,
}

/// A verification of the batch.
pub(super) struct Found {
    pub(super) place: i64,
    pub(super) generation: i64,
    pub(super) row: Kept<Verification>,
    /// `None` if they were not asked for.
    pub(super) deliveries: Option<Vec<Kept<Delivery>>>,
    /// Whether another took its place, where the latest is kept alone.
    pub(super) gone: bool,
}

/// The batch's own view of the store.
#[derive(Default)]
pub(super) struct State {
    pub(super) found: Vec<Found>,
    by_id: HashMap<VerificationId, Option<usize>>,
    latest: HashMap<LatestKey, Option<usize>>,
    references: HashMap<ReferenceKey, Option<usize>>,
    pub(super) limits: HashMap<LimitKey, Kept<Option<Tat>>>,
    pub(super) guesses: HashMap<GuessKey, Kept<GuessLog>>,
    pub(super) events: Vec<Event>,
    pub(super) decoy: bool,
    /// Whether nothing is kept of what came before the latest.
    pub(super) latest_alone: bool,
    places: Vec<i64>,
}

impl Questions {
    pub(super) fn of(lookups: &[Lookup]) -> Self {
        let (mut ids, mut latest, mut references) = (HashSet::new(), HashSet::new(), HashSet::new());
        for lookup in lookups {
            match lookup {
                Lookup::ById { id, .. } => drop(ids.insert(*id)),
                Lookup::Latest { .. } => latest.extend(LatestKey::asked_for(lookup)),
                Lookup::ByReference { provider, reference } => {
                    references.insert((provider.clone(), reference.clone()));
                }
            }
        }
        Self {
            ids: ids.into_iter().collect(),
            latest: latest.into_iter().collect(),
            references: references.into_iter().collect(),
        }
    }
}

impl State {
    /// From the locked rows, and the place that each question led to once they were locked.
    ///
    /// # Errors
    /// A conflict if a question leads to a row that is not among those locked: it began in the meantime.
    pub(super) fn new(questions: Questions, rows: Vec<Placed>, resolved: &[(i64, i64, i64)]) -> Result<Self, Error> {
        let mut state = Self::default();
        let mut by_place = HashMap::with_capacity(rows.len());
        for Placed { place, generation, row } in rows {
            by_place.insert(place, state.found.len());
            state.by_id.insert(row.id, Some(state.found.len()));
            let row = Kept { stored: true, changed: false, value: row };
            state.found.push(Found { place, generation, row, deliveries: None, gone: false });
        }
        let mut answers = HashMap::with_capacity(resolved.len());
        for (kind, nth, place) in resolved {
            let found = *by_place.get(place).ok_or(Error::Conflict)?;
            answers.insert((*kind, *nth), found);
        }
        let numbered = |n: usize| i64::try_from(n + 1).unwrap_or(i64::MAX);
        for (n, id) in questions.ids.into_iter().enumerate() {
            // What was locked under this id is what it leads to; a row that came later is for a later batch.
            let found = answers.get(&(0, numbered(n))).copied();
            state.by_id.entry(id).or_insert(found);
        }
        for (n, key) in questions.latest.into_iter().enumerate() {
            let found = answers.get(&(1, numbered(n))).copied();
            state.latest.insert(key, found);
        }
        for (n, key) in questions.references.into_iter().enumerate() {
            // The provider's own name for a message goes before ours.
            let found = answers.get(&(2, numbered(n))).or_else(|| answers.get(&(3, numbered(n)))).copied();
            state.references.insert(key, found);
        }
        Ok(state)
    }

    /// What was taken for the latest of its kind, with its place. Where none was found, nobody can begin one unseen: two who begin the
    /// same generation meet in a unique key.
    pub(super) fn taken_for_latest(&self) -> Vec<(&LatestKey, i64)> {
        let place = |at: &Option<usize>| Some(self.found.get((*at)?)?.place);
        self.latest.iter().filter_map(|(key, at)| Some((key, place(at)?))).collect()
    }

    /// What the decisions want to know besides their verifications.
    pub(super) fn wanted<'a>(&self, jobs: impl Iterator<Item = (&'a dyn Job, &'a Lookup)>) -> Wanted {
        let (mut guesses, mut places) = (HashSet::new(), HashSet::new());
        let mut limits: HashMap<LimitKey, usize> = HashMap::new();
        for (job, lookup) in jobs {
            let Some(found) = self.look_up(lookup) else { continue };
            let found = found.and_then(|at| self.found.get(at));
            let reads = job.reads(found.map(|found| &found.row.value));
            for key in reads.limits {
                *limits.entry(key).or_default() += 1;
            }
            guesses.extend(reads.guesses);
            places.extend(found.filter(|_| reads.deliveries).map(|found| found.place));
        }
        Wanted {
            most_wanted: limits.values().copied().max().unwrap_or_default(),
            limits: limits.into_keys().collect(),
            guesses: guesses.into_iter().collect(),
            places: places.into_iter().collect(),
        }
    }

    /// Takes what was wanted; `None` is what is not in the store.
    pub(super) fn take_limits(&mut self, keys: Vec<LimitKey>, values: Vec<Option<Tat>>) {
        for (key, value) in keys.into_iter().zip(values) {
            self.limits.insert(key, Kept { stored: value.is_some(), changed: false, value });
        }
    }

    pub(super) fn take_guesses(&mut self, keys: Vec<GuessKey>, values: Vec<Option<GuessLog>>) {
        for (key, value) in keys.into_iter().zip(values) {
            let stored = value.is_some();
            self.guesses.insert(key, Kept { stored, changed: false, value: value.unwrap_or_default() });
        }
    }

    pub(super) fn take_deliveries(&mut self, places: &[i64], deliveries: Vec<(i64, Delivery)>) {
        for found in self.found.iter_mut().filter(|found| places.contains(&found.place)) {
            found.deliveries = Some(Vec::new());
        }
        let by_place: HashMap<i64, usize> =
            self.found.iter().enumerate().map(|(at, found)| (found.place, at)).collect();
        for (place, value) in deliveries {
            let found = by_place.get(&place).and_then(|at| self.found.get_mut(*at));
            if let Some(deliveries) = found.and_then(|found| found.deliveries.as_mut()) {
                deliveries.push(Kept { stored: true, changed: false, value });
            }
        }
    }

    /// Places for new verifications, smallest first.
    pub(super) fn take_places(&mut self, mut places: Vec<i64>) {
        places.sort_unstable_by(|a, b| b.cmp(a));
        self.places = places;
    }

    /// The id of the verification at a place.
    pub(super) fn id_at(&self) -> HashMap<i64, VerificationId> {
        self.found.iter().map(|found| (found.place, found.row.value.id)).collect()
    }

    /// `None` if this batch does not know.
    fn look_up(&self, lookup: &Lookup) -> Option<Option<usize>> {
        match lookup {
            Lookup::ById { application, id } => {
                let found = *self.by_id.get(id)?;
                let is_theirs =
                    |at: &usize| self.found.get(*at).is_some_and(|found| found.row.value.application == *application);
                Some(found.filter(is_theirs))
            }
            Lookup::Latest { .. } => self.latest.get(&LatestKey::asked_for(lookup)?).copied(),
            Lookup::ByReference { provider, reference } => {
                self.references.get(&(provider.clone(), reference.clone())).copied()
            }
        }
    }

    /// Lets one decide. `false` if it needs to know something that was not read, since one before it in the batch has changed what
    /// it is about: then it belongs into the next batch.
    ///
    /// # Errors
    /// If it changes what it has not read, which no decision may.
    pub(super) fn decide(&mut self, job: &mut dyn Job, lookup: &Lookup) -> Result<bool, Error> {
        let Some(found) = self.look_up(lookup) else { return Ok(false) };
        let reads = job.reads(found.and_then(|at| self.found.get(at)).map(|found| &found.row.value));
        let Some(snapshot) = self.snapshot(found, &reads) else { return Ok(false) };
        let changes = job.decide(&snapshot);
        if matches!(changes.verification, Some(Write::Insert(_))) && self.places.is_empty() {
            return Ok(false);
        }
        self.apply(found, changes)?;
        Ok(true)
    }

    fn snapshot(&self, found: Option<usize>, reads: &Reads) -> Option<Snapshot> {
        let found = found.and_then(|at| self.found.get(at));
        let deliveries = match found.filter(|_| reads.deliveries) {
            Some(found) => found.deliveries.as_ref()?.iter().map(|kept| kept.value.clone()).collect(),
            None => Vec::new(),
        };
        Some(Snapshot {
            verification: found.map(|found| found.row.value.clone()),
            deliveries,
            limits: reads
                .limits
                .iter()
                .map(|key| self.limits.get(key).map(|kept| kept.value))
                .collect::<Option<_>>()?,
            guesses: match &reads.guesses {
                Some(key) => self.guesses.get(key)?.value.clone(),
                None => GuessLog::default(),
            },
        })
    }

    fn apply(&mut self, found: Option<usize>, changes: Changes) -> Result<(), Error> {
        if let Some(row) = changes.ended {
            let found = found.and_then(|at| self.found.get_mut(at)).ok_or_else(unread)?;
            found.row = Kept { stored: found.row.stored, changed: true, value: row };
        }
        let at = match changes.verification {
            Some(Write::Insert(row)) => Some(self.insert(row)?),
            Some(Write::Update(row)) => {
                let found = found.and_then(|at| self.found.get_mut(at)).ok_or_else(unread)?;
                found.row.value = row;
                found.row.changed = true;
                self.by_id.get(&found.row.value.id).copied().flatten()
            }
            None => found,
        };
        for write in changes.deliveries {
            let found = at.and_then(|at| self.found.get_mut(at)).ok_or_else(unread)?;
            let deliveries = found.deliveries.as_mut().ok_or_else(unread)?;
            match write {
                Write::Insert(value) => deliveries.push(Kept { stored: false, changed: true, value }),
                Write::Update(value) => {
                    let kept = deliveries.iter_mut().find(|kept| kept.value.id == value.id).ok_or_else(unread)?;
                    kept.value = value;
                    kept.changed = true;
                }
            }
        }
        for (key, tat) in changes.limits {
            let kept = self.limits.get_mut(&key).ok_or_else(unread)?;
            kept.value = Some(tat);
            kept.changed = true;
        }
        if let Some((key, log)) = changes.guesses {
            let kept = self.guesses.get_mut(&key).ok_or_else(unread)?;
            kept.value = log;
            kept.changed = true;
        }
        self.events.extend(changes.events);
        self.decoy |= changes.decoy;
        Ok(())
    }

    fn insert(&mut self, row: Verification) -> Result<usize, Error> {
        let key = LatestKey::of(&row);
        let before = self.latest.get(&key).copied().ok_or_else(unread)?;
        let generation = before.and_then(|at| self.found.get(at)).map_or(0, |found| found.generation) + 1;
        let place = self.places.pop().ok_or_else(unread)?;
        let at = self.found.len();
        self.by_id.insert(row.id, Some(at));
        self.latest.insert(key, Some(at));
        let row = Kept { stored: false, changed: true, value: row };
        self.found.push(Found { place, generation, row, deliveries: Some(Vec::new()), gone: false });
        if let Some(before) = before.filter(|_| self.latest_alone) {
            self.forget(before);
        }
        Ok(at)
    }

    /// For the decisions that come after this one it is not there.
    fn forget(&mut self, at: usize) {
        if let Some(found) = self.found.get_mut(at) {
            found.gone = true;
            self.by_id.insert(found.row.value.id, None);
        }
        for led_to in self.references.values_mut().filter(|led_to| **led_to == Some(at)) {
            *led_to = None;
        }
    }
}

fn unread() -> Error {
    Error::Unreadable("a decision changed what it had not read".to_owned())
}
