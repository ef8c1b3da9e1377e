//! Every provider there is: what `provider list` and `provider show` print, and where `uses` looks.

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::{fs, io};

use crate::descriptor::{Descriptor, DescriptorError};

/// The descriptors, as files and their texts. The list is made from the folder when this crate is built.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/descriptors.rs"));

/// A descriptor that cannot be read is left out rather than taking the service down: tests read them all, so none is.
static DESCRIPTORS: LazyLock<Vec<Arc<Descriptor>>> = LazyLock::new(|| {
    let read = EMBEDDED.iter().filter(|(file, _)| is_built_in(file)).map(|(file, text)| Descriptor::parse(file, text));
    read.filter_map(|descriptor| descriptor.inspect_err(|error| tracing::error!(%error, "a descriptor is broken")).ok())
        .map(Arc::new)
        .collect()
});

/// Protocols that are code can be left out of a build.
fn is_built_in(file: &str) -> bool {
    match file {
        "descriptors/smpp.toml" => cfg!(feature = "smpp"),
        "descriptors/smtp.toml" => cfg!(feature = "smtp"),
        _ => true,
    }
}

/// All providers that come with this crate, by name.
#[must_use]
pub fn all() -> &'static [Arc<Descriptor>] {
    &DESCRIPTORS
}

/// The provider of that name, of those that come with this crate.
#[must_use]
pub fn find(name: &str) -> Option<&'static Arc<Descriptor>> {
    all().iter().find(|descriptor| descriptor.name == name)
}

/// Of the fixtures of each provider: how many name the document that they were read in, and how many there are.
const EVIDENCE: &[(&str, usize, usize)] = include!(concat!(env!("OUT_DIR"), "/evidence.rs"));

/// How many answers and reports of a provider that comes with this crate were taken from public documents as they stand there, and how many
/// it is proved by. The others were put together from what the documents say of their parts.
#[must_use]
pub fn evidence(name: &str) -> Option<(usize, usize)> {
    EVIDENCE.iter().find(|(provider, ..)| *provider == name).map(|(_, documented, all)| (*documented, *all))
}

/// What a file of fixtures ends with, which stands beside its descriptor.
pub const FIXTURES: &str = ".fixtures.toml";

/// The providers that come with this crate, and an operator's own.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    own: Vec<Arc<Descriptor>>,
}

impl Registry {
    /// Reads every descriptor (`*.toml`, but not `*.fixtures.toml`) of a folder.
    ///
    /// # Errors
    /// Every one that cannot be used, with its file, its part, and what to write instead. The others are in what is returned.
    pub fn load(folder: &Path) -> (Self, Vec<DescriptorError>) {
        let shown = folder.display().to_string();
        let files = match descriptor_files(folder) {
            Ok(files) => files,
            Err(error) => {
                return (
                    Self::default(),
                    vec![DescriptorError::of(&shown, "folder", format!("cannot be read: {error}"))],
                );
            }
        };
        let (mut registry, mut errors) = (Self::default(), Vec::new());
        for path in files {
            let file = path.display().to_string();
            match read(&path) {
                Ok(descriptor) if find(&descriptor.name).is_some() => {
                    let problem = format!("`{}` comes with Countersign; call yours something else", descriptor.name);
                    errors.push(DescriptorError::of(&file, "name", problem));
                }
                Ok(descriptor) if registry.own.iter().any(|other| other.name == descriptor.name) => {
                    let problem = format!("another file of this folder is called `{}` too", descriptor.name);
                    errors.push(DescriptorError::of(&file, "name", problem));
                }
                Ok(descriptor) => registry.own.push(Arc::new(descriptor)),
                Err(error) => errors.push(error),
            }
        }
        (registry, errors)
    }

    /// The provider of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Descriptor>> {
        self.own.iter().chain(all()).find(|descriptor| descriptor.name == name)
    }

    /// All of them: an operator's own first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Descriptor>> {
        self.own.iter().chain(all())
    }
}

/// The descriptors of a folder, in order.
///
/// # Errors
/// If the folder cannot be read.
pub fn descriptor_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.ends_with(".toml") && !name.ends_with(FIXTURES) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads one descriptor, which is called as its file.
///
/// # Errors
/// The file, the part of it, and what to write instead.
pub fn read(path: &Path) -> Result<Descriptor, DescriptorError> {
    let file = path.display().to_string();
    let text = fs::read_to_string(path)
        .map_err(|error| DescriptorError::of(&file, "file", format!("cannot be read: {error}")))?;
    let descriptor = Descriptor::parse(&file, &text)?;
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if stem != descriptor.name {
        let problem = format!("is `{}`, and the file is called `{stem}`: they must be the same", descriptor.name);
        return Err(DescriptorError::of(&file, "name", problem));
    }
    if !descriptor.is_http() {
        let problem = "is missing; a protocol that is not HTTP is code, and comes with Countersign";
        return Err(DescriptorError::of(&file, "http", problem.to_owned()));
    }
    Ok(descriptor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_descriptor_can_be_read_and_is_named_as_its_file() {
        for (file, text) in EMBEDDED {
            let descriptor = Descriptor::parse(file, text).unwrap();
            assert_eq!(*file, format!("descriptors/{}.toml", descriptor.name));
        }
        let names: BTreeSet<_> = all().iter().map(|descriptor| descriptor.name.as_str()).collect();
        assert_eq!(names.len(), EMBEDDED.iter().filter(|(file, _)| is_built_in(file)).count());
        assert!(names.is_superset(&["console", "inbox", "mshastra", "twilio", "webhook"].into()), "{names:?}");
    }

    #[test]
    fn every_http_provider_takes_a_base_url_and_names_its_sources() {
        for descriptor in all().iter().filter(|descriptor| descriptor.is_http()) {
            assert!(descriptor.field("base_url").is_some(), "{}", descriptor.name);
            assert!(!descriptor.sources.is_empty(), "{}", descriptor.name);
        }
    }

    fn problem(descriptor: &str, from: &str, to: &str) -> String {
        let (file, text) = EMBEDDED.iter().find(|(file, _)| *file == format!("descriptors/{descriptor}.toml")).unwrap();
        assert!(text.contains(from), "{from}");
        Descriptor::parse(file, &text.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn a_broken_descriptor_names_file_and_field() {
        let cases = [
            ("name = \"twilio\"", "name = \"Twilio!\"", "descriptors/twilio.toml:1: name: must be a word"),
            ("name = \"twilio\"", "nam = \"twilio\"", ": nam: unknown field `nam`"),
            ("channels = [\"sms\"]", "channels = []", "channels: must name at least one"),
            ("channels = [\"sms\"]", "channels = [\"pigeon\"]", ": channels: `pigeon`: no such channel"),
            ("method = \"POST\"", "method = \"BREW\"", ": method: unknown variant `BREW`"),
            (
                "{{ account_sid }}",
                "{{ acount_sid }}",
                "http.path: cannot use `acount_sid` here; the fields are account_sid, ",
            ),
            ("{{ account_sid }}", "{{ account_sid", "the template `{{ account_sid` cannot be read"),
            ("Body = \"{{ text }}\"", "Body = \"{{ txt }}\"", "http.form.Body: cannot use `txt` here"),
            ("field = [\"sid\"]", "field = [\"sid[\"]", "`sid[` is not a path"),
            ("status = [\"2xx\"]", "status = [\"2x\"]", "`2x` is no status"),
            ("meaning = \"give_up\"", "meaning = \"shrug\"", ": meaning: unknown variant `shrug`"),
            (
                "password = \"{{ auth_token }}\"",
                "password = \"{{ text }}\"",
                "http.auth.password: cannot use `text` here",
            ),
            ("present = true", "present = true, equals = [\"x\"]", "http.accept.when[0]: must compare"),
        ];
        for (from, to, expected) in cases {
            let shown = problem("twilio", from, to);
            assert!(shown.starts_with("descriptors/twilio.toml:") && shown.contains(expected), "{expected}\n{shown}");
        }
        let receipts = problem("webhook", "field = \"secret\"", "field = \"url\"");
        assert_eq!(receipts, "descriptors/webhook.toml:85: receipts.auth.field: `url` is not one of the secret fields");
    }

    proptest! {
        #[test]
        fn the_parser_never_panics(text in "\\PC*") {
            let _ = Descriptor::parse("x.toml", &text);
        }

        #[test]
        fn the_parser_never_panics_on_what_was_a_descriptor(
            which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), cut in 0..40_usize, put in "[\\[\\]{}\"$=.a-z\\n ]{0,12}"
        ) {
            let (file, text) = EMBEDDED[which.index(EMBEDDED.len())];
            let chars: Vec<_> = text.chars().collect();
            let at = at.index(chars.len());
            let rest = chars.get(at + cut..).unwrap_or_default();
            let changed: String = chars[..at].iter().copied().chain(put.chars()).chain(rest.iter().copied()).collect();
            if let Err(error) = Descriptor::parse(file, &changed) {
                prop_assert!(error.to_string().starts_with(file));
            }
        }
    }
}
