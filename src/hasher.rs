//! The hashes of secrets as rows have them, with a key if the application has set one. Without the feature `encryption`
//! there is none.

use std::borrow::Cow;
#[cfg(feature = "encryption")]
use std::sync::Arc;

#[cfg(feature = "encryption")]
use crate::{
    encryption::{Owner, Pepper},
    store::Rehash,
};
use crate::{
    error::{Error, ErrorKind, Result},
    realm::Realm,
    store::Record,
    token::{Secret, SecretHash, SessionId},
};

#[derive(Debug)]
pub(crate) struct Hasher {
    #[cfg(feature = "encryption")]
    pub(crate) pepper: Option<Arc<Pepper>>,
}

impl Hasher {
    /// The hash of a new secret, for the row of this session.
    pub(crate) fn hash(
        &self,
        secret: &Secret,
        realm: &Realm,
        id: SessionId,
        user_id: Option<&str>,
    ) -> SecretHash {
        #[cfg(feature = "encryption")]
        if let Some(pepper) = &self.pepper {
            return pepper.hash(&Owner { realm, id, user_id }, secret.hash());
        }
        let _ = (realm, id, user_id);
        secret.hash()
    }

    /// The change that gives a row with plain hashes hashes with the key. `None` if it has one, or is to stay as it is.
    #[cfg(feature = "encryption")]
    pub(crate) fn rehash(&self, record: &Record) -> Option<Rehash> {
        let pepper = self.pepper.as_ref()?;
        if record.secret_hash.key().is_some() || record.unreadable.is_some() {
            return None;
        }
        let owner = owner_of(record);
        let convert = |plain: SecretHash| pepper.convert(&owner, plain);
        Some(Rehash {
            id: record.id,
            at: record.now(),
            old_hash: record.secret_hash,
            old_twins: record.twins.clone(),
            new_hash: convert(record.secret_hash)?,
            new_twins: record.twins.iter().copied().filter_map(convert).collect(),
            new_replaced: record
                .replaced
                .and_then(|replaced| convert(replaced.hash))
                .map(|hash| SecretHash::from(*hash.as_replaced())),
        })
    }

    /// The hashes that the row may have for these secrets, of which `plain` are the plain hashes.
    pub(crate) fn of_row<'a>(
        &self,
        plain: &'a [SecretHash],
        record: &Record,
    ) -> Cow<'a, [SecretHash]> {
        #[cfg(feature = "encryption")]
        if let Some(pepper) = &self.pepper {
            let owner = owner_of(record);
            return plain.iter().flat_map(|plain| pepper.accepted(&owner, *plain)).collect();
        }
        let _ = record;
        Cow::Borrowed(plain)
    }

    /// Whether the row is bound to its user, so that another user in it makes it another session.
    pub(crate) fn binds_user(&self) -> bool {
        #[cfg(feature = "encryption")]
        return self.pepper.is_some();
        #[cfg(not(feature = "encryption"))]
        false
    }

    /// # Errors
    ///
    /// `Encryption` if this node does not have the key that the row names.
    pub(crate) fn knows(&self, record: &Record) -> Result<()> {
        #[cfg(feature = "encryption")]
        if let Some(pepper) = &self.pepper {
            return pepper.knows(&owner_of(record), record.secret_hash);
        }
        record.secret_hash.key().map_or(Ok(()), |key| {
            let message = format!(
                "the secret of the session {} is hashed with the key {key:?}, and this node has no keys: use SessionsBuilder::pepper",
                record.id
            );
            Err(Error::new(ErrorKind::Encryption, message))
        })
    }
}

#[cfg(feature = "encryption")]
fn owner_of(record: &Record) -> Owner<'_> {
    Owner { realm: &record.realm, id: record.id, user_id: record.user_id.as_deref() }
}
