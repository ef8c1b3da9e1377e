-- How providers do: what ended verifications say of the messages of an hour. Summed in the background from the log of events, so that
-- no decision waits for another's count. What it still counts for is worked out when it is read.
CREATE TABLE health (
    place        INTEGER PRIMARY KEY,
    hour         INTEGER NOT NULL,          -- in which the messages were due
    application  TEXT NOT NULL,
    provider     TEXT NOT NULL,
    channel      TEXT NOT NULL,
    country      TEXT NOT NULL,             -- empty for none
    sent         INTEGER NOT NULL,
    accepted     INTEGER NOT NULL,
    failed       INTEGER NOT NULL,
    unknown      INTEGER NOT NULL,
    delivered    INTEGER NOT NULL,
    undelivered  INTEGER NOT NULL,
    approved     INTEGER NOT NULL,
    delivered_ms INTEGER NOT NULL,
    approved_ms  INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX health_key ON health (hour, application, provider, channel, country);

-- Up to where events were counted. What happened before there were figures is not.
CREATE TABLE health_position (
    one   INTEGER PRIMARY KEY CHECK (one = 1),
    place INTEGER NOT NULL                  -- event.place
) STRICT;

INSERT INTO health_position SELECT 1, coalesce(max(place), 0) FROM event;
