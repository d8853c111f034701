//! A user's id as text, as a number and as a UUID: every call that takes one means the same user.

use std::{borrow::Cow, fmt::Debug, str::FromStr};

use sessile::{ErrorKind, UserId};
use uuid::Uuid;

use crate::{
    support::{Browser, Db, cases},
    tx::Tx,
};

cases! {
    every_call_means_the_same_user,
    an_id_of_the_applications_own_type,
    an_id_that_no_database_can_hold_is_refused_by_every_call,
}

/// The user `T` and the same user by the text.
async fn means_the_same<T>(db: &Db, user: T, text: &str)
where
    T: UserId + FromStr + Clone + Debug + PartialEq + Sync,
{
    let sessions = db.sessions().await;
    // Before the revocations, which refuse a log-in that began in the same millisecond.
    let mut browser = Browser::default();
    let session = browser.open(&sessions).await;
    session.begin_log_in().user(&user).await.unwrap();
    let pending = session.pending_log_in().unwrap();
    assert_eq!(pending.user_id_as::<T>().unwrap(), Some(user.clone()));
    session.complete_log_in_as(&user).await.unwrap();
    browser.finish(&session).await;

    let mut browsers = vec![(browser, session.id().unwrap())];
    for _ in 0..2 {
        let mut browser = Browser::default();
        let session = browser.open(&sessions).await;
        session.log_in(&user).await.unwrap();
        browser.finish(&session).await;
        assert_eq!(session.user_id().as_deref(), Some(text));
        assert_eq!(session.user_id_as::<T>().unwrap(), Some(user.clone()));
        browsers.push((browser, session.id().unwrap()));
    }
    let listed = sessions.of_user(&user).await.unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(listed[0].user_id_as::<T>().unwrap(), Some(user.clone()));
    assert_eq!(sessions.count_of_user(&user).await.unwrap(), 3);
    assert_eq!(sessions.revoke_others(&user, browsers[0].1).await.unwrap().ended, 2);
    assert_eq!(sessions.revoke_user(&user).await.unwrap().ended, 1);

    let (browser, _) = Browser::logged_in(&sessions, text).await;
    let mut tx = Tx::begin(db).await;
    let revocation = tx.revoke_user(&user).await;
    assert_eq!(revocation.unwrap().ended, 1);
    tx.commit().await;
    assert!(!browser.is_in(&sessions).await);
}

async fn every_call_means_the_same_user(db: Db) {
    means_the_same(&db, "ada".to_owned(), "ada").await;
    means_the_same(&db, 7_i32, "7").await;
    means_the_same(&db, i64::MIN, "-9223372036854775808").await;
    means_the_same(&db, u128::MAX, "340282366920938463463374607431768211455").await;
    means_the_same(&db, Uuid::from_u128(0xa1), "00000000-0000-0000-0000-0000000000a1").await;
}

/// A type of an application's, which has a text of its own.
#[derive(Clone, Debug, PartialEq)]
struct Customer(u32);

impl UserId for Customer {
    fn text(&self) -> Cow<'_, str> {
        format!("customer-{}", self.0).into()
    }
}

impl FromStr for Customer {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = text.strip_prefix("customer-").ok_or(())?;
        number.parse().map(Self).map_err(drop)
    }
}

async fn an_id_of_the_applications_own_type(db: Db) {
    means_the_same(&db, Customer(12), "customer-12").await;

    let sessions = db.sessions().await;
    let (browser, _) = Browser::logged_in(&sessions, "customer-012").await;
    let session = browser.open(&sessions).await;
    // `log_in(Customer(12))` is about another user.
    let error = session.user_id_as::<Customer>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongType);
    assert_eq!(session.user_id_as::<String>().unwrap().as_deref(), Some("customer-012"));
    assert_eq!(Browser::default().open(&sessions).await.user_id_as::<Customer>().unwrap(), None);
}

async fn an_id_that_no_database_can_hold_is_refused_by_every_call(db: Db) {
    let sessions = db.sessions().await;
    let (_, id) = Browser::logged_in(&sessions, "ada").await;
    let session = Browser::default().open(&sessions).await;
    for user in ["", "a\0b", &"x".repeat(256)] {
        let mut tx = Tx::begin(&db).await;
        let refused = [
            session.log_in(user).await.map(drop),
            session.begin_log_in().user(user).await.map(drop),
            sessions.of_user(user).await.map(drop),
            sessions.of_user(user).all().await.map(drop),
            sessions.count_of_user(user).await.map(drop),
            sessions.revoke_user(user).await.map(drop),
            sessions.revoke_others(user, id).await.map(drop),
            tx.revoke_user(user).await.map(drop),
            tx.revoke_others(user, id).await.map(drop),
        ];
        for refused in refused {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidUserId, "{user:?}");
        }
    }
    assert_eq!(db.rows().await, 1);
}
