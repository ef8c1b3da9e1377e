//! The gateway: takes messages over HTTP, and tells the load which code came for which number.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

pub struct Sink {
    pub address: String,
    waiting: Mutex<HashMap<String, oneshot::Sender<String>>>,
}

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 12\r\n\r\n{\"id\":\"m-1\"}";

impl Sink {
    pub async fn listen() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/messages", listener.local_addr().unwrap());
        let sink = Arc::new(Self { address, waiting: Mutex::default() });
        let taking = Arc::clone(&sink);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sink = Arc::clone(&taking);
                tokio::spawn(async move { sink.take(stream).await });
            }
        });
        sink
    }

    /// The code of the next message to this number.
    pub fn wait_for(&self, to: String) -> oneshot::Receiver<String> {
        let (tell, told) = oneshot::channel();
        self.waiting.lock().unwrap().insert(to, tell);
        told
    }

    async fn take(&self, mut stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let mut buffer = Vec::with_capacity(4096);
        while let Some((_, body)) = crate::client::read_message(&mut stream, &mut buffer).await {
            let message: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let (to, text) = (message["to"].as_str().unwrap(), message["text"].as_str().unwrap());
            let code: String =
                text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
            if let Some(tell) = self.waiting.lock().unwrap().remove(to) {
                let _ = tell.send(code);
            }
            if stream.write_all(ANSWER).await.is_err() {
                return;
            }
        }
        let _ = stream.read(&mut [0]).await;
    }
}
