//! What is printed of the program itself: the OpenAPI document, completions, manual pages, the reference files.

use std::fs;
use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;
use serde_json::json;

use crate::args::Cli;
use crate::generated;
use crate::output::{Answer, Fault, Outcome};

pub fn openapi() -> Outcome {
    let document = serde_json::to_value(countersign_server::api::openapi::openapi());
    let document = document.map_err(|error| Fault::broken("broken", error.to_string()))?;
    let text = serde_json::to_string_pretty(&document).map_err(|error| Fault::broken("broken", error.to_string()))?;
    Ok(Answer::new(text, document))
}

pub fn completions(shell: Shell) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "countersign", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    Ok(Answer::new(script.clone(), json!({"shell": shell.to_string(), "script": script})))
}

pub fn man(path: &[String]) -> Outcome {
    let mut command = Cli::command();
    command.build();
    for name in path {
        let Some(inner) = command.find_subcommand(name).cloned() else {
            let known: Vec<_> = command.get_subcommands().map(|known| known.get_name().to_owned()).collect();
            return Err(Fault::usage("usage", format!("there is no command `{name}`; there is: {}", known.join(", "))));
        };
        command = inner;
    }
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.map_err(|error| Fault::broken("broken", error.to_string()))?;
    let page = String::from_utf8_lossy(&page).into_owned();
    Ok(Answer::new(page.clone(), json!({"man": page})))
}

pub fn generate(directory: &Path) -> Outcome {
    let failed = |path: &Path, error: std::io::Error| Fault::broken("broken", format!("{}: {error}", path.display()));
    fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    let mut written = Vec::new();
    for (name, text) in generated::files() {
        let path = directory.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
        }
        fs::write(&path, text).map_err(|error| failed(&path, error))?;
        written.push(path.display().to_string());
    }
    Ok(Answer::new(written.join("\n"), json!({"files": written})))
}
