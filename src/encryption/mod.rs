//! The data of sessions, sealed in the database: the keys, and how to change them. And [`Pepper`], for the hashes of
//! their secrets.
//!
//! With [`SessionsBuilder::encryption`](crate::SessionsBuilder::encryption), the column `data` holds a JSON string in
//! the place of the object: the object's text, encrypted and authenticated. Whoever reads the table, a backup or a log
//! of the database sees how long the data is, and nothing of it. Whoever writes into the table cannot make data of
//! their own, and cannot move the data of one session into another one: it opens only in a session with the same
//! realm, id and user.
//!
//! Not sealed: the other columns, such as the user's id; and the address and the user agent, unless
//! [`Encryption::seal_clients`] is set. Not noticed: an older value of
//! the data that somebody copies back into the same session while it has the same user.
//!
//! ```no_run
//! # fn example(database: sessile::store::Backend) -> Result<(), sessile::Error> {
//! use sessile::{Sessions, encryption::{Encryption, Key}};
//!
//! let encryption = Encryption::new(Key::from_file("2026-11", "/run/secrets/sessions-2026-11")?)
//!     .read(Key::from_file("2026-05", "/run/secrets/sessions-2026-05")?);
//! let sessions = Sessions::builder(database).encryption(encryption).build()?;
//! # Ok(()) }
//! ```
//!
//! # To begin
//!
//! 1. Give all nodes a release with this feature, and a key with [`Encryption::migrating`]: they read both forms, and
//!    write sealed data.
//! 2. Call [`Sessions::rewrap`](crate::Sessions::rewrap), which seals what is left.
//! 3. Start the nodes without `migrating`. From now on plain data is refused.
//!
//! A node without the key fails on a sealed session, and overwrites nothing. So a release or a node without keys must not
//! run beside the others after the first step. To find out whether all nodes can read a key before it is used, see the
//! next section.
//!
//! # To change the key
//!
//! 1. Give all nodes the new key for reading: [`Encryption::read`].
//! 2. Make it the active one, and read the old one.
//! 3. Call [`Sessions::rewrap`](crate::Sessions::rewrap) in each realm, and then once more with
//!    [`dry_run`](crate::Rewrap::dry_run): no session has the old key any more.
//! 4. Name the old key with [`Encryption::retire`], so that an old backup or a forgotten node gets an error that
//!    says so.
//!
//! # Errors
//!
//! [`ErrorKind::Encryption`], for which the layer answers 503: the node has no key of that
//! name, or another one under that name, or the key is retired; or a newer release has sealed the data in another form; or
//! the data is plain, and plain data is not allowed.
//! Nothing was changed, and the cookie stays. A session whose data was changed or moved cannot be read: it is as a row
//! that a person has edited ([`Session`](crate::Session)).
//!
//! # Cost
//!
//! No further statement. A third more bytes in the column, because the sealed data is base64. A log-in in a session that
//! another request has changed since this request has read it is tried again. Of their speed without it, 64 clients
//! reach about 0.77 in loads on Postgres, 0.83 with AES-256-GCM, and about 0.9 in saves and on SQLite.
//! `docs/performance.md` has the figures, and a compiler flag for x86-64 with which XChaCha20-Poly1305 is as fast as
//! AES-256-GCM.

mod envelope;
mod key;
mod pepper;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use self::envelope::{Owner, is_sealed, key_id};
pub use self::{
    key::Key,
    pepper::{Pepper, Rollout},
};
use uuid::Uuid;

use crate::{
    client::Client,
    data::Data,
    error::{Error, ErrorKind, Result},
    realm::Realm,
};

/// How data is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Algorithm {
    /// XChaCha20-Poly1305, with a random nonce of 192 bits. No limit on the number of writes with one key.
    #[default]
    XChaCha20Poly1305,
    /// AES-256-GCM, with a random nonce of 96 bits, for those who must. Change the key before it has sealed 2³² times
    /// (NIST SP 800-38D §8.3): every write to a session seals once.
    Aes256Gcm,
}

/// The keys of an application: one seals, and all of them open.
///
/// `Debug` shows the names of the keys only. The keys are overwritten in memory when they are dropped.
#[derive(Debug)]
#[must_use]
pub struct Encryption {
    active: Key,
    others: BTreeMap<String, Key>,
    retired: BTreeSet<String>,
    algorithm: Algorithm,
    is_migrating: bool,
    seals_clients: bool,
}

impl Encryption {
    /// Seals with this key, and opens what it has sealed.
    pub fn new(active: Key) -> Self {
        Self {
            active,
            others: BTreeMap::new(),
            retired: BTreeSet::new(),
            algorithm: Algorithm::default(),
            is_migrating: false,
            seals_clients: false,
        }
    }

    /// Opens what this key has sealed, too.
    pub fn read(mut self, key: Key) -> Self {
        self.others.insert(key.id().to_owned(), key);
        self
    }

    /// Refuses what the key of this name has sealed, with an error that says that the key is retired.
    pub fn retire(mut self, id: impl Into<String>) -> Self {
        self.retired.insert(id.into());
        self
    }

    /// The algorithm for new data. Both are read. Default: [`Algorithm::XChaCha20Poly1305`].
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// Reads plain data, too, while an application begins to seal. Default: no. While it is on, whoever writes into the
    /// table can give a session data of their own.
    pub fn migrating(mut self, is_migrating: bool) -> Self {
        self.is_migrating = is_migrating;
        self
    }

    /// Seals the client's address and user agent, too, in sessions and in events. The column `user_agent` then holds both,
    /// sealed, and the column `ip` is empty. Lists of devices show them as before; SQL, the command and the console
    /// cannot. [`Sessions::unsealed_client`](crate::Sessions::unsealed_client) opens the ones of an event. Default: no.
    ///
    /// The address is that of the session's beginning, or of its last log-in or renewal, because a record that a session
    /// was seen does not seal. It is bound to the realm, and not to the session. If its key is gone, it is unknown.
    pub fn seal_clients(mut self, seal: bool) -> Self {
        self.seals_clients = seal;
        self
    }

    /// # Errors
    ///
    /// `Configuration` if two keys have one name.
    pub(crate) fn check(&self) -> Result<()> {
        let active = self.active.id();
        let fault = if self.others.contains_key(active) {
            Some((active, "is both the active one and one that is only read"))
        } else {
            let known = |id: &&String| id.as_str() == active || self.others.contains_key(*id);
            self.retired.iter().find(known).map(|id| (id.as_str(), "is both retired and in use"))
        };
        fault.map_or(Ok(()), |(id, what)| {
            Err(Error::new(ErrorKind::Configuration, format!("the key {id:?} {what}")))
        })
    }

    fn key(&self, id: &str) -> Option<&Key> {
        if id == self.active.id() { Some(&self.active) } else { self.others.get(id) }
    }
}

/// No session has this id, so no data can take the place of a client, or the other way round.
fn owner_of_clients(realm: &Realm) -> Owner<'_> {
    Owner { realm, id: Uuid::nil().into(), user_id: None }
}

/// Why data does not open.
#[derive(Debug)]
pub(crate) enum Unsealed {
    /// This node has not the keys. Nobody else's session is harmed, and nothing is lost.
    Keys(Error),
    /// The data was changed, or belongs to another session.
    Data,
}

impl Encryption {
    /// The client as rows and events get it.
    pub(crate) fn seal_client(&self, realm: &Realm, client: &Client) -> Result<Client> {
        if !self.seals_clients || *client == Client::new() {
            return Ok(client.clone());
        }
        let text = serde_json::to_string(&(client.ip, &client.user_agent))
            .expect("an address and a text are JSON");
        let sealed = envelope::seal(
            &self.active,
            self.algorithm,
            &owner_of_clients(realm),
            text.as_bytes(),
        )?;
        Ok(Client { ip: None, user_agent: Some(sealed.trim_matches('"').to_owned()) })
    }

    /// The client that a row or an event has.
    pub(crate) fn open_client(&self, realm: &Realm, sealed: &str) -> Result<Client, Unsealed> {
        let text = self.open(&owner_of_clients(realm), &format!("\"{sealed}\""))?;
        let (ip, user_agent) = serde_json::from_str(&text).map_err(|_| Unsealed::Data)?;
        Ok(Client { ip, user_agent })
    }

    pub(crate) fn seals_clients(&self) -> bool {
        self.seals_clients
    }

    /// The data as the row gets it.
    pub(crate) fn seal(&self, owner: &Owner<'_>, data: &Data) -> Result<String> {
        envelope::seal(&self.active, self.algorithm, owner, data.encode().as_bytes())
    }

    /// The text of the data that a row has.
    pub(crate) fn open(&self, owner: &Owner<'_>, text: &str) -> Result<String, Unsealed> {
        let keys = |text: String| Unsealed::Keys(Error::new(ErrorKind::Encryption, text));
        let id = owner.id;
        if !is_sealed(text) {
            if self.is_migrating {
                return Ok(text.to_owned());
            }
            return Err(keys(format!(
                "the data of the session {id} is not sealed. To read plain data while an application begins to seal it, use Encryption::migrating"
            )));
        }
        if !envelope::is_known(text) {
            return Err(keys(format!(
                "the data of the session {id} is sealed in a form that this release does not know: a newer one has sealed it"
            )));
        }
        let key_id = key_id(text).ok_or(Unsealed::Data)?;
        if self.retired.contains(key_id) {
            return Err(keys(format!(
                "the data of the session {id} is sealed with the key {key_id:?}, which is retired"
            )));
        }
        let Some(key) = self.key(key_id) else {
            return Err(keys(format!(
                "the data of the session {id} is sealed with the key {key_id:?}, which this node does not have: give it to Encryption::read"
            )));
        };
        envelope::open(key, owner, text)
    }

    /// Whether the data has to be sealed again, to have the active key and the algorithm for new data.
    pub(crate) fn is_old(&self, text: &str) -> bool {
        !is_sealed(text) || !envelope::has(text, self.algorithm, self.active.id())
    }
}
