//! An HMAC as most gateways use one: some text, a key, a header. The same rule signs requests and checks receipts.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::{Signing, hex};
use crate::template::TemplateError;

/// How the HMAC is made and where it stands.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HmacRule {
    pub algorithm: Algorithm,
    #[serde(default)]
    pub key: KeyForm,
    /// What is signed.
    #[serde(default)]
    pub over: Parts,
    /// Where the signature stands.
    pub header: String,
    /// What stands before it: `sha256=`.
    #[serde(default)]
    pub prefix: String,
    #[serde(default)]
    pub encoding: Encoding,
    /// Where the time of `{timestamp}` stands, in seconds since the epoch.
    pub timestamp_header: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Algorithm {
    Sha1,
    Sha256,
    Sha512,
}

impl Algorithm {
    const fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

/// What the secret is turned into before it is a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum KeyForm {
    /// Its bytes.
    #[default]
    Text,
    /// The SHA-256 of its bytes.
    Sha256,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Encoding {
    #[default]
    Hex,
    Base64,
}

/// A text such as `{timestamp}|{body}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Parts(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Body,
    Timestamp,
}

impl Default for Parts {
    fn default() -> Self {
        Self(vec![Part::Body])
    }
}

impl TryFrom<String> for Parts {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let bad = || format!("`{text}` must be made of {{body}}, {{timestamp}} and text between them");
        let mut parts = Vec::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or_else(bad)?;
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(match name {
                "body" => Part::Body,
                "timestamp" => Part::Timestamp,
                _ => return Err(bad()),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        // What does not cover the body proves nothing about it.
        if parts.contains(&Part::Body) { Ok(Self(parts)) } else { Err(bad()) }
    }
}

impl Parts {
    pub(crate) fn dated(&self) -> bool {
        self.0.contains(&Part::Timestamp)
    }

    /// The pieces of what is signed, one after the other.
    pub(crate) fn each<'a>(&'a self, timestamp: &'a str, body: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().map(move |part| match part {
            Part::Text(text) => text.as_bytes(),
            Part::Body => body,
            Part::Timestamp => timestamp.as_bytes(),
        })
    }
}

impl HmacRule {
    pub(crate) fn key(&self, secret: &str) -> hmac::Key {
        let algorithm = self.algorithm.hmac();
        match self.key {
            KeyForm::Text => hmac::Key::new(algorithm, secret.as_bytes()),
            KeyForm::Sha256 => hmac::Key::new(algorithm, digest::digest(&digest::SHA256, secret.as_bytes()).as_ref()),
        }
    }

    fn tag(&self, key: &hmac::Key, timestamp: &str, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(key);
        for part in self.over.each(timestamp, body) {
            context.update(part);
        }
        context.sign()
    }

    /// Whether that is the signature. The time that it takes says nothing about how much of it is right.
    pub(crate) fn is_signed(&self, key: &hmac::Key, given: &str, timestamp: &str, body: &[u8]) -> bool {
        let tag = self.tag(key, timestamp, body);
        let Some(given) = given.trim().strip_prefix(self.prefix.as_str()) else { return false };
        match self.encoding {
            Encoding::Hex => hex(tag.as_ref()).as_bytes().ct_eq(given.to_ascii_lowercase().as_bytes()).into(),
            Encoding::Base64 => STANDARD.encode(tag.as_ref()).as_bytes().ct_eq(given.as_bytes()).into(),
        }
    }
}

/// Signs requests by such a rule.
pub(crate) struct Hmac {
    rule: HmacRule,
    key: hmac::Key,
}

impl Hmac {
    pub(crate) fn new(rule: &HmacRule, secret: &str) -> Self {
        Self { key: rule.key(secret), rule: rule.clone() }
    }

    pub(super) fn sign(&self, request: &mut Signing<'_>) -> Result<(), TemplateError> {
        let (rule, time) = (&self.rule, request.now.to_string());
        let tag = rule.tag(&self.key, &time, request.body);
        let signature = match rule.encoding {
            Encoding::Hex => hex(tag.as_ref()),
            Encoding::Base64 => STANDARD.encode(tag.as_ref()),
        };
        if let Some(header) = &rule.timestamp_header {
            request.put(header, &time)?;
        }
        request.put(&rule.header, &format!("{}{signature}", rule.prefix))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use proptest::prelude::*;

    use super::*;
    use crate::sign::Signer;
    use crate::sign::bench::signed;

    fn rule(text: &str) -> HmacRule {
        toml::from_str(text).unwrap()
    }

    /// RFC 4231, test case 2 (HMAC-SHA-256 and -512), and RFC 2202, test case 2 (HMAC-SHA-1).
    #[test]
    fn the_vectors_of_the_rfcs() {
        let body = b"what do ya want for nothing?";
        for (algorithm, expected) in [
            ("sha1", "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            ("sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                "sha512",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            let rule = rule(&format!("algorithm = \"{algorithm}\"\nheader = \"x-signature\"\nprefix = \"v=\""));
            let key = rule.key("Jefe");
            assert_eq!(hex(rule.tag(&key, "", body).as_ref()), expected);
            assert!(rule.is_signed(&key, &format!("v={expected}"), "", body));
            assert!(rule.is_signed(&key, &format!("v={}", expected.to_uppercase()), "", body));
            for wrong in ["", "v=", expected, &format!("v={}", &expected[1..]), &format!("v={expected}0")] {
                assert!(!rule.is_signed(&key, wrong, "", body), "{wrong}");
            }
        }
    }

    #[test]
    fn a_request_carries_signature_and_time() {
        let rule = rule(
            "algorithm = \"sha256\"\nover = \"{timestamp}.{body}\"\nheader = \"x-signature\"\nencoding = \"base64\"\ntimestamp_header = \"x-time\"",
        );
        let headers = signed(&Signer::Hmac(Hmac::new(&rule, "k")), "POST", "https://host/", &[], "{}", 1_700_000_000);
        let given = headers["x-signature"].to_str().unwrap();
        assert_eq!(headers["x-time"], "1700000000");
        assert!(rule.is_signed(&rule.key("k"), given, "1700000000", b"{}"));
        assert!(!rule.is_signed(&rule.key("k"), given, "1700000001", b"{}"));
    }

    #[test]
    fn what_is_signed_must_cover_the_body() {
        for bad in ["", "{timestamp}", "{body", "{bod}", "{body}{x}"] {
            assert!(Parts::try_from(bad.to_owned()).is_err(), "{bad:?}");
        }
        assert!(Parts::try_from("a{timestamp}|{body}z".to_owned()).is_ok_and(|parts| parts.dated()));
    }

    proptest! {
        #[test]
        fn nothing_but_the_signature_is_one(body in proptest::collection::vec(any::<u8>(), 0..100), given in "\\PC*") {
            let rule = rule("algorithm = \"sha256\"\nheader = \"h\"");
            prop_assert!(!rule.is_signed(&rule.key("k"), &given, "", &body));
        }
    }
}
