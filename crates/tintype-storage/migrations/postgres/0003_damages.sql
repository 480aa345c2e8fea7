-- Blobs whose bytes are not what was stored. Each goes when it is mended, or with its blob.
CREATE TABLE damaged_blobs (
  blob_id BIGINT NOT NULL PRIMARY KEY REFERENCES blobs (id) ON DELETE CASCADE,
  -- 1: there are none.
  missing BIGINT NOT NULL,
  found_at BIGINT NOT NULL
);
