-- Redactions that the stream of the application service told of, until it is known whether the homeserver applied them.
-- What was applied is in `linked_events`: `redacted_at`, for ever, also of events that nothing here is attached to.
CREATE TABLE redactions (
  -- The redaction's own ID.
  event_id TEXT NOT NULL PRIMARY KEY,
  -- The server whose homeserver told of it.
  tenant TEXT NOT NULL,
  room_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  -- What it redacts.
  target TEXT NOT NULL,
  noted_at INTEGER NOT NULL,
  -- When it is to be decided, or the homeserver to be asked again.
  due_at INTEGER NOT NULL,
  -- How often the homeserver did not show the target as redacted, and how often it could not be asked.
  tries INTEGER NOT NULL DEFAULT 0,
  failures INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX redactions_due ON redactions (due_at);
CREATE INDEX redactions_by_target ON redactions (target);

-- Rooms that a user of a server of ours has left. Whether somebody of ours is still there is looked at when it is due.
CREATE TABLE departures (
  room_id TEXT NOT NULL PRIMARY KEY,
  left_at INTEGER NOT NULL,
  -- Whether nobody at all was left in it.
  abandoned INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX departures_due ON departures (left_at);

-- Which events name which media of ours, as far as it can be seen. Empty unless such media goes with its last event
-- (`unlinked_redaction`).
CREATE TABLE named_media (
  server_name TEXT NOT NULL,
  media_id TEXT NOT NULL,
  event_id TEXT NOT NULL,
  sender TEXT NOT NULL,
  -- When what was named by this event may go; NULL where it is not redacted.
  due_at INTEGER,
  -- Whether that time has come.
  over INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (server_name, media_id, event_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX named_media_by_event ON named_media (event_id);
CREATE INDEX named_media_due ON named_media (due_at) WHERE due_at IS NOT NULL AND over = 0;

-- Since when all events of a server's stream are looked at: media from before may be named by an event that was not seen.
CREATE TABLE naming_since (
  tenant TEXT NOT NULL PRIMARY KEY,
  since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Users all of whose uploads are to go. A row stays as the report of what went.
CREATE TABLE erasures (
  user_id TEXT NOT NULL PRIMARY KEY,
  requested_at INTEGER NOT NULL,
  -- NULL as long as something may be left.
  finished_at INTEGER,
  -- Pieces of media that went and their bytes; among them ephemeral and restricted ones; and reserved URIs.
  media INTEGER NOT NULL DEFAULT 0,
  bytes INTEGER NOT NULL DEFAULT 0,
  ephemeral INTEGER NOT NULL DEFAULT 0,
  restricted INTEGER NOT NULL DEFAULT 0,
  reserved INTEGER NOT NULL DEFAULT 0,
  -- Pieces, and their bytes, of which others have media with the same bytes, which stays.
  shared INTEGER NOT NULL DEFAULT 0,
  shared_bytes INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX erasures_unfinished ON erasures (requested_at) WHERE finished_at IS NULL;

-- What is a user's.
CREATE INDEX media_by_uploader ON media (uploader);
