-- A session is live while now() < valid_until. Nothing that a touch or a save changes is in an index
-- (but for expires_at, which moves rarely), so that both stay heap-only updates; the fill factor
-- leaves them room on the page.
create table sessile.sessions (
    id                  uuid        primary key,
    revision            bigint      not null,
    created_at          timestamptz not null,
    authenticated_at    timestamptz,
    last_seen_at        timestamptz not null,
    absolute_expires_at timestamptz not null,
    valid_until         timestamptz not null,
    expires_at          timestamptz not null,
    idle_timeout        integer     not null check (idle_timeout > 0),
    secret_hash         bytea       not null check (octet_length(secret_hash) = 32),
    user_id             text        check (user_id <> ''),
    data                json        not null,
    ip                  inet,
    user_agent          text,
    check ((user_id is null) = (authenticated_at is null)),
    check (valid_until <= absolute_expires_at),
    check (expires_at >= valid_until)
) with (fillfactor = 85);

create index sessions_expires_at_idx on sessile.sessions (expires_at);
create index sessions_user_id_idx on sessile.sessions (user_id, id) where user_id is not null;

comment on table sessile.sessions is
    'One row a browser or device, from its first write to log-out or expiry. Live while now() < valid_until.';
comment on column sessile.sessions.id is
    'The public handle (UUIDv7, in order of creation). Not a credential: the cookie holds a secret beside it.';
comment on column sessile.sessions.revision is
    'Counts the writes to data. A write happens only where it is still the one that was read.';
comment on column sessile.sessions.created_at is 'When the row was first written.';
comment on column sessile.sessions.authenticated_at is
    'When the user last proved who they are; null while anonymous.';
comment on column sessile.sessions.last_seen_at is
    'When the session was last seen, to about a twentieth of its idle timeout.';
comment on column sessile.sessions.absolute_expires_at is
    'The end, whatever happens: fixed at creation and at log-in. Activity never moves it.';
comment on column sessile.sessions.valid_until is
    'The exact end: the earlier of last_seen_at + idle_timeout and absolute_expires_at.';
comment on column sessile.sessions.expires_at is
    'The cleanup''s key: valid_until rounded up to half of the idle timeout. Indexed, so it moves rarely; never before valid_until.';
comment on column sessile.sessions.idle_timeout is
    'Seconds without a request after which the session ends. A "remember me" session has a longer one.';
comment on column sessile.sessions.secret_hash is
    'SHA-256 of the 256-bit secret in the cookie. The secret itself is stored nowhere.';
comment on column sessile.sessions.user_id is 'The application''s own key for the person; null while anonymous.';
comment on column sessile.sessions.data is 'The session''s values: one JSON object, by top-level key.';
comment on column sessile.sessions.ip is 'The client''s address at creation, log-in or renewal, whichever was last.';
comment on column sessile.sessions.user_agent is
    'The client''s User-Agent at creation, log-in or renewal: control characters removed, 256 characters at most.';

create table sessile.session_cutoffs (
    user_id    text        primary key,
    revoked_at timestamptz,
    used_at    timestamptz not null
);

create index session_cutoffs_used_at_idx on sessile.session_cutoffs (used_at);

-- The row of nobody, for "end every session there is". Log-ins share a lock on it, so it has to exist.
insert into sessile.session_cutoffs (user_id, revoked_at, used_at) values ('', null, 'infinity');

comment on table sessile.session_cutoffs is
    'One row a user with a recent log-in or revocation. Both lock it, so that a log-in in flight cannot survive "log out everywhere".';
comment on column sessile.session_cutoffs.user_id is 'As in sessions; empty for the cut-off that holds for everybody.';
comment on column sessile.session_cutoffs.revoked_at is
    'A log-in whose authentication began before this moment is refused; null if none was revoked.';
comment on column sessile.session_cutoffs.used_at is 'When the row was last locked; the cleanup deletes it a day later.';

create view sessile.active_sessions as
select id, user_id, created_at, authenticated_at, last_seen_at, valid_until, absolute_expires_at, ip, user_agent
from sessile.sessions
where now() < valid_until;

comment on view sessile.active_sessions is
    'The live sessions, for people and dashboards: neither secret hash nor data.';
