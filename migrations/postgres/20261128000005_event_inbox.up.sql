-- The inbox of the log of events. A log-in writes its event into a table without an index, and the cleanup files the
-- event later: it moves many events at once into session_event_log. A release before this one goes on writing into
-- session_event_log, and so do the functions of the migration before. Should somebody read a view for long, this gives up
-- rather than let other readers queue behind it: it is to be run again.
set local lock_timeout = '900ms';

-- No index: it would make each log-in, and the sweep of a backlog, slower.
create table sessile.session_event_inbox (
    at         timestamptz not null,
    event      text        not null,
    realm      text        not null default '',
    session_id uuid,
    user_id    text,
    ip         inet,
    user_agent text,
    reason     text,
    actor      text
);

-- Each run of the cleanup deletes all rows, so the number of rows that a vacuum found last says nothing about the next one.
alter table sessile.session_event_inbox set (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- A publication of all tables would otherwise refuse each deletion, because these tables have no primary key.
alter table sessile.session_event_inbox replica identity full;
alter table sessile.session_event_log replica identity full;
alter table sessile.session_cleanup_log replica identity full;

comment on table sessile.session_event_inbox is
    'Events that the cleanup has not filed into session_event_log yet, with the same columns. Read both through the view session_events.';
comment on column sessile.session_event_inbox.at is 'As in session_event_log.';
comment on column sessile.session_event_inbox.event is 'As in session_event_log.';
comment on column sessile.session_event_inbox.realm is 'As in session_event_log.';
comment on column sessile.session_event_inbox.session_id is 'As in session_event_log.';
comment on column sessile.session_event_inbox.user_id is 'As in session_event_log.';
comment on column sessile.session_event_inbox.ip is 'As in session_event_log.';
comment on column sessile.session_event_inbox.user_agent is 'As in session_event_log.';
comment on column sessile.session_event_inbox.reason is 'As in session_event_log.';
comment on column sessile.session_event_inbox.actor is 'As in session_event_log.';

create or replace function sessile.refuse_change_of_event() returns trigger language plpgsql as $$
begin
    raise exception '% is append-only: an event is never changed', tg_table_name
        using errcode = 'object_not_in_prerequisite_state';
end
$$;

create trigger append_only before update on sessile.session_event_inbox
    for each statement execute function sessile.refuse_change_of_event();

create or replace view sessile.session_events as
select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
from sessile.session_event_log
union all
select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
from sessile.session_event_inbox;

comment on view sessile.session_events is
    'What happened to sessions, kept after the session''s row is gone (90 days by default). Indexed by user_id and by at: a query with a condition on neither reads all events. A query also reads all events that the cleanup has not filed yet.';

create or replace view sessile.sessions_by_hour as
select date_trunc('hour', at) as hour, realm,
    count(*) filter (where event = 'logged_in') as logged_in,
    count(*) filter (where event = 'logged_out') as logged_out,
    count(*) filter (where event = 'revoked' and session_id is not null) as revoked,
    count(*) filter (where event = 'expired') as expired,
    count(*) filter (where event = 'reauthenticated') as reauthenticated,
    count(*) filter (where event = 'refused') as refused,
    count(*) filter (where event = 'superseded') as superseded
from sessile.session_events
group by 1, realm;

-- Whoever may write sessions may write and file events, as in the migrations before. And whoever has a right on the log has
-- the same right on its inbox. Only a role that may update a row may skip it if it is locked, as the cleanup does; the
-- trigger refuses every update.
do $$
declare
    statement text;
begin
    for statement in
        select format('grant %s on sessile.session_event_inbox to %s', holder.rights,
            case holder.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(holder.grantee)) end)
        from (
            select acl.grantee, 'select, insert, update, delete' as rights
            from pg_class as sessions cross join aclexplode(sessions.relacl) as acl
            where sessions.oid = 'sessile.sessions'::regclass and acl.grantee <> sessions.relowner
                and acl.privilege_type in ('INSERT', 'UPDATE', 'DELETE')
            union
            select acl.grantee, acl.privilege_type
            from pg_class as log cross join aclexplode(log.relacl) as acl
            where log.oid = 'sessile.session_event_log'::regclass and acl.grantee <> log.relowner
                and acl.privilege_type in ('SELECT', 'INSERT', 'UPDATE', 'DELETE')
        ) as holder
    loop
        execute statement;
    end loop;
end
$$;
