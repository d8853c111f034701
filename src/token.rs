//! The contents of the cookie, and the part of them that the database stores.

use std::{fmt, str::FromStr};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::{TryRng, rngs::SysRng};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::error::{Error, ErrorKind};

/// A session's public id: a UUIDv7, in order of creation.
///
/// It may appear in lists, URLs and logs. It is never a credential: it gives no access to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    pub(crate) fn generate() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    pub fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for SessionId {
    fn from(id: Uuid) -> Self {
        Self(id)
    }
}

impl From<SessionId> for Uuid {
    fn from(id: SessionId) -> Self {
        id.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

impl serde::Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// 256 bits from the operating system's generator. Only the cookie contains them.
#[derive(Clone)]
pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub(crate) fn generate() -> Result<Self, Error> {
        let mut bytes = [0; 32];
        SysRng.try_fill_bytes(&mut bytes).map_err(|source| {
            Error::new(ErrorKind::Database, "the operating system gave no random bytes")
                .with_source(source)
        })?;
        Ok(Self(bytes))
    }

    /// A plain hash is enough. The secret has 256 bits of entropy, so it cannot be guessed (a slow hash
    /// protects weak passwords), and no two secrets are equal (a salt would hide equal ones).
    pub(crate) fn hash(&self) -> SecretHash {
        <[u8; 32]>::from(Sha256::digest(self.0)).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The hash of a session's secret, as stored: SHA-256, or a keyed hash of that (`encryption::Pepper`). It is not
/// enough for a cookie, but `Debug` hides it all the same.
#[derive(Clone, Copy)]
pub struct SecretHash {
    bytes: [u8; 32],
    /// What a row keeps of it when another secret replaces this one. A keyed hash is bound to the row's user, whom a
    /// log-in changes with the secret; these bytes are not.
    as_replaced: [u8; 32],
    key: KeyName,
}

impl SecretHash {
    /// The 32 bytes to store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The 32 bytes to store for it as the replaced one. For a plain hash they are the same.
    pub fn as_replaced(&self) -> &[u8; 32] {
        &self.as_replaced
    }

    /// The name of the key that the hash was made with, for the column `hash_key`. `None`: plain SHA-256.
    pub fn key(&self) -> Option<&str> {
        self.key.as_str()
    }

    /// The same bytes, as a hash that was made with the key of this name. `None` if no key has such a name.
    pub fn with_key(self, name: Option<&str>) -> Option<Self> {
        let key = name.map_or(Some(KeyName::default()), KeyName::new)?;
        Some(Self { key, ..self })
    }

    #[cfg(feature = "encryption")]
    pub(crate) fn keyed(bytes: [u8; 32], as_replaced: [u8; 32], key: &str) -> Self {
        let hash = Self { as_replaced, ..Self::from(bytes) };
        hash.with_key(Some(key)).expect("a key's name is one for a hash")
    }

    /// The hashes of a column that contains several, 32 bytes each.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn of_each(bytes: &[u8]) -> Vec<Self> {
        bytes.as_chunks().0.iter().copied().map(Self::from).collect()
    }

    /// As a column has several.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) fn concat(hashes: &[Self]) -> Vec<u8> {
        hashes.iter().flat_map(|hash| hash.bytes).collect()
    }

    /// Whether both are equal, in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.bytes.ct_eq(&other.bytes).into()
    }

    /// Whether a row has kept this hash as the replaced one, in constant time.
    pub(crate) fn was(&self, replaced: &Self) -> bool {
        self.as_replaced.ct_eq(&replaced.bytes).into()
    }
}

impl From<[u8; 32]> for SecretHash {
    fn from(bytes: [u8; 32]) -> Self {
        Self { bytes, as_replaced: bytes, key: KeyName::default() }
    }
}

impl TryFrom<&[u8]> for SecretHash {
    type Error = std::array::TryFromSliceError;

    fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
        <[u8; 32]>::try_from(bytes).map(Self::from)
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// The name of a key, in place: a hash is copied often. Empty for a hash without a key.
#[derive(Clone, Copy, Default)]
struct KeyName {
    length: u8,
    bytes: [u8; KeyName::MOST],
}

impl KeyName {
    /// As `encryption::Key` has it.
    const MOST: usize = 32;

    fn new(name: &str) -> Option<Self> {
        let length = u8::try_from(name.len()).ok().filter(|length| *length > 0)?;
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        Some(Self { length, bytes })
    }

    fn as_str(&self) -> Option<&str> {
        let name = self.bytes.get(..usize::from(self.length))?;
        str::from_utf8(name).ok().filter(|name| !name.is_empty())
    }
}

/// The contents of the cookie: the id (16 bytes) and the secret (32 bytes), as 64 characters of base64url.
///
/// 48 bytes fill the 64 characters exactly, without padding and spare bits. So every token has one spelling,
/// and every other spelling is refused without a query.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) id: SessionId,
    pub(crate) secret: Secret,
}

impl Token {
    const LENGTH: usize = 64;

    /// `None` for every text that this crate did not write.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() != Self::LENGTH {
            return None;
        }
        let mut bytes = [0; 48];
        let length = URL_SAFE_NO_PAD.decode_slice(text, &mut bytes).ok()?;
        debug_assert_eq!(length, bytes.len());
        let (id, secret) = bytes.split_first_chunk::<16>()?;
        let id = Uuid::from_bytes(*id);
        if id.get_version_num() != 7 || id.get_variant() != uuid::Variant::RFC4122 {
            return None;
        }
        Some(Self { id: SessionId(id), secret: Secret(secret.try_into().ok()?) })
    }

    pub(crate) fn encode(&self) -> String {
        let mut bytes = [0; 48];
        bytes[..16].copy_from_slice(self.id.0.as_bytes());
        bytes[16..].copy_from_slice(&self.secret.0);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token() -> Token {
        Token { id: SessionId::generate(), secret: Secret::generate().unwrap() }
    }

    /// A sample cannot prove that the bits are random. But it notices a bit that is always the same, a part that
    /// repeats, and a generator that begins anew in each thread.
    #[test]
    fn no_two_secrets_are_equal_and_each_of_256_bits_is_set_in_half_of_them() {
        const THREADS: usize = 4;
        const EACH: usize = 25_000;
        let generate = || (0..EACH).map(|_| Secret::generate().unwrap().0).collect::<Vec<_>>();
        let secrets = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(generate)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        // Not even a quarter of one repeats. By chance, one of 400,000 repeats once in 200 million runs.
        let mut quarters: Vec<_> =
            secrets.iter().flat_map(|secret| secret.as_chunks::<8>().0).collect();
        quarters.sort_unstable();
        quarters.dedup();
        assert_eq!(quarters.len(), 4 * THREADS * EACH);
        // Seven standard deviations: a fair bit is further off once in a hundred thousand million samples.
        let (half, deviation) = (THREADS * EACH / 2, ((THREADS * EACH) as f64).sqrt() / 2.0);
        for bit in 0..256 {
            let is_set = |secret: &&[u8; 32]| secret[bit / 8] >> (bit % 8) & 1 == 1;
            let set = secrets.iter().filter(is_set).count();
            assert!((set.abs_diff(half) as f64) < 7.0 * deviation, "bit {bit}: {set}");
        }
    }

    #[test]
    fn a_token_has_one_spelling() {
        let token = token();
        let text = token.encode();
        assert_eq!(text.len(), 64);
        let read = Token::parse(text.as_bytes()).unwrap();
        assert_eq!(read.id, token.id);
        assert!(read.secret.hash().matches(&token.secret.hash()));

        let refused = [
            String::new(),
            text[..63].to_owned(),
            format!("{text}="),
            format!("{text}A"),
            format!(" {}", &text[1..]),
            format!("{}+", &text[..63]),
            format!("{}/", &text[..63]),
            format!("{}=", &text[..63]),
            format!("\"{}\"", &text[..62]),
            format!("{}é", &text[..62]),
        ];
        for other in refused {
            assert!(Token::parse(other.as_bytes()).is_none(), "{other:?}");
        }
    }

    #[test]
    fn an_id_of_another_kind_is_refused() {
        let right = *SessionId::generate().as_uuid().as_bytes();
        // The version is in the upper half of the seventh byte, the variant in the upper two bits of the ninth.
        let [mut version, mut variant] = [right; 2];
        version[6] ^= 0x30;
        variant[8] ^= 0x40;
        for (bytes, is_read) in
            [(right, true), (version, false), (variant, false), ([0xff; 16], false)]
        {
            let id = Uuid::from_bytes(bytes).into();
            let token = Token { id, secret: Secret::generate().unwrap() };
            assert_eq!(Token::parse(token.encode().as_bytes()).is_some(), is_read, "{id}");
        }
    }

    #[test]
    fn nothing_shows_a_secret() {
        let token = token();
        let shown = format!("{token:?} {:?}", token.secret.hash());
        assert_eq!(
            shown,
            format!("Token {{ id: {:?}, secret: Secret(…) }} SecretHash(…)", token.id)
        );
    }

    #[test]
    fn an_id_is_its_uuid() {
        let id = SessionId::generate();
        assert_eq!(SessionId::from(id.as_uuid()), id);
        assert_eq!(Uuid::from(id), id.as_uuid());
    }

    #[test]
    fn a_hash_matches_itself_only() {
        let [one, other] = [[1; 32], [2; 32]].map(SecretHash::from);
        assert!(one.matches(&one) && one.was(&one));
        assert!(!one.matches(&other) && !one.was(&other));
        assert_eq!((one.as_bytes(), one.as_replaced(), one.key()), (&[1; 32], &[1; 32], None));
    }

    #[test]
    fn a_hash_keeps_the_name_of_its_key() {
        let plain = SecretHash::from([3; 32]);
        let with = plain.with_key(Some("2026-11")).unwrap();
        assert_eq!((with.as_bytes(), with.key()), (&[3; 32], Some("2026-11")));
        assert_eq!(with.with_key(None).unwrap().key(), None);
        assert!(plain.with_key(Some("")).is_none());
    }

    #[cfg(feature = "encryption")]
    #[test]
    fn a_keyed_hash_is_replaced_by_other_bytes() {
        let hash = SecretHash::keyed([1; 32], [2; 32], "key");
        let kept = (hash.as_bytes(), hash.as_replaced(), hash.key());
        assert_eq!(kept, (&[1; 32], &[2; 32], Some("key")));
        assert!(hash.was(&SecretHash::from([2; 32])) && hash.matches(&SecretHash::from([1; 32])));
    }

    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    #[test]
    fn several_hashes_are_one_after_the_other() {
        let bytes: Vec<u8> = (0..64).collect();
        let hashes = SecretHash::of_each(&bytes);
        assert_eq!(hashes.len(), 2);
        assert_eq!(SecretHash::concat(&hashes), bytes);
    }
}
