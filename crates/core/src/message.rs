//! What the person reads: templates, the last lines that phones look for, and what a text costs to send.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use minijinja::value::{Object, Value};
use minijinja::{Environment, UndefinedBehavior, context};
use zeroize::Zeroizing;

use crate::channel::Channel;
use crate::code::{Code, CodeUnavailable, KeyRing};
use crate::outcome::Message;
use crate::policy::Application;
use crate::verification::{Delivery, Verification, Wording};

/// The name of the template taken when a request names none.
pub const DEFAULT_TEMPLATE: &str = "default";
/// The language taken when a template has none of those asked for.
pub const DEFAULT_LOCALE: &str = "en";

const BUILT_IN: &str = "Your {{ application }} code{% if amount %} to pay {{ amount }} to {{ payee }}{% endif %} is {{ code }}. It expires in {% if seconds < 60 %}{{ seconds }} {{ 'second' if seconds == 1 else 'seconds' }}{% else %}{{ minutes }} {{ 'minute' if minutes == 1 else 'minutes' }}{% endif %}.";
/// The line above an email in English; other languages have theirs in the configuration.
const BUILT_IN_SUBJECT: &str = "Your {{ application }} code";
/// What a template may name.
const NAMES: [&str; 8] = ["application", "code", "minutes", "seconds", "purpose", "amount", "payee", "custom"];
/// Longer than eight concatenated SMS: nobody means that.
const MAX_TEMPLATE: usize = 2000;
/// Longer than any line above an email that is read.
const MAX_SUBJECT: usize = 200;
/// Steps that a template may take: thousands of times what a sentence needs, and the end of any loop that was not meant.
const FUEL: u64 = 10_000;

/// The texts: by name, language and channel.
///
/// The language is a sandbox: it can place values and choose between words, and reads or runs nothing.
pub struct Templates {
    environment: Environment<'static>,
    names: BTreeSet<String>,
}

/// What is wrong with a template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// It cannot be read, or uses a name that does not exist.
    #[error("{0}; the names are application, code, minutes, seconds, purpose, amount, payee, custom")]
    Syntax(String),
    /// The code does not appear in it.
    #[error("the text does not hold the code; write {{{{ code }}}} where it should stand")]
    NoCode,
    /// It is longer than any message.
    #[error("longer than {MAX_TEMPLATE} characters")]
    TooLong,
    /// The line above an email is none.
    #[error("must be one line of 1 to {MAX_SUBJECT} characters")]
    Subject,
}

impl Templates {
    /// Adds or replaces one text.
    ///
    /// # Errors
    /// [`InvalidTemplate`] if it cannot be rendered, or would send no code.
    pub fn insert(&mut self, name: &str, locale: &str, channel: Channel, text: &str) -> Result<(), InvalidTemplate> {
        if text.chars().count() > MAX_TEMPLATE {
            return Err(InvalidTemplate::TooLong);
        }
        let key = key(name, locale, channel);
        let syntax = |error: minijinja::Error| InvalidTemplate::Syntax(explain(&error));
        let mut trial = empty_environment();
        trial.add_template_owned(key.clone(), text.to_owned()).map_err(syntax)?;
        let template = trial.get_template(&key).map_err(syntax)?;
        // Also those in branches that no sample enters.
        if let Some(unknown) = template.undeclared_variables(false).into_iter().find(|name| !NAMES.contains(&&**name)) {
            return Err(InvalidTemplate::Syntax(format!("there is no name `{unknown}`")));
        }
        // Two lives, so that neither a text for one minute nor one for several is without its code.
        for (code, minutes, seconds) in [("987654", 5, 300), ("01234567", 1, 30)] {
            let (amount, payee, custom) = ("", "", Value::from_object(Custom::default()));
            let sample =
                context! { application => "App", code, minutes, seconds, purpose => "login", amount, payee, custom };
            let text = template.render(sample).map_err(syntax)?;
            if !text.contains(code) {
                return Err(InvalidTemplate::NoCode);
            }
            if text.chars().count() > MAX_TEMPLATE {
                return Err(InvalidTemplate::TooLong);
            }
        }
        self.environment.add_template_owned(key, text.to_owned()).map_err(syntax)?;
        self.names.insert(name.to_owned());
        Ok(())
    }

    /// Adds or replaces the line above emails. It need not hold the code, and must be one line.
    ///
    /// # Errors
    /// [`InvalidTemplate`] if it cannot be rendered, is empty, longer than a line or more than one.
    pub fn insert_subject(&mut self, name: &str, locale: &str, text: &str) -> Result<(), InvalidTemplate> {
        let key = subject_key(name, locale);
        let syntax = |error: minijinja::Error| InvalidTemplate::Syntax(explain(&error));
        let mut trial = empty_environment();
        trial.add_template_owned(key.clone(), text.to_owned()).map_err(syntax)?;
        let template = trial.get_template(&key).map_err(syntax)?;
        if let Some(unknown) = template.undeclared_variables(false).into_iter().find(|name| !NAMES.contains(&&**name)) {
            return Err(InvalidTemplate::Syntax(format!("there is no name `{unknown}`")));
        }
        for (code, minutes, seconds) in [("987654", 5, 300), ("01234567", 1, 30)] {
            let (amount, payee, custom) = ("", "", Value::from_object(Custom::default()));
            let sample =
                context! { application => "App", code, minutes, seconds, purpose => "login", amount, payee, custom };
            let line = template.render(sample).map_err(syntax)?;
            if line.trim().is_empty() || line.chars().count() > MAX_SUBJECT || line.contains(char::is_control) {
                return Err(InvalidTemplate::Subject);
            }
        }
        self.environment.add_template_owned(key, text.to_owned()).map_err(syntax)?;
        Ok(())
    }

    /// Whether a template of this name exists.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Every text, by name, language and channel.
    #[must_use]
    pub fn texts(&self) -> Vec<Text> {
        let mut texts: Vec<_> = self
            .environment
            .templates()
            .filter_map(|(key, template)| {
                let mut parts = key.split('/').map(str::to_owned);
                let (name, locale, channel) = (parts.next()?, parts.next()?, parts.next()?);
                Some(Text { name, locale, channel, source: template.source().to_owned() })
            })
            .collect();
        texts.sort();
        texts
    }

    /// The text for a name, language and channel: the language as asked (`pt-BR`), then without its region (`pt`), then English;
    /// for each the channel asked for, then `sms`. With it the language that was found.
    fn find(&self, name: &str, locale: &str, channel: Channel) -> Option<(minijinja::Template<'_, '_>, String)> {
        let language = locale.split('-').next().unwrap_or(locale);
        [name, DEFAULT_TEMPLATE].into_iter().find_map(|name| {
            [locale, language, DEFAULT_LOCALE].into_iter().find_map(|locale| {
                [channel, Channel::Sms].into_iter().find_map(|channel| {
                    let template = self.environment.get_template(&key(name, locale, channel)).ok()?;
                    Some((template, locale.to_owned()))
                })
            })
        })
    }
}

/// The line above an email, as [`Templates::find`] looks for a text: by name, then by language.
fn subject(templates: &Templates, name: &str, locale: &str, values: &Value) -> Zeroizing<String> {
    let language = locale.split('-').next().unwrap_or(locale);
    let names = [name, DEFAULT_TEMPLATE].into_iter();
    let mut keys = names.flat_map(|name| [locale, language, DEFAULT_LOCALE].map(|locale| subject_key(name, locale)));
    let found = keys.find_map(|key| templates.environment.get_template(&key).ok());
    let rendered = found.and_then(|template| template.render(values).ok()).map(Zeroizing::new).unwrap_or_default();
    Zeroizing::new(on_one_line(&rendered).into_owned())
}

impl Default for Templates {
    /// One English sentence.
    fn default() -> Self {
        let mut templates = Self { environment: empty_environment(), names: BTreeSet::new() };
        // The built-in text is tested to be valid.
        let _ = templates.insert(DEFAULT_TEMPLATE, DEFAULT_LOCALE, Channel::Sms, BUILT_IN);
        let _ = templates.insert_subject(DEFAULT_TEMPLATE, DEFAULT_LOCALE, BUILT_IN_SUBJECT);
        templates
    }
}

impl std::fmt::Debug for Templates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Templates").field(&self.names).finish()
    }
}

fn empty_environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(16);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment
}

/// Locales are matched whatever their case: `pt-br` is `pt-BR`.
fn key(name: &str, locale: &str, channel: Channel) -> String {
    format!("{name}/{}/{channel}", locale.to_ascii_lowercase())
}

fn subject_key(name: &str, locale: &str) -> String {
    format!("{name}/{}/subject", locale.to_ascii_lowercase())
}

fn explain(error: &minijinja::Error) -> String {
    let mut text = error.kind().to_string();
    if let Some(detail) = error.detail() {
        let _ = write!(text, ": {detail}");
    }
    if let Some(line) = error.line() {
        let _ = write!(text, " (line {line} of the template)");
    }
    text
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

/// Why a message could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Unwritable {
    /// The code is not to be had.
    #[error(transparent)]
    Code(#[from] CodeUnavailable),
    /// The template failed with real values.
    #[error("the template cannot be rendered: {0}")]
    Template(String),
}

/// Writes the message of one delivery. It holds the code: make it just before it is carried, and drop it after.
///
/// # Errors
/// [`Unwritable`] if the key ring lacks the key of the verification, or its template fails.
pub fn write(
    application: &Application,
    keys: &KeyRing,
    verification: &Verification,
    delivery: &Delivery,
) -> Result<Message, Unwritable> {
    let code = keys.code(&verification.code, verification.binding(), verification.code_length)?;
    let name = verification.template.as_deref().unwrap_or(DEFAULT_TEMPLATE);
    let asked = verification.locale.as_deref().unwrap_or(DEFAULT_LOCALE);
    let (template, locale) = application
        .templates
        .find(name, asked, delivery.channel)
        .ok_or_else(|| Unwritable::Template(format!("there is no template `{name}`")))?;
    // What is left of the life when the message was decided on, rounded down, but for the seconds that sending again at once takes:
    // 4:58 is 5 minutes, 4:30 is 4.
    let left = verification.expires_at.since(delivery.queued_at);
    let display_name = verification.wording.name.as_deref().unwrap_or(&application.display_name);
    let display_name = on_one_line(display_name).into_owned();
    let (amount, payee) = verification.payment.as_ref().map_or(("", ""), |paid| (&paid.amount, &paid.payee));
    let values = context! {
        application => display_name.as_str(),
        code => code.reveal(),
        minutes => ((left.as_secs() + 5) / 60).max(1),
        seconds => left.as_secs(),
        purpose => verification.purpose.as_str(),
        amount => on_one_line(amount),
        payee => on_one_line(payee),
        custom => Value::from_object(Custom(verification.wording.values.clone())),
    };
    let body = template.render(&values).map_err(|error| Unwritable::Template(explain(&error)))?;
    let subject = match delivery.channel {
        Channel::Email => subject(&application.templates, name, asked, &values),
        _ => Zeroizing::default(),
    };
    Ok(Message {
        id: delivery.id,
        application: application.name.clone(),
        display_name,
        channel: delivery.channel,
        to: verification.to.clone(),
        subject,
        text: with_last_lines(Zeroizing::new(body), application, &verification.wording, delivery.channel, &code),
        code,
        locale,
        expires_at: verification.expires_at,
    })
}

/// The values that one request gives a template: `{{ custom.order }}`. What was not given is empty, so that no message fails for it.
#[derive(Debug, Default)]
struct Custom(BTreeMap<String, String>);

impl Object for Custom {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let value = key.as_str().and_then(|key| self.0.get(key));
        Some(Value::from(value.map(|value| on_one_line(value).into_owned()).unwrap_or_default()))
    }
}

/// A name as part of a sentence: without line breaks, so that it cannot end in a last line that looks origin-bound, and without the
/// invisible characters that reorder what is read.
fn on_one_line(name: &str) -> Cow<'_, str> {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let reorders =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    if !name.contains(|c| breaks(c) || reorders(c)) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().filter(|c| !reorders(*c)).map(|c| if breaks(c) { ' ' } else { c }).collect())
}

/// Adds what phones look for in an SMS: the app's hash (Android SMS Retriever) and, as the very last line with nothing after it,
/// `@host #code` (WICG SMS one-time codes, section 3: a trailing newline would make the last line an empty one).
fn with_last_lines(
    body: Zeroizing<String>,
    application: &Application,
    wording: &Wording,
    channel: Channel,
    code: &Code,
) -> Zeroizing<String> {
    if channel != Channel::Sms {
        return body;
    }
    // Room for all of it at once, so that no copy of the code is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(body.len() + 300));
    text.push_str(body.trim_end());
    let mut gap = "\n\n";
    if let Some(hash) = wording.android_app_hash.as_ref().or(application.android_app_hash.as_ref()) {
        text.push_str(gap);
        text.push_str(hash);
        gap = "\n";
    }
    if let Some(host) = &application.web_origin {
        let _ = write!(text, "{gap}@{host} #{}", code.reveal());
    }
    text
}

/// How a text travels as SMS, and what is paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segments {
    /// The alphabet.
    pub encoding: Encoding,
    /// Septets (GSM-7, an escaped character counts two) or 16-bit units (UCS-2).
    pub units: usize,
    /// Messages that are billed.
    pub count: usize,
}

/// The alphabets of SMS (3GPP TS 23.038).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The 7-bit default alphabet with its extension table: 160 to a message.
    Gsm7,
    /// 16-bit units: 70 to a message.
    Ucs2,
}

impl Encoding {
    /// The name in answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gsm7 => "gsm7",
            Self::Ucs2 => "ucs2",
        }
    }
}

const GSM7_BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
const GSM7_EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// Counts the messages that a text takes: 160 septets or 70 units alone, 153 or 67 each when joined by an 8-bit reference. Neither
/// an escape pair nor a surrogate pair is ever split, so a part may be one short.
#[must_use]
pub fn segments(text: &str) -> Segments {
    let gsm7: Option<Vec<usize>> = text.chars().map(septets).collect();
    match gsm7 {
        Some(widths) => count(Encoding::Gsm7, &widths, 160, 153),
        None => count(Encoding::Ucs2, &text.chars().map(char::len_utf16).collect::<Vec<_>>(), 70, 67),
    }
}

fn septets(character: char) -> Option<usize> {
    if GSM7_BASIC.contains(character) { Some(1) } else { GSM7_EXTENSION.contains(character).then_some(2) }
}

fn count(encoding: Encoding, widths: &[usize], alone: usize, joined: usize) -> Segments {
    let units = widths.iter().sum();
    if units <= alone {
        return Segments { encoding, units, count: 1 };
    }
    let (mut parts, mut used) = (1, 0);
    for width in widths {
        if used + width > joined {
            (parts, used) = (parts + 1, 0);
        }
        used += width;
    }
    Segments { encoding, units, count: parts }
}
