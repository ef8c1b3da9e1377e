//! Foreign libraries against the real server: PyJWT and jose believe its tokens, the Standard Webhooks libraries its webhooks, and
//! schemathesis finds nothing that its OpenAPI document does not say. `scripts/test` installs them and names where
//! (`COUNTERSIGN_FOREIGN`); without them the tests say that they did not run.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};

use crate::house::http::id;
use crate::house::jwt::{edited, reheaded};
use crate::house::plan::{Plan, open};
use crate::house::{House, Sink, WHSEC, phone, until};

/// Where the libraries are; what did not run if they are not.
fn installed(what: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("COUNTERSIGN_FOREIGN").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("NOT RUN: {what}: set COUNTERSIGN_FOREIGN, as scripts/test does");
    }
    folder
}

/// A back end that is not ours: asked by a line, answers by one.
struct BackEnd {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl BackEnd {
    fn both(folder: &Path) -> [Self; 2] {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
        let mut python = Command::new(folder.join("venv/bin/python"));
        python.arg(scripts.join("verify.py"));
        let mut node = Command::new("node");
        node.arg(scripts.join("verify.mjs")).arg(folder);
        [("Python", python), ("Node", node)].map(|(name, mut command)| {
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
            let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
            Self { name, child, input, output }
        })
    }

    fn ask(&mut self, asked: &Value) -> Value {
        writeln!(self.input, "{asked}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("{} said {line:?} to {asked}", self.name))
    }
}

impl Drop for BackEnd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn proof(house: &House, sink: &Sink, number: &str) -> String {
    let made = id(&house.door.send(number).await);
    let code = sink.code_of(number).await;
    house.door.check(&made, &code).await.ok(200)["token"].as_str().unwrap().to_owned()
}

/// What a forger would try, by name.
fn forgeries(token: &str, key: &Value) -> Vec<(&'static str, String)> {
    let kid = key["kid"].as_str().unwrap();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let claims = token.split('.').nth(1).unwrap();
    // The public key, which everybody has, as the secret of a symmetric algorithm.
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "typ": "JWT", "kid": kid}).to_string());
    let symmetric = |secret: &[u8]| {
        let text = format!("{header}.{claims}");
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let other = if key["alg"] == "EdDSA" { "ES256" } else { "EdDSA" };
    vec![
        ("no algorithm", reheaded(token, &json!({"alg": "none", "typ": "JWT", "kid": kid}), "")),
        ("no algorithm, in capitals", reheaded(token, &json!({"alg": "NONE", "typ": "JWT", "kid": kid}), signature)),
        ("symmetric, by the text of the public key", symmetric(key["x"].as_str().unwrap().as_bytes())),
        (
            "symmetric, by the bytes of the public key",
            symmetric(&URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap()),
        ),
        ("another algorithm", reheaded(token, &json!({"alg": other, "typ": "JWT", "kid": kid}), signature)),
        (
            "another key",
            reheaded(token, &json!({"alg": key["alg"], "typ": "JWT", "kid": "t20200101-00000000"}), signature),
        ),
        ("another destination", edited(token, "sub", json!("+255690000099"))),
        ("a longer life", edited(token, "exp", json!(9_999_999_999_i64))),
        ("another purpose", edited(token, "purpose", json!("payment"))),
        ("another application", edited(token, "aud", json!("other"))),
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..signature.len() / 2])),
    ]
}

async fn believed_by_foreign_libraries(algorithm: &str, folder: &Path) {
    let plan = open()
        .and(&format!("[tokens]\nalgorithm = \"{algorithm}\""))
        .and("[[applications]]\nname = \"default\"\n[[applications]]\nname = \"other\"");
    let (house, sink) = House::with_sink(plan).await;
    let issuer = house.announced["public_url"].as_str().unwrap().to_owned();
    let jwks_url = format!("http://{}/.well-known/jwks.json", house.door.addr);
    let jwks = house.door.get("/.well-known/jwks.json").await;
    assert_eq!(jwks.header("cache-control"), Some("public, max-age=300"));
    let jwks = jwks.ok(200);
    assert_eq!(jwks["keys"][0]["alg"], json!(algorithm));
    let token = proof(&house, &sink, &phone(1)).await;
    let asked =
        |token: &str, audience: &str| json!({"jwks": jwks_url, "token": token, "issuer": issuer, "audience": audience});
    let forged = forgeries(&token, &jwks["keys"][0]);
    let (all, asked_all) =
        (forged.clone(), forged.iter().map(|(_, token)| asked(token, "default")).collect::<Vec<_>>());
    let (right, stranger, elsewhere) = (
        asked(&token, "default"),
        asked(&token, "other"),
        json!({"jwks": jwks_url, "token": token, "issuer": "https://else.example", "audience": "default"}),
    );
    let folder = folder.to_owned();
    let work = tokio::task::spawn_blocking(move || {
        for mut back_end in BackEnd::both(&folder) {
            let claims = back_end.ask(&right);
            assert_eq!(
                (&claims["sub"], &claims["aud"]),
                (&json!(phone(1)), &json!("default")),
                "{}: {claims}",
                back_end.name
            );
            assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 300);
            assert_eq!(claims.as_object().unwrap().len(), 8, "{claims}");
            for no in [&stranger, &elsewhere] {
                assert!(back_end.ask(no)["refused"].is_string(), "{}: {no}", back_end.name);
            }
            for ((name, _), asked) in all.iter().zip(&asked_all) {
                assert!(back_end.ask(asked)["refused"].is_string(), "{} believes {name}", back_end.name);
            }
        }
    });
    work.await.unwrap();
    // And so does the server itself, where tokens are redeemed.
    for (name, token) in forged {
        let reply = house.door.post("/v1/tokens/redeem", json!({"token": token})).await;
        reply.problem(422, "invalid_token");
        assert!(!reply.text().contains(&token), "{name}");
    }
    house.door.post("/v1/tokens/redeem", json!({"token": token})).await.ok(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_libraries_believe_eddsa_tokens_and_no_forgery() {
    if let Some(folder) = installed("PyJWT and jose on EdDSA tokens") {
        believed_by_foreign_libraries("EdDSA", &folder).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_libraries_believe_es256_tokens_and_no_forgery() {
    if let Some(folder) = installed("PyJWT and jose on ES256 tokens") {
        believed_by_foreign_libraries("ES256", &folder).await;
    }
}

const NEW: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn foreign_libraries_believe_webhooks() {
    let Some(folder) = installed("standardwebhooks of PyPI and npm") else { return };
    let application = Sink::start().await;
    let plan: Plan = open().and(&format!(
        "[[applications]]\nname = \"default\"\n[[applications.webhooks]]\nurl = \"{}\"\nsecret = [\"{NEW}\", \"{WHSEC}\"]\n[webhooks]\nallow_private_addresses = true",
        application.url()
    ));
    let (house, _) = House::with_sink(plan).await;
    house.door.send(&phone(1)).await;
    until("two events came", async || application.count() >= 2).await;
    let messages = application.messages();
    let work = tokio::task::spawn_blocking(move || {
        for mut back_end in BackEnd::both(&folder) {
            for message in &messages {
                let [id, timestamp, signatures] = &message.headers;
                let body = String::from_utf8(message.body.clone()).unwrap();
                let asked = |secret: &str, id: &str, timestamp: &str, body: &str| {
                    json!({"secret": secret, "body": body,
                        "headers": {"webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": signatures}})
                };
                // Whoever has the old secret believes it, and whoever has the new one.
                for secret in [NEW, WHSEC] {
                    let believed = back_end.ask(&asked(secret, id, timestamp, &body));
                    assert_eq!(believed, message.json, "{}", back_end.name);
                }
                let stranger = format!("whsec_{}", STANDARD.encode([7; 24]));
                let stale = (timestamp.parse::<i64>().unwrap() - 1000).to_string();
                for no in [
                    asked(&stranger, id, timestamp, &body),
                    asked(WHSEC, "evt_other", timestamp, &body),
                    asked(WHSEC, id, &stale, &body),
                    asked(WHSEC, id, timestamp, &body.replace("pending", "approved")),
                ] {
                    assert!(back_end.ask(&no)["refused"].is_string(), "{} believes {no}", back_end.name);
                }
            }
        }
    });
    work.await.unwrap();
}

/// Everything that the document says of requests and answers, tried with hundreds of requests that somebody else thought of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn schemathesis_finds_no_failure() {
    let Some(folder) = installed("schemathesis") else { return };
    let plan = open().log("level = \"warn\"");
    let (house, _) = House::with_sink(plan).await;
    let mut command = Command::new(folder.join("venv/bin/schemathesis"));
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign/schemathesis.toml");
    command
        .current_dir(&house.dir.0)
        .arg("--config-file")
        .arg(config)
        .arg("run")
        .arg(format!("http://{}/openapi.json", house.door.addr));
    command.arg("--header").arg(format!("Authorization: Bearer {}", house.door.key()));
    command.args([
        "--phases",
        "examples,coverage,fuzzing,stateful",
        "--checks",
        "all",
        "--max-examples",
        "25",
        "--seed",
        "1",
    ]);
    command.args(["--request-timeout", "20", "--no-color", "--generation-database", "none"]);
    let told = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr));
    assert!(told.status.success(), "{said}");
    let end: Vec<_> = said.lines().rev().take(12).collect();
    eprintln!("{}", end.into_iter().rev().collect::<Vec<_>>().join("\n"));
}
