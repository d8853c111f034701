//! On Postgres: nobody may execute a function until it is granted, and a role with one of them can do nothing else.

use sessile::minutes;
use sqlx::{AssertSqlSafe, Connection, PgConnection, raw_sql};

use crate::{
    migrations::roles::Roles,
    support::{Browser, Db},
};

/// A call of each function of the schema that is no trigger's, and its name.
const CALLS: [(&str, &str); 8] = [
    ("revoke", "select sessile.revoke(gen_random_uuid(), 'x')"),
    ("revoke_user", "select sessile.revoke_user('ada', 'x')"),
    ("revoke_others", "select sessile.revoke_others('ada', gen_random_uuid(), 'x')"),
    ("revoke_all", "select sessile.revoke_all('x')"),
    ("revoke_scope", "select sessile.revoke_scope(null, null, 'x', '')"),
    ("cut_off", "select sessile.cut_off('', '')"),
    ("check_revocation", "select sessile.check_revocation('x', '')"),
    ("check_user_id", "select sessile.check_user_id('ada')"),
];

/// Roles that somebody has made by hand, and the schema. The application may do everything with every table.
pub(super) async fn migrated() -> Roles {
    let roles = Roles::made_by_hand().await;
    roles.sessions("sessile_owner").await.migrate().await.unwrap();
    roles.run(roles.grants_by_hand()).await;
    let app = roles.name("sessile_app");
    roles
        .run([format!(
            "grant select, insert, update, delete on all tables in schema sessile to {app}"
        )])
        .await;
    roles
}

/// A connection that logged in as this role, as far as the server tells.
pub(crate) async fn logged_in(roles: &Roles, role: &str) -> PgConnection {
    let mut connection = PgConnection::connect(&roles.db.url).await.unwrap();
    let authorization = format!("set session authorization {role}");
    raw_sql(AssertSqlSafe(authorization)).execute(&mut connection).await.unwrap();
    connection
}

/// The code and the text of the error.
pub(super) async fn refused(connection: &mut PgConnection, statement: &str) -> (String, String) {
    let done = raw_sql(AssertSqlSafe(statement)).execute(connection).await;
    let Err(sqlx::Error::Database(error)) = done else { panic!("{statement}: {done:?}") };
    (error.code().unwrap().into_owned(), error.message().to_owned())
}

pub(super) async fn run(connection: &mut PgConnection, statement: &str) {
    let done = raw_sql(AssertSqlSafe(statement)).execute(connection).await;
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

async fn count(roles: &Roles, statement: &str) -> i64 {
    roles.db.number(statement, "").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_may_execute_a_function_until_it_is_granted() {
    let roles = migrated().await;
    let stranger = roles.name("stranger");
    roles
        .run([
            format!("create role {stranger}"),
            format!("grant usage on schema sessile to {stranger}"),
            "grant all on all tables in schema sessile to public".to_owned(),
        ])
        .await;
    let names = "select proname::text || case when prorettype = 'trigger'::regtype then ' of a trigger' else '' end
        from pg_proc where pronamespace = 'sessile'::regnamespace order by 1";
    let mut expected: Vec<_> = CALLS.iter().map(|(name, _)| (*name).to_owned()).collect();
    expected.push("refuse_change_of_event of a trigger".to_owned());
    expected.sort();
    let mut found = roles.db.texts(names, "").await;
    found.sort();
    assert_eq!(found, expected, "there is a call of each function");

    for role in [roles.name("sessile_app"), roles.name("sessile_reader"), stranger] {
        let mut connection = logged_in(&roles, &role).await;
        for (name, call) in CALLS {
            let (code, text) = refused(&mut connection, call).await;
            let expected = ("42501".to_owned(), format!("permission denied for function {name}"));
            assert_eq!((code, text), expected, "{role}");
        }
        let executable = format!(
            "select count(*) from pg_proc where pronamespace = 'sessile'::regnamespace and has_function_privilege('{role}', oid, 'execute')"
        );
        assert_eq!(count(&roles, &executable).await, 0, "{role}");
    }
    assert_eq!(count(&roles, "select count(*) from sessile.session_events").await, 0);
    roles.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_with_one_function_can_do_nothing_else() {
    let roles = migrated().await;
    let app = roles.sessions("sessile_app").await;
    let (ada, _) = Browser::logged_in(&app, "ada").await;
    let (bob, _) = Browser::logged_in(&app, "bob").await;
    let support = roles.name("support");
    roles
        .run([
            format!("create role {support}"),
            format!("grant execute on function sessile.revoke_user(text, text, text) to {support}"),
        ])
        .await;
    let mut connection = logged_in(&roles, &support).await;
    let revoke = "select sessile.revoke_user('ada', 'a lost phone')";
    let (_, text) = refused(&mut connection, revoke).await;
    assert_eq!(text, "permission denied for schema sessile");
    roles.run([format!("grant usage on schema sessile to {support}")]).await;
    run(&mut connection, revoke).await;
    assert!(!ada.is_in(&app).await && bob.is_in(&app).await);

    for (name, call) in CALLS {
        if name != "revoke_user" {
            let (_, text) = refused(&mut connection, call).await;
            assert_eq!(text, format!("permission denied for function {name}"));
        }
    }
    let relations = "select relname || ' ' || relkind::text from pg_class where relnamespace = 'sessile'::regnamespace and relkind in ('r', 'v')";
    for relation in roles.db.texts(relations, "").await {
        let (relation, kind) = relation.rsplit_once(' ').unwrap();
        let mut statements = vec![format!("select from sessile.{relation}")];
        if kind == "r" {
            statements.push(format!("insert into sessile.{relation} default values"));
            statements.push(format!("delete from sessile.{relation}"));
            statements.push(format!("truncate sessile.{relation}"));
        }
        for statement in statements {
            let (code, text) = refused(&mut connection, &statement).await;
            assert_eq!(code, "42501", "{statement}: {text}");
        }
    }
    roles.drop().await;
}

/// `set role` hides nobody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_role_that_logged_in_is_recorded() {
    let roles = migrated().await;
    let (support, grace) = (roles.name("support"), roles.name("grace"));
    roles
        .run([
            format!("create role {support}"),
            format!("create role {grace} in role {support} noinherit"),
            format!("grant usage on schema sessile to {support}"),
            format!("grant execute on all functions in schema sessile to {support}"),
        ])
        .await;
    let mut connection = logged_in(&roles, &grace).await;
    for statement in [
        format!("set role {support}"),
        "select sessile.revoke_user('ada', 'x')".to_owned(),
        "select sessile.revoke_others('ada', gen_random_uuid(), 'x')".to_owned(),
        "select sessile.revoke_all('x')".to_owned(),
    ] {
        run(&mut connection, &statement).await;
    }
    let app = roles.sessions("sessile_app").await;
    // On a slow machine, a log-in that follows at once is refused to be on the safe side.
    roles.db.pass_for_cutoffs(minutes(1)).await;
    let (_, id) = Browser::logged_in(&app, "bob").await;
    run(&mut connection, &format!("select sessile.revoke('{id}', 'x')")).await;
    let actors = roles
        .db
        .texts("select actor from sessile.session_events where event = 'revoked'", "")
        .await;
    assert_eq!(actors, [(); 4].map(|()| format!("role:{grace}")));
    roles.drop().await;
}

/// Nobody changes an event, not even its owner.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_is_never_changed() {
    let db = Db::postgres().await;
    let mut connection: PgConnection = PgConnection::connect(&db.url).await.unwrap();
    run(&mut connection, "select sessile.revoke_user('ada', 'x')").await;
    let change = "update sessile.session_event_log set actor = 'somebody else'";
    let (_, text) = refused(&mut connection, change).await;
    assert_eq!(text, "session_event_log is append-only: an event is never changed");
    drop(connection);
    db.drop().await;
}
