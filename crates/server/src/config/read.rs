//! From the tree to checked settings: every section is read, then what only shows when sections are held side by side.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::id::ApplicationName;
use countersign::core::limit::LimitRule;
use countersign::core::policy::Countries;
use countersign::core::route::Route;
use countersign_providers::config::{FieldValue, ProviderConfig, ProviderError};
use countersign_providers::layers::ProviderBounds;
use countersign_providers::{Inbox, Registry};
use zeroize::Zeroizing;

use super::document::DEFAULT_LIMITS;
use super::problem::{Place, Report};
use super::section::Table;
use super::sections::{
    ApplicationKeys, Camara, CleanupKeys, Delivery, Guard, Keys, Limit, Log, Policy, Provider, RouteKeys, SECTIONS,
    Server, Simple, Store, StoreExisting, TestDestinationKeys, Texts, Tokens, Twilio, WebhookTerms,
};
use super::suggest;
use super::texts::templates;
use super::tree::{Data, Node};
#[cfg(feature = "postgres")]
use super::words::StoreUrl;
use super::{ApplicationSettings, ProviderSettings, RouteSettings, Settings, layout, production, senders, webhook};
use crate::webhooks::address::Reach;

/// What stands at the top of a file.
const TOP: [&str; 17] = [
    "server",
    "store",
    "keys",
    "tokens",
    "policy",
    "limits",
    "guard",
    "delivery",
    "log",
    "cleanup",
    "applications",
    "webhooks",
    "providers",
    "routes",
    "texts",
    "templates",
    "test_destinations",
];

/// Reads everything; what is wrong goes into the report, and what could not be read is as by default.
pub(crate) fn settings(root: &Node, report: &Report) -> Settings {
    let root = Table::root(root, report);
    root.finish(&TOP, &elsewhere);
    let server_table = root.table("server");
    server_table.finish(&[&Server::SECTION.names()[..], &["simple", "twilio", "camara"]].concat(), &elsewhere);
    let server = Server::read(&server_table, &Server::default());
    let store_table = root.table("store");
    store_table.finish(&[&Store::SECTION.names()[..], &["existing"]].concat(), &elsewhere);
    let store = store(&store_table);
    let existing = one(&store_table, "existing", StoreExisting::SECTION.names(), StoreExisting::read);
    let policy = one(&root, "policy", Policy::SECTION.names(), Policy::read);
    workflow(&root.table("policy"), &policy);
    let delivery = one(&root, "delivery", Delivery::SECTION.names(), Delivery::read);
    let texts = one(&root, "texts", Texts::SECTION.names(), Texts::read);
    let limits = limits(&root, report).unwrap_or_else(default_limits);
    let guard = one(&root, "guard", Guard::SECTION.names(), Guard::read);
    let descriptors = descriptors(&root, &delivery);
    // The default, left as it stands in the default file, means the same as none.
    let public_url_is_set = server.public_url != Server::default().public_url;
    let public_url = public_url_is_set.then_some(server.public_url.0.as_str());
    let (implicit_provider, providers) = match root.rows("providers").filter(|rows| !rows.is_empty()) {
        Some(rows) => (false, self::providers(&rows, &delivery, &descriptors, public_url)),
        None => (true, vec![ProviderSettings::inbox(&delivery)]),
    };
    let webhooks = one(&root, "webhooks", WebhookTerms::SECTION.names(), WebhookTerms::read);
    let reach = webhooks.reach(server.production);
    let settings = Settings {
        public_url_is_set,
        server,
        simple: one(&server_table, "simple", Simple::SECTION.names(), Simple::read),
        twilio: one(&server_table, "twilio", Twilio::SECTION.names(), Twilio::read),
        camara: one(&server_table, "camara", Camara::SECTION.names(), Camara::read),
        layout: layout::layout(&store, &existing, &root),
        store,
        keys: one(&root, "keys", Keys::SECTION.names(), Keys::read),
        tokens: one(&root, "tokens", Tokens::SECTION.names(), Tokens::read),
        log: one(&root, "log", Log::SECTION.names(), Log::read),
        cleanup: one(&root, "cleanup", CleanupKeys::SECTION.names(), CleanupKeys::read),
        applications: applications(&root, &policy, &guard, texts.allow_links, reach, report),
        webhooks,
        routes: routes(&root, &providers),
        templates: templates(&root, texts.allow_links),
        texts,
        test_destinations: test_destinations(&root, &policy),
        policy,
        limits,
        guard,
        delivery,
        descriptors,
        providers,
        implicit_provider,
    };
    if settings.server.production {
        production::check(&settings, &root);
    }
    settings
}

/// Reads a section of one table.
fn one<T: Default>(parent: &Table<'_>, name: &str, known: Vec<&str>, read: fn(&Table<'_>, &T) -> T) -> T {
    let table = parent.table(name);
    table.finish(&known, &elsewhere);
    read(&table, &T::default())
}

/// The section that does have a key of this name, for who wrote it into another one.
pub(super) fn elsewhere(key: &str) -> Option<String> {
    let section =
        SECTIONS.iter().find(|section| section.path.rsplit('.').next() == Some(key) || section.key(key).is_some())?;
    Some(match section.shape {
        super::section::Shape::Table => format!("[{}]", section.path),
        super::section::Shape::Rows => format!("[[{}]]", section.path),
    })
}

/// [`LimitRule::defaults`], as the default file writes them.
fn default_limits() -> Vec<LimitRule> {
    DEFAULT_LIMITS.to_vec()
}

fn limits(parent: &Table<'_>, report: &Report) -> Option<Vec<LimitRule>> {
    let rows = parent.rows("limits")?;
    let mut rules = Vec::with_capacity(rows.len());
    for row in rows {
        row.finish(&Limit::SECTION.names(), &elsewhere);
        let was_clean = report.is_clean();
        let limit = Limit::read(&row, &Limit::default());
        for (name, missing) in
            [("per", limit.per.0.is_none()), ("quota", limit.quota.0.is_none()), ("window", limit.window.0.is_none())]
        {
            missing_key(&row, name, missing, &Limit::SECTION);
        }
        if let Some(rule) = limit.rule() {
            let twice = rules
                .iter()
                .any(|other: &LimitRule| (other.per, other.of, other.window) == (rule.per, rule.of, rule.window));
            if twice && was_clean {
                row.problem(
                    "window",
                    "another row counts the same over the same window; keep the smaller quota of the two",
                );
            }
            rules.push(rule);
        }
    }
    Some(rules)
}

/// Reports a key that has no default and is not set. One that is set and wrong was reported when it was read.
pub(super) fn missing_key(row: &Table<'_>, name: &'static str, missing: bool, section: &super::section::Section) {
    if missing && row.node(name).is_none() {
        let example = section.key(name).and_then(|key| key.example).unwrap_or("…");
        row.problem(name, format!("is missing; write for example {name} = {example}"));
    }
}

fn applications(
    root: &Table<'_>,
    policy: &Policy,
    guard: &Guard,
    allow_links: bool,
    reach: Reach,
    report: &Report,
) -> Vec<ApplicationSettings> {
    let known = [
        &ApplicationKeys::SECTION.names()[..],
        &Policy::SECTION.names(),
        &["guard", "limits", "templates", "webhooks"],
    ]
    .concat();
    let mut applications: Vec<ApplicationSettings> = Vec::new();
    for row in root.rows("applications").unwrap_or_default() {
        row.finish(&known, &elsewhere);
        let keys = ApplicationKeys::read(&row, &ApplicationKeys::default());
        if applications.iter().any(|other| other.keys.name == keys.name) {
            row.problem("name", format!("two applications are called `{}`; give each its own name", keys.name));
        }
        let limits = limits(&row, report);
        let policy = Policy::read(&row, policy);
        workflow(&row, &policy);
        let guard_table = row.table("guard");
        guard_table.finish(&Guard::SECTION.names(), &elsewhere);
        let guard = Guard::read(&guard_table, guard);
        let templates = templates(&row, allow_links);
        let webhooks = webhook::endpoints(&row, &keys.name, reach);
        applications.push(ApplicationSettings { policy, guard, limits, templates, webhooks, keys });
    }
    applications
}

/// The store, with the password from its file.
fn store(table: &Table<'_>) -> Store {
    #[cfg_attr(not(feature = "postgres"), expect(unused_mut, reason = "only PostgreSQL has a password"))]
    let mut store = Store::read(table, &Store::default());
    if store.password_file.is_empty() {
        return store;
    }
    #[cfg(feature = "postgres")]
    if let StoreUrl::Postgres(target) = &store.url {
        if target.has_password() {
            table.problem("password_file", "store.url has a password too; keep one of the two");
        }
        match secret_file(&store.password_file) {
            Ok(password) => {
                store.url = StoreUrl::Postgres(Box::new((**target).clone().with_password(password.reveal())))
            }
            Err(problem) => table.problem("password_file", format!("the file {:?} {problem}", store.password_file)),
        }
        return store;
    }
    // A store.url that could not be read was reported already.
    if table.node("url").is_none() || table.text("url").is_some_and(|url| url.starts_with("sqlite:")) {
        table.problem("password_file", "only PostgreSQL has a password; leave it out, or set store.url");
    }
    store
}

/// A workflow goes on after a while, and never back.
fn workflow(table: &Table<'_>, policy: &Policy) {
    let steps = &policy.workflow;
    for (place, step) in steps.iter().enumerate().filter(|_| table.node("workflow").is_some()) {
        if steps[..place].iter().any(|earlier| earlier.channel == step.channel) {
            table.problem("workflow", format!("names {} twice; each channel can have one place", step.channel));
        }
        if step.wait.is_zero() && place + 1 < steps.len() {
            let text = format!("does not say how long to wait after {0}; write for example \"{0} 30s\"", step.channel);
            table.problem("workflow", text);
        }
    }
}

/// What `uses` may name. Every descriptor that is broken is reported, with its own file and line.
fn descriptors(root: &Table<'_>, delivery: &Delivery) -> Registry {
    let Some(folder) = &delivery.descriptors else { return Registry::default() };
    let (registry, problems) = Registry::load(Path::new(folder));
    for problem in problems {
        root.table("delivery").problem("descriptors", problem.to_string());
    }
    registry
}

fn providers(
    rows: &[Table<'_>],
    delivery: &Delivery,
    descriptors: &Registry,
    public_url: Option<&str>,
) -> Vec<ProviderSettings> {
    let mut providers: Vec<ProviderSettings> = Vec::new();
    for row in rows {
        let keys = Provider::read(row, &Provider::default());
        missing_key(row, "name", keys.name.0.is_none(), &Provider::SECTION);
        missing_key(row, "uses", keys.uses.0.is_none(), &Provider::SECTION);
        let (Some(name), Some(uses)) = (keys.name.0, keys.uses.0) else { continue };
        let lawful = |name: &str| {
            (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
        };
        if !lawful(&name) {
            row.problem("name", "must be 1 to 64 letters, digits, `-`, `_` and `.`: it stands in the path of receipts");
        }
        if providers.iter().any(|other| other.config.name == name) {
            row.problem("name", format!("two providers are called `{name}`; give each its own name"));
        }
        let mut config = ProviderConfig::new(name, uses).within(delivery.timeout);
        config.descriptor = descriptors.find(&config.uses).cloned();
        fill(row, &mut config);
        if let Some(public_url) = public_url
            && config.descriptor.as_ref().is_some_and(|descriptor| descriptor.takes_receipts_url())
            && !config.fields.contains_key("receipts_url")
        {
            let address = format!("{}/v1/receipts/{}", public_url.trim_end_matches('/'), config.name);
            config.fields.insert("receipts_url".to_owned(), address.into());
        }
        let channels = match countersign_providers::build(&config) {
            Ok(sender) => sender.channels().to_vec(),
            Err(error) => {
                blame(row, &config, descriptors, &error);
                config.descriptor.as_ref().map(|descriptor| descriptor.channels.clone()).unwrap_or_default()
            }
        };
        let bounds = ProviderBounds {
            max_concurrent: keys.max_concurrent,
            max_per_second: keys.max_per_second,
            ..delivery.bounds()
        };
        let sender = config.descriptor.as_ref().and_then(|descriptor| descriptor.sender.as_ref());
        let place = row.place(sender.map_or("name", |sender| sender.field.as_str()));
        providers.push(ProviderSettings { config, channels, bounds, place });
    }
    providers
}

/// The fields that the descriptor names, from the row and from the files that `…_file` names.
fn fill(row: &Table<'_>, config: &mut ProviderConfig) {
    let descriptor = config.descriptor.clone();
    let is_field = |name: &str| descriptor.as_ref().is_some_and(|descriptor| descriptor.field(name).is_some());
    config.senders = senders::by_country(row);
    let common = |name: &str| name == "senders" || Provider::SECTION.names().contains(&name);
    for (name, node) in row.entries().filter(|(name, _)| !common(name)) {
        let value = match &node.data {
            Data::Text(text) | Data::Raw(text) => text.clone(),
            Data::Integer(number) => number.to_string().into(),
            Data::Boolean(value) => value.to_string().into(),
            // What it is may be said, what is in it may not: any field may be a secret.
            _ => {
                row.problem(name, "must be a text in quotation marks");
                continue;
            }
        };
        let from_file =
            name.strip_suffix("_file").filter(|stem| !is_field(name) && (is_field(stem) || descriptor.is_none()));
        let Some(stem) = from_file else {
            config.fields.insert(name.to_owned(), value.as_str().into());
            continue;
        };
        if row.node(stem).is_some() {
            row.problem(name, format!("`{stem}` is set too; keep one of the two"));
            continue;
        }
        match secret_file(&value) {
            Ok(secret) => {
                config.fields.insert(stem.to_owned(), secret);
            }
            Err(problem) => row.problem(name, format!("the file {:?} {problem}", value.as_str())),
        }
    }
}

/// The first line of a file, which is how secrets are mounted.
pub(super) fn secret_file(path: &str) -> Result<FieldValue, String> {
    let text = fs::read_to_string(path).map(Zeroizing::new).map_err(|error| format!("cannot be read: {error}"))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    match secret {
        "" => Err("is empty; write the secret into it".to_owned()),
        secret if secret.contains('\n') => Err("holds more than one line; it must hold the secret alone".to_owned()),
        secret => Ok(secret.into()),
    }
}

/// Says what is wrong with a provider at the line where it stands.
fn blame(row: &Table<'_>, config: &ProviderConfig, descriptors: &Registry, error: &ProviderError) {
    let descriptor = config.descriptor.as_ref();
    let at = |field: &str| if row.node(field).is_some() { field.to_owned() } else { format!("{field}_file") };
    match error {
        ProviderError::UnknownProvider { uses, .. } => {
            let names: Vec<_> = descriptors.all().map(|descriptor| descriptor.name.as_str()).collect();
            row.problem("uses", format!("there is no provider `{uses}`{}", suggest::hint(uses, &names)));
        }
        ProviderError::UnknownField { uses, field, .. } => {
            let fields = descriptor
                .map(|descriptor| descriptor.fields.iter().map(|field| field.name.as_str()).collect::<Vec<_>>());
            let hint = suggest::hint(field, &fields.unwrap_or_default());
            row.problem(field, format!("`{uses}` has no such field{hint} (countersign provider show {uses})"));
        }
        // Its file is named, and could not be read: that has been said.
        ProviderError::MissingField { field, .. } if row.node(&format!("{field}_file")).is_some() => {}
        ProviderError::MissingField { field, help, .. } => {
            row.problem(
                "uses",
                format!("`{field}` is missing; write {field} = \"…\" or {field}_file = \"…\" ({help})"),
            );
        }
        ProviderError::BadField { field, problem, .. } => row.problem(&at(field), problem.clone()),
        ProviderError::Transport { problem, .. } => row.problem("uses", format!("HTTPS cannot be set up: {problem}")),
    }
}

fn routes(root: &Table<'_>, providers: &[ProviderSettings]) -> Vec<RouteSettings> {
    let Some(rows) = root.rows("routes").filter(|rows| !rows.is_empty()) else {
        return default_routes(providers);
    };
    let names: Vec<_> = providers.iter().map(|provider| provider.config.name.as_str()).collect();
    let mut routes: Vec<RouteSettings> = Vec::new();
    for row in rows {
        row.finish(&RouteKeys::SECTION.names(), &elsewhere);
        let keys = RouteKeys::read(&row, &RouteKeys::default());
        missing_key(&row, "channel", keys.channel.0.is_none(), &RouteKeys::SECTION);
        missing_key(&row, "providers", row.node("providers").is_none(), &RouteKeys::SECTION);
        if row.node("providers").is_some() && keys.providers.is_empty() {
            row.problem("providers", format!("must name at least one provider; there is: {}", names.join(", ")));
        }
        let Some(route) = keys.route() else { continue };
        for (key, given) in [("weights", keys.weights.len()), ("prices", keys.prices.len())] {
            if given != 0 && given != keys.providers.len() {
                row.problem(key, format!("must have one for each of the {} providers", keys.providers.len()));
            }
        }
        if !keys.weights.is_empty() && keys.weights.iter().all(|weight| *weight == 0) {
            row.problem("weights", "at least one must be more than 0");
        }
        for name in &keys.providers {
            match providers.iter().find(|provider| provider.config.name == *name) {
                None => {
                    row.problem("providers", format!("there is no provider `{name}`{}", suggest::hint(name, &names)))
                }
                Some(provider) if !provider.channels.contains(&route.channel) => {
                    row.problem(
                        "providers",
                        format!("`{name}` carries {}, not {}", words(&provider.channels), route.channel),
                    );
                }
                Some(_) => {}
            }
        }
        if routes.iter().any(|earlier| takes_all(earlier, &route, keys.application.as_ref())) {
            let text = format!(
                "a row above takes {} for every country, so this one is never reached; move it up",
                route.channel
            );
            row.problem("channel", text);
        }
        routes.push(RouteSettings { application: keys.application, route });
    }
    routes
}

/// Whether a row leaves nothing for one that comes after it.
fn takes_all(earlier: &RouteSettings, route: &Route, application: Option<&ApplicationName>) -> bool {
    let same_application = earlier.application.is_none() || earlier.application.as_ref() == application;
    same_application
        && earlier.route.channel == route.channel
        && earlier.route.countries == Countries::All
        && earlier.route.number_types.is_none()
}

/// Every provider for every channel that it carries, in the order of the file.
pub(crate) fn default_routes(providers: &[ProviderSettings]) -> Vec<RouteSettings> {
    let route = |channel: &Channel| {
        let carriers = providers.iter().filter(|provider| provider.channels.contains(channel));
        Route::to(*channel, carriers.map(|provider| provider.config.name.as_str()))
    };
    let routes = Channel::ALL.iter().map(route).filter(|route| !route.candidates.is_empty());
    routes.map(|route| RouteSettings { application: None, route }).collect()
}

fn words(channels: &[Channel]) -> String {
    channels.iter().map(|channel| channel.as_str()).collect::<Vec<_>>().join(", ")
}

fn test_destinations(root: &Table<'_>, policy: &Policy) -> Vec<TestDestinationKeys> {
    let mut seen: BTreeMap<(String, String), ()> = BTreeMap::new();
    let mut destinations = Vec::new();
    for row in root.rows("test_destinations").unwrap_or_default() {
        row.finish(&TestDestinationKeys::SECTION.names(), &elsewhere);
        let keys = TestDestinationKeys::read(&row, &TestDestinationKeys::default());
        missing_key(&row, "to", keys.to.0.is_none(), &TestDestinationKeys::SECTION);
        missing_key(&row, "code", row.node("code").is_none(), &TestDestinationKeys::SECTION);
        let Some(to) = &keys.to.0 else { continue };
        match Destination::parse(to, policy.default_country) {
            Err(error) => row.problem("to", error.to_string()),
            Ok(to) => {
                let whose = keys.application.as_ref().map(ToString::to_string).unwrap_or_default();
                if seen.insert((whose, to.reveal().to_owned()), ()).is_some() {
                    row.problem("to", "stands in another row already");
                }
                destinations.push(keys);
            }
        }
    }
    destinations
}

impl ProviderSettings {
    /// The one that is there when none is configured.
    fn inbox(delivery: &Delivery) -> Self {
        let config = ProviderConfig::new(Inbox::NAME, Inbox::NAME).within(delivery.timeout);
        Self { config, channels: Channel::ALL.to_vec(), bounds: delivery.bounds(), place: Place::Nowhere }
    }
}
