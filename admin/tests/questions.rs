//! Every question on both databases.

#![allow(clippy::unwrap_used)]

mod support;

#[path = "../../tests/support/shipped.rs"]
mod shipped;

use sessile_admin::{
    Bucket, Count, Database, ErrorKind, EventFilter, MigrationState, Session, SessionFilter, User,
};
use uuid::Uuid;

use self::{
    shipped::Shipped,
    support::{Db, log_in, visit},
};

support::cases! {
    a_list_has_the_live_sessions_of_the_user,
    pages_join_to_the_whole_list,
    each_condition_lets_the_right_sessions_through,
    a_list_with_a_condition_reads_no_more_rows_than_it_may,
    users_are_found_by_the_beginning_of_their_id,
    realms_are_found_without_reading_sessions,
    the_events_tell_what_happened,
    pages_of_events_join_to_the_whole_list_even_if_all_are_of_one_moment,
    events_are_found_before_and_after_they_are_filed,
    events_that_nobody_files_are_a_finding,
    the_overview_counts,
    a_row_that_a_person_has_edited_is_in_the_list,
    the_migrations_tell_which_are_missing,
    a_database_without_sessile_is_named,
    a_newer_schema_is_named,
    questions_write_nothing,
    a_question_that_takes_too_long_ends,
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";

async fn open(db: &Db) -> Database {
    Database::open(&db.url).await.unwrap()
}

fn ids(sessions: &[Session]) -> Vec<Uuid> {
    sessions.iter().map(|session| session.id).collect()
}

async fn a_list_has_the_live_sessions_of_the_user(db: Db) {
    let sessions = db.sessions().await;
    let first = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    log_in(&sessions, "bob", "203.0.113.8", FIREFOX).await;
    let second = log_in(&sessions, "ada", "2001:db8::1", "curl/8").await;
    let expired = log_in(&sessions, "ada", "203.0.113.9", FIREFOX).await;
    db.run(&format!(
        "update sessions set valid_until = {{now}} - {{s}} where {}",
        is(&db, expired)
    ))
    .await;

    let database = open(&db).await;
    let page = database.sessions(&SessionFilter::of_user("ada")).await.unwrap();
    assert_eq!(ids(&page.sessions), [second, first], "the newest first, and no expired one");
    assert_eq!(page.next, None);
    let listed = &page.sessions[1];
    assert_eq!(listed.user_id.as_deref(), Some("ada"));
    assert_eq!(listed.ip.as_deref(), Some("203.0.113.7"));
    assert_eq!(listed.user_agent.as_deref(), Some(FIREFOX));
    assert_eq!((listed.realm.as_str(), listed.remembered), ("", Some(false)));
    let now = database.now().await.unwrap();
    assert!((now - listed.created_at).num_seconds() < 60 && listed.valid_until > now);
    assert!(listed.authenticated_at.is_some() && listed.absolute_expires_at >= listed.valid_until);

    assert_eq!(database.session(first).await.unwrap().as_ref(), Some(listed));
    assert_eq!(database.session(expired).await.unwrap(), None);
}

fn is(db: &Db, id: Uuid) -> String {
    if db.is_postgres() { format!("id = '{id}'") } else { format!("id = x'{}'", id.simple()) }
}

async fn pages_join_to_the_whole_list(db: Db) {
    let sessions = db.sessions().await;
    for _ in 0..7 {
        log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
        visit(&sessions).await;
    }
    let database = open(&db).await;
    for filter in [SessionFilter::of_user("ada"), SessionFilter::default(), scanning()] {
        let whole = ids(&database.sessions(&filter).await.unwrap().sessions);
        assert_eq!(
            whole.len(),
            if filter.user_id.is_none() && filter.has_user.is_none() { 14 } else { 7 }
        );
        let (mut joined, mut after) = (Vec::new(), None);
        loop {
            let filter = SessionFilter { after, limit: 3, scan: 2, ..filter.clone() };
            let page = database.sessions(&filter).await.unwrap();
            joined.extend(ids(&page.sessions));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(joined, whole);
    }
}

fn scanning() -> SessionFilter {
    SessionFilter { has_user: Some(true), ..SessionFilter::default() }
}

async fn each_condition_lets_the_right_sessions_through(db: Db) {
    let sessions = db.sessions().await;
    let old = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    let idle = log_in(&sessions, "ada", "2001:db8::1", FIREFOX).await;
    let anonymous = visit(&sessions).await;
    let office = log_in(&db.sessions_of("office").await, "ada", "203.0.113.9", FIREFOX).await;
    db.run(&format!(
        "update sessions set created_at = created_at - 100 * {{s}} where {}",
        is(&db, old)
    ))
    .await;
    db.run(&format!(
        "update sessions set last_seen_at = last_seen_at - 100 * {{s}} where {}",
        is(&db, idle)
    ))
    .await;

    let database = open(&db).await;
    let all = SessionFilter::default();
    for (filter, expected) in [
        (SessionFilter { realm: Some("office".into()), ..all.clone() }, vec![office]),
        (SessionFilter { realm: Some(String::new()), ..all.clone() }, vec![anonymous, idle, old]),
        (SessionFilter { has_user: Some(false), ..all.clone() }, vec![anonymous]),
        (SessionFilter { ip: "203.0.113.7".parse().ok(), ..all.clone() }, vec![old]),
        (SessionFilter { ip: "2001:0db8::0001".parse().ok(), ..all.clone() }, vec![idle]),
        (SessionFilter { older_than: Some(90), ..all.clone() }, vec![old]),
        (SessionFilter { younger_than: Some(90), ..all.clone() }, vec![office, anonymous, idle]),
        (SessionFilter { idle_for: Some(90), ..all.clone() }, vec![idle]),
        (SessionFilter { idle_for: Some(90), ..SessionFilter::of_user("ada") }, vec![idle]),
        (
            SessionFilter { realm: Some("office".into()), ..SessionFilter::of_user("ada") },
            vec![office],
        ),
        (SessionFilter::of_user("' or true --"), vec![]),
    ] {
        let page = database.sessions(&filter).await.unwrap();
        assert_eq!(ids(&page.sessions), expected, "{filter:?}");
    }
}

async fn a_list_with_a_condition_reads_no_more_rows_than_it_may(db: Db) {
    let sessions = db.sessions().await;
    let wanted = visit(&sessions).await;
    for _ in 0..5 {
        log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    }
    let database = open(&db).await;
    let filter = SessionFilter { has_user: Some(false), scan: 4, ..SessionFilter::default() };
    assert!(filter.scans());
    let first = database.sessions(&filter).await.unwrap();
    assert_eq!(first.sessions, [], "the anonymous one is the sixth row");
    let after = first.next;
    assert!(after.is_some(), "there is more");
    let second = database.sessions(&SessionFilter { after, ..filter }).await.unwrap();
    assert_eq!((ids(&second.sessions), second.next), (vec![wanted], None));
}

async fn users_are_found_by_the_beginning_of_their_id(db: Db) {
    let sessions = db.sessions().await;
    for user in ["ada", "ada", "ada@example.org", "adam", "bob", "42", "420", "%", "Zoë", "Zoé"] {
        log_in(&sessions, user, "203.0.113.7", FIREFOX).await;
    }
    visit(&sessions).await;
    let database = open(&db).await;
    let found = async |text: &str| {
        let mut users = database.users(text, 10).await.unwrap();
        users.sort_by(|a, b| a.user_id.cmp(&b.user_id));
        users.into_iter().map(|User { user_id, sessions }| (user_id, sessions)).collect::<Vec<_>>()
    };
    let owned = |users: &[(&str, u32)]| {
        users.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect::<Vec<_>>()
    };
    assert_eq!(found("ada").await, owned(&[("ada", 2), ("ada@example.org", 1), ("adam", 1)]));
    assert_eq!(found("ada@").await, owned(&[("ada@example.org", 1)]));
    assert_eq!(found("42").await, owned(&[("42", 1), ("420", 1)]));
    assert_eq!(found("%").await, owned(&[("%", 1)]));
    assert_eq!(found("Zo").await, owned(&[("Zoé", 1), ("Zoë", 1)]));
    assert_eq!(found("b").await, owned(&[("bob", 1)]));
    for nothing in ["", "c", "adb", "\0", "zzz"] {
        assert_eq!(found(nothing).await, [], "{nothing:?}");
    }
    assert_eq!(
        database.users("ada", 1).await.unwrap()[0].user_id,
        "ada",
        "the same id comes first"
    );
}

async fn realms_are_found_without_reading_sessions(db: Db) {
    let sessions = db.sessions().await;
    let database = open(&db).await;
    assert_eq!(database.realms().await.unwrap(), [""]);
    assert_eq!(database.realms_of_user("ada").await.unwrap(), []);
    let office = db.sessions_of("office").await;
    for sessions in [&sessions, &office, &office] {
        log_in(sessions, "ada", "203.0.113.7", FIREFOX).await;
    }
    let expired = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    db.run(&format!(
        "update sessions set valid_until = {{now}} - {{s}} where {}",
        is(&db, expired)
    ))
    .await;
    let in_realms = database.realms_of_user("ada").await.unwrap();
    let told: Vec<_> = in_realms.iter().map(|in_| (in_.realm.as_str(), in_.sessions)).collect();
    assert_eq!(told, [("", 1), ("office", 2)]);
    assert_eq!(database.realms().await.unwrap(), ["", "office"]);
    office.revoke_all().await.unwrap();
    assert_eq!(database.realms().await.unwrap(), ["", "office"], "although nobody is there");
}

async fn the_events_tell_what_happened(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    log_in(&sessions, "bob", "203.0.113.8", FIREFOX).await;
    sessions.revoke_user("ada").reason("a test").actor("command:grace").await.unwrap();

    let database = open(&db).await;
    let events = database.events(&EventFilter::of_user("ada")).await.unwrap();
    assert_eq!(events.next, None);
    let told: Vec<_> = events
        .events
        .iter()
        .map(|e| (e.event.as_str(), e.session_id, e.actor.as_deref()))
        .collect();
    // Two events of one moment: the one with a session is the first.
    assert_eq!(
        told,
        [
            ("revoked", if db.is_postgres() { Some(id) } else { None }, Some("command:grace")),
            ("revoked", if db.is_postgres() { None } else { Some(id) }, Some("command:grace")),
            ("logged_in", Some(id), Some("user")),
        ]
    );
    assert_eq!(events.events[0].reason.as_deref(), Some("a test"));

    let all = EventFilter::default();
    let now = database.now().await.unwrap();
    for (filter, expected) in [
        (EventFilter { session_id: Some(id), ..all.clone() }, 2),
        (EventFilter { events: vec!["logged_in".into(), "expired".into()], ..all.clone() }, 2),
        (EventFilter { actor: Some("command:".into()), ..all.clone() }, 2),
        (EventFilter { actor: Some("%".into()), ..all.clone() }, 0),
        (EventFilter { realm: Some("office".into()), ..all.clone() }, 0),
        (EventFilter { since: Some(now), ..all.clone() }, 0),
        (EventFilter { since: Some(now - chrono::TimeDelta::minutes(1)), ..all.clone() }, 4),
        (EventFilter { session_id: Some(id), ..EventFilter::of_user("bob") }, 0),
        (all, 4),
    ] {
        assert_eq!(database.events(&filter).await.unwrap().events.len(), expected, "{filter:?}");
    }
}

async fn pages_of_events_join_to_the_whole_list_even_if_all_are_of_one_moment(db: Db) {
    let sessions = db.sessions().await;
    for user in 0..4 {
        log_in(&sessions, &format!("user {user}"), "203.0.113.7", FIREFOX).await;
    }
    // Two moments with many events each, as a sweep writes them.
    for (table, seconds) in [("session_event_log", 1), ("session_event_inbox", 2)] {
        db.run(&format!("insert into {table} (at, event, realm, session_id, user_id) select (select max(at) from session_event_inbox) + {seconds} * {{s}}, 'expired', '', id, user_id from sessions")).await;
    }
    let database = open(&db).await;
    for filter in [
        EventFilter::default(),
        EventFilter { events: vec!["expired".into()], ..EventFilter::default() },
    ] {
        let whole = database.events(&filter).await.unwrap().events;
        assert_eq!(whole.len(), if filter.events.is_empty() { 12 } else { 8 });
        for scan in [2, 3, 5, 100] {
            let (mut joined, mut after) = (Vec::new(), None);
            loop {
                let filter = EventFilter { after, limit: 3, scan, ..filter.clone() };
                let page = database.events(&filter).await.unwrap();
                joined.extend(page.events);
                after = page.next.map(|key| key.to_string().parse().unwrap());
                if after.is_none() {
                    break;
                }
            }
            // A window that is smaller than the events of one moment leaves some out.
            if !filter.scans() || scan > 4 {
                assert_eq!(joined, whole, "scan {scan}");
            }
        }
    }
}

async fn events_are_found_before_and_after_they_are_filed(db: Db) {
    let sessions = db.sessions().await;
    for user in ["ada", "bob", "ada"] {
        log_in(&sessions, user, "203.0.113.7", FIREFOX).await;
    }
    let database = open(&db).await;
    let any = EventFilter::default();
    let filters = [
        any.clone(),
        EventFilter::of_user("ada"),
        EventFilter { events: vec!["logged_in".into()], ..any.clone() },
        EventFilter { actor: Some("user".into()), limit: 2, ..any },
    ];
    let since = database.now().await.unwrap() - chrono::TimeDelta::hours(1);
    let asked = async || {
        let mut found = Vec::new();
        for filter in &filters {
            found.push(database.events(filter).await.unwrap().events);
        }
        (found, database.activity(since, Bucket::Day).await.unwrap())
    };
    let before = asked().await;
    assert_eq!(before.0.iter().map(Vec::len).collect::<Vec<_>>(), [3, 2, 3, 2]);
    assert_eq!(before.1.iter().map(|day| day.logged_in).sum::<u64>(), 3);
    assert_eq!(sessions.sweep().await.unwrap().filed, 3);
    assert_eq!(asked().await, before);
    let sizes = database.sizes().await.unwrap();
    assert!(sizes.iter().any(|size| size.name == "session_event_inbox"), "{sizes:?}");
}

/// Even if no session has expired yet.
async fn events_that_nobody_files_are_a_finding(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    let database = open(&db).await;
    let cleanup = async || {
        let clock = database.now().await.unwrap().timestamp_millis().unsigned_abs();
        let found = database.doctor(std::time::Duration::from_millis(clock)).await.unwrap();
        found.into_iter().filter(|finding| finding.check == "cleanup").collect::<Vec<_>>()
    };
    assert!(cleanup().await.iter().all(|finding| finding.ok));
    db.run("insert into session_event_inbox (at, event, user_id) values ({now} - 3700 * {s}, 'logged_in', 'ada')").await;
    let found = cleanup().await;
    assert!(found.len() == 1 && !found[0].ok, "{found:?}");
    assert!(found[0].finding.contains("in the inbox"), "{found:?}");
    assert!(found[0].remedy.as_ref().unwrap().contains("cleanup"), "{found:?}");
    sessions.sweep().await.unwrap();
    assert!(cleanup().await.iter().all(|finding| finding.ok));
}

async fn the_overview_counts(db: Db) {
    let sessions = db.sessions().await;
    for user in ["ada", "ada", "bob"] {
        log_in(&sessions, user, "203.0.113.7", FIREFOX).await;
    }
    visit(&sessions).await;
    let database = open(&db).await;
    let live = database.live().await.unwrap();
    assert_eq!((live.all, live.anonymous), (Count::Exact(4), Count::Exact(1)));
    let backlog = database.backlog().await.unwrap().unwrap();
    assert_eq!((backlog.rows, backlog.oldest), (Count::Exact(0), None));

    db.run("update sessions set valid_until = {now} + 100 * {s} where user_id = 'bob'").await;
    let ending: Vec<_> = database.ending(&[60, 3600, 100_000_000]).await.unwrap();
    let told: Vec<_> = ending.iter().map(|e| (e.from_seconds, e.to_seconds, e.sessions)).collect();
    assert_eq!(told[1], (60, 3600, Count::Exact(4)), "idle timeout of half an hour, and bob's");
    assert_eq!((told[0].2, told[2].2), (Count::Exact(0), Count::Exact(0)));

    db.run("update sessions set valid_until = {now} - 5 * {s}, expires_at = {now} - 5 * {s} where user_id = 'ada'").await;
    assert_eq!(database.live().await.unwrap().all, Count::Exact(2));
    let backlog = database.backlog().await.unwrap().unwrap();
    assert_eq!(backlog.rows, Count::Exact(2));
    let waiting = database.now().await.unwrap() - backlog.oldest.unwrap();
    assert!((5..60).contains(&waiting.num_seconds()), "{waiting}");

    sessions.sweep().await.unwrap();
    let runs = database.cleanup_runs(10).await.unwrap();
    assert_eq!(runs.len(), 1);
    assert_eq!((runs[0].sessions, &runs[0].error), (2, &None));
    assert!(runs[0].ended_at >= runs[0].started_at);

    sessions.revoke_user("bob").await.unwrap();
    let since = database.now().await.unwrap() - chrono::TimeDelta::hours(1);
    for bucket in [Bucket::Hour, Bucket::Day] {
        let periods = database.activity(since, bucket).await.unwrap();
        let sum = |of: fn(&sessile_admin::Period) -> u64| periods.iter().map(of).sum::<u64>();
        assert_eq!(sum(|p| p.logged_in), 3);
        assert_eq!(sum(|p| p.expired), 2);
        assert_eq!(sum(|p| p.revoked), 1, "not the event without a session");
        let begins = periods[0].begins_at;
        assert_eq!(begins.timestamp() % if bucket == Bucket::Hour { 3600 } else { 86400 }, 0);
    }
}

async fn a_row_that_a_person_has_edited_is_in_the_list(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    let last = if db.is_postgres() { "'infinity'" } else { "9223372036854775807" };
    let user_agent = if db.is_postgres() { "E'\\x1b[31m\"'" } else { "cast(x'ff1b22' as text)" };
    db.run(&format!(
        "update sessions set absolute_expires_at = {last}, valid_until = {last}, expires_at = {last}, user_agent = {user_agent}, ip = null, remembered = null"
    ))
    .await;
    let page = open(&db).await.sessions(&SessionFilter::of_user("ada")).await.unwrap();
    assert_eq!(ids(&page.sessions), [id]);
    assert_eq!(page.sessions[0].valid_until.to_rfc3339(), "9999-12-31T23:59:59+00:00");
    assert_eq!((page.sessions[0].ip.as_ref(), page.sessions[0].remembered), (None, None));
    assert!(page.sessions[0].user_agent.as_ref().unwrap().contains('\u{1b}'));
}

async fn the_migrations_tell_which_are_missing(db: Db) {
    let database = open(&db).await;
    let all = database.migrations().await.unwrap();
    assert!(!all.is_empty() && all.iter().all(|one| one.state == MigrationState::Missing));

    let newest = all.last().unwrap().version;
    db.sessions().await;
    let now = database.now().await.unwrap();
    let all = database.migrations().await.unwrap();
    for one in &all {
        assert_eq!(one.state, MigrationState::Installed);
        assert!((now - one.installed_at.unwrap()).num_seconds().abs() < 60, "{one:?}");
    }
    let ledger = if db.is_postgres() { "_sqlx_migrations" } else { "_sessile_migrations" };
    let changed = if db.is_postgres() { "'\\x00'" } else { "x'00'" };
    db.run(&format!("update {ledger} set checksum = {changed} where version = {newest}")).await;
    let changed = database.migrations().await.unwrap();
    assert_eq!(changed.last().unwrap().state, MigrationState::Changed);
}

async fn a_database_without_sessile_is_named(db: Db) {
    let database = open(&db).await;
    let of_list = database.sessions(&SessionFilter::default()).await.unwrap_err();
    let of_check = database.check_schema().await.unwrap_err();
    for error in [of_list, of_check] {
        assert_eq!(error.kind(), ErrorKind::NoSchema, "{error}");
        assert!(error.remedy().contains("sessile migrate run"));
    }
    db.sessions().await;
    database.check_schema().await.unwrap();
}

async fn a_newer_schema_is_named(db: Db) {
    db.sessions().await;
    let ledger = if db.is_postgres() { "_sqlx_migrations" } else { "_sessile_migrations" };
    db.run(&format!(
        "insert into {ledger} (version, description, success, checksum, execution_time) select 20990101000001, 'later', success, checksum, 0 from {ledger} limit 1"
    ))
    .await;
    let database = open(&db).await;
    database.check_schema().await.unwrap(); // It says that the first release is enough.
    db.run("update session_schema set needs_migration = 20990101000001, needs_release = '9.0.0'")
        .await;
    let error = database.check_schema().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerSchema);
    assert_eq!(error.to_string(), "the database's schema needs sessile 9.0.0 or newer");
}

/// Whatever an address or an id contains, and whoever the user is.
async fn questions_write_nothing(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    let database = open(&db).await;
    let attack = "ada'; delete from sessions; --";
    database
        .sessions(&SessionFilter { realm: Some(attack.into()), ..SessionFilter::default() })
        .await
        .unwrap();
    database.users(attack, 5).await.unwrap();
    let filter = EventFilter {
        actor: Some(attack.into()),
        events: vec![attack.into()],
        ..EventFilter::of_user(attack)
    };
    database.events(&filter).await.unwrap();
    assert_eq!(database.live().await.unwrap().all, Count::Exact(1));
}

async fn a_question_that_takes_too_long_ends(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "ada", "203.0.113.7", FIREFOX).await;
    let many = if db.is_postgres() {
        "insert into session_event_log (at, event) select now() - n * interval '1 ms', 'logged_in' from generate_series(1, 300000) as n"
    } else {
        "with recursive n(i) as (values (1) union all select i + 1 from n where i < 300000) insert into session_event_log (at, event) select {now} - i, 'logged_in' from n"
    };
    db.run(many).await;
    let since = open(&db).await.now().await.unwrap() - chrono::TimeDelta::hours(1);
    let impatient = open(&db).await.time_limit(std::time::Duration::from_millis(1));
    let error = impatient.activity(since, Bucket::Hour).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    // The connection is good for the next question.
    open(&db).await.time_limit(Database::TIME_LIMIT).activity(since, Bucket::Hour).await.unwrap();
    assert_eq!(
        impatient.time_limit(Database::TIME_LIMIT).live().await.unwrap().all,
        Count::Exact(1)
    );
}

#[tokio::test]
async fn a_url_that_is_wrong_is_named_and_never_shown() {
    let missing = tempfile::tempdir().unwrap();
    let missing = format!("sqlite://{}/missing.db", missing.path().display());
    for (url, kind) in [
        ("mysql://root:hunter2@localhost/shop", ErrorKind::Url),
        ("hunter2", ErrorKind::Url),
        ("", ErrorKind::Url),
        ("postgres://ada:hunter2@127.0.0.1:1/shop", ErrorKind::Unreachable),
        (&missing, ErrorKind::Unreachable),
    ] {
        let error = Database::open(url).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        other.path(),
        "not a database, although it is long enough to be one: ".repeat(20),
    )
    .unwrap();
    let database = Database::open(&format!("sqlite://{}", other.path().display())).await;
    let error = match database {
        Ok(database) => database.live().await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
}

/// Through the security barrier of the view, Postgres uses no index for the order. So a viewer's questions are other
/// statements, with the same answers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_gets_the_answers_that_the_owner_gets() {
    let db = Db::postgres().await;
    db.sessions().await;
    // Sessions of the last minutes, of days and of months; in two realms; and some that have ended.
    db.run(
        "insert into sessions (id, realm, revision, created_at, authenticated_at, last_seen_at, absolute_expires_at, valid_until, expires_at,
            idle_timeout, secret_hash, data, user_id)
        select (lpad(to_hex((extract(epoch from born) * 1000)::bigint), 12, '0') || '7000800000000000' || lpad(to_hex(n), 4, '0'))::uuid,
            case when n % 50 = 0 then 'office' else '' end, 1, born, born, born, ends, ends, ends, 60, sha256(n::text::bytea), '{}', 'user ' || n % 70
        from generate_series(1, 600) as n,
            lateral (select now() - case when n <= 300 then 1 when n <= 450 then 600 else 60000 end * n * interval '1 second',
                now() + case when n % 9 = 0 then -1 else 1 end * interval '1 hour') as of (born, ends)",
    )
    .await;
    let roles = Shipped::on(&db.url).await;
    let viewer = Database::open(&roles.member_of("sessile_viewer").await).await.unwrap();
    let owner = open(&db).await;
    for filter in [
        SessionFilter::default(),
        SessionFilter { limit: 7, ..SessionFilter::default() },
        SessionFilter { limit: 450, ..SessionFilter::default() },
        SessionFilter {
            limit: 3,
            scan: 20,
            realm: Some("office".to_owned()),
            ..SessionFilter::default()
        },
        SessionFilter { scan: 400, older_than: Some(1_000), ..SessionFilter::default() },
        SessionFilter::of_user("user 3"),
    ] {
        let (mut theirs, mut pages) = (filter.clone(), 0);
        let mut mine = filter;
        loop {
            let page = viewer.sessions(&mine).await.unwrap();
            let expected = owner.sessions(&theirs).await.unwrap();
            assert_eq!(ids(&page.sessions), ids(&expected.sessions), "{mine:?}");
            assert_eq!(page.next, expected.next, "{mine:?}");
            pages += 1;
            let Some(next) = page.next else { break };
            (mine.after, theirs.after) = (Some(next), Some(next));
        }
        assert!(pages >= 1);
    }
    let names = |users: Vec<User>| -> Vec<_> {
        users.into_iter().map(|user| (user.user_id, user.sessions)).collect()
    };
    for begin in ["user", "user 6", "user 66", "nobody", "%"] {
        assert_eq!(
            names(viewer.users(begin, 5).await.unwrap()),
            names(owner.users(begin, 5).await.unwrap()),
            "{begin}"
        );
    }
    assert_eq!(viewer.realms().await.unwrap(), owner.realms().await.unwrap());
    assert_eq!(viewer.live().await.unwrap(), owner.live().await.unwrap());
    let within = [3_000, 7_200];
    assert_eq!(viewer.ending(&within).await.unwrap(), owner.ending(&within).await.unwrap());
    drop((viewer, owner));
    db.drop().await;
    roles.drop().await;
}
