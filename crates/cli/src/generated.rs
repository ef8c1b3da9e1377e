//! The reference files that are made from the program: what is printed here and what lies in `docs/reference` are the same (a test).

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use countersign::core::channel::Channel;
use countersign::core::id::ApplicationName;
use countersign::core::language::{self, Language};
use countersign::core::message::{Draft, segments};
use countersign::core::policy::Application;
use countersign_server::api::{openapi, refusals};
use countersign_server::config::document;
use countersign_server::http::problem;
use countersign_server::setup::providers::{registry, sender_ids};

use crate::args::Cli;

mod providers;

/// Every file, by its path under the folder, with its text.
pub fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = vec![
        ("configuration.md".to_owned(), document::reference()),
        ("cli.md".to_owned(), command_line()),
        ("countersign.default.toml".to_owned(), document::default_file()),
        ("problems.md".to_owned(), problem::markdown()),
        ("refusals.md".to_owned(), refusals::markdown()),
        ("providers.md".to_owned(), providers::table()),
        ("locales.md".to_owned(), locales()),
        ("sender-ids.md".to_owned(), senders()),
        ("openapi.json".to_owned(), openapi::openapi().to_pretty_json().unwrap_or_default() + "\n"),
    ];
    for descriptor in registry::all() {
        files.push((format!("providers/{}.md", descriptor.name), providers::page(descriptor)));
    }
    files
}

/// The page of the languages: every text that comes with the program.
fn locales() -> String {
    let mut page = String::from(
        "# Languages\n\n<!-- Made from crates/core/src/catalogue.rs by `countersign generate`; change it there. -->\n\n\
         The texts that come with the program, with the name `Example`, the sample code `123456` and five minutes. How one is chosen, and how to write your own:\n\
         [Texts and languages](../templates.md). `countries` are those whose numbers are written to in the language when a request names none. Encoding and size\n\
         are those of the SMS: GSM-7 holds 160 characters in one message, UCS-2 70.\n\n\
         | locale | language | countries | SMS | encoding | size | messages |\n|---|---|---|---|---|---|---|\n",
    );
    let text = |language: &Language, channel: Channel| {
        let application = sample_application();
        let draft = Draft {
            template: None,
            purpose: "login",
            locale: Some(language.tag),
            country: None,
            channel,
            seconds: 300,
            wording: None,
            payment: None,
        };
        let code = "123456".parse().ok();
        let composed = code.and_then(|code| draft.compose(&application, &code).ok());
        composed.map(|composed| (composed.text.replace('\n', "<br>"), composed.subject.to_string())).unwrap_or_default()
    };
    for language in language::all() {
        let (sms, _) = text(language, Channel::Sms);
        let counted = segments(&sms);
        let countries = language::countries_of(language.tag).join(" ");
        let _ = writeln!(
            page,
            "| `{}` | {} · {} | {countries} | {sms} | {} | {} | {} |",
            language.tag,
            language.english,
            language.name,
            counted.encoding.as_str(),
            counted.units,
            counted.count
        );
    }
    page.push_str(
        "\n## The other channels\n\nWhatsApp and Telegram are alike; an email's subject stands in bold. What is spoken is said twice, digit by digit.\n\n\
         | locale | voice | WhatsApp, Telegram | email |\n|---|---|---|---|\n",
    );
    for language in language::all() {
        let (voice, _) = text(language, Channel::Voice);
        let (chat, _) = text(language, Channel::Whatsapp);
        let (email, subject) = text(language, Channel::Email);
        let _ = writeln!(page, "| `{}` | {voice} | {chat} | **{subject}**<br>{email} |", language.tag);
    }
    page
}

/// The page of the countries: what each makes of a name as the sender.
fn senders() -> String {
    let mut page = String::from(
        "# Sender ids by country\n\n<!-- Made from crates/providers/src/sender_ids.rs by `countersign generate`; change it there. -->\n\n\
         Whether the sender of an SMS may be a name, as vendors tell their customers. These rules change, differ between operators, and are softened by\n\
         contracts: `countersign config check` and `doctor` advise by them and stop nothing. A country that is not here is unknown. How to send under another sender\n\
         there: [Senders](../guide.md#senders).\n\n| country | names | source |\n|---|---|---|\n",
    );
    for (country, rule, source) in sender_ids::COUNTRIES {
        let host = source.trim_start_matches("https://").split('/').next().unwrap_or_default();
        let _ = writeln!(page, "| {country} | {} | [{host}]({source}) |", rule.words());
    }
    page
}

fn sample_application() -> Application {
    let mut application = Application::new(ApplicationName::default(), "sample");
    "Example".clone_into(&mut application.display_name);
    application
}

/// The page of the command line: each command's own help.
fn command_line() -> String {
    let mut page = String::from(
        "# Command line\n\n<!-- Made from crates/cli/src/args.rs by `countersign generate`; change it there. -->\n\n\
         One binary, `countersign`. Every command takes `--config`, `--app` and `--json`; with `--json` exactly one JSON object is\n\
         printed on standard output, for an error `{\"error\":{\"code\":…,\"message\":…}}`.\n",
    );
    let mut command = Cli::command().term_width(100);
    command.build();
    describe(&mut page, &command, &mut Vec::new());
    page
}

fn describe(page: &mut String, command: &Command, parents: &mut Vec<String>) {
    parents.push(command.get_name().to_owned());
    let help = command.clone().term_width(100).render_long_help().to_string();
    let help: Vec<_> = help.lines().map(str::trim_end).collect();
    let _ = write!(page, "\n## `{}`\n\n```text\n{}\n```\n", parents.join(" "), help.join("\n").trim());
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        describe(page, inner, parents);
    }
    parents.pop();
}
