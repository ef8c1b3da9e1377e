//! SMS over SMPP, from the door to an SMSC that somebody else wrote (node-smpp), and its report back to the delivery.
//!
//! `scripts/test` names a Node that has it (`COUNTERSIGN_PEERS_NODE`). Without one the test says that it did not run; in CI it fails.

use std::process::Command;

use serde_json::json;

use crate::house::House;
use crate::house::peer::Peer;
use crate::house::plan::open;
use crate::house::sink::code_in;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_number_is_verified_over_smpp_and_its_report_comes_back() {
    let Some(node) = Peer::interpreter("COUNTERSIGN_PEERS_NODE", "SMPP from end to end") else { return };
    let smsc = Peer::start(&node, "smsc.js");
    let port = smsc.port().await;
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
