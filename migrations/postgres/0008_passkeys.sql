-- What a passkey's authenticator said last: how often it signed, and whether the key may be and is kept elsewhere too.
-- `id` is the credential's, `body` its public key (COSE), both in base64url.
ALTER TABLE passkeys ADD COLUMN counter BIGINT NOT NULL DEFAULT 0;
ALTER TABLE passkeys ADD COLUMN eligible BIGINT NOT NULL DEFAULT 0;
ALTER TABLE passkeys ADD COLUMN backed_up BIGINT NOT NULL DEFAULT 0;
