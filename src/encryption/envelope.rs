//! Sealed data as a JSON string: `"sealed1.x.2026-11.…"`. After the version come the algorithm, the key's name, and in
//! base64url the key's check, the nonce and the ciphertext. None of the first characters needs an escape.

use aes_gcm::Aes256Gcm;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{Aead, KeyInit, Payload},
};
use rand::{TryRng, rngs::SysRng};

use super::{Algorithm, Key, Unsealed};
use crate::{
    error::{Error, ErrorKind, Result},
    realm::Realm,
    token::SessionId,
};

/// A quote, because the column holds JSON.
const BEGIN: &str = "\"sealed1.";
const CHECK: usize = 4;

/// The session that data belongs to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner<'a> {
    pub(crate) realm: &'a Realm,
    pub(crate) id: SessionId,
    pub(crate) user_id: Option<&'a str>,
}

impl Algorithm {
    fn letter(self) -> &'static str {
        match self {
            Self::XChaCha20Poly1305 => "x",
            Self::Aes256Gcm => "a",
        }
    }

    fn of(letter: &str) -> Option<Self> {
        [Self::XChaCha20Poly1305, Self::Aes256Gcm]
            .into_iter()
            .find(|known| known.letter() == letter)
    }

    fn nonce_length(self) -> usize {
        match self {
            Self::XChaCha20Poly1305 => 24,
            Self::Aes256Gcm => 12,
        }
    }
}

/// What the ciphertext is bound to. No part can take over a piece of another one: neither the header nor a realm has a
/// zero byte, and the id has a fixed length.
fn bound_to(header: &str, owner: &Owner<'_>) -> Vec<u8> {
    let (realm, user) = (owner.realm.as_str().as_bytes(), owner.user_id.unwrap_or_default());
    let has_user = [u8::from(owner.user_id.is_some())];
    [
        header.as_bytes(),
        &[0],
        realm,
        &[0],
        owner.id.as_uuid().as_bytes(),
        &has_user,
        user.as_bytes(),
    ]
    .concat()
}

pub(super) fn seal(
    key: &Key,
    algorithm: Algorithm,
    owner: &Owner<'_>,
    plain: &[u8],
) -> Result<String> {
    let failed = |message: &'static str| Error::new(ErrorKind::Encryption, message);
    let mut sealed = key.check().to_vec();
    let mut nonce = vec![0; algorithm.nonce_length()];
    SysRng.try_fill_bytes(&mut nonce).map_err(|source| {
        failed("the operating system gave no random bytes").with_source(source)
    })?;
    sealed.extend_from_slice(&nonce);
    let header = format!("sealed1.{}.{}", algorithm.letter(), key.id());
    let bound = bound_to(&header, owner);
    let ciphertext = match algorithm {
        Algorithm::XChaCha20Poly1305 => {
            let cipher = XChaCha20Poly1305::new(key.bytes().into());
            let nonce = nonce.as_slice().try_into().expect("the nonce has the algorithm's length");
            cipher.encrypt(nonce, Payload { msg: plain, aad: &bound })
        }
        Algorithm::Aes256Gcm => {
            let cipher = Aes256Gcm::new(key.bytes().into());
            let nonce = nonce.as_slice().try_into().expect("the nonce has the algorithm's length");
            cipher.encrypt(nonce, Payload { msg: plain, aad: &bound })
        }
    };
    sealed.extend(ciphertext.map_err(|_| failed("the data is too long to be sealed"))?);
    Ok(format!("\"{header}.{}\"", URL_SAFE_NO_PAD.encode(sealed)))
}

/// Whether a row has sealed data, of this version of the envelope or another one.
pub(crate) fn is_sealed(text: &str) -> bool {
    text.starts_with("\"sealed")
}

/// Whether it is this version.
pub(super) fn is_known(text: &str) -> bool {
    text.starts_with(BEGIN)
}

/// The name of the key that has sealed the data.
pub(crate) fn key_id(text: &str) -> Option<&str> {
    Some(parts(text)?.key_id)
}

pub(super) fn has(text: &str, algorithm: Algorithm, key_id: &str) -> bool {
    parts(text).is_some_and(|parts| parts.algorithm == algorithm && parts.key_id == key_id)
}

struct Parts<'a> {
    header: &'a str,
    algorithm: Algorithm,
    key_id: &'a str,
    sealed: &'a str,
}

fn parts(text: &str) -> Option<Parts<'_>> {
    let rest = text.strip_prefix(BEGIN)?.strip_suffix('"')?;
    let (letter, rest) = rest.split_once('.')?;
    let (key_id, sealed) = rest.split_once('.')?;
    let header = &text[1..BEGIN.len() + letter.len() + 1 + key_id.len()];
    Some(Parts { header, algorithm: Algorithm::of(letter)?, key_id, sealed })
}

pub(super) fn open(key: &Key, owner: &Owner<'_>, text: &str) -> Result<String, Unsealed> {
    let parts = parts(text).ok_or(Unsealed::Data)?;
    let sealed = URL_SAFE_NO_PAD.decode(parts.sealed).map_err(|_| Unsealed::Data)?;
    let (check, rest) = sealed.split_at_checked(CHECK).ok_or(Unsealed::Data)?;
    if check != key.check() {
        let message = format!(
            "the data of the session {} is sealed with another key of the name {:?} than this node has",
            owner.id,
            key.id()
        );
        return Err(Unsealed::Keys(Error::new(ErrorKind::Encryption, message)));
    }
    let (nonce, msg) =
        rest.split_at_checked(parts.algorithm.nonce_length()).ok_or(Unsealed::Data)?;
    let bound = bound_to(parts.header, owner);
    let payload = Payload { msg, aad: &bound };
    let plain = match parts.algorithm {
        Algorithm::XChaCha20Poly1305 => {
            let nonce = nonce.try_into().map_err(|_| Unsealed::Data)?;
            XChaCha20Poly1305::new(key.bytes().into()).decrypt(nonce, payload)
        }
        Algorithm::Aes256Gcm => {
            let nonce = nonce.try_into().map_err(|_| Unsealed::Data)?;
            Aes256Gcm::new(key.bytes().into()).decrypt(nonce, payload)
        }
    };
    plain.ok().and_then(|plain| String::from_utf8(plain).ok()).ok_or(Unsealed::Data)
}
