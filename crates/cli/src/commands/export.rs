//! `export`: everything that the store has, as JSON lines.

use std::fs::{File, OpenOptions};
use std::io::{BufReader, BufWriter, IsTerminal as _, Seek as _, SeekFrom, Write};
use std::path::Path;
use std::sync::atomic::Ordering;

use countersign_server::setup::open_store;
use countersign_server::transfer::{Exported, export, resume};
use indicatif::ProgressBar;
use serde_json::json;
use tokio::time::Instant;

use super::cleanup::{QUIET_FOR, stop_on_interrupt};
use crate::args::Export;
use crate::context::Context;
use crate::output::{Answer, Exit, Fault, Outcome};

pub async fn run(context: &Context, args: &Export) -> Outcome {
    if args.file.is_none() && context.global.json {
        return Err(Fault::usage("usage", "with --json the answer goes to standard output; name a file for the rows"));
    }
    let settings = context.settings()?;
    let store = open_store(&settings, false)?;
    let (done, mut out): (_, Box<dyn Write + Send>) = match &args.file {
        None => (Exported::default(), Box::new(std::io::stdout())),
        Some(path) if args.r#continue => {
            let (done, file) = go_on(path)?;
            (done, Box::new(BufWriter::new(file)))
        }
        Some(path) => (Exported::default(), Box::new(BufWriter::new(create(path)?))),
    };
    let stopped = stop_on_interrupt();
    let (started, mut bar) = (Instant::now(), None);
    let done = export(&*store, settings.layout.as_str(), done, &mut *out, |rows| {
        if started.elapsed() > QUIET_FOR && std::io::stderr().is_terminal() {
            bar.get_or_insert_with(|| ProgressBar::new_spinner().with_message("rows")).set_position(rows);
        }
        !stopped.load(Ordering::Relaxed)
    })
    .await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let done = done?;
    drop(out);
    let _ = store.close().await;
    let Some(path) = &args.file else {
        context.out.note(&format!("{} rows", done.rows));
        return Ok(Answer::silent().ending(if done.interrupted { Exit::Refused } else { Exit::Done }));
    };
    File::open(path).and_then(|file| file.sync_all()).map_err(|error| cannot(path, &error))?;
    let shown = path.display().to_string();
    let json = json!({"file": shown, "rows": done.rows, "interrupted": done.interrupted});
    if done.interrupted {
        let text =
            format!("{shown}: {} rows, interrupted; go on with: countersign export {shown} --continue", done.rows);
        return Ok(Answer::new(text, json).ending(Exit::Refused));
    }
    let text = format!("{shown}: {} rows; the key ring {} goes with them", done.rows, settings.keys.file);
    Ok(Answer::new(text, json))
}

/// A new file, its owner's alone: it holds destinations.
fn create(path: &Path) -> Result<File, Fault> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Fault::usage(
            "usage",
            format!("{} is there already; name another file, or go on with it: --continue", path.display()),
        ),
        _ => cannot(path, &error),
    })
}

/// A file that was cut short, without the line that was cut.
fn go_on(path: &Path) -> Result<(Exported, File), Fault> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(|error| cannot(path, &error))?;
    let done =
        resume(BufReader::new(&file)).map_err(|error| Fault::usage("usage", format!("{}: {error}", path.display())))?;
    file.set_len(done.bytes).map_err(|error| cannot(path, &error))?;
    file.seek(SeekFrom::End(0)).map_err(|error| cannot(path, &error))?;
    Ok((done, file))
}

fn cannot(path: &Path, error: &std::io::Error) -> Fault {
    Fault::broken("file", format!("{}: {error}", path.display()))
}
