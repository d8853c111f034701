//! An application that other sites embed, with a partitioned cookie.

use axum::{Router, response::Html, routing::get};
use chromiumoxide::cdp::browser_protocol::network::CookieSameSite;
use sessile::{Session, SessionCookie, SessionLayer, Sessions, http::SameSite};
use tokio::net::TcpListener;

use crate::{chromium::Chromium, program::Shop, support::Db, tls::Proxy};

/// Counts its visits, and tells the page around it.
async fn widget(session: Session) -> sessile::Result<Html<String>> {
    let visits = session
        .update("visits", |visits: &mut u32| {
            *visits += 1;
            *visits
        })
        .await?;
    let script = format!("window.visits = {visits}; parent.postMessage({visits}, '*')");
    Ok(Html(format!("<p>{visits}</p><script>{script}</script>")))
}

async fn serve(sessions: Sessions, cookie: SessionCookie) -> String {
    let page =
        "<script>window.visits = 0; onmessage = message => { visits = message.data }</script>";
    let app = Router::new()
        .route("/widget", get(widget))
        .layer(SessionLayer::new(sessions).cookie(cookie))
        // The page of another site, with the widget in it. `?` is where the widget is.
        .route(
            "/around",
            get(async move |axum::extract::RawQuery(widget): axum::extract::RawQuery| {
                Html(format!("{page}<iframe src='{}'></iframe>", widget.unwrap_or_default()))
            }),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async { axum::serve(listener, app).await });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_site_around_has_its_own_session() {
    let db = Db::sqlite().await;
    let cookie = SessionCookie::builder().same_site(SameSite::None).partitioned().build().unwrap();
    let proxy = Proxy::before(&serve(db.sessions().await, cookie).await).await;
    let chromium = Chromium::start_with(&[
        ("host-resolver-rules", "MAP *.test 127.0.0.1"),
        ("ignore-certificate-errors-spki-list", &proxy.key),
    ])
    .await;
    let window = chromium.window();
    let url = |host: &str, path: &str| format!("https://{host}:{}{path}", proxy.port);
    let widget = url("widget.test", "/widget");

    let news = window.open(&url("news.test", &format!("/around?{widget}"))).await;
    news.is("visits == 1").await;
    news.reload().await;
    news.is("visits == 2").await;
    let blog = window.open(&url("blog.test", &format!("/around?{widget}"))).await;
    blog.is("visits == 1").await;
    let alone = window.open(&widget).await;
    alone.is("visits == 1").await;

    let cookies = window.cookies().await;
    let mut sites: Vec<_> = cookies
        .iter()
        .map(|cookie| {
            assert!(cookie.secure && cookie.http_only && cookie.name == "__Host-id", "{cookie:?}");
            assert_eq!(
                (&*cookie.domain, &cookie.same_site),
                ("widget.test", &Some(CookieSameSite::None))
            );
            let key = cookie.partition_key.as_ref().unwrap();
            (key.top_level_site.clone(), key.has_cross_site_ancestor)
        })
        .collect();
    sites.sort();
    let site = |host: &str, is_inside| (format!("https://{host}"), is_inside);
    assert_eq!(
        sites,
        [site("blog.test", true), site("news.test", true), site("widget.test", false)]
    );
    assert_eq!(db.rows().await, 3);
    chromium.close().await;
}

/// The shop's pages belong in no frame.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shop_is_shown_in_no_frame() {
    let db = Db::sqlite().await;
    let shop = Shop::start(&db, &[]).await;
    let around = serve(db.sessions().await, SessionCookie::insecure_for_development()).await;
    let chromium = Chromium::start().await;
    let tab = chromium.window().open(&format!("http://{around}/around?{}", shop.url)).await;
    tab.has_refused_a_frame(&shop.url).await;
    chromium.close().await;
}
