//! A log-in that was sent twice with the same cookie: one row, and a secret for each answer.

use std::sync::Arc;

use chrono::TimeDelta;
use sessile::{
    SessionId, days, minutes, seconds,
    store::{
        End, Holder, LogIn, LogInOutcome, Page, Record, Renewal, Revoke, Save, Scope, SecretCheck,
        SecretHash, Store, Touch,
    },
};

use super::{
    conformance,
    make::{
        admitted, anonymous, by_application, check, listed, log_in, log_in_to, logged_in,
        new_session, now, one, page, reauthentication, renewal, save, touch,
    },
};
use crate::support::Db;

conformance! {
    a_log_in_that_was_sent_twice_is_one_row_with_two_good_secrets,
    a_second_log_in_of_another_user_is_absent,
    a_second_log_in_a_minute_later_is_absent,
    a_row_has_four_twins_and_no_fifth,
    each_twin_acts_for_the_session,
    a_renewal_by_a_twin_leaves_one_secret,
    a_reauthentication_by_a_twin_leaves_one_secret,
    a_revocation_by_a_twin_leaves_one_secret,
    another_log_in_by_a_twin_leaves_one_secret,
    a_touch_that_settles_leaves_one_secret,
    a_touch_that_does_not_settle_leaves_both,
}

/// The anonymous row, and the secrets of two log-ins that both came with its secret.
struct Doubled {
    before: Record,
    hashes: [SecretHash; 2],
}

async fn doubled(store: &Arc<dyn Store>) -> Doubled {
    let before = anonymous(store).await;
    let log_ins = [log_in_to(&before, "ada"), log_in_to(&before, "ada")];
    for log_in in &log_ins {
        admitted(store.log_in(log_in).await.unwrap());
    }
    Doubled { before, hashes: log_ins.map(|log_in| log_in.new_hash) }
}

impl Doubled {
    fn id(&self) -> SessionId {
        self.before.id
    }

    fn holder(&self, which: usize) -> Holder {
        Holder { id: self.id(), secret_hash: self.hashes[which] }
    }

    async fn checks(&self, store: &Arc<dyn Store>) -> [SecretCheck; 2] {
        let record = now(store, self.id()).await.unwrap();
        self.hashes.map(|hash| record.check(&hash))
    }
}

async fn a_log_in_that_was_sent_twice_is_one_row_with_two_good_secrets(
    db: Db,
    store: Arc<dyn Store>,
) {
    let before = store.create(&[new_session(r#"{"cart":1}"#)]).await.unwrap().remove(0);
    let (first, second) = (log_in_to(&before, "ada"), log_in_to(&before, "ada"));
    admitted(store.log_in(&first).await.unwrap());
    let outcome = admitted(store.log_in(&second).await.unwrap());
    let loaded = now(&store, before.id).await.unwrap();
    for record in [outcome, loaded] {
        assert_eq!(record.id, before.id);
        assert_eq!(record.user_id.as_deref(), Some("ada"));
        assert_eq!(&*record.data, r#"{"cart":1}"#);
        assert_eq!(record.check(&first.new_hash), SecretCheck::Current);
        assert_eq!(record.check(&second.new_hash), SecretCheck::Current);
        assert_eq!(record.check(&before.secret_hash), SecretCheck::Superseded);
    }
    assert_eq!(db.rows().await, 1);
    assert_eq!(listed(&store, "ada").await, [before.id]);
}

async fn a_second_log_in_of_another_user_is_absent(_: Db, store: Arc<dyn Store>) {
    let before = anonymous(&store).await;
    let first = log_in_to(&before, "ada");
    admitted(store.log_in(&first).await.unwrap());
    is_absent(&store, &log_in_to(&before, "bob")).await;
    let after = now(&store, before.id).await.unwrap();
    assert_eq!(after.user_id.as_deref(), Some("ada"));
    assert!(after.secret_hash.matches(&first.new_hash) && after.twins.is_empty());
}

async fn a_second_log_in_a_minute_later_is_absent(db: Db, store: Arc<dyn Store>) {
    let doubled = doubled(&store).await;
    db.pass(seconds(50)).await;
    let third = log_in_to(&doubled.before, "ada");
    admitted(store.log_in(&third).await.unwrap());
    // The minute counts from the first log-in: further clicks do not prolong it.
    db.pass(seconds(10)).await;
    is_absent(&store, &log_in_to(&doubled.before, "ada")).await;
    assert_eq!(check(&store, doubled.id(), &third.new_hash).await, SecretCheck::Current);
}

async fn a_row_has_four_twins_and_no_fifth(_: Db, store: Arc<dyn Store>) {
    let before = anonymous(&store).await;
    let mut hashes = Vec::new();
    for _ in 0..5 {
        let log_in = log_in_to(&before, "ada");
        admitted(store.log_in(&log_in).await.unwrap());
        hashes.push(log_in.new_hash);
    }
    is_absent(&store, &log_in_to(&before, "ada")).await;
    let record = now(&store, before.id).await.unwrap();
    assert_eq!(record.twins.len(), 4);
    assert!(hashes.iter().all(|hash| record.check(hash) == SecretCheck::Current));
}

async fn each_twin_acts_for_the_session(_: Db, store: Arc<dyn Store>) {
    let doubled = doubled(&store).await;
    for which in [0, 1] {
        let holder = doubled.holder(which);
        let record = now(&store, doubled.id()).await.unwrap();
        let save = Save { holder, ..save(&record, &format!(r#"{{"n":{which}}}"#)) };
        assert_eq!(store.save(&[save]).await.unwrap().done, [holder.id]);
        let by = Page { by: Some(holder), ..page("ada") };
        assert_eq!(store.list(&by).await.unwrap().len(), 1);
        let other = logged_in(&store, "ada").await;
        let end = End { by: Some(holder), user_id: Some("ada".to_owned()), ..one(other.id) };
        assert_eq!(store.end(&[end]).await.unwrap().done, [other.id]);
    }
    let end = End { by: Some(doubled.holder(0)), ..one(doubled.id()) };
    assert_eq!(store.end(&[end]).await.unwrap().done, [doubled.id()]);
}

async fn a_renewal_by_a_twin_leaves_one_secret(_: Db, store: Arc<dyn Store>) {
    for which in [0, 1] {
        let doubled = doubled(&store).await;
        let record = now(&store, doubled.id()).await.unwrap();
        let renewal = Renewal { holder: doubled.holder(which), ..renewal(&record) };
        assert!(store.renew(&renewal).await.unwrap());
        leaves_one(&store, &doubled, which, &renewal.new_hash).await;
    }
}

async fn a_reauthentication_by_a_twin_leaves_one_secret(_: Db, store: Arc<dyn Store>) {
    for which in [0, 1] {
        let doubled = doubled(&store).await;
        let mut to = reauthentication(&now(&store, doubled.id()).await.unwrap());
        to.renewal.holder = doubled.holder(which);
        assert!(store.reauthenticate(&to).await.unwrap().is_some());
        leaves_one(&store, &doubled, which, &to.renewal.new_hash).await;
    }
}

async fn another_log_in_by_a_twin_leaves_one_secret(_: Db, store: Arc<dyn Store>) {
    for which in [0, 1] {
        let doubled = doubled(&store).await;
        let again = LogIn {
            id: doubled.id(),
            old_hash: Some(doubled.hashes[which]),
            data: None,
            ..log_in("ada")
        };
        admitted(store.log_in(&again).await.unwrap());
        leaves_one(&store, &doubled, which, &again.new_hash).await;
    }
}

/// The new secret is valid, the replaced one is distinguished from a wrong one, and the other twin is a wrong
/// one.
async fn leaves_one(store: &Arc<dyn Store>, doubled: &Doubled, which: usize, new: &SecretHash) {
    let record = now(store, doubled.id()).await.unwrap();
    assert_eq!(record.check(new), SecretCheck::Current);
    assert_eq!(record.check(&doubled.hashes[which]), SecretCheck::Superseded);
    assert_eq!(record.check(&doubled.hashes[1 - which]), SecretCheck::Wrong);
    assert!(record.twins.is_empty());
}

async fn a_revocation_by_a_twin_leaves_one_secret(_: Db, store: Arc<dyn Store>) {
    for which in [0, 1] {
        let doubled = doubled(&store).await;
        let revoke = Revoke {
            realm: doubled.before.realm.clone(),
            scope: Scope::OthersOf("ada".to_owned(), doubled.id()),
            by: Some(doubled.holder(which)),
            cause: by_application(),
        };
        assert!(store.revoke(&revoke).await.unwrap().is_some());
        let checks = doubled.checks(&store).await;
        assert_eq!((checks[which], checks[1 - which]), (SecretCheck::Current, SecretCheck::Wrong));
        store.end(&[one(doubled.id())]).await.unwrap();
    }
}

async fn a_touch_that_settles_leaves_one_secret(db: Db, store: Arc<dyn Store>) {
    for which in [0, 1] {
        let doubled = doubled(&store).await;
        db.pass(minutes(1)).await;
        let record = now(&store, doubled.id()).await.unwrap();
        let settles = Touch { holder: doubled.holder(which), settles: true, ..touch(&record, 0) };
        store.touch(&[settles]).await.unwrap();
        db.heard().await;
        let checks = doubled.checks(&store).await;
        assert_eq!((checks[which], checks[1 - which]), (SecretCheck::Current, SecretCheck::Wrong));
        // The other secret settles nothing any more.
        let late = Touch { holder: doubled.holder(1 - which), settles: true, ..touch(&record, 60) };
        store.touch(&[late]).await.unwrap();
        db.heard().await;
        assert_eq!(doubled.checks(&store).await, checks);
    }
}

async fn a_touch_that_does_not_settle_leaves_both(db: Db, store: Arc<dyn Store>) {
    let doubled = doubled(&store).await;
    let record = now(&store, doubled.id()).await.unwrap();
    for which in [0, 1] {
        let seconds = 60 * (1 + i64::try_from(which).unwrap());
        let seen = Touch { holder: doubled.holder(which), ..touch(&record, seconds) };
        store.touch(&[seen]).await.unwrap();
        db.heard().await;
        let lifetime = now(&store, doubled.id()).await.unwrap().lifetime;
        assert_eq!(lifetime.last_seen_at, record.now + TimeDelta::seconds(seconds));
    }
    assert_eq!(doubled.checks(&store).await, [SecretCheck::Current; 2]);
    db.pass(days(1)).await;
    assert!(now(&store, doubled.id()).await.is_none());
}

async fn is_absent(store: &Arc<dyn Store>, log_in: &LogIn) {
    let outcome = store.log_in(log_in).await.unwrap();
    assert!(matches!(outcome, LogInOutcome::Absent), "{outcome:?}");
}
