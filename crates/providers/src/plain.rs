//! HTTP/1.1 without TLS to one host: a gateway, a relay or an application's own back end on the same machine or a private network.
//!
//! Every message that goes out passes here, so it does what a request needs and no more: no redirect, no retry policy, no cookie,
//! no proxy, and one bound of time over the whole.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use reqwest::header::{ACCEPT, HOST, HeaderMap, HeaderValue, USER_AGENT};
use reqwest::{Method, Url};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use url::{Host, Position};

use crate::answer::Body;
use crate::http::{IDLE, LONGEST_ANSWER, MOST_IDLE, NAME};

/// A client for one host. Its connections are kept while they are used.
pub(crate) struct Plain {
    host: String,
    port: u16,
    connect_within: Duration,
    timeout: Duration,
    pool: Arc<Mutex<Pool>>,
}

struct Connection {
    requests: SendRequest<Full<Bytes>>,
    /// The same connection again, to look whether the other side has closed it.
    socket: std::net::TcpStream,
}

/// The connections that nobody uses now, in the order in which they were used last.
#[derive(Default)]
struct Pool {
    idle: Vec<Idle>,
    /// Whether somebody will close what is not used for a while.
    is_swept: bool,
}

struct Idle {
    connection: Connection,
    since: Instant,
}

/// Why no answer came, and so what can have become of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// There was no connection that it could have gone over; why, in words for people.
    NotSent(&'static str),
    /// It went out.
    Late,
    /// It went out, or part of it.
    Broken,
}

/// An answer, its body as far as it came.
pub(crate) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Body,
}

impl Plain {
    /// For the host of an address.
    pub(crate) fn new(address: &Url, connect_within: Duration, timeout: Duration) -> Self {
        let host = match address.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        };
        let port = address.port_or_known_default().unwrap_or(80);
        Self { host, port, connect_within, timeout, pool: Arc::default() }
    }

    /// Adds what every request to an address says.
    pub(crate) fn introduce(address: &Url, headers: &mut HeaderMap) {
        // The authority of an address is visible ASCII.
        if let Ok(host) = HeaderValue::from_str(&address[Position::BeforeHost..Position::AfterPort]) {
            headers.entry(HOST).or_insert(host);
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(NAME));
        headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    }

    /// Sends one request, once, and waits for its answer.
    pub(crate) async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: HeaderMap,
        body: Vec<u8>,
    ) -> Result<Answer, NoAnswer> {
        let end = Instant::now() + self.timeout;
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = method.clone();
        *request.uri_mut() = Uri::try_from(&url[Position::BeforePath..Position::AfterQuery])
            .map_err(|_| NoAnswer::NotSent("its address cannot be asked for"))?;
        *request.headers_mut() = headers;
        let (response, connection) = timeout_at(end, self.ask(request)).await.map_err(|_| NoAnswer::Late)??;
        let (head, body) = response.into_parts();
        let body = timeout_at(end, read(body)).await.unwrap_or(Body::Cut);
        if matches!(body, Body::Whole(_)) {
            self.put_back(connection);
        }
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }

    async fn ask(&self, mut request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Connection), NoAnswer> {
        while let Some(mut connection) = self.take() {
            if connection.is_over() || connection.requests.ready().await.is_err() {
                continue;
            }
            match connection.requests.try_send_request(request).await {
                Ok(response) => return Ok((response, connection)),
                Err(mut error) => match error.take_message() {
                    // The other side had closed it, and nothing of the request went out.
                    Some(unsent) => request = unsent,
                    None => return Err(NoAnswer::Broken),
                },
            }
        }
        let mut connection = self.connect().await?;
        let response = connection.requests.send_request(request).await.map_err(|_| NoAnswer::Broken)?;
        Ok((response, connection))
    }

    /// The connection that was used last: the least likely to be closed by now.
    fn take(&self) -> Option<Connection> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let last = pool.idle.pop()?;
        if last.since.elapsed() < IDLE {
            return Some(last.connection);
        }
        // And so are all that were used before it.
        pool.idle.clear();
        None
    }

    fn put_back(&self, connection: Connection) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if connection.is_over() || pool.idle.len() >= MOST_IDLE {
            return;
        }
        pool.idle.push(Idle { connection, since: Instant::now() });
        if !std::mem::replace(&mut pool.is_swept, true) {
            tokio::spawn(sweep(Arc::clone(&self.pool)));
        }
    }

    async fn connect(&self) -> Result<Connection, NoAnswer> {
        let connecting = async {
            let found = lookup_host((self.host.as_str(), self.port)).await;
            let mut problem = NoAnswer::NotSent("its name was not found");
            for address in found.map_err(|_| problem)? {
                match TcpStream::connect(address).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                        problem = NoAnswer::NotSent("it was refused");
                    }
                    Err(_) => problem = NoAnswer::NotSent("it failed"),
                }
            }
            Err(problem)
        };
        let stream = tokio::time::timeout(self.connect_within, connecting)
            .await
            .map_err(|_| NoAnswer::NotSent("it did not answer in time"))??;
        let _ = stream.set_nodelay(true);
        let (stream, socket) = twice(stream).map_err(|_| NoAnswer::NotSent("it failed"))?;
        let (requests, driver) =
            Builder::new().handshake(TokioIo::new(stream)).await.map_err(|_| NoAnswer::NotSent("it failed"))?;
        tokio::spawn(async move {
            // What breaks it is told to whoever waits for an answer.
            let _ = driver.await;
        });
        Ok(Connection { requests, socket })
    }
}

impl Connection {
    /// Whether the other side has closed it, or says something that nobody asked for. hyper finds that out as well, but only when its
    /// task runs next: a request that went out before would be one of which nobody knows what became, and wait for a receipt.
    fn is_over(&self) -> bool {
        let silent = self.socket.peek(&mut [0]).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        !silent || self.requests.is_closed()
    }
}

/// A connection, and the same one again.
fn twice(stream: TcpStream) -> io::Result<(TcpStream, std::net::TcpStream)> {
    let socket = stream.into_std()?;
    let again = socket.try_clone()?;
    Ok((TcpStream::from_std(socket)?, again))
}

/// Closes what was not used for a while, until nothing is left.
async fn sweep(pool: Arc<Mutex<Pool>>) {
    loop {
        tokio::time::sleep(IDLE).await;
        let mut pool = pool.lock().unwrap_or_else(PoisonError::into_inner);
        let old = pool.idle.partition_point(|one| one.since.elapsed() >= IDLE);
        pool.idle.drain(..old);
        if pool.idle.is_empty() {
            pool.is_swept = false;
            return;
        }
    }
}

async fn read(mut body: Incoming) -> Body {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Body::Cut };
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > LONGEST_ANSWER {
            return Body::TooLong;
        }
        whole.extend_from_slice(&data);
    }
    Body::Whole(whole)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nx-from: there\r\ncontent-length: 2\r\n\r\nok";

    /// Answers every request on every connection; with `hangs_up`, closes after each without saying so.
    async fn gateway(hangs_up: bool) -> (Plain, Url, Arc<[AtomicUsize; 3]>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/a/b?c=d", listener.local_addr().unwrap())).unwrap();
        let counts: Arc<[AtomicUsize; 3]> = Arc::default();
        let counting = Arc::clone(&counts);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let [connections, requests, closed] = &*counting;
                connections.fetch_add(1, Ordering::SeqCst);
                let mut buffer = [0; 2048];
                while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                    assert!(buffer.starts_with(b"POST /a/b?c=d HTTP/1.1\r\n"));
                    requests.fetch_add(1, Ordering::SeqCst);
                    stream.write_all(ANSWER).await.unwrap();
                    if hangs_up {
                        break;
                    }
                }
                drop(stream);
                closed.fetch_add(1, Ordering::SeqCst);
            }
        });
        (Plain::new(&url, Duration::from_secs(5), Duration::from_secs(10)), url, counts)
    }

    async fn post(plain: &Plain, url: &Url) -> Result<Answer, NoAnswer> {
        let mut headers = HeaderMap::new();
        Plain::introduce(url, &mut headers);
        plain.send(&Method::POST, url, headers, b"{}".to_vec()).await
    }

    fn seen(counts: &[AtomicUsize; 3]) -> [usize; 3] {
        counts.each_ref().map(|count| count.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_connection_serves_one_request_after_another() {
        let (plain, url, counts) = gateway(false).await;
        for _ in 0..5 {
            let answer = post(&plain, &url).await.ok().unwrap();
            assert!(answer.status == 200 && answer.headers["x-from"] == "there");
            assert!(matches!(answer.body, Body::Whole(body) if body == b"ok"));
        }
        assert_eq!(seen(&counts), [1, 5, 0]);
    }

    #[tokio::test]
    async fn a_connection_that_the_other_side_has_closed_costs_no_message() {
        let (plain, url, counts) = gateway(true).await;
        for _ in 0..20 {
            assert_eq!(post(&plain, &url).await.ok().unwrap().status, 200);
            // Until it is closed: nobody needs to have noticed.
            while seen(&counts)[2] < seen(&counts)[0] {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(seen(&counts), [20, 20, 20]);
    }

    #[tokio::test]
    async fn a_connection_that_nobody_uses_is_closed() {
        let (plain, url, counts) = gateway(false).await;
        assert!(post(&plain, &url).await.is_ok());
        tokio::time::pause();
        tokio::time::sleep(IDLE * 2).await;
        tokio::time::resume();
        while seen(&counts)[2] == 0 {
            tokio::task::yield_now().await;
        }
        assert!(plain.take().is_none());
        assert!(post(&plain, &url).await.is_ok());
        assert_eq!(seen(&counts)[..2], [2, 2]);
    }

    #[tokio::test]
    async fn hosts_are_names_and_addresses_of_both_kinds() {
        for (address, host, port) in [
            ("http://gateway.internal/x", "gateway.internal", 80),
            ("http://10.0.0.7:8080/", "10.0.0.7", 8080),
            ("http://[::1]:9000/", "::1", 9000),
        ] {
            let url = Url::parse(address).unwrap();
            let plain = Plain::new(&url, Duration::from_secs(1), Duration::from_secs(1));
            assert_eq!((plain.host.as_str(), plain.port), (host, port));
            let mut headers = HeaderMap::new();
            Plain::introduce(&url, &mut headers);
            assert_eq!(headers[HOST], address.trim_start_matches("http://").split('/').next().unwrap());
        }
    }
}
