//! Sids: two letters and 32 hexadecimal digits.

use std::fmt::Write as _;

use countersign::Broken;
use countersign::core::id::{DeliveryId, ServiceId, VerificationId};
use sha2::{Digest as _, Sha256};

/// The sid of 16 bytes.
pub(super) fn of(prefix: &str, bytes: &[u8; 16]) -> String {
    bytes.iter().fold(prefix.to_owned(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The sid that something has by what it is, so that there is one of each.
pub(super) fn derived(prefix: &str, parts: &[&str]) -> String {
    of(prefix, &digest(parts))
}

/// The sid of something new.
pub(super) fn random(prefix: &str) -> Result<String, Broken> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(Broken::Random)?;
    Ok(of(prefix, &bytes))
}

/// 16 bytes that stand for these texts.
pub(super) fn digest(parts: &[&str]) -> [u8; 16] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().first_chunk().copied().unwrap_or_default()
}

/// The service that an application has from the beginning.
pub(crate) fn default_service(account_sid: &str) -> String {
    derived("VA", &["default service", account_sid])
}

pub(super) fn of_verification(id: VerificationId) -> String {
    of("VE", id.as_bytes())
}

pub(super) fn of_attempt(id: DeliveryId) -> String {
    of("VL", id.as_bytes())
}

/// Reads a sid; its digits may be of either case.
fn read(prefix: &str, text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix(prefix)?;
    if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}

pub(super) fn verification(text: &str) -> Option<VerificationId> {
    read("VE", text).map(VerificationId::from_bytes)
}

pub(super) fn attempt(text: &str) -> Option<DeliveryId> {
    read("VL", text).map(DeliveryId::from_bytes)
}

/// A service, and its sid as we write it.
pub(crate) fn service(text: &str) -> Option<(ServiceId, String)> {
    let bytes = read("VA", text)?;
    Some((ServiceId::from_bytes(bytes), of("VA", &bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_sid_is_none() {
        let sid = derived("VE", &["a"]);
        assert!(verification(&sid).is_some());
        assert!(verification(&sid.replace("VE", "VA")).is_none());
        for text in
            ["", "VE", "VE1", &sid[..33], &format!("{sid}0"), &sid.replace('0', "g"), &format!("VE+{}", &sid[3..])]
        {
            assert!(text == sid || verification(text).is_none(), "{text}");
        }
        assert_ne!(digest(&["a", "bc"]), digest(&["ab", "c"]));
    }

    proptest! {
        #[test]
        fn a_sid_is_read_back(bytes: [u8; 16]) {
            let id = VerificationId::from_bytes(bytes);
            prop_assert_eq!(verification(&of_verification(id)), Some(id));
            prop_assert_eq!(verification(&of_verification(id).to_uppercase()), Some(id));
        }

        #[test]
        fn any_text_is_a_sid_or_not(text in "\\PC{0,40}") {
            let _ = (verification(&text), attempt(&text), service(&text));
        }
    }
}
