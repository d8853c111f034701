-- Ends a user's sessions when the application disables the user, in the application's own transaction. For Postgres.
--
-- Adapt the table (here public.users, with id and disabled) and run this file once, as an administrator. The
-- application's role needs no right on the schema sessile.
--
-- * The sessions end if and when the transaction commits. Log-ins of these users wait from the beginning of the commit
--   to its end, and then fail.
-- * The transaction must be at read committed, the default. At another level, the commit fails and says so.
-- * The events name the role that logged in, which is the application's.
-- * If somebody ends all sessions at the same moment, Postgres may have to abort one of the two transactions because of
--   a deadlock (40P01). Nothing of it has happened then: repeat it.
-- * A role that may update users.disabled can end the sessions of every user.

-- The owner of the function below. Nobody logs in as this role.
create role sessile_disabler nologin;
grant usage on schema sessile to sessile_disabler;
grant execute on function sessile.revoke_user(text, text, text) to sessile_disabler;

-- Notes the user. The note lasts until the end of the transaction, and a rollback to a savepoint takes it back. An id
-- that may contain a comma needs another separator.
create function public.note_disabled_user() returns trigger language plpgsql as $$
begin
    perform set_config('disabled_users.ids', concat(current_setting('disabled_users.ids', true), ',', new.id), true);
    return new;
end
$$;

-- Ends the sessions of all users that the transaction has noted. The first call at the commit does everything, and the
-- others find no note. Every transaction takes the locks of its users in the same order, so no two of them wait for
-- each other.
create function public.end_sessions_of_disabled_users() returns trigger
    language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    ids text := current_setting('disabled_users.ids', true);
    user_id text;
begin
    perform set_config('disabled_users.ids', '', true);
    for user_id in
        select distinct id collate "C" from unnest(string_to_array(ids, ',')) as id where id <> '' order by 1
    loop
        perform sessile.revoke_user(user_id, 'the user was disabled');
    end loop;
    return null;
end
$$;

-- A role that may execute the function could use it in a trigger of its own.
revoke execute on function public.end_sessions_of_disabled_users() from public;
alter function public.end_sessions_of_disabled_users() owner to sessile_disabler;

-- Before the row is written, so that a statement notes all its users before it ends the sessions of one. This matters
-- after `set constraints all immediate`. The sessions then end with that statement and not at the commit: make it the
-- last one of the transaction. Triggers fire in the order of their names, so this one sees the row as the others leave
-- it.
create trigger zz_note_disabled_user before update on public.users
    for each row when (new.disabled and old.disabled is not true) execute function public.note_disabled_user();

-- At the commit, because the cut-off for log-ins has to lie there: a log-in that began before it may have read that
-- the user is not disabled.
create constraint trigger end_sessions_of_disabled_users after update on public.users
    deferrable initially deferred
    for each row when (new.disabled and old.disabled is not true) execute function public.end_sessions_of_disabled_users();
