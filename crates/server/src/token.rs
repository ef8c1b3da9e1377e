//! The proof that a back end can check by itself: a JWT signed with Ed25519 (RFC 8037), and the keys to check it with.

use std::fmt;

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::core::time::Timestamp;
use countersign::core::verification::Verification;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// How long a token is good, in seconds.
pub const LIFETIME: i64 = 300;

/// A key that tokens are signed with.
pub struct TokenKey {
    /// Its name in the header of tokens.
    pub kid: String,
    /// 32 bytes from the operating system's random source.
    pub seed: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A seed that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token key `{0}` is not a usable Ed25519 seed")]
pub struct UnusableKey(String);

/// Signs tokens with one key, and tells the public halves of it and of older ones.
pub struct TokenSigner {
    active: Ed25519KeyPair,
    /// The encoded header and the dot after it, the same for every token.
    header: String,
    issuer: String,
    public: Vec<(String, [u8; 32])>,
    jwks: Bytes,
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner")
            .field("issuer", &self.issuer)
            .field("keys", &self.public.len())
            .finish_non_exhaustive()
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The server's public address.
    pub iss: String,
    /// The application's name.
    pub aud: String,
    /// The destination that was proved.
    pub sub: String,
    /// What for.
    pub purpose: String,
    /// How the code travelled.
    pub channel: String,
    /// The verification's id: each is approved once.
    pub jti: String,
    /// When it was approved, in seconds since the epoch.
    pub iat: i64,
    /// From then on it must not be accepted.
    pub exp: i64,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Untrusted {
    /// Not three parts of base64url with the JSON that belongs there.
    #[error("not a token")]
    Malformed,
    /// Another algorithm than EdDSA.
    #[error("not signed by EdDSA")]
    Algorithm,
    /// Signed by a key that is not one of ours.
    #[error("signed by an unknown key")]
    UnknownKey,
    /// The signature is not over this text.
    #[error("the signature is wrong")]
    Signature,
    /// Another server's.
    #[error("issued by somebody else")]
    Issuer,
    /// For another application.
    #[error("for another application")]
    Audience,
    /// Too old.
    #[error("expired")]
    Expired,
}

impl TokenSigner {
    /// Signs with `active`; tokens of the `older` keys can still be checked by the key set.
    ///
    /// # Errors
    /// [`UnusableKey`] names the seed that is none.
    pub fn new(active: &TokenKey, older: &[TokenKey], issuer: &str) -> Result<Self, UnusableKey> {
        let mut public = Vec::with_capacity(older.len() + 1);
        for key in std::iter::once(active).chain(older) {
            let mut half = [0; 32];
            half.copy_from_slice(pair(key)?.public_key().as_ref());
            public.push((key.kid.clone(), half));
        }
        let signing = pair(active)?;
        let header = Header { alg: "EdDSA".to_owned(), typ: "JWT".to_owned(), kid: active.kid.clone() };
        let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).unwrap_or_default()) + ".";
        let jwks = jwks(&public).into();
        Ok(Self { active: signing, header, issuer: issuer.to_owned(), public, jwks })
    }

    /// The token of a verification that was just approved.
    #[must_use]
    pub fn sign(&self, verification: &Verification, now: Timestamp) -> String {
        let claims = Claims {
            iss: self.issuer.clone(),
            aud: verification.application.as_str().to_owned(),
            sub: verification.to.reveal().to_owned(),
            purpose: verification.purpose.as_str().to_owned(),
            channel: verification.channel.as_str().to_owned(),
            jti: verification.id.to_string(),
            iat: now.as_secs(),
            exp: now.as_secs() + LIFETIME,
        };
        let mut token = String::with_capacity(640);
        token.push_str(&self.header);
        URL_SAFE_NO_PAD.encode_string(serde_json::to_vec(&claims).unwrap_or_default(), &mut token);
        let signature = self.active.sign(token.as_bytes());
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// Checks a token as a back end of `audience` should: signature first, by a key of ours and by no other algorithm, then who,
    /// for whom, and until when.
    ///
    /// # Errors
    /// [`Untrusted`] says why not.
    pub fn verify(&self, token: &str, audience: &str, now: Timestamp) -> Result<Claims, Untrusted> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Untrusted::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Untrusted::Malformed)?;
        let header: Header = read(header)?;
        if header.alg != "EdDSA" || header.typ != "JWT" {
            return Err(Untrusted::Algorithm);
        }
        let (_, public) = self.public.iter().find(|(kid, _)| *kid == header.kid).ok_or(Untrusted::UnknownKey)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Untrusted::Malformed)?;
        let key = UnparsedPublicKey::new(&ED25519, public);
        key.verify(signed.as_bytes(), &signature).map_err(|_| Untrusted::Signature)?;
        let claims: Claims = read(claims)?;
        match &claims {
            Claims { iss, .. } if *iss != self.issuer => Err(Untrusted::Issuer),
            Claims { aud, .. } if aud != audience => Err(Untrusted::Audience),
            Claims { exp, .. } if *exp <= now.as_secs() => Err(Untrusted::Expired),
            _ => Ok(claims),
        }
    }

    /// The public keys as a JSON Web Key Set.
    #[must_use]
    pub fn jwks(&self) -> Bytes {
        self.jwks.clone()
    }
}

fn pair(key: &TokenKey) -> Result<Ed25519KeyPair, UnusableKey> {
    Ed25519KeyPair::from_seed_unchecked(&*key.seed).map_err(|_| UnusableKey(key.kid.clone()))
}

fn jwks(public: &[(String, [u8; 32])]) -> Vec<u8> {
    let keys: Vec<_> = public
        .iter()
        .map(|(kid, half)| {
            let x = URL_SAFE_NO_PAD.encode(half);
            serde_json::json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x})
        })
        .collect();
    serde_json::json!({ "keys": keys }).to_string().into_bytes()
}

fn read<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, Untrusted> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| Untrusted::Malformed)?;
    serde_json::from_slice(&json).map_err(|_| Untrusted::Malformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Arc;

    use countersign::{RecordingSender, SendRequest, Verifier};

    use super::*;

    const ISSUER: &str = "https://verify.example";

    fn key(kid: &str, byte: u8) -> TokenKey {
        TokenKey { kid: kid.to_owned(), seed: Zeroizing::new([byte; 32]) }
    }

    fn signer() -> TokenSigner {
        TokenSigner::new(&key("b", 2), &[key("a", 1)], ISSUER).unwrap()
    }

    async fn verification() -> Verification {
        let verifier = Verifier::builder().sender(Arc::new(RecordingSender::new("phone"))).build().unwrap();
        verifier.send(SendRequest::to("+255694230173").purpose("registration")).await.unwrap().sent.verification
    }

    #[tokio::test]
    async fn a_token_says_what_was_proved() {
        let (signer, verification) = (signer(), verification().await);
        let now = Timestamp::from_millis(1_700_000_000_999);
        let claims = signer.verify(&signer.sign(&verification, now), "default", now).unwrap();
        let expected = Claims {
            iss: ISSUER.into(),
            aud: "default".into(),
            sub: "+255694230173".into(),
            purpose: "registration".into(),
            channel: "sms".into(),
            jti: verification.id.to_string(),
            iat: 1_700_000_000,
            exp: 1_700_000_300,
        };
        assert_eq!(claims, expected);
    }

    #[tokio::test]
    async fn bug_c3_nothing_but_the_signed_proof_is_accepted() {
        let (signer, verification) = (signer(), verification().await);
        let now = Timestamp::from_millis(1_700_000_000_000);
        let token = signer.sign(&verification, now);
        let verify = |token: &str| signer.verify(token, "default", now).err();
        assert_eq!(verify(&token), None);
        assert_eq!(signer.verify(&token, "other", now).err(), Some(Untrusted::Audience));
        let later =
            |secs: i64| signer.verify(&token, "default", Timestamp::from_millis(1_700_000_000_000 + secs * 1000)).err();
        assert_eq!((later(299), later(300)), (None, Some(Untrusted::Expired)));

        let parts: Vec<_> = token.split('.').collect();
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).unwrap()).unwrap();
        let forged = URL_SAFE_NO_PAD.encode(claims.replace("694230173", "694230174"));
        assert_eq!(verify(&[parts[0], &forged, parts[2]].join(".")), Some(Untrusted::Signature));
        for (header, why) in [
            (r#"{"alg":"none","typ":"JWT","kid":"b"}"#, Untrusted::Algorithm),
            (r#"{"alg":"HS256","typ":"JWT","kid":"b"}"#, Untrusted::Algorithm),
            (r#"{"alg":"EdDSA","typ":"JWT","kid":"a"}"#, Untrusted::Signature),
            (r#"{"alg":"EdDSA","typ":"JWT","kid":"z"}"#, Untrusted::UnknownKey),
            ("{}", Untrusted::Malformed),
        ] {
            let header = URL_SAFE_NO_PAD.encode(header);
            assert_eq!(verify(&[&header, parts[1], parts[2]].join(".")), Some(why));
            assert!(verify(&[&header, parts[1], ""].join(".")).is_some());
        }
        for broken in ["", ".", "..", "a.b.c", parts[0], &token[1..], &token[..token.len() - 3]] {
            assert!(verify(broken).is_some(), "{broken}");
        }
        let stranger = TokenSigner::new(&key("b", 9), &[], ISSUER).unwrap();
        assert_eq!(verify(&stranger.sign(&verification, now)), Some(Untrusted::Signature));
        let elsewhere = TokenSigner::new(&key("b", 2), &[], "https://other.example").unwrap();
        assert_eq!(verify(&elsewhere.sign(&verification, now)), Some(Untrusted::Issuer));
        let before_rotation = TokenSigner::new(&key("a", 1), &[], ISSUER).unwrap();
        assert_eq!(verify(&before_rotation.sign(&verification, now)), None, "an older key is still ours");
    }

    #[test]
    fn the_key_set_has_public_halves_alone() {
        let keys: serde_json::Value = serde_json::from_slice(&signer().jwks()).unwrap();
        let kids: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert_eq!(kids, ["b", "a"]);
        for key in keys["keys"].as_array().unwrap() {
            let names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
            assert!(
                !names.contains(&"d")
                    && key["kty"] == "OKP"
                    && key["crv"] == "Ed25519"
                    && key["use"] == "sig"
                    && key["alg"] == "EdDSA"
            );
            assert_eq!(URL_SAFE_NO_PAD.decode(key["x"].as_str().unwrap()).unwrap().len(), 32);
        }
        // RFC 8032, section 7.1, test 1.
        let seed = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44, 0x49,
            0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
        ];
        let known = TokenSigner::new(&TokenKey { kid: "k".into(), seed: Zeroizing::new(seed) }, &[], ISSUER).unwrap();
        assert!(String::from_utf8_lossy(&known.jwks()).contains("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
    }
}
