//! From a row of the configuration to a sender.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use countersign::core::language::{self, Language};
use countersign::core::time::Timestamp;
use countersign::sender::Sender;
use countersign::{Clock, SystemClock};
use zeroize::Zeroizing;

use crate::config::{ProviderConfig, ProviderError};
use crate::console::Console;
use crate::descriptor::{Descriptor, KEYPRESS, PROMPT, RECEIPTS_URL, Switch};
use crate::http::HttpSender;
use crate::inbox::Inbox;
use crate::registry;
use crate::request::{BadValue, Plan};
use crate::sender_ids::ByCountry;
#[cfg(feature = "smpp")]
use crate::smpp::Smpp;
#[cfg(feature = "smtp")]
use crate::smtp::Smtp;
use crate::template::Fields;

/// Tells the time.
pub type Now = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What senders need from the program around them.
#[derive(Clone)]
pub struct Surroundings {
    /// Dates signatures, and tells how far away a `Retry-After` date is.
    pub now: Now,
    /// Where messages go that are given to the provider `inbox`.
    pub inbox: Inbox,
}

impl Default for Surroundings {
    /// The machine's clock, and an inbox of its own.
    fn default() -> Self {
        let now: Now = Arc::new(|| SystemClock.now());
        Self { inbox: Inbox::new(Arc::clone(&now)), now }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// Builds a provider with the machine's clock. What it gives to `inbox` nobody can read: see [`build_with`].
///
/// # Errors
/// [`ProviderError`] names the provider and the field, and says what to write instead.
pub fn build(config: &ProviderConfig) -> Result<Arc<dyn Sender>, ProviderError> {
    build_with(config, &Surroundings::default())
}

/// Builds a provider.
///
/// # Errors
/// [`ProviderError`] names the provider and the field, and says what to write instead.
pub fn build_with(config: &ProviderConfig, around: &Surroundings) -> Result<Arc<dyn Sender>, ProviderError> {
    if config.senders.is_empty() { build_one(config, around) } else { build_by_country(config, around) }
}

/// One sender for each country that has its own, and one for all others.
fn build_by_country(config: &ProviderConfig, around: &Surroundings) -> Result<Arc<dyn Sender>, ProviderError> {
    let descriptor = descriptor_of(config)?;
    let bad = |problem: String| ProviderError::BadField {
        provider: config.name.clone(),
        field: "senders".to_owned(),
        problem,
    };
    let Some(rule) = descriptor.sender.as_ref().filter(|_| descriptor.is_http()) else {
        return Err(bad(format!("is not for `{}`, which has one sender or none; leave it out", config.uses)));
    };
    let mut common = config.clone();
    common.senders.clear();
    let mut countries = BTreeMap::new();
    for (country, sender) in &config.senders {
        if sender.reveal().trim().is_empty() {
            return Err(bad(format!("says nothing for {country}; write the sender, or leave the country out")));
        }
        let mut own = common.clone();
        own.fields.insert(rule.field.clone(), sender.clone());
        let built = build_one(&own, around).map_err(|error| match error {
            ProviderError::BadField { field, problem, .. } if field == rule.field => {
                bad(format!("of {country} {problem}"))
            }
            other => other,
        })?;
        countries.insert(*country, built);
    }
    Ok(Arc::new(ByCountry { otherwise: build_one(&common, around)?, countries }))
}

fn build_one(config: &ProviderConfig, around: &Surroundings) -> Result<Arc<dyn Sender>, ProviderError> {
    let descriptor = descriptor_of(config)?;
    check_fields(config, &descriptor)?;
    if descriptor.is_http() {
        return Ok(Arc::new(http_sender(config, descriptor, around)?));
    }
    match descriptor.name.as_str() {
        Console::NAME => Ok(Arc::new(Console::stderr(&config.name))),
        Inbox::NAME => Ok(Arc::new(around.inbox.sender(&config.name))),
        #[cfg(feature = "smpp")]
        Smpp::NAME => Ok(Arc::new(Smpp::new(config, Arc::clone(&around.now))?)),
        #[cfg(feature = "smtp")]
        Smtp::NAME => Ok(Arc::new(Smtp::new(config, Arc::clone(&around.now))?)),
        _ => Err(unknown(config)),
    }
}

/// The descriptor that a row uses.
pub(crate) fn descriptor_of(config: &ProviderConfig) -> Result<Arc<Descriptor>, ProviderError> {
    config.described().cloned().ok_or_else(|| unknown(config))
}

fn unknown(config: &ProviderConfig) -> ProviderError {
    let known: Vec<_> = registry::all().iter().map(|descriptor| descriptor.name.as_str()).collect();
    ProviderError::UnknownProvider { provider: config.name.clone(), uses: config.uses.clone(), known: known.join(", ") }
}

pub(crate) fn check_fields(config: &ProviderConfig, descriptor: &Descriptor) -> Result<(), ProviderError> {
    let provider = || config.name.clone();
    let bad = |field: &str, problem: String| ProviderError::BadField {
        provider: provider(),
        field: field.to_owned(),
        problem,
    };
    if let Some(field) = config.fields.keys().find(|field| descriptor.field(field).is_none()) {
        let known: Vec<_> = descriptor.fields.iter().map(|field| field.name.as_str()).collect();
        return Err(ProviderError::UnknownField {
            provider: provider(),
            uses: config.uses.clone(),
            field: field.clone(),
            known: if known.is_empty() { "none".to_owned() } else { known.join(", ") },
        });
    }
    let missing =
        |field: &str, help: String| ProviderError::MissingField { provider: provider(), field: field.to_owned(), help };
    if let Some(field) = descriptor.fields.iter().find(|field| field.required && config.get(&field.name).is_none()) {
        return Err(missing(&field.name, field.help.clone()));
    }
    for (name, value) in &config.fields {
        if value.reveal().chars().any(char::is_control) {
            return Err(bad(name, "holds a line break or another control character; leave it out".to_owned()));
        }
    }
    if descriptor.can_ask_for_a_key() && config.get(KEYPRESS).is_some_and(|said| Switch::named(said).is_none()) {
        return Err(bad(KEYPRESS, "must be \"on\" or \"off\"".to_owned()));
    }
    if let Some(sender) = &descriptor.sender {
        let candidates = || std::iter::once(&sender.field).chain(&sender.or);
        if sender.required && !candidates().any(|field| config.get(field).is_some()) {
            let help = descriptor.field(&sender.field).map(|field| field.help.clone()).unwrap_or_default();
            let others: String = sender.or.iter().map(|field| format!("; or set {field}")).collect();
            return Err(missing(&sender.field, help + &others));
        }
        if let (Some(most), Some(name)) = (sender.max_length, config.get(&sender.field))
            && name.chars().count() > most
        {
            return Err(bad(&sender.field, format!("is longer than the {most} characters that this provider takes")));
        }
    }
    // Half of it may go by while connecting; and a person waits.
    if !(Duration::from_millis(100)..=Duration::from_secs(300)).contains(&config.timeout) {
        return Err(bad("timeout", "must be between \"100ms\" and \"5m\"".to_owned()));
    }
    Ok(())
}

/// The requests of a provider, as far as they can be made before there is a message.
pub(crate) fn plan(config: &ProviderConfig, descriptor: &Descriptor) -> Result<Plan, ProviderError> {
    let Some(http) = &descriptor.http else { return Err(unknown(config)) };
    let keypress = descriptor.keypress_of(config);
    with_fields(config, descriptor, |fields| Plan::new(http, keypress, fields, config.get("base_url")))
}

/// Makes something of what the fields of a provider say, defaults included.
pub(crate) fn with_fields<T>(
    config: &ProviderConfig,
    descriptor: &Descriptor,
    make: impl FnOnce(&Fields<'_>) -> Result<T, BadValue>,
) -> Result<T, ProviderError> {
    let told = descriptor.takes_receipts_url().then(|| receipts_address(config, descriptor)).flatten();
    let mut fields = Fields::default();
    for field in &descriptor.fields {
        if let Some(value) = config.get(&field.name).or(field.default.as_deref()) {
            fields.0.insert(&field.name, value);
        }
    }
    match &told {
        Some(address) => drop(fields.0.insert(RECEIPTS_URL, address)),
        None => drop(fields.0.remove(RECEIPTS_URL)),
    }
    let bad = |(field, problem): BadValue| ProviderError::BadField { provider: config.name.clone(), field, problem };
    if let Some(keypress) = descriptor.keypress_of(config) {
        if keypress.answer.is_some() && told.is_none() {
            return Err(bad(no_way_to_ask(descriptor)));
        }
        if !fields.0.contains_key(PROMPT) {
            fields.0.insert(PROMPT, words(fields.get(&keypress.language)).map_err(bad)?);
        }
    }
    make(&fields).map_err(bad)
}

/// "Press any key" in the language that is spoken. A voice that reads another language's words is not understood.
fn words(tag: &str) -> Result<&'static str, BadValue> {
    let language = language::fallbacks(tag).into_iter().find_map(language::find);
    language.map(Language::press_any_key).ok_or_else(|| {
        let problem = format!("is missing: there are no words of ours for the language `{tag}`; write what is said to ask for a key, or keypress = \"off\"");
        (PROMPT.to_owned(), problem)
    })
}

/// A key is asked for, and the provider could not ask for the code then.
fn no_way_to_ask(descriptor: &Descriptor) -> BadValue {
    let field = descriptor.receipts_field().unwrap_or_default();
    let problem = format!(
        "cannot be on: once a key was pressed the provider asks us for the code, at receipts_url (or server.public_url), and is believed by `{field}`; set both, or write keypress = \"off\""
    );
    (KEYPRESS.to_owned(), problem)
}

/// Where the provider is told to report to: with the secret, if that belongs there. Without the secret nothing that it reported
/// would be believed, so it is not told at all.
fn receipts_address(config: &ProviderConfig, descriptor: &Descriptor) -> Option<Zeroizing<String>> {
    let (url, secret) = (config.get(RECEIPTS_URL)?, config.get(descriptor.receipts_field()?)?);
    let url = url.trim_end_matches('/');
    let whole = if descriptor.receipts_secret_is_in_path() { format!("{url}/{secret}") } else { url.to_owned() };
    Some(Zeroizing::new(whole))
}

fn http_sender(
    config: &ProviderConfig,
    descriptor: Arc<Descriptor>,
    around: &Surroundings,
) -> Result<HttpSender, ProviderError> {
    let plan = plan(config, &descriptor)?;
    let private = private(config, &descriptor);
    HttpSender::new(config.name.clone(), descriptor, plan, config.timeout, Arc::clone(&around.now), private)
        .map_err(|problem| ProviderError::Transport { provider: config.name.clone(), problem })
}

/// What must not come back in a reason: everything but the sender's name, which the person sees anyway. A user's id is no secret,
/// but nobody else's business.
pub(crate) fn private(config: &ProviderConfig, descriptor: &Descriptor) -> Vec<Zeroizing<String>> {
    let sender = descriptor.sender.as_ref().map(|sender| sender.field.as_str());
    let private = config.fields.keys().filter(|field| Some(field.as_str()) != sender);
    private.filter_map(|field| config.get(field)).map(|value| Zeroizing::new(value.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(config: &ProviderConfig) -> String {
        build(config).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn errors_name_the_provider_the_field_and_what_to_write() {
        let unknown = error(&ProviderConfig::new("gw", "carrier-pigeon"));
        assert!(unknown.starts_with("provider `gw`: no provider is called `carrier-pigeon`; write `uses` as one of: "));
        assert!(unknown.contains("webhook") && unknown.contains("inbox"), "{unknown}");

        let missing = error(&ProviderConfig::new("tz", "mshastra").with("user", "u").with("sender", "MyApp"));
        assert!(missing.starts_with("provider `tz`: `password` is missing; write password = \"…\" ("), "{missing}");

        let blank = error(&ProviderConfig::new("gw", "webhook").with("url", " "));
        assert!(blank.starts_with("provider `gw`: `url` is missing"), "{blank}");

        let misspelt = error(&ProviderConfig::new("gw", "webhook").with("url", "http://a/").with("scret", "hunter2"));
        assert!(misspelt.contains("`webhook` has no field `scret`; its fields are: url, "), "{misspelt}");
        assert!(misspelt.contains("base_url") && !misspelt.contains("hunter2"), "{misspelt}");

        let inbox = error(&ProviderConfig::new("inbox", "inbox").with("url", "http://a/"));
        assert!(inbox.ends_with("its fields are: none"), "{inbox}");
    }

    #[test]
    fn values_that_cannot_work_are_refused_without_being_shown() {
        let webhook = || ProviderConfig::new("gw", "webhook").with("url", "http://127.0.0.1:9000/messages");
        let secret = error(&webhook().with("secret", "hunter2"));
        assert!(secret.starts_with("provider `gw`: `secret` must be `whsec_` followed by"), "{secret}");
        assert!(!secret.contains("hunter2"));
        let url = error(&ProviderConfig::new("gw", "webhook").with("url", "https://me:hunter2@host/"));
        assert!(url.contains("`url` must not hold a user and a password") && !url.contains("hunter2"), "{url}");
        let base = error(&webhook().with("base_url", "localhost:9000"));
        assert!(base.contains("`base_url` must begin with https:// or http://"), "{base}");
        let lines = error(&webhook().with("from", "A\r\nX-Evil: 1"));
        assert!(lines.contains("`from` holds a line break"), "{lines}");
        let quick = error(&webhook().within(Duration::ZERO));
        assert!(quick.contains("`timeout` must be between"), "{quick}");
        let twilio = || ProviderConfig::new("tw", "twilio").with("account_sid", "AC1").with("auth_token", "t");
        let sender = error(&twilio());
        assert!(sender.contains("`from` is missing") && sender.contains("or set messaging_service_sid"), "{sender}");
        let colon = error(&twilio().with("from", "+1").with("api_key_sid", "a:b"));
        assert!(colon.contains("`api_key_sid`") && colon.contains("must not hold a `:`"), "{colon}");
        let tz = ProviderConfig::new("tz", "mshastra").with("user", "u").with("password", "p");
        let long = error(&tz.with("sender", "FourteenLetter"));
        assert!(long.contains("`sender` is longer than the 13 characters"), "{long}");
    }

    #[test]
    fn what_is_built_carries_what_its_descriptor_says() {
        for uses in ["console", "inbox"] {
            let built = build(&ProviderConfig::new("here", uses)).ok();
            assert_eq!(
                built.map(|sender| (sender.name().to_owned(), sender.channels().len())),
                Some(("here".to_owned(), 5))
            );
        }
    }
}
