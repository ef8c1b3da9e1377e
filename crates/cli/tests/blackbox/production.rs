//! F5 and F6: production refuses what only fits a trial.

use crate::house::plan::{Plan, open};
use crate::house::{House, Sink, phone, refused};

async fn live() -> (Plan, Sink) {
    let sink = Sink::start().await;
    (Plan::defaults().server("listen = \"127.0.0.1:0\"\nproduction = true").provider("gateway", &sink), sink)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f5_production_refuses_weak_set_ups() {
    let (plan, sink) = live().await;
    let open = |server: &str| Plan::defaults().server(&format!("production = true\n{server}")).provider("g", &sink);
    let no_provider = Plan::defaults().server("listen = \"127.0.0.1:0\"\nproduction = true");
    let weak = [
        ("the implicit inbox", no_provider.clone(), "provider"),
        ("the inbox", no_provider.clone().and("[[providers]]\nname = \"i\"\nuses = \"inbox\""), "inbox"),
        ("an inbox beside a gateway", plan.clone().and("[[providers]]\nname = \"i\"\nuses = \"inbox\""), "inbox"),
        ("the console", no_provider.and("[[providers]]\nname = \"c\"\nuses = \"console\""), "console"),
        ("the open world", open("listen = \"0.0.0.0:0\"\npublic_url = \"https://a.example\""), "server.listen"),
        ("the open world, IPv6", open("listen = \"[::]:0\"\npublic_url = \"https://a.example\""), "server.listen"),
        (
            "everybody a proxy",
            open("listen = \"0.0.0.0:0\"\npublic_url = \"https://a.example\"\ntrusted_proxies = [\"0.0.0.0/0\"]"),
            "trusted_proxies",
        ),
        ("plain HTTP outside", open("listen = \"127.0.0.1:0\"\npublic_url = \"http://a.example\""), "public_url"),
        (
            "a fixed code",
            plan.clone().and("[[test_destinations]]\nto = \"+15005550006\"\ncode = \"123456\""),
            "test_destinations",
        ),
    ];
    for (what, plan, named) in weak {
        let (code, said) = refused(plan).await;
        assert_eq!(code, 2, "{what}: {said}");
        assert!(said.contains(named) && said.contains("production"), "{what}: {said}");
        assert!(said.contains("c.toml:"), "the line is named: {said}");
    }
    // The same by the environment.
    let (code, _) =
        refused(Plan::defaults().server("listen = \"127.0.0.1:0\"").variable("COUNTERSIGN_SERVER__PRODUCTION", "true"))
            .await;
    assert_eq!(code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f5_production_refuses_weak_keys() {
    use std::os::unix::fs::PermissionsExt as _;
    let (plan, _sink) = live().await;
    let mut house = House::start(plan.clone()).await;
    house.kill();
    let ring = house.dir.0.join("countersign.keys");
    let whole = std::fs::read(&ring).unwrap();
    let start = async || {
        let mut command = crate::house::binary(&plan, &house.dir.0);
        tokio::task::spawn_blocking(move || {
            let mut child = command
                .arg("serve")
                .stdout(std::process::Stdio::null())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap();
            let begun = std::time::Instant::now();
            while child.try_wait().unwrap().is_none() && begun.elapsed().as_secs() < 5 {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        })
        .await
        .unwrap()
    };
    std::fs::set_permissions(&ring, std::fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = start().await;
    assert_eq!(code, Some(2), "a ring that everybody may read: {said}");
    std::fs::set_permissions(&ring, std::fs::Permissions::from_mode(0o600)).unwrap();
    for broken in [b"".to_vec(), b"secret".to_vec(), whole[..whole.len() / 2].to_vec()] {
        std::fs::write(&ring, &broken).unwrap();
        let (code, said) = start().await;
        assert!(matches!(code, Some(2 | 3)), "{code:?} {said}");
        assert!(!said.contains("panicked"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f6_production_has_no_back_door() {
    let (plan, sink) = live().await;
    let house = House::start(plan.policy("max_checks = 20").limits(&[])).await;
    for path in ["/inbox", "/inbox.json", "/inbox/events", "/inbox/inbox.js"] {
        assert_eq!(house.door.ask("GET", path, &[], b"").await.status, 404, "{path}");
    }
    assert!(house.announced["inbox"].is_null());
    let favourites =
        ["0000", "1234", "000000", "111111", "123456", "999999", "654321", "112233", "20261122", "221126", "112226"];
    let mut opened = 0;
    for n in 0..40 {
        let to = phone(n);
        // What the documents of others call test numbers has no fixed code here.
        let to = if n == 0 { "+15005550006".to_owned() } else { to };
        let id = house.door.begin(&to).await;
        let code = sink.code_of(&to).await;
        for favourite in favourites {
            let approved = house.door.check(&id, favourite).await.result() == "approved";
            assert!(!approved || favourite == code);
            opened += usize::from(approved);
        }
    }
    assert!(opened <= 1, "{opened}");
    let body = serde_json::json!({"to": phone(99), "custom_code": "123456"});
    assert_eq!(
        house.door.post("/v1/verifications", body).await.problem(400, "invalid_request")["param"],
        "custom_code"
    );
}

/// Test destinations have their codes outside production, and nobody else does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bug_f6_a_test_code_reaches_its_test_destination_alone() {
    let (house, sink) =
        House::with_sink(open().and("[[test_destinations]]\nto = \"+15005550006\"\ncode = \"123456\"")).await;
    house.door.send("+15005550006").await;
    assert_eq!(house.door.check_to("+15005550006", "123456").await.result(), "approved");
    for n in 0..20 {
        house.door.send(&phone(n)).await;
        if sink.code_of(&phone(n)).await != "123456" {
            assert_eq!(house.door.check_to(&phone(n), "123456").await.result(), "incorrect");
        }
    }
}
