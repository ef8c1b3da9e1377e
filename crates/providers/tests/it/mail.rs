//! The provider `smtp` against a mail server that somebody else wrote (aiosmtpd), with TLS and a login.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use countersign::core::channel::Channel;
use countersign::core::destination::Destination;
use countersign::core::outcome::{Message, Outcome};
use countersign::sender::Sender;
use countersign_providers::ProviderConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::peer::{Peer, python};
use crate::{kind, message, reason, sender};

const TEXT: &str = "Your Duka code is 482913. It expires in 5 minutes.";

fn mail(to: &str) -> Message {
    Message {
        channel: Channel::Email,
        to: Destination::parse(&format!("{to}@example.com"), None).unwrap(),
        display_name: "Duka & Co".to_owned(),
        subject: "Your Duka code".to_owned().into(),
        ..message(TEXT)
    }
}

/// The certificate for 127.0.0.1 of `tls/`, as PEM files.
fn certificate() -> (PathBuf, PathBuf) {
    let write = |name: &str, label: &str, der: &[u8]| {
        let mut pem = format!("-----BEGIN {label}-----\n");
        for line in STANDARD.encode(der).as_bytes().chunks(64) {
            writeln!(pem, "{}", std::str::from_utf8(line).unwrap()).unwrap();
        }
        pem += &format!("-----END {label}-----\n");
        let path = std::env::temp_dir().join(format!("countersign-{}-{name}", std::process::id()));
        std::fs::write(&path, pem).unwrap();
        path
    };
    (
        write("mail.crt", "CERTIFICATE", include_bytes!("tls/gateway.der")),
        write("mail.key", "PRIVATE KEY", include_bytes!("tls/gateway.key.der")),
    )
}

fn server(what: &str, arguments: &[&str]) -> Option<Peer> {
    let python = python(what)?;
    let mut arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    if arguments.iter().any(|argument| argument.ends_with("tls") || argument == "implicit") {
        let (certificate, key) = certificate();
        arguments.extend(["--cert".into(), certificate.display().to_string()]);
        arguments.extend(["--key".into(), key.display().to_string()]);
    }
    Some(Peer::start(&python, "mail.py", &arguments))
}

fn to(port: u16, tls: &str) -> ProviderConfig {
    let config = ProviderConfig::new("mail", "smtp")
        .with("host", "127.0.0.1")
        .with("port", port.to_string())
        .with("tls", tls)
        .with("from", "codes@example.com")
        .with("from_name", "Duka")
        .within(Duration::from_secs(5));
    let authority = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/authority.pem");
    if tls == "none" { config } else { config.with("ca_certificate", authority) }
}

fn logged_in(config: ProviderConfig) -> ProviderConfig {
    config.with("user", "codes").with("password", "correct-horse")
}

#[tokio::test]
async fn an_email_arrives_over_starttls_with_a_login() {
    let Some(server) = server("email over STARTTLS", &["--tls", "starttls", "--auth"]) else { return };
    let outcome = sender(&logged_in(to(server.port, "starttls"))).send(&mail("asha")).await;
    let id = "dl_07070707070707070707070707070707@example.com";
    assert_eq!(outcome, Outcome::Accepted { message_id: Some(id.to_owned()) });
    let got = server.wait_for(1, "message").remove(0);
    assert_eq!((got["tls"].as_bool(), got["authenticated"].as_bool()), (Some(true), Some(true)), "{got}");
    assert_eq!((got["mail_from"].as_str(), got["to"].as_str()), (Some("codes@example.com"), Some("asha@example.com")));
    let text = got["message"].as_str().unwrap();
    for part in [
        &format!("Message-ID: <{id}>"),
        "From: Duka <codes@example.com>",
        "Subject: Your Duka code",
        "Auto-Submitted: auto-generated",
        "Your Duka code is 482913. It expires in 5 minutes.",
        "<strong>Duka &amp; Co</strong>",
        ">482913</p>",
    ] {
        // Quoted-printable breaks lines where it must.
        assert!(text.replace("=\r\n", "").contains(part), "{part}\n{text}");
    }
}

#[tokio::test]
async fn an_email_arrives_over_implicit_tls_and_in_the_clear_to_this_machine() {
    let Some(secure) = server("email over implicit TLS", &["--tls", "implicit"]) else { return };
    let outcome = sender(&to(secure.port, "implicit")).send(&mail("asha")).await;
    assert_eq!(kind(&outcome), "accepted", "{outcome:?}");
    assert_eq!(secure.wait_for(1, "message")[0]["tls"], true);
    let plain = server("email in the clear", &[]).unwrap();
    let outcome = sender(&to(plain.port, "none")).send(&mail("asha")).await;
    assert_eq!(kind(&outcome), "accepted", "{outcome:?}");
}

#[tokio::test]
async fn without_tls_or_with_a_certificate_of_strangers_nothing_is_sent() {
    let Some(plain) = server("email without STARTTLS", &[]) else { return };
    let outcome = sender(&to(plain.port, "starttls")).send(&mail("asha")).await;
    assert_eq!((kind(&outcome), reason(&outcome)), ("retry_elsewhere", "not sent: the mail server offers no STARTTLS"));
    for tls in ["starttls", "implicit"] {
        let server = server("email with a stranger's certificate", &["--tls", tls]).unwrap();
        let mut config = logged_in(to(server.port, tls));
        config.fields.remove("ca_certificate");
        let outcome = sender(&config).send(&mail("asha")).await;
        assert_eq!(
            (kind(&outcome), reason(&outcome)),
            ("retry_elsewhere", "no connection: its certificate is not trusted")
        );
        assert!(server.all("message").is_empty());
    }
    assert!(plain.all("message").is_empty());
}

#[tokio::test]
async fn bad_credentials_send_nothing() {
    let Some(server) = server("email with bad credentials", &["--tls", "starttls", "--auth"]) else { return };
    let config = to(server.port, "starttls").with("user", "codes").with("password", "hunter22");
    let outcome = sender(&config).send(&mail("asha")).await;
    assert_eq!(
        (kind(&outcome), reason(&outcome)),
        ("retry_elsewhere", "the user or the password is wrong (535 5.7.8)")
    );
    let outcome = sender(&to(server.port, "starttls")).send(&mail("asha")).await;
    assert_eq!(kind(&outcome), "retry_elsewhere");
    assert!(reason(&outcome).contains("(530 5.7.0)"), "{outcome:?}");
    assert!(server.all("message").is_empty());
}

#[tokio::test]
async fn each_refusal_means_what_its_step_and_code_say_and_repeats_nothing() {
    let Some(server) = server("refusals of a mail server", &[]) else { return };
    let sender = sender(&to(server.port, "none"));
    let cases = [
        ("nobody", "blame_number"),
        ("moved", "blame_number"),
        ("badname", "blame_number"),
        ("full", "retry_later"),
        ("grey", "retry_later"),
        ("relay", "retry_elsewhere"),
        ("closing", "retry_later"),
        ("hangup", "retry_elsewhere"),
        ("spam", "retry_elsewhere"),
        ("failed", "give_up"),
        ("later", "retry_later"),
        ("lost", "unknown"),
        ("asha", "accepted"),
    ];
    for (word, expected) in cases {
        let outcome = sender.send(&mail(word)).await;
        assert_eq!(kind(&outcome), expected, "{word}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains("482913"), "bug F2: {outcome:?}");
    }
    // Refused recipients cost no connection.
    let opened = server.all("opened").len();
    assert!(opened <= 5, "{opened} connections for {} messages", cases.len());
    let stranger = crate::sender(&to(server.port, "none").with("from", "stranger@example.com"));
    let outcome = stranger.send(&mail("asha")).await;
    assert_eq!(
        (kind(&outcome), reason(&outcome)),
        ("retry_elsewhere", "the mail server's policy refuses it (553 5.7.1)")
    );
}

#[tokio::test]
async fn a_silence_after_the_message_is_unknown_and_before_it_is_not() {
    let Some(server) = server("a mail server that falls silent", &[]) else { return };
    let quick = to(server.port, "none").within(Duration::from_millis(700));
    let outcome = sender(&quick).send(&mail("silence")).await;
    assert_eq!((kind(&outcome), reason(&outcome)), ("unknown", "no answer in time, after the message was written"));

    // A server that takes the connection and never greets.
    let mute = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = to(mute.local_addr().unwrap().port(), "none").within(Duration::from_millis(700));
    let outcome = sender(&config).send(&mail("asha")).await;
    assert_eq!(
        (kind(&outcome), reason(&outcome)),
        ("retry_elsewhere", "not sent: the mail server did not answer in time")
    );
    let port = mute.local_addr().unwrap().port();
    drop(mute);
    let outcome = sender(&to(port, "none")).send(&mail("asha")).await;
    assert_eq!((kind(&outcome), reason(&outcome)), ("retry_elsewhere", "no connection: it was refused"));
}

#[tokio::test]
async fn connections_are_kept_bounded_and_opened_anew_when_the_server_closed_them() {
    let Some(server) = server("kept connections to a mail server", &["--idle", "0.6"]) else { return };
    let sender = sender(&to(server.port, "none").with("connections", "3"));
    let many: Vec<_> = (0..12)
        .map(|_| {
            let sender: Arc<dyn Sender> = Arc::clone(&sender);
            tokio::spawn(async move { sender.send(&mail("asha")).await })
        })
        .collect();
    for one in many {
        assert_eq!(kind(&one.await.unwrap()), "accepted");
    }
    assert_eq!(server.all("opened").len(), 3);
    assert_eq!(server.wait_for(12, "message").len(), 12);
    tokio::time::sleep(Duration::from_millis(1200)).await;
    assert_eq!(kind(&sender.send(&mail("asha")).await), "accepted");
    assert_eq!(server.all("opened").len(), 4);
}

/// Whatever a server says in place of SMTP: no panic, no wait without end, nothing told as a success.
#[tokio::test]
async fn garbage_for_a_greeting_or_an_answer_is_no_acceptance() {
    let cases: [&[u8]; 6] = [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"\xff\xfe\x00\r\n",
        b"250",
        b"220 hi\r\n250-a\r\n250 b\r\n999 what\r\n",
        b"220 hi\r\n250 b\r\n250 b\r\n250 b\r\n354 go\r\nwhat\r\n",
        &[b'2'; 100_000],
    ];
    for bytes in cases {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(bytes).await;
                let mut rest = [0; 1024];
                while stream.read(&mut rest).await.is_ok_and(|length| length > 0) {}
            }
        });
        let config = to(port, "none").within(Duration::from_secs(1));
        let outcome = sender(&config).send(&mail("asha")).await;
        assert!(matches!(kind(&outcome), "retry_elsewhere" | "unknown"), "{outcome:?}");
    }
}
