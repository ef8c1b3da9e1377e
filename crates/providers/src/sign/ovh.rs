//! OVHcloud: `$1$` and the SHA-1 of the application secret, the consumer key, the request and the time
//! (<https://help.ovhcloud.com/csm/en-api-getting-started-ovhcloud-api?id=kb_article_view&sysparm_article=KB0042777>).

use ring::digest;
use zeroize::Zeroizing;

use super::{Signing, hex};
use crate::template::TemplateError;

pub(crate) struct Ovh {
    pub application_key: String,
    pub application_secret: Zeroizing<String>,
    pub consumer_key: Zeroizing<String>,
}

impl Ovh {
    pub(super) fn sign(&self, request: &mut Signing<'_>) -> Result<(), TemplateError> {
        let time = request.now.to_string();
        let mut text = Zeroizing::new(Vec::with_capacity(256 + request.body.len()));
        let parts: [&[u8]; 6] = [
            self.application_secret.as_bytes(),
            self.consumer_key.as_bytes(),
            request.method.as_str().as_bytes(),
            request.url.as_str().as_bytes(),
            request.body,
            time.as_bytes(),
        ];
        for (nth, part) in parts.into_iter().enumerate() {
            if nth > 0 {
                text.push(b'+');
            }
            text.extend_from_slice(part);
        }
        let signature = hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text).as_ref());
        request.put("x-ovh-application", &self.application_key)?;
        request.put("x-ovh-consumer", &self.consumer_key)?;
        request.put("x-ovh-timestamp", &time)?;
        request.put("x-ovh-signature", &format!("$1${signature}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Signer;
    use crate::sign::bench::signed;

    /// The vectors of OVH's own client (python-ovh, tests/test_client.py).
    #[test]
    fn the_vectors_of_the_official_client() {
        let signer = Signer::Ovh(Ovh {
            application_key: "fake application key".to_owned(),
            application_secret: "fake application secret".to_owned().into(),
            consumer_key: "fake consumer key".to_owned().into(),
        });
        let url = "https://eu.api.ovh.com/1.0/unit/test";
        for (body, signature) in [
            ("", "$1$16ae5ba8c63841b1951575be905867991d5f49dc"),
            (r#"{"some": "random", "data": 42}"#, "$1$9acb1ac0120006d16261a635aed788e83ab172d2"),
        ] {
            let headers = signed(&signer, "METHOD", url, &[], body, 1_404_395_931);
            assert_eq!(headers["x-ovh-signature"], signature);
            assert_eq!(headers["x-ovh-timestamp"], "1404395931");
            assert_eq!(headers["x-ovh-application"], "fake application key");
            assert_eq!(headers["x-ovh-consumer"], "fake consumer key");
        }
    }
}
