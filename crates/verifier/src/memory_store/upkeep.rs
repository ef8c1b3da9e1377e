//! What is due, overdue or over.

use std::collections::HashSet;
use std::time::Duration;

use countersign_core::health;
use countersign_core::id::{ApplicationName, VerificationId};
use countersign_core::time::Timestamp;
use countersign_core::verification::{DeliveryStatus, Status};

use super::State;
use crate::store::{Claimed, Cleaned};

impl State {
    pub fn claim(&mut self, now: Timestamp, lease: Duration, most: usize) -> Vec<Claimed> {
        let mut due: Vec<_> = self
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
            let Some((verification, deliveries)) = self.rows.get_mut(&place) else { continue };
            let Some(delivery) = deliveries.iter_mut().find(|delivery| delivery.id == found.id) else { continue };
            delivery.lease_until = now + lease;
            delivery.claims += 1;
            claimed.push(Claimed { delivery: delivery.clone(), verification: verification.clone() });
        }
        claimed
    }

    pub fn overdue(&self, now: Timestamp, most: usize) -> Vec<(ApplicationName, VerificationId)> {
        let overdue =
            self.rows.values().map(|(row, _)| row).filter(|row| row.status == Status::Pending && row.expires_at <= now);
        overdue.take(most).map(|row| (row.application.clone(), row.id)).collect()
    }

    pub fn to_follow_up(&self, now: Timestamp, most: usize) -> Vec<(ApplicationName, VerificationId)> {
        let rows = self.rows.values().map(|(row, _)| row);
        let mut due: Vec<_> = rows.filter(|row| row.follow_up_at.is_some_and(|at| at <= now)).collect();
        due.sort_by_key(|row| row.follow_up_at);
        due.into_iter().take(most).map(|row| (row.application.clone(), row.id)).collect()
    }

    pub fn cleanup(&mut self, before: Timestamp, now: Timestamp, most: usize, dry_run: bool) -> Cleaned {
        let position = self.webhook_position.unwrap_or(u64::MAX);
        let untold: HashSet<_> =
            self.events.range(position.saturating_add(1)..).map(|(_, event)| event.verification).collect();
        let old: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, (row, _))| row.expires_at < before && !untold.contains(&row.id))
            .map(|(place, _)| *place)
            .take(most)
            .collect();
        let limits: Vec<_> = self
            .limits
            .iter()
            .filter(|(_, tat)| tat.forgettable_at() <= now)
            .map(|(key, _)| key.clone())
            .take(most)
            .collect();
        let guesses: Vec<_> = self
            .guesses
            .iter()
            .filter(|(_, log)| log.forgettable_at() <= now)
            .map(|(key, _)| key.clone())
            .take(most)
            .collect();
        let answers: Vec<_> = self
            .answers
            .iter()
            .filter(|(_, kept)| kept.begun.expires_at <= now)
            .map(|(key, _)| key.clone())
            .take(most)
            .collect();
        let messages: Vec<_> = self
            .messages
            .iter()
            .filter(|(_, (message, waits))| !waits && message.at < before || message.expires_at <= now)
            .map(|(key, _)| key.clone())
            .take(most)
            .collect();
        let forgotten = now - health::KEPT_FOR;
        let hours: Vec<_> = self.health.keys().filter(|key| key.hour < forgotten).take(most).cloned().collect();
        let counts = [limits.len(), guesses.len(), answers.len(), messages.len(), hours.len()];
        let others: usize = counts.iter().sum();
        let most_of_a_kind = counts.into_iter().max().unwrap_or_default();
        let more = old.len() >= most || most_of_a_kind >= most;
        let cleaned = Cleaned { verifications: old.len() as u64, others: others as u64, more };
        if !dry_run {
            old.into_iter().for_each(|place| self.delete(place));
            self.limits.retain(|key, _| !limits.contains(key));
            self.guesses.retain(|key, _| !guesses.contains(key));
            self.answers.retain(|key, _| !answers.contains(key));
            self.messages.retain(|key, _| !messages.contains(key));
            self.health.retain(|key, _| !hours.contains(key));
        }
        cleaned
    }
}
