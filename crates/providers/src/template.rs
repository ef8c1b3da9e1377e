//! The small templates that stand in descriptors: `{{ text }}`, `+{{ to_digits }}`, `{{ 'a' if text_is_ascii else 'b' }}`.
//!
//! A template is compiled when its descriptor is read, and bound to a provider's fields once, when the provider is built. What
//! then depends on fields alone is a fixed text; names with text around them, which is nearly all of the rest, are copied
//! without an engine; only expressions go through one.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign::core::destination::Destination;
use countersign::core::outcome::Message;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde::Deserialize;
use zeroize::Zeroizing;

/// What a template may say of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    Id,
    Application,
    Channel,
    To,
    ToDigits,
    ToNational,
    Text,
    TextIsAscii,
    Code,
    Locale,
    ExpiresAt,
    CodeSpoken,
    SecondsLeft,
    Subject,
    DisplayName,
    Ticket,
}

impl Variable {
    pub(crate) const ALL: [(&'static str, Self); 16] = [
        ("id", Self::Id),
        ("application", Self::Application),
        ("channel", Self::Channel),
        ("to", Self::To),
        ("to_digits", Self::ToDigits),
        ("to_national", Self::ToNational),
        ("text", Self::Text),
        ("text_is_ascii", Self::TextIsAscii),
        ("code", Self::Code),
        ("locale", Self::Locale),
        ("expires_at", Self::ExpiresAt),
        ("code_spoken", Self::CodeSpoken),
        ("seconds_left", Self::SecondsLeft),
        ("subject", Self::Subject),
        ("display_name", Self::DisplayName),
        ("ticket", Self::Ticket),
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(known, _)| *known == name).map(|(_, variable)| variable)
    }
}

/// One message, as templates see it.
pub(crate) struct Vars<'a> {
    pub message: &'a Message,
    /// The delivery's id in letters: made once, used in the body, the signature and its header.
    pub id: String,
    /// Seconds since the epoch.
    now: i64,
}

impl<'a> Vars<'a> {
    pub(crate) fn of(message: &'a Message, now: i64) -> Self {
        Self { message, id: message.id.to_string(), now }
    }

    /// How long the code still works, in seconds; 0 once it does not.
    fn seconds_left(&self) -> i64 {
        self.message.expires_at.as_secs().saturating_sub(self.now).max(0)
    }

    /// The digits apart, so that a voice reads them one by one: `4, 8, 2`.
    fn push_spoken(&self, out: &mut String) {
        for (nth, digit) in self.message.code.reveal().chars().enumerate() {
            if nth > 0 {
                out.push_str(", ");
            }
            out.push(digit);
        }
    }

    fn push(&self, variable: Variable, out: &mut String) {
        match variable {
            Variable::TextIsAscii => out.push_str(if self.message.text.is_ascii() { "true" } else { "false" }),
            Variable::ExpiresAt => out.push_str(&self.message.expires_at.as_secs().to_string()),
            Variable::SecondsLeft => out.push_str(&self.seconds_left().to_string()),
            Variable::CodeSpoken => self.push_spoken(out),
            _ => out.push_str(self.get(variable).unwrap_or_default()),
        }
    }

    /// The text of a variable that is a text already.
    pub(crate) fn get(&self, variable: Variable) -> Option<&str> {
        Some(match variable {
            Variable::Id => &self.id,
            Variable::Application => self.message.application.as_str(),
            Variable::Channel => self.message.channel.as_str(),
            Variable::To => self.message.to.reveal(),
            Variable::ToDigits => match &self.message.to {
                Destination::Phone(_) => self.message.to.reveal().trim_start_matches('+'),
                Destination::Email(_) => self.message.to.reveal(),
            },
            Variable::ToNational => self.message.to.national().unwrap_or_default(),
            Variable::Text => &self.message.text,
            Variable::Code => self.message.code.reveal(),
            Variable::Locale => &self.message.locale,
            Variable::Subject => &self.message.subject,
            Variable::DisplayName => &self.message.display_name,
            Variable::Ticket => &self.message.ticket,
            Variable::TextIsAscii | Variable::ExpiresAt | Variable::SecondsLeft | Variable::CodeSpoken => return None,
        })
    }

    fn value(&self, variable: Variable) -> Value {
        match variable {
            Variable::TextIsAscii => Value::from(self.message.text.is_ascii()),
            Variable::ExpiresAt => Value::from(self.message.expires_at.as_secs()),
            Variable::SecondsLeft => Value::from(self.seconds_left()),
            Variable::CodeSpoken => {
                let mut spoken = Zeroizing::new(String::new());
                self.push_spoken(&mut spoken);
                Value::from(spoken.as_str())
            }
            _ => Value::from(self.get(variable).unwrap_or_default()),
        }
    }
}

/// A template as its descriptor holds it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Source {
    names: Vec<String>,
    shape: Shape,
}

#[derive(Clone)]
enum Shape {
    Plain(Vec<Piece>),
    Expression(Arc<Environment<'static>>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Name(String),
}

impl std::fmt::Debug for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(pieces) => pieces.fmt(f),
            Self::Expression(_) => f.write_str("Expression"),
        }
    }
}

/// What an expression may cost. The longest that a descriptor can reasonably hold takes some fifty steps.
const FUEL: u64 = 10_000;

impl TryFrom<String> for Source {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(pieces) = plain(&text) {
            let names = pieces.iter().filter_map(|piece| match piece {
                Piece::Name(name) => Some(name.clone()),
                Piece::Text(_) => None,
            });
            return Ok(Self { names: names.collect(), shape: Shape::Plain(pieces) });
        }
        let mut engine = Environment::empty();
        engine.set_undefined_behavior(UndefinedBehavior::Strict);
        engine.set_fuel(Some(FUEL));
        let problem = |error: minijinja::Error| format!("the template `{text}` cannot be read: {}", error.kind());
        engine.add_template_owned("", text.clone()).map_err(problem)?;
        let names = engine.get_template("").map_err(problem)?.undeclared_variables(false);
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort();
        Ok(Self { names, shape: Shape::Expression(Arc::new(engine)) })
    }
}

/// Text and `{{ name }}`, nothing else; `None` where the engine is needed.
fn plain(text: &str) -> Option<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let (literal, after) = rest.split_once("{{").map_or((rest, None), |(literal, after)| (literal, Some(after)));
        if literal.contains("{%") || literal.contains("{#") || literal.contains("}}") {
            return None;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal.to_owned()));
        }
        let Some(after) = after else { break };
        let (name, after) = after.split_once("}}")?;
        let name = name.trim();
        if !is_name(name) || matches!(name, "true" | "false" | "none" | "not") {
            return None;
        }
        pieces.push(Piece::Name(name.to_owned()));
        rest = after;
    }
    Some(pieces)
}

/// Whether a text can be the name of a field: `[a-z][a-z0-9_]*`.
pub(crate) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

impl Source {
    /// Every name that it uses.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The text itself, if it uses no name.
    pub(crate) fn literal(&self) -> Option<String> {
        self.names.is_empty().then(|| self.bind(&Fields::default()).ok()).flatten()?.fixed().map(str::to_owned)
    }

    /// Whether it is text and names alone, without an expression.
    pub(crate) const fn is_plain(&self) -> bool {
        matches!(self.shape, Shape::Plain(_))
    }

    /// As [`Source::bind`], for text that is XML: values are escaped, what stands around them is not. Only plain templates can.
    pub(crate) fn bind_xml(&self, fields: &Fields<'_>) -> Result<Template, TemplateError> {
        let Shape::Plain(pieces) = &self.shape else { return Err(TemplateError) };
        let mut parts = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Text(text) => push_text(&mut parts, text),
                Piece::Name(name) => match Variable::named(name) {
                    Some(variable) => parts.push(Part::Escaped(variable)),
                    None => {
                        let mut escaped = Zeroizing::new(String::new());
                        escape_xml(fields.get(name), &mut escaped);
                        push_text(&mut parts, &escaped);
                    }
                },
            }
        }
        Ok(Template::Parts(parts))
    }

    /// Puts the fields in. Names that are neither fields nor variables were refused when the descriptor was read.
    pub(crate) fn bind(&self, fields: &Fields<'_>) -> Result<Template, TemplateError> {
        match &self.shape {
            Shape::Plain(pieces) => {
                let mut parts = Vec::new();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => push_text(&mut parts, text),
                        Piece::Name(name) => match Variable::named(name) {
                            Some(variable) => parts.push(Part::Variable(variable)),
                            None => push_text(&mut parts, fields.get(name)),
                        },
                    }
                }
                Ok(Template::Parts(parts))
            }
            Shape::Expression(engine) => {
                let (mut known, mut needed) = (BTreeMap::new(), Vec::new());
                for name in &self.names {
                    match Variable::ALL.into_iter().find(|(variable, _)| variable == name) {
                        Some(found) => needed.push(found),
                        None => drop(known.insert(name.clone(), Value::from(fields.get(name)))),
                    }
                }
                let template = Template::Expression { engine: Arc::clone(engine), fields: known, needed };
                if template.needs_message() {
                    return Ok(template);
                }
                let mut text = Zeroizing::new(String::new());
                template.expression(&[], &mut text)?;
                Ok(Template::Parts(vec![Part::Text(text)]))
            }
        }
    }
}

/// Text as XML holds it, in an element or an attribute. What no XML can hold is left out.
fn escape_xml(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if let Some(Part::Text(before)) = parts.last_mut() {
        before.push_str(text);
    } else if !text.is_empty() {
        parts.push(Part::Text(Zeroizing::new(text.to_owned())));
    }
}

/// The fields that a provider was configured with, defaults filled in. What is not set is an empty text.
#[derive(Default)]
pub(crate) struct Fields<'a>(pub BTreeMap<&'a str, &'a str>);

impl Fields<'_> {
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.get(name).copied().unwrap_or_default()
    }
}

/// A template, bound to a provider's fields.
pub(crate) enum Template {
    Parts(Vec<Part>),
    Expression {
        engine: Arc<Environment<'static>>,
        fields: BTreeMap<String, Value>,
        needed: Vec<(&'static str, Variable)>,
    },
}

/// A piece of a template that needs no engine.
pub(crate) enum Part {
    Text(Zeroizing<String>),
    Variable(Variable),
    /// As XML holds it.
    Escaped(Variable),
}

/// A template failed on this message. The engine's own words are not passed on: they may quote the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a template could not be filled in")]
pub(crate) struct TemplateError;

impl Template {
    /// This text, whatever is in it.
    pub(crate) fn of(text: &str) -> Self {
        let mut parts = Vec::new();
        push_text(&mut parts, text);
        Self::Parts(parts)
    }

    /// The text, if it is the same for every message.
    pub(crate) fn fixed(&self) -> Option<&str> {
        match self {
            Self::Parts(parts) => match parts.as_slice() {
                [] => Some(""),
                [Part::Text(text)] => Some(text),
                _ => None,
            },
            Self::Expression { .. } => None,
        }
    }

    /// Adds the text for one message.
    pub(crate) fn render(&self, vars: &Vars<'_>, out: &mut String) -> Result<(), TemplateError> {
        match self {
            Self::Parts(parts) => {
                for part in parts {
                    match part {
                        Part::Text(text) => out.push_str(text),
                        Part::Variable(variable) => vars.push(*variable, out),
                        Part::Escaped(variable) => {
                            let mut text = Zeroizing::new(String::new());
                            vars.push(*variable, &mut text);
                            escape_xml(&text, out);
                        }
                    }
                }
                Ok(())
            }
            Self::Expression { needed, .. } => {
                let values: Vec<_> = needed.iter().map(|(name, variable)| (*name, vars.value(*variable))).collect();
                self.expression(&values, out)
            }
        }
    }

    fn needs_message(&self) -> bool {
        matches!(self, Self::Expression { needed, .. } if !needed.is_empty())
    }

    fn expression(&self, values: &[(&str, Value)], out: &mut String) -> Result<(), TemplateError> {
        let Self::Expression { engine, fields, .. } = self else { return Err(TemplateError) };
        let known = fields.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let context = Value::from_pairs(known.chain(values.iter().map(|(name, value)| (*name, value.clone()))));
        let template = engine.get_template("").map_err(|_| TemplateError)?;
        out.push_str(&Zeroizing::new(template.render(context).map_err(|_| TemplateError)?));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use countersign::core::channel::Channel;
    use countersign::core::id::{ApplicationName, DeliveryId};
    use countersign::core::time::Timestamp;
    use proptest::prelude::*;

    use super::*;

    fn message(text: &str) -> Message {
        Message {
            id: DeliveryId::from_bytes([7; 16]),
            application: ApplicationName::default(),
            display_name: "Example".to_owned(),
            channel: Channel::Sms,
            to: Destination::parse("+255694230173", None).unwrap(),
            subject: Default::default(),
            text: text.to_owned().into(),
            code: "482913".parse().unwrap(),
            ticket: Default::default(),
            locale: "en".to_owned(),
            expires_at: Timestamp::from_millis(1_700_000_300_500),
        }
    }

    fn bound(source: &str) -> Template {
        let source = Source::try_from(source.to_owned()).unwrap();
        source.bind(&Fields([("user", "u{{ text }}"), ("sender", "MyApp")].into())).unwrap()
    }

    fn rendered(source: &str, text: &str) -> String {
        let message = message(text);
        let mut out = String::new();
        bound(source).render(&Vars::of(&message, 1_700_000_000), &mut out).unwrap();
        out
    }

    #[test]
    fn names_are_filled_in() {
        assert_eq!(rendered("{{ to }}", "x"), "+255694230173");
        assert_eq!(rendered("{{to_digits}}", "x"), "255694230173");
        assert_eq!(rendered("{{ to_national }}", "x"), "694230173");
        assert_eq!(rendered("<{{ text }}> {{ code }}{{ locale }}", "a\n\"b\""), "<a\n\"b\"> 482913en");
        assert_eq!(rendered("{{ expires_at }} {{ channel }} {{ application }}", "x"), "1700000300 sms default");
        assert_eq!(rendered("{{ id }}", "x"), format!("dl_{}", "07".repeat(16)));
    }

    #[test]
    fn a_code_is_spoken_digit_by_digit_and_a_life_counted_down() {
        assert_eq!(rendered("{{ code_spoken }}. {{ seconds_left }}", "x"), "4, 8, 2, 9, 1, 3. 300");
        assert_eq!(rendered("{{ code_spoken or text }} {{ seconds_left }}", "x"), "4, 8, 2, 9, 1, 3 300");
    }

    #[test]
    fn values_in_xml_are_escaped_and_what_is_around_them_is_not() {
        let source = Source::try_from("<Say by='{{ user }}'>{{ text }}</Say>".to_owned()).unwrap();
        let template = source.bind_xml(&Fields([("user", "a'b")].into())).unwrap();
        let (message, mut out) = (message("A&B <\"x\">\u{0} ]]>"), String::new());
        template.render(&Vars::of(&message, 0), &mut out).unwrap();
        assert_eq!(out, "<Say by='a&apos;b'>A&amp;B &lt;&quot;x&quot;&gt; ]]&gt;</Say>");
        let expression = Source::try_from("{{ text or user }}".to_owned()).unwrap();
        assert!(!expression.is_plain() && expression.bind_xml(&Fields::default()).is_err());
    }

    #[test]
    fn a_value_is_never_read_as_a_template() {
        assert_eq!(rendered("{{ user }}", "x"), "u{{ text }}");
        assert_eq!(rendered("{{ text }}", "{{ code }}{% if x %}"), "{{ code }}{% if x %}");
        assert_eq!(rendered("{{ user or text }}", "x"), "u{{ text }}");
    }

    #[test]
    fn expressions_see_fields_and_message() {
        let source = "{{ unset or ('English' if text_is_ascii else 'Unicode') }}";
        assert_eq!(rendered(source, "plain"), "English");
        assert_eq!(rendered(source, "karibu \u{1F600}"), "Unicode");
        assert_eq!(rendered("{{ sender or user }}", "x"), "MyApp");
    }

    #[test]
    fn what_depends_on_fields_alone_is_fixed() {
        assert_eq!(bound("a {{ sender }} b").fixed(), Some("a MyApp b"));
        assert_eq!(bound("{{ unset or sender }}").fixed(), Some("MyApp"));
        assert_eq!(bound("").fixed(), Some(""));
        assert_eq!(bound("{{ unset }}").fixed(), Some(""));
        assert_eq!(bound("{{ sender }} {{ text }}").fixed(), None);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["{{ text", "{{ }}", "{% if text %}", "{{ text | }}", "{% include 'x' %}{{"] {
            assert!(Source::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_expression_that_never_ends_runs_out() {
        let source = "{% for a in text %}{% for b in text %}{{ a }}{% endfor %}{% endfor %}";
        let Ok(source) = Source::try_from(source.to_owned()) else { return };
        let message = message(&"x".repeat(1000));
        let mut out = String::new();
        let template = source.bind(&Fields::default()).unwrap();
        assert_eq!(template.render(&Vars::of(&message, 1_700_000_000), &mut out), Err(TemplateError));
    }

    proptest! {
        #[test]
        fn never_panics(source in "[ a-z{}%'|.()\\[\\]\"#-]*", text in "\\PC*") {
            if let Ok(source) = Source::try_from(source) {
                let message = message(&text);
                if let Ok(template) = source.bind(&Fields::default()) {
                    let _ = template.render(&Vars::of(&message, 1_700_000_000), &mut String::new());
                }
            }
        }
    }
}
