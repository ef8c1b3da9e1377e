//! A phone inside the process: it catches messages and shows them, so that nothing leaves the machine.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::id::{ApplicationName, DeliveryId};
use countersign::core::outcome::{Message, Outcome};
use countersign::core::time::Timestamp;
use countersign::sender::{BoxFuture, Sender};
use tokio::sync::broadcast;
use zeroize::Zeroizing;

use crate::build::Now;

/// The newest messages, in memory. Clones share them.
#[derive(Clone)]
pub struct Inbox(Arc<Shared>);

struct Shared {
    now: Now,
    messages: Mutex<VecDeque<Arc<InboxMessage>>>,
    live: broadcast::Sender<Arc<InboxMessage>>,
}

/// A message that was caught. It has no `Debug`: its text holds a code. It is wiped when the last reader lets go of it.
pub struct InboxMessage {
    /// The delivery's id.
    pub id: DeliveryId,
    /// To whom.
    pub to: Destination,
    /// How it would have travelled.
    pub channel: Channel,
    /// The whole text.
    pub text: Zeroizing<String>,
    /// When it was caught.
    pub at: Timestamp,
    /// Who sent it.
    pub application: ApplicationName,
    /// BCP 47 tag of the text's language.
    pub locale: String,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("messages", &self.lock().len()).finish()
    }
}

impl Inbox {
    /// What `uses` calls it.
    pub const NAME: &'static str = "inbox";

    /// How many messages are kept; the oldest goes when another comes.
    pub const CAPACITY: usize = 1000;

    /// How far a live reader may fall behind before it misses messages (and is told so).
    const LAG: usize = 256;

    /// An empty inbox that dates messages by this clock.
    #[must_use]
    pub fn new(now: Now) -> Self {
        let live = broadcast::channel(Self::LAG).0;
        Self(Arc::new(Shared { now, messages: Mutex::default(), live }))
    }

    /// A sender that puts messages here, under that name.
    #[must_use]
    pub fn sender(&self, name: impl Into<String>) -> InboxSender {
        InboxSender { name: name.into(), inbox: self.clone() }
    }

    /// What is kept, newest first.
    #[must_use]
    pub fn messages(&self) -> Vec<Arc<InboxMessage>> {
        self.lock().iter().rev().cloned().collect()
    }

    /// What comes from now on. Whoever wants both subscribes first and then reads [`Inbox::messages`]: a message may then be
    /// seen twice, but none is missed.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<InboxMessage>> {
        self.0.live.subscribe()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.lock().clear();
    }

    fn catch(&self, message: &Message) {
        let caught = Arc::new(InboxMessage {
            id: message.id,
            to: message.to.clone(),
            channel: message.channel,
            text: message.text.clone(),
            at: (self.0.now)(),
            application: message.application.clone(),
            locale: message.locale.clone(),
        });
        let mut messages = self.lock();
        if messages.len() == Self::CAPACITY {
            messages.pop_front();
        }
        messages.push_back(Arc::clone(&caught));
        // Under the lock, so that live readers see the order that the list has. Nobody listening is no error.
        let _ = self.0.live.send(caught);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Arc<InboxMessage>>> {
        self.0.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts messages into an [`Inbox`].
#[derive(Debug)]
pub struct InboxSender {
    name: String,
    inbox: Inbox,
}

impl Sender for InboxSender {
    fn name(&self) -> &str {
        &self.name
    }

    fn channels(&self) -> &[Channel] {
        &Channel::ALL
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.inbox.catch(message);
            Outcome::Accepted { message_id: Some(message.id.to_string()) }
        })
    }
}
