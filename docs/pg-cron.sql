-- The cleanup as a job of the extension pg_cron, for a database that no node of the application cleans up. Tried with
-- pg_cron 1.4. Only for Postgres without Citus.
--
-- Run this file with psql in the database that has the extension, as the role of the application: the job has the rights
-- of the role that schedules it. If the sessions are in another database, replace cron.schedule by
-- cron.schedule_in_database, with the name of that database as its fourth argument.
--
-- The job deletes at most 2,000 sessions, 2,000 cut-offs and 2,000 events in a transaction, and at most 200,000 of each in
-- a run. Like Sessions::sweep, it skips the rows that another transaction has locked, and does nothing while a node
-- sweeps. Events and runs are kept for 90 days: if Policy::keep_events says something else, change both
-- intervals. With Policy::record_events(false), remove the part that is called recorded.

select cron.schedule('sessile cleanup', '*/5 * * * *', $job$
do $$
declare
    started    timestamptz := clock_timestamp();
    deleted    bigint;
    more       boolean;
    sessions   bigint := 0;
    statements bigint := 0;
begin
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
            insert into sessile.session_event_log (at, event, realm, session_id, user_id, reason)
            select now(), 'expired', realm, id, user_id,
                case when valid_until < absolute_expires_at then 'idle timeout' else 'absolute timeout' end
            from deleted where user_id is not null
            order by user_id
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
        exit when not more or statements >= 100;
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
