//! The types that only the configuration has: choices, of which some come with later versions, and values checked as they are read.

use std::net::SocketAddr;

use super::tree::{Data, Node};
use super::value::{Field, Value, blank, choice};
use crate::token::Algorithm;

blank!(Algorithm, Listen, StoreUrl, Layout, GuardMode, LogLevel, LogFormat, TestCode);

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
    /// Memory, gone with the process.
    Memory,
}

impl Default for StoreUrl {
    fn default() -> Self {
        Self::Sqlite("countersign.db".to_owned())
    }
}

impl Value for StoreUrl {
    const KIND: &'static str = "sqlite: and the path of a file, for example \"sqlite:countersign.db\"";
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
            Some(("postgres" | "postgresql", _)) => {
                Err("PostgreSQL comes with a later release, and this build has none; write \"sqlite:countersign.db\""
                    .to_owned())
            }
            _ => Err(format!("must be {}", Self::KIND)),
        }
    }
}

/// Which tables the store uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Its own, with history.
    #[default]
    Standalone,
}

impl Value for Layout {
    const KIND: &'static str = "\"standalone\"";
    fn read(node: &Node) -> Result<Self, String> {
        match &node.data {
            Data::Text(text) | Data::Raw(text) => match text.trim() {
                "standalone" => Ok(Self::Standalone),
                layout @ ("minimal" | "existing") => {
                    Err(format!("the layout \"{layout}\" comes with a later release; write \"standalone\""))
                }
                _ => Err(format!("must be \"standalone\", not {}", node.describe())),
            },
            _ => Err(format!("must be \"standalone\", not {}", node.describe())),
        }
    }
}

/// What the guard does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuardMode {
    /// Nothing.
    #[default]
    Off,
}

impl Value for GuardMode {
    const KIND: &'static str = "\"off\"";
    fn read(node: &Node) -> Result<Self, String> {
        match &node.data {
            Data::Text(text) | Data::Raw(text) => match text.trim() {
                "off" => Ok(Self::Off),
                mode @ ("observe" | "enforce") => Err(format!(
                    "this version has no guard yet, so \"{mode}\" would protect nobody; write \"off\", and rely on [[limits]] and policy.allowed_countries"
                )),
                _ => Err(format!("must be \"off\", not {}", node.describe())),
            },
            _ => Err(format!("must be \"off\", not {}", node.describe())),
        }
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
