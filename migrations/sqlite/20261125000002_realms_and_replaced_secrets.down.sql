-- Without realms every session would be one of the default realm: those of other realms end.
delete from sessions where realm <> '';
delete from session_cutoffs where user_id like char(31) || '%';
drop view active_sessions;
drop table session_schema;
alter table sessions drop column realm;
alter table sessions drop column replaced_hash;
alter table sessions drop column replaced_at;
alter table sessions drop column twin_hashes;
alter table sessions drop column remembered;
alter table sessions drop column pending_user_id;
alter table sessions drop column pending_since;
alter table sessions drop column pending_until;
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
    user_agent
from sessions
where cast(round(unixepoch('subsec') * 1000) as integer) < valid_until;
