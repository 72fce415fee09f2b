-- Of clients that made themselves known, by a registration or by a document (then `client_id` is its URL): how the name looks to a
-- person, when they last asked for something, and when they leave unless somebody approves them. Times in seconds since 1970.
ALTER TABLE registrations ADD COLUMN likeness TEXT NOT NULL DEFAULT '';
ALTER TABLE registrations ADD COLUMN used BIGINT;
ALTER TABLE registrations ADD COLUMN leaves BIGINT NOT NULL DEFAULT 0;
CREATE INDEX registrations_likeness ON registrations (likeness);
CREATE INDEX registrations_leaves ON registrations (leaves);
