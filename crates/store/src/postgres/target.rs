//! Which server, by its URL: `postgresql://user:password@host:port/database?sslmode=verify-full`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

/// Options that are handed on as they are. All others are ours, or refused: a misspelt one must not be passed over.
const HANDED_ON: [&str; 11] = [
    "user",
    "password",
    "dbname",
    "host",
    "hostaddr",
    "port",
    "application_name",
    "target_session_attrs",
    "channel_binding",
    "load_balance_hosts",
    "sslnegotiation",
];

/// How the server must prove who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslVerify {
    /// No encryption.
    Disable,
    /// Encrypted if the server can; it proves nothing.
    Prefer,
    /// Encrypted; it proves nothing.
    Require,
    /// Encrypted, with a certificate of an authority that is trusted.
    Ca,
    /// The same, and the certificate is for this host.
    Full,
}

/// A server, a database and who one is there. `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) config: Config,
    pub(super) verify: SslVerify,
    pub(super) root_certificates: Option<PathBuf>,
}

/// Why a URL names no server. It repeats nothing of the URL: that may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// It does not begin as it should.
    #[error("must begin with postgresql:// (or postgres://)")]
    Scheme,
    /// It cannot be read.
    #[error(
        "is no PostgreSQL URL: write postgresql://user:password@host:port/database, with %40 for @, %2F for / and %3F for ? in a password"
    )]
    Unreadable,
    /// A part of it is missing.
    #[error("names no {0}: write postgresql://user:password@host:port/database")]
    Missing(&'static str),
    /// Its `sslmode` is none.
    #[error("sslmode must be disable, prefer, require, verify-ca or verify-full")]
    SslMode,
    /// `sslrootcert` without verification would be passed over.
    #[error("sslrootcert needs sslmode=require, verify-ca or verify-full")]
    RootCertificateUnused,
    /// An option that is ours to choose, or that is not known.
    #[error(
        "takes sslmode, sslrootcert, application_name, target_session_attrs, channel_binding and load_balance_hosts as options; a \
         schema goes into store.schema, time-outs are chosen by the service"
    )]
    Option,
}

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`BadTarget`] says in words what to write instead.
    pub fn parse(url: &str) -> Result<Self, BadTarget> {
        let rest = ["postgresql://", "postgres://"].iter().find_map(|scheme| url.strip_prefix(scheme));
        let rest = rest.ok_or(BadTarget::Scheme)?;
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (mut handed_on, mut mode, mut root_certificates) = (Vec::new(), None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or(BadTarget::Option)?;
            match name {
                "sslmode" => mode = Some(ssl_mode(value)?),
                "sslrootcert" => root_certificates = Some(PathBuf::from(decoded(value)?)),
                name if HANDED_ON.contains(&name) => handed_on.push(pair),
                _ => return Err(BadTarget::Option),
            }
        }
        let url = format!("postgresql://{place}?{}", handed_on.join("&"));
        let mut config = Config::from_str(&url).map_err(|_| BadTarget::Unreadable)?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(BadTarget::Missing("host"));
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(BadTarget::Missing("user"));
        }
        if config.get_dbname().is_none_or(str::is_empty) {
            return Err(BadTarget::Missing("database"));
        }
        let verify = match (mode, &root_certificates) {
            (Some(SslVerify::Disable | SslVerify::Prefer), Some(_)) => return Err(BadTarget::RootCertificateUnused),
            // As libpq does: with an authority named, it is asked.
            (Some(SslVerify::Require), Some(_)) => SslVerify::Ca,
            (Some(mode), _) => mode,
            (None, None) if is_local(&config) => SslVerify::Prefer,
            (None, _) => SslVerify::Full,
        };
        config
            .ssl_mode(match verify {
                SslVerify::Disable => SslMode::Disable,
                SslVerify::Prefer => SslMode::Prefer,
                SslVerify::Require | SslVerify::Ca | SslVerify::Full => SslMode::Require,
            })
            .keepalives_idle(Duration::from_secs(10))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        if config.get_target_session_attrs() == TargetSessionAttrs::Any {
            // After a failover the old primary may come back as a replica, where nothing can be written.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        if config.get_application_name().is_none() {
            config.application_name("countersign");
        }
        Ok(Self { config, verify, root_certificates })
    }

    /// With this password in place of the URL's.
    #[must_use]
    pub fn with_password(mut self, password: &str) -> Self {
        self.config.password(password);
        self
    }

    /// Whether there is a password already.
    #[must_use]
    pub fn has_password(&self) -> bool {
        self.config.get_password().is_some()
    }

    /// How the server must prove who it is.
    #[must_use]
    pub const fn verify(&self) -> SslVerify {
        self.verify
    }
}

/// On this machine, where nobody listens on the way.
fn is_local(config: &Config) -> bool {
    let local_host = |host: &Host| match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    };
    config.get_hosts().iter().all(local_host) && config.get_hostaddrs().iter().all(std::net::IpAddr::is_loopback)
}

fn ssl_mode(word: &str) -> Result<SslVerify, BadTarget> {
    Ok(match word {
        "disable" => SslVerify::Disable,
        "prefer" => SslVerify::Prefer,
        "require" => SslVerify::Require,
        "verify-ca" => SslVerify::Ca,
        "verify-full" => SslVerify::Full,
        _ => return Err(BadTarget::SslMode),
    })
}

/// Undoes percent encoding.
fn decoded(text: &str) -> Result<String, BadTarget> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        match byte {
            b'%' => {
                let value = digit(rest.next()).zip(digit(rest.next())).map(|(high, low)| high * 16 + low);
                bytes.push(value.and_then(|value| u8::try_from(value).ok()).ok_or(BadTarget::Unreadable)?);
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).map_err(|_| BadTarget::Unreadable)
}

/// Where it is, without who one is there and how that is proven.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("postgresql://")?;
        for (nth, host) in self.config.get_hosts().iter().enumerate() {
            let comma = if nth > 0 { "," } else { "" };
            match host {
                Host::Tcp(name) => write!(f, "{comma}{name}")?,
                #[cfg(unix)]
                Host::Unix(path) => write!(f, "{comma}{}", path.display())?,
            }
            let ports = self.config.get_ports();
            if let Some(port) = ports.get(nth).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().unwrap_or_default())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self}, {:?})", self.verify)
    }
}

impl Target {
    /// The file of certificates that are trusted, if one is named.
    #[must_use]
    pub fn root_certificates(&self) -> Option<&Path> {
        self.root_certificates.as_deref()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_url_is_read_with_its_options() {
        let target =
            Target::parse("postgres://me:s%40cret@db.example:5433/otp?sslmode=verify-ca&sslrootcert=/etc/ca%20s.pem")
                .unwrap();
        assert_eq!(target.verify(), SslVerify::Ca);
        assert_eq!(target.root_certificates(), Some(Path::new("/etc/ca s.pem")));
        assert_eq!(target.config.get_password(), Some(&b"s@cret"[..]));
        assert_eq!(target.to_string(), "postgresql://db.example:5433/otp");
        assert!(!format!("{target:?}").contains("cret") && !format!("{target:?}").contains("me"));
    }

    #[test]
    fn a_server_elsewhere_must_prove_who_it_is_unless_told_otherwise() {
        let verify = |url: &str| Target::parse(url).map(|target| target.verify());
        assert_eq!(verify("postgresql://u@db.example/d"), Ok(SslVerify::Full));
        assert_eq!(verify("postgresql://u@db.example/d?sslmode=require"), Ok(SslVerify::Require));
        assert_eq!(verify("postgresql://u@db.example/d?sslmode=require&sslrootcert=a.pem"), Ok(SslVerify::Ca));
        assert_eq!(verify("postgresql://u@localhost/d"), Ok(SslVerify::Prefer));
        assert_eq!(verify("postgresql://u@127.0.0.1:6432/d"), Ok(SslVerify::Prefer));
        assert_eq!(verify("postgresql://u@%2Fvar%2Frun%2Fpostgresql/d"), Ok(SslVerify::Prefer));
        assert_eq!(verify("postgresql://u@localhost,db.example/d"), Ok(SslVerify::Full));
        assert_eq!(verify("postgresql://u@localhost/d?sslmode=disable"), Ok(SslVerify::Disable));
    }

    #[test]
    fn what_is_wrong_is_said_without_repeating_it() {
        for (url, problem) in [
            ("mysql://u:hunter2@h/d", BadTarget::Scheme),
            ("postgresql://u:hunter2@h", BadTarget::Missing("database")),
            ("postgresql:///d?user=u", BadTarget::Missing("host")),
            ("postgresql://h/d", BadTarget::Missing("user")),
            ("postgresql://u:hunter2@h/d?sslmode=sometimes", BadTarget::SslMode),
            ("postgresql://u:hunter2@h/d?sslmode=prefer&sslrootcert=a", BadTarget::RootCertificateUnused),
            ("postgresql://u:hunter2@h/d?options=-csearch_path%3Dx", BadTarget::Option),
            ("postgresql://u:hunt?er2@h/d", BadTarget::Option),
            ("postgresql://u:hunter2@h:port/d", BadTarget::Unreadable),
        ] {
            assert_eq!(Target::parse(url), Err(problem.clone()), "{url}");
            assert!(!problem.to_string().contains("hunter2"));
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_or_repeats_a_password(text in ".{0,80}", password in "[a-zA-Z0-9@/?:%=&]{8,20}") {
            let _ = Target::parse(&text);
            for url in [format!("postgresql://u:{password}@h/d?{text}"), format!("postgresql://{text}:{password}")] {
                match Target::parse(&url) {
                    Ok(target) => {
                        // What follows an unescaped @ or / is the host or the database: that may be shown.
                        if password.bytes().all(|byte| byte.is_ascii_alphanumeric()) && url.starts_with("postgresql://u:") {
                            let shown = format!("{target:?} {target}");
                            prop_assert!(!shown.contains(&password));
                        }
                    }
                    Err(error) => prop_assert!(!error.to_string().contains(&password)),
                }
            }
        }
    }
}
