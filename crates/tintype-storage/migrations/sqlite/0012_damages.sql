-- Blobs whose bytes are not what was stored. Each goes when it is mended, or with its blob.
CREATE TABLE damaged_blobs (
  blob_id INTEGER NOT NULL PRIMARY KEY REFERENCES blobs (id) ON DELETE CASCADE,
  -- 1: there are none.
  missing INTEGER NOT NULL,
  found_at INTEGER NOT NULL
) STRICT;
