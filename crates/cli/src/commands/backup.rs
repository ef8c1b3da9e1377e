//! `backup`: a copy of the store's file, made while it is in use.

use std::path::Path;

use countersign_server::setup::{back_up, key_file};
use serde_json::json;

use crate::context::Context;
use crate::output::{Answer, Fault, Outcome};

pub fn run(context: &Context, file: &Path) -> Outcome {
    let settings = context.settings()?;
    let shown = file.display().to_string();
    let Some(bytes) = back_up(&settings, file)? else {
        return Err(Fault::usage(
            "usage",
            "this store is no file; what is in it can be written with `countersign export`",
        ));
    };
    let ring = key_file(&settings);
    let text =
        format!("{shown}: {bytes} bytes; keep {} too, without which nothing in it can be checked", ring.display());
    Ok(Answer::new(text, json!({"file": shown, "bytes": bytes})))
}
