//! The endpoints that accounts set up themselves, by the Webhooks resource of the Twilio dialect: kept as records, so that every
//! process on a store learns of them, and of each change, within seconds.
//!
//! Each signs with a secret of its own. It is derived, as codes are, from the key ring and the webhook's name, so that no store holds
//! it; the keyed digest that it is stays the same when the ring is rotated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::core::event::EventKind;
use countersign::core::id::ApplicationName;
use countersign::store::{ApplicationRecord, Record, RecordFilter, StoreError};
use countersign::webhook::Requeue;
use countersign::{Broken, Verifier};
use countersign_providers::standard_webhooks::Key;
use reqwest::Url;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Endpoint;
use super::address::Guide;
use crate::api::twilio::sid;
use crate::settings::WebhookRules;

/// The kind of its records.
pub(crate) const KIND: &str = "webhook";

/// Records read at once.
const PAGE: usize = 500;

/// What an account says of a webhook.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Webhook {
    pub friendly_name: String,
    pub event_types: Vec<String>,
    pub webhook_url: String,
    pub status: String,
    pub version: String,
}

impl Webhook {
    /// Which events it is told of; `None` is every one. Those that only the original knows never happen here.
    fn events(&self) -> Option<Vec<EventKind>> {
        if self.event_types.iter().any(|word| word == "*") {
            return None;
        }
        let named = |kind: &EventKind| self.event_types.iter().any(|word| word == kind.as_str());
        Some(EventKind::ALL.into_iter().filter(named).collect())
    }

    fn is_enabled(&self) -> bool {
        self.status == "enabled"
    }
}

/// An address that events may be posted to, as far as can be said without looking it up.
pub(crate) fn read_url(text: &str, rules: WebhookRules) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| url.host_str().is_some_and(|host| !host.is_empty()));
    let url = url.ok_or("not an address")?;
    match url.scheme() {
        "https" => {}
        "http" if !rules.only_https => {}
        "http" => return Err("must be https"),
        _ => return Err("must be http or https"),
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err("takes no user, password or #");
    }
    let guide = Guide(rules.reach);
    if url.host_str().is_some_and(|host| guide.refuses(host).is_some()) {
        return Err("no address of the public internet");
    }
    Ok(url)
}

/// What a webhook signs with.
#[must_use]
pub fn secret(verifier: &Verifier, application: &ApplicationName, webhook: &str) -> Zeroizing<String> {
    let parts = [b"webhook secret v1", application.as_str().as_bytes(), webhook.as_bytes()];
    let bytes = Zeroizing::new(verifier.fingerprint(&parts));
    Zeroizing::new(format!("whsec_{}", STANDARD.encode(bytes.as_slice())))
}

/// Has events taken up from now on, if none were before: what happens after a webhook was answered for is told.
pub(crate) async fn begin(verifier: &Verifier) -> Result<(), Broken> {
    verifier.store().webhook_position(true).await?;
    Ok(())
}

/// Has a webhook that answered 410, or fails, posted to again, now.
pub(crate) async fn enable(verifier: &Verifier, webhook: &str) -> Result<(), Broken> {
    verifier.store().requeue_webhooks(&[webhook.to_owned()], &Requeue::Waiting, verifier.now()).await?;
    Ok(())
}

/// The endpoints of every account.
///
/// # Errors
/// [`StoreError`].
pub async fn endpoints(verifier: &Verifier) -> Result<Vec<Arc<Endpoint>>, StoreError> {
    let mut follower = Follower::default();
    follower.look(verifier, usize::MAX).await?;
    Ok(follower.endpoints())
}

/// Knows the endpoints of every account as they were when it looked last.
#[derive(Debug, Default)]
pub(super) struct Follower {
    known: BTreeMap<ApplicationName, Vec<Arc<Endpoint>>>,
    accounts: BTreeMap<ApplicationName, ApplicationRecord>,
    /// Those that are still to be looked at in this round.
    ahead: Vec<ApplicationRecord>,
}

impl Follower {
    /// Looks at the webhooks of so many applications at most, one round of them after the other.
    pub async fn look(&mut self, verifier: &Verifier, most: usize) -> Result<(), StoreError> {
        if self.ahead.is_empty() {
            self.meet(verifier).await?;
            self.ahead = self.accounts.values().cloned().collect();
        }
        for _ in 0..most {
            let Some(application) = self.ahead.last() else { break };
            let endpoints = of_application(verifier, application).await?;
            self.known.insert(application.name.clone(), endpoints);
            self.ahead.pop();
        }
        Ok(())
    }

    /// Looks at the webhooks of these applications now.
    pub async fn look_at(&mut self, verifier: &Verifier, names: BTreeSet<&ApplicationName>) -> Result<(), StoreError> {
        if names.iter().any(|name| !self.accounts.contains_key(*name)) {
            self.meet(verifier).await?;
        }
        for application in names.into_iter().filter_map(|name| self.accounts.get(name)) {
            let endpoints = of_application(verifier, application).await?;
            self.known.insert(application.name.clone(), endpoints);
        }
        Ok(())
    }

    async fn meet(&mut self, verifier: &Verifier) -> Result<(), StoreError> {
        let applications = verifier.store().applications().await?;
        self.accounts = applications.into_iter().map(|record| (record.name.clone(), record)).collect();
        let accounts = &self.accounts;
        self.known.retain(|name, _| accounts.contains_key(name));
        Ok(())
    }

    pub fn endpoints(&self) -> Vec<Arc<Endpoint>> {
        self.known.values().flatten().cloned().collect()
    }
}

async fn of_application(
    verifier: &Verifier,
    application: &ApplicationRecord,
) -> Result<Vec<Arc<Endpoint>>, StoreError> {
    let name = application.name.clone();
    let mut filter = RecordFilter { application: name, kind: KIND.to_owned(), parent: None, limit: PAGE, after: None };
    let mut endpoints = Vec::new();
    loop {
        let page = verifier.store().records(&filter).await?;
        endpoints.extend(page.rows.iter().filter_map(|record| endpoint(verifier, application, record)).map(Arc::new));
        filter.after = page.next;
        if filter.after.is_none() {
            return Ok(endpoints);
        }
    }
}

/// The endpoint that a record means; `None` if it is disabled.
fn endpoint(verifier: &Verifier, application: &ApplicationRecord, record: &Record) -> Option<Endpoint> {
    let webhook: Webhook = serde_json::from_str(&record.body).ok()?;
    let url = Url::parse(&webhook.webhook_url).ok().filter(|_| webhook.is_enabled())?;
    let service = record.parent.as_deref()?;
    let service = (service != sid::default_service(&application.account_sid))
        .then(|| sid::service(service).map(|(id, _)| id))
        .map_or(Some(None), |id| id.map(Some))?;
    let secret = secret(verifier, &application.name, &record.name.id);
    let key: Key = secret.parse().ok()?;
    let endpoint = Endpoint::new(application.name.clone(), url, &[(key, secret)], webhook.events());
    Some(endpoint.of_account(record.name.id.clone(), service))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;
    use crate::webhooks::address::Reach;

    const OPEN: WebhookRules = WebhookRules { reach: Reach::Anywhere, only_https: false };
    const STRICT: WebhookRules = WebhookRules { reach: Reach::Public, only_https: true };

    #[test]
    fn addresses_are_judged_before_they_are_kept() {
        for (text, open, strict) in [
            ("https://app.example/hook?x=1", true, true),
            ("http://app.example/", true, false),
            ("http://127.0.0.1:9/", true, false),
            ("https://127.0.0.1:9/", true, false),
            ("https://2130706433/", true, false),
            ("https://0x7f.1/", true, false),
            ("https://[::ffff:10.0.0.1]/", true, false),
            ("https://169.254.169.254/latest/meta-data", true, false),
            ("https://1.1.1.1/", true, true),
            ("ftp://app.example/", false, false),
            ("https://user:secret@app.example/", false, false),
            ("https://app.example/#here", false, false),
            ("app.example", false, false),
            ("", false, false),
        ] {
            assert_eq!(read_url(text, OPEN).is_ok(), open, "{text}");
            assert_eq!(read_url(text, STRICT).is_ok(), strict, "{text}");
        }
    }

    #[test]
    fn events_are_ours_or_never_happen() {
        let events = |words: &[&str]| {
            let event_types = words.iter().map(|word| (*word).to_owned()).collect();
            Webhook { event_types, ..Webhook::default() }.events()
        };
        assert_eq!(events(&["*"]), None);
        assert_eq!(events(&["factor.created", "*"]), None);
        assert_eq!(events(&["factor.created"]), Some(Vec::new()));
        assert_eq!(events(&["verification.approved", "challenge.denied"]), Some(vec![EventKind::VerificationApproved]));
    }

    proptest! {
        #[test]
        fn any_address_is_judged(text in "\\PC{0,60}|https?://\\PC{0,40}") {
            if let Ok(url) = read_url(&text, STRICT) {
                prop_assert!(url.scheme() == "https" && url.host_str().is_some() && url.username().is_empty());
            }
        }
    }
}
