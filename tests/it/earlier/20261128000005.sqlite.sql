insert into sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
    valid_until, expires_at, idle_timeout, secret_hash, user_id, data, ip, user_agent, realm, replaced_hash, replaced_at,
    twin_hashes, remembered, pending_user_id, pending_since, pending_until)
select x'01a209fddb5d73439f78539668489cd2', 7, now - 120000, now, now, now + 86400000, now + 3600000, now + 4200000, 3600,
    x'630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd', 'ada', '{"cart":{"tea":2}}', '192.0.2.1', 'curl',
    '', x'9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a', now, null, 1, null, null, null
from (select cast(round(unixepoch('subsec') * 1000) as integer) as now);
insert into session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
values (cast(round(unixepoch('subsec') * 1000) as integer), 'logged_in', '', x'01a209fddb5d73439f78539668489cd2', 'ada', '192.0.2.1', 'curl', null, 'user')
