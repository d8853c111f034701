drop view session_ends;
drop view revocations;
drop view revocations_checked;
drop view sessions_by_hour;
drop view cleanup_runs;
drop view session_counts;
drop view session_events;
drop table session_cleanup_log;
drop table session_event_log;
-- As the migration before created it.
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
