//! Log-ins of several requests, between two of them.

use std::sync::Arc;

use chrono::TimeDelta;
use sessile::{
    hours, minutes, seconds,
    store::{NewPendingLogIn, NewSession, PendingLogIn, Record, Renewal, SecretCheck, Store},
};

use super::{
    conformance,
    make::{admitted, anonymous, check, log_in_to, logged_in, new_session, now, one, renewal},
};
use crate::support::Db;

conformance! {
    a_row_may_begin_with_a_pending_log_in,
    a_renewal_may_begin_a_log_in,
    a_renewal_leaves_the_pending_log_in_as_it_is,
    a_beginning_replaces_the_one_before,
    a_beginning_that_was_sent_twice_is_one_with_two_good_secrets,
    a_second_beginning_of_another_user_does_nothing,
    a_second_beginning_a_minute_later_does_nothing,
    a_log_in_ends_every_pending_one,
    a_pending_log_in_lapses,
    a_log_in_that_the_first_release_made_ends_the_pending_one,
}

fn new_pending(user_id: Option<&str>) -> NewPendingLogIn {
    NewPendingLogIn { user_id: user_id.map(str::to_owned), lapses_after: 600 }
}

/// A beginning at the moment that the record was read.
async fn beginning(store: &Arc<dyn Store>, record: &Record, user_id: Option<&str>) -> Renewal {
    let pending = pending(store, record, user_id).await;
    Renewal { pending: Some(pending), ..renewal(record) }
}

/// Only a store creates a pending log-in, so this takes another row's and changes its values.
async fn pending(store: &Arc<dyn Store>, record: &Record, user_id: Option<&str>) -> PendingLogIn {
    let new = NewSession { pending: Some(new_pending(user_id)), ..new_session("{}") };
    let other = store.create(&[new]).await.unwrap().remove(0);
    store.end(&[one(other.id)]).await.unwrap();
    let mut pending = other.pending.unwrap();
    pending.began_at = record.now;
    pending.lapses_at = record.now + TimeDelta::minutes(10);
    pending
}

async fn a_row_may_begin_with_a_pending_log_in(_: Db, store: Arc<dyn Store>) {
    for user_id in [Some("ada"), None] {
        let new = NewSession { pending: Some(new_pending(user_id)), ..new_session("{}") };
        let created = store.create(std::slice::from_ref(&new)).await.unwrap().remove(0);
        let loaded = now(&store, new.id).await.unwrap();
        for record in [created, loaded] {
            let pending = record.pending().expect("it was begun");
            assert_eq!(pending.user_id.as_deref(), user_id);
            assert_eq!(pending.began_at, record.created_at);
            assert_eq!(pending.lapses_at, record.created_at + TimeDelta::minutes(10));
            assert_eq!((&record.user_id, record.authenticated_at), (&None, None));
        }
    }
    let none = anonymous(&store).await;
    assert_eq!(none.pending, None);
}

async fn a_renewal_may_begin_a_log_in(_: Db, store: Arc<dyn Store>) {
    for user_id in [Some("ada"), None] {
        let before = anonymous(&store).await;
        let begin = beginning(&store, &before, user_id).await;
        assert!(store.renew(&begin).await.unwrap());
        let after = now(&store, before.id).await.unwrap();
        assert_eq!(after.pending(), begin.pending.as_ref());
        assert_eq!(after.check(&begin.new_hash), SecretCheck::Current);
        assert_eq!(after.check(&before.secret_hash), SecretCheck::Superseded);
        assert_eq!((&after.user_id, after.authenticated_at), (&None, None));
        assert_eq!(after.lifetime, before.lifetime);
    }
    // The same applies to a user's session, for another user.
    let bobs = logged_in(&store, "bob").await;
    assert!(store.renew(&beginning(&store, &bobs, Some("ada")).await).await.unwrap());
    let after = now(&store, bobs.id).await.unwrap();
    assert_eq!(after.user_id.as_deref(), Some("bob"));
    assert_eq!(after.pending().and_then(|pending| pending.user_id.as_deref()), Some("ada"));
}

async fn a_renewal_leaves_the_pending_log_in_as_it_is(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    let begin = beginning(&store, &record, Some("ada")).await;
    assert!(store.renew(&begin).await.unwrap());
    let begun = now(&store, record.id).await.unwrap();
    assert!(store.renew(&renewal(&begun)).await.unwrap());
    assert_eq!(now(&store, record.id).await.unwrap().pending, begin.pending);
}

async fn a_beginning_replaces_the_one_before(db: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    let begin = beginning(&store, &record, Some("ada")).await;
    assert!(store.renew(&begin).await.unwrap());
    db.pass(minutes(1)).await;
    let begun = now(&store, record.id).await.unwrap();
    let anew = beginning(&store, &begun, None).await;
    assert!(store.renew(&anew).await.unwrap());
    let after = now(&store, record.id).await.unwrap();
    assert_eq!(after.pending, anew.pending);
    assert_ne!(after.pending, begin.pending);
}

async fn a_beginning_that_was_sent_twice_is_one_with_two_good_secrets(
    _: Db,
    store: Arc<dyn Store>,
) {
    for user_id in [Some("ada"), None] {
        let before = anonymous(&store).await;
        let begin = beginning(&store, &before, user_id).await;
        let again = beginning(&store, &before, user_id).await;
        assert!(store.renew(&begin).await.unwrap());
        assert!(store.renew(&again).await.unwrap());
        let after = now(&store, before.id).await.unwrap();
        assert_eq!(after.check(&begin.new_hash), SecretCheck::Current);
        assert_eq!(after.check(&again.new_hash), SecretCheck::Current);
        assert_eq!(after.check(&before.secret_hash), SecretCheck::Superseded);
        assert_eq!(after.pending(), begin.pending.as_ref());
    }
}

async fn a_second_beginning_of_another_user_does_nothing(_: Db, store: Arc<dyn Store>) {
    for (first, second) in [(Some("ada"), Some("bob")), (Some("ada"), None), (None, Some("ada"))] {
        let before = anonymous(&store).await;
        let begin = beginning(&store, &before, first).await;
        assert!(store.renew(&begin).await.unwrap());
        let other = beginning(&store, &before, second).await;
        assert!(!store.renew(&other).await.unwrap(), "{first:?} {second:?}");
        // Nor does a renewal that begins no log-in.
        assert!(!store.renew(&renewal(&before)).await.unwrap());
        let after = now(&store, before.id).await.unwrap();
        assert_eq!(after.pending, begin.pending);
        assert!(after.secret_hash.matches(&begin.new_hash) && after.twins.is_empty());
    }
}

async fn a_second_beginning_a_minute_later_does_nothing(db: Db, store: Arc<dyn Store>) {
    let before = anonymous(&store).await;
    let begin = beginning(&store, &before, Some("ada")).await;
    let again = beginning(&store, &before, Some("ada")).await;
    assert!(store.renew(&begin).await.unwrap());
    db.pass(minutes(1)).await;
    assert!(!store.renew(&again).await.unwrap());
    assert_eq!(check(&store, before.id, &begin.new_hash).await, SecretCheck::Current);
    assert_eq!(check(&store, before.id, &before.secret_hash).await, SecretCheck::Wrong);
}

async fn a_log_in_ends_every_pending_one(_: Db, store: Arc<dyn Store>) {
    for user_id in ["ada", "bob"] {
        let record = anonymous(&store).await;
        assert!(store.renew(&beginning(&store, &record, Some("ada")).await).await.unwrap());
        let begun = now(&store, record.id).await.unwrap();
        let outcome = admitted(store.log_in(&log_in_to(&begun, user_id)).await.unwrap());
        assert_eq!(outcome.pending, None);
        assert_eq!(now(&store, record.id).await.unwrap().pending, None);
    }
}

async fn a_pending_log_in_lapses(db: Db, store: Arc<dyn Store>) {
    let new = NewSession { pending: Some(new_pending(Some("ada"))), ..new_session("{}") };
    store.create(std::slice::from_ref(&new)).await.unwrap();
    db.pass(minutes(10) - seconds(5)).await;
    assert!(now(&store, new.id).await.unwrap().pending().is_some());
    db.pass(seconds(5)).await;
    let lapsed = now(&store, new.id).await.unwrap();
    assert_eq!(lapsed.pending(), None);
    assert!(lapsed.pending.is_some(), "the row still tells");
    db.pass(hours(1)).await;
    assert!(now(&store, new.id).await.is_none(), "and keeps no session alive");
}

/// The first release does not know pending log-ins, and leaves the columns as they are.
async fn a_log_in_that_the_first_release_made_ends_the_pending_one(db: Db, store: Arc<dyn Store>) {
    let bobs = logged_in(&store, "bob").await;
    assert!(store.renew(&beginning(&store, &bobs, Some("ada")).await).await.unwrap());
    assert!(now(&store, bobs.id).await.unwrap().pending().is_some());
    db.run(
        "update sessile.sessions set authenticated_at = pending_since + interval '1 second'",
        "update sessions set authenticated_at = pending_since + 1000",
    )
    .await;
    assert_eq!(now(&store, bobs.id).await.unwrap().pending(), None);
}
