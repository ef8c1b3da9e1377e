//! What commands share: the settings, the running parts, the application that is meant.

use std::env;
use std::sync::Arc;
use std::time::Duration;

use countersign::core::id::{ApplicationName, VerificationId};
use countersign::core::verification::{Delivery, Verification};
use countersign_server::api::native::object::VerificationObject;
use countersign_server::config::{Settings, Source};
use countersign_server::setup::{self, Parts};
use serde_json::{Value, json};

use crate::args::Global;
use crate::output::{Fault, Output};

/// How long a command waits for what it began when it ends.
const PATIENCE: Duration = Duration::from_secs(2);

/// What every command is given.
pub struct Context {
    /// The options that every command takes.
    pub global: Global,
    /// Where it answers.
    pub out: Output,
}

impl Context {
    /// Where the configuration comes from.
    pub fn source(&self) -> Result<Source, Fault> {
        let mut variables = Vec::new();
        for (name, value) in env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with("COUNTERSIGN_")) else { continue };
            let Ok(value) = value.into_string() else {
                return Err(Fault::usage("invalid_config", format!("{name}: is not UTF-8")));
            };
            variables.push((name.to_owned(), value));
        }
        Ok(Source::usual(self.global.config.clone(), variables))
    }

    /// The checked settings.
    pub fn settings(&self) -> Result<Arc<Settings>, Fault> {
        Ok(Arc::new(Settings::load(&self.source()?)?))
    }

    /// The running parts.
    pub async fn parts(&self) -> Result<Parts, Fault> {
        let parts = setup::open(self.settings()?, None).await?;
        for warning in &parts.warnings {
            self.out.note(&format!("warning: {warning}"));
        }
        Ok(parts)
    }

    /// The running parts, with every application of the configuration in the store: for commands that write.
    pub async fn writing_parts(&self) -> Result<Parts, Fault> {
        let parts = self.parts().await?;
        parts.create_applications().await?;
        Ok(parts)
    }

    /// The application that is meant.
    pub fn app(&self) -> ApplicationName {
        self.global.app.clone()
    }
}

/// Ends the parts: what is being carried is finished, the store closed.
pub async fn close(parts: &Parts) {
    // A command that has its answer gives it, whatever the store says to being closed.
    let _ = parts.verifier.shut_down(PATIENCE).await;
}

/// What a command is about: a verification by its id, or whatever there is for a destination.
pub enum Target {
    /// Who holds the id.
    Id(VerificationId),
    /// Who knows the destination.
    Destination(String),
}

impl Target {
    /// Reads `vf_…` as an id, anything else as a destination.
    pub fn read(text: &str) -> Self {
        text.parse().map_or_else(|_| Self::Destination(text.to_owned()), Self::Id)
    }
}

/// A verification as the HTTP API shows it.
pub fn object(parts: &Parts, verification: &Verification, deliveries: &[Delivery]) -> Value {
    let shown = VerificationObject::new(verification, deliveries, parts.verifier.now());
    serde_json::to_value(shown).unwrap_or_else(|_| json!({}))
}
