-- Which verification a provider speaks of, by its own name for the message or by our id of the delivery.
CREATE TABLE receipt (
    reference    TEXT NOT NULL,
    provider     TEXT NOT NULL,
    verification TEXT NOT NULL,
    ends_at      BIGINT NOT NULL,
    PRIMARY KEY (reference, provider)
);

CREATE INDEX receipt_ends ON receipt (ends_at);
