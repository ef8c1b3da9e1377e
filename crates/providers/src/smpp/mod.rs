//! SMS over SMPP 3.4 or 5.0: sessions that are kept, a window of messages without an answer, and reports that come back over them.
//!
//! A message waits here only for a place in a window, and no longer than it is given; what is more waits in the store. Nothing is sent
//! twice: what is written and not answered is [`Outcome::Unknown`]. A report is answered only when it is durable, so that the SMSC
//! keeps what a crash would lose.

mod pace;
mod pdu;
mod receipt;
mod session;
mod settings;
mod status;
mod text;

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use countersign::Observation;
use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::core::time::Timestamp;
use countersign::sender::{BoxFuture, Desk, Sender};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::build::Now;
use crate::config::{ProviderConfig, ProviderError};
use crate::hush::Hidden;
use pace::Pace;
use pdu::{Address, Delivered, Pdu, Submit, tag};
use receipt::Report;
use session::{Answer, Link};
use settings::{Settings, Validity};
use text::{Encoded, Long};

/// Reports that are being made durable at once; an SMSC that sends more is asked to send them again.
const MOST_REPORTS: usize = 128;
/// The pauses before a report is looked up again that names no message: it can be faster than what it is about.
const LOOK_AGAIN: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(400), Duration::from_secs(1)];
/// How long closing may take before sessions are cut off.
const LONGEST_CLOSE: Duration = Duration::from_secs(8);

/// An SMSC.
pub(crate) struct Smpp {
    shared: Arc<Shared>,
    now: Now,
    /// Joins the parts of a message.
    reference: AtomicU8,
    closing: watch::Sender<bool>,
    sessions: Mutex<Option<Vec<JoinHandle<()>>>>,
}

/// What the sessions of one SMSC share.
struct Shared {
    name: String,
    settings: Settings,
    desk: OnceLock<Arc<dyn Desk>>,
    links: Mutex<Links>,
    /// Whose turn it is to take a place: whoever has waited longest, so that nobody's time runs out while others pass.
    turn: tokio::sync::Mutex<()>,
    /// A place became free, or a session was bound or failed.
    changed: Notify,
    pace: Mutex<Pace>,
    reports: Arc<Semaphore>,
    /// Sessions that are bound, receivers too.
    bound: AtomicUsize,
}

struct Links {
    /// Those that messages can be handed to.
    open: Vec<Option<Arc<Link>>>,
    /// Why each of the others is not bound, once it has been tried.
    failed: Vec<Option<String>>,
    is_bound: Vec<bool>,
}

impl fmt::Debug for Smpp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smpp").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl Smpp {
    /// What `uses` calls it.
    pub(crate) const NAME: &'static str = "smpp";

    /// Reads the settings; connects to nothing before it is started, or has a message to carry.
    pub(crate) fn new(config: &ProviderConfig, now: Now) -> Result<Self, ProviderError> {
        let settings = Settings::read(config)?;
        let sessions = settings.binds.len();
        let shared = Shared {
            name: config.name.clone(),
            desk: OnceLock::new(),
            links: Mutex::new(Links {
                open: vec![None; sessions],
                failed: vec![None; sessions],
                is_bound: vec![false; sessions],
            }),
            turn: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            pace: Mutex::new(Pace::new(settings.rate, Instant::now())),
            reports: Arc::new(Semaphore::new(MOST_REPORTS)),
            bound: AtomicUsize::new(0),
            settings,
        };
        Ok(Self {
            shared: Arc::new(shared),
            now,
            reference: AtomicU8::new(0),
            closing: watch::channel(false).0,
            sessions: Mutex::default(),
        })
    }

    /// Begins to keep the sessions, once.
    fn open(&self) {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if sessions.is_none() && !*self.closing.borrow() {
            let keep = |index| tokio::spawn(session::keep(Arc::clone(&self.shared), index, self.closing.subscribe()));
            *sessions = Some((0..self.shared.settings.binds.len()).map(keep).collect());
        }
    }

    async fn carry(&self, message: &Message) -> Outcome {
        let Destination::Phone(_) = &message.to else {
            return rejected("not sent: this provider writes to numbers alone".to_owned());
        };
        if message.channel != Channel::Sms {
            return rejected(format!("not sent: this provider does not carry {}", message.channel));
        }
        self.open();
        let settings = &self.shared.settings;
        let Some(validity) = validity(settings.validity, (self.now)(), message.expires_at) else {
            return Outcome::Rejected {
                failure: Failure::GiveUp,
                reason: "not sent: the code has expired".to_owned(),
                retry_after: None,
            };
        };
        let deadline = Instant::now() + settings.patience;
        let reference = self.reference.fetch_add(1, Ordering::Relaxed);
        let encoded = text::encode(&message.text, settings.alphabet, settings.long, settings.data_coding, reference);
        let digits = message.to.reveal().trim_start_matches('+').to_owned();
        let destination = Address { ton: settings.dest_ton, npi: settings.dest_npi, digits };
        let parts = Parts { encoded: &encoded, destination: &destination, validity: &validity, reference };
        let mut accepted = None;
        for nth in 0..encoded.parts.len() {
            match self.hand_over(&parts, nth, deadline).await {
                Ok(message_id) => accepted = Some(message_id),
                // Some of it is on its way: perhaps enough.
                Err(_) if accepted.is_some() => {
                    return unknown("the gateway took a part of the message and not the rest");
                }
                Err(outcome) => return outcome,
            }
        }
        let hidden = Hidden {
            code: message.code.reveal(),
            text: &message.text,
            to: message.to.reveal(),
            private: std::slice::from_ref(&settings.password),
        };
        let id = accepted.flatten().and_then(|id| hidden.message_id(&id));
        Outcome::Accepted { message_id: id.map(|id| settings.ids.of_answer(&id)) }
    }

    /// Hands over one part; the SMSC's id for it.
    async fn hand_over(&self, parts: &Parts<'_>, nth: usize, deadline: Instant) -> Result<Option<String>, Outcome> {
        let shared = &self.shared;
        let (link, place) = shared.place(deadline).await?;
        let now = Instant::now();
        let leaves = {
            let mut pace = shared.pace.lock().unwrap_or_else(PoisonError::into_inner);
            if now + pace.wait(now) >= deadline {
                return Err(later("not sent: the gateway's rate is used up"));
            }
            pace.take(now)
        };
        if leaves > now {
            sleep_until(leaves).await;
        }
        let handed = link.submit(place, |sequence| parts.submit(nth, &shared.settings).write(sequence));
        shared.observe();
        let Some(mut handed) = handed else { return Err(rejected("no session: it broke just now".to_owned())) };
        let answer = timeout_at(deadline, &mut handed.answer).await;
        shared.observe();
        match answer {
            Ok(Ok(Answer::Said { status: status::OK, message_id })) => Ok(message_id),
            Ok(Ok(Answer::Said { status, .. })) => Err(status::meaning(status)),
            Ok(Ok(Answer::NotWritten)) => {
                Err(rejected("not sent: the session broke before the message was written".to_owned()))
            }
            Ok(Ok(Answer::Lost) | Err(_)) => Err(unknown("the session broke before the answer to the message")),
            Err(_) if handed.mark.cancel() => {
                Err(rejected("not sent: the gateway stopped reading before the message was written".to_owned()))
            }
            Err(_) => Err(unknown("no answer in time, after the message was written")),
        }
    }
}

/// What the parts of one message have in common.
struct Parts<'a> {
    encoded: &'a Encoded,
    destination: &'a Address,
    validity: &'a str,
    reference: u8,
}

impl Parts<'_> {
    fn submit<'a>(&'a self, nth: usize, settings: &'a Settings) -> Whole<'a> {
        let (text, total) = (&self.encoded.parts[nth], self.encoded.parts.len());
        let (mut short_message, mut esm_class, mut tlvs): (&[u8], u8, Vec<_>) = (text, 0, Vec::new());
        let octet = |number: usize| vec![u8::try_from(number).unwrap_or(u8::MAX)];
        match settings.long {
            // The bit that says that the text begins with a header.
            Long::Udh if total > 1 => esm_class = 0x40,
            Long::Sar if total > 1 => {
                tlvs.push((tag::SAR_MSG_REF_NUM, u16::from(self.reference).to_be_bytes().to_vec()));
                tlvs.push((tag::SAR_TOTAL_SEGMENTS, octet(total)));
                tlvs.push((tag::SAR_SEGMENT_SEQNUM, octet(nth + 1)));
            }
            // The field holds 254 octets at most; a message that the SMSC parts is always in the other.
            Long::Payload if text.len() > 140 => {
                tlvs.push((tag::MESSAGE_PAYLOAD, text.to_vec()));
                short_message = &[];
            }
            _ => {}
        }
        // The last part's report is the message's: a delivery has one id.
        let is_last = nth + 1 == total;
        Whole { parts: self, settings, short_message, esm_class, tlvs, wants_report: settings.receipts && is_last }
    }
}

/// One part with everything that stands around it.
struct Whole<'a> {
    parts: &'a Parts<'a>,
    settings: &'a Settings,
    short_message: &'a [u8],
    esm_class: u8,
    tlvs: Vec<(u16, Vec<u8>)>,
    wants_report: bool,
}

impl Whole<'_> {
    fn write(&self, sequence: u32) -> Vec<u8> {
        let submit = Submit {
            service_type: &self.settings.service_type,
            source: &self.settings.source,
            destination: self.parts.destination,
            esm_class: self.esm_class,
            validity_period: self.parts.validity,
            // A receipt of the SMSC, whether it arrives or fails.
            registered_delivery: u8::from(self.wants_report),
            data_coding: self.parts.encoded.data_coding,
            short_message: self.short_message,
            tlvs: &self.tlvs,
        };
        submit.write(sequence)
    }
}

impl Shared {
    /// A session with a place in its window: the one with the most.
    async fn place(&self, deadline: Instant) -> Result<(Arc<Link>, OwnedSemaphorePermit), Outcome> {
        let Ok(_turn) = timeout_at(deadline, self.turn.lock()).await else {
            return Err(rejected("not sent: the gateway's window is full".to_owned()));
        };
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            let mut none_open = true;
            {
                let links = self.links();
                let mut open: Vec<_> = links.open.iter().flatten().collect();
                open.sort_by_key(|link| std::cmp::Reverse(link.places.available_permits()));
                for link in open {
                    none_open = false;
                    if let Ok(place) = Arc::clone(&link.places).try_acquire_owned() {
                        return Ok((Arc::clone(link), place));
                    }
                }
                if none_open && let Some(why) = links.all_failed(&self.settings.binds) {
                    return Err(rejected(format!("no session: {why}")));
                }
            }
            if timeout_at(deadline, changed).await.is_err() {
                let why = if none_open { "no session was bound in time" } else { "the gateway's window is full" };
                return Err(rejected(format!("not sent: {why}")));
            }
        }
    }

    fn bound(&self, index: usize, carries: bool, link: &Arc<Link>) {
        let mut links = self.links();
        links.failed[index] = None;
        links.is_bound[index] = true;
        if carries {
            links.open[index] = Some(Arc::clone(link));
        }
        self.tell(links);
    }

    /// The session takes no more messages.
    fn unbound(&self, index: usize) {
        let mut links = self.links();
        links.open[index] = None;
        links.is_bound[index] = false;
        self.tell(links);
    }

    fn failed(&self, index: usize, why: String) {
        let mut links = self.links();
        links.failed[index] = Some(why);
        self.tell(links);
    }

    fn tell(&self, links: MutexGuard<'_, Links>) {
        let bound = links.is_bound.iter().filter(|bound| **bound).count();
        let outstanding = links.open.iter().flatten().map(|link| link.outstanding()).sum();
        drop(links);
        self.bound.store(bound, Ordering::Relaxed);
        if let Some(desk) = self.desk.get() {
            desk.observe(Observation::Sessions { provider: &self.name, bound, outstanding });
        }
        self.changed.notify_waiters();
    }

    /// A message was answered: its place is free.
    fn settled(&self, status: u32) {
        if status::is_throttle(status) {
            self.pace.lock().unwrap_or_else(PoisonError::into_inner).slow_down(Instant::now());
            if let Some(desk) = self.desk.get() {
                desk.observe(Observation::Throttled { provider: &self.name });
            }
        }
        self.changed.notify_one();
    }

    fn observe(&self) {
        let Some(desk) = self.desk.get() else { return };
        let outstanding = self.links().open.iter().flatten().map(|link| link.outstanding()).sum();
        let bound = self.bound.load(Ordering::Relaxed);
        desk.observe(Observation::Sessions { provider: &self.name, bound, outstanding });
    }

    /// Takes what the SMSC delivers, and answers when it is durable.
    fn delivered(self: &Arc<Self>, link: &Arc<Link>, unit: &Pdu<'_>) {
        let (request, sequence) = (unit.id, unit.sequence);
        let report = receipt::read(&Delivered::read(request, unit.body));
        let Ok(turn) = Arc::clone(&self.reports).try_acquire_owned() else {
            link.say(pdu::answer(request, status::TRY_LATER, sequence));
            return;
        };
        let (shared, link) = (Arc::clone(self), Arc::clone(link));
        tokio::spawn(async move {
            let status = match report {
                Some(report) => shared.take(report).await,
                // Somebody's message, or nothing that can be understood: sent again it would be no better.
                None => status::OK,
            };
            link.reply(pdu::answer(request, status, sequence)).await;
            drop(turn);
        });
    }

    /// Makes a report durable; the status to answer with.
    async fn take(&self, report: Report) -> u32 {
        // Nobody to take it in this process: another will be sent it.
        let Some(desk) = self.desk.get() else { return status::TRY_LATER };
        for pause in LOOK_AGAIN.into_iter().map(Some).chain([None]) {
            for reference in &report.references {
                match desk.receipt(&self.name, reference, report.status, report.error.clone()).await {
                    Ok(true) => return status::OK,
                    Ok(false) => {}
                    Err(error) => {
                        tracing::warn!(provider = %self.name, %error, "a receipt could not be written down; the gateway is asked to send it again");
                        return status::TRY_LATER;
                    }
                }
            }
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
        }
        tracing::debug!(provider = %self.name, "a receipt of a message that is not known");
        status::OK
    }

    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Links {
    /// Why no session is bound, if each has been tried in vain.
    fn all_failed(&self, binds: &[u32]) -> Option<&str> {
        let carriers = self.failed.iter().zip(binds).filter(|(_, kind)| **kind != pdu::command::BIND_RECEIVER);
        carriers.map(|(why, _)| why.as_deref()).collect::<Option<Vec<_>>>()?.pop()
    }
}

impl Sender for Smpp {
    fn name(&self) -> &str {
        &self.shared.name
    }

    fn channels(&self) -> &[Channel] {
        &[Channel::Sms]
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(self.carry(message))
    }

    fn attach(&self, desk: Arc<dyn Desk>) {
        // The first verifier is the one whose messages these are.
        let _ = self.shared.desk.set(desk);
    }

    fn start(&self) {
        self.open();
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.closing.send_replace(true);
            let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).take();
            let deadline = Instant::now() + LONGEST_CLOSE;
            for mut session in sessions.into_iter().flatten() {
                if timeout_at(deadline, &mut session).await.is_err() {
                    session.abort();
                }
            }
        })
    }
}

impl Drop for Smpp {
    fn drop(&mut self) {
        let sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).take();
        for session in sessions.into_iter().flatten() {
            session.abort();
        }
    }
}

/// What is left of the code's life, as `validity_period` has it (SMPP 3.4, 7.1.1); `None` if nothing is.
fn validity(form: Validity, now: Timestamp, expires_at: Timestamp) -> Option<String> {
    let left = expires_at.after(now).as_secs();
    if left == 0 {
        return None;
    }
    Some(match form {
        Validity::None => String::new(),
        Validity::Relative => {
            let (days, hours, minutes, seconds) = (left / 86400, left / 3600 % 24, left / 60 % 60, left % 60);
            format!("0000{:02}{hours:02}{minutes:02}{seconds:02}000R", days.min(30))
        }
        Validity::Absolute => {
            let at = expires_at.as_secs().max(0);
            let (year, month, day) = date(at / 86400);
            let (hours, minutes, seconds) = (at / 3600 % 24, at / 60 % 60, at % 60);
            format!("{:02}{month:02}{day:02}{hours:02}{minutes:02}{seconds:02}000+", year % 100)
        }
    })
}

/// The date so many days after 1970-01-01, by the Gregorian calendar, counting years from March so that leap days come last.
fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (year + era * 400 + next, month, day)
}

/// It is certain that nobody got the message, and the fault is not in the message.
fn rejected(reason: String) -> Outcome {
    Outcome::Rejected { failure: Failure::RetryElsewhere, reason, retry_after: None }
}

fn later(reason: &str) -> Outcome {
    Outcome::Rejected { failure: Failure::RetryLater, reason: reason.to_owned(), retry_after: None }
}

fn unknown(reason: &str) -> Outcome {
    Outcome::Unknown { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s14_a_message_is_of_use_as_long_as_its_code() {
        let now = Timestamp::from_millis(1_700_000_000_000);
        let after = |seconds| now + Duration::from_secs(seconds);
        for (left, relative, absolute) in [
            (300, "000000000500000R", "231114221820000+"),
            (59, "000000000059000R", "231114221419000+"),
            (86_400, "000001000000000R", "231115221320000+"),
        ] {
            assert_eq!(validity(Validity::Relative, now, after(left)).as_deref(), Some(relative));
            assert_eq!(validity(Validity::Absolute, now, after(left)).as_deref(), Some(absolute));
        }
        assert_eq!(validity(Validity::None, now, after(5)).as_deref(), Some(""));
        assert_eq!(validity(Validity::Relative, now, now), None);
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(19_675), (2023, 11, 14));
        assert_eq!(date(19_782), (2024, 2, 29));
        assert_eq!(date(20_148), (2025, 3, 1));
    }
}
