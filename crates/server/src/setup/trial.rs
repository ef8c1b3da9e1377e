//! Trying out without consequences: a send and a check in memory, and one message through one provider that holds no live code.

use std::sync::Arc;
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::code::KeyRing;
use countersign::core::destination::Destination;
use countersign::core::id::{ApplicationName, DeliveryId};
use countersign::core::outcome::{Message, Outcome};
use countersign::core::policy::Countries;
use countersign::core::route::Route;
use countersign::{CheckRequest, Clock, RecordingSender, SendRequest, SystemClock, Verifier};
use countersign_providers::{Surroundings, build_with};
use zeroize::Zeroizing;

use super::SetUpError;
use crate::config::{ProviderSettings, Settings};
use crate::keys::KeyFileError;

/// Numbers of ranges that reach somebody's test, or nobody.
const NUMBER: &str = "+255694230173";
const ADDRESS: &str = "test@example.com";
/// What a test message says. Its code is of no verification.
const TEXT: &str = "This is a test message of Countersign. It holds no code; nothing needs to be done.";
const NO_CODE: &str = "000000";

/// Sends a code and checks it under an application's rules, its texts and its keys, in memory: nothing is stored, nothing leaves.
///
/// # Errors
/// What did not work.
pub async fn dry_run(settings: &Settings, name: &ApplicationName, keys: KeyRing) -> Result<(), String> {
    let mut application = settings.application(name);
    // Where one may write to, how often, and with which fixed codes is not what is tried here.
    application.policy.allowed_countries = Countries::All;
    application.policy.blocked_number_types.clear();
    application.policy.purposes = None;
    application.limits.clear();
    application.test_destinations.clear();
    let carried = |channel| application.routes.iter().any(|route| route.channel == channel);
    let to = if carried(Channel::Sms) || !carried(Channel::Email) { NUMBER } else { ADDRESS };
    let destination = Destination::parse(to, None).map_err(|error| error.to_string())?;
    let channel = Channel::default_for(&destination);
    let phone = Arc::new(RecordingSender::new("dry-run"));
    application.routes = vec![Route::to(channel, ["dry-run"])];
    application.policy.workflow.clear();
    let sender: Arc<dyn countersign::Sender> = Arc::<RecordingSender>::clone(&phone);
    let verifier = Verifier::builder().keys(keys).sender(sender).application(application).build();
    let verifier = verifier.map_err(|error| error.to_string())?;
    let sending =
        verifier.send(SendRequest::to(to).application(name.clone())).await.map_err(|error| error.to_string())?;
    let id = sending.sent.verification.id;
    let (_, _, deliveries) = sending.wait(Duration::from_secs(5)).await.map_err(|error| error.to_string())?;
    let Some(message) = phone.messages().pop() else {
        let reason = deliveries.into_iter().rev().find_map(|delivery| delivery.error);
        return Err(reason.unwrap_or_else(|| "no message came out".to_owned()));
    };
    let code = Zeroizing::new(message.code);
    let check = CheckRequest::by_id(id, &code).application(name.clone());
    let checked = verifier.check(check).await.map_err(|error| error.to_string())?;
    match checked.result.as_str() {
        "approved" => Ok(()),
        other => Err(format!("the right code was answered with `{other}`")),
    }
}

/// Whether text messages have a way out of each country that an application may write to; else what is missing.
///
/// # Errors
/// What to add.
pub fn covers_sms(settings: &Settings, name: &ApplicationName) -> Result<(), String> {
    let application = settings.application(name);
    let carries = |fits: &dyn Fn(&Countries) -> bool| {
        application.routes.iter().any(|route| route.channel == Channel::Sms && fits(&route.countries))
    };
    let missing: Vec<_> = match &application.policy.allowed_countries {
        Countries::All if !carries(&|countries| *countries == Countries::All) => {
            vec!["every country".to_owned()]
        }
        Countries::All => Vec::new(),
        Countries::Only(list) => list
            .iter()
            .filter(|country| !carries(&|countries| countries.contains(Some(**country))))
            .map(ToString::to_string)
            .collect(),
    };
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!(
        "no route carries sms to {}; add [[routes]] channel = \"sms\" with providers for it",
        missing.join(", ")
    ))
}

/// What came of a test message.
#[derive(Debug)]
pub struct Tried {
    /// How it travelled.
    pub channel: Channel,
    /// What the provider said.
    pub outcome: Outcome,
    /// How long it took.
    pub took: Duration,
}

/// Why no test message was sent.
#[derive(Debug, thiserror::Error)]
pub enum NotTried {
    /// The destination, or the channel to it.
    #[error("{0}")]
    Request(String),
    /// The provider.
    #[error(transparent)]
    SetUp(#[from] SetUpError),
}

/// Sends one message that holds no live code through one provider.
///
/// # Errors
/// [`NotTried`] if nothing was sent.
pub async fn test_provider(
    settings: &Settings,
    application: &ApplicationName,
    provider: &ProviderSettings,
    to: &str,
    channel: Option<Channel>,
) -> Result<Tried, NotTried> {
    let to = Destination::parse(to, settings.policy.default_country)
        .map_err(|error| NotTried::Request(error.to_string()))?;
    let wanted = channel.map_or_else(|| provider.channels.clone(), |channel| vec![channel]);
    let fits = |channel: &Channel| provider.channels.contains(channel) && channel.reaches(&to);
    let Some(channel) = wanted.into_iter().find(fits) else {
        let carried: Vec<_> = provider.channels.iter().map(|channel| channel.as_str()).collect();
        let name = &provider.config.name;
        return Err(NotTried::Request(format!(
            "`{name}` carries {}, which does not reach that destination so",
            carried.join(", ")
        )));
    };
    let sender = build_with(&provider.config, &Surroundings::default()).map_err(SetUpError::from)?;
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| SetUpError::from(KeyFileError::Random(error)))?;
    let code = NO_CODE.parse().map_err(|_| NotTried::Request("the test code is none".to_owned()))?;
    let started = SystemClock.now();
    let message = Message {
        id: DeliveryId::from_bytes(id),
        application: application.clone(),
        display_name: settings.application(application).display_name,
        channel,
        to,
        subject: Zeroizing::new("Test message".to_owned()),
        text: Zeroizing::new(TEXT.to_owned()),
        code,
        ticket: Default::default(),
        locale: "en".to_owned(),
        expires_at: started + Duration::from_secs(300),
    };
    let timeout = settings.delivery.timeout;
    let outcome = tokio::time::timeout(timeout, sender.send(&message)).await;
    let outcome =
        outcome.unwrap_or_else(|_| Outcome::Unknown { reason: format!("no answer within {} s", timeout.as_secs()) });
    Ok(Tried { channel, outcome, took: SystemClock.now().since(started) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use countersign::core::code::Key;

    use super::*;

    fn keys() -> KeyRing {
        KeyRing::new("k", Key::from_bytes([7; 32]))
    }

    #[tokio::test]
    async fn a_dry_run_works_whatever_the_application_allows() {
        for text in [
            "",
            "[policy]\nallowed_countries = [\"US\"]\npurposes = [\"pay\"]\nmax_sends = 1\n[[limits]]\nper = \"application\"\nquota = 0\nwindow = \"1h\"\n",
            "[[test_destinations]]\nto = \"+255694230173\"\ncode = \"123456\"\n",
        ] {
            let settings = Settings::from_text(text).unwrap();
            assert_eq!(dry_run(&settings, &ApplicationName::default(), keys()).await, Ok(()), "{text}");
        }
    }

    #[test]
    fn a_country_without_a_route_is_named() {
        let text = "[policy]\nallowed_countries = [\"TZ\", \"KE\"]\n[[routes]]\nchannel = \"sms\"\ncountries = [\"TZ\"]\nproviders = [\"inbox\"]\n";
        let settings = Settings::from_text(text).unwrap();
        let missing = covers_sms(&settings, &ApplicationName::default()).unwrap_err();
        assert!(missing.contains("sms to KE;"), "{missing}");
        assert_eq!(covers_sms(&Settings::default(), &ApplicationName::default()), Ok(()));
    }

    #[tokio::test]
    async fn a_test_message_goes_out_or_it_is_said_why_not() {
        let (settings, name) = (Settings::default(), ApplicationName::default());
        let inbox = &settings.providers[0];
        let tried = test_provider(&settings, &name, inbox, "+255694230173", None).await.unwrap();
        assert!(matches!(tried.outcome, Outcome::Accepted { .. }));
        assert_eq!(tried.channel, Channel::Sms);
        assert!(test_provider(&settings, &name, inbox, "abc", None).await.is_err());
        assert!(test_provider(&settings, &name, inbox, "a@b.example", Some(Channel::Sms)).await.is_err());
    }
}
