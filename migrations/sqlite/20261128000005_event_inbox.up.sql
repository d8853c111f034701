-- The inbox of the log of events. A log-in writes its event into a table without an index, and the cleanup files the
-- event later: it moves many events at once into session_event_log. A release before this one goes on writing into
-- session_event_log.

create table session_event_inbox (
    -- Events that the cleanup has not filed into session_event_log yet, with the same columns. No index: it would make each
    -- log-in slower. Read it through the view session_events.
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

create trigger session_event_inbox_append_only before update on session_event_inbox
begin
    select raise(abort, 'session_event_inbox is append-only: an event is never changed');
end;

drop trigger session_ends_insert;
create trigger session_ends_insert instead of insert on session_ends
begin
    insert into session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
    select new.at, new.event, new.realm, new.id, new.user_id, new.ip, new.user_agent, new.reason, new.actor
    where new.event is not null;
    delete from sessions where id = new.id;
end;

create view session_events_raw as
-- As session_events, but with at in milliseconds since 1970 and the bytes of session_id. Indexed by user_id and by at. A
-- query also reads all events that the cleanup has not filed yet.
select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
from session_event_log
union all
select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
from session_event_inbox;

drop view session_events;
create view session_events as
-- What happened to sessions, kept after the session's row is gone (90 days by default). Indexed by user_id. A query
-- without a user_id reads all events: to use the index of at, ask session_events_raw (milliseconds since 1970).
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
from session_events_raw;

drop view sessions_by_hour;
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
from session_events_raw
group by 1, realm;

-- A view loses its trigger when it is dropped. So the trigger is created again, unchanged.
drop view revocations;
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
from session_events_raw
where event = 'revoked';

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
