//! How the guard's blocks stand, and how one is opened by hand.

use std::collections::HashMap;

use countersign_core::destination::Destination;
use countersign_core::guard::{Block, Look, Open, Standing};
use countersign_core::id::ApplicationName;

use crate::store;
use crate::transfer::{Row, RowKind};
use crate::verifier::{Broken, Verifier};

const PAGE: usize = 1000;

impl Verifier {
    /// How the blocks stand that a destination is in, the narrowest first.
    ///
    /// # Errors
    /// [`Broken::UnknownApplication`]; or the store is broken.
    pub async fn guard_of(&self, application: &ApplicationName, to: Destination) -> Result<Vec<Standing>, Broken> {
        let application = self.application(application)?;
        Ok(store::ask(&*self.inner.store, Look { application, to, now: self.now() }).await?)
    }

    /// How every block of an application stands that has any sends that nobody confirmed, the fullest first. It walks through all
    /// counters of the store: for people, not for requests.
    ///
    /// # Errors
    /// [`Broken::UnknownApplication`]; or the store is broken.
    pub async fn guard_blocks(&self, application: &ApplicationName) -> Result<Vec<Standing>, Broken> {
        let (rules, now) = (self.application(application)?, self.now());
        let guard = &rules.guard;
        let alarms_of = format!("{application}/alarm/");
        let (mut buckets, mut alarms) = (Vec::new(), HashMap::new());
        let mut after = None;
        loop {
            let page = self.inner.store.dump(RowKind::Limit, after.as_deref(), PAGE).await?;
            let last = page.len() < PAGE;
            after = page.last().map(|row| row.place.clone());
            for dumped in page {
                let Row::Limit(key, tat) = dumped.row else { continue };
                if let Some(block) = guard.block(application, &key) {
                    buckets.push((block, tat));
                } else if key.0.starts_with(&alarms_of) {
                    alarms.insert(key, tat);
                }
            }
            if last {
                break;
            }
        }
        let standing = |(block, tat): (Block, _)| {
            let alarm = alarms.get(&guard.alarm(application, &block)).copied();
            guard.standing(block, Some(tat), alarm, now)
        };
        let mut standings: Vec<_> = buckets.into_iter().map(standing).collect();
        standings.retain(|standing| standing.unconfirmed > 0 || standing.blocked);
        let fullness = |standing: &Standing| f64::from(standing.unconfirmed) / f64::from(standing.allowed);
        standings.sort_by(|a, b| fullness(b).total_cmp(&fullness(a)).then_with(|| a.block.cmp(&b.block)));
        Ok(standings)
    }

    /// Empties a block; how it stood before.
    ///
    /// # Errors
    /// [`Broken::UnknownApplication`]; or the store is broken.
    pub async fn open_block(&self, application: &ApplicationName, block: Block) -> Result<Standing, Broken> {
        let application = self.application(application)?;
        Ok(store::ask(&*self.inner.store, Open { application, block, now: self.now() }).await?)
    }
}
