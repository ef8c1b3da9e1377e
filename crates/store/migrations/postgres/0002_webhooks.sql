-- Webhooks to applications. A program that knows only what was before goes on beside this: it takes nothing up.

-- Up to where events were taken up for webhooks; no row as long as nobody sends any.
CREATE TABLE webhook_position (
    one   BIGINT PRIMARY KEY CHECK (one = 1),
    place BIGINT NOT NULL                   -- event.place
) WITH (fillfactor = 50);

-- Events on their way to endpoints. Ids sort as their events happened.
CREATE TABLE webhook_message (
    endpoint     TEXT NOT NULL,
    id           TEXT NOT NULL,
    application  TEXT NOT NULL,
    verification BYTEA NOT NULL,
    body         TEXT NOT NULL,             -- JSON, the same at every attempt; never a code
    at           BIGINT NOT NULL,
    hold_until   BIGINT NOT NULL,           -- until then it holds back later ones of its verification
    expires_at   BIGINT NOT NULL,
    due_at       BIGINT NOT NULL,
    attempts     BIGINT NOT NULL,
    waits        BOOLEAN NOT NULL,          -- false when it was delivered or given up
    PRIMARY KEY (endpoint, id)
) WITH (fillfactor = 70);

CREATE INDEX webhook_message_due ON webhook_message (endpoint, due_at) WHERE waits;
CREATE INDEX webhook_message_order ON webhook_message (verification) WHERE waits;
CREATE INDEX webhook_message_done ON webhook_message (at) WHERE NOT waits;
CREATE INDEX webhook_message_expires ON webhook_message (expires_at);

-- How endpoints fare.
CREATE TABLE webhook_endpoint (
    endpoint      TEXT PRIMARY KEY,
    failing_since BIGINT,
    last_error    TEXT,
    disabled_at   BIGINT,
    settings      TEXT                      -- tells the settings that it was disabled under from others
);
