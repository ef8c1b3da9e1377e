//! A TCP proxy that cuts: connections in the middle of an answer, or everything, or nothing but silence.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "each test that includes this uses another part; it waits for real servers"
)]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// In front of a server. It ends with the process.
pub struct Proxy {
    pub port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// After so many more bytes in either direction the connection that carries them is cut; 0: never.
    cut_after: AtomicU64,
    /// How many were cut.
    cuts: AtomicU64,
    /// Nothing passes, and nothing is closed.
    silent: AtomicBool,
    /// Nobody is let in.
    closed: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = Arc::<State>::default();
        let proxy = Self { port: listener.local_addr().unwrap().port(), state: Arc::clone(&state) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if state.closed.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                for stream in [&client, &server] {
                    let _ = stream.set_nodelay(true);
                    state.open.lock().unwrap().push(stream.try_clone().unwrap());
                }
                pass(&state, client.try_clone().unwrap(), server.try_clone().unwrap());
                pass(&state, server, client);
            }
        });
        proxy
    }

    /// Cuts the connection that carries the byte after so many more.
    pub fn cut_after(&self, bytes: u64) {
        self.state.cut_after.store(bytes, Ordering::SeqCst);
    }

    pub fn cuts(&self) -> u64 {
        self.state.cuts.load(Ordering::SeqCst)
    }

    /// Cuts everything that is open.
    pub fn cut_all(&self) {
        for stream in self.state.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// As if the network swallowed every packet.
    pub fn silent(&self, silent: bool) {
        self.state.silent.store(silent, Ordering::SeqCst);
    }

    /// As if nobody listened.
    pub fn closed(&self, closed: bool) {
        self.state.closed.store(closed, Ordering::SeqCst);
        if closed {
            self.cut_all();
        }
    }
}

fn pass(state: &Arc<State>, mut from: TcpStream, mut to: TcpStream) {
    let state = Arc::clone(state);
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            while state.silent.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            // Both directions count, but one byte is the last one.
            let counted = state.cut_after.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
                0 => None,
                left if left < count as u64 => Some(0),
                left => Some((left - count as u64).max(1)),
            });
            if let Ok(left) = counted
                && left < count as u64
            {
                // The last bytes do arrive, the next one does not.
                let _ = to.write_all(&buffer[..left as usize]);
                state.cuts.fetch_add(1, Ordering::SeqCst);
                break;
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
