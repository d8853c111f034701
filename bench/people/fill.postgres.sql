-- A million sessions of 50,000 users (a fifth of them anonymous, one user with 5,000, one in twenty expired), and two
-- million events over 90 days. Run on a database that has the tables.
insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, valid_until,
    expires_at, idle_timeout, secret_hash, user_id, data, ip, user_agent)
select
    (lpad(to_hex((extract(epoch from created) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3) || '8' || substr(md5(n::text), 5, 15))::uuid,
    1, created, case when of_user is not null then created end, seen, created + interval '30 days', ends, ends + interval '1 hour',
    259200, sha256(n::text::bytea), of_user, json_build_object('cart', repeat('x', n % 400)),
    ('10.' || n % 200 || '.' || n % 250 || '.' || n % 240)::inet,
    'Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0'
from (
    select n, now() - (1000000 - n) * interval '1.5 s' as created,
        case when n % 5 = 0 then null when n % 200 = 1 then 'crowded' else 'user' || lpad((n % 50000)::text, 5, '0') || '@example.org' end as of_user,
        now() - (n % 7200) * interval '1 s' as seen,
        case when n % 20 = 3 then now() - (n % 600 + 3700) * interval '1 s' else now() + (n % 259200 + 60) * interval '1 s' end as ends
    from generate_series(1, 1000000) as n
) as rows;
insert into sessile.session_event_log (at, event, session_id, user_id, ip, user_agent, reason, actor)
select now() - (2000000 - n) * interval '3.888 s',
    (array['logged_in', 'logged_in', 'expired', 'expired', 'logged_in', 'logged_out', 'revoked', 'reauthenticated', 'refused'])[n % 9 + 1],
    md5('session' || n)::uuid, 'user' || lpad((n * 7 % 50000)::text, 5, '0') || '@example.org', '10.0.0.7', 'Mozilla/5.0', null, 'user'
from generate_series(1, 2000000) as n;
insert into sessile.session_cleanup_log (started_at, ended_at, sessions, statements)
select now() - n * interval '5 min', now() - n * interval '5 min' + interval '0.2 s', 300 + n % 100, 2 from generate_series(1, 20000) as n;
vacuum analyze sessile.sessions;
vacuum analyze sessile.session_event_log;
vacuum analyze sessile.session_cleanup_log;
