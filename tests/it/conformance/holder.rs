//! A statement on behalf of a session acts only while the session's row is live and still has the secret that
//! the request came with.

use std::{sync::Arc, time::Instant};

use sessile::store::{
    Began, End, Holder, LogIn, Page, Reauthentication, Record, Renewal, Revoke, Save, Scope, Store,
    Touch,
};

use super::{
    conformance,
    make::{
        admitted, anonymous, by_application, hash, holder, listed, log_in, log_in_to, logged_in,
        now, one, page, reauthentication, renewal, save, touch,
    },
};
use crate::support::Db;

conformance! {
    a_holder_acts_for_its_user,
    a_holder_whose_secret_was_replaced_does_nothing,
    a_holder_with_a_wrong_secret_does_nothing,
    a_holder_whose_row_is_gone_does_nothing,
    a_holder_whose_row_has_expired_does_nothing,
    a_holder_does_nothing_for_another_user,
    an_anonymous_holder_does_nothing_for_a_user,
}

/// Every action of a holder for the user, and whether it succeeded.
#[derive(Debug, Default, PartialEq)]
struct Done {
    save: bool,
    touch: bool,
    renew: bool,
    reauthenticate: bool,
    list: bool,
    end_other: bool,
    revoke_others: bool,
    revoke_user: bool,
    end_itself: bool,
}

const NOTHING: Done = Done {
    save: false,
    touch: false,
    renew: false,
    reauthenticate: false,
    list: false,
    end_other: false,
    revoke_others: false,
    revoke_user: false,
    end_itself: false,
};

/// Tries all actions with the holder's secret, in an order in which none prevents the next. `record` is the
/// row as it was read.
async fn try_all(db: &Db, store: &Arc<dyn Store>, holder: Holder, record: &Record) -> Done {
    let user_id = record.user_id.clone().unwrap();
    let other = logged_in(store, &user_id).await;
    let mut done = Done::default();

    let by = Page { by: Some(holder), ..page(&user_id) };
    done.list = !store.list(&by).await.unwrap().is_empty();
    let before = now(store, holder.id).await.map(|record| record.lifetime);
    store.touch(&[Touch { holder, ..touch(record, 60) }]).await.unwrap();
    db.heard().await;
    done.touch = now(store, holder.id).await.map(|record| record.lifetime) != before;
    let save = Save { holder, ..save(record, r#"{"by":"holder"}"#) };
    done.save = !store.save(&[save]).await.unwrap().done.is_empty();
    let end = |id, user_id| End { by: Some(holder), user_id, ..one(id) };
    done.end_other =
        !store.end(&[end(other.id, Some(user_id.clone()))]).await.unwrap().done.is_empty();

    let began = Began::Here(Instant::now());
    let revoke = |scope| Revoke {
        realm: record.realm.clone(),
        scope,
        by: Some(holder),
        cause: by_application(),
    };
    let others = revoke(Scope::OthersOf(user_id.clone(), holder.id));
    done.revoke_others = store.revoke(&others).await.unwrap().is_some();
    if !done.revoke_others {
        // And no cut-off was written.
        let late = LogIn { began, ..log_in(&user_id) };
        admitted(store.log_in(&late).await.unwrap());
    }
    let renewal = Renewal { holder, ..renewal(record) };
    done.renew = store.renew(&renewal).await.unwrap();
    let holder =
        if done.renew { Holder { secret_hash: renewal.new_hash, ..holder } } else { holder };
    let mut to = Reauthentication { user_id: user_id.clone(), ..reauthentication(record) };
    to.renewal.holder = holder;
    done.reauthenticate = store.reauthenticate(&to).await.unwrap().is_some();
    let holder = if done.reauthenticate {
        Holder { secret_hash: to.renewal.new_hash, ..holder }
    } else {
        holder
    };
    let itself = End { by: Some(holder), ..one(holder.id) };
    done.end_itself = !store.end(&[itself]).await.unwrap().done.is_empty();
    let all = Revoke {
        realm: record.realm.clone(),
        scope: Scope::User(user_id),
        by: Some(holder),
        cause: by_application(),
    };
    done.revoke_user = store.revoke(&all).await.unwrap().is_some();
    done
}

/// The row is unchanged.
async fn is_unchanged(store: &Arc<dyn Store>, before: &Record) {
    let after = now(store, before.id).await.expect("the row is there");
    assert!(after.secret_hash.matches(&before.secret_hash));
    assert_eq!((&after.data, after.revision), (&before.data, before.revision));
    assert_eq!(after.lifetime, before.lifetime);
    assert_eq!(after.authenticated_at, before.authenticated_at);
    assert_eq!(after.twins.len(), before.twins.len());
}

async fn a_holder_acts_for_its_user(db: Db, store: Arc<dyn Store>) {
    let record = logged_in(&store, "ada").await;
    let done = try_all(&db, &store, holder(&record), &record).await;
    let all = Done {
        save: true,
        touch: true,
        renew: true,
        reauthenticate: true,
        list: true,
        end_other: true,
        revoke_others: true,
        // The session has just ended itself.
        revoke_user: false,
        end_itself: true,
    };
    assert_eq!(done, all);
    let last = logged_in(&store, "ada").await;
    let revoke = Revoke {
        realm: last.realm.clone(),
        scope: Scope::User("ada".to_owned()),
        by: Some(holder(&last)),
        cause: by_application(),
    };
    assert_eq!(store.revoke(&revoke).await.unwrap().unwrap().ended, 1);
}

async fn a_holder_whose_secret_was_replaced_does_nothing(db: Db, store: Arc<dyn Store>) {
    for how in ["renewed", "authenticated again", "logged in again"] {
        let old = logged_in(&store, "ada").await;
        match how {
            "renewed" => assert!(store.renew(&renewal(&old)).await.unwrap()),
            "authenticated again" => {
                store.reauthenticate(&reauthentication(&old)).await.unwrap().unwrap();
            }
            _ => drop(admitted(store.log_in(&log_in_to(&old, "ada")).await.unwrap())),
        }
        let new = now(&store, old.id).await.unwrap();
        let as_if_read_now = Record { secret_hash: old.secret_hash, ..new.clone() };
        let done = try_all(&db, &store, holder(&old), &as_if_read_now).await;
        assert_eq!(done, NOTHING, "{how}");
        is_unchanged(&store, &new).await;
        assert_eq!(listed(&store, "ada").await.len(), 3, "{how}");
        db.run("delete from sessile.sessions", "delete from sessions").await;
    }
}

async fn a_holder_with_a_wrong_secret_does_nothing(db: Db, store: Arc<dyn Store>) {
    let record = logged_in(&store, "ada").await;
    let guessed = Holder { secret_hash: hash(), ..holder(&record) };
    assert_eq!(try_all(&db, &store, guessed, &record).await, NOTHING);
    is_unchanged(&store, &record).await;
}

async fn a_holder_whose_row_is_gone_does_nothing(db: Db, store: Arc<dyn Store>) {
    let record = logged_in(&store, "ada").await;
    store.end(&[one(record.id)]).await.unwrap();
    assert_eq!(try_all(&db, &store, holder(&record), &record).await, NOTHING);
    assert!(now(&store, record.id).await.is_none());
    assert_eq!(listed(&store, "ada").await.len(), 2);
}

async fn a_holder_whose_row_has_expired_does_nothing(db: Db, store: Arc<dyn Store>) {
    let record = logged_in(&store, "ada").await;
    db.run(
        "update sessile.sessions set valid_until = now()",
        "update sessions set valid_until = round(unixepoch('subsec') * 1000)",
    )
    .await;
    assert_eq!(try_all(&db, &store, holder(&record), &record).await, NOTHING);
    assert!(now(&store, record.id).await.is_none());
    assert_eq!(listed(&store, "ada").await.len(), 2);
}

async fn a_holder_does_nothing_for_another_user(_: Db, store: Arc<dyn Store>) {
    let (ada, bob) = (logged_in(&store, "ada").await, logged_in(&store, "bob").await);
    does_nothing_for(&store, holder(&ada), &bob).await;
    is_unchanged(&store, &ada).await;
    is_unchanged(&store, &bob).await;
}

async fn an_anonymous_holder_does_nothing_for_a_user(_: Db, store: Arc<dyn Store>) {
    let (nobody, bob) = (anonymous(&store).await, logged_in(&store, "bob").await);
    does_nothing_for(&store, holder(&nobody), &bob).await;
    is_unchanged(&store, &nobody).await;
    is_unchanged(&store, &bob).await;
}

/// A valid holder, acting for the user of another session or for everybody.
async fn does_nothing_for(store: &Arc<dyn Store>, holder: Holder, theirs: &Record) {
    let user_id = theirs.user_id.clone().unwrap();
    let by = Some(holder);
    let began = Began::Here(Instant::now());
    let end = End { by, user_id: Some(user_id.clone()), ..one(theirs.id) };
    assert_eq!(store.end(&[end]).await.unwrap().done, []);
    let list = Page { by, ..page(&user_id) };
    assert_eq!(store.list(&list).await.unwrap(), []);
    let scopes = [
        Scope::User(user_id.clone()),
        Scope::OthersOf(user_id.clone(), holder.id),
        Scope::OthersOf(user_id.clone(), theirs.id),
        Scope::All,
    ];
    for scope in scopes {
        let revoke = Revoke { realm: theirs.realm.clone(), scope, by, cause: by_application() };
        assert!(store.revoke(&revoke).await.unwrap().is_none());
    }
    let mut to = Reauthentication { user_id: user_id.clone(), ..reauthentication(theirs) };
    to.renewal.holder = holder;
    assert!(store.reauthenticate(&to).await.unwrap().is_none());
    // No cut-off was written.
    let late = LogIn { began, ..log_in(&user_id) };
    let late = admitted(store.log_in(&late).await.unwrap());
    store.end(&[one(late.id)]).await.unwrap();
}
