-- Attempts to sign in, by the digest of whose name it was and of where from: counted before they are judged, so that
-- attempts at once count each. Times in seconds since 1970.
CREATE TABLE attempts (
  digest TEXT PRIMARY KEY,
  made BIGINT NOT NULL,
  wait_until BIGINT NOT NULL,
  expires BIGINT NOT NULL
);
CREATE INDEX attempts_expires ON attempts (expires);

-- Who a session of a browser is of, so that a person can see and end them. The ticket holds the rest.
CREATE TABLE browser_sessions (
  digest TEXT PRIMARY KEY,
  subject TEXT NOT NULL,
  begun BIGINT NOT NULL,
  expires BIGINT NOT NULL,
  agent TEXT NOT NULL
);
CREATE INDEX browser_sessions_subject ON browser_sessions (subject);
CREATE INDEX browser_sessions_expires ON browser_sessions (expires);
