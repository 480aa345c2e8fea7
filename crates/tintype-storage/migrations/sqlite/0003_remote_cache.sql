-- What other servers sent: one row for each response, the original of a piece of media or a thumbnail of it. Their blobs
-- are those of local media: equal bytes are kept once.
CREATE TABLE remote_cache (
  server_name TEXT NOT NULL,
  media_id TEXT NOT NULL,
  -- 0, 0, 'original': not a thumbnail. A key of columns that are never NULL is one that a row can be found by.
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  method TEXT NOT NULL,
  blob_id INTEGER NOT NULL REFERENCES blobs (id),
  content_type BLOB NOT NULL,
  filename TEXT,
  fetched_at INTEGER NOT NULL,
  last_access INTEGER NOT NULL,
  PRIMARY KEY (server_name, media_id, width, height, method)
) STRICT, WITHOUT ROWID;

-- Which goes first.
CREATE INDEX remote_cache_by_access ON remote_cache (last_access);

-- What the table above holds, kept with every change of it: the limit of the cache is looked at after each fetch. One row.
CREATE TABLE remote_usage (
  id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
  bytes INTEGER NOT NULL,
  responses INTEGER NOT NULL
) STRICT;

INSERT INTO remote_usage (id, bytes, responses) VALUES (1, 0, 0);

-- Locations in the blob store that no record names any more, until their files are removed.
CREATE TABLE removals (
  location TEXT NOT NULL PRIMARY KEY,
  queued_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A blob's row can go now, and the database looks for rows that still name it: without these it would read whole tables.
CREATE INDEX media_by_blob ON media (blob_id);
CREATE INDEX thumbnails_by_blob ON thumbnails (blob_id);
CREATE INDEX remote_cache_by_blob ON remote_cache (blob_id);
