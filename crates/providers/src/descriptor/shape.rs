//! What a request looks like.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::rules::{Accept, AnswerRule, Failure, Otherwise};
use crate::template::Source;

/// How a provider is spoken to, and how it answers.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    pub method: Method,
    /// Scheme and host, and the beginning of the path where there is one.
    pub base_url: Source,
    /// The rest of the path, segment by segment: a value cannot break out of its segment.
    #[serde(default)]
    pub path: Vec<Source>,
    #[serde(default)]
    pub query: Pairs,
    #[serde(default)]
    pub headers: Pairs,
    /// The body: one of the two, or none.
    pub form: Option<Pairs>,
    pub json: Option<Node>,
    #[serde(default)]
    pub auth: Auth,
    pub accept: Accept,
    #[serde(default)]
    pub answer: AnswerRule,
    /// The first row that fits says what a refusal means.
    #[serde(default)]
    pub failures: Vec<Failure>,
    /// What holds where no row fits.
    pub otherwise: Otherwise,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    Get,
    Post,
    Put,
}

/// How the provider knows us. Values are templates over fields alone.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Auth {
    /// Not at all, or by what stands in the body.
    #[default]
    None,
    /// `Authorization: Basic …`
    Basic { user: Source, password: Source },
    /// `Authorization: Bearer …`
    Bearer { token: Source },
    /// A header of the provider's own.
    Header { name: String, value: Source },
    /// The body is signed; not at all where the secret is not set.
    StandardWebhooks { secret: Source },
}

/// A value in a form, a query or a header.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub value: Source,
    /// Left out where it is empty: `{ "$omit_empty" = "…" }`.
    pub omit_empty: bool,
}

/// Names and values, in the order of the descriptor.
#[derive(Debug, Default)]
pub(crate) struct Pairs(pub Vec<(String, Leaf)>);

/// A JSON body. Strings are templates; what they hold is encoded as one JSON string, whatever it is.
#[derive(Debug)]
pub(crate) enum Node {
    Text(Leaf),
    /// A whole number that a template writes: `{ "$integer" = "{{ expires_at }}" }`.
    Integer(Source),
    Bool(bool),
    Number(i64),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

const OMIT_EMPTY: &str = "$omit_empty";
const INTEGER: &str = "$integer";

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Nodes;
        impl<'de> Visitor<'de> for Nodes {
            type Value = Node;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a template, a table, a list, a whole number or a boolean")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
                let value = Source::try_from(text.to_owned()).map_err(E::custom)?;
                Ok(Node::Text(Leaf { value, omit_empty: false }))
            }

            fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
                Ok(Node::Bool(flag))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
                Ok(Node::Number(number))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Node, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Node::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Node, A::Error> {
                let mut object = Vec::new();
                while let Some((key, value)) = entries.next_entry::<String, Node>()? {
                    object.push((key, value));
                }
                directive(object).map_err(A::Error::custom)
            }
        }
        deserializer.deserialize_any(Nodes)
    }
}

/// A table with a key that begins with `$` is no object, but says how the value in it is written.
fn directive(mut object: Vec<(String, Node)>) -> Result<Node, String> {
    let Some((key, _)) = object.iter().find(|(key, _)| key.starts_with('$')) else { return Ok(Node::Object(object)) };
    let key = key.clone();
    if object.len() > 1 {
        return Err(format!("`{key}` must stand alone in its table"));
    }
    match (key.as_str(), object.pop()) {
        (OMIT_EMPTY, Some((_, Node::Text(leaf)))) => Ok(Node::Text(Leaf { omit_empty: true, ..leaf })),
        (INTEGER, Some((_, Node::Text(leaf)))) => Ok(Node::Integer(leaf.value)),
        (OMIT_EMPTY | INTEGER, _) => Err(format!("`{key}` takes a template")),
        _ => Err(format!("there is no `{key}`; there are `{OMIT_EMPTY}` and `{INTEGER}`")),
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Node::Object(entries) = Node::deserialize(deserializer)? else {
            return Err(D::Error::custom("expected a table of templates"));
        };
        let pairs = entries.into_iter().map(|(name, node)| match node {
            Node::Text(leaf) => Ok((name, leaf)),
            _ => Err(D::Error::custom(format!("`{name}` must be a template"))),
        });
        pairs.collect::<Result<_, _>>().map(Self)
    }
}
