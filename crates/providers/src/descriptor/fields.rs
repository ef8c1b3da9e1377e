//! What an operator fills in.

use serde::Deserialize;

/// One thing that a provider needs to know: a key of its `[[providers]]` row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// The key.
    pub name: String,
    /// What it is, and where it is found.
    pub help: String,
    /// Whether it must not be shown: it may then also be given as `<name>_file`.
    #[serde(default)]
    pub secret: bool,
    /// Whether the provider cannot do without.
    #[serde(default)]
    pub required: bool,
    /// What holds where it is not set.
    pub default: Option<String>,
    /// What one looks like.
    pub example: Option<String>,
}

impl Field {
    /// Every HTTP provider can be pointed elsewhere: at a test double, a proxy, another region.
    pub(super) fn base_url(default: Option<String>) -> Self {
        Self {
            name: super::validate::BASE_URL.to_owned(),
            help: "the address that requests go to, without the path; for tests, proxies and other regions".to_owned(),
            secret: false,
            required: false,
            default,
            example: Some("http://127.0.0.1:9000".to_owned()),
        }
    }

    /// Where a provider that is told so with each message sends its reports.
    pub(super) fn receipts_url() -> Self {
        Self {
            name: super::validate::RECEIPTS_URL.to_owned(),
            help: "the address that delivery reports are asked for at, without the secret; if not set, /v1/receipts/<name> under server.public_url, where that is set".to_owned(),
            secret: false,
            required: false,
            default: None,
            example: Some("https://otp.example.com/v1/receipts/gateway".to_owned()),
        }
    }
}

/// Which field names the sender that the person sees.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SenderRule {
    /// The field.
    pub field: String,
    /// Fields that can stand in for it: an account's pool of senders.
    #[serde(default)]
    pub or: Vec<String>,
    /// Whether the provider needs one of them.
    #[serde(default)]
    pub required: bool,
    /// The most characters that the provider takes.
    pub max_length: Option<usize>,
}
