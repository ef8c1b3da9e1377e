//! Alibaba Cloud: ACS3-HMAC-SHA256
//! (<https://www.alibabacloud.com/help/en/sdk/product-overview/v3-request-structure-and-signature>).

use zeroize::Zeroizing;

use super::{Signing, date, hex, hmac_sha256, sha256_hex};
use crate::template::TemplateError;

const NONCE: &str = "x-acs-signature-nonce";

pub(crate) struct Aliyun {
    pub access_key_id: String,
    pub access_key_secret: Zeroizing<String>,
}

impl Aliyun {
    pub(super) fn sign(&self, request: &mut Signing<'_>) -> Result<(), TemplateError> {
        let hash = sha256_hex(request.body);
        request.put("x-acs-date", &date(request.now, "%Y-%m-%dT%H:%M:%SZ")?)?;
        request.put("x-acs-content-sha256", &hash)?;
        // It must not come twice within 15 minutes: an attempt is made once at one time.
        if request.header(NONCE).is_none() {
            let nonce = format!("{}-{}", request.id, request.now);
            request.put(NONCE, &nonce)?;
        }
        let mut signed = vec![("host".to_owned(), request.host().to_owned())];
        for (name, value) in &*request.headers {
            if name.as_str().starts_with("x-acs-") || name.as_str() == "content-type" {
                signed.push((name.to_string(), value.to_str().map_err(|_| TemplateError)?.trim().to_owned()));
            }
        }
        signed.sort();
        let names = signed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
        let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (method, path, query) = (request.method, request.url.path(), request.canonical_query());
        let canonical = format!("{method}\n{path}\n{query}\n{headers}\n{names}\n{hash}");
        let text = format!("ACS3-HMAC-SHA256\n{}", sha256_hex(canonical.as_bytes()));
        let signature = hex(&hmac_sha256(self.access_key_secret.as_bytes(), text.as_bytes()));
        let id = &self.access_key_id;
        let value = format!("ACS3-HMAC-SHA256 Credential={id},SignedHeaders={names},Signature={signature}");
        request.put("authorization", &value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Signer;
    use crate::sign::bench::signed;

    fn signer() -> Signer {
        Signer::Aliyun(Aliyun {
            access_key_id: "YourAccessKeyId".to_owned(),
            access_key_secret: "YourAccessKeySecret".to_owned().into(),
        })
    }

    #[test]
    fn the_example_of_the_documentation() {
        let headers = [
            ("x-acs-action", "RunInstances"),
            ("x-acs-version", "2014-05-26"),
            (NONCE, "3156853299f313e23d1673dc12e1703d"),
        ];
        let url = "https://ecs.cn-shanghai.aliyuncs.com/?ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai";
        let headers = signed(&signer(), "POST", url, &headers, "", 1_698_315_752);
        assert_eq!(headers["x-acs-date"], "2023-10-26T10:22:32Z");
        assert_eq!(
            headers["authorization"],
            "ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0"
        );
    }

    #[test]
    fn no_two_attempts_have_the_same_nonce() {
        let at = |now| signed(&signer(), "POST", "https://host/", &[], "", now)[NONCE].clone();
        assert_ne!(at(1), at(2));
    }
}
