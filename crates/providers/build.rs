//! Lists `descriptors/*.toml`, so that a file dropped there is a provider: no second list to keep. Of the fixtures beside them it keeps
//! how many there are, and how many name the document that they were read in.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let here = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let folder = Path::new(&here).join("descriptors");
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut files = Vec::new();
    let mut evidence = String::from("&[\n");
    for entry in fs::read_dir(&folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.ends_with(".toml") && !name.ends_with(".fixtures.toml") {
            files.push(path);
        } else if let Some(provider) = name.strip_suffix(".fixtures.toml") {
            let text = fs::read_to_string(&path)?;
            let (documented, cases) = count(&text);
            writeln!(evidence, "    ({provider:?}, {documented}, {cases}),").map_err(io::Error::other)?;
        }
    }
    evidence.push_str("]\n");
    files.sort();
    let mut list = String::from("&[\n");
    for path in files {
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        writeln!(list, "    ({:?}, include_str!({:?})),", format!("descriptors/{file}"), path.display().to_string())
            .map_err(io::Error::other)?;
    }
    list.push_str("]\n");
    let out = env::var("OUT_DIR").map_err(io::Error::other)?;
    fs::write(Path::new(&out).join("evidence.rs"), evidence)?;
    fs::write(Path::new(&out).join("descriptors.rs"), list)
}

/// The cases of a file of fixtures, and those of them with a source. A test counts them by the parser.
fn count(text: &str) -> (usize, usize) {
    let is_case = |line: &&str| line.strip_prefix("[case.").is_some_and(|rest| !rest.contains('.'));
    let has_source = |line: &&str| line.starts_with("source = ");
    (text.lines().filter(has_source).count(), text.lines().filter(is_case).count())
}
