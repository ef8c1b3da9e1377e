//! The port through which messages leave.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use countersign_core::channel::Channel;
use countersign_core::outcome::{Message, Outcome};
use countersign_core::verification::DeliveryStatus;

use crate::observe::Observation;
use crate::verifier::Broken;

/// A boxed future, as the ports return them.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Hands one message to one provider, once.
///
/// An implementation MUST NOT retry, queue, or report success before the provider did: retrying, failing over and giving up are
/// decided by [`crate::core::deliver`], from what this returns. It MUST return [`Outcome::Unknown`] when the request may have been
/// taken although no answer was understood, and [`Outcome::Rejected`] only when it is certain that nobody got the message. It MUST
/// NOT log the text or the code. It is dropped when the time-out of the policy passes; being dropped must be safe at any await.
pub trait Sender: Send + Sync + 'static {
    /// The provider's name in the configuration: what routes and deliveries call it.
    fn name(&self) -> &str;

    /// The channels that it carries.
    fn channels(&self) -> &[Channel];

    /// Hands over one message.
    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome>;

    /// Called when a verifier is built of it: whom to tell what it learns by itself. Most senders learn nothing.
    fn attach(&self, desk: Arc<dyn Desk>) {
        let _ = desk;
    }

    /// Called when the process begins to serve ([`crate::Verifier::start_upkeep`]): one that keeps connections opens them now, since
    /// reports on messages of an earlier process may wait there. Must not block.
    fn start(&self) {}

    /// Called once when the process ends, after the last message was carried and before the store closes. It must come to an end by
    /// itself within ten seconds.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Where a sender hands in what it learns by itself, such as the reports that come back over a connection of its own.
pub trait Desk: Send + Sync + 'static {
    /// Takes a report on a message: its provider, the provider's id for it, what became of it and why. `true` if there is such a
    /// message. When this returns, the report is durable: only then may the provider be told that it was taken.
    fn receipt<'a>(
        &'a self,
        provider: &'a str,
        reference: &'a str,
        status: DeliveryStatus,
        error: Option<String>,
    ) -> BoxFuture<'a, Result<bool, Broken>>;

    /// Takes figures.
    fn observe(&self, observation: Observation<'_>);
}
