//! A provider as data.
//!
//! The format is described for whoever adds one in `descriptors/README.md`. Everything in a descriptor is checked when it is
//! read, so that a descriptor that was read can be built and can carry: templates compile and use no unknown name, conditions
//! compare something with something, headers are headers. Unknown keys are refused. There is no scripting.

mod fields;
mod rules;
mod shape;
mod validate;

use countersign::core::channel::Channel;
use serde::{Deserialize, Deserializer};

pub use fields::{Field, SenderRule};
pub(crate) use rules::{Condition, Meaning, ReceiptAuth, ReceiptFormat, Receipts};
pub(crate) use shape::{Auth, Http, Leaf, Method, Node, Pairs};

/// A provider: what it is called, what it needs, and, for those spoken to over HTTP, how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Descriptor {
    /// What `uses` names.
    pub name: String,
    /// Its name for people.
    pub title: String,
    /// What it is, in a sentence or two.
    pub summary: String,
    /// Where its own documentation stands.
    pub docs: String,
    /// What it can carry.
    #[serde(deserialize_with = "channels")]
    pub channels: Vec<Channel>,
    /// What an operator should know before using it.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Where what stands in the descriptor was read.
    #[serde(default)]
    pub sources: Vec<String>,
    /// What it needs to know, credentials above all.
    #[serde(default)]
    pub fields: Vec<Field>,
    /// Which field names the sender.
    pub sender: Option<SenderRule>,
    pub(crate) http: Option<Http>,
    pub(crate) receipts: Option<Receipts>,
}

/// A descriptor that cannot be used: which file, which part of it, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {field}: {problem}")]
pub struct DescriptorError {
    /// The file.
    pub file: String,
    /// The part, as a path of keys; `line …` where the text is not TOML, or not of the format.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

impl Descriptor {
    /// Reads a descriptor. `file` is what errors call it.
    ///
    /// # Errors
    /// [`DescriptorError`] names the file and the field.
    pub fn parse(file: &str, text: &str) -> Result<Self, DescriptorError> {
        let mut descriptor: Self = toml::from_str(text).map_err(|error| DescriptorError {
            file: file.to_owned(),
            field: line(text, error.span()),
            problem: error.message().to_owned(),
        })?;
        if let Some(http) = &descriptor.http {
            descriptor.fields.push(Field::base_url(http.base_url.literal()));
        }
        validate::check(&descriptor).map_err(|(field, problem)| DescriptorError {
            file: file.to_owned(),
            field,
            problem,
        })?;
        Ok(descriptor)
    }

    /// Whether it is spoken to over HTTP; the others are code.
    #[must_use]
    pub const fn is_http(&self) -> bool {
        self.http.is_some()
    }

    /// Whether it reports deliveries back.
    #[must_use]
    pub const fn has_receipts(&self) -> bool {
        self.receipts.is_some()
    }

    /// The field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// Where an error stands: the line, and the key on it if there is one.
fn line(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let Some(span) = span else { return "line 1".to_owned() };
    let before = text.get(..span.start).unwrap_or(text);
    let number = before.matches('\n').count() + 1;
    let content = text.lines().nth(number - 1).unwrap_or_default();
    let key = content.split_once('=').map_or(content, |(key, _)| key).trim();
    format!("line {number} (`{key}`)")
}

fn channels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Channel>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names
        .iter()
        .map(|name| name.parse().map_err(|error| serde::de::Error::custom(format!("`{name}`: {error}"))))
        .collect()
}
