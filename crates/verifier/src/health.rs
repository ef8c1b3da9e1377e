//! How providers do: figures summed up from the log of events, in the background and by whoever comes to it.
//!
//! No decision writes them: a row that every send of a country changes would make them wait for each other. One transaction adds the
//! figures of a stretch of events and moves the position, so each verification is counted once, however many processes try.

use std::time::Duration;

use countersign_core::health::{self, HealthRow, together, told_by};

use crate::observe::Observation;
use crate::verifier::{Broken, Verifier};

/// Events counted in one transaction.
const BATCH: usize = 500;

/// How long after a verification has ended it is counted: receipts come late, and the answer of a provider may come after the code.
pub const SETTLED_AFTER: Duration = Duration::from_secs(60);

impl Verifier {
    /// Counts the verifications that ended more than [`SETTLED_AFTER`] ago and were not counted yet; how many.
    ///
    /// # Errors
    /// Broken if the store is; what was not counted by then is counted next time.
    pub async fn take_up_health(&self) -> Result<usize, Broken> {
        let store = &self.inner.store;
        let settled = self.now() - SETTLED_AFTER;
        let mut counted = 0;
        while let Some(position) = store.health_position().await? {
            let mut events = store.events(position, BATCH).await?;
            let ready = events.iter().take_while(|(_, event)| event.at <= settled).count();
            events.truncate(ready);
            let Some((through, _)) = events.last() else { break };
            let ended = events.iter().filter(|(_, event)| event.kind.is_end());
            let ended: Vec<_> = ended.map(|(_, event)| event.verification).collect();
            let rows = if ended.is_empty() { Vec::new() } else { store.verifications(&ended).await? };
            let told = rows.iter().flat_map(|(verification, deliveries)| told_by(verification, deliveries));
            // Somebody else may have taken them up: then the position is theirs.
            if store.take_up_health(position, *through, &together(told)).await? {
                counted += rows.len();
            }
        }
        Ok(counted)
    }

    /// The figures that still count for something: per hour, application, provider, channel and country.
    ///
    /// # Errors
    /// Broken if the store is.
    pub async fn health(&self) -> Result<Vec<HealthRow>, Broken> {
        Ok(self.inner.store.health(self.now() - health::KEPT_FOR).await?)
    }

    /// Tells the observer how providers do.
    pub(crate) async fn tell_health(&self) -> Result<(), Broken> {
        let rows = self.health().await?;
        self.inner.observer.observe(Observation::Health { rows: &rows, now: self.now() });
        Ok(())
    }
}
