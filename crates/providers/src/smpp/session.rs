//! One session with an SMSC: a connection that is bound, kept alive, and bound again when it breaks.
//!
//! A unit that was handed to the writer may have been written; one that was not has certainly not been. Each message carries that
//! mark, so that what is told about it when the session breaks is true. A message takes a place in the window and gives it back when its
//! answer is there, not when its sender stops waiting: an SMSC that falls silent is given no more than its window.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufWriter};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

use super::Shared;
use super::pdu::{self, Bind, Pdu, command};
use super::settings::Settings;
use super::status;

/// The longest wait for a connection.
const LONGEST_CONNECT: Duration = Duration::from_secs(5);
/// The pause after a first failure, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A session that lived so long was no failure.
const SOUND: Duration = Duration::from_secs(30);
/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long answers are waited for before unbinding, and for the answer to that.
const DRAIN: Duration = Duration::from_secs(5);
const UNBIND: Duration = Duration::from_secs(2);
/// Units of ours that wait to be written besides the window's: answers to the SMSC.
const ANSWERS: usize = 512;

/// What became of a message that was handed to a session.
#[derive(Debug)]
pub(super) enum Answer {
    /// The SMSC answered.
    Said { status: u32, message_id: Option<String> },
    /// The session broke before it was written.
    NotWritten,
    /// The session broke after it was, or while.
    Lost,
}

const WAITING: u8 = 0;
const WRITTEN: u8 = 1;
const CANCELLED: u8 = 2;

/// Whether a message has been written; shared by whoever waits for its answer and by the writer.
#[derive(Clone, Debug)]
pub(super) struct Mark(Arc<AtomicU8>);

impl Mark {
    fn new() -> Self {
        Self(Arc::new(AtomicU8::new(WAITING)))
    }

    /// Keeps it from being written; whether that came in time.
    pub fn cancel(&self) -> bool {
        self.0.compare_exchange(WAITING, CANCELLED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn begin(&self) -> bool {
        self.0.compare_exchange(WAITING, WRITTEN, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn is_written(&self) -> bool {
        self.0.load(Ordering::Acquire) == WRITTEN
    }
}

/// A message that is handed over and not answered.
pub(super) struct Handed {
    pub mark: Mark,
    pub answer: oneshot::Receiver<Answer>,
}

impl Drop for Handed {
    /// Whoever stops waiting wants it written no more.
    fn drop(&mut self) {
        self.mark.cancel();
    }
}

struct Pending {
    mark: Mark,
    answer: oneshot::Sender<Answer>,
    since: Instant,
    _place: OwnedSemaphorePermit,
}

enum Out {
    Submit { sequence: u32, unit: Zeroizing<Vec<u8>>, mark: Mark },
    Other(Vec<u8>),
}

/// A bound session, as those who send see it.
pub(super) struct Link {
    /// Places of the window that are free.
    pub places: Arc<Semaphore>,
    window: usize,
    out: mpsc::Sender<Out>,
    /// `None` once the session is over.
    pending: Mutex<Option<HashMap<u32, Pending>>>,
    sequence: AtomicU32,
}

impl Link {
    fn new(window: usize) -> (Arc<Self>, mpsc::Receiver<Out>) {
        let (out, queue) = mpsc::channel(window + ANSWERS);
        let places = Arc::new(Semaphore::new(window));
        let pending = Mutex::new(Some(HashMap::with_capacity(window)));
        (Arc::new(Self { places, window, out, pending, sequence: AtomicU32::new(2) }), queue)
    }

    /// Messages without an answer.
    pub fn outstanding(&self) -> usize {
        self.window.saturating_sub(self.places.available_permits())
    }

    /// Hands one message over; `None` if the session is over. The unit is made for the sequence number that it is given.
    pub fn submit(&self, place: OwnedSemaphorePermit, unit: impl FnOnce(u32) -> Vec<u8>) -> Option<Handed> {
        let sequence = self.next_sequence();
        let (told, answer) = oneshot::channel();
        let mark = Mark::new();
        let handed = Handed { mark: mark.clone(), answer };
        let row = Pending { mark: mark.clone(), answer: told, since: Instant::now(), _place: place };
        self.lock().as_mut()?.insert(sequence, row);
        let unit = Zeroizing::new(unit(sequence));
        // There is room: the channel holds the window and more.
        if self.out.try_send(Out::Submit { sequence, unit, mark }).is_err() {
            self.forget(sequence);
            return None;
        }
        Some(handed)
    }

    /// Answers a request of the SMSC; a session that does not even take answers is over soon.
    pub async fn reply(&self, unit: Vec<u8>) {
        let _ = self.out.send(Out::Other(unit)).await;
    }

    pub fn say(&self, unit: Vec<u8>) -> bool {
        self.out.try_send(Out::Other(unit)).is_ok()
    }

    /// SMPP 3.4, 3.2: 1 to 0x7FFFFFFF.
    fn next_sequence(&self) -> u32 {
        self.sequence.fetch_add(1, Ordering::Relaxed) % 0x7FFF_FFFF + 1
    }

    fn settle(&self, sequence: u32, answer: Answer) {
        if let Some(row) = self.forget(sequence) {
            // Whoever stopped waiting has told what was known.
            let _ = row.answer.send(answer);
        }
    }

    fn forget(&self, sequence: u32) -> Option<Pending> {
        self.lock().as_mut()?.remove(&sequence)
    }

    /// The age of the oldest message without an answer.
    fn oldest(&self) -> Option<Duration> {
        self.lock().as_ref()?.values().map(|row| row.since.elapsed()).max()
    }

    /// Gives back the places of messages whose answer will not come any more.
    fn expire(&self, older: Duration) {
        if let Some(rows) = self.lock().as_mut() {
            rows.retain(|_, row| row.since.elapsed() < older);
        }
    }

    fn end(&self) {
        let rows = self.lock().take();
        self.places.close();
        for row in rows.into_iter().flat_map(HashMap::into_values) {
            let answer = if row.mark.is_written() || !row.mark.cancel() { Answer::Lost } else { Answer::NotWritten };
            let _ = row.answer.send(answer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<HashMap<u32, Pending>>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a link however its session ends: also if that is dropped in between.
struct Ending<'a> {
    shared: &'a Shared,
    link: Arc<Link>,
    index: usize,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.link.end();
        self.shared.unbound(self.index);
    }
}

/// Why a session ended, for people; it holds no secret.
type Ended = String;

/// Keeps one session until the program closes it.
pub(super) async fn keep(shared: Arc<Shared>, index: usize, mut closing: watch::Receiver<bool>) {
    let mut failures = 0;
    while !*closing.borrow() {
        let begun = Instant::now();
        let ended = session(&shared, index, &mut closing).await;
        if *closing.borrow() {
            break;
        }
        let why = ended.err().unwrap_or_else(|| "the gateway ended the session".to_owned());
        failures = if begun.elapsed() > SOUND { 1 } else { failures + 1 };
        tracing::warn!(provider = %shared.name, session = index, why, "an SMPP session is down");
        shared.failed(index, why);
        let pause = PAUSE.0.saturating_mul(1 << u32::min(failures, 16)).min(PAUSE.1);
        tokio::select! {
            () = tokio::time::sleep(jittered(pause)) => {}
            _ = closing.changed() => {}
        }
    }
}

/// Half of it to one and a half: what broke together does not come back together.
fn jittered(pause: Duration) -> Duration {
    let chance = getrandom::u32().unwrap_or(u32::MAX / 2);
    pause / 2 + pause.mul_f64(f64::from(chance) / f64::from(u32::MAX))
}

async fn session(shared: &Arc<Shared>, index: usize, closing: &mut watch::Receiver<bool>) -> Result<(), Ended> {
    let settings = &shared.settings;
    let stream = timeout(LONGEST_CONNECT.min(settings.patience), connect(settings))
        .await
        .map_err(|_| "no connection: it did not answer in time".to_owned())??;
    let (mut reader, writer) = tokio::io::split(stream);
    let mut writer = BufWriter::new(writer);
    let mut read = Vec::with_capacity(4096);
    let kind = settings.binds[index];
    timeout(settings.patience, bind(settings, kind, &mut reader, &mut writer, &mut read))
        .await
        .map_err(|_| "the gateway did not answer the bind".to_owned())??;

    let (link, queue) = Link::new(settings.window);
    let _ending = Ending { shared, link: Arc::clone(&link), index };
    shared.bound(index, kind != command::BIND_RECEIVER, &link);
    tracing::info!(provider = %shared.name, session = index, "an SMPP session is bound");
    let writing = write(writer, queue, &link, settings.patience);
    let reading = serve(shared, index, &link, &mut reader, read, closing);
    tokio::select! {
        ended = writing => ended,
        ended = reading => ended,
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(settings: &Settings) -> Result<Box<dyn Stream>, Ended> {
    let stream = TcpStream::connect((settings.host.as_str(), settings.port)).await.map_err(|error| {
        let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
        format!("no connection: {}", if refused { "it was refused" } else { "it failed" })
    })?;
    // Small units that are waited for.
    let _ = stream.set_nodelay(true);
    let Some(tls) = &settings.tls else { return Ok(Box::new(stream)) };
    let connector = TlsConnector::from(Arc::clone(&tls.config));
    let secure = connector.connect(tls.name.clone(), stream).await.map_err(|error| {
        let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
        match cause {
            Some(rustls::Error::InvalidCertificate(_)) => "no connection: its certificate is not trusted".to_owned(),
            _ => "no connection: no TLS session could be agreed on".to_owned(),
        }
    })?;
    Ok(Box::new(secure))
}

async fn bind(
    settings: &Settings,
    kind: u32,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
    read: &mut Vec<u8>,
) -> Result<(), Ended> {
    let Settings { system_id, password, system_type, version, .. } = settings;
    let unit = Zeroizing::new(Bind { command: kind, system_id, password, system_type, version: *version }.write(1));
    let broken = |_| "the connection broke while binding".to_owned();
    writer.write_all(&unit).await.map_err(broken)?;
    writer.flush().await.map_err(broken)?;
    loop {
        let found = pdu::first(read).map_err(|_| "the gateway does not speak SMPP".to_owned())?;
        if let Some((Pdu { id, status, sequence: _, body: _ }, length)) = found {
            read.drain(..length);
            match id {
                _ if id == kind | command::ANSWER || id == command::GENERIC_NACK => {
                    return match status {
                        status::OK if id != command::GENERIC_NACK => Ok(()),
                        status => Err(refused(status)),
                    };
                }
                // Nothing else is lawful before the answer; outbind and the like are let by.
                _ => continue,
            }
        }
        if reader.read_buf(read).await.map_err(broken)? == 0 {
            return Err("the gateway hung up while binding".to_owned());
        }
    }
}

fn refused(status: u32) -> Ended {
    let says = match status {
        0x05 => "the account is bound already, as often as it may",
        0x0D => "bind failed",
        0x0E => "the password is wrong",
        0x0F => "the system_id is not known",
        _ => "bind refused",
    };
    format!("the gateway refused the session: {says} (0x{status:02X})")
}

async fn write(
    mut writer: BufWriter<impl AsyncWrite + Unpin>,
    mut queue: mpsc::Receiver<Out>,
    link: &Link,
    patience: Duration,
) -> Result<(), Ended> {
    let broken = |_| "the connection broke".to_owned();
    while let Some(out) = queue.recv().await {
        let (unit, mark) = match out {
            Out::Submit { sequence, mark, .. } if !mark.begin() => {
                link.forget(sequence);
                continue;
            }
            Out::Submit { unit, mark, .. } => (unit, Some(mark)),
            Out::Other(unit) => (Zeroizing::new(unit), None),
        };
        let writing = async {
            writer.write_all(&unit).await?;
            // What waits goes out together.
            if queue.is_empty() { writer.flush().await } else { Ok(()) }
        };
        timeout(patience, writing).await.map_err(|_| "the gateway stopped reading".to_owned())?.map_err(broken)?;
        drop(mark);
    }
    Ok(())
}

/// What the reading side of a session watches besides what is read.
struct Watch {
    heard: Instant,
    probed: Option<Instant>,
    closing: Option<Instant>,
    unbound: Option<Instant>,
}

async fn serve(
    shared: &Arc<Shared>,
    index: usize,
    link: &Arc<Link>,
    reader: &mut (impl AsyncRead + Unpin),
    mut read: Vec<u8>,
    closing: &mut watch::Receiver<bool>,
) -> Result<(), Ended> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut watch = Watch { heard: Instant::now(), probed: None, closing: None, unbound: None };
    loop {
        while let Some((unit, length)) = take(link, &read)? {
            let over = heard(shared, link, &unit);
            read.drain(..length);
            if over {
                // What was just answered is still to be written.
                tokio::time::sleep(TICK).await;
                return Ok(());
            }
        }
        tokio::select! {
            got = reader.read_buf(&mut read) => {
                if got.map_err(|_| "the connection broke".to_owned())? == 0 {
                    return Err("the gateway hung up".to_owned());
                }
                (watch.heard, watch.probed) = (Instant::now(), None);
            }
            _ = tick.tick() => {
                if *closing.borrow() && watch.closing.is_none() {
                    watch.closing = Some(Instant::now());
                    shared.unbound(index);
                }
                if look(shared, link, &mut watch)? {
                    return Ok(());
                }
            }
        }
    }
}

/// The next whole unit; a length that cannot be ends the session, since nothing behind it can be found.
fn take<'r>(link: &Link, read: &'r [u8]) -> Result<Option<(Pdu<'r>, usize)>, Ended> {
    pdu::first(read).map_err(|_| {
        link.say(pdu::nack(status::INVALID_LENGTH, 0));
        "the gateway sent what is not SMPP".to_owned()
    })
}

/// Looks at the timers; whether the session is over.
fn look(shared: &Shared, link: &Link, watch: &mut Watch) -> Result<bool, Ended> {
    let settings = &shared.settings;
    let quiet = watch.heard.elapsed();
    if let Some(probed) = watch.probed {
        if probed.elapsed() >= settings.patience {
            return Err("the gateway does not answer any more".to_owned());
        }
    } else {
        // Also when a message waits for its answer in silence: a dead connection is found before all have run out of time.
        let suspicious = settings.patience / 2;
        let waiting = quiet >= suspicious && link.oldest().is_some_and(|age| age >= suspicious);
        if quiet >= settings.enquire_link || waiting {
            link.say(pdu::bare(command::ENQUIRE_LINK, link.next_sequence()));
            watch.probed = Some(Instant::now());
        }
    }
    link.expire(settings.patience * 4);
    // Whoever waits for a place sees those that came free without an answer, too.
    shared.changed.notify_one();
    let Some(since) = watch.closing else { return Ok(false) };
    match watch.unbound {
        Some(unbound) => Ok(unbound.elapsed() >= UNBIND),
        None => {
            if link.outstanding() == 0 || since.elapsed() >= DRAIN {
                link.say(pdu::bare(command::UNBIND, link.next_sequence()));
                watch.unbound = Some(Instant::now());
            }
            Ok(false)
        }
    }
}

/// Takes one unit; whether the session is over.
fn heard(shared: &Arc<Shared>, link: &Arc<Link>, unit: &Pdu<'_>) -> bool {
    let Pdu { id, status, sequence, body } = *unit;
    match id {
        _ if id == command::SUBMIT_SM | command::ANSWER || id == command::GENERIC_NACK => {
            let message_id = pdu::leading_text(body).filter(|_| status == status::OK).map(str::to_owned);
            // A generic_nack without a status is no acceptance either.
            let status =
                if id == command::GENERIC_NACK && status == status::OK { status::INVALID_COMMAND } else { status };
            link.settle(sequence, Answer::Said { status, message_id });
            shared.settled(status);
            // The SMSC thinks that the session is not bound: so it is not.
            status == status::INVALID_BIND_STATE
        }
        command::DELIVER_SM | command::DATA_SM => {
            shared.delivered(link, unit);
            false
        }
        command::ENQUIRE_LINK => {
            link.say(pdu::answer(id, status::OK, sequence));
            false
        }
        command::UNBIND => {
            link.say(pdu::answer(id, status::OK, sequence));
            true
        }
        _ if id == command::UNBIND | command::ANSWER => true,
        // Answers to what was not asked, and what needs no answer.
        command::ALERT_NOTIFICATION => false,
        _ if id & command::ANSWER != 0 => false,
        _ => {
            link.say(pdu::nack(status::INVALID_COMMAND, sequence));
            false
        }
    }
}
