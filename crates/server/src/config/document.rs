//! What is printed of the configuration: the default file, the explanation of a key, the reference. All of it is made from
//! [`SECTIONS`]; nothing is written twice.

use std::fmt::Write as _;
use std::time::Duration;

use countersign::core::channel::Channel;
use countersign::core::limit::{LimitRule, Of, Per};
use countersign::core::message::SUBJECT;

use super::problem::Report;
use super::section::{Key, Section, Shape};
use super::sections::{ApplicationKeys, Limit, Policy, SECTIONS, section_named};
use super::suggest;
use super::tree::{Data, Node, variable};
use super::value::write_duration;

/// What messages call the application `default` until somebody gives it a name.
pub const DEFAULT_DISPLAY_NAME: &str = "Example";

/// The limits of a configuration that has no rows. That they are [`LimitRule::defaults`] is a test.
pub(crate) const DEFAULT_LIMITS: [LimitRule; 4] = [
    LimitRule { per: Per::Destination, of: Of::Sends, quota: 5, window: Duration::from_secs(10 * 60) },
    LimitRule { per: Per::Destination, of: Of::Sends, quota: 10, window: Duration::from_secs(24 * 60 * 60) },
    LimitRule { per: Per::Client, of: Of::Sends, quota: 20, window: Duration::from_secs(60 * 60) },
    LimitRule { per: Per::Client, of: Of::Checks, quota: 60, window: Duration::from_secs(60 * 60) },
];

const TEMPLATES_ABOUT: &str = " Texts of your own: [templates.<name>.<language>] and a text for each channel; `default` is the template of requests that name\n none, one called like a purpose that purpose's. sms is also the text of whatsapp, telegram and email where they have none;\n voice has its own. The names in them are application, code, digits (the code as it is spoken), life (\"5 minutes\"),\n minutes, seconds, purpose, amount, payee and custom. [applications.templates.<name>.<language>] is for one application.\n";
const TEMPLATE_EXAMPLE: &str = "\"Your {{ application }} code is {{ code }}. It expires in {{ life }}.\"";

/// The whole default file. It parses to the defaults.
#[must_use]
pub fn default_file() -> String {
    let mut file = String::from(
        "# The configuration of Countersign. Everything here is the default: keep what you change, delete the rest.\n\
         # Lines that begin with # and no space are examples, and hold once the # is gone.\n\
         # Durations are written \"30s\", \"5m\", \"24h\". `countersign config explain KEY` says more about a key, and\n\
         # `countersign config check FILE` whether a file is right. Every key can be set by a variable instead:\n\
         # policy.ttl is COUNTERSIGN_POLICY__TTL, the first provider's password COUNTERSIGN_PROVIDERS__0__PASSWORD.\n",
    );
    for section in SECTIONS {
        file.push('\n');
        comment(&mut file, section.about);
        match section.path {
            "limits" => limit_rows(&mut file),
            "applications" => application_row(&mut file),
            _ if section.shape == Shape::Rows => row_example(&mut file, section),
            _ => {
                let _ = writeln!(file, "[{}]", section.path);
                for key in section.keys {
                    comment(&mut file, key.about);
                    setting(&mut file, key);
                }
            }
        }
        if section.path == "texts" {
            file.push('\n');
            comment(&mut file, TEMPLATES_ABOUT);
            let _ = writeln!(file, "#[templates.default.en]\n#sms = {TEMPLATE_EXAMPLE}");
        }
    }
    file
}

fn setting(file: &mut String, key: &Key) {
    let _ = match (key.default, key.example) {
        (Some(default), _) => writeln!(file, "{} = {}", key.name, spaced(default)),
        (None, example) => writeln!(file, "#{} = {}", key.name, spaced(example.unwrap_or("\"\""))),
    };
}

fn limit_rows(file: &mut String) {
    for key in Limit::SECTION.keys {
        let _ = writeln!(file, "# {}:{}", key.name, key.about.trim_end().replace('\n', "\n#  "));
    }
    for rule in DEFAULT_LIMITS {
        let of = if rule.of == Of::Checks { "of = \"checks\"\n" } else { "" };
        let (per, quota, window) = (rule.per.as_str(), rule.quota, write_duration(rule.window));
        let _ = writeln!(file, "[[limits]]\nper = \"{per}\"\n{of}quota = {quota}\nwindow = \"{window}\"");
    }
}

fn application_row(file: &mut String) {
    file.push_str("[[applications]]\n");
    for key in ApplicationKeys::SECTION.keys {
        comment(file, key.about);
        if key.name == "display_name" {
            let _ = writeln!(file, "display_name = \"{DEFAULT_DISPLAY_NAME}\"");
        } else {
            setting(file, key);
        }
    }
}

/// A row that is not there by default: all of it stands in comments.
fn row_example(file: &mut String, section: &Section) {
    let _ = writeln!(file, "#[[{}]]", section.path);
    for key in section.keys {
        comment(file, key.about);
        let _ = writeln!(file, "#{} = {}", key.name, spaced(key.example.or(key.default).unwrap_or("\"\"")));
    }
    if section.path == "providers" {
        file.push_str("#url = \"http://127.0.0.1:9000/messages\"\n#secret_file = \"/run/secrets/webhook\"\n");
    }
}

fn comment(file: &mut String, about: &str) {
    for line in about.trim_end().lines() {
        let _ = writeln!(file, "#{line}");
    }
}

/// `["a","b"]` as the compiler prints it may lack the spaces that a person would write.
fn spaced(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ").replace("[ ", "[").replace(" ]", "]").replace(",]", "]")
}

/// What `config explain` tells of a key or a section; else the nearest that there is.
///
/// # Errors
/// What was probably meant.
pub fn explain(wanted: &str) -> Result<Explanation, String> {
    let wanted = wanted.trim().trim_matches(['[', ']']).to_lowercase();
    let wanted = match wanted.strip_prefix("countersign_") {
        Some(variable) => variable.replace("__", "."),
        None => wanted,
    };
    // Rows may be numbered, as in variables.
    let wanted: Vec<&str> = wanted.split('.').filter(|part| part.parse::<usize>().is_err()).collect();
    let wanted = wanted.join(".");
    if let Some(section) = section_named(&wanted) {
        return Ok(of_section(section));
    }
    if wanted == "templates" || wanted.starts_with("templates.") {
        return Ok(of_templates());
    }
    let inline = ["limits.", "guard."].into_iter().find_map(|section| {
        let key = wanted.strip_prefix("applications.")?;
        key.starts_with(section).then(|| key.to_owned())
    });
    let wanted = inline.unwrap_or(wanted);
    if let Some((path, name)) = wanted.rsplit_once('.')
        && let Some(section) = section_named(path)
        && let Some(key) = section.key(name).or_else(|| Policy::SECTION.key(name).filter(|_| path == "applications"))
    {
        return Ok(of_key(section, key));
    }
    let keys = all_keys();
    let same_name = keys.iter().find(|key| key.rsplit('.').next() == Some(&wanted));
    let meant = same_name.map(String::as_str).or_else(|| suggest::nearest(&wanted, keys.iter().map(String::as_str)));
    let last = wanted.rsplit('.').next().unwrap_or_default();
    let meant = meant.or_else(|| keys.iter().map(String::as_str).find(|key| key.rsplit('.').next() == Some(last)));
    Err(match meant {
        Some(meant) => format!("there is no key `{wanted}`; did you mean `{meant}`?"),
        None => format!("there is no key `{wanted}`; `countersign config default` shows all of them"),
    })
}

/// What there is to say about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Its whole name.
    pub key: String,
    /// What it means.
    pub about: String,
    /// What may be written.
    pub allowed: Option<String>,
    /// The default in TOML; `None` if there is none.
    pub default: Option<String>,
    /// An example in TOML.
    pub example: Option<String>,
    /// The variable that overrides it.
    pub variable: Option<String>,
    /// The keys inside, for a section.
    pub keys: Vec<String>,
}

fn of_key(section: &Section, key: &Key) -> Explanation {
    let full = format!("{}.{}", section.path, key.name);
    let numbered = match section.shape {
        Shape::Table => full.clone(),
        Shape::Rows => format!("{}.0.{}", section.path.replace('.', ".0."), key.name),
    };
    Explanation {
        about: plain(key.about),
        allowed: Some(key.allowed()),
        default: key.default.map(spaced),
        example: key.example.map(spaced),
        variable: Some(variable(&numbered)),
        keys: Vec::new(),
        key: full,
    }
}

fn of_section(section: &Section) -> Explanation {
    Explanation {
        key: section.path.to_owned(),
        about: plain(section.about),
        allowed: None,
        default: None,
        example: None,
        variable: None,
        keys: section.keys.iter().map(|key| format!("{}.{}", section.path, key.name)).collect(),
    }
}

fn of_templates() -> Explanation {
    Explanation {
        key: "templates".to_owned(),
        about: plain(TEMPLATES_ABOUT),
        allowed: Some("a text that holds {{ code }}".to_owned()),
        default: None,
        example: Some(TEMPLATE_EXAMPLE.to_owned()),
        variable: Some(variable("templates.default.en.sms")),
        keys: Channel::ALL
            .iter()
            .map(|channel| channel.as_str())
            .chain([SUBJECT])
            .map(|part| format!("templates.<name>.<language>.{part}"))
            .collect(),
    }
}

fn plain(about: &str) -> String {
    about.lines().map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// Every key, by its whole name.
#[must_use]
pub fn all_keys() -> Vec<String> {
    let key = |section: &&Section| {
        let path = section.path;
        section.keys.iter().map(move |key| format!("{path}.{}", key.name)).collect::<Vec<_>>()
    };
    SECTIONS.iter().flat_map(key).collect()
}

/// The rows that a section has when none are written, for a variable that changes one of them.
pub(crate) fn default_rows(section: &str) -> Option<Node> {
    let mut text = String::new();
    match section {
        "limits" => limit_rows(&mut text),
        "applications" => application_row(&mut text),
        _ => return None,
    }
    match Node::from_file(&text, &Report::default()).data {
        Data::Table(mut sections) => sections.remove(section),
        _ => None,
    }
}

/// The reference page.
#[must_use]
pub fn reference() -> String {
    let mut page = String::from(
        "# Configuration\n\n<!-- Made from crates/server/src/config/sections.rs by `countersign generate`; change it there. -->\n\n\
         A TOML file: `--config FILE`, else `$COUNTERSIGN_CONFIG`, else `./countersign.toml`, else the defaults. Every key can be\n\
         set by an environment variable instead, which then counts: `COUNTERSIGN_`, the section, two underscores, the key\n\
         (`COUNTERSIGN_POLICY__TTL`); rows are numbered from 0 (`COUNTERSIGN_PROVIDERS__0__PASSWORD`); lists are separated by\n\
         commas or written as in TOML. Every secret of a provider can stand in a file of its own: `password_file`.\n\n\
         What is misspelt, impossible or contradicts itself stops the start, with the file, the line and what to write instead.\n\
         Durations are numbers with a unit: `\"30s\"`, `\"5m\"`, `\"24h\"`, `\"1h30m\"`. Paths are relative to the working directory.\n",
    );
    for section in SECTIONS {
        let heading =
            if section.shape == Shape::Rows { format!("[[{}]]", section.path) } else { format!("[{}]", section.path) };
        let _ = write!(page, "\n## `{heading}`\n\n{}\n", plain(section.about));
        for key in section.keys {
            let explained = of_key(section, key);
            let _ = write!(page, "\n### `{}`\n\n{}\n\n", explained.key, explained.about);
            let _ = writeln!(page, "- May be: {}", cell(&key.allowed()));
            match (&explained.default, &explained.example) {
                (Some(default), _) => drop(writeln!(page, "- Default: `{default}`")),
                (None, Some(_)) => drop(writeln!(page, "- No default")),
                (None, None) => {}
            }
            if let Some(example) = &explained.example {
                let _ = writeln!(page, "- Example: `{} = {example}`", key.name);
            }
            if let Some(variable) = &explained.variable {
                let _ = writeln!(page, "- Variable: `{variable}`");
            }
        }
        if section.path == "texts" {
            let _ = write!(
                page,
                "\n## `[templates.<name>.<language>]`\n\n{}\n\n```toml\n[templates.default.en]\nsms = {TEMPLATE_EXAMPLE}\n```\n",
                plain(TEMPLATES_ABOUT)
            );
        }
    }
    page
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
