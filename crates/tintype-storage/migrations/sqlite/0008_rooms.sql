-- What homeservers tell us as their application service: one stream for each server of ours that has one. Its events are
-- counted, and an event's number is its position. Positions of different streams have nothing to do with each other.
CREATE TABLE streams (
  tenant TEXT NOT NULL PRIMARY KEY,
  -- The last event's.
  position INTEGER NOT NULL,
  -- How many transactions were applied.
  transactions INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The last transactions that were applied, so that one that is repeated is not applied twice.
CREATE TABLE stream_transactions (
  tenant TEXT NOT NULL,
  transaction_id TEXT NOT NULL,
  -- How many were applied before it, and it.
  number INTEGER NOT NULL,
  -- Of the IDs of its events: a homeserver that lost its database begins to count anew.
  events_sha256 BLOB NOT NULL,
  PRIMARY KEY (tenant, transaction_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX stream_transactions_by_number ON stream_transactions (tenant, number);

-- Rooms in which the stream saw something. A room is followed as long as a user of ours is joined: then the stream brings
-- all of its new events.
CREATE TABLE rooms (
  tenant TEXT NOT NULL,
  room_id TEXT NOT NULL,
  -- The position from which on every event came; NULL while nobody of ours is joined.
  followed_since INTEGER,
  -- Whether the state from before that is known as well.
  known INTEGER NOT NULL DEFAULT 0,
  -- The current history visibility, and where it was said; NULL while it is not known.
  visibility TEXT,
  visibility_position INTEGER NOT NULL DEFAULT 0,
  -- The current avatar, an MXC URI.
  avatar TEXT,
  avatar_position INTEGER NOT NULL DEFAULT 0,
  -- When its state is to be read, or read again; NULL where it need not be, or where nobody is known who could.
  read_due INTEGER,
  -- How often that failed.
  read_failures INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant, room_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX rooms_to_read ON rooms (read_due) WHERE read_due IS NOT NULL;
CREATE INDEX rooms_by_avatar ON rooms (avatar) WHERE avatar IS NOT NULL;

-- Who is in these rooms. Of a server's own users, whatever their membership; of others, as long as the room is followed,
-- and those who left only until its state is known.
CREATE TABLE room_members (
  tenant TEXT NOT NULL,
  room_id TEXT NOT NULL,
  user_id TEXT NOT NULL,
  -- Of the user.
  server_name TEXT NOT NULL,
  membership TEXT NOT NULL CHECK (membership IN ('join', 'invite', 'knock', 'leave', 'ban')),
  -- The member event; NULL where a user of ours is only known to be joined because they sent something.
  event_id TEXT,
  -- Who sent it: who invited, for one.
  sender TEXT,
  -- Its position, or that from which on it is known to hold.
  position INTEGER NOT NULL,
  -- From which position on the membership is the same.
  since INTEGER NOT NULL,
  -- Whether the stream brought it; otherwise it was in the state that was read.
  streamed INTEGER NOT NULL,
  -- The member's avatar, an MXC URI.
  avatar TEXT,
  -- What an invitation or a knock shows of the room: JSON.
  stripped TEXT,
  PRIMARY KEY (tenant, room_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_members_by_server ON room_members (tenant, room_id, server_name, membership, since);
CREATE INDEX room_members_by_avatar ON room_members (avatar) WHERE avatar IS NOT NULL;

-- From which event on to which (both included) a server had a user who was joined, or invited. Kept for ever.
CREATE TABLE room_servers (
  tenant TEXT NOT NULL,
  room_id TEXT NOT NULL,
  server_name TEXT NOT NULL,
  membership TEXT NOT NULL CHECK (membership IN ('join', 'invite')),
  from_position INTEGER NOT NULL,
  -- NULL: still.
  until_position INTEGER,
  PRIMARY KEY (tenant, room_id, server_name, membership, from_position)
) STRICT, WITHOUT ROWID;

CREATE INDEX room_servers_open ON room_servers (tenant, room_id) WHERE until_position IS NULL;
