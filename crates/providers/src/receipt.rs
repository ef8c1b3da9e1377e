//! A provider's later word about a message.
//!
//! Reading one is a pure function: headers, body, the time and the provider's configuration go in, a receipt or a refusal comes
//! out. It does not know which messages exist; whoever does decides what a receipt changes, and makes late, repeated and
//! out-of-order ones harmless. A captured receipt can be played again for five minutes, and then says what it said before.

use countersign::core::verification::DeliveryStatus;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde_json::Value;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::build::descriptor_of;
use crate::config::{ProviderConfig, ProviderError};
use crate::descriptor::{ReceiptAuth, ReceiptFormat, Receipts};
use crate::hush;
use crate::path::{Content, first};
use crate::standard_webhooks::{self, InvalidKey, Key, Unsigned};

/// What a provider reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The provider's id for the message, or the delivery's (`dl_…`).
    pub reference: String,
    /// What became of it.
    pub status: ReceiptStatus,
    /// The provider's reason, cut down to what can be shown.
    pub error: Option<String>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReceiptStatus {
    /// The provider has it.
    Accepted,
    /// The person has it.
    Delivered,
    /// It was handed on and did not arrive.
    Undelivered,
    /// It was never handed on.
    Failed,
}

impl From<ReceiptStatus> for DeliveryStatus {
    fn from(status: ReceiptStatus) -> Self {
        match status {
            ReceiptStatus::Accepted => Self::Accepted,
            ReceiptStatus::Delivered => Self::Delivered,
            ReceiptStatus::Undelivered => Self::Undelivered,
            ReceiptStatus::Failed => Self::Failed,
        }
    }
}

/// Why a report is not believed, or not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptRefused {
    /// This provider does not report back, or not in a way that we understand.
    #[error("this provider has no receipts")]
    NotExpected,
    /// The secret that its receipts would be believed by is not configured.
    #[error("no receipt of this provider can be believed: its secret is not configured")]
    NoSecret,
    /// The signature.
    #[error(transparent)]
    Unsigned(#[from] Unsigned),
    /// The secret in the path is missing or wrong.
    #[error("the secret in the path is not this provider's")]
    WrongSecret,
    /// The body is not of the form that the provider's reports have.
    #[error("the report cannot be read")]
    Unreadable,
    /// It names no message.
    #[error("the report names no message")]
    NoReference,
    /// Its status is a word that we do not know.
    #[error("the report's status is unknown")]
    UnknownStatus,
}

impl ReceiptRefused {
    /// Whether the reporter did not prove who it is (HTTP 401), rather than being misunderstood (400).
    #[must_use]
    pub const fn is_unauthenticated(&self) -> bool {
        matches!(self, Self::NotExpected | Self::NoSecret | Self::Unsigned(_) | Self::WrongSecret)
    }
}

/// One report, as it came in.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptRequest<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The body, byte for byte: that is what is signed. For a GET, the query.
    pub body: &'a [u8],
    /// What stands in the path behind the provider's name, if anything.
    pub path_secret: Option<&'a str>,
    /// Seconds since the epoch.
    pub now: i64,
}

/// Reads a report once. Whoever reads many keeps a [`ReceiptReader`].
///
/// # Errors
/// [`ReceiptRefused`] says why it is not believed or not understood.
pub fn read_receipt(config: &ProviderConfig, request: &ReceiptRequest<'_>) -> Result<Receipt, ReceiptRefused> {
    ReceiptReader::new(config).map_err(|_| ReceiptRefused::NoSecret)?.read(request)
}

/// Reads the reports of one provider.
#[derive(Debug)]
pub struct ReceiptReader(Option<Reader>);

struct Reader {
    rules: &'static Receipts,
    lock: Lock,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

enum Lock {
    Signature(Key),
    Path(Zeroizing<String>),
    /// The secret is not configured.
    Shut,
}

impl ReceiptReader {
    /// A reader for the provider of that row. A provider without receipts, or without the secret for them, gives a reader that
    /// refuses everything.
    ///
    /// # Errors
    /// [`ProviderError`] if the row uses no provider that there is, or its secret cannot be one.
    pub fn new(config: &ProviderConfig) -> Result<Self, ProviderError> {
        let Some(rules) = &descriptor_of(config)?.receipts else { return Ok(Self(None)) };
        let field = rules.auth.field();
        let lock = match (&rules.auth, config.get(field)) {
            (_, None) => Lock::Shut,
            (ReceiptAuth::StandardWebhooks { .. }, Some(secret)) => {
                Lock::Signature(secret.parse().map_err(|error: InvalidKey| ProviderError::BadField {
                    provider: config.name.clone(),
                    field: field.to_owned(),
                    problem: error.to_string(),
                })?)
            }
            (ReceiptAuth::PathSecret { .. }, Some(secret)) => Lock::Path(Zeroizing::new(secret.to_owned())),
        };
        Ok(Self(Some(Reader { rules, lock })))
    }

    /// Reads one report.
    ///
    /// # Errors
    /// [`ReceiptRefused`] says why it is not believed or not understood.
    pub fn read(&self, request: &ReceiptRequest<'_>) -> Result<Receipt, ReceiptRefused> {
        let Some(Reader { rules, lock }) = &self.0 else { return Err(ReceiptRefused::NotExpected) };
        lock.open(request)?;
        let content = content(rules.format, request.body).ok_or(ReceiptRefused::Unreadable)?;
        let reference = first(&rules.id, &content).ok_or(ReceiptRefused::NoReference)?;
        if !hush::is_id(&reference) {
            return Err(ReceiptRefused::NoReference);
        }
        let status = first(&rules.status, &content).ok_or(ReceiptRefused::UnknownStatus)?;
        let statuses = &rules.statuses;
        let status = [
            (&statuses.accepted, ReceiptStatus::Accepted),
            (&statuses.delivered, ReceiptStatus::Delivered),
            (&statuses.undelivered, ReceiptStatus::Undelivered),
            (&statuses.failed, ReceiptStatus::Failed),
        ]
        .into_iter()
        .find(|(words, _)| words.iter().any(|word| word.eq_ignore_ascii_case(&status)))
        .map(|(_, status)| status)
        .ok_or(ReceiptRefused::UnknownStatus)?;
        let error = first(&rules.error, &content).and_then(|error| hush::receipt_error(&error));
        Ok(Receipt { reference: reference.into_owned(), status, error })
    }
}

impl Lock {
    fn open(&self, request: &ReceiptRequest<'_>) -> Result<(), ReceiptRefused> {
        match self {
            Self::Shut => Err(ReceiptRefused::NoSecret),
            Self::Signature(key) => {
                let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok());
                let id = header(standard_webhooks::ID);
                let timestamp = header(standard_webhooks::TIMESTAMP);
                let signature = header(standard_webhooks::SIGNATURE);
                Ok(key.verify(id, timestamp, signature, request.body, request.now)?)
            }
            Self::Path(secret) => {
                let given = request.path_secret.unwrap_or_default();
                let same: bool = given.as_bytes().ct_eq(secret.as_bytes()).into();
                if same { Ok(()) } else { Err(ReceiptRefused::WrongSecret) }
            }
        }
    }
}

fn content(format: ReceiptFormat, body: &[u8]) -> Option<Content<'static>> {
    let json = match format {
        ReceiptFormat::Json => serde_json::from_slice(body).ok()?,
        ReceiptFormat::Form => {
            // The URL type knows forms; the host is never called.
            let mut url = Url::parse("http://form.invalid/").ok()?;
            url.set_query(Some(std::str::from_utf8(body).ok()?));
            let fields = url.query_pairs().map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())));
            Value::Object(fields.collect())
        }
    };
    Some(Content { json: Some(json), text: None })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_form_is_read_like_an_object() {
        let content = content(ReceiptFormat::Form, b"MessageSid=SM1&Status=sent+%26+%22gone%22&x").unwrap();
        let find =
            |path: &str| path.parse::<crate::path::Path>().unwrap().find(&content).map(|value| value.into_owned());
        assert_eq!(find("MessageSid").as_deref(), Some("SM1"));
        assert_eq!(find("Status").as_deref(), Some("sent & \"gone\""));
        assert_eq!(find("x"), None);
    }

    #[test]
    fn a_secret_in_the_path_opens_only_if_it_is_the_one() {
        let lock = Lock::Path(Zeroizing::new("a-secret".to_owned()));
        let headers = HeaderMap::new();
        let open = |path_secret| lock.open(&ReceiptRequest { headers: &headers, body: b"", path_secret, now: 0 });
        assert_eq!(open(Some("a-secret")), Ok(()));
        for wrong in [None, Some(""), Some("a-secre"), Some("a-secret "), Some("A-SECRET")] {
            assert_eq!(open(wrong), Err(ReceiptRefused::WrongSecret), "{wrong:?}");
        }
    }

    #[test]
    fn providers_without_receipts_refuse_them() {
        let twilio = ProviderConfig::new("tw", "twilio");
        let request = ReceiptRequest { headers: &HeaderMap::new(), body: b"{}", path_secret: None, now: 0 };
        assert_eq!(read_receipt(&twilio, &request), Err(ReceiptRefused::NotExpected));
        let unsigned = ProviderConfig::new("gw", "webhook").with("url", "http://127.0.0.1/");
        assert_eq!(read_receipt(&unsigned, &request), Err(ReceiptRefused::NoSecret));
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            content(ReceiptFormat::Json, &body);
            content(ReceiptFormat::Form, &body);
        }
    }
}
