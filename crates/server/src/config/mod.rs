//! The configuration: a TOML file, the environment laid over it, and every mistake named with its line and what to write instead.
//!
//! ```
//! use countersign_server::config::{Settings, Source};
//!
//! let settings = Settings::from_text("[policy]\ncode_length = 8\n").unwrap();
//! assert_eq!(settings.application(&"default".parse().unwrap()).policy.code_length, 8);
//!
//! let problems = Settings::from_text("[policy]\ncode_lenght = 8\n").unwrap_err();
//! assert_eq!(problems.to_string(), "countersign.toml:2: policy.code_lenght: no such key; did you mean `code_length`?");
//! ```

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign::Cleanup;
use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::id::ApplicationName;
use countersign::core::limit::LimitRule;
use countersign::core::message::Templates;
use countersign::core::policy::{Application, TestDestination};
use countersign::core::route::Route;
use countersign_providers::layers::ProviderBounds;
use countersign_providers::{ProviderConfig, Registry};
use zeroize::Zeroizing;

use crate::settings::{Bounds, CamaraSettings, HttpSettings, SimpleSettings, TwilioSettings, WebhookRules};
use crate::webhooks::address::Reach;
use crate::webhooks::{Endpoint, Terms};

pub mod document;
mod layout;
mod problem;
mod production;
mod read;
pub mod section;
pub mod sections;
mod senders;
pub mod suggest;
#[cfg(test)]
mod tests;
mod texts;
mod tree;
mod value;
pub mod webhook;
mod words;

use problem::Report;
pub use problem::{Place, Problem, Problems};
pub use tree::variable;
use tree::{Node, PREFIX};
pub use value::{AndroidAppHash, Host, Origin, Prefix, PublicUrl, read_duration, write_duration};
pub use words::{ColumnNames, Layout, Listen, LogFormat, LogLevel, Preset, Schema, StoreUrl, TestCode, Wanted};

/// The file that is read when none is named, if it is there.
pub const DEFAULT_FILE: &str = "countersign.toml";
/// The variable that names the file.
pub const FILE_VARIABLE: &str = "COUNTERSIGN_CONFIG";

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The file; `None` takes the defaults.
    pub file: Option<PathBuf>,
    /// Environment variables, by name and value; those of others do not matter.
    pub variables: Vec<(String, String)>,
}

/// Checked settings: what can be read here can be started with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `[server]`.
    pub server: sections::Server,
    /// Whether `server.public_url` is other than the default; if not, it follows the address that is listened on.
    pub public_url_is_set: bool,
    /// `[server.simple]`.
    pub simple: sections::Simple,
    /// `[server.twilio]`.
    pub twilio: sections::Twilio,
    /// `[server.camara]`.
    pub camara: sections::Camara,
    /// `[store]`.
    pub store: sections::Store,
    /// The tables that `[store]` and `[store.existing]` mean.
    pub layout: countersign_store::layout::Layout,
    /// `[keys]`.
    pub keys: sections::Keys,
    /// `[tokens]`.
    pub tokens: sections::Tokens,
    /// `[policy]`.
    pub policy: sections::Policy,
    /// `[[limits]]`.
    pub limits: Vec<LimitRule>,
    /// `[guard]`.
    pub guard: sections::Guard,
    /// `[delivery]`.
    pub delivery: sections::Delivery,
    /// `[log]`.
    pub log: sections::Log,
    /// `[cleanup]`.
    pub cleanup: sections::CleanupKeys,
    /// `[webhooks]`.
    pub webhooks: sections::WebhookTerms,
    /// `[[applications]]`.
    pub applications: Vec<ApplicationSettings>,
    /// What `uses` may name: the providers that come with Countersign, and those of `delivery.descriptors`.
    pub descriptors: Registry,
    /// `[[providers]]`; never empty.
    pub providers: Vec<ProviderSettings>,
    /// Whether no provider is configured, so that the only one is the inbox.
    pub implicit_provider: bool,
    /// `[[routes]]`, or what stands for them.
    pub routes: Vec<RouteSettings>,
    /// `[texts]`.
    pub texts: sections::Texts,
    /// `[templates]`.
    pub templates: Vec<TemplateText>,
    /// `[[test_destinations]]`.
    pub test_destinations: Vec<sections::TestDestinationKeys>,
}

/// One `[[routes]]` row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSettings {
    /// Whose it is; `None` is everybody's.
    pub application: Option<ApplicationName>,
    /// The route.
    pub route: Route,
}

/// One `[[applications]]` row.
#[derive(Clone, Debug)]
pub struct ApplicationSettings {
    /// Its own keys.
    pub keys: sections::ApplicationKeys,
    /// The policy, with what the row changes of it.
    pub policy: sections::Policy,
    /// The guard, with what the row changes of it.
    pub guard: sections::Guard,
    /// Its own limits, which replace the common ones.
    pub limits: Option<Vec<LimitRule>>,
    /// Its own texts, which come before the common ones.
    pub templates: Vec<TemplateText>,
    /// Where its events are posted to.
    pub webhooks: Vec<Endpoint>,
}

/// One `[[providers]]` row.
#[derive(Clone, Debug)]
pub struct ProviderSettings {
    /// What it is built from.
    pub config: ProviderConfig,
    /// What it carries.
    pub channels: Vec<Channel>,
    /// How it is spared.
    pub bounds: ProviderBounds,
    /// Where its sender stands; where the row does, if it has none.
    pub place: Place,
}

/// One text of `[templates]`, or of `[applications.templates]`.
#[derive(Clone, Debug)]
pub struct TemplateText {
    /// The template's name.
    pub name: String,
    /// The language.
    pub locale: String,
    /// What of a message it is.
    pub part: TextPart,
    /// The text.
    pub text: String,
    /// Where it stands.
    pub place: Place,
    /// The key that it stands under.
    pub key: String,
}

/// What of a message a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextPart {
    /// All of it, for a channel.
    Text(Channel),
    /// The subject of an email.
    Subject,
}

impl Source {
    /// The usual one: `--config`, else `$COUNTERSIGN_CONFIG`, else `./countersign.toml` if it is there, else the defaults.
    #[must_use]
    pub fn usual(argument: Option<PathBuf>, variables: Vec<(String, String)>) -> Self {
        let named = || {
            let value = variables.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
            value.map(|(_, file)| PathBuf::from(file))
        };
        let found = || Path::new(DEFAULT_FILE).exists().then(|| PathBuf::from(DEFAULT_FILE));
        Self { file: argument.or_else(named).or_else(found), variables }
    }

    /// Only this file, whatever the environment says.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { file: Some(path.into()), variables: Vec::new() }
    }
}

impl Settings {
    /// Reads and checks.
    ///
    /// # Errors
    /// Every problem that was found, each with its place and what to write instead.
    pub fn load(source: &Source) -> Result<Self, Problems> {
        let file = source.file.as_ref().map(|file| file.display().to_string());
        let text = match &source.file {
            None => Zeroizing::default(),
            Some(path) => fs::read_to_string(path).map(Zeroizing::new).map_err(|error| Problems {
                file: file.clone(),
                problems: vec![Problem {
                    place: Place::Nowhere,
                    key: String::new(),
                    text: format!(
                        "cannot be read: {error}; make one with: countersign config default > {}",
                        path.display()
                    ),
                }],
            })?,
        };
        Self::read(file.as_deref(), &text, &source.variables)
    }

    /// Reads a file's text, called `countersign.toml` in errors, without an environment.
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn from_text(text: &str) -> Result<Self, Problems> {
        Self::read(Some(DEFAULT_FILE), text, &[])
    }

    fn read(file: Option<&str>, text: &str, variables: &[(String, String)]) -> Result<Self, Problems> {
        let report = Report::default();
        let mut root = Node::from_file(text, &report);
        if !report.is_clean() {
            // What could be read of a broken file would only bring up problems that are none.
            return report.finish(file, Self::default());
        }
        if variables.iter().any(|(name, _)| name.starts_with(PREFIX)) {
            tree::overlay(&mut root, variables, &document::default_rows, &document::all_keys(), &report);
        }
        let settings = read::settings(&root, &report);
        report.finish(file, settings)
    }

    /// The rules of an application, whether or not it has a row: without one the common ones hold.
    #[must_use]
    pub fn application(&self, name: &ApplicationName) -> Application {
        let row = self.applications.iter().find(|row| row.keys.name == *name);
        let keys = row.map(|row| &row.keys);
        let implicit = self.applications.is_empty() && *name == ApplicationName::default();
        let display_name = keys.and_then(|keys| keys.display_name.clone());
        let fallback = || if implicit { document::DEFAULT_DISPLAY_NAME.to_owned() } else { name.to_string() };
        let for_this =
            |test: &&sections::TestDestinationKeys| test.application.as_ref().is_none_or(|whose| whose == name);
        let policy = row.map_or(&self.policy, |row| &row.policy);
        Application {
            name: name.clone(),
            display_name: display_name.unwrap_or_else(fallback),
            web_origin: keys.and_then(|keys| keys.web_origin.clone()).map(|host| host.0),
            android_app_hash: keys.and_then(|keys| keys.android_app_hash.clone()).map(|hash| hash.0),
            policy: policy.rules(),
            limits: row.and_then(|row| row.limits.clone()).unwrap_or_else(|| self.limits.clone()),
            guard: row.map_or(&self.guard, |row| &row.guard).rules(),
            routes: self.routes_of(name),
            delivery: self.delivery.rules(),
            templates: self.templates(row.map(|row| row.templates.as_slice()).unwrap_or_default()),
            texts: self.texts.rules(),
            test_destinations: self
                .test_destinations
                .iter()
                .filter(for_this)
                .filter_map(|test| {
                    let to = Destination::parse(test.to.0.as_deref()?, policy.default_country).ok()?;
                    Some(TestDestination { to, code: test.code.0.parse().ok()? })
                })
                .collect(),
        }
    }

    /// The routes of an application, in the order of the file.
    #[must_use]
    pub fn routes_of(&self, name: &ApplicationName) -> Vec<Route> {
        let for_this = |row: &&RouteSettings| row.application.as_ref().is_none_or(|whose| whose == name);
        self.routes.iter().filter(for_this).map(|row| row.route.clone()).collect()
    }

    /// The applications that the configuration names; `default` if it names none.
    #[must_use]
    pub fn application_names(&self) -> Vec<ApplicationName> {
        let mut names: Vec<_> = self.applications.iter().map(|row| row.keys.name.clone()).collect();
        if self.simple.enabled && !names.contains(&self.simple.application) {
            names.push(self.simple.application.clone());
        }
        if names.is_empty() {
            names.push(ApplicationName::default());
        }
        names
    }

    /// What the HTTP service is told, once it is known which address it got.
    #[must_use]
    pub fn http(&self, bound: SocketAddr) -> HttpSettings {
        let simple = SimpleSettings {
            prefix: self.simple.prefix.0.clone(),
            application: self.simple.application.clone(),
            allowed_origins: self.simple.allowed_origins.iter().map(|origin| origin.0.clone()).collect(),
        };
        HttpSettings {
            listen: bound,
            public_url: Arc::from(self.public_url(bound)),
            production: self.server.production,
            trusted_proxies: self.server.trusted_proxies.clone().into(),
            simple: self.simple.enabled.then_some(simple),
            twilio: self.twilio.enabled.then(|| TwilioSettings {
                resend_after: self.twilio.resend_after,
                webhooks: self
                    .tells_accounts()
                    .then_some(WebhookRules { reach: self.account_reach(), only_https: self.server.production }),
            }),
            camara: self.camara.enabled.then(|| CamaraSettings {
                prefix: self.camara.prefix.0.clone(),
                resend_after: self.camara.resend_after,
            }),
            bounds: Bounds::default(),
        }
    }

    /// The address that clients see: as configured, else the one that is listened on.
    #[must_use]
    pub fn public_url(&self, bound: SocketAddr) -> String {
        if self.public_url_is_set {
            return self.server.public_url.0.clone();
        }
        // "Every address" is none that one could open.
        let reachable =
            if bound.ip().is_unspecified() { SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port())) } else { bound };
        format!("http://{reachable}")
    }

    /// How the background work is paced.
    #[must_use]
    pub fn cleanup(&self) -> Cleanup {
        Cleanup { older_than: self.cleanup.older_than, every: self.cleanup.every, ..Cleanup::default() }
    }

    /// Where events are posted to, of all applications.
    #[must_use]
    pub fn webhook_endpoints(&self) -> Vec<Endpoint> {
        self.applications.iter().flat_map(|row| row.webhooks.clone()).collect()
    }

    /// Whether accounts can set up webhooks of their own: by the Twilio dialect, and where the layout keeps the events to tell.
    #[must_use]
    pub const fn tells_accounts(&self) -> bool {
        self.twilio.enabled && matches!(self.layout, countersign_store::layout::Layout::Standalone)
    }

    /// How far webhooks of accounts go. Whoever has an API key sets them up, so not to this machine either, unless the operator says so.
    #[must_use]
    pub const fn account_reach(&self) -> Reach {
        if self.webhooks.allow_private_addresses { Reach::Anywhere } else { Reach::Public }
    }

    /// How webhooks are sent.
    #[must_use]
    pub const fn webhook_terms(&self) -> Terms {
        Terms { timeout: self.webhooks.timeout, reach: self.webhooks.reach(self.server.production) }
    }

    fn templates(&self, own: &[TemplateText]) -> Templates {
        let mut templates = Templates::default();
        for text in self.templates.iter().chain(own) {
            // Each was tried when it was read.
            let _ = text.add_to(&mut templates);
        }
        templates
    }
}

impl Default for Settings {
    fn default() -> Self {
        let report = Report::default();
        read::settings(&Node::empty_table(), &report)
    }
}
