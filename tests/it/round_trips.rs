//! The number of times that a client waits for Postgres, counted on the wire.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering::SeqCst},
};

use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A proxy to a server for one connection. It counts how often the client sends something after the server
/// has answered.
pub(crate) struct RoundTrips {
    options: PgConnectOptions,
    made: Arc<AtomicU32>,
}

impl RoundTrips {
    pub(crate) async fn to(url: &str) -> Self {
        let server: PgConnectOptions = url.parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let options = server.clone().host("127.0.0.1").port(port);
        let made = Arc::<AtomicU32>::default();
        tokio::spawn({
            let made = made.clone();
            async move {
                let (client, _) = listener.accept().await.unwrap();
                let address = (server.get_host(), server.get_port());
                let server = TcpStream::connect(address).await.unwrap();
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let ((from_client, to_client), (from_server, to_server)) =
                    (client.into_split(), server.into_split());
                let has_answered = AtomicBool::new(true);
                let spoken = || {
                    made.fetch_add(u32::from(has_answered.swap(false, SeqCst)), SeqCst);
                };
                let answered = || has_answered.store(true, SeqCst);
                tokio::join!(
                    carry(from_client, to_server, spoken),
                    carry(from_server, to_client, answered)
                );
            }
        });
        Self { options, made }
    }

    /// A pool of one connection, without pings.
    pub(crate) async fn pool(&self) -> PgPool {
        let options = PgPoolOptions::new().max_connections(1).test_before_acquire(false);
        options.connect_with(self.options.clone()).await.unwrap()
    }

    pub(crate) fn begin(&self) {
        self.made.store(0, SeqCst);
    }

    pub(crate) fn made(&self) -> u32 {
        self.made.load(SeqCst)
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, each: impl Fn()) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        each();
        if to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
    to.shutdown().await.ok();
}
