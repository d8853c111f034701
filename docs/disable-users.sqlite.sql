-- Ends a user's sessions when the application disables the user, in the application's own transaction. For SQLite.
--
-- This works only if the sessions are in the application's own file. In SQLite, a trigger cannot write to another file.
--
-- Adapt the table (here users, with id and disabled) and run this file once.
--
-- * The sessions end if and when the transaction commits.
-- * Begin the transaction with `begin immediate`, and make the update its last statement before the commit: the cut-off
--   for log-ins is the moment of the update, and until the commit a log-in still reads that the user is not disabled.

create trigger end_sessions_of_disabled_users after update on users
    when new.disabled and old.disabled is not true
begin
    insert into revocations (user_id, reason) values (new.id, 'the user was disabled');
end;
