-- How providers do: what ended verifications say of the messages of an hour. Summed in the background from the log of events, so that
-- no decision waits for another's count. What it still counts for is worked out when it is read.
CREATE SEQUENCE health_place;

CREATE TABLE health (
    place        BIGINT PRIMARY KEY DEFAULT nextval('health_place'),
    hour         BIGINT NOT NULL,           -- in which the messages were due
    application  TEXT NOT NULL,
    provider     TEXT NOT NULL,
    channel      TEXT NOT NULL,
    country      TEXT NOT NULL,             -- empty for none
    sent         BIGINT NOT NULL,
    accepted     BIGINT NOT NULL,
    failed       BIGINT NOT NULL,
    unknown      BIGINT NOT NULL,
    delivered    BIGINT NOT NULL,
    undelivered  BIGINT NOT NULL,
    approved     BIGINT NOT NULL,
    delivered_ms BIGINT NOT NULL,
    approved_ms  BIGINT NOT NULL
) WITH (fillfactor = 70);

CREATE UNIQUE INDEX health_key ON health (hour, application, provider, channel, country);

-- Up to where events were counted. What happened before there were figures is not.
CREATE TABLE health_position (
    one   BIGINT PRIMARY KEY CHECK (one = 1),
    place BIGINT NOT NULL                   -- event.place
) WITH (fillfactor = 50);

INSERT INTO health_position (one, place) SELECT 1, place FROM event_head;
