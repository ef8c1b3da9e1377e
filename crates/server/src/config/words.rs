//! The types that only the configuration has: choices, of which some come with later versions, and values checked as they are read.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use countersign::core::guard::Mode;
use countersign_store::layout::{DestinationFormat, Name, TableName};

use super::suggest;
use super::tree::{Data, Node};
use super::value::{Field, Value, blank, choice, instead, text};
use crate::token::Algorithm;

blank!(Algorithm, Listen, StoreUrl, Schema, Layout, ColumnNames, Mode, LogLevel, LogFormat, TestCode);

/// The address that the service listens on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub SocketAddr);

impl Default for Listen {
    fn default() -> Self {
        Self(SocketAddr::from(([127, 0, 0, 1], 8080)))
    }
}

impl Value for Listen {
    const KIND: &'static str = SocketAddr::KIND;
    fn read(node: &Node) -> Result<Self, String> {
        if let Data::Text(text) | Data::Raw(text) = &node.data
            && let Some(port) = text.trim().strip_prefix("localhost:").or_else(|| text.trim().strip_prefix(':'))
            && port.parse::<u16>().is_ok()
        {
            return Err(format!("must be an address and a port: write \"127.0.0.1:{port}\""));
        }
        SocketAddr::read(node).map(Self)
    }
}

/// A key that has no default: `None` only while a row is being read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted<T>(pub Option<T>);

impl<T: Value> Field for Wanted<T> {
    fn blank() -> Self {
        Self(None)
    }
}

impl<T: Value> Value for Wanted<T> {
    const KIND: &'static str = T::KIND;
    fn read(node: &Node) -> Result<Self, String> {
        T::read(node).map(|value| Self(Some(value)))
    }
    fn within(&self, low: &Self, high: &Self) -> bool {
        match (&self.0, &low.0, &high.0) {
            (Some(value), Some(low), Some(high)) => value.within(low, high),
            _ => true,
        }
    }
}

/// Which store, by its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A SQLite file.
    Sqlite(String),
    /// A PostgreSQL database. Shows no password.
    #[cfg(feature = "postgres")]
    Postgres(Box<countersign_store::postgres::Target>),
    /// Memory, gone with the process.
    Memory,
}

impl Default for StoreUrl {
    fn default() -> Self {
        Self::Sqlite("countersign.db".to_owned())
    }
}

impl Value for StoreUrl {
    const KIND: &'static str = "sqlite: and the path of a file, for example \"sqlite:countersign.db\", or \
                                \"postgresql://user@host:port/database\"";
    fn read(node: &Node) -> Result<Self, String> {
        // A URL may hold a password, so no message repeats it.
        let (Data::Text(text) | Data::Raw(text)) = &node.data else { return Err(format!("must be {}", Self::KIND)) };
        match text.split_once(':') {
            Some(("sqlite", ":memory:" | "//:memory:")) => Ok(Self::Memory),
            Some(("sqlite", path)) => {
                let path = path.strip_prefix("//").unwrap_or(path);
                if path.contains('?') {
                    return Err("takes no options: leave out everything from the `?` on".to_owned());
                }
                if path.is_empty() { Err(format!("must be {}", Self::KIND)) } else { Ok(Self::Sqlite(path.to_owned())) }
            }
            #[cfg(feature = "postgres")]
            Some(("postgres" | "postgresql", _)) => countersign_store::postgres::Target::parse(text)
                .map(|target| Self::Postgres(Box::new(target)))
                .map_err(|problem| problem.to_string()),
            #[cfg(not(feature = "postgres"))]
            Some(("postgres" | "postgresql", _)) => {
                Err("this build has no PostgreSQL; write \"sqlite:countersign.db\", or take a build with the feature `postgres`"
                    .to_owned())
            }
            _ => Err(format!("must be {}", Self::KIND)),
        }
    }
}

/// A schema of a PostgreSQL database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema(pub String);

impl Default for Schema {
    fn default() -> Self {
        Self("countersign".to_owned())
    }
}

impl Value for Schema {
    const KIND: &'static str = "1 to 63 letters, digits and underscores, no digit first";
    fn read(node: &Node) -> Result<Self, String> {
        let (Data::Text(text) | Data::Raw(text)) = &node.data else {
            return Err(format!("must be {}, not {}", Self::KIND, node.describe()));
        };
        let lawful = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let is_name = (1..=63).contains(&text.len())
            && text.bytes().all(lawful)
            && !text.as_bytes().first().is_some_and(u8::is_ascii_digit);
        if is_name {
            Ok(Self(text.to_string()))
        } else {
            Err(format!("must be {}, not {}", Self::KIND, node.describe()))
        }
    }
}

/// Which tables the store uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Its own, with history.
    #[default]
    Standalone,
    /// One of its own, without.
    Minimal,
    /// The application's.
    Existing,
}

choice!(
    Layout, "\"standalone\", \"minimal\" or \"existing\"",
    "standalone" => Self::Standalone, "minimal" => Self::Minimal, "existing" => Self::Existing,
);

/// A table that many applications have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The model of the package that thousands of Django back ends carry.
    Django,
}

choice!(Preset, "\"django\"", "django" => Self::Django);
choice!(DestinationFormat, "\"e164\" or \"digits\"", "e164" => Self::E164, "digits" => Self::Digits);

impl Value for TableName {
    const KIND: &'static str =
        "the name of a table: letters a-z, digits and `_`, up to 63, with its schema and a point before it or not";
    fn read(node: &Node) -> Result<Self, String> {
        text(node).and_then(|text| text.parse().ok()).map_or_else(|| instead(node, Self::KIND), Ok)
    }
}

/// What the columns of the application's table are called, by what they mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnNames(pub BTreeMap<String, Name>);

impl ColumnNames {
    /// What they mean.
    pub const KNOWN: [&'static str; 6] = ["id", "destination", "purpose", "verified", "created_at", "expires_at"];
}

impl Value for ColumnNames {
    const KIND: &'static str = "a table of names, for example { id = \"verification_id\" }; it takes id, destination, purpose, verified, created_at, expires_at";
    fn read(node: &Node) -> Result<Self, String> {
        let parsed = match &node.data {
            Data::Raw(text) => Node::from_value(text.trim(), &node.place),
            _ => None,
        };
        let Data::Table(entries) = &parsed.as_ref().unwrap_or(node).data else { return instead(node, Self::KIND) };
        let mut names = BTreeMap::new();
        for (key, name) in entries {
            if !Self::KNOWN.contains(&key.as_str()) {
                let meant = suggest::nearest(key, Self::KNOWN).map(|meant| format!("; did you mean `{meant}`?"));
                let known = || format!("; there is: {}", Self::KNOWN.join(", "));
                return Err(format!("has no column `{key}`{}", meant.unwrap_or_else(known)));
            }
            let read = text(name).and_then(|text| text.parse::<Name>().ok());
            let Some(read) = read else {
                return Err(format!(
                    "{key} must be the name of a column: letters a-z, digits and `_`, up to 63, not {}",
                    name.describe()
                ));
            };
            names.insert(key.clone(), read);
        }
        Ok(Self(names))
    }
}

/// The least important messages shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What broke.
    Error,
    /// What may break.
    Warn,
    /// What happens.
    #[default]
    Info,
    /// What happens inside.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

choice!(
    LogLevel, "\"off\", \"error\", \"warn\", \"info\", \"debug\" or \"trace\"", "off" => Self::Off,
    "error" => Self::Error, "warn" => Self::Warn, "info" => Self::Info, "debug" => Self::Debug, "trace" => Self::Trace,
);

choice!(Mode, "\"off\", \"observe\" or \"enforce\"", "off" => Self::Off, "observe" => Self::Observe, "enforce" => Self::Enforce);
choice!(Algorithm, "\"EdDSA\" or \"ES256\"", "EdDSA" => Self::EdDsa, "ES256" => Self::Es256);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines.
    Json,
}

choice!(LogFormat, "\"text\" or \"json\"", "text" => Self::Text, "json" => Self::Json);

/// The fixed code of a test destination.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TestCode(pub String);

impl std::fmt::Debug for TestCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestCode")
    }
}

impl Value for TestCode {
    const KIND: &'static str = "4 to 10 digits as a text, for example \"123456\"";
    fn read(node: &Node) -> Result<Self, String> {
        match &node.data {
            Data::Text(text) | Data::Raw(text) if text.parse::<countersign::core::code::Code>().is_ok() => {
                Ok(Self(text.to_string()))
            }
            Data::Integer(_) => Err("must be in quotation marks, which keep its leading zeros: \"…\"".to_owned()),
            _ => Err(format!("must be {}", Self::KIND)),
        }
    }
}
