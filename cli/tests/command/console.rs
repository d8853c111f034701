//! `console`: that it starts, opens with its link, acts under the person's name, and ends. Its pages have their own tests.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
};

use serde_json::json;

use crate::{
    program::{failed, interrupt, on, rows},
    shipped::Shipped,
    support::{self, Db, log_in},
};

support::cases! {
    the_link_opens_the_console_and_ends_a_session,
    without_a_schema_its_page_says_so,
}

/// A console that runs: its address, the path of its link, and the process.
struct Running {
    address: String,
    link: String,
    child: Child,
}

fn start(db: &Db, args: &[&str]) -> Running {
    let mut child = on(db, &[&["console", "--listen", "127.0.0.1:0"], args].concat())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut link = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut link).unwrap();
    let rest = link.trim().strip_prefix("http://").unwrap_or_else(|| panic!("{link}"));
    let (address, path) = rest.split_once('/').unwrap();
    Running { address: address.to_owned(), link: format!("/{path}"), child }
}

impl Running {
    /// One request, and the whole answer.
    fn ask(&self, head: &str, body: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let (address, length) = (&self.address, body.len());
        write!(stream, "{head}\r\nHost: {address}\r\nContent-Length: {length}\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn end(mut self) {
        interrupt(&self.child);
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        assert!(self.child.wait().unwrap().success(), "{said}");
    }
}

/// The cookies that an answer sets, as a browser sends them back.
fn cookies(answer: &str) -> Vec<String> {
    let set = answer.lines().filter_map(|line| line.strip_prefix("set-cookie: "));
    set.map(|cookie| cookie.split(';').next().unwrap().to_owned()).collect()
}

/// The value of a hidden field.
fn field(page: &str, name: &str) -> String {
    let (_, from) =
        page.split_once(&format!("name=\"{name}\"")).unwrap_or_else(|| panic!("{name}: {page}"));
    let (_, value) = from.split_once("value=\"").unwrap();
    value.split_once('"').unwrap().0.to_owned()
}

async fn the_link_opens_the_console_and_ends_a_session(db: Db) {
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    let console = start(&db, &["--operator", "grace"]);
    assert!(console.ask("GET / HTTP/1.1", "").starts_with("HTTP/1.1 401"));
    let opened = console.ask(&format!("GET {} HTTP/1.1", console.link), "");
    assert!(opened.starts_with("HTTP/1.1 303"), "{opened}");
    let cookie = cookies(&opened).remove(0);
    let again = console.ask(&format!("GET {} HTTP/1.1", console.link), "");
    assert_eq!(cookies(&again), Vec::<String>::new(), "the link works once: {again}");

    let form = console.ask(&format!("GET /session/{id}/end HTTP/1.1\r\nCookie: {cookie}"), "");
    assert!(form.starts_with("HTTP/1.1 200"), "{form}");
    let token = field(&form, "token");
    // The form may have its own cookie too.
    let all = [vec![cookie], cookies(&form)].concat().join("; ");
    let post = format!(
        "POST /session/{id}/end HTTP/1.1\r\nCookie: {all}\r\nOrigin: http://{}",
        console.address
    );
    let ended = console.ask(&post, &format!("token={token}&reason=a+lost+phone"));
    assert!(ended.starts_with("HTTP/1.1 303"), "{ended}");
    assert_eq!(rows(&db, &["list"]).len(), 0);
    let events = rows(&db, &["events", "--user", "ada", "--event", "revoked"]);
    assert_eq!(
        (&events[0]["actor"], &events[0]["reason"]),
        (&json!("console:grace"), &json!("a lost phone"))
    );
    console.end();

    let read_only = start(&db, &["--read-only"]);
    let opened = read_only.ask(&format!("GET {} HTTP/1.1", read_only.link), "");
    let cookie = cookies(&opened).remove(0);
    let refused = read_only.ask(&format!("GET /end HTTP/1.1\r\nCookie: {cookie}"), "");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    read_only.end();
}

async fn without_a_schema_its_page_says_so(db: Db) {
    let console = start(&db, &[]);
    let opened = console.ask(&format!("GET {} HTTP/1.1", console.link), "");
    let cookie = cookies(&opened).remove(0);
    let page = console.ask(&format!("GET / HTTP/1.1\r\nCookie: {cookie}"), "");
    assert!(page.starts_with("HTTP/1.1 503") && page.contains("sessile migrate run"), "{page}");
    console.end();
}

/// A member of `sessile_viewer` may end no session in the database. So the console does not offer it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_viewer_only_looks() {
    let db = Db::postgres().await;
    let sessions = db.sessions().await;
    let id = log_in(&sessions, "ada", "203.0.113.7", "curl").await;
    let roles = Shipped::on(&db.url).await;
    for (role, may_end) in
        [("sessile_viewer", false), ("sessile_operator", true), ("sessile_app", true)]
    {
        let member = Db { url: roles.member_of(role).await, ..db.clone() };
        let console = start(&member, &[]);
        let opened = console.ask(&format!("GET {} HTTP/1.1", console.link), "");
        let cookie = cookies(&opened).remove(0);
        for path in ["/", "/events", "/user?id=ada", &format!("/session/{id}")] {
            let page = console.ask(&format!("GET {path} HTTP/1.1\r\nCookie: {cookie}"), "");
            assert!(page.starts_with("HTTP/1.1 200"), "{role}: {path}: {page}");
        }
        let page = console.ask(&format!("GET /session/{id}/end HTTP/1.1\r\nCookie: {cookie}"), "");
        let status = if may_end { "HTTP/1.1 200" } else { "HTTP/1.1 403" };
        assert!(page.starts_with(status), "{role}: {page}");
        console.end();
    }
    db.drop().await;
    roles.drop().await;
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused() {
    let db = Db::sqlite();
    db.sessions().await;
    for listen in ["0.0.0.0:0", "[::]:0", "nonsense"] {
        assert_eq!(failed(on(&db, &["console", "--listen", listen])).code, 2, "{listen}");
    }
    for path in ["sessions", "/a//b", "/../a", "/a?b", "/{a}"] {
        let ran = crate::program::run(on(&db, &["console", "--base-path", path]));
        assert_eq!(ran.code, 2, "{path}: {ran:?}");
    }
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let ran = failed(on(&db, &["console", "--listen", &held.local_addr().unwrap().to_string()]));
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("another port"), "{ran:?}");
}
