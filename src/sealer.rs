//! The data of a row, sealed if the application has set keys. Without the feature `encryption` there are none.

#[cfg(feature = "encryption")]
use std::sync::Arc;

#[cfg(feature = "encryption")]
use crate::encryption::{Encryption, Owner, Unsealed};
use crate::{
    client::Client,
    data::Data,
    error::{Error, ErrorKind, Result},
    realm::Realm,
    store::SessionInfo,
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

    /// The client as rows and events get it.
    pub(crate) fn seal_client(&self, realm: &Realm, client: &Client) -> Result<Client> {
        #[cfg(feature = "encryption")]
        if let Some(encryption) = &self.encryption {
            return encryption.seal_client(realm, client);
        }
        let _ = realm;
        Ok(client.clone())
    }

    /// Whether the address may be written as it is.
    pub(crate) fn seals_clients(&self) -> bool {
        #[cfg(feature = "encryption")]
        return self.encryption.as_ref().is_some_and(|encryption| encryption.seals_clients());
        #[cfg(not(feature = "encryption"))]
        false
    }

    /// The client that an event has.
    #[cfg(feature = "encryption")]
    pub(crate) fn open_client(&self, realm: &Realm, sealed: &str) -> Result<Client> {
        let Some(encryption) = &self.encryption else {
            let message = "this node has no keys: use SessionsBuilder::encryption";
            return Err(Error::new(ErrorKind::Encryption, message));
        };
        encryption.open_client(realm, sealed).map_err(|unsealed| match unsealed {
            Unsealed::Keys(error) => error,
            Unsealed::Data => Error::new(
                ErrorKind::WrongType,
                "this is not the sealed client of an event of this realm: pass the column user_agent as it is",
            ),
        })
    }

    /// A session of a list, with its client opened. A client that does not open is unknown. A row with an address has
    /// none that is sealed: its browser has sent a user agent that looks so, which must not hide the address.
    pub(crate) fn open_info(&self, realm: &Realm, info: SessionInfo) -> SessionInfo {
        #[cfg(feature = "encryption")]
        if let Some(encryption) = &self.encryption
            && let Some(sealed) =
                info.user_agent.as_ref().filter(|agent| agent.starts_with("sealed"))
            && info.ip.is_none()
        {
            let Client { ip, user_agent } =
                encryption.open_client(realm, sealed).unwrap_or_default();
            return SessionInfo { ip, user_agent, ..info };
        }
        let _ = realm;
        info
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
