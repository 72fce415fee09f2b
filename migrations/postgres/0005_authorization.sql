-- What the authorization server keeps. Times in seconds since 1970; a digest is the SHA-256 of 32 random bytes in base64url.
-- Whatever is secret is here by its digest alone, or sealed under the key file.

-- What comes back once and soon: pending authorizations, login states, sessions of browsers, invitations, ids that were seen.
CREATE TABLE tickets (
  kind TEXT NOT NULL,
  digest TEXT NOT NULL,
  body TEXT NOT NULL,
  expires BIGINT NOT NULL,
  PRIMARY KEY (kind, digest)
);
CREATE INDEX tickets_expires ON tickets (expires);

-- Clients that registered themselves. What was decided of them is in `clients`.
CREATE TABLE registrations (
  client_id TEXT PRIMARY KEY,
  metadata TEXT NOT NULL,
  secret_digest TEXT,
  management_digest TEXT,
  fingerprint TEXT NOT NULL,
  created BIGINT NOT NULL,
  changed BIGINT NOT NULL
);
CREATE INDEX registrations_fingerprint ON registrations (fingerprint);

-- What a person let a client do. `binding` is the thumbprint of the key that its tokens are bound to.
CREATE TABLE grants (
  id TEXT PRIMARY KEY,
  issuer TEXT NOT NULL,
  upstream TEXT NOT NULL,
  client_id TEXT NOT NULL,
  subject TEXT NOT NULL,
  person TEXT NOT NULL,
  resource TEXT NOT NULL,
  scopes TEXT NOT NULL,
  redirect_uri TEXT NOT NULL,
  binding TEXT,
  created BIGINT NOT NULL,
  expires BIGINT NOT NULL,
  used BIGINT NOT NULL,
  ended BIGINT,
  reason TEXT
);
CREATE INDEX grants_subject ON grants (subject);
CREATE INDEX grants_client ON grants (client_id);
CREATE INDEX grants_expires ON grants (expires);

CREATE TABLE codes (
  digest TEXT PRIMARY KEY,
  grant_id TEXT NOT NULL,
  body TEXT NOT NULL,
  expires BIGINT NOT NULL,
  used BIGINT
);
CREATE INDEX codes_expires ON codes (expires);

-- One family for each grant. A used one names its successor, and holds it sealed until that one is used.
CREATE TABLE refresh_tokens (
  digest TEXT PRIMARY KEY,
  grant_id TEXT NOT NULL,
  generation BIGINT NOT NULL,
  successor TEXT,
  successor_sealed TEXT,
  created BIGINT NOT NULL,
  used BIGINT,
  expires BIGINT NOT NULL
);
CREATE INDEX refresh_tokens_grant ON refresh_tokens (grant_id);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires);
CREATE INDEX refresh_tokens_successor ON refresh_tokens (successor);

CREATE TABLE consents (
  subject TEXT NOT NULL,
  client_id TEXT NOT NULL,
  redirect_uri TEXT NOT NULL,
  resource TEXT NOT NULL,
  scopes TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  given BIGINT NOT NULL,
  PRIMARY KEY (subject, client_id, redirect_uri, resource)
);

-- Keys that sign access tokens, sealed. Each signs from its time until the next one's.
CREATE TABLE signing_keys (
  kid TEXT PRIMARY KEY,
  algorithm TEXT NOT NULL,
  sealed TEXT NOT NULL,
  created BIGINT NOT NULL,
  signs_from BIGINT NOT NULL
);

CREATE TABLE accounts (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  display TEXT,
  email TEXT,
  "groups" TEXT NOT NULL,
  state TEXT NOT NULL,
  password TEXT,
  failures BIGINT NOT NULL,
  wait_until BIGINT,
  created BIGINT NOT NULL,
  changed BIGINT NOT NULL
);

CREATE TABLE passkeys (
  id TEXT PRIMARY KEY,
  account TEXT NOT NULL,
  body TEXT NOT NULL,
  label TEXT,
  created BIGINT NOT NULL,
  used BIGINT
);
CREATE INDEX passkeys_account ON passkeys (account);

CREATE TABLE recovery_codes (
  account TEXT NOT NULL,
  digest TEXT NOT NULL,
  PRIMARY KEY (account, digest)
);
