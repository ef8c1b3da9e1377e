//! H7: what a client may take, over real sockets.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign_server::settings::Bounds;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use crate::support::{Setup, TO, name, new_key};

const BOUNDS: Bounds = Bounds {
    body: 16 * 1024,
    headers_within: Duration::from_millis(300),
    body_within: Duration::from_millis(300),
    answer_within: Duration::from_secs(5),
    connections: 100,
    shutdown_within: Duration::from_millis(500),
};

pub struct Server {
    pub address: SocketAddr,
    pub key: String,
    /// The same for the Twilio dialect.
    pub basic: String,
    _stop: oneshot::Sender<()>,
}

async fn serve(bounds: Bounds) -> Server {
    let (service, verifier, ..) = Setup::default().settings(|settings| settings.bounds = bounds).service();
    let key = new_key(&verifier, "default").await;
    let account = verifier.create_key(&name("default")).await.unwrap();
    let basic = STANDARD.encode(format!("{}:{}", account.account_sid, account.auth_token.as_str()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(service.serve(listener, async {
        let _ = stopped.await;
    }));
    Server { address, key, basic, _stop: stop }
}

/// Everything that comes until the other side closes; how long that took.
async fn until_closed(stream: &mut TcpStream) -> (String, Duration) {
    let (started, mut bytes) = (Instant::now(), Vec::new());
    let read = tokio::time::timeout(Duration::from_secs(8), stream.read_to_end(&mut bytes))
        .await
        .expect("it was never closed");
    match read {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => (String::from_utf8_lossy(&bytes).into_owned(), started.elapsed()),
    }
}

async fn is_healthy(server: &Server) {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let (answer, took) = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && took < Duration::from_secs(3), "{answer} {took:?}");
}

#[tokio::test]
async fn bug_h7_who_does_not_speak_is_hung_up_on() {
    let server = serve(BOUNDS).await;
    for begun in ["", "G", "GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nhost: x\r\nx-a: "] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(begun.as_bytes()).await.unwrap();
        let (_, took) = until_closed(&mut stream).await;
        assert!(
            took > Duration::from_millis(200) && took < Duration::from_secs(3),
            "{begun:?} was closed after {took:?}"
        );
        is_healthy(&server).await;
    }
}

#[tokio::test]
async fn bug_h7_who_stays_silent_after_a_request_is_hung_up_on() {
    let server = serve(BOUNDS).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let (answer, took) = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && took < Duration::from_secs(3), "{answer} {took:?}");
}

#[tokio::test]
async fn bug_h7_a_slow_drip_of_headers_gains_no_time() {
    let server = serve(BOUNDS).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let started = Instant::now();
    stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
    for n in 0..100 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if stream.write_all(format!("x-{n}: y\r\n").as_bytes()).await.is_err() {
            break;
        }
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(3), "the drip went on for {took:?}");
    is_healthy(&server).await;
}

#[tokio::test]
async fn bug_h7_half_a_body_is_408() {
    let server = serve(BOUNDS).await;
    let bearer = format!("Bearer {}", server.key);
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    for (path, authorization, content_type, says) in [
        ("/v1/verifications", &*bearer, json, "\"code\":\"request_timeout\""),
        ("/api/users/send-otp/", "", json, "Invalid request body"),
        ("/one-time-password-sms/v1/send-code", &*bearer, json, "\"code\":\"REQUEST_TIMEOUT\""),
        ("/v2/Services", &*format!("Basic {}", server.basic), form, "\"code\":20408"),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\ncontent-type: {content_type}\r\ncontent-length: 100\r\n\r\n{{\"to\":"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let (answer, took) = until_closed(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408") && took < Duration::from_secs(3), "{answer} {took:?}");
        assert!(answer.contains(says), "{answer}");
    }
}

#[tokio::test]
async fn bug_h7_ten_megabytes_are_413() {
    let server = serve(Bounds { body_within: Duration::from_secs(5), ..BOUNDS }).await;
    for (path, key, chunked, status) in [
        ("/v1/verifications", &*server.key, false, 413),
        ("/v1/verifications", &*server.key, true, 413),
        ("/v1/verifications", "cs_unknown", false, 401),
        ("/api/users/verify-otp/", "", false, 413),
        ("/v1/receipts/phone", "", true, 413),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let size = 10 * 1024 * 1024;
        let framing = if chunked { "transfer-encoding: chunked".to_owned() } else { format!("content-length: {size}") };
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\ncontent-type: application/json\r\n{framing}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let body = vec![b'x'; size];
        if chunked {
            stream.write_all(format!("{size:x}\r\n").as_bytes()).await.unwrap();
        }
        stream.write_all(&body).await.unwrap();
        if chunked {
            stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
        }
        let (answer, _) = until_closed(&mut stream).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    is_healthy(&server).await;
}

#[tokio::test]
async fn bug_h7_who_asks_before_sending_too_much_is_told_at_once() {
    let server = serve(BOUNDS).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!(
        "POST /v1/verifications HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\ncontent-length: 10000000\r\n\r\n",
        server.key
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (answer, took) = until_closed(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413") && took < Duration::from_secs(3), "{answer} {took:?}");
}

#[tokio::test]
async fn bug_h7_ten_thousand_headers_are_431() {
    let server = serve(BOUNDS).await;
    for head in [
        (0..10_000).map(|n| format!("x-{n}: y\r\n")).collect::<String>(),
        (0..101).map(|n| format!("x-{n}: y\r\n")).collect(),
        format!("x-long: {}\r\n", "y".repeat(100_000)),
    ] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        // The server may hang up while we are still writing.
        let _ = stream.write_all(format!("GET /healthz HTTP/1.1\r\nhost: x\r\n{head}\r\n").as_bytes()).await;
        let (answer, _) = until_closed(&mut stream).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    }
    is_healthy(&server).await;
}

#[tokio::test]
async fn bug_h7_two_lengths_are_no_request() {
    let server = serve(BOUNDS).await;
    for framing in
        ["content-length: 5\r\ncontent-length: 6", "content-length: 5, 6", "content-length: -1", "content-length: +5"]
    {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("POST /v1/verifications HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\nhello");
        stream.write_all(request.as_bytes()).await.unwrap();
        let (answer, _) = until_closed(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{framing} {answer}");
    }
}

#[tokio::test]
async fn bug_h7_silent_crowds_do_not_shut_others_out() {
    let server = serve(BOUNDS).await;
    let mut crowd = Vec::new();
    for _ in 0..99 {
        crowd.push(TcpStream::connect(server.address).await.unwrap());
    }
    is_healthy(&server).await;
    crowd.push(TcpStream::connect(server.address).await.unwrap());
    crowd.push(TcpStream::connect(server.address).await.unwrap());
    // All places are taken; the next one waits until the silent ones have been hung up on.
    is_healthy(&server).await;
}

#[tokio::test]
async fn a_cycle_over_one_kept_connection() {
    let server = serve(BOUNDS).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    for n in 0..3 {
        let body = format!("{{\"to\":\"{}{n}\"}}", &TO[..12]);
        let request = format!(
            "POST /v1/verifications HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            server.key,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let read = stream.read(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 201"), "{}", String::from_utf8_lossy(&answer[..read]));
    }
}
