//! Tencent Cloud: TC3-HMAC-SHA256 (<https://www.tencentcloud.com/document/product/1176/55147>).

use zeroize::Zeroizing;

use super::{Signing, date, hex, hmac_sha256, sha256_hex};
use crate::template::TemplateError;

pub(crate) struct Tencent {
    pub secret_id: String,
    pub secret_key: Zeroizing<String>,
    pub service: String,
}

impl Tencent {
    pub(super) fn sign(&self, request: &mut Signing<'_>) -> Result<(), TemplateError> {
        let (time, day) = (request.now.to_string(), date(request.now, "%Y-%m-%d")?);
        request.put("x-tc-timestamp", &time)?;
        let mut signed = vec![("host", request.host().to_owned())];
        signed.extend(request.content_type().map(|value| ("content-type", value.to_owned())));
        signed.extend(request.header("x-tc-action").map(|value| ("x-tc-action", value.to_lowercase())));
        signed.sort();
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let (method, query, hash) = (request.method, request.canonical_query(), sha256_hex(request.body));
        let canonical = format!("{method}\n{}\n{query}\n{headers}\n{names}\n{hash}", request.url.path());
        let scope = format!("{day}/{}/tc3_request", self.service);
        let text = format!("TC3-HMAC-SHA256\n{time}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
        let mut key = Zeroizing::new(format!("TC3{}", *self.secret_key).into_bytes());
        for part in [day.as_str(), &self.service, "tc3_request"] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        let signature = hex(&hmac_sha256(&key, text.as_bytes()));
        let id = &self.secret_id;
        let value = format!("TC3-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        request.put("authorization", &value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Signer;
    use crate::sign::bench::signed;

    #[test]
    fn the_example_of_the_documentation() {
        let signer = Signer::Tencent(Tencent {
            secret_id: "AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******".to_owned(),
            secret_key: "Gu5t9xGARNpq86cd98joQYCN3*******".to_owned().into(),
            service: "cvm".to_owned(),
        });
        let headers = [("content-type", "application/json; charset=utf-8")];
        let body = r#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
        let headers = signed(&signer, "POST", "https://cvm.tencentcloudapi.com/", &headers, body, 1_551_113_065);
        assert_eq!(
            headers["authorization"],
            "TC3-HMAC-SHA256 Credential=AKIDz8krbsJ5yKBZQpn74WFkmLPx3*******/2019-02-25/cvm/tc3_request, SignedHeaders=content-type;host, Signature=2230eefd229f582d8b1b891af7107b91597240707d778ab3738f756258d7652c"
        );
    }
}
