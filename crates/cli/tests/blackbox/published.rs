//! The Twilio door against the description of the API that Twilio publishes: `tests/foreign/twilio.py` makes every call of it. The
//! description is read where `scripts/test` put it, out of a package of Twilio's, and is not kept here.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::house::House;
use crate::house::plan::open;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_as_twilio_published_it() {
    let Some(folder) = std::env::var_os("COUNTERSIGN_FOREIGN").map(PathBuf::from) else {
        eprintln!("NOT RUN: answers as Twilio published them: set COUNTERSIGN_FOREIGN, as scripts/test does");
        return;
    };
    let plan = open().and_policy("allow_custom_code = true");
    let template = "[templates.default.en]\nsms = \"Your {{ application }} code is {{ code }}.\"";
    let house = House::start(plan.and(template)).await;
    let made = house.cli("key create default --json").await;
    let key: Value = serde_json::from_slice(&made.stdout).unwrap();
    let mut python = Command::new(folder.join("venv/bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/twilio.py"));
    python.arg(folder.join("twilio_verify_v2.json")).env("COUNTERSIGN_URL", format!("http://{}", house.door.addr));
    for name in ["account_sid", "auth_token"] {
        python.env(name.to_uppercase(), key[name].as_str().unwrap());
    }
    let output = tokio::task::spawn_blocking(move || python.output().unwrap()).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out == "ok 53 calls\n", "{out}\n{err}");
}
