-- Fills a migrated, empty database for measurements: 1,000,000 sessions, 50,000 users, 2,000,000 events in 14 days.
-- A tenth of the sessions is anonymous. The user `user00042` has 5,000 sessions, and `ada@example.org` has 12.
set search_path = sessile;

create temporary table agents (n serial, ip_prefix text, agent text);
insert into agents (ip_prefix, agent) values
    ('203.0.113', 'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'),
    ('198.51.100', 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_3 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Mobile/15E148 Safari/604.1'),
    ('192.0.2', 'Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Mobile Safari/537.36'),
    ('203.0.113', 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15'),
    ('198.51.100', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/133.0.0.0 Safari/537.36 Edg/133.0.0.0'),
    ('2001:db8:', 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36');

create function pg_temp.uuid_at(at timestamptz) returns uuid language sql volatile as $$
    select (lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7' || substr(md5(random()::text), 1, 3)
        || '8' || substr(md5(random()::text), 1, 15))::uuid
$$;

-- A moment of the last `days` days, more often at noon than at midnight.
create function pg_temp.moment(days integer) returns timestamptz language sql volatile as $$
    select case when at < now() then at else at - days * interval '1 day' end
    from (select date_trunc('day', now()) + interval '12 hours' + interval '1 day' * (0.5 * x + 1.5 * x ^ 2 - x ^ 3 - (random() * days)::int % days) as at
        from (select random() as x) as drawn) as moments
$$;

create temporary table made as
select pg_temp.uuid_at(at) as id, at as created_at, is_anonymous,
    case when is_anonymous then null when n % 200 = 0 then 'user00042'
        when n % 83001 = 0 then 'ada@example.org' else 'user' || lpad((random() * 49999)::int::text, 5, '0') end as user_id,
    now() - (random() ^ 2) * least(now() - at, interval '65 minutes') as last_seen_at, 1 + (random() * 5)::int as device,
    (random() * 250)::int as host
from (select n, pg_temp.moment(14) as at, n % 10 = 1 as is_anonymous from generate_series(1, 1000000) as n) as numbers;

insert into sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, valid_until, expires_at,
    idle_timeout, secret_hash, user_id, data, ip, user_agent, realm, remembered)
select made.id, 0, created_at, case when is_anonymous then null else created_at end, last_seen_at, created_at + interval '14 days',
    least(last_seen_at + idle * interval '1 second', created_at + interval '14 days'),
    least(last_seen_at + idle * interval '1 second', created_at + interval '14 days') + interval '15 minutes', idle, sha256(id::text::bytea), user_id,
    '{"cart": []}', case when ip_prefix like '%:' then (ip_prefix || ':' || to_hex(host))::inet else (ip_prefix || '.' || host)::inet end,
    agents.agent, case when user_id like 'user%7' then 'office' else '' end, idle > 1800
from (select made.*, case when random() < 0.4 then 1209600 when random() < 0.5 then 86400 else 3600 end as idle from made) as made
    join agents on agents.n = made.device
order by made.id;

-- In the order in which an application would have written them.
insert into session_event_log (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
select created_at as at, 'logged_in' as event, case when user_id like 'user%7' then 'office' else '' end, id, user_id,
    case when ip_prefix like '%:' then (ip_prefix || ':' || to_hex(host))::inet else (ip_prefix || '.' || host)::inet end,
    agents.agent, null, 'user'
from made join agents on agents.n = made.device where user_id is not null
union all
select at, event, '', case when event = 'refused' then null else pg_temp.uuid_at(at) end, 'user' || lpad((random() * 49999)::int::text, 5, '0'),
    case when event = 'expired' then null else '203.0.113.9'::inet end, null,
    case event when 'expired' then 'idle timeout' when 'revoked' then 'a lost laptop' when 'refused' then 'limit of sessions'
        when 'superseded' then 'replaced within the last minute' end,
    case event when 'revoked' then case when random() < 0.01 then 'console:grace' else 'application' end when 'expired' then null
        when 'superseded' then null else 'user' end
from (
    select pg_temp.moment(14) as at, case when kind < 0.45 then 'logged_out' when kind < 0.85 then 'expired' when kind < 0.9 then 'revoked'
        when kind < 0.96 then 'reauthenticated' when kind < 0.98 then 'refused' else 'superseded' end as event
    from (select random() as kind from generate_series(1, 1100000)) as kinds
) as events
order by at;

insert into session_cleanup_log (started_at, ended_at, sessions, statements, error)
select at - interval '0.4 seconds', at, (random() * 900)::int, 2, case when n = 7 then 'the database did not answer in time' end
from (select n, now() - n * interval '5 minutes' as at from generate_series(0, 3000) as n) as runs;

insert into session_cutoffs (user_id, used_at) values (chr(31) || 'office' || chr(31), 'infinity') on conflict do nothing;

analyze sessions, session_event_log, session_cleanup_log;
