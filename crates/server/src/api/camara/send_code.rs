//! `POST …/send-code`: a code is sent, in the caller's words.

use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::core::channel::Channel;
use countersign::core::verification::Wording;
use countersign::{SendRequest, Word};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::SERVICE;
use super::call::Call;
use super::no::{Asked, BLOCKED, NOT_SENT, No, NoBody};
use crate::http::answer;
use crate::service::{Door, Shared};

/// How long the provider's word is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whom to send a code to, and in which words.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = CamaraSendCode, example = json!({
    "phoneNumber": "+255694230173", "message": "{{code}} is your code for Example"
}))]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents the body")]
pub(super) struct SendCodeBody {
    /// The number in E.164, with its `+`.
    #[serde(rename = "phoneNumber")]
    #[schema(pattern = r"^\+[1-9][0-9]{4,14}$")]
    phone_number: String,
    /// The text, at most 160 characters, with `{{code}}` where the code is to stand. Nothing else in it is read.
    #[schema(max_length = 160, pattern = r"\{\{code\}\}")]
    message: String,
}

/// A code is on its way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CamaraSentCode, example = json!({"authenticationId": "vf_5f0c1d2e3f405162738495a6b7c8d9e0"}))]
struct SentCodeBody {
    /// What the code is offered against.
    #[serde(rename = "authenticationId")]
    #[schema(max_length = 36)]
    authentication_id: String,
}

/// Send a code by SMS
///
/// CAMARA OneTimePasswordSMS. What was sent to this number before through this door is no longer valid. The provider's acceptance is
/// awaited, up to 10 seconds.
#[utoipa::path(
    post, path = "/send-code", tag = "camara", operation_id = "sendCode", security(("api_key" = [])),
    request_body(content = SendCodeBody),
    params(("x-correlator" = Option<String>, Header, description = "Comes back as it came", example = "b4333c46-49c0-4f62-80d7-f0ef930f1c46")),
    responses(
        (status = 200, description = "On its way", body = SentCodeBody),
        (status = 403, description = "`ONE_TIME_PASSWORD_SMS.MAX_OTP_CODES_EXCEEDED`, `….PHONE_NUMBER_NOT_ALLOWED`, `….PHONE_NUMBER_BLOCKED`, `PERMISSION_DENIED`", body = NoBody),
        (status = 404, description = "`NOT_FOUND`: nothing carries an SMS to this number", body = NoBody),
        (status = 429, description = "`QUOTA_EXCEEDED`, `TOO_MANY_REQUESTS`, with `Retry-After`", body = NoBody),
    ),
)]
pub(super) async fn send_code(State(door): State<Shared>, call: Call) -> Result<Response, No> {
    let [to, text] = call.strings(["phoneNumber", "message"])?;
    if !is_number(&to) {
        return Err(No::invalid("phoneNumber: must be + and 5 to 15 digits, the first of them not 0"));
    }
    let application = door.verifier.application(&call.application)?;
    let request = SendRequest::to(to)
        .application(call.application)
        .service(SERVICE)
        .purpose(application.policy.usual_purpose().as_str())
        .channel(Channel::Sms)
        .wording(Wording { text: Some(text), ..Wording::default() })
        .resend_after(pause(&door))
        .superseding();
    let refused = |failure| No::from_failure(Asked::Send, failure, Some(&application.policy));
    let sending = door.verifier.send(request).await.map_err(refused)?;
    let (word, verification, _) = sending.wait(PATIENCE).await.map_err(refused)?;
    match word {
        Word::Unreachable => Err(BLOCKED.into()),
        Word::Failed => Err(NOT_SENT.into()),
        Word::Accepted | Word::Unknown | Word::NotYet => {
            let body = SentCodeBody { authentication_id: verification.id.to_string() };
            Ok(answer::response(answer::json(StatusCode::OK, &body)))
        }
    }
}

fn pause(door: &Door) -> Duration {
    door.settings.camara.as_ref().map(|camara| camara.resend_after).unwrap_or_default()
}

/// As CAMARA writes them; whether there can be such a number is for the rules.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('+').unwrap_or_default().as_bytes();
    (5..=15).contains(&digits.len()) && digits[0] != b'0' && digits.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_are_written_as_camara_writes_them() {
        for text in ["+255694230173", "+12345", "+123456789012345"] {
            assert!(is_number(text), "{text}");
        }
        for text in [
            "",
            "+",
            "3301",
            "+1234",
            "+0255694230173",
            "+1234567890123456",
            "+255 694 230 173",
            "255694230173",
            "+٢٥٥٦٩٤",
        ] {
            assert!(!is_number(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_taken_for_a_number_is_plus_and_digits(text in "\\PC{0,20}|[+]?[0-9]{0,20}") {
            if is_number(&text) {
                prop_assert!(text.len() <= 16 && text.bytes().all(|b| b == b'+' || b.is_ascii_digit()));
            }
        }
    }
}
