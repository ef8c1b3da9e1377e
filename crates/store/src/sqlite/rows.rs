//! Rows into types and back.

use std::collections::BTreeMap;

use countersign::core::code::CodeSource;
use countersign::core::destination::Destination;
use countersign::core::event::{Event, EventKind};
use countersign::core::id::{ApplicationName, DeliveryId, ServiceId, VerificationId};
use countersign::core::time::Timestamp;
use countersign::core::verification::{Delivery, DeliveryStatus, Payment, Status, Verification, Wording};
use countersign::store::{ApplicationRecord, KeyRecord, Record, RecordName};
use rusqlite::{Row, types::Type};

use crate::wording;

macro_rules! verification_columns {
    () => {
        "place, id, application, destination, country, purpose, channel, status, created_at, expires_at, \
    finished_at, code_length, key_id, chosen_digest, chosen_sealed, sends, max_sends, resend_at, wrong_by_id, wrong_by_destination, \
    max_checks, locale, template, metadata, keyless, service, amount, payee, wording, follow_up_at"
    };
}
pub(super) use verification_columns;

macro_rules! delivery_columns {
    () => {
        "id, number, send, channel, provider, status, queued_at, at, error, message_id, due_at, lease_until, claims"
    };
}
pub(super) use delivery_columns;

macro_rules! record_columns {
    () => {
        "place, application, kind, id, parent, body, created_at, updated_at"
    };
}
pub(super) use record_columns;

macro_rules! api_key_columns {
    () => {
        "id, application, key_digest, auth_token_digest, key_sid, key_secret_digest, created_at, revoked_at"
    };
}
pub(super) use api_key_columns;

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

/// A verification with its place, from `verification_columns!`.
pub(super) fn verification(row: &Row<'_>) -> rusqlite::Result<(i64, Verification)> {
    let country: Option<String> = row.get(4)?;
    let key = row.get::<_, String>(12)?.into();
    let code = match row.get::<_, Option<[u8; 32]>>(13)? {
        Some(digest) => CodeSource::Chosen { key, digest, sealed: row.get(14)? },
        None => CodeSource::Derived { key },
    };
    let metadata: Option<String> = row.get(23)?;
    let verification = Verification {
        id: VerificationId::from_bytes(row.get(1)?),
        application: parsed(row, 2)?,
        service: row.get::<_, Option<[u8; 16]>>(25)?.map(ServiceId::from_bytes),
        to: Destination::restored(row.get(3)?, country.and_then(|country| country.parse().ok())),
        purpose: parsed(row, 5)?,
        keyless: row.get(24)?,
        channel: parsed(row, 6)?,
        status: named(row, 7, Status::from_name)?,
        created_at: time(row, 8)?,
        expires_at: time(row, 9)?,
        finished_at: row.get::<_, Option<i64>>(10)?.map(Timestamp::from_millis),
        code_length: row.get(11)?,
        code,
        sends: row.get(15)?,
        max_sends: row.get(16)?,
        resend_at: time(row, 17)?,
        follow_up_at: row.get::<_, Option<i64>>(29)?.map(Timestamp::from_millis),
        wrong_by_id: row.get(18)?,
        wrong_by_destination: row.get(19)?,
        max_checks: row.get(20)?,
        locale: row.get(21)?,
        template: row.get(22)?,
        metadata: match metadata {
            Some(json) => serde_json::from_str(&json).map_err(|error| unreadable(23, error))?,
            None => BTreeMap::new(),
        },
        payment: match (row.get(26)?, row.get(27)?) {
            (Some(amount), Some(payee)) => Some(Payment { amount, payee }),
            _ => None,
        },
        wording: wording_from_json(row, 28)?,
    };
    Ok((row.get(0)?, verification))
}

fn wording_from_json(row: &Row<'_>, column: usize) -> rusqlite::Result<Wording> {
    let Some(json) = row.get::<_, Option<String>>(column)? else { return Ok(Wording::default()) };
    wording::from_json(&json).map_err(|error| unreadable(column, error))
}

/// A delivery of a verification, from `delivery_columns!`.
pub(super) fn delivery(row: &Row<'_>, verification: VerificationId) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: DeliveryId::from_bytes(row.get(0)?),
        verification,
        number: row.get(1)?,
        send: row.get(2)?,
        channel: parsed(row, 3)?,
        provider: row.get(4)?,
        status: named(row, 5, DeliveryStatus::from_name)?,
        queued_at: time(row, 6)?,
        at: time(row, 7)?,
        error: row.get(8)?,
        message_id: row.get(9)?,
        due_at: time(row, 10)?,
        lease_until: time(row, 11)?,
        claims: row.get(12)?,
    })
}

/// An event with its place, from `place, kind, application, verification, delivery, at`.
pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<(u64, Event)> {
    let kind = named(row, 1, |name| EventKind::ALL.into_iter().find(|kind| kind.as_str() == name))?;
    let event = Event {
        kind,
        application: parsed(row, 2)?,
        verification: VerificationId::from_bytes(row.get(3)?),
        delivery: row.get::<_, Option<[u8; 16]>>(4)?.map(DeliveryId::from_bytes),
        at: time(row, 5)?,
    };
    Ok((row.get::<_, i64>(0)?.unsigned_abs(), event))
}

pub(super) fn application(row: &Row<'_>) -> rusqlite::Result<ApplicationRecord> {
    Ok(ApplicationRecord { name: parsed(row, 0)?, account_sid: row.get(1)?, created_at: time(row, 2)? })
}

/// An API key, from `api_key_columns!`.
pub(super) fn api_key(row: &Row<'_>) -> rusqlite::Result<KeyRecord> {
    Ok(KeyRecord {
        id: row.get(0)?,
        application: parsed::<ApplicationName>(row, 1)?,
        key_digest: row.get(2)?,
        auth_token_digest: row.get(3)?,
        key_sid: row.get(4)?,
        key_secret_digest: row.get(5)?,
        created_at: time(row, 6)?,
        revoked_at: row.get::<_, Option<i64>>(7)?.map(Timestamp::from_millis),
    })
}

/// A record with its place, from `record_columns!`.
pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<(i64, Record)> {
    let name = RecordName { application: parsed(row, 1)?, kind: row.get(2)?, id: row.get(3)? };
    let record =
        Record { name, parent: row.get(4)?, body: row.get(5)?, created_at: time(row, 6)?, updated_at: time(row, 7)? };
    Ok((row.get(0)?, record))
}

/// Instants as 8-byte big-endian integers.
pub(super) fn instants_to_bytes(instants: &[Timestamp]) -> Vec<u8> {
    instants.iter().flat_map(|at| at.as_millis().to_be_bytes()).collect()
}

pub(super) fn instants_from_bytes(bytes: &[u8]) -> Vec<Timestamp> {
    let (whole, _) = bytes.as_chunks::<8>();
    whole.iter().map(|bytes| Timestamp::from_millis(i64::from_be_bytes(*bytes))).collect()
}

pub(super) fn parsed<T: std::str::FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get_ref(column)?.as_str()?.parse().map_err(|error| unreadable(column, error))
}

fn named<T>(row: &Row<'_>, column: usize, read: impl FnOnce(&str) -> Option<T>) -> rusqlite::Result<T> {
    let name = row.get_ref(column)?.as_str()?;
    read(name).ok_or_else(|| unreadable(column, UnknownName))
}

/// A word in the store that this version does not know.
#[derive(Debug, thiserror::Error)]
#[error("a word that this version does not know")]
struct UnknownName;

fn unreadable(column: usize, error: impl std::error::Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}
