//! How the command answers: text for people or one JSON object, in one place, and the exit code that goes with it.

use std::cell::Cell;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use countersign::core::refusal::{Kind, Refusal};
use countersign::core::time::ceil_secs;
use countersign::{Broken, Failure};
use countersign_server::config::{Place, Problems};
use countersign_server::keys::KeyFileError;
use countersign_server::setup::SetUpError;
use countersign_server::transfer::{ExportError, ImportError};
use serde_json::{Map, Value, json};

/// What a command comes to.
pub type Outcome = Result<Answer, Fault>;

/// An answer, in both forms.
#[derive(Debug)]
pub struct Answer {
    text: String,
    json: Value,
    exit: Exit,
}

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A lawful no.
    Refused = 1,
    /// Usage or configuration.
    Usage = 2,
    /// The store or a provider cannot be reached.
    Broken = 3,
}

impl Answer {
    /// Done, with this text and this object.
    pub fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, exit: Exit::Done }
    }

    /// The same, ending otherwise.
    pub const fn ending(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// Done; everything was said already.
    pub fn silent() -> Self {
        Self::new("", Value::Null)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub struct Fault {
    exit: Exit,
    code: String,
    message: String,
    more: Map<String, Value>,
}

impl Fault {
    /// A fault of the caller or of the configuration.
    pub fn usage(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, code, message)
    }

    /// A lawful no.
    pub fn refused(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Refused, code, message)
    }

    /// Something broke.
    pub fn broken(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Broken, code, message)
    }

    fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self { exit, code: code.to_owned(), message: message.into(), more: Map::new() }
    }

    /// With one more member in the JSON object.
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.more.insert(name.to_owned(), value);
        self
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        // A request that cannot be meant is a slip of the caller; everything else is a lawful no.
        let exit = if refusal.kind() == Kind::InvalidRequest { Exit::Usage } else { Exit::Refused };
        let mut fault = Self::new(exit, refusal.kind().code(), refusal.to_string());
        if let Refusal::InvalidRequest { param, .. } = &refusal {
            fault = fault.with("param", json!(param));
        }
        if let Refusal::RateLimited { limit, .. } = &refusal {
            fault = fault.with("limit", json!(limit.as_str()));
        }
        if let Some(wait) = refusal.retry_after() {
            fault.message = format!("{}; try again in {}", fault.message, spoken(wait));
            fault = fault.with("retry_after", json!(ceil_secs(wait)));
        }
        fault
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Broken(broken) => broken.into(),
        }
    }
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        let message = broken.to_string();
        match broken {
            Broken::UnknownApplication(name) => {
                Self::usage("unknown_application", format!("{message}; make it with: countersign app create {name}"))
            }
            Broken::SetUp(_) => Self::usage("invalid_config", message),
            Broken::Store(error) => error.into(),
            Broken::Keys(_) => {
                Self::broken("keys_unavailable", format!("{message}; is keys.file the ring that the service uses?"))
            }
            _ => Self::broken("broken", message),
        }
    }
}

impl From<countersign::store::StoreError> for Fault {
    fn from(error: countersign::store::StoreError) -> Self {
        let code = if error.is_temporary() { "store_unavailable" } else { "store_inconsistent" };
        Self::broken(code, error.to_string())
    }
}

impl From<ExportError> for Fault {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Store(error) => error.into(),
            ExportError::File(_) => Self::broken("file", error.to_string()),
            ExportError::NoExport | ExportError::Complete(_) => Self::usage("usage", error.to_string()),
        }
    }
}

impl From<ImportError> for Fault {
    fn from(error: ImportError) -> Self {
        let message = error.to_string();
        match error {
            ImportError::Store(error) => error.into(),
            ImportError::File(_) => Self::broken("file", message),
            ImportError::Line { line, .. } => {
                let advice = "the lines before it are in the store; mend it and import the file again";
                Self::refused("invalid_line", format!("{message}; {advice}")).with("line", json!(line))
            }
        }
    }
}

impl From<KeyFileError> for Fault {
    fn from(error: KeyFileError) -> Self {
        SetUpError::from(error).into()
    }
}

impl From<SetUpError> for Fault {
    fn from(error: SetUpError) -> Self {
        match error {
            SetUpError::Store(error) => error.into(),
            SetUpError::Verifier(error) => error.into(),
            error if error.is_configuration() => Self::usage("invalid_config", error.to_string()),
            error => Self::broken("broken", error.to_string()),
        }
    }
}

impl From<Problems> for Fault {
    fn from(problems: Problems) -> Self {
        let rows = rows(&problems);
        Self::usage("invalid_config", problems.to_string()).with("problems", rows)
    }
}

/// Problems, or advice, as JSON.
pub fn rows(problems: &Problems) -> Value {
    let rows = problems.problems.iter().map(|problem| {
        let (line, variable) = match &problem.place {
            Place::Line(line) => (Some(*line), None),
            Place::Variable(name) => (None, Some(name.to_string())),
            Place::Nowhere => (None, None),
        };
        json!({"file": problems.file, "line": line, "variable": variable, "key": problem.key, "message": problem.text})
    });
    Value::Array(rows.collect())
}

/// Prints, once.
#[derive(Debug)]
pub struct Output {
    json: bool,
    said: Cell<bool>,
}

impl Output {
    /// In JSON, or as text.
    pub const fn new(json: bool) -> Self {
        Self { json, said: Cell::new(false) }
    }

    /// Prints the answer or the fault, and turns it into an exit code.
    pub fn finish(&self, outcome: Outcome) -> ExitCode {
        let exit = match outcome {
            Ok(answer) => {
                self.answer(&answer.text, &answer.json);
                answer.exit
            }
            Err(fault) => {
                self.fault(&fault);
                fault.exit
            }
        };
        ExitCode::from(exit as u8)
    }

    /// Prints to standard output now: for a command that goes on after its answer.
    pub fn answer(&self, text: &str, json: &Value) {
        if self.json {
            if !json.is_null() && !self.said.replace(true) {
                write_out(&format!("{json}\n"));
            }
        } else if !text.is_empty() {
            write_out(&format!("{}\n", text.trim_end_matches('\n')));
        }
    }

    /// Says something beside the answer, on standard error.
    pub fn note(&self, text: &str) {
        // Nobody may be listening there; that is no reason to fail.
        let _ = writeln!(io::stderr().lock(), "{text}");
    }

    fn fault(&self, fault: &Fault) {
        if !self.json || self.said.get() {
            self.note(&format!("error: {}", fault.message.replace('\n', "\nerror: ")));
            return;
        }
        let mut error = Map::new();
        error.insert("code".to_owned(), json!(fault.code));
        error.insert("message".to_owned(), json!(fault.message));
        error.extend(fault.more.clone());
        self.answer("", &json!({ "error": error }));
    }
}

/// Whoever reads may stop reading (`countersign config default | head`): then there is nothing more to say, and nothing wrong.
fn write_out(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// A duration for people: whole seconds, rounded up.
pub fn spoken(duration: Duration) -> String {
    let seconds = ceil_secs(duration);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use countersign::core::destination::InvalidDestination;
    use countersign::core::limit::Per;
    use countersign::core::refusal::Limit;

    use super::*;

    #[test]
    fn refusals_end_with_their_exit_code() {
        let minute = Duration::from_secs(60);
        for (refusal, exit, code) in [
            (Refusal::InvalidRequest { param: "code", detail: "…".to_owned() }, Exit::Usage, "invalid_request"),
            (Refusal::NotFound, Exit::Refused, "not_found"),
            (Refusal::InvalidDestination(InvalidDestination::TooShort), Exit::Refused, "invalid_destination"),
            (Refusal::ResendTooSoon { retry_after: minute, pause: minute }, Exit::Refused, "resend_too_soon"),
            (
                Refusal::RateLimited { limit: Limit::Rate(Per::Client), quota: 1, window: minute, retry_after: minute },
                Exit::Refused,
                "rate_limited",
            ),
        ] {
            let fault = Fault::from(refusal);
            assert_eq!((fault.exit, fault.code.as_str()), (exit, code));
        }
    }

    #[test]
    fn a_wait_is_spoken_in_the_unit_that_fits() {
        for (millis, words) in
            [(1, "1 s"), (59_001, "60 s"), (120_000, "2 min"), (121_000, "3 min"), (86_400_000, "24 h")]
        {
            assert_eq!(spoken(Duration::from_millis(millis)), words);
        }
    }
}
