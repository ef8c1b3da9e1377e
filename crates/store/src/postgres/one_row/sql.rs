//! The statements over arrays: a batch reads and writes all its rows of a kind in one.

use super::Written;
use crate::one_row::Table;

/// What a batch asks of the table of verifications.
pub(super) struct Batched {
    /// Locks the rows that the questions lead to, in the order of their places: the table's columns, and the generation.
    pub(super) lock: String,
    /// Which place each question leads to: `$1` ids; `$2..$5` destinations, applications, purposes, services; `$6, $7` references and
    /// providers.
    pub(super) resolve: String,
    /// places, ids, applications, services, destinations, purposes, statuses, ends, due_at, follow_up_at, states, generations, whether
    /// approved, created_at.
    pub(super) insert: String,
    /// places, statuses, due_at, follow_up_at, states, whether they were approved just now.
    pub(super) update: String,
    /// places: the ones before go, where one row is all that there is.
    pub(super) replace: String,
    /// references, providers, ids of verifications, their ends.
    pub(super) keep_references: String,
    /// destination, application, purpose, service → the latest, locked, and its generation.
    pub(super) lock_latest: String,
    /// reference → id of the verification.
    pub(super) referred: String,
    /// before, most.
    pub(super) clean_references: String,
}

impl Batched {
    pub(super) fn new(table: &Table, schema: &str, written: Option<Written>) -> Self {
        let Table { name, id, destination, purpose, own, .. } = table;
        let (place, state) = (&own.place, &own.state);
        let receipt = format!("\"{schema}\".receipt");
        let generation = own.generation.as_deref();
        // In a table of one row each the order of the places is that of the generations.
        let order = generation.unwrap_or(place);
        let resolve = format!(
            "SELECT 0::bigint AS kind, q.n, w.{place} AS place FROM unnest($1::text[]) WITH ORDINALITY AS q (id, n) \
             JOIN {name} w ON w.{id} = q.id AND w.{state} IS NOT NULL \
             UNION ALL \
             SELECT 1::bigint, q.n, l.place FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) \
             WITH ORDINALITY AS q (destination, application, purpose, service, n) \
             CROSS JOIN LATERAL (SELECT w.{place} AS place FROM {name} w WHERE w.{destination} = q.destination \
             AND w.{} = q.application AND w.{purpose} = q.purpose AND w.{} = q.service AND w.{state} IS NOT NULL \
             ORDER BY w.{order} DESC LIMIT 1) l \
             UNION ALL \
             SELECT 2::bigint, q.n, w.{place} FROM unnest($6::text[], $7::text[]) WITH ORDINALITY AS q (reference, provider, n) \
             JOIN {receipt} r ON r.reference = q.reference AND r.provider = q.provider \
             JOIN {name} w ON w.{id} = r.verification AND w.{state} IS NOT NULL",
            own.application, own.service
        );
        let columns = table.columns();
        let lock = format!(
            "SELECT {columns}, {} FROM {name} WHERE {place} = ANY (ARRAY(SELECT r.place FROM ({resolve}) r)) \
             AND {place} IS NOT NULL AND {state} IS NOT NULL ORDER BY {place} FOR UPDATE",
            generation.unwrap_or("0::bigint")
        );
        let lock_latest = format!(
            "SELECT {columns}, {} FROM {name} WHERE {destination} = $1 AND {} = $2 AND {purpose} = $3 AND {} = $4 \
             AND {state} IS NOT NULL ORDER BY {order} DESC LIMIT 1 FOR UPDATE",
            generation.unwrap_or("0::bigint"),
            own.application,
            own.service
        );
        let mut into = format!(
            "{place}, {id}, {}, {}, {destination}, {purpose}, {}, {}, {}, {}, {state}",
            own.application, own.service, own.status, own.ends_at, own.due_at, own.follow_up_at
        );
        let mut values =
            "q.place, q.id, q.application, q.service, q.destination, q.purpose, q.status, q.ends_at, q.due_at, \
                          q.follow_up_at, q.state"
                .to_owned();
        let mut approve = String::new();
        if let (Some(written), Some(copies), Some(generation)) = (written, &table.copies, generation) {
            into += &format!(", {generation}, {}, {}, {}", copies.verified, copies.created_at, copies.expires_at);
            let (created_at, ends_at) = (written.created_at.of("q.created_at"), written.expires_at.of("q.ends_at"));
            values += &format!(", q.generation, {}, {created_at}, {ends_at}", written.verified.of("q.approved"));
            // Once, and not with every later receipt: what the application does to its column is its own.
            let yes = written.verified.of("true");
            approve = format!(", {0} = CASE WHEN q.approved THEN {yes} ELSE v.{0} END", copies.verified);
        }
        Self {
            lock,
            resolve,
            lock_latest,
            insert: format!(
                "INSERT INTO {name} ({into}) SELECT {values} FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], \
                 $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[], $12::bigint[], $13::bool[], \
                 $14::bigint[]) AS q (place, id, application, service, destination, purpose, status, ends_at, due_at, follow_up_at, \
                 state, generation, approved, created_at)"
            ),
            update: format!(
                "UPDATE {name} v SET {} = q.status, {} = q.due_at, {} = q.follow_up_at, {state} = q.state{approve} \
                 FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::bool[]) \
                 AS q (place, status, due_at, follow_up_at, state, approved) \
                 WHERE v.{place} = q.place AND v.{state} IS NOT NULL",
                own.status, own.due_at, own.follow_up_at
            ),
            replace: format!("DELETE FROM {name} WHERE {place} = ANY ($1::bigint[]) AND {state} IS NOT NULL"),
            keep_references: format!(
                "INSERT INTO {receipt} (reference, provider, verification, ends_at) \
                 SELECT DISTINCT ON (q.reference, q.provider) q.reference, q.provider, q.verification, q.ends_at \
                 FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY \
                 AS q (reference, provider, verification, ends_at, n) ORDER BY q.reference, q.provider, q.n DESC \
                 ON CONFLICT (reference, provider) DO UPDATE SET verification = excluded.verification, ends_at = excluded.ends_at"
            ),
            referred: format!("SELECT verification FROM {receipt} WHERE reference = $1"),
            clean_references: format!(
                "DELETE FROM {receipt} r USING (SELECT reference, provider FROM {receipt} WHERE ends_at < $1 LIMIT $2 \
                 FOR UPDATE SKIP LOCKED) old WHERE r.reference = old.reference AND r.provider = old.provider"
            ),
        }
    }
}
