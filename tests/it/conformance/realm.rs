//! Several applications on one database.

use std::{sync::Arc, time::Instant};

use sessile::{
    OnLimit, Realm, Revocation, SessionId, hours, minutes, seconds,
    store::{
        Began, End, LogIn, LogInOutcome, NewSession, Page, Record, Revoke, Scope, Store, Swept,
    },
};

use super::{
    conformance,
    make::{
        admitted, anonymous, by_application, id, log_in, log_in_to, logged_in, new_session, now,
        one, page, renewal, revoke,
    },
};
use crate::{
    support::{Db, up_to},
    tx::{Tx, until_waiting},
};

conformance! {
    a_row_is_of_the_realm_that_made_it,
    a_row_of_another_realm_is_not_found_listed_or_counted,
    a_row_of_another_realm_is_not_ended_or_revoked,
    a_row_of_another_realm_is_absent_for_a_log_in,
    a_limit_counts_and_ends_the_realms_own_sessions,
    a_log_in_is_refused_by_a_revocation_of_its_own_realm_only,
    a_user_id_that_looks_like_another_realms_key_is_none,
    the_first_log_in_of_a_realm_needs_no_preparation,
    many_may_be_the_first_to_log_in_to_a_realm,
    a_log_in_that_waits_for_the_first_revocation_of_its_realm_is_refused,
    a_sweep_serves_all_realms,
    a_sweep_leaves_the_row_of_everybody_of_a_realm,
}

fn realms() -> [Realm; 3] {
    ["", "shop", "office"].map(|name| name.parse().unwrap())
}

fn office() -> Realm {
    "office".parse().unwrap()
}

fn log_in_at(realm: &Realm, user_id: &str) -> LogIn {
    LogIn { realm: realm.clone(), ..log_in(user_id) }
}

async fn logged_in_at(store: &Arc<dyn Store>, realm: &Realm, user_id: &str) -> Record {
    admitted(store.log_in(&log_in_at(realm, user_id)).await.unwrap())
}

async fn anonymous_at(store: &Arc<dyn Store>, realm: &Realm) -> Record {
    let new = NewSession { realm: realm.clone(), ..new_session("{}") };
    store.create(&[new]).await.unwrap().remove(0)
}

async fn listed_at(store: &Arc<dyn Store>, realm: &Realm, user_id: &str) -> Vec<SessionId> {
    let page = Page { realm: realm.clone(), ..page(user_id) };
    store.list(&page).await.unwrap().iter().map(|info| info.id).collect()
}

async fn revoke_at(store: &Arc<dyn Store>, realm: &Realm, scope: Scope) -> Revocation {
    let revoke = Revoke { realm: realm.clone(), scope, by: None, cause: by_application() };
    store.revoke(&revoke).await.unwrap().unwrap()
}

fn user(user_id: &str) -> Scope {
    Scope::User(user_id.to_owned())
}

async fn a_row_is_of_the_realm_that_made_it(_: Db, store: Arc<dyn Store>) {
    for realm in realms() {
        let created = anonymous_at(&store, &realm).await;
        let inserted = logged_in_at(&store, &realm, "7").await;
        let bind = LogIn { realm: realm.clone(), ..log_in_to(&created, "7") };
        let bound = admitted(store.log_in(&bind).await.unwrap());
        for record in [created, inserted, bound] {
            assert_eq!(record.realm, realm);
            assert_eq!(now(&store, record.id).await.unwrap().realm, realm);
        }
        let begun = now(&store, bind.id).await.unwrap();
        assert!(store.renew(&renewal(&begun)).await.unwrap());
        assert_eq!(now(&store, bind.id).await.unwrap().realm, realm);
    }
}

async fn a_row_of_another_realm_is_not_found_listed_or_counted(_: Db, store: Arc<dyn Store>) {
    let mut ids = Vec::new();
    for realm in realms() {
        anonymous_at(&store, &realm).await;
        ids.push(logged_in_at(&store, &realm, "7").await.id);
    }
    for (which, realm) in realms().iter().enumerate() {
        assert_eq!(listed_at(&store, realm, "7").await, [ids[which]]);
        assert_eq!(store.count(realm, Some("7")).await.unwrap(), 1);
        assert_eq!(store.count(realm, None).await.unwrap(), 2);
        for (other, id) in ids.iter().enumerate() {
            let found = store.find(realm, *id).await.unwrap();
            assert_eq!(found.is_some(), other == which);
        }
    }
    let empty: Realm = "warehouse".parse().unwrap();
    assert_eq!(listed_at(&store, &empty, "7").await, []);
    assert_eq!(store.count(&empty, None).await.unwrap(), 0);
}

async fn a_row_of_another_realm_is_not_ended_or_revoked(_: Db, store: Arc<dyn Store>) {
    let at_home = logged_in(&store, "7").await;
    let nobodys = anonymous(&store).await;
    for user_id in [None, Some("7".to_owned())] {
        let end = End { realm: office(), user_id, ..one(at_home.id) };
        assert_eq!(store.end(&[end]).await.unwrap().done, []);
    }
    for scope in [user("7"), Scope::OthersOf("7".to_owned(), id()), Scope::All] {
        assert_eq!(revoke_at(&store, &office(), scope).await.ended, 0);
    }
    assert!(now(&store, at_home.id).await.is_some() && now(&store, nobodys.id).await.is_some());

    // In the other direction: each realm ends only its own sessions.
    let at_office = anonymous_at(&store, &office()).await;
    assert_eq!(revoke(&store, &Scope::All).await.ended, 2);
    assert!(now(&store, at_office.id).await.is_some());
    assert_eq!(revoke_at(&store, &office(), Scope::All).await.ended, 1);
    assert!(now(&store, at_office.id).await.is_none());
}

/// Even if the secret is correct, and if the same log-in was sent twice.
async fn a_row_of_another_realm_is_absent_for_a_log_in(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    let elsewhere = LogIn { realm: office(), ..log_in_to(&record, "7") };
    let outcome = store.log_in(&elsewhere).await.unwrap();
    assert!(matches!(outcome, LogInOutcome::Absent), "{outcome:?}");
    let here = log_in_to(&record, "7");
    admitted(store.log_in(&here).await.unwrap());
    let outcome = store.log_in(&elsewhere).await.unwrap();
    assert!(matches!(outcome, LogInOutcome::Absent), "{outcome:?}");
    let after = now(&store, record.id).await.unwrap();
    assert_eq!(after.realm, Realm::default());
    assert!(after.secret_hash.matches(&here.new_hash) && after.twins.is_empty());
}

async fn a_limit_counts_and_ends_the_realms_own_sessions(db: Db, store: Arc<dyn Store>) {
    let at_home = logged_in(&store, "7").await;
    db.pass(minutes(1)).await;
    let first = logged_in_at(&store, &office(), "7").await;
    let limited = |on_limit| LogIn { limit: Some((1, on_limit)), ..log_in_at(&office(), "7") };
    let outcome = store.log_in(&limited(OnLimit::Refuse)).await.unwrap();
    assert!(matches!(outcome, LogInOutcome::TooManySessions), "{outcome:?}");
    let outcome = store.log_in(&limited(OnLimit::EndOldest)).await.unwrap();
    let LogInOutcome::LoggedIn(second, ended) = outcome else { panic!("{outcome:?}") };
    assert_eq!(ended, [first.id]);
    assert_eq!(listed_at(&store, &office(), "7").await, [second.id]);
    assert!(now(&store, at_home.id).await.is_some());
    let elsewhere =
        LogIn { limit: Some((1, OnLimit::Refuse)), ..log_in_at(&"shop".parse().unwrap(), "7") };
    admitted(store.log_in(&elsewhere).await.unwrap());
}

async fn a_log_in_is_refused_by_a_revocation_of_its_own_realm_only(db: Db, store: Arc<dyn Store>) {
    for realm in realms() {
        for other in realms() {
            for scope in [user("7"), Scope::All] {
                let began = Began::Here(Instant::now());
                revoke_at(&store, &other, scope.clone()).await;
                let log_in = LogIn { began, ..log_in_at(&realm, "7") };
                let outcome = store.log_in(&log_in).await.unwrap();
                let is_refused = matches!(outcome, LogInOutcome::Refused);
                assert_eq!(is_refused, realm == other, "{realm:?} {other:?} {scope:?}");
                db.pass_for_cutoffs(seconds(1)).await;
            }
        }
    }
}

/// The keys of cut-offs contain the realm's name and the user's id.
async fn a_user_id_that_looks_like_another_realms_key_is_none(db: Db, store: Arc<dyn Store>) {
    let names = ["7", "office\u{1f}7", "\u{1f}office\u{1f}7", "\u{1f}\u{1f}7", "\u{1f}7", "\u{1f}"];
    let mut all = Vec::new();
    for realm in [Realm::default(), office()] {
        all.extend(names.map(|name| (realm.clone(), name)));
    }
    for (realm, user_id) in &all {
        let began = Began::Here(Instant::now());
        revoke_at(&store, realm, user(user_id)).await;
        for (other_realm, other) in &all {
            let log_in = LogIn { began, ..log_in_at(other_realm, other) };
            let outcome = store.log_in(&log_in).await.unwrap();
            let is_refused = matches!(outcome, LogInOutcome::Refused);
            let is_itself = (realm, user_id) == (other_realm, other);
            assert_eq!(is_refused, is_itself, "{realm:?} {user_id:?}: {other_realm:?} {other:?}");
        }
        db.pass_for_cutoffs(seconds(1)).await;
    }
}

async fn the_first_log_in_of_a_realm_needs_no_preparation(db: Db, store: Arc<dyn Store>) {
    let began = Began::Here(Instant::now());
    let first = logged_in_at(&store, &office(), "7").await;
    assert_eq!(first.realm, office());
    if db.is_postgres() {
        // The rows that log-ins lock. SQLite has one lock for all of them.
        assert_eq!(cutoffs(&db).await, ["", "\u{1f}office\u{1f}", "\u{1f}office\u{1f}7"]);
    }
    assert_eq!(revoke_at(&store, &office(), Scope::All).await.ended, 1);
    let late = LogIn { began, ..log_in_at(&office(), "7") };
    let outcome = store.log_in(&late).await.unwrap();
    assert!(matches!(outcome, LogInOutcome::Refused), "{outcome:?}");
}

async fn many_may_be_the_first_to_log_in_to_a_realm(_: Db, store: Arc<dyn Store>) {
    for realm in ["one", "two", "three"].map(|name| name.parse::<Realm>().unwrap()) {
        let log_ins: Vec<_> = (0..20)
            .map(|n| {
                let (store, log_in) =
                    (store.clone(), log_in_at(&realm, &format!("user {}", n / 2)));
                tokio::spawn(async move { admitted(store.log_in(&log_in).await.unwrap()) })
            })
            .collect();
        for log_in in log_ins {
            assert_eq!(log_in.await.unwrap().realm, realm);
        }
        assert_eq!(store.count(&realm, None).await.unwrap(), 20);
    }
}

/// A revocation has just inserted the row that all log-ins lock, and has not committed yet.
async fn a_log_in_that_waits_for_the_first_revocation_of_its_realm_is_refused(
    db: Db,
    store: Arc<dyn Store>,
) {
    let mut tx = Tx::begin(&db).await;
    tx.revoke_all_of(&office()).await.unwrap();
    let log_in = log_in_at(&office(), "7");
    let waiting = tokio::spawn(async move { store.log_in(&log_in).await.unwrap() });
    until_waiting(&db, 1).await;
    tx.commit().await;
    let outcome = waiting.await.unwrap();
    if db.is_postgres() {
        assert!(matches!(outcome, LogInOutcome::Refused), "{outcome:?}");
    }
}

async fn a_sweep_serves_all_realms(db: Db, store: Arc<dyn Store>) {
    for realm in realms() {
        anonymous_at(&store, &realm).await;
        logged_in_at(&store, &realm, "7").await;
    }
    db.pass(hours(3)).await;
    let live = anonymous_at(&store, &office()).await;
    assert_eq!(store.sweep(&up_to(100)).await.unwrap(), Swept::Rows(6));
    assert_eq!(db.rows().await, 1);
    assert!(now(&store, live.id).await.is_some());
}

async fn a_sweep_leaves_the_row_of_everybody_of_a_realm(db: Db, store: Arc<dyn Store>) {
    let shop: Realm = "shop".parse().unwrap();
    // One was made by a log-in, the other one by a revocation.
    logged_in_at(&store, &shop, "7").await;
    let began = Began::Here(Instant::now());
    revoke_at(&store, &office(), Scope::All).await;
    revoke_at(&store, &office(), user("7")).await;
    db.pass_for_cutoffs(hours(25)).await;
    store.sweep(&up_to(100)).await.unwrap();
    let left = cutoffs(&db).await;
    assert!(left.contains(&"\u{1f}office\u{1f}".to_owned()), "{left:?}");
    assert_eq!(left.contains(&"\u{1f}shop\u{1f}".to_owned()), db.is_postgres(), "{left:?}");
    assert!(!left.contains(&"\u{1f}office\u{1f}7".to_owned()), "{left:?}");
    admitted(store.log_in(&LogIn { began, ..log_in_at(&office(), "7") }).await.unwrap());
}

async fn cutoffs(db: &Db) -> Vec<String> {
    let text = "select user_id from session_cutoffs order by user_id";
    db.texts(&text.replace("session_", "sessile.session_"), text).await
}
