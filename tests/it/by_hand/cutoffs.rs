//! Cut-offs that a person has edited.

use std::time::{Duration, Instant};

use sessile::Sessions;

use super::damage::update;
use crate::support::{Browser, Db, cases};

cases! {
    whatever_a_cut_off_says_it_refuses_one_log_in_at_most,
    no_cut_off_keeps_a_revocation_or_a_sweep_from_its_work,
}

const MOMENTS: [(&str, &str); 4] = [
    ("'infinity'", "9223372036854775807"),
    ("'-infinity'", "-9223372036854775808"),
    ("'280000-01-01'", "8800000000000000000"),
    ("'1900-01-01'", "-2208988800000"),
];

/// Of ada, and of everybody.
const KEYS: [&str; 2] = ["user_id = 'ada'", "user_id = ''"];

async fn set(db: &Db, column: &str, (postgres, sqlite): (&str, &str), key: &str) -> u64 {
    let [postgres, sqlite] = [postgres, sqlite].map(|moment| format!("{column} = {moment}"));
    update(db, "session_cutoffs", Some(&postgres), Some(&sqlite), key).await
}

/// One that may be refused. The next one begins later by more than an answer takes: a node does not know more precisely when
/// an authentication began.
async fn try_to_log_in(sessions: &Sessions) {
    let begun = Instant::now();
    Browser::default().open(sessions).await.log_in("ada").await.ok();
    tokio::time::sleep(begun.elapsed() * 2 + Duration::from_millis(3)).await;
}

async fn whatever_a_cut_off_says_it_refuses_one_log_in_at_most(db: Db) {
    let sessions = db.sessions().await;
    sessions.revoke_user("ada").await.unwrap();
    for column in ["revoked_at", "used_at"] {
        for moment in MOMENTS {
            for key in KEYS {
                assert_eq!(set(&db, column, moment, key).await, 1, "{key}");
                try_to_log_in(&sessions).await;
                let (browser, _) = Browser::logged_in(&sessions, "ada").await;
                assert!(browser.is_in(&sessions).await);
            }
        }
    }
}

async fn no_cut_off_keeps_a_revocation_or_a_sweep_from_its_work(db: Db) {
    let sessions = db.sessions().await;
    for column in ["revoked_at", "used_at"] {
        for moment in MOMENTS {
            Browser::logged_in(&sessions, "ada").await;
            for key in KEYS {
                set(&db, column, moment, key).await;
            }
            let slow = Browser::default().open(&sessions).await;
            assert_eq!(sessions.revoke_user("ada").await.unwrap().ended, 1);
            slow.log_in("ada").await.unwrap_err();
            for key in KEYS {
                set(&db, column, moment, key).await;
            }
            sessions.sweep().await.unwrap();
            // The sweep may have taken the row of everybody: it comes back.
            sessions.revoke_all().await.unwrap();
            try_to_log_in(&sessions).await;
            let (browser, _) = Browser::logged_in(&sessions, "ada").await;
            assert!(browser.is_in(&sessions).await);
            sessions.revoke_all().await.unwrap();
        }
    }
}
