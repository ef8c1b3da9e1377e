//! `cleanup`: deletes what is over, in small transactions, so that live traffic never waits.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use countersign_server::config::write_duration;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::time::Instant;

use crate::args::Cleanup;
use crate::context::{Context, close};
use crate::output::{Answer, Outcome};

/// A command that is done sooner shows no bar.
pub(super) const QUIET_FOR: Duration = Duration::from_secs(1);

pub async fn run(context: &Context, args: Cleanup) -> Outcome {
    let parts = context.parts().await?;
    let mut cleanup = parts.settings.cleanup();
    cleanup.older_than = args.older_than.unwrap_or(cleanup.older_than);
    let due = parts.verifier.clean_up(cleanup, true, |_| true).await?;
    let age = write_duration(cleanup.older_than);
    if args.dry_run {
        close(&parts).await;
        let text = format!("{} verifications would be deleted: they expired more than {age} ago", due.verifications);
        return Ok(Answer::new(
            text,
            json!({"verifications": due.verifications, "others": due.others, "dry_run": true}),
        ));
    }
    let stopped = stop_on_interrupt();
    let (started, mut bar) = (Instant::now(), None);
    let done = parts.verifier.clean_up(cleanup, false, |so_far| {
        if started.elapsed() > QUIET_FOR && std::io::stderr().is_terminal() {
            bar.get_or_insert_with(|| progress(due.verifications)).set_position(so_far.verifications);
        }
        !stopped.load(Ordering::Relaxed)
    });
    let done = done.await;
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let done = done?;
    close(&parts).await;
    let interrupted = stopped.load(Ordering::Relaxed);
    let end = if interrupted { "; interrupted, the rest stays for the next time" } else { "" };
    let text = format!("{} verifications deleted: they expired more than {age} ago{end}", done.verifications);
    let json = json!({"verifications": done.verifications, "others": done.others, "dry_run": false, "interrupted": interrupted});
    Ok(Answer::new(text, json))
}

/// Ctrl-C ends the work after the batch that is being done.
pub(super) fn stop_on_interrupt() -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stopped);
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            flag.store(true, Ordering::Relaxed);
        }
    });
    stopped
}

fn progress(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    if let Ok(style) = ProgressStyle::with_template("deleting {wide_bar} {pos}/{len}, {eta} left") {
        bar.set_style(style);
    }
    bar
}
