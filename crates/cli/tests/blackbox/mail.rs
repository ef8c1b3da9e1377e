//! Email as a destination, from the door to a mail server that somebody else wrote (aiosmtpd), and back as a checked code.
//!
//! `scripts/test` names a Python that has it (`COUNTERSIGN_PEERS_PYTHON`). Without one the test says that it did not run; in CI it fails.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::house::plan::open;
use crate::house::sink::code_in;
use crate::house::{House, until};

const SERVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../providers/tests/peers/mail.py");

struct MailServer {
    child: Child,
    _stdin: ChildStdin,
    said: Arc<Mutex<Vec<Value>>>,
}

impl MailServer {
    fn start(python: &str) -> Self {
        let mut command = Command::new(python);
        let mut child = command.arg(SERVER).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
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

    async fn port(&self) -> u64 {
        until("the mail server listens", async || !self.said.lock().unwrap().is_empty()).await;
        self.said.lock().unwrap()[0]["ready"].as_u64().unwrap()
    }

    /// The text of the only email to that address.
    async fn mail_to(&self, to: &str) -> String {
        let find = || self.said.lock().unwrap().iter().find(|said| said["to"] == to).cloned();
        until("the email is there", async || find().is_some()).await;
        find().unwrap()["message"].as_str().unwrap().to_owned()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The code of the text part, whatever its words are.
fn code_of(mail: &str) -> String {
    let part = mail.split("text/plain").nth(1).and_then(|rest| rest.split("\r\n\r\n").nth(1));
    code_in(part.unwrap_or_else(|| panic!("no text in {mail}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_email_address_is_verified_from_end_to_end() {
    let Some(python) = std::env::var("COUNTERSIGN_PEERS_PYTHON").ok().filter(|path| !path.is_empty()) else {
        eprintln!("NOT RUN: email from end to end, since COUNTERSIGN_PEERS_PYTHON names no interpreter");
        assert!(std::env::var_os("CI").is_none(), "in CI it must run");
        return;
    };
    let server = MailServer::start(&python);
    let port = server.port().await;
    let rows = format!(
        "[[providers]]\nname = \"mail\"\nuses = \"smtp\"\nhost = \"127.0.0.1\"\nport = {port}\ntls = \"none\"\n\
         from = \"codes@example.com\"\nfrom_name = \"Acme\"\n\
         [[applications]]\nname = \"default\"\ndisplay_name = \"Acme & Co\"\n\
         [templates.default.sw]\nsms = \"Your Acme & Co code is {{{{ code }}}}, {{{{ minutes }}}}\"\nsubject = \"Msimbo wako wa {{{{ application }}}}\""
    );
    let house = House::start(open().and(&rows)).await;

    // The native API.
    let to = "Asha.M@Example.com";
    let reply = house.door.post_with("/v1/verifications", &[("Prefer", "wait=8")], json!({"to": to})).await;
    let sent = reply.ok(201);
    assert_eq!((&sent["channel"], &sent["deliveries"][0]["provider"]), (&json!("email"), &json!("mail")), "{sent}");
    assert_eq!(sent["deliveries"][0]["status"], "accepted", "{sent}");
    let mail = server.mail_to("asha.m@example.com").await;
    assert!(mail.contains("Subject: Your Acme & Co code\r\n"), "{mail}");
    assert!(mail.contains("<strong>Acme &amp; Co</strong>"), "bug G9: {mail}");
    let checked = house.door.check(sent["id"].as_str().unwrap(), &code_of(&mail)).await.ok(200);
    assert_eq!(checked["result"], "approved", "{checked}");

    // The subject follows the language.
    house.door.send_as(json!({"to": "juma@example.com", "locale": "sw"})).await;
    let mail = server.mail_to("juma@example.com").await;
    assert!(mail.contains("Subject: Msimbo wako wa Acme & Co\r\n"), "{mail}");

    // The command line.
    let ran = house.cli("send someone@example.com --json").await;
    let sent: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!((&sent["channel"], &sent["deliveries"][0]["status"]), (&json!("email"), &json!("accepted")), "{sent}");
    let code = code_of(&server.mail_to("someone@example.com").await);
    let ran = house.cli(&format!("check someone@example.com {code} --json")).await;
    let checked: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!(checked["result"], "approved", "{checked}");

    // An address that the mail server does not know is told as what it is.
    let reply =
        house.door.post_with("/v1/verifications", &[("Prefer", "wait=8")], json!({"to": "nobody@example.com"})).await;
    let problem = reply.problem(502, "delivery_failed");
    let shown = house.door.show(problem["verification_id"].as_str().unwrap()).await;
    assert_eq!(shown["deliveries"][0]["error"], "there is no such address (550 5.1.1)", "{shown}");

    // Neither the log nor any file holds a code or a whole address.
    let log = String::from_utf8_lossy(&house.wrote_err()).into_owned();
    for hidden in ["asha.m@", "someone@", &code] {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }
}
