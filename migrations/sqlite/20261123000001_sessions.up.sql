-- Moments are integers: milliseconds since 1970-01-01T00:00:00Z, which is as fine as SQLite's clock is.
-- A session is live while the clock is before valid_until. The view active_sessions shows readable times.
create table sessions (
    -- The public handle (UUIDv7, in order of creation). Not a credential: the cookie holds a secret beside it.
    id                  blob    primary key not null check (length(id) = 16),
    -- Counts the writes to data. A write happens only where it is still the one that was read.
    revision            integer not null,
    created_at          integer not null,
    -- When the user last proved who they are; null while anonymous.
    authenticated_at    integer,
    -- When the session was last seen, to about a twentieth of its idle timeout.
    last_seen_at        integer not null,
    -- The end, whatever happens: fixed at creation and at log-in. Activity never moves it.
    absolute_expires_at integer not null,
    -- The exact end: the earlier of last_seen_at + idle_timeout and absolute_expires_at.
    valid_until         integer not null check (valid_until <= absolute_expires_at),
    -- The cleanup's key: valid_until rounded up to half of the idle timeout. Indexed, so it moves rarely.
    expires_at          integer not null check (expires_at >= valid_until),
    -- Seconds without a request after which the session ends. A "remember me" session has a longer one.
    idle_timeout        integer not null check (idle_timeout > 0),
    -- SHA-256 of the 256-bit secret in the cookie. The secret itself is stored nowhere.
    secret_hash         blob    not null check (length(secret_hash) = 32),
    -- The application's own key for the person; null while anonymous.
    user_id             text    check (user_id <> ''),
    -- The session's values: one JSON object, by top-level key.
    data                text    not null,
    -- The client at creation, log-in or renewal, whichever was last.
    ip                  text,
    user_agent          text,
    check ((user_id is null) = (authenticated_at is null))
) strict;

create index sessions_expires_at_idx on sessions (expires_at);
create index sessions_user_id_idx on sessions (user_id, id) where user_id is not null;

-- One row a user with a recent log-in or revocation. A log-in whose authentication began before revoked_at
-- is refused. The row with the empty user_id holds for everybody.
create table session_cutoffs (
    user_id    text    primary key not null,
    revoked_at integer,
    -- When the row was last used; the cleanup deletes it a day later.
    used_at    integer not null
) strict;

create index session_cutoffs_used_at_idx on session_cutoffs (used_at);

insert into session_cutoffs (user_id, revoked_at, used_at) values ('', null, 9223372036854775807);

-- The live sessions, for people and dashboards: neither secret hash nor data.
create view active_sessions as
select
    lower(substr(hex(id), 1, 8) || '-' || substr(hex(id), 9, 4) || '-' || substr(hex(id), 13, 4) || '-'
        || substr(hex(id), 17, 4) || '-' || substr(hex(id), 21, 12)) as id,
    user_id,
    strftime('%Y-%m-%dT%H:%M:%fZ', created_at / 1000.0, 'unixepoch') as created_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', authenticated_at / 1000.0, 'unixepoch') as authenticated_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', last_seen_at / 1000.0, 'unixepoch') as last_seen_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', valid_until / 1000.0, 'unixepoch') as valid_until,
    strftime('%Y-%m-%dT%H:%M:%fZ', absolute_expires_at / 1000.0, 'unixepoch') as absolute_expires_at,
    ip,
    user_agent
from sessions
where cast(round(unixepoch('subsec') * 1000) as integer) < valid_until;
