//! SMS over SMPP, from the door to an SMSC that somebody else wrote (node-smpp), and its report back to the delivery.
//!
//! `scripts/test` names a Node that has it (`COUNTERSIGN_PEERS_NODE`). Without one the test says that it did not run; in CI it fails.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::house::plan::open;
use crate::house::sink::code_in;
use crate::house::{House, until};

const SMSC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../providers/tests/peers/smsc.js");

struct Smsc {
    child: Child,
    _stdin: ChildStdin,
    said: Arc<Mutex<Vec<Value>>>,
}

impl Smsc {
    fn start(node: &str) -> Self {
        let mut command = Command::new(node);
        let mut child = command.arg(SMSC).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
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

    async fn wait_for(&self, least: usize, key: &str) -> Vec<Value> {
        let find =
            || self.said.lock().unwrap().iter().filter(|said| said.get(key).is_some()).cloned().collect::<Vec<_>>();
        until(&format!("the SMSC says {least} {key}"), async || find().len() >= least).await;
        find()
    }
}

impl Drop for Smsc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_verified_over_smpp_and_its_report_comes_back() {
    let Some(node) = std::env::var("COUNTERSIGN_PEERS_NODE").ok().filter(|path| !path.is_empty()) else {
        eprintln!("NOT RUN: SMPP from end to end, since COUNTERSIGN_PEERS_NODE names no interpreter");
        assert!(std::env::var_os("CI").is_none(), "in CI it must run");
        return;
    };
    let smsc = Smsc::start(&node);
    let port = smsc.wait_for(1, "ready").await[0]["ready"].as_u64().unwrap();
    let rows = format!(
        "[[providers]]\nname = \"operator\"\nuses = \"smpp\"\nhost = \"127.0.0.1\"\nport = {port}\nsystem_id = \"codes\"\n\
         password = \"secret\"\nsource = \"MyApp\"\nsessions = 2\n\
         [[applications]]\nname = \"default\"\ndisplay_name = \"Acme\"\nweb_origin = \"acme.example\""
    );
    let house = House::start(open().and(&rows)).await;
    // Bound because the service serves, before there is any message; reading the configuration binds nothing.
    smsc.wait_for(2, "bound").await;
    let checked = house.cli("config check").await;
    assert!(checked.status.success(), "{checked:?}");

    let to = "+255694230005";
    let reply = house.door.post_with("/v1/verifications", &[("Prefer", "wait=8")], json!({"to": to})).await;
    let sent = reply.ok(201);
    assert_eq!(sent["deliveries"][0]["provider"], "operator", "{sent}");
    let text = smsc.wait_for(1, "submit").await[0]["text"].as_str().unwrap().to_owned();
    let code = code_in(&text);
    assert!(text.ends_with(&format!("\n@acme.example #{code}")), "{text}");
    // What the SMSC was told it may forget, the delivery knows.
    assert_eq!(smsc.wait_for(1, "answered").await[0]["answered"], 0);
    let id = sent["id"].as_str().unwrap();
    let shown = house.door.show(id).await;
    assert_eq!(shown["deliveries"][0]["status"], "delivered", "{shown}");
    assert_eq!(house.door.check(id, &code).await.ok(200)["result"], "approved");

    let metrics = house.door.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    for line in [
        "countersign_provider_sessions{provider=\"operator\"} 2",
        "countersign_provider_outstanding{provider=\"operator\"} 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let log = String::from_utf8_lossy(&house.wrote_err()).into_owned();
    for hidden in [code.as_str(), "694230005", "secret"] {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }

    // The end: sessions are unbound, not dropped.
    let ended = Command::new("kill").args(["-TERM", &house.pid().to_string()]).status().unwrap();
    assert!(ended.success());
    smsc.wait_for(2, "unbound").await;
}
