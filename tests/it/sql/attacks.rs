//! On Postgres: a caller's search path leads nowhere.

use sqlx::{AssertSqlSafe, PgConnection, raw_sql};

use super::rights::{logged_in, migrated, run};
use crate::support::Browser;

/// Names that the functions use, each as something that fails when it is used.
const FAKES: &str = "
create function evil(text) returns text language plpgsql as $$ begin raise 'evil was run: %', $1; end $$;
create function now() returns timestamptz language sql as $$ select evil('now')::timestamptz $$;
create function clock_timestamp() returns timestamptz language sql as $$ select evil('clock')::timestamptz $$;
create function chr(int) returns text language sql as $$ select evil('chr') $$;
create function \"left\"(text, int) returns text language sql as $$ select evil('left') $$;
create function octet_length(text) returns int language sql as $$ select evil('octet_length')::int $$;
create function quote_literal(text) returns text language sql as $$ select evil('quote_literal') $$;
create function current_setting(text) returns text language sql as $$ select evil('current_setting') $$;
create function pg_notify(text, text) returns void language sql as $$ select evil('pg_notify') $$;
create function check_user_id(text) returns void language sql as $$ select evil('check_user_id') $$;
create function check_revocation(text, text) returns void language sql as $$ select evil('check') $$;
create function revoke_scope(text, uuid, text, text) returns bigint language sql as $$ select evil('scope')::bigint $$;
create function texts(text, text) returns boolean language sql as $$ select evil('=')::boolean $$;
create function text_of(text, text) returns text language sql as $$ select evil('||') $$;
create function uuids(uuid, uuid) returns boolean language sql as $$ select evil('uuid =')::boolean $$;
create function times(timestamptz, timestamptz) returns boolean language sql as $$ select evil('<')::boolean $$;
create operator = (leftarg = text, rightarg = text, function = texts);
create operator <> (leftarg = text, rightarg = text, function = texts);
create operator !~ (leftarg = text, rightarg = text, function = texts);
create operator || (leftarg = text, rightarg = text, function = text_of);
create operator = (leftarg = uuid, rightarg = uuid, function = uuids);
create operator <> (leftarg = uuid, rightarg = uuid, function = uuids);
create operator < (leftarg = timestamptz, rightarg = timestamptz, function = times);
create operator >= (leftarg = timestamptz, rightarg = timestamptz, function = times);
create table session_cutoffs (user_id text primary key, used_at timestamptz, revoked_at timestamptz);
create table sessions (like sessile.sessions);
create table session_event_log (like sessile.session_event_log);
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fake_on_the_search_path_is_not_used() {
    let roles = migrated().await;
    let app = roles.sessions("sessile_app").await;
    let support = roles.name("support");
    roles
        .run([
            format!("create role {support}"),
            format!("create schema fakes authorization {support}"),
            format!("grant usage on schema sessile to {support}"),
            format!("grant select on all tables in schema sessile to {support}"),
            format!("grant execute on all functions in schema sessile to {support}"),
            format!(
                "grant temporary on database {} to {support}",
                roles.db.url.rsplit_once('/').unwrap().1
            ),
        ])
        .await;
    let mut connection = logged_in(&roles, &support).await;
    run(&mut connection, "set search_path = fakes, pg_catalog").await;
    run(&mut connection, FAKES).await;
    // Otherwise the functions, which run as their owner, would not see it.
    run(&mut connection, "grant usage on schema fakes to public").await;
    // A temporary table comes first without being asked for.
    for table in ["session_cutoffs", "sessions", "session_event_log"] {
        let fake = format!("create temporary table {table} (like sessile.{table})");
        run(&mut connection, &fake).await;
    }
    let used = raw_sql("select 'a' = 'b'::text").execute(&mut connection).await.unwrap_err();
    assert!(used.to_string().contains("evil was run"), "the fakes are good ones: {used}");

    for call in [
        "select sessile.revoke('ID'::uuid, 'x', 'office')",
        "select sessile.revoke_user('ada', 'x', 'office')",
        "select sessile.revoke_others('ada', gen_random_uuid(), 'x', 'office')",
        "select sessile.revoke_all('x', 'office')",
    ] {
        let office =
            sessile::Sessions::builder(sessile::connect(&roles.url("sessile_app")).await.unwrap());
        let office = office.realm("office").build().unwrap();
        let (browser, id) = Browser::logged_in(&office, "ada").await;
        let (other, _) = Browser::logged_in(&app, "ada").await;
        let ended = scalar(&mut connection, &call.replace("ID", &id.to_string())).await;
        assert_eq!(ended, 1, "{call}");
        assert!(!browser.is_in(&office).await && other.is_in(&app).await, "{call}");
        roles.db.pass_for_cutoffs(sessile::seconds(60)).await;
    }
    let cutoffs = "select count(*) from sessile.session_cutoffs where revoked_at is not null";
    assert_eq!(roles.db.number(cutoffs, "").await, 2);
    let events = "select count(*) from sessile.session_events where event = 'revoked'";
    assert_eq!(roles.db.number(events, "").await, 4 + 3);
    drop(connection);
    roles.drop().await;
}

async fn scalar(connection: &mut PgConnection, statement: &str) -> i64 {
    sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(connection).await.unwrap()
}
