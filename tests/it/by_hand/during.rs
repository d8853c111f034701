//! A row that is edited while a request holds it, or while a newer cookie is on its way.

use serde_json::json;
use sessile::ErrorKind;

use super::damage::Damage;
use crate::support::{Browser, Db, cases};

cases! {
    and_wrapped:
    a_row_that_is_edited_during_a_request,
    a_superseded_request_of_an_unreadable_row,
}

async fn a_row_that_is_edited_during_a_request(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::unreadable(&db) {
        let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
        let (session, other) = (browser.open(&sessions).await, browser.open(&sessions).await);
        let leaving = browser.open(&sessions).await;
        // Another request writes, so that this one has to read the row again.
        other.insert("a", json!(1)).unwrap();
        other.save().await.unwrap();
        damage.to(&db, id).await;
        damage.check(&session.update("a", |n: &mut u32| *n += 1).await.unwrap_err(), id);
        damage.check(&session.refresh().await.unwrap_err(), id);

        // A log-in either puts it right or begins another session.
        session.log_in("ada").await.unwrap_or_else(|error| panic!("{damage:?}: {error:?}"));
        browser.finish(&session).await;
        let session = browser.open(&sessions).await;
        assert_eq!(session.user_id().as_deref(), Some("ada"), "{damage:?}");
        session.insert("b", 1).unwrap();
        browser.finish(&session).await;
        leaving.log_out().await.ok();
        sessions.revoke_all().await.unwrap();

        let (browser, id) = Browser::logged_in(&sessions, "ada").await;
        let session = browser.open(&sessions).await;
        damage.to(&db, id).await;
        assert_eq!(session.log_out().await.unwrap().ended, 1, "{damage:?}");
        assert_eq!(db.rows().await, 0);
    }
}

/// It sees nothing of the row anyway, and its user can log in.
async fn a_superseded_request_of_an_unreadable_row(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::unreadable(&db).chain(Damage::hash(&db)) {
        let (mut late, id) = Browser::logged_in(&sessions, "ada").await;
        let (session, slow) = (late.open(&sessions).await, late.open(&sessions).await);
        session.renew().await.unwrap();
        damage.to(&db, id).await;
        assert_eq!(slow.refresh().await.unwrap_err().kind(), ErrorKind::Superseded, "{damage:?}");
        let session = late.open(&sessions).await;
        assert!(session.is_superseded(), "{damage:?}");
        session.log_in("ada").await.unwrap_or_else(|error| panic!("{damage:?}: {error:?}"));
        late.finish(&session).await;
        let session = late.open(&sessions).await;
        assert_eq!(session.user_id().as_deref(), Some("ada"), "{damage:?}");
    }
}
