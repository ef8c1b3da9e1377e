//! A thin HTTP/1.1 client: a fresh connection for every request, the bytes as they are, every answer on record.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Barrier;

use super::PATIENCE;

/// Where requests go, and with whose key.
#[derive(Clone)]
pub struct Door {
    pub addr: SocketAddr,
    key: String,
    /// The bytes of every answer.
    pub record: Arc<Mutex<Vec<u8>>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The body, if the status is this one.
    #[track_caller]
    pub fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        self.json()
    }

    /// A problem with this status and code, in every part that problems have.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let body = self.json();
        assert_eq!((&body["code"], &body["status"]), (&json!(code), &json!(status)), "{body}");
        for member in ["type", "title", "detail"] {
            assert!(body[member].as_str().is_some_and(|text| !text.is_empty()), "{member}: {body}");
        }
        assert!(body["type"].as_str().unwrap().starts_with("https://"), "{body}");
        if status == 429 {
            self.says_when(&body["retry_after"]);
        }
        body
    }

    /// Every 429 says when to come back.
    #[track_caller]
    pub fn says_when(&self, in_body: &Value) {
        let wait: u64 = self.header("retry-after").expect("Retry-After").parse().unwrap();
        assert!(wait >= 1, "{self:?}");
        if !in_body.is_null() {
            assert_eq!(*in_body, json!(wait));
        }
        assert!(self.header("ratelimit").is_some_and(|limit| limit.contains("r=0")), "{self:?}");
        assert!(self.header("ratelimit-policy").is_some_and(|policy| policy.contains(";q=")), "{self:?}");
    }

    /// The result of a check.
    #[track_caller]
    pub fn result(&self) -> String {
        let body = self.ok(200);
        assert_eq!(body["valid"], json!(body["result"] == "approved"), "{body}");
        assert_eq!(body["token"].is_string(), body["result"] == "approved", "{body}");
        body["result"].as_str().unwrap().to_owned()
    }
}

/// A request as bytes.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() || method == "POST" {
        bytes.extend(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend(b"\r\n");
    bytes.extend(body);
    bytes
}

pub fn parse(bytes: &[u8]) -> io::Result<Reply> {
    let broken = || io::Error::other(format!("not an answer: {:?}", String::from_utf8_lossy(bytes)));
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").ok_or_else(broken)?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| broken())?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).ok_or_else(broken)?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let body = bytes[end + 4..].to_vec();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    if length.is_some_and(|length: usize| length > body.len()) {
        return Err(broken());
    }
    Ok(Reply { status, headers, body })
}

impl Door {
    pub fn new(addr: SocketAddr, key: &str) -> Self {
        Self { addr, key: key.to_owned(), record: Arc::default() }
    }

    pub fn key(&self) -> &str {
        &self.key
    }

    /// The same door with another key.
    pub fn as_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// Sends bytes and reads until the server closes.
    pub async fn try_raw(&self, bytes: &[u8]) -> io::Result<Reply> {
        let stream = TcpStream::connect(self.addr).await?;
        self.exchange(stream, bytes).await
    }

    pub async fn exchange(&self, mut stream: TcpStream, bytes: &[u8]) -> io::Result<Reply> {
        let talk = async {
            stream.set_nodelay(true)?;
            stream.write_all(bytes).await?;
            let mut answer = Vec::with_capacity(2048);
            stream.read_to_end(&mut answer).await?;
            Ok::<_, io::Error>(answer)
        };
        let answer = tokio::time::timeout(PATIENCE * 3, talk).await.map_err(io::Error::other)??;
        self.record.lock().unwrap().extend_from_slice(&answer);
        parse(&answer)
    }

    pub async fn raw(&self, bytes: &[u8]) -> Reply {
        self.try_raw(bytes).await.unwrap()
    }

    /// Any request, without a key unless it is among the headers.
    pub async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.raw(&request(method, path, headers, body)).await
    }

    pub fn bytes_of(&self, method: &str, path: &str, more: &[(&str, &str)], body: &Value) -> Vec<u8> {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![("Authorization", bearer.as_str())];
        headers.extend(more);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        if !body.is_empty() {
            headers.push(("Content-Type", "application/json"));
        }
        request(method, path, &headers, &body)
    }

    pub async fn try_post(&self, path: &str, body: &Value) -> io::Result<Reply> {
        self.try_raw(&self.bytes_of("POST", path, &[], body)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Reply {
        self.post_with(path, &[], body).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
        self.raw(&self.bytes_of("POST", path, headers, &body)).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.raw(&self.bytes_of("GET", path, &[], &Value::Null)).await
    }

    /// A send that must succeed: the verification.
    #[track_caller]
    pub fn send(&self, to: &str) -> impl Future<Output = Value> + use<> {
        self.send_as(json!({"to": to}))
    }

    pub fn send_as(&self, body: Value) -> impl Future<Output = Value> + use<> {
        let door = self.clone();
        async move {
            let reply = door.post("/v1/verifications", body).await;
            assert!(matches!(reply.status, 200 | 201), "{}", reply.text());
            reply.json()
        }
    }

    /// A send, with the id alone.
    pub async fn begin(&self, to: &str) -> String {
        id(&self.send(to).await)
    }

    pub async fn check(&self, id: &str, code: &str) -> Reply {
        self.post(&format!("/v1/verifications/{id}/check"), json!({"code": code})).await
    }

    pub async fn check_to(&self, to: &str, code: &str) -> Reply {
        self.post("/v1/verifications/check", json!({"to": to, "code": code})).await
    }

    pub async fn show(&self, id: &str) -> Value {
        self.get(&format!("/v1/verifications/{id}")).await.ok(200)
    }

    /// A call of the simple dialect.
    pub async fn simple(&self, call: &str, body: Value) -> Reply {
        self.simple_with(call, &[], body).await
    }

    pub async fn simple_with(&self, call: &str, headers: &[(&str, &str)], body: Value) -> Reply {
        let mut all = vec![("Content-Type", "application/json")];
        all.extend(headers);
        self.ask("POST", &format!("/api/users/{call}/"), &all, body.to_string().as_bytes()).await
    }

    /// All of them at the same instant, each on a connection that is open already.
    pub async fn race(&self, requests: Vec<Vec<u8>>) -> Vec<Reply> {
        let barrier = Arc::new(Barrier::new(requests.len()));
        let mut tasks = Vec::with_capacity(requests.len());
        for request in requests {
            let (door, barrier) = (self.clone(), Arc::clone(&barrier));
            tasks.push(tokio::spawn(async move {
                let stream = TcpStream::connect(door.addr).await.unwrap();
                barrier.wait().await;
                door.exchange(stream, &request).await.unwrap()
            }));
        }
        let mut replies = Vec::with_capacity(tasks.len());
        for task in tasks {
            replies.push(task.await.unwrap());
        }
        replies
    }

    /// Bytes of a check by id.
    pub fn guess(&self, id: &str, code: &str) -> Vec<u8> {
        self.bytes_of("POST", &format!("/v1/verifications/{id}/check"), &[], &json!({"code": code}))
    }

    pub fn guess_to(&self, to: &str, code: &str) -> Vec<u8> {
        self.bytes_of("POST", "/v1/verifications/check", &[], &json!({"to": to, "code": code}))
    }
}

pub fn id(verification: &Value) -> String {
    verification["id"].as_str().unwrap_or_else(|| panic!("no id: {verification}")).to_owned()
}

/// How many of these answers to checks had this result.
pub fn count(replies: &[Reply], result: &str) -> usize {
    replies.iter().filter(|reply| reply.result() == result).count()
}
