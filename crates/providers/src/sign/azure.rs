//! Azure Communication Services: HMAC-SHA256 by access key
//! (<https://learn.microsoft.com/azure/communication-services/tutorials/hmac-header-tutorial>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest;
use zeroize::Zeroizing;

use super::{Signing, date, hmac_sha256};
use crate::template::TemplateError;

pub(crate) struct Azure(pub Zeroizing<Vec<u8>>);

impl Azure {
    /// Takes the access key as the portal shows it: base64.
    pub(crate) fn new(access_key: &str) -> Result<Self, String> {
        let key = STANDARD.decode(access_key.trim()).ok().filter(|key| !key.is_empty());
        key.map(|key| Self(key.into())).ok_or_else(|| "must be the access key as the portal shows it, in base64".into())
    }

    pub(super) fn sign(&self, request: &mut Signing<'_>) -> Result<(), TemplateError> {
        let time = date(request.now, "%a, %d %b %Y %H:%M:%S GMT")?;
        let hash = STANDARD.encode(digest::digest(&digest::SHA256, request.body));
        let (method, host) = (request.method, request.host());
        let target = &request.url[url::Position::BeforePath..url::Position::AfterQuery];
        let text = format!("{method}\n{target}\n{time};{host};{hash}");
        let signature = STANDARD.encode(&*hmac_sha256(&self.0, text.as_bytes()));
        request.put("x-ms-date", &time)?;
        request.put("x-ms-content-sha256", &hash)?;
        let value = format!("HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature={signature}");
        request.put("authorization", &value)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;
    use crate::sign::Signer;
    use crate::sign::bench::signed;

    /// Reckoned apart from this code (Python's hmac), by the documentation: the vendor publishes no example with its key.
    #[test]
    fn the_documented_text_is_signed() {
        let signer = Signer::Azure(Azure::new("YW4gYWNjZXNzIGtleSBvZiB0aGUgcmVzb3VyY2UsIDMy").unwrap());
        let url = "https://contoso.communication.azure.com/sms?api-version=2021-03-07";
        let headers = signed(&signer, "POST", url, &[], r#"{"a":1}"#, 1_700_000_000);
        assert_eq!(headers["x-ms-date"], "Tue, 14 Nov 2023 22:13:20 GMT");
        assert_eq!(headers["x-ms-content-sha256"], "AVq9f1zFei3ZS3WQ8ErYCEJzkF7jPsXOvq5iJ2qX+GI=");
        assert_eq!(
            headers["authorization"],
            "HMAC-SHA256 SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=i4wsTHww6Lsl+jiGRXbCWvbGMRaR1sjEZWRRJmqRbiw="
        );
        assert!(Azure::new("not base64!").is_err() && Azure::new("").is_err());
    }
}
