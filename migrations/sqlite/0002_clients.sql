-- Clients, each as it is now; `seq` is the number of its last change. A retired one stays for ever. Times in seconds since 1970.
CREATE TABLE clients (
  issuer TEXT NOT NULL,
  id TEXT NOT NULL,
  seq BIGINT NOT NULL,
  state TEXT NOT NULL,
  source TEXT NOT NULL,
  owner TEXT NOT NULL,
  purpose TEXT NOT NULL,
  upstreams TEXT,
  scopes TEXT,
  expires BIGINT,
  first_seen BIGINT,
  PRIMARY KEY (issuer, id)
);
CREATE INDEX clients_seq ON clients (seq);

-- What was decided of them, by whom and why.
CREATE TABLE client_changes (
  seq BIGINT PRIMARY KEY,
  issuer TEXT NOT NULL,
  id TEXT NOT NULL,
  state TEXT NOT NULL,
  reason TEXT NOT NULL,
  actor TEXT NOT NULL,
  made BIGINT NOT NULL
);
CREATE INDEX client_changes_id ON client_changes (issuer, id, seq);
