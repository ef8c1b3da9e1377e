//! The key ring file: the keys that codes are derived under, and the seeds that tokens are signed with.
//!
//! It is made on the first run, whole or not at all, and never overwritten: two processes that start at once end up with one ring.
//! Rotation adds a new active key of each kind and keeps the older ones, so that what they made can still be checked. Nothing here
//! shows a key: no `Debug`, no error with a value in it; secrets are wiped when dropped.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::core::code::{Key, KeyRing};
use countersign::core::time::Timestamp;
use serde::Deserialize;
use zeroize::{Zeroize, Zeroizing};

use crate::token::{Algorithm, TokenKey, TokenSecret, TokenSigner, UnusableKey, new_es256};

/// How old a key must be before codes are derived under it.
pub const CODES_AFTER: Duration = Duration::from_secs(10);
/// How old a key must be before tokens are signed with it: longer than the key set may be kept by those who check them.
pub const TOKENS_AFTER: Duration = Duration::from_secs(6 * 60);

/// A key ring, as the file holds it.
#[derive(Clone)]
pub struct Ring {
    codes: Vec<RingKey>,
    tokens: Vec<RingKey>,
}

#[derive(Clone)]
struct RingKey {
    id: String,
    secret: Zeroizing<[u8; 32]>,
    /// The ECDSA key in PKCS #8 that a key for tokens has beside its Ed25519 seed.
    es256: Option<Zeroizing<Vec<u8>>>,
    created_at: Timestamp,
    active: bool,
}

/// What may be shown of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyLabel {
    /// Its name.
    pub id: String,
    /// What it is for.
    pub kind: KeyKind,
    /// When it was made.
    pub created_at: Timestamp,
    /// Whether new codes or tokens are made with it.
    pub active: bool,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Codes are derived under it.
    Code,
    /// Tokens are signed with it.
    Token,
}

impl KeyKind {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Token => "token",
        }
    }
}

/// Why a key ring cannot be used. No text shows a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("the key ring {path} cannot be {doing}: {error}")]
    Io {
        /// The file.
        path: String,
        /// `read`, `written`, …
        doing: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// The file holds something else, or weak keys.
    #[error("the key ring {path}: {problem}")]
    Unfit {
        /// The file.
        path: String,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system's random source failed: {0}")]
    Random(getrandom::Error),
}

/// Follows the key ring's file, for a process that goes on while it is rotated.
pub struct Follower {
    path: PathBuf,
    production: bool,
    ring: Ring,
    stage: Vec<(String, bool)>,
    seen: Option<Stamp>,
}

/// Changes when the file does.
type Stamp = (SystemTime, u64);

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

impl Follower {
    /// Follows a file that was read just now.
    #[must_use]
    pub fn new(path: PathBuf, production: bool, ring: Ring, now: Timestamp) -> Self {
        let stage = ring.stage(now);
        // What is changed between the reading and this is seen as a change: the ring is read again at the first look.
        Self { path, production, ring, stage, seen: None }
    }

    /// The ring, if since the last look its file changed to another one that can be used, or the time came for one of its keys. A file
    /// that cannot be used changes nothing: it is reported once, and the ring in use is kept.
    ///
    /// # Errors
    /// [`KeyFileError`] says what is wrong with the file.
    pub fn look(&mut self, now: Timestamp) -> Result<Option<&Ring>, KeyFileError> {
        let stamp = stamp(&self.path);
        let mut result = Ok(());
        if stamp != self.seen {
            self.seen = stamp;
            let read = || privacy(&self.path, self.production).and_then(|_| Ring::open(&self.path));
            match read() {
                Ok(Some(ring)) => self.ring = ring,
                Ok(None) => {
                    result = Err(unfit(&self.path, "is gone; the ring in use is kept until it is back".to_owned()))
                }
                Err(error) => result = Err(error),
            }
        }
        result?;
        let stage = self.ring.stage(now);
        if stage == self.stage {
            return Ok(None);
        }
        self.stage = stage;
        Ok(Some(&self.ring))
    }
}

/// A key ring that was opened, and what should be said about it.
pub struct Opened {
    /// The ring.
    pub ring: Ring,
    /// Whether it was made just now.
    pub made: bool,
    /// What is lawful outside production, and should be mended.
    pub warning: Option<String>,
}

impl Ring {
    /// Opens the file; makes it if it is not there. In production a file that others can read is refused, otherwise warned of.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn open_or_make(path: &Path, production: bool, now: Timestamp) -> Result<Opened, KeyFileError> {
        if let Some(ring) = Self::open(path)? {
            return Ok(Opened { ring, made: false, warning: privacy(path, production)? });
        }
        let ring = Self { codes: vec![RingKey::new("k", now)?], tokens: vec![RingKey::new("t", now)?.with_es256()?] };
        match ring.put(path, false) {
            Ok(()) => Ok(Opened { ring, made: true, warning: None }),
            Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
                let ring = read_patiently(path)?;
                Ok(Opened { ring, made: false, warning: privacy(path, production)? })
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the file; `None` if it is not there.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn open(path: &Path) -> Result<Option<Self>, KeyFileError> {
        match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => Self::read(&text).map(Some).map_err(|problem| unfit(path, problem)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(path, "read", error)),
        }
    }

    /// Adds a new active key of each kind to the file; the older ones stay.
    ///
    /// # Errors
    /// [`KeyFileError`]; also if another rotation is under way.
    pub fn rotate(path: &Path, now: Timestamp) -> Result<Self, KeyFileError> {
        let Some(mut ring) = Self::open(path)? else {
            return Err(unfit(path, "is not there; `countersign serve` makes it on its first run".to_owned()));
        };
        let new = [RingKey::new("k", now)?, RingKey::new("t", now)?.with_es256()?];
        for (keys, new) in [&mut ring.codes, &mut ring.tokens].into_iter().zip(new) {
            keys.iter_mut().for_each(|key| key.active = false);
            keys.insert(0, new);
        }
        ring.put(path, true)?;
        Ok(ring)
    }

    /// What may be shown of its keys, the active ones first.
    #[must_use]
    pub fn labels(&self) -> Vec<KeyLabel> {
        let label = |kind| {
            move |key: &RingKey| KeyLabel { id: key.id.clone(), kind, created_at: key.created_at, active: key.active }
        };
        let codes = self.codes.iter().map(label(KeyKind::Code));
        let mut labels: Vec<_> = codes.chain(self.tokens.iter().map(label(KeyKind::Token))).collect();
        labels.sort_by_key(|label| !label.active);
        labels
    }

    /// The keys that codes are derived under. A new one is used only when it is [`CODES_AFTER`] old, so that every process that may
    /// be asked to check its codes has it by then.
    #[must_use]
    pub fn codes(&self, now: Timestamp) -> KeyRing {
        let (newer, used, older) = in_use(&self.codes, now, CODES_AFTER);
        let key = |key: &RingKey| Key::from_bytes(*key.secret);
        let ring = KeyRing::new(used.id.as_str(), key(used));
        let ring = older.iter().fold(ring, |ring, older| ring.with_older(older.id.as_str(), key(older)));
        newer.iter().rev().fold(ring, |ring, newer| ring.with_newer(newer.id.as_str(), key(newer)))
    }

    /// The keys that tokens are signed with: the one in use, and the others that are published. A new one is used only when it is
    /// [`TOKENS_AFTER`] old, so that every back end that keeps the key set has it by then.
    ///
    /// # Errors
    /// [`UnusableKey`] if none is for this algorithm: the ring was made by an earlier version.
    pub fn tokens(&self, now: Timestamp, algorithm: Algorithm) -> Result<(TokenKey, Vec<TokenKey>), UnusableKey> {
        // Rings of an earlier version have keys for EdDSA alone.
        let fit: Vec<RingKey> = self.tokens.iter().filter(|key| key.token(algorithm).is_some()).cloned().collect();
        if fit.is_empty() {
            return Err(UnusableKey(self.tokens.first().map(|key| key.id.clone()).unwrap_or_default()));
        }
        let (newer, used, older) = in_use(&fit, now, TOKENS_AFTER);
        let others = newer.iter().chain(older).filter_map(|key| key.token(algorithm)).collect();
        Ok((used.token(algorithm).ok_or_else(|| UnusableKey(used.id.clone()))?, others))
    }

    /// Tells this ring, as it is used at an instant, from others.
    fn stage(&self, now: Timestamp) -> Vec<(String, bool)> {
        let stage = |keys: &[RingKey], after| {
            let used = in_use(keys, now, after).1.id.clone();
            keys.iter().map(move |key| (key.id.clone(), key.id == used)).collect::<Vec<_>>()
        };
        [stage(&self.codes, CODES_AFTER), stage(&self.tokens, TOKENS_AFTER)].concat()
    }

    fn read(text: &str) -> Result<Self, String> {
        let mut file: RingFile = toml::from_str(text).map_err(|error| {
            let line =
                error.span().map_or(1, |span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
            format!("line {line} is not what this program writes ({}); restore the file from its copy", error.message())
        })?;
        let ring = Self { codes: keys(&mut file.codes, "codes")?, tokens: keys(&mut file.tokens, "tokens")? };
        let all: Vec<_> = ring.codes.iter().chain(&ring.tokens).collect();
        for (number, key) in all.iter().enumerate() {
            if all[..number].iter().any(|other| other.id == key.id) {
                return Err(format!("two keys are called `{}`; restore the file from its copy", key.id));
            }
            if all[..number].iter().any(|other| *other.secret == *key.secret) {
                return Err(format!(
                    "the key `{}` stands there twice under two names; restore the file from its copy",
                    key.id
                ));
            }
        }
        Ok(ring)
    }

    fn write(&self) -> Zeroizing<String> {
        // Room for all of it at once, so that growing leaves no copy of a key behind.
        let mut text = Zeroizing::new(String::with_capacity(600 + 600 * (self.codes.len() + self.tokens.len())));
        text.push_str(
            "# The key ring of Countersign. Whoever has it can work out every pending code: keep it as you keep passwords, and keep\n\
             # a copy of it apart from the database. `countersign keys rotate` adds keys; nobody else should change this file.\n",
        );
        for (section, name, keys) in [("codes", "key", &self.codes), ("tokens", "seed", &self.tokens)] {
            for key in keys {
                let secret = Zeroizing::new(STANDARD.encode(*key.secret));
                let (id, created_at, active) = (&key.id, rfc3339(key.created_at), key.active);
                let es256 = key.es256.as_ref().map(|key| Zeroizing::new(STANDARD.encode(&**key)));
                let es256 =
                    es256.map(|key| Zeroizing::new(format!("es256 = \"{}\"\n", key.as_str()))).unwrap_or_default();
                let _ = write!(
                    text,
                    "\n[[{section}]]\nid = \"{id}\"\n{name} = \"{}\"\n{}created_at = \"{created_at}\"\nactive = {active}\n",
                    secret.as_str(),
                    es256.as_str()
                );
            }
        }
        text
    }

    /// Writes a file beside the ring and moves it into place in one step: linking refuses to replace a ring, renaming does replace it.
    fn put(&self, path: &Path, replace: bool) -> Result<(), KeyFileError> {
        // Rotations take turns, so they share a name; first runs race, so each has its own.
        let suffix = if replace { "new".to_owned() } else { format!("{:08x}.new", u32::from_be_bytes(random()?)) };
        let beside = beside(path, &suffix);
        let written = write_private(&beside, self.write().as_bytes());
        written.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => {
                unfit(path, format!("another rotation is under way; if none is, delete {}", beside.display()))
            }
            _ => io_error(&beside, "written", error),
        })?;
        let moved = if replace { fs::rename(&beside, path) } else { publish(&beside, path, self) };
        let _ = fs::remove_file(&beside);
        moved.map_err(|error| io_error(path, "written", error))?;
        // The name itself must survive a crash: codes made under a key that is gone could not be checked.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let _ = File::open(directory).and_then(|directory| directory.sync_all());
        Ok(())
    }
}

/// Gives the finished file its name, unless the name is taken. Where the file system knows no links, the file is made in place.
fn publish(beside: &Path, path: &Path, ring: &Ring) -> io::Result<()> {
    match fs::hard_link(beside, path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => write_private(path, ring.write().as_bytes()),
        result => result,
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Reads a ring that another process is making at this moment.
#[expect(clippy::disallowed_methods, reason = "before there is a verifier there is no clock port; a start may block")]
fn read_patiently(path: &Path) -> Result<Ring, KeyFileError> {
    let mut tries = 0;
    loop {
        match Ring::open(path) {
            Ok(Some(ring)) => return Ok(ring),
            Err(error) if tries >= 40 => return Err(error),
            Ok(None) if tries >= 40 => return Err(unfit(path, "was there and is gone".to_owned())),
            _ => {}
        }
        tries += 1;
        thread::sleep(Duration::from_millis(50));
    }
}

/// Whether others can read the file: an error in production, else a warning.
fn privacy(path: &Path, production: bool) -> Result<Option<String>, KeyFileError> {
    let Some(mode) = mode(path) else { return Ok(None) };
    if mode & 0o077 == 0 {
        return Ok(None);
    }
    let problem = format!("others can read it (mode {mode:03o}); run: chmod 600 {}", path.display());
    if production { Err(unfit(path, problem)) } else { Ok(Some(format!("the key ring {}: {problem}", path.display()))) }
}

/// The permission bits of a file, where the system has them.
#[must_use]
pub fn mode(path: &Path) -> Option<u32> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(path).ok().map(|metadata| metadata.mode() & 0o777)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{suffix}"));
    path.with_file_name(name)
}

fn unfit(path: &Path, problem: String) -> KeyFileError {
    KeyFileError::Unfit { path: path.display().to_string(), problem }
}

fn io_error(path: &Path, doing: &'static str, error: io::Error) -> KeyFileError {
    KeyFileError::Io { path: path.display().to_string(), doing, error }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RingFile {
    codes: Vec<FileKey>,
    tokens: Vec<FileKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    id: String,
    #[serde(alias = "seed")]
    key: String,
    #[serde(default)]
    es256: Option<String>,
    created_at: String,
    active: bool,
}

impl Drop for FileKey {
    fn drop(&mut self) {
        self.key.zeroize();
        self.es256.zeroize();
    }
}

fn keys(rows: &mut [FileKey], section: &str) -> Result<Vec<RingKey>, String> {
    let keys: Vec<_> = rows.iter().map(RingKey::read).collect::<Result<_, _>>()?;
    match keys.iter().filter(|key| key.active).count() {
        1 => Ok(keys),
        count => Err(format!("[[{section}]] must have one active key, not {count}; restore the file from its copy")),
    }
}

/// Those that are too new to be used, the one that is used, and the older ones. The newest stands first, and is the active one.
fn in_use(keys: &[RingKey], now: Timestamp, after: Duration) -> (&[RingKey], &RingKey, &[RingKey]) {
    let active = keys.iter().position(|key| key.active).unwrap_or(0);
    let is_known = |key: &RingKey| now >= key.created_at + after;
    // Without one that is old enough there is nobody who could lack a key: the ring was just made.
    let used = keys.iter().skip(active).position(is_known).map_or(keys.len() - 1, |at| active + at);
    (&keys[..used], &keys[used], &keys[used + 1..])
}

impl RingKey {
    fn new(prefix: &str, now: Timestamp) -> Result<Self, KeyFileError> {
        let day: String = rfc3339(now).chars().take(10).filter(char::is_ascii_digit).collect();
        let id = format!("{prefix}{day}-{:08x}", u32::from_be_bytes(random()?));
        Ok(Self { id, secret: Zeroizing::new(random()?), es256: None, created_at: now, active: true })
    }

    fn read(row: &FileKey) -> Result<Self, String> {
        let id = &row.id;
        let lawful = (1..=32).contains(&id.len())
            && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if !lawful {
            return Err("a key's id must be 1 to 32 characters a-z, 0-9, `_` and `-`; restore the file from its copy"
                .to_owned());
        }
        let bytes =
            STANDARD.decode(&row.key).map(Zeroizing::new).map_err(|_| format!("the key `{id}` is not base64"))?;
        let secret: [u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| format!("the key `{id}` has {} bytes; it must have 32", bytes.len()))?;
        let secret = Zeroizing::new(secret);
        if is_weak(&secret) {
            return Err(format!(
                "the key `{id}` is not random; delete the file, and a new ring is made at the next start"
            ));
        }
        let created_at =
            row.created_at.parse::<jiff::Timestamp>().map_err(|_| format!("the key `{id}` has no right created_at"))?;
        let created_at = Timestamp::from_millis(created_at.as_millisecond());
        let es256 = row.es256.as_ref().map(|text| STANDARD.decode(text).map(Zeroizing::new));
        let es256 = es256.transpose().map_err(|_| format!("the key `{id}` has an es256 that is not base64"))?;
        let key = Self { id: id.clone(), secret, es256, created_at, active: row.active };
        if let Some(token) = key.token(Algorithm::Es256)
            && TokenSigner::new(&token, &[], "").is_err()
        {
            return Err(format!("the key `{id}` has an es256 that is no key; restore the file from its copy"));
        }
        Ok(key)
    }

    fn with_es256(self) -> Result<Self, KeyFileError> {
        let es256 = new_es256().ok_or(KeyFileError::Random(getrandom::Error::UNEXPECTED))?;
        Ok(Self { es256: Some(es256), ..self })
    }

    fn token(&self, algorithm: Algorithm) -> Option<TokenKey> {
        let secret = match algorithm {
            Algorithm::EdDsa => TokenSecret::EdDsa(self.secret.clone()),
            Algorithm::Es256 => TokenSecret::Es256(self.es256.clone()?),
        };
        Some(TokenKey { kid: self.id.clone(), secret })
    }
}

fn random<const N: usize>() -> Result<[u8; N], KeyFileError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(KeyFileError::Random)?;
    Ok(bytes)
}

/// Whether a person typed it: too few different bytes, or equal steps from each to the next. 32 random bytes have fewer than 16
/// different ones once in more than 10^12 rings.
fn is_weak(secret: &[u8; 32]) -> bool {
    let mut seen = [false; 256];
    secret.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    let different = seen.iter().filter(|seen| **seen).count();
    let step = secret[1].wrapping_sub(secret[0]);
    let steady = secret.windows(2).all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    // Letters and digits alone: a password, or base64 of base64.
    let typed = secret.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    different < 16 || steady || typed
}

/// A time as answers write it.
#[must_use]
pub fn rfc3339(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.as_secs()).map(|at| at.to_string()).unwrap_or_default()
}

/// Reads a time with its offset.
#[must_use]
pub fn read_rfc3339(text: &str) -> Option<Timestamp> {
    text.trim().parse::<jiff::Timestamp>().ok().map(|at| Timestamp::from_millis(at.as_millisecond()))
}

#[cfg(test)]
mod tests;
