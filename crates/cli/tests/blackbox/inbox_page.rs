//! The inbox page in a real browser. Without one (`COUNTERSIGN_CHROMIUM` names it) the test says that it did not run.

use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::house::browser::Browser;
use crate::house::plan::open;
use crate::house::sink::code_in;
use crate::house::{Dir, House, phone, until};

const DRAWN: &str = "[...document.querySelectorAll('[data-testid=\"phone\"]')].map(phone => ({\
    to: phone.dataset.to,\
    codes: [...phone.querySelectorAll('[data-testid=\"code\"]')].map(code => code.textContent),\
    segments: [...phone.querySelectorAll('[data-segments]')].map(part => Number(part.dataset.segments)),\
    text: phone.textContent}))";

async fn phones(browser: &mut Browser, messages: usize) -> Vec<Value> {
    let begun = Instant::now();
    loop {
        let drawn = browser.value(DRAWN).await;
        let phones = drawn.as_array().cloned().unwrap_or_default();
        let shown: usize = phones.iter().map(|phone| phone["codes"].as_array().unwrap().len()).sum();
        if shown >= messages {
            assert_eq!(shown, messages);
            return phones;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{messages} codes are not drawn: {drawn}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn check(messages: &[Value], phones: &[Value]) {
    for message in messages {
        let (to, code) = (&message["to"], code_in(message["text"].as_str().unwrap()));
        let phone = phones.iter().find(|phone| phone["to"] == *to).unwrap_or_else(|| panic!("{to} has no phone"));
        assert!(phone["codes"].as_array().unwrap().contains(&json!(code)), "{to} shows no {code}: {phone}");
        if !message["segments"].is_null() {
            assert!(phone["segments"].as_array().unwrap().contains(&message["segments"]), "{message} {phone}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_inbox_page_shows_each_code_on_its_phone() {
    let Some(chromium) = std::env::var("COUNTERSIGN_CHROMIUM").ok().filter(|path| !path.is_empty()) else {
        eprintln!("NOT RUN: the inbox page in Chromium, since COUNTERSIGN_CHROMIUM names no browser");
        return;
    };
    // A name that would do harm if it were taken for markup, with one letter that makes a message dearer.
    let name = "<img src=x onerror=document.title='owned'> & ş";
    let row = format!("[[applications]]\nname = \"default\"\ndisplay_name = \"{name}\"");
    let house = House::start(open().and(&row)).await;
    for n in 1..=3 {
        house.door.send(&phone(n)).await;
    }
    house.door.send_as(json!({"to": "jane@example.com"})).await;
    house.door.send_as(json!({"to": phone(3), "purpose": "payment"})).await;
    let inbox = async || house.door.get("/inbox.json").await.ok(200)["messages"].as_array().unwrap().clone();
    until("the messages are there", async || inbox().await.len() == 5).await;
    let dir = Dir::new();
    let mut browser = Browser::open(&chromium, &dir.0.join("profile")).await;
    browser.call("Page.navigate", json!({"url": house.announced["inbox"]})).await;
    let drawn = phones(&mut browser, 5).await;
    assert_eq!(drawn.len(), 4);
    check(&inbox().await, &drawn);
    // More than 70 characters with one outside GSM-7 are two segments, and the page says so.
    assert!(inbox().await.iter().any(|message| message["segments"] == 2));
    assert!(drawn.iter().any(|phone| phone["text"].as_str().unwrap().contains("<img src=x")), "a text is a text");
    // One that comes while the page is open is drawn without a reload.
    house.door.send(&phone(9)).await;
    let drawn = phones(&mut browser, 6).await;
    check(&inbox().await, &drawn);
    let title = browser.value("document.title").await;
    assert!(!title.as_str().unwrap().contains("owned"), "markup in a text was obeyed");
    let picture = browser.call("Page.captureScreenshot", json!({"format": "png"})).await;
    let picture = base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
    std::fs::write(dir.0.join("inbox.png"), &picture).unwrap();
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000, "{} bytes", picture.len());
    // A narrow window has nothing that must be scrolled to the side.
    let narrow = json!({"width": 320, "height": 640, "deviceScaleFactor": 1, "mobile": true});
    browser.call("Emulation.setDeviceMetricsOverride", narrow).await;
    let wide = browser.value("document.documentElement.scrollWidth").await;
    assert!(wide.as_u64().unwrap() <= 320, "{wide}");
    assert_eq!(browser.complaints, Vec::<Value>::new(), "the page, its console or its policy complained");
    let said = browser.said.lock().unwrap().clone();
    let policy = said.lines().find(|line| line.contains("Content Security Policy"));
    assert_eq!(policy, None);
}
