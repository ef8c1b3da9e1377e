//! The files in `docs/reference` are made from the program and must be what it prints. Run with `COUNTERSIGN_REGENERATE=1` to make
//! them anew.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test may fail")]

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
    let names: Vec<_> =
        fs::read_dir(&made).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.len() >= 6, "{names:?}");
    for name in names {
        let wanted = fs::read_to_string(made.join(&name)).unwrap();
        let kept = fs::read_to_string(reference.join(&name)).unwrap_or_default();
        assert!(
            kept == wanted,
            "docs/reference/{name} is not what the program prints; run this test with COUNTERSIGN_REGENERATE=1"
        );
    }
}
