//! The proof that a back end can check by itself: a JWT signed with Ed25519 (RFC 8037) or ECDSA over P-256 (RFC 7518), and the keys to
//! check it with.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign::core::time::Timestamp;
use countersign::core::verification::Verification;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
    UnparsedPublicKey,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::http::written::Written;

/// How long a token is good at most, in seconds.
pub const LIFETIME: i64 = 300;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Ed25519: small and fast.
    #[default]
    EdDsa,
    /// ECDSA over P-256: for those whose libraries know no other curve.
    Es256,
}

impl Algorithm {
    /// Its name in headers and key sets.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
        }
    }
}

/// A key that tokens are signed with.
pub struct TokenKey {
    /// Its name in the header of tokens.
    pub kid: String,
    /// What it is made from.
    pub secret: TokenSecret,
}

/// What a key of each algorithm is made from.
pub enum TokenSecret {
    /// 32 bytes from the operating system's random source: an Ed25519 seed.
    EdDsa(Zeroizing<[u8; 32]>),
    /// An ECDSA key in PKCS #8.
    Es256(Zeroizing<Vec<u8>>),
}

impl TokenKey {
    /// An Ed25519 key.
    #[must_use]
    pub fn from_seed(kid: impl Into<String>, seed: [u8; 32]) -> Self {
        Self { kid: kid.into(), secret: TokenSecret::EdDsa(Zeroizing::new(seed)) }
    }

    fn algorithm(&self) -> Algorithm {
        match self.secret {
            TokenSecret::EdDsa(_) => Algorithm::EdDsa,
            TokenSecret::Es256(_) => Algorithm::Es256,
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A new ECDSA key in PKCS #8; `None` if the operating system's random source failed.
#[must_use]
pub fn new_es256() -> Option<Zeroizing<Vec<u8>>> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).ok()?;
    Some(Zeroizing::new(made.as_ref().to_vec()))
}

/// A secret that is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token key `{0}` cannot be used with tokens.algorithm; `countersign keys rotate` adds one that can")]
pub struct UnusableKey(pub String);

/// Signs tokens with one key, and tells the public halves of it and of others. Its keys can be changed while it is in use.
pub struct TokenSigner {
    keys: RwLock<Arc<Keys>>,
    issuer: String,
    lifetime: i64,
}

struct Keys {
    active: Pair,
    /// The encoded header and the dot after it, the same for every token.
    header: String,
    public: Vec<Public>,
    jwks: Bytes,
}

enum Pair {
    EdDsa(Ed25519KeyPair),
    Es256(Box<EcdsaKeyPair>),
}

struct Public {
    kid: String,
    algorithm: Algorithm,
    /// 32 bytes of Ed25519, or 65 of an uncompressed point.
    bytes: Vec<u8>,
}

impl fmt::Debug for TokenSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSigner")
            .field("issuer", &self.issuer)
            .field("keys", &self.keys().public.len())
            .finish_non_exhaustive()
    }
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
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
    /// Another algorithm than that of the key which the header names.
    #[error("not signed by the algorithm of this server's keys")]
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
    /// Signs with `active`; tokens of the `others` can still, or already, be checked by the key set.
    ///
    /// # Errors
    /// [`UnusableKey`] names the one that is none.
    pub fn new(active: &TokenKey, others: &[TokenKey], issuer: &str) -> Result<Self, UnusableKey> {
        let keys = RwLock::new(Arc::new(Keys::new(active, others)?));
        Ok(Self { keys, issuer: issuer.to_owned(), lifetime: LIFETIME })
    }

    /// With tokens that are good for so many seconds, [`LIFETIME`] at most.
    #[must_use]
    pub fn lifetime(mut self, seconds: i64) -> Self {
        self.lifetime = seconds.clamp(1, LIFETIME);
        self
    }

    /// Takes other keys for every token from now on.
    ///
    /// # Errors
    /// [`UnusableKey`]; then nothing is changed.
    pub fn set_keys(&self, active: &TokenKey, others: &[TokenKey]) -> Result<(), UnusableKey> {
        let keys = Arc::new(Keys::new(active, others)?);
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The token of a verification that was just approved; `None` if the operating system's random source failed, which is logged.
    #[must_use]
    pub fn sign(&self, verification: &Verification, now: Timestamp) -> Option<String> {
        let keys = self.keys();
        let mut token = String::with_capacity(640);
        token.push_str(&keys.header);
        URL_SAFE_NO_PAD.encode_string(self.claims(verification, now).as_str(), &mut token);
        let Some(signature) = keys.active.sign(token.as_bytes()) else {
            tracing::error!("a token could not be signed: the operating system's random source failed");
            return None;
        };
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Some(token)
    }

    /// [`Claims`] as their serializer writes them.
    fn claims(&self, verification: &Verification, now: Timestamp) -> Written {
        let mut claims = Written::new();
        claims.raw("{\"iss\":").text(&self.issuer).raw(",\"aud\":").text(verification.application.as_str());
        claims.raw(",\"sub\":").text(verification.to.reveal()).raw(",\"purpose\":").text(verification.purpose.as_str());
        claims.raw(",\"channel\":").text(verification.channel.as_str()).raw(",\"jti\":\"").shown(verification.id);
        claims.raw("\",\"iat\":").shown(now.as_secs()).raw(",\"exp\":").shown(now.as_secs() + self.lifetime).raw("}");
        claims
    }

    /// Checks a token as a back end of `audience` should: signature first, by the key that the header names and by no other algorithm
    /// than that key's, then who, for whom, and until when.
    ///
    /// # Errors
    /// [`Untrusted`] says why not.
    pub fn verify(&self, token: &str, audience: &str, now: Timestamp) -> Result<Claims, Untrusted> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Untrusted::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Untrusted::Malformed)?;
        let header: Header = read(header)?;
        let keys = self.keys();
        if keys.public.iter().all(|key| key.algorithm.as_str() != header.alg) || header.typ != "JWT" {
            return Err(Untrusted::Algorithm);
        }
        let key = keys.public.iter().find(|key| key.kid == header.kid).ok_or(Untrusted::UnknownKey)?;
        if key.algorithm.as_str() != header.alg {
            return Err(Untrusted::Algorithm);
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Untrusted::Malformed)?;
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
        self.keys().jwks.clone()
    }
}

impl Keys {
    fn new(active: &TokenKey, others: &[TokenKey]) -> Result<Self, UnusableKey> {
        let public = std::iter::once(active).chain(others).map(|key| {
            let bytes = pair(key)?.public();
            Ok(Public { kid: key.kid.clone(), algorithm: key.algorithm(), bytes })
        });
        let public: Vec<_> = public.collect::<Result<_, _>>()?;
        let (alg, kid) = (active.algorithm().as_str().to_owned(), active.kid.clone());
        let header = Header { alg, typ: "JWT".to_owned(), kid };
        let header = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&header).unwrap_or_default()) + ".";
        let jwks: Vec<_> = public.iter().map(Public::jwk).collect();
        let jwks = serde_json::json!({ "keys": jwks }).to_string().into_bytes().into();
        Ok(Self { active: pair(active)?, header, public, jwks })
    }
}

fn pair(key: &TokenKey) -> Result<Pair, UnusableKey> {
    let made = match &key.secret {
        TokenSecret::EdDsa(seed) => Ed25519KeyPair::from_seed_unchecked(&**seed).map(Pair::EdDsa),
        TokenSecret::Es256(pkcs8) => {
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
                .map(|pair| Pair::Es256(Box::new(pair)))
        }
    };
    made.map_err(|_| UnusableKey(key.kid.clone()))
}

impl Pair {
    fn public(&self) -> Vec<u8> {
        match self {
            Self::EdDsa(pair) => pair.public_key().as_ref().to_vec(),
            Self::Es256(pair) => pair.public_key().as_ref().to_vec(),
        }
    }

    fn sign(&self, text: &[u8]) -> Option<ring::signature::Signature> {
        match self {
            Self::EdDsa(pair) => Some(pair.sign(text)),
            Self::Es256(pair) => pair.sign(&SystemRandom::new(), text).ok(),
        }
    }
}

impl Public {
    fn verify(&self, text: &[u8], signature: &[u8]) -> Result<(), ring::error::Unspecified> {
        match self.algorithm {
            Algorithm::EdDsa => UnparsedPublicKey::new(&ED25519, &self.bytes).verify(text, signature),
            Algorithm::Es256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.bytes).verify(text, signature),
        }
    }

    fn jwk(&self) -> serde_json::Value {
        let (kid, alg) = (&self.kid, self.algorithm.as_str());
        match self.algorithm {
            Algorithm::EdDsa => {
                let x = URL_SAFE_NO_PAD.encode(&self.bytes);
                serde_json::json!({"kty": "OKP", "crv": "Ed25519", "alg": alg, "use": "sig", "kid": kid, "x": x})
            }
            Algorithm::Es256 => {
                // 0x04, then the two coordinates.
                let (x, y) = self.bytes.get(1..).unwrap_or_default().split_at(self.bytes.len().saturating_sub(1) / 2);
                let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
                serde_json::json!({"kty": "EC", "crv": "P-256", "alg": alg, "use": "sig", "kid": kid, "x": x, "y": y})
            }
        }
    }
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
        TokenKey::from_seed(kid, [byte; 32])
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
        let claims = signer.verify(&signer.sign(&verification, now).unwrap(), "default", now).unwrap();
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
        assert_eq!(signer.claims(&verification, now).as_str(), serde_json::to_string(&expected).unwrap());
    }

    #[tokio::test]
    async fn bug_c3_nothing_but_the_signed_proof_is_accepted() {
        let (signer, verification) = (signer(), verification().await);
        let now = Timestamp::from_millis(1_700_000_000_000);
        let token = signer.sign(&verification, now).unwrap();
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
        assert_eq!(verify(&stranger.sign(&verification, now).unwrap()), Some(Untrusted::Signature));
        let elsewhere = TokenSigner::new(&key("b", 2), &[], "https://other.example").unwrap();
        assert_eq!(verify(&elsewhere.sign(&verification, now).unwrap()), Some(Untrusted::Issuer));
        let before_rotation = TokenSigner::new(&key("a", 1), &[], ISSUER).unwrap();
        assert_eq!(verify(&before_rotation.sign(&verification, now).unwrap()), None, "an older key is still ours");
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
        let known = TokenSigner::new(&TokenKey::from_seed("k", seed), &[], ISSUER).unwrap();
        assert!(String::from_utf8_lossy(&known.jwks()).contains("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
    }

    #[tokio::test]
    async fn es256_is_signed_checked_and_published() {
        let verification = verification().await;
        let now = Timestamp::from_millis(1_700_000_000_000);
        let es256 = |kid: &str| TokenKey { kid: kid.to_owned(), secret: TokenSecret::Es256(new_es256().unwrap()) };
        let (first, second) = (es256("a"), es256("b"));
        let signer = TokenSigner::new(&first, &[], ISSUER).unwrap().lifetime(60);
        let token = signer.sign(&verification, now).unwrap();
        let claims = signer.verify(&token, "default", now).unwrap();
        assert_eq!(claims.exp - claims.iat, 60);
        let jwks: serde_json::Value = serde_json::from_slice(&signer.jwks()).unwrap();
        let key = &jwks["keys"][0];
        assert_eq!((&key["kty"], &key["crv"], &key["alg"]), (&"EC".into(), &"P-256".into(), &"ES256".into()));
        for member in ["x", "y"] {
            assert_eq!(URL_SAFE_NO_PAD.decode(key[member].as_str().unwrap()).unwrap().len(), 32);
        }
        assert!(key.get("d").is_none());
        // The same name, the other kind of key: neither is taken for the other.
        let other = TokenSigner::new(&super::tests::key("a", 1), &[], ISSUER).unwrap();
        assert_eq!(other.verify(&token, "default", now), Err(Untrusted::Algorithm));
        let theirs = other.sign(&verification, now).unwrap();
        assert_eq!(signer.verify(&theirs, "default", now), Err(Untrusted::Algorithm));
        // Keys are changed in use, and tokens signed before are still believed.
        signer.set_keys(&second, &[first]).unwrap();
        assert!(signer.verify(&token, "default", now).is_ok());
        assert!(signer.verify(&signer.sign(&verification, now).unwrap(), "default", now).is_ok());
        let unusable = TokenKey { kid: "c".into(), secret: TokenSecret::Es256(Zeroizing::new(vec![1, 2, 3])) };
        assert_eq!(signer.set_keys(&unusable, &[]), Err(UnusableKey("c".into())));
        assert!(signer.verify(&token, "default", now).is_ok());
    }
}
