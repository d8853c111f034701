use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use sqlx::{
    Connection, Database, Executor, IntoArguments, SqlStr,
    pool::PoolConnection,
    query::{Map, Query},
};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use super::{Shared, Statements};
use crate::store::failure;

/// A connection in use. When it is dropped, it goes back to the pool. It is closed instead if a statement or
/// a transaction did not end properly.
pub(in crate::store) struct Lease<DB: Database> {
    /// `Some` until the lease is dropped.
    connection: Option<PoolConnection<DB>>,
    out_since: Instant,
    shared: Arc<Shared<DB>>,
    is_clean: bool,
    _permits: Vec<OwnedSemaphorePermit>,
}

/// How a transaction should end.
pub(in crate::store) enum End<T> {
    Commit(T),
    Rollback(T),
}

/// How a transaction ended.
pub(in crate::store) enum Ended<T> {
    /// As intended.
    As(T),
    /// The commit failed, perhaps after it had taken effect.
    NotCommitted(sqlx::Error),
}

impl<T> Ended<T> {
    pub(in crate::store) fn into_result(self) -> Result<T, sqlx::Error> {
        match self {
            Self::As(value) => Ok(value),
            Self::NotCommitted(error) => Err(error),
        }
    }
}

impl<DB: Database> Lease<DB> {
    pub(super) fn new(
        connection: PoolConnection<DB>,
        out_since: Instant,
        shared: Arc<Shared<DB>>,
        permits: Vec<OwnedSemaphorePermit>,
    ) -> Self {
        Self { connection: Some(connection), out_since, shared, is_clean: true, _permits: permits }
    }
}

impl<DB: Database> Lease<DB>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    /// Runs one statement. Behind a pooler it runs in its own transaction, because the pooler sends the next
    /// message to another server.
    pub(in crate::store) async fn single<T>(
        mut self,
        statement: impl AsyncFnOnce(&mut Statements<'_, DB>) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        if let Some(begin) = self.shared.single_in {
            let ended = self.transaction(begin, async |tx| Ok(End::Commit(statement(tx).await?)));
            return ended.await?.into_result();
        }
        self.is_clean = false;
        let result = statement(&mut Statements::new(&mut *self, false)).await;
        match &result {
            Ok(_) => self.keep(),
            // Postgres reports the error before it has undone the statement. The caller may continue at once
            // on another connection, and the locks must be released by then.
            Err(error) => {
                self.is_clean = !failure::spoils(error) && self.ping().await.is_ok();
            }
        }
        result
    }

    /// Runs a transaction that begins with `begin`. An error rolls it back.
    pub(in crate::store) async fn transaction<T>(
        mut self,
        begin: &'static str,
        statements: impl AsyncFnOnce(&mut Statements<'_, DB>) -> Result<End<T>, sqlx::Error>,
    ) -> Result<Ended<T>, sqlx::Error> {
        self.is_clean = false;
        let is_unnamed = self.shared.single_in.is_some();
        let mut tx = self.begin_with(SqlStr::from_static(begin)).await?;
        match statements(&mut Statements::new(&mut *tx, is_unnamed)).await {
            Ok(End::Commit(value)) => match tx.commit().await {
                Ok(()) => {
                    self.keep();
                    Ok(Ended::As(value))
                }
                Err(error) => Ok(Ended::NotCommitted(error)),
            },
            Ok(End::Rollback(value)) => {
                tx.rollback().await?;
                self.keep();
                Ok(Ended::As(value))
            }
            Err(error) => {
                self.is_clean = tx.rollback().await.is_ok() && !failure::spoils(&error);
                Err(error)
            }
        }
    }

    pub(in crate::store) async fn all<'q, F, O, A>(
        self,
        query: Map<'q, DB, F, A>,
    ) -> Result<Vec<O>, sqlx::Error>
    where
        F: FnMut(DB::Row) -> Result<O, sqlx::Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        self.single(async |statements| statements.all(query).await).await
    }

    pub(in crate::store) async fn optional<'q, F, O, A>(
        self,
        query: Map<'q, DB, F, A>,
    ) -> Result<Option<O>, sqlx::Error>
    where
        F: FnMut(DB::Row) -> Result<O, sqlx::Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        self.single(async |statements| statements.optional(query).await).await
    }

    pub(in crate::store) async fn one<'q, F, O, A>(
        self,
        query: Map<'q, DB, F, A>,
    ) -> Result<O, sqlx::Error>
    where
        F: FnMut(DB::Row) -> Result<O, sqlx::Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        self.single(async |statements| statements.one(query).await).await
    }

    pub(in crate::store) async fn execute<'q, A>(
        self,
        query: Query<'q, DB, A>,
    ) -> Result<DB::QueryResult, sqlx::Error>
    where
        A: IntoArguments<DB> + Send + 'q,
    {
        self.single(async |statements| statements.execute(query).await).await
    }
}

impl<DB: Database> Lease<DB> {
    /// For a use longer than a transaction. The connection is closed, unless [`end_use`](Self::end_use) is
    /// called.
    #[cfg(feature = "sqlite")]
    pub(in crate::store) fn begin_use(&mut self) -> &mut DB::Connection {
        self.is_clean = false;
        self
    }

    #[cfg(feature = "sqlite")]
    pub(in crate::store) fn end_use(mut self) {
        self.is_clean = true;
    }

    /// Keeps the connection for the next request: its statement or transaction has ended properly.
    pub(super) fn keep(mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.keep(connection, self.out_since);
        }
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if self.is_clean || self.shared.is_all_there_is {
            self.shared.give_back(connection);
        } else {
            self.shared.close(connection);
        }
    }
}

impl<DB: Database> Deref for Lease<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.connection.as_ref().expect("it is there until it is dropped")
    }
}

impl<DB: Database> DerefMut for Lease<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection.as_mut().expect("it is there until it is dropped")
    }
}
