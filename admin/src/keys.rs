use serde::{Deserialize, Serialize};

use crate::{
    Database, Kind, Result,
    statement::{SQLITE_NOW, Statement},
};

/// How many live sessions or events of a realm have a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// The realm. The empty text is the default one.
    pub realm: String,
    /// What the key is for: `data`, `client` (address and user agent) or `event` (the same in the log of events), which it
    /// has sealed; or `secret`, which it has hashed.
    pub kind: String,
    /// The key's name. `None`: plain data, or a plain hash. Empty: sealed in a form that this release does not know.
    pub key: Option<String>,
    /// The number of live sessions, or of events. Exact.
    pub uses: u64,
}

impl Database {
    /// Which keys the live sessions and the events have. **Reads the data of all sessions, and all events.**
    pub async fn key_uses(&self) -> Result<Vec<KeyUse>> {
        let mut ask = self.statement();
        ask.sql("select ").object(&["realm", "kind", "key", "uses"]);
        ask.sql(" from (select realm, 'data' as kind, ");
        // `"sealed1.x.NAME.…"`, where x is the algorithm.
        ask.per(
            r#"case when data::text like '"sealed%' then coalesce(substring(data::text from '^"sealed1\.[^.]*\.([^.]*)\.'), '') end"#,
            r#"case when data like '"sealed1.%' then substr(data, 12, max(instr(substr(data, 12), '.') - 1, 0)) when data like '"sealed%' then '' end"#,
        );
        let live = format!("sessions where {SQLITE_NOW} < valid_until group by 1, 2, 3");
        let of_live = |ask: &mut Statement| {
            ask.sql(" as key, count(*) as uses from ");
            ask.per("sessile.sessions where now() < valid_until group by 1, 2, 3", &live);
        };
        of_live(&mut ask);
        ask.sql(" union all select realm, 'secret', hash_key");
        of_live(&mut ask);
        let clients = |ask: &mut Statement, kind: &str, from: &str| {
            ask.sql(&format!(" union all select realm, '{kind}', "));
            ask.per(
                r"coalesce(substring(user_agent from '^sealed1\.[^.]*\.([^.]*)\.'), '')",
                "substr(user_agent, 11, max(instr(substr(user_agent, 11), '.') - 1, 0))",
            );
            ask.sql(&format!(
                " as key, count(*) as uses from {from} ip is null and user_agent like 'sealed1.%' group by 1, 2, 3"
            ));
        };
        let (sessions, events) = match self.kind() {
            Kind::Postgres => (
                "sessile.sessions where now() < valid_until and".to_owned(),
                "sessile.session_events where",
            ),
            Kind::Sqlite => (
                format!("sessions where {SQLITE_NOW} < valid_until and"),
                "session_events_raw where",
            ),
        };
        clients(&mut ask, "client", &sessions);
        clients(&mut ask, "event", events);
        ask.sql(") as uses order by realm, kind, coalesce(key, '')");
        self.rows(&ask).await
    }
}

/// Whether this is a sealed address and user agent, which only the application can open.
pub fn is_sealed(user_agent: &str) -> bool {
    user_agent.starts_with("sealed1.")
}
