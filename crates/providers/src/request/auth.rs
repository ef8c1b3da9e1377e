//! How a request proves whose it is, as far as that does not depend on the message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::{BadValue, address, bind, blame, header_name, header_value};
use crate::descriptor::Auth;
use crate::oauth2::Grant;
use crate::sign::{Aliyun, Aws, Azure, Hmac, Ovh, Signer, Tencent};
use crate::standard_webhooks::InvalidKey;
use crate::template::{Fields, Source};

/// What a request proves itself with.
pub(super) enum Proof {
    None,
    Header(HeaderName, HeaderValue),
    Query(String, Zeroizing<String>),
    Signer(Signer),
    Grant(Grant),
}

impl Proof {
    pub(super) fn new(auth: &Auth, fields: &Fields<'_>) -> Result<Self, BadValue> {
        let text = |source: &Source| -> Result<Zeroizing<String>, BadValue> {
            Ok(Zeroizing::new(bind(source, fields)?.fixed().unwrap_or_default().to_owned()))
        };
        let plain = |source: &Source| text(source).map(|text| text.to_string());
        let optional = |source: &Option<Source>| source.as_ref().map_or_else(|| Ok(Zeroizing::default()), text);
        Ok(match auth {
            Auth::None => Self::None,
            Auth::Basic { user, password } => {
                let (name, password) = (text(user)?, text(password)?);
                if name.contains(':') {
                    return Err((
                        blame(user),
                        "must not hold a `:`, which Basic authentication cannot carry".to_owned(),
                    ));
                }
                Self::Header(AUTHORIZATION, header_value(&blame(user), &basic(&name, &password), true)?)
            }
            Auth::Bearer { token } => {
                let value = Zeroizing::new(format!("Bearer {}", *text(token)?));
                Self::Header(AUTHORIZATION, header_value(&blame(token), &value, true)?)
            }
            Auth::Header { name, value } => {
                Self::Header(header_name(name)?, header_value(&blame(value), &text(value)?, true)?)
            }
            Auth::Query { name, value } => Self::Query(name.clone(), text(value)?),
            Auth::Oauth2 { token_url, client_id, client_secret, scope } => {
                let url = address(&text(token_url)?).map_err(|problem| (blame(token_url), problem))?;
                let authorization = basic(&text(client_id)?, &text(client_secret)?);
                let authorization = header_value(&blame(client_id), &authorization, true)?;
                Self::Grant(Grant { url, authorization, scope: optional(scope)?.to_string() })
            }
            Auth::StandardWebhooks { secret } => {
                let key = text(secret)?;
                if key.is_empty() {
                    return Ok(Self::None);
                }
                let key = key.parse().map_err(|error: InvalidKey| (blame(secret), error.to_string()))?;
                Self::Signer(Signer::StandardWebhooks(key))
            }
            Auth::Hmac { secret, rule } => Self::Signer(Signer::Hmac(Hmac::new(rule, &text(secret)?))),
            Auth::AwsSigv4 { access_key_id, secret_access_key, session_token, region, service } => {
                Self::Signer(Signer::Aws(Aws {
                    access_key_id: plain(access_key_id)?,
                    secret_access_key: text(secret_access_key)?,
                    session_token: optional(session_token)?,
                    region: plain(region)?,
                    service: service.clone(),
                }))
            }
            Auth::AzureHmac { access_key } => {
                let signer = Azure::new(&text(access_key)?).map_err(|problem| (blame(access_key), problem))?;
                Self::Signer(Signer::Azure(signer))
            }
            Auth::TencentTc3 { secret_id, secret_key, service } => Self::Signer(Signer::Tencent(Tencent {
                secret_id: plain(secret_id)?,
                secret_key: text(secret_key)?,
                service: service.clone(),
            })),
            Auth::AliyunAcs3 { access_key_id, access_key_secret } => Self::Signer(Signer::Aliyun(Aliyun {
                access_key_id: plain(access_key_id)?,
                access_key_secret: text(access_key_secret)?,
            })),
            Auth::Ovh { application_key, application_secret, consumer_key } => Self::Signer(Signer::Ovh(Ovh {
                application_key: plain(application_key)?,
                application_secret: text(application_secret)?,
                consumer_key: text(consumer_key)?,
            })),
        })
    }

    pub(super) fn query(&self) -> Option<(&str, &str)> {
        match self {
            Self::Query(name, value) => Some((name, value)),
            _ => None,
        }
    }
}

fn basic(user: &str, password: &str) -> Zeroizing<String> {
    let pair = Zeroizing::new(format!("{user}:{password}"));
    Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())))
}
