//! The command as it is typed: exit codes, JSON shapes, the first run.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail")]

mod common;

use std::io::Read as _;
use std::net::TcpListener;
use std::process::Stdio;

use common::{Place, Service};
use serde_json::Value;

const TO: &str = "+255694230173";

fn error_code(value: &Value) -> &str {
    value["error"]["code"].as_str().unwrap_or_else(|| panic!("no error in {value}"))
}

#[test]
fn a_code_is_sent_checked_once_and_cleaned_up() {
    let place = Place::new("walk");
    let (exit, sent, ran) = place.json(&format!("send {TO}"));
    assert_eq!((exit, sent["status"].as_str(), sent["to"].as_str()), (0, Some("pending"), Some(TO)));
    assert_eq!(sent["deliveries"][0]["status"], "accepted");
    let code = ran.code_in_message();
    assert!(!ran.out.contains(&code), "the code stands in the message alone");
    let id = sent["id"].as_str().unwrap().to_owned();

    let wrong = if code == "000000" { "111111" } else { "000000" };
    let (exit, checked, _) = place.json(&format!("check {TO} {wrong}"));
    assert_eq!((exit, checked["valid"].as_bool(), checked["result"].as_str()), (1, Some(false), Some("incorrect")));
    assert_eq!(checked["verification"]["checks_left"], 5, "a stranger's guess takes none of the owner's");
    let (exit, checked, _) = place.json(&format!("check {id} {wrong}"));
    assert_eq!((exit, checked["verification"]["checks_left"].as_u64()), (1, Some(4)));

    let (exit, checked, ran) = place.json(&format!("check {TO} {code}"));
    assert_eq!((exit, checked["valid"].as_bool(), checked["result"].as_str()), (0, Some(true), Some("approved")));
    assert_eq!(checked["token"].as_str().unwrap().split('.').count(), 3);
    assert!(!ran.out.contains(&format!("\"{code}\"")));
    let (exit, checked, _) = place.json(&format!("check {id} {code}"));
    assert_eq!((exit, checked["result"].as_str()), (1, Some("already_used")));

    let (exit, status, _) = place.json(&format!("status {TO}"));
    assert_eq!((exit, status["status"].as_str()), (0, Some("approved")));
    // It works for another five minutes' time, approved or not, so it is not over yet.
    for args in ["cleanup --older-than 0s --dry-run", "cleanup --older-than 0s"] {
        let (exit, cleaned, _) = place.json(args);
        assert_eq!((exit, cleaned["verifications"].as_u64()), (0, Some(0)), "{cleaned}");
        assert_eq!(cleaned["dry_run"], args.contains("dry-run"));
    }
    assert_eq!(place.run(&format!("status {id}")).code, 0);
}

#[test]
fn resend_sends_the_same_code_when_it_may() {
    let place = Place::new("resend").with("COUNTERSIGN_POLICY__RESEND_AFTER", "0s");
    let first = place.run(&format!("send {TO}"));
    let again = place.run(&format!("resend {TO}"));
    assert_eq!((first.code, again.code), (0, 0), "{}", again.err);
    assert_eq!(first.code_in_message(), again.code_in_message());
    assert_eq!(place.json(&format!("status {TO}")).1["sends"], 2);
    let (exit, nothing, _) = place.json("resend +255694230174");
    assert_eq!((exit, error_code(&nothing)), (1, "not_found"));
    let (exit, nothing, _) = place.json(&format!("resend {TO} --purpose registration"));
    assert_eq!((exit, error_code(&nothing)), (1, "not_found"));

    let slow = Place::new("resend-soon");
    slow.run(&format!("send {TO}"));
    let (exit, soon, _) = slow.json(&format!("resend {TO}"));
    assert_eq!((exit, error_code(&soon)), (1, "resend_too_soon"));
    assert!((1..=30).contains(&soon["error"]["retry_after"].as_u64().unwrap()));
}

/// What is typed, how it ends, and the code of the error.
#[test]
fn every_end_has_its_exit_code() {
    let place = Place::new("exits");
    place.write("bad.toml", "[policy]\ncode_lenght = 6\n");
    place.write("nowhere.toml", "[store]\nurl = \"sqlite:/nowhere/at/all/a.db\"\n");
    for (args, exit, code) in [
        ("frob", 2, "usage"),
        ("send", 2, "usage"),
        ("send +255694230173 --channel pigeon", 2, "usage"),
        ("send +255694230173 --app Shop!", 2, "usage"),
        ("send +255694230173 --app shop", 2, "unknown_application"),
        ("send +255694230173 --purpose no/purpose", 2, "invalid_request"),
        ("send +255694230173 --code-length 3", 2, "invalid_request"),
        ("send hello", 1, "invalid_destination"),
        ("send +255694230173 --channel email", 1, "invalid_destination"),
        ("check +255694230173 12", 2, "invalid_request"),
        ("check +255694230173 12a456", 2, "invalid_request"),
        ("check vf_0123456789abcdef0123456789abcdef 123456", 1, "not_found"),
        ("status +255694230173", 1, "not_found"),
        ("key create shop", 2, "unknown_application"),
        ("key revoke key_nothing", 1, "not_found"),
        ("provider show carrier-pigeon", 2, "unknown_provider"),
        ("provider test pigeon +255694230173", 2, "unknown_provider"),
        ("config explain policy.tll", 2, "unknown_key"),
        ("config check bad.toml", 2, "invalid_config"),
        ("config check missing.toml", 2, "invalid_config"),
        ("serve --config missing.toml", 2, "invalid_config"),
        ("status +255694230173 --config bad.toml", 2, "invalid_config"),
        ("status +255694230173 --config nowhere.toml", 3, "store_unavailable"),
        ("migrate --config nowhere.toml", 3, "store_unavailable"),
    ] {
        let (ended, error, _) = place.json(args);
        assert_eq!((ended, error_code(&error)), (exit, code), "{args}: {error}");
        assert!(!error["error"]["message"].as_str().unwrap().is_empty());
        let plain = place.run(args);
        assert_eq!((plain.code, plain.out.as_str()), (exit, ""), "{args}");
        assert!(plain.err.starts_with("error: "), "{args}: {}", plain.err);
    }
    let (exit, nothing, _) = place.json("check +255694230173 123456");
    assert_eq!((exit, nothing["result"].as_str()), (1, Some("not_found")));
    let problem = &place.json("config check bad.toml").1["error"]["problems"][0];
    assert_eq!((problem["line"].as_u64(), problem["file"].as_str()), (Some(2), Some("bad.toml")));
}

#[test]
fn a_provider_that_fails_ends_with_3() {
    let place = Place::new("failing");
    // Nothing listens there.
    let text =
        "[delivery]\nretries = 0\n[[providers]]\nname = \"gw\"\nuses = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n";
    place.write("countersign.toml", text);
    let (exit, error, _) = place.json(&format!("send {TO}"));
    assert_eq!((exit, error_code(&error)), (3, "delivery_failed"), "{error}");
    assert_eq!(error["error"]["verification"]["status"], "failed");
    let (exit, error, _) = place.json(&format!("provider test gw {TO}"));
    assert_eq!((exit, error_code(&error)), (3, "delivery_failed"), "{error}");
}

#[test]
fn keys_are_made_listed_and_revoked() {
    let place = Place::new("keys");
    let (exit, key, ran) = place.json("key create");
    assert_eq!(exit, 0);
    let is = |name: &str, prefix: &str, length: usize| {
        let text = key[name].as_str().unwrap_or_else(|| panic!("no {name} in {key}"));
        let secret = text.strip_prefix(prefix).unwrap_or_else(|| panic!("{name} is {text}"));
        assert_eq!(secret.len(), length, "{name}");
        assert!(secret.chars().all(|c| c.is_ascii_alphanumeric()), "{name} is {text}");
    };
    is("id", "key_", 16);
    is("key", "cs_", 64);
    is("account_sid", "AC", 32);
    is("auth_token", "", 32);
    is("key_sid", "SK", 32);
    is("key_secret", "", 32);
    assert_eq!(key.as_object().unwrap().len(), 6);
    assert!(ran.err.is_empty(), "{}", ran.err);
    let id = key["id"].as_str().unwrap();
    let (_, listed, ran) = place.json("key list default");
    assert_eq!((listed["keys"][0]["id"].as_str(), listed["keys"][0]["revoked_at"].as_str()), (Some(id), None));
    assert!(!ran.out.contains(key["key"].as_str().unwrap()));
    assert_eq!(place.json(&format!("key revoke {id}")).0, 0);
    assert!(place.json("key list").1["keys"][0]["revoked_at"].is_string());

    assert_eq!(place.json("app create shop").1["created"], true);
    assert_eq!(place.json("app create shop").1["created"], false);
    assert_eq!(place.json("key create shop").0, 0);
    assert_eq!(place.json("app list").1["applications"].as_array().unwrap().len(), 2);
    assert_eq!(place.run(&format!("send {TO} --app shop")).code, 0);
    assert_eq!(place.json(&format!("status {TO}")).0, 1, "another application's");
}

#[test]
fn the_key_ring_is_listed_and_rotated_without_showing_it() {
    let place = Place::new("ring");
    let (exit, error, _) = place.json("keys list");
    assert_eq!((exit, error_code(&error)), (2, "no_key_ring"));
    let sent = place.run(&format!("send {TO}"));
    let before = place.json("keys list").1["keys"].as_array().unwrap().len();
    let (exit, rotated, _) = place.json("keys rotate");
    assert_eq!((exit, rotated["keys"].as_array().unwrap().len()), (0, before * 2));
    let text = std::fs::read_to_string(place.directory.join("countersign.keys")).unwrap();
    for secret in text.split('"').filter(|word| word.len() == 44) {
        assert!(!rotated.to_string().contains(secret));
    }
    assert_eq!(place.run(&format!("check {TO} {}", sent.code_in_message())).code, 0, "older keys still check");
}

#[test]
fn the_configuration_explains_itself() {
    let place = Place::new("config");
    let default = place.run("config default");
    place.write("default.toml", &default.out);
    assert_eq!(place.run("config check default.toml").out, "OK: default.toml\n");
    let (_, ttl, _) = place.json("config explain policy.ttl");
    assert_eq!((ttl["default"].as_str(), ttl["variable"].as_str()), (Some("\"5m\""), Some("COUNTERSIGN_POLICY__TTL")));
    place.write("bad.toml", "[policy]\nttl = \"1s\"\ncode_lenght = 6\n");
    let bad = place.run("config check bad.toml");
    assert_eq!(
        bad.err,
        "error: bad.toml:2: policy.ttl: must be 30s to 24h, not \"1s\"\n\
         error: bad.toml:3: policy.code_lenght: no such key; did you mean `code_length`?\n"
    );
    let by_variable = Place::new("config-env").with("COUNTERSIGN_POLICY__TLL", "5m").run("config check");
    assert_eq!(by_variable.code, 2);
    assert!(by_variable.err.contains("did you mean COUNTERSIGN_POLICY__TTL?"), "{}", by_variable.err);
    let named = Place::new("config-named").with("COUNTERSIGN_CONFIG", "other.toml");
    named.write("other.toml", "[policy]\ncode_length = 4\n");
    assert_eq!(named.json(&format!("send {TO}")).1["code_length"], 4);
    named.write("third.toml", "[policy]\ncode_length = 9\n");
    assert_eq!(named.json("send +255694230174 --config third.toml").1["code_length"], 9);
}

#[test]
fn a_text_is_previewed_with_a_sample_code_and_what_it_costs() {
    let place = Place::new("template");
    let (exit, egypt, _) = place.json("template preview --to +201001234567");
    assert_eq!(
        (exit, egypt["locale"].as_str(), egypt["because"].as_str()),
        (0, Some("ar"), Some("the language of EG"))
    );
    assert_eq!(egypt["segments"]["encoding"], "ucs2");
    assert_eq!((egypt["segments"]["units"].as_u64(), egypt["segments"]["count"].as_u64()), (Some(50), Some(1)));
    assert_eq!(egypt["sample_code"], "123456");
    assert!(egypt["text"].as_str().unwrap().contains("123456"));
    let (_, asked, _) = place.json("template preview --to +201001234567 --locale pt-BR --channel voice");
    assert_eq!((asked["locale"].as_str(), asked["because"].as_str()), (Some("pt-BR"), Some("as asked")));
    assert_eq!(asked["text"], "Seu c\u{f3}digo Example: 1, 2, 3, 4, 5, 6. Repetindo: 1, 2, 3, 4, 5, 6.");
    assert!(asked["segments"].is_null());
    let (_, mail, _) = place.json("template preview --to jane@example.com --ttl 30s");
    assert_eq!((mail["subject"].as_str(), mail["built_in"].as_bool()), (Some("Your Example code"), Some(true)));
    assert!(mail["text"].as_str().unwrap().contains("30 seconds"));
    let shown = place.run("template preview --to +255694230173").out;
    assert!(
        shown.contains("length       53 of 160 in one SMS") && shown.contains("a real message holds a real one"),
        "{shown}"
    );
    for args in ["--template nope", "--to nobody", "--to jane@example.com --channel sms", "--channel pigeon"] {
        assert_eq!(place.run(&format!("template preview {args}")).code, 2, "{args}");
    }

    // What it costs with each provider of its route that has a price: an SMS by its parts.
    place.write("priced.toml", "[[providers]]\nname = \"one\"\nuses = \"inbox\"\n[[providers]]\nname = \"two\"\nuses = \"inbox\"\n\
        [[routes]]\nchannel = \"sms\"\nproviders = [\"one\", \"two\"]\nprices = [\"0.0071 EUR\", \"0.02 EUR\"]\n\
        [templates.default.en]\nsms = \"{{ code }} \u{4e2d} is your code. It is a long story, how it came here over the wires and the air, and it is told in \
        two parts.\"\n");
    let (_, priced, _) = place.json("template preview --to +255694230173 --locale en --config priced.toml");
    let parts = priced["segments"]["count"].as_u64().unwrap();
    assert_eq!(parts, 2, "{priced}");
    let expected = serde_json::json!([
        {"provider": "one", "each": "0.0071 EUR", "parts": 2, "total": "0.0142 EUR"},
        {"provider": "two", "each": "0.02 EUR", "parts": 2, "total": "0.04 EUR"},
    ]);
    assert_eq!(priced["prices"], expected);
    let shown = place.run("template preview --to +255694230173 --locale en --config priced.toml").out;
    assert!(shown.contains("price        0.0142 EUR with one, 2 parts at 0.0071 EUR\n"), "{shown}");
    assert_eq!(egypt["prices"], serde_json::json!([]), "no prices are configured");

    let config = "[policy]\ncode_length = 8\n[templates.payment.en]\nsms = \"{{ code }} \u{201c}pays\u{201d} {{ application }} \u{4e2d}\"\n\
                  [templates.default.tlh]\nsms = \"{{ code }} Qapla'\"\n[templates.payment.de]\nsms = \"{{ code }} zahlt\"\n";
    place.write("own.toml", config);
    let (exit, payment, _) = place.json("template list --template payment --config own.toml");
    let rows = payment["languages"].as_array().unwrap();
    let texts: Vec<_> =
        rows.iter().map(|row| (row["locale"].as_str().unwrap(), row["text"].as_str().unwrap())).collect();
    assert_eq!(
        (exit, texts),
        (0, vec![("de", "12345678 zahlt"), ("en", "12345678 \u{201c}pays\u{201d} Example \u{4e2d}")])
    );
    assert_eq!(rows[1]["segments"]["outside_gsm7"], "\u{201c}\u{201d}\u{4e2d}");
    let (_, all, _) = place.json("template list --config own.toml");
    let rows = all["languages"].as_array().unwrap();
    assert!(rows.len() > 70 && rows.iter().all(|row| row["text"].as_str().unwrap().contains("12345678")), "{all}");
    let own: Vec<_> = rows.iter().filter(|row| row["built_in"] == false).map(|row| &row["locale"]).collect();
    assert_eq!(own, ["tlh"]);
    let (exit, checked, _) = place.json("config check own.toml");
    assert_eq!((exit, &checked["advice"]), (0, &serde_json::json!([])));
    place.write("long.toml", &config.replace("zahlt", &"x".repeat(160)));
    let (exit, checked, _) = place.json("config check long.toml");
    assert_eq!((exit, checked["advice"][0]["line"].as_u64()), (0, Some(8)), "{checked}");
    assert!(
        place
            .run("doctor --config long.toml")
            .out
            .contains("advice       long.toml:8: templates.payment.de.sms: takes 2 SMS")
    );
}

#[test]
fn doctor_walks_the_checklist_and_makes_nothing() {
    let place = Place::new("doctor");
    let (exit, fresh, _) = place.json("doctor");
    assert_eq!((exit, fresh["ok"].as_bool()), (0, Some(true)), "{fresh}");
    assert_eq!(std::fs::read_dir(&place.directory).unwrap().count(), 0, "nothing is made");
    place.run("app list");
    let no_key = place.run("doctor");
    assert_eq!(no_key.code, 1, "{}", no_key.out);
    assert!(
        no_key.out.contains("FIX  API key      `default` has none; run: countersign key create default"),
        "{}",
        no_key.out
    );
    place.run("key create");
    assert_eq!(place.run("doctor").code, 0);
    place.write("bad.toml", "[guard]\nmode = \"on\"\n");
    let bad = place.run("doctor --config bad.toml");
    assert_eq!(bad.code, 2);
    assert!(bad.out.starts_with("FIX  config       bad.toml:2: guard.mode: must be \"off\""), "{}", bad.out);
    place.write("nowhere.toml", "[store]\nurl = \"sqlite:/nowhere/at/all/a.db\"\n");
    assert_eq!(place.run("doctor --config nowhere.toml").code, 3);
    std::fs::write(
        place.directory.join("countersign.db"),
        "this is something else, and long enough to be told from a database",
    )
    .unwrap();
    assert_eq!(place.run("doctor").code, 3);
}

#[test]
fn what_is_printed_of_the_program_is_there() {
    let place = Place::new("print");
    assert!(place.json("openapi").1["paths"]["/v1/verifications"].is_object());
    assert!(place.run("completions bash").out.contains("countersign"));
    assert!(place.run("man").out.contains(".TH"));
    assert!(place.run("man config explain").out.contains("Explain a key"));
    assert_eq!(place.run("man frob").code, 2);
    assert!(place.run("migrate --print").out.to_lowercase().contains("create table"));
    assert_eq!(place.json("migrate").1["migrated"], true);
    let list = place.json("provider list").1;
    assert_eq!(
        (list["configured"][0]["name"].as_str(), list["configured"][0]["uses"].as_str()),
        (Some("inbox"), Some("inbox"))
    );
    assert!(place.run("provider show twilio").out.contains("auth_token_file"));
    assert!(place.json(&format!("provider test inbox {TO}")).1["took_ms"].is_u64());
    for command in ["serve", "send", "check", "key create", "config explain", "doctor", "provider test"] {
        let help = place.run(&format!("{command} --help"));
        assert_eq!(help.code, 0);
        assert!(help.out.contains("Examples:\n  countersign "), "{command}: {}", help.out);
    }
}

#[test]
fn whoever_stops_reading_breaks_nothing() {
    let place = Place::new("pipe");
    for args in ["config default", "provider list", "openapi", "--help", "completions bash"] {
        let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let mut err = String::new();
        child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        let status = child.wait().unwrap();
        assert!(!err.contains("panicked") && status.code() == Some(0), "{args}: {status}: {err}");
    }
}

#[expect(clippy::disallowed_methods, reason = "the service runs in real time")]
fn wait_a_little() {
    std::thread::sleep(std::time::Duration::from_millis(100));
}

#[test]
fn the_service_announces_a_key_that_works_and_ends_gracefully() {
    let place = Place::new("serve").with("COUNTERSIGN_SERVER__LISTEN", "127.0.0.1:0");
    let service = Service::start(&place);
    let key = service.word("cs_");
    assert!(
        service.announced.contains(&format!("curl -sS http://{}/v1/verifications ", service.address())),
        "{}",
        service.announced
    );
    assert!(service.announced.contains(&format!("http://{}/inbox", service.address())));
    let (status, sent) = service.ask("POST", "/v1/verifications", &key, &format!("{{\"to\":\"{TO}\"}}"));
    assert_eq!(status, 201, "{sent}");

    // The command and the service share the store and the key ring.
    let (_, shown, _) = place.json(&format!("status {TO}"));
    assert_eq!(shown["id"], sent["id"]);
    let (_, made, _) = place.json("key create");
    let made_key = made["key"].as_str().unwrap();
    let (status, _) = service.ask("GET", &format!("/v1/verifications/{}", sent["id"].as_str().unwrap()), made_key, "");
    assert_eq!(status, 200);
    assert_eq!(place.run("app create shop").code, 0);
    let shop = place.json("key create shop").1["key"].as_str().unwrap().to_owned();
    let mut tries = 0;
    let (status, other) = loop {
        let (status, other) = service.ask("POST", "/v1/verifications", &shop, &format!("{{\"to\":\"{TO}\"}}"));
        tries += 1;
        if status == 201 || tries == 100 {
            break (status, other);
        }
        wait_a_little();
    };
    assert_eq!(status, 201, "an application made beside a running service is served: {other}");
    assert_eq!(service.terminate(), 0);

    let again = Service::start(&place);
    assert!(!again.announced.contains("cs_"), "a key is shown once");
    assert!(again.announced.contains("countersign key create default"));
    assert_eq!(again.ask("GET", "/v1/verifications", &key, "").0, 200, "it still works");
    assert_eq!(again.terminate(), 0);
}

#[test]
fn bug_the_first_key_is_of_the_application_that_is_meant() {
    let place = Place::new("serve-app").with("COUNTERSIGN_SERVER__LISTEN", "127.0.0.1:0");
    let (exit, error, _) = place.json("serve --app shop");
    assert_eq!(exit, 2, "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("countersign app create shop"), "{error}");
    assert_eq!(place.run("app create shop").code, 0);
    let service = Service::start_as(&place, "serve --app shop");
    let (key, announced) = (service.word("cs_"), service.announced.clone());
    assert!(announced.contains("of the application `shop`"), "{announced}");
    assert_eq!(service.ask("POST", "/v1/verifications", &key, &format!("{{\"to\":\"{TO}\"}}")).0, 201);
    assert_eq!(service.terminate(), 0);
    let (_, shown, _) = place.json(&format!("status {TO} --app shop"));
    assert_eq!(shown["to"], TO);
    assert_eq!(place.run(&format!("status {TO}")).code, 1, "`default` has nothing");
}

#[test]
fn a_taken_port_says_which_key_to_change_and_makes_no_key() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let place = Place::new("port").with("COUNTERSIGN_SERVER__LISTEN", &format!("127.0.0.1:{port}"));
    let (exit, error, _) = place.json("serve");
    assert_eq!((exit, error_code(&error)), (2, "cannot_listen"));
    let message = error["error"]["message"].as_str().unwrap();
    assert!(message.contains("server.listen") && message.contains("COUNTERSIGN_SERVER__LISTEN"), "{message}");
    assert!(!place.directory.join("countersign.db").exists());
}

#[cfg(unix)]
#[test]
fn production_refuses_the_trial() {
    use std::os::unix::fs::PermissionsExt as _;
    let place = Place::new("production").with("COUNTERSIGN_SERVER__PRODUCTION", "true");
    let refused = place.run("serve");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("production = true needs a provider"), "{}", refused.err);
    place
        .write("countersign.toml", "[[providers]]\nname = \"gw\"\nuses = \"webhook\"\nurl = \"http://127.0.0.1:9/\"\n");
    assert_eq!(place.run("app list").code, 0);
    let keys = place.directory.join("countersign.keys");
    std::fs::set_permissions(&keys, std::fs::Permissions::from_mode(0o640)).unwrap();
    let refused = place.run("app list");
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("chmod 600"), "{}", refused.err);
}

#[test]
fn a_gateway_of_one_s_own_is_written_proved_and_used() {
    let place = Place::new("gateways");
    let (exit, made, _) = place.json("provider new my-gateway --folder gateways");
    assert_eq!((exit, made["descriptor"].as_str()), (0, Some("gateways/my-gateway.toml")), "{made}");
    assert_eq!(place.json("provider new my-gateway --folder gateways").0, 2, "what is there is left alone");
    assert_eq!(error_code(&place.json("provider new twilio").1), "invalid_name");
    assert_eq!(error_code(&place.json("provider new My!").1), "invalid_name");
    let (exit, proved, _) = place.json("provider check gateways");
    assert_eq!((exit, &proved["ok"], &proved["files"][0]["cases"]), (0, &true.into(), &8.into()), "{proved}");

    // It is configured as one that comes with Countersign, and asked for what it needs.
    let row =
        "[delivery]\ndescriptors = \"gateways\"\nretries = 0\n[[providers]]\nname = \"mine\"\nuses = \"my-gateway\"\n";
    place.write("countersign.toml", row);
    let missing = place.json("config check").1["error"]["problems"][0].clone();
    assert!(missing["message"].as_str().unwrap().contains("`api_key` is missing"), "{missing}");
    let whole = format!("{row}api_key = \"k\"\nfrom = \"Example\"\nbase_url = \"http://127.0.0.1:9\"\n");
    place.write("countersign.toml", &whole);
    assert_eq!(place.json("config check").0, 0);
    assert!(place.run("provider list").out.contains("mine             uses my-gateway"));
    assert!(place.run("provider show my-gateway").out.contains("api_key_file"));
    assert!(place.run("provider show mine").out.contains("receipts_secret"));
    let (exit, error, _) = place.json(&format!("provider test mine {TO}"));
    assert_eq!((exit, error_code(&error)), (3, "delivery_failed"), "{error}");
}

#[test]
fn a_broken_descriptor_is_named_with_its_file_its_line_and_its_key() {
    let place = Place::new("broken-gateways");
    assert_eq!(place.json("provider new mine --folder gateways").0, 0);
    let file = std::fs::read_to_string(place.directory.join("gateways/mine.toml")).unwrap();
    let fixtures = std::fs::read_to_string(place.directory.join("gateways/mine.fixtures.toml")).unwrap();
    let line = |text: &str, of: &str| text.lines().position(|line| line.contains(of)).unwrap() + 1;
    for (from, to, field) in [
        ("{{ text }}", "{{ txt }}", "http.json.text: cannot use `txt` here"),
        ("method = \"POST\"", "method = \"BREW\"", "method: unknown variant `BREW`"),
        ("meaning = \"unknown\"", "meaning = \"shrug\"", "meaning: unknown variant `shrug`"),
        ("name = \"mine\"", "name = \"twilio\"", "name: is `twilio`, and the file is called `mine`"),
    ] {
        place.write("gateways/mine.toml", &file.replacen(from, to, 1));
        let ran = place.run("provider check gateways/mine.toml");
        assert_eq!(ran.code, 2);
        assert!(ran.out.contains(field), "{field}\n{}", ran.out);
        if !from.starts_with("name") {
            let at = format!("gateways/mine.toml:{}: ", line(&file, from));
            assert!(ran.out.contains(&at), "{at}\n{}", ran.out);
        }
        place.write("countersign.toml", "[delivery]\ndescriptors = \"gateways\"\n");
        let problems = place.json("config check").1["error"]["problems"].clone();
        assert!(problems[0]["message"].as_str().unwrap().contains(field), "{problems}");
    }
    place.write("gateways/mine.toml", &file);
    place.write("gateways/mine.fixtures.toml", &fixtures.replace("HTTP 429: too many", "HTTP 429: so many"));
    let ran = place.run("provider check gateways/mine.toml");
    let at = format!(
        "gateways/mine.fixtures.toml:{}: case.throttled.outcome: ",
        line(&fixtures, "outcome.rejected = { failure = \"retry_elsewhere\", reason = \"HTTP 429")
    );
    assert!(ran.code == 2 && ran.out.contains(&at), "{at}\n{}", ran.out);
    place.write("countersign.toml", "[delivery]\ndescriptors = \"nowhere\"\n");
    assert!(place.run("config check").err.contains("nowhere: folder: cannot be read"));
}

#[test]
fn how_providers_do_is_shown_by_country() {
    let place = Place::new("health");
    let (exit, none, _) = place.json("provider health");
    assert_eq!((exit, none["providers"].as_array().map(Vec::len)), (0, Some(0)));
    let hour = i64::try_from(std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis()).unwrap() / 3_600_000;
    let row = |hours_ago: i64, provider: &str, country: &str, sent: u64, approved: u64| {
        serde_json::json!({
            "kind": "health", "hour": (hour - hours_ago) * 3_600_000, "application": "default", "provider": provider,
            "channel": "sms", "country": country, "sent": sent, "accepted": sent, "failed": 0, "unknown": 0, "delivered": 0,
            "undelivered": 0, "approved": approved, "delivered_ms": 0, "approved_ms": approved * 12_000,
        })
    };
    // As `export` writes it.
    let rows = [
        row(0, "one", "TZ", 10, 9),
        row(0, "two", "TZ", 10, 2),
        row(0, "one", "RW", 400, 100),
        row(48, "two", "TZ", 10, 8),
    ];
    let exported = place.run("export empty.jsonl");
    assert_eq!(exported.code, 0, "{}", exported.err);
    let empty = std::fs::read_to_string(place.directory.join("empty.jsonl")).unwrap();
    let mut lines = vec![empty.lines().next().unwrap().to_owned()];
    lines.extend(rows.iter().map(|row| {
        let mut row = row.clone();
        row["place"] = serde_json::json!("1");
        row.to_string()
    }));
    lines.push(serde_json::json!({"kind": "end", "rows": rows.len()}).to_string());
    place.write("all.jsonl", &format!("{}\n", lines.join("\n")));
    let imported = place.run("import all.jsonl");
    assert_eq!(imported.code, 0, "{}{}", imported.out, imported.err);
    let (_, shown, _) = place.json("provider health");
    let order: Vec<_> = shown["providers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["provider"].as_str().unwrap(), row["country"].as_str().unwrap()))
        .collect();
    assert_eq!(order, [("one", "RW"), ("one", "TZ"), ("two", "TZ")], "a provider's busiest country first");
    let of = |nth: usize, name: &str| shown["providers"][nth][name].as_f64().unwrap();
    assert!((of(1, "conversion") - 0.9).abs() < 1e-6 && (of(1, "seconds_to_approve") - 12.0).abs() < 1e-6, "{shown}");
    // What is two days old counts a quarter: (2 + 8/4) of (10 + 10/4).
    assert!((of(2, "conversion") - 4.0 / 12.5).abs() < 0.01, "{shown}");
    assert!(shown["providers"][0]["delivery"].is_null(), "no receipts, no share");
    let text = place.run("provider health two").out;
    assert!(text.contains("two") && !text.contains("one") && text.contains("100.0 %"), "{text}");
    let minimal = Place::new("health-minimal").with("COUNTERSIGN_STORE__LAYOUT", "minimal");
    let ran = minimal.run("provider health");
    assert!(ran.code != 0 && ran.err.contains("keeps no figures"), "{}{}", ran.out, ran.err);
}
