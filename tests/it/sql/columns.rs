//! On SQLite: the forms of a session's id, of a user's id and of a realm that the view `revocations` takes.

use sessile::SessionId;

use super::of_realm;
use crate::support::{Browser, Db};

async fn insert(db: &Db, columns: &str, values: &str) {
    db.run("", &format!("insert into revocations ({columns}) values ({values})")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_has_several_forms() {
    let db = Db::sqlite().await;
    let sessions = db.sessions().await;
    let forms: [fn(&str) -> String; 6] = [
        |id| format!("'{id}'"),
        |id| format!("'{}'", id.to_uppercase()),
        |id| format!("'{}'", id.replace('-', "")),
        |id| format!("'{}'", id.replace('-', "").to_uppercase()),
        |id| format!("x'{}'", id.replace('-', "")),
        |id| format!("(select id from active_sessions where id = '{id}')"),
    ];
    for form in forms {
        let (browser, id) = Browser::logged_in(&sessions, "ada").await;
        let (other, other_id) = Browser::logged_in(&sessions, "ada").await;
        let (id_form, others_form) = (form(&id.to_string()), form(&other_id.to_string()));
        insert(
            &db,
            "scope, user_id, session_id, reason",
            &format!("'others', 'ada', {id_form}, 'x'"),
        )
        .await;
        assert!(browser.is_in(&sessions).await && !other.is_in(&sessions).await, "{others_form}");
        insert(&db, "session_id, reason", &format!("{id_form}, 'x'")).await;
        assert!(!browser.is_in(&sessions).await, "{id_form}");
        db.pass_for_cutoffs(sessile::seconds(60)).await;
    }
    db.drop().await;
}

/// Every byte of an id is read, with each of its values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_has_any_bytes() {
    let db = Db::sqlite().await;
    let sessions = db.sessions().await;
    for start in (0..=255_u8).step_by(16) {
        let bytes: [u8; 16] = std::array::from_fn(|n| start + n as u8);
        for bytes in [bytes, {
            let mut back = bytes;
            back.reverse();
            back
        }] {
            let (_, id) = Browser::logged_in(&sessions, "ada").await;
            let new: SessionId = uuid::Uuid::from_bytes(bytes).into();
            let hex = |id: SessionId| id.to_string().replace('-', "");
            db.run(
                "",
                &format!("update sessions set id = x'{}' where id = x'{}'", hex(new), hex(id)),
            )
            .await;
            insert(&db, "session_id, reason", &format!("'{new}', 'x'")).await;
            assert_eq!(db.rows().await, 0, "{new}");
        }
    }
    db.drop().await;
}

/// SQLite keeps integers apart from texts, and the library writes the text of an integer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_integer_is_a_user() {
    let db = Db::sqlite().await;
    let sessions = db.sessions().await;
    for (user, value) in [(7, "7"), (7, "'7'"), (-1, "-1"), (i64::MAX, "9223372036854775807")] {
        let session = Browser::default().open(&sessions).await;
        session.log_in(user).await.unwrap();
        let early = Browser::default().open(&sessions).await;
        insert(&db, "user_id, reason", &format!("{value}, 'x'")).await;
        assert_eq!(db.rows().await, 0, "{value}");
        early.log_in(user).await.unwrap_err();
        db.pass_for_cutoffs(sessile::seconds(60)).await;
    }
    db.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_realm_is_the_default_one_if_it_is_left_out() {
    let db = Db::sqlite().await;
    let realms = ["", "5", "office"];
    for (columns, values, of) in [
        ("user_id, reason", "'ada', 'x'", ""),
        ("user_id, reason, realm", "'ada', 'x', null", ""),
        ("user_id, reason, realm", "'ada', 'x', ''", ""),
        ("user_id, reason, realm", "'ada', 'x', 'office'", "office"),
        ("user_id, reason, realm", "'ada', 'x', '5'", "5"),
        ("user_id, reason, realm", "'ada', 'x', 5", "5"),
        ("scope, reason", "'all', 'x'", ""),
        ("scope, reason, realm", "'all', 'x', 5", "5"),
    ] {
        let mut browsers = Vec::new();
        for realm in realms {
            let sessions = of_realm(&db, realm).await;
            browsers.push((realm, Browser::logged_in(&sessions, "ada").await.0, sessions));
        }
        db.delete_events().await;
        insert(&db, columns, values).await;
        for (realm, browser, sessions) in browsers {
            assert_eq!(
                browser.is_in(&sessions).await,
                realm != of,
                "{columns}: {values} in {realm}"
            );
        }
        let recorded =
            db.texts("", "select distinct realm || typeof(realm) from session_events").await;
        assert_eq!(recorded, [format!("{of}text")], "{columns}: {values}");
        db.pass_for_cutoffs(sessile::seconds(60)).await;
    }
    db.drop().await;
}

/// The policy for conflicts of the outer statement changes nothing, and several rows are several revocations.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_may_have_several_rows() {
    let db = Db::sqlite().await;
    let sessions = db.sessions().await;
    let used_at = "select coalesce(max(used_at), 0) from session_cutoffs where user_id = 'ada'";
    for or in ["", "or replace", "or ignore", "or fail", "or rollback"] {
        // Two, since the second one finds the row of the cut-off.
        for _ in 0..2 {
            let early = Browser::default().open(&sessions).await;
            Browser::logged_in(&sessions, "ada").await;
            Browser::logged_in(&sessions, "bob").await;
            let before = db.number("", used_at).await;
            let insert = format!(
                "insert {or} into revocations (user_id, reason) select distinct user_id, 'x' from sessions"
            );
            db.run("", &insert).await;
            assert_eq!(db.rows().await, 0, "{or}");
            early.log_in("ada").await.unwrap_err();
            let after = db.number("", used_at).await;
            assert!(after >= before, "{or}");
            db.run("", "update session_cutoffs set revoked_at = revoked_at - 60000").await;
        }
    }
    db.drop().await;
}
