//! A directory of its own for each test, and the real binary in it.
#![allow(clippy::unwrap_used, clippy::panic, dead_code, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

pub struct Place {
    pub directory: PathBuf,
    variables: BTreeMap<String, String>,
}

pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new(name: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("countersign-cli-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        Self { directory, variables: BTreeMap::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }

    pub fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command.args(args.split_whitespace()).current_dir(&self.directory).env_clear().envs(&self.variables);
        command
    }

    pub fn run(&self, args: &str) -> Ran {
        let output = self.command(args).output().unwrap();
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs with `--json`: exactly one object, on one line.
    pub fn json(&self, args: &str) -> (i32, Value, Ran) {
        let ran = self.run(&format!("{args} --json"));
        let value: Value =
            serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{args}: {error}: {}\n{}", ran.out, ran.err));
        assert!(value.is_object(), "{args}: {value}");
        assert_eq!(ran.out.lines().count(), 1, "{args}: {}", ran.out);
        (ran.code, value, ran)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Ran {
    /// The code in the message that the inbox caught.
    pub fn code_in_message(&self) -> String {
        self.err
            .split(|c: char| !c.is_ascii_digit())
            .find(|word| word.len() == 6)
            .unwrap_or_else(|| panic!("no code in {}", self.err))
            .to_owned()
    }
}

/// A service that runs until it is dropped.
pub struct Service {
    pub child: Child,
    pub announced: String,
    // Kept open: a service that cannot write must not be what is tested here.
    _out: BufReader<ChildStdout>,
}

impl Service {
    pub fn start(place: &Place) -> Self {
        Self::start_as(place, "serve")
    }

    pub fn start_as(place: &Place, command: &str) -> Self {
        let mut child = place.command(command).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut announced = String::new();
        while !announced.contains("Ctrl-C") {
            assert!(out.read_line(&mut announced).unwrap() > 0, "it ended: {announced}");
        }
        Self { child, announced, _out: out }
    }

    /// The word of the announcement that begins so.
    pub fn word(&self, beginning: &str) -> String {
        let word =
            self.announced.split(|c: char| c.is_whitespace() || c == '\'').find(|word| word.starts_with(beginning));
        word.unwrap_or_else(|| panic!("no {beginning} in {}", self.announced)).to_owned()
    }

    pub fn address(&self) -> String {
        self.word("http://").trim_start_matches("http://").to_owned()
    }

    /// One request; status and JSON body.
    pub fn ask(&self, method: &str, path: &str, key: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.address()).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}",
            self.address()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split_whitespace().nth(1).unwrap().parse().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
        (status, serde_json::from_str(body).unwrap_or(Value::Null))
    }

    /// Ends it as an init system does.
    pub fn terminate(mut self) -> i32 {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
