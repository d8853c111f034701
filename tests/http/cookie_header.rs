//! Every form of the `Cookie` header. The layer compares the name byte for byte, as a browser does.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    log::Log,
    site::{Site, routes},
    support::{
        Db, cases,
        tap::Verb::{self, Create, Load},
    },
    wire::Response,
};

cases! {
    an_id_without_its_secret_is_nobody,
    an_id_that_never_was_is_nobody,
    a_token_elsewhere_is_nobodys,
}

/// A site, a guest's cookie, and the session that a request with some header gets.
struct Case {
    site: Site,
    token: String,
    log: Log,
    _db: Db,
}

impl Case {
    async fn new() -> Self {
        let db = Db::sqlite().await;
        let site = Site::serve(&db, routes()).await;
        let token = site.guest().await.token().to_owned();
        Self { site, token, log: Log::begin(), _db: db }
    }

    /// Sends `Cookie` headers in which `{}` stands for the guest's token. Returns the user, the calls of the
    /// store, and the reasons in the log for refused cookies.
    async fn ask(&self, cookies: &[&[u8]]) -> (String, Vec<Verb>, Vec<String>) {
        self.log.take();
        let response = self.site.get("/", &lines(cookies, &self.token)).await;
        let shown = shown(cookies);
        assert_eq!(response.status, 200, "{shown}");
        assert!(response.sets_no_cookie(), "{shown}");
        let events = self.log.take_events("cookie refused");
        let reason = |event: &serde_json::Value| {
            // Every client can send this. A warning would let it fill the log.
            assert_eq!(event["level"], "DEBUG", "{shown}");
            event["fields"]["reason"].as_str().unwrap().to_owned()
        };
        (response.body, self.site.spy.take(), events.iter().map(reason).collect())
    }
}

fn lines(cookies: &[&[u8]], token: &str) -> Vec<Vec<u8>> {
    let line = |cookie: &&[u8]| {
        let mut line = b"Cookie: ".to_vec();
        let mut rest = *cookie;
        while let Some(at) = rest.windows(2).position(|two| two == b"{}") {
            line.extend_from_slice(&rest[..at]);
            line.extend_from_slice(token.as_bytes());
            rest = &rest[at + 2..];
        }
        line.extend_from_slice(rest);
        line
    };
    cookies.iter().map(line).collect()
}

fn shown(cookies: &[&[u8]]) -> String {
    let lines: Vec<_> = cookies.iter().map(|cookie| cookie.escape_ascii().to_string()).collect();
    lines.join(" | ")
}

fn altered(token: &str, alter: impl FnOnce(&mut [u8])) -> String {
    let mut bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
    alter(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

#[tokio::test]
async fn the_exact_name_is_found_among_whatever_neighbours() {
    let case = Case::new().await;
    let many: Vec<u8> = (0..500).flat_map(|i| format!("c{i}={i}; ").into_bytes()).collect();
    let many = [&many[..], b"__Host-id={}"].concat();
    let huge = [&b"x="[..], &vec![b'x'; 300_000], b"; __Host-id={}"].concat();
    let found: &[&[&[u8]]] = &[
        &[b"__Host-id={}"],
        &[b"__Host-id={};"],
        &[b"a=1;__Host-id={};b=2"],
        &[b"  \t __Host-id={} \t "],
        &[b"a=1 ; \t__Host-id={}\t ; b=2"],
        &[b";;; ; __Host-id={}; ;"],
        &[b"=; ==; =x; x; __Host-id={}"],
        &[b"a=\xff\xfe\x80; __Host-id={}; b=\xc3\x28"],
        &[b"\xff\xfe=1; __Host-id={}"],
        &[b"a=%FF%zz; __Host-id={}"],
        &[b"a=\"1; __Host-id={}; b=2\""],
        &[b"a=\"\\\"; __Host-id={}"],
        &[b"a=1", b"__Host-id={}", b"b=2"],
        &[b"\xff", b"__Host-id={}"],
        &[b"", b"__Host-id={}"],
        // Other cookies with similar names.
        &[b"__Host-id2=x; __Host-i=x; x__Host-id=x; __Host-id={}"],
        &[b"__host-id=x; __HOST-ID=x; __Host-ID=x; __Host-id={}"],
        &[b"%5F%5FHost-id=x; __Host-id={}"],
        &[b"__Host-id; __Host-id={}"],
        &[b"__Host-id =x; __Host-id={}"],
        &[b"\xc2\xa0__Host-id=x; __Host-id={}"],
        &[&many],
        &[&huge],
    ];
    for cookies in found {
        let asked = case.ask(cookies).await;
        let expected = ("a guest".to_owned(), vec![Load], vec![]);
        assert_eq!(asked, expected, "{:.200}", shown(cookies));
    }
}

#[tokio::test]
async fn a_name_of_other_bytes_is_another_cookie() {
    let case = Case::new().await;
    let others: &[&[&[u8]]] = &[
        // A sibling subdomain may set any of these; a browser would not take it for a cookie of
        // this host.
        &[b"%5F%5FHost-id={}"],
        &[b"%5f%5fHost-id={}"],
        &[b"__Host%2Did={}"],
        &[b"__Host-id%00={}"],
        &[b"__host-id={}"],
        &[b"__HOST-ID={}"],
        &[b"__Host-ID={}"],
        // Blanks of Unicode, before and after the name, and a byte order mark.
        &["\u{a0}__Host-id={}".as_bytes()],
        &["\u{1680}__Host-id={}".as_bytes()],
        &["\u{2003}__Host-id={}".as_bytes()],
        &["\u{2028}__Host-id={}".as_bytes()],
        &["\u{3000}__Host-id={}".as_bytes()],
        &["\u{85}__Host-id={}".as_bytes()],
        &["\u{feff}__Host-id={}".as_bytes()],
        &["\u{200b}__Host-id={}".as_bytes()],
        &["a=1;\u{a0}__Host-id={}".as_bytes()],
        &["__Host-id\u{a0}={}".as_bytes()],
        &["__Host-id\u{2003}={}".as_bytes()],
        // The same characters as single bytes, in Latin 1.
        &[b"\xa0__Host-id={}"],
        &[b"\x85__Host-id={}"],
        &[b"__Host-id\xa0={}"],
        // Blanks between the name and its sign.
        &[b"__Host-id ={}"],
        &[b"__Host-id\t={}"],
        // Without the name or the sign, or with a neighbour's value.
        &[b"__Host-id"],
        &[b"__Host-id:{}"],
        &[b"{}"],
        &[b"={}"],
        &[b"id={}"],
        &[b"x__Host-id={}"],
        &[b"__Host-id2={}"],
        &[b"\"__Host-id={}\""],
        &[b"a=__Host-id={}"],
        &[b"a=1,__Host-id={}"],
        &[b"$Version=1, __Host-id={}"],
    ];
    for cookies in others {
        let asked = case.ask(cookies).await;
        assert_eq!(asked, ("nobody".to_owned(), vec![], vec![]), "{}", shown(cookies));
    }
}

#[tokio::test]
async fn a_value_that_nobody_was_given_costs_no_query() {
    let case = Case::new().await;
    let random_id = altered(&case.token, |bytes| bytes[6] = (bytes[6] & 0x0f) | 0x40);
    let other_variant = altered(&case.token, |bytes| bytes[8] &= 0x3f);
    let nil = altered(&case.token, |bytes| bytes[..16].fill(0));
    let one_short = case.token[..63].to_owned();
    let values: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b"{}=".to_vec(),
        b"{}==".to_vec(),
        b"={}".to_vec(),
        b"{}{}".to_vec(),
        b"{}A".to_vec(),
        b"\"{}\"".to_vec(),
        b"\"{}".to_vec(),
        b" {}".to_vec(),
        b"\t{}".to_vec(),
        "{}\u{a0}".into(),
        "\u{a0}{}".into(),
        "{}\u{2003}".into(),
        b"{}\xff".to_vec(),
        b"{},".to_vec(),
        b"%7B{}".to_vec(),
        one_short.clone().into(),
        format!("{one_short}=").into(),
        format!("{one_short}+").into(),
        format!("{one_short}/").into(),
        format!("{one_short}%").into(),
        format!("{one_short} ").into(),
        format!("{one_short}\u{e9}").into(),
        [one_short.as_bytes(), b"\xff"].concat(),
        format!("\"{}\"", &case.token[..62]).into(),
        random_id.into(),
        other_variant.into(),
        nil.into(),
        vec![b'='; 64],
        vec![b'A'; 64],
        vec![b'A'; 300_000],
        b"' or 1=1 --".to_vec(),
    ];
    for value in values {
        let cookie = [b"a=1; __Host-id=", &value[..], b"; b=2"].concat();
        let asked = case.ask(&[&cookie]).await;
        let expected = ("nobody".to_owned(), vec![], vec!["malformed".to_owned()]);
        assert_eq!(asked, expected, "{:.200}", shown(&[&cookie]));
    }
}

#[tokio::test]
async fn the_same_name_twice_is_the_one_well_formed_value() {
    let case = Case::new().await;
    // With the number of malformed ones beside it.
    let twice: &[(&[&[u8]], usize)] = &[
        (&[b"__Host-id={}; __Host-id={}"], 0),
        (&[b"__Host-id={}; __Host-id=x"], 1),
        (&[b"__Host-id=x; __Host-id={}"], 1),
        (&[b"__Host-id={}; a=1; __Host-id="], 1),
        (&[b"__Host-id=; __Host-id={}"], 1),
        (&[b"__Host-id={}", b"__Host-id={}"], 0),
        (&[b"__Host-id={}", b"a=1", b"b=2; __Host-id=x"], 1),
        (&[b"__Host-id=x", b"a=1", b"b=2; __Host-id={}"], 1),
        (&[b"__Host-id={};__Host-id={};__Host-id={}"], 0),
        // More than four malformed cookies do no harm: only the number of rows to look up is limited.
        (&[b"__Host-id=1;__Host-id=2;__Host-id=3;__Host-id={};__Host-id=4;__Host-id=5"], 5),
        (&[b"__Host-id={};__Host-id={};__Host-id={};__Host-id={};__Host-id={};__Host-id={}"], 0),
    ];
    for &(cookies, malformed) in twice {
        let asked = case.ask(cookies).await;
        let reasons = vec!["malformed".to_owned(); malformed];
        assert_eq!(asked, ("a guest".to_owned(), vec![Load], reasons), "{}", shown(cookies));
    }
}

#[tokio::test]
async fn whoever_is_not_found_begins_anew_and_takes_over_nothing() {
    let case = Case::new().await;
    let strangers: &[&[&[u8]]] = &[&[b"%5F%5FHost-id={}"], &[b"__Host-id={}="], &[b"__Host-id=x"]];
    for cookies in strangers {
        let response = case.site.get("/put/a/2", &lines(cookies, &case.token)).await;
        assert_eq!(case.site.spy.take(), [Create], "{}", shown(cookies));
        let new = response.set_cookie().value;
        assert_ne!(new[..16], case.token[..16], "{}", shown(cookies));
    }
    let response = case.site.get("/get/a", &lines(&[b"__Host-id={}"], &case.token)).await;
    assert_eq!(response.body, "1");
}

#[tokio::test]
async fn what_is_not_a_header_does_not_reach_the_handler() {
    let case = Case::new().await;
    for value in [&b"__Host-id={}\0"[..], b"\x0b__Host-id={}", b"__Host-id={}\x7f", b"\x1b"] {
        let response = case.site.get("/", &lines(&[value], &case.token)).await;
        assert_eq!(response.status, 400, "{}", shown(&[value]));
        assert!(case.site.spy.take().is_empty());
    }
}

async fn an_id_without_its_secret_is_nobody(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let guest = site.guest().await;
    for byte in [16, 31, 47] {
        let forged = altered(guest.token(), |bytes| bytes[byte] ^= 1);
        let ask = |path| {
            let lines = lines(&[b"__Host-id={}"], &forged);
            let site = &site;
            async move { site.get(path, &lines).await }
        };
        // It may be an old cookie of the session, and the new one is on its way. So the layer does not remove
        // it.
        let response = ask("/").await;
        assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
        assert_eq!(site.spy.take(), [Load]);

        let response: Response = ask("/put/a/forged").await;
        assert_eq!(site.spy.take(), [Load, Create]);
        assert_ne!(response.set_cookie().value[..16], forged[..16]);
        // A log-out without a session ends nothing, but it removes the cookie, as the visitor asked.
        assert!(ask("/log-out").await.removes_the_cookie());
        assert_eq!(site.spy.take(), [Load]);
    }
    assert_eq!(guest.clone().get("/get/a").await.body, "1");
}

async fn an_id_that_never_was_is_nobody(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let guest = site.guest().await;
    let unknown = altered(guest.token(), |bytes| bytes[15] ^= 1);
    let lines = lines(&[b"__Host-id={}"], &unknown);

    let response = site.get("/", &lines).await;
    assert_eq!((response.body.as_str(), response.sets_no_cookie()), ("nobody", true));
    assert_eq!(site.spy.take(), [Load]);

    // The session does not adopt the cookie: the server creates the new id and secret.
    let new = site.get("/put/a/1", &lines).await.set_cookie().value;
    assert_ne!(new[..16], unknown[..16]);
    assert_ne!(new[32..], unknown[32..]);
    assert!(site.get("/untouched", &lines).await.sets_no_cookie());
    assert!(site.get("/log-out", &lines).await.removes_the_cookie());
}

/// URLs are in histories, logs and `Referer`; a page's script can read and send any other header.
async fn a_token_elsewhere_is_nobodys(db: Db) {
    let site = Site::serve(&db, routes()).await;
    let ada = site.user("ada").await;
    let token = ada.token();
    let paths = [
        format!("/?{token}"),
        format!("/?id={token}"),
        format!("/?__Host-id={token}"),
        format!("/?session={token}&session_id={token}&sid={token}&token={token}"),
        format!("/;__Host-id={token}"),
        format!("/;jsessionid={token}"),
        format!("/{token}"),
        format!("/get/{token}"),
        format!("/get/__Host-id={token}"),
    ];
    for path in &paths {
        let response = site.get(path, &[]).await;
        assert!(["nobody", "nothing", ""].contains(&&*response.body), "{path}: {}", response.body);
        assert!(response.sets_no_cookie(), "{path}");
    }
    let headers = [
        "Authorization: Bearer {}",
        "Authorization: {}",
        "Authorization: Basic {}",
        "Proxy-Authorization: Bearer {}",
        "X-Session: {}",
        "X-Session-Id: {}",
        "X-Auth-Token: {}",
        "__Host-id: {}",
        "Id: {}",
        "Set-Cookie: __Host-id={}",
        "Cookie2: __Host-id={}",
        "X-Cookie: __Host-id={}",
        "Cookies: __Host-id={}",
        "Referer: https://test/?__Host-id={}",
        "Forwarded: for=\"__Host-id={}\"",
    ];
    for header in headers {
        let response = site.get("/", &[header.replace("{}", token).into_bytes()]).await;
        assert_eq!((&*response.body, response.sets_no_cookie()), ("nobody", true), "{header}");
    }
    let all: Vec<_> = headers.map(|header| header.replace("{}", token).into_bytes()).to_vec();
    assert_eq!(site.get(&paths[2], &all).await.body, "nobody");
    // Nothing was even looked up. The same token in the cookie is ada's.
    assert!(site.spy.take().is_empty());
    assert_eq!(site.get("/", &ada.lines()).await.body, "ada");
}
