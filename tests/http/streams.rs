//! Bodies that continue after the response has begun: the handle outlives the request.

use std::{convert::Infallible, future::Future};

use axum::{
    Router,
    body::{Body, Bytes},
    routing::get,
};
use http_body_util::channel::{Channel, Sender};
use sessile::{ErrorKind, Session, minutes};

use crate::{
    pause::Pause,
    site::{Site, Visitor, routes},
    support::{Db, cases},
    wire::Connection,
};

cases! {
    what_a_stream_saves_is_durable,
    what_the_handler_recorded_is_written_before_the_stream_begins,
    a_refresh_notices_that_the_session_was_ended,
    a_refresh_keeps_the_session_alive,
}

/// `/stream`: answers with the lines that the function sends, from a separate task.
fn stream<F, T>(run: F) -> Router
where
    F: Fn(Session, Line) -> T + Clone + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let handler = |session: Session| async move {
        let (sender, body) = Channel::<Bytes, Infallible>::new(1);
        tokio::spawn(run(session, Line(sender)));
        Body::new(body)
    };
    routes().route("/stream", get(handler))
}

struct Line(Sender<Bytes, Infallible>);

impl Line {
    async fn say(&mut self, text: impl Into<String>) {
        self.0.send_data(Bytes::from(text.into())).await.unwrap();
    }
}

/// `/stream`: shows the session after each refresh, whenever the test allows one.
fn refreshing(pause: &Pause) -> Router {
    let pause = pause.clone();
    stream(move |session, mut line| {
        let pause = pause.clone();
        async move {
            loop {
                line.say(match session.refresh().await {
                    Ok(()) => format!("{:?}", session.user_id()),
                    Err(error) => format!("{:?}", error.kind()),
                })
                .await;
                pause.here().await;
            }
        }
    })
}

async fn begin(visitor: &Visitor) -> Connection {
    let mut connection = visitor.begin("/stream").await;
    let head = connection.head().await.unwrap();
    assert_eq!(head.one("transfer-encoding"), Some("chunked"));
    connection
}

async fn next(connection: &mut Connection) -> String {
    String::from_utf8(connection.chunk().await.expect("the stream goes on")).unwrap()
}

async fn what_a_stream_saves_is_durable(db: Db) {
    let pause = Pause::new();
    let in_stream = pause.clone();
    let app = stream(move |session, mut line| {
        let pause = in_stream.clone();
        async move {
            line.say("begun").await;
            pause.here().await;
            session.insert("a", "from the stream").unwrap();
            session.save().await.unwrap();
            line.say("saved").await;
            pause.here().await;
        }
    });
    let site = Site::serve(&db, app).await;
    let mut guest = site.guest().await;
    let mut connection = begin(&guest).await;
    assert_eq!(next(&mut connection).await, "begun");
    assert_eq!(guest.get("/get/a").await.body, "1");
    pause.go_on();
    assert_eq!(next(&mut connection).await, "saved");
    // The values are visible while the stream continues, also on another node.
    let node = db.sessions().await;
    let seen = node.open(Some(guest.token().as_bytes()), sessile::Client::new()).await.unwrap();
    assert_eq!(seen.get::<String>("a").unwrap().unwrap(), "from the stream");
    pause.go_on();
    assert!(connection.chunk().await.is_none());
}

async fn what_the_handler_recorded_is_written_before_the_stream_begins(db: Db) {
    let pause = Pause::new();
    let in_stream = pause.clone();
    let handler = async move |session: Session| {
        session.insert("a", "from the handler").unwrap();
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(1);
        tokio::spawn(async move {
            in_stream.here().await;
            sender.send_data(Bytes::from_static(b"end")).await.unwrap();
        });
        Body::new(body)
    };
    let site = Site::serve(&db, routes().route("/stream", get(handler))).await;
    for visitor in [site.guest().await, site.visitor()] {
        let mut connection = visitor.begin("/stream").await;
        let head = connection.head().await.unwrap();
        let new = head.set_cookies().pop().map(|cookie| cookie.value);
        let token = new.unwrap_or_else(|| visitor.token().to_owned());
        let cookie = format!("Cookie: __Host-id={token}").into_bytes();
        assert_eq!(site.get("/get/a", &[cookie]).await.body, "from the handler");
        pause.go_on();
        assert_eq!(next(&mut connection).await, "end");
        assert!(connection.chunk().await.is_none());
    }
}

async fn a_refresh_notices_that_the_session_was_ended(db: Db) {
    let pause = Pause::new();
    let site = Site::serve(&db, refreshing(&pause)).await;
    let ada = site.user("ada").await;
    let mut connection = begin(&ada).await;
    assert_eq!(next(&mut connection).await, r#"Some("ada")"#);
    pause.go_on();
    assert_eq!(next(&mut connection).await, r#"Some("ada")"#);
    site.sessions.revoke_user("ada").await.unwrap();
    for _ in 0..2 {
        pause.go_on();
        assert_eq!(next(&mut connection).await, format!("{:?}", ErrorKind::SessionEnded));
    }
}

async fn a_refresh_keeps_the_session_alive(db: Db) {
    let pause = Pause::new();
    let site = Site::serve(&db, refreshing(&pause)).await;
    let ada = site.user("ada").await;
    let mut connection = begin(&ada).await;
    // For several hours, although the idle timeout is one hour.
    for _ in 0..4 {
        assert_eq!(next(&mut connection).await, r#"Some("ada")"#);
        site.sessions.flush().await.unwrap();
        db.pass(minutes(50)).await;
        pause.go_on();
    }
    next(&mut connection).await;
    assert_eq!(ada.clone().get("/").await.body, "ada");
    site.sessions.flush().await.unwrap();
    // But not beyond the session's end.
    db.pass(minutes(61)).await;
    pause.go_on();
    assert_eq!(next(&mut connection).await, format!("{:?}", ErrorKind::SessionEnded));
}
