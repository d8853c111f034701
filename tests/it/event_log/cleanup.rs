use serde_json::json;
use sessile::{ErrorKind, days, hours, minutes, store::Swept};

use super::{events, new_events, sessions_of};
use crate::support::{Browser, Db, cases, up_to};

cases! {
    an_expired_session_is_an_event_when_its_row_goes,
    old_events_go_in_batches,
    a_run_is_logged,
    views_count_what_there_is,
}

async fn an_expired_session_is_an_event_when_its_row_goes(db: Db) {
    let policy = |builder: sessile::SessionsBuilder| {
        builder.idle_timeout(hours(1)).absolute_timeout(hours(10)).build().unwrap()
    };
    let sessions = policy(db.builder().await);
    let (_, idle) = Browser::logged_in(&sessions, "ada").await;
    Browser::with(&sessions, "n", json!(1)).await;
    db.pass(hours(5)).await;
    new_events(&db).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 2);
    assert_eq!(sessions_of(&db, "expired").await, [idle.to_string()]);
    assert_eq!(new_events(&db).await, ["expired |  | session | ada | - | - | idle timeout | -"]);

    let (_, absolute) = Browser::logged_in(&sessions, "bob").await;
    db.pass(days(1)).await;
    // Seen until the end.
    db.run(
        "update sessile.sessions set valid_until = absolute_expires_at, expires_at = greatest(expires_at, absolute_expires_at)",
        "update sessions set valid_until = absolute_expires_at, expires_at = max(expires_at, absolute_expires_at)",
    )
    .await;
    new_events(&db).await;
    assert_eq!(sessions.sweep().await.unwrap().rows, 1);
    assert_eq!(events(&db).await, ["expired |  | session | bob | - | - | absolute timeout | -"]);
    assert_eq!(sessions_of(&db, "expired").await, [absolute.to_string()]);

    if db.is_postgres() {
        // By the pages of the table, past a locked row too.
        for locks in [false, true] {
            let (_, id) = Browser::logged_in(&sessions, "eve").await;
            Browser::with(&sessions, "n", json!(1)).await;
            let (_, locked) = Browser::logged_in(&sessions, "mallory").await;
            db.pass(days(1)).await;
            new_events(&db).await;
            let mut tx = crate::tx::Tx::begin(&db).await;
            if locks {
                tx.execute(&format!(
                    "select from sessile.sessions where id = '{locked}' for update"
                ))
                .await;
            }
            let swept = db.store().sweep_pages(0..100, true).await.unwrap();
            assert_eq!(swept, Swept::Rows(if locks { 2 } else { 3 }));
            let expired = sessions_of(&db, "expired").await;
            assert!(expired.contains(&id.to_string()), "{expired:?}");
            assert_eq!(expired.len(), if locks { 1 } else { 2 });
            tx.roll_back().await;
        }
        Browser::logged_in(&sessions, "eve").await;
        db.pass(days(1)).await;
        new_events(&db).await;
        db.store().sweep_pages(0..100, false).await.unwrap();
        assert_eq!(events(&db).await, [""; 0]);
    }
}

/// They are deleted whether new ones are recorded or not.
async fn old_events_go_in_batches(db: Db) {
    let sessions = db.sessions().await;
    Browser::logged_in(&sessions, "ada").await;
    for age in [89, 91, 92, 93] {
        db.run(
            &format!("insert into sessile.session_event_log (at, event, user_id) values (now() - interval '{age} days', 'logged_in', 'bob')"),
            &format!("insert into session_event_log (at, event, user_id) values (cast(round(unixepoch('subsec') * 1000) as integer) - 86400000 * {age}, 'logged_in', 'bob')"),
        )
        .await;
    }
    let store = db.store();
    assert_eq!(store.sweep(&up_to(2)).await.unwrap(), Swept::More(0));
    assert_eq!(events(&db).await.len(), 3);
    assert_eq!(store.sweep(&up_to(2)).await.unwrap(), Swept::Rows(0));
    assert_eq!(events(&db).await.len(), 2);

    // The default policy's 90 days.
    db.run(
        "insert into sessile.session_event_log (at, event, user_id) values (now() - interval '91 days', 'logged_in', 'bob')",
        "insert into session_event_log (at, event, user_id) values (cast(round(unixepoch('subsec') * 1000) as integer) - 86400000 * 91, 'logged_in', 'bob')",
    )
    .await;
    sessions.sweep().await.unwrap();
    assert_eq!(events(&db).await.len(), 2);

    let brief = db.builder().await.record_events(false).keep_events(days(1)).build().unwrap();
    brief.sweep().await.unwrap();
    assert_eq!(events(&db).await, ["logged_in |  | session | ada | - | - | - | user"]);
    let error = db.builder().await.keep_events(minutes(0)).build().unwrap_err();
    assert!(error.to_string().contains("keep_events"), "{error}");
}

async fn a_run_is_logged(db: Db) {
    let sessions = db.sessions().await;
    Browser::logged_in(&sessions, "ada").await;
    db.pass(days(60)).await;
    let runs = async || {
        db.texts(
            "select concat_ws(' ', sessions, statements, coalesce(error, '-'), ended_at >= started_at and now() - ended_at < interval '1 minute')
             from sessile.cleanup_runs order by ended_at",
            "select sessions || ' ' || statements || ' ' || coalesce(error, '-') || ' ' || iif(ended_at >= started_at and ended_at <= strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), 't', 'f')
             from cleanup_runs order by ended_at",
        )
        .await
    };
    sessions.sweep().await.unwrap();
    sessions.sweep().await.unwrap();
    let mut found = runs().await;
    found.sort();
    assert_eq!(found, ["0 2 - t", "1 2 - t"]);

    // A run that does not get to anything is none. Old ones go.
    db.run(
        "update sessile.session_cleanup_log set started_at = now() - interval '92 days', ended_at = now() - interval '91 days'",
        "update session_cleanup_log set started_at = 1, ended_at = 2",
    )
    .await;
    sessions.sweep().await.unwrap();
    assert_eq!(runs().await, ["0 1 - t"]);
    db.run("alter table sessile.sessions rename to gone", "alter table sessions rename to gone")
        .await;
    assert_eq!(sessions.sweep().await.unwrap_err().kind(), ErrorKind::Schema);
    assert_eq!(runs().await, ["0 1 - t"]);
}

async fn views_count_what_there_is(db: Db) {
    let (sessions, office) =
        (db.sessions().await, db.builder().await.realm("office").build().unwrap());
    Browser::logged_in(&office, "ada").await;
    Browser::with(&office, "n", json!(1)).await;
    db.pass(days(60)).await;
    Browser::logged_in(&office, "ada").await;
    Browser::with(&office, "n", json!(1)).await;
    Browser::with(&sessions, "n", json!(1)).await;
    let counts = db
        .texts(
            "select concat_ws(' ', realm, live, anonymous, expired, oldest_unswept < now() - interval '1 day') from sessile.session_counts order by realm",
            "select realm || ' ' || live || ' ' || anonymous || ' ' || expired || case when oldest_unswept is null then '' when oldest_unswept < strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-1 day') then ' t' else ' f' end
             from session_counts order by realm",
        )
        .await;
    assert_eq!(counts, [" 1 1 0", "office 2 1 2 t"]);

    sessions.sweep().await.unwrap();
    office.revoke_user("ada").await.unwrap();
    let by_hour = db
        .texts(
            "select concat_ws(' ', realm, sum(logged_in), sum(logged_out), sum(revoked), sum(expired), sum(refused)) from sessile.sessions_by_hour
             where hour > now() - interval '2 hours' group by realm",
            "select realm || ' ' || sum(logged_in) || ' ' || sum(logged_out) || ' ' || sum(revoked) || ' ' || sum(expired) || ' ' || sum(refused) from sessions_by_hour
             where hour > strftime('%Y-%m-%dT%H:%M:%fZ', 'now', '-2 hours') group by realm",
        )
        .await;
    assert_eq!(by_hour, ["office 2 0 1 1 0"]);
}
