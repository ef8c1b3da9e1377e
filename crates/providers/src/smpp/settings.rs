//! What an operator writes about an SMSC.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use zeroize::Zeroizing;

use super::pdu::{Address, command};
use super::receipt::Ids;
use super::text::{Alphabet, Long};
use crate::config::{ProviderConfig, ProviderError};

/// Read, checked, and ready to connect with.
pub(super) struct Settings {
    pub host: String,
    pub port: u16,
    pub tls: Option<Tls>,
    pub system_id: String,
    pub password: Zeroizing<String>,
    pub system_type: String,
    pub version: u8,
    /// The binds of all sessions, each a connection.
    pub binds: Vec<u32>,
    /// Messages that one session leaves unanswered.
    pub window: usize,
    /// The most messages a second, where the account has a bound.
    pub rate: Option<f64>,
    pub enquire_link: Duration,
    /// How long an answer may take.
    pub patience: Duration,
    pub source: Address,
    pub dest_ton: u8,
    pub dest_npi: u8,
    pub service_type: String,
    pub alphabet: Alphabet,
    pub data_coding: Option<u8>,
    pub long: Long,
    pub validity: Validity,
    pub receipts: bool,
    pub ids: Ids,
}

/// What a session is encrypted with.
#[derive(Clone)]
pub(super) struct Tls {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

/// How the SMSC is told when a message is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    /// So long from now.
    Relative,
    /// The instant, in UTC.
    Absolute,
    /// Not at all.
    None,
}

struct Reader<'a>(&'a ProviderConfig);

impl<'a> Reader<'a> {
    fn bad(&self, field: &str, problem: impl Into<String>) -> ProviderError {
        ProviderError::BadField { provider: self.0.name.clone(), field: field.to_owned(), problem: problem.into() }
    }

    fn get(&self, field: &str) -> Option<&'a str> {
        self.0.get(field).map(str::trim)
    }

    fn number(&self, field: &str, least: u32, most: u32) -> Result<Option<u32>, ProviderError> {
        match self.get(field).map(str::parse) {
            None => Ok(None),
            Some(Ok(number)) if (least..=most).contains(&number) => Ok(Some(number)),
            Some(_) => Err(self.bad(field, format!("must be {least} to {most}"))),
        }
    }

    fn octet(&self, field: &str) -> Result<Option<u8>, ProviderError> {
        Ok(self.number(field, 0, 255)?.and_then(|number| u8::try_from(number).ok()))
    }

    fn word<T: Copy>(&self, field: &str, words: &[(&str, T)], usual: T) -> Result<T, ProviderError> {
        let Some(value) = self.get(field) else { return Ok(usual) };
        words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let known: Vec<_> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            self.bad(field, format!("must be one of {}", known.join(", ")))
        })
    }

    fn ascii(&self, field: &str, most: usize) -> Result<String, ProviderError> {
        let value = self.get(field).unwrap_or_default();
        if value.len() > most || !value.is_ascii() {
            return Err(self.bad(field, format!("must be ASCII, at most {most} characters")));
        }
        Ok(value.to_owned())
    }
}

impl Settings {
    pub(super) fn read(config: &ProviderConfig) -> Result<Self, ProviderError> {
        let read = Reader(config);
        let host = read.get("host").unwrap_or_default().to_owned();
        if host.contains(|c: char| c.is_whitespace() || matches!(c, '/' | '@' | '[' | ']')) {
            return Err(read.bad("host", "must be a host's name or address alone, such as smpp.example.com"));
        }
        let tls = read.word("tls", &[("none", false), ("implicit", true)], false)?;
        let tls = tls.then(|| encryption(&read, &host)).transpose()?;
        let usual_port = if tls.is_some() { 3550 } else { 2775 };
        let port = read.number("port", 1, 65535)?.and_then(|port| u16::try_from(port).ok()).unwrap_or(usual_port);
        let window = read.number("window", 1, 1000)?.unwrap_or(10);
        let enquire_link = read.number("enquire_link", 1, 3600)?.unwrap_or(30);
        let sessions = read.number("sessions", 1, 16)?.unwrap_or(1);
        const PAIR: [u32; 2] = [command::BIND_TRANSMITTER, command::BIND_RECEIVER];
        const TRANSCEIVER: [u32; 1] = [command::BIND_TRANSCEIVER];
        let kinds: &[u32] = read.word(
            "bind",
            &[("transceiver", &TRANSCEIVER[..]), ("pair", &PAIR[..]), ("transmitter", &PAIR[..1])],
            &TRANSCEIVER,
        )?;
        Ok(Self {
            host,
            port,
            tls,
            system_id: read.ascii("system_id", 15)?,
            // SMPP 3.4 has room for eight; several gateways take more.
            password: Zeroizing::new(read.ascii("password", 64)?),
            system_type: read.ascii("system_type", 12)?,
            version: read.word("version", &[("3.4", 0x34), ("5.0", 0x50)], 0x34)?,
            binds: (0..sessions).flat_map(|_| kinds.iter().copied()).collect(),
            window: window as usize,
            rate: read.number("rate", 1, 100_000)?.map(f64::from),
            enquire_link: Duration::from_secs(u64::from(enquire_link)),
            patience: config.timeout - config.timeout / 10,
            source: source(&read)?,
            dest_ton: read.octet("dest_ton")?.unwrap_or(1),
            dest_npi: read.octet("dest_npi")?.unwrap_or(1),
            service_type: read.ascii("service_type", 5)?,
            alphabet: read.word(
                "alphabet",
                &[
                    ("gsm7", Alphabet::Gsm7),
                    ("gsm7_packed", Alphabet::Gsm7Packed),
                    ("latin1", Alphabet::Latin1),
                    ("ucs2", Alphabet::Ucs2),
                ],
                Alphabet::Gsm7,
            )?,
            data_coding: read.octet("data_coding")?,
            long: read.word(
                "long",
                &[("udh", Long::Udh), ("sar", Long::Sar), ("payload", Long::Payload)],
                Long::Udh,
            )?,
            validity: read.word(
                "validity",
                &[("relative", Validity::Relative), ("absolute", Validity::Absolute), ("none", Validity::None)],
                Validity::Relative,
            )?,
            receipts: read.word("receipts", &[("true", true), ("false", false)], true)?,
            ids: read.word(
                "receipt_ids",
                &[("same", Ids::Same), ("decimal", Ids::Decimal), ("hex", Ids::Hex)],
                Ids::Same,
            )?,
        })
    }
}

/// The sender, with the type of number that its form tells (SMPP 3.4, 5.2.5): letters are alphanumeric, a few digits a short code,
/// many an international number.
fn source(read: &Reader<'_>) -> Result<Address, ProviderError> {
    let digits = read.ascii("source", 20)?;
    let is_number = digits.trim_start_matches('+').bytes().all(|byte| byte.is_ascii_digit());
    let (ton, npi) = match digits.len() {
        0 => (0, 0),
        _ if !is_number && digits.len() > 11 => {
            return Err(read.bad("source", "is longer than the 11 characters that a sender in letters may have"));
        }
        _ if !is_number => (5, 0),
        1..=8 if !digits.starts_with('+') => (3, 0),
        _ => (1, 1),
    };
    let digits = if is_number { digits.trim_start_matches('+').to_owned() } else { digits };
    let (ton, npi) = (read.octet("source_ton")?.unwrap_or(ton), read.octet("source_npi")?.unwrap_or(npi));
    Ok(Address { ton, npi, digits })
}

/// Certificates are held against the system's roots, and against `ca_certificate` where that is set.
fn encryption(read: &Reader<'_>, host: &str) -> Result<Tls, ProviderError> {
    let mut more = Vec::new();
    if let Some(path) = read.get("ca_certificate") {
        let pem = fs::read(path).map_err(|error| read.bad("ca_certificate", format!("cannot be read: {error}")))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        more = certificates
            .ok()
            .filter(|found| !found.is_empty())
            .ok_or_else(|| read.bad("ca_certificate", "holds no certificate in PEM"))?;
    }
    let name =
        ServerName::try_from(host.to_owned()).map_err(|_| read.bad("host", "is no name that a certificate has"))?;
    let unfit = |problem: String| ProviderError::Transport { provider: read.0.name.clone(), problem };
    let provider = CryptoProvider::get_default().map_or_else(|| Arc::new(ring::default_provider()), Arc::clone);
    let verifier = Verifier::new_with_extra_roots(more, Arc::clone(&provider))
        .map_err(|error| unfit(format!("{error}; is the package `ca-certificates` installed?")))?;
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(Tls { config: Arc::new(config), name })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may fail")]

    use super::*;

    fn base() -> ProviderConfig {
        ProviderConfig::new("gw", "smpp")
            .with("host", "127.0.0.1")
            .with("system_id", "codes")
            .with("password", "secret")
    }

    #[test]
    fn the_type_of_a_sender_is_told_by_its_form() {
        for (sender, ton, npi, digits) in [
            ("MyApp", 5, 0, "MyApp"),
            ("My App 24", 5, 0, "My App 24"),
            ("15055", 3, 0, "15055"),
            ("+255694230173", 1, 1, "255694230173"),
            ("255694230173", 1, 1, "255694230173"),
            ("", 0, 0, ""),
        ] {
            let settings = Settings::read(&base().with("source", sender)).unwrap();
            assert_eq!(settings.source, Address { ton, npi, digits: digits.to_owned() }, "{sender}");
        }
        let chosen = base().with("source", "15055").with("source_ton", "6").with("source_npi", "9");
        assert_eq!(Settings::read(&chosen).unwrap().source, Address { ton: 6, npi: 9, digits: "15055".to_owned() });
    }

    #[test]
    fn what_cannot_work_is_refused_without_being_shown() {
        for (field, value, expected) in [
            ("host", "smpp://hunter2", "`host` must be a host's name"),
            ("port", "hunter2", "`port` must be 1 to 65535"),
            ("tls", "perhaps", "`tls` must be one of `none`, `implicit`"),
            ("system_id", "sixteen-letters!", "`system_id` must be ASCII, at most 15 characters"),
            ("source", "twelve-chars", "`source` is longer than the 11"),
            ("window", "0", "`window` must be 1 to 1000"),
            ("sessions", "17", "`sessions` must be 1 to 16"),
            ("bind", "trx", "`bind` must be one of `transceiver`, `pair`, `transmitter`"),
            ("data_coding", "256", "`data_coding` must be 0 to 255"),
            ("version", "3.3", "`version` must be one of `3.4`, `5.0`"),
        ] {
            let shown = Settings::read(&base().with(field, value)).err().unwrap().to_string();
            assert!(shown.contains(expected) && !shown.contains("hunter2"), "{expected}: {shown}");
        }
        let tls = base().with("tls", "implicit").with("ca_certificate", "/nowhere.pem");
        assert!(Settings::read(&tls).err().unwrap().to_string().contains("`ca_certificate` cannot be read"));
    }
}
