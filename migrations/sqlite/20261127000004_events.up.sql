-- The log of events and of cleanup runs, views of both, and a view that ends sessions. Releases before this one go on
-- running, and write no events.
--
-- Views and triggers run in the SQLite of whoever uses them: nothing here needs more than SQLite 3.40, which has no
-- unhex() and no unixepoch('subsec').

-- A comment within a statement is shown by .schema.
create table session_event_log (
    -- What happened to sessions. Written in the transaction of what it records, and never changed. The cleanup deletes
    -- old rows. Read it through the view session_events.
    at         integer not null,
    event      text    not null,
    realm      text    not null default '',
    session_id blob,
    user_id    text,
    ip         text,
    user_agent text,
    reason     text,
    actor      text
) strict;

-- No further index: a sweep writes a row for each expired session, and each index would make it slower.
create index session_event_log_user_id_idx on session_event_log (user_id, at) where user_id is not null;
create index session_event_log_at_idx on session_event_log (at);
-- At most one event of a superseded secret a minute for a session.
create unique index session_event_log_superseded_idx on session_event_log (session_id, at / 60000) where event = 'superseded';

create trigger session_event_log_append_only before update on session_event_log
begin
    select raise(abort, 'session_event_log is append-only: an event is never changed');
end;

create view session_ends as
-- For the library, not for people: a row that is inserted ends a session and records its event, in one statement.
select id, null as live, null as at, null as event, realm, user_id, ip, user_agent, null as reason, null as actor
from sessions where false;

create trigger session_ends_insert instead of insert on session_ends
begin
    insert into session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
    select new.at, new.event, new.realm, new.id, new.user_id, new.ip, new.user_agent, new.reason, new.actor
    where new.event is not null;
    delete from sessions where id = new.id;
end;

create table session_cleanup_log (
    -- One row for each run of the cleanup. Read it through the view cleanup_runs.
    started_at integer not null,
    ended_at   integer not null,
    -- Expired rows that the run deleted.
    sessions   integer not null,
    statements integer not null,
    -- Why the run ended early; null if it did not.
    error      text
) strict;

create index session_cleanup_log_ended_at_idx on session_cleanup_log (ended_at);

drop view active_sessions;
create view active_sessions as
-- The live sessions: neither secret hash nor data. To end all of a user's:
-- insert into revocations (user_id, reason) values ('ada', 'left the company');
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
where cast(round((julianday('now') - 2440587.5) * 86400000) as integer) < valid_until;

create view session_events as
-- What happened to sessions, kept after the session's row is gone (90 days by default). Indexed by user_id. A query
-- without a user_id reads all events: to use the index of at, ask session_event_log (milliseconds since 1970).
select
    -- When it happened. For an expired session: when the cleanup deleted its row.
    strftime('%Y-%m-%dT%H:%M:%fZ', at / 1000.0, 'unixepoch') as at,
    -- logged_in, logged_out, revoked, reauthenticated, refused (a log-in), expired, superseded (somebody used a secret
    -- that had been replaced).
    event,
    realm,
    -- Null for a refused log-in, and for the one event that a revocation of all sessions of a user or of everybody adds.
    iif(session_id is null, null, lower(substr(hex(session_id), 1, 8) || '-' || substr(hex(session_id), 9, 4) || '-' || substr(hex(session_id), 13, 4) || '-'
        || substr(hex(session_id), 17, 4) || '-' || substr(hex(session_id), 21, 12))) as session_id,
    -- Null for a revocation of everybody.
    user_id,
    -- The client that did it, or that of the session that was revoked. Null for an expired session.
    ip,
    user_agent,
    -- In words; null if nobody gave one.
    reason,
    -- Who did it: user (in one of their own sessions), application, sqlite (the view revocations), command:NAME,
    -- console:NAME, or a name that the application gave.
    actor
from session_event_log;

create view session_counts as
-- Exact numbers of sessions. Reads all rows of the table.
select realm,
    -- Sessions that a browser can use, the anonymous ones included.
    sum(now < valid_until) as live,
    sum(now < valid_until and user_id is null) as anonymous,
    -- Sessions past their end whose row the cleanup has not deleted yet.
    sum(now >= valid_until) as expired,
    -- Since when the cleanup could have deleted a row that is still there. Older than two intervals of the cleanup: it
    -- does not keep up.
    strftime('%Y-%m-%dT%H:%M:%fZ', min(iif(expires_at < now, expires_at, null)) / 1000.0, 'unixepoch') as oldest_unswept
from sessions, (select cast(round((julianday('now') - 2440587.5) * 86400000) as integer) as now)
group by realm;

create view cleanup_runs as
-- The runs of the cleanup, as old as the events.
select
    strftime('%Y-%m-%dT%H:%M:%fZ', started_at / 1000.0, 'unixepoch') as started_at,
    strftime('%Y-%m-%dT%H:%M:%fZ', ended_at / 1000.0, 'unixepoch') as ended_at,
    (ended_at - started_at) / 1000.0 as elapsed_seconds,
    sessions,
    statements,
    error
from session_cleanup_log;

create view sessions_by_hour as
-- The number of events in each hour. Reads all events.
select strftime('%Y-%m-%dT%H:00:00Z', at / 1000, 'unixepoch') as hour, realm,
    sum(event = 'logged_in') as logged_in,
    sum(event = 'logged_out') as logged_out,
    sum(event = 'revoked' and session_id is not null) as revoked,
    sum(event = 'expired') as expired,
    sum(event = 'reauthenticated') as reauthenticated,
    sum(event = 'refused') as refused,
    sum(event = 'superseded') as superseded
from session_event_log
group by 1, realm;

create view revocations as
-- Ends sessions as Sessions::revoke, revoke_user, revoke_others and revoke_all do: the same cut-off and events.
--
--     insert into revocations (user_id, reason) values ('ada', 'left the company');
--     insert into revocations (session_id, reason) values ('0198c5ca-…', 'a lost phone');
--     insert into revocations (scope, user_id, session_id, reason) values ('others', 'ada', '0198c5ca-…', 'all but this one');
--     insert into revocations (scope, reason) values ('all', 'a leaked backup');
--
-- The realm is the default one if it is left out. In a transaction, make it the last statement. The view's rows are the
-- revocations of the past.
select iif(session_id is null, null, lower(substr(hex(session_id), 1, 8) || '-' || substr(hex(session_id), 9, 4) || '-' || substr(hex(session_id), 13, 4) || '-'
        || substr(hex(session_id), 17, 4) || '-' || substr(hex(session_id), 21, 12))) as session_id, user_id,
    iif(user_id is null and session_id is null, 'all', null) as scope, realm, reason
from session_event_log
where event = 'revoked';

create view revocations_checked as
-- The same after its arguments are checked, with the session's id as bytes. Not for people.
select session_id, user_id, null as scope, realm, reason from session_event_log where false;

create trigger revocations_insert instead of insert on revocations
begin
    select raise(abort, 'a revocation needs a reason') where new.reason is null;
    select raise(abort, 'a reason is a text of at most 500 bytes without control characters')
    where typeof(new.reason) <> 'text' or length(cast(new.reason as blob)) > 500 or instr(cast(new.reason as blob), x'00') > 0
        or new.reason glob '*[' || char(1) || '-' || char(31) || char(127) || '-' || char(159) || ']*';
    select raise(abort, 'the scope is ''all'' or ''others'', or left out') where new.scope not in ('all', 'others');
    select raise(abort, 'scope ''all'' ends every session of the realm: leave session_id and user_id out')
    where new.scope = 'all' and (new.session_id is not null or new.user_id is not null);
    select raise(abort, 'scope ''others'' needs a user_id, and the session_id of the session to keep')
    where new.scope = 'others' and (new.session_id is null or new.user_id is null);
    select raise(abort, 'a revocation needs either a session_id or a user_id; scope ''all'' ends every session of the realm')
    where new.scope is null and (new.session_id is null) = (new.user_id is null);
    select raise(abort, 'a user_id is a text of 1 to 255 bytes')
    where new.user_id is not null
        and (typeof(new.user_id) not in ('text', 'integer') or length(cast(new.user_id as blob)) not between 1 and 255
            or instr(cast(new.user_id as blob), x'00') > 0);
    select raise(abort, 'a realm has 1 to 32 lower-case letters, digits, - or _, and begins with a letter or a digit')
    where new.realm <> ''
        and (typeof(new.realm) not in ('text', 'integer') or new.realm = 'id' or length(cast(new.realm as blob)) > 32
            or new.realm glob '*[^a-z0-9_-]*' or new.realm glob '[_-]*');
    select raise(abort, 'a session_id is a UUID')
    where new.session_id is not null and iif(typeof(new.session_id) = 'blob', length(new.session_id) <> 16,
        length(replace(new.session_id, '-', '')) <> 32 or replace(new.session_id, '-', '') glob '*[^0-9a-fA-F]*');
    insert into revocations_checked (session_id, user_id, scope, realm, reason)
    select
        iif(typeof(new.session_id) in ('blob', 'null'), new.session_id, cast(
            substr(bytes, 16 * instr(digits, substr(hex, 1, 1)) + instr(digits, substr(hex, 2, 1)) - 16, 1) || substr(bytes, 16 * instr(digits, substr(hex, 3, 1)) + instr(digits, substr(hex, 4, 1)) - 16, 1) ||
            substr(bytes, 16 * instr(digits, substr(hex, 5, 1)) + instr(digits, substr(hex, 6, 1)) - 16, 1) || substr(bytes, 16 * instr(digits, substr(hex, 7, 1)) + instr(digits, substr(hex, 8, 1)) - 16, 1) ||
            substr(bytes, 16 * instr(digits, substr(hex, 9, 1)) + instr(digits, substr(hex, 10, 1)) - 16, 1) || substr(bytes, 16 * instr(digits, substr(hex, 11, 1)) + instr(digits, substr(hex, 12, 1)) - 16, 1) ||
            substr(bytes, 16 * instr(digits, substr(hex, 13, 1)) + instr(digits, substr(hex, 14, 1)) - 16, 1) || substr(bytes, 16 * instr(digits, substr(hex, 15, 1)) + instr(digits, substr(hex, 16, 1)) - 16, 1) ||
            substr(bytes, 16 * instr(digits, substr(hex, 17, 1)) + instr(digits, substr(hex, 18, 1)) - 16, 1) || substr(bytes, 16 * instr(digits, substr(hex, 19, 1)) + instr(digits, substr(hex, 20, 1)) - 16, 1) ||
            substr(bytes, 16 * instr(digits, substr(hex, 21, 1)) + instr(digits, substr(hex, 22, 1)) - 16, 1) || substr(bytes, 16 * instr(digits, substr(hex, 23, 1)) + instr(digits, substr(hex, 24, 1)) - 16, 1) ||
            substr(bytes, 16 * instr(digits, substr(hex, 25, 1)) + instr(digits, substr(hex, 26, 1)) - 16, 1) || substr(bytes, 16 * instr(digits, substr(hex, 27, 1)) + instr(digits, substr(hex, 28, 1)) - 16, 1) ||
            substr(bytes, 16 * instr(digits, substr(hex, 29, 1)) + instr(digits, substr(hex, 30, 1)) - 16, 1) || substr(bytes, 16 * instr(digits, substr(hex, 31, 1)) + instr(digits, substr(hex, 32, 1)) - 16, 1)
            as blob)),
        cast(new.user_id as text), new.scope, coalesce(new.realm, ''), new.reason
    from (
        select lower(replace(new.session_id, '-', '')) as hex, '0123456789abcdef' as digits,
            x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedfe0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff' as bytes
    );
end;

create trigger revocations_checked_insert instead of insert on revocations_checked
begin
    -- The cut-off, in the row that log-ins read: see Realm::cutoff_key. Rounded up by a millisecond, the precision of the
    -- clock, so that no authentication of the same millisecond passes.
    insert into session_cutoffs (user_id, revoked_at, used_at)
    select iif(new.realm = '' and substr(coalesce(new.user_id, ''), 1, 1) <> char(31), coalesce(new.user_id, ''),
            char(31) || new.realm || char(31) || coalesce(new.user_id, '')),
        now + 1, iif(new.user_id is null, 9223372036854775807, now)
    from (select cast(round((julianday('now') - 2440587.5) * 86400000) as integer) as now)
    where new.user_id is not null or new.scope = 'all'
    on conflict (user_id) do update
    set revoked_at = excluded.revoked_at, used_at = max(used_at, excluded.used_at);

    -- One session.
    insert into session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
    select now, iif(now < valid_until, 'revoked', 'expired'), realm, id, user_id, iif(now < valid_until, ip, null),
        iif(now < valid_until, user_agent, null), iif(now < valid_until, new.reason, iif(valid_until < absolute_expires_at, 'idle timeout', 'absolute timeout')),
        iif(now < valid_until, 'sqlite', null)
    from sessions, (select cast(round((julianday('now') - 2440587.5) * 86400000) as integer) as now)
    where id = new.session_id and realm = new.realm and new.user_id is null and (now < valid_until or user_id is not null);
    delete from sessions where id = new.session_id and realm = new.realm and new.user_id is null;

    -- The sessions of a user, except the one to keep.
    insert into session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
    select now, iif(now < valid_until, 'revoked', 'expired'), realm, id, user_id, iif(now < valid_until, ip, null),
        iif(now < valid_until, user_agent, null), iif(now < valid_until, new.reason, iif(valid_until < absolute_expires_at, 'idle timeout', 'absolute timeout')),
        iif(now < valid_until, 'sqlite', null)
    from sessions, (select cast(round((julianday('now') - 2440587.5) * 86400000) as integer) as now)
    where user_id = new.user_id and realm = new.realm and id is not new.session_id;
    delete from sessions where user_id = new.user_id and realm = new.realm and id is not new.session_id;

    -- All sessions of the realm.
    insert into session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
    select now, iif(now < valid_until, 'revoked', 'expired'), realm, id, user_id, iif(now < valid_until, ip, null),
        iif(now < valid_until, user_agent, null), iif(now < valid_until, new.reason, iif(valid_until < absolute_expires_at, 'idle timeout', 'absolute timeout')),
        iif(now < valid_until, 'sqlite', null)
    from sessions, (select cast(round((julianday('now') - 2440587.5) * 86400000) as integer) as now)
    where realm = new.realm and new.scope = 'all' and user_id is not null;
    delete from sessions where realm = new.realm and new.scope = 'all';

    insert into session_event_log (at, event, realm, user_id, reason, actor)
    select cast(round((julianday('now') - 2440587.5) * 86400000) as integer), 'revoked', new.realm, new.user_id, new.reason, 'sqlite'
    where new.user_id is not null or new.scope = 'all';
end;
