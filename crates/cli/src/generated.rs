//! The reference files that are made from the program: what is printed here and what lies in `docs/reference` are the same (a test).

use std::fmt::Write as _;

use clap::{Command, CommandFactory as _};
use countersign_server::api::openapi;
use countersign_server::config::document;
use countersign_server::http::problem;
use countersign_server::setup::providers::registry;

use crate::args::Cli;

mod providers;

/// Every file, by its path under the folder, with its text.
pub fn files() -> Vec<(String, String)> {
    let mut files: Vec<(String, String)> = vec![
        ("configuration.md".to_owned(), document::reference()),
        ("cli.md".to_owned(), command_line()),
        ("countersign.default.toml".to_owned(), document::default_file()),
        ("problems.md".to_owned(), problem::markdown()),
        ("providers.md".to_owned(), providers::table()),
        ("openapi.json".to_owned(), openapi::openapi().to_pretty_json().unwrap_or_default() + "\n"),
    ];
    for descriptor in registry::all() {
        files.push((format!("providers/{}.md", descriptor.name), providers::page(descriptor)));
    }
    files
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
