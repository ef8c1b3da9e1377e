//! A service: what an account set up for a part of its verifications.

use countersign::core::id::ServiceId;
use countersign::core::policy::Application;
use countersign::store::Record;
use serde::{Deserialize, Serialize};

use super::call::{Call, url};
use super::fields::Fields;
use super::no::No;
use super::sid;
use crate::api::native::object::Seconds;
use crate::service::Door;

/// The kind of its records.
pub(super) const KIND: &str = "service";

/// What can be set. What has no effect here is kept and shown, so that an app reads back what it wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    pub friendly_name: String,
    pub code_length: u8,
    pub lookup_enabled: bool,
    pub psd2_enabled: bool,
    skip_sms_to_landlines: bool,
    dtmf_input_required: bool,
    tts_name: Option<String>,
    do_not_share_warning_enabled: bool,
    pub custom_code_enabled: bool,
    push: Push,
    totp: Totp,
    whatsapp: Whatsapp,
    passkeys: Passkeys,
    pub default_template_sid: Option<String>,
    verify_event_subscription_enabled: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Push {
    include_date: bool,
    apn_credential_sid: Option<String>,
    fcm_credential_sid: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Totp {
    issuer: Option<String>,
    time_step: u32,
    code_length: u32,
    skew: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Whatsapp {
    msg_service_sid: Option<String>,
    from: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Passkeys {
    relying_party: RelyingParty,
    authenticator_attachment: Option<String>,
    discoverable_credentials: Option<String>,
    user_verification: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct RelyingParty {
    id: Option<String>,
    name: Option<String>,
    origins: Vec<String>,
}

impl Default for Totp {
    fn default() -> Self {
        Self { issuer: None, time_step: 30, code_length: 6, skew: 1 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            friendly_name: String::new(),
            code_length: 6,
            lookup_enabled: false,
            psd2_enabled: false,
            skip_sms_to_landlines: false,
            dtmf_input_required: true,
            tts_name: None,
            do_not_share_warning_enabled: false,
            custom_code_enabled: false,
            push: Push::default(),
            totp: Totp::default(),
            whatsapp: Whatsapp::default(),
            passkeys: Passkeys::default(),
            default_template_sid: None,
            verify_event_subscription_enabled: false,
        }
    }
}

impl Settings {
    /// Those of the service that is there from the beginning, before anybody changes it.
    fn of(application: &Application) -> Self {
        Self {
            friendly_name: application.display_name.clone(),
            code_length: application.policy.code_length,
            custom_code_enabled: application.policy.allow_custom_code,
            ..Self::default()
        }
    }

    /// Takes over what a form says.
    pub fn read(&mut self, form: &Fields) -> Result<(), No> {
        // What the operator called the application stands as it is.
        if let Some(name) = form.text("FriendlyName")? {
            if !is_friendly(name) {
                let detail = "1 to 30 letters, digits, spaces, - and _, at most 4 of them digits";
                return Err(No::invalid_because("FriendlyName", detail));
            }
            name.clone_into(&mut self.friendly_name);
        }
        if let Some(digits) = form.number("CodeLength", 4..=10)? {
            self.code_length = u8::try_from(digits).unwrap_or(self.code_length);
        }
        for (name, switch) in [
            ("LookupEnabled", &mut self.lookup_enabled),
            ("Psd2Enabled", &mut self.psd2_enabled),
            ("SkipSmsToLandlines", &mut self.skip_sms_to_landlines),
            ("DtmfInputRequired", &mut self.dtmf_input_required),
            ("DoNotShareWarningEnabled", &mut self.do_not_share_warning_enabled),
            ("CustomCodeEnabled", &mut self.custom_code_enabled),
            ("Push.IncludeDate", &mut self.push.include_date),
            ("VerifyEventSubscriptionEnabled", &mut self.verify_event_subscription_enabled),
        ] {
            *switch = form.boolean(name)?.unwrap_or(*switch);
        }
        for (name, number, range) in [
            ("Totp.TimeStep", &mut self.totp.time_step, 20..=60),
            ("Totp.CodeLength", &mut self.totp.code_length, 3..=8),
            ("Totp.Skew", &mut self.totp.skew, 0..=2),
        ] {
            *number = form.number(name, range)?.unwrap_or(*number);
        }
        let party = &mut self.passkeys.relying_party;
        for (name, text) in [
            ("TtsName", &mut self.tts_name),
            ("Push.ApnCredentialSid", &mut self.push.apn_credential_sid),
            ("Push.FcmCredentialSid", &mut self.push.fcm_credential_sid),
            ("Totp.Issuer", &mut self.totp.issuer),
            ("DefaultTemplateSid", &mut self.default_template_sid),
            ("Whatsapp.MsgServiceSid", &mut self.whatsapp.msg_service_sid),
            ("Whatsapp.From", &mut self.whatsapp.from),
            ("Passkeys.RelyingParty.Id", &mut party.id),
            ("Passkeys.RelyingParty.Name", &mut party.name),
            ("Passkeys.AuthenticatorAttachment", &mut self.passkeys.authenticator_attachment),
            ("Passkeys.DiscoverableCredentials", &mut self.passkeys.discoverable_credentials),
            ("Passkeys.UserVerification", &mut self.passkeys.user_verification),
        ] {
            let Some(given) = form.text(name)? else { continue };
            if given.chars().count() > 256 {
                return Err(No::invalid(name));
            }
            *text = (!given.is_empty()).then(|| given.to_owned());
        }
        let origins = form.all("Passkeys.RelyingParty.Origins");
        if !origins.is_empty() {
            party.origins = origins.iter().flat_map(|list| list.split(',')).map(|one| one.trim().to_owned()).collect();
        }
        Ok(())
    }
}

/// What may stand in a text as a name: nothing that reads as an address or as a code.
pub(super) fn is_friendly(name: &str) -> bool {
    (1..=30).contains(&name.chars().count())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
        && name.chars().filter(|c| c.is_numeric()).count() <= 4
        && !name.trim().is_empty()
}

/// A service of the account that asks.
#[derive(Debug)]
pub(super) struct Profile {
    /// `VA…`.
    pub sid: String,
    /// Its name in verifications: none for the one that is there from the beginning.
    pub id: Option<ServiceId>,
    pub settings: Settings,
    /// What is kept of it; the first service is kept once it is changed.
    pub record: Option<Record>,
}

impl Profile {
    /// The service that the path names.
    pub async fn named(door: &Door, call: &Call) -> Result<Self, No> {
        let (id, sid) = sid::service(call.param("service")).ok_or_else(|| call.not_found())?;
        let record = door.verifier.recent_record(call.record(KIND, sid.as_str())).await?;
        if sid == sid::default_service(&call.account.sid) {
            let application = door.verifier.application(call.application())?;
            let settings = record.as_ref().map_or_else(|| Some(Settings::of(&application)), settings_of);
            return Ok(Self { sid, id: None, settings: settings.ok_or_else(|| call.not_found())?, record });
        }
        let record = record.ok_or_else(|| call.not_found())?;
        let settings = settings_of(&record).ok_or_else(|| call.not_found())?;
        Ok(Self { sid, id: Some(id), settings, record: Some(record) })
    }

    /// The first service, unless it is kept and so among the records.
    pub async fn first(door: &Door, call: &Call) -> Result<Option<Self>, No> {
        let sid = sid::default_service(&call.account.sid);
        if door.verifier.record(&call.record(KIND, sid.as_str())).await?.is_some() {
            return Ok(None);
        }
        let settings = Settings::of(&*door.verifier.application(call.application())?);
        Ok(Some(Self { sid, id: None, settings, record: None }))
    }

    pub fn kept(record: &Record) -> Option<Self> {
        let (id, sid) = sid::service(&record.name.id)?;
        Some(Self { sid, id: Some(id), settings: settings_of(record)?, record: Some(record.clone()) })
    }

    /// What messages call it; `None` leaves the application's name.
    pub fn name(&self) -> Option<String> {
        self.record.is_some().then(|| self.settings.friendly_name.clone())
    }

    /// As it is shown.
    pub fn show(&self, door: &Door, call: &Call) -> ServiceBody {
        let mut settings = self.settings.clone();
        // Where the policy forbids it, no service has it.
        settings.custom_code_enabled &= allows_custom_code(door, call);
        let created = self.record.as_ref().map_or(call.account.created_at, |record| record.created_at);
        let updated = self.record.as_ref().map_or(created, |record| record.updated_at);
        let url = url(door, &format!("/v2/Services/{}", self.sid));
        let link = |name: &str| format!("{url}/{name}");
        ServiceBody {
            sid: self.sid.clone(),
            account_sid: call.account.sid.clone(),
            settings,
            date_created: Seconds::floor(created),
            date_updated: Seconds::floor(updated),
            links: Links {
                verifications: link("Verifications"),
                verification_checks: link("VerificationCheck"),
                rate_limits: link("RateLimits"),
                messaging_configurations: link("MessagingConfigurations"),
                entities: link("Entities"),
                webhooks: link("Webhooks"),
                access_tokens: link("AccessTokens"),
            },
            url,
        }
    }
}

fn settings_of(record: &Record) -> Option<Settings> {
    serde_json::from_str(&record.body).ok()
}

pub(super) fn allows_custom_code(door: &Door, call: &Call) -> bool {
    door.verifier.application(call.application()).is_ok_and(|application| application.policy.allow_custom_code)
}

/// A service as it is written.
#[derive(Debug, Serialize)]
pub(super) struct ServiceBody {
    sid: String,
    account_sid: String,
    #[serde(flatten)]
    settings: Settings,
    date_created: Seconds,
    date_updated: Seconds,
    url: String,
    links: Links,
}

#[derive(Debug, Serialize)]
struct Links {
    verifications: String,
    verification_checks: String,
    rate_limits: String,
    messaging_configurations: String,
    entities: String,
    webhooks: String,
    access_tokens: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_neither_an_address_nor_a_code() {
        for name in ["Duka", "My First Verify Service", "a-b_c 2024", "Ünïcødé", "x"] {
            assert!(is_friendly(name), "{name}");
        }
        for name in ["", " ", "12345", "evil.example", "a/b", "a\nb", "<b>", &"x".repeat(31)] {
            assert!(!is_friendly(name), "{name}");
        }
    }
}
