//! What is asked of a descriptor beyond its form.

use std::collections::BTreeSet;

use countersign::core::channel::Channel;
use reqwest::Url;
use reqwest::header::{HeaderName, HeaderValue};

use super::rules::{Condition, Handshake, ReceiptAuth, Statuses};
use super::shape::{Auth, Http, Leaf, Node, Writing};
use super::{Descriptor, Keypress, PROMPT, Receipts, Spoken};
use crate::template::{Source, Variable, is_name};

/// The field that every HTTP provider has.
pub(super) const BASE_URL: &str = "base_url";

/// The field that every HTTP provider with receipts has, if it is told where to send them.
pub(crate) const RECEIPTS_URL: &str = "receipts_url";

/// Keys of a `[[providers]]` row that are not the provider's.
const TAKEN: [&str; 3] = ["name", "uses", "timeout"];

/// The part, and what is wrong with it.
type Problem = (String, String);

pub(super) fn check(descriptor: &Descriptor) -> Result<(), Problem> {
    let Descriptor { name, title, summary, docs, channels, .. } = descriptor;
    ensure(is_name(&name.replace('-', "_")) && name.len() <= 32, "name", || {
        "must be a word of a-z, 0-9, `-` and `_`, at most 32 characters".to_owned()
    })?;
    for (field, text) in [("title", title), ("summary", summary)] {
        ensure(!text.trim().is_empty(), field, || "must not be empty".to_owned())?;
    }
    ensure(Url::parse(docs).is_ok_and(|url| url.scheme() == "https"), "docs", || {
        "must be an https:// link".to_owned()
    })?;
    let distinct: BTreeSet<_> = channels.iter().collect();
    ensure(!channels.is_empty() && distinct.len() == channels.len(), "channels", || {
        "must name at least one channel, and none twice".to_owned()
    })?;
    fields(descriptor)?;
    if let Some(http) = &descriptor.http {
        Check { descriptor }.http(http)?;
    }
    descriptor.receipts.as_ref().map_or(Ok(()), |receipts_rule| receipts(descriptor, receipts_rule))?;
    descriptor.keypress.as_ref().map_or(Ok(()), |rule| Check { descriptor }.keypress(rule))
}

fn fields(descriptor: &Descriptor) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for field in &descriptor.fields {
        let at = format!("fields.{}", field.name);
        ensure(is_name(&field.name) && !field.name.ends_with("_file"), &at, || {
            "a field is called like `account_sid`, and not `…_file`, which is where a secret may be read from"
                .to_owned()
        })?;
        ensure(!TAKEN.contains(&field.name.as_str()) && Variable::named(&field.name).is_none(), &at, || {
            "this name is taken: it is a key of every provider, or a variable of templates".to_owned()
        })?;
        ensure(seen.insert(&field.name), &at, || "there are two of this name".to_owned())?;
        ensure(!field.help.trim().is_empty(), &format!("{at}.help"), || {
            "must say what the field is and where it is found".to_owned()
        })?;
        ensure(!(field.required && field.default.is_some()), &format!("{at}.default"), || {
            "what has a default is not required".to_owned()
        })?;
        ensure(!(field.secret && field.default.is_some()), &format!("{at}.default"), || {
            "a secret has no default".to_owned()
        })?;
    }
    let Some(sender) = &descriptor.sender else { return Ok(()) };
    for name in std::iter::once(&sender.field).chain(&sender.or) {
        ensure(descriptor.field(name).is_some(), "sender", || format!("there is no field `{name}`"))?;
    }
    Ok(())
}

fn receipts(descriptor: &Descriptor, receipts: &Receipts) -> Result<(), Problem> {
    let is_secret = |name: &str| descriptor.field(name).is_some_and(|field| field.secret);
    let field = receipts.auth.field();
    if receipts.auth.is_public_key() {
        ensure(descriptor.field(field).is_some(), "receipts.auth.field", || format!("there is no field `{field}`"))?;
    } else {
        ensure(is_secret(field), "receipts.auth.field", || format!("`{field}` is not one of the secret fields"))?;
    }
    let header = |at: &str, name: &str| {
        ensure(name.parse::<HeaderName>().is_ok(), at, || format!("`{name}` is not a header's name"))
    };
    match &receipts.auth {
        ReceiptAuth::Hmac { rule, .. } => {
            header("receipts.auth.rule.header", &rule.header)?;
            dated("receipts.auth.rule", rule.over.dated(), rule.timestamp_header.as_deref())?;
        }
        ReceiptAuth::Ed25519 { header: name, timestamp_header, .. } => {
            header("receipts.auth.header", name)?;
            header("receipts.auth.timestamp_header", timestamp_header)?;
        }
        ReceiptAuth::Jwt { header: name, .. } => header("receipts.auth.header", name)?,
        _ => {}
    }
    if let Some(Handshake::Meta { field }) = &receipts.handshake {
        ensure(is_secret(field), "receipts.handshake.field", || format!("`{field}` is not one of the secret fields"))?;
    }
    conditions("receipts.when", &receipts.when)?;
    for (at, paths) in [("receipts.id", &receipts.id), ("receipts.status", &receipts.status)] {
        ensure(!paths.is_empty(), at, || "must name at least one place".to_owned())?;
    }
    words("receipts.statuses", &receipts.statuses)
}

fn words(at: &str, statuses: &Statuses) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for word in [&statuses.accepted, &statuses.delivered, &statuses.undelivered, &statuses.failed].into_iter().flatten()
    {
        ensure(seen.insert(word.to_lowercase()), at, || format!("`{word}` cannot mean two things"))?;
    }
    ensure(!seen.is_empty(), at, || "must name at least one word".to_owned())
}

/// A time that is signed must be sent, and one that is sent must be signed.
fn dated(at: &str, signed: bool, header: Option<&str>) -> Result<(), Problem> {
    let at = format!("{at}.timestamp_header");
    ensure(signed == header.is_some(), &at, || "must be there if `over` has {timestamp}, and only then".to_owned())?;
    ensure(header.is_none_or(|name| name.parse::<HeaderName>().is_ok()), &at, || "is not a header's name".to_owned())
}

struct Check<'a> {
    descriptor: &'a Descriptor,
}

impl Check<'_> {
    fn http(&self, http: &Http) -> Result<(), Problem> {
        self.fixed("http.base_url", &http.base_url)?;
        if let Some(url) = http.base_url.literal() {
            ensure(Url::parse(&url).is_ok_and(|url| url.scheme() == "https"), "http.base_url", || {
                "must be an https:// address".to_owned()
            })?;
        }
        for segment in &http.path {
            self.names("http.path", segment)?;
        }
        for (name, leaf) in &http.query.0 {
            self.writing(&format!("http.query.{name}"), &leaf.value)?;
        }
        for (name, leaf) in &http.headers.0 {
            self.header(&format!("http.headers.{name}"), name, leaf)?;
        }
        let bodies = [http.form.is_some(), http.json.is_some(), http.xml.is_some()];
        ensure(bodies.into_iter().filter(|there| *there).count() <= 1, "http", || {
            "a body is a form, JSON or XML, and not two of them".to_owned()
        })?;
        for (name, leaf) in http.form.iter().flat_map(|form| &form.0) {
            self.writing(&format!("http.form.{name}"), &leaf.value)?;
        }
        http.xml.as_ref().map_or(Ok(()), |xml| self.xml("http.xml", xml))?;
        http.json.as_ref().map_or(Ok(()), |json| self.node("http.json", json))?;
        self.auth(&http.auth)?;
        self.rules(http)
    }

    fn keypress(&self, rule: &Keypress) -> Result<(), Problem> {
        ensure(self.descriptor.channels.contains(&Channel::Voice), "keypress", || {
            "is for calls: `channels` has no `voice`".to_owned()
        })?;
        let Some(http) = &self.descriptor.http else {
            return Err(("keypress".to_owned(), "is for what is spoken to over HTTP".to_owned()));
        };
        ensure(self.descriptor.field(&rule.language).is_some(), "keypress.language", || {
            format!("there is no field `{}`", rule.language)
        })?;
        let fits = (rule.form.is_some() == http.form.is_some()) && (rule.json.is_some() == http.json.is_some());
        ensure(fits && (rule.form.is_some() || rule.json.is_some()), "keypress", || {
            "must say the body that asks for a key: `form` where [http] has a form, `json` where it has JSON".to_owned()
        })?;
        let mut body = Vec::new();
        for (name, leaf) in rule.form.iter().flat_map(|form| &form.0) {
            self.writing(&format!("keypress.form.{name}"), &leaf.value)?;
            leaf.value.sources(&mut body);
        }
        if let Some(json) = &rule.json {
            self.node("keypress.json", json)?;
            json.sources(&mut body);
        }
        rule.statuses.as_ref().map_or(Ok(()), |statuses| words("keypress.statuses", statuses))?;
        let says = |name: &str| body.iter().any(|source| source.names().any(|used| used == name));
        ensure(says(PROMPT), "keypress", || format!("must use `{PROMPT}`: what asks for the key"))?;
        rule.answer.as_ref().map_or(Ok(()), |answer| self.spoken(answer, &says))
    }

    /// What is told to whoever asks must be asked for by somebody who can prove it, and at an address of this call alone.
    fn spoken(&self, answer: &Spoken, says: &impl Fn(&str) -> bool) -> Result<(), Problem> {
        let receipts = self.descriptor.receipts.as_ref();
        ensure(receipts.is_some_and(|receipts| !receipts.auth.is_in_path()), "keypress.answer", || {
            "needs `receipts.auth` by a signature: a code is told to nobody who does not prove who asks".to_owned()
        })?;
        ensure([RECEIPTS_URL, "id", "ticket"].into_iter().all(says), "keypress", || {
            "must tell the provider the address `{{ receipts_url }}/{{ id }}/{{ ticket }}`".to_owned()
        })?;
        ensure(!answer.when.is_empty(), "keypress.answer.when", || {
            "must say what makes a call one about a key".to_owned()
        })?;
        conditions("keypress.answer.when", &answer.when)?;
        self.xml("keypress.answer.xml", &answer.xml)?;
        ensure(answer.otherwise.literal().is_some(), "keypress.answer.otherwise", || {
            "must be a text without names".to_owned()
        })
    }

    fn rules(&self, http: &Http) -> Result<(), Problem> {
        ensure(!http.accept.status.is_empty(), "http.accept.status", || {
            "must name the statuses that acceptance has, for example [\"2xx\"]".to_owned()
        })?;
        conditions("http.accept.when", &http.accept.when)?;
        for (nth, row) in http.failures.iter().enumerate() {
            let at = format!("http.failures[{nth}]");
            conditions(&format!("{at}.when"), &row.when)?;
            ensure(!row.status.is_empty() || !row.when.is_empty(), &at, || {
                "must say when it holds, by `status` or `when`; what holds always is `otherwise`".to_owned()
            })?;
            ensure(!row.says.trim().is_empty(), &format!("{at}.says"), || "must not be empty".to_owned())?;
        }
        ensure(!http.otherwise.says.trim().is_empty(), "http.otherwise.says", || "must not be empty".to_owned())
    }

    fn node(&self, at: &str, node: &Node) -> Result<(), Problem> {
        match node {
            Node::Text(Leaf { value, .. }) => self.writing(at, value),
            Node::Integer(value) => self.names(at, value),
            Node::Bool(_) | Node::Number(_) => Ok(()),
            Node::List(items) => items.iter().enumerate().try_for_each(|(nth, item)| {
                // Leaving an item out of a list would move the ones behind it.
                ensure(!matches!(item, Node::Text(Leaf { omit_empty: true, .. })), at, || {
                    "nothing can be left out of a list".to_owned()
                })?;
                self.node(&format!("{at}[{nth}]"), item)
            }),
            Node::Object(entries) => entries.iter().try_for_each(|(key, node)| self.node(&format!("{at}.{key}"), node)),
        }
    }

    fn writing(&self, at: &str, value: &Writing) -> Result<(), Problem> {
        match value {
            Writing::Plain(source) => self.names(at, source),
            Writing::Xml(source) => self.xml(at, source),
            Writing::Json(node) => self.node(at, node),
        }
    }

    fn xml(&self, at: &str, source: &Source) -> Result<(), Problem> {
        ensure(source.is_plain(), at, || "XML takes names alone, `{{ text }}`, and no expressions".to_owned())?;
        self.names(at, source)
    }

    fn auth(&self, auth: &Auth) -> Result<(), Problem> {
        match auth {
            Auth::Header { name, .. } => {
                ensure(name.parse::<HeaderName>().is_ok(), "http.auth.name", || "is not a header's name".to_owned())?;
            }
            Auth::Query { name, .. } => ensure(!name.is_empty(), "http.auth.name", || "must not be empty".to_owned())?,
            Auth::Hmac { rule, .. } => {
                ensure(rule.header.parse::<HeaderName>().is_ok(), "http.auth.rule.header", || {
                    "is not a header's name".to_owned()
                })?;
                dated("http.auth.rule", rule.over.dated(), rule.timestamp_header.as_deref())?;
            }
            _ => {}
        }
        auth.sources().into_iter().try_for_each(|(key, source)| self.fixed(&format!("http.auth.{key}"), source))
    }

    fn header(&self, at: &str, name: &str, leaf: &Leaf) -> Result<(), Problem> {
        let name = name.parse::<HeaderName>().map_err(|_| (at.to_owned(), "is not a header's name".to_owned()))?;
        ensure(!matches!(name.as_str(), "content-length" | "host" | "transfer-encoding" | "connection"), at, || {
            "this header is the transport's".to_owned()
        })?;
        let literal = match &leaf.value {
            Writing::Plain(source) => source.literal(),
            Writing::Xml(_) | Writing::Json(_) => None,
        };
        if let Some(value) = literal {
            ensure(HeaderValue::from_str(&value).is_ok(), at, || "is not a header's value".to_owned())?;
        }
        self.writing(at, &leaf.value)
    }

    /// Every name in the template is a field or a variable.
    fn names(&self, at: &str, source: &Source) -> Result<(), Problem> {
        self.all_names(at, source, |name| Variable::named(name).is_some() || self.descriptor.field(name).is_some())
    }

    /// Every name in the template is a field: what it makes is the same for every message.
    fn fixed(&self, at: &str, source: &Source) -> Result<(), Problem> {
        self.all_names(at, source, |name| self.descriptor.field(name).is_some())
    }

    fn all_names(&self, at: &str, source: &Source, known: impl Fn(&str) -> bool) -> Result<(), Problem> {
        source.names().find(|name| !known(name)).map_or(Ok(()), |name| {
            let fields: Vec<_> = self.descriptor.fields.iter().map(|field| field.name.as_str()).collect();
            let variables = Variable::ALL.map(|(name, _)| name);
            let problem = format!(
                "cannot use `{name}` here; the fields are {}; the variables of the message, where they can be used, are {}",
                fields.join(", "),
                variables.join(", ")
            );
            Err((at.to_owned(), problem))
        })
    }
}

fn conditions(at: &str, conditions: &[Condition]) -> Result<(), Problem> {
    for (nth, condition) in conditions.iter().enumerate() {
        let at = format!("{at}[{nth}]");
        ensure(!condition.field.is_empty(), &format!("{at}.field"), || "must name at least one place".to_owned())?;
        let compares = condition.comparisons().next().is_some();
        ensure(compares != condition.present.is_some(), &at, || {
            "must compare (`equals`, `starts_with`, `ends_with`, `contains`) or ask for `present`, and not both"
                .to_owned()
        })?;
        ensure(condition.comparisons().all(|text| !text.trim().is_empty()), &at, || {
            "must not compare with an empty text, which everything begins with".to_owned()
        })?;
    }
    Ok(())
}

fn ensure(holds: bool, at: &str, problem: impl FnOnce() -> String) -> Result<(), Problem> {
    if holds { Ok(()) } else { Err((at.to_owned(), problem())) }
}
