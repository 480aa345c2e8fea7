-- How many requests for media each day had, so that it can be told what a freeze of the old endpoints would break.
CREATE TABLE media_requests (
  -- Days since 1970-01-01, UTC.
  day INTEGER NOT NULL,
  -- 'old': without an access token; 'new': with one.
  endpoint TEXT NOT NULL,
  -- The family of its User-Agent.
  client TEXT NOT NULL,
  -- 'served', 'frozen' or 'other'.
  outcome TEXT NOT NULL,
  -- How old the media was: less than '1d', '7d', '30d'; 'older'; '' where it is not known.
  age TEXT NOT NULL,
  requests INTEGER NOT NULL,
  PRIMARY KEY (day, endpoint, client, outcome, age)
) STRICT, WITHOUT ROWID;
