//! The accept loop: HTTP/1.1 over TCP, with a bound on everything that a client can take.
//!
//! - A connection's first request, and each one after it, has `headers_within` to begin and have its headers whole; a silent
//!   socket, half a header and a slow drip are all cut then. The same bound therefore ends an idle keep-alive connection: a proxy
//!   in front should keep its own idle time below it.
//! - Bodies have their own bounds ([`super::body`]), answers too ([`super::around`]).
//! - At most `connections` are open; more wait in the kernel's queue until one closes.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service as _;

use super::client_address::Peer;
use crate::metrics::Metrics;
use crate::settings::Bounds;

/// A head (request line and headers) that is longer is 431. So is one of more than 100 headers: that is hyper's own bound, and to
/// set it would make room for so many at every request. Bodies are read in pieces of at most this size.
const LONGEST_HEAD: usize = 32 * 1024;

/// Serves connections until `closing`, then finishes what was begun, for at most `shutdown_within`.
pub async fn serve(
    router: Router,
    listener: TcpListener,
    bounds: Bounds,
    metrics: Arc<Metrics>,
    closing: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(bounds.headers_within).max_buf_size(LONGEST_HEAD);
    let cut = CancellationToken::new();
    let (open, tracker) =
        (Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS))), TaskTracker::new());
    let begin = |stream: TcpStream, permit| {
        let (http, router, closing, cut) = (http.clone(), router.clone(), closing.clone(), cut.clone());
        let counted = metrics.begin_connection();
        tracker.spawn(async move {
            connection(&http, router, stream, &closing, &cut).await;
            drop((permit, counted));
        });
    };
    loop {
        let Ok(permit) = Arc::clone(&open).acquire_owned().await else { break };
        let accepted = tokio::select! {
            biased;
            () = closing.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => begin(stream, permit),
            Err(error) => pause_after(&error).await,
        }
    }
    // Whoever was in the kernel's queue when the word came is told so, and not reset.
    while let Ok(permit) = Arc::clone(&open).try_acquire_owned() {
        match tokio::time::timeout(Duration::ZERO, listener.accept()).await {
            Ok(Ok((stream, _))) => begin(stream, permit),
            _ => break,
        }
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(bounds.shutdown_within, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "cutting the connections that are still busy");
        cut.cancel();
        tracker.wait().await;
    }
}

async fn connection(
    http: &http1::Builder,
    router: Router,
    stream: TcpStream,
    closing: &CancellationToken,
    cut: &CancellationToken,
) {
    let Ok(peer) = stream.peer_addr() else { return };
    // Answers are small and whole: waiting to fill a segment only delays them.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer.ip()));
        router.clone().call(request.map(Body::new))
    });
    let mut served = pin!(http.serve_connection(TokioIo::new(stream), service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = closing.cancelled() => {
            served.as_mut().graceful_shutdown();
            tokio::select! {
                ended = served.as_mut() => ended,
                () = cut.cancelled() => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended badly");
    }
}

/// A connection that was gone before it was taken is its own trouble; without file descriptors the loop must not spin.
async fn pause_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted) {
        tracing::error!(%error, "no connection can be taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
