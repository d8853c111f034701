//! The file of the roles: it may run again, it takes away what is too much, and the views let nothing through.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgPool, raw_sql};

use super::{DENIED, code_of, connected, installed};
use crate::{migrations::roles::Roles, support::Browser};

/// All rights on the schema and what is in it, and the options of views and functions.
async fn state(roles: &Roles) -> BTreeSet<String> {
    let state = "select 'schema ' || nspacl::text from pg_namespace where nspname = 'sessile'
        union all select relname || ' ' || coalesce(relacl::text, '') || coalesce(reloptions::text, '')
            from pg_class where relnamespace = 'sessile'::regnamespace
        union all select attrelid::regclass || ' ' || attname || attacl::text from pg_attribute join pg_class as c on c.oid = attrelid
            where c.relnamespace = 'sessile'::regnamespace and attacl is not null
        union all select oid::regprocedure || ' ' || coalesce(proacl::text, '') || coalesce(proconfig::text, '')
            from pg_proc where pronamespace = 'sessile'::regnamespace";
    roles.db.texts(state, "").await.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_may_run_again_and_takes_away_what_is_too_much() {
    let roles = installed().await;
    let before = state(&roles).await;
    let [viewer, cleanup] = ["sessile_viewer", "sessile_cleanup"].map(|role| roles.name(role));
    let faults = [
        "grant usage on schema sessile to public".to_owned(),
        "grant select on sessile.sessions to public".to_owned(),
        "grant select (secret_hash) on sessile.sessions to public".to_owned(),
        "grant execute on all functions in schema sessile to public".to_owned(),
        format!("grant select on sessile.sessions to {viewer}"),
        format!("grant execute on function sessile.revoke_all(text, text) to {viewer}"),
        format!("grant all on sessile.session_cutoffs to {cleanup}"),
        format!("grant select (data) on sessile.sessions to {cleanup}"),
        "alter view sessile.active_sessions reset (security_barrier)".to_owned(),
        "alter function sessile.revoke_all(text, text) reset search_path".to_owned(),
    ];
    for fault in faults {
        roles.run([&fault]).await;
        assert_ne!(state(&roles).await, before, "{fault}");
        roles.install().await;
        assert_eq!(state(&roles).await, before, "{fault}");
    }
    // As soon as the roles exist, the owner may run it.
    roles.run([format!("grant select on sessile.sessions to {viewer}")]).await;
    let owner = PgPool::connect(&roles.url("sessile_owner")).await.unwrap();
    raw_sql(AssertSqlSafe(roles.file())).execute(&owner).await.unwrap();
    assert_eq!(state(&roles).await, before);
    owner.close().await;
    roles.drop().await;
}

/// A right that somebody has granted to a role of their own is theirs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_file_leaves_other_roles_alone() {
    let roles = installed().await;
    let auditor = roles.name("nobody");
    roles
        .run([
            format!("grant usage on schema sessile to {auditor}"),
            format!("grant select on sessile.session_events to {auditor}"),
        ])
        .await;
    roles.install().await;
    let mut connection = connected(&roles, "nobody").await;
    assert_eq!(code_of(&mut connection, "select from sessile.session_events").await, None);
    roles.run([format!("drop owned by {auditor}")]).await;
    roles.drop().await;
}

/// A function of a reader's own that is cheap, so that the planner would call it before the view's condition.
const PEEK: &str = "create function pg_temp.peek(text) returns boolean language plpgsql cost 0.0000001 as $$
    begin if $1 = 'ended' then raise exception 'seen' using errcode = 'ZZ001'; end if; return true; end $$;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_s_function_does_not_see_the_rows_that_a_view_leaves_out() {
    let roles = installed().await;
    let app = roles.sessions("app").await;
    Browser::logged_in(&app, "ended").await;
    roles
        .run([
            "update sessile.sessions set valid_until = now() - interval '1 minute'".to_owned(),
            format!("grant temporary on database {} to public", roles.database()),
        ])
        .await;
    let peek = format!("{PEEK} select from sessile.active_sessions where pg_temp.peek(user_id)");
    let mut connection = connected(&roles, "viewer").await;
    assert_eq!(code_of(&mut connection, &peek).await, None);
    // Without the option, it would.
    roles.run(["alter view sessile.active_sessions reset (security_barrier)"]).await;
    assert_eq!(code_of(&mut connection, &peek).await.as_deref(), Some("ZZ001"));
    roles.drop().await;
}

/// The members of a role have its rights, and the role itself can be asked for nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_logs_in_as_a_role_of_the_file() {
    let roles = installed().await;
    let names = ["sessile_app", "sessile_viewer", "sessile_operator", "sessile_cleanup"];
    for name in names {
        let powers = format!(
            "select count(*) from pg_roles where rolname = '{}' and not (rolcanlogin or rolsuper or rolcreaterole or rolcreatedb or rolreplication or rolbypassrls)",
            roles.name(name)
        );
        assert_eq!(roles.db.number(&powers, "").await, 1, "{name}");
    }
    let mut connection = connected(&roles, "operator").await;
    for other in names.iter().filter(|name| **name != "sessile_operator") {
        let set = format!("set role {}", roles.name(other));
        assert_eq!(code_of(&mut connection, &set).await.as_deref(), Some(DENIED), "{other}");
    }
    roles.drop().await;
}
