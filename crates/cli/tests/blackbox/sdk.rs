//! The official SDKs of Twilio, unmodified, against the real binary: the stories in `tests/sdk`. `scripts/test` installs them and
//! says where; without them the tests say that they did not run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::house::plan::limit;
use crate::house::{House, Plan};

fn stories() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// What `scripts/test` installed, or `None` and a line that says so.
fn installed(variable: &str, what: &str) -> Option<PathBuf> {
    let found = std::env::var(variable).ok().filter(|path| !path.is_empty()).map(PathBuf::from);
    if found.is_none() {
        eprintln!("NOT RUN: {what}, since {variable} says nothing; ./scripts/test installs it");
    }
    found
}

/// As the server comes, but for what the stories need: room for many sends, codes of one's own, one country.
async fn house() -> (House, Value) {
    let plan = Plan::defaults().policy("allow_custom_code = true\nallowed_countries = [\"TZ\"]");
    // The story has an endpoint of its own, on this machine.
    let plan = plan.and("[webhooks]\nallow_private_addresses = true");
    let house = House::start(plan.limits(&[limit("application", "sends", 1_000_000, "1h")])).await;
    let made = house.cli("key create default --json").await;
    let key = serde_json::from_slice(&made.stdout).unwrap();
    (house, key)
}

fn name(mut command: Command, house: &House, key: &Value) -> Command {
    command.env("COUNTERSIGN_URL", format!("http://{}", house.door.addr));
    for name in ["account_sid", "auth_token", "key_sid", "key_secret"] {
        command.env(name.to_uppercase(), key[name].as_str().unwrap());
    }
    command
}

async fn run(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[track_caller]
fn told(output: &Output) {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.ends_with("ok the end\n"), "{out}\n{err}");
}

#[tokio::test]
async fn the_python_sdk_tells_the_whole_story() {
    let Some(python) = installed("COUNTERSIGN_SDK_PYTHON", "the story of the Python SDK") else { return };
    let (house, key) = house().await;
    let mut command = name(Command::new(python), &house, &key);
    command.arg(stories().join("python/story.py"));
    told(&run(command).await);
}

#[tokio::test]
async fn the_node_sdk_tells_the_whole_story() {
    let Some(folder) = installed("COUNTERSIGN_SDK_NODE", "the story of the Node SDK") else { return };
    let (house, key) = house().await;
    // A module looks for its packages beside itself.
    std::fs::copy(stories().join("node/story.mjs"), folder.join("story.mjs")).unwrap();
    let mut command = name(Command::new("node"), &house, &key);
    command.arg(folder.join("story.mjs"));
    told(&run(command).await);
}

/// The app knows of Twilio alone. What its host is taken for is said around it, as a name server and a private authority would.
#[tokio::test]
async fn an_app_that_was_written_for_twilio_runs_unchanged() {
    let Some(python) = installed("COUNTERSIGN_SDK_PYTHON", "the app that was written for Twilio") else { return };
    let (house, key) = house().await;
    let mut command = name(Command::new(&python), &house, &key);
    command.arg(stories().join("python/zero_code.py")).current_dir(&house.dir.0);
    told(&run(command).await);
}
