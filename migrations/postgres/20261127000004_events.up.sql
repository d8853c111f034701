-- The log of events and of cleanup runs, views of both, and functions that end sessions. Releases before this one
-- go on running, and write no events.

create table sessile.session_event_log (
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

-- No further index: a sweep writes a row for each expired session, and each index would make it slower.
create index session_event_log_user_id_idx on sessile.session_event_log (user_id, at) where user_id is not null;
create index session_event_log_at_idx on sessile.session_event_log (at);
-- At most one event of a superseded secret a minute for a session.
create unique index session_event_log_superseded_idx on sessile.session_event_log
    (session_id, date_bin('1 minute', at, timestamptz 'epoch')) where event = 'superseded';

comment on table sessile.session_event_log is
    'What happened to sessions. Written in the transaction of what it records, and never changed; the cleanup deletes old rows. Read it through the view session_events.';
comment on column sessile.session_event_log.at is
    'When it happened. For an expired session: when the cleanup deleted its row.';
comment on column sessile.session_event_log.event is
    'logged_in, logged_out, revoked, reauthenticated, refused (a log-in), expired, superseded (somebody used a secret that had been replaced).';
comment on column sessile.session_event_log.realm is 'As in sessions.';
comment on column sessile.session_event_log.session_id is
    'The session; null for a refused log-in, and for the one event that a revocation of all sessions of a user or of everybody adds.';
comment on column sessile.session_event_log.user_id is
    'As in sessions; null for a session without a user, and for the revocation of everybody.';
comment on column sessile.session_event_log.ip is
    'The address of the client that did it, or of the session that was revoked; null for an expired session.';
comment on column sessile.session_event_log.user_agent is 'The User-Agent of the same client.';
comment on column sessile.session_event_log.reason is 'In words; null if nobody gave one.';
comment on column sessile.session_event_log.actor is
    'Who did it: user (in one of their own sessions), application, role:NAME (by SQL), command:NAME, console:NAME, or a name that the application gave. Null for an expired session and a superseded secret.';

create function sessile.refuse_change_of_event() returns trigger language plpgsql as $$
begin
    raise exception 'session_event_log is append-only: an event is never changed'
        using errcode = 'object_not_in_prerequisite_state';
end
$$;

create trigger append_only before update on sessile.session_event_log
    for each statement execute function sessile.refuse_change_of_event();

create table sessile.session_cleanup_log (
    started_at timestamptz not null,
    ended_at   timestamptz not null,
    sessions   bigint      not null,
    statements bigint      not null,
    error      text
);

create index session_cleanup_log_ended_at_idx on sessile.session_cleanup_log (ended_at);

comment on table sessile.session_cleanup_log is
    'One row for each run of the cleanup. Read it through the view cleanup_runs.';
comment on column sessile.session_cleanup_log.started_at is 'When the run began.';
comment on column sessile.session_cleanup_log.ended_at is 'When it ended.';
comment on column sessile.session_cleanup_log.sessions is 'The expired rows that it deleted.';
comment on column sessile.session_cleanup_log.statements is 'The number of its statements.';
comment on column sessile.session_cleanup_log.error is 'Why it ended early; null if it did not.';

create view sessile.session_events as
select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
from sessile.session_event_log;

comment on view sessile.session_events is
    'What happened to sessions, kept after the session''s row is gone (90 days by default). Indexed by user_id and by at: a query with a condition on neither reads all events.';

create view sessile.session_counts as
select realm,
    count(*) filter (where now() < valid_until) as live,
    count(*) filter (where now() < valid_until and user_id is null) as anonymous,
    count(*) filter (where now() >= valid_until) as expired,
    min(expires_at) filter (where expires_at < now()) as oldest_unswept
from sessile.sessions
group by realm;

comment on view sessile.session_counts is 'Exact numbers of sessions. Reads all rows of the table: seconds for millions.';
comment on column sessile.session_counts.live is 'Sessions that a browser can use, the anonymous ones included.';
comment on column sessile.session_counts.anonymous is 'Live sessions without a user.';
comment on column sessile.session_counts.expired is 'Sessions past their end whose row the cleanup has not deleted yet.';
comment on column sessile.session_counts.oldest_unswept is
    'Since when the cleanup could have deleted a row that is still there; null if there is none. Older than two intervals of the cleanup: it does not keep up.';

create view sessile.cleanup_runs as
select started_at, ended_at, extract(epoch from ended_at - started_at)::float8 as elapsed_seconds, sessions, statements, error
from sessile.session_cleanup_log;

comment on view sessile.cleanup_runs is 'The runs of the cleanup, as old as the events. Indexed by ended_at.';

create view sessile.sessions_by_hour as
select date_trunc('hour', at) as hour, realm,
    count(*) filter (where event = 'logged_in') as logged_in,
    count(*) filter (where event = 'logged_out') as logged_out,
    count(*) filter (where event = 'revoked' and session_id is not null) as revoked,
    count(*) filter (where event = 'expired') as expired,
    count(*) filter (where event = 'reauthenticated') as reauthenticated,
    count(*) filter (where event = 'refused') as refused,
    count(*) filter (where event = 'superseded') as superseded
from sessile.session_event_log
group by 1, realm;

comment on view sessile.sessions_by_hour is
    'The number of events in each hour, from session_events. Reads all events; session_events with a condition on at is faster.';

comment on view sessile.active_sessions is
    'The live sessions: neither secret hash nor data. Indexed by id and by user_id. To end them: select sessile.revoke(id, ''reason''), or sessile.revoke_user(user_id, ''reason'').';

-- The functions below do what Sessions::revoke, revoke_user, revoke_others and revoke_all do: the same locks in the
-- same order, cut-off, notification and events. They run with their owner's rights, and nobody may execute them
-- until they are granted.

create function sessile.check_revocation(reason text, realm text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if reason is null then
        raise exception 'the reason of a revocation must not be null' using errcode = 'null_value_not_allowed';
    elsif octet_length(reason) > 500 or reason ~ '[\x01-\x1f\x7f-\x9f]' then
        raise exception 'the reason of a revocation has at most 500 bytes and no control characters' using errcode = 'invalid_parameter_value';
    elsif realm is null then
        raise exception 'the realm must not be null: the default one is ''''' using errcode = 'null_value_not_allowed';
    elsif realm <> '' and (realm !~ '^[a-z0-9][a-z0-9_-]{0,31}$' or realm = 'id') then
        raise exception '% is not a realm: 1 to 32 lower-case letters, digits, - or _, beginning with a letter or a digit', quote_literal(realm)
            using errcode = 'invalid_parameter_value';
    elsif current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        -- A snapshot from the transaction's beginning would miss the sessions that began later.
        raise exception 'a revocation needs a transaction at read committed, and this one is at %', current_setting('transaction_isolation')
            using errcode = 'invalid_transaction_state', hint = 'Begin it with: begin isolation level read committed';
    end if;
end
$$;

-- Takes the locks that log-ins take, the user's and a share of everybody's, and writes the cut-off under them. Returns
-- the cut-off. An empty user_id stands for everybody.
create function sessile.cut_off(of_user text, of_realm text) returns timestamptz
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    key_of_all text := case of_realm when '' then '' else chr(31) || of_realm || chr(31) end;
    key text := case when of_realm = '' and left(of_user, 1) <> chr(31) then of_user
        else chr(31) || of_realm || chr(31) || of_user end;
    cutoff timestamptz;
begin
    insert into sessile.session_cutoffs as c (user_id, used_at)
    values (key, case when of_user = '' then timestamptz 'infinity' else now() end)
    on conflict (user_id) do update set used_at = greatest(c.used_at, excluded.used_at);
    if key <> key_of_all then
        perform from sessile.session_cutoffs as c where c.user_id = key_of_all for share;
    end if;
    update sessile.session_cutoffs set revoked_at = clock_timestamp() where user_id = key returning revoked_at into cutoff;
    return cutoff;
end
$$;

create function sessile.revoke(session_id uuid, reason text, realm text default '') returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    deleted bigint;
    live bigint;
begin
    perform sessile.check_revocation($2, $3);
    if $1 is null then
        raise exception 'the session_id must not be null' using errcode = 'null_value_not_allowed';
    end if;
    with ended as (
        delete from sessile.sessions as s where s.id = $1 and s.realm = $3 returning s.*, now() < s.valid_until as is_live
    ), recorded as (
        insert into sessile.session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
        select clock_timestamp(), 'revoked', e.realm, e.id, e.user_id, e.ip, e.user_agent, $2, 'role:' || session_user
        from ended as e where e.is_live
        union all
        select clock_timestamp(), 'expired', e.realm, e.id, e.user_id, null, null,
            case when e.valid_until < e.absolute_expires_at then 'idle timeout' else 'absolute timeout' end, null
        from ended as e where not e.is_live and e.user_id is not null
    )
    select count(*), count(*) filter (where e.is_live) into deleted, live from ended as e;
    if deleted > 0 then
        perform pg_notify('sessile', 'session ' || $1);
    end if;
    return live;
end
$$;

comment on function sessile.revoke(uuid, text, text) is
    'Ends one session of the realm. Returns 1, or 0 if there was no live one. The reason and the role are recorded in session_events.';

-- The common part of revoke_user, revoke_others and revoke_all, after they have checked their arguments. A user that
-- is null stands for everybody, so nobody else may call it.
create function sessile.revoke_scope(of_user text, keep uuid, because text, of_realm text) returns bigint
    language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    cutoff timestamptz := sessile.cut_off(coalesce(of_user, ''), of_realm);
    live bigint;
begin
    -- A separate statement, so that it sees every session that was bound before the lock. Its text depends on the
    -- scope: a condition on a parameter that may be null would not use the index.
    execute format(
        $statement$
        with ended as (
            delete from sessile.sessions as s where s.realm = $4 and %s
            returning s.*, now() < s.valid_until as is_live
        ), recorded as (
            insert into sessile.session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
            select $5, 'revoked', e.realm, e.id, e.user_id, e.ip, e.user_agent, $3, 'role:' || session_user
            from ended as e where e.is_live and e.user_id is not null
            union all
            select $5, 'expired', e.realm, e.id, e.user_id, null, null,
                case when e.valid_until < e.absolute_expires_at then 'idle timeout' else 'absolute timeout' end, null
            from ended as e where not e.is_live and e.user_id is not null
        )
        select count(*) filter (where e.is_live) from ended as e
        $statement$,
        case when of_user is null then 'true' else 's.user_id = $1 and ($2 is null or s.id <> $2)' end)
        into live using of_user, keep, because, of_realm, cutoff;
    insert into sessile.session_event_log (at, event, realm, user_id, reason, actor)
    values (cutoff, 'revoked', of_realm, of_user, because, 'role:' || session_user);
    perform pg_notify('sessile', coalesce('user ' || of_user, 'all'));
    return live;
end
$$;

create function sessile.revoke_user(user_id text, reason text, realm text default '') returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform sessile.check_revocation($2, $3);
    perform sessile.check_user_id($1);
    return sessile.revoke_scope($1, null, $2, $3);
end
$$;

comment on function sessile.revoke_user(text, text, text) is
    'Ends all sessions of a user, and refuses log-ins that are in flight. Returns the number of live sessions that ended. Log-ins of the user wait until this transaction ends: make it the last statement before the commit.';

create function sessile.revoke_others(user_id text, keep uuid, reason text, realm text default '') returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform sessile.check_revocation($3, $4);
    perform sessile.check_user_id($1);
    if $2 is null then
        raise exception 'the session to keep must not be null: sessile.revoke_user ends all of them' using errcode = 'null_value_not_allowed';
    end if;
    return sessile.revoke_scope($1, $2, $3, $4);
end
$$;

comment on function sessile.revoke_others(text, uuid, text, text) is
    'Ends all sessions of a user except the one to keep, as revoke_user does.';

create function sessile.revoke_all(reason text, realm text default '') returns bigint
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform sessile.check_revocation($1, $2);
    return sessile.revoke_scope(null, null, $1, $2);
end
$$;

comment on function sessile.revoke_all(text, text) is
    'Ends every session of the realm, anonymous ones too, as revoke_user does. Log-ins of all its users wait until this transaction ends.';

create function sessile.check_user_id(user_id text) returns void
    language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if user_id is null then
        raise exception 'the user_id must not be null: sessile.revoke_all ends everybody''s sessions' using errcode = 'null_value_not_allowed';
    elsif octet_length(user_id) not between 1 and 255 then
        raise exception 'a user_id has 1 to 255 bytes, and this one has %', octet_length(user_id) using errcode = 'invalid_parameter_value';
    end if;
end
$$;

revoke all on function sessile.refuse_change_of_event(), sessile.check_revocation(text, text), sessile.check_user_id(text),
    sessile.cut_off(text, text), sessile.revoke_scope(text, uuid, text, text), sessile.revoke(uuid, text, text),
    sessile.revoke_user(text, text, text), sessile.revoke_others(text, uuid, text, text), sessile.revoke_all(text, text)
    from public;

-- Whoever may write sessions may write and delete events, and read the views. Copied from the migration before. Only
-- a role that may update a row may skip it if it is locked, as the cleanup does; the trigger refuses every update.
do $$
declare
    statement text;
begin
    for statement in
        select distinct format('grant %s on %s to %s',
            case when added.relkind = 'v' then 'select' else 'select, insert, update, delete' end, added.oid::regclass,
            case writer.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(writer.grantee)) end)
        from pg_class as sessions
            cross join aclexplode(sessions.relacl) as writer
            cross join pg_class as added
        where sessions.oid = 'sessile.sessions'::regclass
            and writer.privilege_type in ('INSERT', 'UPDATE', 'DELETE')
            and writer.grantee <> sessions.relowner
            and added.relnamespace = sessions.relnamespace
            and added.relname in ('session_event_log', 'session_cleanup_log', 'session_events', 'session_counts',
                'cleanup_runs', 'sessions_by_hour')
    loop
        execute statement;
    end loop;
end
$$;
