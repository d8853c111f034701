//! A proxy that speaks HTTPS, with a certificate for this test alone.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use rcgen::{CertifiedKey, PublicKeyData, generate_simple_self_signed};
use sha2::{Digest, Sha256};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, pki_types::PrivateKeyDer},
};

pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// The key, for Chromium's option `ignore-certificate-errors-spki-list`.
    pub(crate) key: String,
}

impl Proxy {
    /// Passes everything on to a server at `127.0.0.1:1234`.
    pub(crate) async fn before(server: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["*.test".to_owned()]).unwrap();
        let key = BASE64_STANDARD.encode(Sha256::digest(signing_key.subject_public_key_info()));
        let private = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(accept(listener, acceptor, server.to_owned()));
        Self { port, key }
    }
}

async fn accept(listener: TcpListener, acceptor: TlsAcceptor, server: String) {
    loop {
        let (near, _) = listener.accept().await.unwrap();
        let (acceptor, server) = (acceptor.clone(), server.clone());
        tokio::spawn(async move {
            // Browsers open connections that they then do not use.
            let Ok(mut near) = acceptor.accept(near).await else { return };
            let mut far = TcpStream::connect(server).await.unwrap();
            copy_bidirectional(&mut near, &mut far).await.ok();
        });
    }
}
