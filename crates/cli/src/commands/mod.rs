//! One file for each command, named as it is typed.

mod app;
mod backup;
mod check;
mod cleanup;
mod config;
mod doctor;
mod export;
mod guard;
mod import;
mod key;
mod keys;
mod migrate;
mod print;
mod provider;
mod route;
mod send;
mod serve;
mod status;
mod template;
mod webhook;

use crate::args::Command;
use crate::context::Context;
use crate::output::Outcome;

/// Does what was typed.
pub async fn run(context: &Context, command: Command) -> Outcome {
    match command {
        Command::Serve => serve::run(context).await,
        Command::Send(args) => send::run(context, args).await,
        Command::Check(args) => check::run(context, args).await,
        Command::Resend(args) => send::again(context, args).await,
        Command::Status(args) => status::run(context, args).await,
        Command::Cleanup(args) => cleanup::run(context, args).await,
        Command::Migrate(args) => migrate::run(context, &args),
        Command::Export(args) => export::run(context, &args).await,
        Command::Import(args) => import::run(context, &args).await,
        Command::Backup { file } => backup::run(context, &file),
        Command::App(command) => app::run(context, command).await,
        Command::Key(command) => key::run(context, command).await,
        Command::Provider(command) => provider::run(context, command).await,
        Command::Route(command) => route::run(context, command),
        Command::Template(command) => template::run(context, &command),
        Command::Guard(command) => guard::run(context, command).await,
        Command::Webhook(command) => webhook::run(context, command).await,
        Command::Config(command) => config::run(context, command),
        Command::Doctor => doctor::run(context).await,
        Command::Openapi => print::openapi(),
        Command::Keys(command) => keys::run(context, &command),
        Command::Completions { shell } => print::completions(shell),
        Command::Man { command } => print::man(&command),
        Command::Generate { directory } => print::generate(&directory),
    }
}
