//! Values that are meant to fill the memory, the stack or the disk.

use axum::{Json, extract::Path, routing::post};
use serde_json::Value;
use sessile::{Error, Session};

use crate::{
    site::{Site, Visitor, routes},
    support::{Db, cases},
    wire::Connection,
};

cases! {
    a_data_bomb_is_refused_and_changes_nothing,
    data_does_not_grow_beyond_its_limit,
}

/// Stores whatever the client sends. An application should not, and the library holds even so.
async fn store(
    session: Session,
    Path(key): Path<String>,
    Json(value): Json<Value>,
) -> Result<&'static str, Error> {
    session.insert(&key, value)?;
    Ok("stored")
}

async fn serve(db: &Db) -> Site {
    Site::serve(db, routes().route("/store/{key}", post(store))).await
}

/// Posts JSON, and returns the status.
async fn send(site: &Site, visitor: &Visitor, key: &str, json: &str) -> u16 {
    let mut connection = Connection::open(site.address).await;
    let mut lines = visitor.lines();
    lines.push(b"Content-Type: application/json".to_vec());
    lines.push(format!("Content-Length: {}", json.len()).into_bytes());
    connection.send("POST", &format!("/store/{key}"), &lines).await;
    connection.write(json.as_bytes()).await;
    let response = connection.response().await.expect("the server answers");
    assert!(response.status == 200 || response.sets_no_cookie());
    response.status
}

async fn stored_bytes(db: &Db) -> i64 {
    db.number(
        "select coalesce(max(octet_length(data::text)), 0)::bigint from sessile.sessions",
        "select coalesce(max(octet_length(data)), 0) from sessions",
    )
    .await
}

async fn a_data_bomb_is_refused_and_changes_nothing(db: Db) {
    let site = serve(&db).await;
    let mut guest = site.guest().await;
    let before = db.dump().await;
    let nested = |levels: usize| format!("{}0{}", "[".repeat(levels), "]".repeat(levels));
    let objects = |levels: usize| format!("{}0{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    let keys: Vec<_> = (0..20_000).map(|n| format!("\"k{n}\":0")).collect();
    let bombs = [
        ("a long text", format!("\"{}\"", "x".repeat(1_000_000))),
        // Two bytes of JSON for each byte of the text, or six.
        ("quotes", format!("\"{}\"", "\\\"".repeat(40_000))),
        ("control characters", format!("\"{}\"", "\\u0001".repeat(20_000))),
        ("many values", format!("[{}0]", "0,".repeat(100_000))),
        ("many empty arrays", format!("[{}[]]", "[],".repeat(40_000))),
        ("many keys", format!("{{{}}}", keys.join(","))),
        ("deep arrays", nested(60)),
        ("deep objects", objects(60)),
    ];
    for (what, bomb) in &bombs {
        assert_eq!(send(&site, &guest, "bomb", bomb).await, 413, "{what}");
    }
    // These are refused before the library sees them.
    for (what, bomb) in [
        ("very deep arrays", nested(100_000)),
        ("very deep objects", objects(100_000)),
        ("arrays without an end", "[".repeat(1_000_000)),
        ("a number that is none", "1e999999999".to_owned()),
        ("half a character", "\"\\ud800\"".to_owned()),
    ] {
        let status = send(&site, &guest, "bomb", &bomb).await;
        assert!([400, 413, 422].contains(&status), "{what}: {status}");
    }
    // A long key is data too. A server takes no longer path.
    assert_eq!(send(&site, &guest, &"k".repeat(65_525), "0").await, 413);
    assert_eq!((db.rows().await, db.dump().await), (1, before));
    assert_eq!(guest.get("/get/a").await.body, "1");

    // A visitor without a session gets none for a bomb.
    for (what, bomb) in &bombs {
        assert_eq!(send(&site, &site.visitor(), "bomb", bomb).await, 413, "{what}");
    }
    assert_eq!(db.rows().await, 1);
}

/// Little by little, and by many requests at once.
async fn data_does_not_grow_beyond_its_limit(db: Db) {
    const LIMIT: i64 = 64 * 1024;
    let site = serve(&db).await;
    let mut guest = site.guest().await;
    let part = format!("\"{}\"", "x".repeat(4_000));
    let mut statuses = Vec::new();
    for n in 0..20 {
        statuses.push(send(&site, &guest, &format!("k{n}"), &part).await);
    }
    let stored = statuses.iter().take_while(|status| **status == 200).count();
    assert!((15..=16).contains(&stored), "{statuses:?}");
    assert!(statuses[stored..].iter().all(|status| *status == 413), "{statuses:?}");
    assert!(stored_bytes(&db).await <= LIMIT);

    let guest_at_once = site.guest().await;
    let mut tasks = tokio::task::JoinSet::new();
    let site = std::sync::Arc::new(site);
    for n in 0..32 {
        let (site, visitor, part) = (site.clone(), guest_at_once.clone(), part.clone());
        tasks.spawn(async move { send(&site, &visitor, &format!("k{n}"), &part).await });
    }
    let statuses = tasks.join_all().await;
    assert!(statuses.contains(&413), "{statuses:?}");
    assert!(stored_bytes(&db).await <= LIMIT);
    assert_eq!(guest.get("/get/a").await.body, "1");
    assert_eq!(guest_at_once.clone().get("/get/a").await.body, "1");
}
