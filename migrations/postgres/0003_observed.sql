-- What each caller used, how often, and from when to when. Replicas add to each other's counts. Times in seconds since 1970.
-- `about` is passed, refused, scope, tool, prompt, resource or template; an absent client is an empty text.
CREATE TABLE observed (
  upstream TEXT NOT NULL,
  issuer TEXT NOT NULL,
  client TEXT NOT NULL,
  subject TEXT NOT NULL,
  about TEXT NOT NULL,
  name TEXT NOT NULL,
  uses BIGINT NOT NULL,
  first_used BIGINT NOT NULL,
  last_used BIGINT NOT NULL,
  PRIMARY KEY (upstream, issuer, client, subject, about, name)
);
CREATE INDEX observed_last ON observed (last_used);
CREATE INDEX observed_client ON observed (issuer, client);

-- What found no room: here silence proves nothing. `last_lost` is when something was used that is not known any more.
CREATE TABLE observed_gaps (
  upstream TEXT NOT NULL,
  about TEXT NOT NULL,
  lost BIGINT NOT NULL,
  last_lost BIGINT NOT NULL,
  PRIMARY KEY (upstream, about)
);

-- Since when anything was observed.
CREATE TABLE observation (
  one BIGINT PRIMARY KEY CHECK (one = 1),
  begun BIGINT NOT NULL
);

-- Who has looked at a review, and of what: an empty client is the whole.
CREATE TABLE attestations (
  issuer TEXT NOT NULL,
  client TEXT NOT NULL,
  made BIGINT NOT NULL,
  actor TEXT NOT NULL,
  note TEXT NOT NULL,
  digest TEXT NOT NULL
);
CREATE INDEX attestations_client ON attestations (issuer, client, made);
