use serde::{Deserialize, Serialize};

use crate::{Database, Result, statement::SQLITE_NOW};

/// How many live sessions of a realm have a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// The realm. The empty text is the default one.
    pub realm: String,
    /// What the key is for: `data`, which it has sealed, or `secret`, which it has hashed.
    pub kind: String,
    /// The key's name. `None`: plain data, or a plain hash. Empty: sealed in a form that this release does not know.
    pub key: Option<String>,
    /// The number of live sessions. Exact.
    pub sessions: u64,
}

impl Database {
    /// Which keys the live sessions have. **Reads the data of all sessions.**
    pub async fn key_uses(&self) -> Result<Vec<KeyUse>> {
        let mut ask = self.statement();
        ask.sql("select ").object(&["realm", "kind", "key", "sessions"]);
        ask.sql(" from (select realm, 'data' as kind, ");
        // `"sealed1.x.NAME.…"`, where x is the algorithm.
        ask.per(
            r#"case when data::text like '"sealed%' then coalesce(substring(data::text from '^"sealed1\.[^.]*\.([^.]*)\.'), '') end"#,
            r#"case when data like '"sealed1.%' then substr(data, 12, max(instr(substr(data, 12), '.') - 1, 0)) when data like '"sealed%' then '' end"#,
        );
        let live = format!("sessions where {SQLITE_NOW} < valid_until group by 1, 2, 3");
        let from = |ask: &mut crate::statement::Statement| {
            ask.sql(" as key, count(*) as sessions from ");
            ask.per("sessile.sessions where now() < valid_until group by 1, 2, 3", &live);
        };
        from(&mut ask);
        ask.sql(" union all select realm, 'secret', hash_key");
        from(&mut ask);
        ask.sql(") as uses order by realm, kind, coalesce(key, '')");
        self.rows(&ask).await
    }
}
