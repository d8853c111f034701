use std::sync::Arc;

use sessile::{
    Client, Realm, hours,
    store::{Holder, Reauthentication, Renewal, Store},
};

use super::{
    conformance,
    make::{anonymous, hash, holder, log_in_to, logged_in, now, one, reauthentication, renewal},
};
use crate::support::Db;

conformance! {
    a_reauthentication_replaces_the_secret_and_restarts_the_time,
    a_reauthentication_needs_the_old_secret,
    a_reauthentication_needs_the_same_user,
    a_reauthentication_never_inserts_and_never_revives,
    a_reauthentication_takes_what_it_knows_of_the_client,
}

async fn a_reauthentication_replaces_the_secret_and_restarts_the_time(
    db: Db,
    store: Arc<dyn Store>,
) {
    let first = logged_in(&store, "ada").await;
    db.pass(sessile::minutes(30)).await;
    let before = now(&store, first.id).await.unwrap();
    let to = reauthentication(&before);
    let after = store.reauthenticate(&to).await.unwrap().unwrap();
    let loaded = now(&store, before.id).await.unwrap();
    for record in [after, loaded] {
        assert!(record.secret_hash.matches(&to.renewal.new_hash));
        assert_eq!(record.lifetime, to.lifetime);
        assert_eq!(record.authenticated_at, Some(to.lifetime.last_seen_at));
        assert_eq!(record.revision, before.revision + 1);
        assert_eq!(record.created_at, before.created_at);
        assert_eq!((&record.user_id, &record.data), (&before.user_id, &before.data));
    }
}

async fn a_reauthentication_needs_the_old_secret(_: Db, store: Arc<dyn Store>) {
    let record = logged_in(&store, "ada").await;
    let (first, second) = (reauthentication(&record), reauthentication(&record));
    let guessed = Reauthentication {
        renewal: Renewal {
            holder: Holder { secret_hash: hash(), ..holder(&record) },
            ..renewal(&record)
        },
        ..first.clone()
    };
    assert!(store.reauthenticate(&guessed).await.unwrap().is_none());
    assert!(store.reauthenticate(&first).await.unwrap().is_some());
    assert!(store.reauthenticate(&second).await.unwrap().is_none());
    let after = now(&store, record.id).await.unwrap();
    assert!(after.secret_hash.matches(&first.renewal.new_hash));
}

async fn a_reauthentication_needs_the_same_user(_: Db, store: Arc<dyn Store>) {
    let nobodys = anonymous(&store).await;
    let bobs = logged_in(&store, "bob").await;
    for record in [nobodys, bobs] {
        let to = Reauthentication { user_id: "ada".to_owned(), ..reauthentication(&record) };
        assert!(store.reauthenticate(&to).await.unwrap().is_none());
        let after = now(&store, record.id).await.unwrap();
        assert!(after.secret_hash.matches(&record.secret_hash));
        assert_eq!(after.user_id, record.user_id);
    }
}

async fn a_reauthentication_never_inserts_and_never_revives(db: Db, store: Arc<dyn Store>) {
    let revoked = logged_in(&store, "ada").await;
    store.end(&[one(revoked.id)]).await.unwrap();
    let expired = store
        .log_in(&log_in_to(&anonymous(&store).await, "ada"))
        .await
        .map(super::make::admitted)
        .unwrap();
    db.pass(hours(1)).await;
    for record in [revoked, expired] {
        let to = reauthentication(&record);
        assert!(store.reauthenticate(&to).await.unwrap().is_none());
        assert!(now(&store, record.id).await.is_none());
    }
    assert_eq!(db.rows().await, 1);
}

async fn a_reauthentication_takes_what_it_knows_of_the_client(_: Db, store: Arc<dyn Store>) {
    let record = logged_in(&store, "ada").await;
    let address: std::net::IpAddr = "2001:db8::9".parse().unwrap();
    let mut known = reauthentication(&record);
    known.renewal.client = Client::new().ip(address).user_agent("one");
    let after = store.reauthenticate(&known).await.unwrap().unwrap();
    store.reauthenticate(&reauthentication(&after)).await.unwrap().unwrap();
    let info = store.find(&Realm::default(), record.id).await.unwrap().unwrap();
    assert_eq!((info.ip, info.user_agent.as_deref()), (Some(address), Some("one")));
}
