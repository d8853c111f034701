//! A row that a person has edited is nobody else's trouble.

use std::{collections::HashSet, time::Duration};

use serde_json::json;
use sessile::{SessionId, Sessions};

use super::damage::{Damage, row, update};
use crate::support::{Browser, Db, cases, tap::Spy};

cases! {
    and_wrapped:
    a_statement_answers_for_the_others_too,
    requests_at_once_get_their_sessions,
    a_request_with_two_cookies_and_one_bad_row,
    a_list_shows_every_row_once,
    an_id_that_is_none,
}

/// One damaged row of each kind, and as many others between them.
async fn filled(
    db: &Db,
    sessions: &Sessions,
) -> (Vec<(Browser, SessionId)>, Vec<(Browser, SessionId)>) {
    let (mut good, mut bad) = (Vec::new(), Vec::new());
    for damage in Damage::all(db) {
        good.push(Browser::with(sessions, "a", json!(1)).await);
        let (browser, id) = Browser::logged_in(sessions, "ada").await;
        damage.to(db, id).await;
        bad.push((browser, id));
    }
    (good, bad)
}

async fn a_statement_answers_for_the_others_too(db: Db) {
    let (good, bad) = filled(&db, &db.sessions().await).await;
    let ids: Vec<_> = good.iter().chain(&bad).map(|(_, id)| *id).collect();
    let loaded = db.store().load(&ids).await.unwrap();
    assert_eq!(loaded.len(), ids.len());
    for (_, id) in good {
        let record = loaded.iter().find(|record| record.id == id).unwrap();
        assert_eq!((record.unreadable, &*record.data), (None, r#"{"a":1}"#));
    }
}

async fn requests_at_once_get_their_sessions(db: Db) {
    let spy = Spy::new();
    let sessions = db.tapped(&spy).build().unwrap();
    let (good, bad) = filled(&db, &sessions).await;
    spy.calls();
    let requests: Vec<_> = good
        .iter()
        .zip(&bad)
        .flat_map(|(good, bad)| [good.clone(), bad.clone()])
        .map(|(browser, id)| {
            let sessions = sessions.clone();
            tokio::spawn(async move { (browser.open(&sessions).await.id() == Some(id), id) })
        })
        .collect();
    let mut found = HashSet::new();
    for request in requests {
        let (is_found, id) = request.await.unwrap();
        found.extend(is_found.then_some(id));
    }
    assert!(good.iter().all(|(_, id)| found.contains(id)));
    // They shared statements.
    let statements: u32 = spy.calls().iter().map(|(_, calls)| calls).sum();
    assert!((statements as usize) < good.len(), "{statements}");
}

/// As with two live sessions: the request is nobody's, and a log-out ends both.
async fn a_request_with_two_cookies_and_one_bad_row(db: Db) {
    let sessions = db.sessions().await;
    for damage in Damage::unreadable(&db) {
        let (bad, id) = Browser::logged_in(&sessions, "ada").await;
        damage.to(&db, id).await;
        let (good, _) = Browser::logged_in(&sessions, "ada").await;
        let cookies = [bad, good].map(|browser| browser.cookie.unwrap());
        let open = || sessions.open(cookies.iter().map(String::as_bytes), sessile::Client::new());
        let session = open().await.unwrap();
        assert_eq!((session.id(), session.get::<u32>("a").unwrap()), (None, None));
        assert_eq!(session.log_out().await.unwrap().ended, 2, "{damage:?}");
        assert_eq!(db.rows().await, 0);
    }
}

/// Also where the log-ins of many are of the same impossible moment, and pages end between them.
async fn a_list_shows_every_row_once(db: Db) {
    let sessions = db.sessions().await;
    let mut ids = HashSet::new();
    for damage in Damage::of_its_user(&db) {
        let (_, id) = Browser::logged_in(&sessions, "ada").await;
        damage.to(&db, id).await;
        ids.insert(id);
    }
    const MOMENTS: [(&str, &str); 5] = [
        ("'infinity'", "9223372036854775807"),
        ("'-infinity'", "-9223372036854775808"),
        ("null", "null"),
        ("'20000-01-01'", "568971820800000"),
        ("'1960-01-01'", "-315619200000"),
    ];
    for (postgres, sqlite) in MOMENTS {
        for _ in 0..4 {
            let (_, id) = Browser::logged_in(&sessions, "ada").await;
            let [postgres, sqlite] =
                [postgres, sqlite].map(|at| format!("authenticated_at = {at}"));
            update(&db, "sessions", Some(&postgres), Some(&sqlite), &row(&db, id)).await;
            ids.insert(id);
        }
    }
    for limit in [1, 3, 100] {
        let all = sessions.of_user("ada").limit(limit).all();
        let all = tokio::time::timeout(Duration::from_secs(20), all).await;
        let all = all.expect("no page comes again").unwrap();
        let shown: HashSet<_> = all.iter().map(|info| info.id).collect();
        assert_eq!((all.len(), &shown), (ids.len(), &ids), "pages of {limit}");
        // A page's key is a text that may stand in a URL, whatever the moment.
        for info in all {
            let key = info.page_key().unwrap();
            assert_eq!(key.to_string().parse::<sessile::PageKey>().unwrap(), key);
            assert_eq!(sessions.find(info.id).await.unwrap().unwrap(), info);
        }
    }
}

/// Only SQLite lets a person make one.
async fn an_id_that_is_none(db: Db) {
    if db.is_postgres() {
        return;
    }
    let sessions = db.builder().await.sessions_per_user(2, sessile::OnLimit::EndOldest);
    let sessions = sessions.build().unwrap();
    for _ in 0..2 {
        let (_, id) = Browser::logged_in(&sessions, "ada").await;
        update(
            &db,
            "sessions",
            None,
            Some("id = cast(x'00' || secret_hash as blob)"),
            &row(&db, id),
        )
        .await;
    }
    let (_, id) = Browser::logged_in(&sessions, "ada").await;
    let shown = sessions.of_user("ada").limit(1).all().await.unwrap();
    assert_eq!(shown.iter().map(|info| info.id).collect::<Vec<_>>(), [id]);
    assert_eq!(db.rows().await, 2);
    assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 2);
}
