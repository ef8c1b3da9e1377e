//! What the person reads: the text in its language, and the last lines that phones look for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use zeroize::Zeroizing;

use crate::channel::Channel;
use crate::code::{Code, CodeUnavailable, KeyRing};
use crate::destination::Country;
use crate::language;
use crate::outcome::Message;
use crate::own_text;
use crate::policy::Application;
use crate::sms;
use crate::template::{self, Body, Found, Values, Wanted};
use crate::verification::{Delivery, Payment, Verification, Wording};

pub use crate::sms::{Encoding, Segments, segments};
pub use crate::template::{DEFAULT_LOCALE, DEFAULT_TEMPLATE, InvalidTemplate, SUBJECT, Templates, Text};

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
    // Nobody is asked for a key before a message that is read.
    let ticket = match delivery.channel {
        Channel::Voice => keys.ticket(&verification.code, verification.binding(), delivery.id.as_bytes())?,
        _ => Default::default(),
    };
    let draft = Draft {
        template: verification.template.as_deref(),
        purpose: verification.purpose.as_str(),
        locale: verification.locale.as_deref(),
        country: verification.to.country(),
        channel: delivery.channel,
        // What is left of the life when the message was decided on.
        seconds: verification.expires_at.since(delivery.queued_at).as_secs(),
        wording: Some(&verification.wording),
        payment: verification.payment.as_ref(),
    };
    let Composed { text, subject, locale, .. } = draft.compose(application, &code)?;
    Ok(Message {
        id: delivery.id,
        application: application.name.clone(),
        display_name: on_one_line(verification.wording.name.as_ref().unwrap_or(&application.display_name)).into_owned(),
        channel: delivery.channel,
        to: verification.to.clone(),
        text,
        subject,
        code,
        ticket,
        locale,
        expires_at: verification.expires_at,
    })
}

/// What a text depends on, beside the application and the code.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The name of the template asked for.
    pub template: Option<&'a str>,
    /// What the proof is for.
    pub purpose: &'a str,
    /// The BCP 47 tag asked for.
    pub locale: Option<&'a str>,
    /// The country of the number, which has a say in the language when none was asked for.
    pub country: Option<Country>,
    /// How it travels.
    pub channel: Channel,
    /// How long the code will work.
    pub seconds: u64,
    /// What the request says in place of the application's words, or besides them.
    pub wording: Option<&'a Wording>,
    /// The payment that the code confirms.
    pub payment: Option<&'a Payment>,
}

/// A text, as it leaves.
pub struct Composed {
    /// All of it, code and last lines included.
    pub text: Zeroizing<String>,
    /// The line above an email; empty on every other channel.
    pub subject: Zeroizing<String>,
    /// The BCP 47 tag of its language.
    pub locale: String,
    /// The name of the template that it is from.
    pub template: String,
    /// Whether it is one of the catalogue's.
    pub built_in: bool,
}

impl Draft<'_> {
    /// Writes the text.
    ///
    /// # Errors
    /// [`Unwritable::Template`] if a template fails with these values.
    pub fn compose(&self, application: &Application, code: &Code) -> Result<Composed, Unwritable> {
        let rules = &application.texts;
        let guess = self.country.filter(|_| rules.locale_by_country).and_then(language::of_country);
        let wanted = Wanted {
            template: self.template,
            purpose: self.purpose,
            locale: self.locale,
            guess,
            default_locale: &rules.default_locale,
            channel: self.channel,
        };
        let none = || Unwritable::Template("there is no text".to_owned());
        let found = application.templates.find(&wanted).ok_or_else(none)?;
        let in_words = language::fallbacks(&found.locale).into_iter().find_map(language::find);
        let in_words = in_words.or_else(|| language::find(DEFAULT_LOCALE)).ok_or_else(none)?;
        let wording = self.wording;
        let own_name = wording.and_then(|wording| wording.name.as_ref());
        let name = on_one_line(own_name.unwrap_or(&application.display_name));
        let (amount, payee) = self.payment.map_or(("", ""), |paid| (&paid.amount, &paid.payee));
        let digits = Zeroizing::new(template::spoken(code.reveal()));
        let values = Values {
            application: &name,
            code: code.reveal(),
            digits: &digits,
            life: &in_words.life(self.seconds, self.channel),
            minutes: language::whole_minutes(self.seconds),
            seconds: self.seconds,
            purpose: self.purpose,
            amount: &on_one_line(amount),
            payee: &on_one_line(payee),
            custom: wording.map(|wording| custom(&wording.values)).unwrap_or_default(),
        };
        let body = match wording.and_then(|wording| wording.text.as_deref()) {
            Some(own) => own_text::fill(own, if self.channel == Channel::Voice { &digits } else { code.reveal() }),
            None => self.body(&found, &values)?,
        };
        let text = if self.channel == Channel::Sms {
            let plain = if rules.plain_characters { sms::plain(&body) } else { Cow::Borrowed(body.as_str()) };
            let text = with_last_lines(&plain, application, wording, code);
            if let Cow::Owned(plain) = plain {
                drop(Zeroizing::new(plain));
            }
            text
        } else {
            body
        };
        let mut subject = String::new();
        if self.channel == Channel::Email {
            match application.templates.own_subject(&found) {
                Some(own) => subject = render(&own, &values)?,
                None => template::fill(in_words.subject(), &values, &mut subject),
            }
        }
        Ok(Composed {
            text,
            subject: Zeroizing::new(on_one_line(&subject).into_owned()),
            template: found.template.to_owned(),
            built_in: matches!(found.body, Body::BuiltIn(_)),
            locale: found.locale,
        })
    }

    fn body(&self, found: &Found<'_>, values: &Values<'_>) -> Result<Zeroizing<String>, Unwritable> {
        match &found.body {
            Body::Own(own) => render(own, values).map(Zeroizing::new),
            Body::BuiltIn(language) => {
                let text = language.text_for(self.channel, self.payment.is_some());
                // Room for all of it at once, so that no copy of the code is left behind by growing.
                let names = values.application.len() + values.amount.len() + values.payee.len();
                let values_len = names + values.life.len() + 2 * values.digits.len();
                let mut body = Zeroizing::new(String::with_capacity(text.len() + values_len));
                template::fill(&text, values, &mut body);
                Ok(body)
            }
        }
    }
}

fn render(template: &minijinja::Template<'_, '_>, values: &Values<'_>) -> Result<String, Unwritable> {
    template.render(values.context()).map_err(|error| Unwritable::Template(template::explain(&error)))
}

/// The values of a request, each on one line, as a name is.
fn custom(values: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    values.iter().map(|(name, value)| (name.clone(), on_one_line(value).into_owned())).collect()
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
fn with_last_lines(body: &str, application: &Application, wording: Option<&Wording>, code: &Code) -> Zeroizing<String> {
    // Room for all of it at once, so that no copy of the code is left behind by growing.
    let mut text = Zeroizing::new(String::with_capacity(body.len() + 300));
    text.push_str(body.trim_end());
    let mut gap = "\n\n";
    let own_hash = wording.and_then(|wording| wording.android_app_hash.as_ref());
    if let Some(hash) = own_hash.or(application.android_app_hash.as_ref()) {
        text.push_str(gap);
        text.push_str(hash);
        gap = "\n";
    }
    if let Some(host) = &application.web_origin {
        let _ = write!(text, "{gap}@{host} #{}", code.reveal());
    }
    text
}
