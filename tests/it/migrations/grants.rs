//! On Postgres: a migration grants its objects to the roles that could already write sessions.

use std::collections::{BTreeMap, BTreeSet};

use sessile::store::postgres::migrator;
use sqlx::{AssertSqlSafe, PgPool, raw_sql};

use super::{EVENTS, REALMS, roles::Roles, sqlx_as_documented};
use crate::support::Browser;

/// The rights of a role on each object of the schema.
type Rights = BTreeMap<String, BTreeSet<String>>;

async fn rights(roles: &Roles, role: &str) -> Rights {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, coalesce(p, '')
         from pg_class c left join unnest(array['select', 'insert', 'update', 'delete', 'usage']) p
             on case c.relkind when 'S' then p in ('select', 'update', 'usage') and has_sequence_privilege($1, c.oid, p)
                 else p <> 'usage' and has_table_privilege($1, c.oid, p) end
         where c.relnamespace = 'sessile'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
         union all
         select f.oid::regprocedure::text, case when has_function_privilege($1, f.oid, 'execute') then 'execute' else '' end
         from pg_proc f where f.pronamespace = 'sessile'::regnamespace",
    )
    .bind(roles.name(role))
    .fetch_all(roles.admin())
    .await
    .unwrap();
    let mut rights = Rights::new();
    for (object, right) in rows {
        rights.entry(object).or_default().extend(Some(right).filter(|right| !right.is_empty()));
    }
    rights
}

/// The grants by hand for the objects that the schema of an earlier version has.
async fn grant(roles: &Roles) {
    for statement in roles.grants_by_hand() {
        let (privileges, rest) = statement.split_once(" on ").unwrap();
        let (objects, to) = rest.split_once(" to ").unwrap();
        for object in objects.split(", ") {
            let statement = format!("{privileges} on {object} to {to}");
            let done = raw_sql(AssertSqlSafe(statement)).execute(roles.admin()).await;
            if let Err(error) = done {
                let code = error.as_database_error().unwrap().code().unwrap().into_owned();
                assert_eq!(code, "42P01", "{error}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_grants_what_it_adds() {
    let newest = Roles::made_by_hand().await;
    newest.sessions("sessile_owner").await.migrate().await.unwrap();
    grant(&newest).await;
    let expected = rights(&newest, "sessile_app").await;
    for (object, rights) in &expected {
        // The application uses no function.
        assert_eq!(
            rights.is_empty(),
            object.contains('('),
            "the application has {rights:?} on {object}"
        );
    }
    let readers = rights(&newest, "sessile_reader").await;
    newest.drop().await;

    let versions: BTreeSet<_> = migrator().iter().map(|migration| migration.version).collect();
    for version in versions {
        let roles = Roles::made_by_hand().await;
        let version = version.to_string();
        sqlx_as_documented(&roles.url("sessile_owner"), &["run", "--target-version", &version]);
        grant(&roles).await;
        roles.sessions("sessile_owner").await.migrate().await.unwrap();
        assert_eq!(rights(&roles, "sessile_app").await, expected, "from {version}");
        assert_eq!(rights(&roles, "sessile_reader").await, readers, "from {version}");
        let app = roles.sessions("sessile_app").await;
        app.migrate().await.unwrap();
        Browser::logged_in(&app, "ada").await;
        assert_eq!(app.sweep().await.unwrap().filed, 1, "from {version}");
        assert_eq!(app.forget_user("ada").await.unwrap().ended, 1, "from {version}");
        roles.drop().await;
    }
}

/// Whoever may read the log, by a grant that somebody made, may read the events that are not filed yet.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_on_the_log_is_one_on_its_inbox() {
    let roles = Roles::made_by_hand().await;
    sqlx_as_documented(&roles.url("sessile_owner"), &["run", "--target-version", EVENTS]);
    let auditor = roles.name("auditor");
    roles
        .run([
            format!("create role {auditor}"),
            format!("grant select on sessile.session_event_log to {auditor}"),
        ])
        .await;
    roles.sessions("sessile_owner").await.migrate().await.unwrap();
    let rights = rights(&roles, "auditor").await;
    assert_eq!(rights["session_event_inbox"], BTreeSet::from(["select".to_owned()]));
    assert_eq!(rights["session_event_inbox"], rights["session_event_log"]);
    assert!(rights["sessions"].is_empty());
    roles.run([format!("drop owned by {auditor}")]).await;
    roles.drop().await;
}

/// This holds for any role. A role that could only read gets nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_who_write_can_read_what_a_start_reads() {
    let roles = Roles::made_by_hand().await;
    sqlx_as_documented(&roles.url("sessile_owner"), &["run", "--target-version", REALMS]);
    let odd = format!("The \"{}", roles.name("Odd"));
    let quoted = format!("\"{}\"", odd.replace('"', "\"\""));
    roles.run([format!("create role {quoted}")]).await;
    let (app, reader) = (roles.name("sessile_app"), roles.name("sessile_reader"));
    for (right, role) in [("delete", &app), ("select", &reader), ("insert", &quoted)] {
        roles.run([format!("grant {right} on sessile.sessions to {role}")]).await;
    }
    roles.sessions("sessile_owner").await.migrate().await.unwrap();
    let who = async |object: &str| {
        let select = format!(
            "select grantee::text from information_schema.role_table_grants
             where table_schema = 'sessile' and table_name = '{object}' and privilege_type = 'SELECT'"
        );
        roles.db.texts(&select, "").await.into_iter().collect::<BTreeSet<_>>()
    };
    let expected: BTreeSet<_> = [app, odd.clone(), roles.name("sessile_owner")].into();
    assert_eq!(who("session_schema").await, expected);
    assert_eq!(who("_sqlx_migrations").await, expected);
    roles.run(["grant update on sessile.sessions to public"]).await;
    roles.run(["delete from sessile._sqlx_migrations where version = 20261126000003"]).await;
    roles.sessions("sessile_owner").await.migrate().await.unwrap();
    assert!(who("session_schema").await.contains("PUBLIC"));
    let admin: &PgPool = roles.admin();
    raw_sql(AssertSqlSafe(format!("drop owned by {quoted}; drop role {quoted}")))
        .execute(admin)
        .await
        .unwrap();
    roles.drop().await;
}
