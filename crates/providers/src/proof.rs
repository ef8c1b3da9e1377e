//! A descriptor from a file, proved; and one to begin with.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::descriptor::{Descriptor, DescriptorError};
use crate::fixture::{self, Fixtures};
use crate::registry;

/// What came of checking one descriptor.
#[derive(Debug)]
pub struct Proof {
    /// Its file.
    pub file: PathBuf,
    /// How many cases were tried.
    pub cases: usize,
    /// What is wrong.
    pub problems: Vec<DescriptorError>,
    /// What is not wrong, but should be known.
    pub notes: Vec<String>,
}

/// Checks a descriptor, or every descriptor of a folder, against the fixtures beside it. Nobody is asked.
///
/// # Errors
/// If the path cannot be read.
pub fn prove(path: &Path) -> Result<Vec<Proof>, std::io::Error> {
    if path.is_dir() {
        return Ok(registry::descriptor_files(path)?.iter().map(|file| one(file)).collect());
    }
    fs::metadata(path)?;
    // Who names the fixtures means what they prove.
    let shown = path.display().to_string();
    let path = shown
        .strip_suffix(registry::FIXTURES)
        .map_or_else(|| path.to_owned(), |stem| PathBuf::from(format!("{stem}.toml")));
    Ok(vec![one(&path)])
}

fn one(path: &Path) -> Proof {
    let mut proof = Proof { file: path.to_owned(), cases: 0, problems: Vec::new(), notes: Vec::new() };
    let descriptor = match registry::read(path) {
        Ok(descriptor) => Arc::new(descriptor),
        Err(problem) => {
            proof.problems.push(problem);
            return proof;
        }
    };
    let shown = path.display().to_string();
    for broken in fixture::laws(&descriptor) {
        let problem =
            format!("{broken}; a page, nothing or a broken server is no success, and says nothing against the number");
        proof.problems.push(DescriptorError::of(&shown, "http", problem));
    }
    if descriptor.sources.is_empty() {
        proof.notes.push("`sources` names nothing: say where what stands in it was read".to_owned());
    }
    let fixtures = path.with_file_name(format!("{}{}", descriptor.name, registry::FIXTURES));
    match fs::read_to_string(&fixtures) {
        Ok(text) => against(&mut proof, &descriptor, &fixtures.display().to_string(), &text),
        Err(_) => proof.notes.push(format!("there are no fixtures: {} would prove it", fixtures.display())),
    }
    proof
}

fn against(proof: &mut Proof, descriptor: &Arc<Descriptor>, file: &str, text: &str) {
    match (fixture::check(descriptor, file, text), Fixtures::parse(file, text)) {
        (Ok(problems), Ok(fixtures)) => {
            proof.cases = fixtures.case.len();
            proof.problems.extend(problems);
        }
        (Err(problem), _) | (_, Err(problem)) => proof.problems.push(problem),
    }
}

/// A commented descriptor of that name, and fixtures that prove it.
#[must_use]
pub fn scaffold(name: &str) -> (String, String) {
    let fill = |text: &str| text.replace("NAME", name);
    (fill(include_str!("scaffold/gateway.toml")), fill(include_str!("scaffold/gateway.fixtures.toml")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    #[test]
    fn what_one_begins_with_is_whole() {
        let (descriptor, fixtures) = scaffold("my-gateway");
        let descriptor = Arc::new(Descriptor::parse("my-gateway.toml", &descriptor).unwrap());
        assert_eq!(descriptor.name, "my-gateway");
        let problems = fixture::check(&descriptor, "my-gateway.fixtures.toml", &fixtures).unwrap();
        assert_eq!(problems, []);
        assert_eq!(fixture::laws(&descriptor), Vec::<String>::new());
        assert_eq!(Fixtures::parse("x", &fixtures).unwrap().case.len(), 8);
    }

    #[test]
    fn the_folder_of_this_crate_proves_itself() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("descriptors");
        let proofs = prove(&folder).unwrap();
        // Those that are code are not spoken to over HTTP, and say so.
        let broken: Vec<_> = proofs.iter().filter(|proof| !proof.problems.is_empty()).collect();
        let code = registry::all().iter().filter(|descriptor| !descriptor.is_http()).count();
        assert_eq!(broken.len(), code, "{broken:?}");
        assert!(broken.iter().all(|proof| proof.problems[0].field == "http"));
        assert!(proofs.iter().filter(|proof| proof.problems.is_empty()).all(|proof| proof.cases >= 3));
        assert!(prove(&folder.join("nobody.toml")).is_err());
    }
}
