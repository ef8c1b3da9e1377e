//! Shutting down finishes what was begun.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::core::channel::Channel;
use countersign::core::outcome::{Message, Outcome};
use countersign::core::policy::Application;
use countersign::sender::BoxFuture;
use countersign::{Broken, Sender, Verifier};
use countersign_providers::Inbox;
use countersign_server::metrics::Metrics;
use countersign_server::service::Service;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::support::{TO, name, new_key, settings, signer};

struct Slow {
    asked: Arc<Notify>,
    go: Arc<Notify>,
}

impl Sender for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    fn channels(&self) -> &[Channel] {
        &Channel::ALL
    }

    fn send<'a>(&'a self, _: &'a Message) -> BoxFuture<'a, Outcome> {
        Box::pin(async move {
            self.asked.notify_one();
            self.go.notified().await;
            Outcome::Accepted { message_id: None }
        })
    }
}

struct Running {
    address: std::net::SocketAddr,
    key: String,
    asked: Arc<Notify>,
    go: Arc<Notify>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<Result<(), Broken>>,
}

async fn run(shutdown_within: Duration) -> Running {
    let (asked, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let slow = Slow { asked: Arc::clone(&asked), go: Arc::clone(&go) };
    let mut application = Application::new(name("default"), "slow");
    application.limits.clear();
    let verifier = Verifier::builder().sender(Arc::new(slow)).application(application).build().unwrap();
    let key = new_key(&verifier, "default").await;
    let mut settings = settings();
    settings.bounds.shutdown_within = shutdown_within;
    let clock = verifier.clone();
    let inbox = Inbox::new(Arc::new(move || clock.now()));
    let service = Service::new(verifier, settings, signer(), Metrics::new()).inbox(inbox);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(service.serve(listener, async {
        let _ = stopped.await;
    }));
    Running { address, key, asked, go, stop, served }
}

impl Running {
    async fn begin(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    fn send(&self) -> String {
        let body = format!("{{\"to\":\"{TO}\"}}");
        format!(
            "POST /v1/verifications HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nprefer: wait=30\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key,
            body.len()
        )
    }
}

async fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut bytes)).await.expect("never closed");
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test]
async fn what_was_begun_is_finished_and_what_comes_is_turned_away() {
    let running = run(Duration::from_secs(5)).await;
    let waiting = running.begin(&running.send()).await;
    running.asked.notified().await;
    let mut events = running.begin("GET /inbox/events HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut head = [0; 16];
    events.read_exact(&mut head).await.unwrap();
    // Half a request, so that its connection is open but not idle.
    let mut late = running.begin("GET /v1/verifications HTTP/1.1\r\nhost: x\r\n").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let Running { stop, served, go, address, .. } = running;
    stop.send(()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    late.write_all(b"\r\n").await.unwrap();
    let late = rest(late).await;
    assert!(late.is_empty() || late.starts_with("HTTP/1.1 503") && late.contains("shutting_down"), "{late}");
    rest(events).await;
    assert!(!served.is_finished(), "somebody still waits for the provider");
    go.notify_one();
    let answer = rest(waiting).await;
    assert!(answer.starts_with("HTTP/1.1 201") && answer.contains("\"accepted\""), "{answer}");
    tokio::time::timeout(Duration::from_secs(2), served).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn who_takes_too_long_is_cut() {
    let running = run(Duration::from_millis(300)).await;
    let waiting = running.begin(&running.send()).await;
    running.asked.notified().await;
    let started = Instant::now();
    let Running { stop, served, .. } = running;
    stop.send(()).unwrap();
    assert_eq!(rest(waiting).await, "");
    tokio::time::timeout(Duration::from_secs(3), served).await.unwrap().unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn who_is_idle_does_not_hold_it_up() {
    let running = run(Duration::from_secs(10)).await;
    let mut idle = running.begin("GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let mut head = [0; 12];
    idle.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
    let silent = running.begin("").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(2), running.served).await.unwrap().unwrap().unwrap();
    rest(silent).await;
}
