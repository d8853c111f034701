//! Holders beside others in one statement, and holders that are overtaken while their statement waits.

use std::{sync::Arc, time::Instant};

use sessile::{
    SessionId,
    store::{Began, End, Holder, LogIn, Revoke, Save, Scope, Store, Touch},
};

use super::{
    conformance,
    make::{
        admitted, anonymous, by_application, hash, holder, listed, log_in, log_in_to, logged_in,
        now, one, save, touch,
    },
};
use crate::{
    support::Db,
    tx::{Tx, until_waiting},
};

conformance! {
    of_many_saves_and_touches_only_those_of_a_holder_are_done,
    of_many_ends_only_those_of_a_holder_are_done,
    a_session_that_a_log_in_changed_does_not_end_by_its_old_secret,
    a_session_whose_log_in_is_being_committed_does_not_end_by_its_old_secret,
    a_revocation_waits_for_a_renewal_of_its_holder_and_does_nothing,
}

async fn of_many_saves_and_touches_only_those_of_a_holder_are_done(db: Db, store: Arc<dyn Store>) {
    let good = logged_in(&store, "ada").await;
    let bad = logged_in(&store, "ada").await;
    let also_good = anonymous(&store).await;
    let guessed = Holder { secret_hash: good.secret_hash, ..holder(&bad) };
    let touches =
        [touch(&good, 60), Touch { holder: guessed, ..touch(&bad, 60) }, touch(&also_good, 60)];
    store.touch(&touches).await.unwrap();
    db.heard().await;
    let lifetime = async |id: SessionId| now(&store, id).await.unwrap().lifetime;
    assert_eq!(lifetime(good.id).await, touches[0].lifetime);
    assert_eq!(lifetime(bad.id).await, bad.lifetime);
    assert_eq!(lifetime(also_good.id).await, touches[2].lifetime);
    let saves = [
        save(&good, r#"{"n":1}"#),
        Save { holder: guessed, ..save(&bad, r#"{"n":2}"#) },
        save(&also_good, r#"{"n":3}"#),
    ];
    let mut written = store.save(&saves).await.unwrap().done;
    written.sort();
    assert_eq!(written, [good.id, also_good.id]);
    assert_eq!(&*now(&store, bad.id).await.unwrap().data, "{}");
}

async fn of_many_ends_only_those_of_a_holder_are_done(_: Db, store: Arc<dyn Store>) {
    let ada = [(); 4].map(|()| log_in("ada"));
    let mut rows = Vec::new();
    for log_in in &ada {
        rows.push(admitted(store.log_in(log_in).await.unwrap()));
    }
    let bob = logged_in(&store, "bob").await;
    let by = |holder, id, user_id: &str| End {
        by: Some(holder),
        user_id: Some(user_id.to_owned()),
        ..one(id)
    };
    let stale = Holder { secret_hash: hash(), ..holder(&rows[3]) };
    let ends = [
        by(holder(&rows[0]), rows[1].id, "ada"),
        by(stale, rows[2].id, "ada"),
        by(holder(&rows[0]), bob.id, "bob"),
        by(holder(&bob), rows[3].id, "ada"),
    ];
    assert_eq!(store.end(&ends).await.unwrap().done, [rows[1].id]);
    assert_eq!(listed(&store, "ada").await, [rows[3].id, rows[2].id, rows[0].id]);
    assert_eq!(listed(&store, "bob").await, [bob.id]);
}

async fn a_session_that_a_log_in_changed_does_not_end_by_its_old_secret(
    _: Db,
    store: Arc<dyn Store>,
) {
    let visitor = anonymous(&store).await;
    admitted(store.log_in(&log_in_to(&visitor, "ada")).await.unwrap());
    let end = End { by: Some(holder(&visitor)), ..one(visitor.id) };
    assert_eq!(store.end(&[end]).await.unwrap().done, []);
    assert_eq!(listed(&store, "ada").await, [visitor.id]);
}

/// The DELETE finds the row while it is still the visitor's, and waits for it.
async fn a_session_whose_log_in_is_being_committed_does_not_end_by_its_old_secret(
    db: Db,
    store: Arc<dyn Store>,
) {
    let visitor = anonymous(&store).await;
    let mut tx = Tx::begin(&db).await;
    tx.run(
        "update sessile.sessions set secret_hash = sha256('new'), replaced_hash = secret_hash, replaced_at = now(),
            user_id = 'ada', authenticated_at = now()",
        "update sessions set secret_hash = zeroblob(32), replaced_hash = secret_hash, replaced_at = last_seen_at,
            user_id = 'ada', authenticated_at = last_seen_at",
    )
    .await;
    let end = End { by: Some(holder(&visitor)), ..one(visitor.id) };
    let ending = tokio::spawn({
        let store = store.clone();
        async move { store.end(&[end]).await.unwrap().done }
    });
    until_waiting(&db, 1).await;
    tx.commit().await;
    assert_eq!(ending.await.unwrap(), []);
    assert_eq!(listed(&store, "ada").await, [visitor.id]);
}

async fn a_revocation_waits_for_a_renewal_of_its_holder_and_does_nothing(
    db: Db,
    store: Arc<dyn Store>,
) {
    let (record, other) = (logged_in(&store, "ada").await, logged_in(&store, "ada").await);
    let mut tx = Tx::begin(&db).await;
    let (postgres, sqlite) = (record.id.to_string(), record.id.as_uuid().simple().to_string());
    tx.run(
        &format!("update sessile.sessions set secret_hash = sha256('new') where id = '{postgres}'"),
        &format!("update sessions set secret_hash = zeroblob(32) where id = x'{sqlite}'"),
    )
    .await;
    let began = Began::Here(Instant::now());
    let revoke = Revoke {
        realm: record.realm.clone(),
        scope: Scope::User("ada".to_owned()),
        by: Some(holder(&record)),
        cause: by_application(),
    };
    let revoking = tokio::spawn({
        let store = store.clone();
        async move { store.revoke(&revoke).await.unwrap() }
    });
    until_waiting(&db, 1).await;
    tx.commit().await;
    assert!(revoking.await.unwrap().is_none());
    assert_eq!(listed(&store, "ada").await, [other.id, record.id]);
    admitted(store.log_in(&LogIn { began, ..log_in("ada") }).await.unwrap());
}
