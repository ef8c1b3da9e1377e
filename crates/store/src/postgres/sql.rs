//! Every statement, in one place. `@` stands for the schema. None needs anything of its session: no setting, no temporary table, no
//! advisory lock; so they run behind a pooler that gives each transaction another connection. Where the session is ours, it keeps
//! those of the batches planned (`session`).

use super::one_row::OneRow;

/// Declares the statements and fills in the schema once, when a store is opened.
macro_rules! statements {
    ($($(#[doc = $about:literal])* $name:ident = $text:expr;)+) => {
        /// The statements of one store.
        pub(super) struct Sql {
            /// Those of a table of which a row is a verification; `None` in the layout `standalone`.
            pub(super) one_row: Option<OneRow>,
            $($(#[doc = $about])* pub(super) $name: String,)+
        }

        impl Sql {
            /// With a schema, as it is (it is quoted here).
            pub(super) fn new(schema: &str, one_row: Option<OneRow>) -> Self {
                let prefix = format!("{}.", quoted(schema));
                Self { one_row, $($name: $text.replace('@', &prefix),)+ }
            }
        }
    };
}

impl Sql {
    /// What batches are made of: the statements that a session keeps.
    pub(super) fn of_batches(&self) -> [&str; 20] {
        [
            &self.set_up,
            &self.lock_by_id,
            &self.lock_latest,
            &self.lock_referenced,
            &self.latest,
            &self.referenced,
            &self.lock_guesses,
            &self.lock_limits,
            &self.lock_counts,
            &self.deliveries,
            &self.insert_verifications,
            &self.update_verifications,
            &self.insert_deliveries,
            &self.update_deliveries,
            &self.insert_limits,
            &self.update_limits,
            &self.insert_guesses,
            &self.update_guesses,
            &self.insert_events,
            &self.decoy,
        ]
    }
}

/// A name as SQL writes it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

macro_rules! verification_columns {
    () => {
        "v.place, v.generation, v.id, v.application, v.destination, v.country, v.purpose, v.channel, v.status, v.created_at, \
         v.expires_at, v.finished_at, v.code_length, v.key_id, v.chosen_digest, v.chosen_sealed, v.sends, v.max_sends, v.resend_at, \
         v.wrong_by_id, v.wrong_by_destination, v.max_checks, v.locale, v.template, v.metadata, v.keyless, v.service, v.amount, \
         v.payee, v.wording, v.follow_up_at"
    };
}

macro_rules! delivery_columns {
    () => {
        "d.verification, d.number, d.id, d.send, d.channel, d.provider, d.status, d.queued_at, d.at, d.error, d.message_id, \
         d.due_at, d.lease_until, d.claims"
    };
}

macro_rules! api_key_columns {
    () => {
        "id, application, key_digest, auth_token_digest, key_sid, key_secret_digest, created_at, revoked_at"
    };
}

macro_rules! record_columns {
    () => {
        "place, application, kind, id, parent, body, created_at, updated_at"
    };
}

macro_rules! application_columns {
    () => {
        "name, account_sid, created_at"
    };
}

macro_rules! guess_columns {
    () => {
        "application, destination, by_id, by_keyless, by_destination"
    };
}

macro_rules! answer_columns {
    () => {
        "application, key, fingerprint, seed, in_flight_until, expires_at, answer"
    };
}

macro_rules! webhook_columns {
    () => {
        "m.endpoint, m.id, m.application, m.verification, m.body, m.at, m.hold_until, m.expires_at, m.due_at, m.attempts"
    };
}

macro_rules! event_columns {
    () => {
        "place, kind, application, verification, delivery, at"
    };
}

macro_rules! health_columns {
    () => {
        "place, hour, application, provider, channel, country, sent, accepted, failed, unknown, delivered, undelivered, approved, \
         delivered_ms, approved_ms"
    };
}

/// Rows of figures, without their places: `$1..$5` keys, `$6..$14` numbers.
macro_rules! health_rows {
    () => {
        "(hour, application, provider, channel, country, sent, accepted, failed, unknown, delivered, undelivered, approved, \
         delivered_ms, approved_ms) SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], \
         $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], \
         $14::bigint[])"
    };
}

/// Which place each of these leads to, if any: `$1..$4` destinations, applications, purposes, services.
macro_rules! latest {
    () => {
        "SELECT q.n, l.place FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) \
         WITH ORDINALITY AS q (destination, application, purpose, service, n) \
         CROSS JOIN LATERAL (SELECT w.place FROM @verification w WHERE w.destination = q.destination \
             AND w.application = q.application AND w.purpose = q.purpose AND w.service = q.service ORDER BY w.generation DESC LIMIT 1) l"
    };
}

/// Which place each of these leads to, if any: `$1..$3` references, providers, references that are delivery ids.
macro_rules! referenced {
    () => {
        "SELECT 2::bigint AS kind, q.n, l.verification AS place FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS q (reference, provider, n) \
         CROSS JOIN LATERAL (SELECT w.verification FROM @delivery w WHERE w.message_id = q.reference AND w.provider = q.provider \
             ORDER BY w.verification DESC LIMIT 1) l \
         UNION ALL \
         SELECT 3::bigint, q.n, w.verification FROM unnest($3::bytea[], $2::text[]) WITH ORDINALITY AS q (id, provider, n) \
         JOIN @delivery w ON w.id = q.id AND w.provider = q.provider"
    };
}

macro_rules! begin_alone {
    () => {
        "BEGIN ISOLATION LEVEL READ COMMITTED"
    };
}

macro_rules! begin {
    () => {
        concat!(
            begin_alone!(),
            "; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; \
             SET LOCAL enable_mergejoin = off; SET LOCAL enable_bitmapscan = off; SET LOCAL jit = off; \
             SET LOCAL lock_timeout = '5s'; SET LOCAL idle_in_transaction_session_timeout = '10s'"
        )
    };
}

macro_rules! lock_guesses {
    () => {
        "SELECT q.n, g.by_id, g.by_keyless, g.by_destination \
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS q (application, destination, n) \
         JOIN @guess_log g ON g.application = q.application AND g.destination = q.destination \
         ORDER BY g.application, g.destination FOR UPDATE OF g"
    };
}

statements! {
    /// Begins a batch's transaction. The planner's settings hold for this transaction alone and say what is so: keys are few, tables
    /// may be large, and their statistics may be from when they were empty. The time-outs bound what is left behind by a process that is gone.
    begin = begin!();
    /// The same where a session is about to keep its statements: each is planned once for all values.
    begin_planning = concat!(begin!(), "; SET LOCAL plan_cache_mode = force_generic_plan");
    begin_alone = begin_alone!();
    /// The same settings behind it where the session keeps its statements: it says which session it is, and gives `$1` places for new
    /// verifications.
    set_up = "SELECT current_setting('countersign.session', true), ARRAY(SELECT nextval('@verification_place') \
        FROM generate_series(1, $1::bigint)), set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true), \
        set_config('enable_mergejoin', 'off', true), set_config('enable_bitmapscan', 'off', true), set_config('jit', 'off', true), \
        set_config('plan_cache_mode', 'force_generic_plan', true), set_config('lock_timeout', '5s', true), \
        set_config('idle_in_transaction_session_timeout', '10s', true)";
    /// The verifications of a batch, locked in the order of their places: by `$1` ids.
    lock_by_id = concat!("SELECT ", verification_columns!(), " FROM @verification v WHERE v.id = ANY ($1::bytea[]) \
        ORDER BY v.place FOR UPDATE OF v");
    /// By what they are about.
    lock_latest = concat!("SELECT ", verification_columns!(), " FROM @verification v \
        WHERE v.place = ANY (ARRAY(SELECT r.place FROM (", latest!(), ") r)) ORDER BY v.place FOR UPDATE OF v");
    /// By references, or `$4` ids.
    lock_referenced = concat!("SELECT ", verification_columns!(), " FROM @verification v \
        WHERE v.place = ANY (ARRAY(SELECT r.place FROM (", referenced!(),
        " UNION ALL SELECT 0::bigint, q.n, w.place FROM unnest($4::bytea[]) WITH ORDINALITY AS q (id, n) \
        JOIN @verification w ON w.id = q.id) r)) ORDER BY v.place FOR UPDATE OF v");
    /// What these lead to, now that the rows are locked.
    latest = latest!();
    /// The same of references.
    referenced = referenced!();
    /// Guess logs, locked in the order of their keys: `$1` applications, `$2` destinations.
    lock_guesses = lock_guesses!();
    /// Counters, locked in the order of their keys.
    lock_limits = "SELECT q.n, l.tat FROM unnest($1::text[]) WITH ORDINALITY AS q (key, n) \
        JOIN @limit_state l ON l.key = q.key ORDER BY l.key FOR UPDATE OF l";
    /// Both, one after the other: `$1` and `$2` for guess logs, `$3` keys of counters.
    lock_counts = concat!("WITH guesses AS MATERIALIZED (", lock_guesses!(), "), \
        limits AS MATERIALIZED (SELECT q.n, l.tat FROM unnest($3::text[]) WITH ORDINALITY AS q (key, n) \
        JOIN @limit_state l ON l.key = q.key ORDER BY l.key FOR UPDATE OF l) \
        SELECT n, by_id, by_keyless, by_destination, NULL::bigint FROM guesses \
        UNION ALL SELECT n, NULL, NULL, NULL, tat FROM limits");
    /// Deliveries of verifications that are locked.
    deliveries = concat!("SELECT ", delivery_columns!(), " FROM @delivery d WHERE d.verification = ANY ($1::bigint[]) ORDER BY d.verification, d.number");
    /// Places for new verifications.
    new_places = "SELECT nextval('@verification_place') FROM generate_series(1, $1::bigint)";

    insert_verifications = "INSERT INTO @verification (place, generation, id, application, destination, country, purpose, channel, \
        status, created_at, expires_at, finished_at, code_length, key_id, chosen_digest, chosen_sealed, sends, max_sends, resend_at, \
        wrong_by_id, wrong_by_destination, max_checks, locale, template, metadata, keyless, service, amount, payee, wording, follow_up_at) \
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
        $9::text[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::text[], $15::bytea[], $16::bytea[], $17::bigint[], \
        $18::bigint[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::text[], $24::text[], $25::text[], \
        $26::bool[], $27::bytea[], $28::text[], $29::text[], $30::text[], \
        $31::bigint[])";
    /// Only what can change does: the rest of a verification is what its code is bound to.
    update_verifications = "UPDATE @verification v SET channel = q.channel, status = q.status, finished_at = q.finished_at, \
        chosen_sealed = q.chosen_sealed, sends = q.sends, resend_at = q.resend_at, wrong_by_id = q.wrong_by_id, \
        wrong_by_destination = q.wrong_by_destination, template = q.template, wording = q.wording, follow_up_at = q.follow_up_at \
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bytea[], $6::bigint[], $7::bigint[], $8::bigint[], \
        $9::bigint[], $10::text[], $11::text[], $12::bigint[]) AS q (place, channel, status, finished_at, chosen_sealed, sends, resend_at, wrong_by_id, \
        wrong_by_destination, template, wording, follow_up_at) WHERE v.place = q.place";
    insert_deliveries = "INSERT INTO @delivery (verification, number, id, send, channel, provider, status, queued_at, at, error, \
        message_id, due_at, lease_until, claims) \
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bigint[], $5::text[], $6::text[], $7::text[], $8::bigint[], \
        $9::bigint[], $10::text[], $11::text[], $12::bigint[], $13::bigint[], $14::bigint[])";
    update_deliveries = "UPDATE @delivery d SET status = q.status, at = q.at, error = q.error, message_id = q.message_id, \
        lease_until = q.lease_until, claims = q.claims \
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[]) \
        AS q (verification, number, status, at, error, message_id, lease_until, claims) \
        WHERE d.verification = q.verification AND d.number = q.number";
    /// Plain inserts: a key that somebody else made in the meantime is an error, and the batch runs again.
    insert_limits = "INSERT INTO @limit_state (key, tat) SELECT * FROM unnest($1::text[], $2::bigint[])";
    update_limits = "UPDATE @limit_state l SET tat = q.tat FROM unnest($1::text[], $2::bigint[]) AS q (key, tat) WHERE l.key = q.key";
    insert_guesses = "INSERT INTO @guess_log (application, destination, by_id, by_keyless, by_destination, forget_at) \
        SELECT * FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[])";
    update_guesses = "UPDATE @guess_log g SET by_id = q.by_id, by_keyless = q.by_keyless, by_destination = q.by_destination, forget_at = q.forget_at \
        FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[]) \
        AS q (application, destination, by_id, by_keyless, by_destination, forget_at) \
        WHERE g.application = q.application AND g.destination = q.destination";
    /// The events of a batch in one row, until they get their places.
    insert_events = "INSERT INTO @event_batch (at, kinds, applications, verifications, deliveries, instants) \
        SELECT $1::bigint, $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[]";
    /// When a batch has nothing else to write.
    decoy = "UPDATE @decoy SET count = count + 1";

    verification = concat!("SELECT ", verification_columns!(), " FROM @verification v WHERE v.id = $1 AND v.application = $2");
    verification_of = concat!("SELECT ", verification_columns!(), " FROM @verification v \
        WHERE v.place = (SELECT d.verification FROM @delivery d WHERE d.id = $1) AND v.application = $2");
    list = concat!("SELECT ", verification_columns!(), " FROM @verification v WHERE v.application = $1");
    has_overdue_delivery = "SELECT EXISTS (SELECT 1 FROM @delivery WHERE status = 'queued' AND lease_until <= $1)";
    /// Takes overdue deliveries. The verification is locked as a decision locks it, so that none is changed under a decision; what
    /// somebody else has locked is passed over.
    claim = concat!("WITH due AS (SELECT d.verification, d.number FROM @delivery d JOIN @verification v ON v.place = d.verification \
        WHERE d.status = 'queued' AND d.lease_until <= $1 ORDER BY d.lease_until LIMIT $3 FOR UPDATE OF v, d SKIP LOCKED), \
        taken AS (UPDATE @delivery d SET lease_until = $2, claims = d.claims + 1 FROM due \
        WHERE d.verification = due.verification AND d.number = due.number RETURNING d.*) \
        SELECT ", delivery_columns!(), ", ", verification_columns!(), " FROM taken d JOIN @verification v ON v.place = d.verification \
        ORDER BY d.lease_until");
    overdue = "SELECT expires_at, application, id FROM @verification \
        WHERE expires_at > $1 AND expires_at <= $2 AND status = 'pending' ORDER BY expires_at LIMIT $3";
    to_follow_up = "SELECT application, id FROM @verification WHERE follow_up_at IS NOT NULL AND follow_up_at <= $1 \
        ORDER BY follow_up_at LIMIT $2";
    /// Cleaning passes over what is locked: a decision has it, or another cleaner.
    /// `$3` is the place up to which events were taken up for webhooks, or null: what was not taken up stays, and its verification.
    clean_verifications = "WITH old AS (SELECT place FROM @verification WHERE expires_at < $1 AND id NOT IN (\
        SELECT verification FROM @event WHERE place > $3 \
        UNION ALL SELECT verification FROM @event WHERE place IS NULL AND $3::bigint IS NOT NULL \
        UNION ALL SELECT unnest(verifications) FROM @event_batch WHERE $3::bigint IS NOT NULL) \
        ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED), \
        gone AS (DELETE FROM @delivery d USING old WHERE d.verification = old.place) \
        DELETE FROM @verification v USING old WHERE v.place = old.place";
    /// The newest place stays with its event, so that a reader who stopped there finds where it was.
    clean_placed_events = "DELETE FROM @event WHERE place IN (SELECT place FROM @event WHERE place IS NOT NULL ORDER BY place LIMIT $2) \
        AND at < $1 AND place < (SELECT place FROM @event_head) AND place <= coalesce($3, 9223372036854775807)";
    clean_waiting_events = "DELETE FROM @event WHERE place IS NULL AND at < $1 AND $3::bigint IS NULL \
        AND seq IN (SELECT seq FROM @event WHERE place IS NULL ORDER BY seq LIMIT $2)";
    clean_event_batches = "DELETE FROM @event_batch WHERE at < $1 AND $3::bigint IS NULL \
        AND seq IN (SELECT seq FROM @event_batch ORDER BY seq LIMIT $2)";
    clean_guesses = "DELETE FROM @guess_log g USING (SELECT application, destination FROM @guess_log WHERE forget_at <= $1 \
        LIMIT $2 FOR UPDATE SKIP LOCKED) old WHERE g.application = old.application AND g.destination = old.destination";
    clean_answers = "DELETE FROM @kept_answer k USING (SELECT application, key FROM @kept_answer WHERE expires_at <= $1 \
        LIMIT $2 FOR UPDATE SKIP LOCKED) old WHERE k.application = old.application AND k.key = old.key";
    clean_expired_webhooks = "DELETE FROM @webhook_message m USING (SELECT endpoint, id FROM @webhook_message WHERE expires_at <= $1 \
        LIMIT $2 FOR UPDATE SKIP LOCKED) old WHERE m.endpoint = old.endpoint AND m.id = old.id";
    clean_done_webhooks = "DELETE FROM @webhook_message m USING (SELECT endpoint, id FROM @webhook_message WHERE NOT waits AND at < $1 \
        ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED) old WHERE m.endpoint = old.endpoint AND m.id = old.id";
    /// Where a stretch of counters ends: `$1` where it begins, `$2` how many less one.
    limit_stretch = "SELECT key FROM @limit_state WHERE key > $1 ORDER BY key OFFSET $2 LIMIT 1";
    clean_limits = "DELETE FROM @limit_state l USING (SELECT key FROM @limit_state WHERE key > $1 AND ($2::text IS NULL OR key <= $2) \
        AND tat / 1000 + 1 <= $3 FOR UPDATE SKIP LOCKED) old WHERE l.key = old.key";
    count_old = "SELECT count(*) FROM @verification WHERE expires_at < $1";
    count_forgettable = "SELECT (SELECT count(*) FROM @limit_state WHERE tat / 1000 + 1 <= $2) \
        + (SELECT count(*) FROM @guess_log WHERE forget_at <= $2) + (SELECT count(*) FROM @kept_answer WHERE expires_at <= $2) \
        + (SELECT count(*) FROM @webhook_message WHERE expires_at <= $2) \
        + (SELECT count(*) FROM @webhook_message WHERE NOT waits AND at < $1)";
    count_health = "SELECT count(*) FROM @health WHERE hour < $1";
    clean_health = "DELETE FROM @health WHERE place IN (SELECT place FROM @health WHERE hour < $1 ORDER BY hour LIMIT $2)";
    /// The least of those that were is found at once, however many were there before.
    events_waiting = "SELECT (SELECT min(seq) FROM @event_batch) IS NOT NULL OR EXISTS (SELECT 1 FROM @event WHERE place IS NULL)";
    /// Gives places, in a transaction that holds the head.
    lock_event_head = "SELECT place FROM @event_head FOR UPDATE";
    /// Unpacks `$2` batches; `$3` events that wait singly, as programs of before write them, get their places among these. How many
    /// places were given, and whether there may be more to give.
    place_events = "WITH gone AS (DELETE FROM @event_batch b USING (SELECT seq FROM @event_batch ORDER BY seq LIMIT $2) w \
        WHERE b.seq = w.seq RETURNING b.seq, b.kinds, b.applications, b.verifications, b.deliveries, b.instants), \
        single AS (SELECT seq FROM @event WHERE place IS NULL ORDER BY seq LIMIT $3), \
        numbered AS (SELECT w.*, $1 + row_number() OVER (ORDER BY w.seq, w.nth) AS place FROM (\
        SELECT g.seq, q.nth, q.kind, q.application, q.verification, q.delivery, q.at FROM gone g CROSS JOIN LATERAL \
        unnest(g.kinds, g.applications, g.verifications, g.deliveries, g.instants) \
        WITH ORDINALITY AS q (kind, application, verification, delivery, at, nth) \
        UNION ALL SELECT seq, 0, NULL, NULL, NULL, NULL, NULL FROM single) w), \
        placed AS (UPDATE @event e SET place = n.place FROM numbered n WHERE n.nth = 0 AND e.seq = n.seq AND e.place IS NULL RETURNING 1), \
        unpacked AS (INSERT INTO @event (seq, place, kind, application, verification, delivery, at) \
        SELECT seq, place, kind, application, verification, delivery, at FROM numbered WHERE nth > 0 RETURNING 1) \
        SELECT (SELECT count(*) FROM placed) + (SELECT count(*) FROM unpacked), \
        (SELECT count(*) FROM gone) = $2 OR (SELECT count(*) FROM single) = $3";
    set_event_head = "UPDATE @event_head SET place = $1";
    events = concat!("SELECT ", event_columns!(), " FROM @event WHERE place > $1 ORDER BY place LIMIT $2");

    begin_taking_up = "INSERT INTO @webhook_position (one, place) SELECT 1, place FROM @event_head ON CONFLICT (one) DO NOTHING";
    end_taking_up = "DELETE FROM @webhook_position";
    taken_up = "SELECT place FROM @webhook_position";
    /// Moves the position and keeps the messages, or does neither: whoever waited for the row finds another place in it.
    take_up_events = "WITH moved AS (UPDATE @webhook_position SET place = $2 WHERE place = $1 RETURNING one) \
        INSERT INTO @webhook_message AS m (endpoint, id, application, verification, body, at, hold_until, expires_at, due_at, attempts, waits) \
        SELECT DISTINCT ON (q.endpoint, q.id) q.*, true FROM moved, unnest($3::text[], $4::text[], $5::text[], $6::bytea[], $7::text[], \
        $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[]) \
        AS q (endpoint, id, application, verification, body, at, hold_until, expires_at, due_at, attempts) ORDER BY q.endpoint, q.id \
        ON CONFLICT (endpoint, id) DO UPDATE SET application = excluded.application, verification = excluded.verification, \
        body = excluded.body, at = excluded.at, hold_until = excluded.hold_until, expires_at = excluded.expires_at, \
        due_at = excluded.due_at, attempts = excluded.attempts, waits = true";
    webhook_is_due = "SELECT EXISTS (SELECT 1 FROM @webhook_message WHERE endpoint = $1 AND due_at <= $2 AND waits) \
        AND NOT EXISTS (SELECT 1 FROM @webhook_endpoint WHERE endpoint = $1 AND disabled_at IS NOT NULL)";
    /// Takes messages. What somebody else has locked is passed over; what they had by then is due no more, and is looked at again.
    claim_webhooks = concat!("WITH due AS (SELECT m.endpoint, m.id FROM @webhook_message m WHERE m.endpoint = $1 AND m.due_at <= $2 AND m.waits \
        AND NOT EXISTS (SELECT 1 FROM @webhook_message e WHERE e.verification = m.verification AND e.waits AND e.endpoint = m.endpoint \
        AND e.id < m.id AND e.hold_until > $2) \
        AND NOT EXISTS (SELECT 1 FROM @webhook_endpoint WHERE endpoint = $1 AND disabled_at IS NOT NULL) \
        ORDER BY m.id LIMIT $4 FOR UPDATE OF m SKIP LOCKED) \
        UPDATE @webhook_message m SET due_at = $3, attempts = m.attempts + 1 FROM due WHERE m.endpoint = due.endpoint AND m.id = due.id \
        RETURNING ", webhook_columns!());
    settle_delivered = "WITH settled AS (UPDATE @webhook_message SET waits = false \
        WHERE endpoint = $1 AND id = $2 AND attempts = $3 AND waits RETURNING endpoint), \
        well AS (UPDATE @webhook_endpoint e SET failing_since = NULL FROM settled \
        WHERE e.endpoint = settled.endpoint AND e.failing_since IS NOT NULL) SELECT count(*) FROM settled";
    /// An attempt in vain: `$4` whether it waits still, `$5` until when; `$8` and `$9` disable the endpoint.
    settle_failed = "WITH settled AS (UPDATE @webhook_message SET waits = $4, due_at = coalesce($5, due_at) \
        WHERE endpoint = $1 AND id = $2 AND attempts = $3 AND waits RETURNING endpoint), \
        ill AS (INSERT INTO @webhook_endpoint AS e (endpoint, failing_since, last_error, disabled_at, settings) \
        SELECT endpoint, $6, $7, $8, $9 FROM settled ON CONFLICT (endpoint) DO UPDATE SET \
        failing_since = coalesce(e.failing_since, excluded.failing_since), last_error = excluded.last_error, \
        disabled_at = coalesce(excluded.disabled_at, e.disabled_at), settings = coalesce(excluded.settings, e.settings)) \
        SELECT count(*) FROM settled";
    /// Those of one event, those of a time, or those that wait anyway: then their endpoints are enabled.
    requeue_webhooks = "WITH chosen AS (SELECT endpoint, id FROM @webhook_message WHERE endpoint = ANY ($1) \
        AND (id = $3 OR at >= $4 AND at < $5 OR $6 AND waits) ORDER BY endpoint, id FOR UPDATE), \
        again AS (UPDATE @webhook_message m SET waits = true, due_at = $2, attempts = 0 FROM chosen \
        WHERE m.endpoint = chosen.endpoint AND m.id = chosen.id RETURNING m.id), \
        enabled AS (UPDATE @webhook_endpoint SET disabled_at = NULL, settings = NULL \
        WHERE $6 AND endpoint = ANY ($1) AND (SELECT count(*) FROM chosen) >= 0) SELECT count(*) FROM again";
    webhook_endpoints = "SELECT endpoint, failing_since, last_error, disabled_at, settings FROM @webhook_endpoint";
    webhooks_waiting = "SELECT endpoint, count(*), min(at) FROM @webhook_message WHERE waits GROUP BY endpoint";

    health_position = "SELECT place FROM @health_position";
    move_health_position = "UPDATE @health_position SET place = $2 WHERE place = $1";
    /// Events that were loaded are not counted: what was counted of them is loaded too.
    pass_health_position = "UPDATE @health_position SET place = $1 WHERE place < $1";
    add_health = concat!("INSERT INTO @health AS h ", health_rows!(), " ON CONFLICT (hour, application, provider, channel, country) \
        DO UPDATE SET sent = h.sent + excluded.sent, accepted = h.accepted + excluded.accepted, failed = h.failed + excluded.failed, \
        unknown = h.unknown + excluded.unknown, delivered = h.delivered + excluded.delivered, \
        undelivered = h.undelivered + excluded.undelivered, approved = h.approved + excluded.approved, \
        delivered_ms = h.delivered_ms + excluded.delivered_ms, approved_ms = h.approved_ms + excluded.approved_ms");
    health = concat!("SELECT ", health_columns!(), " FROM @health WHERE hour >= $1 ORDER BY hour");
    dump_health = concat!("SELECT ", health_columns!(), " FROM @health WHERE place > $1 ORDER BY place LIMIT $2");
    load_health = concat!("INSERT INTO @health ", health_rows!(), " ON CONFLICT DO NOTHING RETURNING ", health_columns!());
    known_health = concat!("SELECT ", health_columns!(), " FROM @health WHERE (hour, application, provider, channel, country) \
        IN (SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[]))");

    /// Begins an answer, or begins it anew if the one before has expired.
    begin_answer = "INSERT INTO @kept_answer AS k (application, key, fingerprint, seed, in_flight_until, expires_at, answer) \
        VALUES ($1, $2, $3, $4, $5, $6, NULL) ON CONFLICT (application, key) DO UPDATE SET fingerprint = excluded.fingerprint, \
        seed = excluded.seed, in_flight_until = excluded.in_flight_until, expires_at = excluded.expires_at, answer = NULL \
        WHERE k.expires_at <= $7 RETURNING k.seed";
    /// Takes over a request that never finished.
    take_over_answer = "UPDATE @kept_answer SET in_flight_until = $4 WHERE application = $1 AND key = $2 AND fingerprint = $3 \
        AND answer IS NULL AND in_flight_until <= $5 AND expires_at > $5 RETURNING seed";
    kept_answer = "SELECT fingerprint, answer FROM @kept_answer WHERE application = $1 AND key = $2 AND expires_at > $3";
    keep_answer = "UPDATE @kept_answer SET answer = $3 WHERE application = $1 AND key = $2";
    release_answer = "UPDATE @kept_answer SET in_flight_until = 0 WHERE application = $1 AND key = $2";

    create_record = "INSERT INTO @record (application, kind, id, parent, body, created_at, updated_at) \
        VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (application, kind, id) DO NOTHING";
    update_record = "UPDATE @record SET body = $4, updated_at = $5 WHERE application = $1 AND kind = $2 AND id = $3";
    record = concat!("SELECT ", record_columns!(), " FROM @record WHERE application = $1 AND kind = $2 AND id = $3");
    records = concat!("SELECT ", record_columns!(), " FROM @record WHERE application = $1 AND kind = $2 \
        AND ($3::text IS NULL OR parent = $3) AND place < $4 ORDER BY place DESC LIMIT $5");
    delete_record = "WITH RECURSIVE goes (place, id) AS (\
        SELECT place, id FROM @record WHERE application = $1 AND kind = $2 AND id = $3 \
        UNION SELECT child.place, child.id FROM @record AS child JOIN goes ON child.application = $1 AND child.parent = goes.id) \
        DELETE FROM @record WHERE place IN (SELECT place FROM goes)";

    create_application = "INSERT INTO @application (name, account_sid, created_at) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING";
    applications = concat!("SELECT ", application_columns!(), " FROM @application ORDER BY name");
    create_key = concat!("INSERT INTO @api_key (", api_key_columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)");
    keys = concat!("SELECT ", api_key_columns!(), " FROM @api_key WHERE application = $1 ORDER BY created_at, id");
    key_by_digest = concat!("SELECT ", api_key_columns!(), " FROM @api_key \
        WHERE (key_digest = $1 OR auth_token_digest = $1 OR key_secret_digest = $1) AND revoked_at IS NULL");
    revoke_key = "UPDATE @api_key SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1";

    dump_applications = concat!("SELECT ", application_columns!(), " FROM @application WHERE name > $1 ORDER BY name LIMIT $2");
    dump_keys = concat!("SELECT ", api_key_columns!(), " FROM @api_key WHERE id > $1 ORDER BY id LIMIT $2");
    dump_records = concat!("SELECT ", record_columns!(), " FROM @record WHERE place > $1 ORDER BY place LIMIT $2");
    dump_verifications = concat!("SELECT ", verification_columns!(), " FROM @verification v WHERE v.place > $1 ORDER BY v.place LIMIT $2");
    dump_limits = "SELECT key, tat FROM @limit_state WHERE key > $1 ORDER BY key LIMIT $2";
    dump_guesses = concat!("SELECT ", guess_columns!(), " FROM @guess_log WHERE (application, destination) > ($1, $2) \
        ORDER BY application, destination LIMIT $3");
    dump_answers = concat!("SELECT ", answer_columns!(), " FROM @kept_answer WHERE (application, key) > ($1, decode($2, 'hex')) \
        ORDER BY application, key LIMIT $3");

    /// Rows that are moved here. Whoever was first stays, whatever the two have in common.
    load_applications = concat!("INSERT INTO @application (", application_columns!(), ") SELECT * FROM unnest($1::text[], $2::text[], \
        $3::bigint[]) ON CONFLICT DO NOTHING RETURNING ", application_columns!());
    known_applications = concat!("SELECT ", application_columns!(), " FROM @application WHERE name = ANY ($1)");
    /// No two secrets are the same, whichever of a key's three they are.
    load_keys = concat!("INSERT INTO @api_key (", api_key_columns!(), ") SELECT q.* FROM unnest($1::text[], $2::text[], $3::bytea[], \
        $4::bytea[], $5::text[], $6::bytea[], $7::bigint[], $8::bigint[]) AS q (", api_key_columns!(), ") \
        WHERE NOT EXISTS (SELECT 1 FROM @api_key k WHERE k.key_digest IN (q.auth_token_digest, q.key_secret_digest) \
        OR k.auth_token_digest IN (q.key_digest, q.key_secret_digest) OR k.key_secret_digest IN (q.key_digest, q.auth_token_digest)) \
        ON CONFLICT DO NOTHING RETURNING ", api_key_columns!());
    known_keys = concat!("SELECT ", api_key_columns!(), " FROM @api_key WHERE id = ANY ($1)");
    /// Places are given in the order of the rows.
    load_records = concat!("INSERT INTO @record (application, kind, id, parent, body, created_at, updated_at) \
        SELECT q.application, q.kind, q.id, q.parent, q.body, q.created_at, q.updated_at \
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::bigint[]) \
        WITH ORDINALITY AS q (application, kind, id, parent, body, created_at, updated_at, n) ORDER BY q.n \
        ON CONFLICT DO NOTHING RETURNING ", record_columns!());
    known_records = concat!("SELECT ", record_columns!(), " FROM @record \
        WHERE (application, kind, id) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))");
    known_verifications = concat!("SELECT ", verification_columns!(), " FROM @verification v WHERE v.id = ANY ($1)");
    known_deliveries = "SELECT id FROM @delivery WHERE id = ANY ($1)";
    latest_generations = "SELECT q.n, l.generation, l.created_at FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) \
        WITH ORDINALITY AS q (destination, application, purpose, service, n) \
        CROSS JOIN LATERAL (SELECT w.generation, w.created_at FROM @verification w WHERE w.destination = q.destination \
        AND w.application = q.application AND w.purpose = q.purpose AND w.service = q.service ORDER BY w.generation DESC LIMIT 1) l";
    load_limits = "INSERT INTO @limit_state (key, tat) SELECT * FROM unnest($1::text[], $2::bigint[]) \
        ON CONFLICT DO NOTHING RETURNING key, tat";
    known_limits = "SELECT key, tat FROM @limit_state WHERE key = ANY ($1)";
    load_guesses = concat!("INSERT INTO @guess_log (", guess_columns!(), ", forget_at) SELECT * FROM unnest($1::text[], $2::text[], \
        $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[]) ON CONFLICT DO NOTHING RETURNING ", guess_columns!());
    known_guesses = concat!("SELECT ", guess_columns!(), " FROM @guess_log \
        WHERE (application, destination) IN (SELECT * FROM unnest($1::text[], $2::text[]))");
    load_answers = concat!("INSERT INTO @kept_answer (", answer_columns!(), ") SELECT * FROM unnest($1::text[], $2::bytea[], \
        $3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bytea[]) ON CONFLICT DO NOTHING RETURNING ", answer_columns!());
    known_answers = concat!("SELECT ", answer_columns!(), " FROM @kept_answer \
        WHERE (application, key) IN (SELECT * FROM unnest($1::text[], $2::bytea[]))");
    load_events = concat!("INSERT INTO @event (", event_columns!(), ") SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], \
        $4::bytea[], $5::bytea[], $6::bigint[]) ON CONFLICT DO NOTHING RETURNING ", event_columns!());
    known_events = concat!("SELECT ", event_columns!(), " FROM @event WHERE place = ANY ($1)");
    raise_event_head = "UPDATE @event_head SET place = greatest(place, $1)";
}
