//! An account of the Twilio dialect.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::http::request;
use super::{Door, House, Reply};

/// Who asks, and the service that they have from the beginning.
#[derive(Clone)]
pub struct Account {
    pub door: Door,
    pub service: String,
    pub authorization: String,
}

impl Account {
    pub async fn of(house: &House, application: &str) -> Self {
        let made = house.cli(&format!("key create {application} --json")).await;
        let key: Value = serde_json::from_slice(&made.stdout).unwrap_or_else(|_| panic!("{made:?}"));
        let (sid, token) = (key["account_sid"].as_str().unwrap(), key["auth_token"].as_str().unwrap());
        let authorization = format!("Basic {}", STANDARD.encode(format!("{sid}:{token}")));
        let mut account = Self { door: house.door.clone(), service: String::new(), authorization };
        let services = account.get("/v2/Services").await.ok(200);
        account.service = services["services"][0]["sid"].as_str().unwrap().to_owned();
        account
    }

    pub fn bytes_of(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Vec<u8> {
        let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let mut headers = vec![("Authorization", self.authorization.as_str())];
        if method == "POST" {
            headers.push(("Content-Type", "application/x-www-form-urlencoded"));
        }
        request(method, path, &headers, form.join("&").as_bytes())
    }

    pub async fn ask(&self, method: &str, path: &str, form: &[(&str, &str)]) -> Reply {
        self.door.raw(&self.bytes_of(method, path, form)).await
    }

    pub async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[]).await
    }

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Reply {
        self.ask("POST", path, form).await
    }

    /// The path of something of the service.
    pub fn path(&self, rest: &str) -> String {
        format!("/v2/Services/{}/{rest}", self.service)
    }

    pub async fn send(&self, to: &str) -> Reply {
        self.post(&self.path("Verifications"), &[("To", to), ("Channel", "sms")]).await
    }

    pub async fn check(&self, by: (&str, &str), code: &str) -> Reply {
        self.door.raw(&self.guess(by, code)).await
    }

    /// Bytes of a check by `To` or by `VerificationSid`.
    pub fn guess(&self, by: (&str, &str), code: &str) -> Vec<u8> {
        self.bytes_of("POST", &self.path("VerificationCheck"), &[by, ("Code", code)])
    }
}

impl Reply {
    /// A refusal of this dialect, in every part that it has, and in none that it must not have.
    #[track_caller]
    pub fn twilio(&self, status: u16, code: u32) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let body = self.json();
        let names: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, ["code", "message", "more_info", "status"], "{body}");
        assert_eq!((&body["code"], &body["status"]), (&code.into(), &status.into()), "{body}");
        assert_eq!(body["more_info"], format!("https://www.twilio.com/docs/errors/{code}"));
        assert!(!body["message"].as_str().unwrap().is_empty());
        if status == 429 {
            assert!(self.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1, "{self:?}");
        }
        body
    }

    /// Whether a check was evaluated, and how.
    #[track_caller]
    pub fn checked(&self) -> bool {
        let body = self.ok(200);
        let valid = body["valid"].as_bool().unwrap();
        assert_eq!(body["status"], if valid { "approved" } else { "pending" });
        valid
    }
}

/// For a form or a path.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
