-- The cleanup as a job of the extension pg_cron, for a database that no node of the application cleans up. Tried with
-- pg_cron 1.4. Only for Postgres without Citus.
--
-- Run this file with psql in the database that has the extension, as the role of the application: the job has the rights
-- of the role that schedules it. If the sessions are in another database, replace cron.schedule by
-- cron.schedule_in_database, with the name of that database as its fourth argument.
--
-- The job first files the events of the inbox: it moves them into session_event_log. Then it deletes. A transaction files at
-- most 2,000 events, or deletes at most 2,000 sessions, 2,000 cut-offs and 2,000 events. A run has at most 100 transactions
-- of each kind. Like Sessions::sweep, it skips the rows that another transaction has locked, and does nothing while a node
-- sweeps. Events and runs are kept for 90 days: if Policy::keep_events says something else, change both
-- intervals. With Policy::record_events(false), remove the part that is called recorded.

select cron.schedule('sessile cleanup', '*/5 * * * *', $job$
do $$
declare
    started    timestamptz := clock_timestamp();
    page       bigint := 0;
    last_page  bigint;
    filed      bigint;
    deleted    bigint;
    more       boolean;
    sessions   bigint := 0;
    statements bigint := 0;
    filings    bigint;
begin
    loop
        exit when not pg_try_advisory_xact_lock(8315179226536633601);
        perform set_config('synchronous_commit', 'off', true);
        -- From the page where the transaction before ended: deleted rows stay on their pages until a vacuum. The text is
        -- planned each time, because a plan for a small inbox would read all of a large one.
        execute format(
            $statement$
            with taken as (
                delete from sessile.session_event_inbox
                where ctid = any(array(
                    select ctid from sessile.session_event_inbox
                    where ctid >= '(%s,0)' and ctid < '(%s,0)'
                    limit 2000
                    for update skip locked
                ))
                returning ctid as place, at, event, realm, session_id, user_id, ip, user_agent, reason, actor
            ), filed as (
                insert into sessile.session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
                select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
                from taken
                order by user_id, at
            )
            select count(*), (max(place)::text::point)[0]::bigint from taken
            $statement$, page, page + 3000)
            into filed, last_page;
        page := case when filed >= 2000 then last_page else page + 3000 end;
        statements := statements + (filed > 0)::int;
        commit;
        exit when filed < 2000 and page >= pg_relation_size('sessile.session_event_inbox') / current_setting('block_size')::bigint
            or statements >= 100;
    end loop;
    filings := statements;
    loop
        -- The lock of the nodes' sweep. If a crash undoes a deletion, a later run repeats it: no need to wait for the disk.
        exit when not pg_try_advisory_xact_lock(8315179226536633601);
        perform set_config('synchronous_commit', 'off', true);
        with deleted as (
            delete from sessile.sessions as s
            using unnest(array(
                select id from sessile.sessions
                where expires_at < now()
                order by expires_at
                limit 2000
                for update skip locked
            )) as due (id)
            where s.id = due.id
            returning s.id, s.realm, s.user_id, s.valid_until, s.absolute_expires_at
        ), recorded as (
            insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, reason)
            select now(), 'expired', realm, id, user_id,
                case when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end
            from deleted where user_id is not null
        ), past as (
            delete from sessile.session_event_log
            where ctid = any(array(
                select ctid from sessile.session_event_log
                where at < now() - interval '90 days'
                order by at
                limit 2000
                for update skip locked
            ))
            returning 1
        ), forgotten as (
            delete from sessile.session_cutoffs as c
            using unnest(array(
                select user_id from sessile.session_cutoffs
                where used_at < now() - interval '1 day'
                order by used_at
                limit 2000
                for update skip locked
            )) as old (user_id)
            where c.user_id = old.user_id
            returning 1
        )
        select d.rows, greatest(d.rows, (select count(*) from past), (select count(*) from forgotten)) >= 2000
        into deleted, more
        from (select count(*) as rows from deleted) as d;
        sessions := sessions + deleted;
        statements := statements + 1;
        commit;
        exit when not more or statements >= filings + 100;
    end loop;
    if statements > 0 then
        delete from sessile.session_cleanup_log where ended_at < now() - interval '90 days';
        insert into sessile.session_cleanup_log (started_at, ended_at, sessions, statements)
        values (started, clock_timestamp(), sessions, statements);
    end if;
end
$$
$job$);

-- The view cleanup_runs shows each run that did not fail. pg_cron records failures in cron.job_run_details, and never
-- deletes its rows:
--     select start_time, status, return_message from cron.job_run_details order by start_time desc limit 10;
--
-- To end the job:
--     select cron.unschedule('sessile cleanup');
