//! `doctor`: walks the checklist of an integration. It changes nothing, makes nothing and sends nothing.

use std::path::Path;

use countersign::core::code::{Key, KeyRing};
use countersign::core::id::ApplicationName;
use countersign::core::time::Timestamp;
use countersign::store::Store;
use countersign::{Clock as _, SystemClock};
use countersign_server::config::document::DEFAULT_DISPLAY_NAME;
use countersign_server::config::{Problems, Settings, StoreUrl};
use countersign_server::keys::{self, Ring};
use countersign_server::setup::providers::{Console, Inbox};
use countersign_server::setup::{Layout, key_file, open_store, trial};
use serde_json::{Value, json};

use crate::context::Context;
use crate::output::{Answer, Exit, Outcome};

/// No right clock is before this program was written.
const WRITTEN: Timestamp = Timestamp::from_millis(1_763_800_000_000);
/// Nor is it in the next century.
const FAR_AHEAD: Timestamp = Timestamp::from_millis(4_102_444_800_000);

/// One line of the checklist.
struct Line {
    name: &'static str,
    /// What is so, or what to do.
    text: String,
    exit: Exit,
}

#[derive(Default)]
struct Checklist(Vec<Line>);

impl Checklist {
    fn ok(&mut self, name: &'static str, text: impl Into<String>) {
        self.0.push(Line { name, text: text.into(), exit: Exit::Done });
    }

    fn fix(&mut self, name: &'static str, exit: Exit, text: impl Into<String>) {
        self.0.push(Line { name, text: text.into(), exit });
    }

    fn answer(self) -> Answer {
        let exit = self.0.iter().map(|line| line.exit).max().unwrap_or(Exit::Done);
        let word = |line: &Line| if line.exit == Exit::Done { "OK" } else { "FIX" };
        let lines = self.0.iter().map(|line| format!("{:<4} {:<12} {}", word(line), line.name, line.text));
        let rows =
            self.0.iter().map(|line| json!({"check": line.name, "ok": line.exit == Exit::Done, "text": line.text}));
        let (text, rows): (Vec<_>, Vec<Value>) = (lines.collect(), rows.collect());
        Answer::new(text.join("\n"), json!({"ok": exit == Exit::Done, "checks": rows})).ending(exit)
    }
}

pub async fn run(context: &Context) -> Outcome {
    let mut list = Checklist::default();
    let source = context.source()?;
    let settings = match Settings::load(&source) {
        Ok(settings) => settings,
        Err(problems) => return Ok(broken_configuration(list, &problems)),
    };
    let name = source.file.map(|file| file.display().to_string());
    let file = name.as_deref().unwrap_or("no file, so the defaults");
    list.ok("config", format!("{file}; production = {}", settings.server.production));
    advice(&mut list, &settings, name);
    clock(&mut list, SystemClock.now());
    let ring = key_ring(&mut list, &settings);
    providers(&mut list, &settings);
    let app = context.app();
    display_name(&mut list, &settings, &app);
    match trial::covers_sms(&settings, &app) {
        Ok(()) => list.ok("routes", "text messages have a provider wherever the policy allows them"),
        Err(missing) => list.fix("routes", Exit::Usage, missing),
    }
    if let Some(store) = store(&mut list, &settings) {
        api_key(&mut list, &settings, &app, &*store).await;
    }
    let keys =
        ring.map_or_else(|| KeyRing::new("dry-run", Key::from_bytes([7; 32])), |ring| ring.codes(SystemClock.now()));
    match trial::dry_run(&settings, &app, keys).await {
        Ok(()) => list.ok("dry run", "a code was sent, checked and accepted, in memory"),
        Err(problem) => list.fix("dry run", Exit::Refused, problem),
    }
    Ok(list.answer())
}

fn broken_configuration(mut list: Checklist, problems: &Problems) -> Answer {
    for problem in &problems.problems {
        list.fix("config", Exit::Usage, problems.line(problem));
    }
    list.answer()
}

/// What is lawful and better otherwise: nothing that must be mended.
fn advice(list: &mut Checklist, settings: &Settings, file: Option<String>) {
    let advice = Problems { file, problems: settings.advice() };
    for one in &advice.problems {
        list.ok("advice", advice.line(one));
    }
}

fn clock(list: &mut Checklist, now: Timestamp) {
    let shown = keys::rfc3339(now);
    if (WRITTEN..FAR_AHEAD).contains(&now) {
        list.ok("clock", shown);
    } else {
        list.fix("clock", Exit::Refused, format!("{shown} cannot be now; set the clock (NTP): codes expire by it"));
    }
}

fn key_ring(list: &mut Checklist, settings: &Settings) -> Option<Ring> {
    let path = key_file(settings);
    let shown = path.display();
    match Ring::open(&path) {
        Ok(None) => {
            list.ok("key ring", format!("{shown} is made on the first run"));
            None
        }
        Ok(Some(ring)) => {
            let newest = ring.labels().into_iter().map(|label| label.created_at).max();
            if keys::mode(&path).is_some_and(|mode| mode & 0o077 != 0) {
                list.fix("key ring", Exit::Usage, format!("others can read it; run: chmod 600 {shown}"));
            } else if newest.is_some_and(|newest| newest > SystemClock.now() + std::time::Duration::from_secs(86_400)) {
                list.fix(
                    "key ring",
                    Exit::Refused,
                    format!("a key of {shown} was made in the future; set the clock (NTP)"),
                );
            } else {
                list.ok("key ring", format!("{shown}, {} keys, only its owner can read it", ring.labels().len()));
            }
            Some(ring)
        }
        Err(error) => {
            list.fix("key ring", Exit::Usage, error.to_string());
            None
        }
    }
}

/// That credentials are filled in was checked when the configuration was read.
fn providers(list: &mut Checklist, settings: &Settings) {
    for provider in &settings.providers {
        let (name, uses) = (&provider.config.name, &provider.config.uses);
        let hint = match uses.as_str() {
            Inbox::NAME => " (catches messages here; add a real provider before you go live)",
            Console::NAME => " (writes messages to standard error; add a real provider before you go live)",
            _ => " (credentials are filled in; try them: countersign provider test NAME TO)",
        };
        list.ok("provider", format!("{name} uses {uses}{}", hint.replace("NAME", name)));
    }
}

/// Opens the store as it is: what is not there is not made, and the schema is not touched.
fn store(list: &mut Checklist, settings: &Settings) -> Option<std::sync::Arc<dyn Store>> {
    if let StoreUrl::Sqlite(path) = &settings.store.url {
        let folder =
            Path::new(path).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        if !folder.is_dir() {
            list.fix(
                "store",
                Exit::Broken,
                format!("the folder {} is not there; make it, or change store.url", folder.display()),
            );
            return None;
        }
        // A table of the application is looked at, and nothing is made.
        if !Path::new(path).exists() && !matches!(settings.layout, Layout::Existing(_)) {
            list.ok("store", format!("{path} is made on the first run"));
            return None;
        }
    }
    match open_store(settings, false) {
        Ok(store) => {
            list.ok(
                "store",
                format!("reachable, and its schema is up to date (layout \"{}\")", settings.layout.as_str()),
            );
            if let Layout::Existing(existing) = &settings.layout {
                list.ok("table", format!("{} has what is needed; rows of others are not touched", existing.table));
            }
            Some(store)
        }
        Err(error) => {
            list.fix("store", Exit::Broken, error.to_string());
            None
        }
    }
}

/// What messages call the application: the one thing that the defaults cannot know.
fn display_name(list: &mut Checklist, settings: &Settings, app: &ApplicationName) {
    let name = settings.application(app).display_name;
    let advice = if name == DEFAULT_DISPLAY_NAME { "; write yours as display_name in [[applications]]" } else { "" };
    list.ok("name", format!("messages speak of \"{name}\"{advice}"));
}

async fn api_key(list: &mut Checklist, settings: &Settings, app: &ApplicationName, store: &dyn Store) {
    let known = match store.applications().await {
        Ok(records) => records.iter().any(|record| record.name == *app),
        Err(error) => return list.fix("API key", Exit::Broken, error.to_string()),
    };
    if !known && !settings.application_names().contains(app) {
        return list.fix(
            "application",
            Exit::Usage,
            format!("there is none called `{app}`; run: countersign app create {app}"),
        );
    }
    match store.keys(app).await {
        Ok(keys) => match keys.iter().filter(|key| key.revoked_at.is_none()).count() {
            0 => list.fix("API key", Exit::Refused, format!("`{app}` has none; run: countersign key create {app}")),
            count => list.ok("API key", format!("`{app}` has {count}")),
        },
        Err(error) => list.fix("API key", Exit::Broken, error.to_string()),
    }
}
