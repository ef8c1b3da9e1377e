//! `template`: what would be sent, in which language, and what it costs. Nothing is sent, and nothing opened but the configuration.

use std::collections::BTreeSet;

use countersign::core::channel::Channel;
use countersign::core::code::Code;
use countersign::core::destination::Destination;
use countersign::core::id::Purpose;
use countersign::core::language;
use countersign::core::message::{Composed, DEFAULT_TEMPLATE, Draft, segments};
use countersign::core::policy::Application;
use countersign::core::route;
use countersign::core::sms;
use countersign_server::config::Settings;
use serde_json::{Value, json};

use crate::args::{Preview, Template};
use crate::context::Context;
use crate::output::{Answer, Fault, Outcome};

/// Stands where a code will: nobody's.
const SAMPLE: &str = "1234567890";

pub fn run(context: &Context, command: &Template) -> Outcome {
    let settings = context.settings()?;
    let application = settings.application(&context.app());
    match command {
        Template::Preview(args) => preview(&application, args),
        Template::List { template, channel } => {
            list(&settings, &application, template.as_deref().unwrap_or(DEFAULT_TEMPLATE), *channel)
        }
    }
}

fn preview(application: &Application, args: &Preview) -> Outcome {
    let no = |message: String| Fault::usage("invalid_request", message);
    let to = match &args.to {
        Some(to) => {
            Some(Destination::parse(to, application.policy.default_country).map_err(|why| no(why.to_string()))?)
        }
        None => None,
    };
    let channel = args.channel.unwrap_or_else(|| to.as_ref().map_or(Channel::Sms, Channel::default_for));
    if to.as_ref().is_some_and(|to| !channel.reaches(to)) {
        return Err(no(format!("{channel} cannot reach such a destination")));
    }
    let purpose: Purpose = super::status::purpose(&args.purpose)?;
    known(application, args.template.as_deref())?;
    let draft = Draft {
        template: args.template.as_deref(),
        purpose: purpose.as_str(),
        locale: args.locale.as_deref(),
        country: to.as_ref().and_then(Destination::country),
        channel,
        seconds: args.ttl.unwrap_or(application.policy.ttl).as_secs(),
        wording: None,
        payment: None,
    };
    let code = sample(application)?;
    let composed = compose(&draft, application, &code)?;
    let why = why(&draft, &composed);
    let (name, text) = (name(&composed.locale), composed.text.as_str());
    let from = if composed.built_in { "comes with the program" } else { "of the configuration" };
    let mut shown = format!(
        "language     {} ({name}), {why}\ntemplate     {}, {from}\nchannel      {channel}\n",
        composed.locale, composed.template
    );
    if channel == Channel::Sms {
        shown.push_str(&cost(text));
    }
    let prices = to.as_ref().map(|to| prices(application, channel, to, text)).unwrap_or_default();
    for (place, price) in prices.iter().enumerate() {
        let label = if place == 0 { "price" } else { "" };
        shown.push_str(&format!("{label:<13}{}\n", price.text));
    }
    shown.push_str(&format!("sample code  {}: a real message holds a real one\n\n", code.reveal()));
    if channel == Channel::Email {
        shown.push_str(&format!("  Subject: {}\n\n", composed.subject.as_str()));
    }
    for line in text.lines() {
        shown.push_str(&format!("  {line}\n"));
    }
    let mut json = described(&composed, channel);
    json["sample_code"] = json!(code.reveal());
    json["purpose"] = json!(purpose.as_str());
    json["because"] = json!(why);
    json["prices"] = Value::Array(prices.into_iter().map(|price| price.json).collect());
    Ok(Answer::new(shown, json))
}

fn list(settings: &Settings, application: &Application, template: &str, channel: Channel) -> Outcome {
    known(application, Some(template))?;
    let code = sample(application)?;
    let own = settings.applications.iter().find(|row| row.keys.name == application.name);
    let own = own.map(|row| row.templates.as_slice()).unwrap_or_default();
    let own = settings.templates.iter().chain(own).filter(|text| text.name == template);
    let mut tags: BTreeSet<String> = own.map(|text| text.locale.clone()).collect();
    if template == DEFAULT_TEMPLATE {
        for language in language::all()
            .iter()
            .filter(|language| !tags.iter().any(|tag| tag.eq_ignore_ascii_case(language.tag)))
            .collect::<Vec<_>>()
        {
            tags.insert(language.tag.to_owned());
        }
    }
    let (mut lines, mut rows) = (Vec::new(), Vec::new());
    for tag in &tags {
        let draft = Draft {
            template: Some(template),
            purpose: "login",
            locale: Some(tag),
            country: None,
            channel,
            seconds: application.policy.ttl.as_secs(),
            wording: None,
            payment: None,
        };
        let composed = compose(&draft, application, &code)?;
        let text = composed.text.replace('\n', " | ");
        let counted = segments(&composed.text);
        let from = if composed.built_in { "" } else { "own" };
        let size = if channel == Channel::Sms {
            format!(
                "{} {:>3}/{:<3} {:>2}  ",
                counted.encoding.as_str(),
                counted.units,
                counted.encoding.room(),
                counted.count
            )
        } else {
            String::new()
        };
        lines.push(format!("{tag:<8} {:<22} {from:<4} {size}{text}", name(tag)));
        rows.push(described(&composed, channel));
    }
    let text = format!("{}\n\nThe code {} is a sample.", lines.join("\n"), code.reveal());
    let json = json!({
        "template": template, "channel": channel.as_str(), "sample_code": code.reveal(), "languages": rows,
    });
    Ok(Answer::new(text, json))
}

fn known(application: &Application, template: Option<&str>) -> Result<(), Fault> {
    match template.filter(|name| !application.templates.has(name)) {
        Some(name) => Err(Fault::usage("invalid_request", format!("no template called `{name}` is configured"))),
        None => Ok(()),
    }
}

fn compose(draft: &Draft<'_>, application: &Application, code: &Code) -> Result<Composed, Fault> {
    draft.compose(application, code).map_err(|error| Fault::usage("invalid_config", error.to_string()))
}

/// A code that is none, as long as the application's are.
fn sample(application: &Application) -> Result<Code, Fault> {
    let digits = SAMPLE.get(..usize::from(application.policy.code_length)).unwrap_or(SAMPLE);
    digits.parse().map_err(|_| Fault::broken("broken", "the sample code is none"))
}

/// Why it is in this language.
fn why(draft: &Draft<'_>, composed: &Composed) -> String {
    let asked = draft.locale.map(language::fallbacks).unwrap_or_default();
    if asked.iter().any(|tag| tag.eq_ignore_ascii_case(&composed.locale)) {
        return "as asked".to_owned();
    }
    let country =
        draft.country.filter(|country| language::of_country(*country).is_some_and(|of| of.tag == composed.locale));
    country.map_or_else(|| "the default".to_owned(), |country| format!("the language of {country}"))
}

fn name(tag: &str) -> &'static str {
    language::fallbacks(tag)
        .into_iter()
        .find_map(language::find)
        .map_or("of the configuration", |language| language.english)
}

fn cost(text: &str) -> String {
    let counted = segments(text);
    let (encoding, units, room) = (counted.encoding.as_str(), counted.units, counted.encoding.room());
    // A few strays among plain letters can be avoided; another script cannot.
    let outside = sms::outside_gsm7(text);
    let because = match outside.len() {
        1..=3 => format!(", because of {}", outside.into_iter().collect::<String>()),
        _ => String::new(),
    };
    format!(
        "encoding     {encoding}{because}\nlength       {units} of {room} in one SMS\nSMS          {}\n",
        counted.count
    )
}

/// What a message costs with one provider.
struct Priced {
    text: String,
    json: Value,
}

/// What the text costs with each provider of its route that has a price; an SMS is charged by its parts.
fn prices(application: &Application, channel: Channel, to: &Destination, text: &str) -> Vec<Priced> {
    let parts = if channel == Channel::Sms { u64::try_from(segments(text).count).unwrap_or(u64::MAX) } else { 1 };
    let candidates = route::find(&application.routes, channel, to).map(|route| route.candidates.as_slice());
    let priced = |candidate: &route::Candidate| {
        let price = candidate.price.as_ref()?;
        let (provider, total) = (&candidate.provider, price.times(parts));
        let how = if parts > 1 { format!(", {parts} parts at {price}") } else { String::new() };
        Some(Priced {
            text: format!("{total} with {provider}{how}"),
            json: json!({"provider": provider, "each": price.to_string(), "parts": parts, "total": total.to_string()}),
        })
    };
    candidates.unwrap_or_default().iter().filter_map(priced).collect()
}

fn described(composed: &Composed, channel: Channel) -> Value {
    let mut json = json!({
        "locale": composed.locale, "language": name(&composed.locale), "template": composed.template,
        "built_in": composed.built_in, "channel": channel.as_str(), "text": *composed.text, "subject": (channel == Channel::Email).then(|| composed.subject.to_string()),
    });
    if channel == Channel::Sms {
        let counted = segments(&composed.text);
        let outside: String = sms::outside_gsm7(&composed.text).into_iter().collect();
        json["segments"] = json!({
            "encoding": counted.encoding.as_str(), "units": counted.units, "room": counted.encoding.room(),
            "count": counted.count, "outside_gsm7": outside,
        });
    }
    json
}
