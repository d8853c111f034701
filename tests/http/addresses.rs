//! The list of devices: addresses and user agents as they come over the wire.

use std::net::{IpAddr, SocketAddr};

use axum::{Json, extract::ConnectInfo, routing::get};
use http::{Extensions, HeaderMap};
use serde_json::{Value, json};
use sessile::{Error, Session, minutes};

use crate::{
    site::{Library, Visitor, routes},
    support::{Db, cases},
    wire::Connection,
};

cases! {
    a_user_agent_is_listed_as_it_can_be_shown,
    an_address_is_found_where_the_application_says,
    a_device_shows_its_last_log_in_and_where_it_was_last_seen,
}

fn devices() -> axum::Router {
    let list = |session: Session| async move { Ok::<_, Error>(Json(session.devices().await?)) };
    let renew = |session: Session| async move { session.renew().await };
    routes().route("/devices", get(list)).route("/renew", get(renew))
}

/// Logs in with these header lines, and returns the device as the list shows it.
async fn device(site: &crate::site::Site, lines: &[Vec<u8>]) -> Value {
    let response = site.get("/log-in/ada", lines).await;
    let cookie = format!("Cookie: __Host-id={}", response.set_cookie().value).into_bytes();
    let list = site.get("/devices", &[cookie]).await.body;
    let list: Vec<Value> = serde_json::from_str(&list).unwrap();
    let mut current = list.into_iter().filter(|device| device["current"] == true);
    let device = current.next().expect("the device that asks is in its list");
    assert!(current.next().is_none());
    device
}

async fn a_user_agent_is_listed_as_it_can_be_shown(db: Db) {
    let library = Library::over(&db);
    let site = library.serve(devices()).await;
    let long = format!("Mozilla/5.0 ({})", "é".repeat(1000));
    let cases: &[(&[u8], Value)] = &[
        (b"curl/8.14.1", json!("curl/8.14.1")),
        (b"  spaces around  ", json!("spaces around")),
        ("Gerät 📱".as_bytes(), json!("Gerät 📱")),
        (b"<script>alert('x')</script>", json!("<script>alert('x')</script>")),
        (b"Robert'); drop table sessions; --", json!("Robert'); drop table sessions; --")),
        // Not UTF-8.
        (b"old \xe9\xff phone", json!("old \u{fffd}\u{fffd} phone")),
        // Control characters that a header may carry: a tab, and C1.
        (b"a\tb", json!("ab")),
        (b"a\xc2\x9b31mb", json!("a31mb")),
        (b"\xc2\x85", json!(null)),
        (b"", json!(null)),
        (long.as_bytes(), json!(long.chars().take(256).collect::<String>())),
    ];
    for (agent, expected) in cases {
        let line = [b"User-Agent: ", *agent].concat();
        let device = device(&site, &[line]).await;
        assert_eq!(device["user_agent"], *expected, "{}", agent.escape_ascii());
        assert_eq!(device["ip"], json!(null));
    }
    assert_eq!(device(&site, &[]).await["user_agent"], json!(null));
    // An anonymous session also has an address, from its first write on.
    let visitor = b"User-Agent: anonymous".to_vec();
    let response = site.get("/put/a/1", &[visitor]).await;
    assert_eq!(response.status, 200);
    let of_guests = "from sessile.sessions where user_id is null and user_agent = 'anonymous'";
    let count = format!("select count(*) {of_guests}");
    assert_eq!(db.number(&count, &count.replace("sessile.", "")).await, 1);
}

/// As in an application behind its own proxy: the header that the proxy sets, or else the connection's
/// address.
fn client_ip(headers: &HeaderMap, extensions: &Extensions) -> Option<IpAddr> {
    match headers.get("x-real-ip") {
        Some(header) => header.to_str().ok()?.parse().ok(),
        None => extensions.get().map(|ConnectInfo::<SocketAddr>(address)| address.ip()),
    }
}

async fn an_address_is_found_where_the_application_says(db: Db) {
    let library = Library::over(&db);
    let site = library.serve_as_is(devices().layer(library.layer().client_ip(client_ip))).await;
    let cases = [
        (None, json!("127.0.0.1")),
        (Some("203.0.113.7"), json!("203.0.113.7")),
        (Some("2001:db8::7"), json!("2001:db8::7")),
        (Some("2001:0DB8:0:0:0:0:0:7"), json!("2001:db8::7")),
        (Some("::ffff:203.0.113.7"), json!("203.0.113.7")),
        (Some("::FFFF:CB00:7107"), json!("203.0.113.7")),
        (Some("not an address"), json!(null)),
    ];
    for (header, expected) in cases {
        let lines = header.map(|value| format!("X-Real-IP: {value}").into_bytes());
        let lines: Vec<_> = lines.into_iter().collect();
        assert_eq!(device(&site, &lines).await["ip"], expected, "{header:?}");
    }
}

async fn a_device_shows_its_last_log_in_and_where_it_was_last_seen(db: Db) {
    async fn get(visitor: &mut Visitor, site: &crate::site::Site, path: &str, agent: &str) {
        let mut lines = visitor.lines();
        lines.push(format!("User-Agent: {agent}").into_bytes());
        lines.push(format!("X-Real-IP: 203.0.113.{}", agent.len()).into_bytes());
        let mut connection = Connection::open(site.address).await;
        connection.get(path, &lines).await;
        visitor.keep_cookies_of(&connection.response().await.unwrap());
    }
    let library = Library::over(&db);
    let site = library.serve_as_is(devices().layer(library.layer().client_ip(client_ip))).await;
    let mut visitor = site.visitor();
    let steps = [
        ("/log-in/ada", "one", "one", "203.0.113.3"),
        ("/get/a", "reads", "one", "203.0.113.3"),
        ("/put/a/1", "writes", "one", "203.0.113.6"),
        ("/renew", "renews it", "renews it", "203.0.113.9"),
        ("/log-in/ada", "again", "again", "203.0.113.5"),
    ];
    for (path, agent, expected, ip) in steps {
        get(&mut visitor, &site, path, agent).await;
        let list = visitor.get("/devices").await.body;
        let list: Value = serde_json::from_str(&list).unwrap();
        assert_eq!(list[0]["user_agent"], expected, "{path}");
        assert_eq!(list[0]["ip"], ip, "{path}");
        assert_eq!(list.as_array().unwrap().len(), 1);
    }
    // A request that only reads records its address when a touch is due.
    db.pass(minutes(4)).await;
    get(&mut visitor, &site, "/get/a", "much later").await;
    site.sessions.flush().await.unwrap();
    let list: Value = serde_json::from_str(&visitor.get("/devices").await.body).unwrap();
    assert_eq!(list[0]["user_agent"], "again");
    assert_eq!(list[0]["ip"], "203.0.113.10");
}
