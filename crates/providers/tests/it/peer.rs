//! Servers that somebody else wrote, each a process of its own that ends with its owner.
//!
//! `scripts/test` installs them and names the interpreters. Without them a test says that it did not run; in CI it fails.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);

/// The Python that has the packages of `tests/peers/requirements.txt`.
pub fn python(what: &str) -> Option<String> {
    interpreter("COUNTERSIGN_PEERS_PYTHON", what)
}

/// The Node that finds the packages of `tests/peers/package.json`.
pub fn node(what: &str) -> Option<String> {
    interpreter("COUNTERSIGN_PEERS_NODE", what)
}

#[expect(clippy::print_stderr, reason = "what did not run is said")]
fn interpreter(variable: &str, what: &str) -> Option<String> {
    let path = std::env::var(variable).ok().filter(|path| !path.is_empty());
    if path.is_none() {
        eprintln!("NOT RUN: {what}, since {variable} names no interpreter; scripts/test installs what is needed");
        assert!(std::env::var_os("CI").is_none(), "{what} did not run, and in CI it must");
    }
    path
}

pub fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

/// A running server, and every line of JSON that it wrote.
pub struct Peer {
    child: Child,
    _stdin: ChildStdin,
    said: Arc<(Mutex<Vec<Value>>, Condvar)>,
    pub port: u16,
}

impl Peer {
    pub fn start(interpreter: &str, script: &str, arguments: &[String]) -> Self {
        let mut command = Command::new(interpreter);
        command.arg(file(script)).args(arguments);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said: Arc<(Mutex<Vec<Value>>, Condvar)> = Arc::default();
        let (kept, lines) = (Arc::clone(&said), BufReader::new(child.stdout.take().unwrap()).lines());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or(Value::String(line));
                kept.0.lock().unwrap().push(value);
                kept.1.notify_all();
            }
        });
        let stdin = child.stdin.take().unwrap();
        let mut peer = Self { child, _stdin: stdin, said, port: 0 };
        let ready = peer.wait_for(1, "ready").pop().unwrap();
        peer.port = u16::try_from(ready["ready"].as_u64().unwrap()).unwrap();
        peer
    }

    /// Everything said so far that has this key.
    pub fn all(&self, key: &str) -> Vec<Value> {
        self.said.0.lock().unwrap().iter().filter(|value| value.get(key).is_some()).cloned().collect()
    }

    /// The same, as soon as there are so many.
    pub fn wait_for(&self, least: usize, key: &str) -> Vec<Value> {
        let begun = Instant::now();
        let mut said = self.said.0.lock().unwrap();
        loop {
            let found: Vec<_> = said.iter().filter(|value| value.get(key).is_some()).cloned().collect();
            if found.len() >= least {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "fewer than {least} `{key}`: {said:?}");
            said = self.said.1.wait_timeout(said, Duration::from_millis(100)).unwrap().0;
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
