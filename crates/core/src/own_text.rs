//! A text that one request brings along, in place of a template: read letter by letter, but for `{{code}}`, where the code is placed.
//!
//! Whoever may choose what a stranger's phone shows can lead that stranger astray. So only a door whose callers have shown an API key
//! passes one on; nothing in it is evaluated; what hides or reorders the code is refused, and links are where the operator's own
//! texts may hold none.

use zeroize::Zeroizing;

use crate::code::Code;
use crate::template::{host, is_invisible};

/// Where the code stands.
pub const PLACE: &str = "{{code}}";
/// Characters that it may have, [`PLACE`] included.
pub const LONGEST: usize = 160;

/// What is wrong with a text.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitText {
    /// The code has no place in it.
    #[error("must contain {PLACE} where the code is to stand")]
    NoCode,
    /// It is longer than a message.
    #[error("must have at most {LONGEST} characters")]
    TooLong,
    /// A control character, or an invisible one that directs how text runs.
    #[error("holds the character U+{:04X}, which nobody sees; leave it out", u32::from(*.0))]
    Invisible(char),
    /// A link where none is allowed.
    #[error("holds what phones show as a link; leave it out, or have the operator set texts.allow_links = true")]
    Link,
}

/// Whether it can be sent.
///
/// # Errors
/// [`UnfitText`] says why not.
pub fn fit(text: &str, allow_links: bool) -> Result<(), UnfitText> {
    if text.chars().count() > LONGEST {
        return Err(UnfitText::TooLong);
    }
    if !text.contains(PLACE) {
        return Err(UnfitText::NoCode);
    }
    let right_to_left = text.chars().any(|c| matches!(c, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fefc}'));
    let hidden = |c: &char| c.is_control() && !matches!(c, '\n' | '\r') || is_invisible(*c, right_to_left);
    if let Some(invisible) = text.chars().find(hidden) {
        return Err(UnfitText::Invisible(invisible));
    }
    // As the phone will show it.
    let shown = text.replace(PLACE, "987654");
    let is_link =
        |word: &str| word.contains("://") || word.to_ascii_lowercase().starts_with("www.") || host(word).is_some();
    if !allow_links && shown.split_whitespace().any(is_link) {
        return Err(UnfitText::Link);
    }
    Ok(())
}

/// The text with the code in its places: as it is, or spoken.
pub(crate) fn fill(text: &str, code: &str) -> Zeroizing<String> {
    let places = text.matches(PLACE).count();
    // Room for all of it at once, so that no copy of the code is left behind by growing.
    let mut filled = Zeroizing::new(String::with_capacity(text.len() + places * code.len()));
    for (nth, piece) in text.split(PLACE).enumerate() {
        if nth > 0 {
            filled.push_str(code);
        }
        filled.push_str(piece);
    }
    filled
}

/// The text as the message of a code will have it: for those who count what it costs.
#[must_use]
pub fn preview(text: &str, code: &Code) -> Zeroizing<String> {
    fill(text, code.reveal())
}
