//! Everything that is kept, row by row: for moving between stores.

use std::collections::BTreeMap;

use countersign_core::decision::GuessKey;
use countersign_core::health::HealthRow;

use super::{Answer, State, latest_key};
use crate::access::hex;
use crate::store::{AnswerKey, WithDeliveries};
use crate::transfer::{AnswerRow, Loaded, Row, RowKind};

impl Answer {
    fn row(&self, key: &AnswerKey) -> AnswerRow {
        let begun = &self.begun;
        let answer = self.answer.clone();
        AnswerRow::new(key.clone(), begun.fingerprint, begun.seed, begun.in_flight_until, begun.expires_at, answer)
    }
}

impl State {
    /// The rows of a kind, each by where it stands among them.
    pub fn rows_of(&self, kind: RowKind) -> BTreeMap<String, Row> {
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
    pub fn known(&self, row: &Row) -> Option<Row> {
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

    pub fn load(&mut self, row: Row) -> Loaded {
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
}
