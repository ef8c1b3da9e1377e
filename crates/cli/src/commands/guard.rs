//! `guard`: which blocks of numbers are full of sends that nobody confirmed, and opening one.

use countersign::core::guard::{Block, Mode, Standing};
use countersign_server::setup::Parts;
use serde_json::{Value, json};

use crate::args::Guard;
use crate::context::{Context, close};
use crate::output::{Answer, Fault, Outcome};

pub async fn run(context: &Context, command: Guard) -> Outcome {
    let parts = context.parts().await?;
    let outcome = match command {
        Guard::List { all } => list(context, &parts, all).await,
        Guard::Open { block } => open(context, &parts, block).await,
    };
    close(&parts).await;
    outcome
}

async fn list(context: &Context, parts: &Parts, all: bool) -> Outcome {
    let app = context.app();
    let guard = parts.verifier.application(&app)?.guard.clone();
    let mut blocks = parts.verifier.guard_blocks(&app).await?;
    if !all {
        blocks.retain(|standing| standing.blocked || standing.unconfirmed.saturating_mul(2) >= standing.allowed);
    }
    let mode = guard.mode.as_str();
    let mut lines = vec![format!("guard.mode is \"{mode}\" for `{app}`")];
    if guard.mode == Mode::Off {
        lines.push("nothing is counted; \"observe\" counts and refuses nothing (docs/guard.md)".to_owned());
    } else if blocks.is_empty() {
        let which = if all { "no block has" } else { "no block is half full of" };
        lines.push(format!("{which} sends that nobody confirmed"));
    }
    lines.extend(blocks.iter().map(line));
    Ok(Answer::new(lines.join("\n"), json!({ "mode": mode, "blocks": blocks.iter().map(row).collect::<Vec<_>>() })))
}

fn line(standing: &Standing) -> String {
    let Standing { block, unconfirmed, allowed, blocked } = standing;
    let word = if *blocked { "BLOCKED" } else { "open   " };
    format!("{word}  {block}  {unconfirmed} of {allowed} unconfirmed")
}

fn row(standing: &Standing) -> Value {
    let Standing { block, unconfirmed, allowed, blocked } = standing;
    json!({"block": block.as_str(), "unconfirmed": unconfirmed, "allowed": allowed, "blocked": blocked})
}

async fn open(context: &Context, parts: &Parts, block: String) -> Outcome {
    let before = parts.verifier.open_block(&context.app(), Block::named(block)).await?;
    if before.unconfirmed == 0 && !before.blocked {
        let message = format!("`{}` holds no unconfirmed sends; see: countersign guard list --all", before.block);
        return Err(Fault::refused("not_found", message));
    }
    let text = format!("{} is open: {} unconfirmed sends are forgotten", before.block, before.unconfirmed);
    Ok(Answer::new(text, json!({"block": before.block.as_str(), "opened": true, "unconfirmed": before.unconfirmed})))
}
