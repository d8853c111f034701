use std::{sync::Arc, time::Instant};

use sessile::{
    Client, Realm, days, hours, minutes,
    store::{Began, End, Lifetime, LogIn, LogInOutcome, Scope, Store, Timeouts},
};

use super::{
    conformance,
    make::{
        admitted, anonymous, hash, id, log_in, log_in_to, logged_in, new_session, now, one, revoke,
        save,
    },
};
use crate::support::Db;

conformance! {
    a_log_in_inserts_a_row_of_the_user,
    a_log_in_binds_the_user_to_the_row_that_is_there,
    a_log_in_replaces_the_data_where_it_says_so,
    a_log_in_takes_what_it_knows_of_the_client,
    a_log_in_to_a_row_that_has_ended_is_absent,
    a_log_in_with_a_wrong_secret_is_absent,
    a_log_in_after_a_revocation_of_the_user_is_admitted,
    a_log_in_from_before_a_revocation_of_the_user_is_refused,
    a_log_in_from_before_a_revocation_of_the_others_is_refused,
    a_log_in_from_before_a_revocation_of_all_is_refused,
    a_log_in_from_before_the_end_of_one_session_is_admitted,
    a_log_in_from_before_a_revocation_of_another_user_is_admitted,
    a_log_in_that_follows_the_revocation_is_admitted,
    a_log_in_that_follows_an_earlier_revocation_is_refused,
    a_log_in_that_took_a_day_is_refused,
}

async fn a_log_in_inserts_a_row_of_the_user(db: Db, store: Arc<dyn Store>) {
    let log_in = LogIn { data: Some(r#"{"cart":1}"#.to_owned()), ..log_in("ada") };
    let inserted = admitted(store.log_in(&log_in).await.unwrap());
    let loaded = now(&store, log_in.id).await.unwrap();
    for record in [inserted, loaded] {
        let at = record.authenticated_at.unwrap();
        assert_eq!(record.user_id.as_deref(), Some("ada"));
        assert_eq!(&*record.data, r#"{"cart":1}"#);
        assert_eq!(record.revision, 0);
        assert_eq!(record.created_at, at);
        assert_eq!(record.lifetime, Lifetime::begin(at, log_in.timeouts));
        assert!(record.secret_hash.matches(&log_in.new_hash));
    }
    assert_eq!(db.rows().await, 1);
}

async fn a_log_in_binds_the_user_to_the_row_that_is_there(db: Db, store: Arc<dyn Store>) {
    let new = new_session(r#"{"cart":1}"#);
    let created = store.create(&[new]).await.unwrap().remove(0);
    store.save(&[save(&created, r#"{"cart":2}"#)]).await.unwrap();
    db.pass(minutes(30)).await;
    let before = now(&store, created.id).await.unwrap();
    let log_in = LogIn { timeouts: Timeouts::new(60, 600), ..log_in_to(&before, "ada") };

    let bound = admitted(store.log_in(&log_in).await.unwrap());
    let loaded = now(&store, before.id).await.unwrap();
    for record in [bound, loaded] {
        let at = record.authenticated_at.unwrap();
        assert!(at > before.now - minutes(1));
        assert_eq!(record.user_id.as_deref(), Some("ada"));
        assert_eq!(&*record.data, r#"{"cart":2}"#);
        assert_eq!(record.revision, before.revision + 1);
        assert_eq!(record.created_at, before.created_at);
        assert_eq!(record.lifetime, Lifetime::begin(at, log_in.timeouts));
        assert!(record.secret_hash.matches(&log_in.new_hash));
    }
    assert_eq!(db.rows().await, 1);
}

async fn a_log_in_replaces_the_data_where_it_says_so(_: Db, store: Arc<dyn Store>) {
    let created = store.create(&[new_session(r#"{"a":1}"#)]).await.unwrap().remove(0);
    let log_in = LogIn { data: Some(r#"{"b":2}"#.to_owned()), ..log_in_to(&created, "ada") };
    assert_eq!(&*admitted(store.log_in(&log_in).await.unwrap()).data, r#"{"b":2}"#);
}

async fn a_log_in_takes_what_it_knows_of_the_client(_: Db, store: Arc<dyn Store>) {
    let address: std::net::IpAddr = "192.0.2.1".parse().unwrap();
    let first = LogIn { client: Client::new().ip(address).user_agent("one"), ..log_in("ada") };
    let record = admitted(store.log_in(&first).await.unwrap());
    admitted(store.log_in(&log_in_to(&record, "ada")).await.unwrap());
    let info = store.find(&Realm::default(), record.id).await.unwrap().unwrap();
    assert_eq!((info.ip, info.user_agent.as_deref()), (Some(address), Some("one")));
}

async fn a_log_in_to_a_row_that_has_ended_is_absent(db: Db, store: Arc<dyn Store>) {
    let revoked = anonymous(&store).await;
    store.end(&[one(revoked.id)]).await.unwrap();
    let expired = anonymous(&store).await;
    db.pass(hours(1)).await;
    for record in [&revoked, &expired] {
        let outcome = store.log_in(&log_in_to(record, "ada")).await.unwrap();
        assert!(matches!(outcome, LogInOutcome::Absent), "{outcome:?}");
        assert!(now(&store, record.id).await.is_none());
    }
    assert_eq!(db.rows().await, 1);
    assert_eq!(store.count(&Realm::default(), Some("ada")).await.unwrap(), 0);
}

async fn a_log_in_with_a_wrong_secret_is_absent(_: Db, store: Arc<dyn Store>) {
    let record = anonymous(&store).await;
    let guessed = LogIn { old_hash: Some(hash()), ..log_in_to(&record, "ada") };
    let unknown = LogIn { id: id(), ..log_in_to(&record, "ada") };
    for log_in in [guessed, unknown] {
        let outcome = store.log_in(&log_in).await.unwrap();
        assert!(matches!(outcome, LogInOutcome::Absent), "{outcome:?}");
    }
    let after = now(&store, record.id).await.unwrap();
    assert_eq!(after.user_id, None);
    assert!(after.secret_hash.matches(&record.secret_hash));
}

async fn a_log_in_after_a_revocation_of_the_user_is_admitted(db: Db, store: Arc<dyn Store>) {
    logged_in(&store, "ada").await;
    revoke(&store, &user("ada")).await;
    db.pass_for_cutoffs(minutes(1)).await;
    logged_in(&store, "ada").await;
    assert_eq!(store.count(&Realm::default(), Some("ada")).await.unwrap(), 1);
}

async fn a_log_in_from_before_a_revocation_of_the_user_is_refused(db: Db, store: Arc<dyn Store>) {
    refused_after(&db, &store, user("ada")).await;
}

async fn a_log_in_from_before_a_revocation_of_the_others_is_refused(db: Db, store: Arc<dyn Store>) {
    refused_after(&db, &store, Scope::OthersOf("ada".to_owned(), id())).await;
}

async fn a_log_in_from_before_a_revocation_of_all_is_refused(db: Db, store: Arc<dyn Store>) {
    refused_after(&db, &store, Scope::All).await;
}

/// A log-in to a new row and to an existing one, for a user that the database knows and for one that it does
/// not know.
async fn refused_after(db: &Db, store: &Arc<dyn Store>, scope: Scope) {
    let began = Began::Here(Instant::now());
    revoke(store, &scope).await;
    let anonymous = anonymous(store).await;
    let inserting = LogIn { began, ..log_in("ada") };
    let binding = LogIn { began, ..log_in_to(&anonymous, "ada") };
    for log_in in [inserting, binding] {
        let outcome = store.log_in(&log_in).await.unwrap();
        assert!(matches!(outcome, LogInOutcome::Refused), "{outcome:?}");
    }
    assert_eq!(store.count(&Realm::default(), Some("ada")).await.unwrap(), 0);
    assert_eq!(db.rows().await, 1);
    let after = now(store, anonymous.id).await.unwrap();
    assert!(after.secret_hash.matches(&anonymous.secret_hash));
}

async fn a_log_in_from_before_the_end_of_one_session_is_admitted(_: Db, store: Arc<dyn Store>) {
    let began = Began::Here(Instant::now());
    let (first, other) = (logged_in(&store, "ada").await, logged_in(&store, "ada").await);
    store.end(&[one(first.id)]).await.unwrap();
    let ends = [End { user_id: Some("ada".to_owned()), ..one(other.id) }];
    store.end(&ends).await.unwrap();
    admitted(store.log_in(&LogIn { began, ..log_in("ada") }).await.unwrap());
}

async fn a_log_in_from_before_a_revocation_of_another_user_is_admitted(
    _: Db,
    store: Arc<dyn Store>,
) {
    let began = Began::Here(Instant::now());
    revoke(&store, &user("bob")).await;
    admitted(store.log_in(&LogIn { began, ..log_in("ada") }).await.unwrap());
}

async fn a_log_in_that_follows_the_revocation_is_admitted(_: Db, store: Arc<dyn Store>) {
    for scope in [user("ada"), Scope::OthersOf("ada".to_owned(), id()), Scope::All] {
        let began = Began::Here(Instant::now());
        let after = revoke(&store, &scope).await.cutoff;
        assert!(after.is_some());
        let log_in = LogIn { began, after, ..log_in("ada") };
        admitted(store.log_in(&log_in).await.unwrap());
    }
}

async fn a_log_in_that_follows_an_earlier_revocation_is_refused(db: Db, store: Arc<dyn Store>) {
    let began = Began::Here(Instant::now());
    let after = revoke(&store, &user("ada")).await.cutoff;
    // On a clock of milliseconds, the next cut-off might be the same moment.
    db.pass_for_cutoffs(minutes(1)).await;
    let earlier = after.map(|cutoff| cutoff - minutes(1));
    revoke(&store, &user("ada")).await;
    let log_in = LogIn { began, after: earlier, ..log_in("ada") };
    let outcome = store.log_in(&log_in).await.unwrap();
    assert!(matches!(outcome, LogInOutcome::Refused), "{outcome:?}");
}

async fn a_log_in_that_took_a_day_is_refused(_: Db, store: Arc<dyn Store>) {
    let began = Instant::now()
        .checked_sub(days(1))
        .expect("an Instant may lie before the start of the machine");
    let log_in = LogIn { began: Began::Here(began), ..log_in("ada") };
    let outcome = store.log_in(&log_in).await.unwrap();
    assert!(matches!(outcome, LogInOutcome::Refused), "{outcome:?}");
}

fn user(user_id: &str) -> Scope {
    Scope::User(user_id.to_owned())
}
