use std::sync::Arc;

use chrono::TimeDelta;
use sessile::{
    hours, minutes,
    store::{LogIn, Store, Timeouts},
};

use super::{
    conformance,
    make::{
        admitted, anonymous, id, log_in_to, logged_in, now, one, reauthentication, save, touch,
    },
};
use crate::support::Db;

conformance! {
    touching_none_is_nothing,
    a_touch_moves_the_end_and_nothing_else,
    only_what_is_live_among_many_is_touched,
    a_touch_never_inserts_and_never_revives,
    an_earlier_touch_changes_nothing,
    a_touch_from_before_a_log_in_changes_nothing,
    a_touch_from_before_a_reauthentication_changes_nothing,
    a_touch_never_passes_the_absolute_end,
    the_cleanup_key_stays_while_it_can,
    a_touch_does_not_stand_in_the_way_of_a_save,
}

async fn touching_none_is_nothing(_: Db, store: Arc<dyn Store>) {
    store.touch(&[]).await.unwrap();
}

async fn a_touch_moves_the_end_and_nothing_else(_: Db, store: Arc<dyn Store>) {
    let before = logged_in(&store, "ada").await;
    let seen = touch(&before, 600);
    store.touch(&[seen]).await.unwrap();
    let after = now(&store, before.id).await.unwrap();
    assert_eq!(after.lifetime, seen.lifetime);
    assert_eq!(after.lifetime.valid_until, before.lifetime.valid_until + TimeDelta::seconds(600));
    assert_eq!(after.revision, before.revision);
    assert_eq!(after.data, before.data);
    assert_eq!(after.authenticated_at, before.authenticated_at);
    assert!(after.secret_hash.matches(&before.secret_hash));
}

async fn only_what_is_live_among_many_is_touched(db: Db, store: Arc<dyn Store>) {
    let expired = anonymous(&store).await;
    db.pass(hours(2)).await;
    let (one, other) = (anonymous(&store).await, anonymous(&store).await);
    let mut unknown = touch(&one, 60);
    unknown.holder.id = id();
    let touches = [touch(&expired, 9000), touch(&one, 60), unknown, touch(&other, 90)];
    store.touch(&touches).await.unwrap();
    assert_eq!(now(&store, one.id).await.unwrap().lifetime, touches[1].lifetime);
    assert_eq!(now(&store, other.id).await.unwrap().lifetime, touches[3].lifetime);
    assert!(now(&store, expired.id).await.is_none());
}

async fn a_touch_never_inserts_and_never_revives(db: Db, store: Arc<dyn Store>) {
    let revoked = anonymous(&store).await;
    store.end(&[one(revoked.id)]).await.unwrap();
    let expired = anonymous(&store).await;
    db.pass(hours(1)).await;
    let touches = [touch(&revoked, 60), touch(&expired, 7200)];
    store.touch(&touches).await.unwrap();
    assert_eq!(db.rows().await, 1);
    assert!(now(&store, expired.id).await.is_none());
}

async fn an_earlier_touch_changes_nothing(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    store.touch(&[touch(&record, 600)]).await.unwrap();
    for earlier in [599, 600] {
        store.touch(&[touch(&record, earlier)]).await.unwrap();
    }
    assert_eq!(now(&store, record.id).await.unwrap().lifetime, touch(&record, 600).lifetime);
}

/// A touch in flight does not make a session remembered again that was meanwhile logged in to for an hour.
async fn a_touch_from_before_a_log_in_changes_nothing(_: Db, store: Arc<dyn Store>) {
    let remembered = LogIn {
        timeouts: Timeouts::new(30 * 86_400, 30 * 86_400),
        ..log_in_to(&anonymous(&store).await, "ada")
    };
    let before = admitted(store.log_in(&remembered).await.unwrap());
    let slow = touch(&before, 600);
    let after = admitted(store.log_in(&log_in_to(&before, "bob")).await.unwrap());
    store.touch(&[slow]).await.unwrap();
    assert_eq!(now(&store, before.id).await.unwrap().lifetime, after.lifetime);
}

async fn a_touch_from_before_a_reauthentication_changes_nothing(db: Db, store: Arc<dyn Store>) {
    let first = logged_in(&store, "ada").await;
    db.pass(minutes(1)).await;
    let before = now(&store, first.id).await.unwrap();
    let slow = touch(&before, 600);
    let to = reauthentication(&before);
    let after = store.reauthenticate(&to).await.unwrap().unwrap();
    store.touch(&[slow]).await.unwrap();
    assert_eq!(now(&store, before.id).await.unwrap().lifetime, after.lifetime);
}

async fn a_touch_never_passes_the_absolute_end(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    store.touch(&[touch(&record, 86_000)]).await.unwrap();
    let lifetime = now(&store, record.id).await.unwrap().lifetime;
    assert_eq!(lifetime.valid_until, record.lifetime.absolute_expires_at);
    assert_eq!(lifetime.absolute_expires_at, record.lifetime.absolute_expires_at);
}

async fn the_cleanup_key_stays_while_it_can(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    let room = record.lifetime.expires_at - record.lifetime.valid_until;
    assert!(TimeDelta::zero() <= room && room <= TimeDelta::minutes(30), "{room}");
    let until = |seconds: i64| touch(&record, seconds).lifetime.expires_at;
    assert_eq!(until(room.num_seconds() - 1), record.lifetime.expires_at);
    let moved = touch(&record, room.num_seconds() + 1);
    store.touch(&[moved]).await.unwrap();
    assert_eq!(
        now(&store, record.id).await.unwrap().lifetime.expires_at,
        record.lifetime.expires_at + TimeDelta::minutes(30)
    );
}

async fn a_touch_does_not_stand_in_the_way_of_a_save(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    store.touch(&[touch(&record, 60)]).await.unwrap();
    assert_eq!(store.save(&[save(&record, "{}")]).await.unwrap().done, [record.id]);
}
