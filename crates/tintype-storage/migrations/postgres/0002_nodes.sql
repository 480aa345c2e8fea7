-- Nodes that share this database.
CREATE TABLE nodes (
  -- A random number, another one at each start.
  id BIGINT NOT NULL PRIMARY KEY,
  -- Where the other nodes reach it; NULL for a node that is alone.
  address TEXT COLLATE "C",
  started_at BIGINT NOT NULL,
  -- When it last said that it is alive, by the clock of the database.
  seen_at BIGINT NOT NULL
);

-- What one node does for all of them. It goes with its node.
CREATE TABLE leases (
  name TEXT COLLATE "C" NOT NULL PRIMARY KEY,
  node BIGINT NOT NULL REFERENCES nodes (id) ON DELETE CASCADE
);

CREATE INDEX leases_by_node ON leases (node);

-- The node whose request claimed the reservation last: it holds it while there is a holder, and afterwards it may have
-- what is kept of the upload.
ALTER TABLE reservations ADD COLUMN node BIGINT;

-- What is to be given back when a node is gone.
CREATE INDEX held_reservations ON reservations (node) WHERE holder IS NOT NULL;

-- The node that forwards the request, or did last.
ALTER TABLE attachments ADD COLUMN node BIGINT;
