-- The layout "minimal": one row for the latest verification of an application, service, destination and purpose. A new one takes
-- the place of the one before it. Instants are milliseconds since the Unix epoch, UTC. No column holds a code.
CREATE TABLE verification (
    place       INTEGER PRIMARY KEY,    -- the order in which they began
    id          TEXT NOT NULL,
    application TEXT NOT NULL,
    service     TEXT NOT NULL,          -- empty for the application's own
    destination TEXT NOT NULL,
    purpose     TEXT NOT NULL,
    status      TEXT NOT NULL,
    expires_at  INTEGER NOT NULL,
    due_at       INTEGER,               -- when a message that waits may be carried by anybody; null if none waits
    follow_up_at INTEGER,               -- when the next provider or channel is tried; null when nothing is planned
    state        TEXT NOT NULL          -- everything else, its deliveries too, as JSON
) STRICT;

CREATE UNIQUE INDEX verification_id ON verification (id);
CREATE UNIQUE INDEX verification_latest ON verification (destination, application, purpose, service);
CREATE INDEX verification_ends ON verification (status, expires_at);
CREATE INDEX verification_due ON verification (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX verification_follow_up ON verification (follow_up_at) WHERE follow_up_at IS NOT NULL;
