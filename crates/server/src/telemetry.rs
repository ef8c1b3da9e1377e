//! Logs: what happened, to which request, how long it took; never a code, a key, a body, a query or a whole destination.

use std::io::{IsTerminal as _, stderr};

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogLevel};

/// Something else in this process writes the log already.
#[derive(Debug, thiserror::Error)]
#[error("the log is set up already")]
pub struct Taken;

/// Writes this process's log to standard error from now on.
///
/// The level is that of our own crates. Libraries are heard from `warn` on: what an HTTP client traces can hold texts and keys.
///
/// # Errors
/// [`Taken`].
pub fn init(level: LogLevel, format: LogFormat) -> Result<(), Taken> {
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter(level)).with_writer(stderr);
    let installed = match format {
        LogFormat::Text => subscriber.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
    };
    installed.map_err(|_| Taken)
}

fn filter(level: LogLevel) -> EnvFilter {
    let others = if matches!(level, LogLevel::Off | LogLevel::Error) { level } else { LogLevel::Warn };
    // A directive covers every target that begins with it: countersign, countersign_core, countersign_server, …
    EnvFilter::new(format!("{},countersign={}", others.as_str(), level.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_never_traced() {
        assert_eq!(filter(LogLevel::Trace).to_string(), "countersign=trace,warn");
        assert_eq!(filter(LogLevel::Error).to_string(), "countersign=error,error");
        assert_eq!(filter(LogLevel::Off).to_string(), "countersign=off,off");
    }
}
