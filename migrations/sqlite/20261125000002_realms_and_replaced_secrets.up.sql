-- Columns for realms, replaced secrets, "remember me" and log-ins of several requests; and which release the
-- schema needs at least. The release before goes on running: every column is nullable or has a default.

-- Each `alter table … add column` would read all rows of this table, because it is strict, and all writers would
-- wait: two seconds at 200,000 rows. So the text of the table is changed instead, to what `add column` makes
-- of it. Rows without the last columns have their defaults. See https://sqlite.org/lang_altertable.html#otheralter
pragma writable_schema = on;
update sqlite_schema
set sql = replace(sql, '    check ((user_id is null)',
'    -- Which of several applications on this database the session is of; empty for the default one.
    realm               text    not null default '''',
    -- The secret_hash before the last one, and when it was replaced: whoever comes with that secret within a
    -- minute was overtaken by their own browser.
    replaced_hash       blob,
    replaced_at         integer,
    -- Further secrets that are as good as secret_hash, 32 bytes each: a log-in that was sent twice handed out one
    -- a time. The first request a minute later leaves the one that the browser kept.
    twin_hashes         blob,
    -- Whether the log-in said "remember me"; null where a release wrote the row that did not record it.
    remembered          integer,
    -- A log-in of several requests: who is about to log in, if that is known; when it began; when it lapses.
    pending_user_id     text,
    pending_since       integer,
    pending_until       integer,
    check ((user_id is null)')
where type = 'table' and name = 'sessions';
pragma writable_schema = reset;
-- Fails where the text was not as expected.
update sessions set realm = '', pending_until = null where false;

drop view active_sessions;
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
    user_agent,
    realm,
    remembered
from sessions
where cast(round(unixepoch('subsec') * 1000) as integer) < valid_until;

-- One row: the oldest release that can use this schema, by the newest migration that it has to hold at least.
-- Each migration after this one says here what it asks of the releases before it.
create table session_schema (
    is_only         integer primary key not null default 1 check (is_only = 1),
    needs_migration integer not null,
    needs_release   text    not null
) strict;

insert into session_schema (needs_migration, needs_release) values (20261123000001, '0.1.0');
