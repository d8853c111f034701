//! `events --follow` and `watch`.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::Stdio,
};

use crate::{
    program::{interrupt, on, terminal},
    support::{self, Db, log_in},
};

support::cases! {
    new_events_are_printed_once_each,
    the_terminal_shows_what_happens,
}

async fn new_events_are_printed_once_each(db: Db) {
    let sessions = db.sessions().await;
    log_in(&sessions, "before", "203.0.113.7", "curl").await;
    let mut child = on(&db, &["events", "--follow", "--csv", "--since", "1h"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || out.next().unwrap().unwrap();
    assert!(next().starts_with("at,event,"));
    assert!(next().contains("before"));
    for user in ["first", "second"] {
        log_in(&sessions, user, "203.0.113.7", "curl").await;
        let line = next();
        assert!(line.contains(user) && line.contains("logged_in"), "{line}");
    }
    // Its moment is before that of an event which was printed, as of a transaction that commits late.
    db.run("insert into session_event_log (at, event, user_id) select {now} - 3 * {s}, 'logged_in', 'late'").await;
    assert!(next().contains("late"));
    interrupt(&child);
    child.wait().unwrap();
}

async fn the_terminal_shows_what_happens(db: Db) {
    let sessions = db.sessions().await;
    for user in ["ada", "bob"] {
        log_in(&sessions, user, "203.0.113.7", "curl").await;
    }
    let mut child = terminal(&db, &["watch", "--every", "200ms"]);
    let mut out = child.stdout.take().unwrap();
    let (mut seen, mut part) = (String::new(), [0; 4096]);
    let shows = |seen: &str| {
        let words = words(seen);
        ["active 2, of them 0 anonymous", "log-ins in the last minute: 2,", "no expired row waits"]
            .iter()
            .all(|text| words.contains(text))
    };
    while !shows(&seen) {
        let read = out.read(&mut part).unwrap();
        assert!(read > 0, "{}", words(&seen));
        seen.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    child.stdin.as_mut().unwrap().write_all(b"q").unwrap();
    std::io::copy(&mut out, &mut std::io::sink()).unwrap();
    assert!(child.wait().unwrap().success());
}

/// The words on the terminal: between them, the program moves the cursor (ECMA-48, control sequences).
fn words(seen: &str) -> String {
    let mut words = String::new();
    let mut parts = seen.split("\u{1b}[");
    words.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end =
            part.find(|char: char| ('@'..='~').contains(&char)).map_or(part.len(), |at| at + 1);
        words.push(' ');
        words.push_str(&part[end..]);
    }
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
