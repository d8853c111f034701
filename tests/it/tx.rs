//! The application's own transaction, on either database.

use std::time::Duration;

use sessile::{
    Realm, Result, Revocation, SessionId, UserId,
    store::{postgres, sqlite},
};
use sqlx::{AssertSqlSafe, Postgres, Sqlite, Transaction};

use crate::support::{Db, Pool};

pub(crate) enum Tx {
    Postgres(Transaction<'static, Postgres>),
    Sqlite(Transaction<'static, Sqlite>),
}

impl Tx {
    /// On SQLite with the write lock from the start.
    pub(crate) async fn begin(db: &Db) -> Self {
        match &db.pool {
            Pool::Postgres(pool) => Self::Postgres(pool.begin().await.unwrap()),
            Pool::Sqlite(pool) => Self::Sqlite(pool.begin_with("begin immediate").await.unwrap()),
        }
    }

    pub(crate) async fn run(&mut self, postgres: &str, sqlite: &str) -> u64 {
        match self {
            Self::Postgres(tx) => sqlx::query(AssertSqlSafe(postgres))
                .execute(&mut **tx)
                .await
                .unwrap()
                .rows_affected(),
            Self::Sqlite(tx) => {
                sqlx::query(AssertSqlSafe(sqlite)).execute(&mut **tx).await.unwrap().rows_affected()
            }
        }
    }

    /// The same on both.
    pub(crate) async fn execute(&mut self, statement: &str) -> u64 {
        self.run(statement, statement).await
    }

    pub(crate) async fn revoke(&mut self, id: SessionId) -> Result<Revocation> {
        let realm = Realm::default();
        match self {
            Self::Postgres(tx) => postgres::revoke(tx, &realm, id).await,
            Self::Sqlite(tx) => sqlite::revoke(tx, &realm, id).await,
        }
    }

    pub(crate) async fn revoke_user(&mut self, user_id: impl UserId) -> Result<Revocation> {
        let realm = Realm::default();
        match self {
            Self::Postgres(tx) => postgres::revoke_user(tx, &realm, user_id).await,
            Self::Sqlite(tx) => sqlite::revoke_user(tx, &realm, user_id).await,
        }
    }

    pub(crate) async fn revoke_others(
        &mut self,
        user_id: impl UserId,
        keep: SessionId,
    ) -> Result<Revocation> {
        let realm = Realm::default();
        match self {
            Self::Postgres(tx) => postgres::revoke_others(tx, &realm, user_id, keep).await,
            Self::Sqlite(tx) => sqlite::revoke_others(tx, &realm, user_id, keep).await,
        }
    }

    pub(crate) async fn revoke_all(&mut self) -> Result<Revocation> {
        let realm = Realm::default();
        match self {
            Self::Postgres(tx) => postgres::revoke_all(tx, &realm).await,
            Self::Sqlite(tx) => sqlite::revoke_all(tx, &realm).await,
        }
    }

    pub(crate) async fn revoke_all_of(&mut self, realm: &Realm) -> Result<Revocation> {
        match self {
            Self::Postgres(tx) => postgres::revoke_all(tx, realm).await,
            Self::Sqlite(tx) => sqlite::revoke_all(tx, realm).await,
        }
    }

    pub(crate) async fn commit(self) {
        match self {
            Self::Postgres(tx) => tx.commit().await.unwrap(),
            Self::Sqlite(tx) => tx.commit().await.unwrap(),
        }
    }

    pub(crate) async fn roll_back(self) {
        match self {
            Self::Postgres(tx) => tx.rollback().await.unwrap(),
            Self::Sqlite(tx) => tx.rollback().await.unwrap(),
        }
    }
}

/// Waits until this many statements of this database wait for a lock. SQLite does not report waiting
/// statements, so tests on it must accept either order.
pub(crate) async fn until_waiting(db: &Db, statements: i64) {
    const WAITING: &str = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    let waiting = async {
        while db.number(WAITING, &format!("select {statements}")).await < statements {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("nothing waits for a lock");
}
