//! HTTP itself: connections, bodies, addresses, problems. What is asked and answered is in [`crate::api`].

pub mod answer;
pub mod around;
pub mod assets;
pub mod auth;
pub mod body;
pub mod call;
pub mod client_address;
pub mod form;
pub mod idempotency;
pub mod json;
pub mod listener;
pub mod prefer;
pub mod problem;
pub mod request_id;
pub mod router;
pub mod written;

/// Runs to its end even if whoever waits for it is dropped, as happens when a client hangs up: between a commit and what follows
/// from it nothing may be lost. `None` if it panicked.
pub(crate) async fn detached<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    use tracing::Instrument as _;
    tokio::spawn(work.in_current_span()).await.ok()
}
