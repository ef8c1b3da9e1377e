//! HTTPS: certificates are looked at, and the system's roots are what they are held against.
//!
//! `tls/` holds an authority that nobody trusts, and a gateway's certificate by it for 127.0.0.1, both for a hundred years. The
//! authority's key is gone.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::{kind, message, reason, sender, webhook};

/// Answers one request over TLS.
fn gateway() -> String {
    let certificate = CertificateDer::from(include_bytes!("tls/gateway.der").as_slice());
    let key = PrivatePkcs8KeyDer::from(include_bytes!("tls/gateway.key.der").as_slice());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut session = ServerConnection::new(Arc::new(config)).unwrap();
        let mut stream = Stream::new(&mut session, &mut socket);
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while !request.ends_with(b"}") {
            match stream.read(&mut piece) {
                Ok(length) if length > 0 => request.extend_from_slice(&piece[..length]),
                // A client that does not trust us has hung up.
                _ => return,
            }
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"id\":\"tls1\"}").unwrap();
        stream.flush().unwrap();
    });
    url
}

#[tokio::test]
async fn a_certificate_by_an_unknown_authority_is_not_trusted() {
    let sender = sender(&webhook(&gateway()).within(Duration::from_secs(10)));
    let outcome = sender.send(&message("x")).await;
    assert_eq!(
        (kind(&outcome), reason(&outcome)),
        ("retry_elsewhere", "no connection: its certificate is not trusted")
    );
}

/// The roots are read when a client is made, from where the environment says: so this runs once more, in a process of its own.
#[test]
fn a_certificate_by_an_authority_of_the_system_is_trusted() {
    const INSIDE: &str = "COUNTERSIGN_TEST_INSIDE";
    if std::env::var_os(INSIDE).is_none() {
        let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/authority.pem");
        let inside = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tls::a_certificate_by_an_authority_of_the_system_is_trusted", "--nocapture"])
            .env("SSL_CERT_FILE", authority)
            .env(INSIDE, "1")
            .output()
            .unwrap();
        let shown = String::from_utf8_lossy(&inside.stdout);
        assert!(
            inside.status.success() && shown.contains("1 passed"),
            "{shown}{}",
            String::from_utf8_lossy(&inside.stderr)
        );
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sender = sender(&webhook(&gateway()).within(Duration::from_secs(10)));
    let outcome = runtime.block_on(async { sender.send(&message("x")).await });
    assert_eq!((kind(&outcome), reason(&outcome)), ("accepted", ""));
}
