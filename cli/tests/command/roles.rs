//! Each command on Postgres as somebody who is a member of only one of the roles of docs/roles.sql.

use std::process::Command;

use serde_json::{Value, json};

use crate::{
    program::{command, failed, feed, on, rows, run},
    shipped::Shipped,
    support::{Db, log_in},
};

fn at(url: &str, args: &[&str]) -> Command {
    let mut command = command();
    command.env("SESSILE_DATABASE_URL", url).args(args);
    command
}

fn done(url: &str, args: &[&str]) -> String {
    let ran = run(at(url, args));
    assert_eq!(ran.code, 0, "{args:?}: {ran:?}");
    ran.out
}

/// The command needs a right that the role has not.
fn refused(url: &str, args: &[&str]) {
    let ran = failed(at(url, args));
    assert_eq!(ran.code, 7, "{args:?}: {ran:?}");
    assert!(ran.err.contains("permission denied"), "{args:?}: {ran:?}");
    assert!(ran.err.contains("docs/operations.md has the grants of each role"), "{ran:?}");
}

/// What all who may read the views can ask.
fn looks(url: &str, id: &str) {
    for args in [
        &["list"][..],
        &["list", "--user", "ada"],
        &["list", "--logged-in"],
        &["show", id],
        &["events"],
        &["events", "--user", "ada"],
    ] {
        assert!(done(url, args).contains(id), "{args:?}");
    }
    assert!(done(url, &["stats"]).contains("live"));
    let found: Vec<Value> = serde_json::from_str(&done(url, &["doctor", "--json"])).unwrap();
    assert!(found.iter().all(|row| row["ok"] == true), "{found:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_looks_and_changes_nothing() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    let roles = Shipped::on(&db.url).await;
    let url = roles.member_of("sessile_viewer").await;
    looks(&url, &id);
    for args in [
        &["revoke", &id, "--yes"][..],
        &["revoke", "--user", "ada", "--yes"],
        &["revoke", "--user", "ada", "--all-but", &id, "--yes"],
        &["revoke", "--all", "--yes"],
        &["cleanup"],
        &["keys", "list"],
        &["migrate", "status"],
    ] {
        refused(&url, args);
    }
    assert_eq!(rows(&db, &["list"]).len(), 1);
    db.drop().await;
    roles.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_ends_sessions_under_the_name_of_the_login() {
    let db = Db::postgres().await;
    let (sessions, office) = (db.sessions().await, db.sessions_of("office").await);
    let roles = Shipped::on(&db.url).await;
    let url = roles.member_of("sessile_operator").await;
    let id = async |user: &str| log_in(&sessions, user, "203.0.113.7", "curl").await.to_string();
    let first = id("ada").await;
    looks(&url, &first);
    assert_eq!(
        done(&url, &["revoke", &first, "--yes", "--reason", "a lost phone"]),
        "Ended 1 session.\n"
    );
    let (keep, _) = (id("ada").await, id("ada").await);
    let but = ["revoke", "--user", "ada", "--all-but", &keep, "--yes", "--operator", "grace"];
    assert_eq!(done(&url, &but), "Ended 1 session.\n");
    assert_eq!(done(&url, &["revoke", "--user", "ada", "--yes"]), "Ended 1 session.\n");
    let elsewhere = log_in(&office, "ada", "203.0.113.7", "curl").await.to_string();
    id("bob").await;
    assert_eq!(done(&url, &["revoke", &elsewhere, "--yes"]), "Ended 1 session.\n");
    assert_eq!(done(&url, &["revoke", "--all", "--yes"]), "Ended 1 session.\n");

    let events = rows(&db, &["events", "--event", "revoked"]);
    let role = json!(format!("role:{}", roles.name("of_sessile_operator")));
    assert!(events.iter().all(|event| event["actor"] == role), "{events:#?}");
    let reasons: Vec<_> = events.iter().map(|event| event["reason"].as_str().unwrap()).collect();
    assert!(reasons.contains(&"a lost phone") && reasons.contains(&"command:grace"), "{reasons:?}");

    for args in [&["cleanup"][..], &["keys", "list"], &["migrate", "status"]] {
        refused(&url, args);
    }
    db.drop().await;
    roles.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cleanup_s_role_cleans_up_and_nothing_else() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let roles = Shipped::on(&db.url).await;
    let url = roles.member_of("sessile_cleanup").await;
    log_in(&sessions, "gone", "203.0.113.7", "curl").await;
    db.run("update sessions set valid_until = {now} - {s}, expires_at = {now} - {s}").await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    db.run("insert into session_event_log (at, event, user_id) select {now} - 31536000 * {s}, 'logged_in', 'old'").await;

    assert!(done(&url, &["cleanup", "--dry-run"]).contains("about 1 rows"));
    let out = done(&url, &["cleanup", "--keep-events", "90days"]);
    assert!(out.starts_with("Deleted 1 rows") && out.contains("Filed 2 events."), "{out}");
    let left = rows(&db, &["list"]);
    assert_eq!((left.len(), &left[0]["id"]), (1, &json!(id)));
    assert_eq!(rows(&db, &["events", "--user", "old"]).len(), 0);
    assert_eq!(rows(&db, &["events", "--event", "expired"]).len(), 1);

    for args in [&["list"][..], &["events"], &["show", &id], &["keys", "list"]] {
        refused(&url, args);
    }
    refused(&url, &["revoke", "--user", "ada", "--yes"]);
    assert_eq!(rows(&db, &["list"]).len(), 1);
    db.drop().await;
    roles.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_applications_role_does_everything_except_migrate() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let roles = Shipped::on(&db.url).await;
    let url = roles.member_of("sessile_app").await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    looks(&url, &id);
    for args in [&["keys", "list"][..], &["migrate", "status"], &["migrate", "run"], &["cleanup"]] {
        done(&url, args);
    }
    let revoke = ["revoke", "--user", "ada", "--yes", "--operator", "grace"];
    assert_eq!(done(&url, &revoke), "Ended 1 session.\n");
    assert_eq!(rows(&db, &["events", "--event", "revoked"])[0]["actor"], "command:grace");
    let ran = failed(at(&url, &["migrate", "revert", "--yes"]));
    assert_eq!(ran.code, 7, "{ran:?}");
    db.drop().await;
    roles.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_without_a_role_is_refused() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await.to_string();
    let roles = Shipped::on(&db.url).await;
    let url = roles.stranger().await;
    for args in [
        &["list"][..],
        &["show", &id],
        &["events"],
        &["stats"],
        &["cleanup"],
        &["revoke", "--user", "ada", "--yes"],
        &["revoke", "--all", "--yes"],
    ] {
        refused(&url, args);
    }
    db.drop().await;
    roles.drop().await;
}

/// The names of the file belong to the whole server. No other test uses them, so this is one test.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_doctor_finds_about_the_roles() {
    let db = Db::postgres().await;
    db.sessions().await;
    let printed = run(at("postgres://nobody@127.0.0.1:1/none", &["roles"]));
    assert_eq!((printed.code, printed.out.as_str()), (0, sessile::store::postgres::ROLES));
    let print = || feed(&db, &printed.out);
    print();
    let faults = async |fault: &str| {
        db.run(fault).await;
        let ran = run(on(&db, &["doctor", "--json"]));
        let found: Vec<Value> = serde_json::from_str(&ran.out).unwrap();
        let found: Vec<_> = found.into_iter().filter(|row| row["ok"] == false).collect();
        assert_eq!(ran.code, i32::from(!found.is_empty()), "{found:#?}");
        found
    };
    let login = format!("login_{}", db.url.rsplit_once('_').unwrap().1);
    let healthy = format!("create role {login} login in role sessile_app");
    assert_eq!(faults(&healthy).await, Vec::<Value>::new());

    let again = "run `sessile roles | psql` again, as after each migration";
    for (fault, check, remedy) in [
        // Found without the file, too.
        (
            "grant select on sessions to public",
            "roles",
            "revoke select on sessile.sessions from public",
        ),
        (
            "grant select (user_id) on sessions to public",
            "roles",
            "revoke select (user_id) on sessile.sessions from public",
        ),
        (
            "grant execute on function revoke_all(text, text) to public",
            "roles",
            "revoke execute on function sessile.revoke_all(text,text) from public",
        ),
        (
            "grant create on schema sessile to public",
            "roles",
            "revoke create on schema sessile from public",
        ),
        (
            "alter function revoke_all(text, text) reset search_path",
            "roles",
            "alter function sessile.revoke_all(text,text) set search_path = pg_catalog, pg_temp",
        ),
        (
            "grant select on sessions to sessile_viewer",
            "grants",
            "revoke select on sessile.sessions from sessile_viewer, and grant it the views",
        ),
        (
            "grant select (secret_hash) on sessions to sessile_viewer",
            "grants",
            "revoke select (secret_hash) on sessile.sessions from sessile_viewer, and grant it the views",
        ),
        ("alter view active_sessions reset (security_barrier)", "roles", again),
        ("revoke select on session_events from sessile_viewer", "roles", again),
        (
            &format!("grant create on schema sessile to {login}"),
            "roles",
            &format!("revoke create on schema sessile from {login}"),
        ),
    ] {
        let found = faults(fault).await;
        // `create` of PUBLIC is also one of the member.
        let mine: Vec<_> = found.iter().filter(|row| row["check"] == check).collect();
        assert!(!mine.is_empty() && mine.len() == found.len(), "{fault}: {found:#?}");
        assert!(mine.iter().any(|row| row["remedy"] == remedy), "{fault}: {found:#?}");
        // The remedy mends it: the file itself, or the statement.
        match remedy {
            remedy if remedy == again => print(),
            remedy => db.run(remedy.split(", and grant").next().unwrap()).await,
        }
        assert_eq!(faults("select 1").await, Vec::<Value>::new(), "{remedy}");
    }
    // The application logs in as the owner of the tables.
    let found = faults(&format!("alter schema sessile owner to {login}")).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0]["finding"].as_str().unwrap().ends_with("may change the schema"), "{found:#?}");
    assert!(found[0]["remedy"].as_str().unwrap().contains("log in as another role"), "{found:#?}");
    db.run("alter schema sessile owner to current_user").await;
    db.run(&format!(
        "drop owned by sessile_app, sessile_viewer, sessile_operator, sessile_cleanup, {login};
        drop role {login}, sessile_app, sessile_viewer, sessile_operator, sessile_cleanup"
    ))
    .await;
    db.drop().await;
}
