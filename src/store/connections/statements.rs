use std::{fmt, pin::Pin};

use futures_core::Stream;
use sqlx::{
    Database, Describe, Either, Error, Execute, Executor, IntoArguments, SqlStr,
    error::BoxDynError,
    query::{Map, Query},
};

/// A connection, for statements that are each read to their end.
///
/// A statement that writes must be read to its end: Postgres commits it after its last row, and SQLite undoes
/// it otherwise.
pub(in crate::store) struct Statements<'c, DB: Database> {
    connection: &'c mut DB::Connection,
    /// Whether no prepared statement may stay on the server, because a pooler gives the server's connection
    /// to others.
    is_unnamed: bool,
}

impl<'c, DB: Database> Statements<'c, DB> {
    pub(super) fn new(connection: &'c mut DB::Connection, is_unnamed: bool) -> Self {
        Self { connection, is_unnamed }
    }

    /// For a statement whose plan must not be kept.
    #[cfg(feature = "postgres")]
    pub(in crate::store) fn unnamed(&mut self) -> Statements<'_, DB> {
        Statements::new(self.connection, true)
    }

    /// In the application's transaction, on a connection about which nothing is known.
    pub(in crate::store) fn of_application(connection: &'c mut DB::Connection) -> Self {
        Self::new(connection, true)
    }
}

impl<DB: Database> Statements<'_, DB>
where
    for<'e> &'e mut DB::Connection: Executor<'e, Database = DB>,
{
    /// All of a statement's rows.
    pub(in crate::store) async fn all<'q, F, O, A>(
        &mut self,
        query: Map<'q, DB, F, A>,
    ) -> Result<Vec<O>, Error>
    where
        F: FnMut(DB::Row) -> Result<O, Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        match self.is_unnamed {
            true => query.fetch_all(Unnamed::<DB>(&mut *self.connection)).await,
            false => query.fetch_all(&mut *self.connection).await,
        }
    }

    /// The row of a statement that has at most one.
    pub(in crate::store) async fn optional<'q, F, O, A>(
        &mut self,
        query: Map<'q, DB, F, A>,
    ) -> Result<Option<O>, Error>
    where
        F: FnMut(DB::Row) -> Result<O, Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        Ok(self.all(query).await?.pop())
    }

    /// The row of a statement that has exactly one.
    pub(in crate::store) async fn one<'q, F, O, A>(
        &mut self,
        query: Map<'q, DB, F, A>,
    ) -> Result<O, Error>
    where
        F: FnMut(DB::Row) -> Result<O, Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        self.optional(query).await?.ok_or(Error::RowNotFound)
    }

    /// The first row of a statement that only reads. SQLite's thread reports a row, the end and its readiness
    /// one by one, and each report wakes the caller. Here the thread stops after the row and reports only
    /// that.
    #[cfg(feature = "sqlite")]
    pub(in crate::store) async fn first_of_read<'q, F, O, A>(
        &mut self,
        query: Map<'q, DB, F, A>,
    ) -> Result<Option<O>, Error>
    where
        F: FnMut(DB::Row) -> Result<O, Error> + Send,
        O: Send + Unpin,
        A: IntoArguments<DB> + Send + 'q,
    {
        match self.is_unnamed {
            true => query.fetch_optional(Unnamed::<DB>(&mut *self.connection)).await,
            false => query.fetch_optional(&mut *self.connection).await,
        }
    }

    pub(in crate::store) async fn execute<'q, A>(
        &mut self,
        query: Query<'q, DB, A>,
    ) -> Result<DB::QueryResult, Error>
    where
        A: IntoArguments<DB> + Send + 'q,
    {
        match self.is_unnamed {
            true => query.execute(Unnamed::<DB>(&mut *self.connection)).await,
            false => query.execute(&mut *self.connection).await,
        }
    }
}

/// Sends statements without a name. Otherwise sqlx prepares them for the next time.
struct Unnamed<'c, DB: Database>(&'c mut DB::Connection);

impl<DB: Database> fmt::Debug for Unnamed<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unnamed")
    }
}

struct Once<E>(E);

impl<'q, DB: Database, E: Execute<'q, DB>> Execute<'q, DB> for Once<E> {
    fn sql(self) -> SqlStr {
        self.0.sql()
    }

    fn statement(&self) -> Option<&DB::Statement> {
        self.0.statement()
    }

    fn take_arguments(&mut self) -> Result<Option<DB::Arguments>, BoxDynError> {
        self.0.take_arguments()
    }

    fn persistent(&self) -> bool {
        false
    }
}

type BoxFuture<'e, T> = Pin<Box<dyn Future<Output = T> + Send + 'e>>;
type Steps<'e, DB> = Pin<
    Box<
        dyn Stream<
                Item = Result<Either<<DB as Database>::QueryResult, <DB as Database>::Row>, Error>,
            > + Send
            + 'e,
    >,
>;

impl<'c, DB: Database> Executor<'c> for Unnamed<'c, DB>
where
    for<'e> &'e mut DB::Connection: Executor<'e, Database = DB>,
{
    type Database = DB;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Steps<'e, DB>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        self.0.fetch_many(Once(query))
    }

    fn fetch_optional<'e, 'q: 'e, E>(
        self,
        query: E,
    ) -> BoxFuture<'e, Result<Option<DB::Row>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, DB>,
    {
        self.0.fetch_optional(Once(query))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [DB::TypeInfo],
    ) -> BoxFuture<'e, Result<DB::Statement, Error>>
    where
        'c: 'e,
    {
        self.0.prepare_with(sql, parameters)
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<DB>, Error>>
    where
        'c: 'e,
    {
        self.0.describe(sql)
    }
}
