-- Ephemeral media (MSC4425): when it ends by itself. NULL: it is kept. The largest integer: it is ephemeral, and ends
-- only when its owner says so.
ALTER TABLE media ADD COLUMN expires_at INTEGER;
CREATE INDEX ephemeral_media ON media (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX ephemeral_media_of_user ON media (uploader) WHERE expires_at IS NOT NULL;

-- Whether the media that a URI waits for will be ephemeral.
ALTER TABLE reservations ADD COLUMN ephemeral INTEGER NOT NULL DEFAULT 0;

-- Media that was deleted, or has ended. Its ID is never given out again, and who uploaded it may know that it is gone.
CREATE TABLE tombstones (
  server_name TEXT NOT NULL,
  media_id TEXT NOT NULL,
  uploader TEXT NOT NULL,
  deleted_at INTEGER NOT NULL,
  PRIMARY KEY (server_name, media_id)
) STRICT, WITHOUT ROWID;

-- Until when a response with ephemeral media of another server may be kept; NULL: as long as it is used.
ALTER TABLE remote_cache ADD COLUMN expires_at INTEGER;
CREATE INDEX ephemeral_remote ON remote_cache (expires_at) WHERE expires_at IS NOT NULL;
