//! The contract, for those who run it: health, metrics, the document, the inbox, a graceful end.

use serde_json::json;

use crate::house::plan::{Plan, open};
use crate::house::sink::code_in;
use crate::house::{Act, House, phone, refused, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_metrics_and_the_document_answer() {
    let (house, sink) = House::with_sink(open()).await;
    house.door.send(&phone(1)).await;
    let code = sink.code_of(&phone(1)).await;
    house.door.check_to(&phone(1), &code).await.result();
    for path in ["/healthz", "/readyz"] {
        house.door.ask("GET", path, &[], b"").await.ok(200);
    }
    let counted = async || {
        let metrics = house.door.ask("GET", "/metrics", &[], b"").await;
        assert!(metrics.header("content-type").unwrap().contains("text"));
        let text = metrics.text();
        ["countersign_sends_total", "countersign_checks_total", "countersign_deliveries_total"]
            .iter()
            .all(|name| text.contains(name))
    };
    until("everything is counted", counted).await;
    let document = house.door.ask("GET", "/openapi.json", &[], b"").await.ok(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{}", document["openapi"]);
    let paths = document["paths"].as_object().unwrap();
    for (path, methods) in [
        ("/v1/verifications", vec!["post", "get"]),
        ("/v1/verifications/{id}", vec!["get"]),
        ("/v1/verifications/{id}/check", vec!["post"]),
        ("/v1/verifications/{id}/resend", vec!["post"]),
        ("/v1/verifications/{id}/cancel", vec!["post"]),
        ("/v1/verifications/check", vec!["post"]),
        ("/v1/receipts/{provider}", vec!["post", "get"]),
        ("/.well-known/jwks.json", vec!["get"]),
        ("/healthz", vec!["get"]),
        ("/readyz", vec!["get"]),
        ("/metrics", vec!["get"]),
        ("/api/users/send-otp/", vec!["post"]),
        ("/api/users/verify-otp/", vec!["post"]),
        ("/api/users/resend-otp/", vec!["post"]),
    ] {
        for method in methods {
            assert!(paths.get(path).is_some_and(|item| item.get(method).is_some()), "{method} {path}");
        }
    }
    assert_eq!(house.door.ask("GET", "/docs", &[], b"").await.status, 200);
    // What a client says is its request's id comes back, unless it could do harm in a log.
    for (given, kept) in [("abc-1", true), ("a b", false), ("\"x\"", false)] {
        let reply = house.door.ask("GET", "/healthz", &[("X-Request-Id", given)], b"").await;
        assert_eq!(reply.header("x-request-id") == Some(given), kept);
    }
    let head = crate::house::http::request("HEAD", "/healthz", &[], b"");
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(house.door.addr).await.unwrap();
    stream.write_all(&head).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_provider_messages_are_in_the_inbox() {
    let house = House::start(open()).await;
    assert_eq!(house.announced["inbox"], json!(format!("{}/inbox", house.announced["address"].as_str().unwrap())));
    for n in 1..=3 {
        house.door.send(&phone(n)).await;
    }
    house.door.send_as(json!({"to": "jane@example.com"})).await;
    let inbox = async || house.door.ask("GET", "/inbox.json", &[], b"").await.ok(200);
    until("four messages are there", async || inbox().await["messages"].as_array().unwrap().len() == 4).await;
    let page = inbox().await;
    for message in page["messages"].as_array().unwrap() {
        for member in ["id", "to", "channel", "text", "at"] {
            assert!(message[member].is_string(), "{member}: {message}");
        }
        let to = message["to"].as_str().unwrap();
        let code = code_in(message["text"].as_str().unwrap());
        assert_eq!(house.door.check_to(to, &code).await.result(), "approved", "{message}");
    }
    assert_eq!(
        (&page["messages"][0]["to"], &page["messages"][0]["channel"]),
        (&json!("jane@example.com"), &json!("email"))
    );
    let reply = house.door.ask("GET", "/inbox", &[], b"").await;
    assert!(reply.status == 200 && reply.header("content-type").unwrap().starts_with("text/html"));
    let policy = reply.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert_eq!(house.door.ask("GET", "/", &[], b"").await.header("location"), Some("/inbox"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_in_the_configuration_are_named_with_their_line() {
    for (plan, named) in [
        (open().policy("code_lenght = 6"), "policy.code_lenght"),
        (open().policy("code_length = 6\nttl = \"5x\""), "policy.ttl"),
        (open().policy("ttl = \"29s\""), "policy.ttl"),
        (open().policy("max_checks = 0"), "policy.max_checks"),
        (open().and("[nonsense]\nx = 1"), "nonsense"),
        (open().and("[[routes]]\nchannel = \"sms\"\nproviders = [\"nobody\"]"), "nobody"),
        (open().and("[[providers]]\nname = \"x\"\nuses = \"pigeon\""), "pigeon"),
        (open().and("[templates.default.en]\nsms = \"no code in it\""), "templates"),
        (open().and("[guard]\nmode = \"on\""), "guard.mode"),
        (open().and_policy("allowed_countries = [\"TZ\", \"XX\"]"), "no phone number is of \"XX\""),
        (open().and("[store]\nurl = \"postgres://u:hunter2@h/db?sslmode=no\""), "store.url"),
        (open().server("listen = \"nowhere\""), "server.listen"),
        (open().variable("COUNTERSIGN_POLICY__CODE_LENGTH", "3"), "COUNTERSIGN_POLICY__CODE_LENGTH"),
    ] {
        let (code, said) = refused(plan).await;
        assert_eq!(code, 2, "{named}: {said}");
        assert!(said.contains(named) && !said.contains("hunter2"), "{named}: {said}");
        assert!(said.contains("c.toml:") || said.contains("COUNTERSIGN_"), "{said}");
    }
    // The environment stands above the file, and secrets may be in files of their own.
    let sink = crate::house::Sink::start().await;
    let dir = crate::house::Dir::new();
    let secret = dir.0.join("secret");
    std::fs::write(&secret, format!("{}\n", crate::house::WHSEC)).unwrap();
    let row = format!(
        "[[providers]]\nname = \"g\"\nuses = \"webhook\"\nurl = \"{}\"\nsecret_file = \"{}\"",
        sink.url(),
        secret.display()
    );
    let house = House::start(open().and(&row).variable("COUNTERSIGN_POLICY__CODE_LENGTH", "9")).await;
    assert_eq!(house.door.send(&phone(1)).await["code_length"], 9);
    assert!(sink.wait(&phone(1), 1).await[0].signed);
}

/// The end that an init system asks for: what was begun is finished, the rest is told so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_end_finishes_what_was_begun() {
    let (mut house, sink) = House::with_sink(Plan::defaults()).await;
    sink.habit(Act::Slow(std::time::Duration::from_millis(700), 200, "{}".into()));
    let door = house.door.clone();
    let waiting = tokio::spawn(async move {
        let body = json!({"to": phone(1)});
        door.post_with("/v1/verifications", &[("Prefer", "wait=5")], body).await
    });
    sink.wait(&phone(1), 1).await;
    let ended = std::process::Command::new("kill").args(["-TERM", &house.pid().to_string()]).status().unwrap();
    assert!(ended.success());
    assert_eq!(waiting.await.unwrap().ok(201)["deliveries"][0]["status"], "accepted");
    house.restart().await;
    let code = sink.code_of(&phone(1)).await;
    assert_eq!(house.door.check_to(&phone(1), &code).await.result(), "approved");
    assert_eq!(sink.to(&phone(1)).len(), 1);
}
