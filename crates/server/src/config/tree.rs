//! The configuration as it is written: the file with its lines, and the environment laid over it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::problem::{Place, Report};
use super::suggest;

/// What an override's name begins with.
pub const PREFIX: &str = "COUNTERSIGN_";

/// One value and where it stands. It has no `Debug`, and its texts are wiped when dropped: any may be a secret.
#[derive(Clone)]
pub(crate) struct Node {
    pub place: Place,
    pub data: Data,
}

#[derive(Clone)]
pub(crate) enum Data {
    Text(Zeroizing<String>),
    /// From the environment: what type it has is for the key to say.
    Raw(Zeroizing<String>),
    Integer(i64),
    /// Anything that no key takes: a float, a date, a number beyond 64 bits.
    Other(&'static str),
    Boolean(bool),
    List(Vec<Node>),
    Table(BTreeMap<String, Node>),
}

impl Node {
    pub(crate) fn empty_table() -> Self {
        Self { place: Place::Nowhere, data: Data::Table(BTreeMap::new()) }
    }

    /// One value in TOML writing.
    pub(crate) fn from_value(text: &str, place: &Place) -> Option<Self> {
        // The parser reports what it would rather not recover from by panicking on nothing: recover, then look at the errors.
        let (value, errors) = DeValue::parse_recoverable(text);
        errors.is_empty().then(|| from_toml(value, &|_| place.clone()))
    }

    /// A whole file. What cannot be read is reported, with its line and without its text, which may hold a secret.
    pub(crate) fn from_file(text: &str, report: &Report) -> Self {
        let lines = Lines::of(text);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let place = error.span().map_or(Place::Nowhere, |span| lines.place(span.start));
            report.add(&place, "", format!("this is not TOML: {}", error.message().replace('\n', ", ")));
        }
        let (start, table) = (table.span().start, table.into_inner());
        from_toml(Spanned::new(start..start, DeValue::Table(table)), &|at| lines.place(at))
    }

    /// What it is, for a message.
    pub(crate) fn describe(&self) -> String {
        match &self.data {
            Data::Text(text) | Data::Raw(text) => format!("{:?}", shorten(text)),
            Data::Integer(number) => number.to_string(),
            Data::Boolean(value) => value.to_string(),
            Data::Other(kind) => (*kind).to_owned(),
            Data::List(_) => "a list".to_owned(),
            Data::Table(_) => "a table".to_owned(),
        }
    }
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn from_toml(value: Spanned<DeValue<'_>>, place: &dyn Fn(usize) -> Place) -> Node {
    let at = place(value.span().start);
    let data = match value.into_inner() {
        DeValue::String(text) => Data::Text(text.into_owned().into()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Data::Other("a number beyond 64 bits"), Data::Integer),
        DeValue::Float(_) => Data::Other("a number with a fraction"),
        DeValue::Boolean(value) => Data::Boolean(value),
        DeValue::Datetime(_) => Data::Other("a date"),
        DeValue::Array(items) => Data::List(items.into_iter().map(|item| from_toml(item, place)).collect()),
        DeValue::Table(entries) => Data::Table(
            entries
                .into_iter()
                .map(|(key, value)| {
                    let line = place(key.span().start);
                    let mut node = from_toml(value, place);
                    // A value is looked for where its key stands, also when it spans lines.
                    if !matches!(node.data, Data::List(_)) {
                        node.place = line;
                    }
                    (key.into_inner().into_owned(), node)
                })
                .collect(),
        ),
    };
    Node { place: at, data }
}

/// Knows on which line an offset is.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at).collect())
    }

    fn place(&self, at: usize) -> Place {
        Place::Line(self.0.partition_point(|newline| *newline < at) + 1)
    }
}

/// The override of a key: `policy.ttl` is `COUNTERSIGN_POLICY__TTL`.
#[must_use]
pub fn variable(key: &str) -> String {
    key.split('.').enumerate().fold(PREFIX.to_owned(), |mut name, (number, part)| {
        let _ = write!(name, "{}{}", if number > 0 { "__" } else { "" }, part.to_uppercase());
        name
    })
}

/// Lays the environment over the file. `rows` gives the default rows of a section of rows, so that one of them can be changed
/// alone; `keys` are all keys that exist, to find the one that was meant by a name with too few underscores.
pub(crate) fn overlay(
    root: &mut Node,
    variables: &[(String, String)],
    rows: &dyn Fn(&str) -> Option<Node>,
    keys: &[String],
    report: &Report,
) {
    let mut variables: Vec<_> = variables.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    // In the order of their names, so that row 0 is there before row 1.
    variables.sort_by_key(|(name, _)| name.split("__").map(|part| (part.len(), part.to_owned())).collect::<Vec<_>>());
    for (name, value) in variables {
        let place = Place::Variable(Arc::from(name.as_str()));
        let rest = name.trim_start_matches(PREFIX);
        if !rest.contains("__") {
            // Without a section it is somebody else's (`COUNTERSIGN_CONFIG`, a service's address from the cluster), unless it is a slip.
            if let Some(meant) = keys.iter().map(|key| variable(key)).find(|meant| meant.replace("__", "_") == *name) {
                report.add(
                    &place,
                    "",
                    format!("no such setting; write {meant}, with two underscores between its parts"),
                );
            }
            continue;
        }
        let path: Vec<String> = rest.to_lowercase().split("__").map(str::to_owned).collect();
        if let (Data::Table(sections), Some(section)) = (&mut root.data, path.first())
            && !sections.contains_key(section)
            && let Some(default) = rows(section)
        {
            sections.insert(section.clone(), default);
        }
        insert(root, &path, Node { place: place.clone(), data: Data::Raw(value.clone().into()) }, &place, report);
    }
}

fn insert(node: &mut Node, path: &[String], value: Node, place: &Place, report: &Report) {
    let Some((first, rest)) = path.split_first() else {
        *node = value;
        return;
    };
    let new = || Node {
        place: place.clone(),
        data: match rest.first() {
            Some(next) if next.parse::<usize>().is_ok() => Data::List(Vec::new()),
            _ => Data::Table(BTreeMap::new()),
        },
    };
    match &mut node.data {
        Data::Table(entries) => {
            // Names are written in capitals; keys of the file that are told apart by case (locales) are found by the same letters.
            let key = entries.keys().find(|key| key.to_lowercase() == *first).cloned().unwrap_or_else(|| first.clone());
            insert(entries.entry(key).or_insert_with(new), rest, value, place, report);
        }
        Data::List(items) => match first.parse::<usize>() {
            Ok(index) if index <= items.len() => {
                if index == items.len() {
                    items.push(new());
                }
                insert(&mut items[index], rest, value, place, report);
            }
            Ok(index) => report.add(
                place,
                "",
                format!(
                    "there is no row {index}: the rows before it end at {}; number rows from 0 without a gap",
                    items.len()
                ),
            ),
            Err(_) => {
                report.add(
                    place,
                    "",
                    format!("write the number of a row before `{first}`, from 0: …__0__{}", first.to_uppercase()),
                );
            }
        },
        _ => report.add(place, "", "its parent is a single value, so it can have no part of this name"),
    }
}

/// Says of a variable that its key does not exist.
pub(crate) fn unknown_variable(name: &str, parent: &str, known: &[&str]) -> String {
    let last = name.rsplit("__").next().unwrap_or(name).to_lowercase();
    match suggest::nearest(&last, known.iter().copied()) {
        Some(meant) => {
            let stem = name.rfind("__").map_or(PREFIX, |at| &name[..at + 2]);
            format!("no such setting; did you mean {stem}{}?", meant.to_uppercase())
        }
        None if parent.is_empty() => format!("no such setting; there is: {}", known.join(", ")),
        None => format!("no such setting in [{parent}]; there is: {}", known.join(", ")),
    }
}
