//! `/v2/Services/{VA…}/Webhooks`: where an account wants to hear of its verifications. Kept and shown; what is sent to an
//! application is set up by `[[applications.webhooks]]`.

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use countersign::core::event::EventKind;
use countersign::store::Record;
use serde::{Deserialize, Serialize};

use super::call::{Call, url};
use super::fields::Fields;
use super::no::No;
use super::profile::Profile;
use super::{paging, sid};
use crate::api::native::object::Seconds;
use crate::http::answer;
use crate::service::{Door, Shared};

/// The kind of its records.
pub(super) const KIND: &str = "webhook";

/// The events that the original knows; ours are those of [`EventKind`].
const THEIRS: [&str; 6] =
    ["*", "factor.created", "factor.verified", "factor.deleted", "challenge.approved", "challenge.denied"];

/// What can be set.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Webhook {
    friendly_name: String,
    event_types: Vec<String>,
    webhook_url: String,
    status: String,
    version: String,
}

impl Webhook {
    /// Takes over what a form says.
    pub fn read(&mut self, form: &Fields) -> Result<(), No> {
        if let Some(name) = form.text("FriendlyName")? {
            if name.trim().is_empty() || name.chars().count() > 64 {
                return Err(No::invalid("FriendlyName"));
            }
            name.clone_into(&mut self.friendly_name);
        }
        let events = form.all("EventTypes");
        if !events.is_empty() {
            let ours = |word: &str| EventKind::ALL.iter().any(|kind| kind.as_str() == word);
            if events.iter().any(|word| !THEIRS.contains(word) && !ours(word)) {
                return Err(No::invalid("EventTypes"));
            }
            self.event_types = events.into_iter().map(str::to_owned).collect();
        }
        if let Some(address) = form.text("WebhookUrl")? {
            let uri = address.parse::<Uri>().ok().filter(|uri| uri.host().is_some_and(|host| !host.is_empty()));
            let scheme = uri.as_ref().and_then(Uri::scheme_str).unwrap_or_default();
            if !matches!(scheme, "http" | "https") || address.len() > 2000 {
                return Err(No::invalid("WebhookUrl"));
            }
            address.clone_into(&mut self.webhook_url);
        }
        if let Some(status) = form.word("Status", &["enabled", "disabled"])? {
            status.clone_into(&mut self.status);
        }
        if let Some(version) = form.word("Version", &["v1", "v2"])? {
            version.clone_into(&mut self.version);
        }
        Ok(())
    }
}

pub(super) async fn create(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    for name in ["FriendlyName", "WebhookUrl"] {
        call.form.required(name)?;
    }
    if call.form.all("EventTypes").is_empty() {
        return Err(No::invalid("EventTypes"));
    }
    let mut webhook = Webhook { status: "enabled".into(), version: "v2".into(), ..Webhook::default() };
    webhook.read(&call.form)?;
    let name = call.record(KIND, sid::random("YW")?);
    let body = serde_json::to_string(&webhook).unwrap_or_default();
    let record = door.verifier.create_record(name, Some(profile.sid), body).await?;
    let shown = record.as_ref().and_then(|record| show(&door, &call, record)).ok_or_else(|| call.not_found())?;
    Ok(answer::response(answer::json(StatusCode::CREATED, &shown)))
}

pub(super) async fn list(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let profile = Profile::named(&door, &call).await?;
    let show = |record: &_| show(&door, &call, record);
    paging::records(&door, &call, (KIND, Some(&profile.sid), "webhooks"), None, show).await
}

/// As it is written.
#[derive(Debug, Serialize)]
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
    })
}
