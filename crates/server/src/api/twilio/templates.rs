//! `GET /v2/Templates`: the texts of the configuration. They are changed there.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::Response;
use countersign::core::message::{DEFAULT_LOCALE, Text};
use countersign::core::policy::Application;
use serde::Serialize;

use super::call::Call;
use super::no::No;
use super::paging::Paging;
use super::sid;
use crate::api::native::object::Seconds;
use crate::service::Shared;

pub(super) async fn list(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let paging = Paging::read(&call)?;
    let wanted = call.query.text("FriendlyName")?;
    let application = door.verifier.application(call.application())?;
    let mut named = BTreeMap::<String, Vec<Text>>::new();
    for text in application.templates.texts() {
        if wanted.is_none_or(|wanted| wanted == text.name) {
            named.entry(text.name.clone()).or_default().push(text);
        }
    }
    let from = usize::try_from(paging.after().unwrap_or(0)).unwrap_or(usize::MAX);
    let rows: Vec<_> =
        named.iter().skip(from).take(paging.size).map(|(name, texts)| show(&call, name, texts)).collect();
    let next = from.saturating_add(rows.len());
    let next = (next < named.len()).then_some(next as u64);
    Ok(paging.answer(&door, &call, "templates", &rows, next))
}

/// The template's name behind a sid.
pub(super) fn name_of(application: &Application, wanted: &str) -> Option<String> {
    let texts = application.templates.texts();
    texts.into_iter().map(|text| text.name).find(|name| of(name).eq_ignore_ascii_case(wanted))
}

fn of(name: &str) -> String {
    sid::derived("HJ", &["template", name])
}

/// As it is written.
#[derive(Debug, Serialize)]
struct TemplateBody {
    sid: String,
    account_sid: String,
    friendly_name: String,
    channels: Vec<String>,
    translations: BTreeMap<String, Translation>,
}

#[derive(Debug, Serialize)]
struct Translation {
    is_default_translation: bool,
    status: &'static str,
    locale: String,
    text: String,
    date_created: Seconds,
    date_updated: Seconds,
}

fn show(call: &Call, name: &str, texts: &[Text]) -> TemplateBody {
    let at = Seconds::floor(call.account.created_at);
    let mut channels: Vec<_> = texts.iter().map(|text| text.channel.clone()).collect();
    channels.sort();
    channels.dedup();
    let mut translations = BTreeMap::new();
    for text in texts {
        let shown = || Translation {
            is_default_translation: text.locale == DEFAULT_LOCALE,
            status: "approved",
            locale: text.locale.clone(),
            text: text.source.clone(),
            date_created: at,
            date_updated: at,
        };
        // The text message stands for the language.
        if text.channel == "sms" || !translations.contains_key(&text.locale) {
            translations.insert(text.locale.clone(), shown());
        }
    }
    let account_sid = call.account.sid.clone();
    TemplateBody { sid: of(name), account_sid, friendly_name: name.to_owned(), channels, translations }
}
