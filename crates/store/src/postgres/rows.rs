//! Rows into types, and types into columns.

use std::borrow::Cow;
use std::collections::BTreeMap;

use countersign::core::code::CodeSource;
use countersign::core::destination::Destination;
use countersign::core::event::{Event, EventKind};
use countersign::core::id::{DeliveryId, ServiceId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, DeliveryStatus, GuessLog, Payment, Status, Verification, Wording};
use countersign::store::{ApplicationRecord, KeyRecord, Record, RecordName};
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, FromSqlOwned};

use super::error::Error;
use crate::wording;

type Result<T> = std::result::Result<T, Error>;

/// A verification with its place and generation.
pub(super) struct Placed {
    pub(super) place: i64,
    pub(super) generation: i64,
    pub(super) row: Verification,
}

/// Reads a row's columns from left to right.
pub(super) struct Columns<'a> {
    row: &'a Row,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(super) const fn of(row: &'a Row) -> Self {
        Self { row, next: 0 }
    }

    /// The columns after those of `delivery_columns!`.
    pub(super) const fn behind_delivery(row: &'a Row) -> Self {
        Self::at(row, 14)
    }

    /// The columns from one on.
    pub(super) const fn at(row: &'a Row, next: usize) -> Self {
        Self { row, next }
    }

    pub(super) fn take<T: FromSql<'a>>(&mut self) -> Result<T> {
        self.next += 1;
        self.row.try_get(self.next - 1).map_err(|_| unreadable("a value of another type"))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp> {
        self.take().map(Timestamp::from_millis)
    }

    pub(super) fn number(&mut self) -> Result<u32> {
        u32::try_from(self.take::<i64>()?).map_err(|_| unreadable("a number"))
    }

    pub(super) fn bytes<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take::<&[u8]>()?.try_into().map_err(|_| unreadable("bytes of another length"))
    }

    fn bytes_or_none<const N: usize>(&mut self) -> Result<Option<[u8; N]>> {
        let bytes: Option<&[u8]> = self.take()?;
        bytes.map(|bytes| bytes.try_into().map_err(|_| unreadable("bytes of another length"))).transpose()
    }

    pub(super) fn parsed<T: std::str::FromStr>(&mut self) -> Result<T> {
        self.take::<&str>()?.parse().map_err(|_| unreadable("a name"))
    }

    pub(super) fn named<T>(&mut self, read: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        read(self.take()?).ok_or_else(|| unreadable("a word that this version does not know"))
    }

    /// A verification, from `verification_columns!`.
    pub(super) fn verification(&mut self) -> Result<Placed> {
        let (place, generation) = (self.take()?, self.take()?);
        let id = VerificationId::from_bytes(self.bytes()?);
        let application = self.parsed()?;
        let (destination, country): (String, Option<&str>) = (self.take()?, self.take()?);
        let to = Destination::restored(destination, country.and_then(|country| country.parse().ok()));
        let (purpose, channel, status) = (self.parsed()?, self.parsed()?, self.named(Status::from_name)?);
        let (created_at, expires_at) = (self.time()?, self.time()?);
        let finished_at = self.take::<Option<i64>>()?.map(Timestamp::from_millis);
        let code_length = u8::try_from(self.number()?).map_err(|_| unreadable("a code's length"))?;
        let key = self.take::<&str>()?.into();
        let (digest, sealed) = (self.bytes_or_none()?, self.take()?);
        let code = match digest {
            Some(digest) => CodeSource::Chosen { key, digest, sealed },
            None => CodeSource::Derived { key },
        };
        let row = Verification {
            id,
            application,

            to,
            purpose,
            channel,
            status,
            created_at,
            expires_at,
            finished_at,
            code_length,
            code,
            sends: self.number()?,
            max_sends: self.number()?,
            resend_at: self.time()?,
            wrong_by_id: self.number()?,
            wrong_by_destination: self.number()?,
            max_checks: self.number()?,
            locale: self.take()?,
            template: self.take()?,
            metadata: match self.take::<Option<&str>>()? {
                Some(json) => serde_json::from_str(json).map_err(|_| unreadable("metadata"))?,
                None => BTreeMap::new(),
            },
            keyless: self.take()?,
            service: self.service()?,
            payment: match (self.take()?, self.take()?) {
                (Some(amount), Some(payee)) => Some(Payment { amount, payee }),
                _ => None,
            },
            wording: match self.take::<Option<&str>>()? {
                Some(json) => wording::from_json(json).map_err(|_| unreadable("wording"))?,
                None => Wording::default(),
            },
            follow_up_at: self.take::<Option<i64>>()?.map(Timestamp::from_millis),
        };
        Ok(Placed { place, generation, row })
    }

    fn service(&mut self) -> Result<Option<ServiceId>> {
        let bytes: &[u8] = self.take()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let id = bytes.try_into().map_err(|_| unreadable("bytes of another length"))?;
        Ok(Some(ServiceId::from_bytes(id)))
    }

    /// A record with its place, from `record_columns!`.
    pub(super) fn record(&mut self) -> Result<(i64, Record)> {
        let place = self.take()?;
        let name = RecordName { application: self.parsed()?, kind: self.take()?, id: self.take()? };
        let (parent, body) = (self.take()?, self.take()?);
        Ok((place, Record { name, parent, body, created_at: self.time()?, updated_at: self.time()? }))
    }

    /// A delivery with the place of its verification, from `delivery_columns!`.
    pub(super) fn delivery(&mut self, id_of: impl FnOnce(i64) -> Option<VerificationId>) -> Result<(i64, Delivery)> {
        let place = self.take()?;
        let verification = id_of(place).ok_or_else(|| unreadable("a delivery of another verification"))?;
        let delivery = Delivery {
            verification,
            number: self.number()?,
            id: DeliveryId::from_bytes(self.bytes()?),
            send: self.number()?,
            channel: self.parsed()?,
            provider: self.take()?,
            status: self.named(DeliveryStatus::from_name)?,
            queued_at: self.time()?,
            at: self.time()?,
            error: self.take()?,
            message_id: self.take()?,
            due_at: self.time()?,
            lease_until: self.time()?,
            claims: self.number()?,
        };
        Ok((place, delivery))
    }

    pub(super) fn guesses(&mut self) -> Result<GuessLog> {
        Ok(GuessLog {
            by_id: instants_from_bytes(self.take()?),
            by_keyless: instants_from_bytes(self.take()?),
            by_destination: instants_from_bytes(self.take()?),
        })
    }

    pub(super) fn event(&mut self) -> Result<(u64, Event)> {
        let place = self.take::<i64>()?.unsigned_abs();
        let kind = self.named(|name| EventKind::ALL.into_iter().find(|kind| kind.as_str() == name))?;
        let event = Event {
            kind,
            application: self.parsed()?,
            verification: VerificationId::from_bytes(self.bytes()?),
            delivery: self.bytes_or_none()?.map(DeliveryId::from_bytes),
            at: self.time()?,
        };
        Ok((place, event))
    }

    pub(super) fn application(&mut self) -> Result<ApplicationRecord> {
        Ok(ApplicationRecord { name: self.parsed()?, account_sid: self.take()?, created_at: self.time()? })
    }

    /// An API key, from `api_key_columns!`.
    pub(super) fn api_key(&mut self) -> Result<KeyRecord> {
        Ok(KeyRecord {
            id: self.take()?,
            application: self.parsed()?,
            key_digest: self.bytes()?,
            auth_token_digest: self.bytes()?,
            key_sid: self.take()?,
            key_secret_digest: self.bytes()?,
            created_at: self.time()?,
            revoked_at: self.take::<Option<i64>>()?.map(Timestamp::from_millis),
        })
    }
}

/// The first column of a row.
pub(super) fn first<T: FromSqlOwned>(row: &Row) -> Result<T> {
    row.try_get(0).map_err(|_| unreadable("a value of another type"))
}

/// The columns of where a code comes from: key, digest, sealed.
pub(super) fn code_columns(code: &CodeSource) -> (&str, Option<&[u8]>, Option<&[u8]>) {
    match code {
        CodeSource::Derived { key } => (key, None, None),
        CodeSource::Chosen { key, digest, sealed } => (key, Some(digest), sealed.as_deref()),
    }
}

/// A service as its column has it: empty for the application's own, since a unique key takes no two nulls for the same.
pub(super) fn service_column(service: Option<&ServiceId>) -> &[u8] {
    service.map_or(&[], |id| id.as_bytes().as_slice())
}

pub(super) fn metadata_column(metadata: &BTreeMap<String, String>) -> Option<String> {
    (!metadata.is_empty()).then(|| serde_json::to_string(metadata).unwrap_or_default())
}

/// A text as the server takes it: it has no byte 0.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Instants as 8-byte big-endian integers.
pub(super) fn instants_to_bytes(instants: &[Timestamp]) -> Vec<u8> {
    instants.iter().flat_map(|at| at.as_millis().to_be_bytes()).collect()
}

fn instants_from_bytes(bytes: &[u8]) -> Vec<Timestamp> {
    let (whole, _) = bytes.as_chunks::<8>();
    whole.iter().map(|bytes| Timestamp::from_millis(i64::from_be_bytes(*bytes))).collect()
}

fn unreadable(what: &str) -> Error {
    Error::Unreadable(format!("a row holds {what} that cannot be read"))
}
