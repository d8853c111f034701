-- The name of the key that secret_hash was made with; null for plain SHA-256. The key itself is with the application. A
-- release before this one goes on running, and finds no session that has such a key.
alter table sessions add column hash_key text;
