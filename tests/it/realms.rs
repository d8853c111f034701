//! Several applications on one pool. Promise 12 covers the separation of their sessions; these tests cover
//! the mechanism.

use std::sync::Arc;

use serde_json::json;
use sessile::{
    Client, ErrorKind, Realm, Result, Revocation, Sessions, hours, minutes,
    store::{self, Store},
};

use crate::support::{Browser, Db, Pool, cases};

cases! {
    and_wrapped:
    ids_of_another_realm_are_nobodys,
    devices_of_another_realm_are_nobodys,
    a_begun_log_in_is_of_its_realm,
    cookies_of_several_realms_in_one_request_do_not_meet,
    the_sweep_of_one_serves_all,
    a_users_name_is_no_way_into_another_realm,
    the_first_log_ins_of_a_realm_meet_a_revocation_of_all,
    a_cut_off_of_a_realm_survives_its_first_log_in,
    a_revocation_in_the_applications_transaction_is_of_one_realm,
    nothing_is_revoked_in_the_applications_transaction_for_a_bad_user_id,
    a_bad_name_of_a_realm_does_not_build,
    sessions_say_which_realm_they_are_of,
}

/// On one store: the default realm, and two more.
fn realms(db: &Db) -> [Sessions; 3] {
    let store: Arc<dyn Store> = db.store();
    ["", "office", "lab"]
        .map(|realm| Sessions::builder(store.clone()).realm(realm).build().unwrap())
}

async fn ids_of_another_realm_are_nobodys(db: Db) {
    let all = realms(&db);
    for (n, its) in all.iter().enumerate() {
        let (browser, id) = Browser::logged_in(its, "7").await;
        for (m, other) in all.iter().enumerate() {
            if n != m {
                assert_eq!(other.find(id).await.unwrap(), None);
                assert!(!other.revoke(id).await.unwrap());
                assert_eq!(other.revoke_others("7", id).await.unwrap().ended, 0);
            }
        }
        assert_eq!(its.find(id).await.unwrap().map(|info| info.id), Some(id));
        assert!(browser.is_in(its).await);
        assert!(its.revoke(id).await.unwrap());
        db.pass_for_cutoffs(minutes(1)).await;
    }
}

async fn devices_of_another_realm_are_nobodys(db: Db) {
    let [shop, office, _] = realms(&db);
    let (shops, shops_id) = Browser::logged_in(&shop, "7").await;
    let (offices, offices_id) = Browser::logged_in(&office, "7").await;
    let session = offices.open(&office).await;
    assert!(!session.log_out_device(shops_id).await.unwrap());
    assert_eq!(session.log_out_others().await.unwrap().ended, 0);
    assert!(session.devices().await.unwrap().iter().all(|device| device.id == offices_id));
    assert_eq!(session.log_out_everywhere().await.unwrap().ended, 1);
    assert!(shops.is_in(&shop).await);
    assert_eq!((shop.count().await.unwrap(), office.count().await.unwrap()), (1, 0));
}

async fn a_begun_log_in_is_of_its_realm(db: Db) {
    let [shop, office, _] = realms(&db);
    let (mut browser, _) = Browser::with(&office, "n", json!(1)).await;
    let session = browser.open(&office).await;
    session.begin_log_in().user("7").await.unwrap();
    browser.finish(&session).await;
    let session = browser.open(&shop).await;
    assert_eq!((session.id(), session.pending_log_in()), (None, None));
    assert_eq!(session.complete_log_in().await.unwrap_err().kind(), ErrorKind::NoPendingLogIn);
    // A revocation in the shop does not affect this log-in.
    shop.revoke_user("7").await.unwrap();
    shop.revoke_all().await.unwrap();
    let session = browser.open(&office).await;
    session.complete_log_in().await.unwrap();
    browser.finish(&session).await;
    assert_eq!(browser.open(&office).await.user_id().as_deref(), Some("7"));
    assert_eq!(shop.count_of_user("7").await.unwrap(), 0);

    let session = browser.open(&office).await;
    session.begin_log_in().user("8").await.unwrap();
    office.revoke_user("8").await.unwrap();
    assert_eq!(session.complete_log_in().await.unwrap_err().kind(), ErrorKind::LogInRefused);
}

/// Two applications on two ports of one host, with one cookie name: a browser sends both cookies to both.
async fn cookies_of_several_realms_in_one_request_do_not_meet(db: Db) {
    let all = realms(&db);
    let mut cookies = Vec::new();
    let mut ids = Vec::new();
    for realm in &all {
        let (browser, id) = Browser::logged_in(realm, "7").await;
        cookies.push(browser.cookie.unwrap());
        ids.push(id);
    }
    let brought = || cookies.iter().map(String::as_bytes);
    for (realm, id) in all.iter().zip(&ids) {
        let session = realm.open(brought(), Client::new()).await.unwrap();
        assert_eq!(session.id(), Some(*id));
        assert_eq!(session.log_out().await.unwrap().ended, 1);
    }
    assert_eq!(db.rows().await, 0);
}

async fn the_sweep_of_one_serves_all(db: Db) {
    let all = realms(&db);
    for realm in &all {
        Browser::with(realm, "n", json!(1)).await;
    }
    db.pass(hours(2)).await;
    let (live, _) = Browser::logged_in(&all[2], "7").await;
    assert_eq!(all[1].sweep().await.unwrap().rows, 3);
    assert_eq!(db.rows().await, 1);
    assert!(live.is_in(&all[2]).await);
}

/// Cut-offs of a realm have their own keys. A user of the default realm may be named like such a key.
async fn a_users_name_is_no_way_into_another_realm(db: Db) {
    let [shop, office, lab] = realms(&db);
    let names =
        ["7", "office\u{1f}7", "\u{1f}office\u{1f}7", "\u{1f}office\u{1f}", "\u{1f}", "lab"];
    for revoked in names {
        let of_office = Browser::default().open(&office).await;
        let of_lab = Browser::default().open(&lab).await;
        shop.revoke_user(revoked).await.unwrap();
        of_office.log_in("7").await.unwrap();
        of_lab.log_in("7").await.unwrap();
    }
    db.pass_for_cutoffs(minutes(1)).await;
    let mut of_shop = Vec::new();
    for name in names {
        of_shop.push((name, Browser::default().open(&shop).await));
    }
    office.revoke_user("7").await.unwrap();
    office.revoke_all().await.unwrap();
    for (name, session) in of_shop {
        session.log_in(name).await.unwrap_or_else(|error| panic!("{name:?}: {error}"));
    }
    assert_eq!(office.count().await.unwrap(), 0);
    assert_eq!(shop.count().await.unwrap(), names.len() as u64);
    assert_eq!(lab.count().await.unwrap(), names.len() as u64);
}

/// No user has ever logged in to this realm, so the row that all log-ins lock does not exist yet.
async fn the_first_log_ins_of_a_realm_meet_a_revocation_of_all(db: Db) {
    for n in 0..8 {
        let nodes = [db.builder().await, db.builder().await]
            .map(|builder| builder.realm(format!("realm-{n}")).build().unwrap());
        let mut before = Vec::new();
        for n in 0..4 {
            before.push(Browser::default().open(&nodes[n % 2]).await);
        }
        let mut tasks = tokio::task::JoinSet::new();
        for (n, session) in before.into_iter().enumerate() {
            tasks.spawn(async move { session.log_in(format!("user {n}")).await });
        }
        nodes[0].revoke_all().await.unwrap();
        for result in tasks.join_all().await {
            let kind = result.map_err(|error| error.kind());
            assert!(matches!(kind, Ok(()) | Err(ErrorKind::LogInRefused)), "{kind:?}");
        }
        // The revocation has also ended the sessions that began before it.
        assert_eq!(nodes[1].count().await.unwrap(), 0);
    }
}

async fn a_cut_off_of_a_realm_survives_its_first_log_in(db: Db) {
    let [_, office, lab] = realms(&db);
    let early = Browser::default().open(&office).await;
    let of_lab = Browser::default().open(&lab).await;
    office.revoke_all().await.unwrap();
    assert_eq!(early.log_in("7").await.unwrap_err().kind(), ErrorKind::LogInRefused);
    of_lab.log_in("7").await.unwrap();
    assert_eq!(early.log_in("8").await.unwrap_err().kind(), ErrorKind::LogInRefused);
    db.pass_for_cutoffs(minutes(1)).await;
    Browser::logged_in(&office, "7").await;
}

/// The called function of the store's module.
#[derive(Clone, Copy)]
enum Call<'a> {
    One(sessile::SessionId),
    User(&'a str),
    Others(&'a str, sessile::SessionId),
    All,
}

/// In the application's own transaction, which the application commits.
async fn in_transaction(db: &Db, realm: &Realm, call: Call<'_>) -> Result<Revocation> {
    match &db.pool {
        Pool::Postgres(pool) => {
            let mut tx = pool.begin().await.unwrap();
            let done = match call {
                Call::One(id) => store::postgres::revoke(&mut tx, realm, id).await,
                Call::User(user_id) => store::postgres::revoke_user(&mut tx, realm, user_id).await,
                Call::Others(user_id, keep) => {
                    store::postgres::revoke_others(&mut tx, realm, user_id, keep).await
                }
                Call::All => store::postgres::revoke_all(&mut tx, realm).await,
            };
            tx.commit().await.unwrap();
            done
        }
        Pool::Sqlite(pool) => {
            let mut tx = pool.begin_with("begin immediate").await.unwrap();
            let done = match call {
                Call::One(id) => store::sqlite::revoke(&mut tx, realm, id).await,
                Call::User(user_id) => store::sqlite::revoke_user(&mut tx, realm, user_id).await,
                Call::Others(user_id, keep) => {
                    store::sqlite::revoke_others(&mut tx, realm, user_id, keep).await
                }
                Call::All => store::sqlite::revoke_all(&mut tx, realm).await,
            };
            tx.commit().await.unwrap();
            done
        }
    }
}

async fn a_revocation_in_the_applications_transaction_is_of_one_realm(db: Db) {
    let [shop, office, _] = realms(&db);
    for (its, other) in [(&shop, &office), (&office, &shop)] {
        for way in 0..4 {
            let (browser, id) = Browser::logged_in(its, "7").await;
            let (second, second_id) = Browser::logged_in(its, "7").await;
            let (kept, kept_id) = Browser::logged_in(other, "7").await;
            let (before, others_before) =
                (Browser::default().open(its).await, Browser::default().open(other).await);
            let (call, ended) = match way {
                0 => (Call::One(id), 1),
                1 => (Call::User("7"), 2),
                2 => (Call::Others("7", second_id), 1),
                _ => (Call::All, 2),
            };
            if way == 0 {
                let none = in_transaction(&db, its.realm(), Call::One(kept_id)).await.unwrap();
                assert_eq!(none.ended, 0);
            }
            let revocation = in_transaction(&db, its.realm(), call).await.unwrap();
            assert_eq!(revocation.ended, ended, "way {way}");
            db.heard().await;
            assert!(!browser.is_in(its).await, "way {way}");
            assert_eq!(second.is_in(its).await, way == 0 || way == 2, "way {way}");
            assert!(kept.is_in(other).await, "way {way}");
            others_before.log_in("7").await.unwrap();
            let late = before.log_in("7").await.map_err(|error| error.kind());
            let refused = (way > 0).then_some(ErrorKind::LogInRefused);
            assert_eq!(late.err(), refused, "way {way}");
            for realm in [its, other] {
                realm.revoke_all().await.unwrap();
            }
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
}

async fn nothing_is_revoked_in_the_applications_transaction_for_a_bad_user_id(db: Db) {
    let [shop, office, _] = realms(&db);
    let cutoffs = async || {
        db.texts(
            "select user_id || coalesce(revoked_at::text, '-') from sessile.session_cutoffs order by user_id",
            "select user_id || coalesce(revoked_at, '-') from session_cutoffs order by user_id",
        )
        .await
    };
    let (browsers, in_flight) = (
        [Browser::logged_in(&shop, "7").await.0, Browser::logged_in(&office, "7").await.0],
        [Browser::default().open(&shop).await, Browser::default().open(&office).await],
    );
    let before = cutoffs().await;
    let long = "x".repeat(256);
    for realm in [shop.realm(), office.realm()] {
        for user_id in ["", "\0", "7\0", &long] {
            let keep = uuid::Uuid::now_v7().into();
            for call in [Call::User(user_id), Call::Others(user_id, keep)] {
                // The transaction continues, because no statement failed in it.
                let error = in_transaction(&db, realm, call).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::InvalidUserId, "{user_id:?}");
            }
        }
    }
    assert_eq!(cutoffs().await, before);
    db.heard().await;
    for (n, realm) in [&shop, &office].into_iter().enumerate() {
        assert!(browsers[n].is_in(realm).await);
        in_flight[n].log_in("8").await.unwrap();
    }
}

async fn a_bad_name_of_a_realm_does_not_build(db: Db) {
    let long = "x".repeat(33);
    for name in
        ["Office", "back office", "id", "-a", "_a", "a\u{1f}b", "é", "a;b", "a.b", "'", &long]
    {
        let error = db.builder().await.realm(name).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{name:?}");
        assert!(error.to_string().contains(&format!("{name:?}")), "{error}");
    }
    for name in ["", "office", "0", "a-b_c", &"x".repeat(32)] {
        let sessions = db.builder().await.realm(name).build().unwrap();
        let (browser, _) = Browser::logged_in(&sessions, "7").await;
        assert!(browser.is_in(&sessions).await, "{name:?}");
        assert_eq!(sessions.count().await.unwrap(), 1, "{name:?}");
    }
}

async fn sessions_say_which_realm_they_are_of(db: Db) {
    assert_eq!(db.sessions().await.realm(), &Realm::default());
    let names = realms(&db).map(|sessions| sessions.realm().to_string());
    assert_eq!(names, ["", "office", "lab"]);
    // The view shows the realm, and the rows contain it.
    Browser::logged_in(&realms(&db)[1], "7").await;
    let shown = db
        .texts("select realm from sessile.active_sessions", "select realm from active_sessions")
        .await;
    assert_eq!(shown, ["office"]);
}
