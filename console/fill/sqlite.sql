-- As postgres.sql, with a tenth of the rows: 100,000 sessions, 5,000 users, 200,000 events in 14 days.
create temp table agents (n integer primary key, ip_prefix text, agent text);
insert into agents (ip_prefix, agent) values
    ('203.0.113.', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'),
    ('198.51.100.', 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1'),
    ('192.0.2.', 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Mobile Safari/537.36'),
    ('2001:db8::', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36');

create temp table clock as
select cast(unixepoch('subsec') * 1000 as integer) as now, unixepoch('now', 'start of day', '+12 hours') * 1000 as noon;

create temp table made as
with recursive numbers(n) as (values (1) union all select n + 1 from numbers where n < 100000),
drawn as materialized (
    select n, now, noon, abs(random()) % 1000000 / 1000000.0 as x, abs(random()) % 14 as day, abs(random()) % 1000000 / 1000000.0 as s, abs(random()) % 5000 as u,
        1 + abs(random()) % 4 as device, abs(random()) % 250 as host,
        case abs(random()) % 3 when 0 then 1209600 when 1 then 86400 else 3600 end as idle
    from numbers, clock
), placed as (
    -- More often at noon than at midnight.
    select *, noon - day * 86400000 + cast(86400000 * (0.5 * x + 1.5 * x * x - x * x * x) as integer) as at from drawn
), past as (select *, iif(at < now, at, at - 1209600000) as created_at from placed)
select n, created_at, now - cast(s * s * min(3900000, now - created_at) as integer) as last_seen_at,
    case when n % 10 = 1 then null when n % 20 = 0 then 'user00042' when n % 8301 = 0 then 'ada@example.org' else format('user%05d', u) end as user_id,
    device, host, idle
from past;
alter table made add column id blob;
update made set id = unhex(format('%012x', created_at) || '7' || substr(hex(randomblob(2)), 1, 3) || '8' || substr(hex(randomblob(8)), 1, 15));

insert into sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, valid_until, expires_at,
    idle_timeout, secret_hash, user_id, data, ip, user_agent, realm, remembered)
select id, 0, created_at, iif(user_id is null, null, created_at), last_seen_at, created_at + 1209600000,
    min(last_seen_at + idle * 1000, created_at + 1209600000), min(last_seen_at + idle * 1000, created_at + 1209600000) + 900000, idle,
    randomblob(32), user_id, '{"cart":[]}', ip_prefix || host, agent, iif(user_id like 'user%7', 'office', ''), idle > 3600
from made join agents on agents.n = made.device
order by id;

insert into session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
select created_at, 'logged_in', iif(user_id like 'user%7', 'office', ''), id, user_id, ip_prefix || host, agent, null, 'user'
from made join agents on agents.n = made.device where user_id is not null
order by id;

insert into session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
with recursive numbers(n) as (values (1) union all select n + 1 from numbers where n < 110000),
drawn as materialized (
    select n, now, noon, abs(random()) % 1000000 / 1000000.0 as x, abs(random()) % 14 as day, abs(random()) % 100 as kind, abs(random()) % 5000 as u
    from numbers, clock
), placed as (
    select *, noon - day * 86400000 + cast(86400000 * (0.5 * x + 1.5 * x * x - x * x * x) as integer) as at from drawn
)
select iif(at < now, at, at - 1209600000),
    case when kind < 45 then 'logged_out' when kind < 85 then 'expired' when kind < 90 then 'revoked' when kind < 96 then 'reauthenticated'
        when kind < 98 then 'refused' else 'superseded' end,
    '', iif(kind in (96, 97), null, randomblob(16)), format('user%05d', u), iif(kind between 45 and 84, null, '203.0.113.9'), null,
    case when kind between 45 and 84 then 'idle timeout' when kind between 85 and 89 then 'a lost laptop' when kind in (96, 97) then 'limit of sessions'
        when kind > 97 then 'replaced within the last minute' end,
    case when kind between 85 and 89 then iif(n % 100 = 0, 'console:grace', 'application') when kind < 45 or kind between 90 and 97 then 'user' end
from placed
order by 1;

insert into session_cleanup_log (started_at, ended_at, sessions, statements, error)
with recursive numbers(n) as (values (0) union all select n + 1 from numbers where n < 3000)
select now - n * 300000 - 400, now - n * 300000, abs(random()) % 900, 2, iif(n = 7, 'the database did not answer in time', null)
from numbers, clock;

insert into session_cutoffs (user_id, used_at) values (char(31) || 'office' || char(31), 9223372036854775807);
