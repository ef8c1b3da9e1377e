//! What an answer, or a receipt, means.

use countersign::core::outcome;
use serde::{Deserialize, Deserializer};

use crate::path::{Content, Path};

/// When the provider took the message: the status is one of these, and every condition holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accept {
    pub status: Vec<StatusPattern>,
    #[serde(default)]
    pub when: Vec<Condition>,
    /// Where the provider's own id for the message stands.
    #[serde(default)]
    pub message_id: Vec<Path>,
}

/// What else is read in an answer.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerRule {
    /// Where the provider's error code stands: it is added to the reason, if it is short and plain.
    #[serde(default)]
    pub error_code: Vec<Path>,
}

/// A row of the failure map: if the status is one of these (any, if none is given) and every condition holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failure {
    #[serde(default)]
    pub status: Vec<StatusPattern>,
    #[serde(default)]
    pub when: Vec<Condition>,
    pub meaning: Meaning,
    /// The reason in our words.
    pub says: String,
}

/// The last row.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Otherwise {
    pub meaning: Meaning,
    pub says: String,
}

/// What a failure means for the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Meaning {
    RetryElsewhere,
    RetryLater,
    GiveUp,
    BlameNumber,
    /// It may have been taken: nobody can say.
    Unknown,
}

impl Meaning {
    pub(crate) const fn failure(self) -> Option<outcome::Failure> {
        Some(match self {
            Self::RetryElsewhere => outcome::Failure::RetryElsewhere,
            Self::RetryLater => outcome::Failure::RetryLater,
            Self::GiveUp => outcome::Failure::GiveUp,
            Self::BlameNumber => outcome::Failure::BlameNumber,
            Self::Unknown => return None,
        })
    }
}

/// `200`, or `4xx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct StatusPattern {
    from: u16,
    to: u16,
}

impl StatusPattern {
    pub(crate) const fn fits(self, status: u16) -> bool {
        self.from <= status && status <= self.to
    }
}

impl TryFrom<String> for StatusPattern {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let class = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok());
        match (class, text.parse::<u16>()) {
            (Some(class @ 1..=5), _) => Ok(Self { from: class * 100, to: class * 100 + 99 }),
            (None, Ok(status @ 100..=599)) => Ok(Self { from: status, to: status }),
            _ => Err(format!("`{text}` is no status; write one like \"429\", or a class like \"5xx\"")),
        }
    }
}

/// A value in the answer, and what it must be: any of the paths, any of the comparisons. Case does not count.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Condition {
    pub field: Vec<Path>,
    #[serde(default, deserialize_with = "lower_case")]
    pub equals: Vec<String>,
    #[serde(default, deserialize_with = "lower_case")]
    pub starts_with: Vec<String>,
    #[serde(default, deserialize_with = "lower_case")]
    pub ends_with: Vec<String>,
    #[serde(default, deserialize_with = "lower_case")]
    pub contains: Vec<String>,
    /// Whether anything stands there at all.
    pub present: Option<bool>,
}

impl Condition {
    pub(crate) fn comparisons(&self) -> impl Iterator<Item = &String> {
        [&self.equals, &self.starts_with, &self.ends_with, &self.contains].into_iter().flatten()
    }

    /// Whether the answer is as this says.
    pub(crate) fn holds(&self, content: &Content<'_>) -> bool {
        let mut values = self.field.iter().filter_map(|path| path.find(content));
        match self.present {
            Some(present) => values.next().is_some() == present,
            None => values.any(|value| self.fits(&value.to_ascii_lowercase())),
        }
    }

    fn fits(&self, value: &str) -> bool {
        self.equals.iter().any(|text| value == text)
            || self.starts_with.iter().any(|text| value.starts_with(text))
            || self.ends_with.iter().any(|text| value.ends_with(text))
            || self.contains.iter().any(|text| value.contains(text))
    }
}

fn lower_case<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    Ok(texts.iter().map(|text| text.to_ascii_lowercase()).collect())
}

/// How the provider reports back.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Receipts {
    pub auth: ReceiptAuth,
    pub format: ReceiptFormat,
    /// Where the message's id stands: the provider's, or the delivery's.
    pub id: Vec<Path>,
    pub status: Vec<Path>,
    #[serde(default)]
    pub error: Vec<Path>,
    pub statuses: Statuses,
}

/// Why a receipt is believed. The field is one of the provider's secrets; while it is not set, no receipt is.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ReceiptAuth {
    /// The body is signed by the Standard Webhooks specification.
    StandardWebhooks { field: String },
    /// The secret stands in the path that the provider was told to call.
    PathSecret { field: String },
}

impl ReceiptAuth {
    pub(crate) fn field(&self) -> &str {
        match self {
            Self::StandardWebhooks { field } | Self::PathSecret { field } => field,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReceiptFormat {
    Json,
    /// Fields of a form, in the body or in the query.
    Form,
}

/// The provider's words for what became of a message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statuses {
    #[serde(default)]
    pub accepted: Vec<String>,
    #[serde(default)]
    pub delivered: Vec<String>,
    #[serde(default)]
    pub undelivered: Vec<String>,
    #[serde(default)]
    pub failed: Vec<String>,
}
