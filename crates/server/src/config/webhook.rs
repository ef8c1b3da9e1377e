//! What `[[applications.webhooks]]` may hold.

use std::fmt;

use countersign::core::event::EventKind;
use countersign::core::id::ApplicationName;
use countersign_providers::standard_webhooks::Key;
use reqwest::Url;
use zeroize::Zeroizing;

use super::read::{missing_key, secret_file};
use super::section::Table;
use super::sections::{WebhookKeys, WebhookTerms};
use super::suggest;
use super::tree::{Data, Node};
use super::value::{Field, Value, blank, instead, text};
use crate::webhooks::Endpoint;
use crate::webhooks::address::Reach;

blank!(WebhookSecrets, SecretFiles, WebhookEvents);

/// Where webhooks go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookUrl(pub Url);

impl Value for WebhookUrl {
    const KIND: &'static str = "an http:// or https:// URL, for example \"https://app.example.com/countersign\"";
    fn read(node: &Node) -> Result<Self, String> {
        // No message repeats it: a path can hold a secret.
        let refused = || format!("must be {}", Self::KIND);
        let url = text(node).and_then(|text| Url::parse(text.trim()).ok()).ok_or_else(refused)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(refused());
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err("takes no user, password or #: the signature says who sends it".to_owned());
        }
        Ok(Self(url))
    }
}

/// One secret, or two while it is changed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct WebhookSecrets(pub Vec<Zeroizing<String>>);

impl fmt::Debug for WebhookSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecrets")
    }
}

impl Value for WebhookSecrets {
    const KIND: &'static str = "a whsec_ secret, or a list of two";
    fn read(node: &Node) -> Result<Self, String> {
        let secrets = one_or_two(node).ok_or_else(|| format!("must be {}", Self::KIND))?;
        match secrets.iter().find_map(|secret| secret.parse::<Key>().err()) {
            Some(error) => Err(error.to_string()),
            None => Ok(Self(secrets)),
        }
    }
}

/// The files that secrets are in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecretFiles(pub Vec<String>);

impl Value for SecretFiles {
    const KIND: &'static str = "the path of a file, or a list of two";
    fn read(node: &Node) -> Result<Self, String> {
        let files = one_or_two(node).ok_or_else(|| format!("must be {}", Self::KIND))?;
        Ok(Self(files.iter().map(|file| file.as_str().to_owned()).collect()))
    }
}

/// A text, or a list of one or two; from the environment separated by a comma.
fn one_or_two(node: &Node) -> Option<Vec<Zeroizing<String>>> {
    let texts = match &node.data {
        Data::List(items) => items.iter().map(text).collect::<Option<Vec<_>>>()?,
        Data::Raw(text) => text.split(',').map(str::trim).collect(),
        _ => vec![text(node)?],
    };
    let lawful = (1..=2).contains(&texts.len()) && texts.iter().all(|text| !text.trim().is_empty());
    lawful.then(|| texts.into_iter().map(|text| Zeroizing::new(text.trim().to_owned())).collect())
}

/// Which events an endpoint is told of; `None` is every one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebhookEvents(pub Option<Vec<EventKind>>);

impl Value for WebhookEvents {
    const KIND: &'static str = "a list of events, for example [\"verification.approved\"], or [\"*\"] for all";
    fn read(node: &Node) -> Result<Self, String> {
        let names = Vec::<String>::read(node)?;
        match names.as_slice() {
            [] => return Err("an empty list is told of nothing; write [\"*\"] for all, or delete the row".to_owned()),
            [all] if all.trim() == "*" => return Ok(Self(None)),
            _ => {}
        }
        let known = EventKind::ALL.map(EventKind::as_str);
        let kind = |name: &String| {
            let name = name.trim();
            let found = EventKind::ALL.into_iter().find(|kind| kind.as_str() == name);
            found.ok_or_else(|| match name {
                "*" => "\"*\" is every event already; leave out the others, or the \"*\"".to_owned(),
                _ => {
                    format!("there is no event `{name}`{}", suggest::hint(name, &known))
                }
            })
        };
        let mut kinds =
            names.iter().map(kind).collect::<Result<Vec<_>, _>>().or_else(|error| instead_of(node, error))?;
        kinds.dedup();
        Ok(Self(Some(kinds)))
    }
}

fn instead_of<T>(node: &Node, error: String) -> Result<T, String> {
    if matches!(node.data, Data::List(_) | Data::Raw(_)) { Err(error) } else { instead(node, WebhookEvents::KIND) }
}

impl WebhookTerms {
    /// How far off endpoints may be.
    pub(super) const fn reach(&self, production: bool) -> Reach {
        match (self.allow_private_addresses, production) {
            (true, _) => Reach::Anywhere,
            (false, true) => Reach::Public,
            (false, false) => Reach::Trial,
        }
    }
}

/// The endpoints of an application.
pub(super) fn endpoints(row: &Table<'_>, application: &ApplicationName, reach: Reach) -> Vec<Endpoint> {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for row in row.rows("webhooks").unwrap_or_default() {
        row.finish(&WebhookKeys::SECTION.names(), &super::read::elsewhere);
        let keys = WebhookKeys::read(&row, &WebhookKeys::default());
        missing_key(&row, "url", keys.url.0.is_none(), &WebhookKeys::SECTION);
        let secrets = secrets(&row, keys.secret, &keys.secret_file);
        let Some(WebhookUrl(url)) = keys.url.0 else { continue };
        let literal = url.host_str().map(|host| host.trim_start_matches('[').trim_end_matches(']'));
        if let Some(address) = literal.and_then(|host| host.parse().ok())
            && !reach.allows(address, true)
        {
            let text = format!(
                "{address} is no address of the public internet; if it is meant, set webhooks.allow_private_addresses = true"
            );
            row.problem("url", text);
        }
        let read: Vec<_> = secrets.into_iter().filter_map(|text| Some((text.parse::<Key>().ok()?, text))).collect();
        let endpoint = Endpoint::new(application.clone(), url, &read, keys.events.0);
        if endpoints.iter().any(|other| other.id == endpoint.id) {
            row.problem("url", "another row of this application has the same address; keep one of the two");
        }
        endpoints.push(endpoint);
    }
    endpoints
}

fn secrets(row: &Table<'_>, written: WebhookSecrets, files: &SecretFiles) -> Vec<Zeroizing<String>> {
    let (has_secret, has_file) = (row.node("secret").is_some(), row.node("secret_file").is_some());
    if has_secret && has_file {
        row.problem("secret_file", "`secret` is set too; keep one of the two");
    }
    if !has_secret && !has_file {
        row.problem(
            "secret",
            "is missing; write secret = \"whsec_…\" or secret_file = \"…\" (`echo whsec_$(openssl rand -base64 32)` makes one)",
        );
    }
    let mut secrets = written.0;
    for file in &files.0 {
        match secret_file(file) {
            Ok(secret) if secret.reveal().parse::<Key>().is_ok() => {
                secrets.push(Zeroizing::new(secret.reveal().to_owned()))
            }
            Ok(_) => row.problem("secret_file", format!("the file {file:?} holds no whsec_ secret")),
            Err(problem) => row.problem("secret_file", format!("the file {file:?} {problem}")),
        }
    }
    secrets
}
