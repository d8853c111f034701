-- Without realms every session would be one of the default realm: those of other realms end.
delete from sessile.sessions where realm <> '';
delete from sessile.session_cutoffs where user_id like chr(31) || '%';
drop view sessile.active_sessions;
drop table sessile.session_schema;
alter table sessile.sessions
    drop column realm,
    drop column replaced_hash,
    drop column replaced_at,
    drop column twin_hashes,
    drop column remembered,
    drop column pending_user_id,
    drop column pending_since,
    drop column pending_until;
create view sessile.active_sessions as
select id, user_id, created_at, authenticated_at, last_seen_at, valid_until, absolute_expires_at, ip, user_agent
from sessile.sessions
where now() < valid_until;

comment on view sessile.active_sessions is
    'The live sessions, for people and dashboards: neither secret hash nor data.';
