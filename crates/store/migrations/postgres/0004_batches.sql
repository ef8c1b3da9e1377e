-- Less to write for each verification. A program of before goes on beside this: it writes its events singly, as it did, and sees those
-- of others as soon as one of these has read them.

-- Events that nobody has read yet, all those of one transaction in a row. Whoever reads first moves them to `event`, each with its place.
-- Rows come and go; they are to stay in their pages, not to be compressed.
CREATE TABLE event_batch (
    seq           BIGINT PRIMARY KEY DEFAULT nextval('event_seq'),
    at            BIGINT NOT NULL,          -- when the last of them happened
    kinds         TEXT[] NOT NULL,
    applications  TEXT[] NOT NULL,
    verifications BYTEA[] NOT NULL,
    deliveries    BYTEA[] NOT NULL,         -- null where an event is of none
    instants      BIGINT[] NOT NULL
) WITH (toast_tuple_target = 8160);

-- A verification is written again soon after it began, most often with all that began beside it: its page must have room for that.
ALTER TABLE verification SET (fillfactor = 50);
