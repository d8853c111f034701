-- Columns for realms, replaced secrets, "remember me" and log-ins of several requests; and which release the
-- schema needs at least. The release before goes on running: every column is nullable or has a default, and no
-- check is made of the rows that are there. Should the table be locked by somebody, this gives up rather than let
-- all writers queue behind it: it is to be run again.
set local lock_timeout = '900ms';

alter table sessile.sessions
    add column realm           text not null default '',
    add column replaced_hash   bytea,
    add column replaced_at     timestamptz,
    add column twin_hashes     bytea,
    add column remembered      boolean,
    add column pending_user_id text,
    add column pending_since   timestamptz,
    add column pending_until   timestamptz;

comment on column sessile.sessions.realm is
    'Which of several applications on this database the session is of; empty for the default one.';
comment on column sessile.sessions.replaced_hash is
    'The secret_hash before the last one: whoever comes with that secret within a minute was overtaken by their own browser.';
comment on column sessile.sessions.replaced_at is 'When secret_hash replaced replaced_hash.';
comment on column sessile.sessions.twin_hashes is
    'Further secrets that are as good as secret_hash, 32 bytes each: a log-in that was sent twice handed out one a time. The first request a minute later leaves the one that the browser kept.';
comment on column sessile.sessions.remembered is
    'Whether the log-in said "remember me"; null where a release wrote the row that did not record it.';
comment on column sessile.sessions.pending_user_id is
    'Who is about to log in, in a log-in of several requests; null where that is not known yet.';
comment on column sessile.sessions.pending_since is 'When a log-in of several requests began; null where none did.';
comment on column sessile.sessions.pending_until is 'When that log-in lapses.';

create or replace view sessile.active_sessions as
select id, user_id, created_at, authenticated_at, last_seen_at, valid_until, absolute_expires_at, ip, user_agent,
    realm, remembered
from sessile.sessions
where now() < valid_until;

-- Each migration after this one says here what it asks of the releases before it.
create table sessile.session_schema (
    is_only         boolean primary key default true check (is_only),
    needs_migration bigint  not null,
    needs_release   text    not null
);

insert into sessile.session_schema (needs_migration, needs_release) values (20261123000001, '0.1.0');

comment on table sessile.session_schema is 'One row: the oldest release that can use this schema.';
comment on column sessile.session_schema.is_only is 'Always true, so that there is one row.';
comment on column sessile.session_schema.needs_migration is
    'The newest migration that a release has to hold at least. An older release refuses to start.';
comment on column sessile.session_schema.needs_release is 'The release that brought that migration, for people.';
