use std::sync::Arc;

use sessile::{
    OnLimit, SessionId, hours, minutes,
    store::{LogIn, LogInOutcome, Store},
};

use super::{
    conformance,
    make::{admitted, anonymous, log_in, log_in_to, logged_in, now, reauthentication},
};
use crate::support::Db;

conformance! {
    at_the_limit_the_least_recent_log_ins_end,
    a_limit_that_was_lowered_ends_as_many_as_it_takes,
    a_reauthentication_makes_a_log_in_recent,
    at_the_limit_a_log_in_is_refused_where_the_policy_says_so,
    the_session_that_logs_in_is_not_counted_twice,
    an_expired_session_does_not_count,
    the_sessions_of_others_do_not_count,
    an_absent_row_ends_nothing_at_the_limit,
}

async fn at_the_limit_the_least_recent_log_ins_end(_: Db, store: Arc<dyn Store>) {
    let first = logged_in(&store, "ada").await;
    let second = logged_in(&store, "ada").await;
    let outcome = store.log_in(&limited("ada", 2, OnLimit::EndOldest)).await.unwrap();
    let LogInOutcome::LoggedIn(third, ended) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(ended, [first.id]);
    assert_eq!(of(&store, "ada").await, [third.id, second.id]);
}

async fn a_limit_that_was_lowered_ends_as_many_as_it_takes(db: Db, store: Arc<dyn Store>) {
    let mut before = Vec::new();
    for _ in 0..5 {
        before.push(logged_in(&store, "ada").await.id);
        // So that log-ins have different times on a clock of milliseconds too.
        db.pass(minutes(1)).await;
    }
    let outcome = store.log_in(&limited("ada", 2, OnLimit::EndOldest)).await.unwrap();
    let LogInOutcome::LoggedIn(newest, mut ended) = outcome else {
        panic!("{outcome:?}");
    };
    ended.sort();
    assert_eq!(ended, before[..4]);
    assert_eq!(of(&store, "ada").await, [newest.id, before[4]]);
}

async fn a_reauthentication_makes_a_log_in_recent(db: Db, store: Arc<dyn Store>) {
    let first = logged_in(&store, "ada").await;
    let second = logged_in(&store, "ada").await;
    db.pass(minutes(1)).await;
    let first = now(&store, first.id).await.unwrap();
    store.reauthenticate(&reauthentication(&first)).await.unwrap().unwrap();
    let third = admitted(store.log_in(&limited("ada", 2, OnLimit::EndOldest)).await.unwrap());
    assert_eq!(of(&store, "ada").await, [third.id, first.id]);
    assert!(now(&store, second.id).await.is_none());
}

async fn at_the_limit_a_log_in_is_refused_where_the_policy_says_so(db: Db, store: Arc<dyn Store>) {
    let anonymous = anonymous(&store).await;
    let first = admitted(store.log_in(&limited("ada", 1, OnLimit::Refuse)).await.unwrap());
    let inserting = limited("ada", 1, OnLimit::Refuse);
    let binding = LogIn { limit: inserting.limit, ..log_in_to(&anonymous, "ada") };
    for log_in in [inserting, binding] {
        let outcome = store.log_in(&log_in).await.unwrap();
        assert!(matches!(outcome, LogInOutcome::TooManySessions), "{outcome:?}");
    }
    assert_eq!(of(&store, "ada").await, [first.id]);
    assert_eq!(db.rows().await, 2);
    let after = now(&store, anonymous.id).await.unwrap();
    assert!(after.secret_hash.matches(&anonymous.secret_hash));
}

async fn the_session_that_logs_in_is_not_counted_twice(_: Db, store: Arc<dyn Store>) {
    for on_limit in [OnLimit::EndOldest, OnLimit::Refuse] {
        let user_id = format!("{on_limit:?}");
        let first = admitted(store.log_in(&limited(&user_id, 1, on_limit)).await.unwrap());
        let again = LogIn { limit: Some((1, on_limit)), ..log_in_to(&first, &user_id) };
        admitted(store.log_in(&again).await.unwrap());
        assert_eq!(of(&store, &user_id).await, [first.id]);
    }
}

async fn an_expired_session_does_not_count(db: Db, store: Arc<dyn Store>) {
    logged_in(&store, "ada").await;
    db.pass(hours(1)).await;
    let refusing = limited("ada", 1, OnLimit::Refuse);
    let only = admitted(store.log_in(&refusing).await.unwrap());
    let outcome = store.log_in(&limited("ada", 2, OnLimit::EndOldest)).await.unwrap();
    let LogInOutcome::LoggedIn(newest, ended) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(ended, []);
    assert_eq!(of(&store, "ada").await, [newest.id, only.id]);
}

async fn the_sessions_of_others_do_not_count(_: Db, store: Arc<dyn Store>) {
    let bobs = logged_in(&store, "bob").await;
    let nobodys = anonymous(&store).await;
    admitted(store.log_in(&limited("ada", 1, OnLimit::Refuse)).await.unwrap());
    admitted(store.log_in(&limited("ada", 1, OnLimit::EndOldest)).await.unwrap());
    assert!(now(&store, bobs.id).await.is_some());
    assert!(now(&store, nobodys.id).await.is_some());
}

async fn an_absent_row_ends_nothing_at_the_limit(_: Db, store: Arc<dyn Store>) {
    let first = logged_in(&store, "ada").await;
    let gone = LogIn { old_hash: Some(first.secret_hash), ..limited("ada", 1, OnLimit::EndOldest) };
    let outcome = store.log_in(&gone).await.unwrap();
    assert!(matches!(outcome, LogInOutcome::Absent), "{outcome:?}");
    assert_eq!(of(&store, "ada").await, [first.id]);
}

fn limited(user_id: &str, limit: u32, on_limit: OnLimit) -> LogIn {
    LogIn { limit: Some((limit, on_limit)), ..log_in(user_id) }
}

async fn of(store: &Arc<dyn Store>, user_id: &str) -> Vec<SessionId> {
    let page = super::make::page(user_id);
    store.list(&page).await.unwrap().iter().map(|info| info.id).collect()
}
