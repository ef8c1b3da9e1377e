//! What an operator writes about a mail server.

use std::fs;
use std::net::IpAddr;

use lettre::Address;
use lettre::message::Mailbox;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use rustls::crypto::{CryptoProvider, ring};

use crate::config::{ProviderConfig, ProviderError};

/// Read, checked, and ready to connect with.
pub(super) struct Settings {
    pub host: String,
    pub port: u16,
    pub security: Security,
    pub credentials: Option<Credentials>,
    pub from: Mailbox,
    pub hello: ClientId,
    pub connections: usize,
}

/// How the connection is kept from others' eyes.
pub(super) enum Security {
    /// In the clear; to this machine alone.
    None,
    /// TLS from the first byte (RFC 8314).
    Implicit(TlsParameters),
    /// TLS before anything else is said (RFC 3207); without it nothing is sent.
    StartTls(TlsParameters),
}

impl Settings {
    pub(super) fn read(config: &ProviderConfig) -> Result<Self, ProviderError> {
        let bad = |field: &str, problem: &str| ProviderError::BadField {
            provider: config.name.clone(),
            field: field.to_owned(),
            problem: problem.to_owned(),
        };
        let get = |field: &str| config.get(field).map(str::trim);
        let host = get("host").unwrap_or_default().to_owned();
        if host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '[' | ']')) {
            return Err(bad("host", "must be a host's name or address alone, such as mail.example.com"));
        }
        let tls = || parameters(config, &host);
        let (security, usual_port) = match get("tls").unwrap_or("starttls") {
            "starttls" => (Security::StartTls(tls()?), 587),
            "implicit" => (Security::Implicit(tls()?), 465),
            "none" if is_loopback(&host) => (Security::None, 25),
            "none" => {
                return Err(bad("tls", "may be `none` only where host is this machine (localhost, 127.0.0.1, ::1)"));
            }
            _ => return Err(bad("tls", "must be `starttls`, `implicit` or `none`")),
        };
        let port = match get("port").map(str::parse) {
            None => usual_port,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(bad("port", "must be 1 to 65535")),
        };
        let credentials = match (get("user"), config.get("password")) {
            (Some(user), Some(password)) => Some(Credentials::new(user.to_owned(), password.to_owned())),
            (None, None) => None,
            (Some(_), None) => return Err(bad("user", "needs `password` beside it")),
            (None, Some(_)) => return Err(bad("password", "needs `user` beside it")),
        };
        let from: Address = get("from").unwrap_or_default().parse().map_err(|_| {
            bad("from", "must be an email address alone, such as codes@example.com; its name is from_name")
        })?;
        if !from.to_string().is_ascii() {
            return Err(bad("from", "must be written in ASCII (the domain as xn--…)"));
        }
        let hello = match get("hello") {
            None => ClientId::default(),
            Some(name) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._[]:".contains(&b)) => {
                ClientId::Domain(name.to_owned())
            }
            Some(_) => return Err(bad("hello", "must be a host's name, or an address in square brackets")),
        };
        let connections = match get("connections").map(str::parse) {
            None => 8,
            Some(Ok(most)) if (1..=256).contains(&most) => most,
            Some(_) => return Err(bad("connections", "must be 1 to 256")),
        };
        let from = Mailbox::new(get("from_name").map(str::to_owned), from);
        Ok(Self { host, port, security, credentials, from, hello, connections })
    }

    /// The part behind the @ of our address, where message ids are unique.
    pub(super) fn domain(&self) -> &str {
        self.from.email.domain()
    }
}

/// Certificates are held against the system's roots, and against `ca_certificate` where that is set.
fn parameters(config: &ProviderConfig, host: &str) -> Result<TlsParameters, ProviderError> {
    if CryptoProvider::get_default().is_none() {
        // Losing a race against somebody else's choice is as good.
        let _ = ring::default_provider().install_default();
    }
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = config.get("ca_certificate") {
        let bad = |problem: String| ProviderError::BadField {
            provider: config.name.clone(),
            field: "ca_certificate".to_owned(),
            problem,
        };
        let pem = fs::read(path).map_err(|error| bad(format!("cannot be read: {error}")))?;
        let certificate = Certificate::from_pem(&pem).map_err(|_| bad("holds no certificate in PEM".to_owned()))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build().map_err(|_| ProviderError::Transport {
        provider: config.name.clone(),
        problem: "TLS cannot be set up; is the package `ca-certificates` installed?".to_owned(),
    })
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> ProviderConfig {
        ProviderConfig::new("mail", "smtp").with("host", "mail.example.com").with("from", "codes@example.com")
    }

    fn problem(config: &ProviderConfig) -> String {
        Settings::read(config).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_port_follows_the_security() {
        let port = |config: ProviderConfig| Settings::read(&config).map(|settings| settings.port).unwrap_or_default();
        assert_eq!(port(base()), 587);
        assert_eq!(port(base().with("tls", "implicit")), 465);
        assert_eq!(port(base().with("tls", "none").with("host", "127.0.0.1")), 25);
        assert_eq!(port(base().with("port", "2525")), 2525);
    }

    #[test]
    fn what_cannot_work_is_refused_without_being_shown() {
        let cases = [
            (base().with("tls", "none"), "`tls` may be `none` only where host is this machine"),
            (base().with("tls", "perhaps"), "`tls` must be `starttls`, `implicit` or `none`"),
            (base().with("port", "0"), "`port` must be"),
            (base().with("port", "hunter2"), "`port` must be"),
            (base().with("user", "hunter2"), "`user` needs `password`"),
            (base().with("password", "hunter2"), "`password` needs `user`"),
            (base().with("from", "Duka <hunter2@example.com>"), "`from` must be an email address alone"),
            (base().with("host", "smtp://hunter2"), "`host` must be a host's name"),
            (base().with("hello", "a b"), "`hello` must be"),
            (base().with("connections", "0"), "`connections` must be"),
            (base().with("ca_certificate", "/nowhere.pem"), "`ca_certificate` cannot be read"),
        ];
        for (config, expected) in cases {
            let shown = problem(&config);
            assert!(shown.contains(expected) && !shown.contains("hunter2"), "{expected}: {shown}");
        }
        assert_eq!(problem(&base()), "");
    }
}
