//! The code itself: derived, never written down, impossible to print.
//!
//! A code is HMAC-SHA-256 under a key of the [`KeyRing`] over everything that it is bound to, reduced without bias to the digits
//! wanted. So sending again gives the same code with nothing to unseal, and a stolen database holds none. A code that the caller
//! chose is kept as a keyed digest, and sealed (XChaCha20-Poly1305) for as long as its verification may still be sent again.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::verification::Payment;

/// The lengths that a code may have, in digits.
pub const LENGTHS: RangeInclusive<u8> = 4..=10;

/// A one-time code: 4 to 10 ASCII digits. It has no `Debug`, `Display` or `Clone`, and is wiped when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Code {
    digits: [u8; 10],
    length: u8,
}

impl Code {
    /// The digits, for the message to the person and for nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// How many digits. Not `len`: a code is not a collection.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.length
    }

    /// Compares in constant time; only the lengths, which are public, may show.
    #[must_use]
    pub fn matches(&self, candidate: &Self) -> bool {
        let same = self.digits.ct_eq(&candidate.digits) & self.length.ct_eq(&candidate.length);
        same.into()
    }

    fn as_bytes(&self) -> &[u8] {
        &self.digits[..usize::from(self.length)]
    }

    fn from_number(mut number: u64, length: u8) -> Self {
        let mut digits = [0; 10];
        for digit in digits[..usize::from(length)].iter_mut().rev() {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        Self { digits, length }
    }
}

/// Text that cannot be a code, and so is no guess either.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a code is a string of 4 to 10 digits 0-9")]
pub struct InvalidCode;

impl FromStr for Code {
    type Err = InvalidCode;
    /// Takes 4 to 10 ASCII digits and nothing else: no sign, no space, no other script's digits.
    fn from_str(text: &str) -> Result<Self, InvalidCode> {
        let bytes = text.as_bytes();
        let length = u8::try_from(bytes.len()).map_err(|_| InvalidCode)?;
        if !LENGTHS.contains(&length) || !bytes.iter().all(u8::is_ascii_digit) {
            return Err(InvalidCode);
        }
        let mut digits = [0; 10];
        digits[..bytes.len()].copy_from_slice(bytes);
        Ok(Self { digits, length })
    }
}

/// What a code is bound to. Change any of it in the store and the code no longer verifies.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// The verification's id.
    pub verification: &'a [u8; 16],
    /// The application's name.
    pub application: &'a str,
    /// The canonical destination.
    pub destination: &'a str,
    /// The purpose.
    pub purpose: &'a str,
    /// The service, unless it is the application's own.
    pub service: Option<&'a [u8; 16]>,
    /// The payment that it confirms.
    pub payment: Option<&'a Payment>,
}

impl<'a> Binding<'a> {
    /// Bound to these four: no service but the application's own, no payment.
    #[must_use]
    pub const fn new(verification: &'a [u8; 16], application: &'a str, destination: &'a str, purpose: &'a str) -> Self {
        Self { verification, application, destination, purpose, service: None, payment: None }
    }
}

/// Names a key of the ring: `[a-z0-9_-]{1,32}`.
pub type KeyId = Arc<str>;

/// One server key: 32 bytes from the operating system's random source.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Key([u8; 32]);

impl Key {
    /// Takes 32 random bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

/// The keys that codes are derived under: one for new verifications, and the older ones until what they made has expired.
pub struct KeyRing {
    active: KeyId,
    keys: Vec<(KeyId, Key)>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("active", &self.active).field("keys", &self.keys.len()).finish()
    }
}

/// Where a code comes from.
#[derive(Clone, PartialEq, Eq)]
pub enum CodeSource {
    /// Derived under the key of this id.
    Derived {
        /// Which key of the ring.
        key: KeyId,
    },
    /// Chosen by the caller, or fixed for a test destination.
    Chosen {
        /// Which key of the ring.
        key: KeyId,
        /// Keyed digest of the code and its binding.
        digest: [u8; 32],
        /// The code, sealed for carrying; `None` once the verification has ended.
        sealed: Option<Vec<u8>>,
    },
}

impl fmt::Debug for CodeSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Derived { .. } => "Derived",
            Self::Chosen { .. } => "Chosen",
        })
    }
}

/// The ring lacks a key that a stored verification was made with, or a sealed code was altered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeUnavailable {
    /// The key is not in the ring: it was rotated out too early, or the wrong key file is loaded.
    #[error("the key ring has no key `{0}`, which a stored verification was made with")]
    UnknownKey(KeyId),
    /// The sealed code is gone or was altered.
    #[error("the sealed code of a verification is gone or was altered")]
    Unsealable,
}

impl KeyRing {
    /// A ring of one key.
    #[must_use]
    pub fn new(id: impl Into<KeyId>, key: Key) -> Self {
        let id = id.into();
        Self { active: id.clone(), keys: vec![(id, key)] }
    }

    /// Adds an older key, under which codes are still checked but no new ones made.
    #[must_use]
    pub fn with_older(mut self, id: impl Into<KeyId>, key: Key) -> Self {
        self.keys.push((id.into(), key));
        self
    }

    /// Adds a key that is to be used later: codes that another process made with it can be checked already.
    #[must_use]
    pub fn with_newer(mut self, id: impl Into<KeyId>, key: Key) -> Self {
        self.keys.insert(0, (id.into(), key));
        self
    }

    /// The key that new verifications are made with.
    #[must_use]
    pub const fn active(&self) -> &KeyId {
        &self.active
    }

    /// Whether it has the key of this id.
    #[must_use]
    pub fn knows(&self, id: &KeyId) -> bool {
        self.keys.iter().any(|(known, _)| known == id)
    }

    /// The code of a verification, `length` digits.
    ///
    /// # Errors
    /// [`CodeUnavailable`] if the key is not in the ring or a chosen code cannot be unsealed.
    pub fn code(&self, source: &CodeSource, binding: Binding<'_>, length: u8) -> Result<Code, CodeUnavailable> {
        match source {
            CodeSource::Derived { key } => Ok(derive(self.key(key)?, binding, length)),
            CodeSource::Chosen { key, sealed, .. } => {
                unseal(self.key(key)?, binding, sealed.as_deref().ok_or(CodeUnavailable::Unsealable)?)
            }
        }
    }

    /// Whether `candidate` is the code, in constant time.
    ///
    /// # Errors
    /// [`CodeUnavailable::UnknownKey`] if the key is not in the ring.
    pub fn matches(
        &self,
        source: &CodeSource,
        binding: Binding<'_>,
        length: u8,
        candidate: &Code,
    ) -> Result<bool, CodeUnavailable> {
        match source {
            CodeSource::Derived { key } => Ok(derive(self.key(key)?, binding, length).matches(candidate)),
            CodeSource::Chosen { key, digest: kept, .. } => {
                Ok(digest(self.key(key)?, binding, candidate).ct_eq(kept).into())
            }
        }
    }

    /// Keeps a code that the caller chose: digest and sealed copy. `nonce` is 24 fresh random bytes.
    #[must_use]
    pub fn keep(&self, chosen: &Code, binding: Binding<'_>, nonce: [u8; 24]) -> CodeSource {
        // The active key is in the ring by construction.
        let key = self.keys.iter().find(|(id, _)| *id == self.active).map(|(_, key)| key);
        let (digest, sealed) =
            key.map_or(([0; 32], None), |key| (digest(key, binding, chosen), seal(key, binding, chosen, nonce)));
        CodeSource::Chosen { key: self.active.clone(), digest, sealed }
    }

    /// Seals bytes for the store under the active key: for answers that are kept and hold a token. `nonce` is 24 fresh random bytes.
    #[must_use]
    pub fn seal(&self, context: &[u8; 16], plain: &[u8], nonce: [u8; 24]) -> Option<Vec<u8>> {
        let key = self.keys.iter().find(|(id, _)| *id == self.active).map(|(_, key)| key)?;
        let sealed = cipher(key, Self::blob(context)).encrypt(&XNonce::from(nonce), plain).ok()?;
        let id = self.active.as_bytes();
        Some([&[u8::try_from(id.len()).ok()?], id, &nonce, &sealed].concat())
    }

    /// Opens what [`KeyRing::seal`] made with the same context.
    ///
    /// # Errors
    /// [`CodeUnavailable`] if its key is gone from the ring or the bytes were altered.
    pub fn open(&self, context: &[u8; 16], sealed: &[u8]) -> Result<Vec<u8>, CodeUnavailable> {
        let (length, rest) = sealed.split_first().ok_or(CodeUnavailable::Unsealable)?;
        let (id, rest) = rest.split_at_checked(usize::from(*length)).ok_or(CodeUnavailable::Unsealable)?;
        let (nonce, sealed) = rest.split_first_chunk::<24>().ok_or(CodeUnavailable::Unsealable)?;
        let id: KeyId = String::from_utf8_lossy(id).into();
        let cipher = cipher(self.key(&id)?, Self::blob(context));
        cipher.decrypt(&XNonce::from(*nonce), sealed).map_err(|_| CodeUnavailable::Unsealable)
    }

    /// A word for one delivery of a verification that nobody without the ring can make, 32 hexadecimal digits: it stands in the
    /// address that a gateway asks for the code once a key was pressed, where the delivery's id alone is known to too many.
    ///
    /// # Errors
    /// [`CodeUnavailable::UnknownKey`] if the key is not in the ring.
    pub fn ticket(
        &self,
        source: &CodeSource,
        binding: Binding<'_>,
        delivery: &[u8; 16],
    ) -> Result<Zeroizing<String>, CodeUnavailable> {
        let (CodeSource::Derived { key } | CodeSource::Chosen { key, .. }) = source;
        let mut mac = mac(self.key(key)?, "countersign ticket v1", binding);
        mac.update(delivery);
        let word = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        let hex = |byte: &u8| [byte >> 4, byte & 15].map(|four| char::from(b"0123456789abcdef"[usize::from(four)]));
        Ok(Zeroizing::new(word[..16].iter().flat_map(hex).collect()))
    }

    /// A keyed digest that stays the same when the ring is rotated: under its oldest key.
    #[must_use]
    pub fn fingerprint(&self, parts: &[&[u8]]) -> [u8; 32] {
        let nobody = [0; 16];
        let binding = Binding::new(&nobody, "", "", "fingerprint");
        let Some((_, oldest)) = self.keys.last() else { return [0; 32] };
        let mut mac = mac(oldest, "countersign fingerprint v1", binding);
        for part in parts {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    const fn blob(context: &[u8; 16]) -> Binding<'_> {
        Binding::new(context, "", "", "kept answer")
    }

    fn key(&self, id: &KeyId) -> Result<&Key, CodeUnavailable> {
        self.keys
            .iter()
            .find(|(known, _)| known == id)
            .map(|(_, key)| key)
            .ok_or_else(|| CodeUnavailable::UnknownKey(id.clone()))
    }
}

/// Derives a code. Uniform over all `10^length` values: a block of the HMAC that falls into the last, incomplete range is thrown
/// away and the next one taken (rejection sampling), so no value is likelier than another and leading zeros are as likely as any digit.
///
/// A length outside [`LENGTHS`] can only come from a row that was altered: its code is another one, and nothing overflows.
fn derive(key: &Key, binding: Binding<'_>, length: u8) -> Code {
    let digits = length.clamp(*LENGTHS.start(), *LENGTHS.end());
    let values = 10_u64.pow(u32::from(digits));
    let fair = u64::MAX - u64::MAX % values;
    let mut round = 0_u8;
    loop {
        let mut mac = mac(key, "countersign code v1", binding);
        mac.update(&[length, round]);
        let block = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        for word in block.chunks_exact(8) {
            let number = word.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
            if number < fair {
                return Code::from_number(number % values, digits);
            }
        }
        round = round.wrapping_add(1);
    }
}

fn digest(key: &Key, binding: Binding<'_>, code: &Code) -> [u8; 32] {
    let mut mac = mac(key, "countersign digest v1", binding);
    mac.update(code.as_bytes());
    mac.finalize().into_bytes().into()
}

fn seal(key: &Key, binding: Binding<'_>, code: &Code, nonce: [u8; 24]) -> Option<Vec<u8>> {
    let payload = Payload { msg: code.as_bytes(), aad: binding.verification };
    let sealed = cipher(key, binding).encrypt(&XNonce::from(nonce), payload).ok()?;
    Some([nonce.as_slice(), &sealed].concat())
}

fn unseal(key: &Key, binding: Binding<'_>, sealed: &[u8]) -> Result<Code, CodeUnavailable> {
    let (nonce, sealed) = sealed.split_first_chunk::<24>().ok_or(CodeUnavailable::Unsealable)?;
    let payload = Payload { msg: sealed, aad: binding.verification };
    let digits =
        cipher(key, binding).decrypt(&XNonce::from(*nonce), payload).map_err(|_| CodeUnavailable::Unsealable)?;
    let digits = Zeroizing::new(digits);
    std::str::from_utf8(&digits).ok().and_then(|text| text.parse().ok()).ok_or(CodeUnavailable::Unsealable)
}

fn cipher(key: &Key, binding: Binding<'_>) -> XChaCha20Poly1305 {
    let subkey = Zeroizing::new(<[u8; 32]>::from(mac(key, "countersign seal v1", binding).finalize().into_bytes()));
    XChaCha20Poly1305::new((&*subkey).into())
}

/// One keyed function for each use: the label and length-prefixed fields keep them apart.
fn mac(key: &Key, label: &str, binding: Binding<'_>) -> Hmac<Sha256> {
    // HMAC takes a key of any length (RFC 2104), so the empty fallback is never reached.
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&key.0)
        .unwrap_or_else(|_| <Hmac<Sha256> as KeyInit>::new(&Default::default()));
    for field in [
        label.as_bytes(),
        binding.verification,
        binding.application.as_bytes(),
        binding.destination.as_bytes(),
        binding.purpose.as_bytes(),
    ] {
        mac.update(&(field.len() as u64).to_be_bytes());
        mac.update(field);
    }
    // What most have not costs them nothing. Three fields or none: no other input is as long and reads the same.
    if binding.service.is_some() || binding.payment.is_some() {
        let (amount, payee) = binding.payment.map_or(("", ""), |payment| (&payment.amount, &payment.payee));
        let service = binding.service.map_or(&[][..], |id| id);
        for field in [service, amount.as_bytes(), payee.as_bytes()] {
            mac.update(&(field.len() as u64).to_be_bytes());
            mac.update(field);
        }
    }
    mac
}
