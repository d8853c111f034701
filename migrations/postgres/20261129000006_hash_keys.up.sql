-- A column for the name of the key that a session's secret is hashed with. A release before this one goes on running, and
-- finds no session that has such a key. Should the table be locked by somebody, this gives up rather than let all writers
-- queue behind it: it is to be run again.
set local lock_timeout = '900ms';

alter table sessile.sessions add column hash_key text;

comment on column sessile.sessions.hash_key is
    'The name of the key that secret_hash was made with; null for plain SHA-256. The key itself is with the application.';
