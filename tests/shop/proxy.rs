//! A wire between the shop and its database that can be cut, so that the server, which all tests share, keeps
//! running.

use std::sync::Arc;

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub(crate) struct Proxy {
    whole: Arc<watch::Sender<bool>>,
    /// The database's URL, through the wire.
    pub(crate) url: String,
}

impl Proxy {
    pub(crate) async fn to(database_url: &str) -> Self {
        let (scheme, rest) = database_url.split_once("://").unwrap();
        let (authority, database) = rest.split_once('/').unwrap();
        let (user, server) = authority.rsplit_once('@').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let whole = Arc::new(watch::Sender::new(true));
        tokio::spawn(accept(listener, server.to_owned(), whole.clone()));
        Self { whole, url: format!("{scheme}://{user}@{address}/{database}") }
    }

    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

async fn accept(listener: TcpListener, server: String, whole: Arc<watch::Sender<bool>>) {
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let (server, mut whole) = (server.clone(), whole.subscribe());
        tokio::spawn(async move {
            if !*whole.borrow() {
                return;
            }
            let mut far = TcpStream::connect(server).await.unwrap();
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = whole.wait_for(|whole| !whole) => {}
            }
        });
    }
}
