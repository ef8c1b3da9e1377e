//! `POST /v2/Services/{VA…}/Verifications`: a code is sent.

use std::net::IpAddr;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::core::channel::Channel;
use countersign::core::destination::{Destination, NumberType};
use countersign::core::refusal::Refusal;
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, Payment, Status, Verification, Wording};
use countersign::{Failure, SendRequest};
use serde::Serialize;
use serde_json::{Value, json};

use super::call::{Call, url};
use super::no::{CHANNEL_DISABLED, NOT_SUPPORTED, No, PAYMENT_BY_CALL, PAYMENT_REQUIRED};
use super::profile::{Profile, allows_custom_code};
use super::{rate_limits, safe_numbers, sid, templates};
use crate::api::native::object::Seconds;
use crate::http::answer;
use crate::http::client_address::client_key;
use crate::service::{Door, Shared};

pub(super) async fn create(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    let channel = read_channel(&call)?;
    let (limits, names) = rate_limits::brought(&door, &call, &profile.sid).await?;
    let request = || Ok::<_, No>(read(&door, &call, &profile, channel)?.limits(limits.clone()));
    let sent = match door.verifier.send(request()?).await {
        // A number that the account vouches for may be in any country, and is not suspected: asked only when it matters.
        Err(Failure::Refused(Refusal::CountryBlocked | Refusal::FraudSuspected { .. }))
            if is_safe(&door, &call).await? =>
        {
            door.verifier.send(request()?.vouched()).await
        }
        sent => sent,
    };
    let sent = sent.map_err(|no| {
        let application = door.verifier.application(call.application()).ok();
        let policy = application.as_deref().map(|application| &application.policy);
        No::from_failure(no, channel, &call.path, &names).capped(policy)
    })?;
    let sent = sent.sent;
    let body = show(&door, &call, &profile, &sent.verification, &sent.deliveries);
    Ok(answer::response(answer::json(StatusCode::CREATED, &body)))
}

async fn is_safe(door: &Door, call: &Call) -> Result<bool, No> {
    let Some(number) = safe_numbers::read(door, call, call.form.required("To")?) else { return Ok(false) };
    Ok(door.verifier.record(&call.record(safe_numbers::KIND, number)).await?.is_some())
}

/// The channel asked for; `auto` is the destination's own.
fn read_channel(call: &Call) -> Result<Option<Channel>, No> {
    match call.form.required("Channel")? {
        "sms" => Ok(Some(Channel::Sms)),
        "call" => Ok(Some(Channel::Voice)),
        "email" => Ok(Some(Channel::Email)),
        "whatsapp" => Ok(Some(Channel::Whatsapp)),
        "telegram" => Ok(Some(Channel::Telegram)),
        "auto" => Ok(None),
        "sna" | "rcs" => Err(CHANNEL_DISABLED.into()),
        _ => Err(No::invalid("Channel")),
    }
}

fn read(door: &Door, call: &Call, profile: &Profile, channel: Option<Channel>) -> Result<SendRequest, No> {
    let (form, settings) = (&call.form, &profile.settings);
    let application = door.verifier.application(call.application())?;
    let mut request = SendRequest::to(form.required("To")?)
        .application(call.application().clone())
        .purpose(application.policy.usual_purpose().as_str())
        .metadata(form.object("Tags", 10)?)
        .wording(read_wording(call, profile)?);
    if let Some(id) = profile.id {
        request = request.service(id);
    }
    if let Some(channel) = channel {
        request = request.channel(channel);
    }
    if let Some(twilio) = &door.settings.twilio {
        request = request.resend_after(twilio.resend_after);
    }
    if profile.record.is_some() {
        request = request.code_length(settings.code_length);
    }
    if let Some(locale) = form.text("Locale")?.filter(|locale| !locale.is_empty()) {
        request = request.locale(locale);
    }
    if let Some(code) = form.text("CustomCode")? {
        if !(settings.custom_code_enabled && allows_custom_code(door, call)) {
            return Err(NOT_SUPPORTED.into());
        }
        request = request.custom_code(code);
    }
    let asked = form.text("TemplateSid")?.filter(|sid| !sid.is_empty());
    if let Some(sid) = asked.or(settings.default_template_sid.as_deref()) {
        let name = templates::name_of(&application, sid).ok_or_else(|| No::invalid("TemplateSid"))?;
        request = request.template(name);
    }
    if let Some(address) = form.text("DeviceIp")?.filter(|address| !address.is_empty()) {
        let address: IpAddr = address.parse().map_err(|_| No::invalid("DeviceIp"))?;
        request = request.client(client_key(address));
    }
    if form.word("RiskCheck", &["enable", "disable"])? == Some("disable") {
        request = request.unguarded();
    }
    form.boolean("EnableSnaClientToken")?;
    if let Some(payment) = read_payment(call, profile)? {
        if channel == Some(Channel::Voice) {
            return Err(PAYMENT_BY_CALL.into());
        }
        request = request.payment(payment);
    }
    Ok(request)
}

/// The payment that a service for payments must be told of, and no other may.
pub(super) fn read_payment(call: &Call, profile: &Profile) -> Result<Option<Payment>, No> {
    let given = |name| Ok::<_, No>(call.form.text(name)?.filter(|text| !text.trim().is_empty()));
    match (given("Amount")?, given("Payee")?) {
        (None, None) if !profile.settings.psd2_enabled => Ok(None),
        (Some(_), _) | (_, Some(_)) if !profile.settings.psd2_enabled => Err(NOT_SUPPORTED.into()),
        (Some(amount), Some(payee)) => Ok(Some(Payment { amount: amount.to_owned(), payee: payee.to_owned() })),
        _ => Err(PAYMENT_REQUIRED.into()),
    }
}

fn read_wording(call: &Call, profile: &Profile) -> Result<Wording, No> {
    let name = match call.form.text("CustomFriendlyName")? {
        Some(name) if !super::profile::is_friendly(name) => return Err(No::invalid("CustomFriendlyName")),
        Some(name) => Some(name.to_owned()),
        None => profile.name(),
    };
    let hash = call.form.text("AppHash")?.filter(|hash| !hash.is_empty());
    // Base64 of 66 bits, as Android makes it.
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if hash.is_some_and(|hash| hash.len() != 11 || !hash.bytes().all(fits)) {
        return Err(No::invalid("AppHash"));
    }
    let values = call.form.object("TemplateCustomSubstitutions", 20)?;
    Ok(Wording { name, android_app_hash: hash.map(str::to_owned), values, text: None })
}

/// What a channel is called here.
pub(super) const fn word(channel: Channel) -> &'static str {
    match channel {
        Channel::Voice => "call",
        other => other.as_str(),
    }
}

/// A verification as it is written.
#[derive(Serialize)]
pub(super) struct VerificationBody {
    sid: String,
    service_sid: String,
    account_sid: String,
    to: String,
    channel: &'static str,
    status: &'static str,
    valid: bool,
    lookup: Value,
    amount: Option<String>,
    payee: Option<String>,
    send_code_attempts: Vec<SendCodeAttempt>,
    date_created: Seconds,
    date_updated: Seconds,
    sna: Option<()>,
    url: String,
}

#[derive(Debug, Serialize)]
struct SendCodeAttempt {
    time: Seconds,
    channel: String,
    attempt_sid: String,
}

pub(super) fn show(
    door: &Door,
    call: &Call,
    profile: &Profile,
    found: &Verification,
    deliveries: &[Delivery],
) -> VerificationBody {
    let status = found.status_at(door.verifier.now());
    let sid = sid::of_verification(found.id);
    VerificationBody {
        url: url(door, &format!("/v2/Services/{}/Verifications/{sid}", profile.sid)),
        sid,
        service_sid: profile.sid.clone(),
        account_sid: call.account.sid.clone(),
        to: found.to.reveal().to_owned(),
        channel: word(found.channel),
        status: status.as_str(),
        valid: status == Status::Approved,
        lookup: lookup(profile, &found.to),
        amount: found.payment.as_ref().map(|payment| payment.amount.clone()),
        payee: found.payment.as_ref().map(|payment| payment.payee.clone()),
        send_code_attempts: sends(deliveries)
            .map(|first| SendCodeAttempt {
                time: Seconds::floor(first.queued_at),
                channel: match first.channel {
                    Channel::Whatsapp => "whatsapp".to_owned(),
                    other => word(other).to_uppercase(),
                },
                attempt_sid: sid::of_attempt(first.id),
            })
            .collect(),
        date_created: Seconds::floor(found.created_at),
        date_updated: Seconds::floor(updated_at(found, deliveries)),
        sna: None,
    }
}

/// The first delivery of each send: a send that several providers were asked for is one attempt.
pub(super) fn sends(deliveries: &[Delivery]) -> impl Iterator<Item = &Delivery> {
    let mut last = 0;
    deliveries.iter().filter(move |delivery| {
        let first = delivery.send > last;
        last = last.max(delivery.send);
        first
    })
}

pub(super) fn updated_at(found: &Verification, deliveries: &[Delivery]) -> Timestamp {
    let sent = deliveries.iter().map(|delivery| delivery.queued_at);
    sent.chain(found.finished_at).fold(found.created_at, Timestamp::max)
}

/// What is known of a number without asking anybody: its type.
fn lookup(profile: &Profile, to: &Destination) -> Value {
    let Some(kind) = to.number_type().filter(|_| profile.settings.lookup_enabled) else { return json!({}) };
    let kind = match kind {
        NumberType::FixedLine => "landline",
        NumberType::Voip => "voip",
        _ => "mobile",
    };
    let carrier = json!({
        "error_code": null, "name": null, "mobile_country_code": null, "mobile_network_code": null, "type": kind,
    });
    json!({"carrier": carrier})
}
