//! A headless Chromium, spoken to by its DevTools protocol over a WebSocket, of which only what is needed is here.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{PATIENCE, until};

/// One page of one browser. Both end when it is dropped.
pub struct Browser {
    child: Child,
    stream: TcpStream,
    unread: Vec<u8>,
    next: u64,
    /// What the page, its console and its policy complained about.
    pub complaints: Vec<Value>,
    /// What the browser wrote to standard error.
    pub said: Arc<Mutex<String>>,
}

impl Browser {
    pub async fn open(chromium: &str, profile: &Path) -> Self {
        let mut command = Command::new(chromium);
        command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--disable-dev-shm-usage", "--enable-logging=stderr", "--remote-debugging-port=0"]);
        command.arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, errors) = (Arc::<Mutex<String>>::default(), child.stderr.take().unwrap());
        let kept = Arc::clone(&said);
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                kept.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        let address = || {
            let said = said.lock().unwrap();
            let rest = said.split("DevTools listening on ws://").nth(1)?;
            Some(rest.split('/').next()?.to_owned())
        };
        until("the browser listens", async || address().is_some()).await;
        let address = address().unwrap();
        let asked = format!("GET /json/list HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        let mut page = None;
        for _ in 0..200 {
            let mut stream = TcpStream::connect(&address).await.unwrap();
            stream.write_all(asked.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(Duration::from_secs(2), stream.read_to_end(&mut answer)).await;
            let text = String::from_utf8_lossy(&answer).into_owned();
            page =
                text.split("/devtools/page/").nth(1).and_then(|rest| rest.split(['"', '&']).next().map(str::to_owned));
            if page.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let page = page.expect("a page");
        let mut stream = TcpStream::connect(&address).await.unwrap();
        let hello = format!(
            "GET /devtools/page/{page} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(hello.as_bytes()).await.unwrap();
        let mut unread = Vec::new();
        let end = loop {
            if let Some(end) = unread.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert!(stream.read_buf(&mut unread).await.unwrap() > 0, "the browser hung up");
        };
        assert!(unread.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&unread));
        unread.drain(..end);
        let mut browser = Self { child, stream, unread, next: 0, complaints: Vec::new(), said };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable", "Network.enable"] {
            browser.call(domain, json!({})).await;
        }
        browser
    }

    /// The next message, whole.
    async fn read(&mut self) -> Value {
        loop {
            if let [_, second, rest @ ..] = self.unread.as_slice() {
                let (head, length) = match second & 127 {
                    126 if rest.len() >= 2 => (4, usize::from(u16::from_be_bytes([rest[0], rest[1]]))),
                    127 if rest.len() >= 8 => (10, u64::from_be_bytes(*rest.first_chunk().unwrap()) as usize),
                    length @ 0..126 => (2, usize::from(length)),
                    _ => (usize::MAX / 2, 0),
                };
                if self.unread.len() >= head + length {
                    let message: Vec<u8> = self.unread.drain(..head + length).skip(head).collect();
                    return serde_json::from_slice(&message).unwrap_or(Value::Null);
                }
            }
            assert!(self.stream.read_buf(&mut self.unread).await.unwrap() > 0, "the browser hung up");
        }
    }

    /// Calls a method and waits for its answer.
    pub async fn call(&mut self, method: &str, params: Value) -> Value {
        self.next += 1;
        let text = json!({"id": self.next, "method": method, "params": params}).to_string();
        // A text frame, masked as clients must, with a mask that changes nothing.
        let mut frame = vec![0x81];
        match u16::try_from(text.len()).unwrap() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length => {
                frame.push(0x80 | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.stream.write_all(&frame).await.unwrap();
        let answered = async {
            loop {
                let message = self.read().await;
                if message["id"] == json!(self.next) {
                    return message["result"].clone();
                }
                self.listen(message);
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("the browser answers")
    }

    fn listen(&mut self, message: Value) {
        let params = &message["params"];
        let complaint = match message["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => true,
            "Runtime.consoleAPICalled" => params["type"] == "error" || params["type"] == "warning",
            "Log.entryAdded" => params["entry"]["level"] == "error" || params["entry"]["source"] == "security",
            _ => false,
        };
        if complaint {
            self.complaints.push(message);
        }
    }

    /// The value of an expression in the page.
    pub async fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        self.call("Runtime.evaluate", params).await["result"]["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
