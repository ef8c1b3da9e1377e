//! Signatures by the Standard Webhooks specification, version 1: HMAC-SHA-256 over `id.timestamp.body`.
//!
//! ```
//! use countersign_providers::standard_webhooks::Key;
//!
//! let key: Key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse()?;
//! let signature = key.sign("msg_1", 1_700_000_000, b"{}");
//! assert!(signature.starts_with("v1,"));
//! assert_eq!(key.verify(Some("msg_1"), Some("1700000000"), Some(&signature), b"{}", 1_700_000_060), Ok(()));
//! # Ok::<(), countersign_providers::standard_webhooks::InvalidKey>(())
//! ```

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

/// The header that holds the message's id.
pub const ID: &str = "webhook-id";
/// The header that holds the time of the attempt, in seconds since the epoch.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header that holds one or more signatures, separated by spaces.
pub const SIGNATURE: &str = "webhook-signature";

/// How far a timestamp may be from our clock, either way: it bounds how long a captured request can be played again.
pub const TOLERANCE_SECS: i64 = 300;

/// The fewest bytes that a key may have. The specification asks for 24 to 64; this is where guessing stops being hopeless.
const SHORTEST: usize = 16;

/// Both writings of the end of a base64 text are in use.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A secret shared with one other side, ready to sign: the two hash blocks that depend on it alone are computed once.
#[derive(Clone)]
pub struct Key(Hmac<Sha256>);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// A text that is no `whsec_…` secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be `whsec_` followed by 16 to 64 random bytes in base64; `echo whsec_$(openssl rand -base64 32)` makes one"
)]
pub struct InvalidKey;

impl FromStr for Key {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let secret = text.trim().strip_prefix("whsec_").ok_or(InvalidKey)?;
        let secret = Zeroizing::new(LENIENT.decode(secret).map_err(|_| InvalidKey)?);
        if !(SHORTEST..=64).contains(&secret.len()) {
            return Err(InvalidKey);
        }
        <Hmac<Sha256> as KeyInit>::new_from_slice(&secret).map(Self).map_err(|_| InvalidKey)
    }
}

/// Why a signed request is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// One of the three headers is not there.
    #[error("the headers webhook-id, webhook-timestamp and webhook-signature are all needed")]
    MissingHeader,
    /// The timestamp is not a number of seconds.
    #[error("webhook-timestamp is not a whole number of seconds")]
    BadTimestamp,
    /// Too old, or from the future: a replay, or a clock that is wrong.
    #[error("webhook-timestamp is more than five minutes away from our clock")]
    Stale,
    /// No signature is by our key over this id, this timestamp and this body.
    #[error("no signature in webhook-signature is right")]
    BadSignature,
}

impl Key {
    /// The value of `webhook-signature`.
    #[must_use]
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        let mut signature = String::with_capacity(48);
        signature.push_str("v1,");
        STANDARD.encode_string(self.mac(id, &timestamp.to_string(), body), &mut signature);
        signature
    }

    /// Checks the three headers of a request against its body. `now` is in seconds since the epoch.
    ///
    /// The header may hold several signatures (a sender that rotates its secret signs with both); one right one is enough, and
    /// others, also of versions that we do not know, do no harm.
    ///
    /// # Errors
    /// [`Unsigned`] says why the request is not believed.
    pub fn verify(
        &self,
        id: Option<&str>,
        timestamp: Option<&str>,
        signatures: Option<&str>,
        body: &[u8],
        now: i64,
    ) -> Result<(), Unsigned> {
        let (Some(id), Some(timestamp), Some(signatures)) = (id, timestamp, signatures) else {
            return Err(Unsigned::MissingHeader);
        };
        // Only digits: `+5` and ` 5` parse too, and would be signed as other texts.
        if timestamp.is_empty() || !timestamp.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Unsigned::BadTimestamp);
        }
        let at: i64 = timestamp.parse().map_err(|_| Unsigned::BadTimestamp)?;
        let expected = self.mac(id, timestamp, body);
        let right = signatures.split(' ').filter_map(|signature| signature.strip_prefix("v1,")).fold(
            Choice::from(0),
            |right, signature| {
                let given = LENIENT.decode(signature).unwrap_or_default();
                right | given.as_slice().ct_eq(&expected)
            },
        );
        if !bool::from(right) {
            return Err(Unsigned::BadSignature);
        }
        if at.abs_diff(now) > TOLERANCE_SECS.unsigned_abs() {
            return Err(Unsigned::Stale);
        }
        Ok(())
    }

    fn mac(&self, id: &str, timestamp: &str, body: &[u8]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in [id.as_bytes(), b".", timestamp.as_bytes(), b".", body] {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use proptest::prelude::*;

    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const AT: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    fn key() -> Key {
        SECRET.parse().unwrap()
    }

    fn verify(timestamp: &str, signatures: &str, now: i64) -> Result<(), Unsigned> {
        key().verify(Some(ID), Some(timestamp), Some(signatures), BODY, now)
    }

    #[test]
    fn the_specification_s_own_vector() {
        assert_eq!(key().sign(ID, AT, BODY), SIGNATURE);
        assert_eq!(verify("1614265330", SIGNATURE, AT), Ok(()));
    }

    #[test]
    fn one_right_signature_of_several_is_enough() {
        let other = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        for signatures in [
            format!("{other} {SIGNATURE}"),
            format!("{SIGNATURE} {other}"),
            format!("v1a,xyz  {SIGNATURE}"),
            format!("v2,?? v1, v1,% {SIGNATURE}"),
        ] {
            assert_eq!(verify("1614265330", &signatures, AT), Ok(()), "{signatures}");
        }
        for signatures in ["", " ", "v1,", other, &SIGNATURE[3..], &format!("v2,{}", &SIGNATURE[3..])] {
            assert_eq!(verify("1614265330", signatures, AT), Err(Unsigned::BadSignature), "{signatures:?}");
        }
    }

    #[test]
    fn time_is_part_of_what_is_signed_and_bounded() {
        assert_eq!(verify("1614265330", SIGNATURE, AT + 300), Ok(()));
        assert_eq!(verify("1614265330", SIGNATURE, AT - 300), Ok(()));
        assert_eq!(verify("1614265330", SIGNATURE, AT + 301), Err(Unsigned::Stale));
        assert_eq!(verify("1614265330", SIGNATURE, AT - 301), Err(Unsigned::Stale));
        assert_eq!(verify("1614265330", SIGNATURE, i64::MIN), Err(Unsigned::Stale));
        assert_eq!(verify("1614265331", SIGNATURE, AT), Err(Unsigned::BadSignature));
        for timestamp in ["", "+1614265330", " 1614265330", "1614265330.0", "x", "99999999999999999999"] {
            assert_eq!(verify(timestamp, SIGNATURE, AT), Err(Unsigned::BadTimestamp), "{timestamp:?}");
        }
    }

    #[test]
    fn all_three_headers_are_needed() {
        let key = key();
        let missing = Err(Unsigned::MissingHeader);
        assert_eq!(key.verify(None, Some("1614265330"), Some(SIGNATURE), BODY, AT), missing);
        assert_eq!(key.verify(Some(ID), None, Some(SIGNATURE), BODY, AT), missing);
        assert_eq!(key.verify(Some(ID), Some("1614265330"), None, BODY, AT), missing);
    }

    #[test]
    fn secrets_are_read_as_they_are_written() {
        let unpadded = "whsec_AAECAwQFBgcICQoLDA0ODw8Q".parse::<Key>().unwrap();
        let padded = "whsec_AAECAwQFBgcICQoLDA0ODxAREg==".parse::<Key>();
        assert!(padded.is_ok() && "whsec_AAECAwQFBgcICQoLDA0ODxAREg".parse::<Key>().is_ok());
        assert_eq!(format!("{unpadded:?}"), "Key(…)");
        let short = format!("whsec_{}", STANDARD.encode([1; 15]));
        let long = format!("whsec_{}", STANDARD.encode([1; 65]));
        for text in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_not base64!", &short, &long] {
            assert_eq!(text.parse::<Key>().err(), Some(InvalidKey), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_signed_verifies_and_nothing_else(
            id in "[!-~]{1,40}", at in 0..4_000_000_000_i64, body in proptest::collection::vec(any::<u8>(), 0..200),
            flip in any::<prop::sample::Index>(),
        ) {
            let signature = key().sign(&id, at, &body);
            let timestamp = at.to_string();
            prop_assert_eq!(key().verify(Some(&id), Some(&timestamp), Some(&signature), &body, at), Ok(()));
            let mut other = body.clone();
            other.push(0);
            let flipped = flip.index(other.len());
            other[flipped] ^= 1;
            prop_assert!(key().verify(Some(&id), Some(&timestamp), Some(&signature), &other, at).is_err());
        }

        #[test]
        fn headers_never_panic(id in "\\PC*", timestamp in "\\PC*", signatures in "\\PC*", now in any::<i64>()) {
            prop_assert!(key().verify(Some(&id), Some(&timestamp), Some(&signatures), b"", now).is_err());
        }
    }
}
