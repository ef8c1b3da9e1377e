//! The inbox page in a real browser. Without one (`COUNTERSIGN_CHROMIUM` names it) the test says that it did not run.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::house::plan::open;
use crate::house::sink::code_in;
use crate::house::{Dir, House, phone, until};

/// Runs the browser to its end; what it wrote to standard output and to standard error.
fn browse(chromium: &str, profile: &Path, more: &[&str], url: &str) -> (String, String) {
    let mut command = Command::new(chromium);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check"]);
    command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"]);
    command.args(["--disable-dev-shm-usage", "--enable-logging=stderr", "--remote-debugging-port=0", "--hide-scrollbars"]);
    command.arg(format!("--user-data-dir={}", profile.display())).args(more).arg(url);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let read = |mut from: Box<dyn std::io::Read + Send>| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let out = read(Box::new(child.stdout.take().unwrap()));
    let err = read(Box::new(child.stderr.take().unwrap()));
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(40) {
            let _ = child.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    (out.join().unwrap(), err.join().unwrap())
}

/// What follows an attribute of the page's text, up to the quote.
fn attributes<'a>(page: &'a str, name: &str) -> Vec<&'a str> {
    let before = format!(" {name}=\"");
    page.split(&before).skip(1).filter_map(|rest| rest.split('"').next()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inbox_page_shows_each_code_on_its_phone() {
    let Some(chromium) = std::env::var("COUNTERSIGN_CHROMIUM").ok().filter(|path| !path.is_empty()) else {
        eprintln!("NOT RUN: the inbox page in Chromium, since COUNTERSIGN_CHROMIUM names no browser");
        return;
    };
    // A name that would do harm if it were taken for markup, and one letter that makes a message dearer.
    let name = "<img src=x onerror=document.title='owned'> & Söhne ş";
    let house = House::start(open().and(&format!("[[applications]]\nname = \"default\"\ndisplay_name = \"{name}\""))).await;
    for n in 1..=3 {
        house.door.send(&phone(n)).await;
    }
    house.door.send_as(json!({"to": "jane@example.com"})).await;
    house.door.send_as(json!({"to": phone(3), "purpose": "payment"})).await;
    let inbox = async || house.door.get("/inbox.json").await.ok(200)["messages"].as_array().unwrap().clone();
    until("the messages are there", async || inbox().await.len() == 5).await;
    let (messages, url) = (inbox().await, house.announced["inbox"].as_str().unwrap().to_owned());
    let dir = Dir::new();
    let profile = dir.0.join("profile");
    let picture = dir.0.join("inbox.png");
    let shot = format!("--screenshot={}", picture.display());
    let pages = tokio::task::spawn_blocking(move || {
        let dumped = browse(&chromium, &profile, &["--dump-dom", "--virtual-time-budget=4000"], &url);
        let shown = browse(&chromium, &profile, &[&shot, "--window-size=1200,900", "--virtual-time-budget=4000"], &url);
        (dumped, shown)
    });
    let ((page, said), (_, said_too)) = pages.await.unwrap();
    let phones = attributes(&page, "data-to");
    let codes: Vec<_> = page
        .split("data-testid=\"code\"")
        .skip(1)
        .filter_map(|rest| rest.split('>').nth(1)?.split('<').next())
        .filter(|code| !code.is_empty())
        .collect();
    for message in &messages {
        let (to, code) = (message["to"].as_str().unwrap(), code_in(message["text"].as_str().unwrap()));
        assert!(phones.contains(&to), "{to} has no phone: {phones:?}\n{said}");
        assert!(codes.contains(&code.as_str()), "a code is missing: {codes:?}");
    }
    assert_eq!(attributes(&page, "data-testid").iter().filter(|id| **id == "phone").count(), 4);
    assert_eq!(codes.len(), 5);
    // One letter outside GSM-7 and 70 characters: two segments, and the page says so.
    let expected = messages.iter().filter(|message| message["channel"] == "sms").map(|message| message["segments"].to_string());
    let (mut shown, mut expected): (Vec<_>, Vec<_>) =
        (attributes(&page, "data-segments").into_iter().map(str::to_owned).collect(), expected.collect());
    shown.sort();
    expected.sort();
    assert_eq!(shown, expected);
    assert!(page.contains("<title>Countersign inbox") || !page.contains("<title>owned"), "markup in a text was obeyed");
    assert!(page.contains("&lt;img src=x"), "the text is shown as text");
    for said in [said, said_too] {
        let csp = said.lines().find(|line| line.contains("Content Security Policy") || line.contains("CONSOLE") && line.contains("Refused"));
        assert_eq!(csp, None, "the page breaks its own policy");
        let error = said.lines().find(|line| line.contains("CONSOLE") && line.contains("Uncaught"));
        assert_eq!(error, None, "an error in the page's script");
    }
    let mut bytes = Vec::new();
    std::fs::File::open(&picture).expect("a picture was taken").read_to_end(&mut bytes).unwrap();
    assert!(bytes.starts_with(b"\x89PNG") && bytes.len() > 10_000, "{} bytes", bytes.len());
}
