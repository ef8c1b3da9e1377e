//! Email as a destination, from the door to a mail server that somebody else wrote (aiosmtpd), and back as a checked code.
//!
//! `scripts/test` names a Python that has it (`COUNTERSIGN_PEERS_PYTHON`). Without one the test says that it did not run; in CI it fails.

use serde_json::{Value, json};

use crate::house::House;
use crate::house::peer::Peer;
use crate::house::plan::open;
use crate::house::sink::code_in;

/// The text of the only email to that address.
async fn mail_to(server: &Peer, to: &str) -> String {
    let mail = server.wait_where("the email is there", |said| said["to"] == to).await;
    mail["message"].as_str().unwrap().to_owned()
}

/// The code of the text part, whatever its words are.
fn code_of(mail: &str) -> String {
    let part = mail.split("text/plain").nth(1).and_then(|rest| rest.split("\r\n\r\n").nth(1));
    code_in(part.unwrap_or_else(|| panic!("no text in {mail}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_email_address_is_verified_from_end_to_end() {
    let Some(python) = Peer::interpreter("COUNTERSIGN_PEERS_PYTHON", "email from end to end") else { return };
    let server = Peer::start(&python, "mail.py");
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
    let mail = mail_to(&server, "asha.m@example.com").await;
    assert!(mail.contains("Subject: Your Acme & Co code\r\n"), "{mail}");
    assert!(mail.contains("<strong>Acme &amp; Co</strong>"), "bug G9: {mail}");
    let checked = house.door.check(sent["id"].as_str().unwrap(), &code_of(&mail)).await.ok(200);
    assert_eq!(checked["result"], "approved", "{checked}");

    // The subject follows the language.
    house.door.send_as(json!({"to": "juma@example.com", "locale": "sw"})).await;
    let mail = mail_to(&server, "juma@example.com").await;
    assert!(mail.contains("Subject: Msimbo wako wa Acme & Co\r\n"), "{mail}");

    // The command line.
    let ran = house.cli("send someone@example.com --json").await;
    let sent: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!((&sent["channel"], &sent["deliveries"][0]["status"]), (&json!("email"), &json!("accepted")), "{sent}");
    let code = code_of(&mail_to(&server, "someone@example.com").await);
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
