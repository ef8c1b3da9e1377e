//! `POST /v1/tokens/redeem`: a token is taken in, once.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use countersign::core::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::answer;
use crate::http::call::Call;
use crate::http::problem::{Kind, Problem};
use crate::service::Shared;
use crate::token::{Claims, Untrusted};

/// The longest token that is looked at. Ours have some 500 characters.
const LONGEST: usize = 4096;

/// The token.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(example = json!({"token": "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCIsImtpZCI6InQyMDI2MTEyMi0wMDAwMDAwMCJ9.eyJpc3MiOiJodHRwczovL290cC5leGFtcGxlLmNvbSJ9.c2lnbmF0dXJl"}))]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "documents the request")]
pub struct RedeemBody {
    /// What an approval gave.
    #[schema(max_length = 4096)]
    token: String,
}

/// What the token proved.
#[derive(Debug, Serialize, ToSchema)]
#[schema(example = json!({"claims": {"iss": "https://otp.example.com", "aud": "default", "sub": "+255694230173", "purpose": "login",
    "channel": "sms", "jti": "vf_5f0c1d2e3f405162738495a6b7c8d9e0", "iat": 1795341600, "exp": 1795341900}}))]
pub struct RedeemedObject {
    /// Its claims, checked: signature, issuer, application, time.
    claims: Claims,
}

/// Redeem a token
///
/// For back ends that must take each proof once: checks the token, and gives its claims to the first who asks. From then on, until it
/// expires, it is `already_used`. A token that is not to be believed, is another application's or has expired is `invalid_token`.
#[utoipa::path(
    post, path = "/v1/tokens/redeem", tag = "tokens", operation_id = "redeemToken", security(("api_key" = [])),
    request_body(content = RedeemBody),
    params(
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters: the same key and request give the first answer again for 24 h", example = "4f1d0a6e"),
    ),
    responses((status = 200, description = "It is taken in, and never again", body = RedeemedObject)),
)]
pub(super) async fn redeem(State(door): State<Shared>, call: Call) -> Response {
    let work = |door: Shared, call: Call| async move {
        let token = call.fields(&["token"])?.required_string("token")?;
        if token.len() > LONGEST {
            return Err(refused(Untrusted::Malformed));
        }
        let (application, now) = (call.application(), door.verifier.now());
        let claims = door.tokens.verify(&token, application.as_str(), now).map_err(refused)?;
        let until = Timestamp::from_millis(claims.exp.saturating_mul(1000));
        match door.verifier.is_first(&application, &claims.jti, until).await {
            Ok(true) => Ok(answer::json(StatusCode::OK, &RedeemedObject { claims })),
            Ok(false) => Err(Problem::new(Kind::AlreadyUsed, "somebody redeemed this proof before")),
            Err(broken) => Err(Problem::from_broken(&broken)),
        }
    };
    call.answer(door, work).await
}

fn refused(why: Untrusted) -> Problem {
    Problem::new(Kind::InvalidToken, why.to_string())
}
