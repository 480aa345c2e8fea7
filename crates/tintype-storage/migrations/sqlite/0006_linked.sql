-- Restricted media of ours (MSC3911): who may see what is uploaded, or reserved, under a name. Media without a row here is
-- for everybody. A row goes with its media.
CREATE TABLE linked_media (
  server_name TEXT NOT NULL,
  media_id TEXT NOT NULL,
  uploader TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  -- When it goes if it is still attached to nothing; the largest integer: never.
  unattached_until INTEGER NOT NULL,
  -- 'unattached'; 'attaching': reserved for one request, of which it is not known yet what became; 'attached': for ever.
  state TEXT NOT NULL DEFAULT 'unattached' CHECK (state IN ('unattached', 'attaching', 'attached')),
  -- The row of `attachments` that has it; NULL where it is unattached.
  attachment_id INTEGER,
  -- What it is attached to: exactly one of them where it is attached.
  event_id TEXT,
  profile_user TEXT,
  PRIMARY KEY (server_name, media_id),
  CHECK ((state = 'unattached') = (attachment_id IS NULL)),
  CHECK ((state = 'attached') = ((event_id IS NULL) <> (profile_user IS NULL)))
) STRICT, WITHOUT ROWID;

CREATE INDEX linked_media_unattached ON linked_media (unattached_until) WHERE state = 'unattached';
CREATE INDEX linked_media_by_attachment ON linked_media (attachment_id) WHERE attachment_id IS NOT NULL;
CREATE INDEX linked_media_by_event ON linked_media (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX linked_media_by_uploader ON linked_media (uploader);

-- Events that media is attached to, ours or of other servers, as far as they are known. A row stays when the media goes:
-- what comes later with an event that was redacted is never shown.
CREATE TABLE linked_events (
  event_id TEXT NOT NULL PRIMARY KEY,
  -- Each of them NULL as long as it is not known.
  room_id TEXT,
  sender TEXT,
  event_type TEXT,
  -- NULL as well where it is known that the event is no state event, which `event_type` tells.
  state_key TEXT,
  -- The history visibility at the event.
  visibility TEXT,
  -- Where in the stream of the application service the event was, so that it can be told who was in the room then.
  position INTEGER,
  -- From when on nobody is given what is attached to it.
  redacted_at INTEGER,
  -- When what is attached to it is removed; NULL where that was done, or where it was not redacted.
  removal_due INTEGER
) STRICT, WITHOUT ROWID;

CREATE INDEX linked_events_due ON linked_events (removal_due) WHERE removal_due IS NOT NULL;
CREATE INDEX linked_events_by_room ON linked_events (room_id) WHERE room_id IS NOT NULL;

-- Of responses of other servers: who may see them. NULL: everybody. 'event' and 'profile' with whose in `audience_id`;
-- 'nobody': restricted in a way that is not understood here.
ALTER TABLE remote_cache ADD COLUMN audience TEXT CHECK (audience IN ('event', 'profile', 'nobody'));
ALTER TABLE remote_cache ADD COLUMN audience_id TEXT;
CREATE INDEX remote_cache_by_audience ON remote_cache (audience_id) WHERE audience_id IS NOT NULL;
