//! The port through which messages leave.

use std::future::Future;
use std::pin::Pin;

use countersign_core::channel::Channel;
use countersign_core::outcome::{Message, Outcome};

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
}
