//! A network between the nodes and Postgres that cuts, delays and half-closes connections.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    sync::watch,
};

/// Forwards connections to a port that may change.
#[derive(Clone, Debug)]
pub struct Proxy(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    own: u16,
    to: AtomicU16,
    delay_ms: AtomicU64,
    /// Grows when all connections are cut.
    cut: watch::Sender<u64>,
    /// Whether answers are held back.
    is_mute: watch::Sender<bool>,
}

impl Proxy {
    pub async fn start(to: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let proxy = Self(Arc::new(Shared {
            own: listener.local_addr()?.port(),
            to: to.into(),
            delay_ms: AtomicU64::new(0),
            cut: watch::Sender::new(0),
            is_mute: watch::Sender::new(false),
        }));
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(accepting.clone().forward(client));
            }
        });
        Ok(proxy)
    }

    pub fn port(&self) -> u16 {
        self.0.own
    }

    /// Sends new connections to another port, and cuts the others.
    pub fn switch(&self, to: u16) {
        self.0.to.store(to, Relaxed);
        self.cut();
    }

    pub fn cut(&self) {
        self.0.cut.send_modify(|cut| *cut += 1);
    }

    /// Delays everything that passes.
    pub fn delay(&self, by: Duration) {
        self.0.delay_ms.store(by.as_millis() as u64, Relaxed);
    }

    /// Lets requests through, and no answers.
    pub fn mute(&self, is_mute: bool) {
        self.0.is_mute.send_replace(is_mute);
    }

    async fn forward(self, client: TcpStream) {
        let mut cut = self.0.cut.subscribe();
        let Ok(server) = TcpStream::connect(("127.0.0.1", self.0.to.load(Relaxed))).await else {
            return;
        };
        client.set_nodelay(true).ok();
        server.set_nodelay(true).ok();
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let both = async {
            tokio::join!(
                self.pass(from_client, to_server, false),
                self.pass(from_server, to_client, true)
            )
        };
        tokio::select! {
            _ = both => {}
            _ = cut.changed() => {}
        }
    }

    async fn pass(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_answer: bool) {
        let mut mute = self.0.is_mute.subscribe();
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let delay = self.0.delay_ms.load(Relaxed);
            if delay > 0 {
                tokio::time::sleep(Duration::from_millis(delay)).await;
            }
            if is_answer {
                mute.wait_for(|is_mute| !is_mute).await.ok();
            }
            if to.write_all(&buffer[..read]).await.is_err() {
                break;
            }
        }
        to.shutdown().await.ok();
    }
}
