//! Names of things: random identifiers, and the validated words `application` and `purpose`.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use subtle::ConstantTimeEq;

/// Text that is not an identifier of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `{prefix}` followed by 32 hexadecimal digits")]
pub struct InvalidId {
    prefix: &'static str,
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// What stands before the 32 hexadecimal digits.
            pub const PREFIX: &'static str = $prefix;

            /// From 16 bytes of the operating system's random source.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The 16 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }

            /// Compares without revealing by its time where the two differ.
            #[must_use]
            pub fn same_as(&self, other: &Self) -> bool {
                bool::from(self.0.ct_eq(&other.0))
            }
        }

        impl fmt::Display for $name {
            /// In one piece: ids are written several times in every answer, and each piece costs as much as the whole.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0; $prefix.len() + 32];
                let (prefix, digits) = text.split_at_mut($prefix.len());
                prefix.copy_from_slice($prefix.as_bytes());
                for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
                    pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 0xf)]]);
                }
                f.write_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix(Self::PREFIX)
                    .and_then(bytes_from_hex)
                    .map(Self)
                    .ok_or(InvalidId { prefix: Self::PREFIX })
            }
        }
    };
}

random_id! {
    /// Names a verification: `vf_` and 128 random bits. Whoever holds it is counted apart from whoever only knows the destination.
    VerificationId, "vf_"
}
random_id! {
    /// Names a delivery: `dl_`, the time and at least 80 random bits. Gateways are told it; it gives no right to anything.
    DeliveryId, "dl_"
}

random_id! {
    /// Names a service: a profile under an application (`VA` and 128 random bits). Verifications of two services never meet.
    ServiceId, "VA"
}

const HEX: &[u8; 16] = b"0123456789abcdef";

fn bytes_from_hex(text: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 16];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

const fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

/// A word of `[a-z0-9_-]{1,32}` was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 32 characters of a-z, 0-9, `_` and `-`")]
pub struct InvalidName;

fn is_name(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The word itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name! {
    /// Names an application (the tenant): `[a-z0-9_-]{1,32}`.
    ApplicationName
}
name! {
    /// What the proof is for (`login`, `registration`, …): lower-cased, `[a-z0-9_-]{1,32}`.
    Purpose
}

impl FromStr for ApplicationName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if is_name(text) { Ok(Self(text.into())) } else { Err(InvalidName) }
    }
}

impl Purpose {
    /// The purpose of a request that names none.
    pub const DEFAULT: &'static str = "login";
}

impl Default for Purpose {
    fn default() -> Self {
        Self(Self::DEFAULT.into())
    }
}

impl FromStr for Purpose {
    type Err = InvalidName;
    /// Lower-cases first, so that `Login` and `login` are one purpose.
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let lower = text.to_ascii_lowercase();
        if is_name(&lower) { Ok(Self(lower.into())) } else { Err(InvalidName) }
    }
}

impl Default for ApplicationName {
    fn default() -> Self {
        Self("default".into())
    }
}
