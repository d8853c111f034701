//! Requests without a cookie, as many as a client can send.

use crate::{
    site::{Site, routes},
    support::{Db, cases},
    wire::Connection,
};

cases! { a_hundred_thousand_requests_without_a_cookie_leave_no_row }

/// A robot that keeps no cookies opens pages that read the session, and one that logs out.
async fn a_hundred_thousand_requests_without_a_cookie_leave_no_row(db: Db) {
    const CONNECTIONS: usize = 4;
    const EACH: usize = 25_000;
    let site = Site::serve(&db, routes()).await;
    let floods: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let address = site.address;
            tokio::spawn(async move {
                let paths = ["/", "/get/a", "/untouched", "/log-out", "/get/user"];
                let request = |n: usize| {
                    let last = if n + 1 == EACH { "Connection: close\r\n" } else { "" };
                    format!("GET {} HTTP/1.1\r\nHost: test\r\n{last}\r\n", paths[n % paths.len()])
                };
                let requests: String = (0..EACH).map(request).collect();
                let came = Connection::open(address).await.pipeline(requests.as_bytes()).await;
                assert_eq!(came.matches("HTTP/1.1 200 OK\r\n").count(), EACH);
                assert!(!came.contains("\r\nset-cookie:"));
            })
        })
        .collect();
    for flood in floods {
        flood.await.unwrap();
    }
    // No row, no event, and not even a statement. A touch would be written within a tenth of a second.
    site.sessions.flush().await.unwrap();
    assert!(site.spy.take().is_empty());
    assert_eq!(db.rows().await, 0);
    let events = "select count(*) from sessile.session_event_inbox";
    assert_eq!(db.number(events, &events.replace("sessile.", "")).await, 0);
}
