//! The attacks that docs/security.md lists by name: bytes over a socket, to a server of the layer.

mod bombs;
mod enumeration;
mod fixation;
mod flood;
mod foreign_ids;
mod injection;
mod privileges;
mod replay;
mod secrets;
mod splitting;
mod timing;
mod tossing;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::{
    site::{Site, cookies},
    wire::{Connection, Response},
};

/// A token of 16 bytes for the id and 32 for the secret, as a client can make it.
fn token(id: &[u8], secret: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode([id, secret].concat())
}

fn bytes(token: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(token).unwrap()
}

/// A well-formed token that the server never made.
fn made_up() -> String {
    token(uuid::Uuid::now_v7().as_bytes(), &[0x5a; 32])
}

/// The answer to a request with this token in the cookie of the default name.
async fn with(site: &Site, path: &str, token: &str) -> Response {
    site.get(path, &[cookies(&[token])]).await
}

/// All bytes of the answer, without the line that has the time of day.
async fn answer(site: &Site, method: &str, path: &str, lines: &[Vec<u8>]) -> String {
    let mut connection = Connection::open(site.address).await;
    connection.send(method, path, &[lines, &[b"Connection: close".to_vec()]].concat()).await;
    let answer = String::from_utf8(connection.rest().await).unwrap();
    let lines = answer.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("date: ")).collect()
}

/// A value as one part of a path.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
