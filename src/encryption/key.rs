use std::{fmt, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use crate::error::{Error, ErrorKind, Result};

const LENGTH: usize = 32;

/// A key of 256 bits, and its name.
///
/// The name stands beside the data that the key has sealed, so that a node knows which key opens it. It has 1 to 32
/// lower-case letters, digits, `-` or `_`: `2026-11`.
///
/// Take the bytes from a generator of random numbers, and never from a password: `openssl rand 32`.
pub struct Key {
    id: String,
    bytes: Zeroizing<[u8; LENGTH]>,
    /// Tells another key of the same name from changed data. 32 bits of a hash of 256 random bits tell nothing else.
    check: [u8; 4],
}

impl Key {
    /// A key from its bytes.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the name is not valid.
    pub fn new(id: impl Into<String>, mut bytes: [u8; LENGTH]) -> Result<Self> {
        let id = id.into();
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
        if !(1..=32).contains(&id.len()) || !id.bytes().all(is_plain) {
            bytes.zeroize();
            return Err(wrong(format!(
                "{id:?} is not the name of a key: 1 to 32 lower-case letters, digits, - or _"
            )));
        }
        let key = Zeroizing::new(bytes);
        bytes.zeroize();
        let hash =
            Sha256::new().chain_update(b"sessile key check").chain_update(&key[..]).finalize();
        let check = [hash[0], hash[1], hash[2], hash[3]];
        Ok(Self { id, bytes: key, check })
    }

    /// A key from a file: 32 bytes, or their base64 as `openssl rand -base64 32` writes it.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the file cannot be read, or has anything else.
    pub fn from_file(id: impl Into<String>, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let contents = std::fs::read(path).map(Zeroizing::new).map_err(|source| {
            wrong(format!("the key in {} cannot be read", path.display())).with_source(source)
        })?;
        let decoded = Zeroizing::new(STANDARD.decode(contents.trim_ascii()).unwrap_or_default());
        let bytes =
            [&contents[..], &decoded[..]].into_iter().find_map(|bytes| bytes.try_into().ok());
        let bytes = bytes.ok_or_else(|| {
            wrong(format!("{} has no key: 32 bytes, or their base64", path.display()))
        })?;
        Self::new(id, bytes)
    }

    /// A key that something else keeps, such as a service for keys. The call gets the name, and returns the bytes.
    ///
    /// # Errors
    ///
    /// [`Configuration`](ErrorKind::Configuration) if the call fails, with its error as the source, or if it does not
    /// return 32 bytes.
    pub async fn fetch<E>(
        id: impl Into<String>,
        fetch: impl AsyncFnOnce(&str) -> Result<Vec<u8>, E>,
    ) -> Result<Self>
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let id = id.into();
        let bytes = fetch(&id).await.map(Zeroizing::new).map_err(|source| {
            wrong(format!("the key {id:?} could not be fetched")).with_source(source)
        })?;
        let length = bytes.len();
        let bytes = <[u8; LENGTH]>::try_from(&bytes[..])
            .map_err(|_| wrong(format!("the key {id:?} has {length} bytes, and needs {LENGTH}")))?;
        Self::new(id, bytes)
    }

    /// The name.
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn bytes(&self) -> &[u8; LENGTH] {
        &self.bytes
    }

    pub(super) fn check(&self) -> [u8; 4] {
        self.check
    }
}

fn wrong(text: String) -> Error {
    Error::new(ErrorKind::Configuration, text)
}

/// Shows the name only.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}
