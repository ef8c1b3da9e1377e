//! A key before the code: a code that is spoken into a mailbox is heard by whoever opens that, and a mailbox presses no key.

use serde::Deserialize;

use super::rules::{Condition, ReceiptFormat, Statuses};
use super::shape::{Node, Pairs};
use super::{Descriptor, Field};
use crate::config::ProviderConfig;
use crate::template::Source;

/// The field that says whether a key is asked for.
pub(crate) const KEYPRESS: &str = "keypress";

/// The field that says with what words.
pub(crate) const PROMPT: &str = "prompt";

/// How a voice provider asks for a key before the code.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keypress {
    /// Whether it does where an operator says nothing.
    pub default: Switch,
    /// The field that says which language is spoken: the words are found by it.
    pub language: String,
    /// Entries of the form that then stand in place of those of the same name.
    pub form: Option<Pairs>,
    /// The JSON that then stands in place of the other.
    pub json: Option<Node>,
    /// What is said once a key was pressed, to a provider that asks for that; where the request holds it, there is none.
    pub answer: Option<Spoken>,
    /// What the words of its reports then mean. A call that was answered is not one in which the code was heard.
    pub statuses: Option<Statuses>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Switch {
    On,
    Off,
}

/// An answer to a provider that says that a key was pressed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Spoken {
    pub format: ReceiptFormat,
    /// What makes its call one about a key.
    pub when: Vec<Condition>,
    /// What says the code, as XML.
    pub xml: Source,
    /// What ends the call, where there is nothing to say.
    pub otherwise: Source,
}

impl Switch {
    /// What an operator wrote. A boolean of TOML is a word here.
    pub(crate) fn named(text: &str) -> Option<Self> {
        match text.trim() {
            "on" | "true" => Some(Self::On),
            "off" | "false" => Some(Self::Off),
            _ => None,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::On => "on",
            Self::Off => "off",
        }
    }
}

impl Keypress {
    /// The fields that a provider has for it.
    pub(super) fn fields(&self) -> [Field; 2] {
        let help = if self.answer.is_some() {
            "on or off: whether a key must be pressed before the code is spoken, so that no mailbox gets it. `on` is the safer, and needs an address of ours that the provider reaches (`receipts_url`)"
        } else {
            "on or off: whether a key must be pressed before the code is spoken, so that no mailbox gets it"
        };
        let field = |name: &str, help: &str, default: Option<&str>, example: &str| Field {
            name: name.to_owned(),
            help: help.to_owned(),
            secret: false,
            required: false,
            default: default.map(str::to_owned),
            example: Some(example.to_owned()),
        };
        let words = format!(
            "what is said to ask for the key; if not set, \"Press any key to hear your code.\" in the language of `{}`",
            self.language
        );
        [
            field(KEYPRESS, help, Some(self.default.as_str()), "on"),
            field(PROMPT, &words, None, "Press any key to hear your Example code."),
        ]
    }
}

impl Descriptor {
    /// How a key is asked for before the code, if this provider is set up so.
    pub(crate) fn keypress_of(&self, config: &ProviderConfig) -> Option<&Keypress> {
        let keypress = self.keypress.as_ref()?;
        let said = config.get(KEYPRESS).and_then(Switch::named).unwrap_or(keypress.default);
        (said == Switch::On).then_some(keypress)
    }
}
