-- The roles of a Postgres with sessile: who may do what. Run this file with psql in the database of the sessions, after the
-- first migration and again after each later one:
--
--     psql "$DATABASE_URL" -v ON_ERROR_STOP=1 -f docs/roles.sql
--
-- It needs a superuser, or a role that may create roles and is a member of the owner of the tables. As soon as the roles
-- exist, the owner may run it. It may run at any time and as often as you like: it changes only rights, in one transaction.
--
-- Nobody logs in as one of these roles. Make the roles that log in members of one: grant sessile_app to shop;
--
--     sessile_app       the application. It reads and writes the tables, and changes no table.
--     sessile_viewer    people and dashboards that only look. It reads the views: no hash of a secret, no data.
--     sessile_operator  people who also end sessions. It reads the views, and may execute the functions that revoke.
--     sessile_cleanup   `sessile cleanup`, if it does not run as the application. It deletes what has expired.
begin;
-- Should somebody read a view for long, this gives up rather than let other readers queue behind it: run it again.
set local lock_timeout = '900ms';

do $$
declare
    missing text;
begin
    foreach missing in array array['sessile_app', 'sessile_viewer', 'sessile_operator', 'sessile_cleanup'] loop
        if not exists (select from pg_roles where rolname = missing) then
            execute format('create role %I nologin', missing);
        end if;
    end loop;
end
$$;

-- First nobody has a right except the owner, and the roles that somebody has granted a right by name.
revoke all on schema sessile from public, sessile_app, sessile_viewer, sessile_operator, sessile_cleanup;
revoke all on all tables in schema sessile from public, sessile_app, sessile_viewer, sessile_operator, sessile_cleanup;
revoke all on all functions in schema sessile from public, sessile_app, sessile_viewer, sessile_operator, sessile_cleanup;

-- A function or an operator in a reader's query must not see the rows that a view leaves out, and a function must not use
-- what its caller has put on the search path.
do $$
declare
    statement text;
begin
    for statement in
        select format('alter view %s set (security_barrier = true)', c.oid::regclass)
        from pg_class as c
        where c.relnamespace = 'sessile'::regnamespace and c.relkind = 'v'
            and not coalesce(c.reloptions, '{}') && array['security_barrier=true', 'security_barrier=on']
        union all
        select format('alter function %s set search_path = pg_catalog, pg_temp', p.oid::regprocedure)
        from pg_proc as p
        where p.pronamespace = 'sessile'::regnamespace
            and not exists (select from unnest(p.proconfig) as setting where setting like 'search_path=%')
    loop
        execute statement;
    end loop;
end
$$;

grant usage on schema sessile to sessile_app, sessile_viewer, sessile_operator, sessile_cleanup;

-- The application. At its start it reads which migrations there are.
grant select, insert, update, delete on sessile.sessions, sessile.session_cutoffs to sessile_app;
-- `update` lets the cleanup skip a locked row. A trigger refuses every update of an event.
grant select, insert, update, delete on sessile.session_event_log, sessile.session_event_inbox to sessile_app;
grant select, insert, delete on sessile.session_cleanup_log to sessile_app;
grant select on sessile.session_schema, sessile._sqlx_migrations to sessile_app;

-- The views. The application has them too, for a console in it.
grant select on sessile.active_sessions, sessile.session_events, sessile.session_counts, sessile.cleanup_runs,
    sessile.sessions_by_hour
to sessile_app, sessile_viewer, sessile_operator;

grant execute on function
    sessile.revoke(uuid, text, text),
    sessile.revoke_user(text, text, text),
    sessile.revoke_others(text, uuid, text, text),
    sessile.revoke_all(text, text)
to sessile_operator;

-- The cleanup reads no hash of a secret, no data, no address. It needs `update` on one column to skip a locked row.
grant select (ctid, id, realm, user_id, valid_until, absolute_expires_at, expires_at), update (expires_at), delete
    on sessile.sessions to sessile_cleanup;
grant select (user_id, used_at), update (used_at), delete on sessile.session_cutoffs to sessile_cleanup;
-- It moves events from the inbox into the log, and deletes old ones.
grant select, insert, update (at), delete on sessile.session_event_inbox to sessile_cleanup;
grant select (ctid, at), insert, update (at), delete on sessile.session_event_log to sessile_cleanup;
grant select (ended_at), insert, delete on sessile.session_cleanup_log to sessile_cleanup;
grant select on sessile.session_counts, sessile.cleanup_runs, sessile.session_schema, sessile._sqlx_migrations
    to sessile_cleanup;
commit;
