//! The parameters of a form or a query, by their names in this dialect. What is not known is left alone: newer SDKs send more.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::Value;

use super::no::No;
use crate::http::form;

/// Names and values in their order.
#[derive(Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl std::fmt::Debug for Fields {
    /// The names alone: among the values are codes and numbers.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

impl Fields {
    pub fn read(text: &[u8]) -> Result<Self, No> {
        form::pairs(text).map(Self).map_err(|_| No::from((400, 20400, "The form cannot be read")))
    }

    /// The values of a parameter that may be repeated.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Everything but what says which page, encoded for another address of the same list.
    pub fn others(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let paging = |name: &str| ["PageSize", "Page", "PageToken"].contains(&name);
        let others = self.0.iter().filter(move |(name, _)| !paging(name));
        others.map(|(name, value)| (form::encode(name), form::encode(value)))
    }

    /// A parameter that means something once only: which of two would count is nothing to rely on.
    pub fn text(&self, name: &str) -> Result<Option<&str>, No> {
        let mut values = self.0.iter().filter(|(known, _)| known == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(No::invalid(name)),
            (found, None) => Ok(found.map(|(_, value)| value.as_str())),
        }
    }

    /// A parameter that must be there, and not empty.
    pub fn required(&self, name: &str) -> Result<&str, No> {
        self.text(name)?.filter(|value| !value.trim().is_empty()).ok_or_else(|| No::invalid(name))
    }

    pub fn boolean(&self, name: &str) -> Result<Option<bool>, No> {
        match self.text(name)? {
            None => Ok(None),
            Some(word) if word.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(word) if word.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(_) => Err(No::invalid(name)),
        }
    }

    pub fn number(&self, name: &str, range: RangeInclusive<u32>) -> Result<Option<u32>, No> {
        let Some(text) = self.text(name)? else { return Ok(None) };
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| digits && range.contains(number));
        number.map(Some).ok_or_else(|| No::invalid(name))
    }

    /// One of these words.
    pub fn word<'a>(&'a self, name: &str, words: &[&str]) -> Result<Option<&'a str>, No> {
        match self.text(name)? {
            Some(word) if !words.contains(&word) => Err(No::invalid(name)),
            word => Ok(word),
        }
    }

    /// A JSON object as a text, of strings or numbers.
    pub fn object(&self, name: &str, most: usize) -> Result<BTreeMap<String, String>, No> {
        let Some(text) = self.text(name)?.filter(|text| !text.is_empty()) else { return Ok(BTreeMap::new()) };
        let Ok(Value::Object(object)) = serde_json::from_str(text) else { return Err(No::invalid(name)) };
        if object.len() > most {
            return Err(No::invalid(name));
        }
        let read = |(key, value)| match value {
            Value::String(text) => Ok((key, text)),
            Value::Number(number) => Ok((key, number.to_string())),
            Value::Bool(word) => Ok((key, word.to_string())),
            _ => Err(No::invalid(name)),
        };
        object.into_iter().map(read).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use proptest::prelude::*;

    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn bug_f2_no_value_is_in_debug() {
        assert_eq!(format!("{:?}", fields("Code=123456&To=%2B255")), "[\"Code\", \"To\"]");
    }

    #[test]
    fn parameters_are_read() {
        let form = fields("A=1&B=TRUE&C=&D=x&D=y&E=%7B%22a%22%3A1%2C%22b%22%3A%22c%22%7D&F=-1&G=07");
        assert_eq!((form.text("A"), form.text("Z")), (Ok(Some("1")), Ok(None)));
        assert_eq!((form.boolean("B"), form.boolean("A").is_err()), (Ok(Some(true)), true));
        assert!(form.required("C").is_err());
        assert_eq!((form.text("D").is_err(), form.all("D")), (true, vec!["x", "y"]));
        let object = BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "c".to_owned())]);
        assert_eq!(form.object("E", 2), Ok(object));
        assert!(form.object("E", 1).is_err());
        assert_eq!((form.number("G", 1..=9), form.number("F", 0..=9).is_err()), (Ok(Some(7)), true));
        assert!(form.number("G", 8..=9).is_err());
        for object in ["[]", "1", "{", "{\"a\":{}}", "{\"a\":null}", "null"] {
            assert!(Fields(vec![("E".into(), object.into())]).object("E", 9).is_err(), "{object}");
        }
    }

    proptest! {
        #[test]
        fn any_form_is_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(form) = Fields::read(&text) {
                for (name, _) in &form.0 {
                    let _ = (form.text(name), form.boolean(name), form.number(name, 0..=9), form.object(name, 9));
                }
            }
        }
    }
}
