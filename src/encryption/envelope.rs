//! Sealed data as a JSON string: `"sealed1.x.2026-11.…"`. After the version come the algorithm, the key's name, and in
//! base64url the key's check, the nonce and the ciphertext. None of the first characters needs an escape.

use aes_gcm::Aes256Gcm;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chacha20poly1305::{
    XChaCha20Poly1305,
    aead::{AeadInOut, KeyInit},
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
/// The last bytes of the ciphertext authenticate it.
const TAG: usize = 16;

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

/// Encrypts the text in its place, and returns the tag.
fn encrypt<C: KeyInit + AeadInOut>(
    key: &Key,
    nonce: &[u8],
    bound: &[u8],
    text: &mut [u8],
) -> Option<[u8; TAG]> {
    let cipher = C::new_from_slice(key.bytes()).ok()?;
    let tag = cipher.encrypt_inout_detached(nonce.try_into().ok()?, bound, text.into()).ok()?;
    tag.as_slice().try_into().ok()
}

/// Decrypts the text in its place, if the tag is right.
fn decrypt<C: KeyInit + AeadInOut>(
    key: &Key,
    nonce: &[u8],
    bound: &[u8],
    text: &mut [u8],
    tag: &[u8],
) -> Option<()> {
    let cipher = C::new_from_slice(key.bytes()).ok()?;
    let (nonce, tag) = (nonce.try_into().ok()?, tag.try_into().ok()?);
    cipher.decrypt_inout_detached(nonce, bound, text.into(), tag).ok()
}

pub(super) fn seal(
    key: &Key,
    algorithm: Algorithm,
    owner: &Owner<'_>,
    plain: &[u8],
) -> Result<String> {
    let failed = |message: &'static str| Error::new(ErrorKind::Encryption, message);
    let begin = CHECK + algorithm.nonce_length();
    let mut sealed = Vec::with_capacity(begin + plain.len() + TAG);
    sealed.extend_from_slice(&key.check());
    sealed.resize(begin, 0);
    SysRng.try_fill_bytes(&mut sealed[CHECK..]).map_err(|source| {
        failed("the operating system gave no random bytes").with_source(source)
    })?;
    sealed.extend_from_slice(plain);
    let header = format!("sealed1.{}.{}", algorithm.letter(), key.id());
    let bound = bound_to(&header, owner);
    let encrypt = match algorithm {
        Algorithm::XChaCha20Poly1305 => encrypt::<XChaCha20Poly1305>,
        Algorithm::Aes256Gcm => encrypt::<Aes256Gcm>,
    };
    let (nonce, text) = sealed[CHECK..].split_at_mut(algorithm.nonce_length());
    let tag = encrypt(key, nonce, &bound, text)
        .ok_or_else(|| failed("the data is too long to be sealed"))?;
    sealed.extend_from_slice(&tag);
    let mut json = String::with_capacity(header.len() + sealed.len().div_ceil(3) * 4 + 3);
    json.extend(["\"", &header, "."]);
    URL_SAFE_NO_PAD.encode_string(&sealed, &mut json);
    json.push('"');
    Ok(json)
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
    let mut sealed = URL_SAFE_NO_PAD.decode(parts.sealed).map_err(|_| Unsealed::Data)?;
    let (check, rest) = sealed.split_at_mut_checked(CHECK).ok_or(Unsealed::Data)?;
    if check != key.check() {
        let message = format!(
            "the data of the session {} is sealed with another key of the name {:?} than this node has",
            owner.id,
            key.id()
        );
        return Err(Unsealed::Keys(Error::new(ErrorKind::Encryption, message)));
    }
    let algorithm = parts.algorithm;
    let (nonce, rest) =
        rest.split_at_mut_checked(algorithm.nonce_length()).ok_or(Unsealed::Data)?;
    let end = rest.len().checked_sub(TAG).ok_or(Unsealed::Data)?;
    let (text, tag) = rest.split_at_mut(end);
    let decrypt = match algorithm {
        Algorithm::XChaCha20Poly1305 => decrypt::<XChaCha20Poly1305>,
        Algorithm::Aes256Gcm => decrypt::<Aes256Gcm>,
    };
    decrypt(key, nonce, &bound_to(parts.header, owner), text, tag).ok_or(Unsealed::Data)?;
    let begin = CHECK + algorithm.nonce_length();
    sealed.truncate(begin + end);
    sealed.drain(..begin);
    String::from_utf8(sealed).map_err(|_| Unsealed::Data)
}
