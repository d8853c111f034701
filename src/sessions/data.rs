use std::collections::HashSet;

use serde::{Serialize, de::DeserializeOwned};

use super::Sessions;
use crate::{
    error::{ErrorKind, Result},
    session::SessionData,
    token::SessionId,
    user_id::{UserId, checked},
};

/// How many sessions one statement reads.
const CHUNK: usize = 100;

impl Sessions {
    /// The data of a live session, to read and to change outside of its requests. `None` if no session of
    /// this realm has the id, or if the session has ended. One query.
    pub async fn data(&self, id: SessionId) -> Result<Option<SessionData>> {
        match self.0.store.load_now(id).await? {
            Some(record) => SessionData::open(self.0.clone(), record).await.map(Some),
            None => Ok(None),
        }
    }

    /// Changes the value of a key in each live session of a user, as [`SessionData::update`] does. Returns the
    /// number of changed sessions. Use it when a role is granted or taken away, or for a notice on every device.
    ///
    /// The call leaves out a session that ends meanwhile. It also changes a session that the user logs in to
    /// meanwhile, unless the log-in comes after the call has read the list for the last time. So change your own
    /// tables first, and fill the key from them at log-in. A log-in that read your tables before the change, and
    /// writes the key after this call, brings the old value back. So check permissions against your own tables.
    ///
    /// ```no_run
    /// # async fn example(sessions: sessile::Sessions) -> Result<(), sessile::Error> {
    /// let changed = sessions
    ///     .update_of_user("ada", "roles", |roles: &mut Vec<String>| roles.push("editor".to_owned()))
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Cost
    ///
    /// One statement for each session, one for each hundred sessions, and two for the list.
    ///
    /// # Errors
    ///
    /// As [`SessionData::update`]. The call goes on after the failure of one session, and returns the first
    /// error at the end: all other sessions have been changed then.
    pub async fn update_of_user<T>(
        &self,
        user_id: impl UserId,
        key: &str,
        mut change: impl FnMut(&mut T) + Send,
    ) -> Result<u64>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let user_id = checked(&user_id)?;
        let (mut seen, mut changed, mut failed) = (HashSet::new(), 0, None);
        loop {
            let listed = self.of_user(&user_id).all().await?;
            let new: Vec<_> =
                listed.iter().map(|info| info.id).filter(|id| seen.insert(*id)).collect();
            if new.is_empty() {
                return failed.map_or(Ok(changed), Err);
            }
            for ids in new.chunks(CHUNK) {
                for record in self.0.store.load_all(ids).await? {
                    if record.user_id.as_ref() != Some(&user_id) {
                        continue;
                    }
                    let updated = async {
                        let mut data = SessionData::open(self.0.clone(), record).await?;
                        data.update(key, &mut change).await
                    };
                    match updated.await {
                        Ok(()) => changed += 1,
                        Err(error) if error.kind() == ErrorKind::SessionEnded => {}
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
            }
        }
    }
}
