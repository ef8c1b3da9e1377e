//! A wire between a sender and a server that does what wires do.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    Pass,
    /// What the server says is lost.
    LoseAnswers,
    /// Both ways; connections stay open.
    Swallow,
    /// What the server says comes in as many pieces as it has octets.
    OctetByOctet,
}

pub struct Proxy {
    pub port: u16,
    wire: watch::Sender<Wire>,
    cuts: Arc<watch::Sender<u32>>,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (wire, seen) = watch::channel(Wire::Pass);
        let cuts = Arc::new(watch::channel(0).0);
        let cutter = Arc::clone(&cuts);
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let far = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
                near.set_nodelay(true).unwrap();
                let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
                let mut cut = cutter.subscribe();
                cut.mark_unchanged();
                let (there, back) = (seen.clone(), seen.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(from_near, to_far, there, false) => {}
                        () = carry(from_far, to_near, back, true) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self { port, wire, cuts }
    }

    pub fn set(&self, wire: Wire) {
        self.wire.send_replace(wire);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, wire: watch::Receiver<Wire>, back: bool) {
    let mut piece = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        let wire = *wire.borrow();
        let lost = wire == Wire::Swallow || wire == Wire::LoseAnswers && back;
        if lost {
            continue;
        }
        let size = if wire == Wire::OctetByOctet && back { 1 } else { length };
        for part in piece[..length].chunks(size) {
            if to.write_all(part).await.is_err() {
                return;
            }
            if size == 1 {
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
        }
    }
}
