//! A PostgreSQL server for tests: the one that `COUNTERSIGN_TEST_POSTGRES` names, else one of our own, started with `initdb` and
//! `pg_ctl` from PATH or /usr/lib/postgresql, in a directory that goes with it, on a port that the kernel chose.
#![allow(
    dead_code,
    clippy::disallowed_methods,
    reason = "each test that includes this uses another part; it waits for real servers"
)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Names a server by its URL, with the right to create schemas.
pub const VARIABLE: &str = "COUNTERSIGN_TEST_POSTGRES";
const PASSWORD: &str = "a-test's %40 password";
const ENCODED: &str = "a-test%27s%20%2540%20password";

/// Where the tests of this process find a server. Without one they fail: a test that did not run must not look like one that did.
pub fn url() -> String {
    static SERVER: OnceLock<(Option<Server>, String)> = OnceLock::new();
    let (_, url) = SERVER.get_or_init(|| match std::env::var(VARIABLE) {
        Ok(url) => (None, url),
        Err(_) => {
            let server = Server::start(&[]).unwrap_or_else(|why| {
                panic!("the tests of the PostgreSQL store did NOT run: {why}; set {VARIABLE}=postgresql://…, or install postgresql")
            });
            let url = server.url();
            (Some(server), url)
        }
    });
    url.clone()
}

/// A schema's name that nobody else has.
pub fn new_schema() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros();
    format!("test_{now:x}_{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A server of our own. It ends, and its directory goes, with this value or with the process, however that ends.
pub struct Server {
    pub dir: PathBuf,
    pub port: u16,
    bin: PathBuf,
    keeper: Child,
    /// The keeper reads it: once it is closed, the server is stopped.
    line: Option<ChildStdin>,
}

/// What becomes of a server's folder.
#[derive(Clone, Copy)]
enum Afterwards {
    Removed,
    Kept,
}

impl Server {
    /// Starts one, with settings (`name=value`).
    pub fn start(settings: &[&str]) -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("countersign-pg-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&dir);
        let bin = Self::make(&dir, settings)?;
        Self::on(dir, bin, Afterwards::Removed)
    }

    /// Starts the one in a folder, which stays afterwards; made first if there is none.
    pub fn kept(dir: &Path, settings: &[&str]) -> Result<Self, String> {
        let bin = if dir.join("data/settings.conf").exists() {
            binaries().ok_or("there is no initdb")?
        } else {
            Self::make(dir, settings)?
        };
        Self::on(dir.to_owned(), bin, Afterwards::Kept)
    }

    /// Makes its folder; where its programs are.
    fn make(dir: &Path, settings: &[&str]) -> Result<PathBuf, String> {
        let bin = binaries().ok_or("neither initdb in PATH nor /usr/lib/postgresql/*/bin is there")?;
        std::fs::create_dir_all(dir).map_err(|error| error.to_string())?;
        std::fs::write(dir.join("password"), PASSWORD).map_err(|error| error.to_string())?;
        if is_root() {
            run(Command::new("chown").args(["-R", "postgres"]).arg(dir))?;
        }
        let data = dir.join("data");
        let initdb = bin.join("initdb");
        run(as_postgres(&initdb)
            .args(["--no-sync", "-U", "postgres", "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8"])
            .arg(format!("--pwfile={}", dir.join("password").display()))
            .arg("-D")
            .arg(&data))?;
        let text = settings.iter().fold("log_min_messages = warning\n".to_owned(), |all, one| all + one + "\n");
        std::fs::write(data.join("settings.conf"), text).map_err(|error| error.to_string())?;
        let main = data.join("postgresql.conf");
        let mut all = std::fs::read_to_string(&main).map_err(|error| error.to_string())?;
        all += "\ninclude 'settings.conf'\ninclude 'countersign.conf'\n";
        std::fs::write(&main, all).map_err(|error| error.to_string())?;
        Ok(bin)
    }

    /// A replica that follows this one, until it is promoted.
    pub fn replica(&self) -> Result<Self, String> {
        let dir = self.dir.with_extension("replica");
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&dir))?;
        }
        run(self
            .program("pg_basebackup")
            .args(["-R", "-X", "stream", "-c", "fast", "-U", "postgres", "-p", &self.port.to_string(), "-h"])
            .arg(&self.dir)
            .arg("-D")
            .arg(dir.join("data")))?;
        Self::on(dir, self.bin.clone(), Afterwards::Removed)
    }

    /// Starts the server whose data is there, on a free port. Two who look for one at once may find the same.
    fn on(dir: PathBuf, bin: PathBuf, afterwards: Afterwards) -> Result<Self, String> {
        let data = dir.join("data");
        let mut why = String::new();
        for _ in 0..5 {
            let port =
                TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).map_err(|e| e.to_string())?.port();
            let conf = data.join("countersign.conf");
            let text = format!(
                "port = {port}\nlisten_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 300\n",
                dir.display()
            );
            std::fs::write(&conf, text).map_err(|error| error.to_string())?;
            if is_root() {
                run(Command::new("chown").arg("postgres").arg(&conf).arg(data.join("settings.conf")))?;
            }
            let (keeper, line) = keeper(&bin, &dir, afterwards)?;
            let mut server = Self { dir: dir.clone(), port, bin: bin.clone(), keeper, line: Some(line) };
            match server.control(&["-w", "-l", &dir.join("log").display().to_string(), "start"]) {
                Ok(_) => return Ok(server),
                Err(error) => why = error,
            }
            // Without its directory it would not find the next port.
            server.line.take();
            std::mem::forget(server);
        }
        Err(format!("no server could be started: {why}"))
    }

    pub fn url(&self) -> String {
        self.url_at(self.port)
    }

    /// The same server behind another port.
    pub fn url_at(&self, port: u16) -> String {
        format!("postgresql://postgres:{ENCODED}@127.0.0.1:{port}/postgres?sslmode=disable")
    }

    /// The same server through its socket.
    pub fn socket_url(&self) -> String {
        let folder = self.dir.display().to_string().replace('/', "%2F");
        format!("postgresql://postgres@{folder}:{}/postgres?sslmode=disable", self.port)
    }

    /// This one, or the other one if this takes no writes.
    pub fn url_with(&self, other: &Self) -> String {
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", self.port, other.port);
        format!("postgresql://postgres:{ENCODED}@{hosts}/postgres?sslmode=disable")
    }

    pub fn password(&self) -> &'static str {
        PASSWORD
    }

    /// Ends it at once, as a crash does.
    pub fn crash(&self) {
        self.control(&["-m", "immediate", "-w", "stop"]).unwrap();
    }

    /// Ends it in order; it waits for nobody.
    pub fn stop(&self) {
        self.control(&["-m", "fast", "-w", "stop"]).unwrap();
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.control(&["-w", "-l", &self.dir.join("log").display().to_string(), "start"]).unwrap();
    }

    pub fn control(&self, arguments: &[&str]) -> Result<Output, String> {
        run(as_postgres(&self.bin.join("pg_ctl")).arg("-s").arg("-D").arg(self.dir.join("data")).args(arguments))
    }

    /// What a statement gives, by psql: one line for each row.
    pub fn psql(&self, sql: &str) -> String {
        let output = run(as_postgres(&self.bin.join("psql"))
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-U", "postgres", "-d", "postgres", "-h"])
            .arg(&self.dir)
            .args(["-p", &self.port.to_string(), "-c", sql]));
        String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
    }

    /// One of the server's other programs.
    pub fn program(&self, name: &str) -> Command {
        as_postgres(&self.bin.join(name))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.line.take();
        let _ = self.keeper.wait();
    }
}

/// Waits until its standard input is closed, stops the server by its pid file and removes the directory.
fn keeper(bin: &Path, dir: &Path, afterwards: Afterwards) -> Result<(Child, ChildStdin), String> {
    let script = match afterwards {
        Afterwards::Removed => {
            "cat >/dev/null; \"$1\"/pg_ctl -s -D \"$2\"/data -m immediate -w stop >/dev/null 2>&1; rm -rf \"$2\""
        }
        Afterwards::Kept => "cat >/dev/null; \"$1\"/pg_ctl -s -D \"$2\"/data -m fast -w stop >/dev/null 2>&1",
    };
    let mut child = as_postgres(Path::new("sh"))
        .args(["-c", script, "keeper"])
        .arg(bin)
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let line = child.stdin.take().ok_or("no pipe")?;
    Ok((child, line))
}

/// The newest server that is installed.
pub fn binaries() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed: Vec<_> = installed.map(|version| version.path().join("bin")).collect();
    installed.sort();
    folders.extend(installed.into_iter().rev());
    // A link in PATH leads to where the others are.
    let real = folders.into_iter().filter_map(|folder| std::fs::canonicalize(folder.join("initdb")).ok());
    real.filter_map(|initdb| Some(initdb.parent()?.to_owned())).find(|folder| folder.join("pg_ctl").exists())
}

/// The server refuses to run as root.
pub fn as_postgres(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--init-groups"]).arg(program).current_dir("/tmp");
    command
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn run(command: &mut Command) -> Result<Output, String> {
    // A server that is started inherits no pipe of ours, or it would never be closed.
    let is_start = command.get_args().any(|argument| argument == "start");
    let started = Instant::now();
    let output = if is_start {
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.map(|status| Output { status, stdout: Vec::new(), stderr: Vec::new() })
    } else {
        command.stdin(Stdio::null()).output()
    };
    let output = output.map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    Err(format!("{command:?} failed after {:?}: {}", started.elapsed(), String::from_utf8_lossy(&output.stderr)))
}

/// Waits for something that comes soon.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
