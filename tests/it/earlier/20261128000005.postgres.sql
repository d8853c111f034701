insert into sessile.sessions (id, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at,
    valid_until, expires_at, idle_timeout, secret_hash, user_id, data, ip, user_agent, realm, replaced_hash, replaced_at,
    twin_hashes, remembered, pending_user_id, pending_since, pending_until)
values ('01a209fd-db5d-7343-9f78-539668489cd2', 7, now() - interval '2 minutes', now(), now(), now() + interval '1 day',
    now() + interval '1 hour', now() + interval '1 hour 10 minutes', 3600,
    '\x630dcd2966c4336691125448bbb25b4ff412a49c732db2c8abc1b8581bd710dd', 'ada', '{"cart":{"tea":2}}', '192.0.2.1', 'curl',
    '', '\x9f64a747e1b97f131fabb6b447296c9b6f0201e79fb3c5356e6c77e89b6a806a', now(), null, true, null, null, null);
insert into sessile.session_event_inbox (at, event, realm, session_id, user_id, ip, user_agent, reason, actor)
values (now(), 'logged_in', '', '01a209fd-db5d-7343-9f78-539668489cd2', 'ada', '192.0.2.1', 'curl', null, 'user')
