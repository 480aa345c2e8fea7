-- Requests that attach restricted media to an event or a profile (MSC3911), from before they are forwarded to the
-- homeserver. What is finished answers retries for a day.
CREATE TABLE attachments (
  -- Never used twice: `linked_media` keeps it.
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  tenant TEXT NOT NULL,
  user_id TEXT NOT NULL,
  -- Empty where the user has none.
  device_id TEXT NOT NULL,
  method TEXT NOT NULL,
  -- As it was sent. What follows the question mark is not kept: it may hold a token.
  path TEXT NOT NULL,
  -- MXC URIs in their order, with spaces between them.
  media TEXT NOT NULL,
  body_sha256 BLOB NOT NULL,
  -- 'transaction': a message whose path says which one it is; 'message': one without that; 'room': the avatar of a new one.
  kind TEXT NOT NULL CHECK (kind IN ('transaction', 'message', 'state', 'profile', 'room')),
  -- Of the event: what it can be recognised by in the stream of the application service.
  room_id TEXT,
  event_type TEXT,
  state_key TEXT,
  content_sha256 BLOB,
  -- 'forwarding': a request is under way; 'unknown': nobody knows what became of it; 'finished': the media is attached.
  state TEXT NOT NULL DEFAULT 'forwarding' CHECK (state IN ('forwarding', 'unknown', 'finished')),
  -- An event that the stream brought while the request was under way, and that looks like it.
  seen_event_id TEXT,
  -- What the media is attached to; NULL as well for a profile.
  event_id TEXT,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX attachments_transaction ON attachments (user_id, device_id, method, path) WHERE kind = 'transaction';
CREATE INDEX attachments_by_request ON attachments (user_id, device_id, path);
CREATE INDEX attachments_open ON attachments (user_id, event_type) WHERE state <> 'finished';
CREATE INDEX attachments_finished ON attachments (updated_at) WHERE state = 'finished';

-- Events that our media is attached to, and of which the history visibility is still to be asked for.
CREATE TABLE visibility_questions (
  event_id TEXT NOT NULL PRIMARY KEY,
  due INTEGER NOT NULL,
  tries INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE INDEX visibility_questions_due ON visibility_questions (due);
