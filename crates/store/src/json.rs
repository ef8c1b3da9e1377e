//! Rows as JSON: the lines of an export, and what one row of the `minimal` and `existing` layouts holds besides its columns.
//!
//! Instants are milliseconds since the Unix epoch, bytes are hexadecimal. No field holds a code.

use std::collections::BTreeMap;

use countersign::core::code::CodeSource;
use countersign::core::decision::GuessKey;
use countersign::core::destination::Destination;
use countersign::core::event::{Event, EventKind};
use countersign::core::health::{Figures, HealthKey, HealthRow};
use countersign::core::id::{ApplicationName, Purpose, ServiceId, VerificationId};
use countersign::core::limit::{LimitKey, Tat};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, DeliveryStatus, GuessLog, Payment, Status, Verification, Wording};
use countersign::store::{AnswerKey, ApplicationRecord, KeyRecord, Record, RecordName};
use countersign::transfer::{AnswerRow, Row, RowKind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The version of what is written here. What is read may be older, never newer.
pub const VERSION: u32 = 1;

/// Why a text is no row. It says nothing of what the text holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON of this shape.
    #[error("it is not what was written: {0}")]
    Shape(String),
    /// A field whose text cannot be what it should.
    #[error("`{0}` cannot be read")]
    Field(&'static str),
    /// Written by a later version of this program.
    #[error("it was written by a later version ({0}; this one knows {VERSION})")]
    Newer(u32),
}

fn shape(error: &serde_json::Error) -> Unreadable {
    // The error's own words may repeat a value of the text; its category and place do not.
    let kind = match error.classify() {
        serde_json::error::Category::Eof => "it ends too soon",
        serde_json::error::Category::Syntax => "no JSON",
        _ => "a member is missing or of another type",
    };
    Unreadable::Shape(format!("{kind}, at character {}", error.column()))
}

/// A verification without what one-row tables have columns for, and its deliveries.
#[derive(Serialize, Deserialize)]
pub(crate) struct State {
    v: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    country: Option<String>,
    #[serde(default, skip_serializing_if = "is_false")]
    keyless: bool,
    channel: String,
    pub(crate) created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_at: Option<i64>,
    code_length: u8,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sealed: Option<String>,
    sends: u32,
    max_sends: u32,
    resend_at: i64,
    wrong_by_id: u32,
    wrong_by_destination: u32,
    max_checks: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    locale: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    metadata: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<[String; 2]>,
    #[serde(default, skip_serializing_if = "KeptWording::is_empty")]
    wording: KeptWording,
    #[serde(skip_serializing_if = "Option::is_none")]
    follow_up_at: Option<i64>,
    deliveries: Vec<KeptDelivery>,
}

#[derive(Default, Serialize, Deserialize)]
struct KeptWording {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    android_app_hash: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    values: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

impl KeptWording {
    fn is_empty(&self) -> bool {
        let Self { name, android_app_hash, values, text } = self;
        name.is_none() && android_app_hash.is_none() && values.is_empty() && text.is_none()
    }
}

#[derive(Serialize, Deserialize)]
struct KeptDelivery {
    id: String,
    number: u32,
    send: u32,
    channel: String,
    provider: String,
    status: String,
    queued_at: i64,
    at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<String>,
    due_at: i64,
    lease_until: i64,
    claims: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// What one-row tables have columns for.
pub(crate) struct Head {
    pub(crate) id: VerificationId,
    pub(crate) application: ApplicationName,
    pub(crate) service: Option<ServiceId>,
    pub(crate) to: String,
    pub(crate) purpose: Purpose,
    pub(crate) status: Status,
    pub(crate) expires_at: Timestamp,
}

impl State {
    pub(crate) fn new(row: &Verification, deliveries: &[Delivery]) -> Self {
        let (key, digest, sealed) = match &row.code {
            CodeSource::Derived { key } => (key, None, None),
            CodeSource::Chosen { key, digest, sealed } => (key, Some(hex(digest)), sealed.as_deref().map(hex)),
        };
        let Wording { name, android_app_hash, values, text } = row.wording.clone();
        Self {
            v: VERSION,
            country: row.to.country().map(|country| country.to_string()),
            keyless: row.keyless,
            channel: row.channel.as_str().to_owned(),
            created_at: row.created_at.as_millis(),
            finished_at: row.finished_at.map(Timestamp::as_millis),
            code_length: row.code_length,
            key: key.to_string(),
            digest,
            sealed,
            sends: row.sends,
            max_sends: row.max_sends,
            resend_at: row.resend_at.as_millis(),
            wrong_by_id: row.wrong_by_id,
            wrong_by_destination: row.wrong_by_destination,
            max_checks: row.max_checks,
            locale: row.locale.clone(),
            template: row.template.clone(),
            metadata: row.metadata.clone(),
            payment: row.payment.as_ref().map(|payment| [payment.amount.clone(), payment.payee.clone()]),
            wording: KeptWording { name, android_app_hash, values, text },
            follow_up_at: row.follow_up_at.map(Timestamp::as_millis),
            deliveries: deliveries.iter().map(KeptDelivery::new).collect(),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        // Strings, numbers and maps of strings: nothing in it can fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn from_json(text: &str) -> Result<Self, Unreadable> {
        #[derive(Deserialize)]
        struct Versioned {
            v: u32,
        }
        match serde_json::from_str::<Self>(text) {
            Ok(state) if state.v <= VERSION => Ok(state),
            Ok(state) => Err(Unreadable::Newer(state.v)),
            Err(error) => match serde_json::from_str::<Versioned>(text) {
                Ok(Versioned { v }) if v > VERSION => Err(Unreadable::Newer(v)),
                _ => Err(shape(&error)),
            },
        }
    }

    /// The verification and its deliveries; `restore` takes the destination back from how it was written.
    pub(crate) fn with(
        self,
        head: Head,
        restore: impl FnOnce(String, Option<countersign::core::destination::Country>) -> Destination,
    ) -> Result<(Verification, Vec<Delivery>), Unreadable> {
        let key = self.key.into();
        let code = match self.digest {
            Some(digest) => CodeSource::Chosen {
                key,
                digest: unhex(&digest).and_then(|bytes| bytes.try_into().ok()).ok_or(Unreadable::Field("digest"))?,
                sealed: match self.sealed {
                    Some(sealed) => Some(unhex(&sealed).ok_or(Unreadable::Field("sealed"))?),
                    None => None,
                },
            },
            None => CodeSource::Derived { key },
        };
        let KeptWording { name, android_app_hash, values, text } = self.wording;
        let deliveries = self.deliveries.into_iter().map(|kept| kept.with(head.id)).collect::<Result<_, _>>()?;
        let verification = Verification {
            id: head.id,
            application: head.application,
            service: head.service,
            to: restore(head.to, self.country.and_then(|country| country.parse().ok())),
            purpose: head.purpose,
            keyless: self.keyless,
            channel: self.channel.parse().map_err(|_| Unreadable::Field("channel"))?,
            status: head.status,
            created_at: Timestamp::from_millis(self.created_at),
            expires_at: head.expires_at,
            finished_at: self.finished_at.map(Timestamp::from_millis),
            code_length: self.code_length,
            code,
            sends: self.sends,
            max_sends: self.max_sends,
            resend_at: Timestamp::from_millis(self.resend_at),
            wrong_by_id: self.wrong_by_id,
            wrong_by_destination: self.wrong_by_destination,
            max_checks: self.max_checks,
            locale: self.locale,
            template: self.template,
            metadata: self.metadata,
            payment: self.payment.map(|[amount, payee]| Payment { amount, payee }),
            wording: Wording { name, android_app_hash, values, text },
            follow_up_at: self.follow_up_at.map(Timestamp::from_millis),
        };
        Ok((verification, deliveries))
    }
}

impl KeptDelivery {
    fn new(row: &Delivery) -> Self {
        Self {
            id: row.id.to_string(),
            number: row.number,
            send: row.send,
            channel: row.channel.as_str().to_owned(),
            provider: row.provider.clone(),
            status: row.status.as_str().to_owned(),
            queued_at: row.queued_at.as_millis(),
            at: row.at.as_millis(),
            error: row.error.clone(),
            message_id: row.message_id.clone(),
            due_at: row.due_at.as_millis(),
            lease_until: row.lease_until.as_millis(),
            claims: row.claims,
        }
    }

    fn with(self, verification: VerificationId) -> Result<Delivery, Unreadable> {
        Ok(Delivery {
            id: self.id.parse().map_err(|_| Unreadable::Field("deliveries.id"))?,
            verification,
            number: self.number,
            send: self.send,
            channel: self.channel.parse().map_err(|_| Unreadable::Field("deliveries.channel"))?,
            provider: self.provider,
            status: DeliveryStatus::from_name(&self.status).ok_or(Unreadable::Field("deliveries.status"))?,
            queued_at: Timestamp::from_millis(self.queued_at),
            at: Timestamp::from_millis(self.at),
            error: self.error,
            message_id: self.message_id,
            due_at: Timestamp::from_millis(self.due_at),
            lease_until: Timestamp::from_millis(self.lease_until),
            claims: self.claims,
        })
    }
}

/// A row as a JSON object: its members, and `kind`.
#[must_use]
pub fn write(row: &Row) -> Value {
    let mut value = match row {
        Row::Application(row) => {
            json!({"name": row.name.as_str(), "account_sid": row.account_sid, "created_at": row.created_at.as_millis()})
        }
        Row::Key(row) => json!({
            "id": row.id, "application": row.application.as_str(), "key_digest": hex(&row.key_digest),
            "auth_token_digest": hex(&row.auth_token_digest), "key_sid": row.key_sid,
            "key_secret_digest": hex(&row.key_secret_digest), "created_at": row.created_at.as_millis(),
            "revoked_at": row.revoked_at.map(Timestamp::as_millis),
        }),
        Row::Record(row) => json!({
            "application": row.name.application.as_str(), "type": row.name.kind, "id": row.name.id, "parent": row.parent,
            "body": row.body, "created_at": row.created_at.as_millis(), "updated_at": row.updated_at.as_millis(),
        }),
        Row::Verification(row, deliveries) => json!({
            "id": row.id.to_string(), "application": row.application.as_str(),
            "service": row.service.map(|id| id.to_string()), "to": row.to.reveal(), "purpose": row.purpose.as_str(),
            "status": row.status.as_str(), "expires_at": row.expires_at.as_millis(),
            "state": State::new(row, deliveries),
        }),
        Row::Limit(key, tat) => json!({"key": key.0, "tat": tat.0}),
        Row::Guesses(key, log) => json!({
            "application": key.application.as_str(), "destination": key.destination, "by_id": millis(&log.by_id),
            "by_keyless": millis(&log.by_keyless), "by_destination": millis(&log.by_destination),
        }),
        Row::Answer(row) => json!({
            "application": row.key.application.as_str(), "key": hex(&row.key.key), "fingerprint": hex(&row.begun.fingerprint),
            "seed": hex(&row.begun.seed), "in_flight_until": row.begun.in_flight_until.as_millis(),
            "expires_at": row.begun.expires_at.as_millis(), "answer": row.answer.as_deref().map(hex),
        }),
        Row::Event(place, row) => json!({
            "position": place, "type": row.kind.as_str(), "application": row.application.as_str(),
            "verification": row.verification.to_string(), "delivery": row.delivery.map(|id| id.to_string()),
            "at": row.at.as_millis(),
        }),
        Row::Health(HealthRow { key, figures }) => {
            let mut value = json!({
                "hour": key.hour.as_millis(), "application": key.application.as_str(), "provider": key.provider,
                "channel": key.channel.as_str(), "country": key.country.map(|country| country.to_string()),
            });
            for (name, number) in Figures::NAMES.into_iter().zip(figures.to_array()) {
                value[name] = json!(number);
            }
            value
        }
    };
    if let Some(members) = value.as_object_mut() {
        members.insert("kind".to_owned(), json!(row.kind().as_str()));
    }
    value
}

/// Takes back what [`write`] wrote.
///
/// # Errors
/// [`Unreadable`], which repeats nothing of it.
pub fn read(value: &Value) -> Result<Row, Unreadable> {
    let kind = value.get("kind").and_then(Value::as_str).and_then(RowKind::from_name);
    let fields = Fields(value);
    Ok(match kind.ok_or(Unreadable::Field("kind"))? {
        RowKind::Application => Row::Application(ApplicationRecord {
            name: fields.parsed("name")?,
            account_sid: fields.text("account_sid")?,
            created_at: fields.time("created_at")?,
        }),
        RowKind::Key => Row::Key(KeyRecord {
            id: fields.text("id")?,
            application: fields.parsed("application")?,
            key_digest: fields.bytes("key_digest")?,
            auth_token_digest: fields.bytes("auth_token_digest")?,
            key_sid: fields.text("key_sid")?,
            key_secret_digest: fields.bytes("key_secret_digest")?,
            created_at: fields.time("created_at")?,
            revoked_at: fields.option("revoked_at", Fields::time)?,
        }),
        RowKind::Record => Row::Record(Record {
            name: RecordName {
                application: fields.parsed("application")?,
                kind: fields.text("type")?,
                id: fields.text("id")?,
            },
            parent: fields.option("parent", Fields::text)?,
            body: fields.text("body")?,
            created_at: fields.time("created_at")?,
            updated_at: fields.time("updated_at")?,
        }),
        RowKind::Verification => {
            let head = Head {
                id: fields.parsed("id")?,
                application: fields.parsed("application")?,
                service: fields.option("service", Fields::parsed)?,
                to: canonical(fields.text("to")?)?,
                purpose: fields.parsed("purpose")?,
                status: Status::from_name(&fields.text("status")?).ok_or(Unreadable::Field("status"))?,
                expires_at: fields.time("expires_at")?,
            };
            let state = value.get("state").ok_or(Unreadable::Field("state"))?;
            let (row, deliveries) = State::from_json(&state.to_string())?.with(head, Destination::restored)?;
            Row::Verification(row.into(), deliveries)
        }
        RowKind::Limit => Row::Limit(LimitKey(fields.text("key")?), Tat(fields.number("tat")?)),
        RowKind::Guesses => {
            let key = GuessKey { application: fields.parsed("application")?, destination: fields.text("destination")? };
            let log = GuessLog {
                by_id: fields.times("by_id")?,
                by_keyless: fields.times("by_keyless")?,
                by_destination: fields.times("by_destination")?,
            };
            Row::Guesses(key, log)
        }
        RowKind::Answer => Row::Answer(AnswerRow::new(
            AnswerKey { application: fields.parsed("application")?, key: fields.bytes("key")? },
            fields.bytes("fingerprint")?,
            fields.bytes("seed")?,
            fields.time("in_flight_until")?,
            fields.time("expires_at")?,
            fields.option("answer", |fields, name| unhex(&fields.text(name)?).ok_or(Unreadable::Field(name)))?,
        )),
        RowKind::Event => {
            let kind = fields.text("type")?;
            let event = Event {
                kind: EventKind::ALL
                    .into_iter()
                    .find(|known| known.as_str() == kind)
                    .ok_or(Unreadable::Field("type"))?,
                application: fields.parsed("application")?,
                verification: fields.parsed("verification")?,
                delivery: fields.option("delivery", Fields::parsed)?,
                at: fields.time("at")?,
            };
            let place = value.get("position").and_then(Value::as_u64).filter(|place| i64::try_from(*place).is_ok());
            Row::Event(place.ok_or(Unreadable::Field("position"))?, event)
        }
        RowKind::Health => {
            let key = HealthKey {
                hour: fields.time("hour")?,
                application: fields.parsed("application")?,
                provider: fields.text("provider")?,
                channel: fields.parsed("channel")?,
                country: fields.option("country", Fields::parsed)?,
            };
            let mut numbers = [0; Figures::COUNT];
            for (number, name) in numbers.iter_mut().zip(Figures::NAMES) {
                *number = u64::try_from(fields.number(name)?).map_err(|_| Unreadable::Field(name))?;
            }
            Row::Health(HealthRow { key, figures: Figures::from_array(numbers) })
        }
    })
}

/// A destination in the form that is kept: nothing else is restored as one.
fn canonical(text: String) -> Result<String, Unreadable> {
    let number = text
        .strip_prefix('+')
        .is_some_and(|digits| (4..=15).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let address = !text.starts_with('+') && Destination::parse(&text, None).is_ok_and(|to| to.reveal() == text);
    if number || address { Ok(text) } else { Err(Unreadable::Field("to")) }
}

/// The members of an object, each read as what it should be.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn text(self, name: &'static str) -> Result<String, Unreadable> {
        self.0.get(name).and_then(Value::as_str).map(str::to_owned).ok_or(Unreadable::Field(name))
    }

    fn parsed<T: std::str::FromStr>(self, name: &'static str) -> Result<T, Unreadable> {
        self.text(name)?.parse().map_err(|_| Unreadable::Field(name))
    }

    fn number(self, name: &'static str) -> Result<i64, Unreadable> {
        self.0.get(name).and_then(Value::as_i64).ok_or(Unreadable::Field(name))
    }

    fn time(self, name: &'static str) -> Result<Timestamp, Unreadable> {
        self.number(name).map(Timestamp::from_millis)
    }

    fn times(self, name: &'static str) -> Result<Vec<Timestamp>, Unreadable> {
        let all = self.0.get(name).and_then(Value::as_array).ok_or(Unreadable::Field(name))?;
        all.iter().map(|at| at.as_i64().map(Timestamp::from_millis).ok_or(Unreadable::Field(name))).collect()
    }

    fn bytes<const N: usize>(self, name: &'static str) -> Result<[u8; N], Unreadable> {
        unhex(&self.text(name)?).and_then(|bytes| bytes.try_into().ok()).ok_or(Unreadable::Field(name))
    }

    fn option<T>(
        self,
        name: &'static str,
        read: impl FnOnce(Self, &'static str) -> Result<T, Unreadable>,
    ) -> Result<Option<T>, Unreadable> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => read(self, name).map(Some),
        }
    }
}

fn millis(instants: &[Timestamp]) -> Vec<i64> {
    instants.iter().map(|at| at.as_millis()).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = |[high, low]: &[u8; 2]| Some(nibble(*high)? << 4 | nibble(*low)?);
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use countersign::core::channel::Channel;
    use countersign::core::id::DeliveryId;
    use proptest::prelude::*;

    use super::*;

    fn verification(seed: u8, text: &str, number: i64) -> Row {
        let at = Timestamp::from_millis(number);
        let chosen = CodeSource::Chosen {
            key: "k1".into(),
            digest: [seed; 32],
            sealed: seed.is_multiple_of(3).then(|| text.as_bytes().to_vec()),
        };
        let id = VerificationId::from_bytes([seed; 16]);
        let to = if seed.is_multiple_of(4) { "jane@example.com" } else { "+255694230173" };
        let row = Verification {
            id,
            application: ApplicationName::default(),
            service: seed.is_multiple_of(2).then(|| ServiceId::from_bytes([seed; 16])),
            to: Destination::parse(to, None).unwrap(),
            purpose: Purpose::default(),
            keyless: seed.is_multiple_of(5),
            channel: Channel::ALL[usize::from(seed) % Channel::ALL.len()],
            status: Status::ALL[usize::from(seed) % Status::ALL.len()],
            created_at: at,
            expires_at: at,
            finished_at: (seed % 2 == 1).then_some(at),
            code_length: seed,
            code: if seed.is_multiple_of(7) { CodeSource::Derived { key: "k0".into() } } else { chosen },
            sends: u32::from(seed),
            max_sends: 5,
            resend_at: at,
            wrong_by_id: 1,
            wrong_by_destination: 2,
            max_checks: 3,
            locale: seed.is_multiple_of(2).then(|| text.to_owned()),
            template: seed.is_multiple_of(3).then(|| text.to_owned()),
            metadata: [(text.to_owned(), text.to_owned())].into(),
            payment: (seed % 3 == 1).then(|| Payment { amount: text.to_owned(), payee: text.to_owned() }),
            wording: Wording { name: seed.is_multiple_of(2).then(|| text.to_owned()), ..Wording::default() },
            follow_up_at: seed.is_multiple_of(2).then_some(at),
        };
        let delivery = Delivery {
            id: DeliveryId::from_bytes([seed; 16]),
            verification: id,
            number: 1,
            send: 1,
            channel: Channel::Sms,
            provider: text.to_owned(),
            status: DeliveryStatus::ALL[usize::from(seed) % DeliveryStatus::ALL.len()],
            queued_at: at,
            at,
            error: seed.is_multiple_of(2).then(|| text.to_owned()),
            message_id: seed.is_multiple_of(3).then(|| text.to_owned()),
            due_at: at,
            lease_until: at,
            claims: u32::from(seed),
        };
        Row::Verification(row.into(), vec![delivery; usize::from(seed % 4)])
    }

    fn every_kind(seed: u8, text: &str, number: i64) -> [Row; 9] {
        let (application, at) = (ApplicationName::default(), Timestamp::from_millis(number));
        let key = GuessKey { application: application.clone(), destination: text.to_owned() };
        let log = GuessLog { by_id: vec![at; usize::from(seed % 3)], ..GuessLog::default() };
        let name = RecordName { application: application.clone(), kind: text.to_owned(), id: text.to_owned() };
        let answer = seed.is_multiple_of(2).then(|| text.as_bytes().to_vec());
        let answer_key = AnswerKey { application: application.clone(), key: [seed; 32] };
        let health_key = HealthKey {
            hour: at,
            application: application.clone(),
            provider: text.to_owned(),
            channel: Channel::Sms,
            country: seed.is_multiple_of(2).then(|| "TZ".parse().unwrap()),
        };
        let event = Event {
            kind: EventKind::ALL[usize::from(seed) % EventKind::ALL.len()],
            application: application.clone(),
            verification: VerificationId::from_bytes([seed; 16]),
            delivery: seed.is_multiple_of(2).then(|| DeliveryId::from_bytes([seed; 16])),
            at,
        };
        [
            Row::Application(ApplicationRecord {
                name: application.clone(),
                account_sid: text.to_owned(),
                created_at: at,
            }),
            Row::Key(KeyRecord {
                id: text.to_owned(),
                application,
                key_digest: [seed; 32],
                auth_token_digest: [1; 32],
                key_sid: text.to_owned(),
                key_secret_digest: [2; 32],
                created_at: at,
                revoked_at: seed.is_multiple_of(2).then_some(at),
            }),
            Row::Record(Record {
                name,
                parent: Some(text.to_owned()),
                body: text.to_owned(),
                created_at: at,
                updated_at: at,
            }),
            verification(seed, text, number),
            Row::Limit(LimitKey(text.to_owned()), Tat(number)),
            Row::Guesses(key, log),
            Row::Answer(AnswerRow::new(answer_key, [seed; 32], [seed; 56], at, at, answer)),
            Row::Event(number.unsigned_abs() >> 1, event),
            Row::Health(HealthRow { key: health_key, figures: Figures::from_array([u64::from(seed); Figures::COUNT]) }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(seed: u8, text in ".{0,40}", number: i64) {
            for row in every_kind(seed, &text, number) {
                let line = write(&row).to_string();
                prop_assert!(!line.contains('\n'));
                let again = read(&serde_json::from_str(&line).unwrap()).unwrap();
                prop_assert!(again == row, "{row:?}");
            }
        }

        /// Whatever is in a file: a row or a refusal that repeats nothing of it.
        #[test]
        fn what_was_changed_is_read_or_refused_in_words(seed: u8, member: u8, instead in "[0-9a-z\"{}\\[\\],:-]{0,12}") {
            for row in every_kind(seed, "x1", 1_790_000_000_000) {
                let mut value = write(&row);
                let members = value.as_object_mut().unwrap();
                let name = members.keys().nth(usize::from(member) % members.len()).unwrap().clone();
                members.insert(name, serde_json::from_str(&instead).unwrap_or_else(|_| json!(instead)));
                if let Err(error) = read(&value) {
                    prop_assert!(!error.to_string().contains("255694230173"), "{error}");
                }
            }
        }

        #[test]
        fn no_text_is_a_state_by_accident(text in "\\PC{0,80}") {
            prop_assert!(State::from_json(&text).is_err());
        }
    }

    #[test]
    fn what_a_later_version_wrote_is_refused_as_such() {
        let Row::Verification(row, deliveries) = verification(1, "x", 5) else { return };
        let text = State::new(&row, &deliveries).to_json().replace("\"v\":1", "\"v\":2");
        assert_eq!(State::from_json(&text).err(), Some(Unreadable::Newer(2)));
        assert_eq!(State::from_json("{\"v\":7,\"anything\":1}").err(), Some(Unreadable::Newer(7)));
    }
}
