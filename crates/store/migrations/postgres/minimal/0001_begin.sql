-- The layout "minimal": one row for the latest verification of an application, service, destination and purpose. A new one takes
-- the place of the one before it. Instants are milliseconds since the Unix epoch, UTC. No column holds a code.
-- That there is one row of each is what keeps two processes, which both saw that there was none, from beginning one each.
CREATE TABLE verification (
    place        BIGINT PRIMARY KEY,    -- the order in which they began
    id           TEXT NOT NULL,
    application  TEXT NOT NULL,
    service      TEXT NOT NULL,         -- empty for the application's own
    destination  TEXT NOT NULL,
    purpose      TEXT NOT NULL,
    status       TEXT NOT NULL,
    expires_at   BIGINT NOT NULL,
    due_at       BIGINT,                -- when a message that waits may be carried by anybody; null if none waits
    follow_up_at BIGINT,                -- when the next provider or channel is tried; null when nothing is planned
    state        TEXT NOT NULL          -- everything else, its deliveries too, as JSON
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX verification_id ON verification (id);
CREATE UNIQUE INDEX verification_latest ON verification (destination, application, purpose, service);
CREATE INDEX verification_ends ON verification (status, expires_at);
CREATE INDEX verification_due ON verification (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX verification_follow_up ON verification (follow_up_at) WHERE follow_up_at IS NOT NULL;
