//! What an answer, or a receipt, means.

use countersign::core::outcome;
use serde::{Deserialize, Deserializer};

use crate::path::{Content, Path};
use crate::sign::{HmacRule, Parts};

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

impl Failure {
    /// When it holds, for people.
    pub(crate) fn shown(&self) -> String {
        let statuses = self.status.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let mut parts: Vec<_> = (!statuses.is_empty()).then(|| format!("HTTP {statuses}")).into_iter().collect();
        for condition in &self.when {
            parts.push(match condition.present {
                Some(present) => format!("{}{}", condition.places(), if present { "" } else { " is missing" }),
                None => format!("{}: {}", condition.places(), condition.words().join(", ")),
            });
        }
        parts.join(", and ")
    }
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
    /// As a descriptor writes it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::RetryElsewhere => "retry_elsewhere",
            Self::RetryLater => "retry_later",
            Self::GiveUp => "give_up",
            Self::BlameNumber => "blame_number",
            Self::Unknown => "unknown",
        }
    }

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

impl std::fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}xx", self.from / 100) }
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

    /// Where it looks, for people.
    fn places(&self) -> String {
        self.field.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(" or ")
    }

    /// What it compares with, for people.
    fn words(&self) -> Vec<String> {
        let with = |words: &[String], before: &str, after: &str| -> Vec<String> {
            words.iter().map(|word| format!("{before}{word}{after}")).collect()
        };
        [
            with(&self.equals, "", ""),
            with(&self.starts_with, "", "…"),
            with(&self.ends_with, "…", ""),
            with(&self.contains, "…", "…"),
        ]
        .concat()
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
    /// What makes a report one of deliveries: others that come to the same address are taken and change nothing.
    #[serde(default)]
    pub when: Vec<Condition>,
    /// Where the reports stand, if one call holds several. The paths below then begin there.
    pub each: Option<Path>,
    /// Where the message's id stands: the provider's, or the delivery's.
    pub id: Vec<Path>,
    pub status: Vec<Path>,
    #[serde(default)]
    pub error: Vec<Path>,
    pub statuses: Statuses,
    /// How the provider makes sure that the address is ours, before it reports to it.
    pub handshake: Option<Handshake>,
    /// What the provider wants to hear for a report that was taken, where any success is not enough: the text of a 200.
    pub reply: Option<String>,
    /// What an operator does so that reports come.
    pub setup: Option<String>,
}

/// Why a receipt is believed: a closed list. The field is one of the provider's secrets; while it is not set, no receipt is.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ReceiptAuth {
    /// The body is signed by the Standard Webhooks specification.
    StandardWebhooks {
        field: String,
        /// What its headers begin with: `webhook`, or `svix`.
        #[serde(default = "webhook")]
        headers: String,
    },
    /// The secret stands in the path that the provider was told to call.
    PathSecret { field: String },
    /// An HMAC in a header.
    Hmac { field: String, rule: HmacRule },
    /// An Ed25519 signature in a header, in base64; the field is the public key, in base64.
    Ed25519 { field: String, header: String, timestamp_header: String, over: Parts },
    /// A JWT (HS256) in a header.
    Jwt {
        field: String,
        header: String,
        #[serde(default)]
        prefix: String,
        /// The claim that holds the SHA-256 of the body, in hexadecimal.
        body_hash: Option<String>,
    },
    /// `X-Twilio-Signature`: HMAC-SHA1 over our address and the form.
    Twilio { field: String },
    /// The parameter `sig`: HMAC-SHA256 over the other parameters, in order.
    Vonage { field: String },
}

fn webhook() -> String {
    "webhook".to_owned()
}

impl ReceiptAuth {
    pub(crate) fn field(&self) -> &str {
        match self {
            Self::StandardWebhooks { field, .. }
            | Self::PathSecret { field }
            | Self::Hmac { field, .. }
            | Self::Ed25519 { field, .. }
            | Self::Jwt { field, .. }
            | Self::Twilio { field }
            | Self::Vonage { field } => field,
        }
    }

    /// What it is called in documents.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::StandardWebhooks { .. } => "Standard Webhooks signature",
            Self::PathSecret { .. } => "secret in the path",
            Self::Hmac { .. } => "HMAC signature",
            Self::Ed25519 { .. } => "Ed25519 signature",
            Self::Jwt { .. } => "signed JWT",
            Self::Twilio { .. } => "X-Twilio-Signature",
            Self::Vonage { .. } => "signed parameters",
        }
    }

    /// Whether what is signed holds the address that the provider was told to call.
    pub(crate) const fn covers_address(&self) -> bool {
        matches!(self, Self::Twilio { .. })
    }

    pub(crate) const fn is_in_path(&self) -> bool {
        matches!(self, Self::PathSecret { .. })
    }

    /// Whether the field is a public key, which is no secret.
    pub(crate) const fn is_public_key(&self) -> bool {
        matches!(self, Self::Ed25519 { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ReceiptFormat {
    Json,
    /// Fields of a form, in the body or in the query.
    Form,
    /// JSON if it is, else a form.
    Any,
}

/// What is asked of us, and answered, before reports come.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Handshake {
    /// Meta: a GET with `hub.verify_token` is answered with its `hub.challenge`. The field is the token.
    Meta { field: String },
    /// Azure Event Grid: a first event with a `validationCode` is answered with it.
    EventGrid,
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
