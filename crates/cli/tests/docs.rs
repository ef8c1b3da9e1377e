//! What the documents say is there: links lead somewhere, keys of the configuration exist, the arrows are as drawn.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::{Path, PathBuf};

use countersign_server::config::sections::section_named;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every document that people write or read here.
fn documents() -> Vec<PathBuf> {
    let mut folders = vec![root().join("docs")];
    let mut found: Vec<PathBuf> = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"]
        .into_iter()
        .map(|name| root().join(name))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found
}

/// Without what stands between fences: code has links and dots of its own.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// A heading's anchor, as the usual renderers make it.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for document in documents() {
        let text = prose(&fs::read_to_string(&document).unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") {
                continue;
            }
            links += 1;
            let (path, fragment) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { document.clone() } else { document.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link}", document.display());
            if !fragment.is_empty() {
                let there = prose(&fs::read_to_string(&target).unwrap());
                let mut headings = there.lines().filter(|line| line.starts_with('#'));
                assert!(headings.any(|heading| anchor(heading) == fragment), "{}: {link}", document.display());
            }
        }
    }
    assert!(links > 50, "{links} links were read");
}

#[test]
fn every_key_of_the_configuration_that_is_named_exists() {
    let mut keys = 0;
    for document in documents() {
        let text = prose(&fs::read_to_string(&document).unwrap());
        for word in text.split('`').skip(1).step_by(2) {
            let name = word.split(" = ").next().unwrap_or(word);
            // An event, called like the section of what tells it.
            if name == "guard.blocked" {
                continue;
            }
            let Some((section, key)) = name.rsplit_once('.') else { continue };
            let Some(section) = section_named(section) else { continue };
            let is_word = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            // `verification.rs` is a file, `[[applications.limits]]` a section.
            if is_word && !["rs", "json", "toml"].contains(&key) {
                keys += 1;
                assert!(section.key(key).is_some(), "{}: `{word}`", document.display());
            }
        }
    }
    assert!(keys > 30, "{keys} keys were read");
}

/// Law 2: cli -> server -> {store, providers} -> verifier -> core.
#[test]
fn the_arrows_run_one_way() {
    for (folder, forbidden) in [
        (
            "core",
            &["countersign", "countersign-store", "countersign-providers", "countersign-server", "countersign-cli"][..],
        ),
        ("verifier", &["countersign-store", "countersign-providers", "countersign-server", "countersign-cli"]),
        ("store", &["countersign-providers", "countersign-server", "countersign-cli"]),
        ("providers", &["countersign-store", "countersign-server", "countersign-cli"]),
        ("server", &["countersign-cli"]),
    ] {
        let manifest = fs::read_to_string(root().join("crates").join(folder).join("Cargo.toml")).unwrap();
        let dependencies = manifest.split("[dev-dependencies]").next().unwrap();
        let names: Vec<_> = dependencies
            .lines()
            .filter_map(|line| line.split(['.', ' ', '=']).next())
            .filter(|name| !name.is_empty())
            .collect();
        for name in forbidden {
            assert!(!names.contains(name), "{folder} depends on {name}");
        }
    }
}
