//! The guard against pumped traffic (SMS pumping, "artificially inflated traffic"): somebody has messages sent to numbers that pay
//! them for it, and no code ever comes back.
//!
//! Every block of numbers has a leaky bucket of sends that nobody confirmed. A send adds one; an approval takes back
//! `100 / least_conversion`; time drains it, a bucketful in a window. So a block where more than `least_conversion` percent of the
//! sends are confirmed stays empty at any volume, and one where nobody confirms is full after its allowance. The bucket is one
//! timestamp, kept as the counter of a limit is ([`crate::limit`]): charged with the send or not at all, exact under concurrency.
//!
//! A number is in three blocks, so that spreading over many narrow ones evades nothing: some 10,000 numbers, a million, its country.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::decision::{Changes, Decision, Lookup, Reads, Snapshot};
use crate::destination::Destination;
use crate::id::{ApplicationName, VerificationId};
use crate::limit::{LimitKey, LimitRule, Of, Per, Tat, Verdict};
use crate::policy::Application;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use crate::verification::Verification;

/// The guard of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What it does.
    pub mode: Mode,
    /// How many sends that nobody confirmed a block of 10,000 numbers bears in a window; wider blocks bear more ([`Width`]).
    pub unconfirmed: u32,
    /// How long a full bucket takes to drain.
    pub window: Duration,
    /// The percentage of sends that must be confirmed for a block never to fill, 1 to 100.
    pub least_conversion: u32,
}

/// What the guard does about a block that is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does not count.
    #[default]
    Off,
    /// It tells, and refuses nothing.
    Observe,
    /// It tells, and refuses.
    Enforce,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Off, Self::Observe, Self::Enforce];

    /// The name in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }
}

/// How many numbers are in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Width {
    /// 10,000 numbers: all but the last four digits.
    Block,
    /// A million: all but the last six.
    Area,
    /// A country, a network without one (+882), or a mail domain.
    Country,
}

impl Width {
    /// How many times the allowance of a block of 10,000 numbers.
    #[must_use]
    pub const fn factor(self) -> u32 {
        match self {
            Self::Block => 1,
            Self::Area => 10,
            Self::Country => 100,
        }
    }
}

/// A block of numbers, as one writes it: `+25569423xxxx`, `+255694xxxxxx`, `TZ`, `+882`, `example.com`. It tells nobody's number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block(String);

impl Block {
    /// The blocks that a destination is in, the narrowest first.
    #[must_use]
    pub fn of(to: &Destination) -> Vec<Self> {
        let Destination::Phone(_) = to else { return vec![Self(to.prefix().to_owned())] };
        let number = to.reveal();
        // A plan of few digits: an area is never wider than what its country's code leaves.
        let hide = |digits: usize| {
            let shown = number.len().saturating_sub(digits).max(4).min(number.len());
            Self(format!("{}{}", number.get(..shown).unwrap_or_default(), "x".repeat(number.len() - shown)))
        };
        let whole =
            to.country().map_or_else(|| number.get(..4).unwrap_or(number).to_owned(), |country| country.to_string());
        let mut blocks = vec![hide(4), hide(6), Self(whole)];
        // In a country of four digits (Tokelau) the two are one, which counts a send once.
        blocks.dedup();
        blocks
    }

    /// Reads one back, as [`Block::as_str`] writes it.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// How it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// How wide it is.
    #[must_use]
    pub fn width(&self) -> Width {
        match self.0.len() - self.0.trim_end_matches('x').len() {
            _ if !self.0.starts_with('+') => Width::Country,
            0 => Width::Country,
            1..=4 => Width::Block,
            _ => Width::Area,
        }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the guard noticed of a send that was let through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Noticed {
    /// It would have been refused, if the guard enforced or the application did not vouch for it.
    pub suspected: bool,
    /// The blocks that are full with it and were not before: the alarm.
    pub filled: Vec<Filled>,
}

/// A block that filled up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    /// Which.
    pub block: Block,
    /// How many sends to it nobody confirmed.
    pub unconfirmed: u32,
}

/// How a block stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub block: Block,
    /// Sends that nobody confirmed, less what time drained.
    pub unconfirmed: u32,
    /// How many it bears.
    pub allowed: u32,
    /// Whether it is full, or was lately: an alarm was given, and the next one would be the same.
    pub blocked: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self { mode: Mode::Off, unconfirmed: 50, window: Duration::from_secs(24 * 60 * 60), least_conversion: 25 }
    }
}

impl Guard {
    /// The least time without a full bucket after which a block that fills is news again.
    const QUIET: Duration = Duration::from_secs(60 * 60);

    /// How many sends that nobody confirmed a block bears.
    #[must_use]
    pub fn allowed(&self, block: &Block) -> u32 {
        self.unconfirmed.max(1).saturating_mul(block.width().factor())
    }

    fn rule(&self, block: &Block) -> LimitRule {
        LimitRule { per: Per::Prefix, of: Of::Sends, quota: self.allowed(block), window: self.window }
    }

    /// The bucket of a block.
    #[must_use]
    pub fn bucket(&self, application: &ApplicationName, block: &Block) -> LimitKey {
        LimitKey(format!("{application}/guard/{block}/sends/{}", self.window.as_secs()))
    }

    /// Until when a block that fills is no news.
    #[must_use]
    pub fn alarm(&self, application: &ApplicationName, block: &Block) -> LimitKey {
        LimitKey(format!("{application}/alarm/{block}/sends/{}", self.window.as_secs()))
    }

    /// The block whose bucket this counter is, if it is one of this application and these rules.
    #[must_use]
    pub fn block(&self, application: &ApplicationName, key: &LimitKey) -> Option<Block> {
        let rest = key.0.strip_prefix(application.as_str())?.strip_prefix("/guard/")?;
        let (name, window) = rest.split_once("/sends/")?;
        (window == self.window.as_secs().to_string()).then(|| Block::named(name))
    }

    /// How a block stands, from its two counters.
    #[must_use]
    pub fn standing(&self, block: Block, bucket: Option<Tat>, alarm: Option<Tat>, now: Timestamp) -> Standing {
        let rule = self.rule(&block);
        let (unconfirmed, allowed) = (rule.used(bucket, now), rule.quota);
        let blocked = unconfirmed >= allowed || alarm.is_some_and(|until| until > Tat::at(now));
        Standing { block, unconfirmed, allowed, blocked }
    }
}

/// The counters that a send reads: of each block its bucket and its alarm. None if the guard is off.
pub(crate) fn keys_of_send(application: &Application, to: &Destination) -> Vec<LimitKey> {
    let (guard, name) = (&application.guard, &application.name);
    let blocks = if guard.mode == Mode::Off { Vec::new() } else { Block::of(to) };
    blocks.iter().flat_map(|block| [guard.bucket(name, block), guard.alarm(name, block)]).collect()
}

/// Charges every block with a send, or says why none is: the counters as they would stand, and what is to be told.
pub(crate) fn charge(
    application: &Application,
    to: &Destination,
    exempt: bool,
    stored: &[Option<Tat>],
    now: Timestamp,
) -> Result<(Vec<(LimitKey, Tat)>, Noticed), Refusal> {
    let (guard, name) = (&application.guard, &application.name);
    let (mut charged, mut noticed) = (Vec::new(), Noticed::default());
    if guard.mode == Mode::Off {
        return Ok((charged, noticed));
    }
    for (block, stored) in Block::of(to).into_iter().zip(stored.chunks(2)) {
        let rule = guard.rule(&block);
        let (bucket, alarm) = (stored.first().copied().flatten(), stored.get(1).copied().flatten());
        let full = match rule.check(bucket, now) {
            Verdict::Allowed { tat, remaining } => {
                charged.push((guard.bucket(name, &block), tat));
                remaining == 0
            }
            Verdict::Refused { .. } => {
                noticed.suspected = true;
                charged.push((guard.bucket(name, &block), rule.full(now)));
                true
            }
        };
        if !full {
            continue;
        }
        let quiet = rule.interval().saturating_mul(2).max(Guard::QUIET);
        // One that a wrong clock put far ahead would never be given again; other processes' clocks may differ by less.
        let told = alarm.is_some_and(|until| until > Tat::at(now) && until <= Tat::at(now + quiet + quiet));
        charged.push((guard.alarm(name, &block), Tat::at(now + quiet)));
        if !told {
            noticed.filled.push(Filled { unconfirmed: rule.quota, block });
        }
    }
    if noticed.suspected && guard.mode == Mode::Enforce && !exempt {
        return Err(Refusal::FraudSuspected { country: to.country() });
    }
    Ok((charged, noticed))
}

/// The counters that an approval reads. None if the guard is off.
pub(crate) fn keys_of_approval(application: &Application, to: &Destination) -> Vec<LimitKey> {
    let (guard, name) = (&application.guard, &application.name);
    let blocks = if guard.mode == Mode::Off { Vec::new() } else { Block::of(to) };
    blocks.iter().map(|block| guard.bucket(name, block)).collect()
}

/// What an approval takes back from every block. A bucket that is empty stays so: nothing can be saved up for later.
pub(crate) fn confirm(
    application: &Application,
    to: &Destination,
    stored: &[Option<Tat>],
    now: Timestamp,
) -> Vec<(LimitKey, Tat)> {
    let (guard, name) = (&application.guard, &application.name);
    if guard.mode == Mode::Off {
        return Vec::new();
    }
    let percent = guard.least_conversion.clamp(1, 100);
    let taken_back = |(block, tat): (Block, &Option<Tat>)| {
        let rule = guard.rule(&block);
        let sends = rule.interval().saturating_mul(100) / percent;
        Some((guard.bucket(name, &block), rule.less(*tat, sends, now)?))
    };
    Block::of(to).into_iter().zip(stored).filter_map(taken_back).collect()
}

/// Asks how the blocks of a destination stand; changes nothing.
#[derive(Debug)]
pub struct Look {
    /// Whose.
    pub application: Arc<Application>,
    /// The destination.
    pub to: Destination,
    /// The instant.
    pub now: Timestamp,
}

impl Decision for Look {
    type Answer = Vec<Standing>;

    fn lookup(&self) -> Lookup {
        nothing(&self.application.name)
    }

    fn reads(&self, _: Option<&Verification>) -> Reads {
        Reads { limits: keys_of_send(&self.application, &self.to), ..Reads::default() }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer) {
        let stands = |(block, stored): (Block, &[Option<Tat>])| {
            let (bucket, alarm) = (stored.first().copied().flatten(), stored.get(1).copied().flatten());
            self.application.guard.standing(block, bucket, alarm, self.now)
        };
        let standings = Block::of(&self.to).into_iter().zip(snapshot.limits.chunks(2)).map(stands).collect();
        (Changes::default(), standings)
    }
}

/// Empties the bucket of a block, because somebody who knows better says that it is filled in good faith.
#[derive(Debug)]
pub struct Open {
    /// Whose.
    pub application: Arc<Application>,
    /// Which.
    pub block: Block,
    /// The instant.
    pub now: Timestamp,
}

impl Decision for Open {
    /// How it stood before.
    type Answer = Standing;

    fn lookup(&self) -> Lookup {
        nothing(&self.application.name)
    }

    fn reads(&self, _: Option<&Verification>) -> Reads {
        let (guard, name) = (&self.application.guard, &self.application.name);
        Reads { limits: vec![guard.bucket(name, &self.block), guard.alarm(name, &self.block)], ..Reads::default() }
    }

    fn decide(&self, snapshot: &Snapshot) -> (Changes, Self::Answer) {
        let stored = |nth: usize| snapshot.limits.get(nth).copied().flatten();
        let before = self.application.guard.standing(self.block.clone(), stored(0), stored(1), self.now);
        let empty = Tat::at(self.now);
        let known = self.reads(None).limits.into_iter().enumerate().filter(|(nth, _)| stored(*nth).is_some());
        (Changes { limits: known.map(|(_, key)| (key, empty)).collect(), ..Changes::default() }, before)
    }
}

/// A decision about counters alone is about no verification.
fn nothing(application: &ApplicationName) -> Lookup {
    Lookup::ById { application: application.clone(), id: VerificationId::from_bytes([0; 16]) }
}
