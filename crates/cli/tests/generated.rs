//! The files in `docs/reference` are made from the program and must be what it prints. Run with `COUNTERSIGN_REGENERATE=1` to make
//! them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

#[test]
fn the_reference_files_are_what_the_program_prints() {
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference");
    let regenerate = std::env::var_os("COUNTERSIGN_REGENERATE").is_some();
    let made = std::env::temp_dir().join(format!("countersign-generated-{}", std::process::id()));
    let directory = if regenerate { &reference } else { &made };
    let output =
        Command::new(env!("CARGO_BIN_EXE_countersign")).arg("generate").arg(directory).env_clear().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    if regenerate {
        return;
    }
    let (wanted, kept) = (files(&made, &made), files(&reference, &reference));
    assert!(wanted.len() >= 35, "{:?}", wanted.keys());
    for (name, text) in &wanted {
        assert!(
            kept.get(name) == Some(text),
            "docs/reference/{name} is not what the program prints; run this test with COUNTERSIGN_REGENERATE=1"
        );
    }
    for name in kept.keys().filter(|name| name.starts_with("providers/")) {
        assert!(wanted.contains_key(name), "docs/reference/{name} is of a provider that is no more; delete it");
    }
}

/// Every file of a folder and of those in it, by its path.
fn files(root: &Path, folder: &Path) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(root, &path));
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            all.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    all
}
