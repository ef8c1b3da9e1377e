//! The two providers that reach nobody's phone.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::id::DeliveryId;
use countersign::core::outcome::{Message, Outcome};
use countersign::sender::Sender;
use countersign_providers::{Console, Inbox, ProviderConfig, Surroundings, build_with};

use crate::{AT, clock, kind, message};

fn numbered(number: u16) -> Message {
    let [high, low] = number.to_be_bytes();
    let mut id = [0; 16];
    (id[14], id[15]) = (high, low);
    Message { id: DeliveryId::from_bytes(id), ..message(&format!("number {number}")) }
}

#[tokio::test]
async fn the_inbox_shows_what_it_caught_newest_first() {
    let inbox = Inbox::new(clock(AT));
    let around = Surroundings { now: clock(AT), inbox: inbox.clone() };
    let sender = build_with(&ProviderConfig::new("phone", "inbox"), &around).unwrap();
    let mail = Message {
        channel: Channel::Email,
        to: Destination::parse("asha@example.com", None).unwrap(),
        locale: "sw".to_owned(),
        ..numbered(2)
    };
    assert_eq!(kind(&sender.send(&numbered(1)).await), "accepted");
    let outcome = sender.send(&mail).await;
    assert_eq!(outcome, Outcome::Accepted { message_id: Some(mail.id.to_string()) });

    let caught = inbox.messages();
    let texts: Vec<_> = caught.iter().map(|message| message.text.as_str()).collect();
    assert_eq!(texts, ["number 2", "number 1"]);
    assert_eq!(caught[0].to.reveal(), "asha@example.com");
    assert_eq!((caught[0].channel, caught[0].at.as_secs(), caught[0].id), (Channel::Email, AT, mail.id));
    assert_eq!((caught[0].application.as_str(), caught[0].locale.as_str()), ("default", "sw"));
    assert_eq!(format!("{inbox:?}"), "Inbox { messages: 2 }");
    inbox.clear();
    assert!(inbox.messages().is_empty());
}

#[tokio::test]
async fn the_inbox_keeps_the_newest_thousand() {
    let inbox = Inbox::new(clock(AT));
    let sender = inbox.sender("inbox");
    for number in 0..1005 {
        sender.send(&numbered(number)).await;
    }
    let caught = inbox.messages();
    assert_eq!(caught.len(), Inbox::CAPACITY);
    assert_eq!(caught[0].text.as_str(), "number 1004");
    assert_eq!(caught[999].text.as_str(), "number 5");
}

#[tokio::test]
async fn the_inbox_tells_whoever_listens() {
    let inbox = Inbox::new(clock(AT));
    let sender = inbox.sender("inbox");
    sender.send(&numbered(1)).await;
    let mut live = inbox.subscribe();
    sender.send(&numbered(2)).await;
    sender.send(&numbered(3)).await;
    assert_eq!(live.recv().await.unwrap().text.as_str(), "number 2");
    assert_eq!(live.recv().await.unwrap().text.as_str(), "number 3");
}

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken;

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_console_shows_the_message_and_obeys_nothing_in_it() {
    let screen = Screen::default();
    let console = Console::new("dev", screen.clone());
    let outcome = console.send(&message("Code 482913\nfor \u{1b}[2J A&B <\"x\">")).await;
    assert_eq!(kind(&outcome), "accepted");
    let shown = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
    assert_eq!(shown, "[dev] sms to +255694230173: Code 482913\n    for \\u{1b}[2J A&B <\"x\">\n");
}

#[tokio::test]
async fn a_console_that_is_gone_is_no_success() {
    let outcome = Console::new("dev", Broken).send(&message("x")).await;
    assert_eq!(kind(&outcome), "retry_elsewhere");
}
