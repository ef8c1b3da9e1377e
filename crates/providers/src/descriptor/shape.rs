//! What a request looks like.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::rules::{Accept, AnswerRule, Failure, Otherwise};
use crate::sign::HmacRule;
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
    /// The body: one of the three, or none.
    pub form: Option<Pairs>,
    pub json: Option<Node>,
    /// XML, in which every value is escaped.
    pub xml: Option<Source>,
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

impl Http {
    /// Every template of the request.
    pub(crate) fn sources(&self) -> Vec<&Source> {
        let mut all = vec![&self.base_url];
        all.extend(&self.path);
        let pairs = [Some(&self.query), Some(&self.headers), self.form.as_ref()];
        for (_, leaf) in pairs.into_iter().flatten().flat_map(|pairs| &pairs.0) {
            leaf.value.sources(&mut all);
        }
        if let Some(json) = &self.json {
            json.sources(&mut all);
        }
        all.extend(&self.xml);
        all.extend(self.auth.sources().into_iter().map(|(_, source)| source));
        all
    }
}

impl Writing {
    pub(super) fn sources<'a>(&'a self, all: &mut Vec<&'a Source>) {
        match self {
            Self::Plain(source) | Self::Xml(source) => all.push(source),
            Self::Json(node) => node.sources(all),
        }
    }
}

impl Node {
    pub(super) fn sources<'a>(&'a self, all: &mut Vec<&'a Source>) {
        match self {
            Self::Text(leaf) => leaf.value.sources(all),
            Self::Integer(source) => all.push(source),
            Self::Bool(_) | Self::Number(_) => {}
            Self::List(items) => items.iter().for_each(|item| item.sources(all)),
            Self::Object(entries) => entries.iter().for_each(|(_, node)| node.sources(all)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    Get,
    Post,
    Put,
}

/// How the provider knows us: a closed list. Values are templates over fields alone.
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
    /// A parameter of the query.
    Query { name: String, value: Source },
    /// A bearer token got for client credentials (RFC 6749, 4.4), kept until it expires.
    Oauth2 { token_url: Source, client_id: Source, client_secret: Source, scope: Option<Source> },
    /// The body is signed; not at all where the secret is not set.
    StandardWebhooks { secret: Source },
    /// An HMAC in a header of its own.
    Hmac { secret: Source, rule: HmacRule },
    /// AWS Signature Version 4.
    AwsSigv4 {
        access_key_id: Source,
        secret_access_key: Source,
        session_token: Option<Source>,
        region: Source,
        service: String,
    },
    /// Azure Communication Services: `HMAC-SHA256 SignedHeaders=…`.
    AzureHmac { access_key: Source },
    /// Tencent Cloud: TC3-HMAC-SHA256.
    TencentTc3 { secret_id: Source, secret_key: Source, service: String },
    /// Alibaba Cloud: ACS3-HMAC-SHA256.
    AliyunAcs3 { access_key_id: Source, access_key_secret: Source },
    /// OVHcloud: `$1$` and a SHA-1.
    Ovh { application_key: Source, application_secret: Source, consumer_key: Source },
}

impl Auth {
    /// What `kind` calls it.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Basic { .. } => "basic",
            Self::Bearer { .. } => "bearer",
            Self::Header { .. } => "header",
            Self::Query { .. } => "query",
            Self::Oauth2 { .. } => "oauth2",
            Self::StandardWebhooks { .. } => "standard_webhooks",
            Self::Hmac { .. } => "hmac",
            Self::AwsSigv4 { .. } => "aws_sigv4",
            Self::AzureHmac { .. } => "azure_hmac",
            Self::TencentTc3 { .. } => "tencent_tc3",
            Self::AliyunAcs3 { .. } => "aliyun_acs3",
            Self::Ovh { .. } => "ovh",
        }
    }

    /// Its templates, by the names of their keys.
    pub(crate) fn sources(&self) -> Vec<(&'static str, &Source)> {
        match self {
            Self::None => vec![],
            Self::Basic { user, password } => vec![("user", user), ("password", password)],
            Self::Bearer { token } => vec![("token", token)],
            Self::Header { value, .. } | Self::Query { value, .. } => vec![("value", value)],
            Self::Oauth2 { token_url, client_id, client_secret, scope } => {
                let mut all =
                    vec![("token_url", token_url), ("client_id", client_id), ("client_secret", client_secret)];
                all.extend(scope.as_ref().map(|scope| ("scope", scope)));
                all
            }
            Self::StandardWebhooks { secret } | Self::Hmac { secret, .. } => vec![("secret", secret)],
            Self::AwsSigv4 { access_key_id, secret_access_key, session_token, region, .. } => {
                let mut all = vec![
                    ("access_key_id", access_key_id),
                    ("secret_access_key", secret_access_key),
                    ("region", region),
                ];
                all.extend(session_token.as_ref().map(|token| ("session_token", token)));
                all
            }
            Self::AzureHmac { access_key } => vec![("access_key", access_key)],
            Self::TencentTc3 { secret_id, secret_key, .. } => {
                vec![("secret_id", secret_id), ("secret_key", secret_key)]
            }
            Self::AliyunAcs3 { access_key_id, access_key_secret } => {
                vec![("access_key_id", access_key_id), ("access_key_secret", access_key_secret)]
            }
            Self::Ovh { application_key, application_secret, consumer_key } => vec![
                ("application_key", application_key),
                ("application_secret", application_secret),
                ("consumer_key", consumer_key),
            ],
        }
    }
}

/// A value in a form, a query or a header.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub value: Writing,
    /// Left out where it is empty: `{ "$omit_empty" = "…" }`.
    pub omit_empty: bool,
}

/// How a value's text is written.
#[derive(Debug)]
pub(crate) enum Writing {
    /// As the template has it.
    Plain(Source),
    /// The text is XML, and the values in it are escaped: `{ "$xml" = "<Say>{{ text }}</Say>" }`.
    Xml(Source),
    /// The text is JSON: `{ "$json" = { code = "{{ code }}" } }`.
    Json(Box<Node>),
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
const XML: &str = "$xml";
const JSON: &str = "$json";

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
                Ok(Node::Text(Leaf { value: Writing::Plain(value), omit_empty: false }))
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
    let inner = object.pop().map(|(_, node)| node);
    let as_is = |value| Ok(Node::Text(Leaf { value, omit_empty: false }));
    match (key.as_str(), inner) {
        (JSON, Some(node)) => as_is(Writing::Json(Box::new(node))),
        (OMIT_EMPTY, Some(Node::Text(Leaf { value: value @ Writing::Plain(_), .. }))) => {
            Ok(Node::Text(Leaf { value, omit_empty: true }))
        }
        (INTEGER, Some(Node::Text(Leaf { value: Writing::Plain(source), .. }))) => Ok(Node::Integer(source)),
        (XML, Some(Node::Text(Leaf { value: Writing::Plain(source), .. }))) => as_is(Writing::Xml(source)),
        (OMIT_EMPTY | INTEGER | XML, _) => Err(format!("`{key}` takes a template")),
        _ => Err(format!("there is no `{key}`; there are `{OMIT_EMPTY}`, `{INTEGER}`, `{XML}` and `{JSON}`")),
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
