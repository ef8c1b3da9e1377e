//! The files under `fixtures/`: for each provider and case, what goes in, what goes out, what comes back, what it means.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fixture {
    pub title: String,
    /// Seconds since the epoch; [`crate::AT`] if not given.
    pub at: Option<i64>,
    /// Taken from `accepted.toml` where they are not given.
    pub message: Option<Said>,
    pub credentials: Option<BTreeMap<String, String>>,
    pub request: Option<Expected>,
    pub answer: Option<Answer>,
    pub outcome: Option<Meant>,
    pub receipt: Option<Report>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Said {
    pub id: String,
    pub application: String,
    pub channel: String,
    pub to: String,
    pub text: String,
    pub code: String,
    pub locale: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    pub method: String,
    pub url: String,
    pub body: String,
    pub headers: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub status: u16,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Meant {
    Accepted { message_id: Option<String> },
    Rejected { failure: String, reason: String, retry_after: Option<u64> },
    Unknown { reason: String },
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub read: Option<Read>,
    pub refused: Option<Refused>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Read {
    pub reference: String,
    pub status: String,
    pub error: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    pub because: String,
}

/// Reads one; an error names the file, the line and the key.
pub fn parse(file: &str, text: &str) -> Result<Fixture, String> {
    let fixture: Fixture = toml::from_str(text).map_err(|error| format!("{file}: {error}"))?;
    match (&fixture.answer, &fixture.outcome, &fixture.receipt) {
        (Some(_), Some(_), None) => Ok(fixture),
        (None, None, Some(receipt)) if receipt.read.is_some() != receipt.refused.is_some() => Ok(fixture),
        (None, None, Some(_)) => Err(format!("{file}: receipt: needs `read` or `refused`, and not both")),
        (None, _, None) => Err(format!("{file}: answer: is missing (or `receipt`)")),
        (Some(_), None, None) => Err(format!("{file}: outcome: is missing")),
        _ => Err(format!("{file}: receipt: stands alone, without `answer` and `outcome`")),
    }
}

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// All fixtures of a provider, by the names of their files without `.toml`.
pub fn of(provider: &str) -> BTreeMap<String, Fixture> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder().join(provider)).unwrap_or_else(|_| panic!("fixtures/{provider} is missing")) {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let file = format!("fixtures/{provider}/{name}.toml");
        let fixture = parse(&file, &fs::read_to_string(&path).unwrap()).unwrap_or_else(|error| panic!("{error}"));
        all.insert(name, fixture);
    }
    all
}
