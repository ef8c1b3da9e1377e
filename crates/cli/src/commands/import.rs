//! `import`: a file of `export`, into the store.

use std::fs::File;
use std::io::{BufRead, BufReader, IsTerminal as _};
use std::sync::atomic::Ordering;

use countersign::{Clock as _, SystemClock};
use countersign_server::keys::Ring;
use countersign_server::setup::{Layout, key_file, open_store};
use countersign_server::transfer::{Imported, import};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, json};
use tokio::time::Instant;

use super::cleanup::{QUIET_FOR, stop_on_interrupt};
use crate::args::Import;
use crate::context::Context;
use crate::output::{Answer, Exit, Fault, Outcome};

pub async fn run(context: &Context, args: &Import) -> Outcome {
    let settings = context.settings()?;
    let (file, length): (Box<dyn BufRead + Send>, Option<u64>) = match &args.file {
        None => (Box::new(BufReader::new(std::io::stdin())), None),
        Some(path) => {
            let cannot = |error| Fault::usage("usage", format!("{}: {error}", path.display()));
            let file = File::open(path).map_err(cannot)?;
            let length = file.metadata().map_err(cannot)?.len();
            (Box::new(BufReader::new(file)), Some(length))
        }
    };
    let store = open_store(&settings, settings.store.migrate && !matches!(settings.layout, Layout::Existing(_)))?;
    let ring = Ring::open(&key_file(&settings))?.map(|ring| ring.codes(SystemClock.now()));
    let stopped = stop_on_interrupt();
    let (started, mut bar) = (Instant::now(), None);
    let done = import(&*store, ring.as_ref(), SystemClock.now(), file, |bytes| {
        if started.elapsed() > QUIET_FOR && std::io::stderr().is_terminal() {
            bar.get_or_insert_with(|| progress(length)).set_position(bytes);
        }
        !stopped.load(Ordering::Relaxed)
    })
    .await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let done = done?;
    let _ = store.close().await;
    Ok(answer(&done))
}

fn answer(done: &Imported) -> Answer {
    let new: Map<_, _> = done.new.iter().map(|(kind, count)| (kind.as_str().to_owned(), json!(count))).collect();
    let written: u64 = done.new.values().sum();
    let mut text = format!("{written} rows written, {} were there already", done.same);
    for (count, what) in [
        (done.older, "verifications left out: a newer one of the same destination and purpose is there"),
        (done.not_kept, "left out: this layout does not keep them"),
        (done.differs, "differ from what is there, which was left:"),
    ] {
        if count > 0 {
            text += &format!("\n{count} {what}");
        }
    }
    for note in &done.notes {
        text += &format!("\n  line {}: {}", note.line, note.what);
    }
    let mut exit = if done.differs > 0 { Exit::Refused } else { Exit::Done };
    if done.interrupted {
        text += "\ninterrupted; import the file again for the rest";
        exit = Exit::Refused;
    } else if !done.is_whole {
        text += "\nthe file does not have all the rows that were to be exported: finish it with `countersign export FILE --continue`";
        exit = Exit::Refused;
    }
    let notes: Vec<_> = done.notes.iter().map(|note| json!({"line": note.line, "what": note.what})).collect();
    let json = json!({
        "new": new, "same": done.same, "older": done.older, "not_kept": done.not_kept, "differs": done.differs,
        "differing": notes, "whole": done.is_whole, "interrupted": done.interrupted,
    });
    Answer::new(text, json).ending(exit)
}

fn progress(bytes: Option<u64>) -> ProgressBar {
    let Some(bytes) = bytes else { return ProgressBar::new_spinner() };
    let bar = ProgressBar::new(bytes);
    if let Ok(style) = ProgressStyle::with_template("importing {wide_bar} {bytes}/{total_bytes}, {eta} left") {
        bar.set_style(style);
    }
    bar
}
