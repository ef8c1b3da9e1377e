//! A back end that believes tokens as the documents say: by the key set alone, with a library that is not ours.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;

pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn part(text: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// The claims of a token, if it is to be believed at this instant by the application `audience`.
pub fn believe(jwks: &Value, token: &str, issuer: &str, audience: &str, now: i64) -> Option<Value> {
    let (signed, signature) = token.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let (header, claims) = (part(header)?, part(claims)?);
    if header["alg"] != "EdDSA" || claims["iss"] != issuer || claims["aud"] != audience {
        return None;
    }
    let key = jwks["keys"].as_array()?.iter().find(|key| key["kid"] == header["kid"])?;
    if key["kty"] != "OKP" || key["crv"] != "Ed25519" {
        return None;
    }
    let public = URL_SAFE_NO_PAD.decode(key["x"].as_str()?).ok()?;
    let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
    UnparsedPublicKey::new(&ED25519, public).verify(signed.as_bytes(), &signature).ok()?;
    (claims["iat"].as_i64()? <= now + 5 && claims["exp"].as_i64()? > now).then_some(claims)
}

/// The token with one claim changed and everything else as it was.
pub fn edited(token: &str, claim: &str, value: Value) -> String {
    let parts: Vec<_> = token.split('.').collect();
    let mut claims = part(parts[1]).unwrap();
    claims[claim] = value;
    let claims = URL_SAFE_NO_PAD.encode(claims.to_string());
    format!("{}.{claims}.{}", parts[0], parts[2])
}

/// The token under another header.
pub fn reheaded(token: &str, header: &Value, signature: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    format!("{}.{claims}.{signature}", URL_SAFE_NO_PAD.encode(header.to_string()))
}
