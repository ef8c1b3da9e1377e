//! Messages to webhooks, and how their endpoints fare.

use std::collections::HashSet;
use std::time::Duration;

use countersign_core::time::Timestamp;

use super::State;
use crate::webhook::{Requeue, WebhookEndpoint, WebhookMessage, WebhookOutcome};

impl State {
    pub fn webhook_position(&mut self, wanted: bool) -> Option<u64> {
        let newest = self.last_event;
        self.webhook_position = if wanted { Some(self.webhook_position.unwrap_or(newest)) } else { None };
        self.webhook_position
    }

    pub fn take_up_events(&mut self, from: u64, through: u64, messages: &[WebhookMessage]) -> Option<u64> {
        if self.webhook_position == Some(from) {
            self.webhook_position = Some(through);
            for message in messages {
                self.messages.insert((message.endpoint.clone(), message.id.clone()), (message.clone(), true));
            }
        }
        self.webhook_position
    }

    pub fn claim_webhooks(
        &mut self,
        endpoint: &str,
        now: Timestamp,
        lease: Duration,
        most: usize,
    ) -> Vec<WebhookMessage> {
        let mut held = HashSet::new();
        let mut claimed = Vec::new();
        if self.endpoints.get(endpoint).is_some_and(|fares| fares.disabled.is_some()) {
            return claimed;
        }
        let waiting = self.messages.values_mut().filter(|(message, waits)| *waits && message.endpoint == endpoint);
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
        claimed
    }

    pub fn settle_webhook(&mut self, message: &WebhookMessage, outcome: &WebhookOutcome, now: Timestamp) -> bool {
        let State { messages, endpoints, .. } = self;
        let found = messages.get_mut(&(message.endpoint.clone(), message.id.clone()));
        let Some((kept, waits)) = found.filter(|(kept, waits)| *waits && kept.attempts == message.attempts) else {
            return false;
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
        true
    }

    pub fn requeue_webhooks(&mut self, endpoints: &[String], which: &Requeue, now: Timestamp) -> u64 {
        let mut requeued = 0;
        for (message, waits) in self.messages.values_mut().filter(|(message, _)| endpoints.contains(&message.endpoint))
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
            let named = self.endpoints.values_mut().filter(|fares| endpoints.contains(&fares.endpoint));
            named.for_each(|fares| fares.disabled = None);
        }
        requeued
    }

    pub fn webhook_endpoints(&self) -> Vec<WebhookEndpoint> {
        let mut all = self.endpoints.clone();
        for (message, _) in self.messages.values().filter(|(_, waits)| *waits) {
            let fares = all.entry(message.endpoint.clone()).or_default();
            fares.endpoint.clone_from(&message.endpoint);
            fares.pending += 1;
            fares.oldest = Some(fares.oldest.map_or(message.at, |oldest| oldest.min(message.at)));
        }
        all.into_values().collect()
    }
}
