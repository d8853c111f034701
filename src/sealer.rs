//! The data of a row, sealed if the application has set keys. Without the feature `encryption` there are none.

#[cfg(feature = "encryption")]
use std::sync::Arc;

#[cfg(feature = "encryption")]
use crate::encryption::{Encryption, Owner, Unsealed};
use crate::{
    data::Data,
    error::{Error, ErrorKind, Result},
    realm::Realm,
    token::SessionId,
};

#[derive(Debug)]
pub(crate) struct Sealer {
    #[cfg(feature = "encryption")]
    pub(crate) encryption: Option<Arc<Encryption>>,
}

impl Sealer {
    /// Whether data is bound to its session's user, so that a log-in has to write it again.
    pub(crate) fn binds_user(&self) -> bool {
        #[cfg(feature = "encryption")]
        return self.encryption.is_some();
        #[cfg(not(feature = "encryption"))]
        false
    }

    /// The data as the row of this session gets it.
    pub(crate) fn seal(
        &self,
        realm: &Realm,
        id: SessionId,
        user_id: Option<&str>,
        data: &Data,
    ) -> Result<String> {
        #[cfg(feature = "encryption")]
        if let Some(encryption) = &self.encryption {
            return encryption.seal(&Owner { realm, id, user_id }, data);
        }
        let _ = (realm, id, user_id);
        Ok(data.encode())
    }

    /// The data of a row, or why it cannot be read.
    pub(crate) fn open(
        &self,
        realm: &Realm,
        id: SessionId,
        user_id: Option<&str>,
        text: &str,
    ) -> Result<Data> {
        #[cfg(feature = "encryption")]
        if let Some(encryption) = &self.encryption {
            let owner = Owner { realm, id, user_id };
            return match encryption.open(&owner, text) {
                Ok(text) => {
                    Data::decode(&text).map_err(|source| unreadable(id, "data").with_source(source))
                }
                Err(Unsealed::Keys(error)) => Err(error),
                Err(Unsealed::Data) => Err(unreadable(id, "data")),
            };
        }
        let _ = (realm, user_id);
        if text.starts_with("\"sealed") {
            let message = format!(
                "the data of the session {id} is sealed, and this node has no keys: use SessionsBuilder::encryption"
            );
            return Err(Error::new(ErrorKind::Encryption, message));
        }
        Data::decode(text).map_err(|source| unreadable(id, "data").with_source(source))
    }
}

/// The error of a session whose row has something in a column that the library does not write there.
pub(crate) fn unreadable(id: SessionId, column: &str) -> Error {
    let message = format!(
        "the session {id} cannot be read: its row has something in the column {column} that this library does not write there. Correct the row, or delete it; a log-in or a log-out helps the user"
    );
    Error::new(ErrorKind::WrongType, message)
}
