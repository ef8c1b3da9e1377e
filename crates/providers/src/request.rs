//! A request, as far as it can be made before there is a message.

mod auth;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Serialize;
use zeroize::Zeroizing;

use auth::Proof;

use crate::descriptor::{self, Http, Keypress, Leaf, Node, Pairs, Writing};
use crate::oauth2::Grant;
use crate::sign::{Signer, Signing};
use crate::template::{Fields, Source, Template, TemplateError, Vars};

/// Everything about a provider's requests that does not depend on the message, made once.
pub(crate) struct Plan {
    pub method: Method,
    address: Address,
    /// What every request says.
    pub headers: HeaderMap,
    message_headers: Vec<(HeaderName, Text, bool)>,
    body: BodyPlan,
    signer: Option<Signer>,
    /// What a bearer token is got for, where requests need one.
    pub grant: Option<Grant>,
}

enum Address {
    Fixed(Url),
    OfMessage { base: Url, path: Vec<Template>, query: Vec<(String, Text, bool)> },
}

enum BodyPlan {
    None,
    /// Names are encoded already, with the `=` behind them.
    Form(Vec<(String, Text, bool)>),
    Json(JsonPlan),
    Xml(Template),
}

/// A text in a form, a query or a header.
enum Text {
    Template(Template),
    Json(Box<JsonPlan>),
}

impl Text {
    fn new(value: &Writing, fields: &Fields<'_>) -> Result<Self, BadValue> {
        Ok(match value {
            Writing::Plain(source) => Self::Template(bind(source, fields)?),
            Writing::Xml(source) => Self::Template(bind_xml(source, fields)?),
            Writing::Json(node) => match JsonPlan::new(node, fields)? {
                JsonPlan::Fixed(json) => Self::Template(Template::of(&json)),
                plan => Self::Json(Box::new(plan)),
            },
        })
    }

    /// The text, if it is the same for every message.
    fn fixed(&self) -> Option<&str> {
        match self {
            Self::Template(template) => template.fixed(),
            Self::Json(_) => None,
        }
    }

    fn render(&self, vars: &Vars<'_>, out: &mut String) -> Result<(), TemplateError> {
        match self {
            Self::Template(template) => template.render(vars, out),
            Self::Json(plan) => {
                let (mut text, mut json) = (Zeroizing::new(String::new()), Zeroizing::new(Vec::new()));
                plan.write(vars, &mut text, &mut json)?;
                out.push_str(std::str::from_utf8(&json).map_err(|_| TemplateError)?);
                Ok(())
            }
        }
    }
}

enum JsonPlan {
    /// JSON that is the same for every message.
    Fixed(Zeroizing<String>),
    Text(Text),
    Integer(Template),
    List(Vec<Self>),
    /// Keys are encoded already, with the `:` behind them; the flag says to leave the entry out where it is empty.
    Object(Vec<(String, Self, bool)>),
}

/// The request for one message.
pub(crate) struct Prepared {
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// Which field is to blame, and what is wrong with its value.
pub(crate) type BadValue = (String, String);

impl Plan {
    /// With `keypress`, the request is the one that asks for a key.
    pub(crate) fn new(
        http: &Http,
        keypress: Option<&Keypress>,
        fields: &Fields<'_>,
        base_url: Option<&str>,
    ) -> Result<Self, BadValue> {
        let mut headers = HeaderMap::new();
        let mut message_headers = Vec::new();
        let instead = keypress.and_then(|keypress| keypress.form.as_ref());
        let json = keypress.and_then(|keypress| keypress.json.as_ref()).or(http.json.as_ref());
        let (body, content_type) = match (&http.form, json, &http.xml) {
            (Some(form), ..) => {
                (BodyPlan::Form(form_plan(form, instead, fields)?), Some("application/x-www-form-urlencoded"))
            }
            (None, Some(json), _) => (BodyPlan::Json(JsonPlan::new(json, fields)?), Some("application/json")),
            (None, None, Some(xml)) => (BodyPlan::Xml(bind_xml(xml, fields)?), Some("application/xml")),
            (None, None, None) => (BodyPlan::None, None),
        };
        if let Some(content_type) = content_type {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        for (name, leaf) in &http.headers.0 {
            let name = header_name(name)?;
            let text = Text::new(&leaf.value, fields)?;
            match text.fixed() {
                Some("") if leaf.omit_empty => {}
                Some(value) => drop(headers.insert(name, header_value(&leaf.blame(), value, true)?)),
                None => message_headers.push((name, text, leaf.omit_empty)),
            }
        }
        let proof = Proof::new(&http.auth, fields)?;
        let address = Address::new(http, fields, base_url, proof.query())?;
        let (mut signer, mut grant) = (None, None);
        match proof {
            Proof::Header(name, value) => drop(headers.insert(name, value)),
            Proof::Signer(made) => signer = Some(made),
            Proof::Grant(made) => grant = Some(made),
            Proof::None | Proof::Query(..) => {}
        }
        let method = match http.method {
            descriptor::Method::Get => Method::GET,
            descriptor::Method::Post => Method::POST,
            descriptor::Method::Put => Method::PUT,
        };
        Ok(Self { method, address, headers, message_headers, body, signer, grant })
    }

    /// An address at the gateway: which host, and how it is spoken to.
    pub(crate) const fn origin(&self) -> &Url {
        let (Address::Fixed(url) | Address::OfMessage { base: url, .. }) = &self.address;
        url
    }

    /// Whether requests need TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.origin().scheme() == "https"
    }

    /// The request for one message. `now`, in seconds since the epoch, is what a signature is dated with.
    pub(crate) fn prepare(&self, vars: &Vars<'_>, now: i64) -> Result<Prepared, TemplateError> {
        let url = self.address.of(vars)?;
        let body = self.body.of(vars)?;
        let mut headers = self.headers.clone();
        let mut text = Zeroizing::new(String::new());
        for (name, template, omit_empty) in &self.message_headers {
            text.clear();
            template.render(vars, &mut text)?;
            if !(text.is_empty() && *omit_empty) {
                let mut value = HeaderValue::from_str(&text).map_err(|_| TemplateError)?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        if let Some(signer) = &self.signer {
            let (method, id) = (&self.method, vars.id.as_str());
            signer.sign(Signing { method, url: &url, headers: &mut headers, body: &body, id, now })?;
        }
        Ok(Prepared { url, headers, body })
    }
}

impl Address {
    fn new(
        http: &Http,
        fields: &Fields<'_>,
        base_url: Option<&str>,
        key: Option<(&str, &str)>,
    ) -> Result<Self, BadValue> {
        let bound = bind(&http.base_url, fields)?;
        let blamed = || if base_url.is_some() { "base_url".to_owned() } else { blame(&http.base_url) };
        let base = base_url.or_else(|| bound.fixed()).unwrap_or_default();
        let base = address(base).map_err(|problem| (blamed(), problem))?;
        let path = http.path.iter().map(|segment| bind(segment, fields)).collect::<Result<Vec<_>, _>>()?;
        let mut query = pairs(&http.query, fields)?;
        query.extend(key.map(|(name, value)| (name.to_owned(), Text::Template(Template::of(value)), false)));
        let fixed = path.iter().all(|part| part.fixed().is_some());
        if !fixed || query.iter().any(|(_, text, _)| text.fixed().is_none()) {
            return Ok(Self::OfMessage { base, path, query });
        }
        let path: Vec<_> = path.iter().filter_map(Template::fixed).collect();
        let query: Vec<_> = query
            .iter()
            .filter_map(|(name, value, omit)| Some((name.as_str(), value.fixed()?, *omit)))
            .filter(|(_, value, omit)| !(value.is_empty() && *omit))
            .map(|(name, value, _)| (name, value))
            .collect();
        Ok(Self::Fixed(extended(&base, &path, &query)))
    }

    fn of(&self, vars: &Vars<'_>) -> Result<Url, TemplateError> {
        let Self::OfMessage { base, path, query } = self else {
            let (Self::Fixed(url) | Self::OfMessage { base: url, .. }) = self;
            return Ok(url.clone());
        };
        let segment = |template: &Template| {
            let mut text = Zeroizing::new(String::new());
            template.render(vars, &mut text).map(|()| text)
        };
        let path = path.iter().map(segment).collect::<Result<Vec<_>, _>>()?;
        let mut shown = Vec::new();
        for (name, text, omit_empty) in query {
            let mut value = Zeroizing::new(String::new());
            text.render(vars, &mut value)?;
            if !(value.is_empty() && *omit_empty) {
                shown.push((name.as_str(), value));
            }
        }
        let path: Vec<_> = path.iter().map(|segment| segment.as_str()).collect();
        let query: Vec<_> = shown.iter().map(|(name, value)| (*name, value.as_str())).collect();
        Ok(extended(base, &path, &query))
    }
}

/// Adds path segments and a query. The URL type encodes them, so that a value stays in its place.
fn extended(base: &Url, path: &[&str], query: &[(&str, &str)]) -> Url {
    let mut url = base.clone();
    if !path.is_empty()
        && let Ok(mut segments) = url.path_segments_mut()
    {
        segments.pop_if_empty().extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    url
}

/// Reads an address that an operator wrote.
fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|_| "is not an address; write one like https://host/path".to_owned())?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with https:// or http://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user and a password; no request would carry them".to_owned());
    }
    if url.fragment().is_some() {
        return Err("must not have a part behind `#`; no request would carry it".to_owned());
    }
    Ok(url)
}

impl BodyPlan {
    fn of(&self, vars: &Vars<'_>) -> Result<Vec<u8>, TemplateError> {
        // Nearly every body fits, so that the message is not left behind in smaller buffers that it has outgrown.
        let mut out = Zeroizing::new(Vec::with_capacity(512 + 3 * vars.message.text.len()));
        let mut text = Zeroizing::new(String::with_capacity(64 + vars.message.text.len()));
        match self {
            Self::None => {}
            Self::Form(entries) => {
                for (name, template, omit_empty) in entries {
                    text.clear();
                    template.render(vars, &mut text)?;
                    if text.is_empty() && *omit_empty {
                        continue;
                    }
                    if !out.is_empty() {
                        out.push(b'&');
                    }
                    out.extend_from_slice(name.as_bytes());
                    form_encode(&text, &mut out);
                }
            }
            Self::Json(json) => json.write(vars, &mut text, &mut out)?,
            Self::Xml(xml) => {
                xml.render(vars, &mut text)?;
                out.extend_from_slice(text.as_bytes());
            }
        }
        Ok(std::mem::take(&mut *out))
    }
}

impl JsonPlan {
    fn new(node: &Node, fields: &Fields<'_>) -> Result<Self, BadValue> {
        Ok(match node {
            Node::Text(Leaf { value, .. }) => {
                let text = Text::new(value, fields)?;
                match text.fixed() {
                    Some(fixed) => Self::fixed(fixed)?,
                    None => Self::Text(text),
                }
            }
            Node::Integer(source) => {
                let template = bind(source, fields)?;
                match template.fixed().map(|text| text.trim().parse::<i64>()) {
                    Some(Ok(number)) => Self::fixed(&number)?,
                    Some(Err(_)) => return Err((blame(source), "must be a whole number".to_owned())),
                    None => Self::Integer(template),
                }
            }
            Node::Bool(flag) => Self::fixed(flag)?,
            Node::Number(number) => Self::fixed(number)?,
            Node::List(items) => {
                Self::List(items.iter().map(|item| Self::new(item, fields)).collect::<Result<_, _>>()?)
            }
            Node::Object(entries) => {
                let mut plan = Vec::new();
                for (key, node) in entries {
                    let omit_empty = matches!(node, Node::Text(Leaf { omit_empty: true, .. }));
                    plan.push((json(key)? + ":", Self::new(node, fields)?, omit_empty));
                }
                Self::Object(plan)
            }
        })
    }

    fn fixed(value: &(impl Serialize + ?Sized)) -> Result<Self, BadValue> {
        json(value).map(Zeroizing::new).map(Self::Fixed)
    }

    /// `text` is a place to put a template's text before it is encoded.
    fn write(&self, vars: &Vars<'_>, text: &mut String, out: &mut Vec<u8>) -> Result<(), TemplateError> {
        match self {
            Self::Fixed(json) => out.extend_from_slice(json.as_bytes()),
            Self::Text(template) => {
                text.clear();
                template.render(vars, text)?;
                serde_json::to_writer(out, text.as_str()).map_err(|_| TemplateError)?;
            }
            Self::Integer(template) => {
                text.clear();
                template.render(vars, text)?;
                let number: i64 = text.trim().parse().map_err(|_| TemplateError)?;
                serde_json::to_writer(out, &number).map_err(|_| TemplateError)?;
            }
            Self::List(items) => {
                out.push(b'[');
                for (nth, item) in items.iter().enumerate() {
                    if nth > 0 {
                        out.push(b',');
                    }
                    item.write(vars, text, out)?;
                }
                out.push(b']');
            }
            Self::Object(entries) => {
                out.push(b'{');
                let first = out.len();
                for (key, value, omit_empty) in entries {
                    let before = out.len();
                    if before > first {
                        out.push(b',');
                    }
                    out.extend_from_slice(key.as_bytes());
                    let at = out.len();
                    value.write(vars, text, out)?;
                    if *omit_empty && out.ends_with(b"\"\"") && out.len() == at + 2 {
                        out.truncate(before);
                    }
                }
                out.push(b'}');
            }
        }
        Ok(())
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> Result<String, BadValue> {
    serde_json::to_string(value).map_err(|_| ("fields".to_owned(), "cannot be written as JSON".to_owned()))
}

impl Leaf {
    /// The fields that it takes its text from, for whoever must change them.
    fn blame(&self) -> String {
        match &self.value {
            Writing::Plain(source) | Writing::Xml(source) => blame(source),
            Writing::Json(_) => "a field of a header".to_owned(),
        }
    }
}

/// The fields that a template takes its text from, for whoever must change them.
fn blame(source: &Source) -> String {
    source.names().collect::<Vec<_>>().join("` or `")
}

fn header_name(name: &str) -> Result<HeaderName, BadValue> {
    name.parse().map_err(|_| ("headers".to_owned(), format!("`{name}` is not a header's name")))
}

fn header_value(blamed: &str, text: &str, sensitive: bool) -> Result<HeaderValue, BadValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| (blamed.to_owned(), "holds a character that no HTTP header can carry".to_owned()))?;
    value.set_sensitive(sensitive);
    Ok(value)
}

fn bind(source: &Source, fields: &Fields<'_>) -> Result<Template, BadValue> {
    source.bind(fields).map_err(|error| (blame(source), error.to_string()))
}

pub(crate) fn bind_xml(source: &Source, fields: &Fields<'_>) -> Result<Template, BadValue> {
    source.bind_xml(fields).map_err(|error| (blame(source), error.to_string()))
}

fn pairs(pairs: &Pairs, fields: &Fields<'_>) -> Result<Vec<(String, Text, bool)>, BadValue> {
    pairs.0.iter().map(|(name, leaf)| Ok((name.clone(), Text::new(&leaf.value, fields)?, leaf.omit_empty))).collect()
}

/// `instead` has entries that stand in place of those of the same name, or behind them all.
fn form_plan(
    form: &Pairs,
    instead: Option<&Pairs>,
    fields: &Fields<'_>,
) -> Result<Vec<(String, Text, bool)>, BadValue> {
    let mut plan = pairs(form, fields)?;
    for entry in instead.map_or(Ok(Vec::new()), |instead| pairs(instead, fields))? {
        match plan.iter_mut().find(|(name, ..)| *name == entry.0) {
            Some(same) => *same = entry,
            None => plan.push(entry),
        }
    }
    for (name, ..) in &mut plan {
        let mut encoded = Vec::new();
        form_encode(name, &mut encoded);
        encoded.push(b'=');
        *name = String::from_utf8_lossy(&encoded).into_owned();
    }
    Ok(plan)
}

/// `application/x-www-form-urlencoded`, as the URL standard has it.
fn form_encode(text: &str, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'*' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => out.push(byte),
            b' ' => out.push(b'+'),
            _ => out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use countersign::core::channel::Channel;
    use countersign::core::destination::Destination;
    use countersign::core::id::{ApplicationName, DeliveryId};
    use countersign::core::outcome::Message;
    use countersign::core::time::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::descriptor::Descriptor;

    /// What gateways that are not here yet will need.
    const FRAME: &str = r#"
        name = "later"
        title = "Later"
        summary = "A gateway of another kind."
        docs = "https://gateway.example/docs"
        channels = ["sms"]
        fields = [{ name = "token", help = "the token", secret = true }, { name = "from", help = "the sender" }]
        [http]
        method = "METHOD"
        base_url = "https://gateway.example/api/"
        accept = { status = ["2xx"] }
        otherwise = { meaning = "unknown", says = "not understood" }
    "#;

    fn prepared(method: &str, rest: &str, fields: &[(&'static str, &'static str)]) -> Prepared {
        let text = FRAME.replace("METHOD", method) + rest;
        let descriptor = Descriptor::parse("later.toml", &text).unwrap();
        let plan = Plan::new(descriptor.http.as_ref().unwrap(), None, &Fields(fields.iter().copied().collect()), None)
            .unwrap();
        let message = Message {
            id: DeliveryId::from_bytes([7; 16]),
            application: ApplicationName::default(),
            display_name: "Example".to_owned(),
            channel: Channel::Sms,
            to: Destination::parse("+255694230173", None).unwrap(),
            subject: Default::default(),
            text: "a & \"b\"".to_owned().into(),
            code: "482913".parse().unwrap(),
            ticket: Default::default(),
            locale: "en".to_owned(),
            expires_at: Timestamp::from_millis(1_700_000_300_000),
        };
        plan.prepare(&Vars::of(&message, 1_700_000_000), 1_700_000_000).unwrap()
    }

    #[test]
    fn a_gateway_may_be_asked_by_address_alone() {
        let rest = r#"
            path = ["send", "{{ to }}"]
            query = { msg = "{{ text }}", from = { "$omit_empty" = "{{ from }}" } }
            auth = { kind = "header", name = "X-Key", value = "{{ token }}" }
        "#;
        let with = prepared("GET", rest, &[("token", "t0k3n"), ("from", "A&B")]);
        assert_eq!(with.url.as_str(), "https://gateway.example/api/send/+255694230173?msg=a+%26+%22b%22&from=A%26B");
        assert!(with.body.is_empty());
        assert!(with.headers["x-key"] == "t0k3n" && with.headers["x-key"].is_sensitive());
        let without = prepared("GET", rest, &[("token", "t0k3n")]);
        assert_eq!(without.url.query(), Some("msg=a+%26+%22b%22"));
    }

    #[test]
    fn a_body_may_be_nested() {
        let rest = r#"
            headers = { "Idempotency-Key" = "{{ id }}", "X-From" = { "$omit_empty" = "{{ from }}" } }
            auth = { kind = "bearer", token = "{{ token }}" }
            [http.json]
            from = { "$omit_empty" = "{{ from }}" }
            messages = [{ to = ["{{ to_digits }}"], body = { text = "{{ text }}", unicode = true, parts = 2 } }]
            until = { "$integer" = "{{ expires_at }}" }
            none = []
            "odd \"key\"" = "{{ from }}"
        "#;
        let prepared = prepared("PUT", rest, &[("token", "t0k3n")]);
        let body = String::from_utf8(prepared.body).unwrap();
        let expected = r#"{"messages":[{"to":["255694230173"],"body":{"text":"a & \"b\"","unicode":true,"parts":2}}],"until":1700000300,"none":[],"odd \"key\"":""}"#;
        assert_eq!(body, expected);
        assert_eq!(prepared.headers["authorization"], "Bearer t0k3n");
        assert_eq!(prepared.headers["idempotency-key"], format!("dl_{}", "07".repeat(16)).as_str());
        assert!(!prepared.headers.contains_key("x-from"));
    }

    #[test]
    fn addresses_that_cannot_be_called_are_refused() {
        for text in ["", "host/path", "ftp://host/", "https://", "https://user:secret@host/", "https://host/#there"] {
            let problem = address(text).err();
            assert!(problem.is_some_and(|problem| !problem.contains("secret")), "{text:?}");
        }
        assert!(address(" http://127.0.0.1:9000/messages?tenant=1 ").is_ok());
    }

    #[test]
    fn a_segment_stays_a_segment() {
        let base = Url::parse("https://host/v1/").ok();
        let url = base.map(|base| extended(&base, &["a/../b?c", "x y"], &[("q", "1&2=3")]));
        assert_eq!(url.map(String::from).as_deref(), Some("https://host/v1/a%2F..%2Fb%3Fc/x%20y?q=1%262%3D3"));
    }

    proptest! {
        #[test]
        fn a_form_is_read_back_as_it_was(name in any::<String>(), value in any::<String>()) {
            let mut form = b"http://host/?".to_vec();
            form_encode(&name, &mut form);
            form.push(b'=');
            form_encode(&value, &mut form);
            let url = Url::parse(&String::from_utf8_lossy(&form)).ok();
            let read = url.and_then(|url| url.query_pairs().next().map(|(name, value)| (name.into_owned(), value.into_owned())));
            prop_assert_eq!(read, Some((name, value)));
        }
    }
}
