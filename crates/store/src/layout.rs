//! Which tables a store keeps verifications in.
//!
//! What supports them (limits, guesses, kept answers, applications, API keys, records) is in small tables of our own in every layout.

use std::fmt;
use std::str::FromStr;

use countersign::core::destination::{Country, Destination};

/// Which tables a store keeps verifications in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Tables of its own, with history and events.
    #[default]
    Standalone,
    /// One small table: the latest verification of each application, service, destination and purpose, and nothing of those before
    /// it. No events.
    Minimal,
    /// A table that the application already has, so that its own code sees what was verified.
    Existing(Existing),
}

impl Layout {
    /// Its name in the configuration.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Minimal => "minimal",
            Self::Existing(_) => "existing",
        }
    }
}

/// A table of the application, and what its columns mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Existing {
    /// The table.
    pub table: TableName,
    /// Its columns.
    pub columns: Columns,
    /// How destinations are written there.
    pub destination_format: DestinationFormat,
    /// Whether a cleanup leaves the rows in the table and takes only what we keep in them.
    pub keep_rows: bool,
}

/// The columns of the application's table that we write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// The verification's id, as text: `vf_` and 32 hexadecimal digits. Unique.
    pub id: Name,
    /// The destination.
    pub destination: Name,
    /// The purpose.
    pub purpose: Name,
    /// True from the approval on.
    pub verified: Name,
    /// When it began.
    pub created_at: Name,
    /// From when on its code is refused.
    pub expires_at: Name,
}

impl Columns {
    /// Each with what it is called in the configuration.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, &Name); 6] {
        [
            ("id", &self.id),
            ("destination", &self.destination),
            ("purpose", &self.purpose),
            ("verified", &self.verified),
            ("created_at", &self.created_at),
            ("expires_at", &self.expires_at),
        ]
    }
}

impl Existing {
    /// The Django model that thousands of back ends carry: table `verification`, `phone` in digits.
    #[must_use]
    pub fn django() -> Self {
        let name = |text: &str| Name(text.to_owned());
        Self {
            table: TableName { schema: None, name: name("verification") },
            columns: Columns {
                id: name("verification_id"),
                destination: name("phone"),
                purpose: name("verification_type"),
                verified: name("verified"),
                created_at: name("created_at"),
                expires_at: name("expires_at"),
            },
            destination_format: DestinationFormat::Digits,
            keep_rows: false,
        }
    }
}

/// How destinations are written in the application's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DestinationFormat {
    /// `+255694230173`.
    #[default]
    E164,
    /// `255694230173`.
    Digits,
}

impl DestinationFormat {
    /// A destination as the table has it. An email address is the same in both.
    #[must_use]
    pub fn write(self, to: &Destination) -> String {
        self.of_text(to.reveal()).to_owned()
    }

    /// The same of a destination's text.
    pub(crate) fn of_text(self, text: &str) -> &str {
        match self {
            Self::Digits => text.strip_prefix('+').unwrap_or(text),
            Self::E164 => text,
        }
    }

    /// Takes back what [`DestinationFormat::write`] wrote.
    #[must_use]
    pub fn restore(self, text: String, country: Option<Country>) -> Destination {
        let number = self == Self::Digits && text.bytes().all(|byte| byte.is_ascii_digit());
        Destination::restored(if number { format!("+{text}") } else { text }, country)
    }
}

/// A name of a table or column: 1 to 63 letters, digits and `_`, the first one no digit. It is quoted wherever it is written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    /// Quoted, as SQL has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A text that cannot name a table or a column.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name is 1 to 63 letters a-z, digits and `_`, and begins with no digit")]
pub struct InvalidName;

impl FromStr for Name {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let fits = (1..=63).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && !text.starts_with(|first: char| first.is_ascii_digit());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidName) }
    }
}

/// The name of a table, with its schema where a database has several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The schema.
    pub schema: Option<Name>,
    /// The table.
    pub name: Name,
}

impl fmt::Display for TableName {
    /// Quoted, as SQL has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.schema {
            Some(schema) => write!(f, "{schema}.{}", self.name),
            None => write!(f, "{}", self.name),
        }
    }
}

impl FromStr for TableName {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        match text.split_once('.') {
            Some((schema, name)) => Ok(Self { schema: Some(schema.parse()?), name: name.parse()? }),
            None => Ok(Self { schema: None, name: text.parse()? }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn what_cannot_be_an_identifier_is_refused() {
        for good in ["verification", "_a1", "Verification", &"a".repeat(63)] {
            assert_eq!(good.parse::<Name>().unwrap().to_string(), format!("\"{good}\""));
        }
        for bad in ["", "1a", "a b", "a\"b", "a;b", "a-b", "ä", "a.b", "a\0", &"a".repeat(64)] {
            assert_eq!(bad.parse::<Name>(), Err(InvalidName), "{bad:?}");
        }
        assert_eq!("app.verification".parse::<TableName>().unwrap().to_string(), "\"app\".\"verification\"");
        assert_eq!("a.b.c".parse::<TableName>(), Err(InvalidName));
    }

    #[test]
    fn a_destination_is_written_as_the_table_has_it_and_taken_back() {
        for (to, digits) in
            [("+255694230173", "255694230173"), ("jane@example.com", "jane@example.com"), ("1@a.io", "1@a.io")]
        {
            let to = Destination::parse(to, None).unwrap();
            for (format, written) in [(DestinationFormat::Digits, digits), (DestinationFormat::E164, to.reveal())] {
                assert_eq!(format.write(&to), written);
                assert_eq!(format.restore(written.to_owned(), to.country()), to);
            }
        }
    }
}
