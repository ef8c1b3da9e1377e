//! A gateway that takes everything and says the same to all, and the options of a benchmark: for those here and in the server.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// The number after an option on the command line.
pub fn value(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name).skip(1);
    arguments.next().map_or(default, |text| text.parse().expect("a number"))
}

/// Answers each request of a connection with this body, but none while it hangs.
pub async fn serve(mut stream: TcpStream, body: &str, hangs: impl Fn() -> bool) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        while bytes.len() < end + length {
            if stream.read_buf(&mut bytes).await.ok()? == 0 {
                return None;
            }
        }
        bytes.drain(..end + length);
        while hangs() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}
