//! A provider's later word about a message.
//!
//! Reading one is a pure function: headers, body, the time and the provider's configuration go in, a receipt or a refusal comes
//! out. It does not know which messages exist; whoever does decides what a receipt changes, and makes late, repeated and
//! out-of-order ones harmless. A captured receipt can be played again for five minutes, and then says what it said before.

use std::sync::Arc;

use countersign::core::outcome::Message;
use countersign::core::verification::DeliveryStatus;
use reqwest::Url;
use reqwest::header::HeaderMap;
use serde_json::Value;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::build::{descriptor_of, with_fields};
use crate::config::{ProviderConfig, ProviderError};
use crate::descriptor::{Descriptor, Handshake, ReceiptFormat, Receipts, Spoken, Statuses};
use crate::hush;
use crate::path::{Content, first};
use crate::request::bind_xml;
use crate::standard_webhooks::Unsigned;
use crate::template::{Template, Vars};

mod lock;

use lock::Lock;

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
    /// The provider's own signature.
    #[error("the signature is missing, or is not one of this provider over this report")]
    BadSignature,
    /// A right signature of another time: a replay, or a clock that is wrong.
    #[error("the report was signed more than five minutes away from our clock")]
    Stale,
    /// The signature covers our address, which is not configured.
    #[error("no report of this provider can be believed: set `receipts_url`, or server.public_url")]
    NoAddress,
}

impl ReceiptRefused {
    /// Whether the reporter did not prove who it is (HTTP 401), rather than being misunderstood (400).
    #[must_use]
    pub const fn is_unauthenticated(&self) -> bool {
        match self {
            Self::NotExpected
            | Self::NoSecret
            | Self::Unsigned(_)
            | Self::WrongSecret
            | Self::BadSignature
            | Self::Stale
            | Self::NoAddress => true,
            Self::Unreadable | Self::NoReference | Self::UnknownStatus => false,
        }
    }
}

/// One report, as it came in.
#[derive(Clone, Copy, Debug)]
pub struct ReceiptRequest<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The body, byte for byte: that is what is signed. For a GET, the query.
    pub body: &'a [u8],
    /// Whether it came by GET, so that the body is the query.
    pub by_get: bool,
    /// What stands in the path behind the provider's name, if anything.
    pub path_secret: Option<&'a str>,
    /// Seconds since the epoch.
    pub now: i64,
}

/// Reads a report once. Whoever reads many keeps a [`ReceiptReader`].
///
/// # Errors
/// [`ReceiptRefused`] says why it is not believed or not understood.
pub fn read_receipt(config: &ProviderConfig, request: &ReceiptRequest<'_>) -> Result<Vec<Receipt>, ReceiptRefused> {
    ReceiptReader::new(config).map_err(|_| ReceiptRefused::NoSecret)?.read(request)
}

/// Reads the reports of one provider.
#[derive(Debug)]
pub struct ReceiptReader(Option<Reader>);

struct Reader {
    descriptor: Arc<Descriptor>,
    lock: Lock,
    /// What a handshake must name.
    token: Option<Zeroizing<String>>,
    /// Where the provider is set up to ask for a key, what its reports then mean, and what is said on the call.
    asks: bool,
    speech: Option<Template>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl ReceiptReader {
    /// A reader for the provider of that row. A provider without receipts, or without the secret for them, gives a reader that
    /// refuses everything.
    ///
    /// # Errors
    /// [`ProviderError`] if the row uses no provider that there is, or its secret cannot be one.
    pub fn new(config: &ProviderConfig) -> Result<Self, ProviderError> {
        let descriptor = descriptor_of(config)?;
        let Some(rules) = &descriptor.receipts else { return Ok(Self(None)) };
        let lock = Lock::new(&rules.auth, config)?;
        let token = match &rules.handshake {
            Some(Handshake::Meta { field }) => config.get(field).map(|token| Zeroizing::new(token.to_owned())),
            Some(Handshake::EventGrid) | None => None,
        };
        let keypress = descriptor.keypress_of(config);
        let speech = match keypress.and_then(|keypress| keypress.answer.as_ref()) {
            Some(answer) => Some(with_fields(config, &descriptor, |fields| bind_xml(&answer.xml, fields))?),
            None => None,
        };
        let asks = keypress.is_some();
        Ok(Self(Some(Reader { lock, token, asks, speech, descriptor: Arc::clone(&descriptor) })))
    }

    /// Whether a call says that a key was pressed, on the call whose address ends in `tail`; `false` if it says that none was.
    ///
    /// # Errors
    /// [`ReceiptRefused`] if it is not believed or not understood, or no key is asked for.
    pub fn key_was_pressed(&self, request: &ReceiptRequest<'_>, tail: &str) -> Result<bool, ReceiptRefused> {
        let Some((Reader { lock, .. }, answer)) = self.speaker() else { return Err(ReceiptRefused::NotExpected) };
        lock.open_at(request, tail)?;
        let content = content(answer.format, request).ok_or(ReceiptRefused::Unreadable)?;
        Ok(answer.when.iter().all(|condition| condition.holds(&content)))
    }

    /// What is said to the provider then: the code of this message, or what ends the call. XML, which is for nobody else's eyes.
    #[must_use]
    pub fn speech(&self, message: Option<&Message>) -> Option<Zeroizing<String>> {
        let (reader, answer) = self.speaker()?;
        if let (Some(message), Some(speech)) = (message, &reader.speech) {
            let mut text = Zeroizing::new(String::with_capacity(1024));
            if speech.render(&Vars::of(message, 0), &mut text).is_ok() {
                return Some(text);
            }
        }
        answer.otherwise.literal().map(Zeroizing::new)
    }

    fn speaker(&self) -> Option<(&Reader, &Spoken)> {
        let reader = self.0.as_ref().filter(|reader| reader.speech.is_some())?;
        Some((reader, reader.descriptor.keypress.as_ref()?.answer.as_ref()?))
    }

    /// Reads one call: the reports that it holds, or none, where it is about something else.
    ///
    /// # Errors
    /// [`ReceiptRefused`] says why it is not believed or not understood.
    pub fn read(&self, request: &ReceiptRequest<'_>) -> Result<Vec<Receipt>, ReceiptRefused> {
        let Some(reader @ Reader { descriptor, lock, .. }) = &self.0 else { return Err(ReceiptRefused::NotExpected) };
        let Some(rules) = &descriptor.receipts else { return Err(ReceiptRefused::NotExpected) };
        lock.open(request)?;
        let content = content(rules.format, request).ok_or(ReceiptRefused::Unreadable)?;
        let Some(each) = &rules.each else {
            return if about_deliveries(rules, &content) {
                Ok(vec![reader.one(rules, &content)?])
            } else {
                Ok(Vec::new())
            };
        };
        let whole = content.json.as_ref().ok_or(ReceiptRefused::Unreadable)?;
        let mut receipts = Vec::new();
        for item in each.all(whole) {
            let item = Content { json: Some(item.clone()), ..Content::default() };
            if about_deliveries(rules, &item) {
                receipts.push(reader.one(rules, &item)?);
            }
        }
        Ok(receipts)
    }

    /// What the provider wants to hear for a report that was taken: the text of a 200. `None` if any success is enough.
    #[must_use]
    pub fn reply(&self) -> Option<&str> {
        self.0.as_ref()?.descriptor.receipts.as_ref()?.reply.as_deref()
    }

    /// What is to be answered if the call only asks whether this address is ours; `None` if it is a report.
    ///
    /// # Errors
    /// If it asks so, and does not prove who it is.
    pub fn handshake(&self, request: &ReceiptRequest<'_>) -> Result<Option<String>, ReceiptRefused> {
        let Some(Reader { descriptor, lock, token, .. }) = &self.0 else { return Ok(None) };
        let Some(Some(handshake)) = descriptor.receipts.as_ref().map(|rules| &rules.handshake) else { return Ok(None) };
        match handshake {
            Handshake::Meta { .. } => {
                let form = content(ReceiptFormat::Form, request).and_then(|content| content.json);
                let find = |name: &str| form.as_ref().and_then(|form| form.get(name)).and_then(Value::as_str);
                if !request.by_get || find("hub.mode") != Some("subscribe") {
                    return Ok(None);
                }
                let (token, given) = (token.as_ref().ok_or(ReceiptRefused::NoSecret)?, find("hub.verify_token"));
                let same: bool = given.unwrap_or_default().as_bytes().ct_eq(token.as_bytes()).into();
                if !same {
                    return Err(ReceiptRefused::WrongSecret);
                }
                find("hub.challenge")
                    .filter(|text| is_challenge(text))
                    .map(|text| Some(text.to_owned()))
                    .ok_or(ReceiptRefused::Unreadable)
            }
            Handshake::EventGrid => {
                let json = content(ReceiptFormat::Json, request).and_then(|content| content.json);
                let event = json.as_ref().and_then(|json| json.get(0));
                let kind = event.and_then(|event| event.get("eventType")).and_then(Value::as_str);
                if kind != Some("Microsoft.EventGrid.SubscriptionValidationEvent") {
                    return Ok(None);
                }
                lock.open(request)?;
                let code = event.and_then(|event| event.pointer("/data/validationCode")).and_then(Value::as_str);
                let code = code.filter(|code| is_challenge(code)).ok_or(ReceiptRefused::Unreadable)?;
                Ok(Some(serde_json::json!({"validationResponse": code}).to_string()))
            }
        }
    }
}

/// What is given back must be no page.
fn is_challenge(text: &str) -> bool {
    (1..=256).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn about_deliveries(rules: &Receipts, content: &Content<'_>) -> bool {
    rules.when.iter().all(|condition| condition.holds(content))
}

impl Reader {
    fn one(&self, rules: &Receipts, content: &Content<'_>) -> Result<Receipt, ReceiptRefused> {
        let reference = first(&rules.id, content).ok_or(ReceiptRefused::NoReference)?;
        if !hush::is_id(&reference) {
            return Err(ReceiptRefused::NoReference);
        }
        let word = first(&rules.status, content).ok_or(ReceiptRefused::UnknownStatus)?;
        let usual = meaning(&rules.statuses, &word);
        let with_key = self.descriptor.keypress.as_ref().filter(|_| self.asks);
        let meant = with_key.and_then(|keypress| keypress.statuses.as_ref()).and_then(|words| meaning(words, &word));
        let status = meant.or(usual).ok_or(ReceiptRefused::UnknownStatus)?;
        let mut error = first(&rules.error, content).and_then(|error| hush::receipt_error(&error));
        // The call was answered. Had a key been pressed, we would have been asked for the code before.
        if usual == Some(ReceiptStatus::Delivered) && meant == Some(ReceiptStatus::Undelivered) {
            error = Some(NO_KEY.to_owned());
        }
        Ok(Receipt { reference: reference.into_owned(), status, error })
    }
}

/// Why a call that was answered brought nobody a code.
const NO_KEY: &str = "no key was pressed";

fn meaning(statuses: &Statuses, word: &str) -> Option<ReceiptStatus> {
    [
        (&statuses.accepted, ReceiptStatus::Accepted),
        (&statuses.delivered, ReceiptStatus::Delivered),
        (&statuses.undelivered, ReceiptStatus::Undelivered),
        (&statuses.failed, ReceiptStatus::Failed),
    ]
    .into_iter()
    .find(|(words, _)| words.iter().any(|known| known.eq_ignore_ascii_case(word)))
    .map(|(_, status)| status)
}

fn content(format: ReceiptFormat, request: &ReceiptRequest<'_>) -> Option<Content<'static>> {
    let json = match format {
        ReceiptFormat::Json => serde_json::from_slice(request.body).ok()?,
        ReceiptFormat::Any if !request.by_get => {
            serde_json::from_slice(request.body).ok().or_else(|| form(request.body))?
        }
        ReceiptFormat::Form | ReceiptFormat::Any => form(request.body)?,
    };
    Some(Content { json: Some(json), ..Content::default() })
}

fn form(body: &[u8]) -> Option<Value> {
    Some(Value::Object(pairs(body)?.into_iter().map(|(name, value)| (name, Value::String(value))).collect()))
}

/// The names and values of a form, in its order.
fn pairs(body: &[u8]) -> Option<Vec<(String, String)>> {
    // The URL type knows forms; the host is never called.
    let mut url = Url::parse("http://form.invalid/").ok()?;
    url.set_query(Some(std::str::from_utf8(body).ok()?));
    Some(url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    static NO_HEADERS: LazyLock<HeaderMap> = LazyLock::new(HeaderMap::new);

    fn by_get(body: &[u8]) -> ReceiptRequest<'_> {
        ReceiptRequest { headers: &NO_HEADERS, body, by_get: true, path_secret: None, now: 0 }
    }

    #[test]
    fn a_form_is_read_like_an_object() {
        let request = by_get(b"MessageSid=SM1&Status=sent+%26+%22gone%22&x");
        let content = content(ReceiptFormat::Form, &request).unwrap();
        let find =
            |path: &str| path.parse::<crate::path::Path>().unwrap().find(&content).map(|value| value.into_owned());
        assert_eq!(find("MessageSid").as_deref(), Some("SM1"));
        assert_eq!(find("Status").as_deref(), Some("sent & \"gone\""));
        assert_eq!(find("x"), None);
    }

    #[test]
    fn providers_without_receipts_refuse_them() {
        let mute = ProviderConfig::new("tz", "mshastra");
        let request = by_get(b"");
        assert_eq!(read_receipt(&mute, &request), Err(ReceiptRefused::NotExpected));
        let unsigned = ProviderConfig::new("gw", "webhook").with("url", "http://127.0.0.1/");
        assert_eq!(read_receipt(&unsigned, &request), Err(ReceiptRefused::NoSecret));
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            for format in [ReceiptFormat::Json, ReceiptFormat::Form, ReceiptFormat::Any] {
                content(format, &by_get(&body));
                content(format, &ReceiptRequest { by_get: false, ..by_get(&body) });
            }
        }
    }
}
