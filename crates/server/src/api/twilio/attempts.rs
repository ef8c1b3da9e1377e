//! `GET /v2/Attempts`: every send of an account, newest first.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::id::{ServiceId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, DeliveryStatus, Status, Verification};
use countersign::store::{ListFilter, WithDeliveries};
use serde::Serialize;

use super::call::{Call, url};
use super::no::No;
use super::paging::Paging;
use super::sid;
use super::verifications::{sends, word};
use crate::api::native::object::Seconds;
use crate::service::{Door, Shared};

/// Verifications that are read at once.
const CHUNK: usize = 100;
/// Chunks that are looked through for one page: beyond it the page is given as it is, with the address of the next.
const MOST_CHUNKS: usize = 20;
/// The longest that a verification can live, and so be sent again.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn list(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let paging = Paging::read(&call)?;
    let filter = Filter::read(&door, &call)?;
    let mut rows = Vec::new();
    let (mut after, mut skip) = paging.after().map_or((None, 0), place_of);
    for chunk in 0.. {
        let page = door.verifier.list(&filter.list(&door, &call, after, CHUNK)).await?;
        for (nth, attempt) in page.rows.iter().flat_map(attempts_of).enumerate().skip(skip) {
            if rows.len() == paging.size {
                return Ok(paging.answer(&door, &call, "attempts", &rows, Some(place(after, nth))));
            }
            if filter.wants(&attempt) {
                rows.push(show(&door, &call, &attempt));
            }
        }
        (after, skip) = (page.next, 0);
        if after.is_none() {
            break;
        }
        if chunk + 1 == MOST_CHUNKS {
            return Ok(paging.answer(&door, &call, "attempts", &rows, Some(place(after, 0))));
        }
    }
    Ok(paging.answer(&door, &call, "attempts", &rows, None))
}

/// A place in the list: a chunk, and the attempts of it that were shown.
fn place(after: Option<u64>, nth: usize) -> u64 {
    after.unwrap_or(0) << 18 | nth as u64 & 0x3_ffff
}

fn place_of(place: u64) -> (Option<u64>, usize) {
    (Some(place >> 18).filter(|after| *after > 0), usize::try_from(place & 0x3_ffff).unwrap_or(0))
}

/// One send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    verification: &'a Verification,
    first: &'a Delivery,
    last: &'a Delivery,
}

/// The sends of a verification, newest first.
pub(super) fn attempts_of((verification, deliveries): &WithDeliveries) -> impl Iterator<Item = Attempt<'_>> {
    let firsts: Vec<_> = sends(deliveries).collect();
    firsts.into_iter().rev().map(move |first| {
        let last = deliveries.iter().rev().find(|delivery| delivery.send == first.send).unwrap_or(first);
        Attempt { verification, first, last }
    })
}

impl Attempt<'_> {
    /// Whether it is this one, by any of its deliveries.
    pub fn is(&self, id: countersign::core::id::DeliveryId) -> bool {
        self.first.id == id
    }

    /// Whether it led to the proof: the last one before it counts as that.
    pub fn converted(&self) -> bool {
        self.verification.status == Status::Approved && self.first.send == self.verification.sends
    }
}

/// Which attempts are asked for.
#[derive(Debug, Default)]
pub(super) struct Filter {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    to: Option<Destination>,
    service: Option<Option<ServiceId>>,
    verification: Option<VerificationId>,
    country: Option<String>,
    channel: Option<Channel>,
    prefix: Option<String>,
    converted: Option<bool>,
    /// A sid that names nothing of this account.
    nothing: bool,
}

impl Filter {
    pub fn read(door: &Door, call: &Call) -> Result<Self, No> {
        let given = |name| Ok::<_, No>(call.query.text(name)?.filter(|text| !text.is_empty()));
        let instant = |name| match given(name)? {
            Some(text) => read_instant(text).map(Some).ok_or_else(|| No::invalid(name)),
            None => Ok(None),
        };
        let application = door.verifier.application(call.application())?;
        let mut filter = Self {
            since: instant("DateCreatedAfter")?,
            until: instant("DateCreatedBefore")?,
            country: given("Country")?.map(str::to_ascii_uppercase),
            prefix: given("DestinationPrefix")?.map(|text| format!("+{}", text.trim_start_matches(['+', ' ']))),
            ..Self::default()
        };
        if let Some(to) = given("ChannelData.To")? {
            let to = Destination::parse(to, application.policy.default_country);
            filter.to = Some(to.map_err(|_| No::invalid("ChannelData.To"))?);
        }
        filter.channel = match given("Channel")? {
            None => None,
            Some("sms") => Some(Channel::Sms),
            Some("call") => Some(Channel::Voice),
            Some("email") => Some(Channel::Email),
            Some("whatsapp") => Some(Channel::Whatsapp),
            Some("rbm" | "rcs" | "sna") => {
                filter.nothing = true;
                None
            }
            Some(_) => return Err(No::invalid("Channel")),
        };
        filter.converted = call.query.word("Status", &["converted", "unconverted"])?.map(|word| word == "converted");
        if let Some(wanted) = given("VerifyServiceSid")? {
            let (id, wanted) = sid::service(wanted).ok_or_else(|| No::invalid("VerifyServiceSid"))?;
            filter.service = Some((wanted != sid::default_service(&call.account.sid)).then_some(id));
        }
        if let Some(wanted) = given("VerificationSid")? {
            filter.verification = Some(sid::verification(wanted).ok_or_else(|| No::invalid("VerificationSid"))?);
        }
        Ok(filter)
    }

    /// The verifications to look through.
    pub fn list(&self, door: &Door, call: &Call, after: Option<u64>, limit: usize) -> ListFilter {
        ListFilter {
            service: self.service,
            to: self.to.clone(),
            since: self.since.map(|since| since - LIFE),
            until: self.until,
            limit,
            after,
            ..ListFilter::new(call.application().clone(), door.verifier.now())
        }
    }

    pub fn wants(&self, attempt: &Attempt<'_>) -> bool {
        let (verification, at) = (attempt.verification, attempt.first.queued_at);
        let country = verification.to.country();
        !self.nothing
            && self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && self.verification.is_none_or(|id| id == verification.id)
            && self.channel.is_none_or(|channel| channel == attempt.first.channel)
            && self.converted.is_none_or(|converted| converted == attempt.converted())
            && self.prefix.as_ref().is_none_or(|prefix| verification.to.reveal().starts_with(prefix.as_str()))
            && self.country.as_ref().is_none_or(|wanted| country.is_some_and(|country| country.as_str() == wanted))
    }
}

fn read_instant(text: &str) -> Option<Timestamp> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp::from_millis(at.as_millisecond()));
    }
    // A day, or a time without a zone: of UTC. The calendar's last day is how people write "for ever", and no instant in every zone.
    let at = text.trim_end_matches(['Z', 'z']).parse::<jiff::civil::DateTime>().ok()?;
    if at.year() == 9999 {
        return Some(Timestamp::FAR_FUTURE);
    }
    let at = at.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(Timestamp::from_millis(at.timestamp().as_millisecond()))
}

/// As it is written.
#[derive(Serialize)]
pub(super) struct AttemptBody {
    sid: String,
    account_sid: String,
    service_sid: String,
    verification_sid: String,
    date_created: Seconds,
    date_updated: Seconds,
    conversion_status: &'static str,
    channel: &'static str,
    price: Price,
    channel_data: ChannelData,
    url: String,
}

/// What a send costs is between the account and its gateway.
#[derive(Debug, Serialize)]
struct Price {
    value: Option<String>,
    currency: Option<String>,
}

#[derive(Serialize)]
struct ChannelData {
    verification_sid: String,
    to: String,
    status: &'static str,
    message_status: &'static str,
    error_code: Option<String>,
    country: Option<String>,
    code_length: u8,
    locale: Option<String>,
    mcc: Option<String>,
    mnc: Option<String>,
    carrier: Option<String>,
}

pub(super) fn show(door: &Door, call: &Call, attempt: &Attempt<'_>) -> AttemptBody {
    let Attempt { verification, first, last } = *attempt;
    let sid = sid::of_attempt(first.id);
    let service = verification.service.map(|id| sid::of("VA", id.as_bytes()));
    let verification_sid = sid::of_verification(verification.id);
    AttemptBody {
        url: url(door, &format!("/v2/Attempts/{sid}")),
        sid,
        account_sid: call.account.sid.clone(),
        service_sid: service.unwrap_or_else(|| sid::default_service(&call.account.sid)),
        verification_sid: verification_sid.clone(),
        date_created: Seconds::floor(first.queued_at),
        date_updated: Seconds::floor(last.at),
        conversion_status: if attempt.converted() { "converted" } else { "unconverted" },
        channel: word(first.channel),
        price: Price { value: None, currency: None },
        channel_data: ChannelData {
            verification_sid,
            to: verification.to.reveal().to_owned(),
            status: match verification.status_at(door.verifier.now()) {
                Status::Approved if attempt.converted() => "confirmed",
                Status::Expired => "expired",
                _ => "unconfirmed",
            },
            message_status: message_status(last.status),
            error_code: None,
            country: verification.to.country().map(|country| country.to_string()),
            code_length: verification.code_length,
            locale: verification.locale.clone(),
            mcc: None,
            mnc: None,
            carrier: None,
        },
    }
}

const fn message_status(status: DeliveryStatus) -> &'static str {
    match status {
        DeliveryStatus::Queued => "queued",
        // Whether a provider has it that did not answer is unknown: it was sent, as far as can be said.
        DeliveryStatus::Accepted | DeliveryStatus::Unknown => "sent",
        DeliveryStatus::Delivered => "delivered",
        DeliveryStatus::Undelivered => "undelivered",
        DeliveryStatus::Failed => "failed",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn instants_are_read_with_their_zone_or_as_days() {
        let noon = Some(Timestamp::from_millis(1_795_867_200_000));
        for (text, read) in [
            ("2026-11-28T12:00:00Z", noon),
            ("2026-11-28T14:00:00+02:00", noon),
            ("2026-11-28", Some(Timestamp::from_millis(1_795_824_000_000))),
            ("9999-12-31T23:59:59Z", Some(Timestamp::FAR_FUTURE)),
            ("9999-12-31", Some(Timestamp::FAR_FUTURE)),
            ("9999-12-32", None),
            ("9999-12-31T25:00:00Z", None),
            ("2026-11-28T12:00:00", noon),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(read_instant(text), read, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}|[0-9]{4}-[0-9]{2}-[0-9]{2}T?[0-9:.]{0,12}[Zz+0-9:]{0,6}") {
            let _ = read_instant(&text);
        }
    }
}
