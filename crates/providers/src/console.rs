//! Messages on a screen instead of on a phone: for a developer's own machine.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use countersign::core::channel::Channel;
use countersign::core::outcome::{Failure, Message, Outcome};
use countersign::sender::{BoxFuture, Sender};
use zeroize::Zeroizing;

/// Writes every message out, code and number included. It has no place in production.
pub struct Console {
    name: String,
    writer: Mutex<Box<dyn Write + Send>>,
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Console {
    /// What `uses` calls it.
    pub const NAME: &'static str = "console";

    /// Writes to the standard error.
    #[must_use]
    pub fn stderr(name: impl Into<String>) -> Self {
        Self::new(name, io::stderr())
    }

    /// Writes there.
    #[must_use]
    pub fn new(name: impl Into<String>, writer: impl Write + Send + 'static) -> Self {
        Self { name: name.into(), writer: Mutex::new(Box::new(writer)) }
    }

    fn write(&self, message: &Message) -> io::Result<()> {
        let mut shown = Zeroizing::new(format!("[{}] {} to {}: ", self.name, message.channel, message.to.reveal()));
        for c in message.text.chars() {
            match c {
                '\n' => shown.push_str("\n    "),
                // What steers a terminal is shown, not obeyed.
                c if c.is_control() => shown.extend(c.escape_unicode()),
                c => shown.push(c),
            }
        }
        shown.push('\n');
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.write_all(shown.as_bytes())?;
        writer.flush()
    }
}

impl Sender for Console {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &Channel::ALL
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            match self.write(message) {
                Ok(()) => Outcome::Accepted { message_id: Some(message.id.to_string()) },
                Err(_) => Outcome::Rejected {
                    failure: Failure::RetryElsewhere,
                    reason: "the console cannot be written to".to_owned(),
                    retry_after: None,
                },
            }
        })
    }
}
