use std::sync::{
    Arc,
    atomic::{AtomicU16, Ordering::SeqCst},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use crate::server::Server;

/// An address that moves from one server to another. Existing connections stay where they are.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) url: String,
    port: Arc<AtomicU16>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let port = Arc::new(AtomicU16::new(server.port()));
        let to = port.clone();
        let task = tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let to = to.load(SeqCst);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(("127.0.0.1", to)).await.unwrap();
                    // When one side closes, the other side is closed too.
                    copy_bidirectional(&mut client, &mut server).await.ok();
                });
            }
        });
        let url = server.url.replacen(&server.port().to_string(), &own.to_string(), 1);
        Self { url, port, task }
    }

    pub(crate) fn switch_to(&self, server: &Server) {
        self.port.store(server.port(), SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}
