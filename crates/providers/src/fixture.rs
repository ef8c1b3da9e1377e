//! What a descriptor is proved by: for each case what goes in, what goes out, what comes back, what it means.
//!
//! Fixtures stand beside their descriptor, in `<name>.fixtures.toml`; the format is in `descriptors/README.md`. Checking them asks
//! nobody: the request is made as it would be sent, and the answer judged as it would be if it had come.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::core::time::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

use crate::answer::{Body, Seen, judge};
use crate::build;
use crate::config::ProviderConfig;
use crate::descriptor::{Descriptor, DescriptorError};
use crate::hush::Hidden;
use crate::receipt::{Receipt, ReceiptReader, ReceiptRequest, ReceiptStatus};
use crate::template::Vars;

/// What stands for the word that nobody else can make.
const TICKET: &str = "00112233445566778899aabbccddeeff";

/// A file of fixtures.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixtures {
    /// Seconds since the epoch; a case may have its own.
    #[serde(default = "Fixtures::at")]
    pub at: i64,
    /// The provider's fields.
    #[serde(default)]
    pub credentials: BTreeMap<String, String>,
    /// The message; without it, a usual one by the provider's first channel.
    pub message: Option<Said>,
    /// What goes out for it.
    pub request: Option<Expected>,
    /// Why there is no case of a name that is asked for.
    #[serde(default)]
    pub absent: BTreeMap<String, String>,
    /// The cases, by name.
    pub case: BTreeMap<String, Case>,
}

/// One case: an answer and what it means, or a report of the provider and what is read in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub title: Option<String>,
    /// The page or file of public documentation that the answer or the report was read in. Without it, it was put together from what
    /// the documents say of its parts.
    pub source: Option<String>,
    /// Seconds since the epoch.
    pub at: Option<i64>,
    /// In place of the file's.
    pub message: Option<Said>,
    /// In place of the file's.
    pub credentials: Option<BTreeMap<String, String>>,
    /// In place of the file's.
    pub request: Option<Expected>,
    /// What comes back.
    pub answer: Option<Answer>,
    /// What that means.
    pub outcome: Option<Meant>,
    /// A report of the provider.
    pub receipt: Option<Report>,
}

/// A message.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "as in the message itself")]
pub struct Said {
    #[serde(default = "Said::id")]
    pub id: String,
    #[serde(default = "Said::application")]
    pub application: String,
    pub channel: Option<String>,
    pub to: Option<String>,
    #[serde(default = "Said::text")]
    pub text: String,
    pub subject: Option<String>,
    #[serde(default = "Said::code")]
    pub code: String,
    #[serde(default = "Said::locale")]
    pub locale: String,
}

/// A request.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the parts of a request")]
pub struct Expected {
    pub method: String,
    pub url: String,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// An answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the parts of an answer")]
pub struct Answer {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: String,
}

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
#[expect(missing_docs, reason = "as in an outcome")]
pub enum Meant {
    Accepted { message_id: Option<String> },
    Rejected { failure: String, reason: String, retry_after: Option<u64> },
    Unknown { reason: String },
}

/// A report, and what is read in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body; for a GET, the query.
    #[serde(default)]
    pub body: String,
    /// Whether it comes by GET.
    #[serde(default)]
    pub by_get: bool,
    /// What stands behind the provider's name in the path.
    pub path_secret: Option<String>,
    /// Whether it comes to the address of the message's call, to say that a key was pressed.
    #[serde(default)]
    pub keypress: bool,
    /// What is then said on the call.
    pub heard: Option<String>,
    /// The receipts that are read; an empty list where it is about something else.
    pub read: Option<Vec<Read>>,
    /// Why it is refused.
    pub refused: Option<String>,
    /// What is answered, where it only asks whether the address is ours.
    pub handshake: Option<String>,
}

/// A receipt.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "as in a receipt")]
pub struct Read {
    pub reference: String,
    pub status: String,
    pub error: Option<String>,
}

impl Said {
    fn id() -> String {
        "dl_0102030405060708090a0b0c0d0e0f10".to_owned()
    }
    fn application() -> String {
        "default".to_owned()
    }
    fn text() -> String {
        "Your Example code is 482913. It expires in 5 minutes.".to_owned()
    }
    fn code() -> String {
        "482913".to_owned()
    }
    fn locale() -> String {
        "en".to_owned()
    }
}

impl Default for Said {
    fn default() -> Self {
        Self {
            id: Self::id(),
            application: Self::application(),
            channel: None,
            to: None,
            text: Self::text(),
            subject: None,
            code: Self::code(),
            locale: Self::locale(),
        }
    }
}

impl Fixtures {
    fn at() -> i64 {
        1_700_000_000
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file, the line or the case, and what is wrong there.
    pub fn parse(file: &str, text: &str) -> Result<Self, DescriptorError> {
        let fixtures: Self = toml::from_str(text).map_err(|error| DescriptorError::toml(file, text, &error))?;
        for (name, case) in &fixtures.case {
            let problem = |field: &str, problem: &str| {
                Err(DescriptorError::at(file, text, &format!("case.{name}.{field}"), problem.to_owned()))
            };
            match (&case.answer, &case.outcome, &case.receipt) {
                (Some(_), Some(_), None) => {}
                (None, None, Some(receipt)) => {
                    let ends = [
                        receipt.read.is_some(),
                        receipt.refused.is_some(),
                        receipt.handshake.is_some(),
                        receipt.heard.is_some(),
                    ];
                    if ends.into_iter().filter(|there| *there).count() != 1 {
                        return problem("receipt", "needs one of `read`, `refused`, `handshake` and `heard`");
                    }
                    if receipt.keypress && receipt.refused.is_none() != receipt.heard.is_some()
                        || receipt.heard.is_some() && !receipt.keypress
                    {
                        return problem(
                            "receipt",
                            "needs `keypress = true` with `heard`, and `heard` or `refused` with that",
                        );
                    }
                }
                (None, _, None) => return problem("answer", "is missing (or `receipt`)"),
                (Some(_), None, None) => return problem("outcome", "is missing"),
                _ => return problem("receipt", "stands alone, without `answer` and `outcome`"),
            }
        }
        Ok(fixtures)
    }

    /// The message of a case.
    ///
    /// # Errors
    /// Which part of it is none.
    pub fn message(&self, descriptor: &Descriptor, case: &Case) -> Result<Message, String> {
        let said = case.message.as_ref().or(self.message.as_ref()).cloned().unwrap_or_default();
        let channel = match &said.channel {
            Some(channel) => channel.parse().map_err(|_| "message.channel".to_owned())?,
            None => descriptor.channels.first().copied().ok_or("message.channel")?,
        };
        let email = channel == Channel::Email;
        let usual = Destination::parse("+255694230173", None).ok().filter(|to| channel.reaches(to));
        let to = said.to.as_deref().unwrap_or(if usual.is_some() { "+255694230173" } else { "amina@example.com" });
        Ok(Message {
            id: said.id.parse().map_err(|_| "message.id".to_owned())?,
            application: said.application.parse().map_err(|_| "message.application".to_owned())?,
            channel,
            to: Destination::parse(to, None).map_err(|_| "message.to".to_owned())?,
            text: said.text.clone().into(),
            code: said.code.parse().map_err(|_| "message.code".to_owned())?,
            ticket: TICKET.to_owned().into(),
            subject: said
                .subject
                .unwrap_or_else(|| if email { "Your Example code".to_owned() } else { String::new() })
                .into(),
            display_name: "Example".to_owned(),
            locale: said.locale,
            expires_at: Timestamp::from_millis((self.at + 300) * 1000),
        })
    }

    /// The row of the configuration that a case is about.
    #[must_use]
    pub fn config(&self, descriptor: &Arc<Descriptor>, case: &Case) -> ProviderConfig {
        let row = ProviderConfig::new("under-test", descriptor.name.as_str()).described_by(Arc::clone(descriptor));
        let credentials = case.credentials.as_ref().unwrap_or(&self.credentials);
        credentials.iter().fold(row, |row, (field, value)| row.with(field.clone(), value.as_str()))
    }
}

/// Checks a descriptor against its fixtures.
///
/// # Errors
/// If the file cannot be read as fixtures at all.
pub fn check(descriptor: &Arc<Descriptor>, file: &str, text: &str) -> Result<Vec<DescriptorError>, DescriptorError> {
    let fixtures = Fixtures::parse(file, text)?;
    let mut problems = Vec::new();
    for (name, case) in &fixtures.case {
        if let Err((field, problem)) = one(descriptor, &fixtures, case) {
            problems.push(DescriptorError::at(file, text, &format!("case.{name}.{field}"), problem));
        }
    }
    Ok(problems)
}

/// Checks what holds for every descriptor that does not take any answer of a status for acceptance: a page, nothing, an empty
/// object and a broken server are no success and say nothing against the number. What is not so is returned.
#[must_use]
pub fn laws(descriptor: &Descriptor) -> Vec<String> {
    let Some(rules) = &descriptor.http else { return Vec::new() };
    let hidden = Hidden { code: "", text: "", to: "", private: &[] };
    let page = "<!DOCTYPE html><html><body><h1>Welcome to nginx!</h1></body></html>";
    let mut broken = Vec::new();
    for (status, body) in
        [(200, page), (200, ""), (200, "{}"), (200, "null"), (200, "[]"), (302, ""), (429, ""), (500, page), (503, "")]
    {
        let said_by_status =
            rules.accept.when.is_empty() && rules.accept.status.iter().any(|pattern| pattern.fits(status));
        let headers = HeaderMap::new();
        let seen = Seen { status, headers: &headers, body: Body::Whole(body.as_bytes().to_vec()) };
        let outcome = judge(rules, &seen, &hidden, 0);
        let shown = || format!("HTTP {status} with {body:?}: {}", shown(&outcome));
        match &outcome {
            Outcome::Accepted { .. } if !said_by_status => broken.push(shown()),
            Outcome::Rejected { failure: Failure::BlameNumber | Failure::GiveUp, .. } => broken.push(shown()),
            Outcome::Unknown { .. } if status == 429 => broken.push(shown()),
            _ => {}
        }
    }
    broken
}

/// Which part of the case does not hold, and how.
type Wrong = (String, String);

fn one(descriptor: &Arc<Descriptor>, fixtures: &Fixtures, case: &Case) -> Result<(), Wrong> {
    let config = fixtures.config(descriptor, case);
    let wrong = |field: &str, problem: String| (field.to_owned(), problem);
    build::check_fields(&config, descriptor).map_err(|error| wrong("credentials", error.to_string()))?;
    let now = case.at.unwrap_or(fixtures.at);
    let message = fixtures.message(descriptor, case).map_err(|field| wrong(&field, "is none".to_owned()))?;
    if let Some(report) = &case.receipt {
        return receive(&config, report, &message, now);
    }
    let plan = build::plan(&config, descriptor).map_err(|error| wrong("credentials", error.to_string()))?;
    let prepared = plan.prepare(&Vars::of(&message, now), now).map_err(|error| wrong("request", error.to_string()))?;
    if let Some(expected) = case.request.as_ref().or(fixtures.request.as_ref()) {
        same("request.method", &expected.method, plan.method.as_str())?;
        same("request.url", &expected.url, prepared.url.as_str())?;
        same("request.body", &expected.body, &String::from_utf8_lossy(&prepared.body))?;
        let name = |name: &HeaderName, value: &HeaderValue| {
            (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let made: BTreeMap<_, _> = prepared.headers.iter().map(|(key, value)| name(key, value)).collect();
        for (name, value) in &expected.headers {
            same(&format!("request.headers.{name}"), value, made.get(name).map_or("(none)", String::as_str))?;
        }
        if let Some((name, value)) = made.iter().find(|(name, _)| !expected.headers.contains_key(*name)) {
            return Err(wrong(
                &format!("request.headers.{name}"),
                format!("is sent as {value:?}, and is not expected"),
            ));
        }
    }
    let (Some(answer), Some(meant), Some(rules)) = (&case.answer, &case.outcome, &descriptor.http) else {
        return Ok(());
    };
    let headers = header_map(&answer.headers).map_err(|name| wrong("answer.headers", name))?;
    let private = build::private(&config, descriptor);
    let hidden =
        Hidden { code: message.code.reveal(), text: &message.text, to: message.to.reveal(), private: &private };
    let seen = Seen { status: answer.status, headers: &headers, body: Body::Whole(answer.body.clone().into_bytes()) };
    let outcome = judge(rules, &seen, &hidden, now);
    if Meant::of(&outcome) == *meant {
        return Ok(());
    }
    Err(wrong("outcome", format!("is {}, and {meant:?} is expected", shown(&outcome))))
}

fn receive(config: &ProviderConfig, report: &Report, message: &Message, now: i64) -> Result<(), Wrong> {
    let wrong = |field: &str, problem: String| (field.to_owned(), problem);
    let reader = ReceiptReader::new(config).map_err(|error| wrong("credentials", error.to_string()))?;
    let headers = header_map(&report.headers).map_err(|name| wrong("receipt.headers", name))?;
    let request = ReceiptRequest {
        headers: &headers,
        body: report.body.as_bytes(),
        by_get: report.by_get,
        path_secret: report.path_secret.as_deref(),
        now,
    };
    if report.keypress {
        let tail = format!("/{}/{}", message.id, message.ticket.as_str());
        return match (reader.key_was_pressed(&request, &tail), &report.heard, &report.refused) {
            (Ok(pressed), Some(expected), _) => {
                let said = reader.speech(pressed.then_some(message));
                same("receipt.heard", expected, said.as_deref().map_or("(nothing)", String::as_str))
            }
            (Err(refused), _, Some(expected)) => same("receipt.refused", expected, &refused.to_string()),
            (Ok(_), ..) => Err(wrong("receipt.refused", "it is believed".to_owned())),
            (Err(refused), ..) => Err(wrong("receipt.heard", format!("it is refused: {refused}"))),
        };
    }
    if let Some(expected) = &report.handshake {
        let answered = reader.handshake(&request).map_err(|refused| wrong("receipt.handshake", refused.to_string()))?;
        return same("receipt.handshake", expected, answered.as_deref().unwrap_or("(none)"));
    }
    match (reader.read(&request), &report.read, &report.refused) {
        (Ok(receipts), Some(expected), _) => {
            let read: Vec<_> = receipts.iter().map(Read::of).collect();
            if read == *expected {
                return Ok(());
            }
            Err(wrong("receipt.read", format!("is {read:?}, and {expected:?} is expected")))
        }
        (Err(refused), _, Some(expected)) => same("receipt.refused", expected, &refused.to_string()),
        (Ok(receipts), ..) => Err(wrong("receipt.refused", format!("it is believed: {receipts:?}"))),
        (Err(refused), ..) => Err(wrong("receipt.read", format!("it is refused: {refused}"))),
    }
}

fn header_map(headers: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let pair = |(name, value): (&String, &String)| {
        Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
    };
    headers.iter().map(|entry| pair(entry).ok_or_else(|| format!("`{}` is no header", entry.0))).collect()
}

fn same(field: &str, expected: &str, made: &str) -> Result<(), Wrong> {
    if expected == made {
        return Ok(());
    }
    Err((field.to_owned(), format!("is\n  {made}\nand this is expected:\n  {expected}")))
}

impl Meant {
    /// What an outcome says.
    #[must_use]
    pub fn of(outcome: &Outcome) -> Self {
        match outcome.clone() {
            Outcome::Accepted { message_id } => Self::Accepted { message_id },
            Outcome::Unknown { reason } => Self::Unknown { reason },
            Outcome::Rejected { failure, reason, retry_after } => Self::Rejected {
                failure: failure_name(failure).to_owned(),
                reason,
                retry_after: retry_after.map(|wait| wait.as_secs()),
            },
        }
    }
}

impl Read {
    fn of(receipt: &Receipt) -> Self {
        let status = match receipt.status {
            ReceiptStatus::Accepted => "accepted",
            ReceiptStatus::Delivered => "delivered",
            ReceiptStatus::Undelivered => "undelivered",
            ReceiptStatus::Failed => "failed",
        };
        Self { reference: receipt.reference.clone(), status: status.to_owned(), error: receipt.error.clone() }
    }
}

fn shown(outcome: &Outcome) -> String {
    format!("{:?}", Meant::of(outcome))
}

const fn failure_name(failure: Failure) -> &'static str {
    match failure {
        Failure::RetryElsewhere => "retry_elsewhere",
        Failure::RetryLater => "retry_later",
        Failure::GiveUp => "give_up",
        Failure::BlameNumber => "blame_number",
    }
}
