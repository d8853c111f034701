//! `keys`.

use std::path::PathBuf;

use serde_json::json;
use sessile::{
    Client, Sessions,
    encryption::{Encryption, Key, Pepper},
};
use tempfile::TempDir;

use crate::{
    program::{done, failed, on, rows, run},
    support::{self, Db},
};

support::cases! {
    keys_are_counted_and_changed,
    sealed_clients_are_counted_and_not_shown,
    damaged_data_is_reported,
    wrong_keys_are_refused_and_change_nothing,
}

/// A key in a file, as an administrator keeps it.
fn file(folder: &TempDir, id: &str) -> PathBuf {
    let path = folder.path().join(id);
    std::fs::write(&path, bytes(id)).unwrap();
    path
}

fn bytes(id: &str) -> [u8; 32] {
    let mut bytes = [7; 32];
    bytes[..id.len()].copy_from_slice(id.as_bytes());
    bytes
}

fn key(id: &str) -> Key {
    Key::new(id, bytes(id)).unwrap()
}

fn option(folder: &TempDir, id: &str) -> String {
    format!("{id}={}", file(folder, id).display())
}

async fn sealed(db: &Db, id: &str) -> Sessions {
    let builder = Sessions::builder(sessile::connect(&db.url).await.unwrap());
    builder.encryption(Encryption::new(key(id))).build().unwrap()
}

async fn visit(sessions: &Sessions) -> String {
    let session = sessions.open([] as [&[u8]; 0], Client::new()).await.unwrap();
    session.insert("cart", "socks").unwrap();
    let sessile::CookieChange::Set { value, .. } = session.finish().await.unwrap() else {
        panic!("no session has begun");
    };
    value
}

fn used(kind: &str, key: Option<&str>, uses: u64) -> serde_json::Value {
    json!({"realm": "", "kind": kind, "key": key, "uses": uses})
}

async fn keys_are_counted_and_changed(db: Db) {
    db.sessions().await;
    assert_eq!(rows(&db, &["keys", "list"]), [] as [serde_json::Value; 0]);
    visit(&db.sessions().await).await;
    let old = sealed(&db, "k1").await;
    let token = visit(&old).await;
    visit(&old).await;
    assert_eq!(
        rows(&db, &["keys", "list"]),
        [used("data", None, 1), used("data", Some("k1"), 2), used("secret", None, 3)]
    );
    let ran = failed(on(&db, &["keys", "list", "--unused", "k1"]));
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("k1 is in use: 2 times"), "{ran:?}");

    let folder = TempDir::new().unwrap();
    let (k1, k2, p1) = (option(&folder, "k1"), option(&folder, "k2"), option(&folder, "p1"));
    let rewrap = ["keys", "rewrap", "--seal", &k2, "--read", &k1, "--pepper", &p1];
    let out = done(&db, &rewrap);
    assert_eq!(out, "Read 3 sessions, sealed the data of 3, hashed the secrets of 3.\n");
    assert_eq!(
        rows(&db, &["keys", "list"]),
        [used("data", Some("k2"), 3), used("secret", Some("p1"), 3)]
    );
    done(&db, &["keys", "list", "--unused", "k1"]);
    let table = done(&db, &["keys", "list"]);
    assert!(table.contains("secret") && table.contains("p1"), "{table}");
    assert_eq!(
        done(&db, &rewrap),
        "Read 3 sessions, sealed the data of 0, hashed the secrets of 0.\n"
    );

    // The application with these keys finds its session.
    let builder = Sessions::builder(sessile::connect(&db.url).await.unwrap());
    let builder = builder.encryption(Encryption::new(key("k2"))).pepper(Pepper::new(key("p1")));
    let sessions = builder.build().unwrap();
    let session = sessions.open([token.as_bytes()], Client::new()).await.unwrap();
    assert_eq!(session.get::<String>("cart").unwrap().unwrap(), "socks");
}

async fn sealed_clients_are_counted_and_not_shown(db: Db) {
    db.sessions().await;
    let builder = Sessions::builder(sessile::connect(&db.url).await.unwrap());
    let encryption = Encryption::new(key("k1")).seal_clients(true);
    let sessions = builder.encryption(encryption).build().unwrap();
    let id = support::log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    let uses = rows(&db, &["keys", "list"]);
    for kind in ["client", "data", "event"] {
        assert!(uses.contains(&used(kind, Some("k1"), 1)), "{uses:?}");
    }
    for args in [&["list", "--user", "ada"][..], &["show", &id.to_string()]] {
        let out = done(&db, args);
        assert!(out.contains("(sealed)") && !out.contains("sealed1."), "{out}");
        assert!(!out.contains("203.0.113.7") && !out.contains("curl"), "{out}");
    }
}

async fn damaged_data_is_reported(db: Db) {
    db.sessions().await;
    visit(&sealed(&db, "k1").await).await;
    db.run("update sessions set data = '\"sealed1.x.k1.AAAA\"'").await;
    let folder = TempDir::new().unwrap();
    let (k1, k2) = (option(&folder, "k1"), option(&folder, "k2"));
    let ran = run(on(&db, &["keys", "rewrap", "--seal", &k2, "--read", &k1]));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("sealed the data of 0"), "{ran:?}");
    assert!(ran.err.contains("the data of 1 sessions was changed by somebody"), "{ran:?}");
    // A form that this release does not know has no name of a key.
    db.run("update sessions set data = '\"sealed9.k1\"'").await;
    assert_eq!(rows(&db, &["keys", "list"])[0], used("data", Some(""), 1));
}

async fn wrong_keys_are_refused_and_change_nothing(db: Db) {
    db.sessions().await;
    visit(&sealed(&db, "k1").await).await;
    let before = rows(&db, &["keys", "list"]);
    let folder = TempDir::new().unwrap();
    let k2 = option(&folder, "k2");
    std::fs::write(folder.path().join("short"), "secret").unwrap();
    let short = format!("k2={}", folder.path().join("short").display());
    let missing = format!("k2={}", folder.path().join("missing").display());
    for (args, code, text) in [
        (vec!["--seal", &k2], 9, "\"k1\""),
        (vec!["--seal", &short], 2, "32 bytes"),
        (vec!["--seal", &missing], 2, "missing"),
        (vec!["--pepper", "K2=/dev/null"], 2, "32 bytes"),
        (vec!["--seal", "k2"], 2, "NAME=FILE"),
        (vec![], 2, "--seal"),
        (vec!["--pepper", &k2, "--read", &k2], 2, "--seal"),
    ] {
        let ran = run(on(&db, &[&["keys", "rewrap"], &args[..]].concat()));
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        assert!(ran.err.contains(text), "{args:?}: {ran:?}");
    }
    assert_eq!(rows(&db, &["keys", "list"]), before);
}
