set local lock_timeout = '900ms';
-- The release before finds no session by a secret that is hashed with a key: these sessions end.
delete from sessile.sessions where hash_key is not null;
alter table sessile.sessions drop column hash_key;
