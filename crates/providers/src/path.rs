//! Where a value stands in a provider's answer.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use reqwest::header::{HeaderMap, HeaderName};
use serde::Deserialize;
use serde_json::Value;

/// `sid`, `messages[0].status`, `[0].msg_id`, `sms.*.status`; `$body`, the whole text of an answer that is neither JSON nor XML;
/// `$header.x-message-id`, a header of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Path {
    Body,
    /// A header, by its name in lower case.
    Header(String),
    Steps(Vec<Step>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
    /// Whatever stands there: every item of a list, every value of an object.
    Any,
}

/// An answer, as far as paths look into it.
#[derive(Default)]
pub(crate) struct Content<'a> {
    pub json: Option<Value>,
    /// Set where the answer is text but no JSON.
    pub text: Option<Cow<'a, str>>,
    pub headers: Option<&'a HeaderMap>,
}

impl Path {
    /// The scalar that stands there, trimmed. Null, a list, an object, a fraction and a blank string are nothing.
    pub(crate) fn find<'a>(&self, content: &'a Content<'_>) -> Option<Cow<'a, str>> {
        let found = match self {
            Self::Body => Cow::Borrowed(content.text.as_deref()?.trim()),
            Self::Header(name) => Cow::Borrowed(content.headers?.get(name)?.to_str().ok()?.trim()),
            Self::Steps(_) => self.all(content.json.as_ref()?).into_iter().find_map(scalar)?,
        };
        (!found.is_empty()).then_some(found)
    }

    /// Everything that stands there.
    pub(crate) fn all<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        let Self::Steps(steps) = self else { return Vec::new() };
        let mut found = vec![value];
        for step in steps {
            found = found.into_iter().flat_map(|value| step.from(value)).collect();
        }
        found
    }
}

impl Step {
    fn from<'v>(&self, value: &'v Value) -> Vec<&'v Value> {
        match self {
            Self::Key(key) => value.get(key).into_iter().collect(),
            Self::Index(index) => value.get(index).into_iter().collect(),
            Self::Any => match value {
                Value::Array(items) => items.iter().collect(),
                Value::Object(entries) => entries.values().collect(),
                _ => Vec::new(),
            },
        }
    }
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.trim())).filter(|text| !text.is_empty()),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "true" } else { "false" })),
        // A fraction is no id and no code, and a number too long for 64 bits has lost digits by now.
        Value::Number(number) if number.is_u64() || number.is_i64() => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

impl fmt::Display for Path {
    /// As a descriptor writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Body => f.write_str("$body"),
            Self::Header(name) => write!(f, "$header.{name}"),
            Self::Steps(steps) => steps.iter().enumerate().try_for_each(|(nth, step)| match step {
                Step::Key(key) if nth == 0 => f.write_str(key),
                Step::Key(key) => write!(f, ".{key}"),
                Step::Index(index) => write!(f, "[{index}]"),
                Step::Any => f.write_str("[*]"),
            }),
        }
    }
}

/// The first of several places where something stands.
pub(crate) fn first<'a>(paths: &[Path], content: &'a Content<'_>) -> Option<Cow<'a, str>> {
    paths.iter().find_map(|path| path.find(content))
}

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "$body" {
            return Ok(Self::Body);
        }
        if let Some(name) = text.strip_prefix("$header.") {
            let name = name.parse::<HeaderName>().map_err(|_| format!("`{name}` is not a header's name"))?;
            return Ok(Self::Header(name.as_str().to_owned()));
        }
        let bad =
            || format!("`{text}` is not a path; write one like `sid`, `messages[0].status`, `[0].msg_id` or `$body`");
        let mut steps = Vec::new();
        for (nth, part) in text.split('.').enumerate() {
            let (key, mut rest) = part.find('[').map_or((part, ""), |at| part.split_at(at));
            // A part is a key, indices, or both; only the first may lack a key.
            if key.is_empty() && (nth > 0 || rest.is_empty()) || key.contains([']', '$']) {
                return Err(bad());
            }
            match key {
                "" => {}
                "*" => steps.push(Step::Any),
                key => steps.push(Step::Key(key.to_owned())),
            }
            while !rest.is_empty() {
                let (index, after) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')).ok_or_else(bad)?;
                steps.push(if index == "*" { Step::Any } else { Step::Index(index.parse().map_err(|_| bad())?) });
                rest = after;
            }
        }
        Ok(Self::Steps(steps))
    }
}

impl TryFrom<String> for Path {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use proptest::prelude::*;

    use super::*;

    fn found(path: &str, json: &str) -> Option<String> {
        let content = Content { json: serde_json::from_str(json).ok(), text: None, headers: None };
        path.parse::<Path>().unwrap().find(&content).map(Cow::into_owned)
    }

    #[test]
    fn finds_scalars() {
        let json = r#"{"a":{"b":[{"c":" x "},7]},"n":null,"e":"","t":true,"f":1.5,"o":{}}"#;
        assert_eq!(found("a.b[0].c", json).as_deref(), Some("x"));
        assert_eq!(found("a.b[1]", json).as_deref(), Some("7"));
        assert_eq!(found("t", json).as_deref(), Some("true"));
        for nothing in ["a.b[2]", "a.x", "n", "e", "f", "o", "a[0]", "[0]", "$body"] {
            assert_eq!(found(nothing, json), None, "{nothing}");
        }
        assert_eq!(found("a.*[*].c", json).as_deref(), Some("x"));
        assert_eq!(found("sms.*.code", r#"{"sms":{"255694230173":{"code":100}}}"#).as_deref(), Some("100"));
        assert_eq!(found("[0].id", r#"[{"id":18446744073709551615}]"#).as_deref(), Some("18446744073709551615"));
        assert_eq!(found("[0].id", r#"[{"id":18446744073709551616}]"#), None);
    }

    #[test]
    fn refuses_what_is_no_path() {
        for text in ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a]", "a[0]b", "$json", "a.[0]"] {
            assert!(text.parse::<Path>().is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(path in "\\PC*", json in "[\\[\\]{}\":,a-c0-9. ]*") {
            if let Ok(path) = path.parse::<Path>() {
                path.find(&Content { json: serde_json::from_str(&json).ok(), text: Some(json.as_str().into()), headers: None });
            }
        }
    }
}
