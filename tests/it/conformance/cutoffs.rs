//! Cut-offs and the database's clock.

use std::{sync::Arc, time::Instant};

use chrono::{DateTime, TimeDelta, Utc};
use sessile::{
    Realm, hours, minutes,
    store::{Began, LogIn, LogInOutcome, Scope, Store},
};

use super::{
    conformance,
    make::{admitted, anonymous, log_in, log_in_to, logged_in, now, revoke},
};
use crate::{
    support::Db,
    tx::{Tx, until_waiting},
};

conformance! {
    a_cut_off_in_the_databases_future_refuses_one_log_in_and_no_later_one,
    a_log_in_that_follows_a_revocation_by_a_clock_that_was_set_back_is_admitted,
    a_log_in_that_met_the_sweep_of_its_old_cut_off_is_admitted,
    a_log_in_that_waited_for_a_revocation_is_refused,
    a_log_in_of_several_requests_is_refused_by_a_revocation_since_its_beginning,
    a_log_in_that_began_in_the_future_is_refused,
    a_log_in_that_began_a_day_ago_is_refused,
    a_revocation_that_waited_for_another_leaves_the_later_cut_off,
    revocations_at_once_leave_the_last_cut_off,
}

fn user(user_id: &str) -> Scope {
    Scope::User(user_id.to_owned())
}

fn began() -> Began {
    Began::Here(Instant::now())
}

fn is_refused(outcome: &LogInOutcome) -> bool {
    matches!(outcome, LogInOutcome::Refused)
}

/// Simulates that the database's clock was set back by an hour after the revocations.
async fn set_back(db: &Db) {
    db.run(
        "update sessile.session_cutoffs set revoked_at = revoked_at + interval '1 hour'",
        "update session_cutoffs set revoked_at = revoked_at + 3600000",
    )
    .await;
}

/// Waits until the present moment is in the past, by the database's clock, however coarse that is.
async fn until_later(db: &Db) {
    let then = db.clock().await;
    while db.clock().await <= then + 1 {
        tokio::task::yield_now().await;
    }
}

/// The cut-off of a user, or of everybody, in the table.
async fn cutoff_of(db: &Db, user_id: &str) -> DateTime<Utc> {
    let micros = db
        .number(
            &format!("select (extract(epoch from revoked_at) * 1000000)::bigint from sessile.session_cutoffs where user_id = '{user_id}'"),
            &format!("select revoked_at * 1000 from session_cutoffs where user_id = '{user_id}'"),
        )
        .await;
    DateTime::from_timestamp_micros(micros).unwrap()
}

async fn a_cut_off_in_the_databases_future_refuses_one_log_in_and_no_later_one(
    db: Db,
    store: Arc<dyn Store>,
) {
    for scope in [user("ada"), Scope::All] {
        for binds in [false, true] {
            revoke(&store, &scope).await;
            set_back(&db).await;
            let visitor = anonymous(&store).await;
            let log_in = || match binds {
                true => log_in_to(&visitor, "ada"),
                false => log_in("ada"),
            };
            let outcome = store.log_in(&log_in()).await.unwrap();
            assert!(is_refused(&outcome), "{scope:?} {outcome:?}");
            assert_eq!(now(&store, visitor.id).await.unwrap().user_id, None);
            // Afterwards, the time of the next log-in is not in doubt.
            db.pass_for_cutoffs(minutes(1)).await;
            admitted(store.log_in(&log_in()).await.unwrap());
            admitted(store.log_in(&log_in()).await.unwrap());
            let clock = visitor.now + TimeDelta::minutes(1);
            assert!(cutoff_of(&db, scope.user_id().unwrap_or_default()).await < clock);
        }
    }
}

/// "Reset the password, log out everywhere, log in here": the log-in follows the stored cut-off.
async fn a_log_in_that_follows_a_revocation_by_a_clock_that_was_set_back_is_admitted(
    db: Db,
    store: Arc<dyn Store>,
) {
    for scope in [user("ada"), Scope::OthersOf("ada".to_owned(), super::make::id()), Scope::All] {
        revoke(&store, &scope).await;
        set_back(&db).await;
        let began = began();
        let after = revoke(&store, &scope).await.cutoff;
        let stored = cutoff_of(&db, scope.user_id().unwrap_or_default()).await;
        assert_eq!(after, Some(stored), "{scope:?}");
        admitted(store.log_in(&LogIn { began, after, ..log_in("ada") }).await.unwrap());
        // A log-in that follows no revocation is refused, and by that same cut-off.
        let outcome = store.log_in(&LogIn { began, ..log_in("ada") }).await.unwrap();
        assert!(is_refused(&outcome), "{scope:?} {outcome:?}");
        db.pass_for_cutoffs(hours(2)).await;
    }
}

/// The log-in read the cut-off before it had the lock, and found none after.
async fn a_log_in_that_met_the_sweep_of_its_old_cut_off_is_admitted(db: Db, store: Arc<dyn Store>) {
    revoke(&store, &user("ada")).await;
    db.pass_for_cutoffs(hours(25)).await;
    let mut tx = Tx::begin(&db).await;
    let gone = tx
        .run(
            "delete from sessile.session_cutoffs where user_id = 'ada'",
            "delete from session_cutoffs where user_id = 'ada'",
        )
        .await;
    assert_eq!(gone, 1);
    let logging_in = tokio::spawn({
        let (store, log_in) = (store.clone(), log_in("ada"));
        async move { store.log_in(&log_in).await.unwrap() }
    });
    until_waiting(&db, 1).await;
    tx.commit().await;
    admitted(logging_in.await.unwrap());
}

async fn a_log_in_that_waited_for_a_revocation_is_refused(db: Db, store: Arc<dyn Store>) {
    for is_of_all in [false, true] {
        for binds in [false, true] {
            let visitor = anonymous(&store).await;
            let log_in = if binds { log_in_to(&visitor, "ada") } else { log_in("ada") };
            let mut tx = Tx::begin(&db).await;
            match is_of_all {
                true => tx.revoke_all_of(&"".parse().unwrap()).await.unwrap(),
                false => tx.revoke_user("ada").await.unwrap(),
            };
            // The log-in began after the cut-off. It is refused because it had to wait for it.
            let log_in = LogIn { began: began(), ..log_in };
            let logging_in = tokio::spawn({
                let store = store.clone();
                async move { store.log_in(&log_in).await.unwrap() }
            });
            until_waiting(&db, 1).await;
            tx.commit().await;
            let outcome = logging_in.await.unwrap();
            if db.is_postgres() {
                assert!(is_refused(&outcome), "{outcome:?}");
                assert_eq!(store.count(&Realm::default(), Some("ada")).await.unwrap(), 0);
            }
            db.pass_for_cutoffs(minutes(1)).await;
            revoke(&store, &Scope::All).await;
            db.pass_for_cutoffs(minutes(1)).await;
        }
    }
}

async fn a_log_in_of_several_requests_is_refused_by_a_revocation_since_its_beginning(
    db: Db,
    store: Arc<dyn Store>,
) {
    for scope in [user("ada"), Scope::All] {
        let before = anonymous(&store).await.now;
        until_later(&db).await;
        revoke(&store, &scope).await;
        until_later(&db).await;
        let after = anonymous(&store).await.now;
        let at = |moment| LogIn { began: Began::At(moment), ..log_in("ada") };
        let outcome = store.log_in(&at(before)).await.unwrap();
        assert!(is_refused(&outcome), "{scope:?} {outcome:?}");
        admitted(store.log_in(&at(after)).await.unwrap());
        revoke(&store, &user("bob")).await;
        admitted(store.log_in(&at(after)).await.unwrap());
    }
}

/// The clock was set back since then, so nothing is known about later revocations.
async fn a_log_in_that_began_in_the_future_is_refused(_: Db, store: Arc<dyn Store>) {
    let now = logged_in(&store, "ada").await.now;
    let at = |ahead| LogIn { began: Began::At(now + ahead), ..log_in("ada") };
    let outcome = store.log_in(&at(TimeDelta::minutes(1))).await.unwrap();
    assert!(is_refused(&outcome), "{outcome:?}");
    admitted(store.log_in(&at(TimeDelta::zero())).await.unwrap());
}

async fn a_log_in_that_began_a_day_ago_is_refused(_: Db, store: Arc<dyn Store>) {
    let now = logged_in(&store, "ada").await.now;
    let at = |ago| LogIn { began: Began::At(now - ago), ..log_in("ada") };
    let outcome = store.log_in(&at(TimeDelta::days(1))).await.unwrap();
    assert!(is_refused(&outcome), "{outcome:?}");
    admitted(store.log_in(&at(TimeDelta::hours(23))).await.unwrap());
}

/// The revocation began first and ends last: its cut-off is the later one.
async fn a_revocation_that_waited_for_another_leaves_the_later_cut_off(
    db: Db,
    store: Arc<dyn Store>,
) {
    for scope in [user("ada"), Scope::All] {
        let key = scope.user_id().unwrap_or_default().to_owned();
        revoke(&store, &scope).await;
        let mut tx = Tx::begin(&db).await;
        tx.run(
            &format!("select from sessile.session_cutoffs where user_id = '{key}' for update"),
            "select 1",
        )
        .await;
        let revoking = tokio::spawn({
            let (store, scope) = (store.clone(), scope.clone());
            async move { revoke(&store, &scope).await.cutoff.unwrap() }
        });
        until_waiting(&db, 1).await;
        let earlier = match key.is_empty() {
            true => tx.revoke_all().await,
            false => tx.revoke_user(&key).await,
        };
        let earlier = earlier.unwrap().cutoff.unwrap();
        tx.commit().await;
        let later = revoking.await.unwrap();
        assert!(later >= earlier, "{later} {earlier}");
        assert_eq!(cutoff_of(&db, &key).await, later);
    }
}

async fn revocations_at_once_leave_the_last_cut_off(db: Db, store: Arc<dyn Store>) {
    let revocations: Vec<_> = (0..12)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { revoke(&store, &user("ada")).await.cutoff.unwrap() })
        })
        .collect();
    let mut cutoffs = Vec::new();
    for revocation in revocations {
        cutoffs.push(revocation.await.unwrap());
    }
    assert_eq!(cutoff_of(&db, "ada").await, *cutoffs.iter().max().unwrap());
}
