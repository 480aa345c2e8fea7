-- Several nodes can share a database of PostgreSQL. On SQLite there is one, which is not written down: these tables stay
-- empty, and `node` is always NULL; they are here so that both engines are told the same statements.
CREATE TABLE nodes (
  -- A random number, another one at each start.
  id INTEGER NOT NULL PRIMARY KEY,
  -- Where the other nodes reach it; NULL for a node that is alone.
  address TEXT,
  started_at INTEGER NOT NULL,
  -- When it last said that it is alive, by the clock of the database.
  seen_at INTEGER NOT NULL
) STRICT;

-- What one node does for all of them. It goes with its node.
CREATE TABLE leases (
  name TEXT NOT NULL PRIMARY KEY,
  node INTEGER NOT NULL REFERENCES nodes (id) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

CREATE INDEX leases_by_node ON leases (node);

-- The node whose request claimed the reservation last: it holds it while there is a holder, and afterwards it may have
-- what is kept of the upload.
ALTER TABLE reservations ADD COLUMN node INTEGER;

-- What is to be given back when a node is gone.
CREATE INDEX held_reservations ON reservations (node) WHERE holder IS NOT NULL;

-- The node that forwards the request, or did last.
ALTER TABLE attachments ADD COLUMN node INTEGER;
