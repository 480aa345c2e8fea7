-- Bytes, by their SHA-256. Small ones live in `body`; larger ones in the blob store, at `location`.
-- `body` is the last column, so that reading the others never touches its pages.
CREATE TABLE blobs (
  id INTEGER PRIMARY KEY,
  sha256 BLOB NOT NULL UNIQUE,
  size INTEGER NOT NULL,
  location TEXT,
  -- How many rows of media and thumbnails name this blob. It goes when the last one goes.
  refs INTEGER NOT NULL,
  body BLOB,
  CHECK ((location IS NULL) <> (body IS NULL))
) STRICT;

CREATE TABLE media (
  server_name TEXT NOT NULL,
  media_id TEXT NOT NULL,
  blob_id INTEGER NOT NULL REFERENCES blobs (id),
  -- As the uploader sent it, byte for byte: it need not be text.
  content_type BLOB NOT NULL,
  filename TEXT,
  uploader TEXT NOT NULL,
  -- Milliseconds since the Unix epoch, here and in every other table.
  created_at INTEGER NOT NULL,
  PRIMARY KEY (server_name, media_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE thumbnails (
  server_name TEXT NOT NULL,
  media_id TEXT NOT NULL,
  width INTEGER NOT NULL,
  height INTEGER NOT NULL,
  method TEXT NOT NULL,
  -- NULL: the original serves as its own thumbnail, as `content_type`.
  blob_id INTEGER REFERENCES blobs (id),
  content_type TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  PRIMARY KEY (server_name, media_id, width, height, method),
  FOREIGN KEY (server_name, media_id) REFERENCES media (server_name, media_id)
) STRICT, WITHOUT ROWID;

-- What each user has stored, kept with every upload, so that one statement decides whether a quota is reached.
CREATE TABLE usage (
  user_id TEXT NOT NULL PRIMARY KEY,
  bytes INTEGER NOT NULL,
  media INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Tokens of accounts that live here: the standalone profile. Only the SHA-256 of a token is kept.
CREATE TABLE access_tokens (
  token_sha256 BLOB NOT NULL PRIMARY KEY,
  user_id TEXT NOT NULL,
  device_id TEXT NOT NULL,
  guest INTEGER NOT NULL,
  admin INTEGER NOT NULL,
  created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE settings (
  name TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
