//! HTTP/1.1 by hand: a test's bytes go over the wire, and the response is not interpreted.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// A call that hangs is a failure.
const PATIENCE: Duration = Duration::from_secs(15);

/// One connection, kept alive.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A response as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// In their order, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        Self { stream, unread: Vec::new() }
    }

    /// Sends a GET with these header lines, each without its end.
    pub(crate) async fn get(&mut self, path: &str, lines: &[Vec<u8>]) {
        self.send("GET", path, lines).await;
    }

    pub(crate) async fn send(&mut self, method: &str, path: &str, lines: &[Vec<u8>]) {
        let mut request = format!("{method} {path} HTTP/1.1\r\nHost: test\r\n").into_bytes();
        for line in lines {
            request.extend_from_slice(line);
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        self.stream.write_all(&request).await.unwrap();
    }

    /// Sends bytes as they are.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Everything that comes until the server closes the connection.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        while self.more().await.is_some() {}
        self.unread
    }

    /// Sends many requests without waiting, and reads until the server closes the connection.
    pub(crate) async fn pipeline(mut self, requests: &[u8]) -> String {
        let (mut reader, mut writer) = self.stream.split();
        let write = async { writer.write_all(requests).await.unwrap() };
        let read = async {
            let mut came = Vec::new();
            while timeout(PATIENCE, reader.read_buf(&mut came)).await.expect("it answers").unwrap()
                > 0
            {}
            came
        };
        String::from_utf8(tokio::join!(write, read).1).unwrap()
    }

    /// The next response; `None` if the server closed the connection instead.
    pub(crate) async fn response(&mut self) -> Option<Response> {
        let mut response = self.head().await?;
        let body = if response.one("transfer-encoding") == Some("chunked") {
            let mut body = Vec::new();
            while let Some(chunk) = self.chunk().await {
                body.extend(chunk);
            }
            body
        } else {
            let length = response.one("content-length").expect("a response says how long it is");
            self.take(length.parse().unwrap()).await.expect("a body as long as it says")
        };
        response.body = String::from_utf8(body).unwrap();
        Some(response)
    }

    /// The next response up to its body.
    pub(crate) async fn head(&mut self) -> Option<Response> {
        let head = String::from_utf8(self.until(b"\r\n\r\n").await?).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap().parse().unwrap();
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').expect("a header has a colon");
            (name.to_ascii_lowercase(), value.trim_matches(' ').to_owned())
        });
        Some(Response { status, headers: headers.collect(), body: String::new() })
    }

    /// The next chunk of a body that comes in chunks; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = self.until(b"\r\n").await.expect("a chunk, or the end of the body");
        let length = usize::from_str_radix(std::str::from_utf8(&length).unwrap(), 16).unwrap();
        let chunk = self.take(length).await.expect("a chunk as long as it says");
        assert_eq!(self.take(2).await.unwrap(), b"\r\n");
        Some(chunk).filter(|chunk| !chunk.is_empty())
    }

    /// Whether nothing has come so far.
    pub(crate) fn is_silent(&self) -> bool {
        let nothing = self.stream.try_read(&mut [0]).map_err(|error| error.kind());
        nothing == Err(std::io::ErrorKind::WouldBlock)
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|window| window == end) {
                let found = self.unread.drain(..at).collect();
                self.unread.drain(..end.len());
                return Some(found);
            }
            self.more().await?;
        }
    }

    async fn take(&mut self, length: usize) -> Option<Vec<u8>> {
        while self.unread.len() < length {
            self.more().await?;
        }
        Some(self.unread.drain(..length).collect())
    }

    async fn more(&mut self) -> Option<()> {
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        // A reset is a close too.
        let length = read.expect("the server answers").unwrap_or(0);
        (length > 0).then_some(())
    }
}

impl Response {
    /// All headers of that name, in their order.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        let of_that_name = self.headers.iter().filter(|(other, _)| other == name);
        of_that_name.map(|(_, value)| value.as_str()).collect()
    }

    /// The header of that name, of which there is one at most.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} comes more than once: {all:?}");
        all.first().copied()
    }
}
