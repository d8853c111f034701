insert into sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
    valid_until, expires_at, idle_timeout, secret_hash, user_id, data, ip, user_agent)
select x'01a209fddb5d73439f78539668489cd2', 7, now, now, now, now + 86400000, now + 3600000, now + 4200000, 3600,
    x'630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd', 'ada', '{"cart":{"tea":2}}', '192.0.2.1', 'curl'
from (select cast(round(unixepoch('subsec') * 1000) as integer) as now)
