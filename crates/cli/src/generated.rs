//! The reference files that are made from the program: what is printed here and what lies in `docs/reference` are the same (a test).

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use countersign_server::api::{openapi, refusals};
use countersign_server::config::document;
use countersign_server::http::problem;
use countersign_server::setup::providers::{Descriptor, registry};

use crate::args::Cli;

/// Every file, by its name, with its text.
pub fn files() -> Vec<(&'static str, String)> {
    vec![
        ("configuration.md", document::reference()),
        ("cli.md", command_line()),
        ("countersign.default.toml", document::default_file()),
        ("problems.md", problem::markdown()),
        ("refusals.md", refusals::markdown()),
        ("providers.md", providers()),
        ("openapi.json", openapi::openapi().to_pretty_json().unwrap_or_default() + "\n"),
    ]
}

/// The page of the providers: a table of all, and what each needs.
fn providers() -> String {
    let mut page = String::from(
        "# Providers\n\n<!-- Made from crates/providers/descriptors by `countersign generate`; change it there. -->\n\n\
         | `uses` | carries | reports delivery | what it is |\n|---|---|---|---|\n",
    );
    for descriptor in registry::all() {
        let channels: Vec<_> = descriptor.channels.iter().map(|channel| channel.as_str()).collect();
        let receipts = if descriptor.has_receipts() { "yes" } else { "no" };
        let (name, title) = (&descriptor.name, &descriptor.title);
        let _ = writeln!(page, "| [`{name}`](#{name}) | {} | {receipts} | {title} |", channels.join(", "));
    }
    for descriptor in registry::all() {
        describe_provider(&mut page, descriptor);
    }
    page
}

fn describe_provider(page: &mut String, descriptor: &Descriptor) {
    let _ = write!(page, "\n## {}\n\n{}. {}\n", descriptor.name, descriptor.title, descriptor.summary);
    if descriptor.docs.starts_with("http") {
        let _ = write!(page, "\nIts own documentation: <{}>\n", descriptor.docs);
    }
    if !descriptor.fields.is_empty() {
        page.push_str("\n| field | needed | secret | what it is |\n|---|---|---|---|\n");
    }
    for field in &descriptor.fields {
        let needed = match (&field.default, field.required) {
            (Some(default), _) => format!("default `{default}`"),
            (None, true) => "yes".to_owned(),
            (None, false) => "no".to_owned(),
        };
        let secret = if field.secret { format!("yes, also as `{}_file`", field.name) } else { "no".to_owned() };
        let _ = writeln!(page, "| `{}` | {needed} | {secret} | {} |", field.name, field.help.replace('|', "\\|"));
    }
    for note in &descriptor.notes {
        let _ = write!(page, "\n{note}\n");
    }
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
