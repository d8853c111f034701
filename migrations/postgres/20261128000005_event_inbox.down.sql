-- Should somebody write into the inbox, or read a view, for long, this gives up: it is to be run again.
set local lock_timeout = '900ms';
-- Otherwise an event that is written meanwhile would be lost with the table.
lock table sessile.session_event_inbox in access exclusive mode;
insert into sessile.session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
from sessile.session_event_inbox;
-- As the migration before created them.
create or replace view sessile.sessions_by_hour as
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

create or replace view sessile.session_events as
select at, event, realm, session_id, user_id, ip, user_agent, reason, actor
from sessile.session_event_log;

comment on view sessile.session_events is
    'What happened to sessions, kept after the session''s row is gone (90 days by default). Indexed by user_id and by at: a query with a condition on neither reads all events.';

drop table sessile.session_event_inbox;
alter table sessile.session_event_log replica identity default;
alter table sessile.session_cleanup_log replica identity default;
create or replace function sessile.refuse_change_of_event() returns trigger language plpgsql as $$
begin
    raise exception 'session_event_log is append-only: an event is never changed'
        using errcode = 'object_not_in_prerequisite_state';
end
$$;
