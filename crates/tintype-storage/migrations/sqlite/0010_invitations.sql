-- Whoever is invited to a room that the homeserver is not in is shown what the invitation names: looked for by user.
CREATE INDEX room_members_outside ON room_members (user_id) WHERE membership IN ('invite', 'knock');
