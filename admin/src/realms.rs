use serde::{Deserialize, Serialize};

use crate::{Database, ErrorKind, Result};

/// The live sessions of a user in one realm.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InRealm {
    /// The realm. The empty text is the default one.
    pub realm: String,
    /// The number of live sessions. Exact.
    pub sessions: u64,
}

/// The sessions whose realms are looked at.
const NEWEST: u32 = 20_000;

impl Database {
    /// How many live sessions a user has in each realm. It reads that user's rows, through the index.
    pub async fn realms_of_user(&self, user_id: &str) -> Result<Vec<InRealm>> {
        let mut ask = self.statement();
        ask.sql("select ").per("json_build_object(", "json_object(");
        ask.sql("'realm', realm, 'sessions', count(*)) from ").sql(&self.live_rows().await?);
        ask.sql(" as live where user_id = ").text(user_id).sql(" group by realm order by realm");
        self.rows(&ask).await
    }

    /// The realms of the newest 20,000 live sessions, those in which everybody's sessions were ended, and on Postgres
    /// those in which anybody has ever logged in. Sorted; the default one is always there.
    pub async fn realms(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Named {
            realm: String,
        }
        let mut ask = self.statement();
        ask.sql("select distinct ").per("cast(json_build_object(", "json_object(");
        ask.sql("'realm', realm").per(") as text)", ")").sql(" from (select realm from ");
        ask.sql(&self.live_rows().await?).sql(" as live");
        if let Some(from) = self.newest_from(NEWEST, None).await? {
            ask.sql(" where id >= ").id(from);
        }
        ask.sql(" order by id desc limit ").integer(NEWEST.into()).sql(") as newest");
        let mut rows: Vec<Named> = self.rows(&ask).await?;

        // The row of everybody is never deleted: see `Realm::cutoff_key`.
        let mut ask = self.statement();
        ask.sql("select ").per("json_build_object(", "json_object(").sql("'realm', user_id) from ");
        ask.per(
            "sessile.session_cutoffs where used_at = 'infinity'",
            "session_cutoffs where used_at = 9223372036854775807",
        );
        match self.rows::<Named>(&ask).await {
            // A reader of the views may not read this table.
            Err(error) if error.kind() == ErrorKind::Refused => {}
            everybody => rows.extend(everybody?),
        }
        let names = rows.iter().map(|row| row.realm.trim_matches('\u{1f}').to_owned());
        let mut realms: Vec<_> = names.chain([String::new()]).collect();
        realms.sort();
        realms.dedup();
        Ok(realms)
    }
}
