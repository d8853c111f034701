//! A shop and its back office over one store, with users of the same names.

use std::sync::Arc;

use sessile::{Client, ErrorKind, OnLimit, Sessions, minutes, store::Store};

use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    promise_12_a_cookie_of_another_realm_is_no_session,
    promise_12_a_user_id_of_another_realm_is_another_user,
    promise_12_a_limit_counts_the_sessions_of_one_realm,
    promise_12_a_cut_off_refuses_the_log_ins_of_one_realm,
    promise_12_a_revocation_ends_the_sessions_of_one_realm,
}

/// The shop has the default realm.
fn shop_and_office(db: &Db) -> [Sessions; 2] {
    let store: Arc<dyn Store> = db.store();
    ["", "office"].map(|realm| Sessions::builder(store.clone()).realm(realm).build().unwrap())
}

async fn promise_12_a_cookie_of_another_realm_is_no_session(db: Db) {
    let realms = shop_and_office(&db);
    for (its, others) in [(0, 1), (1, 0)] {
        let (browser, id) = Browser::logged_in(&realms[its], "7").await;
        // The store has a copy of the row now, if it keeps copies.
        assert_eq!(browser.open(&realms[its]).await.id(), Some(id));
        let session = browser.open(&realms[others]).await;
        assert_eq!((session.id(), session.user_id()), (None, None));
        assert!(!session.is_superseded());
        assert_eq!(session.log_out().await.unwrap().ended, 0);
        let session = browser.open(&realms[others]).await;
        session.log_in("7").await.unwrap();
        assert_ne!(session.id(), Some(id));
        assert!(browser.is_in(&realms[its]).await);
    }
    // Nor is a secret valid that was replaced there a moment ago.
    let (browser, _) = Browser::logged_in(&realms[1], "7").await;
    browser.open(&realms[1]).await.renew().await.unwrap();
    assert!(browser.open(&realms[1]).await.is_superseded());
    assert!(!browser.open(&realms[0]).await.is_superseded());
}

async fn promise_12_a_user_id_of_another_realm_is_another_user(db: Db) {
    let [shop, office] = shop_and_office(&db);
    for _ in 0..2 {
        Browser::logged_in(&shop, "7").await;
    }
    let (browser, id) = Browser::logged_in(&office, "7").await;
    assert_eq!((shop.count().await.unwrap(), office.count().await.unwrap()), (2, 1));
    assert_eq!(shop.count_of_user("7").await.unwrap(), 2);
    assert_eq!(office.count_of_user("7").await.unwrap(), 1);
    let ids = |list: Vec<sessile::SessionInfo>| list.into_iter().map(|info| info.id).collect();
    let (ours, theirs): (Vec<_>, Vec<_>) =
        (ids(office.of_user("7").await.unwrap()), ids(shop.of_user("7").all().await.unwrap()));
    assert_eq!(ours, [id]);
    assert!(theirs.len() == 2 && !theirs.contains(&id));
    let devices = browser.open(&office).await.devices().await.unwrap();
    assert_eq!(devices.iter().map(|device| device.id).collect::<Vec<_>>(), [id]);
}

async fn promise_12_a_limit_counts_the_sessions_of_one_realm(db: Db) {
    let store = db.store();
    let limited = |realm, on_limit| {
        let builder = Sessions::builder(store.clone()).realm(realm);
        builder.sessions_per_user(1, on_limit).build().unwrap()
    };
    for on_limit in [OnLimit::Refuse, OnLimit::EndOldest] {
        let [shop, office] = ["", "office"].map(|realm| limited(realm, on_limit));
        let user_id = format!("{on_limit:?}");
        let (shops, _) = Browser::logged_in(&shop, &user_id).await;
        let (offices, _) = Browser::logged_in(&office, &user_id).await;
        assert!(shops.is_in(&shop).await && offices.is_in(&office).await);
        let another = office.open(None, Client::new()).await.unwrap();
        let result = another.log_in(&user_id).await.map_err(|error| error.kind());
        let refused = matches!(on_limit, OnLimit::Refuse);
        assert_eq!(result.err(), refused.then_some(ErrorKind::TooManySessions));
        assert!(shops.is_in(&shop).await);
        assert_eq!(offices.is_in(&office).await, refused);
    }
}

async fn promise_12_a_cut_off_refuses_the_log_ins_of_one_realm(db: Db) {
    let realms = shop_and_office(&db);
    for (its, others) in [(0, 1), (1, 0)] {
        for of_all in [false, true] {
            let (ours, theirs) = (
                Browser::default().open(&realms[its]).await,
                Browser::default().open(&realms[others]).await,
            );
            match of_all {
                true => realms[its].revoke_all().await.unwrap(),
                false => realms[its].revoke_user("7").await.unwrap(),
            };
            theirs.log_in("7").await.unwrap();
            let refused = ours.log_in("7").await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::LogInRefused);
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
}

async fn promise_12_a_revocation_ends_the_sessions_of_one_realm(db: Db) {
    let realms = shop_and_office(&db);
    for (its, others) in [(0, 1), (1, 0)] {
        for way in 0..5 {
            let (sevens, _) = Browser::logged_in(&realms[others], "7").await;
            let (anonymous, _) = Browser::with(&realms[others], "n", 1.into()).await;
            let (first, id) = Browser::logged_in(&realms[its], "7").await;
            let (second, _) = Browser::logged_in(&realms[its], "7").await;
            let ended = match way {
                0 => realms[its].revoke_user("7").await,
                1 => realms[its].revoke_all().await,
                2 => realms[its].revoke_others("7", id).await,
                3 => first.open(&realms[its]).await.log_out_others().await,
                _ => first.open(&realms[its]).await.log_out_everywhere().await,
            };
            let keeps = way == 2 || way == 3;
            assert_eq!(ended.unwrap().ended, if keeps { 1 } else { 2 }, "way {way}");
            assert_eq!(first.is_in(&realms[its]).await, keeps, "way {way}");
            assert!(!second.is_in(&realms[its]).await, "way {way}");
            assert!(sevens.is_in(&realms[others]).await, "way {way}");
            assert!(anonymous.is_in(&realms[others]).await, "way {way}");
            for realm in &realms {
                realm.revoke_all().await.unwrap();
            }
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
}
