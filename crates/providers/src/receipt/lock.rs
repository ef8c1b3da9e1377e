//! Why a report is believed: each scheme once, all of them compared in constant time.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::{digest, hmac, signature};
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{ReceiptRefused, ReceiptRequest, pairs};
use crate::config::{ProviderConfig, ProviderError};
use crate::descriptor::{RECEIPTS_URL, ReceiptAuth};
use crate::sign::{HmacRule, Parts, hex};
use crate::standard_webhooks::{InvalidKey, Key, TOLERANCE_SECS};

/// Opens for reports that prove where they come from.
pub(super) enum Lock {
    /// With what its headers begin with.
    StandardWebhooks(Key, String),
    Path(Zeroizing<String>),
    Hmac(HmacRule, hmac::Key),
    Ed25519 {
        key: [u8; 32],
        header: String,
        timestamp_header: String,
        over: Parts,
    },
    Jwt {
        key: hmac::Key,
        header: String,
        prefix: String,
        body_hash: Option<String>,
    },
    Twilio {
        key: hmac::Key,
        address: String,
    },
    Vonage(hmac::Key),
    /// The secret is not configured.
    Shut,
    /// The secret is there, but not the address that the signature covers.
    Nowhere,
}

impl Lock {
    pub(super) fn new(auth: &ReceiptAuth, config: &ProviderConfig) -> Result<Self, ProviderError> {
        let field = auth.field();
        let Some(secret) = config.get(field) else { return Ok(Self::Shut) };
        let bad = |problem: String| ProviderError::BadField {
            provider: config.name.clone(),
            field: field.to_owned(),
            problem,
        };
        let sha256 = || hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
        Ok(match auth {
            ReceiptAuth::StandardWebhooks { headers, .. } => {
                let key = secret.parse().map_err(|error: InvalidKey| bad(error.to_string()))?;
                Self::StandardWebhooks(key, headers.clone())
            }
            ReceiptAuth::PathSecret { .. } => {
                if !is_segment(secret) {
                    let problem = "must be 16 to 128 letters, digits, `-` and `_`: it stands in an address; `openssl rand -hex 24` makes one";
                    return Err(bad(problem.to_owned()));
                }
                Self::Path(Zeroizing::new(secret.to_owned()))
            }
            ReceiptAuth::Hmac { rule, .. } => Self::Hmac(rule.clone(), rule.key(secret)),
            ReceiptAuth::Ed25519 { header, timestamp_header, over, .. } => {
                let key = STANDARD.decode(secret.trim()).ok().and_then(|key| <[u8; 32]>::try_from(key).ok());
                let key = key.ok_or_else(|| bad("must be the public key: 32 bytes in base64".to_owned()))?;
                let (header, timestamp_header) = (header.clone(), timestamp_header.clone());
                Self::Ed25519 { key, header, timestamp_header, over: over.clone() }
            }
            ReceiptAuth::Jwt { header, prefix, body_hash, .. } => {
                let (header, prefix, body_hash) = (header.clone(), prefix.clone(), body_hash.clone());
                Self::Jwt { key: sha256(), header, prefix, body_hash }
            }
            ReceiptAuth::Twilio { .. } => match config.get(RECEIPTS_URL) {
                None => Self::Nowhere,
                Some(address) => Self::Twilio {
                    key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret.as_bytes()),
                    address: address.trim_end_matches('/').to_owned(),
                },
            },
            ReceiptAuth::Vonage { .. } => Self::Vonage(sha256()),
        })
    }

    pub(super) fn open(&self, request: &ReceiptRequest<'_>) -> Result<(), ReceiptRefused> {
        self.open_at(request, "")
    }

    /// The same, for what came to an address that ends in `tail`.
    pub(super) fn open_at(&self, request: &ReceiptRequest<'_>, tail: &str) -> Result<(), ReceiptRefused> {
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let given = |name: &str| header(name).ok_or(ReceiptRefused::BadSignature);
        match self {
            Self::Shut => Err(ReceiptRefused::NoSecret),
            Self::Nowhere => Err(ReceiptRefused::NoAddress),
            Self::StandardWebhooks(key, prefix) => {
                let part = |name: &str| header(&format!("{prefix}-{name}"));
                Ok(key.verify(part("id"), part("timestamp"), part("signature"), request.body, request.now)?)
            }
            Self::Path(secret) => {
                let given = request.path_secret.unwrap_or_default();
                let same: bool = given.as_bytes().ct_eq(secret.as_bytes()).into();
                if same { Ok(()) } else { Err(ReceiptRefused::WrongSecret) }
            }
            Self::Hmac(rule, key) => {
                let signature = given(&rule.header)?;
                let timestamp = rule.timestamp_header.as_deref().map(given).transpose()?;
                believe(rule.is_signed(key, signature, timestamp.unwrap_or_default(), request.body))?;
                timestamp.map_or(Ok(()), |timestamp| recent(timestamp, request.now))
            }
            Self::Ed25519 { key, header, timestamp_header, over } => {
                let (signed, timestamp) = (given(header)?, given(timestamp_header)?);
                let signed = STANDARD.decode(signed.trim()).map_err(|_| ReceiptRefused::BadSignature)?;
                let text: Vec<u8> = over.each(timestamp, request.body).flatten().copied().collect();
                let key = signature::UnparsedPublicKey::new(&signature::ED25519, key);
                believe(key.verify(&text, &signed).is_ok())?;
                recent(timestamp, request.now)
            }
            Self::Jwt { key, header, prefix, body_hash } => {
                let token = given(header)?.trim();
                let token = token.strip_prefix(prefix.as_str()).ok_or(ReceiptRefused::BadSignature)?;
                jwt(token.trim(), key, body_hash.as_deref(), request)
            }
            Self::Twilio { key, address } => {
                twilio(key, &format!("{address}{tail}"), given("x-twilio-signature")?, request)
            }
            Self::Vonage(key) => vonage(key, request),
        }
    }
}

/// Whether a text can stand in an address as it is, and is too long to be guessed.
fn is_segment(text: &str) -> bool {
    (16..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

fn believe(signed: bool) -> Result<(), ReceiptRefused> {
    if signed { Ok(()) } else { Err(ReceiptRefused::BadSignature) }
}

/// Whether a signed time is about now. Some say it in milliseconds.
fn recent(timestamp: &str, now: i64) -> Result<(), ReceiptRefused> {
    let at: i64 = timestamp.trim().parse().map_err(|_| ReceiptRefused::BadSignature)?;
    let at = if at > 100_000_000_000 { at / 1000 } else { at };
    if at.abs_diff(now) > TOLERANCE_SECS.unsigned_abs() { Err(ReceiptRefused::Stale) } else { Ok(()) }
}

#[derive(Deserialize)]
struct JwtHead {
    alg: String,
}

/// A JWT by HS256 alone, in time if it says when it ends, and, where it names the body's hash, of this body.
fn jwt(token: &str, key: &hmac::Key, hash: Option<&str>, request: &ReceiptRequest<'_>) -> Result<(), ReceiptRefused> {
    let bad = ReceiptRefused::BadSignature;
    let (signed, tag) = token.rsplit_once('.').ok_or(bad)?;
    let tag = URL_SAFE_NO_PAD.decode(tag).map_err(|_| bad)?;
    hmac::verify(key, signed.as_bytes(), &tag).map_err(|_| bad)?;
    let (head, claims) = signed.split_once('.').ok_or(bad)?;
    let read = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| bad);
    let head: JwtHead = serde_json::from_slice(&read(head)?).map_err(|_| bad)?;
    let claims: Value = serde_json::from_slice(&read(claims)?).map_err(|_| bad)?;
    if head.alg != "HS256" {
        return Err(bad);
    }
    if let Some(name) = hash {
        let said = claims.get(name).and_then(Value::as_str).ok_or(bad)?;
        let hash = hex(digest::digest(&digest::SHA256, request.body).as_ref());
        believe(hash.as_bytes().ct_eq(said.to_ascii_lowercase().as_bytes()).into())?;
    }
    let time = |name: &str| claims.get(name).and_then(Value::as_i64);
    let over = time("exp").is_some_and(|until| request.now > until.saturating_add(60));
    let early = time("nbf").is_some_and(|from| request.now < from.saturating_sub(60));
    let old =
        time("exp").is_none() && time("iat").is_some_and(|at| at.abs_diff(request.now) > TOLERANCE_SECS.unsigned_abs());
    if over || early || old { Err(ReceiptRefused::Stale) } else { Ok(()) }
}

/// <https://www.twilio.com/docs/usage/security>: the address, and of a form each name and value, in the order of the names.
fn twilio(key: &hmac::Key, address: &str, given: &str, request: &ReceiptRequest<'_>) -> Result<(), ReceiptRefused> {
    let mut text = address.to_owned();
    if request.by_get {
        text.push('?');
        text.push_str(&String::from_utf8_lossy(request.body));
    } else {
        let mut pairs = pairs(request.body).ok_or(ReceiptRefused::BadSignature)?;
        pairs.sort();
        pairs.dedup();
        for (name, value) in &pairs {
            text.push_str(name);
            text.push_str(value);
        }
    }
    let given = STANDARD.decode(given.trim()).map_err(|_| ReceiptRefused::BadSignature)?;
    hmac::verify(key, text.as_bytes(), &given).map_err(|_| ReceiptRefused::BadSignature)
}

/// <https://developer.vonage.com/en/getting-started/concepts/signing-messages>: `&name=value` for each parameter in order, with
/// `&` and `=` in values written as `_`. The time is one of the parameters.
fn vonage(key: &hmac::Key, request: &ReceiptRequest<'_>) -> Result<(), ReceiptRefused> {
    let json = if request.by_get { None } else { serde_json::from_slice::<Value>(request.body).ok() };
    let mut pairs = match json {
        Some(Value::Object(entries)) => {
            let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            entries.into_iter().map(|(name, value)| (name, text(value))).collect()
        }
        _ => pairs(request.body).ok_or(ReceiptRefused::BadSignature)?,
    };
    pairs.sort();
    let mut context = hmac::Context::with_key(key);
    let (mut given, mut at) = (None, None);
    for (name, value) in &pairs {
        match name.as_str() {
            "sig" => given = Some(value.to_ascii_lowercase()),
            name => {
                if name == "timestamp" {
                    at = Some(value.clone());
                }
                context.update(format!("&{name}={}", value.replace(['&', '='], "_")).as_bytes());
            }
        }
    }
    let expected = hex(context.sign().as_ref());
    believe(given.is_some_and(|given| expected.as_bytes().ct_eq(given.as_bytes()).into()))?;
    recent(&at.ok_or(ReceiptRefused::BadSignature)?, request.now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use proptest::prelude::*;
    use reqwest::header::{HeaderMap, HeaderName};
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        pairs.iter().map(pair).collect()
    }

    fn open(lock: &Lock, pairs: &[(&str, &str)], body: &str, by_get: bool) -> Result<(), ReceiptRefused> {
        let headers = headers(pairs);
        lock.open(&ReceiptRequest { headers: &headers, body: body.as_bytes(), by_get, path_secret: None, now: NOW })
    }

    const BAD: Result<(), ReceiptRefused> = Err(ReceiptRefused::BadSignature);

    #[test]
    fn a_secret_in_the_path_opens_only_if_it_is_the_one() {
        let lock = Lock::Path(Zeroizing::new("a-secret".to_owned()));
        let headers = HeaderMap::new();
        let open = |path_secret| {
            lock.open(&ReceiptRequest { headers: &headers, body: b"", by_get: false, path_secret, now: 0 })
        };
        assert_eq!(open(Some("a-secret")), Ok(()));
        for wrong in [None, Some(""), Some("a-secre"), Some("a-secret "), Some("A-SECRET")] {
            assert_eq!(open(wrong), Err(ReceiptRefused::WrongSecret), "{wrong:?}");
        }
    }

    /// The example of Twilio's documentation and of its own clients' tests.
    #[test]
    fn twilio_s_own_vector() {
        let address = "https://mycompany.com/myapp.php?foo=1&bar=2".to_owned();
        let lock = Lock::Twilio { key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, b"12345"), address };
        let form = "CallSid=CA1234567890ABCDE&Caller=%2B14158675309&Digits=1234&From=%2B14158675309&To=%2B18005551212";
        let signed = [("x-twilio-signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=")];
        assert_eq!(open(&lock, &signed, form, false), Ok(()));
        assert_eq!(open(&lock, &signed, &form.replace("1234&From", "1235&From"), false), BAD);
        assert_eq!(open(&lock, &signed, form, true), BAD);
        assert_eq!(open(&lock, &[], form, false), BAD);
        assert_eq!(open(&lock, &[("x-twilio-signature", "?")], form, false), BAD);
    }

    #[test]
    fn an_ed25519_signature_is_of_the_time_and_the_body() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let lock = Lock::Ed25519 {
            key: pair.public_key().as_ref().try_into().unwrap(),
            header: "telnyx-signature-ed25519".to_owned(),
            timestamp_header: "telnyx-timestamp".to_owned(),
            over: "{timestamp}|{body}".to_owned().try_into().unwrap(),
        };
        let sign = |at: &str, body: &str| STANDARD.encode(pair.sign(format!("{at}|{body}").as_bytes()));
        let opens = |at: &str, body: &str, signature: &str| {
            open(&lock, &[("telnyx-timestamp", at), ("telnyx-signature-ed25519", signature)], body, false)
        };
        let (now, old) = (NOW.to_string(), (NOW - 301).to_string());
        assert_eq!(opens(&now, "{}", &sign(&now, "{}")), Ok(()));
        assert_eq!(opens(&now, "{ }", &sign(&now, "{}")), BAD);
        assert_eq!(opens(&old, "{}", &sign(&now, "{}")), BAD);
        assert_eq!(opens(&old, "{}", &sign(&old, "{}")), Err(ReceiptRefused::Stale));
        assert_eq!(opens(&now, "{}", ""), BAD);
    }

    fn token(alg: &str, claims: &Value, secret: &str) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&serde_json::json!({"typ": "JWT", "alg": alg})), part(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    #[test]
    fn a_jwt_is_of_the_key_the_algorithm_the_body_and_the_time() {
        let lock = |body_hash: Option<&str>| Lock::Jwt {
            key: hmac::Key::new(hmac::HMAC_SHA256, b"k"),
            header: "authorization".to_owned(),
            prefix: "Bearer ".to_owned(),
            body_hash: body_hash.map(str::to_owned),
        };
        let opens =
            |lock: &Lock, token: &str| open(lock, &[("authorization", &format!("Bearer {token}"))], "{}", false);
        let hash = hex(digest::digest(&digest::SHA256, b"{}").as_ref());
        let (plain, bound) = (lock(None), lock(Some("payload_hash")));
        let claims = serde_json::json!({"exp": NOW + 10, "payload_hash": hash});
        assert_eq!(opens(&plain, &token("HS256", &claims, "k")), Ok(()));
        assert_eq!(opens(&bound, &token("HS256", &claims, "k")), Ok(()));
        assert_eq!(opens(&plain, &token("HS256", &claims, "other")), BAD);
        assert_eq!(opens(&plain, &token("none", &claims, "k")), BAD);
        assert_eq!(open(&plain, &[("authorization", &token("HS256", &claims, "k"))], "{}", false), BAD);
        assert_eq!(opens(&bound, &token("HS256", &serde_json::json!({"payload_hash": "00"}), "k")), BAD);
        assert_eq!(opens(&bound, &token("HS256", &serde_json::json!({}), "k")), BAD);
        for late in [
            serde_json::json!({"exp": NOW - 61}),
            serde_json::json!({"nbf": NOW + 61}),
            serde_json::json!({"iat": NOW - 301}),
        ] {
            assert_eq!(opens(&plain, &token("HS256", &late, "k")), Err(ReceiptRefused::Stale), "{late}");
        }
        for none in ["", "a.b", "a.b.c", "....", "e30.e30."] {
            assert_eq!(opens(&plain, none), BAD, "{none}");
        }
    }

    #[test]
    fn vonage_signs_the_parameters_in_order_and_the_time() {
        let lock = Lock::Vonage(hmac::Key::new(hmac::HMAC_SHA256, b"k"));
        let at = NOW.to_string();
        let text = format!("&a=1_2&status=delivered&timestamp={at}");
        let sig = hex(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"k"), text.as_bytes()).as_ref());
        let query = format!("timestamp={at}&status=delivered&a=1%262&sig={}", sig.to_uppercase());
        assert_eq!(open(&lock, &[], &query, true), Ok(()));
        let json = format!(r#"{{"timestamp":"{at}","status":"delivered","a":"1=2","sig":"{sig}"}}"#);
        assert_eq!(open(&lock, &[], &json, false), Ok(()));
        assert_eq!(open(&lock, &[], &query.replace("delivered", "failed"), true), BAD);
        assert_eq!(open(&lock, &[], &format!("timestamp={at}&status=delivered"), true), BAD);
        assert_eq!(open(&lock, &[], "", true), BAD);
    }

    proptest! {
        #[test]
        fn nonsense_opens_nothing(body in "\\PC*", given in "[ -~]{0,60}", by_get in any::<bool>()) {
            let key = || hmac::Key::new(hmac::HMAC_SHA256, b"k");
            let locks = [
                Lock::Vonage(key()),
                Lock::Twilio { key: key(), address: String::new() },
                Lock::Jwt { key: key(), header: "x-twilio-signature".to_owned(), prefix: String::new(), body_hash: None },
            ];
            for lock in locks {
                prop_assert_eq!(open(&lock, &[("x-twilio-signature", given.trim())], &body, by_get), BAD);
            }
        }
    }
}
