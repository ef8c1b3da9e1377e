//! Law 1: this crate decides. No runtime, driver, client, clock or source of randomness is in its dependency tree.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

/// Crates that act. A new dependency that brings one of them belongs into another room of the house.
const ACTORS: [&str; 33] = [
    "async-io",
    "async-std",
    "axum",
    "chrono",
    "curl",
    "diesel",
    "fastrand",
    "futures-executor",
    "getrandom",
    "hyper",
    "instant",
    "jiff",
    "libsqlite3-sys",
    "mio",
    "native-tls",
    "openssl",
    "polling",
    "postgres",
    "quanta",
    "rand",
    "rand_core",
    "redis",
    "reqwest",
    "ring",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "sqlx",
    "time",
    "tokio",
    "tokio-postgres",
    "ureq",
];

#[test]
fn law_1_nothing_that_acts_is_in_the_tree() {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "-p", env!("CARGO_PKG_NAME"), "-e", "normal", "--prefix", "none", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let crates: BTreeSet<_> = tree.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(crates.contains("countersign-core") && crates.contains("hmac"), "the tree was read: {crates:?}");
    let actors: Vec<_> = ACTORS.iter().filter(|actor| crates.contains(**actor)).collect();
    assert!(actors.is_empty(), "{actors:?} in the tree:\n{tree}");
}

/// What the standard library could do behind the manifest's back.
#[test]
fn law_1_no_source_file_reads_a_clock_or_does_io() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = 0;
    for entry in std::fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        files += 1;
        for forbidden in [
            "SystemTime",
            "Instant::",
            "time::Instant",
            "std::fs",
            "std::net",
            "std::process",
            "std::thread",
            "std::env",
            "std::io",
            "RandomState",
            "HashMap",
            "async fn",
        ] {
            assert!(!text.contains(forbidden), "{} names {forbidden}", path.display());
        }
    }
    assert!(files > 10);
}
