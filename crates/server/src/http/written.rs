//! JSON written piece by piece, for the answers that are given to every send and check: a serializer calls for each quote and comma.
//!
//! What is written is what the derived serializers write: tests hold the two together.

use std::fmt::{Display, Write as _};

use axum::body::Bytes;

/// A text of JSON that grows. Whoever writes it sets the braces and commas.
#[derive(Debug)]
pub struct Written(String);

impl Written {
    /// Nothing yet, with room for an answer.
    #[must_use]
    pub fn new() -> Self {
        Self(String::with_capacity(1536))
    }

    /// JSON as it is.
    pub fn raw(&mut self, json: &str) -> &mut Self {
        self.0.push_str(json);
        self
    }

    /// What shows as text that needs no escape.
    pub fn shown(&mut self, plain: impl Display) -> &mut Self {
        // Writing into memory does not fail.
        let _ = write!(self.0, "{plain}");
        self
    }

    /// A whole number.
    pub fn number(&mut self, number: u32) -> &mut Self {
        match u8::try_from(number) {
            Ok(digit @ 0..=9) => self.0.push(char::from(b'0' + digit)),
            _ => drop(self.shown(number)),
        }
        self
    }

    /// A text in its quotes.
    pub fn text(&mut self, text: &str) -> &mut Self {
        if text.bytes().any(|byte| byte < b' ' || matches!(byte, b'"' | b'\\')) {
            self.0.push_str(&serde_json::Value::from(text).to_string());
        } else {
            self.0.push('"');
            self.0.push_str(text);
            self.0.push('"');
        }
        self
    }

    /// A text in its quotes, or `null`.
    pub fn optional(&mut self, text: Option<&str>) -> &mut Self {
        match text {
            Some(text) => self.text(text),
            None => self.raw("null"),
        }
    }

    /// What was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The body of an answer.
    #[must_use]
    pub fn into_body(self) -> Bytes {
        self.0.into()
    }
}

impl Default for Written {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_text_and_number_is_what_a_serializer_writes(text in any::<String>(), number in any::<u32>(), small in 0..300_u32) {
            let mut written = Written::new();
            written.raw("[").text(&text).raw(",").optional(Some(&text)).raw(",").optional(None);
            written.raw(",").number(number).raw(",").number(small).raw("]");
            let expected = serde_json::to_string(&(&text, Some(&text), None::<&str>, number, small)).unwrap();
            prop_assert_eq!(written.as_str(), expected);
        }
    }
}
