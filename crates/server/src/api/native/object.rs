//! The verification as it is shown.

use std::collections::BTreeMap;
use std::fmt;

use axum::http::StatusCode;
use countersign::core::check::Checked;
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, Verification};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use crate::http::answer::{self, Answer};
use crate::http::written::Written;
use crate::service::Door;

/// An instant as RFC 3339 in UTC with seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(i64);

impl Seconds {
    /// Rounded down: what has happened by then, or what is promised until then.
    #[must_use]
    pub const fn floor(at: Timestamp) -> Self {
        Self(at.as_secs())
    }

    /// Rounded up: what is allowed from then on.
    #[must_use]
    pub const fn ceil(at: Timestamp) -> Self {
        Self(-((-at.as_millis()).div_euclid(1000)))
    }

    /// The text of an instant from 1970 to 2199, which is every one that a clock gives: four of them are in every answer.
    fn in_this_age(self) -> Option<[u8; 20]> {
        let seconds = u32::try_from(self.0 % 86_400).ok()?;
        let days = u32::try_from(self.0 / 86_400).ok().filter(|days| *days < 84_006)?;
        // Years are counted from the first of March of 1968, so that a leap day is the last of four years; 2100 has none.
        let days = days + 671 + u32::from(days >= 47_541);
        let (year, day) = ((4 * days + 3) / 1461, (4 * days + 3) % 1461 / 4);
        let (month, day) = ((5 * day + 2) / 153, (5 * day + 2) % 153 / 5 + 1);
        let (year, month) = if month < 10 { (1968 + year, month + 3) } else { (1969 + year, month - 9) };
        let mut text = *b"0000-00-00T00:00:00Z";
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        for (at, two) in
            [(0, year / 100), (2, year % 100), (5, month), (8, day), (11, hour), (14, minute), (17, second)]
        {
            text[at] += (two / 10) as u8;
            text[at + 1] += (two % 10) as u8;
        }
        Some(text)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(text) = self.in_this_age() {
            return f.write_str(std::str::from_utf8(&text).unwrap_or_default());
        }
        match jiff::Timestamp::from_second(self.0) {
            Ok(at) => at.fmt(f),
            // Further away than calendars reach: no clock that is right gives it.
            Err(_) => f.write_str("9999-12-31T23:59:59Z"),
        }
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whatever is shown as its text.
#[derive(Debug)]
struct Shown<T>(T);

impl<T: fmt::Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Words of the contract, for the document; a test holds them to those of the rules.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "documents the answer")]
enum StatusWord {
    Pending,
    Approved,
    Canceled,
    Expired,
    MaxAttemptsReached,
    Failed,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "documents the answer")]
enum DeliveryStatusWord {
    Queued,
    Accepted,
    Delivered,
    Undelivered,
    Failed,
    Unknown,
}

#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "documents the answer")]
enum ResultWord {
    Approved,
    Incorrect,
    Expired,
    MaxAttemptsReached,
    AlreadyUsed,
    Canceled,
    NotFound,
}

/// The channels, for the document.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "documents requests and answers")]
pub(super) enum ChannelWord {
    Sms,
    Voice,
    Whatsapp,
    Telegram,
    Email,
}

/// One attempt to prove control of one destination. The code appears nowhere in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Verification, example = json!({
    "id": "vf_5f0c1d2e3f405162738495a6b7c8d9e0", "status": "pending", "to": "+255694230173", "channel": "sms", "purpose": "login",
    "created_at": "2026-11-22T10:00:00Z", "expires_at": "2026-11-22T10:05:00Z", "code_length": 6,
    "sends": 1, "sends_left": 4, "checks_left": 5, "resend_after": "2026-11-22T10:00:30Z",
    "deliveries": [{"id": "dl_0a1b2c3d4e5f60718293a4b5c6d7e8f9", "channel": "sms", "provider": "inbox", "status": "accepted",
                    "at": "2026-11-22T10:00:00Z", "error": null}],
    "metadata": {}
}))]
pub struct VerificationObject<'a> {
    /// Its unguessable name.
    #[schema(value_type = String)]
    id: Shown<countersign::core::id::VerificationId>,
    /// Where it stands; `failed` means that no provider would carry it.
    #[schema(value_type = StatusWord, inline)]
    status: &'static str,
    /// The destination: E.164, or an address in lower case.
    to: &'a str,
    /// The channel of the latest send.
    #[schema(value_type = ChannelWord, inline)]
    channel: &'static str,
    /// What the proof is for.
    purpose: &'a str,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    created_at: Seconds,
    /// Until then the code works. Sending again does not move it.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Seconds,
    /// Digits of the code.
    code_length: u8,
    /// How often it was sent.
    sends: u32,
    /// How often it may be sent again.
    sends_left: u32,
    /// Guesses that the holder of the id has left.
    checks_left: u32,
    /// From then on it may be sent again.
    #[schema(value_type = String, format = DateTime)]
    resend_after: Seconds,
    /// One for every attempt with a provider, oldest first.
    deliveries: Vec<DeliveryObject<'a>>,
    /// The application's own notes.
    metadata: &'a BTreeMap<String, String>,
}

/// One attempt to have a provider carry one message.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Delivery)]
pub struct DeliveryObject<'a> {
    /// Its name; gateways get it as their idempotency key.
    #[schema(value_type = String)]
    id: Shown<countersign::core::id::DeliveryId>,
    /// How the message travels.
    #[schema(value_type = ChannelWord, inline)]
    channel: &'static str,
    /// The provider's name in the configuration.
    provider: &'a str,
    /// What became of it; `accepted` means that the provider took it.
    #[schema(value_type = DeliveryStatusWord, inline)]
    status: &'static str,
    /// When the status last changed.
    #[schema(value_type = String, format = DateTime)]
    at: Seconds,
    /// Why it failed, in words for people.
    error: Option<&'a str>,
}

impl<'a> VerificationObject<'a> {
    /// A verification as it stands at `now`.
    #[must_use]
    pub fn new(verification: &'a Verification, deliveries: &'a [Delivery], now: Timestamp) -> Self {
        Self {
            id: Shown(verification.id),
            status: verification.status_at(now).as_str(),
            to: verification.to.reveal(),
            channel: verification.channel.as_str(),
            purpose: verification.purpose.as_str(),
            created_at: Seconds::floor(verification.created_at),
            expires_at: Seconds::floor(verification.expires_at),
            code_length: verification.code_length,
            sends: verification.sends,
            sends_left: verification.sends_left(),
            checks_left: verification.checks_left(),
            resend_after: Seconds::ceil(verification.resend_at),
            deliveries: deliveries.iter().map(DeliveryObject::new).collect(),
            metadata: &verification.metadata,
        }
    }

    /// The answer that is this object alone.
    #[must_use]
    pub fn answer(
        status: StatusCode,
        verification: &'a Verification,
        deliveries: &'a [Delivery],
        now: Timestamp,
    ) -> Answer {
        let mut written = Written::new();
        Self::new(verification, deliveries, now).write(&mut written);
        answer::written(status, written)
    }

    /// As the serializer does it.
    fn write(&self, out: &mut Written) {
        out.raw("{\"id\":\"").shown(self.id.0).raw("\",\"status\":\"").raw(self.status).raw("\",\"to\":").text(self.to);
        out.raw(",\"channel\":\"").raw(self.channel).raw("\",\"purpose\":").text(self.purpose);
        out.raw(",\"created_at\":\"").shown(self.created_at).raw("\",\"expires_at\":\"").shown(self.expires_at);
        out.raw("\",\"code_length\":").number(self.code_length.into()).raw(",\"sends\":").number(self.sends);
        out.raw(",\"sends_left\":").number(self.sends_left).raw(",\"checks_left\":").number(self.checks_left);
        out.raw(",\"resend_after\":\"").shown(self.resend_after).raw("\",\"deliveries\":[");
        for (nth, delivery) in self.deliveries.iter().enumerate() {
            out.raw(if nth > 0 { "," } else { "" });
            delivery.write(out);
        }
        out.raw("],\"metadata\":{");
        for (nth, (key, value)) in self.metadata.iter().enumerate() {
            out.raw(if nth > 0 { "," } else { "" }).text(key).raw(":").text(value);
        }
        out.raw("}}");
    }
}

impl<'a> DeliveryObject<'a> {
    /// A delivery as it stands.
    #[must_use]
    pub fn new(delivery: &'a Delivery) -> Self {
        Self {
            id: Shown(delivery.id),
            channel: delivery.channel.as_str(),
            provider: &delivery.provider,
            status: delivery.status.as_str(),
            at: Seconds::floor(delivery.at),
            error: delivery.error.as_deref(),
        }
    }

    fn write(&self, out: &mut Written) {
        out.raw("{\"id\":\"").shown(self.id.0).raw("\",\"channel\":\"").raw(self.channel).raw("\",\"provider\":");
        out.text(self.provider).raw(",\"status\":\"").raw(self.status).raw("\",\"at\":\"").shown(self.at);
        out.raw("\",\"error\":").optional(self.error).raw("}");
    }
}

/// What came of a check.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Checked)]
pub struct CheckedObject<'a> {
    /// Whether control was proved, by this request and by no other.
    valid: bool,
    /// What came of it.
    #[schema(value_type = ResultWord, inline)]
    result: &'static str,
    /// The verification; absent with `not_found`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = VerificationObject, nullable = false, required = false)]
    verification: Option<VerificationObject<'a>>,
    /// The proof for back ends, with `approved` alone: a JWT to be checked against `/.well-known/jwks.json`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token: Option<String>,
}

impl CheckedObject<'_> {
    fn write(&self, out: &mut Written) {
        out.raw(if self.valid { "{\"valid\":true,\"result\":\"" } else { "{\"valid\":false,\"result\":\"" });
        out.raw(self.result).raw("\"");
        if let Some(verification) = &self.verification {
            verification.write(out.raw(",\"verification\":"));
        }
        if let Some(token) = &self.token {
            // Letters of base64url and two dots.
            out.raw(",\"token\":\"").raw(token).raw("\"");
        }
        out.raw("}");
    }
}

/// The answer to a check.
pub(crate) fn checked(door: &Door, checked: &Checked) -> Answer {
    use countersign::core::check::CheckResult;
    let (now, valid) = (door.verifier.now(), checked.result == CheckResult::Approved);
    let found = checked.verification.as_ref();
    let body = CheckedObject {
        valid,
        result: checked.result.as_str(),
        verification: found.map(|(verification, deliveries)| VerificationObject::new(verification, deliveries, now)),
        token: found.filter(|_| valid).and_then(|(verification, _)| door.tokens.sign(verification, now)),
    };
    let mut written = Written::new();
    body.write(&mut written);
    answer::written(StatusCode::OK, written)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use countersign::core::channel::Channel;
    use countersign::core::check::CheckResult;
    use countersign::core::verification::{DeliveryStatus, Status};
    use proptest::prelude::*;
    use utoipa::PartialSchema;

    use super::*;

    fn words<T: PartialSchema>() -> Vec<String> {
        let schema = serde_json::to_value(T::schema()).unwrap();
        schema["enum"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn the_document_knows_the_words_of_the_rules() {
        assert_eq!(words::<StatusWord>(), Status::ALL.map(Status::as_str));
        assert_eq!(words::<DeliveryStatusWord>(), DeliveryStatus::ALL.map(DeliveryStatus::as_str));
        assert_eq!(words::<ResultWord>(), CheckResult::ALL.map(CheckResult::as_str));
        assert_eq!(words::<ChannelWord>(), Channel::ALL.map(Channel::as_str));
    }

    #[test]
    fn bug_d3_times_are_utc_with_whole_seconds() {
        let at = Timestamp::from_millis;
        assert_eq!(Seconds::floor(at(1_795_341_600_000)).to_string(), "2026-11-22T10:00:00Z");
        assert_eq!(Seconds::floor(at(1_795_341_600_999)).to_string(), "2026-11-22T10:00:00Z");
        assert_eq!(Seconds::ceil(at(1_795_341_600_000)).to_string(), "2026-11-22T10:00:00Z");
        assert_eq!(Seconds::ceil(at(1_795_341_600_001)).to_string(), "2026-11-22T10:00:01Z");
        assert_eq!(Seconds::floor(Timestamp::FAR_FUTURE).to_string(), "9999-12-31T23:59:59Z");
    }

    proptest! {
        #[test]
        fn instants_are_written_as_the_calendar_has_them(seconds in 0..8_000_000_000_i64, day in 0..92_000_i64) {
            for seconds in [seconds, day * 86_400, day * 86_400 - 1] {
                let expected = jiff::Timestamp::from_second(seconds).unwrap().to_string();
                prop_assert_eq!(Seconds(seconds).to_string(), expected);
            }
        }

        #[test]
        fn answers_are_written_as_the_serializer_writes_them(
            to in any::<String>(), provider in any::<String>(), error in any::<Option<String>>(), token in proptest::option::of("[A-Za-z0-9_.-]{0,40}"),
            metadata in proptest::collection::btree_map(any::<String>(), any::<String>(), 0..3), valid in any::<bool>(),
            deliveries in 0..3_usize, found in any::<bool>(), numbers in any::<[u32; 3]>(), at in any::<[i32; 4]>(),
        ) {
            let seconds = |at: i32| Seconds(at.into());
            let delivery = |nth: usize| DeliveryObject {
                id: Shown(countersign::core::id::DeliveryId::from_bytes([nth as u8; 16])),
                channel: "sms",
                provider: &provider,
                status: "failed",
                at: seconds(at[0]),
                error: error.as_deref(),
            };
            let verification = || VerificationObject {
                id: Shown(countersign::core::id::VerificationId::from_bytes([0xa5; 16])),
                status: "pending",
                to: &to,
                channel: "email",
                purpose: "login",
                created_at: seconds(at[1]),
                expires_at: seconds(at[2]),
                code_length: 6,
                sends: numbers[0],
                sends_left: numbers[1],
                checks_left: numbers[2],
                resend_after: seconds(at[3]),
                deliveries: (0..deliveries).map(delivery).collect(),
                metadata: &metadata,
            };
            let checked = CheckedObject { valid, result: "incorrect", verification: found.then(verification), token };
            let mut written = Written::new();
            checked.write(&mut written);
            prop_assert_eq!(written.as_str(), serde_json::to_string(&checked).unwrap());
        }
    }
}
