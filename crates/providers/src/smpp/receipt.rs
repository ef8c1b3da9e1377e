//! An SMSC's report on a message of ours, in the writings that vendors have for it (SMPP 3.4, 4.6.1, 5.2.28 and appendix B).

use countersign::core::verification::DeliveryStatus;

use super::pdu::Delivered;
use crate::hush;

/// What was reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// What the message may be called, the likeliest first; in the form that [`Ids::of_answer`] keeps.
    pub references: Vec<String>,
    /// What became of it.
    pub status: DeliveryStatus,
    /// The network's error, if it named one.
    pub error: Option<String>,
}

/// How a vendor's reports write the id that its answers gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// As the answer did, but for letters' case and leading zeros.
    Same,
    /// In decimal; the answer's is hexadecimal.
    Decimal,
    /// In hexadecimal; the answer's is decimal.
    Hex,
}

impl Ids {
    /// The id of an answer, as reports will call it.
    pub fn of_answer(self, id: &str) -> String {
        let number = match self {
            Self::Same => None,
            Self::Decimal => u128::from_str_radix(id, 16).ok().map(|number| number.to_string()),
            Self::Hex => id.parse::<u128>().ok().map(|number| format!("{number:x}")),
        };
        number.unwrap_or_else(|| plain(id))
    }
}

/// A number without leading zeros and in small letters; what is no number stays as it is.
fn plain(id: &str) -> String {
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return id.to_owned();
    }
    let significant = id.trim_start_matches('0');
    if significant.is_empty() { "0".to_owned() } else { significant.to_ascii_lowercase() }
}

/// The report that a delivery is; `None` if it is a message of somebody's, or cannot be understood.
pub(super) fn read(delivered: &Delivered<'_>) -> Option<Report> {
    // Bits 5 to 2: 0001 a receipt, 1000 an intermediate one. Some vendors set neither, so that its form must tell.
    let said_to_be = matches!(delivered.esm_class & 0x3C, 0x04 | 0x20);
    let text = text_of(delivered);
    let from_tlv = delivered.receipted_message_id.and_then(|id| std::str::from_utf8(id).ok());
    let word = field(&text, "stat");
    if !said_to_be && from_tlv.is_none() && (word.is_none() || field(&text, "id").is_none()) {
        return None;
    }
    let status = delivered.message_state.and_then(by_state).or_else(|| word.and_then(by_word))?;
    let mut references: Vec<String> = Vec::new();
    for id in [from_tlv, field(&text, "id")].into_iter().flatten().map(str::trim).filter(|id| hush::is_id(id)) {
        let id = plain(id);
        if !references.contains(&id) {
            references.push(id);
        }
    }
    if references.is_empty() {
        return None;
    }
    let named = field(&text, "err").filter(|error| error.chars().any(|c| c != '0')).and_then(hush::receipt_error);
    let error = match status {
        DeliveryStatus::Delivered | DeliveryStatus::Accepted => None,
        _ => named.or_else(|| delivered.network_error.filter(|code| *code != 0).map(|code| code.to_string())),
    };
    Some(Report { references, status, error })
}

/// SMPP 3.4, 5.2.28, and 5.0, 4.7.15. An unknown state says nothing.
const fn by_state(state: u8) -> Option<DeliveryStatus> {
    Some(match state {
        // SCHEDULED, ENROUTE, ACCEPTED: on its way.
        0 | 1 | 6 => DeliveryStatus::Accepted,
        2 => DeliveryStatus::Delivered,
        // EXPIRED, DELETED, UNDELIVERABLE, SKIPPED.
        3 | 4 | 5 | 9 => DeliveryStatus::Undelivered,
        // REJECTED.
        8 => DeliveryStatus::Failed,
        _ => return None,
    })
}

/// The words of appendix B, each with the whole word that some write instead.
fn by_word(word: &str) -> Option<DeliveryStatus> {
    Some(match word.to_ascii_uppercase().as_str() {
        "ENROUTE" | "ACCEPTD" | "ACCEPTED" | "SCHEDULED" | "BUFFRED" | "BUFFERED" => DeliveryStatus::Accepted,
        "DELIVRD" | "DELIVERED" => DeliveryStatus::Delivered,
        "EXPIRED" | "DELETED" | "UNDELIV" | "UNDELIVERABLE" | "UNDELIVERED" | "SKIPPED" => DeliveryStatus::Undelivered,
        "REJECTD" | "REJECTED" | "FAILED" => DeliveryStatus::Failed,
        _ => return None,
    })
}

/// The text, whatever it was written in: all of its words are ASCII.
fn text_of(delivered: &Delivered<'_>) -> String {
    let bytes = delivered.text;
    if delivered.data_coding == 8 {
        let units = bytes.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]]));
        return char::decode_utf16(units).map(|c| c.unwrap_or('\u{fffd}')).collect();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// The value behind `key:`, up to the next space. Before the text of the message, which is the last field and whose words are the
/// message's own.
fn field<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    let lower = text.to_ascii_lowercase();
    let end = lower.find(" text:").unwrap_or(text.len());
    let head = &lower[..end];
    let wanted = format!("{key}:");
    let mut from = 0;
    while let Some(found) = head[from..].find(&wanted) {
        let at = from + found;
        from = at + wanted.len();
        if at > 0 && !head[..at].ends_with(|c: char| c.is_ascii_whitespace() || c == ',' || c == ';') {
            continue;
        }
        let value = text[from..end].trim_start_matches(' ');
        let value = value.split(|c: char| c.is_ascii_whitespace() || c == ',' || c == ';' || c == '\0').next()?;
        return Some(value).filter(|value| !value.is_empty());
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: &str =
        "id:00A1B2 sub:001 dlvrd:001 submit date:2311142213 done date:2311142214 stat:DELIVRD err:000 text:Your code";

    fn said(text: &str) -> Delivered<'_> {
        Delivered { esm_class: 4, text: text.as_bytes(), ..Delivered::default() }
    }

    fn report(reference: &str, status: DeliveryStatus, error: Option<&str>) -> Option<Report> {
        Some(Report { references: vec![reference.to_owned()], status, error: error.map(str::to_owned) })
    }

    #[test]
    fn reports_are_read_in_every_writing() {
        use DeliveryStatus::{Accepted, Delivered as Arrived, Failed, Undelivered};
        assert_eq!(read(&said(USUAL)), report("a1b2", Arrived, None));
        for (text, expected) in [
            ("id:7 stat:UNDELIV err:034", report("7", Undelivered, Some("034"))),
            ("id:7 sub:1 dlvrd:0 stat:EXPIRED err:0", report("7", Undelivered, None)),
            ("ID:7 STAT:REJECTD ERR:17", report("7", Failed, Some("17"))),
            ("id: 7 stat: ENROUTE", report("7", Accepted, None)),
            ("id:7,stat:Delivered,err:000", report("7", Arrived, None)),
            ("id:a-b_C.9 stat:ACCEPTD", report("a-b_C.9", Accepted, None)),
            ("id:7 stat:UNKNOWN err:000", None),
            ("id:7 stat:WHATEVER", None),
            ("stat:DELIVRD", None),
            ("", None),
            // The message's own words are not the report's.
            ("id:7 stat:UNDELIV err:1 text:stat:DELIVRD id:9", report("7", Undelivered, Some("1"))),
            ("text:id:9 stat:DELIVRD", None),
        ] {
            assert_eq!(read(&said(text)), expected, "{text}");
        }
    }

    #[test]
    fn optional_parameters_go_first_and_form_tells_where_the_class_does_not() {
        let tlvs = Delivered {
            receipted_message_id: Some(b"00FF"),
            message_state: Some(5),
            network_error: Some(34),
            ..said("id:255 stat:DELIVRD")
        };
        let expected = Report {
            references: vec!["ff".to_owned(), "255".to_owned()],
            status: DeliveryStatus::Undelivered,
            error: Some("34".to_owned()),
        };
        assert_eq!(read(&tlvs), Some(expected));
        let bare = Delivered { receipted_message_id: Some(b"x1"), message_state: Some(2), ..Delivered::default() };
        assert_eq!(read(&bare), report("x1", DeliveryStatus::Delivered, None));
        assert!(read(&Delivered { esm_class: 0, ..said(USUAL) }).is_some());
        assert_eq!(read(&Delivered { esm_class: 0, ..said("Hello, stat: is my id") }), None);
        let wide: Vec<u8> = "id:7 stat:DELIVRD".encode_utf16().flat_map(u16::to_be_bytes).collect();
        let wide = Delivered { esm_class: 4, data_coding: 8, text: &wide, ..Delivered::default() };
        assert_eq!(read(&wide), report("7", DeliveryStatus::Delivered, None));
    }

    #[test]
    fn ids_meet_in_one_form() {
        for (ids, answer, reported) in [
            (Ids::Same, "00A1B2", "a1b2"),
            (Ids::Same, "0012", "12"),
            (Ids::Same, "000", "0"),
            (Ids::Same, "aB3x", "aB3x"),
            (Ids::Decimal, "1A", "26"),
            (Ids::Decimal, "0000001a", "026"),
            (Ids::Hex, "26", "1A"),
            (Ids::Hex, "0026", "0000001a"),
            (Ids::Hex, "a-b", "a-b"),
        ] {
            assert_eq!(ids.of_answer(answer), plain(reported), "{ids:?} {answer} {reported}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_said_panics(text in "(\\PC|id:|stat:| text:|err:|DELIVRD|[\\x00-\\x20]){0,60}", class in any::<u8>(), coding in any::<u8>(), state in prop::option::of(any::<u8>())) {
            let delivered = Delivered { esm_class: class, data_coding: coding, message_state: state, text: text.as_bytes(), ..Delivered::default() };
            if let Some(report) = read(&delivered) {
                prop_assert!(report.references.iter().all(|id| hush::is_id(id)));
                prop_assert!(report.error.is_none_or(|error| error.chars().count() <= 64));
            }
        }

        #[test]
        fn any_id_is_found_again(id in "[!-~]{1,64}", ids in prop_oneof![Just(Ids::Same), Just(Ids::Decimal), Just(Ids::Hex)]) {
            prop_assert!(!ids.of_answer(&id).is_empty());
        }
    }
}
