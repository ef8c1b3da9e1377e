//! Is typed: one binary, `countersign`.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod context;
mod generated;
mod output;

use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;

use args::Cli;
use context::Context;
use output::{Fault, Output};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return misunderstood(&error),
    };
    let out = Output::new(cli.global.json);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return out.finish(Err(Fault::broken("broken", format!("the runtime cannot start: {error}")))),
    };
    let context = Context { global: cli.global, out };
    let outcome = runtime.block_on(commands::run(&context, cli.command));
    // What still runs in the background has been given its time.
    runtime.shutdown_background();
    context.out.finish(outcome)
}

/// Help and version are answers; everything else is a slip, told in JSON to those who asked for JSON.
fn misunderstood(error: &clap::Error) -> ExitCode {
    let wants_json = std::env::args_os().any(|argument| argument == "--json");
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    if wants_json && !is_answer {
        let text = error.render().to_string();
        let message = text.trim().trim_start_matches("error: ").split("\n\nUsage:").next().unwrap_or_default();
        return Output::new(true).finish(Err(Fault::usage("usage", message)));
    }
    // Whoever reads may stop reading.
    let _ = error.print();
    if is_answer { ExitCode::SUCCESS } else { ExitCode::from(2) }
}
