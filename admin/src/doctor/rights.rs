//! Who may do what on Postgres: what a role lacks, and what it has without need.

use serde::Deserialize;

use super::Finding;
use crate::{Database, Result};

/// One fault of many. The texts come from the statements below.
#[derive(Deserialize)]
struct Fault {
    finding: String,
    remedy: String,
}

pub(super) async fn checks(database: &Database, found: &mut Vec<Finding>) -> Result<()> {
    for (check, statements, well) in [
        ("grants", &GRANTS[..], "each role that writes sessions has what it needs"),
        ("roles", &ROLES, "nobody has a right by mistake"),
    ] {
        let before = found.len();
        for statement in statements {
            let mut ask = database.statement();
            ask.sql("select json_build_object('finding', finding, 'remedy', remedy) from (");
            ask.sql(statement).sql(") as faults order by remedy limit 5");
            let faults: Vec<Fault> = database.rows(&ask).await?;
            found.extend(
                faults.into_iter().map(|fault| Finding::fault(check, fault.finding, fault.remedy)),
            );
        }
        if found.len() == before {
            found.push(Finding::well(check, well));
        }
    }
    Ok(())
}

const GRANTS: [&str; 2] = [
    // What each role that writes sessions still needs.
    "with writer as (
        select r.oid, r.rolname from pg_roles as r
        where has_table_privilege(r.oid, 'sessile.sessions', 'insert') and has_schema_privilege(r.oid, 'sessile', 'usage')
            and not r.rolsuper and r.rolname !~ '^pg_'
    ), needed(name, privilege) as (
        select t, p from unnest(array['sessions', 'session_cutoffs', 'session_event_log', 'session_event_inbox', 'session_cleanup_log']) as t,
            unnest(array['select', 'insert', 'update', 'delete']) as p
        where t <> 'session_cleanup_log' or p <> 'update'
        union all select t, 'select' from unnest(array['session_schema', '_sqlx_migrations', 'active_sessions', 'session_events']) as t
    ), missing as (
        select writer.rolname, name, string_agg(privilege, ', ' order by privilege) as privileges
        from writer, needed join pg_class as c on c.relnamespace = to_regnamespace('sessile') and c.relname = name
        where not has_table_privilege(writer.oid, c.oid, privilege)
        group by writer.rolname, name
    )
    select 'a role that writes sessions lacks a right' as finding,
        format('grant %s on sessile.%I to %I', privileges, name, rolname) as remedy
    from missing",
    // Who may read secrets or data without need.
    "with acl as (
        select acl.grantee, '' as columns from pg_class as c, aclexplode(c.relacl) as acl
        where c.oid = 'sessile.sessions'::regclass and acl.privilege_type = 'SELECT'
        union all
        select acl.grantee, ' (' || string_agg(a.attname, ', ' order by a.attnum) || ')'
        from pg_attribute as a, aclexplode(a.attacl) as acl
        where a.attrelid = 'sessile.sessions'::regclass and acl.privilege_type = 'SELECT'
            and a.attname in ('data', 'secret_hash', 'replaced_hash', 'twin_hashes')
        group by acl.grantee
    )
    select 'a role that only reads can read the data and the hashes of sessions' as finding,
        format('revoke select%s on sessile.sessions from %I, and grant it the views', columns, pg_get_userbyid(grantee)) as remedy
    from acl, pg_class as c
    where c.oid = 'sessile.sessions'::regclass and grantee not in (0, c.relowner)
        and not exists (select from aclexplode(c.relacl) as writer
            where writer.grantee = acl.grantee
                and (writer.privilege_type in ('INSERT', 'UPDATE') or (writer.privilege_type = 'DELETE' and columns = '')))",
];

const ROLES: [&str; 5] = [
    // Everybody who can connect, and not only the roles that somebody has named.
    "with open(what, privilege) as (
        select format('sessile.%I', c.relname), acl.privilege_type
        from pg_class as c, aclexplode(c.relacl) as acl
        where c.relnamespace = to_regnamespace('sessile') and acl.grantee = 0
        union all
        select format('sessile.%I', c.relname), format('%s (%I)', acl.privilege_type, a.attname)
        from pg_class as c join pg_attribute as a on a.attrelid = c.oid, aclexplode(a.attacl) as acl
        where c.relnamespace = to_regnamespace('sessile') and acl.grantee = 0
        union all
        select 'function ' || p.oid::regprocedure, acl.privilege_type
        from pg_proc as p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) as acl
        where p.pronamespace = to_regnamespace('sessile') and acl.grantee = 0
        union all
        select 'schema sessile', acl.privilege_type
        from pg_namespace as n, aclexplode(n.nspacl) as acl
        where n.nspname = 'sessile' and acl.grantee = 0 and acl.privilege_type = 'CREATE'
    )
    select 'everybody (PUBLIC) has a right on ' || what as finding,
        format('revoke %s on %s from public', lower(string_agg(privilege, ', ' order by privilege)), what) as remedy
    from open group by what",
    // A function that runs with its owner's rights uses what its caller has put on the search path.
    "select 'a function with the rights of its owner has no search_path of its own' as finding,
        format('alter function %s set search_path = pg_catalog, pg_temp', p.oid::regprocedure) as remedy
    from pg_proc as p
    where p.pronamespace = to_regnamespace('sessile') and p.prosecdef
        and not exists (select from unnest(p.proconfig) as setting where setting like 'search_path=%')",
    // A migration has added or replaced a view since the file of the roles was run.
    "select format('%I may not read the view sessile.%I', r.rolname, c.relname) as finding,
        'run `sessile roles | psql` again, as after each migration' as remedy
    from pg_roles as r, pg_class as c
    where r.rolname in ('sessile_viewer', 'sessile_operator') and has_schema_privilege(r.oid, to_regnamespace('sessile'), 'usage')
        and c.relnamespace = to_regnamespace('sessile') and c.relkind = 'v' and not has_table_privilege(r.oid, c.oid, 'select')",
    "select format('the view sessile.%I has no security barrier, so functions in a query of %I see rows that it leaves out', c.relname, min(r.rolname)) as finding,
        'run `sessile roles | psql` again, as after each migration' as remedy
    from pg_roles as r, pg_class as c
    where r.rolname in ('sessile_viewer', 'sessile_operator') and has_schema_privilege(r.oid, to_regnamespace('sessile'), 'usage')
        and c.relnamespace = to_regnamespace('sessile') and c.relkind = 'v' and has_table_privilege(r.oid, c.oid, 'select')
        and not coalesce(c.reloptions, '{}') && array['security_barrier=true', 'security_barrier=on']
    group by c.relname",
    // Postgres 16 makes the creator of a role its administrator, without the rights of the role.
    "with recursive member(oid, of) as (
        select r.oid, r.rolname from pg_roles as r
        where r.rolname in ('sessile_app', 'sessile_viewer', 'sessile_operator', 'sessile_cleanup')
            and has_schema_privilege(r.oid, to_regnamespace('sessile'), 'usage')
        union
        select m.member, member.of from pg_auth_members as m join member on m.roleid = member.oid
        where coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true) or coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
    )
    select format('%I is %s %I, and may change the schema', r.rolname, case r.rolname when member.of then 'the role' else 'a member of' end, member.of) as finding,
        case when r.oid = n.nspowner or r.oid = c.relowner
                then format('revoke %I from %I, which owns the tables: let the program log in as another role', member.of, r.rolname)
            when r.rolsuper then format('let the program log in as another role than the superuser %I', r.rolname)
            when pg_has_role(r.oid, n.nspowner, 'member') then format('revoke %I from %I', pg_get_userbyid(n.nspowner), r.rolname)
            when pg_has_role(r.oid, c.relowner, 'member') then format('revoke %I from %I', pg_get_userbyid(c.relowner), r.rolname)
            else format('revoke create on schema sessile from %I', r.rolname) end as remedy
    from member join pg_roles as r on r.oid = member.oid
        join pg_namespace as n on n.nspname = 'sessile'
        join pg_class as c on c.oid = 'sessile.sessions'::regclass
    where has_schema_privilege(r.oid, n.oid, 'create') or pg_has_role(r.oid, c.relowner, 'member')",
];
