//! From a text to what an SMSC is given: the alphabet, and the parts where it is longer than one message (3GPP TS 23.038, 23.040).

use zeroize::Zeroizing;

/// What the account's `data_coding` 0 means, and so how a text travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// The GSM alphabet, one septet in each octet: `@` is 0x00.
    Gsm7,
    /// The same, eight septets in seven octets.
    Gsm7Packed,
    /// ISO 8859-1: `@` is 0x40.
    Latin1,
    /// Always 16-bit units.
    Ucs2,
}

/// How a text that is longer than one message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Long {
    /// In parts, each with a header that tells the phone where it belongs.
    Udh,
    /// In parts that the SMSC is told of by optional parameters.
    Sar,
    /// At once; the SMSC parts it.
    Payload,
}

/// A text, encoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Encoded {
    /// `data_coding`: 0, 3 or 8, unless the account wants another for what is not UCS-2.
    pub data_coding: u8,
    /// One or more.
    pub parts: Vec<Zeroizing<Vec<u8>>>,
}

/// `data_coding` of ISO 8859-1.
const LATIN1: u8 = 3;
/// `data_coding` of UCS-2.
const UCS2: u8 = 8;
/// The header of a part: its length, the element "joined messages, 8-bit reference", the length of that.
const UDH: usize = 6;

/// The default alphabet, in the order of its codes.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞ\u{1b}ÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// The extension table: each is an escape and a code.
const EXTENSION: [(char, u8); 10] = [
    ('\u{c}', 0x0A),
    ('^', 0x14),
    ('{', 0x28),
    ('}', 0x29),
    ('\\', 0x2F),
    ('[', 0x3C),
    ('~', 0x3D),
    (']', 0x3E),
    ('|', 0x40),
    ('€', 0x65),
];
const ESCAPE: u8 = 0x1B;

/// Encodes a text, in parts where it must be. `reference` joins the parts.
pub(super) fn encode(text: &str, alphabet: Alphabet, long: Long, data_coding: Option<u8>, reference: u8) -> Encoded {
    let septets = || text.chars().map(septets).collect::<Option<Vec<_>>>();
    let latin =
        || text.chars().map(|c| u8::try_from(u32::from(c)).ok().map(|byte| vec![byte])).collect::<Option<Vec<_>>>();
    let plain = match alphabet {
        // Joined parts hold less, since each has its header: in all but what the network itself makes of them.
        Alphabet::Gsm7 | Alphabet::Gsm7Packed => septets().map(|units| (units, 0, 160, 153)),
        Alphabet::Latin1 if septets().is_some() => latin().map(|units| (units, LATIN1, 160, 153)),
        Alphabet::Latin1 => latin().map(|units| (units, LATIN1, 140, 134)),
        Alphabet::Ucs2 => None,
    };
    let (units, usual, alone, joined, is_plain) = match plain {
        Some((units, usual, alone, joined)) => (units, usual, alone, joined, true),
        None => (text.chars().map(utf16).collect(), UCS2, 140, 134, false),
    };
    let packed = is_plain && alphabet == Alphabet::Gsm7Packed;
    let data_coding = if is_plain { data_coding.unwrap_or(usual) } else { UCS2 };
    let whole: usize = units.iter().map(Vec::len).sum();
    if whole <= alone || long == Long::Payload {
        let text = units.concat();
        let part = Zeroizing::new(if packed { pack(&text, 0) } else { text });
        return Encoded { data_coding, parts: vec![part] };
    }
    let split = split(&units, joined);
    let total = u8::try_from(split.len()).unwrap_or(u8::MAX);
    let part = |(number, text): (u8, Vec<u8>)| {
        let mut part = Zeroizing::new(Vec::with_capacity(UDH + text.len()));
        if long == Long::Udh {
            part.extend([5, 0, 3, reference, total, number]);
        }
        // Behind a header, septets begin at the next septet's boundary.
        let fill = if long == Long::Udh { (7 - UDH * 8 % 7) % 7 } else { 0 };
        part.extend(if packed { pack(&text, fill) } else { text });
        part
    };
    Encoded { data_coding, parts: (1..=total).zip(split).map(part).collect() }
}

/// Into parts of so many octets at most. A character is never split, be it an escape and a code or two surrogates.
fn split(units: &[Vec<u8>], most: usize) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new()];
    for unit in units {
        match parts.last_mut() {
            Some(part) if part.len() + unit.len() <= most => part.extend(unit),
            _ => parts.push(unit.clone()),
        }
    }
    parts
}

fn septets(c: char) -> Option<Vec<u8>> {
    if c == char::from(ESCAPE) {
        return None;
    }
    if let Some(code) = BASIC.chars().position(|known| known == c) {
        return u8::try_from(code).ok().map(|code| vec![code]);
    }
    EXTENSION.iter().find(|(known, _)| *known == c).map(|(_, code)| vec![ESCAPE, *code])
}

fn utf16(c: char) -> Vec<u8> {
    c.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| unit.to_be_bytes()).collect()
}

/// Eight septets into seven octets, the first behind so many empty bits.
fn pack(septets: &[u8], fill: usize) -> Vec<u8> {
    let mut octets = vec![0_u8; (fill + septets.len() * 7).div_ceil(8)];
    for (nth, septet) in septets.iter().enumerate() {
        let bit = fill + nth * 7;
        let spread = u16::from(*septet) << (bit % 8);
        let [low, high] = spread.to_le_bytes();
        octets[bit / 8] |= low;
        if high != 0 {
            octets[bit / 8 + 1] |= high;
        }
    }
    // Seven empty bits at the end would read as one more `@`: 3GPP TS 23.038, 6.1.2.3.1 puts a carriage return there.
    if (fill + septets.len() * 7) % 8 == 1
        && let Some(last) = octets.last_mut()
    {
        *last |= 0x0D << 1;
    }
    octets
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use countersign::core::message::{Encoding, segments};
    use proptest::prelude::*;

    use super::*;

    fn one(text: &str, alphabet: Alphabet) -> (u8, Vec<u8>) {
        let mut encoded = encode(text, alphabet, Long::Udh, None, 7);
        assert_eq!(encoded.parts.len(), 1);
        (encoded.data_coding, encoded.parts.pop().unwrap().to_vec())
    }

    #[test]
    fn b5_the_at_sign_is_what_the_alphabet_says() {
        assert_eq!(one("@h #1", Alphabet::Gsm7), (0, vec![0x00, b'h', b' ', b'#', b'1']));
        assert_eq!(one("@h #1", Alphabet::Latin1), (3, b"@h #1".to_vec()));
        assert_eq!(one("@", Alphabet::Ucs2), (8, vec![0, 0x40]));
        assert_eq!(one("ş@", Alphabet::Gsm7), (8, vec![0x01, 0x5F, 0, 0x40]));
        assert_eq!(one("€", Alphabet::Gsm7), (0, vec![0x1B, 0x65]));
        assert_eq!(one("é", Alphabet::Latin1), (3, vec![0xE9]));
        assert_eq!(one("\u{1b}", Alphabet::Gsm7).0, 8);
        assert_eq!(encode("@", Alphabet::Latin1, Long::Udh, Some(0), 1).data_coding, 0);
        assert_eq!(encode("ş", Alphabet::Latin1, Long::Udh, Some(0), 1).data_coding, 8);
    }

    #[test]
    fn septets_are_packed_as_the_standard_shows() {
        // 3GPP TS 23.038, 6.1.2.1; "hellohello" is in many a book.
        assert_eq!(one("hellohello", Alphabet::Gsm7Packed).1, [0xE8, 0x32, 0x9B, 0xFD, 0x46, 0x97, 0xD9, 0xEC, 0x37]);
        // Seven septets leave seven bits, which would read as one more `@`.
        assert_eq!(one("1234567", Alphabet::Gsm7Packed).1.last().unwrap() >> 1, 0x0D);
        assert_eq!(pack(&[0x7F], 1), [0xFE]);
    }

    #[test]
    fn a_part_says_where_it_belongs() {
        let text = "x".repeat(161);
        let udh = encode(&text, Alphabet::Gsm7, Long::Udh, None, 7);
        assert_eq!(udh.parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [159, 14]);
        assert_eq!(udh.parts[0][..6], [5, 0, 3, 7, 2, 1]);
        assert_eq!(udh.parts[1][..6], [5, 0, 3, 7, 2, 2]);
        let packed = encode(&text, Alphabet::Gsm7Packed, Long::Udh, None, 7);
        assert_eq!(packed.parts[0].len(), 140);
        let sar = encode(&text, Alphabet::Gsm7, Long::Sar, None, 7);
        assert_eq!(sar.parts.iter().map(|part| part.len()).collect::<Vec<_>>(), [153, 8]);
        assert_eq!(encode(&text, Alphabet::Gsm7, Long::Payload, None, 7).parts.len(), 1);
        assert_eq!(encode(&"ş".repeat(71), Alphabet::Gsm7, Long::Udh, None, 7).parts.len(), 2);
    }

    fn unpack(octets: &[u8], fill: usize, count: usize) -> Vec<u8> {
        let bit = |at: usize| octets[at / 8] >> (at % 8) & 1;
        (0..count).map(|nth| (0..7).map(|n| bit(fill + nth * 7 + n) << n).sum()).collect()
    }

    fn decode(septets: &[u8]) -> String {
        let (mut text, mut rest) = (String::new(), septets.iter());
        while let Some(code) = rest.next() {
            if *code == ESCAPE {
                let code = rest.next().unwrap();
                text.push(EXTENSION.iter().find(|(_, known)| known == code).unwrap().0);
            } else {
                text.push(BASIC.chars().nth(usize::from(*code)).unwrap());
            }
        }
        text
    }

    proptest! {
        /// What is billed is what was counted, and nothing is lost on the way.
        #[test]
        fn parts_are_as_many_as_were_counted_and_hold_the_text(text in "(\\PC|[@€\\[{ -~]){0,500}") {
            let encoded = encode(&text, Alphabet::Gsm7, Long::Sar, None, 7);
            let counted = segments(&text);
            prop_assert_eq!(encoded.parts.len(), counted.count);
            let bytes: Vec<u8> = encoded.parts.iter().flat_map(|part| part.iter().copied()).collect();
            let read = match counted.encoding {
                Encoding::Gsm7 => decode(&bytes),
                Encoding::Ucs2 => {
                    let units: Vec<_> = bytes.chunks(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
                    String::from_utf16(&units).unwrap()
                }
            };
            prop_assert_eq!(&read, &text);
            let udh = encode(&text, Alphabet::Gsm7, Long::Udh, None, 7);
            prop_assert!(udh.parts.iter().all(|part| part.len() <= 160));
        }

        #[test]
        fn what_is_packed_can_be_unpacked(septets in prop::collection::vec(0_u8..128, 0..200), fill in 0..7_usize) {
            let packed = pack(&septets, fill);
            prop_assert_eq!(packed.len(), (fill + septets.len() * 7).div_ceil(8));
            prop_assert_eq!(unpack(&packed, fill, septets.len()), septets);
        }
    }
}
