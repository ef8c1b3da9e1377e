//! The dialect's bodies: JSON or a form, as pages and apps send them. Fields that we do not know are other people's (a form's CSRF
//! token) and are left alone; a field that is there twice means nothing that can be relied on.

use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use serde_json::{Map, Value};

use super::No;
use super::no::Words;
use crate::http::{body, form, json};
use crate::service::Door;

/// The fields of a request.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

/// Reads a request: its head, and its fields.
pub(super) async fn read(door: &Door, request: Request) -> Result<(Parts, Fields), No> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, &door.settings.bounds).await?;
    let refused = || No::from(Words::Body);
    let fields = if body.is_empty() {
        Map::new()
    } else if body::is_of_type(&parts.headers, "application/x-www-form-urlencoded") {
        let mut fields = Map::new();
        for (name, value) in form::pairs(&body).map_err(|_| refused())? {
            if fields.insert(name, Value::String(value)).is_some() {
                return Err(refused());
            }
        }
        fields
    } else if body::is_of_type(&parts.headers, "application/json") || !parts.headers.contains_key(CONTENT_TYPE) {
        match json::value(&body) {
            Ok(Value::Object(fields)) => fields,
            _ => return Err(refused()),
        }
    } else {
        return Err(refused());
    };
    Ok((parts, Fields(fields)))
}

/// What was given as a code.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Otp {
    /// Digits as text: every one counts.
    Digits(String),
    /// A whole number: its leading zeros are lost, and are put back to the code's length.
    Number(String),
}

impl Fields {
    /// `null` is no value.
    fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// The phone number as it was written; apps send it as a string or as a number.
    pub fn phone(&mut self) -> Result<String, No> {
        match self.take("phone") {
            None => Err(Words::PhoneRequired.into()),
            Some(Value::String(text)) if text.trim().is_empty() => Err(Words::PhoneRequired.into()),
            Some(Value::String(text)) => Ok(text),
            Some(Value::Number(number)) if number.is_u64() => Ok(number.to_string()),
            Some(_) => Err(Words::PhoneFormat.into()),
        }
    }

    /// `verification_type`, trimmed and in lower case; `login` if not said.
    pub fn purpose(&mut self) -> Result<countersign::core::id::Purpose, No> {
        match self.take("verification_type") {
            None => Ok(countersign::core::id::Purpose::default()),
            Some(Value::String(text)) => text.trim().parse().map_err(|_| Words::Body.into()),
            Some(_) => Err(Words::Body.into()),
        }
    }

    /// The id that the caller says to hold. What cannot be one is as good as none: whoever guesses learns nothing from the difference.
    pub fn verification_id(&mut self) -> Option<countersign::core::id::VerificationId> {
        self.take("verification_id")?.as_str()?.parse().ok()
    }

    /// The candidate code.
    pub fn otp(&mut self) -> Result<Otp, No> {
        match self.take("otp") {
            None => Err(Words::CodeRequired.into()),
            Some(Value::String(text)) if text.is_empty() => Err(Words::CodeRequired.into()),
            Some(Value::String(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(Otp::Digits(text)),
            Some(Value::Number(number)) if number.is_u64() => Ok(Otp::Number(number.to_string())),
            Some(_) => Err(Words::CodeNotNumeric.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields(value.as_object().unwrap().clone())
    }

    #[test]
    fn bug_e4_each_kind_of_otp_has_its_words() {
        let otp = |value: Value| fields(json!({"otp": value})).otp().map_err(|no| no.words);
        let (required, numeric) = (Err(Words::CodeRequired), Err(Words::CodeNotNumeric));
        assert_eq!(otp(json!("001234")), Ok(Otp::Digits("001234".into())));
        assert_eq!(otp(json!(1234)), Ok(Otp::Number("1234".into())));
        assert_eq!(otp(json!(0)), Ok(Otp::Number("0".into())));
        for value in [json!(null), json!("")] {
            assert_eq!(otp(value), required);
        }
        assert_eq!(fields(json!({})).otp().map_err(|no| no.words), required);
        for value in [
            json!(" "),
            json!("12a4"),
            json!(" 1234"),
            json!("+1234"),
            json!("1.23e2"),
            json!("0x7b"),
            json!("²²²²"),
            json!("١٢٣٤٥٦"),
            json!("１２３４"),
            json!(true),
            json!(false),
            json!(-1234),
            json!(1234.5),
            json!(1234.0),
            json!(["1234"]),
            json!([]),
            json!({}),
            json!({"$ne": null}),
            json!("1234\0"),
        ] {
            assert_eq!(otp(value.clone()), numeric, "{value}");
        }
    }

    #[test]
    fn phones_and_purposes_are_read() {
        let phone = |value: Value| fields(json!({"phone": value})).phone().map_err(|no| no.words);
        assert_eq!(phone(json!("+255 694 230 173")), Ok("+255 694 230 173".into()));
        assert_eq!(phone(json!(255_694_230_173_u64)), Ok("255694230173".into()));
        for value in [json!(null), json!(""), json!("  ")] {
            assert_eq!(phone(value), Err(Words::PhoneRequired));
        }
        for value in [json!(true), json!([]), json!({}), json!(-1), json!(1.5)] {
            assert_eq!(phone(value), Err(Words::PhoneFormat));
        }
        let purpose =
            |value: Value| fields(json!({"verification_type": value})).purpose().map(|purpose| purpose.to_string());
        assert_eq!(purpose(json!(" Login ")).unwrap(), "login");
        assert_eq!(purpose(json!(null)).unwrap(), "login");
        for value in [json!(""), json!("pass word"), json!(5), json!("x".repeat(33)), json!("{{7*7}}")] {
            assert!(purpose(value.clone()).is_err(), "{value}");
        }
    }
}
