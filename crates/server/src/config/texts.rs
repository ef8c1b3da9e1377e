//! `[templates.<name>.<language>]`: the texts of the configuration, what is wrong with one, and what is lawful and better otherwise.

use countersign::core::channel::Channel;
use countersign::core::code::Code;
use countersign::core::message::{Draft, Encoding, InvalidTemplate, SUBJECT, Templates, Unwritable, segments};
use countersign::core::policy::Application;
use countersign::core::sms;
use countersign::core::template::link_in;

use super::problem::Problem;
use super::section::Table;
use super::suggest;
use super::tree::Data;
use super::value::Locale;
use super::{Settings, TemplateText, TextPart};

/// The longest message that Android's SMS Retriever reads, in bytes.
const RETRIEVER_BYTES: usize = 140;
/// A code of ten digits: no shorter one takes more room.
const LONGEST_CODE: &str = "0123456789";

/// Reads `templates` of the whole configuration or of an application's row: each language a table, each channel a text.
pub(super) fn templates(parent: &Table<'_>, allow_links: bool) -> Vec<TemplateText> {
    let section = parent.table("templates");
    let parts: Vec<_> = Channel::ALL.iter().map(|channel| channel.as_str()).chain([SUBJECT]).collect();
    let mut texts = Vec::new();
    for (name, _) in section.entries() {
        if name.is_empty() || name.len() > 64 {
            section.problem(name, "the name of a template must be 1 to 64 characters");
        }
        let template = section.table(name);
        for (locale, _) in template.entries() {
            if !Locale::is_tag(locale) {
                template.problem(
                    locale,
                    "must be a language, for example [templates.default.en] or [templates.default.pt-BR]",
                );
                continue;
            }
            let table = template.table(locale);
            for (part, node) in table.entries() {
                let Some(kind) = TextPart::read(part) else {
                    table.problem(part, format!("there is no such channel{}", suggest::hint(part, &parts)));
                    continue;
                };
                let (Data::Text(text) | Data::Raw(text)) = &node.data else {
                    table.problem(part, "must be a text in quotation marks");
                    continue;
                };
                let text = TemplateText {
                    name: name.to_owned(),
                    locale: locale.to_owned(),
                    part: kind,
                    text: text.to_string(),
                    place: node.place.clone(),
                    key: table.full(part),
                };
                let links = if allow_links { Ok(()) } else { link_in(locale, &text.text) };
                match text.add_to(&mut Templates::default()).and(links) {
                    Ok(()) => texts.push(text),
                    Err(error) => table.problem(part, error.to_string()),
                }
            }
        }
    }
    texts
}

impl TextPart {
    fn read(name: &str) -> Option<Self> {
        if name == SUBJECT { Some(Self::Subject) } else { name.parse().ok().map(Self::Text) }
    }
}

impl TemplateText {
    /// Adds it to others.
    pub(super) fn add_to(&self, templates: &mut Templates) -> Result<(), InvalidTemplate> {
        match self.part {
            TextPart::Text(channel) => templates.insert(&self.name, &self.locale, channel, &self.text),
            TextPart::Subject => templates.insert_subject(&self.name, &self.locale, &self.text),
        }
    }
}

impl Settings {
    /// What is lawful and better otherwise, in the order of the file: texts that cost more than one SMS, that Android would not read, that
    /// speak a code as one number; senders that a country does not show.
    #[must_use]
    pub fn advice(&self) -> Vec<Problem> {
        let mut advice = self.advice_on_senders();
        for name in self.application_names() {
            let application = self.application(&name);
            let own = self.applications.iter().find(|row| row.keys.name == name).map(|row| row.templates.as_slice());
            for text in self.templates.iter().chain(own.unwrap_or_default()) {
                let said = text.advice(&application);
                advice.extend(said.into_iter().map(|said| Problem {
                    place: text.place.clone(),
                    key: text.key.clone(),
                    text: said,
                }));
            }
        }
        advice.sort_by(|a, b| (&a.place, &a.text).cmp(&(&b.place, &b.text)));
        advice.dedup();
        advice
    }
}

impl TemplateText {
    fn advice(&self, application: &Application) -> Vec<String> {
        let TextPart::Text(channel) = self.part else {
            let told =
                || "holds the code; mail servers write such lines into their logs, so leave it to the text".to_owned();
            return if self.text.contains("code }}") || self.text.contains("digits }}") {
                vec![told()]
            } else {
                Vec::new()
            };
        };
        let Ok(text) = self.sample(application, channel) else {
            return vec!["fails with real values; try it: countersign template preview --template NAME".to_owned()];
        };
        let mut advice = Vec::new();
        if channel == Channel::Voice && text.contains(LONGEST_CODE) {
            advice.push("speaks the code as one number; write {{ digits }} for {{ code }}".to_owned());
        }
        if channel == Channel::Sms {
            if self.text.lines().any(|line| line.starts_with('@')) {
                advice.push("has a line that begins with @, which phones take for `@host #code`; write the host as applications.web_origin, and it is added as the last line".to_owned());
            }
            let counted = segments(&text);
            if counted.count > 1 {
                advice.push(format!(
                    "takes {} SMS with a code of ten digits: {}",
                    counted.count,
                    reason(&text, counted.units, counted.encoding)
                ));
            }
            if application.android_app_hash.is_some() && text.len() > RETRIEVER_BYTES {
                advice.push(format!(
                    "is {} bytes long with the lines for phones; Android's SMS Retriever reads {RETRIEVER_BYTES} at most",
                    text.len()
                ));
            }
        }
        advice
    }

    fn sample(&self, application: &Application, channel: Channel) -> Result<String, Unwritable> {
        let draft = Draft {
            template: Some(&self.name),
            purpose: "login",
            locale: Some(&self.locale),
            country: None,
            channel,
            seconds: 300,
            wording: None,
            payment: None,
        };
        let code: Code = LONGEST_CODE.parse().map_err(|_| Unwritable::Template("no code".to_owned()))?;
        draft.compose(application, &code).map(|composed| composed.text.to_string())
    }
}

/// Why a text is too long for one SMS, and what would help.
fn reason(text: &str, units: usize, encoding: Encoding) -> String {
    let room = encoding.room();
    match encoding {
        Encoding::Gsm7 => format!("{units} characters, and one holds {room}"),
        Encoding::Ucs2 => {
            let outside = sms::outside_gsm7(text);
            let shown: String = outside.iter().take(5).collect();
            let more = if outside.len() > 5 { " and others" } else { "" };
            format!("{units} characters, and one holds {room} with letters outside GSM-7 ({shown}{more}), 160 without")
        }
    }
}
