//! What an operator writes about one provider, and what is said when it cannot be used.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use countersign::core::destination::Country;
use serde::de::{Deserialize, Deserializer, Visitor};
use zeroize::Zeroizing;

use crate::descriptor::Descriptor;
use crate::registry;

/// One `[[providers]]` row of the configuration.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// What routes and deliveries call it.
    pub name: String,
    /// The descriptor.
    pub uses: String,
    /// Everything else that stands in the row: credentials and the like, by the names that the descriptor gives them.
    pub fields: BTreeMap<String, FieldValue>,
    /// The sender that people in a country see, where it is another than the field that the descriptor names says.
    pub senders: BTreeMap<Country, FieldValue>,
    /// How long one message may take, from the first byte to the last.
    pub timeout: Duration,
    /// The descriptor itself, where `uses` names one of an operator's own; without it, it names one that comes with this crate.
    pub descriptor: Option<Arc<Descriptor>>,
}

impl ProviderConfig {
    /// How long one message may take unless the configuration says otherwise.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);

    /// A row without fields.
    #[must_use]
    pub fn new(name: impl Into<String>, uses: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            uses: uses.into(),
            fields: BTreeMap::new(),
            senders: BTreeMap::new(),
            timeout: Self::DEFAULT_TIMEOUT,
            descriptor: None,
        }
    }

    /// With one more field.
    #[must_use]
    pub fn with(mut self, field: impl Into<String>, value: impl Into<FieldValue>) -> Self {
        self.fields.insert(field.into(), value.into());
        self
    }

    /// With another sender for one country.
    #[must_use]
    pub fn sender_in(mut self, country: Country, sender: impl Into<FieldValue>) -> Self {
        self.senders.insert(country, sender.into());
        self
    }

    /// With a descriptor of an operator's own.
    #[must_use]
    pub fn described_by(mut self, descriptor: Arc<Descriptor>) -> Self {
        self.descriptor = Some(descriptor);
        self
    }

    /// The descriptor that it uses; `None` if there is none of that name.
    #[must_use]
    pub fn described(&self) -> Option<&Arc<Descriptor>> {
        let own = self.descriptor.as_ref().filter(|descriptor| descriptor.name == self.uses);
        own.or_else(|| registry::find(&self.uses))
    }

    /// With another time-out.
    #[must_use]
    pub const fn within(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// A field's value; `None` where it is not set or blank.
    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(FieldValue::reveal).filter(|value| !value.trim().is_empty())
    }
}

/// The value of a field. Any of them may be a password, so none is shown by `Debug`, and all are wiped when dropped.
#[derive(Clone)]
pub struct FieldValue(Zeroizing<String>);

impl FieldValue {
    /// The value itself, for the request and for nothing else.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl From<&str> for FieldValue {
    fn from(value: &str) -> Self {
        Self(Zeroizing::new(value.to_owned()))
    }
}

impl From<String> for FieldValue {
    fn from(value: String) -> Self {
        Self(Zeroizing::new(value))
    }
}

impl<'de> Deserialize<'de> for FieldValue {
    /// Takes a string, a whole number or a boolean: `user = 20061628` means what it says.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Scalar;
        impl Visitor<'_> for Scalar {
            type Value = FieldValue;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, value: &str) -> Result<FieldValue, E> {
                Ok(value.into())
            }
            fn visit_i64<E>(self, value: i64) -> Result<FieldValue, E> {
                Ok(value.to_string().into())
            }
            fn visit_u64<E>(self, value: u64) -> Result<FieldValue, E> {
                Ok(value.to_string().into())
            }
            fn visit_bool<E>(self, value: bool) -> Result<FieldValue, E> {
                Ok(value.to_string().into())
            }
        }
        deserializer.deserialize_any(Scalar)
    }
}

/// Why a provider cannot be built from its configuration. No text shows a value, since any of them may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// `uses` names no descriptor.
    #[error("provider `{provider}`: no provider is called `{uses}`; write `uses` as one of: {known}")]
    UnknownProvider {
        /// The row's name.
        provider: String,
        /// What it uses.
        uses: String,
        /// What there is.
        known: String,
    },
    /// A field that the descriptor does not have.
    #[error("provider `{provider}`: `{uses}` has no field `{field}`; its fields are: {known}")]
    UnknownField {
        /// The row's name.
        provider: String,
        /// What it uses.
        uses: String,
        /// The field.
        field: String,
        /// The fields that it has.
        known: String,
    },
    /// A required field is not set, or blank.
    #[error("provider `{provider}`: `{field}` is missing; write {field} = \"…\" ({help})")]
    MissingField {
        /// The row's name.
        provider: String,
        /// The field.
        field: String,
        /// What it is, and where it is found.
        help: String,
    },
    /// A field's value cannot be used.
    #[error("provider `{provider}`: `{field}` {problem}")]
    BadField {
        /// The row's name.
        provider: String,
        /// The field.
        field: String,
        /// What is wrong, and what to write instead.
        problem: String,
    },
    /// The HTTP client could not be set up.
    #[error("provider `{provider}`: HTTPS cannot be set up: {problem}")]
    Transport {
        /// The row's name.
        provider: String,
        /// What is wrong, and what to do.
        problem: String,
    },
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn debug_shows_no_value() {
        let config = ProviderConfig::new("tz", "mshastra").with("password", "hunter2");
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
        assert!(format!("{config:?}").contains("password"));
    }

    #[test]
    fn a_field_may_be_written_as_a_number() {
        let fields: BTreeMap<String, FieldValue> =
            toml::from_str("user = 20061628\ntest = true\nname = \"x\"").unwrap();
        let shown: Vec<_> = fields.values().map(FieldValue::reveal).collect();
        assert_eq!(shown, ["x", "true", "20061628"]);
        assert!(toml::from_str::<BTreeMap<String, FieldValue>>("user = [1]").is_err());
    }

    #[test]
    fn a_blank_field_is_not_set() {
        assert_eq!(ProviderConfig::new("a", "b").with("c", "  ").get("c"), None);
    }
}
