//! A provider as data.
//!
//! The format is described for whoever adds one in `descriptors/README.md`. Everything in a descriptor is checked when it is
//! read, so that a descriptor that was read can be built and can carry: templates compile and use no unknown name, conditions
//! compare something with something, headers are headers. Unknown keys are refused. There is no scripting.

mod fields;
mod keypress;
mod place;
mod rules;
mod shape;
mod validate;

use countersign::core::channel::Channel;
use countersign::core::destination::Country;
use serde::{Deserialize, Deserializer};

pub use fields::{Field, SenderRule};
pub(crate) use keypress::{KEYPRESS, Keypress, PROMPT, Spoken, Switch};
pub(crate) use rules::{Condition, Handshake, Meaning, ReceiptAuth, ReceiptFormat, Receipts, Statuses};
pub(crate) use shape::{Auth, Http, Leaf, Method, Node, Pairs, Writing};
pub(crate) use validate::RECEIPTS_URL;

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
    /// The countries whose numbers it reaches, where those are few; a message to any other is not handed to it.
    #[serde(default, deserialize_with = "countries")]
    pub countries: Vec<Country>,
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
    pub(crate) keypress: Option<Keypress>,
}

/// A descriptor that cannot be used: which file, which part of it, and what is wrong there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {field}: {problem}", line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct DescriptorError {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: Option<usize>,
    /// The part, as a path of keys.
    pub field: String,
    /// What is wrong, and what to write instead.
    pub problem: String,
}

impl DescriptorError {
    /// Something that is wrong with a file as a whole.
    pub(crate) fn of(file: &str, field: &str, problem: String) -> Self {
        Self { file: file.to_owned(), line: None, field: field.to_owned(), problem }
    }

    /// Something that is wrong with a part of a text.
    pub(crate) fn at(file: &str, text: &str, field: &str, problem: String) -> Self {
        Self { line: place::line_of(text, field), ..Self::of(file, field, problem) }
    }

    /// What the parser says.
    pub(crate) fn toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let (line, key) = place::line_and_key(text, error.span());
        Self { line: Some(line), ..Self::of(file, key, error.message().to_owned()) }
    }
}

impl Descriptor {
    /// Reads a descriptor. `file` is what errors call it.
    ///
    /// # Errors
    /// [`DescriptorError`] names the file and the field.
    pub fn parse(file: &str, text: &str) -> Result<Self, DescriptorError> {
        let mut descriptor: Self = toml::from_str(text).map_err(|error| DescriptorError::toml(file, text, &error))?;
        if let Some(keypress) = &descriptor.keypress {
            descriptor.fields.extend(keypress.fields());
        }
        if let Some(http) = &descriptor.http {
            let told = http.sources().iter().any(|source| source.names().any(|name| name == RECEIPTS_URL));
            let signed = descriptor.receipts.as_ref().is_some_and(|receipts| receipts.auth.covers_address());
            descriptor.fields.push(Field::base_url(http.base_url.literal()));
            if descriptor.receipts.is_some() && (told || signed) {
                descriptor.fields.push(Field::receipts_url());
            }
        }
        validate::check(&descriptor).map_err(|(field, problem)| DescriptorError::at(file, text, &field, problem))?;
        Ok(descriptor)
    }

    /// Whether it reaches this country's numbers, as far as can be said.
    #[must_use]
    pub fn reaches(&self, country: Option<Country>) -> bool {
        self.countries.is_empty() || country.is_some_and(|country| self.countries.contains(&country))
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

    /// Whether it is told with each message where to report to.
    #[must_use]
    pub fn takes_receipts_url(&self) -> bool {
        self.has_receipts() && self.field(RECEIPTS_URL).is_some()
    }

    /// How requests prove whose they are, as `http.auth.kind` calls it; `None` for what is not spoken to over HTTP.
    #[must_use]
    pub fn auth(&self) -> Option<&'static str> {
        self.http.as_ref().map(|http| http.auth.kind())
    }

    /// Why its reports are believed, in words; `None` without receipts.
    #[must_use]
    pub fn receipts_auth(&self) -> Option<&'static str> {
        self.receipts.as_ref().map(|receipts| receipts.auth.kind())
    }

    /// The field that its reports are believed by.
    #[must_use]
    pub fn receipts_field(&self) -> Option<&str> {
        self.receipts.as_ref().map(|receipts| receipts.auth.field())
    }

    /// Whether the secret for its reports stands in their address.
    #[must_use]
    pub fn receipts_secret_is_in_path(&self) -> bool {
        self.receipts.as_ref().is_some_and(|receipts| receipts.auth.is_in_path())
    }

    /// What an operator does at the provider so that reports come.
    #[must_use]
    pub fn receipts_setup(&self) -> Option<&str> {
        self.receipts.as_ref().and_then(|receipts| receipts.setup.as_deref())
    }

    /// Whether it can ask for a key before it speaks a code.
    #[must_use]
    pub const fn can_ask_for_a_key(&self) -> bool {
        self.keypress.is_some()
    }

    /// Whether it then asks us for the code, at an address of ours; else the call itself holds it.
    #[must_use]
    pub fn asks_for_the_code(&self) -> bool {
        self.keypress.as_ref().is_some_and(|keypress| keypress.answer.is_some())
    }

    /// What its refusals mean, row by row, the last one for all others: when, the meaning, and why in words.
    #[must_use]
    pub fn failures(&self) -> Vec<(String, &'static str, &str)> {
        let Some(http) = &self.http else { return Vec::new() };
        let rows = http.failures.iter().map(|row| (row.shown(), row.meaning.as_str(), row.says.as_str()));
        let last = ("anything else".to_owned(), http.otherwise.meaning.as_str(), http.otherwise.says.as_str());
        rows.chain([last]).collect()
    }

    /// The field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

fn countries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Country>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let country = |name: &String| {
        name.parse()
            .map_err(|_| serde::de::Error::custom(format!("`{name}` is no country; write two letters, as `TR`")))
    };
    names.iter().map(country).collect()
}

fn channels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Channel>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names
        .iter()
        .map(|name| name.parse().map_err(|error| serde::de::Error::custom(format!("`{name}`: {error}"))))
        .collect()
}
