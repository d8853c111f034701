use std::sync::Arc;

use sessile::{
    days, hours, minutes,
    store::{NewSession, Scope, Store, Swept, Timeouts},
};

use super::{
    conformance,
    make::{anonymous, log_in, logged_in, new_session, now, revoke, touch},
};
use crate::support::{Db, up_to};

conformance! {
    nothing_expired_nothing_swept,
    a_sweep_deletes_at_most_its_limit_the_longest_expired_first,
    a_sweep_waits_for_the_coarse_end,
    a_sweep_leaves_what_was_touched,
    a_sweep_forgets_cut_offs_after_a_day,
    a_sweep_forgets_as_many_cut_offs_as_it_deletes_rows,
    the_cut_off_of_all_is_never_forgotten,
}

async fn nothing_expired_nothing_swept(db: Db, store: Arc<dyn Store>) {
    assert_eq!(store.sweep(&up_to(10)).await.unwrap(), Swept::Rows(0));
    anonymous(&store).await;
    logged_in(&store, "ada").await;
    assert_eq!(store.sweep(&up_to(10)).await.unwrap(), Swept::Rows(0));
    assert_eq!(db.rows().await, 2);
}

async fn a_sweep_deletes_at_most_its_limit_the_longest_expired_first(
    db: Db,
    store: Arc<dyn Store>,
) {
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(anonymous(&store).await.id);
        db.pass(hours(2)).await;
    }
    let live = anonymous(&store).await;
    assert_eq!(store.sweep(&up_to(2)).await.unwrap(), Swept::Rows(2));
    assert_eq!(left(&db).await, [&ids[2..], &[live.id]].concat());
    assert_eq!(store.sweep(&up_to(2)).await.unwrap(), Swept::Rows(2));
    assert_eq!(store.sweep(&up_to(2)).await.unwrap(), Swept::Rows(1));
    assert_eq!(store.sweep(&up_to(2)).await.unwrap(), Swept::Rows(0));
    assert_eq!(left(&db).await, [live.id]);
}

async fn left(db: &Db) -> Vec<sessile::SessionId> {
    let ids = db
        .texts(
            "select id::text from sessile.sessions order by id",
            "select lower(hex(id)) from sessions order by id",
        )
        .await;
    ids.iter().map(|id| id.parse().unwrap()).collect()
}

/// `expires_at` is later than the exact end by up to half of the idle timeout, so that touches seldom move it.
async fn a_sweep_waits_for_the_coarse_end(db: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    db.run(
        "update sessile.sessions set valid_until = now() - interval '1 second', expires_at = now() + interval '1 minute'",
        "update sessions set valid_until = (unixepoch() - 1) * 1000, expires_at = (unixepoch() + 60) * 1000",
    )
    .await;
    assert!(now(&store, record.id).await.is_none());
    assert_eq!(store.sweep(&up_to(10)).await.unwrap(), Swept::Rows(0));
    db.pass(minutes(2)).await;
    assert_eq!(store.sweep(&up_to(10)).await.unwrap(), Swept::Rows(1));
}

async fn a_sweep_leaves_what_was_touched(db: Db, store: Arc<dyn Store>) {
    let created = anonymous(&store).await;
    db.pass(minutes(59)).await;
    let record = now(&store, created.id).await.unwrap();
    store.touch(&[touch(&record, 0)]).await.unwrap();
    db.pass(minutes(59)).await;
    assert_eq!(store.sweep(&up_to(10)).await.unwrap(), Swept::Rows(0));
    assert!(now(&store, created.id).await.is_some());
}

async fn a_sweep_forgets_cut_offs_after_a_day(db: Db, store: Arc<dyn Store>) {
    // The rows that log-ins lock are kept too. SQLite has one lock for all of them, and no row for everybody.
    logged_in(&store, "ada").await;
    revoke(&store, &Scope::User("bob".into())).await;
    db.pass_for_cutoffs(hours(23)).await;
    revoke(&store, &Scope::User("eve".into())).await;
    store.sweep(&up_to(10)).await.unwrap();
    let kept: &[&str] =
        if db.is_postgres() { &["", "ada", "bob", "eve"] } else { &["", "bob", "eve"] };
    assert_eq!(cutoffs(&db).await, kept);
    db.pass_for_cutoffs(hours(2)).await;
    store.sweep(&up_to(10)).await.unwrap();
    assert_eq!(cutoffs(&db).await, ["", "eve"]);
}

async fn a_sweep_forgets_as_many_cut_offs_as_it_deletes_rows(db: Db, store: Arc<dyn Store>) {
    anonymous(&store).await;
    db.pass(hours(2)).await;
    for user in ["ada", "bob", "eve", "dan", "joe"] {
        revoke(&store, &Scope::User(user.into())).await;
        db.pass_for_cutoffs(hours(25)).await;
    }
    revoke(&store, &Scope::User("zoe".into())).await;
    let left = async || cutoffs(&db).await.into_iter().filter(|user| !user.is_empty()).collect();
    assert_eq!(store.sweep(&up_to(2)).await.unwrap(), Swept::More(1));
    let users: Vec<String> = left().await;
    assert_eq!(
        users,
        ["dan", "eve", "joe", "zoe"],
        "those that were last used longest ago go first"
    );
    assert_eq!(store.sweep(&up_to(2)).await.unwrap(), Swept::More(0));
    assert_eq!(store.sweep(&up_to(2)).await.unwrap(), Swept::Rows(0));
    assert_eq!(left().await, ["zoe"]);
}

async fn the_cut_off_of_all_is_never_forgotten(db: Db, store: Arc<dyn Store>) {
    let forever = NewSession {
        timeouts: Timeouts::new(i32::MAX as u32, i32::MAX as u32),
        ..new_session("{}")
    };
    store.create(&[forever]).await.unwrap();
    revoke(&store, &Scope::All).await;
    db.pass_for_cutoffs(days(1000)).await;
    store.sweep(&up_to(10)).await.unwrap();
    assert_eq!(cutoffs(&db).await, [""]);
    // Log-ins lock this row.
    store.log_in(&log_in("ada")).await.unwrap();
}

async fn cutoffs(db: &Db) -> Vec<String> {
    db.texts(
        "select user_id from sessile.session_cutoffs order by user_id",
        "select user_id from session_cutoffs order by user_id",
    )
    .await
}
