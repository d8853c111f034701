//! The shipped roles on the database of one test, under names of their own, because roles belong to the whole server.
#![allow(dead_code, unreachable_pub)]

use sqlx::{AssertSqlSafe, PgPool, raw_sql};
use uuid::Uuid;

/// docs/roles.sql, on one database.
pub struct Shipped {
    url: String,
    suffix: String,
}

impl Shipped {
    pub const NAMES: [&str; 4] =
        ["sessile_app", "sessile_viewer", "sessile_operator", "sessile_cleanup"];

    /// Runs the shipped SQL as an administrator of this database.
    pub async fn on(url: &str) -> Self {
        let roles = Self { url: url.to_owned(), suffix: Uuid::now_v7().simple().to_string() };
        roles.run(&roles.sql()).await;
        roles
    }

    /// The shipped SQL, with the names of this test.
    pub fn sql(&self) -> String {
        let mut sql = sessile::store::postgres::ROLES.to_owned();
        for name in Self::NAMES {
            sql = sql.replace(name, &self.name(name));
        }
        sql
    }

    pub fn name(&self, role: &str) -> String {
        format!("{role}_{}", self.suffix)
    }

    /// The address for somebody who logs in with a role of their own, which is a member of only this role.
    pub async fn member_of(&self, role: &str) -> String {
        let (url, login) = self.login(&format!("of_{role}")).await;
        self.run(&format!("grant {} to {login}", self.name(role))).await;
        url
    }

    /// The address for somebody who was granted nothing.
    pub async fn stranger(&self) -> String {
        self.login("stranger").await.0
    }

    async fn login(&self, name: &str) -> (String, String) {
        let login = self.name(name);
        self.run(&format!("create role {login} login password 'hunter2'")).await;
        let (scheme, rest) = self.url.split_once("://").expect("a URL");
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        (format!("{scheme}://{login}:hunter2@{place}"), login)
    }

    /// As an administrator.
    pub async fn run(&self, sql: &str) {
        run(&self.url, sql).await;
    }

    /// Drops the roles. The database, whose objects name them, has to be gone.
    pub async fn drop(self) {
        let server = std::env::var("TEST_POSTGRES_URL").expect("the tests need a Postgres");
        let pool = PgPool::connect(&server).await.expect("the server answers");
        let names: Vec<String> =
            sqlx::query_scalar("select rolname::text from pg_roles where rolname like $1")
                .bind(format!("%\\_{}", self.suffix))
                .fetch_all(&pool)
                .await
                .expect("the names of the roles");
        pool.close().await;
        run(&server, &format!("drop role {}", names.join(", "))).await;
    }
}

async fn run(url: &str, sql: &str) {
    let pool = PgPool::connect(url).await.expect("the database answers");
    let done = raw_sql(AssertSqlSafe(sql)).execute(&pool).await;
    done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    pool.close().await;
}
