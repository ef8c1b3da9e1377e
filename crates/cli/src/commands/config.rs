//! `config`: its default file, its mistakes, its meaning.

use std::path::PathBuf;

use countersign_server::config::document::{self, Explanation};
use countersign_server::config::{Problems, Settings, Source};
use serde_json::json;

use crate::args::Config;
use crate::context::Context;
use crate::output::{Answer, Fault, Outcome, rows};

pub fn run(context: &Context, command: Config) -> Outcome {
    match command {
        Config::Default => {
            let file = document::default_file();
            Ok(Answer::new(file.clone(), json!({"toml": file})))
        }
        Config::Check { file } => check(context, file),
        Config::Explain { key } => match document::explain(&key) {
            Ok(explanation) => Ok(explained(&explanation)),
            Err(message) => Err(Fault::usage("unknown_key", message)),
        },
    }
}

/// Checks what a start would take: the file, with the environment laid over it.
fn check(context: &Context, file: Option<PathBuf>) -> Outcome {
    let usual = context.source()?;
    let source = Source { file: file.or(usual.file), variables: usual.variables };
    let settings = Settings::load(&source)?;
    let file = source.file.map(|file| file.display().to_string());
    let what = file.as_deref().unwrap_or("no file, so the defaults");
    let advice = Problems { file: file.clone(), problems: settings.advice() };
    let mut text = format!("OK: {what}");
    for one in &advice.problems {
        text.push_str(&format!("\nadvice: {}", advice.line(one)));
    }
    Ok(Answer::new(text, json!({"ok": true, "file": file, "advice": rows(&advice)})))
}

fn explained(explanation: &Explanation) -> Answer {
    let Explanation { key, about, allowed, default, example, variable, keys } = explanation;
    let mut text = format!("{key}\n  {about}");
    for (name, value) in [("may be", allowed), ("default", default), ("example", example), ("variable", variable)] {
        if let Some(value) = value {
            text.push_str(&format!("\n  {name:<9} {value}"));
        }
    }
    if allowed.is_some() && default.is_none() {
        text.push_str("\n  default   none");
    }
    for key in keys {
        text.push_str(&format!("\n  {key}"));
    }
    let json = json!({
        "key": key, "about": about, "allowed": allowed, "default": default, "example": example, "variable": variable, "keys": keys,
    });
    Answer::new(text, json)
}
