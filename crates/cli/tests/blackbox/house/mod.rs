//! A house of its own for every test: the real binary in a fresh directory on a port that the kernel chose, and a gateway that it
//! sends to. It is ended by its process id when it is dropped.

use std::io::{BufRead as _, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use serde_json::Value;

pub mod account;
pub mod browser;
pub mod http;
pub mod jwt;
pub mod peer;
pub mod plan;
pub mod sink;

pub use http::{Door, Reply};
pub use plan::Plan;
pub use sink::{Act, Sink};

/// Nothing that is waited for takes longer.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// The secret that a house and its gateway share.
pub const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A directory that goes with its owner.
pub struct Dir(pub PathBuf);

static DIRS: AtomicU32 = AtomicU32::new(0);

impl Dir {
    pub fn new() -> Self {
        let name = format!("countersign-blackbox-{}-{}", std::process::id(), DIRS.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        // A browser that was just ended may still be writing.
        for _ in 0..40 {
            match std::fs::remove_dir_all(&self.0) {
                Ok(()) => break,
                Err(_) => std::thread::sleep(Duration::from_millis(25)),
            }
        }
    }
}

/// A running server. What it wrote so far can be read at any time.
pub struct House {
    pub dir: Arc<Dir>,
    pub door: Door,
    pub announced: Value,
    plan: Plan,
    child: Option<Child>,
    out: Arc<Mutex<Vec<u8>>>,
    err: Arc<Mutex<Vec<u8>>>,
}

impl House {
    /// Starts one in a directory of its own.
    pub async fn start(plan: Plan) -> Self {
        Self::start_in(plan, Arc::new(Dir::new()), None).await
    }

    /// Starts one with its own gateway.
    pub async fn with_sink(plan: Plan) -> (Self, Sink) {
        let sink = Sink::start().await;
        let house = Self::start(plan.provider("gateway", &sink)).await;
        (house, sink)
    }

    /// Starts one in a directory that others may use too; `key` is the API key made there before.
    pub async fn start_in(plan: Plan, dir: Arc<Dir>, key: Option<&str>) -> Self {
        let (out, err) = (Arc::<Mutex<Vec<u8>>>::default(), Arc::<Mutex<Vec<u8>>>::default());
        let (plan2, dir2, out2, err2) = (plan.clone(), Arc::clone(&dir), Arc::clone(&out), Arc::clone(&err));
        let started = tokio::task::spawn_blocking(move || spawn(&plan2, &dir2.0, out2, err2)).await.unwrap();
        let (child, announced) = started.unwrap_or_else(|why| panic!("the server did not start: {why}"));
        let address = announced["address"].as_str().unwrap().trim_start_matches("http://");
        let addr: SocketAddr = address.parse().unwrap();
        let key = announced["api_key"].as_str().or(key).expect("an API key").to_owned();
        Self { dir, door: Door::new(addr, &key), announced, plan, child: Some(child), out, err }
    }

    /// A second process on the same store, with the same keys.
    pub async fn neighbour(&self) -> Self {
        Self::start_in(self.plan.clone(), Arc::clone(&self.dir), Some(self.door.key())).await
    }

    /// Ends it at once, as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Ends it and starts it again in its directory.
    pub async fn restart(&mut self) {
        self.kill();
        let record = Arc::clone(&self.door.record);
        let (out, err) = (self.wrote_out(), self.wrote_err());
        *self = Self::start_in(self.plan.clone(), Arc::clone(&self.dir), Some(self.door.key())).await;
        self.door.record = record;
        self.out.lock().unwrap().splice(0..0, out);
        self.err.lock().unwrap().splice(0..0, err);
    }

    /// Changes its configuration: what holds from the next start on.
    pub fn replan(&mut self, change: impl FnOnce(Plan) -> Plan) {
        self.plan = change(self.plan.clone());
    }

    pub fn wrote_out(&self) -> Vec<u8> {
        self.out.lock().unwrap().clone()
    }

    pub fn wrote_err(&self) -> Vec<u8> {
        self.err.lock().unwrap().clone()
    }

    /// Runs another command of the binary in this directory, with this configuration.
    pub async fn cli(&self, args: &str) -> Output {
        let mut command = binary(&self.plan, &self.dir.0);
        command.args(args.split_whitespace());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// A key of another application of the configuration.
    pub async fn key_of(&self, application: &str) -> String {
        let made = self.cli(&format!("key create {application} --json")).await;
        let made: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|_| panic!("{made:?}"));
        made["key"].as_str().unwrap().to_owned()
    }

    /// Every file that the server keeps.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(&self.dir.0).unwrap() {
            let path = entry.unwrap().path();
            files.push((path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()));
        }
        files
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let text = self.wrote_err();
            let text = String::from_utf8_lossy(&text);
            let last: Vec<_> = text.lines().rev().take(15).collect();
            eprintln!("the server's last words:\n{}", last.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
    }
}

/// The binary with nothing of our environment.
pub fn binary(plan: &Plan, dir: &Path) -> Command {
    std::fs::write(dir.join("c.toml"), plan.toml()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.current_dir(dir).env_clear().env("COUNTERSIGN_CONFIG", "c.toml");
    for (name, value) in &plan.variables {
        command.env(name, value);
    }
    command
}

type Bytes = Arc<Mutex<Vec<u8>>>;

fn spawn(plan: &Plan, dir: &Path, out: Bytes, err: Bytes) -> Result<(Child, Value), String> {
    let mut command = binary(plan, dir);
    command.args(["serve", "--json"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let (told, first) = mpsc::channel();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = reader.read_line(&mut line);
        out.lock().unwrap().extend(line.as_bytes());
        let _ = told.send(line);
        drain(reader, &out);
    });
    let errors = child.stderr.take().unwrap();
    let kept = Arc::clone(&err);
    std::thread::spawn(move || drain(errors, &kept));
    let line = first.recv_timeout(PATIENCE).unwrap_or_default();
    match serde_json::from_str(&line) {
        Ok(announced) => Ok((child, announced)),
        Err(_) => {
            let _ = child.kill();
            let status = child.wait();
            Err(format!("{status:?}: {line}{}", String::from_utf8_lossy(&err.lock().unwrap())))
        }
    }
}

fn drain(mut from: impl Read, into: &Mutex<Vec<u8>>) {
    let mut piece = [0; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        into.lock().unwrap().extend_from_slice(&piece[..length]);
    }
}

/// Starts a server that must refuse to start; its exit code and everything that it said.
pub async fn refused(plan: Plan) -> (i32, String) {
    let dir = Dir::new();
    let mut command = binary(&plan, &dir.0);
    command.arg("serve").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        while child.try_wait().unwrap().is_none() {
            if begun.elapsed() > Duration::from_secs(10) {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = child.wait_with_output().unwrap();
        drop(dir);
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned())
    })
    .await
    .unwrap()
}

/// Waits until something holds, for a bounded time.
pub async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A phone number for every number.
pub fn phone(number: u32) -> String {
    format!("+25569{:07}", number % 10_000_000)
}

/// A code that is not this one, different for every `n`.
pub fn wrong(code: &str, n: usize) -> String {
    let modulus = 10_u64.pow(u32::try_from(code.len()).unwrap());
    let value = (code.parse::<u64>().unwrap() + 1 + n as u64 % (modulus - 1)) % modulus;
    format!("{value:0width$}", width = code.len())
}
