-- One counter for everything that replicas must hear of: whoever writes takes the next number, one at a time.
CREATE TABLE feed (
  one BIGINT PRIMARY KEY CHECK (one = 1),
  seq BIGINT NOT NULL,
  revocations BIGINT NOT NULL
);
INSERT INTO feed (one, seq, revocations) VALUES (1, 0, 0);

-- Times in seconds since 1970.
CREATE TABLE revocations (
  seq BIGINT PRIMARY KEY,
  kind TEXT NOT NULL,
  issuer TEXT NOT NULL,
  name TEXT NOT NULL,
  issued_until BIGINT,
  leaves BIGINT,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  made BIGINT NOT NULL
);
CREATE INDEX revocations_leaves ON revocations (leaves);

-- Who serves, and how far each has read. `seen` by the database's own clock, in milliseconds since 1970.
CREATE TABLE replicas (
  id TEXT PRIMARY KEY,
  place TEXT NOT NULL,
  seq BIGINT NOT NULL,
  seen BIGINT NOT NULL,
  max_age BIGINT NOT NULL
);
