//! A server that somebody else wrote, run by a script beside the providers' tests, and what it says of itself: a JSON object a line.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::until;

/// It ends with the test.
pub struct Peer {
    child: Child,
    /// Open for as long as it is to live.
    _stdin: ChildStdin,
    said: Arc<Mutex<Vec<Value>>>,
}

impl Peer {
    /// The interpreter that `scripts/test` names. Without one the test says that it did not run; in CI it fails.
    pub fn interpreter(variable: &str, what: &str) -> Option<String> {
        let named = std::env::var(variable).ok().filter(|path| !path.is_empty());
        if named.is_none() {
            eprintln!("NOT RUN: {what}, since {variable} names no interpreter");
            assert!(std::env::var_os("CI").is_none(), "in CI it must run");
        }
        named
    }

    /// Runs `script` of `crates/providers/tests/peers`.
    pub fn start(interpreter: &str, script: &str) -> Self {
        let script = format!("{}/../providers/tests/peers/{script}", env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(interpreter);
        let mut child = command.arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let said = Arc::<Mutex<Vec<Value>>>::default();
        let (kept, lines) = (Arc::clone(&said), BufReader::new(child.stdout.take().unwrap()).lines());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                kept.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        let stdin = child.stdin.take().unwrap();
        Self { child, _stdin: stdin, said }
    }

    /// The port that it says it listens on.
    pub async fn port(&self) -> u64 {
        self.wait_for(1, "ready").await[0]["ready"].as_u64().unwrap()
    }

    /// At least so many lines that have a key, in order.
    pub async fn wait_for(&self, least: usize, key: &str) -> Vec<Value> {
        let find =
            || self.said.lock().unwrap().iter().filter(|said| said.get(key).is_some()).cloned().collect::<Vec<_>>();
        until(&format!("it says {least} {key}"), async || find().len() >= least).await;
        find()
    }

    /// The lines of which something holds, in order.
    pub fn all(&self, holds: impl Fn(&Value) -> bool) -> Vec<Value> {
        self.said.lock().unwrap().iter().filter(|said| holds(said)).cloned().collect()
    }

    /// The first line of which something holds.
    pub async fn wait_where(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let find = || self.said.lock().unwrap().iter().find(|said| holds(said)).cloned();
        until(what, async || find().is_some()).await;
        find().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
