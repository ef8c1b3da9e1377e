//! AWS Signature Version 4 (<https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html>).

use zeroize::Zeroizing;

use super::{Signing, date, hex, hmac_sha256, percent, sha256_hex};
use crate::template::TemplateError;

pub(crate) struct Aws {
    pub access_key_id: String,
    pub secret_access_key: Zeroizing<String>,
    /// Of temporary credentials; empty if there is none.
    pub session_token: Zeroizing<String>,
    pub region: String,
    pub service: String,
}

impl Aws {
    pub(super) fn sign(&self, request: &mut Signing<'_>) -> Result<(), TemplateError> {
        let (time, day) = (date(request.now, "%Y%m%dT%H%M%SZ")?, date(request.now, "%Y%m%d")?);
        request.put("x-amz-date", &time)?;
        if !self.session_token.is_empty() {
            request.put("x-amz-security-token", &self.session_token)?;
        }
        let mut signed = vec![("host", request.host().to_owned()), ("x-amz-date", time.clone())];
        for name in ["content-type", "x-amz-security-token"] {
            signed.extend(request.header(name).map(|value| (name, value.trim().to_owned())));
        }
        signed.sort();
        let names = signed.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let headers: String = signed.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        // Every service but S3 encodes the path a second time.
        let path = request.url.path().split('/').map(percent).collect::<Vec<_>>().join("/");
        let canonical = format!(
            "{}\n{path}\n{}\n{headers}\n{names}\n{}",
            request.method,
            request.canonical_query(),
            sha256_hex(request.body)
        );
        let scope = format!("{day}/{}/{}/aws4_request", self.region, self.service);
        let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
        let mut key = Zeroizing::new(format!("AWS4{}", *self.secret_access_key).into_bytes());
        for part in [day.as_str(), &self.region, &self.service, "aws4_request"] {
            key = hmac_sha256(&key, part.as_bytes());
        }
        let signature = hex(&hmac_sha256(&key, text.as_bytes()));
        let id = &self.access_key_id;
        let value = format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        request.put("authorization", &value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Signer;
    use crate::sign::bench::signed;

    /// The names and values of the AWS Signature Version 4 test suite (aws-sig-v4-test-suite).
    fn suite(session_token: &str) -> Signer {
        Signer::Aws(Aws {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned().into(),
            session_token: session_token.to_owned().into(),
            region: "us-east-1".to_owned(),
            service: "service".to_owned(),
        })
    }

    const AT: i64 = 1_440_938_160;

    /// Its name, method, target, headers and body; which headers are signed, and the signature.
    type Vector = (
        &'static str,
        &'static str,
        &'static str,
        &'static [(&'static str, &'static str)],
        &'static str,
        &'static str,
        &'static str,
    );

    #[test]
    fn the_vectors_of_the_aws_test_suite() {
        const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");
        let host = "https://example.amazonaws.com";
        let cases: [Vector; 5] = [
            (
                "get-vanilla",
                "GET",
                "/",
                &[],
                "",
                "host;x-amz-date",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "post-vanilla",
                "POST",
                "/",
                &[],
                "",
                "host;x-amz-date",
                "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "/?Param2=value2&Param1=value1",
                &[],
                "",
                "host;x-amz-date",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "post-vanilla-query",
                "POST",
                "/?Param1=value1",
                &[],
                "",
                "host;x-amz-date",
                "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
            ),
            (
                "post-x-www-form-urlencoded",
                "POST",
                "/",
                &[FORM],
                "Param1=value1",
                "content-type;host;x-amz-date",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ];
        for (name, method, target, headers, body, names, signature) in cases {
            let headers = signed(&suite(""), method, &format!("{host}{target}"), headers, body, AT);
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders={names}, Signature={signature}"
            );
            assert_eq!(headers["authorization"], expected.as_str(), "{name}");
        }
    }

    #[test]
    fn a_session_token_is_sent_and_signed() {
        let headers = signed(&suite("t0ken"), "GET", "https://example.amazonaws.com/", &[], "", AT);
        assert_eq!(headers["x-amz-security-token"], "t0ken");
        let names = headers["authorization"].to_str().unwrap_or_default();
        assert!(names.contains("SignedHeaders=host;x-amz-date;x-amz-security-token,"), "{names}");
    }
}
