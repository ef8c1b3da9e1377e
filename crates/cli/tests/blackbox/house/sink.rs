//! A gateway of our own: takes the messages of the `webhook` provider, keeps them, and answers as it is told to.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::{PATIENCE, WHSEC};

/// What a gateway does with a message, after it has it.
#[derive(Clone, Debug)]
pub enum Act {
    /// Answers.
    Answer(u16, String),
    /// Answers after a while.
    Slow(Duration, u16, String),
    /// Answers these bytes and closes.
    Bytes(&'static [u8]),
    /// Closes the connection without a word.
    HangUp,
    /// Says nothing for as long as anybody listens.
    Hang,
}

/// A message, as it came.
#[derive(Clone, Debug)]
pub struct Message {
    pub id: String,
    pub to: String,
    pub channel: String,
    pub text: String,
    pub code: String,
    pub json: Value,
    pub signed: bool,
    /// The headers of its signature: webhook-id, webhook-timestamp, webhook-signature.
    pub headers: [String; 3],
    pub body: Vec<u8>,
}

/// What is done with the nth message (from 0) to a number.
type Choice = Arc<dyn Fn(&str, usize) -> Act + Send + Sync>;

type Hook = Arc<dyn Fn(Message) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

#[derive(Default)]
struct State {
    messages: Mutex<Vec<Message>>,
    script: Mutex<VecDeque<Act>>,
    habit: Mutex<Option<Act>>,
    choice: Mutex<Option<Choice>>,
    hook: Mutex<Option<Hook>>,
    arrived: Notify,
}

/// The gateway; it goes with the test's runtime.
#[derive(Clone)]
pub struct Sink {
    addr: SocketAddr,
    state: Arc<State>,
}

impl Sink {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sink = Self { addr: listener.local_addr().unwrap(), state: Arc::default() };
        let state = Arc::clone(&sink.state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                tokio::spawn(async move {
                    let _ = serve(stream, &state).await;
                });
            }
        });
        sink
    }

    pub fn url(&self) -> String {
        format!("http://{}/messages", self.addr)
    }

    /// What it does with the next messages, one after the other.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.state.script.lock().unwrap().extend(acts);
    }

    /// What it does with every message that the script has nothing for.
    pub fn habit(&self, act: Act) {
        *self.state.habit.lock().unwrap() = Some(act);
    }

    /// What it does with the nth message (from 0) to each number, where there is no script.
    pub fn choose(&self, choice: impl Fn(&str, usize) -> Act + Send + Sync + 'static) {
        *self.state.choice.lock().unwrap() = Some(Arc::new(choice));
    }

    /// Something to do when a message has come, before it is answered.
    pub fn on_message<F: Future<Output = ()> + Send + 'static>(
        &self,
        hook: impl Fn(Message) -> F + Send + Sync + 'static,
    ) {
        *self.state.hook.lock().unwrap() = Some(Arc::new(move |message| Box::pin(hook(message))));
    }

    pub fn messages(&self) -> Vec<Message> {
        self.state.messages.lock().unwrap().clone()
    }

    pub fn to(&self, to: &str) -> Vec<Message> {
        self.state.messages.lock().unwrap().iter().filter(|message| message.to == to).cloned().collect()
    }

    pub fn count(&self) -> usize {
        self.state.messages.lock().unwrap().len()
    }

    /// The messages to a number, as soon as there are so many.
    pub async fn wait(&self, to: &str, wanted: usize) -> Vec<Message> {
        let waiting = async {
            loop {
                let arrived = self.state.arrived.notified();
                let messages = self.to(to);
                if messages.len() >= wanted {
                    return messages;
                }
                tokio::select! {
                    () = arrived => {}
                    () = tokio::time::sleep(Duration::from_millis(20)) => {}
                }
            }
        };
        let waited = tokio::time::timeout(PATIENCE, waiting).await;
        waited.unwrap_or_else(|_| panic!("{wanted} messages to {to} did not come; {} did", self.to(to).len()))
    }

    /// The code in the newest message to a number.
    pub async fn code_of(&self, to: &str) -> String {
        self.wait(to, 1).await.pop().unwrap().code
    }
}

async fn serve(mut stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let header = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(&format!("{name}:")))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let length: usize = header("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        let body: Vec<u8> = bytes.drain(..end + length).skip(end).collect();
        let field = |name| header(name).unwrap_or_default();
        let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(field);
        let signature = sign(WHSEC, &headers[0], &headers[1], &body);
        let message = message(&body, headers[2] == signature && !headers[0].is_empty(), headers);
        let told = message.clone();
        // What is done with it is settled before anybody can see it: a script is for messages that come after it.
        let scripted = state.script.lock().unwrap().pop_front();
        let nth = state.messages.lock().unwrap().iter().filter(|other| other.to == told.to).count();
        let chosen = || state.choice.lock().unwrap().clone().map(|choice| choice(&told.to, nth));
        let act = scripted.or_else(chosen).or_else(|| state.habit.lock().unwrap().clone());
        let act = act.unwrap_or(Act::Answer(200, format!("{{\"id\":\"gw-{}\"}}", told.id)));
        state.messages.lock().unwrap().push(message);
        state.arrived.notify_waiters();
        let hook = state.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(told.clone()).await;
        }
        let (status, body) = match act {
            Act::Answer(status, body) => (status, body),
            Act::Slow(pause, status, body) => {
                tokio::time::sleep(pause).await;
                (status, body)
            }
            Act::Bytes(raw) => {
                stream.write_all(raw).await?;
                return stream.shutdown().await;
            }
            Act::HangUp => return Ok(()),
            Act::Hang => {
                tokio::time::sleep(Duration::from_secs(600)).await;
                return Ok(());
            }
        };
        // The whole message, code and all: no gateway should repeat it, and many do.
        let body = body.replace("{ECHO}", &told.text);
        let answer = format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).await?;
    }
}

fn message(body: &[u8], signed: bool, headers: [String; 3]) -> Message {
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
    let whole = text("text");
    let code = code_in(&whole);
    let (id, to, channel, body) = (text("id"), text("to"), text("channel"), body.to_vec());
    Message { id, to, channel, text: whole, code, json, signed, headers, body }
}

/// The first run of 4 to 10 digits; what is spoken has them apart.
pub fn code_in(text: &str) -> String {
    let digits: Vec<_> = text.char_indices().filter(|(_, c)| c.is_ascii_digit()).map(|(at, _)| at).collect();
    let is_spoken = digits.windows(2).any(|pair| text.get(pair[0] + 1..pair[1]) == Some(", "));
    let text = if is_spoken { text.replace(", ", "") } else { text.to_owned() };
    let mut runs = text.split(|c: char| !c.is_ascii_digit()).filter(|run| (4..=10).contains(&run.len()));
    runs.next().unwrap_or_default().to_owned()
}

/// `webhook-signature` by the specification of Standard Webhooks.
pub fn sign(secret: &str, id: &str, timestamp: &str, body: &[u8]) -> String {
    let key = STANDARD.decode(secret.trim_start_matches("whsec_")).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
    let signed = [id.as_bytes(), b".", timestamp.as_bytes(), b".", body].concat();
    format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed)))
}
