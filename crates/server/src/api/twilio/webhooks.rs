//! `/v2/Services/{VA…}/Webhooks`: where an account wants to hear of its verifications. The original posts nothing about them; here
//! each enabled webhook is an endpoint of its service, as those of the configuration are of an application ([`crate::webhooks`]).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::core::event::EventKind;
use countersign::store::{Record, RecordFilter};
use serde::Serialize;

use super::call::{Call, url};
use super::fields::Fields;
use super::no::{MAX_WEBHOOKS, NOT_SUPPORTED, No};
use super::profile::Profile;
use super::rate_limits::take_back;
use super::{paging, sid};
use crate::api::native::object::Seconds;
use crate::http::answer;
use crate::service::{Door, Shared};
use crate::settings::WebhookRules;
use crate::webhooks::account::{self, KIND, Webhook};

/// The events that the original knows; ours are those of [`EventKind`].
const THEIRS: [&str; 6] =
    ["*", "factor.created", "factor.verified", "factor.deleted", "challenge.approved", "challenge.denied"];

/// Webhooks that an account may have.
const MOST: usize = 100;
/// Webhooks that a service may have.
const MOST_OF_SERVICE: usize = 10;

/// Takes over what a form says.
pub(super) fn read(webhook: &mut Webhook, form: &Fields, rules: WebhookRules) -> Result<(), No> {
    if let Some(name) = form.text("FriendlyName")? {
        if name.trim().is_empty() || name.chars().count() > 64 {
            return Err(No::invalid("FriendlyName"));
        }
        name.clone_into(&mut webhook.friendly_name);
    }
    let events = form.all("EventTypes");
    if !events.is_empty() {
        let ours = |word: &str| EventKind::ALL.iter().any(|kind| kind.as_str() == word);
        if events.iter().any(|word| !THEIRS.contains(word) && !ours(word)) {
            return Err(No::invalid("EventTypes"));
        }
        webhook.event_types = events.into_iter().map(str::to_owned).collect();
    }
    if let Some(address) = form.text("WebhookUrl")? {
        if address.len() > 2000 {
            return Err(No::invalid("WebhookUrl"));
        }
        account::read_url(address, rules).map_err(|why| No::invalid_because("WebhookUrl", why))?;
        address.clone_into(&mut webhook.webhook_url);
    }
    if let Some(status) = form.word("Status", &["enabled", "disabled"])? {
        status.clone_into(&mut webhook.status);
    }
    if let Some(version) = form.word("Version", &["v1", "v2"])? {
        version.clone_into(&mut webhook.version);
    }
    Ok(())
}

/// What webhooks may be here; a store that keeps no events has none to tell.
pub(super) fn rules(door: &Door) -> Result<WebhookRules, No> {
    door.settings.twilio.as_ref().and_then(|twilio| twilio.webhooks).ok_or_else(|| NOT_SUPPORTED.into())
}

pub(super) async fn create(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let (profile, rules) = (Profile::named(&door, &call).await?, rules(&door)?);
    for name in ["FriendlyName", "WebhookUrl"] {
        call.form.required(name)?;
    }
    if call.form.all("EventTypes").is_empty() {
        return Err(No::invalid("EventTypes"));
    }
    let mut webhook = Webhook { status: "enabled".into(), version: "v2".into(), ..Webhook::default() };
    read(&mut webhook, &call.form, rules)?;
    if has_more(&door, &call, &profile.sid, 1).await? {
        return Err(MAX_WEBHOOKS.into());
    }
    // What happens once this is answered is told.
    account::begin(&door.verifier).await?;
    let name = call.record(KIND, sid::random("YW")?);
    let body = serde_json::to_string(&webhook).unwrap_or_default();
    let record = door.verifier.create_record(name, Some(profile.sid.clone()), body).await?;
    let record = record.ok_or_else(|| call.not_found())?;
    if has_more(&door, &call, &profile.sid, 0).await? {
        return Err(take_back(&door, &record, MAX_WEBHOOKS).await);
    }
    let mut shown = show(&door, &call, &record).ok_or_else(|| call.not_found())?;
    shown.signing_secret = Some(account::secret(&door.verifier, call.application(), &record.name.id).to_string());
    Ok(answer::response(answer::json(StatusCode::CREATED, &shown)))
}

/// Whether there are more than may be, with so many that are not there yet. Each is asked for its messages all the time, so there is
/// an end to them.
async fn has_more(door: &Door, call: &Call, service: &str, to_come: usize) -> Result<bool, No> {
    let filter = RecordFilter {
        application: call.application().clone(),
        kind: KIND.to_owned(),
        parent: None,
        limit: MOST + 1,
        after: None,
    };
    let known = door.verifier.records(&filter).await?.rows;
    let here = known.iter().filter(|record| record.parent.as_deref() == Some(service)).count();
    Ok(known.len() + to_come > MOST || here + to_come > MOST_OF_SERVICE)
}

pub(super) async fn list(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    let show = |record: &_| show(&door, &call, record);
    paging::records(&door, &call, (KIND, Some(&profile.sid), "webhooks"), None, show).await
}

/// As it is written.
#[derive(Serialize)]
pub(super) struct WebhookBody {
    sid: String,
    service_sid: String,
    account_sid: String,
    #[serde(flatten)]
    webhook: Webhook,
    webhook_method: &'static str,
    date_created: Seconds,
    date_updated: Seconds,
    url: String,
    /// Ours: what its messages are signed with, shown to whoever made it and to nobody later.
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_secret: Option<String>,
}

pub(super) fn show(door: &Door, call: &Call, record: &Record) -> Option<WebhookBody> {
    let service_sid = record.parent.clone()?;
    let sid = record.name.id.clone();
    Some(WebhookBody {
        url: url(door, &format!("/v2/Services/{service_sid}/Webhooks/{sid}")),
        sid,
        service_sid,
        account_sid: call.account.sid.clone(),
        webhook: serde_json::from_str(&record.body).ok()?,
        webhook_method: "POST",
        date_created: Seconds::floor(record.created_at),
        date_updated: Seconds::floor(record.updated_at),
        signing_secret: None,
    })
}
