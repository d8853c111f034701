use std::collections::BTreeSet;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Key, Owner};
use crate::{
    error::{Error, ErrorKind, Result},
    token::SecretHash,
};

/// Keys for the hashes of secrets: a *pepper*.
///
/// By itself the library stores the SHA-256 of a session's secret. Who reads the table cannot make a cookie of it. But
/// who writes into the table can make a secret, write its hash into a row, and have a session of any user. With a pepper
/// the row has the HMAC-SHA-256 of that hash, with a key that is not in the database. The realm, the session's id and its
/// user are part of it: so a row whose user somebody changes is nobody's session any more, and neither is a copy of a row
/// under another id.
///
/// Whoever writes into the table can still end sessions, make a session last longer, and give a visitor a pending
/// log-in of another user ([`Session::pending_log_in`](crate::Session::pending_log_in)), whose second step they would
/// have to pass.
///
/// Use another key than for [`Encryption`](super::Encryption).
///
/// ```no_run
/// # fn example(database: sessile::store::Backend) -> Result<(), sessile::Error> {
/// use sessile::{Sessions, encryption::{Key, Pepper}};
///
/// let pepper = Pepper::new(Key::from_file("2026-11", "/run/secrets/pepper-2026-11")?);
/// let sessions = Sessions::builder(database).pepper(pepper).build()?;
/// # Ok(()) }
/// ```
///
/// # To begin
///
/// Nobody is logged out, if each step has reached all nodes before the next one begins. A socket that is open during the
/// conversion may be told that its session has a new secret, as after a renewal.
///
/// 1. [`Rollout::Prepare`]: the nodes know the key, and go on to write plain hashes.
/// 2. [`Rollout::Migrate`]: they write hashes with the key, and accept both.
/// 3. Call [`Sessions::rewrap`](crate::Sessions::rewrap) in each realm, which converts the rows without their secrets,
///    until no row is plain.
/// 4. [`Rollout::Enforce`], the default: plain hashes are nobody's.
///
/// # To change the key
///
/// 1. Give all nodes the new key: [`read`](Self::read).
/// 2. Make it the active one, and read the old one. A session gets the new key with its next secret: at a log-in, a
///    renewal, or an authentication again. A hash cannot be converted from one key to another one without the secret.
/// 3. When the last sessions from before have ended, which takes the longest of the policy's absolute timeouts,
///    [`rewrap`](crate::Sessions::rewrap) with [`dry_run`](crate::Rewrap::dry_run) counts no session with the old key.
///    Name it with [`retire`](Self::retire) then. Earlier, this ends the sessions that have it.
///
/// # Errors
///
/// A session whose row names a key that this node does not have fails with [`ErrorKind::Encryption`], for which the layer
/// answers 503: a node that was set up wrong logs nobody out.
#[derive(Debug)]
#[must_use]
pub struct Pepper {
    keys: Vec<PepperKey>,
    retired: BTreeSet<String>,
    rollout: Rollout,
}

/// What a node with a [`Pepper`] does with hashes that were made without a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rollout {
    /// Accepts both, and writes plain hashes: while some nodes do not know the key.
    Prepare,
    /// Accepts both, and writes hashes with the key: while some rows have plain ones. Whoever writes into the table can
    /// make a session as long as plain hashes are accepted.
    Migrate,
    /// Accepts only hashes with a key.
    #[default]
    Enforce,
}

/// In the place of 0 for a session without a user, and 1 for one with a user.
const AS_REPLACED: u8 = 2;

struct PepperKey {
    key: Key,
    /// Has taken the key in already.
    mac: Hmac<Sha256>,
}

impl Pepper {
    /// Hashes with this key.
    pub fn new(active: Key) -> Self {
        Self {
            keys: vec![PepperKey::new(active)],
            retired: BTreeSet::new(),
            rollout: Rollout::default(),
        }
    }

    /// Accepts hashes that were made with this key, too.
    pub fn read(mut self, key: Key) -> Self {
        self.keys.push(PepperKey::new(key));
        self
    }

    /// Ends the sessions whose secrets were hashed with the key of this name: they are nobody's.
    pub fn retire(mut self, id: impl Into<String>) -> Self {
        self.retired.insert(id.into());
        self
    }

    /// What to do with plain hashes. Default: [`Rollout::Enforce`].
    pub fn rollout(mut self, rollout: Rollout) -> Self {
        self.rollout = rollout;
        self
    }

    /// # Errors
    ///
    /// `Configuration` if two keys have one name, or if a key in use is retired.
    pub(crate) fn check(&self) -> Result<()> {
        let mut known = BTreeSet::new();
        let fault = self.keys.iter().map(PepperKey::id).find_map(|id| {
            if !known.insert(id) {
                Some((id, "is given twice"))
            } else if self.retired.contains(id) {
                Some((id, "is both retired and in use"))
            } else {
                None
            }
        });
        fault.map_or(Ok(()), |(id, what)| {
            let message = format!("the key {id:?} of the pepper {what}");
            Err(Error::new(ErrorKind::Configuration, message))
        })
    }

    /// The hash that a row gets, made of the plain one.
    pub(crate) fn hash(&self, owner: &Owner<'_>, plain: SecretHash) -> SecretHash {
        match self.rollout {
            Rollout::Prepare => plain,
            Rollout::Migrate | Rollout::Enforce => self.keys[0].hash(owner, plain),
        }
    }

    /// As [`hash`](Self::hash), for a row that has a plain one. `None` if it is to stay so.
    pub(crate) fn convert(&self, owner: &Owner<'_>, plain: SecretHash) -> Option<SecretHash> {
        Some(self.hash(owner, plain)).filter(|hash| hash.key().is_some())
    }

    /// The hashes that a row may have for a secret.
    pub(crate) fn accepted(
        &self,
        owner: &Owner<'_>,
        plain: SecretHash,
    ) -> impl Iterator<Item = SecretHash> {
        let accepts_plain = self.rollout != Rollout::Enforce;
        self.keys
            .iter()
            .map(move |key| key.hash(owner, plain))
            .chain(accepts_plain.then_some(plain))
    }

    /// # Errors
    ///
    /// `Encryption` if the row's hash was made with a key that this node does not have.
    pub(crate) fn knows(&self, owner: &Owner<'_>, row: SecretHash) -> Result<()> {
        match row.key() {
            Some(id)
                if !self.retired.contains(id) && self.keys.iter().all(|key| key.id() != id) =>
            {
                Err(missing_key(owner, id))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn missing_key(owner: &Owner<'_>, key: &str) -> Error {
    let message = format!(
        "the secret of the session {} is hashed with the key {key:?}, which this node does not have: give it to Pepper::read, or end its sessions with Pepper::retire",
        owner.id
    );
    Error::new(ErrorKind::Encryption, message)
}

impl PepperKey {
    fn new(key: Key) -> Self {
        let mac = Hmac::new_from_slice(key.bytes()).expect("HMAC takes keys of every length");
        Self { key, mac }
    }

    fn id(&self) -> &str {
        self.key.id()
    }

    fn hash(&self, owner: &Owner<'_>, plain: SecretHash) -> SecretHash {
        let user = owner.user_id.unwrap_or_default().as_bytes();
        let bytes = self.mac(owner, plain, u8::from(owner.user_id.is_some()), user);
        let as_replaced = self.mac(owner, plain, AS_REPLACED, b"");
        SecretHash::keyed(bytes, as_replaced, self.id())
    }

    /// No part can take over a piece of another one: the hash and the id have a fixed length, and a realm has no zero
    /// byte.
    fn mac(&self, owner: &Owner<'_>, plain: SecretHash, kind: u8, user: &[u8]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(plain.as_bytes());
        mac.update(owner.id.as_uuid().as_bytes());
        mac.update(owner.realm.as_str().as_bytes());
        mac.update(&[0, kind]);
        mac.update(user);
        mac.finalize().into_bytes().into()
    }
}

/// Shows the name only.
impl std::fmt::Debug for PepperKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PepperKey").field("id", &self.id()).finish_non_exhaustive()
    }
}
