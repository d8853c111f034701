//! A faulty network between the library and Postgres.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
};

use crate::support::Db;

/// Forwards connections to the database's server. While it is silent, it forwards neither bytes nor the end
/// of a connection, and sends them later.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    is_silent: watch::Sender<bool>,
    trap: Mutex<Option<Trap>>,
    /// Connections that the client has not closed.
    open: AtomicUsize,
    sprung: AtomicUsize,
}

/// Waits for a request that contains these bytes.
#[derive(Clone, Debug)]
struct Trap {
    bytes: Vec<u8>,
    then: Then,
}

#[derive(Clone, Debug)]
enum Then {
    /// The request reaches the server, but no answer comes back. Nothing else reaches the server, not even
    /// the end of the connection.
    LosesAnswers,
    /// The request does not reach the server; the library gets this answer.
    Answers(Vec<u8>),
}

impl Proxy {
    pub(crate) async fn before(db: &Db) -> Self {
        let (head, path) = db.url.rsplit_once('/').unwrap();
        let (user, server) = head.rsplit_once('@').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{user}@{}/{path}", listener.local_addr().unwrap());
        let server = tokio::net::lookup_host(server).await.unwrap().next().unwrap();
        let shared = Arc::new(Shared {
            is_silent: watch::Sender::new(false),
            trap: Mutex::default(),
            open: AtomicUsize::new(0),
            sprung: AtomicUsize::new(0),
        });
        let task = tokio::spawn(serve(listener, server, shared.clone())).abort_handle();
        Self { url, shared, task }
    }

    pub(crate) fn is_silent(&self, silent: bool) {
        self.shared.is_silent.send_replace(silent);
    }

    /// Loses the answer to the next request that contains these bytes, and its connection.
    pub(crate) fn loses_the_answer_to(&self, bytes: impl AsRef<[u8]>) {
        self.trap(bytes, Then::LosesAnswers);
    }

    /// Lets the next request that contains this text fail with this SQLSTATE.
    pub(crate) fn fails(&self, text: &str, code: &str) {
        let fields = format!("SERROR\0VERROR\0C{code}\0Mas the test wants it\0\0");
        let mut answer = vec![b'E'];
        answer.extend((fields.len() as u32 + 4).to_be_bytes());
        answer.extend(fields.as_bytes());
        answer.extend([b'Z', 0, 0, 0, 5, b'I']);
        self.trap(text, Then::Answers(answer));
    }

    fn trap(&self, bytes: impl AsRef<[u8]>, then: Then) {
        *self.shared.trap.lock().unwrap() = Some(Trap { bytes: bytes.as_ref().to_vec(), then });
    }

    /// The number of requests that met a trap.
    pub(crate) fn sprung(&self) -> usize {
        self.shared.sprung.load(SeqCst)
    }

    /// The number of connections that the library has not closed.
    pub(crate) fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, server: SocketAddr, shared: Arc<Shared>) {
    // All connections end with this task.
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.unwrap();
        connections.spawn(forward(client, server, shared.clone()));
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(client: TcpStream, server: SocketAddr, shared: Arc<Shared>) {
    shared.open.fetch_add(1, SeqCst);
    let server = TcpStream::connect(server).await.unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (is_lost, to_client) =
        (Arc::new(AtomicBool::new(false)), Arc::new(tokio::sync::Mutex::new(to_client)));
    let requests = requests(from_client, to_server, to_client.clone(), is_lost.clone(), &shared);
    tokio::join!(requests, answers(from_server, to_client, is_lost, &shared));
}

async fn requests(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    back: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    is_lost: Arc<AtomicBool>,
    shared: &Shared,
) {
    let mut silent = shared.is_silent.subscribe();
    let mut held = Vec::new();
    loop {
        tokio::select! {
            read = from.read_buf(&mut held) => if read.unwrap_or(0) == 0 { break },
            () = forwards(&mut silent), if !held.is_empty() => {
                match shared.trap_for(&held) {
                    Some(Then::Answers(answer)) => {
                        back.lock().await.write_all(&answer).await.ok();
                    }
                    Some(Then::LosesAnswers) => {
                        is_lost.store(true, SeqCst);
                        to.write_all(&held).await.ok();
                    }
                    None if is_lost.load(SeqCst) => {}
                    None => drop(to.write_all(&held).await),
                }
                held.clear();
            }
        }
    }
    shared.open.fetch_sub(1, SeqCst);
    if is_lost.load(SeqCst) {
        std::future::pending::<()>().await;
    }
    forwards(&mut silent).await;
    to.write_all(&held).await.ok();
    to.shutdown().await.ok();
}

async fn forwards(silent: &mut watch::Receiver<bool>) {
    silent.wait_for(|silent| !silent).await.unwrap();
}

async fn answers(
    mut from: OwnedReadHalf,
    to: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    is_lost: Arc<AtomicBool>,
    shared: &Shared,
) {
    let mut silent = shared.is_silent.subscribe();
    let mut answer = Vec::new();
    while from.read_buf(&mut answer).await.unwrap_or(0) > 0 {
        forwards(&mut silent).await;
        if !is_lost.load(SeqCst) {
            to.lock().await.write_all(&answer).await.ok();
        }
        answer.clear();
    }
    if !is_lost.load(SeqCst) {
        to.lock().await.shutdown().await.ok();
    }
}

impl Shared {
    fn trap_for(&self, request: &[u8]) -> Option<Then> {
        let mut trap = self.trap.lock().unwrap();
        let bytes = &trap.as_ref()?.bytes;
        request.windows(bytes.len()).any(|window| window == bytes).then(|| {
            self.sprung.fetch_add(1, SeqCst);
            trap.take().expect("it was there").then
        })
    }
}
