-- A hundred thousand sessions of 10,000 users and two hundred thousand events, as on Postgres.
begin;
with recursive n(n) as (values (1) union all select n + 1 from n where n < 100000), clock(now) as (select cast(unixepoch() as integer) * 1000)
insert into sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, valid_until, expires_at,
    idle_timeout, secret_hash, user_id, data, ip, user_agent)
select
    -- Debian's sqlite3 cannot make a UUIDv7. Random ids lie further apart than real ones.
    randomblob(16), 1, created, iif(of_user is null, null, created), now - n % 7200 * 1000, created + 2592000000, ends, ends + 3600000, 259200,
    randomblob(32), of_user, json_object('cart', printf('%.*c', n % 400 + 1, 'x')), '10.0.' || n % 250 || '.' || n % 240,
    'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
from (
    select n, now, now - (100000 - n) * 1500 as created,
        case when n % 5 = 0 then null when n % 20 = 1 then 'crowded' else printf('user%05d@example.org', n % 10000) end as of_user,
        iif(n % 20 = 3, now - (n % 600 + 3700) * 1000, now + (n % 259200 + 60) * 1000) as ends
    from n, clock
);
with recursive n(n) as (values (1) union all select n + 1 from n where n < 200000), clock(now) as (select cast(unixepoch() as integer) * 1000)
insert into session_event_log (at, event, session_id, user_id, ip, user_agent, actor)
select now - (200000 - n) * 38880,
    case n % 9 when 2 then 'expired' when 3 then 'expired' when 5 then 'logged_out' when 6 then 'revoked' when 7 then 'reauthenticated' when 8 then 'refused' else 'logged_in' end,
    randomblob(16), printf('user%05d@example.org', n * 7 % 10000), '10.0.0.7', 'Mozilla/5.0', 'user'
from n, clock;
with recursive n(n) as (values (1) union all select n + 1 from n where n < 20000), clock(now) as (select cast(unixepoch() as integer) * 1000)
insert into session_cleanup_log (started_at, ended_at, sessions, statements)
select now - n * 300000, now - n * 300000 + 200, 300 + n % 100, 2 from n, clock;
commit;
