-- A node that starts reads which migrations there are, and which release the schema needs. Those who may write
-- sessions get the right to read both: the tables are younger than the grants of many a deployment.

-- A migration that adds a table, a view or a function copies this block, with the rights that the application
-- needs on it. No deployment then fails after it because a grant is missing.
do $$
declare
    statement text;
begin
    for statement in
        select distinct format('grant select on %s to %s', added.oid::regclass,
            case writer.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(writer.grantee)) end)
        from pg_class as sessions
            cross join aclexplode(sessions.relacl) as writer
            cross join pg_class as added
        where sessions.oid = 'sessile.sessions'::regclass
            and writer.privilege_type in ('INSERT', 'UPDATE', 'DELETE')
            and writer.grantee <> sessions.relowner
            and added.relnamespace = sessions.relnamespace
            and added.relname in ('session_schema', '_sqlx_migrations')
    loop
        execute statement;
    end loop;
end
$$;
