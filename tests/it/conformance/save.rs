use std::sync::Arc;

use chrono::TimeDelta;
use sessile::{hours, seconds, store::Store};

use super::{
    conformance,
    make::{admitted, anonymous, id, log_in_to, logged_in, now, one, renewal, save, touch},
};
use crate::support::Db;

conformance! {
    saving_none_is_nothing,
    a_save_writes_the_data_and_counts_the_revision_up,
    only_what_is_live_and_unchanged_among_many_is_written,
    a_save_never_inserts,
    a_save_of_an_expired_row_writes_nothing,
    a_save_of_an_older_revision_writes_nothing,
    a_save_from_before_a_log_in_writes_nothing,
    a_save_is_a_touch,
    a_save_moves_no_moment_back,
    a_save_from_before_a_renewal_writes_nothing,
    a_renewal_is_no_write_to_the_data,
}

async fn saving_none_is_nothing(_: Db, store: Arc<dyn Store>) {
    assert!(store.save(&[]).await.unwrap().done.is_empty());
}

async fn a_save_writes_the_data_and_counts_the_revision_up(_: Db, store: Arc<dyn Store>) {
    let before = logged_in(&store, "ada").await;
    let written = store.save(&[save(&before, r#"{"a":1}"#)]).await.unwrap().done;
    assert_eq!(written, [before.id]);
    let after = now(&store, before.id).await.unwrap();
    assert_eq!(&*after.data, r#"{"a":1}"#);
    assert_eq!(after.revision, before.revision + 1);
    assert_eq!(after.lifetime, before.lifetime);
    assert_eq!(after.user_id, before.user_id);
    assert_eq!(after.authenticated_at, before.authenticated_at);
    assert_eq!(after.created_at, before.created_at);
    assert!(after.secret_hash.matches(&before.secret_hash));
}

async fn only_what_is_live_and_unchanged_among_many_is_written(db: Db, store: Arc<dyn Store>) {
    let expired = anonymous(&store).await;
    db.pass(hours(2)).await;
    let (good, changed, also_good) =
        (anonymous(&store).await, anonymous(&store).await, anonymous(&store).await);
    store.save(&[save(&changed, r#"{"by":"another"}"#)]).await.unwrap();
    let mut unknown = save(&good, "{}");
    unknown.holder.id = id();

    let mut written = store
        .save(&[
            save(&expired, r#"{"n":0}"#),
            save(&good, r#"{"n":1}"#),
            unknown,
            save(&changed, r#"{"n":2}"#),
            save(&also_good, r#"{"n":3}"#),
        ])
        .await
        .unwrap()
        .done;
    written.sort();

    assert_eq!(written, [good.id, also_good.id]);
    assert_eq!(&*now(&store, good.id).await.unwrap().data, r#"{"n":1}"#);
    assert_eq!(&*now(&store, also_good.id).await.unwrap().data, r#"{"n":3}"#);
    let other = now(&store, changed.id).await.unwrap();
    assert_eq!((&*other.data, other.revision), (r#"{"by":"another"}"#, 1));
    assert_eq!(db.rows().await, 4);
}

async fn a_save_never_inserts(db: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    store.end(&[one(record.id)]).await.unwrap();
    assert!(store.save(&[save(&record, "{}")]).await.unwrap().done.is_empty());
    assert_eq!(db.rows().await, 0);
}

async fn a_save_of_an_expired_row_writes_nothing(db: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    db.pass(hours(1)).await;
    let mut late = save(&record, r#"{"late":true}"#);
    late.lifetime = touch(&record, 7200).lifetime;
    assert!(store.save(&[late]).await.unwrap().done.is_empty());
    assert!(!db.dump().await.contains("late"));
}

async fn a_save_of_an_older_revision_writes_nothing(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    assert_eq!(store.save(&[save(&record, r#"{"n":1}"#)]).await.unwrap().done.len(), 1);
    assert!(store.save(&[save(&record, r#"{"n":2}"#)]).await.unwrap().done.is_empty());
    assert_eq!(&*now(&store, record.id).await.unwrap().data, r#"{"n":1}"#);
}

async fn a_save_from_before_a_log_in_writes_nothing(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    admitted(store.log_in(&log_in_to(&record, "ada")).await.unwrap());
    assert!(store.save(&[save(&record, r#"{"n":1}"#)]).await.unwrap().done.is_empty());
    assert_eq!(&*now(&store, record.id).await.unwrap().data, "{}");
}

async fn a_save_is_a_touch(db: Db, store: Arc<dyn Store>) {
    let created = anonymous(&store).await;
    db.pass(seconds(1800)).await;
    let record = now(&store, created.id).await.unwrap();
    let mut seen = save(&record, "{}");
    seen.lifetime = record.lifetime.seen(record.now);
    store.save(&[seen.clone()]).await.unwrap();
    let after = now(&store, record.id).await.unwrap();
    assert_eq!(after.lifetime, seen.lifetime);
    assert_eq!(after.lifetime.last_seen_at, record.now);
}

async fn a_save_moves_no_moment_back(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    store.touch(&[touch(&record, 2000)]).await.unwrap();
    let seen = now(&store, record.id).await.unwrap().lifetime;
    // The save's lifetime is older than the touch.
    assert_eq!(store.save(&[save(&record, "{}")]).await.unwrap().done.len(), 1);
    let after = now(&store, record.id).await.unwrap().lifetime;
    assert_eq!(after, seen);
    assert!(after.last_seen_at >= record.lifetime.last_seen_at + TimeDelta::seconds(2000));
}

async fn a_save_from_before_a_renewal_writes_nothing(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    assert!(store.renew(&renewal(&record)).await.unwrap());
    assert!(store.save(&[save(&record, r#"{"n":1}"#)]).await.unwrap().done.is_empty());
    assert_eq!(&*now(&store, record.id).await.unwrap().data, "{}");
}

/// A handle that renews the session can still save the revision that it read.
async fn a_renewal_is_no_write_to_the_data(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    let renewal = renewal(&record);
    assert!(store.renew(&renewal).await.unwrap());
    let mut next = save(&record, r#"{"n":1}"#);
    next.holder.secret_hash = renewal.new_hash;
    assert_eq!(store.save(&[next]).await.unwrap().done, [record.id]);
}
