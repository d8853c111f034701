//! The roles of docs/roles.sql on Postgres: what each one may do, and what nobody may do.

mod matrix;
mod rights;
mod verbs;

use sqlx::{AssertSqlSafe, PgConnection, raw_sql};

use crate::{migrations::roles::Roles, sql::rights::logged_in};

/// Everybody who is asked for: somebody without any grant, and the members of the roles.
const EVERYBODY: [&str; 5] = ["nobody", "app", "viewer", "operator", "cleanup"];

/// The schema and its roles. For each name of [`EVERYBODY`] there is a role that logs in. It is a member of only the role
/// of that name, as in docs/operations.md.
async fn installed() -> Roles {
    let roles = Roles::documented().await;
    roles.sessions("sessile_owner").await.migrate().await.unwrap();
    roles.install().await;
    for who in EVERYBODY {
        let mut create = format!("create role {} login", roles.name(who));
        if who != "nobody" {
            create += &format!(" in role {}", roles.name(&format!("sessile_{who}")));
        }
        roles.run([create]).await;
    }
    roles
}

/// A connection that has logged in as one of [`EVERYBODY`].
async fn connected(roles: &Roles, who: &str) -> PgConnection {
    logged_in(roles, &roles.name(who)).await
}

/// Runs statements and undoes them. The code of the error, if there is one.
async fn code_of(connection: &mut PgConnection, statements: &str) -> Option<String> {
    raw_sql("begin").execute(&mut *connection).await.unwrap();
    let done = raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut *connection).await;
    raw_sql("rollback").execute(&mut *connection).await.unwrap();
    match done {
        Ok(_) => None,
        Err(sqlx::Error::Database(error)) => Some(error.code().unwrap().into_owned()),
        Err(error) => panic!("{statements}: {error}"),
    }
}

/// Postgres, appendix A: insufficient_privilege.
const DENIED: &str = "42501";
