//! What can go wrong between here and the server, sorted by what to do about it.

use countersign::store::StoreError;
use tokio_postgres::error::{DbError, SqlState};

/// Why a statement, or a transaction, did not do what it should.
#[derive(Debug)]
pub(super) enum Error {
    /// Somebody else was there at the same time, and nothing was changed: the same again may well succeed.
    Conflict,
    /// Another session answered than the one that keeps our statements. Nothing was changed.
    Moved,
    /// The server does not know a statement any more that it kept. Nothing was changed.
    Forgotten,
    /// The connection is of no use any more. If a commit was on its way, nobody knows what became of it.
    Cut(String),
    /// The server refused; nothing was changed.
    Refused(String),
    /// A row cannot be read.
    Unreadable(String),
}

impl Error {
    /// The connection cannot be used after this.
    pub(super) const fn is_cut(&self) -> bool {
        matches!(self, Self::Cut(_))
    }

    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Conflict | Self::Moved | Self::Forgotten => {
                StoreError::Unavailable("too many others are at the same rows; try again in a moment".to_owned())
            }
            Self::Cut(text) | Self::Refused(text) => StoreError::Unavailable(text),
            Self::Unreadable(text) => StoreError::Inconsistent(text),
        }
    }
}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(refusal) = error.as_db_error() else {
            return Self::Cut(words(&error));
        };
        let state = refusal.code();
        if [&SqlState::T_R_SERIALIZATION_FAILURE, &SqlState::T_R_DEADLOCK_DETECTED, &SqlState::UNIQUE_VIOLATION]
            .contains(&state)
        {
            return Self::Conflict;
        }
        // A statement that is kept is planned anew when tables change, but never gives rows of another shape.
        if *state == SqlState::INVALID_SQL_STATEMENT_NAME || refusal.routine() == Some("RevalidateCachedQuery") {
            return Self::Forgotten;
        }
        let text = refusal_in_words(refusal);
        // Class 57P and 08: the server goes, or the pooler lost it. Read-only: it has become somebody's replica.
        let gone = state.code().starts_with("57P")
            || state.code().starts_with("08")
            || *state == SqlState::READ_ONLY_SQL_TRANSACTION
            || *state == SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT;
        if gone { Self::Cut(text) } else { Self::Refused(text) }
    }
}

/// What the server said. Its message names tables, columns and types; what stood in a row it says in the detail, which is left out.
pub(super) fn refusal_in_words(refusal: &DbError) -> String {
    format!("the PostgreSQL server said: {} ({})", refusal.message(), refusal.code().code())
}

/// What the driver says, with its cause: where it stopped, and why. It knows no password.
pub(super) fn words(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        return refusal_in_words(refusal);
    }
    let mut text = format!("no PostgreSQL server can be reached: {error}");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
