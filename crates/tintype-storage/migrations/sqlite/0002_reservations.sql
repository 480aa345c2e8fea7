-- URIs that were made for a later upload (MSC2246). A row goes when its upload is recorded as media. One that expires
-- stays, so that its ID is never given out again.
CREATE TABLE reservations (
  server_name TEXT NOT NULL,
  media_id TEXT NOT NULL,
  creator TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  -- The largest integer, where it never expires.
  expires_at INTEGER NOT NULL,
  -- 1 as soon as it has been counted as expired, and what it held was given up.
  swept INTEGER NOT NULL DEFAULT 0,
  -- A random number of the request that brings the upload; NULL where there is none.
  holder INTEGER,
  -- What a resumable upload has brought so far: a file in the blob store, how many of its bytes are kept, and what its
  -- sender said of the whole.
  partial TEXT,
  partial_size INTEGER,
  length INTEGER,
  content_type BLOB,
  filename TEXT,
  PRIMARY KEY (server_name, media_id)
) STRICT, WITHOUT ROWID;

-- How many a user has open.
CREATE INDEX open_reservations ON reservations (creator, expires_at) WHERE swept = 0;

-- Which have expired.
CREATE INDEX unswept_reservations ON reservations (expires_at) WHERE swept = 0;

-- Which hold bytes: looked up at a start.
CREATE INDEX partial_reservations ON reservations (partial) WHERE partial IS NOT NULL;
