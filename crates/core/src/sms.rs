//! How a text travels as SMS: the alphabets, what is paid for, and the look-alikes that cost half the room.

use std::borrow::Cow;

/// How a text travels as SMS, and what is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// The alphabet.
    pub encoding: Encoding,
    /// Septets (GSM-7, an escaped character counts two) or 16-bit units (UCS-2).
    pub units: usize,
    /// Messages that are billed.
    pub count: usize,
}

/// The alphabets of SMS (3GPP TS 23.038).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The 7-bit default alphabet with its extension table: 160 to a message.
    Gsm7,
    /// 16-bit units: 70 to a message.
    Ucs2,
}

impl Encoding {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gsm7 => "gsm7",
            Self::Ucs2 => "ucs2",
        }
    }

    /// What one message holds, in its units.
    #[must_use]
    pub const fn room(self) -> usize {
        match self {
            Self::Gsm7 => 160,
            Self::Ucs2 => 70,
        }
    }
}

const GSM7_BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const GSM7_EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// Counts the messages that a text takes: 160 septets or 70 units alone, 153 or 67 each when joined by an 8-bit reference. Neither
/// an escape pair nor a surrogate pair is ever split, so a part may be one short.
#[must_use]
pub fn segments(text: &str) -> Segments {
    let gsm7: Option<Vec<usize>> = text.chars().map(septets).collect();
    match gsm7 {
        Some(widths) => count(Encoding::Gsm7, &widths, 153),
        None => count(Encoding::Ucs2, &text.chars().map(char::len_utf16).collect::<Vec<_>>(), 67),
    }
}

/// The characters of a text that GSM-7 lacks, each once, in their order: what makes it UCS-2.
#[must_use]
pub fn outside_gsm7(text: &str) -> Vec<char> {
    let mut outside = Vec::new();
    for character in text.chars().filter(|character| septets(*character).is_none()) {
        if !outside.contains(&character) {
            outside.push(character);
        }
    }
    outside
}

/// The same text in GSM-7, where look-alikes alone keep it out: typographic quotes, dashes, dots and spaces are written as the plain
/// characters that people take them for. No letter is changed; a text that would be UCS-2 anyway stays as it is.
#[must_use]
pub fn plain(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || text.chars().all(|character| septets(character).is_some()) {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        match look_alike(character) {
            Some(instead) => plain.push_str(instead),
            None if septets(character).is_some() => plain.push(character),
            None => return Cow::Borrowed(text),
        }
    }
    Cow::Owned(plain)
}

/// What a typographic character is written as; `None` for every other.
#[must_use]
pub fn look_alike(character: char) -> Option<&'static str> {
    Some(match character {
        '\u{ab}' | '\u{bb}' | '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{2036}' | '\u{301d}'..='\u{301f}' => "\"",
        '`' | '\u{b4}' | '\u{2bb}'..='\u{2bd}' | '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{2035}' => "'",
        '\u{2039}' => "<",
        '\u{203a}' => ">",
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => "-",
        '\u{2026}' => "...",
        '\u{2022}' | '\u{b7}' | '\u{2027}' | '\u{2219}' => "*",
        '\t' | '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' | '\u{205f}' | '\u{3000}' => " ",
        '\u{2028}' | '\u{2029}' => "\n",
        // Nothing to see.
        '\u{ad}' | '\u{200b}' | '\u{2060}' | '\u{feff}' => "",
        '\u{2044}' | '\u{2215}' => "/",
        '\u{ff1a}' => ":",
        '\u{ff01}' => "!",
        '\u{ff1f}' => "?",
        '\u{ff0c}' => ",",
        _ => return None,
    })
}

fn septets(character: char) -> Option<usize> {
    if GSM7_BASIC.contains(character) { Some(1) } else { GSM7_EXTENSION.contains(character).then_some(2) }
}

fn count(encoding: Encoding, widths: &[usize], joined: usize) -> Segments {
    let units = widths.iter().sum();
    if units <= encoding.room() {
        return Segments { encoding, units, count: 1 };
    }
    let (mut parts, mut used) = (1, 0);
    for width in widths {
        if used + width > joined {
            (parts, used) = (parts + 1, 0);
        }
        used += width;
    }
    Segments { encoding, units, count: parts }
}
