//! `list`, `show`, `events`.

use serde_json::{Value, json};

use crate::{
    program::{done, on, rows, run},
    support::{self, Db, log_in, visit},
};

support::cases! {
    a_users_sessions_are_listed,
    each_condition_of_a_list_is_passed_on,
    pages_join,
    a_session_is_shown_with_its_events,
    a_session_that_ended_is_shown_by_its_events,
    events_are_listed,
    json_is_one_array_without_secrets,
    what_a_browser_sends_cannot_harm_a_terminal_or_a_spreadsheet,
    what_a_reason_says_cannot_harm_a_terminal_or_a_spreadsheet,
    reading_writes_nothing,
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

async fn a_users_sessions_are_listed(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    log_in(&sessions, "bob", "203.0.113.8", FIREFOX).await;
    let table = done(&db, &["list", "--user", "ada"]);
    let row = table.lines().find(|line| line.contains(&id.to_string())).unwrap();
    for part in ["ada", "203.0.113.7", "ago", "in ", "(X11; Linux"] {
        assert!(row.contains(part), "{part}: {table}");
    }
    assert!(!table.contains("bob"));
    let none = run(on(&db, &["list", "--user", "nobody"]));
    assert_eq!(
        (none.code, none.out.as_str(), none.err.as_str()),
        (0, "", "No live session fits.\n")
    );
    assert_eq!(rows(&db, &["list", "--user", "nobody"]), Vec::<Value>::new());
}

async fn each_condition_of_a_list_is_passed_on(db: Db) {
    let sessions = db.sessions().await;
    let old = log_in(&sessions, "old", "203.0.113.7", FIREFOX).await;
    db.run("update sessions set created_at = created_at - 7200 * {s}, last_seen_at = last_seen_at - 600 * {s}").await;
    let new = log_in(&sessions, "new", "2001:db8::1", FIREFOX).await;
    let anonymous = visit(&sessions).await;
    let office = log_in(&db.sessions_of("office").await, "office", "203.0.113.9", FIREFOX).await;
    for (args, expected) in [
        (&["--older-than", "1h"][..], vec![old]),
        (&["--younger-than", "1h"], vec![office, anonymous, new]),
        (&["--idle", "5m"], vec![old]),
        (&["--ip", "2001:DB8:0::1"], vec![new]),
        (&["--anonymous"], vec![anonymous]),
        (&["--logged-in"], vec![office, new, old]),
        (&["--realm", "office"], vec![office]),
        (&["--limit", "2"], vec![office, anonymous]),
    ] {
        let found = rows(&db, &[&["list"], args].concat());
        let ids: Vec<_> = found.iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, expected.iter().map(ToString::to_string).collect::<Vec<_>>(), "{args:?}");
    }
    let said = run(on(&db, &["list", "--anonymous"])).err;
    assert!(said.contains("no index"), "it says that it scans: {said}");
    let silent = run(on(&db, &["list", "--user", "new"])).err;
    assert_eq!(silent, "");
}

async fn pages_join(db: Db) {
    let sessions = db.sessions().await;
    for _ in 0..5 {
        log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    }
    for list in [&["list", "--user", "ada"][..], &["events"], &["events", "--event", "logged_in"]] {
        let whole = rows(&db, list);
        assert_eq!(whole.len(), 5);
        assert_eq!(rows(&db, &[list, &["--limit", "2", "--all"]].concat()), whole);
        let first = run(on(&db, &[list, &["--limit", "2", "--json"]].concat()));
        let after = first.err.trim().rsplit_once("--after ").unwrap().1.to_owned();
        let second = rows(&db, &[list, &["--limit", "2", "--after", &after]].concat());
        assert_eq!(second, whole[2..4]);
        // The header comes once.
        let csv = done(&db, &[list, &["--limit", "2", "--all", "--csv"]].concat());
        assert_eq!(csv.lines().count(), 6, "{csv}");
    }
}

async fn a_session_is_shown_with_its_events(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await.to_string();
    let shown = done(&db, &["show", &id]);
    for part in [&id, "ada", "203.0.113.7", FIREFOX, "logged_in", "remembered"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let found = rows(&db, &["show", &id]);
    assert_eq!((found.len(), &found[0]["user_id"]), (1, &json!("ada")));
    let anonymous = visit(&sessions).await.to_string();
    assert!(done(&db, &["show", &anonymous]).contains("(anonymous)"));
}

async fn a_session_that_ended_is_shown_by_its_events(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    sessions.revoke(id.into()).reason("a test").await.unwrap();
    let shown = run(on(&db, &["show", &id.to_string()]));
    assert_eq!(shown.code, 0);
    assert!(shown.err.contains("not live"), "{shown:?}");
    assert!(shown.out.contains("revoked") && shown.out.contains("a test"), "{shown:?}");
    let absent = run(on(&db, &["show", &uuid::Uuid::now_v7().to_string()]));
    assert_eq!(absent.code, 4);
    let absent = run(on(&db, &["show", "--json", &id.to_string()]));
    assert_eq!((absent.code, absent.out.as_str()), (4, "[]\n"));
}

async fn events_are_listed(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await.to_string();
    log_in(&sessions, "bob", "203.0.113.8", FIREFOX).await;
    sessions.revoke_user("ada").reason("a test").actor("support").await.unwrap();
    for (args, expected) in [
        (&["--user", "ada"][..], 3),
        (&["--session", &id], 2),
        (&["--event", "revoked", "--event", "expired"], 2),
        (&["--actor", "supp"], 2),
        (&["--since", "1h"], 4),
        (&["--realm", "office"], 0),
        (&[], 4),
    ] {
        assert_eq!(rows(&db, &[&["events"], args].concat()).len(), expected, "{args:?}");
    }
    let table = done(&db, &["events", "--user", "ada"]);
    assert!(table.contains("a test") && table.contains("support"), "{table}");
    let unknown = run(on(&db, &["events", "--event", "hacked"]));
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("logged_in"), "it names the events: {unknown:?}");
}

async fn json_is_one_array_without_secrets(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await.to_string();
    for args in [&["list"][..], &["show", &id], &["events"], &["stats"], &["migrate", "status"]] {
        let rows = rows(&db, args);
        assert!(!rows.is_empty(), "{args:?}");
        for row in &rows {
            for name in row.as_object().unwrap().keys() {
                let name = name.to_lowercase();
                assert!(
                    !name.contains("hash") && !name.contains("secret") && name != "data",
                    "{args:?}: {name}"
                );
            }
        }
    }
    let row = &rows(&db, &["list"])[0];
    assert_eq!(row["id"], json!(id));
    assert_eq!(
        (&row["user_id"], &row["realm"], &row["remembered"]),
        (&json!("ada"), &json!(""), &json!(false))
    );
    let at = row["created_at"].as_str().unwrap();
    assert!(chrono::DateTime::parse_from_rfc3339(at).is_ok() && at.ends_with('Z'), "{at}");
}

async fn what_a_browser_sends_cannot_harm_a_terminal_or_a_spreadsheet(db: Db) {
    let sessions = db.sessions().await;
    let user = "=cmd|' /C calc'!A0";
    let id = log_in(&sessions, user, "203.0.113.7", "plain").await.to_string();
    // The library removes control characters. A person, or an old release, may have written some.
    let agent = "\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}@SUM(A1)";
    let agent = if db.is_postgres() {
        format!("'{agent}'")
    } else {
        format!("cast(x'{}' as text)", hex(agent))
    };
    db.run(&format!("update sessions set user_agent = {agent}")).await;
    for args in [
        &["list"][..],
        &["list", "--csv"],
        &["list", "--json"],
        &["show", &id],
        &["events", "--csv"],
    ] {
        let out = done(&db, args);
        let harmful = |char: char| (char.is_control() && char != '\n') || char == '\u{202e}';
        assert!(!out.contains(harmful), "{args:?}: {out:?}");
        assert!(out.contains(&id));
    }
    let csv = done(&db, &["list", "--csv"]);
    assert!(csv.contains(",'=cmd|"), "{csv}");
    let rows = rows(&db, &["list"]);
    assert_eq!(rows[0]["user_id"], json!(user), "JSON has the value itself");
    assert!(rows[0]["user_agent"].as_str().unwrap().starts_with("\u{1b}]0;owned"));
}

/// The library refuses control characters in a reason. A person who writes SQL may not.
async fn what_a_reason_says_cannot_harm_a_terminal_or_a_spreadsheet(db: Db) {
    db.sessions().await;
    let text = |text: &str| match db.is_postgres() {
        true => format!("convert_from('\\x{}', 'UTF8')", hex(text)),
        false => format!("cast(x'{}' as text)", hex(text)),
    };
    let user = "+1\u{1b}[31m\nforged";
    let (reason, actor) =
        ("=HYPERLINK(\"http://evil.example\")\u{1b}]0;owned\u{7}", "-1\u{9b}2J\u{202e}");
    let values = [user, reason, actor].map(text).join(", ");
    db.run(&format!("insert into session_event_log (at, event, user_id, reason, actor) values ({{now}}, 'revoked', {values})")).await;
    for args in [&["events"][..], &["events", "--csv"], &["events", "--json"]] {
        let out = done(&db, args);
        let harmful = |char: char| (char.is_control() && char != '\n') || char == '\u{202e}';
        assert!(!out.contains(harmful), "{args:?}: {out:?}");
        assert!(out.contains("HYPERLINK") && !out.lines().any(|line| line.starts_with("forged")));
    }
    let csv = done(&db, &["events", "--csv"]);
    for cell in ["'=HYPERLINK", "'-1", "'+1"] {
        assert!(csv.contains(cell), "{cell}: {csv}");
    }
    let wrong = run(on(&db, &["events", "--after", "'; drop table sessions; --"]));
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

fn hex(text: &str) -> String {
    text.bytes().map(|byte| format!("{byte:02x}")).collect()
}

async fn reading_writes_nothing(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await.to_string();
    let commands: [&[&str]; 8] = [
        &["list"],
        &["show", &id],
        &["events"],
        &["stats"],
        &["doctor"],
        &["migrate", "status"],
        &["migrate", "run", "--sql"],
        &["cleanup", "--dry-run"],
    ];
    if db.is_postgres() {
        // The server refuses every write of this role.
        db.run(
            "alter database current set default_transaction_read_only = on"
                .replace("current", db.url.rsplit_once('/').unwrap().1)
                .as_str(),
        )
        .await;
        for args in commands {
            assert!(run(on(&db, args)).code < 2, "{args:?}");
        }
        return;
    }
    // SQLite deletes the log when the last connection has written it into the file.
    drop(sessions);
    let log = db.folder().join("sessions.db-wal");
    for _ in 0..500 {
        if !log.exists() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(!log.exists());
    let content = || {
        ["sessions.db", "sessions.db-wal"]
            .map(|name| std::fs::read(db.folder().join(name)).unwrap_or_default())
    };
    let before = content();
    for args in commands {
        assert!(run(on(&db, args)).code < 2, "{args:?}");
        assert_eq!(content(), before, "{args:?}");
    }
}
