//! Strict JSON bodies: every field known, every type as asked, no field twice, and a refusal that names the field and never
//! repeats its value, which may be a code.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::problem::{Kind, Problem};

/// The fields of an object, taken one by one.
#[derive(Debug, Default)]
pub struct Fields {
    fields: Map<String, Value>,
    /// The name of the field that holds this object; empty for the body itself.
    within: &'static str,
}

impl Fields {
    /// Reads an object that may have these fields and no others. An empty body is an empty object.
    ///
    /// # Errors
    /// [`Kind::InvalidJson`], or [`Kind::InvalidRequest`] with the field.
    pub fn read(body: &[u8], known: &[&str]) -> Result<Self, Problem> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        match value(body)? {
            Value::Object(fields) => Self { fields, within: "" }.with_only(known),
            _ => Err(Problem::new(Kind::InvalidRequest, "the body must be a JSON object")),
        }
    }

    fn with_only(self, known: &[&str]) -> Result<Self, Problem> {
        match self.fields.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => {
                let shown: String = name.chars().take(64).collect();
                let fields = match known {
                    [] => "this call takes none".to_owned(),
                    _ => format!("the fields are {}", known.join(", ")),
                };
                Err(Problem::invalid(self.path(&shown).into_owned(), format!("unknown; {fields}")))
            }
            None => Ok(self),
        }
    }

    fn path<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.within.is_empty() { Cow::Borrowed(name) } else { Cow::Owned(format!("{}.{name}", self.within)) }
    }

    fn refuse(&self, name: &'static str, detail: &'static str) -> Problem {
        Problem::invalid(self.path(name), detail)
    }

    /// `null` is no value.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// A string.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] if it is something else.
    pub fn string(&mut self, name: &'static str) -> Result<Option<String>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(name, "must be a string")),
        }
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] if it is not.
    pub fn required_string(&mut self, name: &'static str) -> Result<String, Problem> {
        self.string(name)?.ok_or_else(|| self.refuse(name, "must be given, as a string"))
    }

    /// A whole number, zero or more.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] if it is something else.
    pub fn integer(&mut self, name: &'static str) -> Result<Option<u64>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => {
                value.as_u64().map(Some).ok_or_else(|| self.refuse(name, "must be a whole number, not negative"))
            }
        }
    }

    /// An object of these fields.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] if it is something else.
    pub fn object(&mut self, name: &'static str, known: &[&str]) -> Result<Option<Self>, Problem> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Object(fields)) => Self { fields, within: name }.with_only(known).map(Some),
            Some(_) => Err(self.refuse(name, "must be an object")),
        }
    }

    /// An object of strings, with any names.
    ///
    /// # Errors
    /// [`Kind::InvalidRequest`] if it is something else.
    pub fn strings(&mut self, name: &'static str) -> Result<BTreeMap<String, String>, Problem> {
        let refused = "must be an object of strings";
        match self.take(name) {
            None => Ok(BTreeMap::new()),
            Some(Value::Object(fields)) => fields
                .into_iter()
                .map(|(key, value)| match value {
                    Value::String(text) => Ok((key, text)),
                    _ => Err(self.refuse(name, refused)),
                })
                .collect(),
            Some(_) => Err(self.refuse(name, refused)),
        }
    }
}

/// Reads a JSON value in which no object has a name twice.
///
/// # Errors
/// [`Kind::InvalidJson`] with the place, and nothing of the text.
pub fn value(body: &[u8]) -> Result<Value, Problem> {
    match serde_json::from_slice::<Strict>(body) {
        Ok(Strict(value)) => Ok(value),
        Err(error) => {
            let what = match error.classify() {
                serde_json::error::Category::Data => "a name appears twice in one object",
                serde_json::error::Category::Eof => "it breaks off",
                _ => "it cannot be read",
            };
            Err(Problem::new(Kind::InvalidJson, format!("{what}, at line {} column {}", error.line(), error.column())))
        }
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(list.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some((name, Strict(value))) = entries.next_entry::<String, _>()? {
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("twice"));
            }
        }
        Ok(map.into())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::unwrap_in_result, reason = "tests")]

    use super::*;

    fn refusal(body: &str) -> (&'static str, Option<String>) {
        let read = || {
            let mut fields = Fields::read(body.as_bytes(), &["to", "ttl", "client", "metadata"])?;
            fields.required_string("to")?;
            fields.integer("ttl")?;
            fields.object("client", &["ip"])?.map(|mut client| client.string("ip")).transpose()?;
            fields.strings("metadata").map(drop)
        };
        read().err().map_or(("fine", None), |problem| (problem.kind.code(), problem.param.map(Cow::into_owned)))
    }

    #[test]
    fn each_body_has_its_refusal() {
        let nested = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let (json, request) = ("invalid_json", "invalid_request");
        for (body, code, param) in [
            (r#"{"to":"a"}"#, "fine", None),
            (r#"{"to":"a","ttl":null,"client":{"ip":"x"},"metadata":{"k":"v"}}"#, "fine", None),
            ("", request, Some("to")),
            ("{}", request, Some("to")),
            (r#"{"to":null}"#, request, Some("to")),
            (r#"{"to":5}"#, request, Some("to")),
            (r#"{"to":["a"]}"#, request, Some("to")),
            (r#"{"to":"a","x":1}"#, request, Some("x")),
            (r#"{"to":"a","ttl":"5"}"#, request, Some("ttl")),
            (r#"{"to":"a","ttl":5.0}"#, request, Some("ttl")),
            (r#"{"to":"a","ttl":-5}"#, request, Some("ttl")),
            (r#"{"to":"a","client":"x"}"#, request, Some("client")),
            (r#"{"to":"a","client":{"ip":5}}"#, request, Some("client.ip")),
            (r#"{"to":"a","client":{"x":5}}"#, request, Some("client.x")),
            (r#"{"to":"a","metadata":{"k":1}}"#, request, Some("metadata")),
            ("[]", request, None),
            ("\"a\"", request, None),
            ("null", request, None),
            (r#"{"to":"a","to":"a"}"#, json, None),
            (r#"{"to":"a","metadata":{"k":"1","k":"1"}}"#, json, None),
            (r#"{"to":"a"} x"#, json, None),
            (r#"{"to":"a""#, json, None),
            ("to=a", json, None),
            ("\0", json, None),
            (r#"{"to":1e999}"#, json, None),
            (&nested, json, None),
        ] {
            assert_eq!(refusal(body), (code, param.map(str::to_owned)), "{body:.60}");
        }
        assert_eq!(Fields::read(b"\xff\xfe", &[]).unwrap_err().kind, Kind::InvalidJson);
        assert_eq!(Fields::read(b"{\"a\":\"\xff\"}", &["a"]).unwrap_err().kind, Kind::InvalidJson);
    }

    #[test]
    fn bug_f1_a_refusal_never_repeats_a_value() {
        for body in [
            r#"{"code":123456}"#,
            r#"{"code":"123456" "#,
            r#"{"code":["123456"]}"#,
            "123456",
            r#"{"code":"123456","code":"123456"}"#,
        ] {
            let read = Fields::read(body.as_bytes(), &["code"]).and_then(|mut fields| fields.required_string("code"));
            assert!(!format!("{:?}", read.unwrap_err()).contains("123456"), "{body}");
        }
    }
}
