//! What makes a row strange and leaves it readable: every call works on it.

use std::time::Duration;

use serde::de::IgnoredAny;
use serde_json::json;
use sessile::{Result, Session};

use super::damage::Damage;
use crate::support::{Browser, Db, cases};

cases! { and_wrapped: every_call_works_on_a_strange_row, a_log_in_works_on_a_strange_row }

async fn every_call_works_on_a_strange_row(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::harmless(&db) {
        let (mut browser, id) = Browser::logged_in(&sessions, "ada").await;
        damage.to(&db, id).await;
        let session = browser.open(&sessions).await;
        assert_eq!((session.id(), session.user_id().as_deref()), (Some(id), Some("ada")));
        every_call(&session).await.unwrap_or_else(|error| panic!("{damage:?}: {error:?}"));
        browser.finish(&session).await;

        let session = browser.open(&sessions).await;
        assert_eq!(session.id(), Some(id), "{damage:?}");
        assert_eq!(session.get("saved").unwrap(), Some(1), "{damage:?}");
        assert_eq!(session.get("updated").unwrap(), Some(1), "{damage:?}");
        session.log_out().await.unwrap();
    }
}

async fn every_call(session: &Session) -> Result<()> {
    session.created_at();
    session.authenticated_at();
    session.expires_at();
    session.pending_log_in();
    session.keys();
    session.get::<IgnoredAny>("deep")?;
    session.data::<std::collections::BTreeMap<String, IgnoredAny>>()?;
    session.require_recent(Duration::from_secs(60)).ok();
    session.insert("saved", 1)?;
    session.insert("other", 1)?;
    session.save().await?;
    assert!(session.remove("other"));
    session.save().await?;
    session.update("updated", |n: &mut u32| *n += 1).await?;
    session.insert("flash", 1)?;
    session.save().await?;
    assert_eq!(session.take("flash").await?, Some(1));
    session.refresh().await?;
    assert!(session.devices().await?.iter().any(|device| device.current));
    session.renew().await?;
    session.reauthenticate().await?;
    session.begin_log_in().user("ada").await?;
    session.complete_log_in().await?;
    session.log_out_others().await?;
    Ok(())
}

async fn a_log_in_works_on_a_strange_row(db: Db) {
    let sessions = db.sessions().await;
    // A visitor with a log-in would be a contradiction.
    let of_visitors = |damage: &Damage| !damage.sqlite.unwrap().starts_with("authenticated_at");
    for damage in Damage::harmless(&db).filter(of_visitors) {
        let (mut browser, id) = Browser::with(&sessions, "cart", json!("tea")).await;
        damage.to(&db, id).await;
        let session = browser.open(&sessions).await;
        session.log_in("ada").await.unwrap_or_else(|error| panic!("{damage:?}: {error:?}"));
        browser.finish(&session).await;
        let session = browser.open(&sessions).await;
        assert_eq!((session.id(), session.user_id().as_deref()), (Some(id), Some("ada")));
        session.log_out_everywhere().await.unwrap();
    }
}
