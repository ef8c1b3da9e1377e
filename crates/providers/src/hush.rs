//! What of a provider's answer may be repeated.
//!
//! Reasons end up in deliveries, events and logs, and providers echo what they were sent. So a reason is made of our own words
//! and, at most, of the provider's error code, if that is short and plain and is no part of the message.

use zeroize::Zeroizing;

/// What must not come back: all of it was in the request, so any of it can be in the answer.
pub(crate) struct Hidden<'a> {
    pub code: &'a str,
    pub text: &'a str,
    pub to: &'a str,
    pub private: &'a [Zeroizing<String>],
}

/// The longest message id that is kept.
const LONGEST_ID: usize = 128;
/// The longest error code that is repeated.
const LONGEST_CODE: usize = 32;

impl Hidden<'_> {
    /// A provider's error code, if it can be one and gives nothing away.
    pub(crate) fn error_code<'t>(&self, token: &'t str) -> Option<&'t str> {
        (is_plain(token) && !self.gives_away(token)).then_some(token)
    }

    /// A provider's id for a message, if it can be one and is not the message.
    ///
    /// An id of digits can hold the code's digits by chance, and losing it would lose its receipts: only a whole part of it that
    /// is the code, or most of the number, counts as an echo.
    pub(crate) fn message_id(&self, id: &str) -> Option<String> {
        let number = self.to.trim_start_matches('+');
        let echoes = id.contains(self.to)
            || id
                .split(|c: char| !c.is_ascii_alphanumeric())
                .any(|part| part == self.code || part.len() >= 7 && number.contains(part))
            || self.private.iter().any(|value| value.len() >= 8 && id.contains(value.as_str()));
        (is_id(id) && !echoes).then(|| id.to_owned())
    }

    fn gives_away(&self, token: &str) -> bool {
        let number = self.to.trim_start_matches('+');
        let overlaps = |hidden: &str, shortest: usize| {
            !hidden.is_empty() && (token.contains(hidden) || token.len() >= shortest && hidden.contains(token))
        };
        overlaps(self.code, 4)
            || overlaps(number, 6)
            || overlaps(self.text, 12)
            || self.private.iter().any(|value| value.len() >= 4 && overlaps(value, 6))
    }
}

/// Whether a text can be the id of a message: visible ASCII, not endless.
pub(crate) fn is_id(text: &str) -> bool {
    (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whether a text can be an error code.
fn is_plain(text: &str) -> bool {
    (1..=LONGEST_CODE).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// A receipt's error, fit to be shown. The message is long gone, so there is nothing to compare with: an error code stays as it
/// is; of a sentence the plain characters stay, and every run of four digits or more, together or apart, which might be a code or a
/// number, goes.
pub(crate) fn receipt_error(text: &str) -> Option<String> {
    const LONGEST: usize = 64;
    let text = text.trim();
    if is_plain(text) && text.len() <= 16 {
        return Some(text.to_owned());
    }
    let mut kept = String::new();
    let mut run = String::new();
    // One more character than there are, so that a run at the end ends too.
    for c in text.chars().take(4 * LONGEST).chain(['.']) {
        // A code that is spoken has its digits apart.
        if c.is_ascii_digit() || !run.is_empty() && matches!(c, ',' | ' ') {
            run.push(c);
            continue;
        }
        let digits = run.bytes().filter(u8::is_ascii_digit).count();
        if digits < 4 || (c == '.' && is_smtp_reply(&run)) {
            kept.push_str(&run);
        } else {
            kept.push('…');
            kept.push_str(if run.ends_with(' ') { " " } else { "" });
        }
        run.clear();
        let plain = c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | ',' | ':');
        kept.push(if plain { c } else { ' ' });
    }
    kept.pop();
    let kept = kept.split_whitespace().collect::<Vec<_>>().join(" ");
    let short: String = kept.chars().take(LONGEST).collect();
    Some(short).filter(|text| !text.is_empty())
}

/// The start of `550 5.1.1`: a reply code and the class of its enhanced status code, which is its first digit again (RFC 3463).
fn is_smtp_reply(run: &str) -> bool {
    let bytes = run.as_bytes();
    let [class @ (b'2' | b'4' | b'5'), b'0'..=b'9', b'0'..=b'9', b' ', enhanced] = bytes else { return false };
    class == enhanced
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hidden(private: &[Zeroizing<String>]) -> Hidden<'_> {
        Hidden { code: "482913", text: "Your Example code is 482913.", to: "+255694230173", private }
    }

    #[test]
    fn a_code_is_repeated_unless_it_is_an_echo() {
        let secrets = [Zeroizing::new("hunter22".to_owned())];
        let cases = [
            ("21211", true),
            ("ERR_005", true),
            ("e.g-1", true),
            ("482913", false),
            ("code-482913", false),
            ("8291", false),
            ("829", true),
            ("255694230173", false),
            ("694230173", false),
            ("69423", true),
            ("hunter22", false),
            ("xhunter22x", false),
            ("", false),
            ("two words", false),
            ("new\nline", false),
            ("a-code-that-is-longer-than-any-code", false),
        ];
        for (token, repeated) in cases {
            assert_eq!(hidden(&secrets).error_code(token).is_some(), repeated, "{token:?}");
        }
    }

    #[test]
    fn an_id_is_kept_unless_it_is_an_echo() {
        let secrets = [Zeroizing::new("hunter22".to_owned())];
        let cases = [
            ("SM0123456789abcdef0123456789abcdef", true),
            ("99148291377", true), // holds the code's digits by chance
            ("gw:7:5", true),
            ("482913", false),
            ("msg-482913", false),
            ("255694230173", false),
            ("+255694230173", false),
            ("gw-694230173", false),
            ("hunter22.1", false),
            ("two words", false),
            ("", false),
        ];
        for (id, kept) in cases {
            assert_eq!(hidden(&secrets).message_id(id).is_some(), kept, "{id:?}");
        }
        assert!(hidden(&[]).message_id(&"x".repeat(129)).is_none());
    }

    #[test]
    fn a_receipt_error_keeps_codes_and_loses_numbers() {
        assert_eq!(receipt_error("30003").as_deref(), Some("30003"));
        assert_eq!(receipt_error("absent subscriber (27)").as_deref(), Some("absent subscriber 27"));
        let echoed = receipt_error("could not send \"Your code is 482913\" to +255694230173");
        assert_eq!(echoed.as_deref(), Some("could not send Your code is … to …"));
        let spoken = receipt_error("no answer to \"Your code: 4, 8, 2, 9, 1, 3. Again: 4 8 2 9 1 3.\" after 30 s");
        assert_eq!(spoken.as_deref(), Some("no answer to Your code: …. Again: …. after 30 s"));
        assert_eq!(receipt_error("tried 3, 2 or 1 times, 45 s").as_deref(), Some("tried 3, 2 or 1 times, 45 s"));
        assert_eq!(receipt_error(" \u{202e}\n"), None);
        assert!(receipt_error(&"word ".repeat(100)).is_some_and(|text| text.chars().count() <= 64));
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC*") {
            hidden(&[]).error_code(&text);
            hidden(&[]).message_id(&text);
            if let Some(error) = receipt_error(&text) {
                prop_assert!(error.chars().count() <= 64);
            }
        }
    }
}
