//! Where a part of a file stands.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line of an error, and the key on it; the line's text where there is none.
pub(crate) fn line_and_key(text: &str, span: Option<Range<usize>>) -> (usize, &str) {
    let number = span.map_or(1, |span| line(text, span.start));
    let content = text.lines().nth(number - 1).unwrap_or_default();
    (number, content.split_once('=').map_or(content, |(key, _)| key).trim())
}

/// The line of a path of keys such as `http.failures[2].when`: of as much of it as is there. Rows that have a name may be called
/// by it: `fields.user`.
pub(crate) fn line_of(text: &str, path: &str) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut at = None;
    let mut here = Here::Table(root.get_ref());
    let mut rest = path;
    while !rest.is_empty() {
        let Some((found, after)) = here.step(rest) else { break };
        at = Some(line(text, found.span().start));
        here = Here::of(found.get_ref());
        rest = after.trim_start_matches('.');
    }
    at
}

fn line(text: &str, at: usize) -> usize {
    text.get(..at).unwrap_or(text).matches('\n').count() + 1
}

enum Here<'a> {
    Table(&'a DeTable<'a>),
    List(&'a [Spanned<DeValue<'a>>]),
    Leaf,
}

impl<'a> Here<'a> {
    fn of(value: &'a DeValue<'a>) -> Self {
        match value {
            DeValue::Table(table) => Self::Table(table),
            DeValue::Array(items) => Self::List(items),
            _ => Self::Leaf,
        }
    }

    /// The longest key that the path begins with, since keys may hold dots; what is behind it.
    fn step<'p>(&self, path: &'p str) -> Option<(&'a Spanned<DeValue<'a>>, &'p str)> {
        match self {
            Self::Table(table) => {
                let fits =
                    |key: &str| path.strip_prefix(key).filter(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
                let found = table.iter().filter_map(|(key, value)| Some((value, fits(key.get_ref())?)));
                found.min_by_key(|(_, rest)| rest.len())
            }
            Self::List(items) => match path.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((index, rest)) => Some((items.get(index.parse::<usize>().ok()?)?, rest)),
                None => {
                    let (name, rest) = path.find('.').map_or((path, ""), |at| path.split_at(at));
                    let called = |item: &&Spanned<DeValue<'a>>| {
                        let DeValue::Table(table) = item.get_ref() else { return false };
                        table
                            .iter()
                            .any(|(key, value)| key.get_ref() == "name" && value.get_ref().as_str() == Some(name))
                    };
                    Some((items.iter().find(called)?, rest))
                }
            },
            Self::Leaf => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_found_as_deep_as_they_go() {
        let text = "a = 1\n[[fields]]\nname = \"user\"\nhelp = \"\"\n[http.headers]\n\"x.y\" = \"1\"\n[[http.failures]]\n[[http.failures]]\nwhen = [\n1,\n{ b = 2 }]\n";
        for (path, expected) in [
            ("a", Some(1)),
            ("fields.user.help", Some(4)),
            ("http.headers.x.y", Some(6)),
            ("http.failures[1].when[1].b", Some(11)),
            ("http.failures[1].says", Some(8)),
            ("b", None),
        ] {
            assert_eq!(line_of(text, path), expected, "{path}");
        }
        assert_eq!(line_and_key(text, Some(7..8)), (2, "[[fields]]"));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[a-c.=\\[\\]\"\n 1{}]*", path in "[a-c.\\[\\]0-9]*", at in 0..100_usize) {
            line_of(&text, &path);
            line_and_key(&text, Some(at..at + 1));
        }
    }
}
