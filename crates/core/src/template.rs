//! The texts that an operator writes, what is wrong with one, and which text is taken: a text of the operator's before one of the
//! catalogue's, and a language that was asked for before one that is guessed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use minijinja::value::{Object, Value};
use minijinja::{Environment, UndefinedBehavior, context};

use crate::channel::Channel;
use crate::language::{self, Language};

/// The name of the template taken when a request names none.
pub const DEFAULT_TEMPLATE: &str = "default";
/// The language taken when there is a text in none of those wanted.
pub const DEFAULT_LOCALE: &str = "en";
/// The key of an email's subject, beside the channels.
pub const SUBJECT: &str = "subject";

/// What a template may name.
pub const NAMES: [&str; 10] =
    ["application", "code", "digits", "life", "minutes", "seconds", "purpose", "amount", "payee", "custom"];
/// More than twelve concatenated SMS: nobody means that.
const MAX_TEMPLATE: usize = 2000;
/// A mail server may break longer lines (RFC 5322, section 2.1.1).
const MAX_SUBJECT: usize = 200;
/// Steps that a template may take: thousands of times what a sentence needs, and the end of any loop that was not meant.
const FUEL: u64 = 10_000;

/// The operator's texts: by name, language and channel. What they lack the catalogue has, under the name [`DEFAULT_TEMPLATE`].
///
/// The template language is a sandbox: it can place values and choose between words, and reads or runs nothing.
pub struct Templates {
    environment: Environment<'static>,
    names: BTreeSet<String>,
}

/// What is wrong with a template. Each says what to write instead.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// It cannot be read, or uses a name that does not exist.
    #[error("{0}; the names are {names}", names = NAMES.join(", "))]
    Syntax(String),
    /// The code does not appear in it.
    #[error("the text does not hold the code; write {{{{ code }}}} where it should stand")]
    NoCode,
    /// The subject of an email is none.
    #[error("must be one line of 1 to {MAX_SUBJECT} characters")]
    Subject,
    /// It is longer than any message.
    #[error("longer than {0} characters; write a shorter one")]
    TooLong(usize),
    /// A control character, or an invisible one that directs how text runs.
    #[error("holds the invisible character U+{:04X}; leave it out: it makes an SMS cost double, and hides codes from phones", u32::from(*.0))]
    Invisible(char),
    /// A link where none is allowed.
    #[error(
        "holds what phones show as a link, `{0}`; leave it out, as codes with links are what people are told to distrust, or set texts.allow_links = true"
    )]
    Link(String),
}

/// What is placed into a text.
pub(crate) struct Values<'a> {
    pub(crate) application: &'a str,
    pub(crate) code: &'a str,
    pub(crate) digits: &'a str,
    pub(crate) life: &'a str,
    pub(crate) minutes: u64,
    pub(crate) seconds: u64,
    pub(crate) purpose: &'a str,
    /// What is to be paid; empty without a payment.
    pub(crate) amount: &'a str,
    /// To whom.
    pub(crate) payee: &'a str,
    pub(crate) custom: BTreeMap<String, String>,
}

impl Values<'_> {
    pub(crate) fn context(&self) -> Value {
        let Self { application, code, digits, life, minutes, seconds, purpose, amount, payee, .. } = *self;
        let custom = Value::from_object(Custom(self.custom.clone()));
        context! { application, code, digits, life, minutes, seconds, purpose, amount, payee, custom }
    }
}

/// The values that one request gives a template: `{{ custom.order }}`. What was not given is empty, so that no message fails for it.
#[derive(Debug)]
struct Custom(BTreeMap<String, String>);

impl Object for Custom {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = key.as_str().and_then(|key| self.0.get(key));
        Some(Value::from(value.cloned().unwrap_or_default()))
    }
}

/// Which text is wanted.
pub(crate) struct Wanted<'a> {
    /// The template's name, as the request gives it.
    pub(crate) template: Option<&'a str>,
    /// The purpose, which a template may be called like.
    pub(crate) purpose: &'a str,
    /// The language, as the request gives it.
    pub(crate) locale: Option<&'a str>,
    /// The language to guess at, by the number's country.
    pub(crate) guess: Option<&'static Language>,
    /// The language when there is no other.
    pub(crate) default_locale: &'a str,
    pub(crate) channel: Channel,
}

/// One text of the templates, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Text {
    /// The template's name.
    pub name: String,
    /// The language, in lower case.
    pub locale: String,
    /// The channel's name.
    pub channel: String,
    /// What it says.
    pub source: String,
}

/// A text that was found.
pub(crate) struct Found<'a> {
    /// The template's name.
    pub(crate) template: &'a str,
    /// The tag of the language that it is in.
    pub(crate) locale: String,
    pub(crate) body: Body<'a>,
}

pub(crate) enum Body<'a> {
    /// One of the operator's.
    Own(minijinja::Template<'a, 'a>),
    /// One of the catalogue's.
    BuiltIn(&'static Language),
}

impl Templates {
    /// Adds or replaces one text. Whether it may hold links the caller decides, by [`link_in`].
    ///
    /// # Errors
    /// [`InvalidTemplate`] if it cannot be rendered, would send no code, or would be misread by phones.
    pub fn insert(&mut self, name: &str, locale: &str, channel: Channel, text: &str) -> Result<(), InvalidTemplate> {
        for sample in samples(locale, text, MAX_TEMPLATE)? {
            if !sample.holds_code() {
                return Err(InvalidTemplate::NoCode);
            }
        }
        self.add(name, locale, channel.as_str(), text)
    }

    /// Adds or replaces the subject of an email. It need not hold the code.
    ///
    /// # Errors
    /// [`InvalidTemplate`] if it cannot be rendered, is empty, too long, or more than one line.
    pub fn insert_subject(&mut self, name: &str, locale: &str, text: &str) -> Result<(), InvalidTemplate> {
        for sample in samples(locale, text, MAX_TEMPLATE)? {
            let subject = sample.text;
            if subject.trim().is_empty() || subject.chars().count() > MAX_SUBJECT || subject.contains(char::is_control)
            {
                return Err(InvalidTemplate::Subject);
            }
        }
        self.add(name, locale, SUBJECT, text)
    }

    /// Whether a template of this name exists.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        name == DEFAULT_TEMPLATE || self.names.contains(name)
    }

    /// Every text, by name, language and channel: the operator's, and under `default` those of the catalogue where there is none.
    #[must_use]
    pub fn texts(&self) -> Vec<Text> {
        let own = self.environment.templates().filter_map(|(key, template)| {
            let mut parts = key.split('/').map(str::to_owned);
            let (name, locale, channel) = (parts.next()?, parts.next()?, parts.next()?);
            let is_text = channel.parse::<Channel>().is_ok();
            is_text.then(|| Text { name, locale, channel, source: template.source().to_owned() })
        });
        let built_in = language::all().iter().flat_map(|language| {
            Channel::ALL.into_iter().map(|channel| Text {
                name: DEFAULT_TEMPLATE.to_owned(),
                locale: language.tag.to_ascii_lowercase(),
                channel: channel.as_str().to_owned(),
                source: language.text(channel),
            })
        });
        let place = |text: &Text| (text.name.clone(), text.locale.clone(), text.channel.clone());
        // What comes later counts: the operator's.
        let texts: BTreeMap<_, _> = built_in.chain(own).map(|text| (place(&text), text)).collect();
        texts.into_values().collect()
    }

    fn add(&mut self, name: &str, locale: &str, part: &str, text: &str) -> Result<(), InvalidTemplate> {
        let added = self.environment.add_template_owned(key(name, locale, part), text.to_owned());
        added.map_err(|error| InvalidTemplate::Syntax(explain(&error)))?;
        self.names.insert(name.to_owned());
        Ok(())
    }

    /// The text for what is wanted; `None` if there is none, which the catalogue's English makes impossible.
    ///
    /// The template asked for, else the one called like the purpose; then `default`. In each, the operator's text in the language
    /// asked for, with or without its region; for `default` then the catalogue's; then the operator's in the country's language, then
    /// in the default one; and at last the catalogue's in these. For each language a text for the channel is taken before one for
    /// SMS, which every channel but voice can make do with: what is spoken must be written for it.
    pub(crate) fn find<'a>(&'a self, wanted: &Wanted<'a>) -> Option<Found<'a>> {
        let asked = wanted.locale.map(language::fallbacks).unwrap_or_default();
        let mut otherwise = wanted.guess.map(|language| language::fallbacks(language.tag)).unwrap_or_default();
        otherwise.extend(language::fallbacks(wanted.default_locale));
        otherwise.push(DEFAULT_LOCALE);
        let own = |template: &'a str, tag: &str| {
            let body = Body::Own(self.text(template, tag, wanted.channel)?);
            Some(Found { template, locale: tag.to_owned(), body })
        };
        let built_in = |tag: &str| {
            let language = language::find(tag)?;
            let (locale, body) = (language.tag.to_owned(), Body::BuiltIn(language));
            Some(Found { template: DEFAULT_TEMPLATE, locale, body })
        };
        let named = wanted.template.unwrap_or(wanted.purpose);
        let named = (named != DEFAULT_TEMPLATE).then_some(named);
        named
            .and_then(|name| asked.iter().chain(&otherwise).find_map(|tag| own(name, tag)))
            .or_else(|| asked.iter().find_map(|tag| own(DEFAULT_TEMPLATE, tag).or_else(|| built_in(tag))))
            .or_else(|| otherwise.iter().find_map(|tag| own(DEFAULT_TEMPLATE, tag)))
            .or_else(|| otherwise.iter().find_map(|tag| built_in(tag)))
    }

    /// The operator's subject for a text that was found, in its language.
    pub(crate) fn own_subject(&self, found: &Found<'_>) -> Option<minijinja::Template<'_, '_>> {
        let tags = language::fallbacks(&found.locale);
        [found.template, DEFAULT_TEMPLATE]
            .into_iter()
            .find_map(|name| tags.iter().find_map(|tag| self.environment.get_template(&key(name, tag, SUBJECT)).ok()))
    }

    fn text(&self, name: &str, tag: &str, channel: Channel) -> Option<minijinja::Template<'_, '_>> {
        // Most configurations have no text of their own.
        if self.names.is_empty() {
            return None;
        }
        let get = |channel: Channel| self.environment.get_template(&key(name, tag, channel.as_str())).ok();
        get(channel).or_else(|| if channel == Channel::Voice { None } else { get(Channel::Sms) })
    }
}

impl Default for Templates {
    /// None but the catalogue's.
    fn default() -> Self {
        Self { environment: empty_environment(), names: BTreeSet::new() }
    }
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Templates").field(&self.names).finish()
    }
}

/// What phones would show as a link: a scheme, `www.`, or a word that looks like a host, as `bit.ly` does and `expires.It`, too.
///
/// # Errors
/// [`InvalidTemplate::Link`] if there is one, and those of [`Templates::insert`] if the text cannot be rendered.
pub fn link_in(locale: &str, text: &str) -> Result<(), InvalidTemplate> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | '%'));
    let written = words.into_iter().find(|word| word.contains("://") || word.starts_with("www."));
    let mut found = written.map(str::to_owned);
    for sample in samples(locale, text, MAX_TEMPLATE)? {
        found = found.or_else(|| sample.text.split_whitespace().find_map(host).map(str::to_owned));
    }
    found.map_or(Ok(()), |link| Err(InvalidTemplate::Link(link)))
}

/// The word as a host, if it looks like one.
pub(crate) fn host(word: &str) -> Option<&str> {
    let word = word.trim_matches(|c: char| !c.is_alphanumeric());
    let authority = word.split(['/', '?', ':', '#']).next()?.rsplit('@').next()?;
    // Names are written in every script: `аррӏе.com` is none of Apple's.
    let is_label = |label: &str| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-');
    let (rest, top) = authority.rsplit_once('.')?;
    let is_top = top.chars().count() > 1 && top.chars().all(char::is_alphabetic);
    let is_punycode = top.len() > 4 && top.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    let is_host = (is_top || is_punycode && is_label(top)) && rest.split('.').all(is_label);
    (is_host || authority.parse::<core::net::Ipv4Addr>().is_ok()).then_some(word)
}

/// What a template makes of sample values.
struct Sample {
    text: String,
    code: &'static str,
    digits: String,
}

impl Sample {
    fn holds_code(&self) -> bool {
        self.text.contains(self.code) || self.text.contains(&self.digits)
    }
}

/// Tries a template. Two lives and lengths, so that neither a text for one minute nor one for several goes untried.
fn samples(locale: &str, text: &str, most: usize) -> Result<Vec<Sample>, InvalidTemplate> {
    if text.chars().count() > most {
        return Err(InvalidTemplate::TooLong(most));
    }
    let language = language::fallbacks(locale).into_iter().find_map(language::find);
    let right_to_left = language.is_some_and(|language| language.right_to_left);
    if let Some(invisible) = text.chars().find(|c| is_invisible(*c, right_to_left)) {
        return Err(InvalidTemplate::Invisible(invisible));
    }
    let syntax = |error: minijinja::Error| InvalidTemplate::Syntax(explain(&error));
    let mut trial = empty_environment();
    trial.add_template_owned("trial", text.to_owned()).map_err(syntax)?;
    let template = trial.get_template("trial").map_err(syntax)?;
    // Also those in branches that no sample enters.
    if let Some(unknown) = template.undeclared_variables(false).into_iter().find(|name| !NAMES.contains(&&**name)) {
        return Err(InvalidTemplate::Syntax(format!("there is no name `{unknown}`")));
    }
    let try_with = |code: &'static str, seconds: u64| {
        let digits = spoken(code);
        let values = Values {
            application: "App",
            code,
            digits: &digits,
            life: if seconds < 60 { "30 s" } else { "5 min" },
            minutes: language::whole_minutes(seconds),
            seconds,
            purpose: "login",
            amount: "",
            payee: "",
            custom: BTreeMap::new(),
        };
        let text = template.render(values.context()).map_err(syntax)?;
        if text.chars().count() > most {
            return Err(InvalidTemplate::TooLong(most));
        }
        match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\r')) {
            Some(control) => Err(InvalidTemplate::Invisible(control)),
            None => Ok(Sample { text, code, digits }),
        }
    };
    Ok(vec![try_with("987654", 300)?, try_with("01234567", 30)?])
}

/// Characters that nobody sees and phones stumble over. Marks of direction are lawful where the language is written from right to
/// left: it is UCS-2 anyway. Isolates, embeddings and overrides are never: they take the code out of its line.
pub(crate) const fn is_invisible(character: char, right_to_left: bool) -> bool {
    matches!(character, '\u{ad}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
        || !right_to_left && matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}')
}

/// A code as it is spoken: its digits apart.
pub(crate) fn spoken(code: &str) -> String {
    let mut digits = String::with_capacity(code.len() * 3);
    for digit in code.chars() {
        if !digits.is_empty() {
            digits.push_str(", ");
        }
        digits.push(digit);
    }
    digits
}

/// Places values into a text of the catalogue, whose names stand in `{{ }}` and in nothing else.
pub(crate) fn fill(text: &str, values: &Values<'_>, out: &mut String) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{ ") {
        let Some((name, after)) = after.split_once(" }}") else { break };
        out.push_str(before);
        out.push_str(match name {
            "application" => values.application,
            "code" => values.code,
            "digits" => values.digits,
            "life" => values.life,
            "amount" => values.amount,
            "payee" => values.payee,
            _ => "",
        });
        rest = after;
    }
    out.push_str(rest);
}

fn empty_environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(16);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
}

/// Locales are matched whatever their case: `pt-br` is `pt-BR`.
fn key(name: &str, locale: &str, part: &str) -> String {
    format!("{name}/{}/{part}", locale.to_ascii_lowercase())
}

pub(crate) fn explain(error: &minijinja::Error) -> String {
    let mut text = error.kind().to_string();
    if let Some(detail) = error.detail() {
        let _ = write!(text, ": {detail}");
    }
    if let Some(line) = error.line() {
        let _ = write!(text, " (line {line} of the template)");
    }
    text
}
