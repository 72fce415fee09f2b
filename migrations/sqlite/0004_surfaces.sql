-- What issuers publish and we lean on, each version as it was fetched; `seq` is the number of the change by which it last became the
-- current one. A bounded number is kept. Times in seconds since 1970.
CREATE TABLE surfaces (
  issuer TEXT NOT NULL,
  kind TEXT NOT NULL,
  digest TEXT NOT NULL,
  seq BIGINT NOT NULL,
  summary TEXT NOT NULL,
  first_seen BIGINT NOT NULL,
  last_seen BIGINT NOT NULL,
  PRIMARY KEY (issuer, kind, digest)
);

-- Keys of issuers, each as it is now, by its thumbprint; `seq` is the number of its last change.
CREATE TABLE issuer_keys (
  issuer TEXT NOT NULL,
  thumbprint TEXT NOT NULL,
  seq BIGINT NOT NULL,
  kid TEXT NOT NULL,
  algorithms TEXT NOT NULL,
  state TEXT NOT NULL,
  since BIGINT NOT NULL,
  gone BIGINT,
  PRIMARY KEY (issuer, thumbprint)
);
CREATE INDEX issuer_keys_seq ON issuer_keys (seq);

-- What was decided of them, by whom and why.
CREATE TABLE issuer_key_changes (
  seq BIGINT PRIMARY KEY,
  issuer TEXT NOT NULL,
  thumbprint TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  made BIGINT NOT NULL
);
CREATE INDEX issuer_key_changes_key ON issuer_key_changes (issuer, thumbprint, seq);
