use std::sync::Arc;

use sessile::{
    Client, Realm, hours,
    store::{Holder, Renewal, Store},
};

use super::{
    conformance,
    make::{anonymous, hash, holder, id, logged_in, now, one, renewal},
};
use crate::support::Db;

conformance! {
    a_renewal_replaces_the_secret_and_nothing_else,
    a_renewal_needs_the_old_secret,
    a_renewal_never_inserts_and_never_revives,
    a_renewal_takes_what_it_knows_of_the_client,
}

async fn a_renewal_replaces_the_secret_and_nothing_else(_: Db, store: Arc<dyn Store>) {
    let bystander = logged_in(&store, "ada").await;
    let before = logged_in(&store, "ada").await;
    let renewal = renewal(&before);
    assert!(store.renew(&renewal).await.unwrap());
    let after = now(&store, before.id).await.unwrap();
    assert!(after.secret_hash.matches(&renewal.new_hash));
    assert_eq!(after.lifetime, before.lifetime);
    assert_eq!(after.authenticated_at, before.authenticated_at);
    assert_eq!((after.user_id, after.data), (before.user_id, before.data));
    let bystander_after = now(&store, bystander.id).await.unwrap();
    assert!(bystander_after.secret_hash.matches(&bystander.secret_hash));
}

async fn a_renewal_needs_the_old_secret(_: Db, store: Arc<dyn Store>) {
    let before = anonymous(&store).await;
    let (first, second) = (renewal(&before), renewal(&before));
    let guessed =
        Renewal { holder: Holder { secret_hash: hash(), ..holder(&before) }, ..renewal(&before) };
    assert!(!store.renew(&guessed).await.unwrap());
    assert!(store.renew(&first).await.unwrap());
    assert!(!store.renew(&second).await.unwrap());
    let after = now(&store, before.id).await.unwrap();
    assert!(after.secret_hash.matches(&first.new_hash));
}

async fn a_renewal_never_inserts_and_never_revives(db: Db, store: Arc<dyn Store>) {
    let revoked = anonymous(&store).await;
    store.end(&[one(revoked.id)]).await.unwrap();
    let expired = anonymous(&store).await;
    db.pass(hours(1)).await;
    let unknown = Renewal { holder: Holder { id: id(), ..holder(&expired) }, ..renewal(&expired) };
    for renewal in [renewal(&revoked), renewal(&expired), unknown] {
        assert!(!store.renew(&renewal).await.unwrap());
    }
    assert_eq!(db.rows().await, 1);
    assert!(now(&store, expired.id).await.is_none());
}

async fn a_renewal_takes_what_it_knows_of_the_client(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    let address: std::net::IpAddr = "192.0.2.1".parse().unwrap();
    let known = Renewal { client: Client::new().ip(address).user_agent("one"), ..renewal(&record) };
    assert!(store.renew(&known).await.unwrap());
    let unknown = Renewal {
        holder: Holder { secret_hash: known.new_hash, ..holder(&record) },
        ..renewal(&record)
    };
    assert!(store.renew(&unknown).await.unwrap());
    let info = store.find(&Realm::default(), record.id).await.unwrap().unwrap();
    assert_eq!((info.ip, info.user_agent.as_deref()), (Some(address), Some("one")));
}
