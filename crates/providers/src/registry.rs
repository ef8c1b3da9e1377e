//! Every provider there is: what `provider list` and `provider show` print, and where `uses` looks.

use std::sync::LazyLock;

use crate::descriptor::Descriptor;

/// The descriptors, as files and their texts. The list is made from the folder when this crate is built.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/descriptors.rs"));

/// A descriptor that cannot be read is left out rather than taking the service down: tests read them all, so none is.
static DESCRIPTORS: LazyLock<Vec<Descriptor>> = LazyLock::new(|| {
    let read = EMBEDDED.iter().filter(|(file, _)| is_built_in(file)).map(|(file, text)| Descriptor::parse(file, text));
    read.filter_map(|descriptor| descriptor.inspect_err(|error| tracing::error!(%error, "a descriptor is broken")).ok())
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

/// All providers, by name.
#[must_use]
pub fn all() -> &'static [Descriptor] {
    &DESCRIPTORS
}

/// The provider of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Descriptor> {
    all().iter().find(|descriptor| descriptor.name == name)
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
        let (file, text) = EMBEDDED.iter().find(|(file, _)| file.contains(descriptor)).unwrap();
        assert!(text.contains(from), "{from}");
        Descriptor::parse(file, &text.replacen(from, to, 1)).unwrap_err().to_string()
    }

    #[test]
    fn a_broken_descriptor_names_file_and_field() {
        let cases = [
            ("name = \"twilio\"", "name = \"Twilio!\"", "descriptors/twilio.toml: name: must be a word"),
            ("name = \"twilio\"", "nam = \"twilio\"", "(`nam`): unknown field `nam`"),
            ("channels = [\"sms\"]", "channels = []", "channels: must name at least one"),
            ("channels = [\"sms\"]", "channels = [\"pigeon\"]", "(`channels`): `pigeon`: no such channel"),
            ("method = \"POST\"", "method = \"BREW\"", "(`method`): unknown variant `BREW`"),
            (
                "{{ account_sid }}",
                "{{ acount_sid }}",
                "http.path: cannot use `acount_sid` here; the fields are account_sid, ",
            ),
            ("{{ account_sid }}", "{{ account_sid", "the template `{{ account_sid` cannot be read"),
            ("Body = \"{{ text }}\"", "Body = \"{{ txt }}\"", "http.form.Body: cannot use `txt` here"),
            ("field = [\"sid\"]", "field = [\"sid[\"]", "`sid[` is not a path"),
            ("status = [\"2xx\"]", "status = [\"2x\"]", "`2x` is no status"),
            ("meaning = \"give_up\"", "meaning = \"shrug\"", "(`meaning`): unknown variant `shrug`"),
            (
                "password = \"{{ auth_token }}\"",
                "password = \"{{ text }}\"",
                "http.auth.password: cannot use `text` here",
            ),
            ("present = true", "present = true, equals = [\"x\"]", "http.accept.when[0]: must compare"),
        ];
        for (from, to, expected) in cases {
            let shown = problem("twilio", from, to);
            assert!(shown.starts_with("descriptors/twilio.toml: ") && shown.contains(expected), "{expected}\n{shown}");
        }
        let receipts = problem("webhook", "field = \"secret\"", "field = \"url\"");
        assert_eq!(receipts, "descriptors/webhook.toml: receipts.auth.field: `url` is not one of the secret fields");
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
