//! Which sessions end, and what is counted, recorded and cut off, by either path.

use serde_json::json;
use sessile::{SessionId, Sessions, days, hours};
use uuid::Uuid;

use super::{Event, Path, What, assert_events, both_paths, log_in, of_realm};
use crate::support::{Browser, Db};

both_paths! {
    one_session,
    one_session_of_another_realm,
    expired_sessions_are_recorded_as_expired,
    all_of_a_user,
    all_of_a_user_except_one,
    all_of_a_realm,
    users_and_realms_do_not_meet,
    a_user_without_a_session,
    the_cut_off_is_not_before_the_events,
    user_ids_are_any_text,
    a_cut_off_of_a_clock_that_was_set_back,
}

/// The sessions of one realm.
struct Rows {
    sessions: Sessions,
    ada: [SessionId; 2],
    bob: SessionId,
    nobody: SessionId,
}

impl Rows {
    async fn of(db: &Db, realm: &'static str) -> Self {
        let sessions = of_realm(db, realm).await;
        let mut ada = [log_in(&sessions, "ada").await.1, log_in(&sessions, "ada").await.1];
        ada.sort();
        let bob = log_in(&sessions, "bob").await.1;
        let (_, nobody) = Browser::with(&sessions, "n", json!(1)).await;
        db.delete_events().await;
        Self { sessions, ada, bob, nobody }
    }

    async fn left(&self, ids: &[SessionId]) {
        for id in [self.ada[0], self.ada[1], self.bob, self.nobody] {
            let is_left = self.sessions.find(id).await.unwrap().is_some();
            assert_eq!(is_left, ids.contains(&id), "{id}");
        }
    }

    async fn all_left(&self) {
        self.left(&[self.ada[0], self.ada[1], self.bob, self.nobody]).await;
    }
}

/// Ends sessions, and checks the count and the events.
async fn revoke(
    db: &Db,
    path: Path,
    realm: &str,
    what: What<'_>,
    ended: u64,
    expected: Vec<Event>,
) {
    let since = db.clock().await;
    let count = path.revoke(db, realm, what).await;
    assert_eq!(count.unwrap_or(ended), ended, "{what:?}");
    assert_events(db, since, expected).await;
}

/// The keys of all cut-offs that were written since then, and which of them the sweep keeps for ever.
async fn cutoffs(db: &Db, since: i64) -> Vec<String> {
    db.texts(
        &format!("select replace(user_id, chr(31), '/') || case when used_at = 'infinity' then ' for ever' else '' end
            from sessile.session_cutoffs
            where (extract(epoch from revoked_at) * 1000000)::bigint between {since} and (extract(epoch from clock_timestamp()) * 1000000)::bigint
            order by user_id collate \"C\""),
        &format!("select replace(user_id, char(31), '/') || iif(used_at = 9223372036854775807, ' for ever', '')
            from session_cutoffs
            where revoked_at between {since} + 1 and cast(round(unixepoch('subsec') * 1000) as integer) + 1
            order by user_id"),
    )
    .await
}

async fn one_session(db: Db, path: Path) {
    let rows = Rows::of(&db, "").await;
    let since = db.clock().await;
    let event = Event::revoked(&db, path, "", rows.ada[0], "ada");
    revoke(&db, path, "", What::One(rows.ada[0]), 1, vec![event]).await;
    rows.left(&[rows.ada[1], rows.bob, rows.nobody]).await;
    // There is no second time.
    revoke(&db, path, "", What::One(rows.ada[0]), 0, vec![]).await;
    revoke(&db, path, "", What::One(Uuid::now_v7().into()), 0, vec![]).await;
    let mut event = Event::revoked(&db, path, "", rows.nobody, "");
    (event.user_id, event.ip, event.user_agent) = (None, None, None);
    revoke(&db, path, "", What::One(rows.nobody), 1, vec![event]).await;
    rows.left(&[rows.ada[1], rows.bob]).await;
    assert!(cutoffs(&db, since).await.is_empty());
}

async fn one_session_of_another_realm(db: Db, path: Path) {
    let (shop, office) = (Rows::of(&db, "").await, Rows::of(&db, "office").await);
    for id in [office.ada[0], office.nobody] {
        revoke(&db, path, "", What::One(id), 0, vec![]).await;
        revoke(&db, path, "lab", What::One(id), 0, vec![]).await;
    }
    revoke(&db, path, "office", What::One(shop.bob), 0, vec![]).await;
    shop.all_left().await;
    office.all_left().await;
    let event = Event::revoked(&db, path, "office", office.bob, "bob");
    revoke(&db, path, "office", What::One(office.bob), 1, vec![event]).await;
}

async fn expired_sessions_are_recorded_as_expired(db: Db, path: Path) {
    for (reason, age) in [("idle timeout", hours(2)), ("absolute timeout", days(2))] {
        for shape in 0..4 {
            let rows = Rows::of(&db, "").await;
            db.pass(age).await;
            if reason == "absolute timeout" {
                // As if it had been used until its absolute timeout.
                db.run(
                    "update sessile.sessions set valid_until = absolute_expires_at, expires_at = absolute_expires_at",
                    "update sessions set valid_until = absolute_expires_at, expires_at = absolute_expires_at",
                )
                .await;
            }
            let of = |id, user_id| Event::expired("", id, user_id, reason);
            let [first, second] = rows.ada;
            let (mut expected, what) = match shape {
                0 => (vec![of(first, "ada")], What::One(first)),
                1 => (vec![of(first, "ada"), of(second, "ada")], What::User("ada")),
                2 => (vec![of(second, "ada")], What::Others("ada", first)),
                _ => (vec![of(first, "ada"), of(second, "ada"), of(rows.bob, "bob")], What::All),
            };
            match what {
                What::One(_) => {}
                What::User(user) | What::Others(user, _) => {
                    expected.push(Event::of_all(&db, path, "", Some(user)));
                }
                What::All => expected.push(Event::of_all(&db, path, "", None)),
            }
            let (before, deleted) = (db.rows().await, expected.len() as i64);
            revoke(&db, path, "", what, 0, expected).await;
            // One row for each event, except that everybody includes nobody.
            let left = match shape {
                0 => before - deleted,
                1 | 2 => before - deleted + 1,
                _ => 0,
            };
            assert_eq!(db.rows().await, left, "{what:?}");
            // An expired session of nobody is no event at all.
            revoke(&db, path, "", What::One(rows.nobody), 0, vec![]).await;
            db.run("delete from sessile.sessions", "delete from sessions").await;
            db.pass_for_cutoffs(hours(1)).await;
        }
    }
}

async fn all_of_a_user(db: Db, path: Path) {
    let rows = Rows::of(&db, "").await;
    let since = db.clock().await;
    let [first, second] = rows.ada.map(|id| Event::revoked(&db, path, "", id, "ada"));
    let all = Event::of_all(&db, path, "", Some("ada"));
    revoke(&db, path, "", What::User("ada"), 2, vec![first, second, all]).await;
    rows.left(&[rows.bob, rows.nobody]).await;
    assert_eq!(cutoffs(&db, since).await, ["ada"]);
}

async fn all_of_a_user_except_one(db: Db, path: Path) {
    let rows = Rows::of(&db, "").await;
    let since = db.clock().await;
    let [first, second] = rows.ada.map(|id| Event::revoked(&db, path, "", id, "ada"));
    let all = Event::of_all(&db, path, "", Some("ada"));
    let others = What::Others("ada", rows.ada[0]);
    revoke(&db, path, "", others, 1, vec![second, all.clone()]).await;
    rows.left(&[rows.ada[0], rows.bob, rows.nobody]).await;
    // There are no others any more.
    revoke(&db, path, "", others, 0, vec![all.clone()]).await;
    // The session to keep may be another user's.
    revoke(&db, path, "", What::Others("ada", rows.bob), 1, vec![first, all]).await;
    rows.left(&[rows.bob, rows.nobody]).await;
    assert_eq!(cutoffs(&db, since).await, ["ada"]);
}

async fn all_of_a_realm(db: Db, path: Path) {
    for realm in ["", "office"] {
        let (rows, other) = match realm {
            "" => (Rows::of(&db, "").await, Rows::of(&db, "office").await),
            _ => (Rows::of(&db, "office").await, Rows::of(&db, "lab").await),
        };
        let since = db.clock().await;
        let expected = vec![
            Event::revoked(&db, path, realm, rows.ada[0], "ada"),
            Event::revoked(&db, path, realm, rows.ada[1], "ada"),
            Event::revoked(&db, path, realm, rows.bob, "bob"),
            Event::of_all(&db, path, realm, None),
        ];
        revoke(&db, path, realm, What::All, 4, expected).await;
        rows.left(&[]).await;
        other.all_left().await;
        let key = if realm.is_empty() { " for ever" } else { "/office/ for ever" };
        assert_eq!(cutoffs(&db, since).await, [key]);
        db.run("delete from sessile.sessions", "delete from sessions").await;
        db.pass_for_cutoffs(hours(1)).await;
    }
}

async fn users_and_realms_do_not_meet(db: Db, path: Path) {
    let (shop, office) = (Rows::of(&db, "").await, Rows::of(&db, "office").await);
    let since = db.clock().await;
    // Names of keys, users and realms in each other's places.
    for (realm, user) in [("", "office"), ("ada", "office"), ("office", "office"), ("lab", "ada")] {
        let all = Event::of_all(&db, path, realm, Some(user));
        revoke(&db, path, realm, What::User(user), 0, vec![all.clone()]).await;
        revoke(&db, path, realm, What::Others(user, office.bob), 0, vec![all]).await;
    }
    let all = Event::of_all(&db, path, "", Some("\u{1f}office\u{1f}"));
    revoke(&db, path, "", What::User("\u{1f}office\u{1f}"), 0, vec![all]).await;
    revoke(&db, path, "lab", What::All, 0, vec![Event::of_all(&db, path, "lab", None)]).await;
    shop.all_left().await;
    office.all_left().await;
    let expected =
        ["///office/", "/ada/office", "/lab/ for ever", "/lab/ada", "/office/office", "office"];
    assert_eq!(cutoffs(&db, since).await, expected);
    // Nobody else is cut off.
    log_in(&shop.sessions, "ada").await;
    log_in(&office.sessions, "bob").await;
}

async fn a_user_without_a_session(db: Db, path: Path) {
    let rows = Rows::of(&db, "").await;
    let since = db.clock().await;
    let early = Browser::default().open(&rows.sessions).await;
    for what in [What::User("eve"), What::Others("eve", rows.bob)] {
        let all = Event::of_all(&db, path, "", Some("eve"));
        revoke(&db, path, "", what, 0, vec![all]).await;
    }
    rows.all_left().await;
    assert_eq!(cutoffs(&db, since).await, ["eve"]);
    early.log_in("eve").await.unwrap_err();
}

/// On SQLite it is a millisecond later, the precision of the clock: nothing that began in the same millisecond passes.
async fn the_cut_off_is_not_before_the_events(db: Db, path: Path) {
    let rows = Rows::of(&db, "").await;
    for what in [What::User("ada"), What::Others("bob", rows.bob), What::All] {
        path.revoke(&db, "", what).await;
        let fitting = db
            .number(
                "select count(*) from sessile.session_events as e join sessile.session_cutoffs as c on c.user_id = coalesce(e.user_id, '')
                    where e.session_id is null and e.at between c.revoked_at and c.revoked_at + interval '1 second'",
                "select count(*) from session_events_raw as e join session_cutoffs as c on c.user_id = coalesce(e.user_id, '')
                    where e.session_id is null and c.revoked_at = e.at + 1",
            )
            .await;
        assert_eq!(fitting, 1, "{what:?}");
        db.delete_events().await;
    }
}

async fn user_ids_are_any_text(db: Db, path: Path) {
    let long = "é".repeat(127) + "x";
    let ids = [
        "o'hara\"; drop table users; --",
        "user ada",
        "ada\nbob\t%s \\ $1 {}",
        "日本 🦀 e\u{301}",
        " ",
        "\u{1f}",
        "\u{1f}\u{1f}ada",
        "\u{1f}office\u{1f}ada",
        "0",
        "null",
        &long,
    ];
    for realm in ["", "office"] {
        let sessions = of_realm(&db, realm).await;
        let mut all = Vec::new();
        for user_id in ids {
            all.push((user_id, log_in(&sessions, user_id).await.1));
        }
        db.delete_events().await;
        for (user_id, id) in &all {
            let early = Browser::default().open(&sessions).await;
            let expected = vec![
                Event::revoked(&db, path, realm, *id, user_id),
                Event::of_all(&db, path, realm, Some(user_id)),
            ];
            revoke(&db, path, realm, What::User(user_id), 1, expected).await;
            early.log_in(*user_id).await.unwrap_err();
            db.delete_events().await;
        }
        let key = |user_id: &str| realm.parse::<sessile::Realm>().unwrap().cutoff_key(user_id);
        let mut keys: Vec<_> = ids.iter().map(|id| key(id)).collect();
        let mut stored = db
            .texts(
                "select user_id from sessile.session_cutoffs where revoked_at is not null",
                "select user_id from session_cutoffs where revoked_at is not null",
            )
            .await;
        keys.sort();
        stored.sort();
        assert_eq!(stored, keys);
        db.run(
            "delete from sessile.session_cutoffs where user_id <> ''",
            "delete from session_cutoffs where user_id <> ''",
        )
        .await;
    }
}

/// The database's clock was set back by an hour after the last cut-off. The next cut-off has the new time.
async fn a_cut_off_of_a_clock_that_was_set_back(db: Db, path: Path) {
    path.revoke(&db, "", What::User("ada")).await;
    db.run(
        "update sessile.session_cutoffs set revoked_at = revoked_at + interval '1 hour', used_at = used_at + interval '1 hour' where user_id = 'ada'",
        "update session_cutoffs set revoked_at = revoked_at + 3600000, used_at = used_at + 3600000 where user_id = 'ada'",
    )
    .await;
    let since = db.clock().await;
    path.revoke(&db, "", What::User("ada")).await;
    assert_eq!(cutoffs(&db, since).await, ["ada"]);
    // The row is kept as long as the later moment needs it.
    let kept = db
        .number(
            "select count(*) from sessile.session_cutoffs where user_id = 'ada' and used_at > clock_timestamp() + interval '30 minutes'",
            "select count(*) from session_cutoffs where user_id = 'ada' and used_at > cast(round(unixepoch('subsec') * 1000) as integer) + 1800000",
        )
        .await;
    assert_eq!(kept, 1);
}
