//! One section, one struct: the fields, their documentation, defaults, ranges and examples stand in one place, from which the
//! parser, the default file, `config explain` and the reference are made.

use std::collections::BTreeMap;

use super::problem::{Place, Report};
use super::suggest;
use super::tree::{Data, Node, unknown_variable};
use super::value::{Field, Value};

/// A section of the configuration, as its struct declares it.
#[derive(Debug)]
pub struct Section {
    /// Its name: `policy`, `server.simple`.
    pub path: &'static str,
    /// Whether it is one table or rows of them (`[[limits]]`).
    pub shape: Shape,
    /// What it is for; one paragraph, its lines separated by newlines.
    pub about: &'static str,
    /// Its keys, in the order of the default file.
    pub keys: &'static [Key],
}

/// How often a section may stand in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `[name]`, once.
    Table,
    /// `[[name]]`, as often as wanted.
    Rows,
}

/// One key of a section.
#[derive(Debug)]
pub struct Key {
    /// Its name.
    pub name: &'static str,
    /// What it means.
    pub about: &'static str,
    /// What may be written.
    pub kind: &'static str,
    /// The default in TOML; `None` if there is none.
    pub default: Option<&'static str>,
    /// An example in TOML, where the default does not show one.
    pub example: Option<&'static str>,
    /// The least and the greatest value, in TOML.
    pub range: Option<(&'static str, &'static str)>,
}

impl Section {
    /// One of its keys.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.keys.iter().map(|key| key.name).collect()
    }
}

impl Key {
    /// What may be written, with its range.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self.range {
            Some((low, high)) => format!("{}, from {} to {}", self.kind, low.trim_matches('"'), high.trim_matches('"')),
            None => self.kind.to_owned(),
        }
    }
}

/// Declares a section. A default is a Rust expression that is TOML as well; without one the field's type must have a `Default`.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $name:ident, $shape:ident $path:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty $(= $default:expr)? $(, from $low:literal to $high:literal)? $(, like $example:expr)?;
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)*
        }

        impl $name {
            /// Its declaration.
            pub const SECTION: $crate::config::section::Section = $crate::config::section::Section {
                path: $path,
                shape: $crate::config::section::Shape::$shape,
                about: concat!($($about, "\n"),+),
                keys: &[$($crate::config::section::Key {
                    name: stringify!($field),
                    about: concat!($($doc, "\n"),+),
                    kind: <$type as $crate::config::value::Value>::KIND,
                    default: $crate::config::section::optional!($(stringify!($default))?),
                    example: $crate::config::section::optional!($(stringify!($example))?),
                    range: $crate::config::section::optional!($((stringify!($low), stringify!($high)))?),
                }),*],
            };

            /// Reads it; what is not set is as in `base`.
            pub(crate) fn read(table: &$crate::config::section::Table<'_>, base: &Self) -> Self {
                Self { $($field: table.get(&Self::SECTION, stringify!($field)).unwrap_or_else(|| base.$field.clone()),)* }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $crate::config::section::default_of(&Self::SECTION, stringify!($field)),)* }
            }
        }
    };
}

macro_rules! optional {
    () => {
        None
    };
    ($value:expr) => {
        Some($value)
    };
}

pub(crate) use {optional, section};

/// The default of a key. That every default can be read is a test.
pub(crate) fn default_of<T: Field>(section: &Section, key: &str) -> T {
    let text = section.key(key).and_then(|key| key.default);
    let node = text.and_then(|text| Node::from_value(text, &Place::Nowhere));
    node.and_then(|node| T::read(&node).ok()).unwrap_or_else(T::blank)
}

/// A table that is being read: hands out values, reports what is wrong with them, and at the end what nobody asked for.
pub(crate) struct Table<'a> {
    /// Its name, as `config explain` takes it: `server.simple`; rows are not numbered.
    path: String,
    place: Place,
    entries: Option<&'a BTreeMap<String, Node>>,
    report: &'a Report,
}

impl<'a> Table<'a> {
    /// The whole configuration.
    pub(crate) fn root(node: &'a Node, report: &'a Report) -> Self {
        Self::of(node, String::new(), report)
    }

    fn of(node: &'a Node, path: String, report: &'a Report) -> Self {
        let entries = match &node.data {
            Data::Table(entries) => Some(entries),
            _ => {
                report.add(&node.place, &path, format!("must be a table ([{path}]), not {}", node.describe()));
                None
            }
        };
        Self { path, place: node.place.clone(), entries, report }
    }

    fn absent(path: String, report: &'a Report) -> Self {
        Self { path, place: Place::Nowhere, entries: None, report }
    }

    /// A table inside; an empty one if it is not there.
    pub(crate) fn table(&self, name: &str) -> Table<'a> {
        match self.node(name) {
            Some(node) => Self::of(node, self.full(name), self.report),
            None => Self::absent(self.full(name), self.report),
        }
    }

    /// The rows inside; `None` if there are none.
    pub(crate) fn rows(&self, name: &str) -> Option<Vec<Table<'a>>> {
        let (node, path) = (self.node(name)?, self.full(name));
        match &node.data {
            Data::List(items) => Some(items.iter().map(|item| Self::of(item, path.clone(), self.report)).collect()),
            _ => {
                let what = format!(
                    "must be rows: write [[{path}]] rather than [{path}], and number variables from 0 (…__0__…)"
                );
                self.report.add(&node.place, path, what);
                None
            }
        }
    }

    /// The value of a key; `None` if it is not set, or wrong, which is then reported.
    pub(crate) fn get<T: Value>(&self, section: &Section, name: &str) -> Option<T> {
        let node = self.node(name)?;
        let value = match T::read(node) {
            Ok(value) => value,
            Err(text) => {
                self.report.add(&node.place, self.full(name), text);
                return None;
            }
        };
        let bound = |text| Node::from_value(text, &Place::Nowhere).and_then(|node| T::read(&node).ok());
        if let Some((low, high)) = section.key(name).and_then(|key| key.range)
            && let (Some(least), Some(most)) = (bound(low), bound(high))
            && !value.within(&least, &most)
        {
            let (low, high) = (low.trim_matches('"'), high.trim_matches('"'));
            self.report.add(&node.place, self.full(name), format!("must be {low} to {high}, not {}", node.describe()));
            return None;
        }
        Some(value)
    }

    /// A value as it stands.
    pub(crate) fn node(&self, name: &str) -> Option<&'a Node> {
        self.entries?.get(name)
    }

    /// A text as it stands.
    pub(crate) fn text(&self, name: &str) -> Option<&'a str> {
        match &self.node(name)?.data {
            Data::Text(text) | Data::Raw(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// Everything in it.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, &'a Node)> + use<'a> {
        self.entries.into_iter().flatten().map(|(name, node)| (name.as_str(), node))
    }

    /// Where one of its keys stands; else where it stands itself.
    pub(crate) fn place(&self, name: &str) -> Place {
        self.node(name).map_or_else(|| self.place.clone(), |node| node.place.clone())
    }

    /// Reports what is wrong with one of its keys.
    pub(crate) fn problem(&self, name: &str, text: impl Into<String>) {
        self.report.add(&self.place(name), self.full(name), text);
    }

    /// Reports every key that is not among the known ones.
    pub(crate) fn finish(&self, known: &[&str], elsewhere: &dyn Fn(&str) -> Option<String>) {
        for (name, node) in self.entries().filter(|(name, _)| !known.contains(name)) {
            let text = match &node.place {
                Place::Variable(variable) => unknown_variable(variable, &self.path, known),
                _ => match (suggest::nearest(name, known.iter().copied()), elsewhere(name)) {
                    (Some(meant), _) => format!("no such key; did you mean `{meant}`?"),
                    (None, Some(section)) => format!("no such key here; it belongs in {section}"),
                    (None, None) if self.path.is_empty() => format!("no such section; there is: {}", known.join(", ")),
                    (None, None) => format!("no such key; there is: {}", known.join(", ")),
                },
            };
            self.report.add(&node.place, self.full(name), text);
        }
    }

    /// The name of one of its keys, as `config explain` takes it.
    pub(crate) fn full(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }
}
