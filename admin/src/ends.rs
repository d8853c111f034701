//! Ends sessions with the rights that the database's user has: with the library, which works on the tables, or with the
//! functions of the schema.

use serde::Deserialize;
use sessile::Revoke;
use sqlx::{AssertSqlSafe, PgPool, raw_sql};
use uuid::Uuid;

use crate::{Database, Kind, Result, database::Pool};

/// Which sessions of a realm to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends<'a> {
    /// One session.
    Session(Uuid),
    /// All sessions of a user. Log-ins of the user that are in flight are refused.
    User(&'a str),
    /// The same, except one session.
    Others(&'a str, Uuid),
    /// Every session. Log-ins in flight are refused.
    All,
}

/// How a user of the database may end sessions.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// The library reads and writes the tables.
    Tables,
    /// `security definer` functions do it. They record the role that logged in.
    Functions,
    Neither,
}

#[derive(Deserialize)]
struct Rights {
    way: Way,
    role: String,
}

/// Each function, with its arguments.
const FUNCTIONS: [&str; 4] = [
    "sessile.revoke(uuid, text, text)",
    "sessile.revoke_user(text, text, text)",
    "sessile.revoke_others(text, uuid, text, text)",
    "sessile.revoke_all(text, text)",
];

impl Ends<'_> {
    fn function(self) -> &'static str {
        match self {
            Self::Session(_) => FUNCTIONS[0],
            Self::User(_) => FUNCTIONS[1],
            Self::Others(..) => FUNCTIONS[2],
            Self::All => FUNCTIONS[3],
        }
    }
}

impl Database {
    /// Ends sessions of a realm, and returns the number of live ones. The empty text is the default realm. The events keep
    /// the reason and the actor.
    ///
    /// A user of Postgres who may not read and delete the rows of sessions, and may execute the schema's functions, ends
    /// them with a function. The events then have the role that logged in as the actor: see [`actor`](Self::actor). Without
    /// a reason, they have the given actor as the reason.
    pub async fn end(
        &self,
        realm: &str,
        which: Ends<'_>,
        reason: Option<&str>,
        actor: &str,
    ) -> Result<u64> {
        if let Pool::Postgres(pool) = &self.reads
            && self.rights(&[which.function()]).await?.way == Way::Functions
        {
            return self.call(pool, realm, which, reason.unwrap_or(actor)).await;
        }
        let sessions = self.sessions_of(realm).await?;
        Ok(match which {
            Ends::Session(id) => u64::from(told(sessions.revoke(id.into()), reason, actor).await?),
            Ends::User(user) => told(sessions.revoke_user(user), reason, actor).await?.ended,
            Ends::Others(user, keep) => {
                told(sessions.revoke_others(user, keep.into()), reason, actor).await?.ended
            }
            Ends::All => told(sessions.revoke_all(), reason, actor).await?.ended,
        })
    }

    /// The actor that the events of [`end`](Self::end) will have: this one, or the role that logged in.
    pub async fn actor(&self, named: &str) -> Result<String> {
        if self.kind() == Kind::Sqlite {
            return Ok(named.to_owned());
        }
        let rights = self.rights(&FUNCTIONS).await?;
        Ok(if rights.way == Way::Functions {
            format!("role:{}", rights.role)
        } else {
            named.to_owned()
        })
    }

    /// Whether the user may end any session. On SQLite, the system decides that when the file is written.
    pub async fn may_end(&self) -> Result<bool> {
        Ok(self.kind() == Kind::Sqlite || self.rights(&FUNCTIONS).await?.way != Way::Neither)
    }

    /// Any of these functions is enough.
    async fn rights(&self, functions: &[&str]) -> Result<Rights> {
        let may_call: Vec<_> = functions
            .iter()
            .map(|name| format!("has_function_privilege('{name}', 'execute')"))
            .collect();
        let mut ask = self.statement();
        ask.sql(
            "select json_build_object('role', session_user, 'way', case
                when has_table_privilege('sessile.sessions', 'select') and has_table_privilege('sessile.sessions', 'delete')
                    then 'tables' when ",
        );
        ask.sql(&may_call.join(" or ")).sql(" then 'functions' else 'neither' end)");
        self.one(&ask).await
    }

    async fn call(&self, pool: &PgPool, realm: &str, which: Ends<'_>, reason: &str) -> Result<u64> {
        let call = match which {
            Ends::Session(_) => "select sessile.revoke($1::text::uuid, $2, $3)",
            Ends::User(_) => "select sessile.revoke_user($1, $2, $3)",
            Ends::Others(..) => "select sessile.revoke_others($1, $4::text::uuid, $2, $3)",
            // The realm has the first place, so that each call has the same values.
            Ends::All => "select sessile.revoke_all($2, $1)",
        };
        let (first, keep) = match which {
            Ends::Session(id) => (id.to_string(), None),
            Ends::User(user) => (user.to_owned(), None),
            Ends::Others(user, keep) => (user.to_owned(), Some(keep.to_string())),
            Ends::All => (realm.to_owned(), None),
        };
        let mut query =
            sqlx::query_scalar::<_, i64>(call).persistent(false).bind(first).bind(reason);
        if which != Ends::All {
            query = query.bind(realm);
        }
        if let Some(keep) = keep {
            query = query.bind(keep);
        }
        // The functions refuse other levels, and the library waits as long for a lock.
        let mut tx = pool.begin_with("begin isolation level read committed read write").await?;
        let limits = format!(
            "set local statement_timeout = {}; set local lock_timeout = '3s'",
            self.time_limit.as_millis()
        );
        raw_sql(AssertSqlSafe(limits)).execute(&mut *tx).await?;
        let ended = query.fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(ended.unsigned_abs())
    }
}

fn told<Of>(revoke: Revoke<Of>, reason: Option<&str>, actor: &str) -> Revoke<Of> {
    let revoke = revoke.actor(actor);
    match reason {
        Some(reason) => revoke.reason(reason),
        None => revoke,
    }
}
