-- The first schema. A released migration is never edited: changes come as a new file, first expanding, later contracting.
-- Instants are milliseconds since the Unix epoch, UTC. No column holds a code: codes are derived (docs/decisions/0002).

-- Tenants. What one allows is in the configuration.
CREATE TABLE application (
    name        TEXT PRIMARY KEY,
    account_sid TEXT NOT NULL UNIQUE,
    created_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- API keys: digests alone; a key is shown once.
CREATE TABLE api_key (
    id                TEXT PRIMARY KEY,
    application       TEXT NOT NULL REFERENCES application (name),
    key_digest        BLOB NOT NULL UNIQUE,
    auth_token_digest BLOB NOT NULL UNIQUE,
    key_sid           TEXT NOT NULL UNIQUE,
    key_secret_digest BLOB NOT NULL UNIQUE,
    created_at        INTEGER NOT NULL,
    revoked_at        INTEGER
) STRICT;

-- One row for each attempt to prove control of a destination. `place` is the order in which they began: new rows go to the end of
-- the tree, so that a million live verifications cost no more to add to than a thousand.
CREATE TABLE verification (
    place                INTEGER PRIMARY KEY,
    id                   BLOB NOT NULL,
    application          TEXT NOT NULL,
    service              BLOB,              -- a profile under the application; null for its own
    destination          TEXT NOT NULL,
    country              TEXT,
    purpose              TEXT NOT NULL,
    keyless              INTEGER NOT NULL,  -- 1 if begun by somebody without a key
    channel              TEXT NOT NULL,
    status               TEXT NOT NULL,
    created_at           INTEGER NOT NULL,
    expires_at           INTEGER NOT NULL,
    finished_at          INTEGER,
    code_length          INTEGER NOT NULL,
    key_id               TEXT NOT NULL,     -- the key of the ring that the code is derived under
    chosen_digest        BLOB,              -- keyed digest of a code that the caller chose
    chosen_sealed        BLOB,              -- the same code encrypted, until the verification ends
    sends                INTEGER NOT NULL,
    max_sends            INTEGER NOT NULL,
    resend_at            INTEGER NOT NULL,
    wrong_by_id          INTEGER NOT NULL,
    wrong_by_destination INTEGER NOT NULL,
    max_checks           INTEGER NOT NULL,
    locale               TEXT,
    template             TEXT,
    metadata             TEXT,              -- a JSON object of strings; null when empty
    amount               TEXT,              -- of the payment that the code confirms
    payee                TEXT,
    wording              TEXT,              -- what its message says in words of its own, as JSON; null when nothing
    follow_up_at         INTEGER            -- when the next provider or channel is tried; null when nothing is planned
) STRICT;

CREATE UNIQUE INDEX verification_id ON verification (id);
CREATE INDEX verification_destination ON verification (destination, application, purpose, service);
CREATE INDEX verification_expires ON verification (expires_at);
CREATE INDEX verification_follow_up ON verification (follow_up_at) WHERE follow_up_at IS NOT NULL;

-- The outbox and its history: one row for each attempt with a provider, beside its verification.
CREATE TABLE delivery (
    verification INTEGER NOT NULL,          -- verification.place
    number       INTEGER NOT NULL,
    id           BLOB NOT NULL,
    send         INTEGER NOT NULL,
    channel      TEXT NOT NULL,
    provider     TEXT NOT NULL,
    status       TEXT NOT NULL,
    queued_at    INTEGER NOT NULL,
    at           INTEGER NOT NULL,
    error        TEXT,
    message_id   TEXT,
    due_at       INTEGER NOT NULL,
    lease_until  INTEGER NOT NULL,
    claims       INTEGER NOT NULL,
    PRIMARY KEY (verification, number)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX delivery_id ON delivery (id);
CREATE INDEX delivery_message ON delivery (message_id, provider) WHERE message_id IS NOT NULL;
CREATE INDEX delivery_outbox ON delivery (lease_until) WHERE status = 'queued';

-- Rates as GCRA: the theoretical arrival time in microseconds.
CREATE TABLE limit_state (
    key TEXT PRIMARY KEY,
    tat INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Wrong guesses of the last 24 hours at one destination of one application: instants as 8-byte big-endian integers.
CREATE TABLE guess_log (
    application    TEXT NOT NULL,
    destination    TEXT NOT NULL,
    by_id          BLOB NOT NULL,
    by_keyless     BLOB NOT NULL,
    by_destination BLOB NOT NULL,
    forget_at      INTEGER NOT NULL,
    PRIMARY KEY (application, destination)
) STRICT, WITHOUT ROWID;

CREATE INDEX guess_log_forget ON guess_log (forget_at);

-- What happened, in order; never a code.
CREATE TABLE event (
    place        INTEGER PRIMARY KEY,
    kind         TEXT NOT NULL,
    application  TEXT NOT NULL,
    verification BLOB NOT NULL,
    delivery     BLOB,
    at           INTEGER NOT NULL
) STRICT;

-- Answers given under an idempotency key: sealed, since they may hold a token.
CREATE TABLE kept_answer (
    application     TEXT NOT NULL,
    key             BLOB NOT NULL,
    fingerprint     BLOB NOT NULL,
    seed            BLOB NOT NULL,
    in_flight_until INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    answer          BLOB,
    PRIMARY KEY (application, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX kept_answer_expires ON kept_answer (expires_at);

-- What doors keep for an application and no rule knows of: settings of services, rate limits, webhooks.
CREATE TABLE record (
    place       INTEGER PRIMARY KEY,
    application TEXT NOT NULL,
    kind        TEXT NOT NULL,
    id          TEXT NOT NULL,
    parent      TEXT,                       -- the id of the record that it goes with
    body        TEXT NOT NULL,              -- JSON
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX record_name ON record (application, kind, id);
CREATE INDEX record_parent ON record (application, parent) WHERE parent IS NOT NULL;

-- Up to where events were taken up for webhooks; no row as long as nobody sends any.
CREATE TABLE webhook_position (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    place INTEGER NOT NULL                  -- event.place
) STRICT;

-- Events on their way to endpoints. Ids sort as their events happened.
CREATE TABLE webhook_message (
    endpoint     TEXT NOT NULL,
    id           TEXT NOT NULL,
    application  TEXT NOT NULL,
    verification BLOB NOT NULL,
    body         TEXT NOT NULL,             -- JSON, the same at every attempt; never a code
    at           INTEGER NOT NULL,
    hold_until   INTEGER NOT NULL,          -- until then it holds back later ones of its verification
    expires_at   INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,
    attempts     INTEGER NOT NULL,
    waits        INTEGER NOT NULL,          -- 0 when it was delivered or given up
    PRIMARY KEY (endpoint, id)
) STRICT, WITHOUT ROWID;

CREATE INDEX webhook_message_due ON webhook_message (endpoint, due_at) WHERE waits = 1;
CREATE INDEX webhook_message_order ON webhook_message (verification) WHERE waits = 1;
CREATE INDEX webhook_message_done ON webhook_message (at) WHERE waits = 0;
CREATE INDEX webhook_message_expires ON webhook_message (expires_at);

-- How endpoints fare.
CREATE TABLE webhook_endpoint (
    endpoint      TEXT PRIMARY KEY,
    failing_since INTEGER,
    last_error    TEXT,
    disabled_at   INTEGER,
    settings      TEXT                      -- tells the settings that it was disabled under from others
) STRICT, WITHOUT ROWID;

-- Written when there is nothing to write but that must not show in the time an answer takes.
CREATE TABLE decoy (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    count INTEGER NOT NULL
) STRICT;

INSERT INTO decoy VALUES (1, 0);
