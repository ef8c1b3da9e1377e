-- The first schema. A released migration is never edited: changes come as a new file, first expanding, later contracting.
-- Instants are milliseconds since the Unix epoch, UTC. No column holds a code: codes are derived (docs/decisions/0002).
-- Statements name every column that they read or write, so a column that a later migration adds disturbs no older program.

-- Tenants. What one allows is in the configuration.
CREATE TABLE application (
    name        TEXT PRIMARY KEY,
    account_sid TEXT NOT NULL UNIQUE,
    created_at  BIGINT NOT NULL
);

-- API keys: digests alone; a key is shown once.
CREATE TABLE api_key (
    id                TEXT PRIMARY KEY,
    application       TEXT NOT NULL REFERENCES application (name),
    key_digest        BYTEA NOT NULL UNIQUE,
    auth_token_digest BYTEA NOT NULL UNIQUE,
    key_sid           TEXT NOT NULL UNIQUE,
    key_secret_digest BYTEA NOT NULL UNIQUE,
    created_at        BIGINT NOT NULL,
    revoked_at        BIGINT
);

-- One row for each attempt to prove control of a destination. `place` is the order in which they began, near enough for paging.
-- `generation` counts the attempts at one destination for one purpose: that it is unique is what keeps two processes, which both
-- saw that there was none, from beginning one each.
CREATE SEQUENCE verification_place;

CREATE TABLE verification (
    place                BIGINT PRIMARY KEY,
    generation           BIGINT NOT NULL,
    id                   BYTEA NOT NULL,
    application          TEXT NOT NULL,
    service              BYTEA NOT NULL,    -- a profile under the application; empty for its own
    destination          TEXT NOT NULL,
    country              TEXT,
    purpose              TEXT NOT NULL,
    keyless              BOOLEAN NOT NULL,  -- whether it was begun by somebody without a key
    channel              TEXT NOT NULL,
    status               TEXT NOT NULL,
    created_at           BIGINT NOT NULL,
    expires_at           BIGINT NOT NULL,
    finished_at          BIGINT,
    code_length          BIGINT NOT NULL,
    key_id               TEXT NOT NULL,     -- the key of the ring that the code is derived under
    chosen_digest        BYTEA,             -- keyed digest of a code that the caller chose
    chosen_sealed        BYTEA,             -- the same code encrypted, until the verification ends
    sends                BIGINT NOT NULL,
    max_sends            BIGINT NOT NULL,
    resend_at            BIGINT NOT NULL,
    wrong_by_id          BIGINT NOT NULL,
    wrong_by_destination BIGINT NOT NULL,
    max_checks           BIGINT NOT NULL,
    locale               TEXT,
    template             TEXT,
    metadata             TEXT,              -- a JSON object of strings; null when empty
    amount               TEXT,              -- of the payment that the code confirms
    payee                TEXT,
    wording              TEXT,              -- what its message says in words of its own, as JSON; null when nothing
    follow_up_at         BIGINT             -- when the next provider or channel is tried; null when nothing is planned
) WITH (fillfactor = 85);

CREATE UNIQUE INDEX verification_id ON verification (id);
CREATE UNIQUE INDEX verification_destination ON verification (destination, application, purpose, service, generation);
CREATE INDEX verification_expires ON verification (expires_at);
CREATE INDEX verification_follow_up ON verification (follow_up_at) WHERE follow_up_at IS NOT NULL;

-- The outbox and its history: one row for each attempt with a provider, beside its verification.
CREATE TABLE delivery (
    verification BIGINT NOT NULL,           -- verification.place
    number       BIGINT NOT NULL,
    id           BYTEA NOT NULL,
    send         BIGINT NOT NULL,
    channel      TEXT NOT NULL,
    provider     TEXT NOT NULL,
    status       TEXT NOT NULL,
    queued_at    BIGINT NOT NULL,
    at           BIGINT NOT NULL,
    error        TEXT,
    message_id   TEXT,
    due_at       BIGINT NOT NULL,
    lease_until  BIGINT NOT NULL,
    claims       BIGINT NOT NULL,
    PRIMARY KEY (verification, number)
) WITH (fillfactor = 85);

CREATE UNIQUE INDEX delivery_id ON delivery (id);
CREATE INDEX delivery_message ON delivery (message_id, provider) WHERE message_id IS NOT NULL;
CREATE INDEX delivery_outbox ON delivery (lease_until) WHERE status = 'queued';

-- Rates as GCRA: the theoretical arrival time in microseconds. No index on it: every send would pay for that twice.
CREATE TABLE limit_state (
    key TEXT PRIMARY KEY,
    tat BIGINT NOT NULL
) WITH (fillfactor = 70);

-- Wrong guesses of the last 24 hours at one destination of one application: instants as 8-byte big-endian integers.
CREATE TABLE guess_log (
    application    TEXT NOT NULL,
    destination    TEXT NOT NULL,
    by_id          BYTEA NOT NULL,
    by_keyless     BYTEA NOT NULL,
    by_destination BYTEA NOT NULL,
    forget_at      BIGINT NOT NULL,
    PRIMARY KEY (application, destination)
);

CREATE INDEX guess_log_forget ON guess_log (forget_at);

-- What happened; never a code. Transactions end in another order than they begin, so a row gets its place when it is first read:
-- places then come in order and without gaps, and no reader misses one.
CREATE SEQUENCE event_seq;

CREATE TABLE event (
    seq          BIGINT NOT NULL DEFAULT nextval('event_seq'),
    place        BIGINT,
    kind         TEXT NOT NULL,
    application  TEXT NOT NULL,
    verification BYTEA NOT NULL,
    delivery     BYTEA,
    at           BIGINT NOT NULL
);

CREATE INDEX event_waiting ON event (seq) WHERE place IS NULL;
CREATE UNIQUE INDEX event_place ON event (place) WHERE place IS NOT NULL;

-- The place given last. Who gives places locks this row.
CREATE TABLE event_head (
    one   BIGINT PRIMARY KEY CHECK (one = 1),
    place BIGINT NOT NULL
);

INSERT INTO event_head (one, place) VALUES (1, 0);

-- Answers given under an idempotency key: sealed, since they may hold a token.
CREATE TABLE kept_answer (
    application     TEXT NOT NULL,
    key             BYTEA NOT NULL,
    fingerprint     BYTEA NOT NULL,
    seed            BYTEA NOT NULL,
    in_flight_until BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    answer          BYTEA,
    PRIMARY KEY (application, key)
);

CREATE INDEX kept_answer_expires ON kept_answer (expires_at);

-- What doors keep for an application and no rule knows of: settings of services, rate limits, webhooks.
CREATE SEQUENCE record_place;

CREATE TABLE record (
    place       BIGINT PRIMARY KEY DEFAULT nextval('record_place'),
    application TEXT NOT NULL,
    kind        TEXT NOT NULL,
    id          TEXT NOT NULL,
    parent      TEXT,                       -- the id of the record that it goes with
    body        TEXT NOT NULL,              -- JSON
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);

CREATE UNIQUE INDEX record_name ON record (application, kind, id);
CREATE INDEX record_parent ON record (application, parent) WHERE parent IS NOT NULL;

-- Written when there is nothing to write but that must not show in the time an answer takes.
CREATE TABLE decoy (
    one   BIGINT PRIMARY KEY CHECK (one = 1),
    count BIGINT NOT NULL
) WITH (fillfactor = 50);

INSERT INTO decoy (one, count) VALUES (1, 0);
